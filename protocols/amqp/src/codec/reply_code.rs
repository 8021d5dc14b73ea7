//! Reply codes: why a channel or a connection is closed, or a message returned.
//!
//! The numbers and the names that begin a reply-text; who raises which is not decided here.

use std::fmt;

/// A reply code (AMQP 0-9-1 section 1.2, "Constants").
///
/// A *hard* error closes the connection, a *soft* one only the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum ReplyCode {
    /// 200: nothing went wrong; what a peer says that closes of its own will.
    ReplySuccess = 200,
    /// 311 (soft): the content is larger than the receiver takes.
    ContentTooLarge = 311,
    /// 312 (soft): no queue for a mandatory message; only in `basic.return`.
    NoRoute = 312,
    /// 313 (soft): no consumer for an immediate message; only in `basic.return`.
    NoConsumers = 313,
    /// 320 (hard): an operator, or the broker's own end, closes the connection.
    ConnectionForced = 320,
    /// 402 (hard): an unknown virtual host; RabbitMQ says `NotAllowed` instead.
    InvalidPath = 402,
    /// 403 (soft): not permitted.
    AccessRefused = 403,
    /// 404 (soft): no such exchange or queue.
    NotFound = 404,
    /// 405 (soft): another connection has exclusive access.
    ResourceLocked = 405,
    /// 406 (soft): a condition of the request does not hold.
    PreconditionFailed = 406,
    /// 501 (hard): a frame could not be decoded.
    FrameError = 501,
    /// 502 (hard): a frame's fields hold illegal values.
    SyntaxError = 502,
    /// 503 (hard): a method that is invalid in this order, or from this side.
    CommandInvalid = 503,
    /// 504 (hard): a channel that is not, or already, open.
    ChannelError = 504,
    /// 505 (hard): a frame that was not expected, as a body without its header.
    UnexpectedFrame = 505,
    /// 506 (hard): the server lacks resources.
    ResourceError = 506,
    /// 530 (hard): against the rules of this server, or of what was negotiated.
    NotAllowed = 530,
    /// 540 (hard): the server does not have this function.
    NotImplemented = 540,
    /// 541 (hard): the server failed.
    InternalError = 541,
}

/// What a shortstr, and so a reply-text, can hold.
const REPLY_TEXT_MAX: usize = 255;

impl ReplyCode {
    /// Every code, in ascending order.
    pub const ALL: [ReplyCode; 19] = [
        Self::ReplySuccess,
        Self::ContentTooLarge,
        Self::NoRoute,
        Self::NoConsumers,
        Self::ConnectionForced,
        Self::InvalidPath,
        Self::AccessRefused,
        Self::NotFound,
        Self::ResourceLocked,
        Self::PreconditionFailed,
        Self::FrameError,
        Self::SyntaxError,
        Self::CommandInvalid,
        Self::ChannelError,
        Self::UnexpectedFrame,
        Self::ResourceError,
        Self::NotAllowed,
        Self::NotImplemented,
        Self::InternalError,
    ];

    /// The code of this number, if the specification has one.
    #[must_use]
    pub fn from_number(number: u16) -> Option<ReplyCode> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The name that begins a reply-text, such as `NOT_FOUND`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReplySuccess => "REPLY_SUCCESS",
            Self::ContentTooLarge => "CONTENT_TOO_LARGE",
            Self::NoRoute => "NO_ROUTE",
            Self::NoConsumers => "NO_CONSUMERS",
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::InvalidPath => "INVALID_PATH",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::SyntaxError => "SYNTAX_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::ResourceError => "RESOURCE_ERROR",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Whether this closes the whole connection, not only the channel.
    #[must_use]
    pub const fn is_hard(self) -> bool {
        self.number() >= 500 || matches!(self, Self::ConnectionForced | Self::InvalidPath)
    }

    /// The reply-text `<NAME> - <explanation>`.
    ///
    /// At most 255 octets: a longer one is cut, on a character's boundary, and ends in `...`,
    /// as RabbitMQ's do.
    #[must_use]
    pub fn text(self, explanation: impl fmt::Display) -> String {
        let mut text = format!("{} - {explanation}", self.name());
        if text.len() > REPLY_TEXT_MAX {
            text.truncate(text.floor_char_boundary(REPLY_TEXT_MAX - "...".len()));
            text.push_str("...");
        }
        text
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_text_is_the_name_and_the_explanation() {
        let text = ReplyCode::NotFound.text("no queue 'q' in vhost '/'");
        assert_eq!(text, "NOT_FOUND - no queue 'q' in vhost '/'");
    }

    #[test]
    fn a_long_reply_text_is_cut_at_255_octets_between_characters() {
        let exact = "x".repeat(255 - "NOT_FOUND - ".len());
        assert_eq!(ReplyCode::NotFound.text(&exact).len(), 255);
        assert!(!ReplyCode::NotFound.text(&exact).ends_with("..."));

        // 12 octets of name, then two a character: the cut at 252 falls between two of them,
        // with one octet more it would fall within one.
        let text = ReplyCode::NotFound.text("é".repeat(200));
        assert_eq!((text.len(), text.ends_with("é...")), (255, true));
        let text = ReplyCode::NotFound.text(format!("x{}", "é".repeat(200)));
        assert_eq!((text.len(), text.ends_with("é...")), (254, true));
    }

    #[test]
    fn soft_errors_are_the_3xx_and_4xx_but_320_and_402() {
        let soft = ReplyCode::ALL.into_iter().filter(|code| !code.is_hard());
        let soft: Vec<u16> = soft.map(ReplyCode::number).collect();
        assert_eq!(soft, [200, 311, 312, 313, 403, 404, 405, 406]);
    }

    #[test]
    fn every_code_is_found_by_its_number() {
        for code in ReplyCode::ALL {
            assert_eq!(ReplyCode::from_number(code.number()), Some(code));
        }
        assert_eq!(ReplyCode::from_number(0), None);
    }
}
