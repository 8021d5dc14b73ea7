//! Header lines, as they stand in heads and in trailer sections (RFC 9112 §5).

use std::mem::MaybeUninit;

use httparse::Header;

use crate::{Config, Error, Headers};

/// The most fields that a head may have, whatever the configuration says: the parser's slots are
/// on the stack, 128 × 32 bytes.
pub const MAX_FIELDS: usize = 128;

/// Room for the parser on the stack; it costs nothing until it is used.
pub(crate) type Slots<'a> = [MaybeUninit<Header<'a>>; MAX_FIELDS];

pub(crate) const fn slots<'a>() -> Slots<'a> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// Reads a trailer section, up to and with its empty line, into `trailers`. `None` if it is not
/// whole yet; else its length in bytes.
pub(crate) fn parse_trailers(
    input: &[u8],
    config: &Config,
    trailers: &mut Headers,
) -> Result<Option<usize>, Error> {
    if input.starts_with(b"\r\n") {
        trailers.clear();
        return Ok(Some(2));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match httparse::parse_headers(input, &mut fields[..config.max_headers]) {
        Ok(httparse::Status::Complete((length, fields))) => {
            if length > config.max_head {
                return Err(Error::HeadTooLarge);
            }
            check_line_ends(&input[..length], fields)?;
            trailers.fill(&input[..length], fields);
            Ok(Some(length))
        }
        Ok(httparse::Status::Partial) if input.len() > config.max_head => Err(Error::HeadTooLarge),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(refusal(error)),
    }
}

/// Checks that every line of the block ends in CRLF: httparse takes a lone LF too, and so might
/// the next server on the path, or not (RFC 9112 §2.2 leaves it open).
pub(crate) fn check_line_ends(block: &[u8], fields: &[Header<'_>]) -> Result<(), Error> {
    let base = block.as_ptr() as usize;
    let whole = block.ends_with(b"\r\n\r\n")
        && fields.iter().all(|field| {
            let start = field.name.as_ptr() as usize - base;
            start == 0 || block[..start].ends_with(b"\r\n")
        });
    if whole { Ok(()) } else { Err(Error::LineEnd) }
}

/// What the peer is told when httparse refuses its head.
pub(crate) fn refusal(error: httparse::Error) -> Error {
    match error {
        httparse::Error::HeaderName => Error::FieldName,
        httparse::Error::HeaderValue => Error::FieldValue,
        httparse::Error::NewLine => Error::LineEnd,
        httparse::Error::TooManyHeaders => Error::TooManyFields,
        // The version is looked at again by the caller.
        _ => Error::RequestLine,
    }
}
