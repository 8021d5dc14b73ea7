//! How a client connects, and how much it may hold.

use std::fmt;
use std::time::Duration;

use ropewalk_reactor::ConnectOptions;

/// What waits to be sent while there is no connection: some hundred thousand short messages.
const WAITING_LIMIT: usize = 16 << 20;
/// What one stream of messages holds for its reader.
const STREAM_LIMIT: usize = 1 << 20;

/// A server that has gone without a word is missed after three of these at the latest.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How a client connects.
#[derive(Clone)]
pub struct ClientOptions {
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) name: Vec<u8>,
    pub(crate) waiting_limit: usize,
    pub(crate) stream_limit: usize,
    pub(crate) without_own: bool,
    pub(crate) ping_interval: Duration,
    pub(crate) first_delay: Duration,
    pub(crate) max_delay: Duration,
    pub(crate) connect: ConnectOptions,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            user: None,
            password: None,
            name: Vec::new(),
            waiting_limit: WAITING_LIMIT,
            stream_limit: STREAM_LIMIT,
            without_own: false,
            ping_interval: PING_INTERVAL,
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
            connect: ConnectOptions::default(),
        }
    }
}

impl fmt::Debug for ClientOptions {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("has_password", &self.password.is_some())
            .field("name", &self.name.escape_ascii().to_string())
            .field("waiting_limit", &self.waiting_limit)
            .field("stream_limit", &self.stream_limit)
            .field("without_own", &self.without_own)
            .field("connect", &self.connect)
            .finish_non_exhaustive()
    }
}

impl ClientOptions {
    /// What to say before anything else (nothing).
    #[must_use]
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().to_vec());
        self
    }

    /// Whose password it is (`default`).
    #[must_use]
    pub fn user(mut self, user: impl AsRef<[u8]>) -> Self {
        self.user = Some(user.as_ref().to_vec());
        self
    }

    /// The connections' name in the server's `CLIENT LIST` (none).
    #[must_use]
    pub fn name(mut self, name: impl AsRef<[u8]>) -> Self {
        self.name = name.as_ref().to_vec();
        self
    }

    /// The most bytes of commands that wait for a connection or for their reply (16 MiB); one more
    /// fails at once.
    #[must_use]
    pub fn waiting_limit(mut self, bytes: usize) -> Self {
        self.waiting_limit = bytes;
        self
    }

    /// The most bytes of messages that a stream holds until they are read (1 MiB). With more, the
    /// client stops reading from the server until they have been; a server closes those who do
    /// so for long.
    #[must_use]
    pub fn stream_limit(mut self, bytes: usize) -> Self {
        self.stream_limit = bytes;
        self
    }

    /// Lets subscriptions of this client hear what others publish, and nothing that it has published
    /// itself (it does hear that).
    ///
    /// All is on one connection then, and the server has to speak RESP3 (Redis 6); one that does not
    /// is tried again and again. It is exact: who says the same at the same moment is heard. Only
    /// what came next to the reply that a lost connection did not bring is dropped, since nobody
    /// knows whose it was. A publication that was under way when a connection was lost does not come
    /// back by the next one: the server is asked to close the former one first (`CLIENT KILL`), which
    /// the user has to be allowed. The connection's [name](Self::name) has a random end.
    #[must_use]
    pub fn without_own(mut self) -> Self {
        self.without_own = true;
        self
    }

    /// The longest that the first attempt after a loss waits (100 ms), and that any does (30 s).
    #[must_use]
    pub fn delays(mut self, first: Duration, most: Duration) -> Self {
        (self.first_delay, self.max_delay) = (first, most);
        self
    }

    /// How long a server may be silent until it is asked whether it is there (20 s); one that is for
    /// as long again counts as lost. Zero never asks.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// How each connection is made: TLS, timeouts, limits.
    #[must_use]
    pub fn connect(mut self, options: ConnectOptions) -> Self {
        self.connect = options;
        self
    }
}
