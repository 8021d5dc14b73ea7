//! Why a framed connection is closed.

use std::fmt;

/// What was wrong with the bytes of a peer. A connection that is closed for it has this error in
/// its [`Reason`](ropewalk_reactor::Reason).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A line is longer than the limit (bytes, without the delimiter).
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// A string's prefix announces more than the limit (bytes), or more than the prefix can say.
    StringTooLong {
        /// The limit.
        limit: usize,
    },
    /// What came is no netstring: the length is no decimal number without leading zeros and a
    /// colon behind it, or the comma at the end is missing.
    BadNetstring,
    /// The protocol asked for [`Mode::Raw`](crate::Mode::Raw), but has no `raw_data_received`.
    NoRawMode,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong { limit } => write!(f, "a line is longer than {limit} bytes"),
            Self::StringTooLong { limit } => write!(f, "a string is longer than {limit} bytes"),
            Self::BadNetstring => f.write_str("that is no netstring"),
            Self::NoRawMode => f.write_str("raw data came, but the protocol takes only lines"),
        }
    }
}

impl std::error::Error for Error {}
