//! What a bridge joins, and within which limits.

use std::time::Duration;

use ropewalk_amqp::client::Options as AmqpOptions;
use ropewalk_reactor::{Endpoint, Error, IntoEndpoint};
use ropewalk_redis::client::ClientOptions;

/// What waits while the other side is away: some hundred thousand short messages.
const BUFFER: usize = 16 << 20;
/// What Ropewalk's own Redis server takes, and below what Redis (512 MiB) and RabbitMQ (16 MiB to
/// 512 MiB, by its version) do, for the most part.
const MAX_MESSAGE: usize = 64 << 20;
/// The delays of both clients, and of a bridge that the broker refused something.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(15);

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both.
    #[default]
    Both,
    /// From the channels to the exchange.
    ToAmqp,
    /// From the exchange to the channels.
    ToRedis,
}

/// What a bridge joins, and within which limits.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) name: String,
    pub(crate) redis: Endpoint,
    pub(crate) redis_options: ClientOptions,
    pub(crate) amqp: AmqpOptions,
    pub(crate) channels: Vec<u8>,
    pub(crate) exchange: String,
    pub(crate) binding_key: String,
    pub(crate) direction: Direction,
    pub(crate) buffer: usize,
    pub(crate) max_message: usize,
    pub(crate) first_delay: Duration,
    pub(crate) max_delay: Duration,
}

impl Options {
    /// Joins the channels that match the pattern `channels` (`news.*`) of the server at `redis`, which
    /// has to speak RESP3 (Redis 6), to a topic exchange of the broker that `amqp` points to. The
    /// exchange is declared, durable; an empty name is none.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub fn new(
        redis: impl IntoEndpoint,
        amqp: AmqpOptions,
        channels: impl AsRef<[u8]>,
        exchange: &str,
    ) -> Result<Self, Error> {
        Ok(Self {
            name: "bridge".to_owned(),
            redis: redis.into_endpoint()?,
            redis_options: ClientOptions::default(),
            amqp,
            channels: channels.as_ref().to_vec(),
            exchange: exchange.to_owned(),
            binding_key: "#".to_owned(),
            direction: Direction::Both,
            buffer: BUFFER,
            max_message: MAX_MESSAGE,
            first_delay: FIRST_DELAY,
            max_delay: MAX_DELAY,
        })
    }

    /// What it is called in the log, and what its connections are called in the lists of both servers
    /// (`bridge`).
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// How to connect to the Redis server: the password, TLS. The name, the delays and what may wait
    /// are the bridge's own.
    #[must_use]
    pub fn redis(mut self, options: ClientOptions) -> Self {
        self.redis_options = options;
        self
    }

    /// With which key its queue is bound to the exchange (`#`, everything). What comes by it and is no
    /// name that the pattern matches is left alone.
    #[must_use]
    pub fn binding_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.binding_key);
        self
    }

    /// Which way messages go (both).
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// The most bytes that wait in each direction while the other side is away (16 MiB); for a new
    /// message the eldest goes then. A side that is there and slow makes the bridge take less from the
    /// broker, and drops what comes from Redis in the same way, since Redis waits for nobody.
    #[must_use]
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes;
        self
    }

    /// The largest message that is taken across (64 MiB); larger ones are dropped.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// The longest that the first attempt to connect again waits (500 ms), and that any does (15 s).
    #[must_use]
    pub fn delays(mut self, first: Duration, most: Duration) -> Self {
        (self.first_delay, self.max_delay) = (first, most);
        self
    }

    pub(crate) fn goes_to_redis(&self) -> bool {
        self.direction != Direction::ToAmqp
    }

    pub(crate) fn goes_to_amqp(&self) -> bool {
        self.direction != Direction::ToRedis
    }
}
