//! What a server answers: RESP2 and RESP3, streamed forms included, one value after the other.
//!
//! Values that lie in an unfinished one are kept on a stack, and their bytes are consumed: only
//! the string or line that is cut has to be there again.

use bytes::Bytes;
use memchr::memchr;

use super::error::ReplyError;
use super::number::parse_integer;
use super::value::Value;

/// How much a server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// How deep values may lie in values (32).
    pub depth: usize,
    /// Values in one whole reply (1,048,576).
    pub values: usize,
    /// Bytes of the strings in one whole reply (512 MiB, Redis's own for a string).
    pub bytes: usize,
    /// Bytes of a line: a simple string, an error or a number (64 KiB).
    pub line: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { depth: 32, values: 1 << 20, bytes: 512 << 20, line: 64 << 10 }
    }
}

/// What an unfinished value is going to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Push,
    Map,
    Set,
    /// What stands before another value and tells about it; it is read and dropped.
    Attribute,
    /// A string in pieces.
    Streamed,
}

/// An unfinished value.
#[derive(Debug, Clone)]
struct Frame {
    kind: Kind,
    /// How many values are to come; `None` until an end mark.
    left: Option<usize>,
    items: Vec<Value>,
}

/// What stands at the front of the stream.
enum Token<'a> {
    /// It is not whole.
    Partial,
    Value(Value),
    Begin(Kind, Option<usize>),
    /// A piece of a streamed string.
    Piece(&'a [u8]),
    /// The end mark of a streamed array, map or set.
    End,
}

/// Reads replies from a stream.
#[derive(Debug, Clone, Default)]
pub struct ReplyDecoder {
    limits: ReplyLimits,
    frames: Vec<Frame>,
    /// The line at the front has no end up to here.
    searched: usize,
    /// Of the reply that is being read.
    values: usize,
    bytes: usize,
}

impl ReplyDecoder {
    /// A decoder at the beginning of a reply.
    pub fn new(limits: ReplyLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes what it can from the front of `data`: how many bytes that were, and the reply if it is
    /// whole. What was not taken has to be there again at the next call.
    ///
    /// # Errors
    /// [`ReplyError`], after which the stream is of no use.
    pub fn decode(&mut self, data: &[u8]) -> Result<(usize, Option<Value>), ReplyError> {
        let mut at = 0;
        loop {
            let (used, token) = self.token(&data[at..])?;
            at += used;
            let mut value = match token {
                Token::Partial => return Ok((at, None)),
                Token::Value(value) => {
                    self.count(1, value.as_bytes().map_or(0, Bytes::len))?;
                    value
                }
                Token::Begin(kind, left) => {
                    if self.frames.len() >= self.limits.depth {
                        return Err(ReplyError::TooDeep);
                    }
                    self.count(1, 0)?;
                    if left.is_some_and(|left| left > self.limits.values) {
                        return Err(ReplyError::TooLarge);
                    }
                    self.frames.push(Frame { kind, left, items: Vec::new() });
                    match self.close_if_full() {
                        Some(value) => value,
                        None => continue,
                    }
                }
                Token::Piece(piece) => {
                    self.count(0, piece.len())?;
                    let Some(frame) = self.frames.last_mut() else {
                        return Err(ReplyError::UnknownType(b';'));
                    };
                    if frame.kind != Kind::Streamed {
                        return Err(ReplyError::UnknownType(b';'));
                    }
                    if !piece.is_empty() {
                        frame.items.push(Value::Bulk(Bytes::copy_from_slice(piece)));
                        self.count(1, 0)?;
                        continue;
                    }
                    match self.close() {
                        Some(value) => value,
                        None => continue,
                    }
                }
                Token::End => match self.frames.last() {
                    Some(Frame { kind, left: None, items })
                        if *kind != Kind::Streamed
                            && (items.len() % 2 == 0
                                || !matches!(kind, Kind::Map | Kind::Attribute)) =>
                    {
                        match self.close() {
                            Some(value) => value,
                            None => continue,
                        }
                    }
                    _ => return Err(ReplyError::UnknownType(b'.')),
                },
            };
            // It goes into the value that it lies in, which may be whole then, and so on.
            loop {
                let Some(frame) = self.frames.last_mut() else {
                    (self.values, self.bytes) = (0, 0);
                    return Ok((at, Some(value)));
                };
                if frame.kind == Kind::Streamed {
                    return Err(ReplyError::Malformed);
                }
                frame.items.push(value);
                if let Some(left) = &mut frame.left {
                    *left -= 1;
                }
                match self.close_if_full() {
                    Some(whole) => value = whole,
                    None => break,
                }
            }
        }
    }

    fn count(&mut self, values: usize, bytes: usize) -> Result<(), ReplyError> {
        self.values += values;
        self.bytes += bytes;
        match self.values > self.limits.values || self.bytes > self.limits.bytes {
            true => Err(ReplyError::TooLarge),
            false => Ok(()),
        }
    }

    /// The innermost unfinished value, if it is whole now. (An attribute that is whole is dropped.)
    fn close_if_full(&mut self) -> Option<Value> {
        let full = self.frames.last().is_some_and(|frame| frame.left == Some(0));
        if full { self.close() } else { None }
    }

    fn close(&mut self) -> Option<Value> {
        let Frame { kind, items, .. } = self.frames.pop()?;
        Some(match kind {
            Kind::Attribute => return None,
            Kind::Array => Value::Array(items),
            Kind::Push => Value::Push(items),
            Kind::Set => Value::Set(items),
            Kind::Map => {
                let mut pairs = Vec::with_capacity(items.len() / 2);
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            }
            Kind::Streamed => {
                let pieces = items.iter().filter_map(Value::as_bytes).map(|piece| &piece[..]);
                Value::Bulk(pieces.collect::<Vec<_>>().concat().into())
            }
        })
    }

    /// What stands at the front, and its bytes.
    fn token<'a>(&mut self, data: &'a [u8]) -> Result<(usize, Token<'a>), ReplyError> {
        let Some(line_end) = self.line_end(data)? else { return Ok((0, Token::Partial)) };
        let (kind, line, behind) = (data[0], &data[1..line_end], line_end + 2);
        let whole = |value| Ok((behind, Token::Value(value)));
        let begin = |kind, length| Ok((behind, Token::Begin(kind, length)));
        let text = || Bytes::copy_from_slice(line);
        let result = match kind {
            b'+' => whole(Value::Simple(text())),
            b'-' => whole(Value::Error(text())),
            b':' => match parse_integer(line.strip_prefix(b"+").unwrap_or(line)) {
                Some(number) => whole(Value::Integer(number)),
                None => Err(ReplyError::Malformed),
            },
            b'_' if line.is_empty() => whole(Value::Null),
            b'#' if line == b"t" => whole(Value::Boolean(true)),
            b'#' if line == b"f" => whole(Value::Boolean(false)),
            b',' => match double(line) {
                Some(number) => whole(Value::Double(number)),
                None => Err(ReplyError::Malformed),
            },
            b'(' if is_big_number(line) => whole(Value::BigNumber(text())),
            b'_' | b'#' | b'(' => Err(ReplyError::Malformed),
            b'$' if line == b"?" => begin(Kind::Streamed, None),
            b'$' | b'*' if line == b"-1" => whole(Value::Null),
            b'$' | b'!' | b'=' | b';' => return self.string(data, kind, line, behind),
            b'*' => begin(Kind::Array, length(line)?),
            b'>' => begin(Kind::Push, length(line)?),
            b'~' => begin(Kind::Set, length(line)?),
            b'%' => begin(Kind::Map, twice(length(line)?)?),
            b'|' => begin(Kind::Attribute, twice(length(line)?)?),
            b'.' if line.is_empty() => Ok((behind, Token::End)),
            other => Err(ReplyError::UnknownType(other)),
        };
        self.searched = 0;
        result
    }

    /// A string with its length before it, and its line end behind it.
    fn string<'a>(
        &mut self,
        data: &'a [u8],
        kind: u8,
        line: &[u8],
        start: usize,
    ) -> Result<(usize, Token<'a>), ReplyError> {
        let length = length(line)?.ok_or(ReplyError::Malformed)?;
        if length > self.limits.bytes {
            return Err(ReplyError::TooLarge);
        }
        // The last piece of a streamed string has nothing behind its length.
        let end = if kind == b';' && length == 0 { start } else { start + length + 2 };
        if data.len() < end {
            // The line is short and stays searched.
            return Ok((0, Token::Partial));
        }
        self.searched = 0;
        let string = &data[start..start + length];
        if end > start && &data[start + length..end] != b"\r\n" {
            return Err(ReplyError::LineEnd);
        }
        let token = match kind {
            b'$' => Token::Value(Value::Bulk(Bytes::copy_from_slice(string))),
            b'!' => Token::Value(Value::Error(Bytes::copy_from_slice(string))),
            b';' => Token::Piece(string),
            _ => match string {
                [a, b, c, b':', text @ ..] => {
                    Token::Value(Value::Verbatim([*a, *b, *c], Bytes::copy_from_slice(text)))
                }
                _ => return Err(ReplyError::Malformed),
            },
        };
        Ok((end, token))
    }

    /// Where the line at the front ends, without its CR LF.
    fn line_end(&mut self, data: &[u8]) -> Result<Option<usize>, ReplyError> {
        match data.first() {
            None => return Ok(None),
            Some(&kind) if !is_kind(kind) => return Err(ReplyError::UnknownType(kind)),
            Some(_) => {}
        }
        let found = memchr(b'\r', &data[self.searched..]).map(|found| self.searched + found);
        let end = found.unwrap_or(data.len());
        if end > self.limits.line {
            return Err(ReplyError::LineTooLong);
        }
        self.searched = end;
        match found.and_then(|end| data.get(end + 1)) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(end)),
            Some(_) => Err(ReplyError::LineEnd),
        }
    }
}

fn is_kind(byte: u8) -> bool {
    b"+-:_#,($*!=;>~%|.".contains(&byte)
}

/// A length; `None` is one that an end mark tells.
fn length(line: &[u8]) -> Result<Option<usize>, ReplyError> {
    if line == b"?" {
        return Ok(None);
    }
    let length = parse_integer(line).and_then(|length| usize::try_from(length).ok());
    length.map(Some).ok_or(ReplyError::Malformed)
}

/// Pairs are two values each.
fn twice(length: Option<usize>) -> Result<Option<usize>, ReplyError> {
    match length {
        None => Ok(None),
        Some(length) => length.checked_mul(2).map(Some).ok_or(ReplyError::TooLarge),
    }
}

fn double(line: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(line).ok()?;
    match text.bytes().all(|byte| b"0123456789+-.eEinfa".contains(&byte)) {
        true => text.parse().ok(),
        false => None,
    }
}

fn is_big_number(line: &[u8]) -> bool {
    let digits = line.strip_prefix(b"-").or(line.strip_prefix(b"+")).unwrap_or(line);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}
