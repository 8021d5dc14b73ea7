//! The outbox: what must go out, in order, as small items that own their message's reference.
//!
//! Deliveries, returns and cancellations leave in the order in which calls made them; confirms
//! follow when those are out, so that a return always precedes its confirm and confirms coalesce.

use std::collections::VecDeque;
use std::time::Duration;

use crate::broker::Broker;
use crate::ids::{ChannelId, ConnectionId, ConsumerId, QueueId};
use crate::message::Message;
use crate::messages::MessageId;
use crate::names::Name;
use crate::returns::Returns;

/// Something that must go out on a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A message for a consumer (`basic.deliver`).
    Delivered(Delivery<'a>),
    /// A mandatory message that reached no queue (`basic.return`, 312 `NO_ROUTE`).
    Returned {
        /// Where it goes.
        to: Destination,
        /// The message.
        message: &'a Message,
    },
    /// Publishes taken over or refused (`basic.ack`, `basic.nack` from the server).
    Confirmed {
        /// Where it goes.
        to: Destination,
        /// The number of the publish, counted from 1 since the channel chose confirms.
        delivery_tag: u64,
        /// Whether it speaks for all before it, too.
        multiple: bool,
        /// Taken over, or refused.
        taken: bool,
    },
    /// A consumer that ended because its queue went (`basic.cancel` with `nowait`). Only for
    /// connections that said they understand it.
    Cancelled {
        /// Where it goes.
        to: Destination,
        /// The consumer's tag.
        consumer_tag: &'a [u8],
    },
    /// A channel has held a delivery for longer than
    /// [`Config::consumer_timeout`](crate::Config::consumer_timeout): it is to be closed with
    /// `PRECONDITION_FAILED`. As long as it stays open, this comes again.
    ConsumerTimedOut {
        /// The channel.
        to: Destination,
        /// The timeout.
        timeout: Duration,
    },
}

/// A message for a consumer.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Where it goes.
    pub to: Destination,
    /// The consumer's tag.
    pub consumer_tag: &'a [u8],
    /// The delivery's number on its channel, from 1.
    pub delivery_tag: u64,
    /// Whether it was handed out before and came back.
    pub redelivered: bool,
    /// How often it came back, if it did and is from a quorum queue, whose messages say so in
    /// their `x-delivery-count` header.
    pub delivery_count: Option<u32>,
    /// The message: exchange, routing key, properties and body.
    pub message: &'a Message,
}

/// The channel of a connection that an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The broker's id of the connection.
    pub connection: ConnectionId,
    /// The caller's own id of the connection, from [`OpenConnection`](crate::OpenConnection).
    pub key: u64,
    /// The channel's number.
    pub channel: u16,
}

#[derive(Default)]
pub(crate) struct Outbox {
    items: VecDeque<Item>,
    /// Deliveries in `items`, and the bytes of their bodies.
    deliveries: usize,
    bytes: u64,
    /// What the last event shows, released when the next one is asked for.
    held: Option<MessageId>,
    /// Consumers that ended while `items` may still speak of them.
    graves: Vec<(ConsumerId, Addressee)>,
    /// Channels with confirms to send.
    pub(crate) confirming: VecDeque<ChannelId>,
    /// Queues with something ready and a consumer who may have room, each once.
    pub(crate) runnable: VecDeque<QueueId>,
}

#[derive(Clone, Copy)]
enum Item {
    Deliver {
        consumer: ConsumerId,
        tag: u64,
        message: MessageId,
        /// Of the body, which is shorter than 4 GiB by far.
        bytes: u32,
        returns: Returns,
        counted: bool,
    },
    Reply {
        channel: ChannelId,
        tag: u64,
        message: MessageId,
    },
    Return {
        channel: ChannelId,
        message: MessageId,
    },
    /// The index of the grave.
    Cancel(u32),
    Confirm {
        channel: ChannelId,
        tag: u64,
        multiple: bool,
        taken: bool,
    },
    TimeOut {
        channel: ChannelId,
        /// The delivery that it holds for too long.
        tag: u64,
    },
}

/// Where a consumer's deliveries go.
pub(crate) struct Addressee {
    pub(crate) to: Destination,
    pub(crate) channel: ChannelId,
    pub(crate) tag: Name,
}

impl Outbox {
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        consumer: ConsumerId,
        tag: u64,
        message: MessageId,
        (returns, counted): (Returns, bool),
        bytes: u64,
    ) {
        self.deliveries += 1;
        self.bytes += bytes;
        let bytes = bytes as u32;
        self.items.push_back(Item::Deliver { consumer, tag, message, bytes, returns, counted });
    }

    pub(crate) fn reply(&mut self, channel: ChannelId, tag: u64, message: MessageId) {
        self.items.push_back(Item::Reply { channel, tag, message });
    }

    pub(crate) fn give_back(&mut self, channel: ChannelId, message: MessageId) {
        self.items.push_back(Item::Return { channel, message });
    }

    /// Remembers an ended consumer until the outbox has been drained, and tells its client if
    /// `notify`.
    pub(crate) fn bury(&mut self, consumer: ConsumerId, addressee: Addressee, notify: bool) {
        if notify {
            let grave = u32::try_from(self.graves.len()).expect("graves are ids, under 2^32");
            self.items.push_back(Item::Cancel(grave));
        }
        if !self.items.is_empty() {
            self.graves.push((consumer, addressee));
        }
    }

    pub(crate) fn time_out(&mut self, channel: ChannelId, tag: u64) {
        self.items.push_back(Item::TimeOut { channel, tag });
    }

    /// Whether the pass may go on.
    #[inline]
    pub(crate) fn has_room(&self, config: &crate::Config) -> bool {
        self.deliveries < config.pass_deliveries && self.bytes < config.pass_bytes
    }
}

impl Broker {
    /// The next thing to send, or `None` when nothing is left.
    ///
    /// It also goes on with deliveries that waited for room in the outbox, so the loop
    /// `while let Some(event) = broker.next_event()` ends only when every consumer that can take
    /// a message has had it. A caller that must be brief stops anywhere and asks again later;
    /// one whose connection fills up calls [`set_flow`](Broker::set_flow) in the middle.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        if let Some(message) = self.outbox.held.take() {
            self.messages.release(message);
        }
        loop {
            let item = self.next_item()?;
            // Two steps, since the borrow checker would not let the loop go round otherwise.
            if self.is_deliverable(&item) {
                return self.event(item);
            }
            if let Some(message) = self.outbox.held.take() {
                self.messages.release(message);
            }
        }
    }

    /// Whether [`next_event`](Broker::next_event) has anything to give.
    pub fn has_events(&self) -> bool {
        let outbox = &self.outbox;
        !(outbox.items.is_empty() && outbox.confirming.is_empty() && outbox.runnable.is_empty())
    }

    /// Whether the outbox takes more deliveries. Once it does not, what is published waits in the
    /// queues until it has been drained; a caller that drains it first saves the broker that.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.outbox.has_room(&self.config)
    }

    #[inline]
    fn next_item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.outbox.items.pop_front() {
                match item {
                    Item::Deliver { message, bytes, .. } => {
                        self.outbox.deliveries -= 1;
                        self.outbox.bytes -= u64::from(bytes);
                        self.outbox.held = Some(message);
                    }
                    Item::Return { message, .. } | Item::Reply { message, .. } => {
                        self.outbox.held = Some(message)
                    }
                    Item::Cancel(_) | Item::Confirm { .. } | Item::TimeOut { .. } => {}
                }
                return Some(item);
            }
            self.outbox.graves.clear();
            if let Some((channel, tag, multiple, taken)) = self.next_confirm() {
                return Some(Item::Confirm { channel, tag, multiple, taken });
            }
            self.finish();
            if self.outbox.items.is_empty() {
                return None;
            }
        }
    }

    /// Whether the item's consumer or channel is still there to be spoken to.
    #[inline]
    fn is_deliverable(&self, item: &Item) -> bool {
        match *item {
            Item::Deliver { consumer, .. } => self.addressee(consumer).is_some(),
            Item::Reply { channel, .. } => {
                self.channels.get(channel).is_some_and(|state| state.reply.is_some())
            }
            Item::Return { channel, .. } | Item::Confirm { channel, .. } => {
                self.channels.get(channel).is_some()
            }
            Item::Cancel(grave) => self.is_open(grave),
            // It may have acknowledged what it was told of for.
            Item::TimeOut { channel, tag } => self.still_holds(channel, tag),
        }
    }

    #[inline]
    fn event(&self, item: Item) -> Option<Event<'_>> {
        Some(match item {
            Item::Deliver { consumer, tag, message, returns, counted, .. } => {
                let addressee = self.addressee(consumer)?;
                Event::Delivered(Delivery {
                    to: addressee.to,
                    consumer_tag: &addressee.tag,
                    delivery_tag: tag,
                    redelivered: returns.redelivered(),
                    delivery_count: (counted && returns.count() > 0).then_some(returns.count()),
                    message: self.messages.get(message),
                })
            }
            Item::Reply { channel, tag, message } => Event::Delivered(Delivery {
                to: self.destination(channel)?,
                consumer_tag: &self.channels[channel].reply.as_ref()?.tag,
                delivery_tag: tag,
                redelivered: false,
                delivery_count: None,
                message: self.messages.get(message),
            }),
            Item::Return { channel, message } => Event::Returned {
                to: self.destination(channel)?,
                message: self.messages.get(message),
            },
            Item::Cancel(grave) => {
                let (_, addressee) = self.outbox.graves.get(grave as usize)?;
                Event::Cancelled { to: addressee.to, consumer_tag: &addressee.tag }
            }
            Item::Confirm { channel, tag, multiple, taken } => {
                let to = self.destination(channel)?;
                Event::Confirmed { to, delivery_tag: tag, multiple, taken }
            }
            Item::TimeOut { channel, .. } => Event::ConsumerTimedOut {
                to: self.destination(channel)?,
                timeout: self.config.consumer_timeout?,
            },
        })
    }

    #[inline]
    fn addressee(&self, consumer: ConsumerId) -> Option<&Addressee> {
        match self.consumers.get(consumer) {
            Some(consumer) => Some(&consumer.addressee),
            None => {
                let mut graves = self.outbox.graves.iter();
                let (_, addressee) = graves.find(|(id, _)| *id == consumer)?;
                self.channels.get(addressee.channel).map(|_| addressee)
            }
        }
    }

    /// Whether the channel of an ended consumer is still open.
    fn is_open(&self, grave: u32) -> bool {
        let grave = self.outbox.graves.get(grave as usize);
        grave.is_some_and(|(_, addressee)| self.channels.get(addressee.channel).is_some())
    }

    pub(crate) fn destination(&self, channel: ChannelId) -> Option<Destination> {
        let channel = self.channels.get(channel)?;
        let connection = self.connections.get(channel.connection)?;
        Some(Destination {
            connection: channel.connection,
            key: connection.key,
            channel: channel.number,
        })
    }

    /// Keeps `message`, whose reference the caller owns, alive until the next event is asked for.
    pub(crate) fn hold(&mut self, message: MessageId) {
        if let Some(old) = self.outbox.held.replace(message) {
            self.messages.release(old);
        }
    }
}
