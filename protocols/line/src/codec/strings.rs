//! Strings that say how long they are: netstrings, and binary lengths in network byte order. A
//! length over the limit is refused as soon as the prefix tells it.

use super::Decoded;
use crate::Error;

/// Twisted's limit, and the longest that five digits of a netstring can say.
const MAX_LENGTH: usize = 99_999;

/// How a string says its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Framing {
    /// Decimal digits and a colon before the string, a comma behind it:
    /// `5:hello,` (D. J. Bernstein, *Netstrings*, 1997). Leading zeros are refused.
    Netstring,
    /// One byte before the string.
    Prefix8,
    /// Two bytes before the string, the high one first.
    Prefix16,
    /// Four bytes before the string, the high one first.
    Prefix32,
}

/// What stands before a string on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    bytes: [u8; Self::MOST],
    start: usize,
}

impl Prefix {
    /// A `usize` has at most 20 digits, and a colon behind them.
    const MOST: usize = 21;

    /// The bytes of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn decimal(mut length: usize) -> Self {
        let mut prefix = Self { bytes: [b':'; Self::MOST], start: Self::MOST - 1 };
        loop {
            prefix.start -= 1;
            prefix.bytes[prefix.start] = b'0' + (length % 10) as u8;
            length /= 10;
            if length == 0 {
                return prefix;
            }
        }
    }

    fn binary(length: usize, width: usize) -> Self {
        let mut bytes = [0; Self::MOST];
        let start = Self::MOST - width;
        bytes[start..].copy_from_slice(&(length as u64).to_be_bytes()[8 - width..]);
        Self { bytes, start }
    }
}

impl Framing {
    /// The most bytes that a string can have: what the prefix can say, or a buffer can hold.
    pub fn capacity(self) -> usize {
        match self {
            Self::Netstring => isize::MAX as usize, // no buffer is longer
            Self::Prefix8 => u8::MAX as usize,
            Self::Prefix16 => u16::MAX as usize,
            Self::Prefix32 => u32::MAX as usize,
        }
    }

    /// What stands before a string of `length` bytes.
    ///
    /// # Errors
    /// [`Error::StringTooLong`] when the prefix cannot say that length.
    pub fn prefix(self, length: usize) -> Result<Prefix, Error> {
        if length > self.capacity() {
            return Err(Error::StringTooLong { limit: self.capacity() });
        }
        Ok(match self.width() {
            None => Prefix::decimal(length),
            Some(width) => Prefix::binary(length, width),
        })
    }

    /// What stands behind a string.
    pub fn suffix(self) -> &'static [u8] {
        match self {
            Self::Netstring => b",",
            _ => b"",
        }
    }

    /// Bytes of a binary prefix.
    fn width(self) -> Option<usize> {
        match self {
            Self::Netstring => None,
            Self::Prefix8 => Some(1),
            Self::Prefix16 => Some(2),
            Self::Prefix32 => Some(4),
        }
    }
}

/// Takes strings out of a stream of bytes. It has no state: the prefix is read again with each
/// look, and a string's body is never looked at.
///
/// ```
/// use ropewalk_line::codec::{Framing, StringCodec};
///
/// # fn main() -> Result<(), ropewalk_line::Error> {
/// let codec = StringCodec::new(Framing::Netstring);
/// let decoded = codec.decode(b"5:hello,3:wor")?;
/// assert_eq!(decoded.event, Some(&b"hello"[..]));
/// assert_eq!(decoded.consumed, 8);
/// assert_eq!(codec.decode(b"3:wor")?.event, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StringCodec {
    framing: Framing,
    max_length: usize,
}

impl StringCodec {
    /// Strings of at most 99,999 bytes, or what the prefix can say.
    pub fn new(framing: Framing) -> Self {
        Self::with_max_length(framing, MAX_LENGTH)
    }

    /// Strings of at most `max_length` bytes, or what the prefix can say.
    pub fn with_max_length(framing: Framing, max_length: usize) -> Self {
        Self { framing, max_length: max_length.min(framing.capacity()) }
    }

    /// How a string says its length.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The most bytes that a string may have.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The string that comes first in `data`, which begins where the last call's `consumed` ended.
    ///
    /// # Errors
    /// [`Error::StringTooLong`], from the prefix alone, and [`Error::BadNetstring`]. Nothing that
    /// follows can be told apart then: the connection is to be closed.
    pub fn decode<'a>(&self, data: &'a [u8]) -> Result<Decoded<&'a [u8]>, Error> {
        let nothing = Decoded { event: None, consumed: 0 };
        let (start, length) = match self.framing.width() {
            None => match self.decimal(data)? {
                Some(found) => found,
                None => return Ok(nothing),
            },
            Some(width) => match data.get(..width) {
                Some(prefix) => (width, binary(prefix)),
                None => return Ok(nothing),
            },
        };
        if length > self.max_length {
            return Err(Error::StringTooLong { limit: self.max_length });
        }
        let suffix = self.framing.suffix();
        let end = start + length; // a prefix is short, and a length at most `isize::MAX`
        match (data.get(start..end), data.get(end..end + suffix.len())) {
            (Some(string), Some(found)) if found == suffix => {
                Ok(Decoded { event: Some(string), consumed: end + suffix.len() })
            }
            (Some(_), Some(_)) => Err(Error::BadNetstring),
            _ => Ok(nothing),
        }
    }

    /// Where the string begins, and its length; `None` when the colon is not there yet.
    fn decimal(&self, data: &[u8]) -> Result<Option<(usize, usize)>, Error> {
        let mut length = 0_usize;
        for (at, &byte) in data.iter().enumerate() {
            match byte {
                b':' if at > 0 => return Ok(Some((at + 1, length))),
                b'0'..=b'9' if at == 0 || length > 0 => {
                    // At most `isize::MAX` so far: only the last digit can pass `usize::MAX`.
                    length = length.saturating_mul(10).saturating_add((byte - b'0') as usize);
                }
                _ => return Err(Error::BadNetstring),
            }
            if length > self.max_length {
                return Err(Error::StringTooLong { limit: self.max_length });
            }
        }
        Ok(None)
    }
}

fn binary(prefix: &[u8]) -> usize {
    prefix.iter().fold(0, |length, &byte| length << 8 | usize::from(byte))
}
