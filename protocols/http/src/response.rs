//! A response as a handler builds it, whichever version of HTTP takes it out.
//!
//! What the version decides (the body's length and coding, `Connection`, `Date`) is the server's:
//! a handler says what, never how.

use std::fmt;

use bytes::Bytes;

use crate::{Headers, LOG, Status};

/// A response: status, header fields, and the body or where it comes from.
#[derive(Debug)]
pub struct Response {
    pub(crate) status: Status,
    /// Whether it is `text/plain`: out of `headers`, so that the usual response allocates nothing.
    pub(crate) is_text: bool,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
    pub(crate) close: bool,
    /// Whether `headers` has a Date of the handler's own.
    pub(crate) dated: bool,
}

/// Where a response's body comes from.
pub(crate) enum Body {
    /// It is here.
    Whole(Bytes),
    /// Asked for piece by piece, when there is room. With a length if it is known.
    Pulled { length: Option<u64>, pieces: Box<dyn Iterator<Item = Bytes>> },
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Pulled { length: Some(length), .. } => write!(f, "{length} bytes, pulled"),
            Self::Pulled { length: None, .. } => f.write_str("pulled"),
        }
    }
}

impl Response {
    /// A response with this status, no fields and an empty body.
    pub const fn new(status: Status) -> Self {
        Self {
            status,
            is_text: false,
            headers: Headers::new(),
            body: Body::Whole(Bytes::new()),
            close: false,
            dated: false,
        }
    }

    /// `200 OK` with `text/plain` in UTF-8. A `&'static str` is not copied.
    pub fn text(body: impl Into<Bytes>) -> Self {
        let mut response = Self::new(Status::OK).body(body);
        response.is_text = true;
        response
    }

    /// The status with its own name as plain text, as short error pages are.
    pub fn status(status: Status) -> Self {
        let mut response = Self::text(format!("{status}\n"));
        response.status = status;
        response
    }

    /// A redirection: `status` with a Location. The location goes out as it is; one that holds
    /// control characters is left out.
    pub fn redirect(status: Status, location: &str) -> Self {
        Self::new(status).header("Location", location)
    }

    /// Sets the whole body. A `&'static str` or `Bytes` is not copied, and one of 16 KiB and more
    /// never is.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Whole(body.into());
        self
    }

    /// Lets the body be produced piece by piece, each when there is room for it, so that a slow
    /// reader costs no more memory than the high-water mark and one piece. Without a `length` it
    /// goes out chunked (to HTTP/1.0, ended by closing). An iterator that yields less than
    /// `length`, in all, makes the server close the connection, so that the client can tell; what
    /// is beyond `length` is dropped.
    #[must_use]
    pub fn pulled(
        mut self,
        length: Option<u64>,
        pieces: impl IntoIterator<Item = Bytes, IntoIter: 'static>,
    ) -> Self {
        self.body = Body::Pulled { length, pieces: Box::new(pieces.into_iter()) };
        self
    }

    /// Adds a header field. A field whose name is no token, or whose value holds CR, LF, NUL or
    /// another control character, is dropped with a warning in the log, as it could split the
    /// response. Content-Type and Date replace the server's own; `Connection: close` closes after
    /// this response; Content-Length, Transfer-Encoding and other Connection options are the
    /// server's business and are not taken.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add_header(name, value);
        self
    }

    /// As [`header`](Self::header), for a response that is there already: in a
    /// [`ResponseFilter`](crate::ResponseFilter), say.
    pub fn add_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is("date") => self.dated = true,
            10 if is("connection") => {
                self.close |= crate::headers::elements(value)
                    .any(|option| option.eq_ignore_ascii_case(b"close"));
                return;
            }
            10 if is("keep-alive") => return,
            12 if is("content-type") => self.is_text = false,
            14 if is("content-length") => return,
            17 if is("transfer-encoding") => return,
            _ => {}
        }
        if !self.headers.append(name, value) {
            log::warn!(target: LOG, "a header field that could split the response was dropped: {name:?}");
        }
    }

    /// Replaces all fields called `name` by this one.
    pub fn set_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.headers.remove(name);
        self.add_header(name, value);
    }

    /// Removes all fields called `name` that were added; whether there were any.
    pub fn remove_header(&mut self, name: &str) -> bool {
        let was_text = self.is_text && name.eq_ignore_ascii_case("content-type");
        self.is_text &= !was_text;
        self.headers.remove(name) | was_text
    }

    /// Replaces the status.
    pub fn set_status(&mut self, status: Status) {
        self.status = status;
    }

    /// The value of the first field called `name` that was added, if it is UTF-8.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        if self.is_text && name.eq_ignore_ascii_case("content-type") {
            return Some("text/plain; charset=utf-8");
        }
        self.headers.get_str(name)
    }

    /// Closes the connection after this response.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// The status.
    pub fn code(&self) -> Status {
        self.status
    }

    /// The fields that were added with [`header`](Self::header).
    pub fn headers(&self) -> &Headers {
        &self.headers
    }
}

impl From<Status> for Response {
    fn from(status: Status) -> Self {
        Self::status(status)
    }
}

impl From<&'static str> for Response {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Response {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}
