//! What can go wrong with a request to the reactor, and the alias that callbacks return.

use std::fmt;
use std::io;

use crate::Endpoint;

/// Any error that a protocol wants to end its connection with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What callbacks return; `?` works on every error, and `"text".into()` makes one.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// Why a request to the reactor failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system gave no poller, waker or signal handler.
    System(io::Error),
    /// An address is not of a form that this build knows.
    BadAddress {
        /// As it was given.
        given: String,
        /// What is wrong with it.
        problem: String,
        /// A right one of its kind.
        like: &'static str,
    },
    /// Listening failed: the address is in use, not ours, or not permitted.
    Listen {
        /// Where to.
        endpoint: Endpoint,
        /// The system's error.
        source: io::Error,
    },
    /// A connection could not be made: refused, unreachable, or no descriptor left.
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// The system's error.
        source: io::Error,
    },
    /// A program could not be run: it is not there, may not be run, or the system has no process
    /// or descriptor left.
    Spawn {
        /// The program.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// A signal was for a process that has exited already.
    ProcessExited,
    /// A host name has no address.
    Resolve {
        /// The name.
        host: String,
        /// The system's error.
        source: io::Error,
    },
    /// The connection that was asked about has gone.
    Gone,
    /// A certificate, a key, or another part of a TLS configuration cannot be used.
    Tls {
        /// Which: the file, where it is one.
        subject: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A connection was made, and then the TLS handshake failed.
    Handshake {
        /// Where to.
        endpoint: Box<Endpoint>,
        /// What failed: a `tls::Failure`.
        source: BoxError,
    },
    /// The factory refused the connection that was made, or panicked.
    Refused,
    /// The time given for it ran out.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// The promise was dropped without a result, or its reactor is gone.
    Abandoned,
    /// What was run panicked, with this message.
    Panicked(String),
    /// Of several things of which one had to succeed, all failed, each in its way.
    AllFailed(Vec<Error>),
    /// The connection was lost, for this reason, and what was asked of it will not come.
    /// [`AsyncWriter::reason`](crate::AsyncWriter::reason) has the reason itself.
    Lost(String),
    /// The peer closed in the middle of what was being read.
    CutOff,
    /// What was being read is longer than this limit in bytes.
    TooLong(usize),
    /// The thread pool's queue is full: try again later, or do less.
    PoolFull,
    /// The reactor is stopping, or has stopped.
    Stopped,
    /// Of several reactors one could not be set up, failed, or panicked.
    Core {
        /// Which, from 0.
        number: usize,
        /// What it said.
        source: BoxError,
    },
    /// `turn` or `run` was called from inside a callback.
    Nested,
    /// A service cannot be added or started.
    Service {
        /// Its name.
        name: String,
        /// Why: what its start said, or [`Error::TimedOut`].
        source: BoxError,
    },
    /// An error of the caller's own, passed through a [`Deferred`](crate::Deferred).
    Other(BoxError),
}

impl Error {
    /// Whether listening failed because something else listens there already.
    pub fn is_address_in_use(&self) -> bool {
        matches!(self, Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(source) => write!(f, "the system refused: {source}"),
            Self::BadAddress { given, problem, like } => {
                write!(f, "bad address {given:?}: {problem}; write it like {like}")
            }
            Self::Listen { endpoint, source } => write!(f, "cannot listen on {endpoint}: {source}"),
            Self::Connect { endpoint, source } => {
                write!(f, "cannot connect to {endpoint}: {source}")
            }
            Self::Spawn { program, source } => write!(f, "cannot run {program}: {source}"),
            Self::ProcessExited => f.write_str("the process has exited already"),
            Self::Resolve { host, source } => write!(f, "cannot resolve {host}: {source}"),
            Self::Gone => f.write_str("the connection has gone"),
            Self::Tls { subject, problem } => write!(f, "cannot use {subject}: {problem}"),
            Self::Handshake { endpoint, source } => {
                write!(f, "cannot connect to {endpoint}: {source}")
            }
            Self::Refused => f.write_str("the factory refused the connection"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Abandoned => f.write_str("abandoned: its promise was dropped"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::AllFailed(errors) => {
                f.write_str("all failed")?;
                errors.iter().enumerate().try_for_each(|(index, error)| {
                    write!(f, "{}{error}", if index == 0 { ": " } else { "; " })
                })
            }
            Self::Lost(reason) => write!(f, "the connection was lost: {reason}"),
            Self::CutOff => f.write_str("the peer closed in the middle of a message"),
            Self::TooLong(limit) => write!(f, "more than {limit} bytes made no whole message"),
            Self::PoolFull => f.write_str("the thread pool's queue is full"),
            Self::Stopped => f.write_str("the reactor has stopped"),
            Self::Core { number, source } => write!(f, "core {number}: {source}"),
            Self::Nested => f.write_str("the reactor was asked to turn from inside a callback"),
            Self::Service { name, source } => write!(f, "service {name}: {source}"),
            Self::Other(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(source)
            | Self::Listen { source, .. }
            | Self::Connect { source, .. }
            | Self::Spawn { source, .. }
            | Self::Resolve { source, .. } => Some(source),
            Self::Handshake { source: error, .. }
            | Self::Service { source: error, .. }
            | Self::Core { source: error, .. }
            | Self::Other(error) => Some(&**error),
            _ => None,
        }
    }
}
