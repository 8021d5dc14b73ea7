//! What can be set on a client's connection: every limit and timeout, its default, and the reason for it.

use std::time::Duration;

use crate::Config;
use crate::setters::setters;

/// What curl allows for one field; Go's and Node's limits for a whole head are 1 MiB and 16 KiB.
const MAX_HEAD: usize = 64 * 1024;
/// Hints and progress reports are few; each is also bounded by the limit for heads.
const MAX_INFORMATIONAL: u32 = 32;
/// nginx's `proxy_read_timeout`.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The same, between two reads of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// nginx's `proxy_send_timeout`.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// What curl and Go wait for a `100 Continue` before they send the body all the same.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Limits and timeouts of one connection of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// The limits that the codec knows.
    pub(crate) codec: Config,
    pub(crate) max_informational: u32,
    pub(crate) head_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) continue_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            codec: Config::new().max_head(MAX_HEAD),
            max_informational: MAX_INFORMATIONAL,
            head_timeout: HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            send_timeout: SEND_TIMEOUT,
            continue_timeout: CONTINUE_TIMEOUT,
            idle_timeout: None,
        }
    }
}

impl ConnectionConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes in a response's head, status line included (64 KiB). The same limit holds for a trailer
    /// section.
    #[must_use]
    pub fn max_head(mut self, max_head: usize) -> Self {
        self.codec = self.codec.max_head(max_head);
        self
    }

    /// Header fields in a response (100; at most 128). The same limit holds for a trailer section.
    #[must_use]
    pub fn max_headers(mut self, max_headers: usize) -> Self {
        self.codec = self.codec.max_headers(max_headers);
        self
    }

    setters! {
        /// How many 1xx responses may come before the answer (32).
        max_informational: u32;
        /// How long the answer's head may take once the request was sent (60 s); a 1xx response begins
        /// the wait anew.
        head_timeout: Duration;
        /// How long the body may stall between two reads (60 s). Time in which the handler has paused
        /// it does not count.
        body_timeout: Duration;
        /// How long the server may take nothing of a request that waits above the high-water mark
        /// (60 s).
        send_timeout: Duration;
        /// How long a body that was announced with `Expect: 100-continue` waits for the server's word
        /// (1 s); then it is sent all the same (RFC 9110 §10.1.1).
        continue_timeout: Duration;
        /// How long the connection may stay without a request (as long as the server keeps it); then
        /// it is closed.
        idle_timeout: Option<Duration>;
    }
}
