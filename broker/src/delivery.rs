//! Delivery: from the head of a queue to the consumer whose turn it is.
//!
//! A pass fills the outbox to its limit and leaves the rest in the queues; the next pass goes on
//! where it stopped. Whatever makes room calls `wake` and then `deliver_pass`.

use crate::backlog::Entry;
use crate::broker::Broker;
use crate::consumer::Place;
use crate::ids::{ConsumerId, QueueId};
use crate::unacked::Unacked;

/// What became of an entry that was offered to a queue's consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fed {
    /// None has room: the entry is the caller's still.
    Nobody,
    /// It went out and waits for its acknowledgement.
    Held,
    /// It went out for good.
    Sent,
}

/// How many deliveries a queue may make before the next queue has its turn.
const TURN: usize = 64;

impl Broker {
    /// Puts consumers that may have room again into their queues' rings.
    pub(crate) fn wake(&mut self, consumers: &[ConsumerId]) {
        for &id in consumers {
            let Some(consumer) = self.consumers.get_mut(id) else { continue };
            if consumer.place == Place::Ring {
                continue;
            }
            consumer.place = Place::Full;
            let Some(queue) = self.queues.get_mut(consumer.queue) else { continue };
            if !consumer.has_room() || queue.is_benched(id) {
                continue;
            }
            consumer.place = Place::Ring;
            queue.ring.push(id, consumer.priority);
            let queue = consumer.queue;
            self.schedule(queue);
        }
    }

    /// Lists a queue for the next pass, if it has anything to give.
    #[inline]
    pub(crate) fn schedule(&mut self, queue: QueueId) {
        let Some(state) = self.queues.get_mut(queue) else { return };
        if !state.runnable
            && !state.ready.is_empty()
            && !state.ring.is_empty()
            && !state.is_blocked()
        {
            state.runnable = true;
            self.outbox.runnable.push_back(queue);
        }
    }

    /// Delivers until the outbox is full or nothing can be delivered.
    #[inline]
    pub(crate) fn deliver_pass(&mut self) {
        while self.outbox.has_room(&self.config)
            && let Some(queue) = self.outbox.runnable.pop_front()
        {
            if let Some(state) = self.queues.get_mut(queue) {
                state.runnable = false;
                self.deliver_from(queue);
                self.schedule(queue);
            }
        }
    }

    fn deliver_from(&mut self, queue: QueueId) {
        for _ in 0..TURN {
            self.drop_expired(queue);
            let state = &self.queues[queue];
            if state.ring.is_empty() || !self.outbox.has_room(&self.config) {
                return;
            }
            if state.store.is_some() && self.must_wait(queue) {
                return;
            }
            let Some(entry) = self.take_ready(queue) else { return };
            let stored = self.messages.stored(entry.message);
            match self.feed(queue, entry, stored.bytes) {
                Fed::Held => {}
                Fed::Sent => self.end_acknowledged(queue, &entry),
                Fed::Nobody => {
                    let state = &mut self.queues[queue];
                    let priority = state.level_of(stored.priority);
                    state.ready.put_back(entry, priority, stored.bytes);
                    return;
                }
            }
        }
    }

    /// Takes the entry that goes next.
    pub(crate) fn take_ready(&mut self, queue: QueueId) -> Option<Entry> {
        let state = &mut self.queues[queue];
        let entry = state.ready.pop()?;
        self.took_ready(queue, &entry);
        Some(entry)
    }

    /// Accounts for an entry that has left the ready messages.
    #[inline]
    pub(crate) fn took_ready(&mut self, queue: QueueId, entry: &Entry) {
        let state = &mut self.queues[queue];
        state.ready.took(self.messages.get(entry.message).body().len() as u64);
        let (may_expire, is_paged) = (state.may_expire, state.is_paged());
        if may_expire {
            self.set_alarm(queue);
        }
        if is_paged {
            self.want_load(queue);
        }
    }

    /// Delivers `entry`, which is in no list of `queue`, to the next consumer with room; those
    /// without room drop out of the ring and wait where room will be made for them.
    #[inline]
    pub(crate) fn feed(&mut self, queue: QueueId, entry: Entry, bytes: u64) -> Fed {
        let Broker { queues, consumers, channels, connections, messages, outbox, .. } = self;
        let state = &mut queues[queue];
        while let Some(id) = state.ring.pop() {
            let Some(consumer) = consumers.get_mut(id) else { continue };
            let Some(channel) = channels.get_mut(consumer.addressee.channel) else { continue };
            let Some(connection) = connections.get_mut(channel.connection) else { continue };
            if !connection.writable {
                connection.waiting.push(id);
                consumer.place = Place::Waiting;
                continue;
            }
            if !consumer.no_ack {
                if channel.is_full() {
                    channel.waiting.push(id);
                    consumer.place = Place::Waiting;
                    continue;
                }
                if !consumer.has_room() {
                    consumer.place = Place::Full;
                    continue;
                }
            }
            channel.last_tag += 1;
            let tag = channel.last_tag;
            if !consumer.no_ack {
                messages.retain(entry.message);
                consumer.unacked += 1;
                channel.outstanding += 1;
                state.unacked += 1;
                channel.unacked.push(Unacked { tag, entry, queue, consumer: Some(id) });
            }
            let no_ack = consumer.no_ack;
            if consumer.has_room() {
                state.ring.push(id, consumer.priority);
            } else {
                consumer.place = Place::Full;
            }
            let returns = (entry.returns, state.is_quorum());
            outbox.deliver(id, tag, entry.message, returns, bytes);
            return if no_ack { Fed::Sent } else { Fed::Held };
        }
        Fed::Nobody
    }
}
