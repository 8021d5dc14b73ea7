//! A request's head: the request line, the fields, and what they say about the body's length and
//! the connection's future (RFC 9112 §3, §6 and §9).
//!
//! httparse finds the fields; everything it leaves open is decided here, in one pass.

use std::borrow::Cow;

use super::fields::{Slots, check_line_ends, refusal, slots};
use super::target::{check_host, check_target};
use crate::headers::elements;
use crate::{Config, Error, Method, Request, Version};

/// Method, two spaces, version and CRLF around the target: nothing of this is longer.
const REQUEST_LINE_REST: usize = 64;

/// What a head says about the bytes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// How long the body is.
    pub body: BodyLength,
    /// Whether the client wants the connection to stay open (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// How the end of a message's body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes; zero where the head says nothing.
    Exact(u64),
    /// By the chunked coding.
    Chunked,
}

/// Reads a head at the beginning of `input` into `request`. `None` if it is not whole yet; else
/// its length in bytes and what follows. `request` is unspecified after an error.
///
/// Reading again from the start at each packet costs O(n²) for a head that drips in:
/// [`has_blank_line`] tells when it is worth it.
pub fn parse_request(
    input: &[u8],
    config: &Config,
    request: &mut Request,
) -> Result<Option<(usize, Framing)>, Error> {
    if matches!(input, [b'\n', ..]) {
        return Err(Error::LineEnd); // httparse would skip it
    }
    let mut slots = slots();
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(input, &mut slots[..config.max_headers]) {
        Ok(httparse::Status::Complete(length)) => {
            read_head(input, length, &parsed, config, request).map(Some)
        }
        Ok(httparse::Status::Partial) => check_partial(input, config).map(|()| None),
        Err(httparse::Error::Version) => match as_http_1_1(input)? {
            Some(patched) => {
                let mut slots: Slots<'_> = self::slots();
                let mut parsed = httparse::Request::new(&mut []);
                let slots = &mut slots[..config.max_headers];
                match parsed.parse_with_uninit_headers(&patched, slots) {
                    Ok(httparse::Status::Complete(length)) => {
                        read_head(&patched, length, &parsed, config, request).map(Some)
                    }
                    Ok(httparse::Status::Partial) => check_partial(input, config).map(|()| None),
                    Err(error) => Err(refusal(error)),
                }
            }
            None => check_partial(input, config).map(|()| None),
        },
        Err(error) => Err(refusal(error)),
    }
}

/// Whether a head that is not whole may still become one within the limits.
pub fn check_partial(input: &[u8], config: &Config) -> Result<(), Error> {
    let on_first_line = memchr::memchr(b'\n', input).is_none();
    if on_first_line && input.len() > config.max_target + REQUEST_LINE_REST {
        return Err(Error::TargetTooLong);
    }
    if input.len() > config.max_head {
        return Err(if on_first_line { Error::TargetTooLong } else { Error::HeadTooLarge });
    }
    Ok(())
}

/// Whether an empty line ends in `input`, and with it perhaps a head. Give it the bytes that are
/// new, and the three before them.
pub fn has_blank_line(input: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', input).any(|at| {
        let rest = &input[at + 1..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    })
}

/// For a head whose version httparse does not know: the head as one of HTTP/1.1, if it is of a
/// later HTTP/1 (RFC 9110 §2.5); `None` if the line is not whole yet.
fn as_http_1_1(input: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
    let Some(end) = memchr::memchr(b'\n', input) else { return Ok(None) };
    let line = input[..end].strip_suffix(b"\r").ok_or(Error::LineEnd)?;
    match line {
        [.., b' ', b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', b'0'..=b'9'] => {
            if *major != b'1' {
                return Err(Error::Version);
            }
            let mut patched = input.to_vec();
            patched[line.len() - 1] = b'1';
            Ok(Some(Cow::Owned(patched)))
        }
        _ => Err(Error::RequestLine),
    }
}

/// Judges a whole head, and fills `request`.
fn read_head(
    input: &[u8],
    length: usize,
    parsed: &httparse::Request<'_, '_>,
    config: &Config,
    request: &mut Request,
) -> Result<(usize, Framing), Error> {
    let head = &input[..length];
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Error::RequestLine);
    };
    if target.len() > config.max_target {
        return Err(Error::TargetTooLong);
    }
    if length > config.max_head {
        return Err(Error::HeadTooLarge);
    }
    check_line_ends(head, parsed.headers)?;
    let method = Method::from_bytes(method.as_bytes()).ok_or(Error::Method)?;
    if matches!(method, Method::Extension(_)) && !config.extension_methods {
        return Err(Error::Method);
    }
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let framing = read_framing(method, version, parsed.headers)?;
    let form = check_target(method, target)?;

    request.method = method;
    request.version = version;
    request.target.fill(target, form);
    request.headers.fill(head, parsed.headers);
    request.body.clear();
    request.trailers.clear();
    Ok((length, framing))
}

/// The fields that decide on framing and persistence, in one pass. Most names are ruled out by
/// their length alone.
fn read_framing(
    method: Method,
    version: Version,
    fields: &[httparse::Header<'_>],
) -> Result<Framing, Error> {
    let mut hosts = 0;
    let mut content_length = None;
    let mut codings = Codings::default();
    let (mut close, mut keep_alive) = (false, false);
    let (mut expects_continue, mut unknown_expectation) = (false, false);
    for field in fields {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        match field.name.len() {
            4 if is("host") => {
                hosts += 1;
                check_host(field.value)?;
            }
            6 if is("expect") => {
                for expectation in elements(field.value) {
                    if expectation.eq_ignore_ascii_case(b"100-continue") {
                        expects_continue = true;
                    } else {
                        unknown_expectation = true;
                    }
                }
            }
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
    match (hosts, version) {
        (1, _) | (0, Version::Http10) => {}
        (0, _) => return Err(Error::HostMissing),
        _ => return Err(Error::HostRepeated),
    }
    let body = match (codings.seen, content_length) {
        (true, Some(_)) => return Err(Error::LengthConflict),
        (true, None) if version == Version::Http10 => return Err(Error::TransferEncodingVersion),
        (true, None) => codings.body_length()?,
        (false, length) => BodyLength::Exact(length.unwrap_or(0)),
    };
    if method == Method::Trace && body != BodyLength::Exact(0) {
        return Err(Error::BodyNotAllowed);
    }
    // An HTTP/1.0 client cannot have meant an expectation (RFC 9110 §10.1.1).
    let expects = version >= Version::Http11;
    if expects && unknown_expectation {
        return Err(Error::Expectation);
    }
    Ok(Framing {
        body,
        keep_alive: !close && (version >= Version::Http11 || keep_alive),
        expects_continue: expects && expects_continue && body != BodyLength::Exact(0),
    })
}

/// The transfer codings of a message, over all its fields, in order.
#[derive(Debug, Default)]
pub(super) struct Codings {
    pub(super) seen: bool,
    chunked: u32,
    others: u32,
    chunked_is_last: bool,
}

impl Codings {
    pub(super) fn add(&mut self, value: &[u8]) {
        self.seen = true;
        for coding in elements(value) {
            self.chunked_is_last = coding.eq_ignore_ascii_case(b"chunked");
            if self.chunked_is_last {
                self.chunked += 1;
            } else {
                self.others += 1;
            }
        }
    }

    /// RFC 9112 §6.3: a request that does not end in chunked has no length that can be known. (A
    /// response ends with the connection then; but a client that asked for no coding gets none.)
    pub(super) fn body_length(&self) -> Result<BodyLength, Error> {
        if !self.chunked_is_last || self.chunked != 1 {
            return Err(Error::TransferEncoding);
        }
        if self.others > 0 { Err(Error::TransferCoding) } else { Ok(BodyLength::Chunked) }
    }
}

/// Digits and nothing else: no sign, no list, no white space inside (RFC 9110 §8.6).
pub(super) fn parse_length(value: &[u8]) -> Result<u64, Error> {
    if value.is_empty() {
        return Err(Error::ContentLength);
    }
    value.iter().try_fold(0u64, |length, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Error::ContentLength);
        }
        length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(digit)))
            .ok_or(Error::ContentLength)
    })
}
