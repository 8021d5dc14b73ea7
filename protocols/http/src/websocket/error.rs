//! What ends a WebSocket that was open, and which code the peer is told.

use std::fmt;

use super::CloseCode;

/// What was wrong with what the peer sent, or did not send. Each ends the connection, with a Close
/// frame that says so (RFC 6455 §7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A reserved bit is set that no agreed extension gives a meaning (RFC 6455 §5.2).
    ReservedBits,
    /// An opcode that means nothing.
    Opcode,
    /// A length of more octets than it needs, or of 2⁶³ and more.
    Length,
    /// A client's frame is not masked (RFC 6455 §5.1).
    Unmasked,
    /// A server's frame is masked.
    Masked,
    /// A control frame is a fragment (RFC 6455 §5.5).
    ControlFragmented,
    /// A control frame has more than 125 octets.
    ControlTooLong,
    /// A continuation of no message (RFC 6455 §5.4).
    ContinuationUnexpected,
    /// A message begins before the one before it has ended.
    ContinuationMissing,
    /// A Close frame with one octet.
    ClosePayload,
    /// A Close frame with a code that may not be in one (RFC 6455 §7.4).
    CloseCode,
    /// Text, or the reason of a Close frame, is not UTF-8.
    Utf8,
    /// A compressed message does not inflate (RFC 7692).
    Inflate,
    /// A message is longer than [`max_message`](super::Config::max_message).
    MessageTooLarge,
    /// A frame is longer than [`max_frame`](super::Config::max_frame).
    FrameTooLarge,
    /// Nothing was heard of the peer for
    /// [`ping_timeout`](super::Config::ping_timeout) after a ping.
    PingTimeout,
    /// The peer did not answer a Close frame for
    /// [`close_timeout`](super::Config::close_timeout).
    CloseTimeout,
    /// The peer took nothing for [`send_timeout`](super::Config::send_timeout).
    SendTimeout,
}

impl Error {
    /// The code of the Close frame that the peer is sent.
    pub fn code(self) -> CloseCode {
        match self {
            Self::Utf8 | Self::Inflate => CloseCode::INVALID_DATA,
            Self::MessageTooLarge | Self::FrameTooLarge => CloseCode::TOO_LARGE,
            Self::PingTimeout | Self::CloseTimeout | Self::SendTimeout => CloseCode::INTERNAL_ERROR,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// What is wrong, in a few words; the peer is told.
    pub fn text(self) -> &'static str {
        match self {
            Self::ReservedBits => "a reserved bit is set",
            Self::Opcode => "unknown opcode",
            Self::Length => "malformed length",
            Self::Unmasked => "a client has to mask its frames",
            Self::Masked => "a server must not mask its frames",
            Self::ControlFragmented => "a control frame is fragmented",
            Self::ControlTooLong => "a control frame is too long",
            Self::ContinuationUnexpected => "a continuation of no message",
            Self::ContinuationMissing => "a message within a message",
            Self::ClosePayload => "malformed Close frame",
            Self::CloseCode => "a code that may not be sent",
            Self::Utf8 => "the text is not UTF-8",
            Self::Inflate => "the message does not inflate",
            Self::MessageTooLarge => "the message is too large",
            Self::FrameTooLarge => "the frame is too large",
            Self::PingTimeout => "a ping was not answered",
            Self::CloseTimeout => "the Close frame was not answered",
            Self::SendTimeout => "the peer reads nothing",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}
