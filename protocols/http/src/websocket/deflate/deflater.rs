//! Compressing what is sent, each piece up to an octet's end (RFC 7692 §7.2.1).

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress};

use super::{Agreed, Deflate, STEP, TAIL, with_room};

/// Idle ones that are kept for the next message, of about 370 KiB each.
const KEPT: usize = 4;
/// The compressor's smallest window. A peer that asks for less gets everything uncompressed.
const LEAST_BITS: u8 = 9;

thread_local! {
    static SPARES: RefCell<Vec<Spare>> = const { RefCell::new(Vec::new()) };
}

/// A compressor, and what it was made for.
struct Spare {
    bits: u8,
    level: u8,
    stream: Compress,
}

/// Compresses messages for one peer.
pub(crate) struct Deflater {
    bits: u8,
    level: u8,
    is_alone: bool,
    /// There during a message, and between two if later ones may refer to earlier ones.
    stream: Option<Compress>,
}

impl Deflater {
    /// `None` if the peer's window is smaller than any compressor's.
    pub(crate) fn new(agreed: Agreed, deflate: &Deflate) -> Option<Self> {
        (agreed.own_bits >= LEAST_BITS).then_some(Self {
            bits: agreed.own_bits,
            level: deflate.level,
            is_alone: agreed.is_own_alone,
            stream: None,
        })
    }

    /// Adds `data` to the message, and all that it becomes to `out`. Behind the `last` piece the
    /// tail is left out.
    pub(crate) fn deflate(&mut self, data: &[u8], is_last: bool, out: &mut Vec<u8>) {
        let (bits, level) = (self.bits, self.level);
        let stream = self.stream.get_or_insert_with(|| {
            SPARES.with_borrow_mut(|spares| {
                let fits = |spare: &Spare| spare.bits == bits && spare.level == level;
                match spares.iter().position(fits) {
                    Some(at) => spares.swap_remove(at).stream,
                    None => Compress::new_with_window_bits(
                        Compression::new(u32::from(level)),
                        false,
                        bits,
                    ),
                }
            })
        });
        let start = out.len();
        let before = stream.total_in();
        with_room(|room| {
            loop {
                let taken = (stream.total_in() - before) as usize;
                let made = stream.total_out();
                // It fails only for a stream that was ended, which this never is.
                let _ = stream.compress(&data[taken..], room, FlushCompress::Sync);
                let made = (stream.total_out() - made) as usize;
                out.extend_from_slice(&room[..made]);
                if made < STEP {
                    break; // all is taken, and flushed
                }
            }
        });
        if is_last {
            if out[start..].ends_with(&TAIL) {
                out.truncate(out.len() - TAIL.len());
            }
            // Nothing was left to flush: an empty block, whose end is the tail.
            if out.len() == start {
                out.push(0);
            }
            if self.is_alone {
                self.forget();
            }
        }
    }

    /// The next message refers to nothing before it.
    pub(crate) fn forget(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        stream.reset();
        let (bits, level) = (self.bits, self.level);
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < KEPT {
                spares.push(Spare { bits, level, stream });
            }
        });
    }

    /// Whether memory is held.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.stream.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::websocket::deflate::Inflater;

    fn agreed(is_alone: bool, bits: u8) -> Agreed {
        Agreed {
            is_own_alone: is_alone,
            own_bits: bits,
            is_peers_alone: is_alone,
            peers_bits: bits,
        }
    }

    /// What the peer makes of a message, taken in steps of so many octets.
    fn inflate(inflater: &mut Inflater, message: &[u8], step: usize) -> Vec<u8> {
        let mut whole = message.to_vec();
        whole.extend_from_slice(&TAIL);
        let mut plain = Vec::new();
        let mut out = Vec::new();
        let mut at = 0;
        while at < whole.len() || inflater.is_full() {
            let end = (at + step).min(whole.len());
            out.clear();
            at += inflater.step(&whole[at..end], &mut out).expect("it inflates");
            plain.extend_from_slice(&out);
        }
        inflater.finish();
        plain
    }

    #[test]
    fn the_examples_of_the_rfc_inflate() {
        let mut inflater = Inflater::new(agreed(false, 15));
        for (wire, text) in [
            (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], "Hello"),
            (&[0xf2, 0x00, 0x11, 0x00, 0x00], "Hello"), // by what came before
            (&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], "Hello"),
            (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], "Hello"), // BFINAL
            (
                &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
                "Hello",
            ),
            (&[0x00], ""),
        ] {
            for step in 1..=wire.len() {
                let plain = inflate(&mut inflater, wire, step);
                assert_eq!(String::from_utf8_lossy(&plain), text, "{wire:?}");
            }
        }
    }

    #[test]
    fn nothing_is_kept_between_messages_that_stand_alone() {
        for (is_alone, second_is_shorter) in [(true, false), (false, true)] {
            let mut deflater =
                Deflater::new(agreed(is_alone, 15), &Deflate::new()).expect("a usual window");
            let text = b"a message that has little in common with itself, 0123456789";
            let (mut first, mut second) = (Vec::new(), Vec::new());
            deflater.deflate(text, true, &mut first);
            deflater.deflate(text, true, &mut second);
            assert_eq!(deflater.is_empty(), is_alone);
            assert_eq!(second.len() < first.len() / 2, second_is_shorter);
            let mut inflater = Inflater::new(agreed(is_alone, 15));
            assert_eq!(inflate(&mut inflater, &first, 3), text);
            assert_eq!(inflate(&mut inflater, &second, 3), text);
            assert_eq!(inflater.is_empty(), is_alone);
        }
    }

    proptest! {
        #[test]
        fn what_is_deflated_inflates_with_the_agreed_window(
            messages in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0u8..4, 0..2000), 1..4), 1..5,
            ),
            is_alone: bool,
            bits in 9u8..=15,
            level in 1u8..=9,
            step in 1usize..100,
        ) {
            let agreed = agreed(is_alone, bits);
            let deflate = Deflate::new().level(level);
            let mut deflater = Deflater::new(agreed, &deflate).expect("a usual window");
            let mut inflater = Inflater::new(agreed);
            for pieces in messages {
                let mut wire = Vec::new();
                for (at, piece) in pieces.iter().enumerate() {
                    deflater.deflate(piece, at + 1 == pieces.len(), &mut wire);
                }
                prop_assert_eq!(inflate(&mut inflater, &wire, step), pieces.concat());
            }
        }
    }
}
