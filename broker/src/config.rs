//! The broker's limits and habits, each with a default that suits a server.

use std::time::Duration;

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
    /// How long a channel may hold a delivery without acknowledging it until
    /// [`Event::ConsumerTimedOut`](crate::Event::ConsumerTimedOut) asks to close it; `None` is for
    /// ever. 30 minutes, as RabbitMQ 3.10. It is looked for every minute, more often if this is
    /// shorter: so it may take up to two minutes more.
    pub consumer_timeout: Option<Duration>,
    /// How many deliveries of backlog may wait in the outbox: one pass of delivery stops there
    /// and goes on when the outbox has been drained, so that a consumer whose connection fills
    /// up meanwhile (see [`Broker::set_flow`](crate::Broker::set_flow)) overshoots by at most
    /// this. 512: about 20 KiB of outbox.
    pub pass_deliveries: usize,
    /// The same in bytes of bodies. 256 KiB: four times the usual high-water mark of a connection.
    pub pass_bytes: u64,
    /// The most ready messages of a queue in memory, if there is a journal: what comes after
    /// them waits in the store. 4,096: some 500 KiB of them without their bytes.
    pub page_messages: usize,
    /// The same in bytes of bodies. 8 MiB. At least one message is in memory, however large.
    pub page_bytes: u64,
    /// How many messages ahead of a delivery a queue leases: after a crash so many may count as
    /// redelivered that were not delivered. 256.
    pub lease: u64,
    /// A queue whose consumers read a long backlog doubles its leases up to this, lest they wait
    /// for the store at each. 8,192: at one sync a millisecond, four million messages a second.
    pub max_lease: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_message_size: 128 << 20,
            max_connections: None,
            max_queues: None,
            consumer_timeout: Some(Duration::from_secs(30 * 60)),
            pass_deliveries: 512,
            pass_bytes: 256 << 10,
            page_messages: 4096,
            page_bytes: 8 << 20,
            lease: 256,
            max_lease: 8192,
        }
    }
}
