//! Exchanges: what they are, declaring and deleting them.
//!
//! How one finds the queues of a message is its [`Router`]'s affair.

use crate::access::Access;
use crate::broker::Broker;
use crate::error::{
    Resource, ResourceKind, Result, access_refused, default_exchange, not_found,
    precondition_failed, text,
};
use crate::ids::{BindingId, ChannelId, ExchangeId, VhostId};
use crate::names::{Name, NameHash, strip_line_ends};
use crate::routing::Router;
use crate::value::{Table, Value};

/// How an exchange compares a message with its bindings (AMQP 0-9-1, section 3.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExchangeType {
    /// The routing key is the binding key.
    Direct,
    /// Every binding matches.
    Fanout,
    /// The binding key is a pattern of words: `*` is one, `#` any number.
    Topic,
    /// The binding's arguments are compared with the message's headers.
    Headers,
}

impl ExchangeType {
    /// The type of that name. `PRECONDITION_FAILED` for one that is not known, as in RabbitMQ 4.
    pub fn from_name(name: &[u8]) -> Result<ExchangeType> {
        Ok(match name {
            b"direct" => ExchangeType::Direct,
            b"fanout" => ExchangeType::Fanout,
            b"topic" => ExchangeType::Topic,
            b"headers" => ExchangeType::Headers,
            _ => {
                let text = format!("unknown exchange type '{}'", text(name));
                return Err(precondition_failed(text));
            }
        })
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ExchangeType::Direct => "direct",
            ExchangeType::Fanout => "fanout",
            ExchangeType::Topic => "topic",
            ExchangeType::Headers => "headers",
        }
    }
}

pub(crate) struct Exchange {
    pub(crate) vhost: VhostId,
    pub(crate) name: Name,
    pub(crate) kind: ExchangeType,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Table,
    /// Where messages go that no binding matches.
    pub(crate) alternate: Option<Name>,
    pub(crate) router: Router,
    /// Bindings from this exchange.
    pub(crate) outgoing: Vec<BindingId>,
    /// Bindings to this exchange.
    pub(crate) incoming: Vec<BindingId>,
    /// The last routing that came by: cycles end here.
    pub(crate) visited: u64,
}

impl Exchange {
    pub(crate) fn new(vhost: VhostId, name: Name, kind: ExchangeType, hash: NameHash) -> Exchange {
        Exchange {
            vhost,
            name,
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: Table::new(),
            alternate: None,
            router: Router::new(kind, hash),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            visited: 0,
        }
    }

    /// The default exchange routes by the names of queues and has no bindings.
    pub(crate) fn make_default(&mut self) {
        self.router = Router::Default;
    }
}

/// What [`Broker::declare_exchange`] takes (`exchange.declare`).
#[derive(Debug, Clone, Copy)]
pub struct ExchangeDeclare<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The type's name.
    pub kind: &'a [u8],
    /// Only ask whether it exists.
    pub passive: bool,
    /// It outlives a restart.
    pub durable: bool,
    /// It goes with the last of its bindings.
    pub auto_delete: bool,
    /// Clients cannot publish to it.
    pub internal: bool,
    /// `alternate-exchange`; others are kept and ignored.
    pub arguments: &'a Table,
}

/// RabbitMQ's argument for the exchange that gets what this one cannot route.
const ALTERNATE: &str = "alternate-exchange";

impl Broker {
    /// Declares an exchange, or checks that the one of that name is the same.
    pub fn declare_exchange(
        &mut self,
        channel: ChannelId,
        declare: &ExchangeDeclare<'_>,
    ) -> Result<()> {
        let vhost = self.channel(channel)?.vhost;
        let name = strip_line_ends(declare.name);
        if declare.passive {
            refuse_default(&name)?;
            self.permit_any(channel, ResourceKind::Exchange, &name)?;
            return self.find_exchange(vhost, &name).map(drop);
        }
        let kind = ExchangeType::from_name(declare.kind)?;
        refuse_default(&name)?;
        self.permit_exchange(channel, Access::Configure, &name)?;
        match self.find_exchange(vhost, &name) {
            Ok(found) => self.check_exchange(found, kind, declare),
            Err(_) => self.create_exchange(channel, &name, kind, declare),
        }
    }

    /// Deletes an exchange and its bindings; one that is not there is no error
    /// (`exchange.delete`).
    pub fn delete_exchange(
        &mut self,
        channel: ChannelId,
        name: &[u8],
        if_unused: bool,
    ) -> Result<()> {
        let vhost = self.channel(channel)?.vhost;
        let name = strip_line_ends(name);
        refuse_default(&name)?;
        if name.starts_with(b"amq.") {
            let exchange = self.exchange_resource(vhost, &name);
            return Err(access_refused(format!("deletion of system {exchange} not allowed")));
        }
        self.permit_exchange(channel, Access::Configure, &name)?;
        let Ok(exchange) = self.find_exchange(vhost, &name) else { return Ok(()) };
        if if_unused && !self.exchanges[exchange].outgoing.is_empty() {
            let exchange = self.exchange_resource(vhost, &name);
            return Err(precondition_failed(format!("{exchange} in use")));
        }
        self.remove_exchange(exchange);
        Ok(())
    }

    /// Finds an exchange by name, `NOT_FOUND` if there is none.
    pub(crate) fn find_exchange(&self, vhost: VhostId, name: &[u8]) -> Result<ExchangeId> {
        match self.vhosts[vhost].exchanges.get(name) {
            Some(&exchange) => Ok(exchange),
            None => Err(not_found(self.exchange_resource(vhost, name))),
        }
    }

    pub(crate) fn exchange_resource<'a>(&'a self, vhost: VhostId, name: &'a [u8]) -> Resource<'a> {
        Resource { kind: ResourceKind::Exchange, name, vhost: &self.vhosts[vhost].name }
    }

    /// Forgets an exchange with all bindings from and to it; exchanges that lived by those go too.
    pub(crate) fn remove_exchange(&mut self, exchange: ExchangeId) {
        self.journal_exchange_deleted(exchange);
        let Some(state) = self.exchanges.remove(exchange) else { return };
        self.vhosts[state.vhost].exchanges.remove(&state.name);
        for binding in state.outgoing {
            self.forget_binding_to(binding);
        }
        for binding in state.incoming {
            self.forget_binding_from(binding);
        }
    }

    fn create_exchange(
        &mut self,
        channel: ChannelId,
        name: &[u8],
        kind: ExchangeType,
        declare: &ExchangeDeclare<'_>,
    ) -> Result<()> {
        let vhost = self.channel(channel)?.vhost;
        check_reserved("exchange", name)?;
        let alternate = alternate_of(self.exchange_resource(vhost, name), declare.arguments)?;
        if let Some(alternate) = &alternate {
            self.permit_exchange(channel, Access::Read, name)?;
            self.permit_exchange(channel, Access::Write, alternate)?;
        }
        self.insert_exchange(vhost, name, kind, declare, alternate);
        Ok(())
    }

    /// An exchange of a name that is free.
    pub(crate) fn insert_exchange(
        &mut self,
        vhost: VhostId,
        name: &[u8],
        kind: ExchangeType,
        declare: &ExchangeDeclare<'_>,
        alternate: Option<Name>,
    ) {
        let mut exchange = Exchange::new(vhost, name.into(), kind, self.hash);
        exchange.durable = declare.durable;
        exchange.auto_delete = declare.auto_delete;
        exchange.internal = declare.internal;
        exchange.arguments = declare.arguments.clone();
        exchange.alternate = alternate;
        let id = self.exchanges.insert(exchange);
        self.vhosts[vhost].exchanges.insert(name.into(), id);
        self.journal_exchange(id);
    }

    fn check_exchange(
        &self,
        exchange: ExchangeId,
        kind: ExchangeType,
        declare: &ExchangeDeclare<'_>,
    ) -> Result<()> {
        let state = &self.exchanges[exchange];
        let resource = self.exchange_resource(state.vhost, &state.name);
        same(resource, "type", kind.name(), state.kind.name())?;
        same(resource, "durable", declare.durable, state.durable)?;
        same(resource, "auto_delete", declare.auto_delete, state.auto_delete)?;
        same(resource, "internal", declare.internal, state.internal)?;
        same_argument(resource, ALTERNATE, declare.arguments, &state.arguments)
    }
}

/// The alternate exchange that the arguments of a declaration name.
pub(crate) fn alternate_of(exchange: Resource<'_>, arguments: &Table) -> Result<Option<Name>> {
    match arguments.get(ALTERNATE) {
        None => Ok(None),
        Some(Value::String(alternate)) => Ok(Some(alternate[..].into())),
        Some(other) => {
            let type_name = other.type_name();
            Err(precondition_failed(format!(
                "invalid type '{type_name}' for arg '{ALTERNATE}' in {exchange}"
            )))
        }
    }
}

/// Nothing but publishing may be done with the default exchange.
pub(crate) fn refuse_default(name: &[u8]) -> Result<()> {
    if name.is_empty() { Err(default_exchange()) } else { Ok(()) }
}

/// New names must not begin with `amq.` (AMQP 0-9-1, section 1.7.2.1).
pub(crate) fn check_reserved(kind: &str, name: &[u8]) -> Result<()> {
    if !name.starts_with(b"amq.") {
        return Ok(());
    }
    let name = text(name);
    Err(access_refused(format!("{kind} name '{name}' contains reserved prefix 'amq.*'")))
}

/// Compares one property of a declaration with what is there.
pub(crate) fn same<T: PartialEq + std::fmt::Display>(
    resource: Resource<'_>,
    property: &str,
    received: T,
    current: T,
) -> Result<()> {
    if received == current {
        return Ok(());
    }
    Err(precondition_failed(format!(
        "inequivalent arg '{property}' for {resource}: received '{received}' but current is \
         '{current}'"
    )))
}

/// Compares one argument of a declaration with what is there; numbers compare by value.
pub(crate) fn same_argument(
    resource: Resource<'_>,
    name: &str,
    received: &Table,
    current: &Table,
) -> Result<()> {
    let (received, current) = (received.get(name), current.get(name));
    let show = |value: Option<&Value>| match value {
        None => "none".to_owned(),
        Some(value) => format!("the value '{value}' of type '{}'", value.type_name()),
    };
    let (received, current) = match (received, current) {
        (None, None) => return Ok(()),
        (Some(received), Some(current)) if received.equivalent(current) => return Ok(()),
        (Some(received), Some(current)) => (format!("'{received}'"), format!("'{current}'")),
        (received, current) => (show(received), show(current)),
    };
    Err(precondition_failed(format!(
        "inequivalent arg '{name}' for {resource}: received {received} but current is {current}"
    )))
}
