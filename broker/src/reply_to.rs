//! Direct reply-to: answers straight to the channel that asked, with no queue between.
//!
//! A channel consumes from the pseudo-queue `amq.rabbitmq.reply-to`; what it publishes with that
//! name as reply-to carries a secret address instead, and what is published to that address
//! through the default exchange is delivered to the channel, or to nobody once that has gone.

use crate::broker::Broker;
use crate::consumer::Consume;
use crate::error::{Result, not_found, precondition_failed};
use crate::ids::ChannelId;
use crate::message::Publish;
use crate::messages::MessageId;
use crate::names::Name;
use crate::queue::QueueStatus;
use crate::seams::PropertyEdit;

/// The pseudo-queue.
const NAME: &[u8] = b"amq.rabbitmq.reply-to";

/// The consumer of replies of a channel.
pub(crate) struct ReplyConsumer {
    pub(crate) tag: Name,
    /// The routing key that reaches it.
    address: Name,
}

/// Whether a name is the pseudo-queue's or might be an address.
pub(crate) fn is_reply_name(name: &[u8]) -> bool {
    name.starts_with(NAME)
}

/// Whether a message so published may be a direct reply.
pub(crate) fn is_reply(exchange: &[u8], routing_key: &[u8]) -> bool {
    exchange.is_empty() && is_reply_name(routing_key)
}

impl Broker {
    /// `basic.consume` on the pseudo-queue.
    pub(crate) fn consume_replies(
        &mut self,
        channel: ChannelId,
        consume: &Consume<'_>,
    ) -> Result<&[u8]> {
        if !consume.no_ack {
            return Err(precondition_failed("reply consumer cannot acknowledge"));
        }
        if self.channel(channel)?.reply.is_some() {
            return Err(precondition_failed("reply consumer already set"));
        }
        let tag: Name = match consume.consumer_tag.is_empty() {
            true => self.make_name("amq.ctag-"),
            false => consume.consumer_tag.into(),
        };
        let address = self.make_name("amq.rabbitmq.reply-to.");
        self.replies.insert(address.clone(), channel);
        let reply = &mut self.channels[channel].reply;
        Ok(&reply.insert(ReplyConsumer { tag, address }).tag)
    }

    /// The channel's consumer of replies ends.
    pub(crate) fn end_replies(&mut self, channel: ChannelId) {
        if let Some(reply) = self.channels.get_mut(channel).and_then(|state| state.reply.take()) {
            self.replies.remove(&reply.address);
        }
    }

    /// `queue.declare` of the pseudo-queue or an address only asks whether it is there.
    pub(crate) fn declare_reply_name(
        &self,
        channel: ChannelId,
        name: &[u8],
    ) -> Result<QueueStatus<'_>> {
        let found = match self.replies.get_key_value(name) {
            Some((name, _)) => Some(&**name),
            None => (name == NAME).then_some(NAME),
        };
        match found {
            Some(name) => Ok(QueueStatus { name, message_count: 0, consumer_count: 1 }),
            None => Err(not_found(self.queue_resource(self.channel(channel)?.vhost, name))),
        }
    }

    /// The properties with the channel's address in place of the pseudo-queue's name, if they
    /// ask for replies there.
    pub(crate) fn address_replies(
        &self,
        channel: ChannelId,
        publish: &Publish<'_>,
    ) -> Result<Option<Vec<u8>>> {
        if publish.properties.reply_to != Some(NAME) {
            return Ok(None);
        }
        let Some(reply) = &self.channel(channel)?.reply else {
            return Err(precondition_failed("fast reply consumer does not exist"));
        };
        let edit = PropertyEdit { reply_to: Some(&reply.address), ..PropertyEdit::default() };
        Ok(Some(self.codec.edit(publish.properties.raw, &edit)))
    }

    /// Delivers a message, of which the caller hands over one reference, if it is a reply;
    /// `false`, and the reference is the caller's again, if it leads nowhere (any more).
    pub(crate) fn deliver_reply(&mut self, id: MessageId) -> bool {
        let message = self.messages.get(id);
        if !is_reply(message.exchange(), message.routing_key()) {
            return false;
        }
        let Some(&channel) = self.replies.get(message.routing_key()) else { return false };
        let Some(state) = self.channels.get_mut(channel) else { return false };
        state.last_tag += 1;
        let tag = state.last_tag;
        self.outbox.reply(channel, tag, id);
        true
    }
}
