//! What can be set on a server, each with RabbitMQ's default where it has one.

use std::rc::Rc;
use std::time::Duration;

use crate::codec::{FRAME_MAX_DEFAULT, FRAME_MIN_SIZE};

use super::auth::Authenticator;

/// RabbitMQ's: enough for every known client, and a bound on what one connection may hold.
const CHANNEL_MAX: u16 = 2047;
/// Seconds. RabbitMQ's.
const HEARTBEAT: u16 = 60;
/// The name and the password of RabbitMQ's `default_user`.
const GUEST: &[u8] = b"guest";
/// From the first octet to `connection.open`. RabbitMQ's `handshake_timeout`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the peer may take to answer `connection.close`. RabbitMQ's `CLOSING_TIMEOUT`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a refused login waits for the end, against those who guess. RabbitMQ's
/// `SILENT_CLOSE_DELAY`.
const REFUSAL_DELAY: Duration = Duration::from_secs(3);
/// As much as a connection is given in one turn of the loop: what the kernel's socket buffer may
/// take at once, and twice what a publisher's turn brings (4 reads of 64 KiB).
const HIGH_WATER_MARK: usize = 512 * 1024;

/// RabbitMQ's `disk_free_limit`: 50 MB.
const DISK_LIMIT: u64 = 50_000_000;

/// Settings of a [`Server`](super::Server); start from `Config::default()`.
#[derive(Clone)]
pub struct Config {
    pub(crate) broker: ropewalk_broker::Config,
    /// `None`: the broker's own users.
    pub(crate) authenticator: Option<Rc<dyn Authenticator>>,
    pub(crate) default_user: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) loopback_users: Vec<Vec<u8>>,
    pub(crate) vhosts: Vec<Vec<u8>>,
    pub(crate) cluster_name: String,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat: u16,
    pub(crate) handshake_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) refusal_delay: Duration,
    pub(crate) high_water_mark: usize,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) disk_limit: u64,
    pub(crate) segment_octets: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            broker: ropewalk_broker::Config::default(),
            authenticator: None,
            default_user: Some((GUEST.to_vec(), GUEST.to_vec())),
            loopback_users: vec![GUEST.to_vec()],
            vhosts: Vec::new(),
            cluster_name: "ropewalk@localhost".to_owned(),
            channel_max: CHANNEL_MAX,
            frame_max: FRAME_MAX_DEFAULT,
            heartbeat: HEARTBEAT,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            close_timeout: CLOSE_TIMEOUT,
            refusal_delay: REFUSAL_DELAY,
            high_water_mark: HIGH_WATER_MARK,
            memory_limit: None,
            disk_limit: DISK_LIMIT,
            segment_octets: ropewalk_store::Options::SEGMENT_OCTETS,
        }
    }
}

impl Config {
    /// The broker's own limits and habits.
    #[must_use]
    pub fn broker(mut self, broker: ropewalk_broker::Config) -> Config {
        self.broker = broker;
        self
    }

    /// The largest body that is taken, in octets (128 MiB). A larger one is refused by its header
    /// with 406, which closes the channel.
    #[must_use]
    pub fn max_message_size(mut self, octets: u64) -> Config {
        self.broker.max_message_size = octets;
        self
    }

    /// The most connections at once (no limit): one more is refused with 530 when it opens.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Config {
        self.broker.max_connections = Some(connections);
        self
    }

    /// The most queues in a virtual host that has no limit of its own (no limit): one more is
    /// refused with 406, which closes the channel.
    #[must_use]
    pub fn max_queues(mut self, queues: usize) -> Config {
        self.broker.max_queues = Some(queues);
        self
    }

    /// How long a channel may hold a delivery without acknowledging it (30 minutes; `None` is for
    /// ever); then it is closed with 406, and what it held goes to others. RabbitMQ's
    /// `consumer_timeout`. It is looked for every minute, more often if this is shorter: so it may
    /// take up to two minutes more.
    #[must_use]
    pub fn consumer_timeout(mut self, timeout: Option<Duration>) -> Config {
        self.broker.consumer_timeout = timeout;
        self
    }

    /// The user that a new broker has (`guest` with `guest`): an administrator who may do
    /// everything in every virtual host of this configuration. More users come by
    /// [`Broker::put_user`](ropewalk_broker::Broker::put_user) or by definitions.
    #[must_use]
    pub fn default_user(mut self, name: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Config {
        self.default_user = Some((name.as_ref().to_vec(), password.as_ref().to_vec()));
        self
    }

    /// A new broker has no user at all: RabbitMQ's way when definitions are to be imported.
    #[must_use]
    pub fn without_default_user(mut self) -> Config {
        self.default_user = None;
        self
    }

    /// The users who may only connect from this machine, whatever their password (`guest`).
    #[must_use]
    pub fn loopback_users<N: AsRef<[u8]>>(mut self, names: impl IntoIterator<Item = N>) -> Config {
        self.loopback_users = names.into_iter().map(|name| name.as_ref().to_vec()).collect();
        self
    }

    /// Who may log in, instead of the broker's own users.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator + 'static) -> Config {
        self.authenticator = Some(Rc::new(authenticator));
        self
    }

    /// A virtual host besides `/`.
    #[must_use]
    pub fn vhost(mut self, name: impl AsRef<[u8]>) -> Config {
        self.vhosts.push(name.as_ref().to_vec());
        self
    }

    /// What `connection.start` calls the cluster (`ropewalk@localhost`).
    #[must_use]
    pub fn cluster_name(mut self, name: impl Into<String>) -> Config {
        self.cluster_name = name.into();
        self
    }

    /// The most channels of a connection (2047); 0 is no limit but 65535.
    #[must_use]
    pub fn channel_max(mut self, channels: u16) -> Config {
        self.channel_max = channels;
        self
    }

    /// The largest frame in octets (131072); less than 4096, the specification's least, counts as
    /// that.
    #[must_use]
    pub fn frame_max(mut self, octets: u32) -> Config {
        self.frame_max = octets.max(FRAME_MIN_SIZE);
        self
    }

    /// The heartbeat that is proposed, in seconds (60); clients have the last word. 0 is none.
    #[must_use]
    pub fn heartbeat(mut self, seconds: u16) -> Config {
        self.heartbeat = seconds;
        self
    }

    /// How long a client may take until it has opened its connection (10 s); then it is dropped.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Config {
        self.handshake_timeout = timeout;
        self
    }

    /// How long a client may take to answer `connection.close` (30 s); then it is dropped.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Config {
        self.close_timeout = timeout;
        self
    }

    /// How long a refused login is kept waiting for its end (3 s), against those who guess.
    #[must_use]
    pub fn refusal_delay(mut self, delay: Duration) -> Config {
        self.refusal_delay = delay;
        self
    }

    /// Octets of output that may wait for a connection before its consumers are fed no more
    /// (512 KiB). The backlog stays in the queues until an eighth of it is left.
    #[must_use]
    pub fn high_water_mark(mut self, octets: usize) -> Config {
        self.high_water_mark = octets;
        self
    }

    /// Octets of memory that messages may hold, as [`Broker::memory`](ropewalk_broker::Broker::memory)
    /// counts them (no limit). Above it the memory alarm is on: connections that publish are
    /// blocked, until messages hold seven eighths of it or less. Each connection may still finish
    /// the frame that it is at, so the excess is a frame for each that publishes.
    ///
    /// What has come of messages that are not whole yet is not in it: that may be as much again,
    /// and one message of the largest size more. Who goes beyond is closed with 506.
    #[must_use]
    pub fn memory_limit(mut self, octets: u64) -> Config {
        self.memory_limit = Some(octets);
        self
    }

    /// Octets that shall stay free on the disk of the store (50 MB; 0 is no limit). With less the
    /// disk alarm is on: connections that publish are blocked, until there is more. How much is
    /// free is looked at when the store is opened, after every 2 MiB that it writes, and besides
    /// every 10 seconds, near the limit ten times a second, and once a second while the alarm is
    /// on. The store takes room by [`segment_octets`](Self::segment_octets): it may go below the
    /// limit by as much.
    ///
    /// On a disk that is really full publishers are blocked, too, whatever the limit is.
    #[must_use]
    pub fn disk_limit(mut self, octets: u64) -> Config {
        self.disk_limit = octets;
        self
    }

    /// Octets of a file of the store's log (16 MiB; 4 KiB to 1 GiB). A small one makes more files,
    /// and gives room back sooner.
    #[must_use]
    pub fn segment_octets(mut self, octets: u64) -> Config {
        self.segment_octets = octets;
        self
    }
}
