//! Redis's wire format (RESP2, RESP3 and inline commands) to values and back: no I/O, no reactor.
//!
//! `request` reads what clients send, `inline` the form of it that people type, `reply` what
//! servers answer, `encode` writes both, `glob` compares channels with patterns. The one rule: a
//! byte that was looked at is not looked at again, however the stream was cut.

mod encode;
mod error;
mod glob;
mod inline;
mod number;
mod reply;
mod request;
mod value;

pub use encode::{Encoder, encode_command};
pub use error::{ReplyError, RequestError};
pub use glob::matches;
pub use number::{parse_integer, push_integer};
pub use reply::{ReplyDecoder, ReplyLimits};
pub use request::{Request, RequestDecoder, RequestLimits};
pub use value::Value;

/// Which form of the protocol a connection speaks; `HELLO` changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// What every connection begins with: five kinds of replies.
    #[default]
    Resp2,
    /// Since Redis 6: maps, sets, numbers, and pushes beside the replies.
    Resp3,
}
