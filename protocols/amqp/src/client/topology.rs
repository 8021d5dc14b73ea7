//! What this connection has declared, so that it can be declared again on another one.
//!
//! It follows the answers of the server, not the requests: what was refused is not in it. The one
//! rule: what the server takes away by itself (auto-delete, deletion) is forgotten here too.

use std::collections::{BTreeMap, BTreeSet};

use super::declare::{ExchangeDeclare, QueueDeclare};
use crate::codec::method::{exchange, queue};
use crate::codec::{ShortStr, Table};

/// Exchanges, queues and bindings, each in the order of its name: so a replay is the same each
/// time.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) exchanges: BTreeMap<String, ExchangeDeclare>,
    pub(super) queues: BTreeMap<String, RecordedQueue>,
    pub(super) bindings: BTreeSet<Binding>,
    /// Names that the server once gave, and what they have become.
    renamed: BTreeMap<String, String>,
}

/// A queue under its current name.
#[derive(Clone, Debug)]
pub(super) struct RecordedQueue {
    /// As it was declared: without a name, if the server gave it one.
    pub(super) declare: QueueDeclare,
}

/// What is bound to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    Exchange,
    Queue,
}

/// A binding. Ordered by destination first, so that all of one queue stand together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binding {
    pub(super) kind: Destination,
    pub(super) destination: String,
    pub(super) source: String,
    pub(super) routing_key: String,
    /// An encoded table: [`Binding::table`].
    pub(super) arguments: Vec<u8>,
}

impl Binding {
    pub(super) fn table(&self) -> Table<'_> {
        // It was encoded here, from a table that had been checked.
        Table::new(&self.arguments).unwrap_or_default()
    }

    pub(super) fn queue_method(&self) -> queue::Bind<'_> {
        queue::Bind {
            queue: ShortStr::cut(&self.destination),
            exchange: ShortStr::cut(&self.source),
            routing_key: ShortStr::cut(&self.routing_key),
            arguments: self.table(),
            ..Default::default()
        }
    }

    pub(super) fn exchange_method(&self) -> exchange::Bind<'_> {
        exchange::Bind {
            destination: ShortStr::cut(&self.destination),
            source: ShortStr::cut(&self.source),
            routing_key: ShortStr::cut(&self.routing_key),
            arguments: self.table(),
            ..Default::default()
        }
    }
}

impl Topology {
    /// The name that a queue has now.
    pub(super) fn current<'a>(&'a self, name: &'a str) -> &'a str {
        if self.renamed.is_empty() {
            return name;
        }
        self.renamed.get(name).map_or(name, String::as_str)
    }

    pub(super) fn exchange_declared(&mut self, declare: ExchangeDeclare) {
        // What the server has by itself needs no declaring, nor can it be deleted.
        if !declare.passive && !declare.exchange.is_empty() && !declare.exchange.starts_with("amq.")
        {
            self.exchanges.insert(declare.exchange.clone(), declare);
        }
    }

    pub(super) fn exchange_deleted(&mut self, exchange: &str) {
        self.exchanges.remove(exchange);
        self.unbind_all(|binding| {
            binding.source == exchange
                || (binding.kind == Destination::Exchange && binding.destination == exchange)
        });
    }

    pub(super) fn queue_declared(&mut self, declare: QueueDeclare, name: &str) {
        if !declare.passive {
            self.queues.insert(name.to_owned(), RecordedQueue { declare });
        }
    }

    pub(super) fn queue_deleted(&mut self, queue: &str) {
        self.queues.remove(queue);
        self.unbind_all(|binding| {
            binding.kind == Destination::Queue && binding.destination == queue
        });
    }

    /// The last consumer of a queue on this connection has gone.
    pub(super) fn queue_unused(&mut self, queue: &str) {
        if self.queues.get(queue).is_some_and(|queue| queue.declare.auto_delete) {
            self.queue_deleted(queue);
        }
    }

    pub(super) fn bound(&mut self, binding: Binding) {
        self.bindings.insert(binding);
    }

    pub(super) fn unbound(&mut self, binding: &Binding) {
        if self.bindings.remove(binding) {
            self.exchange_unused(&binding.source);
        }
    }

    /// A queue that the server names has another name on the new connection.
    pub(super) fn queue_renamed(&mut self, old: &str, new: &str) {
        if let Some(queue) = self.queues.remove(old) {
            self.queues.insert(new.to_owned(), queue);
        }
        let moved: Vec<Binding> = self.bindings_of(old).cloned().collect();
        for binding in moved {
            self.bindings.remove(&binding);
            self.bindings.insert(Binding { destination: new.to_owned(), ..binding });
        }
        for current in self.renamed.values_mut().filter(|current| *current == old) {
            new.clone_into(current);
        }
        self.renamed.insert(old.to_owned(), new.to_owned());
    }

    fn bindings_of<'a>(&'a self, queue: &'a str) -> impl Iterator<Item = &'a Binding> {
        self.bindings.iter().filter(move |binding| {
            binding.kind == Destination::Queue && binding.destination == queue
        })
    }

    fn unbind_all(&mut self, gone: impl Fn(&Binding) -> bool) {
        let removed: Vec<Binding> = self.bindings.iter().filter(|b| gone(b)).cloned().collect();
        for binding in &removed {
            self.bindings.remove(binding);
        }
        for binding in &removed {
            self.exchange_unused(&binding.source);
        }
    }

    /// A binding from this exchange has gone: perhaps it was the last.
    fn exchange_unused(&mut self, exchange: &str) {
        let auto_delete = self.exchanges.get(exchange).is_some_and(|found| found.auto_delete);
        if auto_delete && !self.bindings.iter().any(|binding| binding.source == exchange) {
            self.exchange_deleted(exchange);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(kind: Destination, destination: &str, source: &str) -> Binding {
        Binding {
            kind,
            destination: destination.into(),
            source: source.into(),
            routing_key: "k".into(),
            arguments: Vec::new(),
        }
    }

    #[test]
    fn a_deleted_queue_takes_its_bindings_and_an_auto_delete_exchange_along() {
        let mut topology = Topology::default();
        topology.exchange_declared(ExchangeDeclare::fanout("a"));
        topology.exchange_declared(ExchangeDeclare::fanout("b").auto_delete());
        topology.queue_declared(QueueDeclare::named("q"), "q");
        topology.bound(binding(Destination::Queue, "q", "b"));
        topology.bound(binding(Destination::Exchange, "b", "a"));
        topology.queue_deleted("q");
        assert_eq!(topology.exchanges.keys().collect::<Vec<_>>(), ["a"]);
        assert!(topology.bindings.is_empty() && topology.queues.is_empty());
    }

    #[test]
    fn a_renamed_queue_keeps_its_bindings_and_answers_to_every_name_it_had() {
        let mut topology = Topology::default();
        topology.queue_declared(QueueDeclare::server_named(), "gen-1");
        topology.bound(binding(Destination::Queue, "gen-1", "amq.fanout"));
        topology.queue_renamed("gen-1", "gen-2");
        topology.queue_renamed("gen-2", "gen-3");
        assert_eq!(
            ["gen-1", "gen-2", "gen-3", "q"].map(|name| topology.current(name)),
            ["gen-3", "gen-3", "gen-3", "q"]
        );
        let kept: Vec<_> = topology.bindings.iter().map(|found| &*found.destination).collect();
        assert_eq!(kept, ["gen-3"]);
    }

    #[test]
    fn an_auto_delete_queue_is_forgotten_with_its_last_consumer_and_others_are_kept() {
        let mut topology = Topology::default();
        topology.queue_declared(QueueDeclare::named("a").auto_delete(), "a");
        topology.queue_declared(QueueDeclare::named("b"), "b");
        topology.queue_declared(QueueDeclare::named("c").passive(), "c");
        topology.queue_unused("a");
        topology.queue_unused("b");
        assert_eq!(topology.queues.keys().collect::<Vec<_>>(), ["b"]);
    }
}
