//! What happens to a client's connections, for those who want to know.

use std::fmt;

/// What has happened to a connection; `Display` puts it in words for a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// There is one, and the server has greeted. What is subscribed to is being asked for:
    /// [`confirmed`](super::Subscription::confirmed) tells when it is there.
    Connected,
    /// It was lost, for this reason. Another one is being made.
    Lost(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Lost(reason) => write!(f, "lost: {reason}"),
        }
    }
}
