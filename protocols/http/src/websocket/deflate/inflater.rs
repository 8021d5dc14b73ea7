//! Decompressing what the peer sends, in steps of bounded size: a few octets may become megabytes,
//! and whoever takes them decides whether to go on.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

use super::{Agreed, MAX_WINDOW_BITS, STEP, with_room};
use crate::websocket::Error;

/// Idle ones that are kept for the next message: messages that are under way at once are few.
const KEPT: usize = 8;
/// The decompressor's smallest window; one that is larger than it had to be does no harm.
const LEAST_BITS: u8 = 9;

thread_local! {
    /// With the largest window, which does for every peer.
    static SPARES: RefCell<Vec<Decompress>> = const { RefCell::new(Vec::new()) };
}

/// Decompresses messages of one peer.
pub(crate) struct Inflater {
    agreed: Agreed,
    /// There during a message, and between two if the peer refers to earlier ones.
    stream: Option<Decompress>,
    /// The last step filled its room: there may be more without more input.
    is_full: bool,
    /// The last block was said to be the last, and nothing came behind it.
    is_ended: bool,
}

impl Inflater {
    pub(crate) fn new(agreed: Agreed) -> Self {
        Self { agreed, stream: None, is_full: false, is_ended: false }
    }

    /// Whether a step without input may produce something.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether the peer has ended the stream with the message, so that no tail is missing.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Adds what a step produces to `out`: how many octets of `input` it took. There may be more to
    /// take, or to [produce](Self::is_full).
    pub(crate) fn step(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        let agreed = self.agreed;
        let stream = self.stream.get_or_insert_with(|| {
            if agreed.is_peers_alone {
                let spare = SPARES.with_borrow_mut(Vec::pop);
                spare.unwrap_or_else(|| Decompress::new_with_window_bits(false, MAX_WINDOW_BITS))
            } else {
                Decompress::new_with_window_bits(false, agreed.peers_bits.max(LEAST_BITS))
            }
        });
        let was_full = self.is_full;
        let before = stream.total_in();
        let produced = stream.total_out();
        let (status, made) = with_room(|room| {
            let status = stream.decompress(input, room, FlushDecompress::None);
            let made = (stream.total_out() - produced) as usize;
            out.extend_from_slice(&room[..made]);
            (status, made)
        });
        let status = status.map_err(|_| Error::Inflate)?;
        let taken = (stream.total_in() - before) as usize;
        self.is_full = made == STEP;
        if taken > 0 {
            self.is_ended = false;
        }
        if status == Status::StreamEnd {
            // A block may be marked as the last of all (RFC 7692 §7.2.3.5); another may follow.
            stream.reset(false);
            self.is_ended = true;
            self.is_full = false;
        } else if taken == 0 && made == 0 && !input.is_empty() && !was_full {
            return Err(Error::Inflate);
        }
        Ok(taken)
    }

    /// The message is whole.
    pub(crate) fn finish(&mut self) {
        self.is_full = false;
        self.is_ended = false;
        if self.agreed.is_peers_alone
            && let Some(mut stream) = self.stream.take()
        {
            SPARES.with_borrow_mut(|spares| {
                if spares.len() < KEPT {
                    stream.reset(false);
                    spares.push(stream);
                }
            });
        }
    }

    /// Whether memory is held.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.stream.is_none()
    }
}
