//! What can be wrong with a peer's octets, and what to tell it.
//!
//! Every variant has the reply code and, as its `Display`, the explanation that RabbitMQ would
//! send. None is raised for what a method *means*: that is the server's or the client's part.

use super::{FrameKind, MethodId, ReplyCode, TableError};
use std::{error, fmt};

/// A peer broke the rules of the wire.
///
/// All but [`BodyTooLarge`](Self::BodyTooLarge) are hard: they end the connection, with
/// `connection.close` of [`reply_code`](Self::reply_code), [`reply_text`](Self::reply_text) and
/// [`method_id`](Self::method_id).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// 501: a frame larger than was negotiated; known from its first seven octets.
    FrameTooLarge {
        /// The type octet.
        kind: u8,
        /// The payload's octets.
        size: u32,
        /// How many were allowed.
        limit: u32,
    },
    /// 501: a frame that does not end in 0xCE, so that its size was wrong.
    InvalidFrameEnd {
        /// The type octet.
        kind: u8,
        /// How the payload begins.
        payload: Snippet,
        /// What stood in the place of 0xCE.
        marker: u8,
    },
    /// 501: no frame type has this number, or the payload is too short for the type.
    UnknownFrame {
        /// The type octet.
        kind: u8,
        /// How the payload begins.
        payload: Snippet,
    },
    /// 505: a heartbeat on a channel, or content on channel 0.
    UnexpectedFrame {
        /// The type octet.
        kind: u8,
        /// How the payload begins.
        payload: Snippet,
    },
    /// 540: no method has these numbers.
    UnknownMethod(MethodId),
    /// 501: the method's arguments end too early or go on after the last.
    CannotDecode {
        /// Which method.
        method: MethodId,
        /// The arguments; no more of them than a reply-text can show.
        arguments: Box<[u8]>,
    },
    /// 501: a shortstr of a client's method, but for `basic.publish`, is not UTF-8.
    MalformedUtf8,
    /// 502: a field table in a method's arguments is refused.
    MalformedTable {
        /// Which method.
        method: MethodId,
        /// What is wrong with the table.
        error: TableError,
    },
    /// 541: the properties in a content header cannot be decoded.
    MalformedProperties,
    /// 505: content came with no method before it.
    ExpectedMethod,
    /// 505: no content header followed a method that carries content.
    ExpectedHeader {
        /// Which method.
        method: MethodId,
        /// The class of the header that came, if one came.
        class_id: Option<u16>,
    },
    /// 505: something else came on the channel before the body was whole.
    ExpectedBody {
        /// The content's method.
        method: MethodId,
    },
    /// 501: a body frame goes over the size that the header announced.
    BodyOverrun {
        /// The content's method.
        method: MethodId,
    },
    /// 406, soft: the header announces a larger body than is taken.
    BodyTooLarge {
        /// The content's method.
        method: MethodId,
        /// The octets that the header announces.
        size: u64,
        /// The octets that are taken.
        limit: u64,
    },
}

impl Error {
    /// The code to close the connection or the channel with.
    #[must_use]
    pub const fn reply_code(&self) -> ReplyCode {
        match self {
            Self::FrameTooLarge { .. }
            | Self::InvalidFrameEnd { .. }
            | Self::UnknownFrame { .. }
            | Self::CannotDecode { .. }
            | Self::MalformedUtf8
            | Self::BodyOverrun { .. } => ReplyCode::FrameError,
            Self::UnexpectedFrame { .. }
            | Self::ExpectedMethod
            | Self::ExpectedHeader { .. }
            | Self::ExpectedBody { .. } => ReplyCode::UnexpectedFrame,
            Self::UnknownMethod(_) => ReplyCode::NotImplemented,
            Self::MalformedTable { .. } => ReplyCode::SyntaxError,
            Self::MalformedProperties => ReplyCode::InternalError,
            Self::BodyTooLarge { .. } => ReplyCode::PreconditionFailed,
        }
    }

    /// The method that failed, or 0/0 where a frame did.
    #[must_use]
    pub const fn method_id(&self) -> MethodId {
        match self {
            Self::UnknownMethod(method)
            | Self::CannotDecode { method, .. }
            | Self::MalformedTable { method, .. }
            | Self::ExpectedHeader { method, .. }
            | Self::ExpectedBody { method }
            | Self::BodyOverrun { method }
            | Self::BodyTooLarge { method, .. } => *method,
            _ => MethodId::NONE,
        }
    }

    /// The reply-text: the code's name, and the explanation.
    #[must_use]
    pub fn reply_text(&self) -> String {
        self.reply_code().text(self)
    }

    pub(super) fn cannot_decode(method: MethodId, arguments: &[u8]) -> Error {
        /// A reply-text has 255 octets, and each of ours takes two there at least.
        const SHOWN: usize = 128;
        let shown = &arguments[..arguments.len().min(SHOWN)];
        Error::CannotDecode { method, arguments: shown.into() }
    }

    pub(super) fn unknown_frame(kind: FrameKind, payload: &[u8]) -> Error {
        Error::UnknownFrame { kind: kind as u8, payload: Snippet::of(payload) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameTooLarge { kind, size, limit } => {
                let none = Snippet::of(b"");
                write!(f, "type {kind}, {none}: {{frame_too_large,{size},{limit}}}")
            }
            Self::InvalidFrameEnd { kind, payload, marker } => {
                write!(f, "type {kind}, {payload}: {{invalid_frame_end_marker,{marker}}}")
            }
            Self::UnknownFrame { kind, payload } => {
                write!(f, "type {kind}, {payload}: unknown_frame")
            }
            Self::UnexpectedFrame { kind, payload } => write!(f, "type {kind}, {payload}"),
            Self::UnknownMethod(MethodId { class_id, method_id }) => {
                write!(f, "unknown method {{{class_id},{method_id}}}")
            }
            Self::CannotDecode { arguments, .. } => {
                f.write_str("cannot decode ")?;
                write_octets(f, arguments)
            }
            Self::MalformedUtf8 => f.write_str("Malformed UTF-8 in shortstr"),
            Self::MalformedTable { error, .. } => error.fmt(f),
            Self::MalformedProperties => f.write_str("cannot decode the content's properties"),
            Self::ExpectedMethod => {
                f.write_str("expected method frame, got non method frame instead")
            }
            Self::ExpectedHeader { method, class_id: None } => write!(
                f,
                "expected content header for class {}, got non content header frame instead",
                method.class_id
            ),
            Self::ExpectedHeader { method, class_id: Some(class_id) } => write!(
                f,
                "expected content header for class {}, got one for class {class_id} instead",
                method.class_id
            ),
            Self::ExpectedBody { .. } => {
                f.write_str("expected content body, got non content body frame instead")
            }
            Self::BodyOverrun { .. } => {
                f.write_str("content body frame exceeds remaining content size")
            }
            Self::BodyTooLarge { size, limit, .. } => {
                write!(f, "message size {size} is larger than configured max size {limit}")
            }
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::MalformedTable { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// How a payload begins, for an error's text: at most 16 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snippet {
    octets: [u8; Self::MAX_LEN],
    /// Of the whole payload, or one more than fit.
    len: u8,
}

impl Snippet {
    const MAX_LEN: usize = 16;

    pub(crate) fn of(payload: &[u8]) -> Snippet {
        let shown = payload.len().min(Self::MAX_LEN);
        let mut octets = [0; Self::MAX_LEN];
        octets[..shown].copy_from_slice(&payload[..shown]);
        Snippet { octets, len: payload.len().min(Self::MAX_LEN + 1) as u8 } // at most 17
    }
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = usize::from(self.len);
        let (which, octets) = match self.octets.get(..len) {
            Some(all) => ("all", all),
            None => ("first 16", &self.octets[..]),
        };
        write!(f, "{which} octets = ")?;
        let printable = |octet: &u8| matches!(octet, b' '..=b'~' | b'\t'..=b'\r' | 8 | 27);
        if octets.is_empty() || !octets.iter().all(printable) {
            return write_octets(f, octets);
        }
        // RabbitMQ shows these as text, as Erlang's `~p` does with what can be printed.
        f.write_str("<<\"")?;
        for octet in octets {
            match octet {
                8 => f.write_str("\\b")?,
                11 => f.write_str("\\v")?,
                12 => f.write_str("\\f")?,
                27 => f.write_str("\\e")?,
                b'\'' => f.write_str("'")?,
                octet => write!(f, "{}", octet.escape_ascii())?,
            }
        }
        f.write_str("\">>")
    }
}

/// Octets as Erlang shows them: `<<0,20,0,10>>`.
fn write_octets(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    f.write_str("<<")?;
    for (index, octet) in octets.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(f, "{comma}{octet}")?;
    }
    f.write_str(">>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_rabbitmq() {
        const PUBLISH: MethodId = MethodId { class_id: 60, method_id: 40 };
        let end = |payload, marker| Error::InvalidFrameEnd {
            kind: 1,
            payload: Snippet::of(payload),
            marker,
        };
        let texts = [
            (
                end(&[0, 20, 0, 10], 0),
                "FRAME_ERROR - type 1, all octets = <<0,20,0,10>>: {invalid_frame_end_marker,0}",
            ),
            (
                end(&[1, 0, 0, 0, 22, 0, 60, 0, 40, 0, 0, 13, 111, 114, 100, 101, 114], 54),
                "FRAME_ERROR - type 1, first 16 octets = \
                 <<1,0,0,0,22,0,60,0,40,0,0,13,111,114,100,101>>: {invalid_frame_end_marker,54}",
            ),
            (
                end(b"say \"hi\"\r\n", 0),
                "FRAME_ERROR - type 1, all octets = <<\"say \\\"hi\\\"\\r\\n\">>: \
                 {invalid_frame_end_marker,0}",
            ),
            (
                Error::FrameTooLarge { kind: 3, size: 200_000, limit: 131_064 },
                "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,200000,131064}",
            ),
            (
                Error::UnknownFrame { kind: 9, payload: Snippet::of(b"") },
                "FRAME_ERROR - type 9, all octets = <<>>: unknown_frame",
            ),
            (Error::cannot_decode(PUBLISH, &[0]), "FRAME_ERROR - cannot decode <<0>>"),
            (
                Error::ExpectedHeader { method: PUBLISH, class_id: Some(50) },
                "UNEXPECTED_FRAME - expected content header for class 60, \
                 got one for class 50 instead",
            ),
            (
                Error::BodyTooLarge { method: PUBLISH, size: 20, limit: 10 },
                "PRECONDITION_FAILED - message size 20 is larger than configured max size 10",
            ),
        ];
        for (error, text) in texts {
            assert_eq!(error.reply_text(), text);
        }
    }

    #[test]
    fn a_long_undecodable_method_still_makes_a_reply_text() {
        let error = Error::cannot_decode(MethodId { class_id: 50, method_id: 10 }, &[7; 5000]);
        let text = error.reply_text();
        assert!(text.starts_with("FRAME_ERROR - cannot decode <<7,7,7"), "{text}");
        assert!(text.ends_with("..."), "{text}");
        assert_eq!(text.len(), 255);
    }
}
