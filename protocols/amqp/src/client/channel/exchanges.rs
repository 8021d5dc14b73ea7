//! Exchanges: to declare, to delete, to bind to one another.

use ropewalk_reactor::Deferred;

use super::Channel;
use crate::client::declare::ExchangeDeclare;
use crate::client::requests::Request;
use crate::client::topology::Destination;
use crate::codec::method::exchange;
use crate::codec::{ShortStr, Table};

impl Channel {
    /// Declares an exchange.
    pub fn exchange_declare(&self, declare: ExchangeDeclare) -> Deferred<()> {
        let size = declare.arguments.as_table().as_bytes().len();
        let names = [("exchange's name", &*declare.exchange), ("exchange's type", &*declare.kind)];
        if let Err(error) = self.check(&names, size) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            let method = declare.method();
            core.request(number, &method, Request::DeclareExchange(declare.clone(), promise));
        })
    }

    /// Deletes an exchange, whether or not it is there; only if it has no bindings if `if_unused`.
    pub fn exchange_delete(&self, exchange: &str, if_unused: bool) -> Deferred<()> {
        if let Err(error) = self.check(&[("exchange's name", exchange)], 0) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            let name = ShortStr::cut(exchange);
            let method = exchange::Delete { exchange: name, if_unused, ..Default::default() };
            core.request(number, &method, Request::DeleteExchange(exchange.to_owned(), promise));
        })
    }

    /// Binds an exchange to another one (RabbitMQ's extension).
    pub fn exchange_bind(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: Table<'_>,
    ) -> Deferred<()> {
        let binding = match self.binding(
            Destination::Exchange,
            [destination, source, routing_key],
            arguments,
        ) {
            Ok(binding) => binding,
            Err(error) => return self.refused(&error),
        };
        self.ask(|core, number, promise| {
            let method = binding.exchange_method();
            core.request(number, &method, Request::BindExchange(binding.clone(), promise));
        })
    }

    /// Takes back such a binding.
    pub fn exchange_unbind(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: Table<'_>,
    ) -> Deferred<()> {
        let binding = match self.binding(
            Destination::Exchange,
            [destination, source, routing_key],
            arguments,
        ) {
            Ok(binding) => binding,
            Err(error) => return self.refused(&error),
        };
        self.ask(|core, number, promise| {
            let bound = binding.exchange_method();
            let method = exchange::Unbind {
                destination: bound.destination,
                source: bound.source,
                routing_key: bound.routing_key,
                arguments: bound.arguments,
                ..Default::default()
            };
            core.request(number, &method, Request::UnbindExchange(binding.clone(), promise));
        })
    }
}
