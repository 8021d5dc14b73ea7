//! Bodies that are compressed (RFC 9110 §8.4.1), decoded a bounded piece at a time: however much comes
//! out of a few bytes, no more of it is made than is asked for.

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

use crate::Headers;

/// What is asked for in Accept-Encoding.
pub(super) const ACCEPTED: &str = "gzip, deflate";
/// What is made at once; as one read of the reactor's.
const PIECE: usize = 32 * 1024;
/// The window of zlib and gzip, as large as both allow.
const WINDOW_BITS: u8 = 15;

/// Decodes one body.
pub(super) struct Decoder {
    coding: Coding,
    state: State,
    input: Bytes,
    /// The last piece was full, so there may be more behind it without more input.
    has_more: bool,
    /// Members without anything in them, one behind the other.
    empty: u32,
}

/// Twenty bytes each, and as much work as a full one: `gzip` makes one of an empty file, nobody many.
const MAX_EMPTY_MEMBERS: u32 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    /// zlib's format; or, as some servers have it, deflate without that around it.
    Deflate,
}

enum State {
    /// Nothing has come yet.
    Start,
    Inflating(Box<Decompress>),
    /// A stream is complete. Another member may follow one of gzip's.
    Complete,
}

impl Decoder {
    /// The decoder that a response's head asks for; `None` for a body that is as it is, or in a coding
    /// that is not known here.
    pub(super) fn of(headers: &Headers) -> Option<Self> {
        let mut codings = headers.get_all("content-encoding");
        let coding = match codings.next()? {
            value if value.eq_ignore_ascii_case(b"gzip") => Coding::Gzip,
            value if value.eq_ignore_ascii_case(b"x-gzip") => Coding::Gzip,
            value if value.eq_ignore_ascii_case(b"deflate") => Coding::Deflate,
            _ => return None,
        };
        if codings.next().is_some() {
            return None;
        }
        let (state, input) = (State::Start, Bytes::new());
        Some(Self { coding, state, input, has_more: false, empty: 0 })
    }

    /// Gives it the next piece of the body, once [`next`](Self::next) has nothing more.
    pub(super) fn feed(&mut self, piece: Bytes) {
        debug_assert!(self.input.is_empty());
        self.input = piece;
    }

    /// The next piece of what was encoded, never empty; `None` if it takes more input.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, String> {
        while !self.input.is_empty() || self.has_more {
            let inflating = match &mut self.state {
                State::Inflating(inflating) => inflating,
                State::Complete if self.coding == Coding::Deflate => {
                    return Err("something follows its end".to_owned());
                }
                State::Start | State::Complete => {
                    let inflating = match self.coding {
                        Coding::Gzip => Decompress::new_gzip(WINDOW_BITS),
                        Coding::Deflate => Decompress::new(is_zlib(self.input[0])),
                    };
                    self.state = State::Inflating(Box::new(inflating));
                    continue;
                }
            };
            let mut output = vec![0; PIECE];
            let (before_in, before_out) = (inflating.total_in(), inflating.total_out());
            let status = inflating
                .decompress(&self.input, &mut output, FlushDecompress::None)
                .map_err(|error| error.to_string())?;
            let used = (inflating.total_in() - before_in) as usize;
            let made = (inflating.total_out() - before_out) as usize;
            let is_empty = inflating.total_out() == 0;
            let had_input = !self.input.is_empty();
            self.input.advance(used);
            self.has_more = made == PIECE && status != Status::StreamEnd;
            if status == Status::StreamEnd {
                self.state = State::Complete;
                self.empty = if is_empty { self.empty + 1 } else { 0 };
                if self.empty > MAX_EMPTY_MEMBERS {
                    return Err("it has one empty member after the other".to_owned());
                }
            } else if used == 0 && made == 0 && had_input {
                return Err("it makes no sense".to_owned());
            }
            if made > 0 {
                output.truncate(made);
                return Ok(Some(Bytes::from(output)));
            }
        }
        Ok(None)
    }

    /// The body has ended. An error if what was encoded has not.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        match self.state {
            // Nothing at all: what a HEAD or an empty answer has.
            State::Start | State::Complete => Ok(()),
            State::Inflating(_) => Err("it ends in its middle".to_owned()),
        }
    }
}

/// Whether a stream begins with zlib's header (RFC 1950 §2.2): method 8, a window of up to 32 KiB. In
/// bare deflate that would be a stored block with a bit set where all are zero.
fn is_zlib(first: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    /// gzip by hand (RFC 1952), since flate2 has a writer of it with another backend alone.
    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut compress = flate2::Compress::new_gzip(Compression::default(), WINDOW_BITS);
        let mut out = Vec::with_capacity(data.len() + 1000);
        let status = compress.compress_vec(data, &mut out, flate2::FlushCompress::Finish);
        assert_eq!(status.expect("room"), Status::StreamEnd);
        out
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("into memory");
        encoder.finish().expect("into memory")
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("into memory");
        encoder.finish().expect("into memory")
    }

    fn decoder(coding: &str) -> Option<Decoder> {
        let mut headers = Headers::new();
        assert!(headers.append("Content-Encoding", coding));
        Decoder::of(&headers)
    }

    fn decode(coding: &str, encoded: &[u8], step: usize) -> Result<Vec<u8>, String> {
        let mut decoder = decoder(coding).expect("known");
        let mut out = Vec::new();
        for piece in encoded.chunks(step.max(1)) {
            decoder.feed(Bytes::copy_from_slice(piece));
            while let Some(data) = decoder.next()? {
                assert!(!data.is_empty() && data.len() <= PIECE);
                out.extend_from_slice(&data);
            }
        }
        decoder.finish().map(|()| out)
    }

    #[test]
    fn what_fills_the_last_piece_is_whole_in_every_coding() {
        for length in [PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 4 * PIECE + 1500] {
            let data = vec![0; length];
            for (coding, encoded) in
                [("gzip", gzip(&data)), ("deflate", zlib(&data)), ("deflate", deflate(&data))]
            {
                for step in [1, encoded.len()] {
                    let decoded = decode(coding, &encoded, step);
                    assert!(decoded.as_ref() == Ok(&data), "{coding} {length} {step}");
                }
            }
        }
    }

    #[test]
    fn a_few_empty_members_are_nothing_and_many_are_refused() {
        let data = [gzip(b""), gzip(b"a"), gzip(b"")].concat();
        assert_eq!(decode("gzip", &data, 100), Ok(b"a".to_vec()));
        assert!(decode("gzip", &gzip(b"").repeat(1000), 100_000).is_err());
    }

    #[test]
    fn a_bomb_is_made_a_piece_at_a_time() {
        let bomb = gzip(&vec![0; 50_000_000]);
        assert!(bomb.len() < 100_000);
        let mut decoder = decoder("gzip").expect("known");
        decoder.feed(Bytes::from(bomb));
        let first = decoder.next().expect("valid").expect("some");
        assert!(first.len() <= PIECE, "{}", first.len());
    }

    #[test]
    fn several_members_are_one_body_and_what_is_no_member_is_refused() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(decode("gzip", &two, 7), Ok(b"one two".to_vec()));
        assert!(decode("gzip", &[gzip(b"one"), b"rest".to_vec()].concat(), 100).is_err());
        assert!(decode("deflate", &[zlib(b"one"), b"rest".to_vec()].concat(), 100).is_err());
        assert_eq!(decode("gzip", b"", 1), Ok(Vec::new()));
    }

    #[test]
    fn what_is_cut_or_damaged_is_told() {
        for (coding, encoded) in [("gzip", gzip(b"hello")), ("deflate", zlib(b"hello"))] {
            for cut in 1..encoded.len() {
                assert!(decode(coding, &encoded[..cut], 100).is_err(), "{coding} cut at {cut}");
            }
            let mut damaged = encoded.clone();
            let sum = damaged.len() - if coding == "gzip" { 8 } else { 4 };
            damaged[sum] ^= 1;
            assert!(decode(coding, &damaged, 1).is_err(), "{coding} with a wrong sum");
        }
    }

    #[test]
    fn what_is_not_known_stays_as_it_is() {
        for coding in ["br", "identity", "gzip, gzip", ""] {
            assert!(decoder(coding).is_none(), "{coding:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn what_was_encoded_comes_out_however_it_is_cut(
            data in prop::collection::vec(0u8..4, 0..100_000),
            step in 1usize..2000,
        ) {
            prop_assert_eq!(decode("gzip", &gzip(&data), step), Ok(data.clone()));
            prop_assert_eq!(decode("deflate", &zlib(&data), step), Ok(data.clone()));
            prop_assert_eq!(decode("Deflate", &deflate(&data), step), Ok(data.clone()));
        }

        #[test]
        fn whatever_comes_is_decoded_or_refused(
            data in prop::collection::vec(any::<u8>(), 0..200),
            step in 1usize..50,
        ) {
            let _ = (decode("gzip", &data, step), decode("deflate", &data, step));
        }
    }
}
