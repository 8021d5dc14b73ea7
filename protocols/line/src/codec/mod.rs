//! Bytes to lines and strings: no I/O, no reactor. A codec looks at all bytes that are there and
//! says what comes first in them and how many bytes that took; whoever holds the bytes drops
//! those and asks again.
//!
//! The one rule: how the bytes were cut on their way changes nothing of what comes out.

mod delimiter;
mod lines;
mod strings;

pub use delimiter::Delimiter;
pub use lines::{LineCodec, LineEvent};
pub use strings::{Framing, Prefix, StringCodec};

/// What a look at the bytes gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded<E> {
    /// What came first; `None` when it takes more bytes to tell.
    pub event: Option<E>,
    /// How many bytes, from the first one, are done with.
    pub consumed: usize,
}
