//! The broker's limits and habits, each with a default that suits a server.

/// Settings of a [`Broker`](crate::Broker); start from `Config::default()`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The largest body that a publish may carry, in bytes. 128 MiB, as RabbitMQ 3.x.
    pub max_message_size: u64,
    /// The most connections at once; `None` is no limit but the descriptors.
    pub max_connections: Option<usize>,
    /// The most queues in a virtual host that has no limit of its own; `None` is no limit.
    pub max_queues: Option<usize>,
    /// How many deliveries of backlog may wait in the outbox: one pass of delivery stops there
    /// and goes on when the outbox has been drained, so that a consumer whose connection fills
    /// up meanwhile (see [`Broker::set_flow`](crate::Broker::set_flow)) overshoots by at most
    /// this. 512: about 20 KiB of outbox.
    pub pass_deliveries: usize,
    /// The same in bytes of bodies. 256 KiB: four times the usual high-water mark of a connection.
    pub pass_bytes: u64,
    /// Whether a confirm for a persistent message in a durable queue waits for
    /// [`Broker::stored`](crate::Broker::stored). Off, it goes out once the message is queued.
    pub confirm_after_store: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_message_size: 128 << 20,
            max_connections: None,
            max_queues: None,
            pass_deliveries: 512,
            pass_bytes: 256 << 10,
            confirm_after_store: false,
        }
    }
}
