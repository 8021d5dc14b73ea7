//! Messages as they come from the server: deliveries, answers to `get`, returns, and what became
//! of a message that was to be confirmed.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;

use super::Result;
use super::channel::Channel;
use super::core::Settle;
use crate::codec::{self, BasicProperties, Content, ShortStr, method::basic};

/// A message, as it was published.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Exchange, routing key and encoded properties, in one allocation.
    head: Box<[u8]>,
    exchange_len: u8,
    routing_key_len: u8,
    body: Bytes,
}

impl Message {
    pub(super) fn new(
        exchange: ShortStr<'_>,
        routing_key: ShortStr<'_>,
        content: Content<'_>,
    ) -> Message {
        let len = exchange.len() + routing_key.len() + content.properties.len();
        let mut head = Vec::with_capacity(len);
        head.extend_from_slice(&exchange);
        head.extend_from_slice(&routing_key);
        head.extend_from_slice(&content.properties);
        Message {
            head: head.into_boxed_slice(),
            exchange_len: exchange.len() as u8, // at most 255, as the next
            routing_key_len: routing_key.len() as u8,
            body: content.body.into_bytes(),
        }
    }

    /// The exchange that it was published to.
    #[must_use]
    pub fn exchange(&self) -> ShortStr<'_> {
        ShortStr::cut(&self.head[..self.exchange_len.into()])
    }

    /// The routing key that it was published with.
    #[must_use]
    pub fn routing_key(&self) -> ShortStr<'_> {
        let start = usize::from(self.exchange_len);
        ShortStr::cut(&self.head[start..start + usize::from(self.routing_key_len)])
    }

    /// The properties; read at each call.
    ///
    /// # Errors
    /// They are not what their flags announce: a broken publisher, which the server let pass.
    pub fn properties(&self) -> Result<BasicProperties<'_>, codec::Error> {
        BasicProperties::decode(
            &self.head[usize::from(self.exchange_len) + usize::from(self.routing_key_len)..],
        )
    }

    /// The body; to keep it costs no copy.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as text; what is not UTF-8 is shown as `�`.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// About what it takes in memory.
    pub(super) fn cost(&self) -> usize {
        /// The message itself, its place in two queues, and the allocator's rounding.
        const OVERHEAD: usize = 256;
        self.head.len() + self.body.len() + OVERHEAD
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("body", &format_args!("{} octets", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// A message delivered to a consumer, or fetched by `get`.
///
/// Unless the consumer takes without acknowledging, it is the server's until it is settled:
/// acknowledged, rejected, or negatively acknowledged. Dropping it settles nothing: the server
/// delivers it again once the channel or the connection has gone.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
    channel: Channel,
    consumer_tag: Rc<str>,
    delivery_tag: u64,
    /// Of which connection of this client's it is.
    epoch: u64,
    redelivered: bool,
    is_settled: Cell<bool>,
}

impl Delivery {
    #[allow(clippy::too_many_arguments, reason = "one place makes it, out of the wire's fields")]
    pub(super) fn new(
        message: Message,
        channel: Channel,
        consumer_tag: Rc<str>,
        delivery_tag: u64,
        redelivered: bool,
        epoch: u64,
        no_ack: bool,
    ) -> Delivery {
        let is_settled = Cell::new(no_ack);
        Delivery { message, channel, consumer_tag, delivery_tag, epoch, redelivered, is_settled }
    }

    /// The message. A delivery also has all of its methods.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The channel that it came on, to answer by.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The consumer's name; empty for what `get` fetched.
    #[must_use]
    pub fn consumer_tag(&self) -> &str {
        &self.consumer_tag
    }

    /// The server's name for this delivery, on its channel and connection.
    #[must_use]
    pub fn delivery_tag(&self) -> u64 {
        self.delivery_tag
    }

    /// Whether it has been delivered before, perhaps.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// Whether it came on a connection that has been lost since: the server will deliver it
    /// again, if it has to be acknowledged.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.channel.epoch() != self.epoch
    }

    /// Acknowledges it: the server may forget it.
    ///
    /// Does nothing for a delivery that [is stale](Self::is_stale).
    ///
    /// # Errors
    /// [`Error::AlreadySettled`](super::Error::AlreadySettled), or why its channel is closed.
    pub fn ack(&self) -> Result {
        self.settle(Settle::Ack { multiple: false })
    }

    /// Acknowledges it and all before it on its channel.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn ack_multiple(&self) -> Result {
        self.settle(Settle::Ack { multiple: true })
    }

    /// Refuses it: it goes back to its queue, or else is dropped or dead-lettered.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn reject(&self, requeue: bool) -> Result {
        self.settle(Settle::Reject { requeue })
    }

    /// Refuses it, and all before it on its channel if `multiple` (RabbitMQ's extension).
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn nack(&self, multiple: bool, requeue: bool) -> Result {
        self.settle(Settle::Nack { multiple, requeue })
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.get()
    }

    fn settle(&self, how: Settle) -> Result {
        if self.is_settled.get() {
            return Err(super::Error::AlreadySettled);
        }
        self.channel.settle(self.epoch, self.delivery_tag, how)?;
        self.is_settled.set(true);
        Ok(())
    }
}

impl std::ops::Deref for Delivery {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// What `get` fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The message.
    pub delivery: Delivery,
    /// Messages that are still ready in the queue.
    pub message_count: u32,
}

/// A message that the server has sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Returned {
    /// The message.
    pub message: Message,
    /// The reply code's number: 312 if no queue got it.
    pub code: u16,
    /// Why, in words: `NO_ROUTE`.
    pub text: String,
}

impl Returned {
    pub(super) fn new(returned: &basic::Return<'_>, content: Content<'_>) -> Returned {
        Returned {
            message: Message::new(returned.exchange, returned.routing_key, content),
            code: returned.reply_code,
            text: returned.reply_text.to_string(),
        }
    }
}

/// What became of a message that was to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirmation {
    /// The server has taken charge of it.
    Acked,
    /// The server could not take charge of it.
    Nacked,
    /// It was mandatory, and no queue got it.
    Returned(Box<Returned>),
}

impl Confirmation {
    /// Whether the server has taken charge of it, and routed it if it was mandatory.
    #[must_use]
    pub fn is_acked(&self) -> bool {
        *self == Confirmation::Acked
    }
}

/// A queue that was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeclaredQueue {
    /// Its name: the server's choice if it was given none. A server's choice changes with a
    /// reconnection; this client still knows the queue by the name that stands here.
    pub name: String,
    /// Messages that are ready.
    pub message_count: u32,
    /// Consumers.
    pub consumer_count: u32,
}
