//! The `x-` arguments of a queue that mean something: checked once, when it is declared.
//!
//! The texts are RabbitMQ's, which prints Erlang terms. Arguments that are not known are accepted.

use std::fmt::Display;

use crate::error::{Error, Resource, Result, precondition_failed, text};
use crate::names::Name;
use crate::queue::QueueDeclare;
use crate::value::{Table, Value};

/// The arguments that two declarations of a classic queue must agree on, in RabbitMQ's order: of
/// several that differ, the first is told.
const CLASSIC: [&str; 13] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
];

/// Those of a quorum queue.
const QUORUM: [&str; 15] = [
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
];

/// What only queues of other types know (RabbitMQ's quorum queues and streams).
const NOT_FOR_CLASSIC: [&str; 8] = [
    "x-dead-letter-strategy",
    "x-delivery-limit",
    "x-initial-cluster-size",
    "x-max-age",
    "x-max-in-memory-bytes",
    "x-max-in-memory-length",
    "x-quorum-initial-group-size",
    "x-stream-max-segment-size-bytes",
];

/// What only queues of other types know (RabbitMQ's classic queues and streams).
const NOT_FOR_QUORUM: [&str; 7] = [
    "x-initial-cluster-size",
    "x-max-age",
    "x-max-priority",
    "x-queue-master-locator",
    "x-queue-mode",
    "x-queue-version",
    "x-stream-max-segment-size-bytes",
];

/// The longest time that RabbitMQ takes, in milliseconds: ten years.
pub(crate) const MAX_EXPIRY: i64 = 315_360_000_000;

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
        // In RabbitMQ's order: of several that are wrong, the first is told.
        let quorum = read.is_quorum()?;
        let expires = read.expires()?;
        let message_ttl = read.milliseconds("x-message-ttl")?;
        let dead_letter =
            match (read.text("x-dead-letter-exchange")?, read.text("x-dead-letter-routing-key")?) {
                (Some(exchange), routing_key) => Some(DeadLetter { exchange, routing_key }),
                (None, Some(_)) => {
                    let reason = "routing_key_but_no_dlx_defined";
                    return Err(read.invalid("x-dead-letter-routing-key", reason));
                }
                (None, None) => None,
            };
        let max_length = read.count("x-max-length")?;
        let max_length_bytes = read.count("x-max-length-bytes")?;
        // What only one type knows is read for that type: to another it is a wrong argument.
        let max_priority = if quorum { 0 } else { read.max_priority()? };
        let overflow = read.overflow()?;
        if !quorum {
            read.check_mode_and_version()?;
        }
        let single_active_consumer = read.flag("x-single-active-consumer")?;
        let delivery_limit = if quorum { read.count("x-delivery-limit")? } else { None };
        read.refuse_other_types(quorum)?;
        if quorum {
            refuse_properties(queue, declare)?;
        }
        let settings = Settings {
            message_ttl,
            expires,
            max_length,
            max_length_bytes,
            overflow,
            dead_letter,
            max_priority,
            single_active_consumer,
            quorum,
            delivery_limit,
        };
        Ok((settings != Settings::default()).then(|| Box::new(settings)))
    }
}

/// The arguments that declarations of a queue of these settings must agree on.
pub(crate) fn compared(settings: Option<&Settings>) -> &'static [&'static str] {
    match settings.is_some_and(|settings| settings.quorum) {
        true => &QUORUM,
        false => &CLASSIC,
    }
}

/// The priority that a consumer's arguments ask for, 0 if they do not, once RabbitMQ's checks of
/// those arguments have passed.
pub(crate) fn consumer_priority(
    queue: Resource<'_>,
    quorum: bool,
    arguments: &Table,
) -> Result<i32> {
    let read = Reader { queue, arguments };
    let priority = read.integer("x-priority")?.unwrap_or(0);
    let refused: &[&str] = match quorum {
        true => &["x-cancel-on-ha-failover", "x-stream-offset"],
        false => &["x-stream-offset"],
    };
    if !quorum {
        read.flag("x-cancel-on-ha-failover")?;
    }
    read.refuse(refused, quorum)?;
    Ok(priority.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
}

/// What a quorum queue cannot be.
fn refuse_properties(queue: Resource<'_>, declare: &QueueDeclare<'_>) -> Result<()> {
    for (refused, property) in [
        (declare.auto_delete, "auto-delete"),
        (declare.exclusive, "exclusive-owner"),
        (!declare.durable, "non-durable"),
    ] {
        if refused {
            return Err(precondition_failed(format!("invalid property '{property}' for {queue}")));
        }
    }
    Ok(())
}

/// A quorum queue's name is somebody's choice: it outlives whoever would know a made one.
pub(crate) fn check_server_named(arguments: &Table) -> Result<()> {
    match arguments.get("x-queue-type").and_then(Value::as_text) {
        Some(b"quorum") => Err(precondition_failed(
            "Cannot declare a server-named queue for type rabbit_quorum_queue",
        )),
        _ => Ok(()),
    }
}

/// A dead-letter exchange is looked at before all other arguments.
pub(crate) fn check_dead_letter_type(queue: Resource<'_>, arguments: &Table) -> Result<()> {
    let name = "x-dead-letter-exchange";
    match arguments.get(name) {
        None | Some(Value::String(_)) => Ok(()),
        Some(other) => Err(precondition_failed(format!(
            "invalid type '{}' for arg '{name}' in {queue}",
            other.type_name()
        ))),
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

    fn is_quorum(&self) -> Result<bool> {
        let name = "x-queue-type";
        match self.text(name)?.as_deref() {
            None | Some(b"classic") => Ok(false),
            Some(b"quorum") => Ok(true),
            Some(other) => {
                let other = text(other);
                Err(self.invalid(name, format_args!("\"unsupported queue type '{other}'\"")))
            }
        }
    }

    /// Arguments that mean something to another type of queue, and nothing to this one.
    fn refuse_other_types(&self, quorum: bool) -> Result<()> {
        self.refuse(if quorum { &NOT_FOR_QUORUM } else { &NOT_FOR_CLASSIC }, quorum)
    }

    /// Refuses the first argument that is one of `refused`.
    fn refuse(&self, refused: &[&str], quorum: bool) -> Result<()> {
        let named = if quorum { "rabbit_quorum_queue" } else { "rabbit_classic_queue" };
        let is_refused = |name: &[u8]| refused.iter().any(|it| it.as_bytes() == name);
        match self.arguments.iter().find(|(name, _)| is_refused(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let (queue, name) = (self.queue, text(name));
                let text = format!("invalid arg '{name}' for {queue} of queue type {named}");
                Err(precondition_failed(text))
            }
        }
    }

    /// They say how RabbitMQ stores a classic queue, and nothing to this broker.
    fn check_mode_and_version(&self) -> Result<()> {
        let name = "x-queue-mode";
        match self.text(name)?.as_deref() {
            None | Some(b"default" | b"lazy") => {}
            Some(other) => {
                let other = text(other);
                let reason = format_args!("\"unsupported queue mode '{other}'\"");
                return Err(self.invalid(name, reason));
            }
        }
        let name = "x-queue-version";
        match self.count(name)? {
            None | Some(1 | 2) => Ok(()),
            Some(other) => {
                let reason = format_args!("\"unsupported queue version '{other}'\"");
                Err(self.invalid(name, reason))
            }
        }
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
                Err(self.invalid(name, format_args!("{{value_too_large,{number}}}")))
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
