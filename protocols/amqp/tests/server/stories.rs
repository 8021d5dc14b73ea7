//! Publishers and consumers that come, work and vanish on a network that delays, cuts and resets,
//! as a seed says.
//!
//! What must hold: of each publisher arrives a beginning of what it sent without a gap, and at
//! least what was confirmed; nothing comes twice unless it says so; what was acknowledged for sure
//! never comes again; and what comes for the first time comes in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, queue};
use ropewalk_amqp::codec::{Method, ShortStr};
use ropewalk_amqp::server::Config;
use ropewalk_reactor::Simulation;

use crate::wire::*;

const Q: ShortStr<'static> = ShortStr::literal("work");

/// A message's name: its publisher, and its number there from 1.
type Name = (u32, u32);

struct Publisher {
    client: Client,
    id: u32,
    sent: u32,
}

struct Consumer {
    client: Client,
    /// Delivered and not acknowledged, by tag.
    held: BTreeMap<u64, Name>,
    /// A `basic.deliver` whose body has not come yet.
    delivery: Option<Vec<u8>>,
    acknowledged: Vec<Name>,
    /// The last of each publisher that came for the first time.
    last: BTreeMap<u32, u32>,
    /// What came though it was settled: right only on a connection that the server has lost or
    /// closed already, and was under way when it did.
    back: Option<Name>,
    /// It has said `connection.close`.
    leaving: bool,
}

struct Story {
    world: World,
    seed: u64,
    resets: bool,
    dice: u64,
    publishers: Vec<Publisher>,
    consumers: Vec<Consumer>,
    next_id: u32,
    /// How many each publisher sent.
    sent: BTreeMap<u32, u32>,
    confirmed: BTreeSet<Name>,
    delivered: BTreeSet<Name>,
    /// Delivered as for the first time.
    fresh: BTreeSet<Name>,
    /// Acknowledged, and the acknowledgement has arrived for sure.
    settled: BTreeSet<Name>,
}

impl Story {
    fn new(seed: u64) -> Story {
        let mut simulation = Simulation::new(seed);
        let resets = seed.is_multiple_of(3);
        if resets {
            simulation.resets(200);
        }
        // One octet at a time is told elsewhere, and would take a million steps here.
        simulation.capacity(64 << (seed % 11));
        // Small marks, so that flow control is part of every story.
        let config =
            Config::default().high_water_mark(if seed.is_multiple_of(2) { 500 } else { 64 << 10 });
        Story {
            world: World::on(simulation, config),
            seed,
            resets,
            dice: seed,
            publishers: vec![],
            consumers: vec![],
            next_id: 0,
            sent: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            delivered: BTreeSet::new(),
            fresh: BTreeSet::new(),
            settled: BTreeSet::new(),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// A client in a hurry: it sends all of its beginning at once.
    fn arrive(&mut self) -> Client {
        let mut client = self.world.dial();
        client.peer.write(&opening(&Opening::default()));
        client.peer.write(&method(1, &channel::Open::default()));
        client.peer.write(&method(1, &queue::Declare { queue: Q, ..Default::default() }));
        client
    }

    fn publisher_arrives(&mut self) {
        let mut client = self.arrive();
        client.peer.write(&method(1, &confirm::Select { nowait: true }));
        self.next_id += 1;
        self.publishers.push(Publisher { client, id: self.next_id, sent: 0 });
    }

    fn consumer_arrives(&mut self, prefetch_count: u16) {
        let mut client = self.arrive();
        client.peer.write(&method(1, &basic::Qos { prefetch_count, ..Default::default() }));
        let consume = basic::Consume { queue: Q, nowait: true, ..Default::default() };
        client.peer.write(&method(1, &consume));
        self.consumers.push(Consumer {
            client,
            held: BTreeMap::new(),
            delivery: None,
            acknowledged: vec![],
            last: BTreeMap::new(),
            back: None,
            leaving: false,
        });
    }

    fn publish_some(&mut self) {
        if self.publishers.is_empty() {
            return;
        }
        let at = self.below(self.publishers.len() as u64) as usize;
        let (count, size) = (self.below(20), [0, 100, 5000][self.below(3) as usize]);
        let publisher = &mut self.publishers[at];
        for _ in 0..count {
            publisher.sent += 1;
            let mut body = format!("{} {} ", publisher.id, publisher.sent).into_bytes();
            body.resize(body.len() + size, b'.');
            publisher.client.peer.write(&publish(1, "work", &body));
        }
        self.sent.insert(publisher.id, publisher.sent);
    }

    fn acknowledge_some(&mut self) {
        if self.consumers.is_empty() {
            return;
        }
        let at = self.below(self.consumers.len() as u64) as usize;
        let (how, which) = (self.below(4), self.below(1000) as usize);
        let consumer = &mut self.consumers[at];
        if consumer.held.is_empty() || consumer.leaving {
            return;
        }
        let tag = *consumer.held.keys().nth(which % consumer.held.len()).unwrap();
        let peer = &mut consumer.client.peer;
        match how {
            0 => {
                peer.write(&method(
                    1,
                    &basic::Nack { delivery_tag: tag, multiple: false, requeue: true },
                ));
                consumer.held.remove(&tag);
            }
            1 => {
                peer.write(&method(1, &basic::Ack { delivery_tag: tag, multiple: true }));
                let rest = consumer.held.split_off(&(tag + 1));
                let done = std::mem::replace(&mut consumer.held, rest);
                consumer.acknowledged.extend(done.into_values());
            }
            _ => {
                peer.write(&method(1, &basic::Ack { delivery_tag: tag, multiple: false }));
                consumer.acknowledged.extend(consumer.held.remove(&tag));
            }
        }
    }

    fn vanish(client: &mut Client, how: u64) {
        match how {
            0 => client.peer.reset(),
            1 => client.peer.shutdown(),
            _ => client.peer.close(),
        }
    }

    fn someone_vanishes(&mut self) {
        let how = self.below(3);
        if self.below(2) == 0 && !self.publishers.is_empty() {
            let at = self.below(self.publishers.len() as u64) as usize;
            let mut publisher = self.publishers.swap_remove(at);
            Self::vanish(&mut publisher.client, how);
        } else if !self.consumers.is_empty() {
            let at = self.below(self.consumers.len() as u64) as usize;
            let mut consumer = self.consumers.swap_remove(at);
            Self::vanish(&mut consumer.client, how);
        }
    }

    fn a_consumer_leaves(&mut self) {
        if self.consumers.is_empty() {
            return;
        }
        let at = self.below(self.consumers.len() as u64) as usize;
        let consumer = &mut self.consumers[at];
        if !consumer.leaving {
            consumer.leaving = true;
            consumer.client.peer.write(&method(0, &connection::Close::default()));
        }
    }

    /// Looks at all that has come. True if there was any delivery.
    fn look(&mut self) -> bool {
        for publisher in &mut self.publishers {
            while let Some(seen) = publisher.client.next_now() {
                let Seen::Method(1, "basic.ack", payload) = seen else { continue };
                let Ok(Method::BasicAck(ack)) = Method::decode(&payload) else { unreachable!() };
                let last = u32::try_from(ack.delivery_tag).unwrap();
                let first = if ack.multiple { 1 } else { last };
                self.confirmed.extend((first..=last).map(|number| (publisher.id, number)));
            }
        }
        let mut any = false;
        let mut left = vec![];
        for (at, consumer) in self.consumers.iter_mut().enumerate() {
            let Consumer { client, held, delivery, last, back, .. } = consumer;
            while let Some(seen) = client.next_now() {
                match seen {
                    Seen::Method(1, "basic.deliver", payload) => *delivery = Some(payload),
                    Seen::Body(1, body) => {
                        // Bodies here are small: one frame each, and never empty.
                        let payload = delivery.take().expect("a method before its body");
                        let Ok(Method::BasicDeliver(deliver)) = Method::decode(&payload) else {
                            unreachable!()
                        };
                        let name = name(&body);
                        let seed = self.seed;
                        if self.settled.contains(&name) {
                            *back = Some(name);
                        }
                        self.delivered.insert(name);
                        if !deliver.redelivered {
                            assert!(self.fresh.insert(name), "seed {seed}: {name:?} twice");
                            let before = last.insert(name.0, name.1).unwrap_or(0);
                            assert!(before < name.1, "seed {seed}: {name:?} after {before}");
                        }
                        held.insert(deliver.delivery_tag, name);
                        any = true;
                    }
                    Seen::Method(0, "connection.close-ok", _) => left.push(at),
                    Seen::Method(0, "connection.close", _)
                    | Seen::Method(1, "channel.close", _) => {
                        panic!("seed {}: {seen:?}", self.seed)
                    }
                    _ => {}
                }
            }
        }
        for at in left.into_iter().rev() {
            self.settled.extend(self.consumers.swap_remove(at).acknowledged);
        }
        if !self.resets {
            let stay = self.consumers.iter().filter(|consumer| !consumer.leaving);
            let back = stay.filter_map(|consumer| consumer.back).next();
            assert_eq!(back, None, "seed {}: it is back", self.seed);
        }
        any
    }

    fn wait(&mut self, most: u64) -> bool {
        let milliseconds = self.below(most);
        self.world.simulation.run_for(Duration::from_millis(milliseconds));
        let any = self.look();
        self.publishers.retain(|publisher| !publisher.client.peer.is_ended());
        self.consumers.retain(|consumer| !consumer.client.peer.is_ended());
        any
    }

    fn tell(mut self) {
        for _ in 0..120 {
            match self.below(12) {
                0 if self.publishers.len() < 3 => self.publisher_arrives(),
                1 if self.consumers.len() < 4 => {
                    let prefetch = self.below(5) as u16 * 3;
                    self.consumer_arrives(prefetch);
                }
                2..=4 => self.publish_some(),
                5..=8 => self.acknowledge_some(),
                9 => self.someone_vanishes(),
                10 => self.a_consumer_leaves(),
                _ => {
                    self.wait(400);
                }
            }
            if self.below(3) == 0 {
                self.wait(50);
            }
        }
        self.end();
    }

    /// All consumers vanish; one comes and takes the rest.
    fn end(mut self) {
        self.world.simulation.resets(0);
        for mut consumer in std::mem::take(&mut self.consumers) {
            consumer.client.peer.reset();
        }
        self.wait(20_000);
        self.consumer_arrives(0);
        // A network that holds one octet and is a quarter of a second long takes its time.
        let mut quiet = 0;
        for _ in 0..20_000 {
            quiet = if self.wait(5000) || self.world.messages() > 0 { 0 } else { quiet + 1 };
            if quiet == 40 {
                break;
            }
            for consumer in &mut self.consumers {
                let all = basic::Ack { delivery_tag: 0, multiple: true };
                consumer.client.peer.write(&method(1, &all));
            }
        }
        let seed = self.seed;
        assert_eq!(self.consumers.len(), 1, "seed {seed}");
        assert_eq!(self.consumers[0].back, None, "seed {seed}: it is back");
        for name in &self.confirmed {
            assert!(self.delivered.contains(name), "seed {seed}: {name:?} is lost");
        }
        for (id, sent) in &self.sent {
            let of = self.delivered.range((*id, 0)..=(*id, u32::MAX));
            let numbers: Vec<u32> = of.map(|(_, number)| *number).collect();
            let expected: Vec<u32> = (1..=numbers.len() as u32).collect();
            assert_eq!(numbers, expected, "seed {seed}: publisher {id} sent {sent}");
        }
        for publisher in &self.publishers {
            let last = (publisher.id, publisher.sent);
            let all = last.1 == 0 || self.confirmed.contains(&last);
            assert!(all, "seed {seed}: {last:?} was not confirmed to one who waited");
        }
        assert_eq!(self.world.messages(), 0, "seed {seed}");
        assert_eq!(self.world.connections(), 1 + self.publishers.len(), "seed {seed}");
    }
}

fn name(body: &[u8]) -> Name {
    let text = std::str::from_utf8(body).unwrap();
    let mut words = text.split(' ').map(|word| word.parse().unwrap_or(0));
    (words.next().unwrap(), words.next().unwrap())
}

#[test]
fn whoever_vanishes_nothing_is_lost_doubled_or_reordered() {
    for seed in 0..1000 {
        Story::new(seed).tell();
    }
}
