//! Queues: declaring, purging and deleting them, and whom they belong to.
//!
//! What is in them is [`Ready`]; who is fed from them, [`Ring`](crate::consumer::Ring).

use crate::access::Access;
use crate::arguments::{Settings, check_dead_letter_type, check_server_named, compared};
use crate::backlog::NEVER;
use crate::broker::Broker;
use crate::consumer::Ring;
use crate::error::{
    Error, ErrorKind, Resource, ResourceKind, Result, not_found, not_implemented,
    precondition_failed, resource_locked,
};
use crate::exchange::{check_reserved, same, same_argument};
use crate::ids::{BindingId, ChannelId, ConnectionId, ConsumerId, QueueId, VhostId};
use crate::journal::QueueStore;
use crate::names::{Name, strip_line_ends};
use crate::ready::Ready;
use crate::reply_to::is_reply_name;
use crate::value::Table;

pub(crate) struct Queue {
    pub(crate) vhost: VhostId,
    pub(crate) name: Name,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    /// The connection that alone may use it.
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) arguments: Table,
    /// What the arguments ask for; `None` for a queue without any that matter.
    pub(crate) settings: Option<Box<Settings>>,
    pub(crate) ready: Ready,
    /// What it has in the store; `None` without a journal. Boxed: one branch is all that a
    /// queue without pays.
    pub(crate) store: Option<Box<QueueStore>>,
    /// Deliveries that wait for their acknowledgement.
    pub(crate) unacked: usize,
    pub(crate) next_position: u64,
    /// All consumers in the order in which they came.
    pub(crate) consumers: Vec<ConsumerId>,
    /// Those that may have room.
    pub(crate) ring: Ring,
    /// The one that is fed, if the queue feeds only one at a time.
    pub(crate) active: Option<ConsumerId>,
    /// A consumer that shares with no other.
    pub(crate) exclusive_consumer: bool,
    pub(crate) bindings: Vec<BindingId>,
    /// The last routing that came by.
    pub(crate) visited: u64,
    /// Whether any message in it ever had a time to live.
    pub(crate) may_expire: bool,
    /// When its alarm rings, in nanoseconds; `NEVER` if none is set.
    pub(crate) alarm: u64,
    /// When it was last declared, fetched from or left by its last consumer.
    pub(crate) last_used: u64,
    /// Whether it is in the outbox's list of runnable queues.
    pub(crate) runnable: bool,
}

/// What [`Broker::declare_queue`] takes (`queue.declare`).
#[derive(Debug, Clone, Copy)]
pub struct QueueDeclare<'a> {
    /// The name; the broker makes one up if it is empty.
    pub name: &'a [u8],
    /// Only ask whether it exists.
    pub passive: bool,
    /// It outlives a restart, unless it is exclusive.
    pub durable: bool,
    /// Only this connection may use it, and it goes with the connection.
    pub exclusive: bool,
    /// It goes with the last of its consumers.
    pub auto_delete: bool,
    /// RabbitMQ's `x-` arguments; those that are not known are kept and ignored.
    pub arguments: &'a Table,
}

/// A queue as `queue.declare-ok` tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueStatus<'a> {
    /// The name, made up or given.
    pub name: &'a [u8],
    /// Messages ready; those delivered and not yet acknowledged do not count.
    pub message_count: usize,
    /// Consumers.
    pub consumer_count: usize,
}

impl Broker {
    /// Declares a queue, or checks that the one of that name is the same. The channel remembers
    /// it as the one that an empty name means from now on.
    pub fn declare_queue(
        &mut self,
        channel: ChannelId,
        declare: &QueueDeclare<'_>,
    ) -> Result<QueueStatus<'_>> {
        // What goes with its connection outlives nothing, and RabbitMQ counts it as transient.
        let durable = declare.durable && !declare.exclusive;
        let declare = &QueueDeclare { durable, ..*declare };
        let state = self.channel(channel)?;
        let (vhost, connection) = (state.vhost, state.connection);
        let name = strip_line_ends(declare.name);
        if is_reply_name(&name) {
            return self.declare_reply_name(channel, &name);
        }
        if declare.passive {
            self.permit_any(channel, ResourceKind::Queue, &name)?;
        } else if !name.is_empty() {
            self.permit_queue(channel, Access::Configure, &name)?;
        }
        let queue = match self.vhosts[vhost].queues.get(&*name) {
            Some(&queue) => {
                self.check_owner(channel, queue)?;
                if !declare.passive {
                    self.check_declared(queue, connection, declare)?;
                }
                queue
            }
            None if declare.passive => return Err(not_found(self.queue_resource(vhost, &name))),
            None => self.create_queue(channel, connection, &name, declare)?,
        };
        self.touch(queue);
        let state = &self.queues[queue];
        self.channels[channel].last_queue = Some(state.name.clone());
        Ok(QueueStatus {
            name: &state.name,
            message_count: state.ready_count(),
            consumer_count: state.consumers.len(),
        })
    }

    /// Drops all ready messages and returns how many (`queue.purge`); those that wait for their
    /// acknowledgement stay.
    pub fn purge_queue(&mut self, channel: ChannelId, name: &[u8]) -> Result<usize> {
        let queue = self.use_queue(channel, name, Access::Read)?;
        Ok(self.drop_ready(queue, true))
    }

    /// Deletes a queue and returns how many messages were ready (`queue.delete`). One that is not
    /// there is no error. Its consumers are told. `NOT_IMPLEMENTED` for a condition on a quorum
    /// queue, as in RabbitMQ.
    pub fn delete_queue(
        &mut self,
        channel: ChannelId,
        name: &[u8],
        if_unused: bool,
        if_empty: bool,
    ) -> Result<usize> {
        let vhost = self.channel(channel)?.vhost;
        let name = self.queue_name(channel, name)?;
        self.permit_queue(channel, Access::Configure, &name)?;
        let Ok(queue) = self.find_queue(vhost, &name) else { return Ok(0) };
        self.check_owner(channel, queue)?;
        let state = &self.queues[queue];
        let resource = self.queue_resource(vhost, &name);
        for (flag, name) in [(if_unused, "if-unused"), (if_empty, "if-empty")] {
            if flag && state.is_quorum() {
                return Err(not_implemented(format!(
                    "cannot delete {resource}. queue.delete operations with {name} flag set are \
                     not supported by quorum queues"
                )));
            }
        }
        if if_empty && state.ready_count() > 0 {
            return Err(precondition_failed(format!("{resource} not empty")));
        }
        if if_unused && !state.consumers.is_empty() {
            return Err(precondition_failed(format!("{resource} in use")));
        }
        Ok(self.remove_queue(queue))
    }

    /// The name that `name` means on this channel: an empty one is the queue declared last
    /// (AMQP 0-9-1, `queue` domain).
    pub(crate) fn queue_name(&self, channel: ChannelId, name: &[u8]) -> Result<Name> {
        if !name.is_empty() {
            return Ok((*strip_line_ends(name)).into());
        }
        self.channel(channel)?
            .last_queue
            .clone()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "no previously declared queue"))
    }

    /// Finds a queue by name, `NOT_FOUND` if there is none.
    pub(crate) fn find_queue(&self, vhost: VhostId, name: &[u8]) -> Result<QueueId> {
        match self.vhosts[vhost].queues.get(name) {
            Some(&queue) => Ok(queue),
            None => Err(not_found(self.queue_resource(vhost, name))),
        }
    }

    /// The queue that a call names, if there is one, this user may do that to it, and
    /// it is not another connection's.
    pub(crate) fn use_queue(
        &self,
        channel: ChannelId,
        name: &[u8],
        access: Access,
    ) -> Result<QueueId> {
        let vhost = self.channel(channel)?.vhost;
        let name = self.queue_name(channel, name)?;
        self.permit_queue(channel, access, &name)?;
        let queue = self.find_queue(vhost, &name)?;
        self.check_owner(channel, queue)?;
        Ok(queue)
    }

    /// `RESOURCE_LOCKED` if the queue is another connection's own.
    pub(crate) fn check_owner(&self, channel: ChannelId, queue: QueueId) -> Result<()> {
        let state = &self.queues[queue];
        match state.owner {
            Some(owner) if owner != self.channel(channel)?.connection => {
                Err(resource_locked(self.resource_of(queue)))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn queue_resource<'a>(&'a self, vhost: VhostId, name: &'a [u8]) -> Resource<'a> {
        Resource { kind: ResourceKind::Queue, name, vhost: &self.vhosts[vhost].name }
    }

    pub(crate) fn resource_of(&self, queue: QueueId) -> Resource<'_> {
        let state = &self.queues[queue];
        self.queue_resource(state.vhost, &state.name)
    }

    /// Forgets a queue, its bindings, ready messages and consumers. Deliveries that wait for
    /// their acknowledgement stay with their channels, which may acknowledge them in vain.
    pub(crate) fn remove_queue(&mut self, queue: QueueId) -> usize {
        let Some(state) = self.queues.get_mut(queue) else { return 0 };
        let consumers = std::mem::take(&mut state.consumers);
        let bindings = std::mem::take(&mut state.bindings);
        for consumer in consumers {
            self.end_consumer(consumer);
        }
        for binding in bindings {
            self.forget_binding_from(binding);
        }
        let dropped = self.drop_ready(queue, false);
        if let Some(state) = self.queues.remove(queue) {
            self.journal_queue_deleted(&state);
            self.vhosts[state.vhost].queues.remove(&state.name);
            if let Some(owner) = state.owner.and_then(|owner| self.connections.get_mut(owner)) {
                owner.exclusive.retain(|&it| it != queue);
            }
        }
        dropped
    }

    /// `journaled`: the queue stays, and the journal hears what it lost.
    fn drop_ready(&mut self, queue: QueueId, journaled: bool) -> usize {
        let state = &mut self.queues[queue];
        let dropped = state.ready_count();
        let ready = std::mem::take(&mut state.ready);
        let mut stored = Vec::new();
        for entry in ready.into_entries() {
            if journaled && entry.returns.is_stored() {
                stored.push(entry.position);
            }
            self.messages.release(entry.message);
        }
        if journaled {
            self.journal_purge(queue, stored);
        }
        if let Some(store) = &mut self.queues[queue].store {
            store.paging.clear();
        }
        dropped
    }

    fn create_queue(
        &mut self,
        channel: ChannelId,
        connection: ConnectionId,
        name: &[u8],
        declare: &QueueDeclare<'_>,
    ) -> Result<QueueId> {
        let vhost = self.channel(channel)?.vhost;
        check_reserved("queue", name)?;
        let name = match name.is_empty() {
            true => {
                check_server_named(declare.arguments)?;
                self.make_name("amq.gen-")
            }
            false => name.into(),
        };
        let resource = self.queue_resource(vhost, &name);
        check_dead_letter_type(resource, declare.arguments)?;
        let settings = Settings::parse(resource, declare);
        self.permit_queue(channel, Access::Configure, &name)?;
        if let Ok(Some(settings)) = &settings
            && let Some(letters) = &settings.dead_letter
        {
            self.permit_queue(channel, Access::Read, &name)?;
            self.permit_exchange(channel, Access::Write, &letters.exchange)?;
        }
        self.check_queue_limit(vhost, &name)?;
        let settings = settings?;
        let owner = declare.exclusive.then_some(connection);
        Ok(self.insert_queue(vhost, name, declare, owner, settings))
    }

    /// A queue of a name that is free, with settings that its arguments gave.
    pub(crate) fn insert_queue(
        &mut self,
        vhost: VhostId,
        name: Name,
        declare: &QueueDeclare<'_>,
        owner: Option<ConnectionId>,
        settings: Option<Box<Settings>>,
    ) -> QueueId {
        let queue = self.queues.insert(Queue {
            vhost,
            name: name.clone(),
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            owner,
            arguments: declare.arguments.clone(),
            settings,
            ready: Ready::default(),
            store: None,
            unacked: 0,
            next_position: 0,
            consumers: Vec::new(),
            ring: Ring::default(),
            active: None,
            exclusive_consumer: false,
            bindings: Vec::new(),
            visited: 0,
            may_expire: false,
            alarm: NEVER,
            last_used: self.now,
            runnable: false,
        });
        self.vhosts[vhost].queues.insert(name, queue);
        self.journal_queue(queue);
        if let Some(connection) = owner {
            self.connections[connection].exclusive.push(queue);
        }
        queue
    }

    fn check_declared(
        &self,
        queue: QueueId,
        connection: ConnectionId,
        declare: &QueueDeclare<'_>,
    ) -> Result<()> {
        let state = &self.queues[queue];
        let resource = self.resource_of(queue);
        if state.owner != declare.exclusive.then_some(connection) {
            return Err(resource_locked(resource));
        }
        same(resource, "durable", declare.durable, state.durable)?;
        same(resource, "auto_delete", declare.auto_delete, state.auto_delete)?;
        for name in compared(state.settings.as_deref()) {
            let is_default = |table: &Table| match table.get(name) {
                None => true,
                Some(value) => *name == "x-queue-type" && value.as_text() == Some(b"classic"),
            };
            if !is_default(declare.arguments) || !is_default(&state.arguments) {
                same_argument(resource, name, declare.arguments, &state.arguments)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_queue_takes_less_than_1_kib() {
        // Beside itself it has its slot's generation, its name twice, an entry of the map of
        // names, and a ring of one consumer.
        let beside = 8 + 2 * 64 + 32 + 4 * size_of::<ConsumerId>();
        assert!(size_of::<Queue>() + beside < 1024, "{}", size_of::<Queue>());
    }
}
