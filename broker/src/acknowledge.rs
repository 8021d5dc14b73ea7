//! Fetching, acknowledging and rejecting: what a client does with single messages.
//!
//! Deliveries and fetched messages share one row of tags on their channel, from 1 on.

use crate::broker::Broker;
use crate::consumer::Place;
use crate::error::{Error, Result, precondition_failed};
use crate::ids::ChannelId;
use crate::message::Message;
use crate::unacked::Unacked;

/// A message that [`Broker::get`] fetched (`basic.get-ok`).
#[derive(Debug)]
pub struct Fetched<'a> {
    /// The delivery's number on its channel.
    pub delivery_tag: u64,
    /// Whether it was handed out before and came back.
    pub redelivered: bool,
    /// How many messages are still ready in the queue.
    pub message_count: usize,
    /// The message.
    pub message: &'a Message,
}

impl Broker {
    /// Fetches the first ready message of a queue, `None` if there is none (`basic.get`).
    /// Prefetch limits do not apply.
    pub fn get(
        &mut self,
        channel: ChannelId,
        queue: &[u8],
        no_ack: bool,
    ) -> Result<Option<Fetched<'_>>> {
        let queue = self.use_queue(channel, queue)?;
        let Some(entry) = self.take_ready(queue) else { return Ok(None) };
        let state = &mut self.channels[channel];
        state.last_tag += 1;
        let tag = state.last_tag;
        if !no_ack {
            self.messages.retain(entry.message);
            self.queues[queue].unacked += 1;
            state.unacked.push(Unacked { tag, entry, queue, consumer: None });
        }
        self.hold(entry.message);
        Ok(Some(Fetched {
            delivery_tag: tag,
            redelivered: entry.returns > 0,
            message_count: self.queues[queue].ready.len(),
            message: self.messages.get(entry.message),
        }))
    }

    /// Acknowledges a delivery, or with `multiple` all up to it; 0 and `multiple` is all
    /// (`basic.ack`). `PRECONDITION_FAILED` for a tag that is not outstanding.
    pub fn ack(&mut self, channel: ChannelId, delivery_tag: u64, multiple: bool) -> Result<()> {
        if !multiple {
            let state = self.channel_mut(channel)?;
            let unacked = state.unacked.take(delivery_tag).ok_or_else(|| unknown(delivery_tag))?;
            self.settle(channel, &unacked);
            self.messages.release(unacked.entry.message);
        } else {
            let last = self.last_of(channel, delivery_tag)?;
            while let Some(unacked) = self.channels[channel].unacked.take_first(last) {
                self.settle(channel, &unacked);
                self.messages.release(unacked.entry.message);
            }
        }
        self.wake_channel(channel);
        self.deliver_pass();
        Ok(())
    }

    /// Rejects a delivery, or with `multiple` all up to it (`basic.nack`): back to its place in
    /// the queue, or away. `PRECONDITION_FAILED` for a tag that is not outstanding.
    pub fn nack(
        &mut self,
        channel: ChannelId,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
    ) -> Result<()> {
        if !multiple {
            let state = self.channel_mut(channel)?;
            let unacked = state.unacked.take(delivery_tag).ok_or_else(|| unknown(delivery_tag))?;
            self.turn_down(channel, unacked, requeue);
        } else {
            let last = self.last_of(channel, delivery_tag)?;
            let mut refused = Vec::new();
            while let Some(unacked) = self.channels[channel].unacked.take_first(last) {
                refused.push(unacked);
            }
            // To the queue the last goes first, so that each finds its place at the head; what is
            // given up keeps its order.
            if requeue {
                refused.reverse();
            }
            for unacked in refused {
                self.turn_down(channel, unacked, requeue);
            }
        }
        self.wake_channel(channel);
        self.deliver_pass();
        Ok(())
    }

    /// Rejects one delivery (`basic.reject`).
    pub fn reject(&mut self, channel: ChannelId, delivery_tag: u64, requeue: bool) -> Result<()> {
        self.nack(channel, delivery_tag, false, requeue)
    }

    fn turn_down(&mut self, channel: ChannelId, unacked: Unacked, requeue: bool) {
        self.settle(channel, &unacked);
        if requeue {
            self.requeue(unacked);
        } else {
            self.messages.release(unacked.entry.message);
        }
    }

    /// A delivery is no longer outstanding: makes room where it took some.
    #[inline]
    pub(crate) fn settle(&mut self, channel: ChannelId, unacked: &Unacked) {
        if let Some(queue) = self.queues.get_mut(unacked.queue) {
            queue.unacked -= 1;
        }
        let Some(id) = unacked.consumer else { return };
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.outstanding -= 1;
        }
        if let Some(consumer) = self.consumers.get_mut(id) {
            consumer.unacked -= 1;
            if consumer.place == Place::Full {
                self.wake(&[id]);
            }
        }
    }

    /// Puts a message back into its queue, to be delivered again; if the queue has gone, so has
    /// the message.
    pub(crate) fn requeue(&mut self, unacked: Unacked) {
        let mut entry = unacked.entry;
        let message = self.messages.get(entry.message);
        let (priority, bytes) = (message.priority(), message.body().len() as u64);
        let Some(queue) = self.queues.get_mut(unacked.queue) else {
            self.messages.release(entry.message);
            return;
        };
        entry.returns = entry.returns.saturating_add(1);
        let priority = queue.level_of(priority);
        queue.ready.put_back(entry, priority, bytes);
        self.schedule(unacked.queue);
    }

    /// The last tag that a `multiple` covers. As in RabbitMQ the tag itself must be outstanding.
    fn last_of(&self, channel: ChannelId, delivery_tag: u64) -> Result<u64> {
        let state = self.channel(channel)?;
        match delivery_tag {
            0 => Ok(u64::MAX),
            tag if state.unacked.contains(tag) => Ok(tag),
            tag => Err(unknown(tag)),
        }
    }
}

#[cold]
fn unknown(delivery_tag: u64) -> Error {
    precondition_failed(format!("unknown delivery tag {delivery_tag}"))
}
