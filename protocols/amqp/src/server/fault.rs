//! Why a channel or a connection is closed: the code, the text, and the method that failed.

use std::fmt;

use crate::codec::{Error as CodecError, MethodId, ReplyCode};

/// What a `channel.close` or a `connection.close` will say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ReplyCode,
    /// The whole reply-text, `NOT_FOUND - no queue 'q' in vhost '/'`.
    pub(crate) text: String,
    /// The method that failed, or 0/0.
    pub(crate) method: MethodId,
    /// There is no telling where the next frame begins.
    pub(crate) lost_framing: bool,
}

impl Fault {
    #[cold]
    pub(crate) fn new(code: ReplyCode, method: MethodId, explanation: impl fmt::Display) -> Fault {
        Fault { code, text: code.text(explanation), method, lost_framing: false }
    }

    #[cold]
    pub(crate) fn of_codec(error: &CodecError) -> Fault {
        Fault {
            code: error.reply_code(),
            text: error.reply_text(),
            method: error.method_id(),
            lost_framing: matches!(
                error,
                CodecError::FrameTooLarge { .. } | CodecError::InvalidFrameEnd { .. }
            ),
        }
    }

    /// `error`, which the broker gave to a call for `method`.
    #[cold]
    pub(crate) fn of_broker(error: &ropewalk_broker::Error, method: MethodId) -> Fault {
        let code = ReplyCode::from_number(error.kind().code()).unwrap_or(ReplyCode::InternalError);
        Fault::new(code, method, error.explanation())
    }

    /// Whether it closes the connection, not only the channel.
    pub(crate) fn is_hard(&self) -> bool {
        self.code.is_hard()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.number(), self.text)?;
        match self.method {
            MethodId::NONE => Ok(()),
            method => write!(f, " (method {method})"),
        }
    }
}

impl std::error::Error for Fault {}
