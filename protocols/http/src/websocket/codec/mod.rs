//! What a WebSocket's bytes mean: frames, masks, and text that comes in pieces. No I/O, no state of a
//! connection; fuzzed alone.

mod frame;
mod mask;
mod utf8;

pub use frame::{FrameHead, MAX_CONTROL, MAX_HEAD, Opcode};
pub use mask::mask;
pub use utf8::{Invalid, Utf8};
