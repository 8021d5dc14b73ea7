//! Fetching, acknowledging and rejecting: what a client does with single messages.
//!
//! Deliveries and fetched messages share one row of tags on their channel, from 1 on.

use crate::access::Access;
use crate::backlog::NEVER;
use crate::broker::Broker;
use crate::channel::Mode;
use crate::consumer::Place;
use crate::dead_letter::Reason;
use crate::error::{Error, ErrorKind, Result, precondition_failed};
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
    /// How often it came back, 0 too, if it is from a quorum queue, whose messages say so in their
    /// `x-delivery-count` header.
    pub delivery_count: Option<u32>,
    /// How many messages are still ready in the queue.
    pub message_count: usize,
    /// The message.
    pub message: &'a Message,
}

/// What [`Broker::get`] found.
#[derive(Debug)]
pub enum Fetch<'a> {
    /// The first ready message.
    Message(Fetched<'a>),
    /// The queue is empty (`basic.get-empty`).
    Empty,
    /// The first message is in the store, or what must be known of it is not stored yet: ask
    /// again after the next [`Broker::loaded`] or [`Broker::stored`]. Only with a journal.
    Loading,
}

impl<'a> Fetch<'a> {
    /// The message, if there is one now.
    pub fn message(self) -> Option<Fetched<'a>> {
        match self {
            Fetch::Message(fetched) => Some(fetched),
            Fetch::Empty | Fetch::Loading => None,
        }
    }
}

/// What a client makes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    /// Back to its place in the queue.
    Requeued,
    /// Away, to the dead-letter exchange if there is one.
    Rejected,
}

impl Broker {
    /// Fetches the first ready message of a queue (`basic.get`). Prefetch limits do not apply.
    /// `RESOURCE_LOCKED` for a quorum queue with a single active consumer, as in RabbitMQ.
    pub fn get(&mut self, channel: ChannelId, queue: &[u8], no_ack: bool) -> Result<Fetch<'_>> {
        let queue = self.use_queue(channel, queue, Access::Read)?;
        let state = &self.queues[queue];
        if state.is_quorum() && state.feeds_one() {
            return Err(Error::new(
                ErrorKind::ResourceLocked,
                format!(
                    "cannot obtain access to locked {}. basic.get operations are not supported by \
                     quorum queues with single active consumer",
                    self.resource_of(queue)
                ),
            ));
        }
        self.touch(queue);
        self.drop_expired(queue);
        self.send_letters();
        if self.queues[queue].is_paged() {
            self.want_head(queue);
        }
        if self.queues[queue].store.is_some() && self.must_wait(queue) {
            return Ok(Fetch::Loading);
        }
        let Some(entry) = self.take_ready(queue) else {
            let is_paged = self.queues[queue].is_paged();
            return Ok(if is_paged { Fetch::Loading } else { Fetch::Empty });
        };
        let state = &mut self.channels[channel];
        state.last_tag += 1;
        let tag = state.last_tag;
        if !no_ack {
            self.messages.retain(entry.message);
            self.queues[queue].unacked += 1;
            state.unacked.push(Unacked { tag, entry, queue, consumer: None });
        } else {
            self.end_acknowledged(queue, &entry);
        }
        self.hold(entry.message);
        // What has expired behind it is not among those that are left.
        self.drop_expired(queue);
        self.send_letters();
        Ok(Fetch::Message(Fetched {
            delivery_tag: tag,
            redelivered: entry.returns.redelivered(),
            delivery_count: self.queues[queue].is_quorum().then_some(entry.returns.count()),
            message_count: self.queues[queue].ready_count(),
            message: self.messages.get(entry.message),
        }))
    }

    /// Acknowledges a delivery, or with `multiple` all up to it; 0 and `multiple` is all
    /// (`basic.ack`). `PRECONDITION_FAILED` for a tag that is not outstanding.
    pub fn ack(&mut self, channel: ChannelId, delivery_tag: u64, multiple: bool) -> Result<()> {
        self.end_deliveries(channel, delivery_tag, multiple, Fate::Acknowledged)
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
        let fate = if requeue { Fate::Requeued } else { Fate::Rejected };
        self.end_deliveries(channel, delivery_tag, multiple, fate)
    }

    /// Rejects one delivery (`basic.reject`).
    pub fn reject(&mut self, channel: ChannelId, delivery_tag: u64, requeue: bool) -> Result<()> {
        self.nack(channel, delivery_tag, false, requeue)
    }

    fn end_deliveries(
        &mut self,
        channel: ChannelId,
        delivery_tag: u64,
        multiple: bool,
        fate: Fate,
    ) -> Result<()> {
        if !multiple {
            let state = self.channel_mut(channel)?;
            let unacked = state.unacked.take(delivery_tag).ok_or_else(|| unknown(delivery_tag))?;
            self.end_or_defer(channel, unacked, fate);
        } else {
            let last = self.last_of(channel, delivery_tag)?;
            if fate == Fate::Requeued {
                // The last goes first, so that each finds its place at the head.
                let mut back = Vec::new();
                while let Some(unacked) = self.channels[channel].unacked.take_first(last) {
                    back.push(unacked);
                }
                for unacked in back.into_iter().rev() {
                    self.end_or_defer(channel, unacked, fate);
                }
            } else {
                while let Some(unacked) = self.channels[channel].unacked.take_first(last) {
                    self.end_or_defer(channel, unacked, fate);
                }
            }
        }
        self.wake_channel(channel);
        // Acknowledgements come in hundreds. The room that they make is filled when the outbox is
        // drained, in one pass for all of them.
        if fate != Fate::Acknowledged || self.journal.is_some() {
            self.finish();
        }
        Ok(())
    }

    #[inline]
    fn end_or_defer(&mut self, channel: ChannelId, unacked: Unacked, fate: Fate) {
        match &mut self.channels[channel].mode {
            Mode::Transaction(transaction) => transaction.settled.push((unacked, fate)),
            _ => self.end_delivery(channel, unacked, fate),
        }
    }

    /// Lets a delivery that the channel has given up meet its fate.
    #[inline]
    pub(crate) fn end_delivery(&mut self, channel: ChannelId, unacked: Unacked, fate: Fate) {
        self.settle(channel, &unacked);
        match fate {
            Fate::Acknowledged => {
                self.end_acknowledged(unacked.queue, &unacked.entry);
                self.messages.release(unacked.entry.message);
            }
            Fate::Requeued => self.requeue(unacked),
            Fate::Rejected => {
                self.give_up(unacked.queue, unacked.entry, Reason::Rejected);
            }
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
        entry.returns = entry.returns.one_more();
        if queue.is_over_delivery_limit(entry.returns.count()) {
            self.give_up(unacked.queue, entry, Reason::DeliveryLimit);
            return;
        }
        if let Some(store) = &mut queue.store {
            // The new head may be one that needs no lease.
            store.lease.waits = false;
        }
        let counts_stored = queue.is_quorum() && entry.returns.is_stored();
        let priority = queue.level_of(priority);
        queue.ready.put_back(entry, priority, bytes);
        // It may be the first here that ever could: others went straight to a consumer.
        queue.may_expire |= entry.expires != NEVER;
        let may_expire = queue.may_expire;
        if may_expire || queue.settings.is_some() {
            self.overfull.push(unacked.queue);
        }
        if may_expire {
            self.set_alarm(unacked.queue);
        }
        if counts_stored {
            self.journal_return(unacked.queue, &entry);
        }
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
