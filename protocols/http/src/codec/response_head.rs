//! A response's head: the status line, the fields, and what they say about the body's length and the
//! connection's future (RFC 9112 §4, §6.3 and §9.3).
//!
//! As strict as for requests: what two clients on one path could read differently is refused. A
//! response is framed by the request that it answers, too, so that has to be given.

use std::borrow::Cow;

use super::fields::{Slots, check_line_ends, refusal, slots};
use super::head::{BodyLength, Codings, parse_length};
use crate::headers::elements;
use crate::{Config, Error, Headers, Method, Status, Version};

/// The head of a response as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    status: Status,
    version: Version,
    reason: String,
    headers: Headers,
}

/// What a response's head says about the bytes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseFraming {
    /// How long the body is.
    pub length: ResponseLength,
    /// Whether the server keeps the connection for another request (RFC 9112 §9.3).
    pub keep_alive: bool,
}

/// How the end of a response's body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseLength {
    /// So many bytes; zero for what never has a body: 1xx, 204, 304, and any answer to HEAD.
    Exact(u64),
    /// By the chunked coding.
    Chunked,
    /// It ends with the connection.
    UntilClose,
    /// No body: the connection is another protocol's from here on (101, or a 2xx to CONNECT).
    Tunnel,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            status: Status::OK,
            version: Version::Http11,
            reason: String::new(),
            headers: Headers::new(),
        }
    }
}

impl ResponseHead {
    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The version of HTTP that the server speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The words behind the status, as they were sent; empty if there were none, or none in ASCII.
    /// They mean nothing to programs (RFC 9112 §4).
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The value of the first header field called `name`, in any case, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_str(name)
    }
}

/// Reads a head at the beginning of `input` into `response`, which answers a request with this
/// method. `None` if it is not whole yet; else its length in bytes and what follows. `response` is
/// unspecified after an error. The limits are [`Config::max_head`] and [`Config::max_headers`].
///
/// Reading again from the start at each packet costs O(n²) for a head that drips in:
/// [`has_blank_line`](super::has_blank_line) tells when it is worth it.
///
/// # Errors
/// What is wrong with the head; where the response ends is unknown then.
pub fn parse_response(
    input: &[u8],
    method: Method,
    config: &Config,
    response: &mut ResponseHead,
) -> Result<Option<(usize, ResponseFraming)>, Error> {
    if matches!(input, [b'\r' | b'\n', ..]) {
        return Err(Error::StatusLine); // httparse would skip it
    }
    let incomplete = || match input.len() > config.max_head {
        true => Err(Error::HeadTooLarge),
        false => Ok(None),
    };
    match parse(input, config, method, response) {
        Err(httparse::Error::Version) => match as_http_1_1(input)? {
            None => incomplete(),
            Some(patched) => match parse(&patched, config, method, response) {
                Ok(Some(read)) => read.map(Some),
                Ok(None) => incomplete(),
                Err(error) => Err(refused(error)),
            },
        },
        Ok(Some(read)) => read.map(Some),
        Ok(None) => incomplete(),
        Err(error) => Err(refused(error)),
    }
}

type Read = Result<(usize, ResponseFraming), Error>;

fn parse(
    input: &[u8],
    config: &Config,
    method: Method,
    response: &mut ResponseHead,
) -> Result<Option<Read>, httparse::Error> {
    let mut slots: Slots<'_> = slots();
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        input,
        &mut slots[..config.max_headers],
    )?;
    Ok(match status {
        httparse::Status::Complete(length) => {
            Some(read_head(&input[..length], &parsed, config, method, response))
        }
        httparse::Status::Partial => None,
    })
}

fn refused(error: httparse::Error) -> Error {
    match refusal(error) {
        Error::RequestLine => Error::StatusLine,
        error => error,
    }
}

/// For a head whose version httparse does not know: the head as one of HTTP/1.1, if it is of a
/// later HTTP/1 (RFC 9110 §2.5); `None` if that cannot be told yet.
fn as_http_1_1(input: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
    match input {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', ..] => {
            let mut patched = input.to_vec();
            patched[7] = b'1';
            Ok(Some(Cow::Owned(patched)))
        }
        [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', ..] => Err(Error::Version),
        _ if b"HTTP/1.".starts_with(input) => Ok(None),
        _ => Err(Error::StatusLine),
    }
}

/// Judges a whole head, and fills `response`.
fn read_head(
    head: &[u8],
    parsed: &httparse::Response<'_, '_>,
    config: &Config,
    method: Method,
    response: &mut ResponseHead,
) -> Read {
    if head.len() > config.max_head {
        return Err(Error::HeadTooLarge);
    }
    check_line_ends(head, parsed.headers)?;
    let version = if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let status = parsed.code.and_then(Status::from_code).ok_or(Error::StatusLine)?;
    let framing = read_framing(method, version, status, parsed.headers)?;
    response.status = status;
    response.version = version;
    response.reason.clear();
    response.reason.push_str(parsed.reason.unwrap_or_default());
    response.headers.fill(head, parsed.headers);
    Ok((head.len(), framing))
}

/// The fields that decide on framing and persistence, in one pass.
fn read_framing(
    method: Method,
    version: Version,
    status: Status,
    fields: &[httparse::Header<'_>],
) -> Result<ResponseFraming, Error> {
    let mut content_length = None;
    let mut codings = Codings::default();
    let (mut close, mut keep_alive) = (false, false);
    for field in fields {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        match field.name.len() {
            10 if is("connection") => {
                for option in elements(field.value) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is("content-length") => {
                if content_length.is_some() {
                    return Err(Error::ContentLengthRepeated);
                }
                content_length = Some(parse_length(field.value)?);
            }
            17 if is("transfer-encoding") => codings.add(field.value),
            _ => {}
        }
    }
    let mut keep_alive = !close && (version >= Version::Http11 || keep_alive);
    let announced = match (codings.seen, content_length) {
        (true, Some(_)) => return Err(Error::LengthConflict),
        (true, None) if version == Version::Http10 => return Err(Error::TransferEncodingVersion),
        (true, None) => match codings.body_length()? {
            BodyLength::Exact(length) => ResponseLength::Exact(length),
            BodyLength::Chunked => ResponseLength::Chunked,
        },
        (false, Some(length)) => ResponseLength::Exact(length),
        (false, None) => ResponseLength::UntilClose,
    };
    let has_announced_body =
        matches!(announced, ResponseLength::Exact(1..) | ResponseLength::Chunked);
    let length = if status == Status::SWITCHING_PROTOCOLS
        || (method == Method::Connect && status.is_success())
    {
        ResponseLength::Tunnel // whatever the fields say (RFC 9110 §9.3.6)
    } else if status.is_informational() {
        if has_announced_body {
            return Err(Error::InformationalBody);
        }
        ResponseLength::Exact(0)
    } else if status == Status::NO_CONTENT {
        // It has no body, but a server that announces one may send it all the same: then nobody
        // could tell what the next bytes are (RFC 9110 §8.6 forbids it to announce one).
        keep_alive &= !has_announced_body;
        ResponseLength::Exact(0)
    } else if status.is_bodiless() || method == Method::Head {
        ResponseLength::Exact(0)
    } else {
        announced
    };
    match length {
        ResponseLength::UntilClose | ResponseLength::Tunnel => keep_alive = false,
        _ => {}
    }
    Ok(ResponseFraming { length, keep_alive })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(wire: &[u8], method: Method) -> Result<Option<(usize, ResponseFraming)>, Error> {
        parse_response(wire, method, &Config::new(), &mut ResponseHead::default())
    }

    fn framing(wire: &str, method: Method) -> Result<(ResponseLength, bool), Error> {
        let (length, framing) = read(wire.as_bytes(), method)?.expect("a whole head");
        assert_eq!(length, wire.len());
        for cut in 0..wire.len() {
            let part = read(&wire.as_bytes()[..cut], method);
            assert_eq!(part, Ok(None), "{wire:?} cut at {cut}");
        }
        let more = format!("{wire}HTTP/1.1 200");
        assert_eq!(read(more.as_bytes(), method), Ok(Some((length, framing))));
        Ok((framing.length, framing.keep_alive))
    }

    #[test]
    fn a_head_is_read_with_its_reason_and_its_fields() {
        let mut response = ResponseHead::default();
        let wire = b"HTTP/1.1 404 Nothing  Here\r\nA: b \r\nC:\r\n\r\n";
        let read = parse_response(wire, Method::Get, &Config::new(), &mut response);
        assert!(matches!(read, Ok(Some((length, _))) if length == wire.len()));
        assert_eq!(response.status(), Status::NOT_FOUND);
        assert_eq!(response.reason(), "Nothing  Here");
        assert_eq!(response.header("a"), Some("b"));
        assert_eq!(response.header("c"), Some(""));
        for (line, code, version) in [
            ("HTTP/1.0 200 OK", 200, Version::Http10),
            ("HTTP/1.1 299 ", 299, Version::Http11),
            ("HTTP/1.1 999", 999, Version::Http11),
            ("HTTP/1.7 200 OK", 200, Version::Http11),
            ("HTTP/1.1 200 \u{fc}", 200, Version::Http11),
        ] {
            let wire = format!("{line}\r\n\r\n");
            let read = parse_response(wire.as_bytes(), Method::Get, &Config::new(), &mut response);
            assert!(matches!(read, Ok(Some(_))), "{line}: {read:?}");
            assert_eq!((response.status().code(), response.version()), (code, version), "{line}");
        }
    }

    #[test]
    fn a_body_is_framed_as_section_6_3_says() {
        use ResponseLength::{Chunked, Exact, Tunnel, UntilClose};
        for (head, method, length, keep_alive) in [
            ("200 OK\r\nContent-Length: 5\r\n", Method::Get, Exact(5), true),
            ("200 OK\r\nContent-Length: 0\r\n", Method::Get, Exact(0), true),
            ("200 OK\r\nTransfer-Encoding: Chunked\r\n", Method::Get, Chunked, true),
            ("200 OK\r\n", Method::Get, UntilClose, false),
            (
                "200 OK\r\nContent-Length: 5\r\nConnection: a, Close\r\n",
                Method::Get,
                Exact(5),
                false,
            ),
            ("200 OK\r\nContent-Length: 5\r\n", Method::Head, Exact(0), true),
            ("200 OK\r\nTransfer-Encoding: chunked\r\n", Method::Head, Exact(0), true),
            ("200 OK\r\n", Method::Head, Exact(0), true),
            ("204 No Content\r\n", Method::Get, Exact(0), true),
            ("204 No Content\r\nContent-Length: 0\r\n", Method::Delete, Exact(0), true),
            ("204 No Content\r\nContent-Length: 5\r\n", Method::Get, Exact(0), false),
            ("204 No Content\r\nTransfer-Encoding: chunked\r\n", Method::Get, Exact(0), false),
            ("304 Not Modified\r\nContent-Length: 5\r\n", Method::Get, Exact(0), true),
            ("100 Continue\r\n", Method::Post, Exact(0), true),
            ("101 Switching Protocols\r\nUpgrade: x\r\n", Method::Get, Tunnel, false),
            ("200 OK\r\n", Method::Connect, Tunnel, false),
            ("200 OK\r\nContent-Length: 5\r\n", Method::Connect, Tunnel, false),
            ("407 No\r\nContent-Length: 5\r\n", Method::Connect, Exact(5), true),
        ] {
            let wire = format!("HTTP/1.1 {head}\r\n");
            assert_eq!(framing(&wire, method), Ok((length, keep_alive)), "{method} {wire:?}");
        }
        let old = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n";
        assert_eq!(framing(&format!("{old}\r\n"), Method::Get), Ok((Exact(5), false)));
        let kept = format!("{old}Connection: keep-alive\r\n\r\n");
        assert_eq!(framing(&kept, Method::Get), Ok((Exact(5), true)));
    }

    #[test]
    fn what_is_ambiguous_or_malformed_is_refused() {
        for (wire, error) in [
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Error::StatusLine),
            ("ICY 200 OK\r\n\r\n", Error::StatusLine),
            ("<html>", Error::StatusLine),
            ("HTTP/2 200\r\n\r\n", Error::Version),
            ("HTTP/0.9 200 OK\r\n\r\n", Error::Version),
            ("HTTP/1.1  200 OK\r\n\r\n", Error::StatusLine),
            ("HTTP/1.1 20 OK\r\n\r\n", Error::StatusLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", Error::StatusLine),
            ("HTTP/1.1 099 OK\r\n\r\n", Error::StatusLine),
            ("HTTP/1.1 200 O\0K\r\n\r\n", Error::StatusLine),
            ("HTTP/1.1 200 OK\n\r\n", Error::LineEnd),
            ("HTTP/1.1 200 OK\nA: b\r\n\r\n", Error::LineEnd),
            ("HTTP/1.1 200 OK\r\nA: b\n\r\n", Error::LineEnd),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Error::FieldName),
            ("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", Error::FieldName),
            ("HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n", Error::FieldValue),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                Error::ContentLengthRepeated,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", Error::ContentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", Error::ContentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", Error::ContentLength),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
                Error::ContentLength,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                Error::LengthConflict,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Error::TransferCoding),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Error::TransferEncoding),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
                Error::TransferEncoding,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", Error::TransferEncoding),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Error::TransferEncodingVersion,
            ),
            ("HTTP/1.1 103 Hints\r\nContent-Length: 5\r\n\r\n", Error::InformationalBody),
        ] {
            assert_eq!(read(wire.as_bytes(), Method::Get), Err(error), "{wire:?}");
        }
    }

    #[test]
    fn a_head_over_the_limits_is_refused() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert_eq!(read(many.as_bytes(), Method::Get), Err(Error::TooManyFields));
        let large = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(32 * 1024));
        assert_eq!(read(large.as_bytes(), Method::Get), Err(Error::HeadTooLarge));
        let whole = format!("{large}\r\n\r\n");
        assert_eq!(read(whole.as_bytes(), Method::Get), Err(Error::HeadTooLarge));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused_and_more_of_it_changes_no_head(
            beginning in prop_oneof![
                Just("HTTP/1.1 200 OK\r\n"), Just("HTTP/1.1 "), Just("HTTP/1"), Just(""),
            ],
            rest in "[a-zA-Z0-9:, \r\n\t\x00\x7f]{0,80}",
        ) {
            let wire = format!("{beginning}{rest}");
            let wire = wire.as_bytes();
            let whole = read(wire, Method::Get);
            for cut in 0..wire.len() {
                match read(&wire[..cut], Method::Get) {
                    Ok(Some(part)) => prop_assert_eq!(&whole, &Ok(Some(part))),
                    Ok(None) => {}
                    Err(_) => prop_assert!(whole.is_err()),
                }
            }
        }
    }
}
