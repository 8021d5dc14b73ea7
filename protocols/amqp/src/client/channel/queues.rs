//! Queues: to declare, to bind, to purge, to delete. Wherever one is named, an empty name stands
//! for the last one declared on the channel.

use ropewalk_reactor::Deferred;

use super::Channel;
use crate::client::declare::QueueDeclare;
use crate::client::message::DeclaredQueue;
use crate::client::requests::Request;
use crate::client::topology::Destination;
use crate::codec::method::queue;
use crate::codec::{ShortStr, Table};

impl Channel {
    /// Declares a queue.
    pub fn queue_declare(&self, declare: QueueDeclare) -> Deferred<DeclaredQueue> {
        let size = declare.arguments.as_table().as_bytes().len();
        if let Err(error) = self.check(&[("queue's name", &*declare.queue)], size) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            let method = declare.method();
            core.request(number, &method, Request::DeclareQueue(declare.clone(), promise));
        })
    }

    /// Binds a queue to an exchange.
    pub fn queue_bind(&self, queue: &str, exchange: &str, routing_key: &str) -> Deferred<()> {
        self.queue_bind_with(queue, exchange, routing_key, Table::EMPTY)
    }

    /// As [`queue_bind`](Self::queue_bind), with arguments, as a headers exchange asks for.
    pub fn queue_bind_with(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: Table<'_>,
    ) -> Deferred<()> {
        let binding =
            match self.binding(Destination::Queue, [queue, exchange, routing_key], arguments) {
                Ok(binding) => binding,
                Err(error) => return self.refused(&error),
            };
        self.ask(|core, number, promise| {
            let method = binding.queue_method();
            core.request(number, &method, Request::BindQueue(binding.clone(), promise));
        })
    }

    /// Takes back a binding, with the arguments that it was made with.
    pub fn queue_unbind(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: Table<'_>,
    ) -> Deferred<()> {
        let binding =
            match self.binding(Destination::Queue, [queue, exchange, routing_key], arguments) {
                Ok(binding) => binding,
                Err(error) => return self.refused(&error),
            };
        self.ask(|core, number, promise| {
            let bound = binding.queue_method();
            let method = queue::Unbind {
                queue: bound.queue,
                exchange: bound.exchange,
                routing_key: bound.routing_key,
                arguments: bound.arguments,
                ..Default::default()
            };
            core.request(number, &method, Request::UnbindQueue(binding.clone(), promise));
        })
    }

    /// Drops every message that is ready in a queue, and tells how many.
    pub fn queue_purge(&self, queue: &str) -> Deferred<u32> {
        let queue = match self.queue_name(queue) {
            Ok(queue) => queue,
            Err(error) => return self.refused(&error),
        };
        self.ask(|core, number, promise| {
            let method = queue::Purge { queue: ShortStr::cut(&queue), ..Default::default() };
            core.request(number, &method, Request::PurgeQueue(promise));
        })
    }

    /// Deletes a queue, whether or not it is there, and tells how many messages went with it.
    pub fn queue_delete(&self, queue: &str) -> Deferred<u32> {
        self.queue_delete_if(queue, false, false)
    }

    /// As [`queue_delete`](Self::queue_delete), but only if the queue has no consumers, or no
    /// messages; else the channel is closed with 406.
    pub fn queue_delete_if(&self, queue: &str, unused: bool, empty: bool) -> Deferred<u32> {
        let queue = match self.queue_name(queue) {
            Ok(queue) => queue,
            Err(error) => return self.refused(&error),
        };
        self.ask(|core, number, promise| {
            let method = queue::Delete {
                queue: ShortStr::cut(&queue),
                if_unused: unused,
                if_empty: empty,
                ..Default::default()
            };
            core.request(number, &method, Request::DeleteQueue(queue.clone(), promise));
        })
    }
}
