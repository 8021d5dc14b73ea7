//! The broker's state, its birth, and its clock. What it can do stands in the file of each thing:
//! `queue`, `exchange`, `binding`, `publish`, `consumer`, `acknowledge`, `channel`, `connection`.

use std::collections::{BTreeMap, VecDeque};

use crate::binding::Binding;
use crate::channel::Channel;
use crate::config::Config;
use crate::confirms::Tickets;
use crate::connection::Connection;
use crate::consumer::Consumer;
use crate::consumer_timeout::Watch;
use crate::dead_letter::Letter;
use crate::exchange::Exchange;
use crate::expiry::Alarms;
use crate::ids::{
    BindingId, ChannelId, ConnectionId, ConsumerId, ExchangeId, QueueId, Slots, VhostId,
};
use crate::journal::{Journal, Storing};
use crate::messages::Messages;
use crate::names::{Name, NameHash, NameMap, generated};
use crate::outbox::Outbox;
use crate::queue::Queue;
use crate::routing::Scratch;
use crate::seams::{Entropy, PropertyCodec};
use crate::users::User;
use crate::vhost::Vhost;

/// The message queue: every virtual host, exchange, queue, binding, channel and consumer.
///
/// It does nothing by itself. Calls change it and fill its outbox, which
/// [`next_event`](Broker::next_event) drains. See the crate's documentation for the order in
/// which a server calls.
pub struct Broker {
    pub(crate) config: Config,
    pub(crate) codec: Box<dyn PropertyCodec>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) hash: NameHash,
    /// Nanoseconds of the caller's clock.
    pub(crate) now: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) wall_clock: u64,
    pub(crate) alarms: Alarms,
    pub(crate) watch: Watch,
    /// By name, in order.
    pub(crate) users: BTreeMap<Name, User>,
    pub(crate) vhost_names: NameMap<VhostId>,
    pub(crate) vhosts: Slots<VhostId, Vhost>,
    pub(crate) exchanges: Slots<ExchangeId, Exchange>,
    pub(crate) bindings: Slots<BindingId, Binding>,
    pub(crate) queues: Slots<QueueId, Queue>,
    pub(crate) connections: Slots<ConnectionId, Connection>,
    pub(crate) channels: Slots<ChannelId, Channel>,
    pub(crate) consumers: Slots<ConsumerId, Consumer>,
    pub(crate) messages: Messages,
    /// Addresses for direct replies.
    pub(crate) replies: NameMap<ChannelId>,
    pub(crate) outbox: Outbox,
    pub(crate) scratch: Scratch,
    pub(crate) tickets: Tickets,
    /// Messages given up in this call.
    pub(crate) letters: VecDeque<Letter>,
    /// Queues that got something back in this call and may be over their limits, or it its time.
    pub(crate) overfull: Vec<QueueId>,
    pub(crate) journal: Option<Box<dyn Journal>>,
    pub(crate) storing: Storing,
}

impl Broker {
    /// A broker with the virtual host `/`. `entropy` is used for the names that the broker makes
    /// up and for the secret key of its maps; `codec` reads properties when headers matter.
    pub fn new(
        config: Config,
        entropy: impl Entropy + 'static,
        codec: impl PropertyCodec + 'static,
    ) -> Broker {
        let mut entropy: Box<dyn Entropy> = Box::new(entropy);
        let mut word = || {
            let mut bytes = [0; 8];
            entropy.fill(&mut bytes);
            u64::from_le_bytes(bytes)
        };
        let hash = NameHash::new([word(), word()]);
        let mut broker = Broker {
            config,
            codec: Box::new(codec),
            entropy,
            hash,
            now: 0,
            wall_clock: 0,
            alarms: Alarms::default(),
            watch: Watch::default(),
            users: BTreeMap::new(),
            vhost_names: hash.map(),
            vhosts: Slots::new(),
            exchanges: Slots::new(),
            bindings: Slots::new(),
            queues: Slots::new(),
            connections: Slots::new(),
            channels: Slots::new(),
            consumers: Slots::new(),
            messages: Messages::default(),
            replies: hash.map(),
            outbox: Outbox::default(),
            scratch: Scratch::default(),
            tickets: Tickets::default(),
            letters: VecDeque::new(),
            overfull: Vec::new(),
            journal: None,
            storing: Storing::default(),
        };
        broker.add_vhost(b"/");
        broker
    }

    /// What the broker holds.
    pub fn totals(&self) -> Totals {
        Totals {
            connections: self.connections.len(),
            channels: self.channels.len(),
            exchanges: self.exchanges.len(),
            queues: self.queues.len(),
            consumers: self.consumers.len(),
            bindings: self.bindings.len(),
            messages: self.messages.len(),
            memory: self.memory(),
        }
    }

    /// The octets of memory that messages hold: in queues, in consumers' hands until they are
    /// acknowledged, in transactions and in the outbox. Bodies, properties and names count with
    /// what they take, and every queue that holds a message with a fixed amount. It is counted as
    /// messages come and go, so asking costs nothing; what a server keeps for its connections is
    /// not in it.
    #[inline]
    pub fn memory(&self) -> u64 {
        self.messages.held()
    }

    /// A new name, `prefix` and 22 letters.
    pub(crate) fn make_name(&mut self, prefix: &str) -> Name {
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        generated(prefix, random)
    }
}

/// Counts of what a broker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Open connections.
    pub connections: usize,
    /// Open channels.
    pub channels: usize,
    /// Exchanges of all virtual hosts, the predeclared ones too.
    pub exchanges: usize,
    /// Queues.
    pub queues: usize,
    /// Consumers.
    pub consumers: usize,
    /// Bindings that were made, without the implied ones of the default exchange.
    pub bindings: usize,
    /// Messages stored: one that ten queues hold counts once.
    pub messages: usize,
    /// The octets that they hold, as [`Broker::memory`] counts them.
    pub memory: u64,
}
