//! What can go wrong with a request, in plain words: what happened, to which URL, and what to do.

use std::fmt;
use std::time::Duration;

use url::Url;

use crate::client::{Failure, Phase};
use crate::{Error as HttpError, Status};

/// Why a request failed. It is inside of [`Error::Other`](ropewalk_reactor::Error::Other), where
/// [`ClientError::of`] finds it.
///
/// URLs are shown without the user and password that they may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// It is no URL that can be asked.
    BadUrl {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The request cannot be sent as it is.
    BadRequest {
        /// Where to.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No connection could be made: the name has no address, nobody listens there, or the server is
    /// not who it should be.
    Connect {
        /// What was asked for.
        url: String,
        /// What failed, the address in it.
        problem: String,
    },
    /// The proxy did not open a way to the server.
    Proxy {
        /// What was asked for.
        url: String,
        /// The proxy's address.
        proxy: String,
        /// What it said.
        status: Status,
    },
    /// It took too long.
    TimedOut {
        /// What was asked for.
        url: String,
        /// What took too long.
        phase: TimedOut,
        /// The limit that was passed.
        limit: Duration,
    },
    /// As many requests wait for a connection as may.
    TooManyWaiting {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// The connection was lost.
    Lost {
        /// What was asked for.
        url: String,
        /// Why.
        problem: String,
        /// Whether it was lost before the answer had begun: the server may have done what it was
        /// asked for, or may not.
        unanswered: bool,
    },
    /// The answer is no valid response.
    Malformed {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        problem: HttpError,
    },
    /// The answer's body is longer than the limit.
    BodyTooLarge {
        /// What was asked for.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer's body is not in the coding that its head names.
    Decoding {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The request's own body could not be produced: its file cannot be read, or is shorter than
    /// announced.
    RequestBody {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A redirection led to another one, too often.
    TooManyRedirects {
        /// The last one's URL.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// A redirection leads to nothing that can be asked.
    BadRedirect {
        /// What was asked for.
        url: String,
        /// Where it leads to.
        location: String,
        /// What is wrong with that.
        problem: String,
    },
    /// A redirection wants the body to be sent again, which can only be produced once.
    BodyIsGone {
        /// What was asked for.
        url: String,
        /// The redirection.
        status: Status,
    },
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimedOut {
    /// Connecting: the name's resolution, the connection itself, a tunnel, and the TLS handshake.
    Connect,
    /// The server's taking the request.
    Send,
    /// The answer's head.
    Head,
    /// The next piece of the answer's body.
    Body,
    /// All of it.
    Whole,
}

impl ClientError {
    /// The client's own error inside of one that a deferred brought.
    pub fn of(error: &ropewalk_reactor::Error) -> Option<&Self> {
        match error {
            ropewalk_reactor::Error::Other(error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// What became of an exchange with `url`.
    pub(super) fn from_failure(url: &Url, failure: &Failure) -> Self {
        let (url, problem) = (shown(url), failure.to_string());
        match failure {
            Failure::Unanswered(reason) => {
                Self::Lost { url, problem: reason.to_string(), unanswered: true }
            }
            Failure::TimedOut(phase, limit) => {
                let phase = match phase {
                    Phase::Send => TimedOut::Send,
                    Phase::Head => TimedOut::Head,
                    Phase::Body => TimedOut::Body,
                };
                Self::TimedOut { url, phase, limit: *limit }
            }
            Failure::Malformed(problem) => Self::Malformed { url, problem: *problem },
            // The only error that the client's own handler has is of producing the body.
            Failure::Handler(error) => Self::RequestBody { url, problem: error.to_string() },
            Failure::Cut(_) | Failure::Aborted => Self::Lost { url, problem, unanswered: false },
        }
    }
}

/// A URL as it is shown: without user and password, which are nobody else's business.
pub(super) fn shown(url: &Url) -> String {
    if url.username().is_empty() && url.password().is_none() {
        return url.to_string();
    }
    let mut url = url.clone();
    // They fail for a URL without a host alone, which has neither.
    let _ = (url.set_username(""), url.set_password(None));
    url.to_string()
}

/// A text that is no URL, for showing: without what may be a user and a password in it.
pub(super) fn shown_text(given: &str) -> String {
    let start = given.find("://").map_or(0, |at| at + 3);
    // (A password may have been meant to hold `/`, `?` or `#`.)
    match given[start..].rfind('@') {
        Some(at) => format!("{}{}", &given[..start], &given[start + at + 1..]),
        None => given.to_owned(),
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl { url, problem } => write!(f, "{url:?} cannot be asked: {problem}"),
            Self::BadRequest { url, problem } => write!(f, "{url}: {problem}"),
            Self::Connect { url, problem } => write!(f, "{url}: {problem}"),
            Self::Proxy { url, proxy, status } => {
                write!(f, "{url}: the proxy {proxy} opens no way there: it says {status}")?;
                match *status {
                    Status::PROXY_AUTHENTICATION_REQUIRED => {
                        f.write_str("; give the proxy's user and password")
                    }
                    _ => Ok(()),
                }
            }
            Self::TimedOut { url, phase, limit } => {
                let what = match phase {
                    TimedOut::Connect => "there was no connection within",
                    TimedOut::Send => "the server took nothing of the request for",
                    TimedOut::Head => "no answer came within",
                    TimedOut::Body => "nothing more of the answer came for",
                    TimedOut::Whole => "it was not done within",
                };
                write!(f, "{url}: {what} {limit:?}")
            }
            Self::TooManyWaiting { url, limit } => {
                write!(f, "{url}: {limit} requests wait for a connection already: try again later")
            }
            Self::Lost { url, problem, unanswered: true } => write!(
                f,
                "{url}: the connection was lost before an answer came ({problem}); the server may have \
                 done what was asked, or may not"
            ),
            Self::Lost { url, problem, .. } => write!(f, "{url}: {problem}"),
            Self::Malformed { url, problem } => {
                write!(f, "{url}: the server's answer is no valid HTTP/1.1: {}", problem.text())
            }
            Self::BodyTooLarge { url, limit } => {
                write!(f, "{url}: the answer has more than {limit} bytes; stream it, or allow more")
            }
            Self::Decoding { url, problem } => {
                write!(f, "{url}: the answer cannot be decoded: {problem}")
            }
            Self::RequestBody { url, problem } => {
                write!(f, "{url}: the request's body cannot be sent: {problem}")
            }
            Self::TooManyRedirects { url, limit } => {
                write!(f, "{url}: it still leads elsewhere after {limit} redirections")
            }
            Self::BadRedirect { url, location, problem } => {
                write!(f, "{url}: it leads to {location:?}, which cannot be asked: {problem}")
            }
            Self::BodyIsGone { url, status } => write!(
                f,
                "{url}: it says {status}, and the request's body, which can be produced only once, would \
                 have to be sent again"
            ),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<ClientError> for ropewalk_reactor::Error {
    fn from(error: ClientError) -> Self {
        Self::Other(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let url = Url::parse("http://me:secret@a.test/x").expect("a URL");
        assert_eq!(shown(&url), "http://a.test/x");
        let error = ClientError::from_failure(&url, &Failure::Malformed(HttpError::StatusLine));
        assert_eq!(
            error.to_string(),
            "http://a.test/x: the server's answer is no valid HTTP/1.1: malformed status line"
        );
    }
}
