//! What can go wrong with a connection, a channel or one request; one enum for all, that can be
//! cloned, because one loss is many requests' error.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use ropewalk_reactor::Promise;

use super::UriError;
use crate::codec::{self, MethodId, ProtocolHeader, ReplyCode};

/// What a function of the client gives back.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// What the server said when it closed a channel or the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The reply code's number: 404, say.
    pub code: u16,
    /// The reply text: `NOT_FOUND - no queue 'q' in vhost '/'`, say.
    pub text: String,
    /// The method that failed, or 0/0.
    pub method: MethodId,
}

impl Close {
    /// The reply code, if the specification knows it.
    #[must_use]
    pub fn reply_code(&self) -> Option<ReplyCode> {
        ReplyCode::from_number(self.code)
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MethodId { class_id, method_id } = self.method;
        write!(f, "{} {}", self.code, self.text)?;
        if self.method != MethodId::NONE { write!(f, " ({class_id}/{method_id})") } else { Ok(()) }
    }
}

/// Why a request, a channel or a connection failed.
///
/// A [`Deferred`](ropewalk_reactor::Deferred) carries the reactor's error type; this one is
/// inside, and `?` (or `Error::from`) takes it out again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The URI cannot be used.
    Uri(UriError),
    /// There is nobody at the address, or it is none.
    Reactor(Arc<ropewalk_reactor::Error>),
    /// The server speaks another protocol; these are the first octets that it sent.
    ProtocolMismatch([u8; 8]),
    /// The server offers none of the ways to log in that are allowed.
    NoMechanism {
        /// What it offers.
        offered: String,
    },
    /// The server dropped the connection where it should have accepted the login or the virtual
    /// host: what old servers do to refuse.
    Refused,
    /// The server closed the connection.
    ConnectionClosed(Close),
    /// The server closed the channel, because of this or an earlier request on it.
    ChannelClosed(Close),
    /// The connection broke; the reactor's reason in words.
    ConnectionLost(Arc<str>),
    /// The server was silent for two intervals of heartbeats of so many seconds.
    HeartbeatMissed(u16),
    /// Connecting, or closing, took too long.
    TimedOut,
    /// There is no connection now; [`Connection::ready`](super::Connection::ready) waits for it.
    Reconnecting,
    /// It was closed from here.
    Closed,
    /// What the server sent breaks the rules of the wire.
    Codec(codec::Error),
    /// The server sent this method where it has no place.
    Unexpected(&'static str),
    /// Whether the server has the message is not known: its confirm can no longer come, for the
    /// reason inside.
    Unconfirmed(Box<Error>),
    /// The server has cancelled the consumer: its queue is gone, say.
    ConsumerCancelled,
    /// More output waits for the network than
    /// [`output_limit`](super::Options::output_limit), which is inside.
    OutputFull(usize),
    /// This name has more than the 255 octets that fit.
    TooLong(&'static str),
    /// The properties or arguments do not fit in one frame, as AMQP demands.
    TooLarge {
        /// Their octets.
        size: usize,
        /// The octets that fit.
        limit: usize,
    },
    /// So many channels are open, and the server allows no more.
    NoChannelLeft(u16),
    /// The delivery has been acknowledged or refused already, or needs none of it.
    AlreadySettled,
    /// The channel has a consumer of this name already.
    TagInUse(String),
    /// A channel is either transactional or confirms; this one is this.
    WrongMode(&'static str),
}

impl Error {
    /// What the server said, if it was the server that closed.
    #[must_use]
    pub fn close(&self) -> Option<&Close> {
        match self {
            Self::ConnectionClosed(close) | Self::ChannelClosed(close) => Some(close),
            Self::Unconfirmed(cause) => cause.close(),
            _ => None,
        }
    }

    /// The server's reply code, if it was the server that closed.
    #[must_use]
    pub fn reply_code(&self) -> Option<ReplyCode> {
        self.close()?.reply_code()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(error) => error.fmt(f),
            Self::Reactor(error) => error.fmt(f),
            Self::ProtocolMismatch(octets) => {
                write!(f, "the server does not speak AMQP 0-9-1 but ")?;
                ProtocolHeader::Mismatch(*octets).fmt(f)
            }
            Self::NoMechanism { offered } => {
                write!(f, "the server offers only these ways to log in: {offered}")
            }
            Self::Refused => f.write_str(
                "the server dropped the connection during the login: are user, password and \
                 virtual host right?",
            ),
            Self::ConnectionClosed(close) => write!(f, "the server closed the connection: {close}"),
            Self::ChannelClosed(close) => write!(f, "the server closed the channel: {close}"),
            Self::ConnectionLost(reason) => write!(f, "the connection was lost: {reason}"),
            Self::HeartbeatMissed(seconds) => {
                write!(f, "the server was silent for two heartbeats of {seconds} s")
            }
            Self::TimedOut => f.write_str("it took too long"),
            Self::Reconnecting => f.write_str("there is no connection now"),
            Self::Closed => f.write_str("closed"),
            Self::Codec(error) => write!(f, "the server broke the protocol: {error}"),
            Self::Unexpected(method) => write!(f, "the server sent an unexpected {method}"),
            Self::Unconfirmed(cause) => {
                write!(f, "whether the server has the message is not known: {cause}")
            }
            Self::ConsumerCancelled => f.write_str("the server cancelled the consumer"),
            Self::OutputFull(limit) => {
                write!(f, "more than {limit} octets wait for the network")
            }
            Self::TooLong(what) => write!(f, "the {what} has more than 255 octets"),
            Self::TooLarge { size, limit } => {
                write!(f, "properties or arguments of {size} octets; {limit} fit in a frame")
            }
            Self::NoChannelLeft(most) => write!(f, "all {most} channels are in use"),
            Self::AlreadySettled => f.write_str("the delivery is settled already"),
            Self::TagInUse(tag) => write!(f, "the channel has a consumer {tag:?} already"),
            Self::WrongMode(mode) => write!(f, "the channel is {mode}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Uri(error) => Some(error),
            Self::Reactor(error) => Some(&**error),
            Self::Codec(error) => Some(error),
            Self::Unconfirmed(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<UriError> for Error {
    fn from(error: UriError) -> Error {
        Error::Uri(error)
    }
}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Error {
        Error::Codec(error)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Error {
        match never {}
    }
}

/// Takes the client's own error out of the reactor's, where that only carries it.
impl From<ropewalk_reactor::Error> for Error {
    fn from(error: ropewalk_reactor::Error) -> Error {
        match error {
            ropewalk_reactor::Error::Other(inner) => match inner.downcast::<Error>() {
                Ok(own) => *own,
                Err(other) => Error::Reactor(Arc::new(ropewalk_reactor::Error::Other(other))),
            },
            error => Error::Reactor(Arc::new(error)),
        }
    }
}

/// Puts the client's error where a deferred can carry it.
impl From<Error> for ropewalk_reactor::Error {
    fn from(error: Error) -> ropewalk_reactor::Error {
        ropewalk_reactor::Error::Other(Box::new(error))
    }
}

/// Gives a promise the client's error.
pub(super) fn fail<T: 'static>(promise: Promise<T>, error: &Error) {
    promise.fail(error.clone().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reactors_error_carries_the_clients_and_gives_it_back() {
        let close = Close {
            code: 404,
            text: "NOT_FOUND - no queue 'q' in vhost '/'".into(),
            method: MethodId { class_id: 50, method_id: 10 },
        };
        let carried: ropewalk_reactor::Error = Error::ChannelClosed(close).into();
        let error = Error::from(carried);
        assert_eq!(error.reply_code(), Some(ReplyCode::NotFound));
        let text = "the server closed the channel: \
                    404 NOT_FOUND - no queue 'q' in vhost '/' (50/10)";
        assert_eq!(error.to_string(), text);
        assert!(matches!(Error::from(ropewalk_reactor::Error::TimedOut), Error::Reactor(_)));
    }
}
