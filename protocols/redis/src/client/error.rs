//! Why a command has no reply.

use std::fmt;

/// What a [`Deferred`](ropewalk_reactor::Deferred) of the client fails with, inside of
/// [`Error::Other`](ropewalk_reactor::Error::Other).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The server's own error, its code first.
    Server(String),
    /// The connection was lost when the command had been sent: nobody knows whether it was done.
    Lost,
    /// More would wait than [`waiting_limit`](super::ClientOptions::waiting_limit) allows (bytes).
    TooMuchWaiting(usize),
    /// The client was closed.
    Closed,
    /// The server answered something that is no answer to this.
    Unexpected,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(text) => write!(f, "the server says: {text}"),
            Self::Lost => f.write_str("the connection was lost before the reply came"),
            Self::TooMuchWaiting(limit) => {
                write!(f, "{limit} bytes of commands are waiting for the server: too many for more")
            }
            Self::Closed => f.write_str("the client was closed"),
            Self::Unexpected => f.write_str("the server's reply is of another kind"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<ClientError> for ropewalk_reactor::Error {
    fn from(error: ClientError) -> Self {
        Self::Other(Box::new(error))
    }
}
