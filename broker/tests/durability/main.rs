//! Random calls against a broker with a store that crashes, held against a model.
//!
//! Queues page in and out all the time, answers of the store come late, and at random moments the
//! power goes: a new broker is restored from what the store had synced, and from anything between
//! that and all that was journaled. The model knows of every message in every queue between which
//! records it came and went, and so what must be there again, what must not, and what may.

mod calls;
#[path = "../common/mod.rs"]
mod common;
mod crash;
mod events;
mod store;

use std::collections::BTreeMap;

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

/// Whether a message counts as redelivered.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Again {
    No,
    Yes,
    /// It was not handed out, but a lease reached it before a crash.
    Maybe,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    /// The order in its queue.
    at: u64,
    body: u64,
    again: Again,
}

/// Between which counts of records something happened.
type Window = (usize, usize);

/// The life of a message in a queue.
#[derive(Debug, Clone)]
struct Life {
    at: u64,
    /// Persistent, and the queue durable.
    kept: bool,
    born: Window,
    /// It never went to the store: a consumer without acknowledgements had it at once.
    passed: bool,
    ended: Option<Window>,
    delivered: bool,
}

#[derive(Debug)]
struct ModelQueue {
    /// Which of the queues of this name it is.
    incarnation: u64,
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
    last_tag: u64,
    prefetch: u64,
    consumers: BTreeMap<String, ModelConsumer>,
    unacked: BTreeMap<u64, Held>,
    transaction: bool,
}

struct Model {
    house: House,
    random: Random,
    config: Config,
    connection: ConnectionId,
    writable: bool,
    admin: ChannelId,
    channels: BTreeMap<usize, ModelChannel>,
    queues: BTreeMap<usize, ModelQueue>,
    incarnations: u64,
    /// By queue and body.
    lives: BTreeMap<(usize, u64), Life>,
    published: u64,
    /// Bodies by the numbers of their publishes on the channel with confirms.
    confirms: BTreeMap<u64, u64>,
    next_confirm: u64,
    /// Records that are synced, and what is on its way to be.
    synced: usize,
    syncing: Option<(usize, u64)>,
    /// Loads under way; what was read for some of them.
    loads: Vec<(Load, Option<Vec<LoadedMessage>>)>,
    /// Records when the step began.
    began: usize,
    log: Vec<String>,
    crashes: u64,
}

const QUEUES: u64 = 3;
const CHANNELS: u64 = 3;

/// The last queue is transient.
fn is_durable(queue: usize) -> bool {
    queue + 1 < QUEUES as usize
}

fn name(queue: usize) -> String {
    format!("q{queue}")
}

/// A body of some length that says its number.
fn body(number: u64) -> String {
    format!("{number}{}", " ".repeat(number as usize % 17))
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut random = Random(seed);
        let mut config = Config::default();
        config.pass_deliveries = 1 + random.below(5) as usize;
        config.page_messages = 1 + random.below(6) as usize;
        config.page_bytes = [20, 100, 1 << 20][random.below(3) as usize];
        config.lease = random.below(4);
        config.max_lease = random.below(9);
        let mut house = House::with_store(config.clone());
        let (connection, admin) = Model::enter(&mut house);
        Model {
            house,
            random,
            config,
            connection,
            writable: true,
            admin,
            channels: BTreeMap::new(),
            queues: BTreeMap::new(),
            incarnations: 0,
            lives: BTreeMap::new(),
            published: 0,
            confirms: BTreeMap::new(),
            next_confirm: 1,
            synced: 0,
            syncing: None,
            loads: Vec::new(),
            began: 0,
            log: Vec::new(),
            crashes: 0,
        }
    }

    fn enter(house: &mut House) -> (ConnectionId, ChannelId) {
        let admin = house.channel(99);
        house.broker.select_confirm(admin).expect("a plain channel");
        (house.connection(1), admin)
    }

    fn step(&mut self) {
        self.began = self.house.journaled();
        let queue = self.random.below(QUEUES) as usize;
        let channel = self.random.below(CHANNELS) as usize;
        match self.random.below(112) {
            0..26 => self.publish(queue),
            26..31 => self.publish_to_all(),
            31..47 => self.settle(channel),
            47..55 => self.consume(channel, queue),
            55..60 => self.cancel(channel),
            60..68 => self.get(channel, queue),
            68..72 => self.qos(channel),
            72..75 => self.close_channel(channel),
            75..79 => self.flow(),
            79..81 => self.recover(channel),
            81..83 => self.purge(queue),
            83..85 => self.delete(queue),
            85..93 => self.ask_for_loads(),
            93..101 => self.answer_a_load(),
            101..108 => self.sync(),
            108..110 => self.quiesce(),
            110 => return self.crash(),
            _ => return self.restart(),
        }
        self.drain();
        self.check();
    }

    fn queue(&mut self, queue: usize) -> &mut ModelQueue {
        if !self.queues.contains_key(&queue) {
            self.incarnations += 1;
            let incarnation = self.incarnations;
            self.queues.insert(queue, ModelQueue { incarnation, ready: Vec::new(), next: 0 });
            let flags = if is_durable(queue) { "durable" } else { "" };
            let none = Table::new();
            self.house.declare_with(self.admin, &name(queue), flags, &none).expect("declared");
            self.house.bind(self.admin, "amq.fanout", &name(queue), "");
        }
        self.queues.get_mut(&queue).expect("just made")
    }

    fn channel(&mut self, channel: usize) -> &mut ModelChannel {
        if !self.channels.contains_key(&channel) {
            let number = channel as u16 + 1;
            let id = self.house.broker.open_channel(self.connection, number).expect("not open");
            let transaction = self.random.one_in(5);
            if transaction {
                self.house.broker.select_transaction(id).expect("a plain channel");
            }
            let state = ModelChannel {
                id,
                last_tag: 0,
                prefetch: 0,
                consumers: BTreeMap::new(),
                unacked: BTreeMap::new(),
                transaction,
            };
            self.channels.insert(channel, state);
        }
        self.channels.get_mut(&channel).expect("just made")
    }
}

fn parse(body: &[u8]) -> u64 {
    String::from_utf8_lossy(body).trim_end().parse().expect("a number")
}

fn number(message: &Message) -> u64 {
    parse(message.body())
}

fn run(seed: u64, steps: usize) -> Vec<String> {
    let mut model = Model::new(seed);
    let run = std::panic::AssertUnwindSafe(|| (0..steps).for_each(|_| model.step()));
    if let Err(panic) = std::panic::catch_unwind(run) {
        eprintln!("seed {seed}, {:?}:\n{}", model.config, model.log.join("\n"));
        std::panic::resume_unwind(panic);
    }
    model.log
}

#[test]
fn what_was_confirmed_is_there_after_every_crash() {
    for seed in common::stories::seeds(10_000) {
        run(seed, 80);
    }
}

#[test]
fn long_lives_go_well_too() {
    for seed in 0..200 {
        run(1_000_000 + seed, 2_000);
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    assert_eq!(run(7, 300), run(7, 300));
}
