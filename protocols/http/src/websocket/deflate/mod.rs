//! permessage-deflate (RFC 7692): messages that are compressed one by one, with or without what the
//! messages before them have taught.
//!
//! `parameters` is what both sides agree on, `inflater` and `deflater` do it. The rule on memory: a
//! direction without context takeover keeps nothing between two messages; its coder is the
//! thread's, and shared by all connections.

use std::cell::RefCell;

mod deflater;
mod inflater;
mod parameters;

pub(crate) use deflater::Deflater;
pub(crate) use inflater::Inflater;
pub(crate) use parameters::{Agreed, Offer, accept_response, parse_extensions};

/// What each compressed message would end with, and what is left out on the wire: an empty stored
/// block's length (RFC 7692 §7.2.1).
pub(crate) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// How much one step of a coder produces at most. Always through this much room, and not through what
/// some buffer has left: a simulation then replays to the octet.
const STEP: usize = 16 * 1024;
/// The largest window, 32 KiB: what is used where nobody asks for less.
const MAX_WINDOW_BITS: u8 = 15;
/// The smallest that RFC 7692 §7.1.2 knows. The compressor's smallest is one more; see
/// [`Deflate::server_max_window_bits`].
const MIN_WINDOW_BITS: u8 = 8;
/// Below this a frame is a packet anyway, and compressing costs more than it saves.
const MIN_SIZE: usize = 256;
/// zlib's own compromise is 6; a server that answers at once is better off with less.
const LEVEL: u8 = 4;

thread_local! {
    /// Where coders write to.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `code` with room for [`STEP`] octets.
fn with_room<R>(code: impl FnOnce(&mut [u8]) -> R) -> R {
    ROOM.with_borrow_mut(|room| {
        room.resize(STEP, 0);
        code(room)
    })
}

/// Whether and how messages are compressed, if the other side does it too.
///
/// By default nothing is remembered between messages, so that an idle connection costs no memory
/// for it. With context takeover, small messages that resemble each other become much smaller, and
/// each connection keeps about 370 KiB for what it sends (250 KiB with a window of 9 bits) and 46 KiB
/// for what it receives, from the first compressed message on.
///
/// Do not compress secrets together with what an attacker can choose: the length of the frame tells
/// whether they resemble each other (CRIME, BREACH).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deflate {
    pub(crate) server_context: bool,
    pub(crate) client_context: bool,
    pub(crate) server_bits: u8,
    pub(crate) client_bits: u8,
    pub(crate) level: u8,
    pub(crate) min_size: usize,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            server_context: false,
            client_context: false,
            server_bits: MAX_WINDOW_BITS,
            client_bits: MAX_WINDOW_BITS,
            level: LEVEL,
            min_size: MIN_SIZE,
        }
    }
}

impl Deflate {
    /// The defaults: no context takeover, the largest windows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the server's messages may refer to those before them (no). A server that says no
    /// says `server_no_context_takeover`; a client asks for it.
    #[must_use]
    pub fn server_context_takeover(mut self, takeover: bool) -> Self {
        self.server_context = takeover;
        self
    }

    /// Whether the client's messages may (no).
    #[must_use]
    pub fn client_context_takeover(mut self, takeover: bool) -> Self {
        self.client_context = takeover;
        self
    }

    /// The window of what the server sends: 2 to the power of so many bytes (15; 8 to 15). With 8
    /// the server sends uncompressed, as no compressor here has so small a window.
    #[must_use]
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.server_bits = bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
        self
    }

    /// The window of what the client sends (15; 8 to 15). A server can only limit it if the client
    /// offers that.
    #[must_use]
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.client_bits = bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
        self
    }

    /// How hard to try, from 1 (fast) to 9 (4).
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        self.level = level.clamp(1, 9);
        self
    }

    /// Messages of fewer bytes than this are sent as they are (256).
    #[must_use]
    pub fn min_size(mut self, bytes: usize) -> Self {
        self.min_size = bytes;
        self
    }
}
