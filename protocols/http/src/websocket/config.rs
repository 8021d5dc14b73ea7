//! What can be set on a WebSocket, on either side: every limit and timeout, its default, and the
//! reason for it.

use std::time::Duration;

use super::Deflate;

use crate::setters::setters;

/// As much as an HTTP request's body here; the `websockets` package of Python has the same.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Half of the minute after which routers forget connections that say nothing.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Long enough for what TCP sends again several times.
const PING_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer answers a Close frame with its next breath, behind what it is sending.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// As for HTTP's responses.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Limits and timeouts of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub(crate) max_message: usize,
    pub(crate) max_frame: u64,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) deflate: Option<Deflate>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message: MAX_MESSAGE,
            max_frame: u64::MAX,
            ping_interval: Some(PING_INTERVAL),
            ping_timeout: PING_TIMEOUT,
            close_timeout: CLOSE_TIMEOUT,
            send_timeout: SEND_TIMEOUT,
            deflate: None,
        }
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Bytes in a message that is gathered for the handler (1 MiB), counted as they are after
        /// inflating; above it the connection is closed with 1009. A message that is streamed has
        /// no limit but the handler's own.
        max_message: usize;
        /// Bytes in a frame (no limit: a frame is not gathered, its message is); above it the
        /// connection is closed with 1009.
        max_frame: u64;
        /// How long the peer may say nothing until it is sent a ping (30 s); `None` for never. While
        /// the handler has paused reading, nothing is expected.
        ping_interval: Option<Duration>;
        /// How long it may say nothing after that (30 s); then the connection is closed, with 1011.
        ping_timeout: Duration;
        /// How long the peer has for its Close frame once this side's is sent, and a server to close
        /// the connection after both (10 s).
        close_timeout: Duration;
        /// How long the peer may take nothing of what waits above the high-water mark (60 s); then
        /// the connection is aborted.
        send_timeout: Duration;
    }

    /// Compresses messages, if the peer does too (no).
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = Some(deflate);
        self
    }
}
