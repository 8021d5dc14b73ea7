//! What a client sends: commands, as arrays of strings or as lines.
//!
//! A command stays where it arrived until it is whole, and its arguments are slices of that. The
//! decoder remembers what it has found of an unfinished one, so the same bytes have to be there
//! again at the next call, with more behind them.

use std::ops::{Index, Range};

use memchr::memchr;

use super::error::RequestError;
use super::inline;
use super::number::parse_integer;

/// The longest inline command, and the longest line of a count: Redis's `PROTO_INLINE_MAX_SIZE`.
const LONGEST_LINE: usize = 64 * 1024;
/// Room for the spans of so many arguments is kept between commands (512 bytes).
const KEPT_SPANS: usize = 64;
/// Room for the words of an inline command that is kept between commands.
const KEPT_TEXT: usize = 1024;

/// How much a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Arguments of a command, its name included.
    pub arguments: usize,
    /// Bytes of one argument.
    pub bulk: usize,
    /// Bytes of a whole command, as it stands on the wire. At most 4 GiB.
    pub request: usize,
    /// These are the limits of who has yet to authenticate: the errors say so.
    pub unauthenticated: bool,
}

impl RequestLimits {
    /// Those of who has yet to authenticate, as in Redis: 10 arguments of 16 KiB.
    pub const UNAUTHENTICATED: Self =
        Self { arguments: 10, bulk: 16 * 1024, request: 256 * 1024, unauthenticated: true };
}

impl Default for RequestLimits {
    /// 1,048,576 arguments, and 64 MiB. (Redis takes 512 MiB for one argument: twice the 32 MiB that
    /// may wait for a subscriber are enough for a message that anybody can get.)
    fn default() -> Self {
        Self { arguments: 1 << 20, bulk: 64 << 20, request: 66 << 20, unauthenticated: false }
    }
}

/// Where an argument lies, from the beginning of its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The limits keep both below 4 GiB.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A command that has arrived: its name, then its arguments. One without even a name (an empty
/// line, an empty array) is nothing to answer.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Request<'a> {
    /// How many arguments it has, its name included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is not even a name.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument `index`; the name is the first one.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| &self.bytes[span.range()])
    }

    /// All from the argument `first` on.
    pub fn from(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.spans.get(first..).unwrap_or_default().iter().map(|span| &bytes[span.range()])
    }
}

impl Index<usize> for Request<'_> {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        &self.bytes[self.spans[index].range()]
    }
}

/// How far the command is that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of it is known; the line that it begins with has no end up to here.
    Beginning { searched: usize },
    /// So many arguments are still to come; the next one's length has no end up to `searched`.
    Length { left: usize, searched: usize },
    /// An argument ends there, and then come so many others.
    Bulk { left: usize, start: usize, end: usize },
    /// It is whole, and was handed out.
    Over,
}

/// Reads commands from a stream.
#[derive(Debug, Clone)]
pub struct RequestDecoder {
    limits: RequestLimits,
    state: State,
    /// Where the decoder goes on, from the beginning of the command.
    at: usize,
    spans: Vec<Span>,
    /// The words of an inline command, without their quotes.
    text: Vec<u8>,
}

impl Default for RequestDecoder {
    fn default() -> Self {
        Self::new(RequestLimits::default())
    }
}

impl RequestDecoder {
    /// A decoder at the beginning of a command.
    pub fn new(limits: RequestLimits) -> Self {
        Self { limits, state: State::Over, at: 0, spans: Vec::new(), text: Vec::new() }
    }

    /// Changes the limits, from the next command on.
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = limits;
    }

    /// Takes the next command from `data`, which begins where the last one ended: the command and
    /// how many bytes it takes, or `None` while it is not whole. The same bytes have to be there
    /// again then.
    ///
    /// # Errors
    /// [`RequestError`], after which the stream is of no use.
    pub fn decode<'a>(
        &'a mut self,
        data: &'a [u8],
    ) -> Result<Option<(Request<'a>, usize)>, RequestError> {
        if self.state == State::Over {
            self.begin();
        }
        loop {
            match self.state {
                State::Beginning { searched } => match data.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        let Some(line) = self.line(data, 1, searched, true)? else {
                            return Ok(None);
                        };
                        self.count(&data[line])?;
                    }
                    Some(_) => {
                        let Some(end) = self.inline(data, searched)? else { return Ok(None) };
                        let request = Request { bytes: &self.text, spans: &self.spans };
                        return Ok(Some((request, end)));
                    }
                },
                State::Length { left: 0, .. } => {
                    self.state = State::Over;
                    return Ok(Some((Request { bytes: data, spans: &self.spans }, self.at)));
                }
                State::Length { left, searched } => {
                    let Some(&first) = data.get(self.at) else { return Ok(None) };
                    if first != b'$' {
                        // Redis searches the line first.
                        return match self.line(data, self.at, searched, false)? {
                            None => Ok(None),
                            Some(_) => Err(RequestError::ExpectedDollar(first)),
                        };
                    }
                    let Some(line) = self.line(data, self.at + 1, searched, false)? else {
                        return Ok(None);
                    };
                    let length = self.length(&data[line])?;
                    self.state =
                        State::Bulk { left: left - 1, start: self.at, end: self.at + length };
                }
                State::Bulk { left, start, end } => {
                    // As in Redis, it does not matter which two bytes end an argument.
                    if data.len() < end + 2 {
                        return Ok(None);
                    }
                    self.spans.push(Span::new(start, end));
                    self.at = end + 2;
                    self.state = State::Length { left, searched: self.at };
                }
                State::Over => return Ok(None),
            }
        }
    }

    fn begin(&mut self) {
        self.state = State::Beginning { searched: 0 };
        self.at = 0;
        self.spans.clear();
        self.text.clear();
        // What one large command needed is not kept for the small ones.
        self.spans.shrink_to(KEPT_SPANS);
        self.text.shrink_to(KEPT_TEXT);
    }

    /// The line from `start` on, whose CR is not before `searched`; `self.at` is set behind it.
    fn line(
        &mut self,
        data: &[u8],
        start: usize,
        searched: usize,
        is_count: bool,
    ) -> Result<Option<Range<usize>>, RequestError> {
        let from = searched.max(start);
        // A short line, as nearly all are, is found faster without the call.
        let near = data[from.min(data.len())..].iter().take(8).position(|&byte| byte == b'\r');
        let found = near.or_else(|| memchr(b'\r', data.get(from..)?));
        let end = found.map_or(data.len(), |found| from + found);
        if end.saturating_sub(start) > LONGEST_LINE {
            return Err(match is_count {
                true => RequestError::MultibulkLineTooLong,
                false => RequestError::BulkLineTooLong,
            });
        }
        // What follows the CR is a LF, for whoever keeps to the protocol.
        if found.is_none() || data.len() < end + 2 {
            match &mut self.state {
                State::Beginning { searched } | State::Length { searched, .. } => *searched = end,
                _ => {}
            }
            return Ok(None);
        }
        self.at = end + 2;
        Ok(Some(start..end))
    }

    /// The number of arguments.
    fn count(&mut self, line: &[u8]) -> Result<(), RequestError> {
        let count = parse_integer(line).ok_or(RequestError::InvalidMultibulkLength)?;
        // None, or less than none: an empty command.
        let left = usize::try_from(count).unwrap_or(0);
        if left > self.limits.arguments {
            return Err(match self.limits.unauthenticated {
                true => RequestError::UnauthenticatedMultibulkLength,
                false => RequestError::InvalidMultibulkLength,
            });
        }
        self.state = State::Length { left, searched: self.at };
        Ok(())
    }

    /// The length of an argument that begins at `self.at`.
    fn length(&self, line: &[u8]) -> Result<usize, RequestError> {
        let length = parse_integer(line).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or(RequestError::InvalidBulkLength)?;
        if length > self.limits.bulk
            || length > self.limits.request
            || self.at + length > self.limits.request
        {
            return Err(match self.limits.unauthenticated {
                true => RequestError::UnauthenticatedBulkLength,
                false => RequestError::InvalidBulkLength,
            });
        }
        Ok(length)
    }

    /// An inline command, split into words; where it ends.
    fn inline(&mut self, data: &[u8], searched: usize) -> Result<Option<usize>, RequestError> {
        let found = memchr(b'\n', &data[searched..]).map(|found| searched + found);
        let end = found.unwrap_or(data.len());
        if end > LONGEST_LINE {
            return Err(RequestError::InlineTooLong);
        }
        if found.is_none() {
            self.state = State::Beginning { searched: end };
            return Ok(None);
        }
        let line = &data[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, &mut self.text, &mut self.spans)
            .ok_or(RequestError::UnbalancedQuotes)?;
        self.state = State::Over;
        Ok(Some(end + 1))
    }
}
