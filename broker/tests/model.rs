//! Random sequences of calls held against a small, obviously right model.
//!
//! The model keeps each queue as a list sorted by position and says of every delivery whether it
//! may happen: the head of its queue, to a consumer with room, under the channel's next tag, and
//! marked redelivered exactly if it came back before. When the outbox is empty, no ready message
//! may be left that some consumer has room for; counts and stored messages must agree.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::House;
use ropewalk_broker::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// A message in a queue: where, which, and whether it came back.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Item {
    position: u64,
    body: u64,
    again: bool,
}

#[derive(Debug, Default)]
struct ModelQueue {
    ready: Vec<Item>,
    next: u64,
}

#[derive(Debug)]
struct ModelConsumer {
    queue: usize,
    no_ack: bool,
    prefetch: u64,
}

/// An item, the queue that it came from with its incarnation, and the consumer that has it.
type Held = (Item, (usize, u64), Option<String>);

#[derive(Debug)]
struct ModelChannel {
    id: ChannelId,
    connection: usize,
    last_tag: u64,
    prefetch: u64,
    shared: u64,
    consumers: BTreeMap<String, ModelConsumer>,
    /// By tag.
    unacked: BTreeMap<u64, Held>,
}

struct Model {
    house: House,
    random: Random,
    connections: Vec<(ConnectionId, bool)>,
    channels: BTreeMap<usize, ModelChannel>,
    queues: BTreeMap<usize, (u64, ModelQueue)>,
    incarnations: u64,
    admin: ChannelId,
    published: u64,
    log: Vec<String>,
}

const QUEUES: u64 = 4;
const CHANNELS: u64 = 5;

impl Model {
    fn new(seed: u64) -> Model {
        let mut config = Config::default();
        config.pass_deliveries = 1 + (seed % 5) as usize;
        let mut house = House::with(config);
        let admin = house.channel(99);
        let connections = (0..2).map(|key| (house.connection(key), true)).collect();
        Model {
            house,
            random: Random(seed),
            connections,
            channels: BTreeMap::new(),
            queues: BTreeMap::new(),
            incarnations: 0,
            admin,
            published: 0,
            log: Vec::new(),
        }
    }

    fn step(&mut self) {
        let queue = self.random.below(QUEUES) as usize;
        let channel = self.random.below(CHANNELS) as usize;
        match self.random.below(100) {
            0..30 => self.publish(queue),
            30..33 => self.publish_to_all(),
            33..48 => self.settle(channel),
            48..58 => self.consume(channel, queue),
            58..64 => self.cancel(channel),
            64..70 => self.get(channel, queue),
            70..76 => self.qos(channel),
            76..80 => self.close_channel(channel),
            80..88 => self.flow(),
            88..91 => self.recover(channel),
            91..93 => self.purge(queue),
            93..95 => self.delete(queue),
            95 => self.close_connection(),
            _ => {}
        }
        self.check();
    }

    fn name(queue: usize) -> String {
        format!("q{queue}")
    }

    /// Makes a queue if it is not there.
    fn queue(&mut self, queue: usize) -> &mut ModelQueue {
        if !self.queues.contains_key(&queue) {
            self.incarnations += 1;
            self.queues.insert(queue, (self.incarnations, ModelQueue::default()));
            self.house.declare(self.admin, &Self::name(queue));
            self.house.bind(self.admin, "amq.fanout", &Self::name(queue), "");
        }
        &mut self.queues.get_mut(&queue).expect("just made").1
    }

    fn channel(&mut self, channel: usize) -> &mut ModelChannel {
        if !self.channels.contains_key(&channel) {
            let connection = channel % 2;
            let id = self
                .house
                .broker
                .open_channel(self.connections[connection].0, channel as u16 + 1)
                .expect("not open");
            let (consumers, unacked) = Default::default();
            let state = ModelChannel {
                id,
                connection,
                last_tag: 0,
                prefetch: 0,
                shared: 0,
                consumers,
                unacked,
            };
            self.channels.insert(channel, state);
        }
        self.channels.get_mut(&channel).expect("just made")
    }

    fn publish(&mut self, queue: usize) {
        let count = 1 + self.random.below(4);
        for _ in 0..count {
            self.published += 1;
            let body = self.published;
            let state = self.queue(queue);
            state.ready.push(Item { position: state.next, body, again: false });
            state.next += 1;
            self.log.push(format!("publish {body} to {queue}"));
            self.house.publish(self.admin, "", &Self::name(queue), &body.to_string());
        }
    }

    fn publish_to_all(&mut self) {
        self.published += 1;
        let body = self.published;
        for (_, state) in self.queues.values_mut() {
            state.ready.push(Item { position: state.next, body, again: false });
            state.next += 1;
        }
        self.log.push(format!("publish {body} to all"));
        self.house.publish(self.admin, "amq.fanout", "", &body.to_string());
    }

    fn settle(&mut self, channel: usize) {
        let state = self.channel(channel);
        let id = state.id;
        let tags: Vec<u64> = state.unacked.keys().copied().collect();
        let Some(pick) = (self.random.next() as usize).checked_rem(tags.len()) else { return };
        let multiple = self.random.one_in(3);
        let tag = if multiple && self.random.one_in(4) { 0 } else { tags[pick] };
        let covered: Vec<u64> = match multiple {
            true => tags.into_iter().filter(|&it| tag == 0 || it <= tag).collect(),
            false => vec![tag],
        };
        let how = self.random.below(4);
        self.log.push(format!("settle {channel} {tag} multiple {multiple} how {how}"));
        for tag in covered {
            let state = self.channels.get_mut(&channel).expect("open");
            let (item, queue, _) = state.unacked.remove(&tag).expect("outstanding");
            if how == 2 {
                self.put_back(item, queue);
            }
        }
        let result = match how {
            0 | 1 => self.house.broker.ack(id, tag, multiple),
            _ => self.house.broker.nack(id, tag, multiple, how == 2),
        };
        result.expect("outstanding");
    }

    fn put_back(&mut self, item: Item, (queue, incarnation): (usize, u64)) {
        if let Some((current, state)) = self.queues.get_mut(&queue)
            && *current == incarnation
        {
            state.ready.push(Item { again: true, ..item });
            state.ready.sort_by_key(|item| item.position);
        }
    }

    fn consume(&mut self, channel: usize, queue: usize) {
        self.queue(queue);
        let no_ack = self.random.one_in(4);
        let tag = format!("t{}", self.random.below(3));
        let state = self.channel(channel);
        if state.consumers.contains_key(&tag) {
            return;
        }
        let consumer = ModelConsumer { queue, no_ack, prefetch: state.prefetch };
        let id = state.id;
        state.consumers.insert(tag.clone(), consumer);
        self.log.push(format!("consume {channel} from {queue} as {tag} no_ack {no_ack}"));
        let flags = if no_ack { "no-ack" } else { "" };
        let none = Table::new();
        self.house.consume_with(id, &Self::name(queue), &tag, flags, &none).expect("consuming");
    }

    fn cancel(&mut self, channel: usize) {
        let tag = format!("t{}", self.random.below(3));
        let state = self.channel(channel);
        let id = state.id;
        state.consumers.remove(&tag);
        self.log.push(format!("cancel {channel} {tag}"));
        self.house.broker.cancel(id, tag.as_bytes()).expect("no error");
    }

    fn get(&mut self, channel: usize, queue: usize) {
        self.queue(queue);
        let id = self.channel(channel).id;
        self.log.push(format!("get {channel} {queue}"));
        let got = self.house.get(id, &Self::name(queue));
        let (incarnation, state) = self.queues.get_mut(&queue).expect("there");
        if state.ready.is_empty() {
            assert_eq!(got, None);
            return;
        }
        let item = state.ready.remove(0);
        let left = state.ready.len();
        let key = (queue, *incarnation);
        let channel = self.channel(channel);
        channel.last_tag += 1;
        let tag = channel.last_tag;
        assert_eq!(got, Some((tag, item.body.to_string(), item.again, left)));
        channel.unacked.insert(tag, (item, key, None));
    }

    fn qos(&mut self, channel: usize) {
        let (count, global) = (self.random.below(4), self.random.one_in(2));
        let state = self.channel(channel);
        let id = state.id;
        if global {
            state.shared = count;
        } else {
            state.prefetch = count;
            state.shared = 0;
        }
        self.log.push(format!("qos {channel} {count} global {global}"));
        self.house.qos(id, count as u16, global);
    }

    fn give_all_back(&mut self, channel: usize) {
        let state = self.channels.get_mut(&channel).expect("open");
        for (_, (item, queue, _)) in std::mem::take(&mut state.unacked) {
            self.put_back(item, queue);
        }
    }

    fn close_channel(&mut self, channel: usize) {
        if self.channels.contains_key(&channel) {
            self.log.push(format!("close {channel}"));
            self.give_all_back(channel);
            let state = self.channels.remove(&channel).expect("open");
            self.house.broker.close_channel(state.id);
        }
    }

    fn close_connection(&mut self) {
        let connection = self.random.below(2) as usize;
        self.log.push(format!("close connection {connection}"));
        let channels: Vec<usize> = self.channels.keys().copied().collect();
        for channel in channels.into_iter().filter(|it| it % 2 == connection) {
            self.give_all_back(channel);
            self.channels.remove(&channel);
        }
        self.house.broker.close_connection(self.connections[connection].0);
        self.connections[connection] = (self.house.connection(connection as u64), true);
    }

    fn flow(&mut self) {
        let connection = self.random.below(2) as usize;
        let writable = self.random.one_in(2);
        self.log.push(format!("flow {connection} {writable}"));
        self.connections[connection].1 = writable;
        self.house.broker.set_flow(self.connections[connection].0, writable);
    }

    fn recover(&mut self, channel: usize) {
        let id = self.channel(channel).id;
        self.log.push(format!("recover {channel}"));
        self.give_all_back(channel);
        self.house.broker.recover(id, true).expect("recovered");
    }

    fn purge(&mut self, queue: usize) {
        if let Some((_, state)) = self.queues.get_mut(&queue) {
            let count = std::mem::take(&mut state.ready).len();
            self.log.push(format!("purge {queue}"));
            let name = Self::name(queue);
            assert_eq!(self.house.broker.purge_queue(self.admin, name.as_bytes()), Ok(count));
        }
    }

    fn delete(&mut self, queue: usize) {
        if let Some((_, state)) = self.queues.remove(&queue) {
            self.log.push(format!("delete {queue}"));
            let name = Self::name(queue);
            let ready = self.house.broker.delete_queue(self.admin, name.as_bytes(), false, false);
            assert_eq!(ready, Ok(state.ready.len()));
        }
    }

    fn has_room(&self, channel: &ModelChannel, tag: &str) -> bool {
        let consumer = &channel.consumers[tag];
        let held = |(.., by): &&Held| by.as_deref() == Some(tag);
        let own = channel.unacked.values().filter(held).count() as u64;
        let all = channel.unacked.values().filter(|(.., by)| by.is_some()).count() as u64;
        let below = |limit: u64, count: u64| limit == 0 || count < limit;
        self.connections[channel.connection].1
            && (consumer.no_ack || below(consumer.prefetch, own) && below(channel.shared, all))
    }

    fn delivered(&mut self, to: Destination, tag: &str, number: u64, body: u64, again: bool) {
        let key = usize::from(to.channel) - 1;
        let channel = &self.channels[&key];
        assert!(self.has_room(channel, tag), "{tag} of {key} has no room for {body}");
        let consumer = &channel.consumers[tag];
        let queue = consumer.queue;
        let no_ack = consumer.no_ack;
        let (incarnation, state) = self.queues.get_mut(&queue).expect("it has messages");
        let item = state.ready.remove(0);
        assert_eq!((item.body, item.again), (body, again), "the head of queue {queue}");
        let incarnation = *incarnation;
        let channel = self.channels.get_mut(&key).expect("open");
        channel.last_tag += 1;
        assert_eq!(channel.last_tag, number, "tags run on");
        if !no_ack {
            let by = Some(tag.to_owned());
            channel.unacked.insert(number, (item, (queue, incarnation), by));
        }
    }

    /// A cancelled consumer's deliveries stay with the channel but belong to no consumer that
    /// could come under the same tag.
    fn orphan(&mut self) {
        for channel in self.channels.values_mut() {
            let consumers = &channel.consumers;
            for (.., by) in channel.unacked.values_mut() {
                if by.as_ref().is_some_and(|tag| !consumers.contains_key(tag)) {
                    *by = Some(String::new());
                }
            }
        }
    }

    fn check(&mut self) {
        self.orphan();
        loop {
            let event = match self.house.broker.next_event() {
                None => break,
                Some(Event::Delivered(it)) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let body = text(it.message.body()).parse().expect("a number");
                    Some((it.to, text(it.consumer_tag), it.delivery_tag, body, it.redelivered))
                }
                Some(Event::Cancelled { to, consumer_tag }) => {
                    let tag = String::from_utf8_lossy(consumer_tag).into_owned();
                    let channel = self.channels.get_mut(&(usize::from(to.channel) - 1));
                    let consumer = channel.and_then(|it| it.consumers.remove(&tag));
                    let consumer = consumer.expect("it was there");
                    assert!(!self.queues.contains_key(&consumer.queue));
                    None
                }
                Some(other) => panic!("{other:?}"),
            };
            if let Some((to, tag, number, body, again)) = event {
                self.log.push(format!("  delivered {body} to {tag} of {}", to.channel - 1));
                self.delivered(to, &tag, number, body, again);
            }
        }
        self.orphan();
        for (&queue, (_, state)) in &self.queues {
            for channel in self.channels.values() {
                for (tag, consumer) in &channel.consumers {
                    let hungry = consumer.queue == queue && self.has_room(channel, tag);
                    assert!(state.ready.is_empty() || !hungry, "{tag} waits for {queue} in vain");
                }
            }
        }
        let mut stored = BTreeSet::new();
        let queues: Vec<(usize, usize)> =
            self.queues.iter().map(|(&queue, (_, state))| (queue, state.ready.len())).collect();
        for (queue, ready) in queues {
            let consumers = self.channels.values().flat_map(|it| it.consumers.values());
            let consumers = consumers.filter(|it| it.queue == queue).count();
            let name = Self::name(queue);
            assert_eq!(self.house.counts(self.admin, &name), (ready, consumers), "{queue}");
        }
        stored.extend(self.queues.values().flat_map(|(_, it)| it.ready.iter().map(|it| it.body)));
        let unacked = self.channels.values().flat_map(|it| it.unacked.values());
        stored.extend(unacked.map(|(item, ..)| item.body));
        assert_eq!(self.house.broker.totals().messages, stored.len());
    }
}

#[test]
fn random_calls_agree_with_the_model() {
    for seed in 0..300 {
        let mut model = Model::new(seed);
        let run = std::panic::AssertUnwindSafe(|| (0..300).for_each(|_| model.step()));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}:\n{}", model.log.join("\n"));
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_same_calls_make_the_same_events() {
    for seed in [7, 8] {
        let run = || {
            let mut model = Model::new(seed);
            (0..300).for_each(|_| model.step());
            model.log
        };
        assert_eq!(run(), run());
    }
}
