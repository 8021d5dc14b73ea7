//! A request as a user of the client writes it, and where its body comes from.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::ClientError;
use super::error::shown_text;
use crate::{Headers, LOG, Method};

/// A request: method, URL, header fields, and the body or where it comes from.
///
/// ```
/// use ropewalk_http::client::Request;
///
/// let request = Request::post("http://127.0.0.1:8080/notes")
///     .header("Content-Type", "text/plain")
///     .body("a note");
/// # let _ = request;
/// ```
#[derive(Debug)]
#[must_use = "a client has to send it"]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Result<Url, ClientError>,
    pub(super) headers: Headers,
    pub(super) body: Body,
    pub(super) timeout: Option<Duration>,
    pub(super) redirects: Option<usize>,
    pub(super) max_body: Option<u64>,
}

/// Where a request's body comes from.
pub(super) enum Body {
    Empty,
    Whole(Bytes),
    /// Asked for piece by piece, when there is room; once.
    Pulled {
        length: Option<u64>,
        pieces: Box<dyn Iterator<Item = Bytes>>,
    },
    File(PathBuf),
    /// A pulled one that was sent.
    Gone,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("none"),
            Self::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Pulled { length: Some(length), .. } => write!(f, "{length} bytes, pulled"),
            Self::Pulled { length: None, .. } => f.write_str("pulled"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Gone => f.write_str("sent"),
        }
    }
}

impl Body {
    /// Whether it can be sent (once more).
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Gone)
    }

    /// Takes it for one sending: what can be produced again stays here as well.
    pub(super) fn take(&mut self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Whole(bytes) => Self::Whole(bytes.clone()),
            Self::File(path) => Self::File(path.clone()),
            Self::Pulled { .. } | Self::Gone => std::mem::replace(self, Self::Gone),
        }
    }
}

impl Request {
    /// A request without a body. A URL that is none is told when the request is sent. Its user and
    /// password, if it has some, go into an Authorization field (Basic); its fragment stays here.
    pub fn new(method: Method, url: impl AsRef<str>) -> Self {
        let given = url.as_ref();
        let url = Url::parse(given).map_err(|error| ClientError::BadUrl {
            url: shown_text(given),
            problem: error.to_string(),
        });
        Self {
            method,
            url: url.and_then(checked),
            headers: Headers::new(),
            body: Body::Empty,
            timeout: None,
            redirects: None,
            max_body: None,
        }
    }

    /// A GET request.
    pub fn get(url: impl AsRef<str>) -> Self {
        Self::new(Method::Get, url)
    }

    /// A HEAD request.
    pub fn head(url: impl AsRef<str>) -> Self {
        Self::new(Method::Head, url)
    }

    /// A POST request.
    pub fn post(url: impl AsRef<str>) -> Self {
        Self::new(Method::Post, url)
    }

    /// A PUT request.
    pub fn put(url: impl AsRef<str>) -> Self {
        Self::new(Method::Put, url)
    }

    /// A DELETE request.
    pub fn delete(url: impl AsRef<str>) -> Self {
        Self::new(Method::Delete, url)
    }

    /// Adds a header field; one that could split the request is dropped, with a warning in the log.
    /// Host, Content-Length, Transfer-Encoding and most of Connection are the client's business and
    /// are not taken. With an Accept-Encoding of your own, the answer is not decoded; with a Cookie of
    /// your own, the jar adds none.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if !self.headers.append(name, value) {
            log::warn!(target: LOG, "a header field that could split the request was dropped: {name:?}");
        }
        self
    }

    /// Sets the whole body. A `&'static str` or `Bytes` is not copied, and one of 16 KiB and more never
    /// is.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Whole(body.into());
        self
    }

    /// Lets the body be produced piece by piece, each when there is room for it, so that a slow server
    /// costs no more memory than the high-water mark and one piece. Without a `length` it goes out
    /// chunked, which servers of HTTP/1.0 do not understand. An iterator that yields less than `length`
    /// fails the request; what is beyond is dropped. It is produced once: a redirection that wants it
    /// again fails.
    pub fn pulled(
        mut self,
        length: Option<u64>,
        pieces: impl IntoIterator<Item = Bytes, IntoIter: 'static>,
    ) -> Self {
        self.body = Body::Pulled { length, pieces: Box::new(pieces.into_iter()) };
        self
    }

    /// Sends a file, read on the thread pool as there is room for it. Its length is that which it has
    /// when it is opened.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.body = Body::File(path.into());
        self
    }

    /// How long all of it may take, redirections and the answer's body included (as the client has
    /// it).
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// How many redirections are followed (as the client has it); with 0, they are answers as any
    /// other.
    pub fn redirects(mut self, limit: usize) -> Self {
        self.redirects = Some(limit);
        self
    }

    /// The most bytes that the gathered body of the answer may have, decoded (as the client has it).
    pub fn max_body(mut self, limit: u64) -> Self {
        self.max_body = Some(limit);
        self
    }
}

/// A URL that can be asked: of http or https, with a host.
pub(super) fn checked(url: Url) -> Result<Url, ClientError> {
    let problem = if !matches!(url.scheme(), "http" | "https") {
        "its scheme is neither http nor https"
    } else if url.host_str().is_none_or(str::is_empty) {
        "it names no host"
    } else if url.port_or_known_default() == Some(0) {
        "nobody listens on port 0"
    } else {
        return Ok(url);
    };
    Err(ClientError::BadUrl { url: super::error::shown(&url), problem: problem.to_owned() })
}
