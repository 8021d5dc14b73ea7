//! Consumers: who asks for a queue's messages, and the ring in which they take turns.
//!
//! A consumer is in its queue's ring while it may have room. One that is found without room when
//! its turn comes drops out, and comes back where room is made: by an acknowledgement, by the
//! channel's other consumers, or by its connection.

use std::collections::VecDeque;

use crate::access::Access;
use crate::arguments::consumer_priority;
use crate::broker::Broker;
use crate::error::{Error, ErrorKind, Result, access_refused, not_implemented, text};
use crate::ids::{ChannelId, ConsumerId, QueueId};
use crate::names::Name;
use crate::outbox::Addressee;
use crate::reply_to::is_reply_name;
use crate::value::Table;

pub(crate) struct Consumer {
    pub(crate) queue: QueueId,
    pub(crate) addressee: Addressee,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) priority: i32,
    /// How many it may hold unacknowledged; 0 is unlimited.
    pub(crate) prefetch: u32,
    pub(crate) unacked: u32,
    pub(crate) place: Place,
}

/// Where a consumer waits for its next delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its queue's ring, once.
    Ring,
    /// Nowhere: it has no room until something is acknowledged.
    Full,
    /// In the list of its channel or its connection, once, until that has room.
    Waiting,
}

impl Consumer {
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.no_ack || self.prefetch == 0 || self.unacked < self.prefetch
    }
}

/// What [`Broker::consume`] takes (`basic.consume`).
#[derive(Debug, Clone, Copy)]
pub struct Consume<'a> {
    /// The queue's name; empty for the one that the channel declared last.
    pub queue: &'a [u8],
    /// The consumer's tag; the broker makes one up if it is empty.
    pub consumer_tag: &'a [u8],
    /// Deliveries count as acknowledged when they are sent.
    pub no_ack: bool,
    /// No other consumer may share the queue; a quorum queue takes no notice.
    pub exclusive: bool,
    /// `x-priority`; others are ignored.
    pub arguments: &'a Table,
}

/// The consumers of a queue that may have room: the highest priority first, in turn within it.
#[derive(Default)]
pub(crate) struct Ring {
    /// Those of priority 0, which are nearly all there are.
    base: VecDeque<ConsumerId>,
    /// Other priorities, descending; a level whose consumers dropped out stays for their return.
    levels: Vec<Level>,
    len: usize,
}

struct Level {
    priority: i32,
    turn: VecDeque<ConsumerId>,
}

impl Ring {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives a consumer the last turn of its level.
    #[inline]
    pub(crate) fn push(&mut self, consumer: ConsumerId, priority: i32) {
        self.len += 1;
        match priority {
            0 => self.base.push_back(consumer),
            _ => self.push_to_level(consumer, priority),
        }
    }

    fn push_to_level(&mut self, consumer: ConsumerId, priority: i32) {
        let at = self.levels.partition_point(|level| level.priority > priority);
        match self.levels.get_mut(at) {
            Some(level) if level.priority == priority => level.turn.push_back(consumer),
            _ => self.levels.insert(at, Level { priority, turn: VecDeque::from([consumer]) }),
        }
    }

    /// Takes the consumer whose turn it is.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<ConsumerId> {
        let first = match self.levels.is_empty() {
            true => self.base.pop_front(),
            false => self.pop_from_levels(),
        };
        self.len -= usize::from(first.is_some());
        first
    }

    fn pop_from_levels(&mut self) -> Option<ConsumerId> {
        let low = self.levels.partition_point(|level| level.priority > 0);
        let (high, low) = self.levels.split_at_mut(low);
        let next = |level: &mut Level| level.turn.pop_front();
        high.iter_mut()
            .find_map(next)
            .or_else(|| self.base.pop_front())
            .or_else(|| low.iter_mut().find_map(next))
    }

    /// O(n); fine below 10,000 consumers of one queue.
    fn remove(&mut self, consumer: ConsumerId, priority: i32) {
        if priority == 0 {
            self.base.retain(|&it| it != consumer);
        } else if let Some(at) = self.levels.iter().position(|it| it.priority == priority) {
            self.levels[at].turn.retain(|&it| it != consumer);
            if self.levels[at].turn.is_empty() {
                self.levels.remove(at);
            }
        }
        self.len = self.base.len() + self.levels.iter().map(|it| it.turn.len()).sum::<usize>();
    }
}

impl Broker {
    /// Starts a consumer and returns its tag. The `consume-ok` goes out before the events that
    /// this makes.
    ///
    /// # Errors
    /// `NOT_ALLOWED` if the channel has that tag already, `NOT_FOUND` and `RESOURCE_LOCKED` for
    /// the queue, `ACCESS_REFUSED` if one of its consumers is exclusive or this one cannot be,
    /// `PRECONDITION_FAILED` for its arguments, `NOT_IMPLEMENTED` for a quorum queue on a channel
    /// with a shared prefetch.
    pub fn consume(&mut self, channel: ChannelId, consume: &Consume<'_>) -> Result<&[u8]> {
        let queue = self.queue_name(channel, consume.queue)?;
        // The tag of the consumer of replies is not in the way of another, as in RabbitMQ.
        if self.channel(channel)?.consumers.contains_key(consume.consumer_tag) {
            let tag = text(consume.consumer_tag);
            let explanation = format!("attempt to reuse consumer tag '{tag}'");
            return Err(Error::new(ErrorKind::NotAllowed, explanation));
        }
        if is_reply_name(&queue) {
            return self.consume_replies(channel, consume);
        }
        let queue = self.use_queue(channel, &queue, Access::Read)?;
        let quorum = self.queues[queue].is_quorum();
        let priority = consumer_priority(self.resource_of(queue), quorum, consume.arguments)?;
        if !quorum {
            self.check_sharing(queue, consume.exclusive)?;
        } else if self.channel(channel)?.shared_prefetch != 0 {
            let queue = self.resource_of(queue);
            return Err(not_implemented(format!("{queue} does not support global qos")));
        }
        let tag: Name = match consume.consumer_tag.is_empty() {
            true => self.make_name("amq.ctag-"),
            false => consume.consumer_tag.into(),
        };
        let to = self.destination(channel).expect("an open channel has a connection");
        let id = self.consumers.insert(Consumer {
            queue,
            addressee: Addressee { to, channel, tag: tag.clone() },
            no_ack: consume.no_ack,
            // A quorum queue's consumers are never exclusive, as in RabbitMQ.
            exclusive: consume.exclusive && !quorum,
            priority,
            prefetch: self.channels[channel].consumer_prefetch,
            unacked: 0,
            place: Place::Full,
        });
        self.channels[channel].consumers.insert(tag, id);
        let state = &mut self.queues[queue];
        state.consumers.push(id);
        state.exclusive_consumer = consume.exclusive && !quorum;
        self.elect(queue);
        self.wake(&[id]);
        self.want_load(queue);
        self.finish();
        Ok(&self.consumers[id].addressee.tag)
    }

    /// Ends a consumer (`basic.cancel`); an unknown tag is no error. What it has not acknowledged
    /// stays with the channel. The caller drains the outbox before it sends `cancel-ok`, which
    /// must follow the last delivery.
    pub fn cancel(&mut self, channel: ChannelId, consumer_tag: &[u8]) -> Result<()> {
        let state = self.channel_mut(channel)?;
        if state.reply.as_ref().is_some_and(|reply| *reply.tag == *consumer_tag) {
            self.end_replies(channel);
            return Ok(());
        }
        if let Some(consumer) = state.consumers.remove(consumer_tag) {
            let abandoned = self.unlink_consumer(consumer, false);
            if let Some(queue) = abandoned {
                self.remove_queue_if_abandoned(queue);
            }
        }
        self.finish();
        Ok(())
    }

    /// The queue of a consumer goes: takes it off its channel and tells its client.
    pub(crate) fn end_consumer(&mut self, consumer: ConsumerId) {
        let Some(state) = self.consumers.remove(consumer) else { return };
        if let Some(channel) = self.channels.get_mut(state.addressee.channel) {
            channel.consumers.remove(&state.addressee.tag);
            channel.waiting.retain(|&it| it != consumer);
        }
        let connection = state.addressee.to.connection;
        let notify = match self.connections.get_mut(connection) {
            Some(connection) => {
                connection.waiting.retain(|&it| it != consumer);
                connection.cancel_notify
            }
            None => false,
        };
        self.outbox.bury(consumer, state.addressee, notify);
    }

    /// Takes a consumer off its queue; the channel's own list is the caller's affair. Returns the
    /// queue if that was its last consumer and it lives only as long as it has one. With `notify`
    /// the client is told, after what the consumer was given.
    pub(crate) fn unlink_consumer(
        &mut self,
        consumer: ConsumerId,
        notify: bool,
    ) -> Option<QueueId> {
        let state = self.consumers.remove(consumer)?;
        if let Some(channel) = self.channels.get_mut(state.addressee.channel) {
            channel.waiting.retain(|&it| it != consumer);
        }
        if let Some(connection) = self.connections.get_mut(state.addressee.to.connection) {
            connection.waiting.retain(|&it| it != consumer);
        }
        self.outbox.bury(consumer, state.addressee, notify);
        let queue = self.queues.get_mut(state.queue)?;
        queue.ring.remove(consumer, state.priority);
        queue.consumers.retain(|&it| it != consumer);
        if state.exclusive {
            queue.exclusive_consumer = false;
        }
        if !queue.consumers.is_empty() {
            self.elect(state.queue);
            return None;
        }
        let abandoned = queue.auto_delete.then_some(state.queue);
        self.touch(state.queue);
        abandoned
    }

    /// An auto-delete queue goes once its last consumer has.
    pub(crate) fn remove_queue_if_abandoned(&mut self, queue: QueueId) {
        if self.queues.get(queue).is_some_and(|state| state.consumers.is_empty()) {
            self.remove_queue(queue);
        }
    }

    fn check_sharing(&self, queue: QueueId, exclusive: bool) -> Result<()> {
        let state = &self.queues[queue];
        let alone = state.consumers.is_empty() && !state.feeds_one();
        if state.exclusive_consumer || (exclusive && !alone) {
            return Err(access_refused(format!("{} in exclusive use", self.resource_of(queue))));
        }
        Ok(())
    }
}
