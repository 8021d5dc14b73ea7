//! What the store does, early or late, and what it must have.

use std::collections::BTreeSet;

use ropewalk_broker::*;

use super::common::store::Record;
use super::{Again, Item, Model, QUEUES, is_durable, name, number, parse};

impl Model {
    pub(super) fn ask_for_loads(&mut self) {
        while let Some(load) = self.house.broker.next_load() {
            // It is read now, or when it is answered: then with what was journaled meanwhile.
            let messages = self.random.one_in(2).then(|| self.house.store().load(&load));
            self.log.push(format!("load {load:?}"));
            assert!(load.max_messages > 0 && load.max_octets > 0);
            assert!(self.loads.iter().all(|(it, _)| it.queue != load.queue || it != &load));
            self.loads.push((load, messages));
        }
    }

    pub(super) fn answer_a_load(&mut self) {
        if self.loads.is_empty() {
            return;
        }
        let pick = self.random.below(self.loads.len() as u64) as usize;
        let (load, messages) = self.loads.remove(pick);
        let mut messages = messages.unwrap_or_else(|| self.house.store().load(&load));
        if !messages.is_empty() && self.random.one_in(4) {
            messages.truncate(1 + self.random.below(messages.len() as u64) as usize);
        }
        self.log.push(format!("loaded {} for {}", messages.len(), load.queue));
        assert_eq!(self.house.broker.loaded(&load, messages), 0);
    }

    /// A sync ends, or begins.
    pub(super) fn sync(&mut self) {
        match self.syncing.take() {
            None => self.syncing = Some((self.began, self.house.broker.last_ticket())),
            Some((records, ticket)) => {
                self.log.push(format!("synced {records}"));
                self.synced = records;
                self.house.broker.stored(ticket);
            }
        }
    }

    /// The store has everything and answers all.
    pub(super) fn quiesce(&mut self) {
        self.log.push("quiesce".to_owned());
        self.syncing = None;
        loop {
            let records = self.house.journaled();
            let ticket = self.house.broker.last_ticket();
            self.synced = records;
            self.house.broker.stored(ticket);
            self.ask_for_loads();
            while !self.loads.is_empty() {
                self.answer_a_load();
            }
            self.drain();
            let store_is_idle = self.house.journaled() == records;
            if store_is_idle && self.house.broker.last_ticket() == ticket {
                self.ask_for_loads();
                if self.loads.is_empty() {
                    break;
                }
            }
        }
        assert!(self.confirms.is_empty(), "{:?} never confirmed", self.confirms);
        for (&queue, state) in &self.queues {
            let consumers = self.channels.values().flat_map(|channel| {
                channel.consumers.iter().map(move |(tag, it)| (channel, tag, it))
            });
            for (channel, tag, _) in consumers.filter(|(.., it)| it.queue == queue) {
                let hungry = self.has_room(channel, tag);
                assert!(state.ready.is_empty() || !hungry, "{tag} waits for {queue} in vain");
            }
        }
        let channel = self.channel(0).id;
        for (&queue, state) in &self.queues {
            let fetch = self.house.broker.get(channel, name(queue).as_bytes(), false);
            match fetch.expect("exists") {
                // One more round, since only now somebody asks.
                Fetch::Loading => continue,
                Fetch::Empty => assert!(state.ready.is_empty()),
                Fetch::Message(fetched) => {
                    let tag = fetched.delivery_tag;
                    assert_eq!(number(fetched.message), state.ready[0].body);
                    let channel = self.channels.get_mut(&0).expect("open");
                    channel.last_tag = tag;
                    let mut item = state.ready[0];
                    item.again = Again::Yes;
                    channel.unacked.insert(tag, (item, (queue, state.incarnation), None));
                }
            }
        }
        for (item, from) in self.fetched_in_quiesce() {
            let state = self.queues.get_mut(&from.0).expect("there");
            state.ready.remove(0);
            self.lives.get_mut(&(from.0, item.body)).expect("published").delivered = true;
        }
    }

    /// What `quiesce` has fetched: the heads of queues that the model still has as ready.
    pub(super) fn fetched_in_quiesce(&self) -> Vec<(Item, (usize, u64))> {
        let unacked = self.channels[&0].unacked.values();
        unacked
            .filter(|(item, from, _)| {
                let head = self.queues.get(&from.0).and_then(|state| state.ready.first());
                self.is_there(*from) && head.is_some_and(|head| head.at == item.at)
            })
            .map(|(item, from, _)| (*item, *from))
            .collect()
    }

    /// What the store keeps for a restart is what the model has, ready or handed out; whatever
    /// else it has, it has for paging.
    pub(super) fn check_store(&mut self) {
        for queue in (0..QUEUES as usize).filter(|&queue| is_durable(queue)) {
            let mut expected = BTreeSet::new();
            let mut others = BTreeSet::new();
            let lives = self.lives.range((queue, 0)..=(queue, u64::MAX));
            for (&(_, body), _) in lives.filter(|(_, life)| life.ended.is_none()) {
                let kept = self.lives[&(queue, body)].kept;
                if kept {
                    expected.insert(body)
                } else {
                    others.insert(body)
                };
            }
            let state = &self.house.store().state;
            let stored = state.number(&name(queue)).and_then(|number| state.queues.get(&number));
            let stored: Vec<_> = stored.into_iter().flat_map(|it| it.messages.values()).collect();
            let kept = stored.iter().filter(|it| it.persistent).map(|it| parse(it.body()));
            assert_eq!(kept.collect::<BTreeSet<_>>(), expected, "kept of {queue}");
            for it in stored.iter().filter(|it| !it.persistent) {
                assert!(others.contains(&parse(it.body())), "{it:?} is forgotten in the store");
            }
        }
    }

    /// Whether the store has heard of it in this step.
    pub(super) fn is_stored_now(&mut self, queue: usize, number: u64) -> bool {
        let began = self.began;
        let Some(of) = self.house.store().state.number(&name(queue)) else { return false };
        self.house.store().records[began..].iter().any(|record| match record {
            Record::Message { references, body, payload, .. } => {
                references.iter().any(|it| it.queue == of)
                    && parse(&payload[payload.len() - *body as usize..]) == number
            }
            _ => false,
        })
    }
}
