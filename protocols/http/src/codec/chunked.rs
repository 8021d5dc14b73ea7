//! The chunked transfer coding (RFC 9112 §7.1), both ways.
//!
//! The decoder takes input in pieces of any size and hands out data as slices of it; only a
//! trailer section must be there as a whole. Strict where others were fooled: line ends are CRLF,
//! a size is 1 to 16 hexadecimal digits, extensions hold no control characters and are bounded.

use super::fields::parse_trailers;
use super::head::has_blank_line;
use crate::{Config, Error, Headers};

/// Bytes of chunk extensions in one body. They are read and ignored, so a client could send far
/// more of them than of data; a few signatures fit.
const MAX_EXTENSIONS: u32 = 4 * 1024;
/// 16 hexadecimal digits fill 64 bits. Leading zeros count, or they could go on for ever.
const MAX_DIGITS: u8 = 16;

/// Reads one chunked body.
#[derive(Debug, Clone, Default)]
pub struct ChunkedDecoder {
    state: State,
    extensions: u32,
    /// How much of an incomplete trailer section has been searched for its end.
    scanned: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the digits of a size.
    Size { size: u64, digits: u8 },
    /// White space behind the digits: only an extension may follow.
    SizeSpace { size: u64 },
    /// Behind the `;`.
    Extension { size: u64 },
    /// Behind the CR of a size line.
    SizeEnd { size: u64 },
    /// So much of the chunk's data is still to come.
    Data { left: u64 },
    /// Before the CR behind a chunk's data.
    DataEnd,
    /// Before the LF behind a chunk's data.
    DataEndLf,
    /// Behind the last chunk.
    Trailers,
    /// The body is whole.
    Ended,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

/// What the decoder made of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Data of the body, never empty.
    Data(&'a [u8]),
    /// Nothing more without more input. What was not consumed must be there again.
    NeedMore,
    /// The body has ended, and the trailers are in.
    Ended,
}

impl ChunkedDecoder {
    /// A decoder before the first chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Consumes a piece of `input`: how many bytes, and what they are. Call it again with the
    /// rest of the input until it needs more. The trailers, if any, replace what is in `trailers`.
    pub fn decode<'a>(
        &mut self,
        input: &'a [u8],
        config: &Config,
        trailers: &mut Headers,
    ) -> Result<(usize, Piece<'a>), Error> {
        let mut at = 0;
        loop {
            match self.state {
                State::Data { left } => {
                    let rest = &input[at..];
                    if rest.is_empty() {
                        return Ok((at, Piece::NeedMore));
                    }
                    let taken =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
                    return Ok((at + taken, Piece::Data(&rest[..taken])));
                }
                State::Trailers => {
                    let rest = &input[at..];
                    return Ok(match self.trailers(rest, config, trailers)? {
                        Some(length) => {
                            self.state = State::Ended;
                            (at + length, Piece::Ended)
                        }
                        None => (at, Piece::NeedMore),
                    });
                }
                State::Ended => return Ok((at, Piece::Ended)),
                state => {
                    let Some(&byte) = input.get(at) else { return Ok((at, Piece::NeedMore)) };
                    self.state = self.line_byte(state, byte)?;
                    at += 1;
                }
            }
        }
    }

    /// One byte of what is around the data.
    fn line_byte(&mut self, state: State, byte: u8) -> Result<State, Error> {
        Ok(match (state, byte) {
            (State::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == MAX_DIGITS {
                    return Err(Error::ChunkSize);
                }
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    _ => (byte | 0x20) - b'a' + 10,
                };
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Error::ChunkSize),
            (State::Size { size, .. } | State::Extension { size }, b'\r') => {
                State::SizeEnd { size }
            }
            (State::Size { size, .. } | State::SizeSpace { size }, b';') => {
                State::Extension { size }
            }
            (State::Size { size, .. } | State::SizeSpace { size }, b' ' | b'\t') => {
                self.count_extension()?;
                State::SizeSpace { size }
            }
            (State::Extension { size }, _) if crate::headers::is_value_byte(byte) => {
                self.count_extension()?;
                State::Extension { size }
            }
            (State::Extension { .. }, _) => return Err(Error::ChunkExtension),
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailers,
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (State::DataEnd, b'\r') => State::DataEndLf,
            (State::DataEndLf, b'\n') => State::default(),
            (State::DataEnd | State::DataEndLf, _) => return Err(Error::ChunkEnd),
            _ => return Err(Error::ChunkSize),
        })
    }

    fn count_extension(&mut self) -> Result<(), Error> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(Error::ChunkExtension) } else { Ok(()) }
    }

    fn trailers(
        &mut self,
        input: &[u8],
        config: &Config,
        trailers: &mut Headers,
    ) -> Result<Option<usize>, Error> {
        // A section that drips in is parsed at its first bytes, and when it may have ended.
        let searched = self.scanned;
        self.scanned = input.len();
        if searched > 0
            && input.len() <= config.max_head
            && !input.starts_with(b"\r\n")
            && !has_blank_line(&input[searched.saturating_sub(3).min(input.len())..])
        {
            return Ok(None);
        }
        parse_trailers(input, config, trailers)
    }
}

/// Writes `data` as one chunk; nothing if it is empty, since an empty chunk ends the body.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        write_chunk_size(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Ends a chunked body, with `trailers` behind it.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &Headers) {
    out.extend_from_slice(b"0\r\n");
    super::encode::write_fields(out, trailers);
    out.extend_from_slice(b"\r\n");
}

/// Writes the size line of a chunk; its data and a CRLF must follow.
pub(crate) fn write_chunk_size(out: &mut Vec<u8>, size: usize) {
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut rest = size;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `wire`, given out `step` bytes at a time; the body, and how much was consumed.
    fn decode(wire: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize, Headers)>, Error> {
        let (config, mut trailers) = (Config::new(), Headers::new());
        let mut decoder = ChunkedDecoder::new();
        let (mut body, mut from, mut to) = (Vec::new(), 0, 0);
        loop {
            let (used, piece) = decoder.decode(&wire[from..to], &config, &mut trailers)?;
            from += used;
            match piece {
                Piece::Data(data) => body.extend_from_slice(data),
                Piece::Ended => return Ok(Some((body, from, trailers))),
                Piece::NeedMore if to == wire.len() => return Ok(None),
                Piece::NeedMore => to = (to + step).min(wire.len()),
            }
        }
    }

    #[test]
    fn a_body_is_read_whole_and_one_byte_at_a_time() {
        let wire = b"4\r\nWiki\r\n00a;name=\"va lue\" ;x\r\npedia in c\r\n6 \t;y\r\nhunks.\r\n\
                     0;last\r\nExpires: never\r\nX: \r\n\r\nGET / HTTP/1.1\r\n";
        for step in [1, 2, 3, 7, wire.len()] {
            let (body, used, trailers) = decode(wire, step).expect("valid").expect("whole");
            assert_eq!(body, b"Wikipedia in chunks.");
            assert_eq!(&wire[used..], b"GET / HTTP/1.1\r\n");
            assert_eq!(trailers.get_str("expires"), Some("never"));
            assert_eq!(trailers.len(), 2);
        }
    }

    #[test]
    fn no_truncation_of_a_body_is_taken_for_a_whole_one() {
        let wire = b"4;a=b\r\nWiki\r\n0\r\nExpires: never\r\n\r\n";
        for end in 0..wire.len() {
            assert_eq!(decode(&wire[..end], 1), Ok(None), "cut at {end}");
            assert_eq!(decode(&wire[..end], wire.len()), Ok(None), "cut at {end}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused_at_any_split() {
        let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(MAX_EXTENSIONS as usize + 1));
        for (wire, error) in [
            (&b"\r\n"[..], Error::ChunkSize),
            (b"x\r\n", Error::ChunkSize),
            (b"-1\r\n", Error::ChunkSize),
            (b"+1\r\na\r\n", Error::ChunkSize),
            (b" 1\r\na\r\n", Error::ChunkSize),
            (b"0x1\r\na\r\n", Error::ChunkSize),
            (b"1_0\r\n", Error::ChunkSize),
            (b"1 \r\na\r\n", Error::ChunkSize),
            (b"1\na\r\n", Error::ChunkSize),
            (b"1\r\r\na\r\n", Error::ChunkSize),
            (b"1\rXa\r\n", Error::ChunkSize),
            (b"10000000000000000\r\n", Error::ChunkSize),
            (b"00000000000000001\r\n", Error::ChunkSize),
            (b";x\r\n", Error::ChunkSize),
            (b"1;a\nb\r\na\r\n", Error::ChunkExtension),
            (b"1;a\0\r\na\r\n", Error::ChunkExtension),
            (b"1;a\rb\r\n", Error::ChunkSize),
            (b"1\r\nab\r\n", Error::ChunkEnd),
            (b"1\r\na\n", Error::ChunkEnd),
            (b"1\r\na\rb", Error::ChunkEnd),
            (b"0\r\nno colon\r\n\r\n", Error::FieldName),
            (b"0\r\n folded: x\r\n\r\n", Error::FieldName),
            (b"0\r\na: b\x01\r\n\r\n", Error::FieldValue),
            (b"0\r\na: b\n\r\n", Error::LineEnd),
            (b"0\r\na: b\r\n\n", Error::LineEnd),
            (b"0\r\n\n", Error::LineEnd),
            (long.as_bytes(), Error::ChunkExtension),
        ] {
            for step in [1, 2, wire.len()] {
                assert_eq!(decode(wire, step), Err(error), "{:?}", String::from_utf8_lossy(wire));
            }
        }
    }

    #[test]
    fn the_largest_size_is_one_of_64_bits() {
        let (config, mut trailers) = (Config::new(), Headers::new());
        let mut decoder = ChunkedDecoder::new();
        let wire = b"ffffffffffffffff\r\nabc";
        let decoded = decoder.decode(wire, &config, &mut trailers);
        assert_eq!(decoded, Ok((wire.len(), Piece::Data(b"abc"))));
    }

    #[test]
    fn a_trailer_section_over_the_limit_is_refused() {
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(101));
        let large = format!("0\r\n{}\r\n", format!("a: {}\r\n", "b".repeat(1000)).repeat(40));
        for step in [1, 100, 100_000] {
            assert_eq!(decode(many.as_bytes(), step), Err(Error::TooManyFields));
            assert_eq!(decode(large.as_bytes(), step), Err(Error::HeadTooLarge));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_written_is_read_again(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            step in 1usize..400,
            trailer in prop::option::of("[a-zA-Z0-9 ]{0,20}"),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                write_chunk(&mut wire, chunk);
            }
            let mut trailers = Headers::new();
            if let Some(value) = &trailer {
                prop_assert!(trailers.append("Trailer-Field", value.trim()));
            }
            write_last_chunk(&mut wire, &trailers);
            let (body, used, read) = decode(&wire, step)
                .map_err(|error| TestCaseError::fail(error.to_string()))?
                .ok_or_else(|| TestCaseError::fail("not whole"))?;
            prop_assert_eq!(body, chunks.concat());
            prop_assert_eq!(used, wire.len());
            prop_assert_eq!(read, trailers);
        }
    }
}
