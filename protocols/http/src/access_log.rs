//! One line for each request, in the combined format that log analysers read.
//!
//! The one rule: what a client has sent cannot end the line or leave its field; it is escaped as
//! Apache's `mod_log_config` does.

use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use ropewalk_reactor::{Address, BackgroundWriter, Transport};

use crate::{Request, Status};

/// Of what a client sends, so much at most stands in a line, each time.
const LONGEST_FIELD: usize = 4096;
/// What the program's log calls it.
const NAME: &str = "the access log";

/// Where requests are written down, a line each, in Apache's and nginx's *combined* format:
///
/// ```text
/// 192.0.2.7 - alice [27/Nov/2026:10:50:43 +0000] "GET /a HTTP/1.1" 200 5 "http://referer/" "curl/8.5.0"
/// ```
///
/// That is the client's address, its name if it gave one ([`BasicAuth`](crate::BasicAuth)), when the
/// request came (in UTC), the request line, the status, the bytes of the body that were sent, Referer
/// and User-Agent. What is missing is `-`. A request that could not be read has the status of its
/// refusal; one whose client went away before the answer began has 499, as with nginx.
///
/// The loop never waits for the file: lines queue for a thread, and when it is slower than the
/// requests, some are left out, and the log says how many. Clones write to the same place.
#[derive(Clone)]
pub struct AccessLog(BackgroundWriter);

impl AccessLog {
    /// Appends to a file, which only its owner can read; it is made if it is not there. After
    /// somebody has renamed it, [`reopen`](Self::reopen) it.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        BackgroundWriter::open(NAME, path).map(Self)
    }

    /// Writes to anything else, from a thread of the pool.
    pub fn to(sink: impl io::Write + Send + 'static) -> Self {
        Self(BackgroundWriter::to(NAME, sink))
    }

    /// Opens the file anew, under the name that it was opened by: after log rotation. It is done by
    /// the thread that writes next; should it fail, the log says so, and the old file stays.
    pub fn reopen(&self) {
        self.0.reopen();
    }

    pub(crate) fn write(&self, entry: &Entry<'_>, transport: &mut Transport<'_>) {
        self.0.write_line(entry.to_string(), transport);
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
    }
}

/// What came of a request.
pub(crate) struct Entry<'a> {
    pub(crate) peer: Address,
    pub(crate) user: Option<&'a str>,
    pub(crate) at: SystemTime,
    /// The request, or of one that could not be read its first line.
    pub(crate) request: Result<&'a Request, &'a [u8]>,
    pub(crate) status: Option<Status>,
    pub(crate) body: u64,
}

/// nginx's code for a client that went away before it was answered.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer.socket_addr() {
            Some(address) => write!(f, "{}", address.ip())?,
            None => f.write_char('-')?,
        }
        write!(f, " - ")?;
        match self.user {
            Some(user) => field(f, user.as_bytes(), true)?,
            None => f.write_char('-')?,
        }
        write!(f, " [{}] \"", CommonTime(self.at))?;
        match self.request {
            Ok(request) => {
                write!(f, "{} ", request.method())?;
                field(f, request.target().as_bytes(), false)?;
                write!(f, " {}", request.version().as_str())?;
            }
            Err([]) => f.write_char('-')?,
            Err(line) => field(f, line, false)?,
        }
        let status = self.status.map_or(CLIENT_CLOSED_REQUEST, Status::code);
        write!(f, "\" {status} ")?;
        match self.body {
            0 => f.write_char('-')?,
            bytes => write!(f, "{bytes}")?,
        }
        for name in ["referer", "user-agent"] {
            f.write_str(" \"")?;
            match self.request.ok().and_then(|request| request.headers().get(name)) {
                Some(value) if !value.is_empty() => field(f, value, false)?,
                _ => f.write_char('-')?,
            }
            f.write_char('"')?;
        }
        Ok(())
    }
}

/// Writes what a client has sent: quotes and backslashes behind a backslash, what is not printable
/// ASCII as `\xhh`; in a field without quotes around it, white space too.
fn field(f: &mut fmt::Formatter<'_>, text: &[u8], is_bare: bool) -> fmt::Result {
    for &byte in &text[..text.len().min(LONGEST_FIELD)] {
        match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
            b' ' if is_bare => f.write_str("\\x20")?,
            b' '..=b'~' => f.write_char(char::from(byte))?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    Ok(())
}

/// A time as the combined format has it: `27/Nov/2026:10:50:43 +0000`.
struct CommonTime(SystemTime);

impl fmt::Display for CommonTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Fri, 27 Nov 2026 10:50:43 GMT` has all that is needed, at fixed places.
        let date = httpdate::fmt_http_date(crate::date::of_four_digits(self.0));
        match (date.get(5..7), date.get(8..11), date.get(12..16), date.get(17..25)) {
            (Some(day), Some(month), Some(year), Some(time)) => {
                write!(f, "{day}/{month}/{year}:{time} +0000")
            }
            _ => f.write_char('-'),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Config;
    use crate::codec::parse_request;

    fn request(wire: &str) -> Request {
        let mut request = Request::default();
        parse_request(wire.as_bytes(), &Config::default(), &mut request)
            .expect("it is valid")
            .expect("it is whole");
        request
    }

    fn entry<'a>(request: Result<&'a Request, &'a [u8]>) -> Entry<'a> {
        Entry {
            peer: Address::Tcp(([192, 0, 2, 7], 4711).into()),
            user: None,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
            request,
            status: Some(Status::OK),
            body: 5,
        }
    }

    #[test]
    fn a_line_reads_as_apache_and_nginx_write_it() {
        let request = request(
            "GET /a?b HTTP/1.1\r\nHost: h\r\nReferer: http://r/\r\nUser-Agent: curl/8.5.0\r\n\r\n",
        );
        let mut line = entry(Ok(&request));
        line.user = Some("alice");
        assert_eq!(
            line.to_string(),
            "192.0.2.7 - alice [06/Nov/1994:08:49:37 +0000] \"GET /a?b HTTP/1.1\" 200 5 \
             \"http://r/\" \"curl/8.5.0\""
        );
    }

    #[test]
    fn what_is_missing_is_a_hyphen_and_a_client_that_left_has_499() {
        let request = request("POST / HTTP/1.0\r\n\r\n");
        let line = Entry { status: None, body: 0, ..entry(Ok(&request)) };
        let line = line.to_string();
        assert!(line.ends_with("] \"POST / HTTP/1.0\" 499 - \"-\" \"-\""), "{line}");
        let line = entry(Err(b"")).to_string();
        assert!(line.ends_with("] \"-\" 200 5 \"-\" \"-\""), "{line}");
    }

    #[test]
    fn no_field_can_be_left_and_no_line_ended() {
        let request = request("GET /\" HTTP/1.1\r\nHost: h\r\nUser-Agent: a\\\"\t\u{e9}\r\n\r\n");
        let mut line = entry(Ok(&request));
        line.user = Some("a b\"\n");
        let line = line.to_string();
        assert!(line.contains(" - a\\x20b\\\"\\x0a ["), "{line}");
        assert!(line.contains("\"GET /\\\" HTTP/1.1\""), "{line}");
        assert!(line.ends_with("\"a\\\\\\\"\\x09\\xc3\\xa9\""), "{line}");
        let line = entry(Err(b"\x16\x03\x01\"")).to_string();
        assert!(line.contains("\"\\x16\\x03\\x01\\\"\" 200"), "{line}");
    }
}
