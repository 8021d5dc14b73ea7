//! The model that the log is held against: everything in maps, nothing clever.
#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ropewalk_store::{Batch, Log, NEVER, Recovered, Reference};

/// Random numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// One of `0..n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) payload: Vec<u8>,
    pub(crate) expires: u64,
    pub(crate) persistent: bool,
    pub(crate) returns: u32,
    pub(crate) redelivered: bool,
}

impl Message {
    /// What it counts for: not its payload's length, so that the two are told apart.
    fn body(&self) -> u64 {
        self.payload.len() as u64 / 2
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&[u8]> = self.payload.splitn(3, |&octet| octet == b' ').take(2).collect();
        let name = String::from_utf8_lossy(words.get(1).unwrap_or(&&b""[..])).into_owned();
        write!(f, "{name} of {} octets", self.payload.len())?;
        let Message { persistent, returns, redelivered, expires, .. } = self;
        write!(f, ", {persistent}, {returns}, {redelivered}, {expires}")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) next: u64,
    pub(crate) leased: u64,
    pub(crate) messages: BTreeMap<u64, Message>,
}

/// What a log should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) queues: BTreeMap<u64, Queue>,
    pub(crate) next_queue: u64,
}

impl Model {
    fn queue(&mut self, id: u64) -> &mut Queue {
        self.next_queue = self.next_queue.max(id + 1);
        self.queues.entry(id).or_default()
    }

    /// What is left after a restart.
    pub(crate) fn restarted(&self) -> Model {
        let mut model = self.clone();
        for queue in model.queues.values_mut() {
            queue.messages.retain(|_, message| message.persistent);
            for (&position, message) in &mut queue.messages {
                message.redelivered |= position < queue.leased;
            }
        }
        model
    }

    /// The octets of all messages, each counted in each queue, with something for the rest of
    /// the record.
    pub(crate) fn octets(&self) -> u64 {
        let messages = self.queues.values().flat_map(|queue| queue.messages.values());
        messages.map(|message| message.payload.len() as u64 + 100).sum()
    }

    /// Where another is different.
    pub(crate) fn difference(&self, other: &Model) -> String {
        let mut text = String::new();
        if self.definitions != other.definitions {
            text += &format!("{:?}\n{:?}\n", self.definitions, other.definitions);
        }
        let ids: BTreeSet<u64> = self.queues.keys().chain(other.queues.keys()).copied().collect();
        for id in ids {
            let (Some(one), Some(two)) = (self.queues.get(&id), other.queues.get(&id)) else {
                text += &format!("queue {id} is in one only\n");
                continue;
            };
            if (one.next, one.leased) != (two.next, two.leased) {
                let (one, two) = ((one.next, one.leased), (two.next, two.leased));
                text += &format!("queue {id}: {one:?}, {two:?}\n");
            }
            let at: BTreeSet<u64> =
                one.messages.keys().chain(two.messages.keys()).copied().collect();
            for position in at {
                let (one, two) = (one.messages.get(&position), two.messages.get(&position));
                if one != two {
                    text += &format!("queue {id}, {position}: {one:?}; {two:?}\n");
                }
            }
        }
        if self.next_queue != other.next_queue {
            text += &format!("next queue {} {}\n", self.next_queue, other.next_queue);
        }
        text
    }
}

/// What a log that was just opened holds, as a model.
pub(crate) fn seen(log: &mut Log, recovered: &Recovered) -> Model {
    let mut model = Model {
        definitions: recovered.definitions.iter().cloned().collect(),
        next_queue: recovered.next_queue,
        ..Model::default()
    };
    for queue in &recovered.queues {
        let messages = load_all(log, queue.id, 7, 2000);
        let octets: u64 = messages.values().map(Message::body).sum();
        assert_eq!(queue.messages, messages.len() as u64, "queue {}", queue.id);
        assert_eq!(queue.octets, octets, "queue {}", queue.id);
        assert_eq!(queue.first, messages.keys().next().copied(), "queue {}", queue.id);
        let mut marked = messages.range(..queue.leased);
        assert!(marked.all(|(_, message)| message.redelivered), "queue {}", queue.id);
        if let Some(message) = messages.get(&queue.leased) {
            assert!(!message.redelivered, "queue {}", queue.id);
        }
        let next = queue.next_position;
        model.queues.insert(queue.id, Queue { next, leased: 0, messages });
    }
    model
}

/// All messages of a queue, loaded some at a time.
pub(crate) fn load_all(
    log: &mut Log,
    queue: u64,
    many: usize,
    octets: usize,
) -> BTreeMap<u64, Message> {
    let (mut all, mut from) = (BTreeMap::new(), 0);
    loop {
        let load = log.load(queue, from, many, octets).expect("a log that can be read");
        assert_eq!(load.lost, 0);
        assert!(load.messages.len() <= many.max(1));
        let sum: usize = load.messages.iter().map(|loaded| loaded.payload.len()).sum();
        assert!(sum <= octets || load.messages.len() == 1);
        let Some(last) = load.messages.last() else { return all };
        let next = last.position + 1;
        for loaded in load.messages {
            assert!(loaded.position >= from, "in order");
            from = loaded.position + 1;
            let message = Message {
                payload: loaded.payload.to_vec(),
                expires: loaded.expires,
                persistent: loaded.persistent,
                returns: loaded.returns,
                redelivered: loaded.redelivered,
            };
            assert_eq!(all.insert(loaded.position, message), None);
        }
        from = next;
    }
}

/// Makes batches, and does to a model what they say.
pub(crate) struct Writer {
    pub(crate) random: Random,
    /// No two payloads are the same.
    payloads: u64,
    /// Queues that were removed are not used again.
    first_queue: u64,
    pub(crate) largest: u64,
}

impl Writer {
    pub(crate) fn new(seed: u64) -> Writer {
        Writer { random: Random::new(seed), payloads: 0, first_queue: 1, largest: 3000 }
    }

    /// Some records more.
    pub(crate) fn fill(&mut self, batch: &mut Batch, model: &mut Model, messages: bool) {
        for _ in 0..1 + self.random.below(6) {
            match self.random.below(20) {
                0 => self.define(batch, model),
                1..=9 if messages => self.message(batch, model),
                10 => self.lease(batch, model),
                11 => self.returned(batch, model),
                12 if self.random.one_in(8) => self.remove(batch, model),
                _ => self.acknowledge(batch, model),
            }
        }
    }

    fn a_queue(&mut self) -> u64 {
        self.first_queue + self.random.below(4)
    }

    fn define(&mut self, batch: &mut Batch, model: &mut Model) {
        let key = format!("key {}", self.random.below(5)).into_bytes();
        if self.random.one_in(3) {
            batch.remove(&key);
            model.definitions.remove(&key);
        } else {
            self.payloads += 1;
            let value = format!("value {}", self.payloads).into_bytes();
            batch.put(&key, &value);
            model.definitions.insert(key, value);
        }
    }

    pub(crate) fn message(&mut self, batch: &mut Batch, model: &mut Model) {
        self.payloads += 1;
        let mut length = self.random.below(120);
        if self.random.one_in(12) {
            length = self.random.below(self.largest);
        }
        let mut payload = format!("message {} ", self.payloads).into_bytes();
        payload.resize(payload.len() + length as usize, b'a' + (self.payloads % 26) as u8);
        let persistent = !self.random.one_in(4);
        let mut references = Vec::new();
        let first = self.a_queue();
        let count = if self.random.one_in(4) { 1 + self.random.below(4) } else { 1 };
        for queue in first..first + count {
            let hole = if self.random.one_in(8) { self.random.below(4) } else { 0 };
            let expires = if self.random.one_in(5) { self.random.below(1000) } else { NEVER };
            let queue_model = model.queue(queue);
            let position = queue_model.next + hole;
            queue_model.next = position + 1;
            references.push(Reference { queue, position, expires });
            let (returns, redelivered) = (0, false);
            let payload = payload.clone();
            let message = Message { payload, expires, persistent, returns, redelivered };
            queue_model.messages.insert(position, message);
        }
        let (one, other) = payload.split_at(self.random.below(payload.len() as u64) as usize);
        let body = payload.len() as u64 / 2;
        batch.message(&references, persistent, body, &[one, b"", other]);
    }

    pub(crate) fn acknowledge(&mut self, batch: &mut Batch, model: &mut Model) {
        let id = self.a_queue();
        let Some(queue) = model.queues.get_mut(&id) else { return };
        let Some(&head) = queue.messages.keys().next() else { return };
        let (first, last) = match self.random.below(10) {
            // In order, mostly.
            0..=5 => (head, head + self.random.below(3)),
            // Anywhere.
            6..=8 => {
                let at = head + self.random.below(queue.next - head);
                (at, at)
            }
            // Everything, and more.
            _ => (self.random.below(queue.next), queue.next + self.random.below(5)),
        };
        batch.acknowledged(id, first, last);
        queue.messages.retain(|position, _| !(first..=last).contains(position));
    }

    fn lease(&mut self, batch: &mut Batch, model: &mut Model) {
        let id = self.a_queue();
        let queue = model.queue(id);
        let end = self.random.below(queue.next + 5);
        queue.leased = end;
        batch.leased(id, end);
    }

    fn returned(&mut self, batch: &mut Batch, model: &mut Model) {
        let id = self.a_queue();
        let Some(queue) = model.queues.get_mut(&id) else { return };
        let position = self.random.below(queue.next + 1);
        let returns = self.random.below(10) as u32;
        batch.returned(id, position, returns);
        if let Some(message) = queue.messages.get_mut(&position) {
            message.returns = returns;
        }
    }

    fn remove(&mut self, batch: &mut Batch, model: &mut Model) {
        let id = self.first_queue;
        self.first_queue += 1;
        batch.queue_removed(id);
        model.queues.remove(&id);
        model.next_queue = model.next_queue.max(id + 1);
    }

    /// Gives all leases back, and marks some messages instead.
    pub(crate) fn settle(&mut self, batch: &mut Batch, model: &mut Model) {
        for (&id, queue) in &mut model.queues {
            batch.leased(id, 0);
            queue.leased = 0;
            for (&position, message) in &mut queue.messages {
                if self.random.one_in(3) {
                    message.returns |= 1 << 31;
                    batch.returned(id, position, message.returns);
                }
            }
        }
    }
}
