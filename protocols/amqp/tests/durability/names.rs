//! Which durable queues, exchanges and bindings must be there, and which must not.

use std::collections::BTreeMap;

use ropewalk_broker::Definitions;

/// What a client has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// A queue, and whether it is durable.
    Queue(&'static str, bool),
    NoQueue(&'static str),
    Exchange(&'static str),
    /// From this exchange to this queue, and whether that is durable.
    Binding(&'static str, &'static str, bool),
}

/// What was granted.
#[derive(Default)]
pub(crate) struct Names {
    queues: BTreeMap<&'static str, State>,
    exchanges: Vec<&'static str>,
    bindings: Vec<(&'static str, &'static str)>,
}

/// What is known of a queue.
#[derive(Default)]
struct State {
    is_there: Option<bool>,
    /// The client that is changing that.
    busy: Option<u64>,
    /// A client that has gone wanted to change it. What it sent may be served at any time yet, also
    /// after what others send now.
    is_haunted: bool,
}

impl Names {
    /// A client is about to declare or delete a queue; false if another one is at it.
    pub(crate) fn touch(&mut self, queue: &'static str, client: u64, declares: bool) -> bool {
        let state = self.queues.entry(queue).or_default();
        if state.busy.is_some() {
            return false;
        }
        state.busy = Some(client);
        if state.is_there != Some(declares) {
            state.is_there = None;
        }
        true
    }

    pub(crate) fn granted(&mut self, wish: Wish) {
        match wish {
            Wish::Queue(name, true) => self.set(name, true),
            Wish::NoQueue(name) => self.set(name, false),
            Wish::Exchange(name) => self.exchanges.push(name),
            Wish::Binding(exchange, queue, true) => self.bindings.push((exchange, queue)),
            Wish::Queue(_, false) | Wish::Binding(_, _, false) => {}
        }
    }

    fn set(&mut self, queue: &'static str, is_there: bool) {
        let state = self.queues.entry(queue).or_default();
        state.is_there = (!state.is_haunted).then_some(is_there);
        state.busy = None;
    }

    /// What it had asked for may have happened, or not.
    pub(crate) fn client_gone(&mut self, client: u64) {
        for state in self.queues.values_mut() {
            state.is_haunted |= state.busy.take_if(|&mut busy| busy == client).is_some();
        }
    }

    pub(crate) fn life_ended(&mut self) {
        for state in self.queues.values_mut() {
            (state.busy, state.is_haunted) = (None, false);
        }
    }

    /// Holds what a new server has against what was granted by the one before.
    pub(crate) fn check(&self, found: &Definitions) {
        for (name, state) in &self.queues {
            let is_there = found.queues.iter().any(|queue| queue.name == *name);
            assert!(is_there || state.is_there != Some(true), "the queue {name} is lost");
            assert!(!is_there || state.is_there != Some(false), "the queue {name} has come back");
        }
        for name in &self.exchanges {
            let is_there = found.exchanges.iter().any(|it| it.name == *name && it.durable);
            assert!(is_there, "the exchange {name} is lost");
        }
        for (source, queue) in &self.bindings {
            let bound = |it: &ropewalk_broker::BindingDefinition| {
                it.source == *source && it.destination == *queue && it.to_queue
            };
            assert!(found.bindings.iter().any(bound), "{queue} is no longer bound to {source}");
        }
        for queue in &found.queues {
            assert!(queue.durable, "the queue {} outlived its server", queue.name);
        }
    }
}
