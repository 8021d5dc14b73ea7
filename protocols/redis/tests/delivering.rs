//! Messages on networks that delay, cut and join: everybody gets all that is theirs, in one order.

mod common;

use std::time::Duration;

use common::World;
use ropewalk_reactor::simulation::Peer;
use ropewalk_redis::codec::{ReplyDecoder, Value, encode_command, matches};
use ropewalk_redis::server::Config;

const SEEDS: u64 = 300;

/// A client that gathers what comes.
struct Client {
    peer: Peer,
    decoder: ReplyDecoder,
    data: Vec<u8>,
    came: Vec<Value>,
}

impl Client {
    fn new(world: &mut World) -> Self {
        let peer = world.client();
        Self { peer, decoder: ReplyDecoder::default(), data: Vec::new(), came: Vec::new() }
    }

    fn call(&mut self, words: &[&str]) {
        let mut wire = Vec::new();
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        encode_command(&mut wire, &words);
        self.peer.write(&wire);
    }

    /// What came so far, and has not been taken.
    fn came(&mut self) -> &mut Vec<Value> {
        self.data.extend_from_slice(&self.peer.read());
        loop {
            let (used, value) = self.decoder.decode(&self.data).expect("a server's own replies");
            self.data.drain(..used);
            match value {
                Some(value) => self.came.push(value),
                None => return &mut self.came,
            }
        }
    }

    fn wait_for(&mut self, world: &mut World, count: usize) -> Vec<Value> {
        for _ in 0..100_000 {
            if self.came().len() >= count {
                return std::mem::take(&mut self.came);
            }
            world.simulation.run_for(Duration::from_millis(100));
        }
        panic!("seed {}: only {:?}", world.simulation.seed(), self.came);
    }
}

/// The texts of a message, as `[kind, pattern, channel, payload]` or without a pattern.
fn texts(value: &Value) -> Vec<String> {
    let items = value.as_items().expect("a message");
    let text = |it: &Value| it.as_bytes().map(|it| String::from_utf8_lossy(it).into_owned());
    items.iter().filter_map(text).collect()
}

#[test]
fn every_subscriber_gets_what_is_its_own_in_the_order_in_which_it_was_published() {
    for seed in 0..SEEDS {
        let mut world = World::seeded(seed, Config::default());
        let mut publishers = [Client::new(&mut world), Client::new(&mut world)];
        // What each has subscribed to; every other one speaks RESP3.
        let wishes: [(&[&str], &[&str]); 4] =
            [(&["a"], &[]), (&["a", "b"], &[]), (&["b"], &["?", "a*"]), (&[], &["[ab]"])];
        let mut subscribers = Vec::new();
        for (number, (channels, patterns)) in wishes.into_iter().enumerate() {
            let mut client = Client::new(&mut world);
            let resp3 = number % 2 == 1;
            if resp3 {
                client.call(&["HELLO", "3"]);
            }
            for channel in channels {
                client.call(&["SUBSCRIBE", channel]);
            }
            for pattern in patterns {
                client.call(&["PSUBSCRIBE", pattern]);
            }
            let confirmed = usize::from(resp3) + channels.len() + patterns.len();
            client.wait_for(&mut world, confirmed);
            subscribers.push((client, channels, patterns, resp3));
        }
        let per_publisher = 12;
        for round in 0..per_publisher {
            for (number, publisher) in publishers.iter_mut().enumerate() {
                let channel = ["a", "b", "c"][(round * 7 + number) % 3];
                let payload = format!("{number}:{round}:{}", "x".repeat(round * 90));
                publisher.call(&["PUBLISH", channel, &payload]);
            }
        }
        let mut counts = 0;
        for publisher in &mut publishers {
            let replies = publisher.wait_for(&mut world, per_publisher);
            counts += replies.iter().filter_map(Value::as_integer).sum::<i64>();
        }
        let mut seen_on_b = Vec::new();
        let mut delivered = 0;
        for (client, channels, patterns, resp3) in &mut subscribers {
            let mut expected = 0;
            for round in 0..per_publisher {
                for number in 0..2 {
                    let channel = ["a", "b", "c"][(round * 7 + number) % 3];
                    expected += usize::from(channels.contains(&channel));
                    let matching = |it: &&&str| matches(it.as_bytes(), channel.as_bytes());
                    expected += patterns.iter().filter(matching).count();
                }
            }
            let messages = client.wait_for(&mut world, expected);
            world.simulation.run_for(Duration::from_secs(10));
            assert!(client.came().is_empty(), "seed {seed}: more than was published");
            assert_eq!(messages.len(), expected, "seed {seed}");
            assert!(messages.iter().all(|it| matches!(it, Value::Push(_)) == *resp3));
            delivered += expected as i64;
            // Of each publisher, on each channel or pattern, in order.
            for way in channels.iter().chain(patterns.iter()) {
                for number in 0..2 {
                    let rounds = messages.iter().map(texts).filter(|it| it[1] == **way);
                    let payloads = rounds.map(|it| it[it.len() - 1].clone());
                    let own = payloads.filter(|it| it.starts_with(&format!("{number}:")));
                    let rounds: Vec<usize> = own
                        .map(|it| it.split(':').nth(1).expect("a round").parse().expect("digits"))
                        .collect();
                    assert!(rounds.is_sorted(), "seed {seed}: {rounds:?}");
                }
            }
            if channels.contains(&"b") {
                let on_b =
                    messages.iter().map(texts).filter(|it| it[0] == "message" && it[1] == "b");
                seen_on_b.push(on_b.collect::<Vec<_>>());
            }
        }
        assert_eq!(counts, delivered, "seed {seed}: what publishers were told");
        assert_eq!(seen_on_b[0], seen_on_b[1], "seed {seed}: two orders on one channel");
    }
}

#[test]
fn a_message_too_large_to_be_copied_is_shared_and_whole() {
    let mut world = World::calm(Config::default());
    let mut clients: Vec<_> = (0..3).map(|_| Client::new(&mut world)).collect();
    clients[1].call(&["HELLO", "3"]);
    clients[1].wait_for(&mut world, 1);
    for client in &mut clients {
        client.call(&["SUBSCRIBE", "a"]);
        client.wait_for(&mut world, 1);
    }
    let mut publisher = Client::new(&mut world);
    for length in [16_000, 16_384, 3_000_000, 5] {
        let payload = "y".repeat(length);
        publisher.call(&["PUBLISH", "a", &payload]);
        let counted = publisher.wait_for(&mut world, 1);
        assert_eq!(counted, [Value::Integer(3)]);
        for client in &mut clients {
            let message = client.wait_for(&mut world, 1);
            assert_eq!(texts(&message[0]), ["message", "a", &payload]);
        }
    }
}
