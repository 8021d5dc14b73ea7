//! The end of a broker, and the beginning of the next.

use std::collections::BTreeMap;

use ropewalk_broker::*;

use super::common::House;
use super::common::store::Kept;
use super::{Again, Item, Model, ModelQueue, QUEUES, is_durable, name, number};

impl Model {
    /// The power goes.
    pub(super) fn crash(&mut self) {
        let all = self.house.journaled();
        let cut = match self.random.below(3) {
            0 => self.synced,
            1 => all,
            _ => self.synced + self.random.below((all - self.synced) as u64 + 1) as usize,
        };
        self.log.push(format!("crash: {cut} of {all} records are left, {} synced", self.synced));
        let mut found = BTreeMap::new();
        let mut house = self.house.restored(cut, self.config.clone());
        let (_, admin) = Model::enter(&mut house);
        for queue in 0..QUEUES as usize {
            let declare = house.declare_with(admin, &name(queue), "passive", &Table::new());
            let Ok((_, count, _)) = declare else { continue };
            assert!(is_durable(queue));
            let mut items = Vec::new();
            loop {
                match house.broker.get(admin, name(queue).as_bytes(), false).expect("exists") {
                    Fetch::Message(it) => items.push((number(it.message), it.redelivered)),
                    Fetch::Loading => drop(house.settle()),
                    Fetch::Empty => break,
                }
            }
            assert_eq!(items.len(), count, "the count of {queue} after a crash");
            found.insert(queue, items);
        }
        let mut queues = BTreeMap::new();
        for (&queue, items) in &found {
            queues.insert(queue, self.found(queue, items, cut));
        }
        for (&(queue, body), life) in &self.lives {
            let over = life.ended.is_some_and(|(began, _)| began < cut);
            let must = life.kept && !life.passed && life.born.1 <= cut && !over;
            let items = found.get(&queue);
            let there = items.is_some_and(|items| items.iter().any(|(it, _)| *it == body));
            assert!(there || !must, "{body} of {queue} is lost: {life:?}, cut at {cut}");
        }
        // Where the bindings are after a crash that came between a queue and its binding is not
        // this model's affair: all begin with both.
        let house = self.house.restored(cut, self.config.clone());
        self.reborn(house, queues);
    }

    /// What a queue has after a crash, all of which must be allowed to be there.
    pub(super) fn found(&mut self, queue: usize, items: &[(u64, bool)], cut: usize) -> ModelQueue {
        self.incarnations += 1;
        let mut state = ModelQueue { incarnation: self.incarnations, ready: Vec::new(), next: 0 };
        for &(body, again) in items {
            let life = self.lives.get(&(queue, body)).expect("nothing is invented");
            let gone = life.ended.is_some_and(|(_, ended)| ended <= cut);
            assert!(
                life.kept && life.born.0 < cut && !gone,
                "{body} of {queue} comes back: {life:?}, cut at {cut}"
            );
            assert!(again || !life.delivered, "{body} of {queue} is not marked: {life:?}");
            let again = match (life.delivered, again) {
                (true, _) => Again::Yes,
                (false, true) => Again::Maybe,
                (false, false) => Again::No,
            };
            let last = state.ready.last().map(|last: &Item| last.at);
            assert!(last.is_none_or(|last| last < life.at), "{body} of {queue} is out of order");
            state.ready.push(Item { at: life.at, body, again });
            state.next = life.at + 1;
        }
        state
    }

    /// An orderly end and a new beginning.
    pub(super) fn restart(&mut self) {
        self.log.push("restart".to_owned());
        for channel in self.channels.keys().copied().collect::<Vec<_>>() {
            self.give_all_back(channel);
        }
        self.house.broker.close_connection(self.connection);
        self.channels.clear();
        self.drain();
        self.house.broker.release_leases();
        let all = self.house.journaled();
        let mut queues = BTreeMap::new();
        for queue in (0..QUEUES as usize).filter(|&queue| is_durable(queue)) {
            let Some(state) = self.queues.remove(&queue) else { continue };
            let kept = |item: &&Item| self.lives[&(queue, item.body)].kept;
            let ready: Vec<Item> = state.ready.iter().filter(kept).copied().collect();
            queues.insert(queue, ModelQueue { ready, ..state });
        }
        let house = self.house.restored(all, self.config.clone());
        self.reborn(house, queues);
    }

    pub(super) fn reborn(&mut self, house: House, queues: BTreeMap<usize, ModelQueue>) {
        self.house = house;
        self.crashes += 1;
        let restored = self.house.journaled();
        (self.connection, self.admin) = Model::enter(&mut self.house);
        self.writable = true;
        self.channels.clear();
        (self.confirms, self.next_confirm) = (BTreeMap::new(), 1);
        (self.syncing, self.synced) = (None, restored);
        self.loads.clear();
        self.began = restored;
        self.queues = queues;
        // What is there was born before this life; the rest is over.
        let queues = &self.queues;
        self.lives.retain(|(queue, body), life| {
            let ready =
                queues.get(queue).is_some_and(|it| it.ready.iter().any(|it| it.body == *body));
            (life.born, life.ended) = ((0, 0), None);
            ready
        });
        for queue in self.queues.keys().copied().collect::<Vec<_>>() {
            self.house.bind(self.admin, "amq.fanout", &name(queue), "");
        }
        let kept = self
            .house
            .store()
            .state
            .definitions
            .values()
            .filter(|it| matches!(it, Kept::Queue(..)));
        assert_eq!(kept.count(), self.queues.len());
        self.drain();
        self.check();
        self.check_store();
    }
}
