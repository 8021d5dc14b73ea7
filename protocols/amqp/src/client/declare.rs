//! What can be asked of a channel, as values that are built by chaining: queues and exchanges to
//! declare, bindings, consumers, messages to publish.

use super::Properties;
use crate::codec::method::{exchange, queue};
use crate::codec::{ShortStr, TableBuf, Value};

/// A queue to declare.
///
/// ```
/// # use ropewalk_amqp::client::QueueDeclare;
/// let queue = QueueDeclare::named("tasks").durable().argument("x-max-length", 1000_i32);
/// let mine = QueueDeclare::server_named().exclusive();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueDeclare {
    pub(super) queue: String,
    pub(super) passive: bool,
    pub(super) durable: bool,
    pub(super) exclusive: bool,
    pub(super) auto_delete: bool,
    pub(super) arguments: TableBuf,
}

impl QueueDeclare {
    /// A queue of this name.
    #[must_use]
    pub fn named(queue: impl Into<String>) -> QueueDeclare {
        QueueDeclare { queue: queue.into(), ..QueueDeclare::default() }
    }

    /// A queue that the server gives a name. After a reconnection it has another one: see
    /// [`Connection::current_name`](super::Connection::current_name).
    #[must_use]
    pub fn server_named() -> QueueDeclare {
        QueueDeclare::default()
    }

    /// Only asks whether it is there; if not, the channel is closed with 404.
    #[must_use]
    pub fn passive(mut self) -> Self {
        self.passive = true;
        self
    }

    /// Outlives a restart of the server.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// A queue of the type that RabbitMQ replicates (`x-queue-type: quorum`); always durable.
    #[must_use]
    pub fn quorum(self) -> Self {
        self.durable().argument("x-queue-type", "quorum")
    }

    /// Only for this connection, and gone with it; declared again after a reconnection.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Goes with its last consumer.
    #[must_use]
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// An argument such as `x-message-ttl`.
    ///
    /// # Panics
    /// As [`TableBuf::with`]: if the name does not fit.
    #[must_use]
    pub fn argument<'v>(mut self, name: &str, value: impl Into<Value<'v>>) -> Self {
        self.arguments = self.arguments.with(name, value);
        self
    }

    /// All arguments at once.
    #[must_use]
    pub fn arguments(mut self, arguments: TableBuf) -> Self {
        self.arguments = arguments;
        self
    }
}

/// An exchange to declare.
///
/// ```
/// # use ropewalk_amqp::client::ExchangeDeclare;
/// let exchange = ExchangeDeclare::topic("logs").durable();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeDeclare {
    pub(super) exchange: String,
    pub(super) kind: String,
    pub(super) passive: bool,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) internal: bool,
    pub(super) arguments: TableBuf,
}

impl ExchangeDeclare {
    /// An exchange of any type that the server knows.
    #[must_use]
    pub fn of_type(exchange: impl Into<String>, kind: impl Into<String>) -> ExchangeDeclare {
        ExchangeDeclare {
            exchange: exchange.into(),
            kind: kind.into(),
            passive: false,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: TableBuf::new(),
        }
    }

    /// Routes by the whole routing key.
    #[must_use]
    pub fn direct(exchange: impl Into<String>) -> ExchangeDeclare {
        Self::of_type(exchange, "direct")
    }

    /// Routes to all that is bound to it.
    #[must_use]
    pub fn fanout(exchange: impl Into<String>) -> ExchangeDeclare {
        Self::of_type(exchange, "fanout")
    }

    /// Routes by patterns of words: `*.error.#`.
    #[must_use]
    pub fn topic(exchange: impl Into<String>) -> ExchangeDeclare {
        Self::of_type(exchange, "topic")
    }

    /// Routes by the message's headers.
    #[must_use]
    pub fn headers(exchange: impl Into<String>) -> ExchangeDeclare {
        Self::of_type(exchange, "headers")
    }

    /// Only asks whether it is there; if not, the channel is closed with 404.
    #[must_use]
    pub fn passive(mut self) -> Self {
        self.passive = true;
        self
    }

    /// Outlives a restart of the server.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Goes with its last binding.
    #[must_use]
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// Takes messages only from other exchanges.
    #[must_use]
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// An argument such as `alternate-exchange`.
    ///
    /// # Panics
    /// As [`TableBuf::with`]: if the name does not fit.
    #[must_use]
    pub fn argument<'v>(mut self, name: &str, value: impl Into<Value<'v>>) -> Self {
        self.arguments = self.arguments.with(name, value);
        self
    }
}

/// How to consume.
///
/// ```
/// # use ropewalk_amqp::client::ConsumeOptions;
/// let options = ConsumeOptions::new().exclusive().argument("x-priority", 10_i32);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumeOptions {
    pub(super) tag: String,
    pub(super) no_ack: bool,
    pub(super) no_local: bool,
    pub(super) exclusive: bool,
    pub(super) arguments: TableBuf,
}

impl ConsumeOptions {
    /// Deliveries have to be acknowledged, and others may consume from the queue too.
    #[must_use]
    pub fn new() -> ConsumeOptions {
        ConsumeOptions::default()
    }

    /// The consumer's name on the channel; otherwise the client chooses one.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = tag.into();
        self
    }

    /// A delivery counts as acknowledged once it is sent: it may get lost on the way.
    #[must_use]
    pub fn no_ack(mut self) -> Self {
        self.no_ack = true;
        self
    }

    /// None that this connection published; RabbitMQ takes no notice.
    #[must_use]
    pub fn no_local(mut self) -> Self {
        self.no_local = true;
        self
    }

    /// No other consumer beside this one.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// An argument such as `x-priority`.
    ///
    /// # Panics
    /// As [`TableBuf::with`]: if the name does not fit.
    #[must_use]
    pub fn argument<'v>(mut self, name: &str, value: impl Into<Value<'v>>) -> Self {
        self.arguments = self.arguments.with(name, value);
        self
    }
}

/// Where to publish, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publish<'a> {
    pub(super) exchange: &'a str,
    pub(super) routing_key: &'a str,
    pub(super) mandatory: bool,
    pub(super) properties: Properties,
}

impl<'a> Publish<'a> {
    /// To this exchange, with this routing key.
    #[must_use]
    pub fn to(exchange: &'a str, routing_key: &'a str) -> Publish<'a> {
        Publish { exchange, routing_key, ..Publish::default() }
    }

    /// To the queue of this name, by the default exchange.
    #[must_use]
    pub fn to_queue(queue: &'a str) -> Publish<'a> {
        Publish::to("", queue)
    }

    /// The server returns the message if no queue gets it.
    #[must_use]
    pub fn mandatory(mut self) -> Self {
        self.mandatory = true;
        self
    }

    /// The message's properties.
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }
}

// As methods. The names have been measured before they got here.

impl QueueDeclare {
    pub(super) fn method(&self) -> queue::Declare<'_> {
        queue::Declare {
            queue: ShortStr::cut(&self.queue),
            passive: self.passive,
            durable: self.durable,
            exclusive: self.exclusive,
            auto_delete: self.auto_delete,
            arguments: self.arguments.as_table(),
            ..Default::default()
        }
    }
}

impl ExchangeDeclare {
    pub(super) fn method(&self) -> exchange::Declare<'_> {
        exchange::Declare {
            exchange: ShortStr::cut(&self.exchange),
            exchange_type: ShortStr::cut(&self.kind),
            passive: self.passive,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: self.arguments.as_table(),
            ..Default::default()
        }
    }
}
