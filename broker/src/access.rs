//! Who may do what: permissions of a connection's user, asked before a call changes anything.
//!
//! RabbitMQ's model: a user may configure, write to and read from the names that three patterns
//! allow. The patterns are the caller's affair; the broker asks through [`Permissions`].

use crate::broker::Broker;
use crate::error::{Resource, ResourceKind, Result, access_refused, text};
use crate::exchange::ExchangeType;
use crate::ids::{ChannelId, ConnectionId, ExchangeId};

/// What a call does to a queue or an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Declare or delete it.
    Configure,
    /// Publish to it, or bind it as a destination.
    Write,
    /// Consume, get or purge, or bind it as a source.
    Read,
}

/// A user's permissions in the virtual host of a connection.
pub trait Permissions: Send {
    /// Whether the user may do that to the queue or exchange of this name; the default exchange
    /// is asked for as `amq.default`.
    fn allows(&self, access: Access, name: &[u8]) -> bool;

    /// Whether the user, who may write to or read from a topic exchange, may do so with this
    /// routing key. Yes, unless told otherwise.
    fn allows_topic(&self, access: Access, exchange: &[u8], routing_key: &[u8]) -> bool {
        let _ = (access, exchange, routing_key);
        true
    }
}

impl<F: Fn(Access, &[u8]) -> bool + Send> Permissions for F {
    fn allows(&self, access: Access, name: &[u8]) -> bool {
        self(access, name)
    }
}

impl Broker {
    /// Limits what a connection may do from now on; without this it may do everything. Consumers
    /// that it has go on, until [`recheck_consumers`](Broker::recheck_consumers).
    pub fn set_permissions(
        &mut self,
        connection: ConnectionId,
        permissions: impl Permissions + 'static,
    ) {
        if let Some(state) = self.connections.get_mut(connection) {
            state.permissions = Some(Box::new(permissions));
        }
    }

    /// Cancels the consumers of a connection whose queues its user may not read any more, and tells
    /// the client. What they have not acknowledged stays with their channels.
    pub fn recheck_consumers(&mut self, connection: ConnectionId) {
        let Some(state) = self.connections.get(connection) else { return };
        let Some(permissions) = &state.permissions else { return };
        let notify = state.cancel_notify;
        let mut refused = Vec::new();
        for channel in state.channels.values() {
            for (tag, &consumer) in &self.channels[*channel].consumers {
                let queue = &self.queues[self.consumers[consumer].queue];
                if !permissions.allows(Access::Read, &queue.name) {
                    refused.push((*channel, tag.clone(), consumer));
                }
            }
        }
        for (channel, tag, consumer) in refused {
            self.channels[channel].consumers.remove(&tag);
            if let Some(queue) = self.unlink_consumer(consumer, notify) {
                self.remove_queue_if_abandoned(queue);
            }
        }
        self.finish();
    }

    /// Whether a user may do anything at all to a queue or an exchange: to ask whether it is there
    /// takes no more (as in RabbitMQ 4; before, everybody might ask).
    pub(crate) fn permit_any(
        &self,
        channel: ChannelId,
        kind: ResourceKind,
        name: &[u8],
    ) -> Result<()> {
        self.permit(channel, Access::Read, kind, name)
            .or_else(|_| self.permit(channel, Access::Write, kind, name))
            .or_else(|_| self.permit(channel, Access::Configure, kind, name))
    }

    pub(crate) fn permit_queue(
        &self,
        channel: ChannelId,
        access: Access,
        name: &[u8],
    ) -> Result<()> {
        self.permit(channel, access, ResourceKind::Queue, name)
    }

    #[inline]
    pub(crate) fn permit_exchange(
        &self,
        channel: ChannelId,
        access: Access,
        name: &[u8],
    ) -> Result<()> {
        self.permit(channel, access, ResourceKind::Exchange, name)
    }

    /// Whether the connection's user may publish to (`Write`) or bind from (`Read`) an exchange
    /// with this routing key; only topic exchanges tell keys apart.
    #[inline]
    pub(crate) fn permit_topic(
        &self,
        channel: ChannelId,
        access: Access,
        exchange: ExchangeId,
        routing_key: &[u8],
    ) -> Result<()> {
        let state = self.channel(channel)?;
        let connection = &self.connections[state.connection];
        let Some(permissions) = &connection.permissions else { return Ok(()) };
        let exchange = &self.exchanges[exchange];
        if exchange.kind != ExchangeType::Topic
            || permissions.allows_topic(access, &exchange.name, routing_key)
        {
            return Ok(());
        }
        let resource = self.exchange_resource(exchange.vhost, &exchange.name);
        let (key, user) = (text(routing_key), text(&connection.user));
        Err(access_refused(format!(
            "access to topic '{key}' in {resource} refused for user '{user}'"
        )))
    }

    #[inline]
    fn permit(
        &self,
        channel: ChannelId,
        access: Access,
        kind: ResourceKind,
        name: &[u8],
    ) -> Result<()> {
        let state = self.channel(channel)?;
        let connection = &self.connections[state.connection];
        let Some(permissions) = &connection.permissions else { return Ok(()) };
        let name = match name {
            b"" if kind == ResourceKind::Exchange => b"amq.default",
            name => name,
        };
        if permissions.allows(access, name) {
            return Ok(());
        }
        let resource = Resource { kind, name, vhost: &self.vhosts[state.vhost].name };
        let user = text(&connection.user);
        Err(access_refused(format!("access to {resource} refused for user '{user}'")))
    }
}
