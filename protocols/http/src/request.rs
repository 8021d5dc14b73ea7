//! A request as a handler sees it, whichever version of HTTP brought it.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::BytesMut;

use crate::{Headers, Method};

/// A minor version of HTTP/1. (RFC 9112 §2.3: a higher minor version is treated as 1.1.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Version {
    /// HTTP/1.0 (RFC 1945)
    Http10,
    /// HTTP/1.1 (RFC 9112)
    #[default]
    Http11,
}

impl Version {
    /// As on the wire: `HTTP/1.1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// A request: its head and, where it was gathered, its body.
///
/// The server owns one and fills it again for each request of a connection, without allocating;
/// clone what must outlive the exchange.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) target: Target,
    pub(crate) headers: Headers,
    pub(crate) body: BytesMut,
    pub(crate) trailers: Headers,
}

/// A target, and where its parts are: they are asked for more often than they are parsed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    text: String,
    form: TargetForm,
    /// Where scheme and authority end, and where the query's mark is (or the end).
    path: usize,
    mark: usize,
    /// What routers have found, the outermost first. It is noted once each, while the request is
    /// lent to handlers.
    routed: OnceCell<Box<Routed>>,
}

/// What a router has found out about a request.
#[derive(Debug, Clone)]
struct Routed {
    /// Which router it was, and where it sends the request.
    router: u64,
    place: usize,
    names: Arc<[Box<str>]>,
    values: Vec<String>,
    /// Bytes at the end of the path that it has not looked at.
    rest: Option<usize>,
    next: OnceCell<Box<Routed>>,
}

impl Target {
    /// Becomes `text`, a valid target of this form.
    pub(crate) fn fill(&mut self, text: &str, form: TargetForm) {
        self.text.clear();
        self.text.push_str(text);
        self.form = form;
        self.routed.take();
        self.path = match form {
            TargetForm::Absolute => {
                split_absolute(text).map_or(0, |(_, local)| text.len() - local.len())
            }
            _ => 0,
        };
        self.mark = memchr::memchr(b'?', text.as_bytes()).unwrap_or(text.len());
    }
}

/// The forms of a request's target (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`, as sent to a proxy.
    Absolute,
    /// `host:port`, of CONNECT alone.
    Authority,
    /// `*`, of OPTIONS alone: the server as a whole.
    Asterisk,
}

impl Request {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The version of HTTP in which the request came.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target as it was sent, never empty; nothing is decoded.
    pub fn target(&self) -> &str {
        &self.target.text
    }

    /// The form of the target.
    pub fn target_form(&self) -> TargetForm {
        self.target.form
    }

    /// The target's path, still percent-encoded: begins with `/`, but for `*` and for CONNECT,
    /// where it is the target itself.
    pub fn path(&self) -> &str {
        match &self.target.text[self.target.path..self.target.mark] {
            "" => "/", // `http://host`, `http://host?query`
            path => path,
        }
    }

    /// What is left of the path below the place where a handler was put with
    /// [`Routes::mount`](crate::Routes::mount): begins with `/`, still percent-encoded. For all other
    /// handlers it is the whole path.
    #[doc(alias = "postpath")]
    pub fn remaining_path(&self) -> &str {
        let path = self.path();
        let rest = self.routed().filter_map(|routed| routed.rest).last();
        match rest.and_then(|rest| path.get(path.len().checked_sub(rest)?..)) {
            Some("") => "/", // the place itself, without a `/` behind it
            Some(rest) => rest,
            None => path,
        }
    }

    /// The text of the segment that stands where the pattern of this request's route has `{name}`,
    /// percent-decoded. Where routes lie within routes, the innermost of the name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.routed().filter_map(|routed| {
            let at = routed.names.iter().position(|there| **there == *name)?;
            routed.values.get(at)
        });
        found.last().map(String::as_str)
    }

    fn routed(&self) -> impl Iterator<Item = &Routed> {
        std::iter::successors(self.target.routed.get(), |routed| routed.next.get()).map(|it| &**it)
    }

    /// Where this router has sent the request.
    pub(crate) fn routed_by(&self, router: u64) -> Option<usize> {
        self.routed().find(|routed| routed.router == router).map(|routed| routed.place)
    }

    /// A router has sent the request somewhere.
    pub(crate) fn note_route(
        &self,
        router: u64,
        place: usize,
        names: Arc<[Box<str>]>,
        values: Vec<String>,
        rest: Option<usize>,
    ) {
        let mut end = &self.target.routed;
        while let Some(routed) = end.get() {
            end = &routed.next;
        }
        let next = OnceCell::new();
        let routed = Routed { router, place, names, values, rest, next };
        end.get_or_init(|| Box::new(routed));
    }

    /// What follows the first `?` of the target, still percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.target.text.get(self.target.mark + 1..)
    }

    /// The host, with the port if one was sent: that of an absolute target, which beats the Host
    /// field (RFC 9112 §3.2.2), else the field. `None` in an HTTP/1.0 request without one.
    pub fn host(&self) -> Option<&str> {
        match self.target_form() {
            TargetForm::Absolute => split_absolute(self.target()).map(|(authority, _)| authority),
            TargetForm::Authority => Some(self.target()),
            _ => self.headers.get_str("host"),
        }
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The value of the first header field called `name`, in any case, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_str(name)
    }

    /// The body, once it was gathered; empty before, and where a body is streamed.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The fields that came after a chunked body, once it was gathered. They are never joined to
    /// the header fields (RFC 9110 §6.5.1).
    pub fn trailers(&self) -> &Headers {
        &self.trailers
    }
}

/// The authority of `http://authority/path?query`, and what follows it (empty, or beginning with
/// `/` or `?`); `None` if this is no http or https URI.
pub(crate) fn split_absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = memchr::memchr2(b'/', b'?', rest.as_bytes()).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, target: &str, form: TargetForm) -> Request {
        let mut request = Request { method, ..Request::default() };
        assert!(request.headers.append("Host", "field.example"));
        request.target.fill(target, form);
        request
    }

    #[test]
    fn a_clone_can_go_to_a_thread() {
        fn is_send<T: Send + 'static>(_: T) {}
        is_send(Request::default());
    }

    #[test]
    fn a_target_is_taken_apart_by_its_form() {
        for (method, target, form, path, query, host) in [
            (Method::Get, "/", TargetForm::Origin, "/", None, "field.example"),
            (Method::Get, "/a?", TargetForm::Origin, "/a", Some(""), "field.example"),
            (Method::Get, "/a?b?c", TargetForm::Origin, "/a", Some("b?c"), "field.example"),
            (Method::Get, "//a/b", TargetForm::Origin, "//a/b", None, "field.example"),
            (Method::Get, "http://h:80/p?q", TargetForm::Absolute, "/p", Some("q"), "h:80"),
            (Method::Get, "HTTP://h", TargetForm::Absolute, "/", None, "h"),
            (Method::Get, "https://h?q", TargetForm::Absolute, "/", Some("q"), "h"),
            (Method::Options, "*", TargetForm::Asterisk, "*", None, "field.example"),
            (Method::Connect, "h:443", TargetForm::Authority, "h:443", None, "h:443"),
        ] {
            let request = request(method, target, form);
            assert_eq!(request.target(), target);
            assert_eq!(request.path(), path, "{target}");
            assert_eq!(request.query(), query, "{target}");
            assert_eq!(request.host(), Some(host), "{target}");
        }
    }
}
