//! What can be wrong with bytes on the wire.

use std::fmt;

/// Why a request cannot be read; the text is Redis's own. Nobody knows where the next request
/// begins, so the connection is closed once the client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The number behind `*` is none, or above the limit.
    InvalidMultibulkLength,
    /// The number behind `$` is none, or above the limit; or the whole request is too long.
    InvalidBulkLength,
    /// Something else than `$` begins an argument.
    ExpectedDollar(u8),
    /// The line of a `*` does not end.
    MultibulkLineTooLong,
    /// The line of a `$` does not end.
    BulkLineTooLong,
    /// An inline command is longer than the limit.
    InlineTooLong,
    /// An inline command has a quote that is not closed, or something right behind one that is.
    UnbalancedQuotes,
    /// More arguments than a client may send who has yet to authenticate.
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send who has yet to authenticate.
    UnauthenticatedBulkLength,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match *self {
            Self::InvalidMultibulkLength => f.write_str("invalid multibulk length"),
            Self::InvalidBulkLength => f.write_str("invalid bulk length"),
            Self::ExpectedDollar(got) => write!(f, "expected '$', got '{}'", char::from(got)),
            Self::MultibulkLineTooLong => f.write_str("too big mbulk count string"),
            Self::BulkLineTooLong => f.write_str("too big bulk count string"),
            Self::InlineTooLong => f.write_str("too big inline request"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            Self::UnauthenticatedMultibulkLength => f.write_str("unauthenticated multibulk length"),
            Self::UnauthenticatedBulkLength => f.write_str("unauthenticated bulk length"),
        }
    }
}

impl std::error::Error for RequestError {}

/// Why a reply cannot be read: the peer is no Redis, or sends more than the limits allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// A value begins with a byte that begins none.
    UnknownType(u8),
    /// A length or an integer is none, or a double, a boolean or a null is malformed.
    Malformed,
    /// A line does not end in CR LF, or a string is not followed by it.
    LineEnd,
    /// A line is longer than the limit.
    LineTooLong,
    /// Values lie in values deeper than the limit.
    TooDeep,
    /// A value has more bytes, or more values in it, than the limit.
    TooLarge,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownType(got) => {
                write!(f, "no reply of Redis begins with '{}'", got.escape_ascii())
            }
            Self::Malformed => f.write_str("a malformed number in a reply"),
            Self::LineEnd => f.write_str("a line of a reply does not end in CR LF"),
            Self::LineTooLong => f.write_str("a line of a reply is too long"),
            Self::TooDeep => f.write_str("a reply is nested too deep"),
            Self::TooLarge => f.write_str("a reply is too large"),
        }
    }
}

impl std::error::Error for ReplyError {}
