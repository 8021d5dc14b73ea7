//! What can be set on a server: every limit and timeout, its default, and the reason for it.

use std::time::Duration;

use crate::codec::MAX_FIELDS;
use crate::setters::setters;

/// Browsers stay below 16 KiB even with large cookies; nginx allows 4 × 8 KiB.
const MAX_HEAD: usize = 32 * 1024;
/// RFC 9112 §3 recommends at least 8000 bytes for the whole request line.
const MAX_TARGET: usize = 8 * 1024;
/// Apache's default.
const MAX_HEADERS: usize = 100;
/// nginx's `client_max_body_size`.
const MAX_BODY: u64 = 1024 * 1024;
/// Keeping a connection alive is cheaper than reading on: 64 KiB is one round trip on a LAN.
const MAX_DRAIN: u64 = 64 * 1024;
/// nginx's `keepalive_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Half of nginx's `client_header_timeout`, for the whole head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Half of nginx's `client_body_timeout`, between two reads.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What Apache's mod_reqtimeout asks for.
const MIN_BODY_RATE: u32 = 500;
/// nginx's `send_timeout`.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Limits and timeouts of an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub(crate) max_head: usize,
    pub(crate) max_target: usize,
    pub(crate) max_headers: usize,
    pub(crate) max_body: u64,
    pub(crate) max_drain: u64,
    pub(crate) idle_timeout: Duration,
    pub(crate) head_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) min_body_rate: u32,
    pub(crate) send_timeout: Duration,
    pub(crate) extension_methods: bool,
    pub(crate) date: bool,
    pub(crate) server: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_head: MAX_HEAD,
            max_target: MAX_TARGET,
            max_headers: MAX_HEADERS,
            max_body: MAX_BODY,
            max_drain: MAX_DRAIN,
            idle_timeout: IDLE_TIMEOUT,
            head_timeout: HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            min_body_rate: MIN_BODY_RATE,
            send_timeout: SEND_TIMEOUT,
            extension_methods: false,
            date: true,
            server: None,
        }
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Bytes in a request's head, request line included (32 KiB); above it the answer is 431.
        /// The same limit holds for a trailer section.
        max_head: usize;
        /// Bytes in a request's target (8 KiB); above it the answer is 414.
        max_target: usize;
        /// Bytes in a body that is gathered for the handler (1 MiB); above it the answer is 413.
        /// A body that is streamed has no limit but the handler's own
        /// ([`Exchange::limit_body`](crate::Exchange::limit_body)).
        max_body: u64;
        /// Bytes of a body nobody reads that are read and thrown away to keep the connection alive
        /// (64 KiB). Above it the connection is closed after the response.
        max_drain: u64;
        /// How long a connection may stay open between requests (75 s); then it is closed.
        idle_timeout: Duration;
        /// How long a head may take, from its first byte to its last (30 s); then 408.
        head_timeout: Duration;
        /// How long a body may stall between two reads (30 s); then 408. Time in which the handler
        /// has paused the body does not count.
        body_timeout: Duration;
        /// Bytes a second that a body must bring on average once `body_timeout` has passed (500),
        /// so that a drip of single bytes does not hold a connection for ever; then 408.
        min_body_rate: u32;
        /// How long the peer may take nothing of a response that waits above the high-water mark
        /// (60 s); then the connection is aborted.
        send_timeout: Duration;
        /// Whether methods that HTTP itself does not define (WebDAV's, say) reach the handler
        /// (no); the answer to one is 501 otherwise.
        extension_methods: bool;
        /// Whether responses carry a Date field (yes; RFC 9110 §6.6.1 asks it of every server that
        /// has a clock).
        date: bool;
    }

    /// Header fields in a request (100; at most 128); above it the answer is 431. The same limit
    /// holds for a trailer section.
    #[must_use]
    pub fn max_headers(mut self, max_headers: usize) -> Self {
        self.max_headers = max_headers.min(MAX_FIELDS);
        self
    }

    /// What responses call the server in their Server field (none: it tells attackers more than
    /// users). A name with control characters is not taken.
    #[must_use]
    pub fn server(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if name.bytes().all(crate::headers::is_value_byte) {
            self.server = Some(name);
        }
        self
    }
}
