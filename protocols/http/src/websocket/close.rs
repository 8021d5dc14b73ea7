//! Why a WebSocket closes: the codes of RFC 6455 §7.4 and of its registry, and what a Close frame
//! says.

use std::fmt;

use super::Error;
use super::codec::MAX_CONTROL;

/// The most octets of text in a Close frame: what a control frame holds, less the code.
pub(crate) const MAX_REASON: usize = MAX_CONTROL - 2;

/// Why a WebSocket was closed, as a number from 1000 to 4999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $code:literal $name:ident;)*) => {
        impl CloseCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The purpose of the connection is fulfilled.
    1000 NORMAL;
    /// A server goes down, a browser leaves the page.
    1001 GOING_AWAY;
    /// The peer broke the protocol.
    1002 PROTOCOL_ERROR;
    /// Text where only octets are understood, or the other way.
    1003 UNSUPPORTED_DATA;
    /// The Close frame gave no code. Never in a frame.
    1005 NO_STATUS;
    /// There was no Close frame: the connection was cut. Never in a frame.
    1006 ABNORMAL;
    /// A message is not what its type says: text that is not UTF-8, data that does not inflate.
    1007 INVALID_DATA;
    /// A message breaks the application's rules.
    1008 POLICY_VIOLATION;
    /// A message is longer than the limit.
    1009 TOO_LARGE;
    /// The client needs an extension that the server did not agree to.
    1010 MANDATORY_EXTENSION;
    /// The server failed.
    1011 INTERNAL_ERROR;
    /// The server starts again; come back.
    1012 SERVICE_RESTART;
    /// The server has too much to do; come back later.
    1013 TRY_AGAIN_LATER;
    /// A gateway had no good answer from behind it.
    1014 BAD_GATEWAY;
    /// The TLS handshake failed. Never in a frame.
    1015 TLS_HANDSHAKE;
}

impl CloseCode {
    /// The code that is this number, if it may stand in a Close frame (RFC 6455 §7.4.2): one of
    /// the registered, or 3000 to 4999, which are for libraries and applications.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    /// The number and its name: `1001 going away`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {}", self.0, name.to_lowercase().replace('_', " ")),
            None => write!(f, "{}", self.0),
        }
    }
}

/// How a WebSocket was closed, as the peer put it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The code in the peer's Close frame; [`CloseCode::NO_STATUS`] if that had none, and
    /// [`CloseCode::ABNORMAL`] if there was no such frame.
    pub code: CloseCode,
    /// The text in it, for people who read logs: at most 123 octets.
    pub reason: String,
    /// Whether both sides have sent a Close frame.
    pub is_clean: bool,
}

impl Close {
    /// There was no Close frame.
    pub(crate) fn abnormal() -> Self {
        Self { code: CloseCode::ABNORMAL, reason: String::new(), is_clean: false }
    }

    /// Reads the payload of a Close frame (RFC 6455 §5.5.1).
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Error> {
        let (code, reason) = match payload.split_first_chunk() {
            Some((&code, reason)) => {
                let code = CloseCode::from_number(u16::from_be_bytes(code));
                let reason = str::from_utf8(reason).map_err(|_| Error::Utf8)?;
                (code.ok_or(Error::CloseCode)?, reason.to_owned())
            }
            None if payload.is_empty() => (CloseCode::NO_STATUS, String::new()),
            None => return Err(Error::ClosePayload),
        };
        Ok(Self { code, reason, is_clean: false })
    }

    /// Writes the payload of a Close frame. A code that may not be in one makes it empty; the text
    /// is cut to what fits.
    pub(crate) fn write(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
        if CloseCode::from_number(code.0).is_some() {
            out.extend_from_slice(&code.0.to_be_bytes());
            out.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent_are_the_registered_and_those_of_applications() {
        let allowed: Vec<u16> =
            (0..=u16::MAX).filter(|&code| CloseCode::from_number(code).is_some()).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(allowed, expected);
        assert_eq!(CloseCode::GOING_AWAY.to_string(), "1001 going away");
        assert_eq!(CloseCode(4000).to_string(), "4000");
    }

    #[test]
    fn a_close_frame_is_empty_or_has_a_code_and_perhaps_text() {
        let close = |payload: &[u8]| Close::parse(payload).map(|close| (close.code, close.reason));
        assert_eq!(close(b""), Ok((CloseCode::NO_STATUS, String::new())));
        assert_eq!(close(b"\x03"), Err(Error::ClosePayload));
        assert_eq!(close(b"\x03\xe8"), Ok((CloseCode::NORMAL, String::new())));
        assert_eq!(close(b"\x03\xe8bye"), Ok((CloseCode::NORMAL, "bye".to_owned())));
        assert_eq!(close(b"\x03\xe8\xff"), Err(Error::Utf8));
        assert_eq!(close(b"\x03\xed"), Err(Error::CloseCode)); // 1005
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        Close::write(&mut out, CloseCode::NORMAL, &"\u{e9}".repeat(100));
        assert_eq!(out.len(), 2 + 122);
        assert!(Close::parse(&out).is_ok());
        out.clear();
        Close::write(&mut out, CloseCode::NO_STATUS, "nobody reads this");
        assert!(out.is_empty());
    }
}
