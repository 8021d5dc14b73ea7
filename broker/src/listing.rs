//! What is there: connections, queues, exchanges and bindings for tools that show or export them.
//!
//! The order is that of the slots: the same calls give the same lists.

use crate::binding::Target;
use crate::broker::Broker;
use crate::exchange::ExchangeType;
use crate::ids::{ConnectionId, VhostId};
use crate::value::Table;

/// A connection.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ConnectionInfo<'a> {
    /// The caller's own id of it, from [`OpenConnection`](crate::OpenConnection).
    pub key: u64,
    /// The user who logged in.
    pub user: &'a [u8],
    /// The virtual host's name.
    pub vhost: &'a [u8],
    /// Open channels.
    pub channels: usize,
}

/// A queue.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct QueueInfo<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// It outlives a restart.
    pub durable: bool,
    /// It belongs to one connection.
    pub exclusive: bool,
    /// It goes with the last of its consumers.
    pub auto_delete: bool,
    /// As declared.
    pub arguments: &'a Table,
    /// Messages ready.
    pub messages_ready: usize,
    /// The bytes of their bodies.
    pub bytes_ready: u64,
    /// Deliveries that wait for their acknowledgement.
    pub messages_unacknowledged: usize,
    /// Consumers.
    pub consumers: usize,
}

/// An exchange.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ExchangeInfo<'a> {
    /// Its name, empty for the default exchange.
    pub name: &'a [u8],
    /// Its type.
    pub kind: ExchangeType,
    /// It outlives a restart.
    pub durable: bool,
    /// It goes with the last of its bindings.
    pub auto_delete: bool,
    /// Clients cannot publish to it.
    pub internal: bool,
    /// As declared.
    pub arguments: &'a Table,
}

/// A binding. The implied ones of the default exchange are not listed.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct BindingInfo<'a> {
    /// The exchange that messages come from.
    pub source: &'a [u8],
    /// The queue or exchange that they go to.
    pub destination: &'a [u8],
    /// Whether that is a queue.
    pub to_queue: bool,
    /// The binding key.
    pub routing_key: &'a [u8],
    /// As bound.
    pub arguments: &'a Table,
}

impl Broker {
    /// An open connection; `None` if it has gone.
    pub fn connection_info(&self, connection: ConnectionId) -> Option<ConnectionInfo<'_>> {
        let state = self.connections.get(connection)?;
        let (user, channels) = (&*state.user, state.channels.len());
        let vhost = &*self.vhosts.get(state.vhost)?.name;
        Some(ConnectionInfo { key: state.key, user, vhost, channels })
    }

    /// The queues of a virtual host.
    pub fn queues(&self, vhost: VhostId) -> impl Iterator<Item = QueueInfo<'_>> {
        let queues = self.queues.iter().map(|(_, queue)| queue);
        queues.filter(move |queue| queue.vhost == vhost).map(|queue| QueueInfo {
            name: &queue.name,
            durable: queue.durable,
            exclusive: queue.owner.is_some(),
            auto_delete: queue.auto_delete,
            arguments: &queue.arguments,
            messages_ready: queue.ready_count(),
            bytes_ready: queue.ready_bytes(),
            messages_unacknowledged: queue.unacked,
            consumers: queue.consumers.len(),
        })
    }

    /// The exchanges of a virtual host, the predeclared ones first.
    pub fn exchanges(&self, vhost: VhostId) -> impl Iterator<Item = ExchangeInfo<'_>> {
        let exchanges = self.exchanges.iter().map(|(_, exchange)| exchange);
        exchanges.filter(move |exchange| exchange.vhost == vhost).map(|exchange| ExchangeInfo {
            name: &exchange.name,
            kind: exchange.kind,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: &exchange.arguments,
        })
    }

    /// The bindings of a virtual host.
    pub fn bindings(&self, vhost: VhostId) -> impl Iterator<Item = BindingInfo<'_>> {
        self.bindings.iter().filter_map(move |(_, binding)| {
            let source = self.exchanges.get(binding.source)?;
            let (destination, to_queue) = match binding.target {
                Target::Queue(queue) => (&self.queues.get(queue)?.name, true),
                Target::Exchange(exchange) => (&self.exchanges.get(exchange)?.name, false),
            };
            (source.vhost == vhost).then_some(BindingInfo {
                source: &source.name,
                destination,
                to_queue,
                routing_key: &binding.key,
                arguments: &binding.arguments,
            })
        })
    }
}
