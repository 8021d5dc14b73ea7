//! The `x-` arguments of a queue that mean something: checked once, when it is declared.
//!
//! The texts are RabbitMQ's, which prints Erlang terms. Arguments that are not known are accepted.

use std::fmt::Display;

use crate::error::{Error, Resource, Result, precondition_failed};
use crate::names::Name;
use crate::queue::QueueDeclare;
use crate::value::{Table, Value};

/// The arguments that two declarations of a queue must agree on.
pub(crate) const ARGUMENTS: [&str; 14] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-max-in-memory-length",
];

/// The longest time that RabbitMQ's timers take, in milliseconds: 2^32 - 1, some 49 days.
pub(crate) const MAX_EXPIRY: i64 = 4_294_967_295;

/// What a queue's arguments ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Settings {
    /// Milliseconds a message may wait.
    pub(crate) message_ttl: Option<u64>,
    /// Milliseconds the queue may go unused.
    pub(crate) expires: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) max_length_bytes: Option<u64>,
    pub(crate) overflow: Overflow,
    pub(crate) dead_letter: Option<DeadLetter>,
    pub(crate) max_priority: u8,
    pub(crate) single_active_consumer: bool,
    /// Declared as a quorum queue: durable, with a count of deliveries.
    pub(crate) quorum: bool,
    /// How often a message may come back to a quorum queue.
    pub(crate) delivery_limit: Option<u64>,
}

/// What a full queue does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Overflow {
    #[default]
    DropHead,
    RejectPublish,
    RejectPublishDeadLetter,
}

/// Where messages go that a queue gives up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeadLetter {
    pub(crate) exchange: Name,
    pub(crate) routing_key: Option<Name>,
}

impl Settings {
    /// Reads and checks the arguments of a declaration; `None` if none of them matters.
    pub(crate) fn parse(
        queue: Resource<'_>,
        declare: &QueueDeclare<'_>,
    ) -> Result<Option<Box<Settings>>> {
        let read = Reader { queue, arguments: declare.arguments };
        let dead_letter =
            match (read.text("x-dead-letter-exchange")?, read.text("x-dead-letter-routing-key")?) {
                (Some(exchange), routing_key) => Some(DeadLetter { exchange, routing_key }),
                (None, Some(_)) => {
                    let reason = "routing_key_but_no_dlx_defined";
                    return Err(read.invalid("x-dead-letter-routing-key", reason));
                }
                (None, None) => None,
            };
        let quorum = match read.text("x-queue-type")?.as_deref() {
            None | Some(b"classic") => false,
            Some(b"quorum") => true,
            Some(_) => return Err(read.invalid("x-queue-type", "invalid_queue_type")),
        };
        if quorum && !declare.durable {
            let text = format!("invalid property 'non-durable' for {queue}");
            return Err(precondition_failed(text));
        }
        if quorum && declare.exclusive {
            let text = format!("invalid property 'exclusive-owner' for {queue}");
            return Err(precondition_failed(text));
        }
        let settings = Settings {
            message_ttl: read.milliseconds("x-message-ttl")?,
            expires: read.expires()?,
            max_length: read.count("x-max-length")?,
            max_length_bytes: read.count("x-max-length-bytes")?,
            overflow: read.overflow()?,
            dead_letter,
            max_priority: read.max_priority()?,
            single_active_consumer: read.flag("x-single-active-consumer")?,
            quorum,
            delivery_limit: read.count("x-delivery-limit")?,
        };
        Ok((settings != Settings::default()).then(|| Box::new(settings)))
    }
}

struct Reader<'a> {
    queue: Resource<'a>,
    arguments: &'a Table,
}

impl Reader<'_> {
    fn invalid(&self, name: &str, reason: impl Display) -> Error {
        let queue = self.queue;
        precondition_failed(format!("invalid arg '{name}' for {queue}: {reason}"))
    }

    fn unacceptable(&self, name: &str, value: &Value) -> Error {
        self.invalid(name, format_args!("{{unacceptable_type,{}}}", value.type_name()))
    }

    fn integer(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.arguments.get(name) else { return Ok(None) };
        match value.as_integer() {
            Some(number) => Ok(Some(number)),
            None => {
                let type_name = value.type_name();
                Err(self.invalid(name, format_args!("\"expected integer, got {type_name}\"")))
            }
        }
    }

    fn count(&self, name: &str) -> Result<Option<u64>> {
        let Some(number) = self.integer(name)? else { return Ok(None) };
        match u64::try_from(number) {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(self.invalid(name, format_args!("{{value_negative,{number}}}"))),
        }
    }

    fn milliseconds(&self, name: &str) -> Result<Option<u64>> {
        match self.integer(name)? {
            Some(number) if number > MAX_EXPIRY => {
                Err(self.invalid(name, format_args!("{{value_too_big,{number}}}")))
            }
            _ => self.count(name),
        }
    }

    fn expires(&self) -> Result<Option<u64>> {
        let name = "x-expires";
        match self.milliseconds(name)? {
            Some(0) => Err(self.invalid(name, "{value_zero,0}")),
            expires => Ok(expires),
        }
    }

    fn max_priority(&self) -> Result<u8> {
        let name = "x-max-priority";
        let Some(number) = self.count(name)? else { return Ok(0) };
        u8::try_from(number)
            .map_err(|_| self.invalid(name, format_args!("{{max_value_exceeded,{number}}}")))
    }

    fn text(&self, name: &str) -> Result<Option<Name>> {
        match self.arguments.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text[..].into())),
            Some(other) => Err(self.unacceptable(name, other)),
        }
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.arguments.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.unacceptable(name, other)),
        }
    }

    fn overflow(&self) -> Result<Overflow> {
        Ok(match self.text("x-overflow")?.as_deref() {
            None | Some(b"drop-head") => Overflow::DropHead,
            Some(b"reject-publish") => Overflow::RejectPublish,
            Some(b"reject-publish-dlx") => Overflow::RejectPublishDeadLetter,
            Some(_) => return Err(self.invalid("x-overflow", "invalid_overflow")),
        })
    }
}
