//! Where a redirection leads, and with which request (RFC 9110 §15.4).
//!
//! The rule: what was meant for one server's eyes is never shown to another.

use url::Url;

use super::ClientError;
use super::error::{shown, shown_text};
use super::request::{Body, checked};
use crate::codec::ResponseHead;
use crate::{Headers, Method, Status};

/// Fields that tell who asks: they are for the origin that they were meant for.
const SENSITIVE: &[&str] = &["authorization", "cookie", "proxy-authorization"];
/// Fields that describe a body: they go when it goes.
const OF_THE_BODY: &[&str] = &[
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
    "digest",
    "expect",
    "last-modified",
    "repr-digest",
];

/// A request on its way from one URL to the next.
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Headers,
    pub(super) body: Body,
    /// It has left the origin that it was for, and what tells who asks stays behind, whatever comes.
    pub(super) has_left: bool,
}

/// Whether a field tells who asks.
pub(super) fn is_sensitive(name: &str) -> bool {
    SENSITIVE.iter().any(|other| name.eq_ignore_ascii_case(other))
}

impl Hop {
    /// Turns to where `head` leads; `false` if it is an answer, and leads nowhere.
    pub(super) fn follow(&mut self, head: &ResponseHead) -> Result<bool, ClientError> {
        let status = head.status();
        let rewritten = match status {
            Status::MOVED_PERMANENTLY | Status::FOUND if self.method == Method::Post => true,
            Status::SEE_OTHER => !matches!(self.method, Method::Get | Method::Head),
            Status::MOVED_PERMANENTLY
            | Status::FOUND
            | Status::TEMPORARY_REDIRECT
            | Status::PERMANENT_REDIRECT => false,
            _ => return Ok(false),
        };
        let Some(location) = head.headers().get("location") else { return Ok(false) };
        let next = self.resolve(location)?;
        if rewritten {
            self.method = Method::Get;
            self.body = Body::Empty;
            self.headers = without(&self.headers, OF_THE_BODY);
        } else if !self.body.is_there() {
            return Err(ClientError::BodyIsGone { url: shown(&self.url), status });
        }
        if next.origin() != self.url.origin() {
            self.has_left = true;
            self.headers = without(&self.headers, SENSITIVE);
        }
        self.url = next;
        Ok(true)
    }

    fn resolve(&self, location: &[u8]) -> Result<Url, ClientError> {
        let bad = |problem: String| ClientError::BadRedirect {
            url: shown(&self.url),
            location: shown_text(&String::from_utf8_lossy(location)),
            problem,
        };
        let text = str::from_utf8(location).map_err(|_| bad("it is no UTF-8".to_owned()))?;
        let mut next = self.url.join(text).map_err(|error| bad(error.to_string()))?;
        // A server does not say as whom to log in elsewhere. (They fail without a host alone.)
        if next.origin() != self.url.origin() {
            let _ = (next.set_username(""), next.set_password(None));
        }
        if next.fragment().is_none() {
            next.set_fragment(self.url.fragment()); // RFC 9110 §10.2.2
        }
        checked(next).map_err(|error| match error {
            ClientError::BadUrl { problem, .. } => bad(problem),
            error => error,
        })
    }
}

fn without(headers: &Headers, names: &[&str]) -> Headers {
    let mut kept = Headers::new();
    for (name, value) in headers.iter() {
        let dropped = names.iter().any(|other| name.eq_ignore_ascii_case(other));
        let _ = !dropped && kept.append(name, value);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::codec::parse_response;

    fn head(status: u16, location: &str) -> ResponseHead {
        let mut head = ResponseHead::default();
        let wire = format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\n\r\n");
        let read = parse_response(wire.as_bytes(), Method::Get, &Config::new(), &mut head);
        assert!(matches!(read, Ok(Some(_))), "{read:?}");
        head
    }

    fn hop(method: Method, url: &str) -> Hop {
        let mut headers = Headers::new();
        for name in ["Accept", "Authorization", "Cookie", "Content-Type"] {
            assert!(headers.append(name, "x"));
        }
        let url = Url::parse(url).expect("a URL");
        let body = Body::Whole("x".into());
        Hop { method, url, headers, body, has_left: false }
    }

    #[test]
    fn the_method_is_rewritten_as_every_client_does() {
        for (status, method, expected) in [
            (301, Method::Post, Method::Get),
            (302, Method::Post, Method::Get),
            (303, Method::Post, Method::Get),
            (303, Method::Put, Method::Get),
            (303, Method::Head, Method::Head),
            (301, Method::Put, Method::Put),
            (302, Method::Delete, Method::Delete),
            (307, Method::Post, Method::Post),
            (308, Method::Post, Method::Post),
            (301, Method::Head, Method::Head),
        ] {
            let mut hop = hop(method, "http://a.test/x");
            assert_eq!(hop.follow(&head(status, "/y")), Ok(true));
            assert_eq!(hop.method, expected, "{status} {method}");
            let kept = matches!(hop.body, Body::Whole(_));
            assert_eq!(kept, expected == method, "{status} {method}");
            assert_eq!(hop.headers.get("content-type").is_some(), kept);
        }
        for status in [200, 300, 304, 305, 306, 399] {
            assert_eq!(hop(Method::Get, "http://a.test/").follow(&head(status, "/y")), Ok(false));
        }
    }

    #[test]
    fn a_location_is_resolved_and_has_to_be_one_that_can_be_asked() {
        for (location, expected) in [
            ("/y?q", "http://a.test:81/y?q#part"),
            ("y", "http://a.test:81/dir/y#part"),
            ("../y#other", "http://a.test:81/y#other"),
            ("?q", "http://a.test:81/dir/x?q#part"),
            ("//b.test/y", "http://b.test/y#part"),
            ("https://user:secret@b.test", "https://b.test/#part"),
            ("/\u{fc}", "http://a.test:81/%C3%BC#part"),
        ] {
            let mut hop = hop(Method::Get, "http://a.test:81/dir/x#part");
            assert_eq!(hop.follow(&head(302, location)), Ok(true), "{location}");
            assert_eq!(hop.url.as_str(), expected);
        }
        for location in
            ["http://", "ftp://b.test/", "javascript:x", "file:///etc/passwd", "http://b:0/"]
        {
            let followed = hop(Method::Get, "http://a.test/").follow(&head(302, location));
            assert!(matches!(followed, Err(ClientError::BadRedirect { .. })), "{location}");
        }
    }

    #[test]
    fn what_tells_who_asks_is_not_told_to_another_origin() {
        for (location, kept) in [
            ("/y", true),
            ("http://a.test:80/y", true),
            ("http://b.test/", false),
            ("http://a.test:81/", false),
            ("https://a.test/", false),
            ("http://x.a.test/", false),
        ] {
            let mut hop = hop(Method::Get, "http://a.test/x");
            assert_eq!(hop.follow(&head(302, location)), Ok(true));
            for name in ["authorization", "cookie"] {
                assert_eq!(hop.headers.get(name).is_some(), kept, "{location} {name}");
            }
            assert!(hop.headers.get("accept").is_some());
        }
    }

    #[test]
    fn a_body_that_can_be_made_once_is_not_made_twice() {
        let mut hop = hop(Method::Post, "http://a.test/x");
        hop.body = Body::Gone;
        let followed = hop.follow(&head(307, "/y"));
        assert!(matches!(followed, Err(ClientError::BodyIsGone { .. })));
        assert_eq!(hop.follow(&head(303, "/y")), Ok(true), "it is not asked for");
    }
}
