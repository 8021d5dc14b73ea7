//! What a call can be refused for: a kind, which decides what is closed, and RabbitMQ's text.
//!
//! The broker knows nothing of frames: the AMQP layer adds the class and method of the call
//! that failed and cuts the text to what its reply field holds.

use std::borrow::Cow;
use std::fmt;

/// The result of a call to the broker.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    explanation: String,
}

/// The kind of refusal, named as AMQP 0-9-1 names its reply codes (section 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A message is larger than the limit (311).
    ContentTooLarge,
    /// The caller may not do this, or the name is reserved (403).
    AccessRefused,
    /// An exchange, queue or virtual host does not exist (404).
    NotFound,
    /// The queue is exclusive to another connection (405).
    ResourceLocked,
    /// What was asked contradicts what is there (406).
    PreconditionFailed,
    /// An operator or the broker itself ends the connection (320).
    ConnectionForced,
    /// A method arrived for a channel that is not in the state for it (504).
    ChannelError,
    /// A limit of the broker is reached (506).
    ResourceError,
    /// The connection's user or its agreement with the broker forbids it (530).
    NotAllowed,
    /// A part of the protocol that the broker does not serve (540).
    NotImplemented,
    /// The broker's own fault (541).
    InternalError,
}

/// What an error closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The channel on which the call came.
    Channel,
    /// The whole connection.
    Connection,
}

impl Error {
    /// An error of `kind`; the explanation is what follows the code's name in the reply.
    pub fn new(kind: ErrorKind, explanation: impl Into<String>) -> Error {
        Error { kind, explanation: explanation.into() }
    }

    /// The kind of refusal.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What it closes.
    pub fn level(&self) -> Level {
        self.kind.level()
    }

    /// The text without the code's name: `no queue 'q' in vhost '/'`. `Display` gives the whole
    /// reply text, `NOT_FOUND - no queue 'q' in vhost '/'`.
    pub fn explanation(&self) -> &str {
        &self.explanation
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.kind.name(), self.explanation)
    }
}

impl std::error::Error for Error {}

impl ErrorKind {
    /// What an error of this kind closes (AMQP 0-9-1, section 1.2: soft and hard errors).
    pub fn level(self) -> Level {
        use ErrorKind::*;
        match self {
            ContentTooLarge | AccessRefused | NotFound | ResourceLocked | PreconditionFailed => {
                Level::Channel
            }
            ConnectionForced | ChannelError | ResourceError | NotAllowed | NotImplemented
            | InternalError => Level::Connection,
        }
    }

    /// AMQP's reply code.
    pub fn code(self) -> u16 {
        match self {
            ErrorKind::ContentTooLarge => 311,
            ErrorKind::ConnectionForced => 320,
            ErrorKind::AccessRefused => 403,
            ErrorKind::NotFound => 404,
            ErrorKind::ResourceLocked => 405,
            ErrorKind::PreconditionFailed => 406,
            ErrorKind::ChannelError => 504,
            ErrorKind::ResourceError => 506,
            ErrorKind::NotAllowed => 530,
            ErrorKind::NotImplemented => 540,
            ErrorKind::InternalError => 541,
        }
    }

    /// The code's name as RabbitMQ writes it at the head of a reply text.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::ContentTooLarge => "CONTENT_TOO_LARGE",
            ErrorKind::ConnectionForced => "CONNECTION_FORCED",
            ErrorKind::AccessRefused => "ACCESS_REFUSED",
            ErrorKind::NotFound => "NOT_FOUND",
            ErrorKind::ResourceLocked => "RESOURCE_LOCKED",
            ErrorKind::PreconditionFailed => "PRECONDITION_FAILED",
            ErrorKind::ChannelError => "CHANNEL_ERROR",
            ErrorKind::ResourceError => "RESOURCE_ERROR",
            ErrorKind::NotAllowed => "NOT_ALLOWED",
            ErrorKind::NotImplemented => "NOT_IMPLEMENTED",
            ErrorKind::InternalError => "INTERNAL_ERROR",
        }
    }
}

/// A thing with a name in a virtual host, written as RabbitMQ writes it in its texts:
/// `queue 'q' in vhost '/'`. Bytes that are not UTF-8 are replaced.
#[derive(Clone, Copy)]
pub(crate) struct Resource<'a> {
    pub(crate) kind: ResourceKind,
    pub(crate) name: &'a [u8],
    pub(crate) vhost: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceKind {
    Queue,
    Exchange,
}

impl ResourceKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ResourceKind::Queue => "queue",
            ResourceKind::Exchange => "exchange",
        }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name();
        write!(f, "{kind} '{}' in vhost '{}'", text(self.name), text(self.vhost))
    }
}

/// A name as text for a reply.
pub(crate) fn text(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(name)
}

pub(crate) fn access_refused(explanation: impl Into<String>) -> Error {
    Error::new(ErrorKind::AccessRefused, explanation)
}

pub(crate) fn not_found(resource: Resource<'_>) -> Error {
    Error::new(ErrorKind::NotFound, format!("no {resource}"))
}

pub(crate) fn precondition_failed(explanation: impl Into<String>) -> Error {
    Error::new(ErrorKind::PreconditionFailed, explanation)
}

pub(crate) fn not_implemented(explanation: impl Into<String>) -> Error {
    Error::new(ErrorKind::NotImplemented, explanation)
}

/// What any work on the default exchange but publishing earns.
pub(crate) fn default_exchange() -> Error {
    access_refused("operation not permitted on the default exchange")
}

/// What touching another connection's exclusive queue earns.
pub(crate) fn resource_locked(queue: Resource<'_>) -> Error {
    let text = format!(
        "cannot obtain exclusive access to locked {queue}. It could be originally declared on \
         another connection or the exclusive property value does not match that of the original \
         declaration."
    );
    Error::new(ErrorKind::ResourceLocked, text)
}
