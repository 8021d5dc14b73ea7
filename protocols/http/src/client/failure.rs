//! Why an exchange did not come to its end.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{BoxError, Reason};

use crate::Error;

/// Why a request was not answered in full.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Failure {
    /// The connection was lost before a single byte of the answer came. On a connection that had
    /// been used before, the server has most likely closed it while it was idle, and a request that
    /// may be repeated can be (RFC 9112 §9.3.1).
    Unanswered(Reason),
    /// The connection was lost in the middle of the answer.
    Cut(Reason),
    /// The answer is no valid response.
    Malformed(Error),
    /// The server took too long over this.
    TimedOut(Phase, Duration),
    /// The handler returned this error.
    Handler(Rc<BoxError>),
    /// It was given up, with [`Exchange::abort`](super::Exchange::abort).
    Aborted,
}

/// What the server took too long over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Taking the request: it took nothing for so long.
    Send,
    /// The answer's head.
    Head,
    /// The next piece of the answer's body.
    Body,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(reason) => {
                write!(f, "the connection was lost before an answer came: {reason}")
            }
            Self::Cut(Reason::Done) => f.write_str("the server closed in the middle of its answer"),
            Self::Cut(reason) => {
                write!(f, "the connection was lost in the middle of the answer: {reason}")
            }
            Self::Malformed(error) => {
                write!(f, "the server's answer is no valid HTTP/1.1: {}", error.text())
            }
            Self::TimedOut(Phase::Send, limit) => {
                write!(f, "the server took nothing of the request for {limit:?}")
            }
            Self::TimedOut(Phase::Head, limit) => write!(f, "no answer came within {limit:?}"),
            Self::TimedOut(Phase::Body, limit) => {
                write!(f, "nothing more of the answer came for {limit:?}")
            }
            Self::Handler(error) => write!(f, "the answer was refused here: {error}"),
            Self::Aborted => f.write_str("it was given up here"),
        }
    }
}

impl std::error::Error for Failure {}
