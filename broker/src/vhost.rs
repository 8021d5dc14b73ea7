//! Virtual hosts: worlds of exchanges and queues that do not see each other.
//!
//! Each is born with the default exchange and the `amq.` exchanges that every client may count on.

use crate::broker::Broker;
use crate::error::{Error, ErrorKind, Result, text};
use crate::exchange::{Exchange, ExchangeType};
use crate::ids::{ExchangeId, QueueId, VhostId};
use crate::names::{Name, NameMap};
use crate::value::Table;

pub(crate) struct Vhost {
    pub(crate) name: Name,
    pub(crate) queues: NameMap<QueueId>,
    pub(crate) exchanges: NameMap<ExchangeId>,
    pub(crate) default_exchange: ExchangeId,
}

/// The exchanges of a new virtual host (AMQP 0-9-1, section 3.1.3; RabbitMQ adds the last two).
const PREDECLARED: [(&str, ExchangeType, bool); 7] = [
    ("", ExchangeType::Direct, false),
    ("amq.direct", ExchangeType::Direct, false),
    ("amq.fanout", ExchangeType::Fanout, false),
    ("amq.topic", ExchangeType::Topic, false),
    ("amq.headers", ExchangeType::Headers, false),
    ("amq.match", ExchangeType::Headers, false),
    ("amq.rabbitmq.trace", ExchangeType::Topic, true),
];

impl Broker {
    /// Makes a virtual host with the exchanges that belong to every one; finds it if it is there.
    pub fn add_vhost(&mut self, name: &[u8]) -> VhostId {
        if let Some(&id) = self.vhost_names.get(name) {
            return id;
        }
        let vhost = self.vhosts.insert(Vhost {
            name: name.into(),
            queues: self.hash.map(),
            exchanges: self.hash.map(),
            default_exchange: ExchangeId::nowhere(),
        });
        self.vhost_names.insert(name.into(), vhost);
        for (exchange, kind, internal) in PREDECLARED {
            let is_default = exchange.is_empty();
            let mut entity = Exchange::new(vhost, exchange.as_bytes().into(), kind, self.hash);
            entity.durable = true;
            entity.internal = internal;
            entity.arguments = Table::new();
            if is_default {
                entity.make_default();
            }
            let id = self.exchanges.insert(entity);
            let vhost = &mut self.vhosts[vhost];
            vhost.exchanges.insert(exchange.as_bytes().into(), id);
            if is_default {
                vhost.default_exchange = id;
            }
        }
        vhost
    }

    /// Finds a virtual host by name; `NOT_ALLOWED` if there is none, as RabbitMQ answers
    /// `connection.open`.
    pub fn vhost(&self, name: &[u8]) -> Result<VhostId> {
        self.vhost_names.get(name).copied().ok_or_else(|| {
            Error::new(ErrorKind::NotAllowed, format!("vhost {} not found", text(name)))
        })
    }

    /// The names of all virtual hosts, in the order of their slots.
    pub fn vhosts(&self) -> impl Iterator<Item = (VhostId, &[u8])> {
        self.vhosts.iter().map(|(id, vhost)| (id, &*vhost.name))
    }
}
