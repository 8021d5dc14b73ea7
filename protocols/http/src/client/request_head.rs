//! A request's head as a client sends it, and what is behind it.
//!
//! The rule: whatever is in a [`RequestHead`] is valid, so that writing it out can never split a
//! request. How the body is framed and what becomes of the connection is not said here by fields:
//! the connection decides that.

use bytes::Bytes;

use crate::codec::target::{check_host, check_target};
use crate::{Error, Headers, LOG, Method};

/// The head of a request: method, host, target and fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    pub(crate) method: Method,
    pub(crate) host: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) close: bool,
    pub(crate) upgrades: bool,
    pub(crate) expects_continue: bool,
}

/// How a request's body is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestBody {
    /// There is none.
    Empty,
    /// This; `Bytes` of 16 KiB and more are not copied.
    Whole(Bytes),
    /// Exactly so many bytes, which are written later.
    Exact(u64),
    /// As many as are written later, in chunks. Servers of HTTP/1.0 do not understand that.
    Chunked,
}

impl RequestHead {
    /// A head with the fields Host and nothing else. `host` is the host with its port, if that is not
    /// the scheme's own; `target` is `/path?query`, for a proxy `http://host/path?query`, for CONNECT
    /// `host:port` (RFC 9112 §3.2).
    ///
    /// # Errors
    /// [`Error::Target`] and [`Error::HostInvalid`].
    pub fn new(method: Method, host: &str, target: &str) -> Result<Self, Error> {
        check_host(host.as_bytes())?;
        let clean = target.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        if !clean || target.is_empty() {
            return Err(Error::Target);
        }
        check_target(method, target)?;
        Ok(Self {
            method,
            host: host.to_owned(),
            target: target.to_owned(),
            headers: Headers::new(),
            close: false,
            upgrades: false,
            expects_continue: false,
        })
    }

    /// Adds a header field. One whose name is no token, or whose value holds CR, LF, NUL or another
    /// control character, is dropped with a warning in the log, as it could split the request.
    ///
    /// `Connection: close` asks the server to close, `Upgrade` brings its `Connection: Upgrade` with
    /// it, `Expect: 100-continue` holds the body back until the server wants it. Host, Content-Length,
    /// Transfer-Encoding, Keep-Alive and other Connection options are not taken: they are said
    /// otherwise.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add(name, value.as_ref());
        self
    }

    /// Adds all these fields, as [`header`](Self::header) does each.
    #[must_use]
    pub fn headers(mut self, headers: &Headers) -> Self {
        for (name, value) in headers.iter() {
            self.add(name, value);
        }
        self
    }

    /// Asks the server to close the connection after its response.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The target, as it is sent.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The host, as it is sent.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is("host") => return,
            6 if is("expect") => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue")
            }
            7 if is("upgrade") => self.upgrades = true,
            10 if is("connection") => {
                self.close |= crate::headers::elements(value)
                    .any(|option| option.eq_ignore_ascii_case(b"close"));
                return;
            }
            10 if is("keep-alive") => return,
            14 if is("content-length") => return,
            16 if is("proxy-connection") => return,
            17 if is("transfer-encoding") => return,
            _ => {}
        }
        if !self.headers.append(name, value) {
            log::warn!(target: LOG, "a header field that could split the request was dropped: {name:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_split_the_request_is_refused() {
        for target in ["", "a", "/a b", "/a\r\nX: y", "/a\0", "/#f", "http:///", "*"] {
            assert_eq!(
                RequestHead::new(Method::Get, "h", target),
                Err(Error::Target),
                "{target:?}"
            );
        }
        for host in ["a b", "a\r\nX: y", "u@h", "h:port", "h/"] {
            let head = RequestHead::new(Method::Get, host, "/");
            assert_eq!(head, Err(Error::HostInvalid), "{host:?}");
        }
        let head = RequestHead::new(Method::Get, "[::1]:80", "/a?b").expect("valid");
        let head = head.header("X", "a\r\nY: b").header("Content-Length", "9").header("A", "b");
        assert_eq!(head.headers.len(), 1);
        assert!(RequestHead::new(Method::Connect, "h:1", "h:1").is_ok());
        assert!(RequestHead::new(Method::Options, "h", "*").is_ok());
        assert!(RequestHead::new(Method::Get, "h", "http://h/a").is_ok());
    }
}
