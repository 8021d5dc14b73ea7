//! Lines, by their delimiter. A partial line is searched once: the codec remembers how far it has
//! looked.

use super::{Decoded, Delimiter};

/// What Twisted allows, and four times what RFC 5321 §4.5.3.1.6 asks of a mail server.
const MAX_LENGTH: usize = 16 * 1024;

/// What came on a stream of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEvent<'a> {
    /// A line, without its delimiter.
    Line(&'a [u8]),
    /// A line is longer than the limit: its first bytes, as many as the limit. The rest, up to
    /// and with its delimiter, is dropped without another word.
    TooLong(&'a [u8]),
}

/// Takes lines out of a stream of bytes.
///
/// ```
/// use ropewalk_line::codec::{LineCodec, LineEvent};
///
/// let mut codec = LineCodec::default();
/// let decoded = codec.decode(b"one\r\ntwo");
/// assert_eq!(decoded.event, Some(LineEvent::Line(b"one")));
/// assert_eq!(decoded.consumed, 5);
/// assert_eq!(codec.decode(b"two").event, None);
/// assert_eq!(codec.decode(b"two\r\n").event, Some(LineEvent::Line(b"two")));
/// ```
#[derive(Debug, Clone)]
pub struct LineCodec {
    delimiter: Delimiter,
    max_length: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a line, of which this many bytes hold no whole delimiter.
    Searching(usize),
    /// Behind the part of a line that was too long.
    Skipping,
}

impl Default for LineCodec {
    fn default() -> Self {
        Self::new(Delimiter::default(), MAX_LENGTH)
    }
}

impl LineCodec {
    /// Lines that `delimiter` ends and that have at most `max_length` bytes before it.
    pub fn new(delimiter: Delimiter, max_length: usize) -> Self {
        Self { delimiter, max_length, state: State::Searching(0) }
    }

    /// What ends a line.
    pub fn delimiter(&self) -> &Delimiter {
        &self.delimiter
    }

    /// The most bytes that a line may have, without its delimiter (16 KiB unless told otherwise).
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Forgets how far it has looked, and a line that it was dropping: the next byte that it sees
    /// begins a line.
    pub fn reset(&mut self) {
        self.state = State::Searching(0);
    }

    /// What comes first in `data`, which begins where the last call's `consumed` ended. It looks
    /// at no byte of a partial line twice, but for a delimiter's length.
    pub fn decode<'a>(&mut self, data: &'a [u8]) -> Decoded<LineEvent<'a>> {
        let (searched, skipped) = match self.state {
            State::Searching(searched) => (searched, 0),
            State::Skipping => match self.delimiter.find(data, 0) {
                Some(found) => (0, found.end),
                None => {
                    let consumed = data.len() - self.delimiter.begun(data);
                    return Decoded { event: None, consumed };
                }
            },
        };
        let rest = &data[skipped..];
        // A delimiter that ends a line within the limit ends within these bytes.
        let window = self.max_length.saturating_add(self.delimiter.as_bytes().len());
        let window = &rest[..rest.len().min(window)];
        if let Some(found) = self.delimiter.find(window, searched)
            && found.line <= self.max_length
        {
            self.state = State::Searching(0);
            let event = Some(LineEvent::Line(&rest[..found.line]));
            return Decoded { event, consumed: skipped + found.end };
        }
        // What may be a delimiter at the end is not known to be part of the line.
        if rest.len() - self.delimiter.begun(rest) > self.max_length {
            self.state = State::Skipping;
            let event = Some(LineEvent::TooLong(&rest[..self.max_length]));
            return Decoded { event, consumed: skipped + self.max_length };
        }
        self.state = State::Searching(rest.len());
        Decoded { event: None, consumed: skipped }
    }
}
