//! What can be set on a server: every limit, with its default and the reason for it.

use std::fmt;
use std::time::Duration;

use crate::codec::RequestLimits;

/// Redis's `client-output-buffer-limit pubsub`: 32 MB at once.
const HARD_LIMIT: usize = 32 << 20;
/// Redis's `maxclients`.
const MAX_CLIENTS: usize = 10_000;
/// Redis has no limit: a client could subscribe until the memory is gone. A million short names
/// take about this much.
const SUBSCRIPTIONS: usize = 128 << 20;

/// How a server serves.
#[derive(Clone)]
pub struct Config {
    pub(crate) password: Option<Box<[u8]>>,
    pub(crate) requests: RequestLimits,
    pub(crate) hard_limit: usize,
    pub(crate) soft_limit: usize,
    pub(crate) soft_time: Duration,
    pub(crate) max_clients: usize,
    pub(crate) subscriptions: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            password: None,
            requests: RequestLimits::default(),
            hard_limit: HARD_LIMIT,
            soft_limit: Self::SOFT_LIMIT,
            soft_time: Self::SOFT_TIME,
            max_clients: MAX_CLIENTS,
            subscriptions: SUBSCRIPTIONS,
        }
    }
}

impl fmt::Debug for Config {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("has_password", &self.password.is_some())
            .field("requests", &self.requests)
            .field("hard_limit", &self.hard_limit)
            .field("soft_limit", &self.soft_limit)
            .field("soft_time", &self.soft_time)
            .field("max_clients", &self.max_clients)
            .field("subscriptions", &self.subscriptions)
            .finish()
    }
}

impl Config {
    /// The usual [`soft_limit`](Self::soft_limit): Redis's 8 MB.
    pub const SOFT_LIMIT: usize = 8 << 20;
    /// How long that much may wait, as in Redis.
    pub const SOFT_TIME: Duration = Duration::from_secs(60);

    /// The password of the user `default`, who is the only one; clients say it with `AUTH` or
    /// `HELLO` before anything else (none). An empty one is none.
    #[must_use]
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        let password = password.as_ref();
        self.password = (!password.is_empty()).then(|| password.into());
        self
    }

    /// The most bytes of one argument, a message among them (64 MiB); a client that announces more
    /// is told and closed. At most 2 GiB.
    #[must_use]
    pub fn max_argument(mut self, bytes: usize) -> Self {
        let bulk = bytes.min(2 << 30);
        // Room for the other arguments: a channel's name, say.
        self.requests = RequestLimits { bulk, request: bulk + (2 << 20), ..self.requests };
        self
    }

    /// The most arguments of one command (1,048,576).
    #[must_use]
    pub fn max_arguments(mut self, count: usize) -> Self {
        self.requests.arguments = count.max(1);
        self
    }

    /// A subscriber that has more bytes waiting is closed at once (32 MiB). As in Redis, 0 is no
    /// limit.
    #[must_use]
    pub fn hard_limit(mut self, bytes: usize) -> Self {
        self.hard_limit = no_limit_if_zero(bytes);
        self
    }

    /// A subscriber that has had more than `bytes` waiting for as long as `time` is closed (8 MiB
    /// for 60 s); 0 bytes is no limit. The time begins with a message that leaves it above, runs until
    /// it has read so much that little waits, or is seen below at a later message, and when it is
    /// over the subscriber is closed if it is still above, also if nothing is sent to it any more.
    #[must_use]
    pub fn soft_limit(mut self, bytes: usize, time: Duration) -> Self {
        (self.soft_limit, self.soft_time) = (no_limit_if_zero(bytes), time);
        self
    }

    /// The most clients at once (10,000); one more is told so and closed.
    #[must_use]
    pub fn max_clients(mut self, count: usize) -> Self {
        self.max_clients = count;
        self
    }

    /// The most bytes that the subscriptions of one client may take: their names, and about 200
    /// more for each (128 MiB). Beyond it, subscribing answers an error.
    #[must_use]
    pub fn max_subscriptions(mut self, bytes: usize) -> Self {
        self.subscriptions = bytes;
        self
    }
}

fn no_limit_if_zero(bytes: usize) -> usize {
    if bytes == 0 { usize::MAX } else { bytes }
}
