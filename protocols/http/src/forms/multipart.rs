//! The decoder of `multipart/form-data` (RFC 7578, RFC 2046 §5.1): bytes in, parts out. No I/O, and
//! nothing kept of a part but its head while that comes in.
//!
//! It consumes all that it is given and never looks at a byte twice, but for the few that might have
//! been a boundary. The one rule it rests on: no boundary holds a CR, so what looks like a delimiter
//! and turns out not to be one can begin another only at the byte that differs.

use std::ops::Range;

use memchr::memmem::Finder;

use super::{FormError, FormLimits, Part};

/// The longest boundary (RFC 2046 §5.1.1).
const MAX_BOUNDARY: usize = 70;

/// Reads one body, given in pieces of any size.
///
/// ```
/// use ropewalk_http::forms::{FormLimits, MultipartDecoder, MultipartPiece};
///
/// # fn main() -> Result<(), ropewalk_http::forms::FormError> {
/// let mut decoder = MultipartDecoder::new("x", FormLimits::new())?;
/// let mut body: &[u8] =
///     b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nhello\r\n--x--\r\n";
/// let mut told = String::new();
/// loop {
///     let (used, piece) = decoder.decode(body)?;
///     match piece {
///         MultipartPiece::PartStarted(part) => told += &part.name,
///         MultipartPiece::Data(data) => told += &String::from_utf8_lossy(data),
///         MultipartPiece::PartEnded | MultipartPiece::Ended => told += ";",
///         MultipartPiece::NeedMore => break,
///     }
///     body = &body[used..];
/// }
/// decoder.finish()?;
/// assert_eq!(told, "ahello;;");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MultipartDecoder {
    limits: FormLimits,
    /// What ends a part: CRLF, `--`, the boundary.
    delimiter: Box<[u8]>,
    finder: Finder<'static>,
    state: State,
    /// The part before the current delimiter has not been ended.
    is_open: bool,
    /// So many bytes of the delimiter were at the end of the input, and their successors are awaited.
    /// The first `borrowed` of them are not the part's own.
    matched: usize,
    borrowed: usize,
    /// As much of a part's head as is there.
    head: Vec<u8>,
    is_file: bool,
    parts: usize,
    /// Bytes so far: of all fields with their names, of the current file, of the body.
    fields: u64,
    file: u64,
    total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter: of no meaning (RFC 2046 §5.1.1).
    Preamble,
    /// Behind a delimiter.
    Delimiter,
    /// Behind a delimiter and one `-`.
    LastDelimiter,
    /// In the white space behind a delimiter.
    Padding,
    /// Behind a delimiter and CR.
    LineEnd,
    Head,
    Content,
    /// Behind the last delimiter: of no meaning.
    Epilogue,
}

/// What the decoder made of its input.
#[derive(Debug, PartialEq, Eq)]
pub enum MultipartPiece<'a> {
    /// Nothing more without more input; all of it was consumed.
    NeedMore,
    /// A part begins.
    PartStarted(Part),
    /// Content of the part, never empty.
    Data(&'a [u8]),
    /// The part is whole.
    PartEnded,
    /// That was the last part. Told once; what follows is consumed and means nothing.
    Ended,
}

/// What a search for the delimiter came to.
enum Found {
    /// Nothing, and all input may be a part of one.
    Nothing,
    /// Bytes that were held back, and belong to the content after all. No input was consumed.
    Held(Range<usize>),
    /// `data` bytes of input are content; `used` bytes were looked at.
    Content { data: usize, used: usize, is_delimited: bool },
}

impl MultipartDecoder {
    /// A decoder for a body whose Content-Type names this boundary.
    ///
    /// # Errors
    /// [`FormError::Boundary`] if it is none.
    pub fn new(boundary: &str, limits: FormLimits) -> Result<Self, FormError> {
        if !is_boundary(boundary.as_bytes()) {
            return Err(FormError::Boundary);
        }
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat().into_boxed_slice();
        Ok(Self {
            limits,
            finder: Finder::new(&delimiter).into_owned(),
            delimiter,
            state: State::Preamble,
            is_open: false,
            // The first delimiter may be the body's first line.
            matched: 2,
            borrowed: 2,
            head: Vec::new(),
            is_file: false,
            parts: 0,
            fields: 0,
            file: 0,
            total: 0,
        })
    }

    /// Consumes some of `input`: how many bytes, and what came of them. Call it again with the rest
    /// until it answers [`NeedMore`](MultipartPiece::NeedMore).
    ///
    /// # Errors
    /// The body is malformed or above a limit; there is no going on.
    pub fn decode<'a>(
        &'a mut self,
        input: &'a [u8],
    ) -> Result<(usize, MultipartPiece<'a>), FormError> {
        let (used, step) = self.step(input)?;
        self.count(used)?;
        let piece = match step {
            Step::NeedMore => MultipartPiece::NeedMore,
            Step::PartStarted(part) => MultipartPiece::PartStarted(part),
            Step::Held(range) => MultipartPiece::Data(&self.delimiter[range]),
            Step::Data(range) => MultipartPiece::Data(&input[range]),
            Step::PartEnded => MultipartPiece::PartEnded,
            Step::Ended => MultipartPiece::Ended,
        };
        Ok((used, piece))
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`FormError::Truncated`] if its last delimiter has not come.
    pub fn finish(&self) -> Result<(), FormError> {
        if self.state == State::Epilogue { Ok(()) } else { Err(FormError::Truncated) }
    }

    fn step(&mut self, input: &[u8]) -> Result<(usize, Step), FormError> {
        let mut at = 0;
        loop {
            if self.has_left_part() {
                self.is_open = false;
                return Ok((at, Step::PartEnded));
            }
            match self.state {
                State::Preamble | State::Content => {
                    let is_content = self.state == State::Content;
                    let (used, data) = match self.search(&input[at..]) {
                        Found::Nothing => return Ok((input.len(), Step::NeedMore)),
                        Found::Held(range) if is_content => {
                            self.count_content(range.len())?;
                            return Ok((at, Step::Held(range)));
                        }
                        Found::Held(_) => (0, 0),
                        Found::Content { data, used, is_delimited } => {
                            if is_delimited {
                                self.state = State::Delimiter;
                            }
                            (used, data)
                        }
                    };
                    if is_content && data > 0 {
                        self.count_content(data)?;
                        return Ok((at + used, Step::Data(at..at + data)));
                    }
                    at += used;
                }
                State::Head => {
                    let (used, part) = self.read_head(&input[at..])?;
                    at += used;
                    if let Some(part) = part {
                        return Ok((at, Step::PartStarted(part)));
                    }
                }
                State::Epilogue => return Ok((input.len(), Step::NeedMore)),
                _ => {
                    let Some(&byte) = input.get(at) else { return Ok((at, Step::NeedMore)) };
                    at += 1;
                    self.state = self.behind_delimiter(byte)?;
                    if self.state == State::Epilogue {
                        return Ok((at, Step::Ended));
                    }
                }
            }
            if at == input.len() && !self.has_left_part() {
                return Ok((at, Step::NeedMore));
            }
        }
    }

    fn has_left_part(&self) -> bool {
        self.is_open && self.state != State::Content
    }

    /// The state after one byte on a delimiter's own line.
    fn behind_delimiter(&self, byte: u8) -> Result<State, FormError> {
        match (self.state, byte) {
            (State::Delimiter, b'-') => Ok(State::LastDelimiter),
            (State::LastDelimiter, b'-') => Ok(State::Epilogue),
            (State::Delimiter | State::Padding, b' ' | b'\t') => Ok(State::Padding),
            (State::Delimiter | State::Padding, b'\r') => Ok(State::LineEnd),
            (State::LineEnd, b'\n') => Ok(State::Head),
            _ => Err(FormError::Delimiter),
        }
    }

    fn search(&mut self, input: &[u8]) -> Found {
        if self.matched > 0 {
            let rest = &self.delimiter[self.matched..];
            let same = rest.iter().zip(input).take_while(|(one, other)| one == other).count();
            if same == rest.len() {
                (self.matched, self.borrowed) = (0, 0);
                return Found::Content { data: 0, used: same, is_delimited: true };
            }
            if same == input.len() {
                self.matched += same;
                return Found::Nothing;
            }
            let held = self.borrowed..self.matched;
            (self.matched, self.borrowed) = (0, 0);
            if !held.is_empty() {
                return Found::Held(held);
            }
        }
        if let Some(data) = self.finder.find(input) {
            return Found::Content { data, used: data + self.delimiter.len(), is_delimited: true };
        }
        // Its first bytes may be the last of the input.
        let from = input.len().saturating_sub(self.delimiter.len() - 1);
        let begins = memchr::memrchr(b'\r', &input[from..]).map(|at| from + at);
        let begins = begins.filter(|&at| self.delimiter.starts_with(&input[at..]));
        let data = begins.unwrap_or(input.len());
        self.matched = input.len() - data;
        Found::Content { data, used: input.len(), is_delimited: false }
    }

    /// Takes bytes of a head, up to and with its empty line.
    fn read_head(&mut self, input: &[u8]) -> Result<(usize, Option<Part>), FormError> {
        let before = self.head.len();
        let taken = input.len().min(self.limits.part_head - before.min(self.limits.part_head));
        self.head.extend_from_slice(&input[..taken]);
        if self.head.starts_with(b"\r\n") {
            return Err(FormError::Disposition); // no head at all
        }
        let from = before.saturating_sub(3);
        let end = memchr::memmem::find(&self.head[from..], b"\r\n\r\n").map(|at| from + at + 4);
        let Some(end) = end else {
            if taken < input.len() {
                return Err(FormError::PartHeadTooLarge);
            }
            return Ok((taken, None));
        };
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(FormError::TooManyParts);
        }
        let part = Part::parse(&self.head[..end])?;
        self.head.clear();
        self.state = State::Content;
        self.is_open = true;
        // A part that has no content may end with the line that ends its head.
        (self.matched, self.borrowed) = (2, 2);
        self.is_file = part.file_name.is_some();
        self.file = 0;
        if !self.is_file {
            self.count_content(part.name.len())?;
        }
        Ok((end - before, Some(part)))
    }

    fn count(&mut self, used: usize) -> Result<(), FormError> {
        self.total += used as u64;
        if self.total > self.limits.total { Err(FormError::TooLarge) } else { Ok(()) }
    }

    fn count_content(&mut self, more: usize) -> Result<(), FormError> {
        let (count, limit, error) = if self.is_file {
            (&mut self.file, self.limits.file, FormError::FileTooLarge)
        } else {
            (&mut self.fields, self.limits.fields, FormError::FieldsTooLarge)
        };
        *count += more as u64;
        if *count > limit { Err(error) } else { Ok(()) }
    }
}

/// A [`MultipartPiece`] that borrows nothing yet.
enum Step {
    NeedMore,
    PartStarted(Part),
    /// Of the delimiter.
    Held(Range<usize>),
    /// Of the input.
    Data(Range<usize>),
    PartEnded,
    Ended,
}

/// RFC 2046 §5.1.1: 1 to 70 characters, of which the last is no space.
fn is_boundary(boundary: &[u8]) -> bool {
    (1..=MAX_BOUNDARY).contains(&boundary.len())
        && !boundary.ends_with(b" ")
        && boundary
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte))
}

#[cfg(test)]
mod tests;
