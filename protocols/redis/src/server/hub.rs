//! What all connections of a server share: the clients, the channels, the buffers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use ropewalk_reactor::{Address, ConnectionId, TimerId};

use super::command::Spec;
use super::config::Config;
use super::publish::Message;
use super::registry::{Channels, Name, Names, Patterns, Subscriber};
use crate::codec::Version;
pub(crate) use crate::kind::Kind;

/// A client's number, which no other one of this server ever has.
pub(crate) type ClientId = u64;

/// What a subscription takes besides its name, about: entries in two maps and in two lists.
const SUBSCRIPTION_COSTS: usize = 200;

/// A client as the others can see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: ConnectionId,
    pub(crate) peer: Address,
    pub(crate) host: Address,
    pub(crate) made: Instant,
    pub(crate) version: Version,
    pub(crate) name: Vec<u8>,
    pub(crate) library: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
    pub(crate) no_evict: bool,
    pub(crate) vitals: Rc<Vitals>,
    pub(crate) channels: Names,
    pub(crate) patterns: Names,
    pub(crate) shards: Names,
    /// What these take, see [`Config::max_subscriptions`].
    pub(crate) subscribed_bytes: usize,
    /// It has more waiting than the soft limit allows, and then it is looked at again.
    pub(crate) soft: Option<TimerId>,
}

/// What changes with each command: shared with the session, so that it has nothing to look up.
#[derive(Debug)]
pub(crate) struct Vitals {
    pub(crate) last_command: Cell<Option<&'static Spec>>,
    pub(crate) active: Cell<Instant>,
}

impl Client {
    pub(crate) fn names(&self, kind: Kind) -> &Names {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn names_mut(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    /// What a confirmation tells: sharded channels are counted by themselves.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Shard => self.shards.len(),
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
        }
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.count(Kind::Channel) + self.count(Kind::Shard) > 0
    }
}

/// Counts since the server began.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) connections: u64,
    pub(crate) refused: u64,
    pub(crate) commands: u64,
    pub(crate) slow: u64,
}

pub(crate) struct Hub {
    pub(crate) config: Config,
    pub(crate) clients: BTreeMap<ClientId, Client>,
    last_client: ClientId,
    pub(crate) channels: Channels,
    pub(crate) patterns: Patterns,
    pub(crate) shards: Channels,
    pub(crate) totals: Totals,
    /// When it began: with its first connection, if nobody has said so before.
    pub(crate) began: Option<Instant>,
    /// Names this server in `INFO`; drawn when it is first asked for.
    pub(crate) run_id: Option<String>,
    /// How many clients have their `soft` set.
    pub(crate) soft: usize,
    /// Replies to what one client sent; empty between callbacks.
    pub(crate) out: Vec<u8>,
    /// The message that is being delivered.
    pub(crate) message: Message,
    /// Subscribers that may have too much waiting; empty between commands.
    pub(crate) lagging: Vec<(Subscriber, usize)>,
}

impl Hub {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            clients: BTreeMap::new(),
            last_client: 0,
            channels: Channels::default(),
            patterns: Patterns::default(),
            shards: Channels::default(),
            totals: Totals::default(),
            began: None,
            run_id: None,
            soft: 0,
            out: Vec::new(),
            message: Message::default(),
            lagging: Vec::new(),
        }
    }

    /// Takes a new client in; `None` if there are too many.
    pub(crate) fn admit(
        &mut self,
        connection: ConnectionId,
        (peer, host): (Address, Address),
        now: Instant,
    ) -> Option<(ClientId, Rc<Vitals>)> {
        self.began.get_or_insert(now);
        if self.clients.len() >= self.config.max_clients {
            self.totals.refused += 1;
            return None;
        }
        self.totals.connections += 1;
        self.last_client += 1;
        let vitals = Rc::new(Vitals { last_command: Cell::new(None), active: Cell::new(now) });
        let client = Client {
            connection,
            peer,
            host,
            made: now,
            version: Version::Resp2,
            name: Vec::new(),
            library: Vec::new(),
            library_version: Vec::new(),
            no_evict: false,
            vitals: vitals.clone(),
            channels: Names::default(),
            patterns: Names::default(),
            shards: Names::default(),
            subscribed_bytes: 0,
            soft: None,
        };
        self.clients.insert(self.last_client, client);
        Some((self.last_client, vitals))
    }

    /// Forgets a client that is going: nobody counts it or sends it anything from here on. Doing so
    /// twice does no harm.
    pub(crate) fn forget(&mut self, id: ClientId) {
        self.unsubscribe_all(id);
        if let Some(client) = self.clients.remove(&id) {
            // The timer goes with the connection.
            self.soft -= usize::from(client.soft.is_some());
        }
    }

    /// Ends all subscriptions of a client.
    pub(crate) fn unsubscribe_all(&mut self, id: ClientId) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in self.subscriptions(id, kind) {
                self.unsubscribe(id, kind, &name);
            }
        }
    }

    /// What a client has subscribed to, the eldest first.
    pub(crate) fn subscriptions(&self, id: ClientId, kind: Kind) -> Vec<Name> {
        self.clients.get(&id).map(|client| client.names(kind).in_order()).unwrap_or_default()
    }

    /// Subscribes, unless it is subscribed already. False if that were too much for one client.
    pub(crate) fn subscribe(&mut self, id: ClientId, kind: Kind, name: &[u8]) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return true };
        if client.names(kind).contains(name) {
            return true;
        }
        let bytes = client.subscribed_bytes + name.len() + SUBSCRIPTION_COSTS;
        if bytes > self.config.subscriptions {
            return false;
        }
        client.subscribed_bytes = bytes;
        let (connection, version) = (client.connection, client.version);
        let subscriber = Subscriber { connection, client: id, version };
        let name = match kind {
            Kind::Channel => self.channels.add(name, subscriber),
            Kind::Pattern => self.patterns.add(name, subscriber),
            Kind::Shard => self.shards.add(name, subscriber),
        };
        client.names_mut(kind).insert(name);
        true
    }

    pub(crate) fn unsubscribe(&mut self, id: ClientId, kind: Kind, name: &[u8]) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if !client.names_mut(kind).remove(name) {
            return;
        }
        client.subscribed_bytes -= name.len() + SUBSCRIPTION_COSTS;
        match kind {
            Kind::Channel => self.channels.remove(name, id),
            Kind::Pattern => self.patterns.remove(name, id),
            Kind::Shard => self.shards.remove(name, id),
        }
    }

    /// The form in which a client gets replies and messages from now on.
    pub(crate) fn set_version(&mut self, id: ClientId, version: Version) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if std::mem::replace(&mut client.version, version) == version {
            return;
        }
        for name in client.channels.in_order() {
            self.channels.set_version(&name, id, version);
        }
        for name in client.patterns.in_order() {
            self.patterns.set_version(&name, id, version);
        }
        for name in client.shards.in_order() {
            self.shards.set_version(&name, id, version);
        }
    }
}
