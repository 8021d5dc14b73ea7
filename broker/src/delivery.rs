//! Delivery: from the head of a queue to the consumer whose turn it is.
//!
//! A pass fills the outbox to its limit and leaves the rest in the queues; the next pass goes on
//! where it stopped. Whatever makes room calls `wake` and then `deliver_pass`.

use crate::backlog::Entry;
use crate::broker::Broker;
use crate::consumer::Place;
use crate::ids::{ConsumerId, QueueId};
use crate::unacked::Unacked;

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
            if !consumer.has_room() {
                continue;
            }
            let Some(queue) = self.queues.get_mut(consumer.queue) else { continue };
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
        if !state.runnable && !state.ready.is_empty() && !state.ring.is_empty() {
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
            if !self.outbox.has_room(&self.config) || self.queues[queue].ready.is_empty() {
                return;
            }
            let Some(consumer) = self.next_consumer(queue) else { return };
            match self.take_ready(queue) {
                Some(entry) => self.hand_over(queue, consumer, entry),
                None => {
                    self.consumers[consumer].place = Place::Full;
                    self.wake(&[consumer]);
                    return;
                }
            }
        }
    }

    /// Takes the entry that goes next.
    pub(crate) fn take_ready(&mut self, queue: QueueId) -> Option<Entry> {
        let state = &mut self.queues[queue];
        let entry = state.ready.pop()?;
        state.ready.took(self.messages.get(entry.message).body().len() as u64);
        Some(entry)
    }

    /// Takes the next consumer with room out of the ring; those without room drop out and wait
    /// where room will be made for them.
    #[inline]
    pub(crate) fn next_consumer(&mut self, queue: QueueId) -> Option<ConsumerId> {
        let queue = &mut self.queues[queue];
        while let Some(id) = queue.ring.pop() {
            let Some(consumer) = self.consumers.get_mut(id) else { continue };
            let Some(channel) = self.channels.get_mut(consumer.addressee.channel) else { continue };
            let Some(connection) = self.connections.get_mut(channel.connection) else { continue };
            if !connection.writable {
                connection.waiting.push(id);
                consumer.place = Place::Waiting;
            } else if !consumer.no_ack && channel.is_full() {
                channel.waiting.push(id);
                consumer.place = Place::Waiting;
            } else if consumer.has_room() {
                return Some(id);
            } else {
                consumer.place = Place::Full;
            }
        }
        None
    }

    /// Delivers `entry`, taken from `queue`, to `consumer`, taken from its ring.
    #[inline]
    pub(crate) fn hand_over(&mut self, queue: QueueId, id: ConsumerId, entry: Entry) {
        let consumer = &mut self.consumers[id];
        let channel = &mut self.channels[consumer.addressee.channel];
        let queue_state = &mut self.queues[queue];
        channel.last_tag += 1;
        let tag = channel.last_tag;
        if !consumer.no_ack {
            self.messages.retain(entry.message);
            consumer.unacked += 1;
            channel.outstanding += 1;
            queue_state.unacked += 1;
            channel.unacked.push(Unacked { tag, entry, queue, consumer: Some(id) });
        }
        if consumer.has_room() {
            queue_state.ring.push(id, consumer.priority);
        } else {
            consumer.place = Place::Full;
        }
        let bytes = self.messages.get(entry.message).body().len();
        self.outbox.deliver(id, tag, entry.message, entry.returns > 0, bytes);
    }
}
