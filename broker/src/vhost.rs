//! Virtual hosts: worlds of exchanges and queues that do not see each other.
//!
//! Each is born with the default exchange and the `amq.` exchanges that every client may count on.

use crate::broker::Broker;
use crate::definition::DefinitionKey;
use crate::error::{Error, ErrorKind, Result, precondition_failed, text};
use crate::exchange::{Exchange, ExchangeType};
use crate::ids::{ExchangeId, QueueId, Slots, VhostId};
use crate::names::{Name, NameMap};
use crate::queue::Queue;
use crate::users::not_allowed;
use crate::value::Table;

pub(crate) struct Vhost {
    pub(crate) name: Name,
    pub(crate) queues: NameMap<QueueId>,
    /// The queue that `queue_named` found last; it may have gone.
    last_queue: Option<QueueId>,
    pub(crate) exchanges: NameMap<ExchangeId>,
    pub(crate) default_exchange: ExchangeId,
    pub(crate) description: String,
    pub(crate) tags: Vec<String>,
    pub(crate) limits: VhostLimits,
    /// Open connections.
    pub(crate) connections: usize,
}

impl Vhost {
    /// The queue of this name. Publishers stay with one for a while, and to compare its name costs
    /// less than to find it among all.
    #[inline]
    pub(crate) fn queue_named(
        &mut self,
        name: &[u8],
        queues: &Slots<QueueId, Queue>,
    ) -> Option<QueueId> {
        let last = self
            .last_queue
            .filter(|&last| queues.get(last).is_some_and(|queue| *queue.name == *name));
        if last.is_none() {
            self.last_queue = self.queues.get(name).copied();
        }
        self.last_queue
    }
}

/// What a virtual host may hold at once; `None` is no limit (`rabbitmqctl set_vhost_limits`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VhostLimits {
    /// Connections.
    pub max_connections: Option<usize>,
    /// Queues. Without it, [`Config::max_queues`](crate::Config::max_queues) counts.
    pub max_queues: Option<usize>,
}

/// The exchanges of a new virtual host (AMQP 0-9-1, section 3.1.3; RabbitMQ adds the last two).
const PREDECLARED: [(&str, ExchangeType, bool); 7] = [
    ("", ExchangeType::Direct, false),
    ("amq.direct", ExchangeType::Direct, false),
    ("amq.fanout", ExchangeType::Fanout, false),
    ("amq.topic", ExchangeType::Topic, false),
    ("amq.headers", ExchangeType::Headers, false),
    ("amq.match", ExchangeType::Headers, false),
    ("amq.rabbitmq.trace", ExchangeType::Topic, true),
];

/// The type of an exchange that every virtual host has.
pub(crate) fn predeclared(name: &str) -> Option<ExchangeType> {
    PREDECLARED.iter().find(|(known, ..)| *known == name).map(|&(_, kind, _)| kind)
}

/// Whether every virtual host has an exchange of this name.
pub(crate) fn is_predeclared(name: &[u8]) -> bool {
    PREDECLARED.iter().any(|(known, ..)| known.as_bytes() == name)
}

impl Broker {
    /// Makes a virtual host with the exchanges that belong to every one; finds it if it is there.
    pub fn add_vhost(&mut self, name: &[u8]) -> VhostId {
        if let Some(&id) = self.vhost_names.get(name) {
            return id;
        }
        let vhost = self.vhosts.insert(Vhost {
            name: name.into(),
            queues: self.hash.map(),
            last_queue: None,
            exchanges: self.hash.map(),
            default_exchange: ExchangeId::nowhere(),
            description: String::new(),
            tags: Vec::new(),
            limits: VhostLimits::default(),
            connections: 0,
        });
        self.vhost_names.insert(name.into(), vhost);
        for (exchange, kind, internal) in PREDECLARED {
            let is_default = exchange.is_empty();
            let mut entity = Exchange::new(vhost, exchange.as_bytes().into(), kind, self.hash);
            entity.durable = true;
            entity.internal = internal;
            entity.arguments = Table::new();
            if is_default {
                entity.make_default();
            }
            let id = self.exchanges.insert(entity);
            let vhost = &mut self.vhosts[vhost];
            vhost.exchanges.insert(exchange.as_bytes().into(), id);
            if is_default {
                vhost.default_exchange = id;
            }
        }
        self.journal_vhost(vhost);
        vhost
    }

    /// Forgets a virtual host with all that is in it and all that users may do there; false if
    /// there is none. Connections that are still open to it are closed, but not told: a server
    /// tells them first.
    pub fn delete_vhost(&mut self, name: &[u8]) -> bool {
        let Some(&vhost) = self.vhost_names.get(name) else { return false };
        let connections = self.connections.iter().filter(|(_, state)| state.vhost == vhost);
        for connection in connections.map(|(id, _)| id).collect::<Vec<_>>() {
            self.close_connection(connection);
        }
        let queues = self.queues.iter().filter(|(_, state)| state.vhost == vhost);
        for queue in queues.map(|(id, _)| id).collect::<Vec<_>>() {
            self.remove_queue(queue);
        }
        let exchanges = self.exchanges.iter().filter(|(_, state)| state.vhost == vhost);
        for exchange in exchanges.map(|(id, _)| id).collect::<Vec<_>>() {
            self.remove_exchange(exchange);
        }
        self.forget_permissions_in(name);
        self.vhost_names.remove(name);
        self.vhosts.remove(vhost);
        if let Some(journal) = &mut self.journal {
            journal.undefined(&DefinitionKey::Vhost { name });
        }
        true
    }

    /// Finds a virtual host by name; `NOT_ALLOWED` if there is none, as RabbitMQ answers
    /// `connection.open`.
    pub fn vhost(&self, name: &[u8]) -> Result<VhostId> {
        self.vhost_names.get(name).copied().ok_or_else(|| {
            Error::new(ErrorKind::NotAllowed, format!("vhost {} not found", text(name)))
        })
    }

    /// Limits what a virtual host may hold. What it holds already stays.
    pub fn set_vhost_limits(&mut self, vhost: VhostId, limits: VhostLimits) {
        if let Some(vhost) = self.vhosts.get_mut(vhost) {
            vhost.limits = limits;
        }
        self.journal_vhost(vhost);
    }

    /// `NOT_ALLOWED` if the broker or the virtual host takes no more connections.
    pub(crate) fn check_connection_limits(&self, vhost: VhostId, user: &[u8]) -> Result<()> {
        if let Some(limit) = self.config.max_connections
            && self.connections.len() >= limit
        {
            return Err(not_allowed(format!(
                "connection refused: node connection limit ({limit}) is reached"
            )));
        }
        let state = &self.vhosts[vhost];
        match state.limits.max_connections {
            Some(limit) if state.connections >= limit => Err(not_allowed(format!(
                "access to vhost '{}' refused for user '{}': connection limit ({limit}) is reached",
                text(&state.name),
                text(user)
            ))),
            _ => Ok(()),
        }
    }

    /// `PRECONDITION_FAILED` if the virtual host takes no more queues.
    pub(crate) fn check_queue_limit(&self, vhost: VhostId, queue: &[u8]) -> Result<()> {
        let state = &self.vhosts[vhost];
        match state.limits.max_queues.or(self.config.max_queues) {
            Some(limit) if state.queues.len() >= limit => Err(precondition_failed(format!(
                "cannot declare queue '{}': queue limit in vhost '{}' ({limit}) is reached",
                text(queue),
                text(&state.name)
            ))),
            _ => Ok(()),
        }
    }

    /// The names of all virtual hosts, in the order of their slots.
    pub fn vhosts(&self) -> impl Iterator<Item = (VhostId, &[u8])> {
        self.vhosts.iter().map(|(id, vhost)| (id, &*vhost.name))
    }
}
