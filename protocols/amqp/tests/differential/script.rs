//! A script: what a seed makes a few clients do, right and wrong.

use std::fmt;

use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, exchange, queue, tx};
use ropewalk_amqp::codec::{
    ArrayBuf, BasicProperties, EncodeMethod, Encoder, FrameWriter, ShortStr, TableBuf,
};

use crate::wire::FRAME_MAX;

/// How many connections a script has, and how many channels each.
pub(crate) const CONNECTIONS: usize = 3;
pub(crate) const CHANNELS: u16 = 2;

pub(crate) struct Script {
    pub(crate) prefix: String,
    pub(crate) queues: Vec<String>,
    pub(crate) exchanges: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

/// What one client sends at once.
pub(crate) struct Step {
    pub(crate) connection: usize,
    pub(crate) channel: u16,
    pub(crate) text: String,
    pub(crate) octets: Vec<u8>,
    pub(crate) then: Then,
}

/// What tells that all answers to a step have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The answer to a `channel.flow` that is sent behind it.
    Ping,
    /// The channel's end, or its connection's.
    ChannelEnds,
    /// The connection's end.
    ConnectionEnds,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} channel {}: {}", self.connection, self.channel, self.text)
    }
}

/// Chance that a seed decides (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

struct Maker {
    chance: Chance,
    script: Script,
}

impl Script {
    pub(crate) fn of_seed(seed: u64) -> Script {
        let prefix = format!("d{seed}.");
        let named = |kind: &str, count: usize| -> Vec<String> {
            (0..count).map(|number| format!("{prefix}{kind}{number}")).collect()
        };
        let script =
            Script { queues: named("q", 3), exchanges: named("x", 3), prefix, steps: Vec::new() };
        let mut maker = Maker { chance: Chance(seed), script };
        maker.setting();
        for _ in 0..10 + maker.chance.below(20) {
            maker.step();
        }
        maker.script
    }
}

fn short(text: &str) -> ShortStr<'_> {
    ShortStr::new(text.as_bytes()).expect("names here are short")
}

impl Maker {
    /// Something to work with: most scripts declare what they use.
    fn setting(&mut self) {
        for at in 0..self.script.queues.len() {
            if !self.chance.once_in(4) {
                let name = self.script.queues[at].clone();
                self.declare_queue(0, 1, &name);
            }
        }
        for at in 0..self.script.exchanges.len() {
            if !self.chance.once_in(3) {
                let name = self.script.exchanges[at].clone();
                self.declare_exchange(0, 1, &name);
                let queue = self.chance.of(&self.script.queues.clone());
                self.bind(0, 1, &queue, &name);
            }
        }
    }

    fn step(&mut self) {
        let connection = self.chance.below(CONNECTIONS);
        let channel = 1 + self.chance.below(CHANNELS.into()) as u16;
        let (c, n) = (connection, channel);
        match self.chance.below(100) {
            0..=7 => {
                let name = self.queue_name();
                self.declare_queue(c, n, &name);
            }
            8..=11 => {
                let name = self.exchange_name();
                self.declare_exchange(c, n, &name);
            }
            12..=18 => {
                let (queue, exchange) = (self.queue_name(), self.exchange_name());
                self.bind(c, n, &queue, &exchange);
            }
            19..=20 => self.unbind(c, n),
            21..=23 => self.exchange_binding(c, n),
            24..=49 => self.publish(c, n),
            50..=58 => self.get(c, n),
            59..=66 => self.consume(c, n),
            67..=68 => self.cancel(c, n),
            69..=80 => self.settle(c, n),
            81..=83 => self.qos(c, n),
            84..=85 => {
                let requeue = !self.chance.once_in(6);
                self.method(c, n, &basic::Recover { requeue });
            }
            86..=88 => self.mode(c, n),
            89..=91 => self.delete(c, n),
            92 => {
                let queue = self.queue_name();
                self.method(c, n, &queue::Purge { queue: short(&queue), ..Default::default() });
            }
            93..=95 => {
                let close = channel::Close { reply_code: 200, ..Default::default() };
                self.send(c, n, "channel.close".into(), Then::ChannelEnds, |frames| {
                    frames.method(n, &close);
                });
            }
            96 => {
                let close = connection::Close { reply_code: 200, ..Default::default() };
                self.send(c, n, "connection.close".into(), Then::ConnectionEnds, |frames| {
                    frames.method(0, &close);
                });
            }
            _ => self.wrong(c, n),
        }
    }

    // Names.

    fn queue_name(&mut self) -> String {
        match self.chance.below(14) {
            0 => String::new(),
            1 => format!("{}none", self.script.prefix),
            _ => self.chance.of(&self.script.queues.clone()),
        }
    }

    fn exchange_name(&mut self) -> String {
        match self.chance.below(14) {
            0 => String::new(),
            1 => format!("{}none", self.script.prefix),
            2 => self.chance.of(&["amq.direct", "amq.fanout", "amq.topic", "amq.match"]).to_owned(),
            _ => self.chance.of(&self.script.exchanges.clone()),
        }
    }

    /// A key that may be the name of a queue, or fit a pattern.
    fn key(&mut self) -> String {
        match self.chance.below(4) {
            0 => self.queue_name(),
            _ => self.chance.of(&["", "a", "a.b", "a.b.c", "b", "a..b", "."]).to_owned(),
        }
    }

    fn pattern(&mut self) -> String {
        let patterns = ["", "a", "a.b", "#", "*", "a.#", "#.b", "*.b", "a.*.c", "#.a.#", "b"];
        self.chance.of(&patterns).to_owned()
    }

    // Methods.

    fn declare_queue(&mut self, c: usize, n: u16, name: &str) {
        let mut arguments = TableBuf::new();
        for _ in 0..self.chance.below(3) {
            arguments = self.queue_argument(arguments);
        }
        // A durable queue may be exclusive; of a transient one of another connection, a
        // 4.x would refuse the declaration.
        let declare = queue::Declare {
            queue: short(name),
            passive: self.chance.once_in(5),
            durable: self.chance.once_in(2),
            exclusive: self.chance.once_in(6),
            auto_delete: self.chance.once_in(6),
            nowait: self.chance.once_in(12),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &declare);
    }

    fn queue_argument(&mut self, table: TableBuf) -> TableBuf {
        let exchange = self.exchange_name();
        match self.chance.below(18) {
            0 => table.with("x-message-ttl", self.chance.of(&[0_i32, 600_000, -1])),
            1 => table.with("x-expires", self.chance.of(&[600_000_i32, 0, -5])),
            2 => table.with("x-max-length", self.chance.of(&[0_i32, 1, 2, 3, -1])),
            3 => table.with("x-max-length-bytes", self.chance.of(&[0_i32, 10, 100])),
            4 => table.with("x-overflow", self.chance.of(&["drop-head", "reject-publish", "no"])),
            5 => table.with("x-overflow", "reject-publish-dlx"),
            6..=8 => table.with("x-dead-letter-exchange", exchange.as_str()),
            9 => table.with("x-dead-letter-routing-key", "a.b"),
            10 => table.with("x-max-priority", self.chance.of(&[1_i32, 5, 10, 300])),
            11 => table.with("x-single-active-consumer", true),
            12 => table.with("x-message-ttl", "soon"),
            13 | 14 => table.with("x-queue-type", self.chance.of(&["quorum", "quorum", "classic"])),
            15 => table.with("x-delivery-limit", self.chance.of(&[0_i32, 1, 2])),
            16 => table.with("x-dead-letter-exchange", 7_i32),
            _ => table.with("x-unknown", 7_i32),
        }
    }

    fn declare_exchange(&mut self, c: usize, n: u16, name: &str) {
        let alternate = self.exchange_name();
        let mut arguments = TableBuf::new();
        if self.chance.once_in(5) {
            arguments = arguments.with("alternate-exchange", alternate.as_str());
        }
        let declare = exchange::Declare {
            exchange: short(name),
            exchange_type: ShortStr::literal(
                self.chance.of(&["direct", "fanout", "topic", "topic", "headers"]),
            ),
            passive: self.chance.once_in(6),
            durable: self.chance.once_in(2),
            auto_delete: self.chance.once_in(5),
            internal: self.chance.once_in(12),
            nowait: self.chance.once_in(12),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &declare);
    }

    /// What a headers exchange matches by, now and then.
    fn binding_arguments(&mut self) -> TableBuf {
        let mut table = TableBuf::new();
        if self.chance.once_in(3) {
            table = table.with("x-match", self.chance.of(&["all", "any", "all-with-x", "some"]));
        }
        if self.chance.once_in(3) {
            table = table.with("colour", self.chance.of(&["red", "blue"]));
        }
        if self.chance.once_in(4) {
            table = table.with("size", self.chance.of(&[1_i32, 2]));
        }
        table
    }

    fn bind(&mut self, c: usize, n: u16, queue: &str, exchange: &str) {
        let (key, arguments) = (self.pattern(), self.binding_arguments());
        let bind = queue::Bind {
            queue: short(queue),
            exchange: short(exchange),
            routing_key: short(&key),
            nowait: self.chance.once_in(12),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &bind);
    }

    fn unbind(&mut self, c: usize, n: u16) {
        let (queue, exchange, key) = (self.queue_name(), self.exchange_name(), self.pattern());
        let unbind = queue::Unbind {
            queue: short(&queue),
            exchange: short(&exchange),
            routing_key: short(&key),
            ..Default::default()
        };
        self.method(c, n, &unbind);
    }

    fn exchange_binding(&mut self, c: usize, n: u16) {
        let (destination, source) = (self.exchange_name(), self.exchange_name());
        let key = self.pattern();
        if self.chance.once_in(4) {
            let unbind = exchange::Unbind {
                destination: short(&destination),
                source: short(&source),
                routing_key: short(&key),
                ..Default::default()
            };
            self.method(c, n, &unbind);
        } else {
            let bind = exchange::Bind {
                destination: short(&destination),
                source: short(&source),
                routing_key: short(&key),
                ..Default::default()
            };
            self.method(c, n, &bind);
        }
    }

    fn publish(&mut self, c: usize, n: u16) {
        let exchange = if self.chance.once_in(3) { String::new() } else { self.exchange_name() };
        let key = if exchange.is_empty() { self.queue_name() } else { self.key() };
        let publish = basic::Publish {
            exchange: short(&exchange),
            routing_key: short(&key),
            mandatory: self.chance.once_in(3),
            immediate: self.chance.once_in(60),
            ..Default::default()
        };
        let mut headers = TableBuf::new();
        if self.chance.once_in(3) {
            headers = headers.with("colour", self.chance.of(&["red", "blue"]));
        }
        if self.chance.once_in(5) {
            headers = headers.with("size", self.chance.of(&[1_i64, 2]));
        }
        for name in ["CC", "BCC"] {
            if self.chance.once_in(12) {
                let to = ArrayBuf::new().with(self.queue_name().as_str()).with("a.b");
                headers = headers.with(name, &to);
            }
        }
        if self.chance.once_in(60) {
            headers = headers.with("CC", "not an array");
        }
        let (number, expiration) =
            (self.script.steps.len().to_string(), self.chance.of(&["600000", "0", "soon", "-1"]));
        let properties = BasicProperties {
            content_type: self.chance.once_in(4).then_some(ShortStr::literal("text/plain")),
            headers: (!headers.as_table().is_empty()).then_some(headers.as_table()),
            delivery_mode: self.chance.once_in(2).then(|| 1 + self.chance.below(2) as u8),
            priority: self.chance.once_in(4).then(|| self.chance.below(12) as u8),
            correlation_id: self.chance.once_in(5).then_some(ShortStr::literal("7")),
            reply_to: self.chance.once_in(16).then(|| {
                ShortStr::literal(self.chance.of(&["somewhere", "amq.rabbitmq.reply-to"]))
            }),
            expiration: self.chance.once_in(12).then(|| ShortStr::literal(expiration)),
            message_id: Some(short(&number)),
            timestamp: self.chance.once_in(6).then_some(12_345),
            user_id: self
                .chance
                .once_in(20)
                .then(|| ShortStr::literal(self.chance.of(&["guest", "guest", "somebody else"]))),
            ..Default::default()
        };
        let length = match self.chance.below(20) {
            0 => 0,
            1 => 200_000 + self.chance.below(100_000),
            _ => 1 + self.chance.below(40),
        };
        let body: Vec<u8> = number.bytes().chain([b'.']).cycle().take(length).collect();
        let text = format!("{publish:?} {properties:?} {length} octets");
        let properties = properties.to_vec();
        self.send(c, n, text, Then::Ping, |frames| {
            frames.content_copied(n, &publish, &properties, &body);
        });
    }

    fn get(&mut self, c: usize, n: u16) {
        let queue = self.queue_name();
        let no_ack = self.chance.once_in(3);
        self.method(c, n, &basic::Get { queue: short(&queue), no_ack, ..Default::default() });
    }

    fn consume(&mut self, c: usize, n: u16) {
        let queue = match self.chance.once_in(16) {
            true => "amq.rabbitmq.reply-to".to_owned(),
            false => self.queue_name(),
        };
        let tag = self.chance.of(&["", "one", "two", "three", "four"]);
        let mut arguments = TableBuf::new();
        if self.chance.once_in(5) {
            arguments = arguments.with("x-priority", self.chance.of(&[1_i32, -1, 5]));
        }
        let consume = basic::Consume {
            queue: short(&queue),
            consumer_tag: ShortStr::literal(tag),
            no_ack: self.chance.once_in(3),
            exclusive: self.chance.once_in(8),
            nowait: !tag.is_empty() && self.chance.once_in(12),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &consume);
    }

    fn cancel(&mut self, c: usize, n: u16) {
        let tag = self.chance.of(&["one", "two", "three", "four"]);
        let cancel = basic::Cancel { consumer_tag: ShortStr::literal(tag), nowait: false };
        self.method(c, n, &cancel);
    }

    fn settle(&mut self, c: usize, n: u16) {
        let delivery_tag = self.chance.of(&[0, 1, 1, 1, 2, 2, 3, 4, 5, 9]);
        let (multiple, requeue) = (self.chance.once_in(3), self.chance.once_in(2));
        match self.chance.below(4) {
            0 => self.method(c, n, &basic::Reject { delivery_tag, requeue }),
            1 => self.method(c, n, &basic::Nack { delivery_tag, multiple, requeue }),
            _ => self.method(c, n, &basic::Ack { delivery_tag, multiple }),
        }
    }

    fn qos(&mut self, c: usize, n: u16) {
        let qos = basic::Qos {
            prefetch_size: if self.chance.once_in(20) { 10 } else { 0 },
            prefetch_count: self.chance.of(&[0, 1, 2, 3]),
            global: self.chance.once_in(3),
        };
        self.method(c, n, &qos);
    }

    fn mode(&mut self, c: usize, n: u16) {
        match self.chance.below(6) {
            0..=2 => self.method(c, n, &confirm::Select { nowait: false }),
            3 => self.method(c, n, &tx::Select {}),
            4 => self.method(c, n, &tx::Commit {}),
            _ => self.method(c, n, &tx::Rollback {}),
        }
    }

    fn delete(&mut self, c: usize, n: u16) {
        if self.chance.once_in(3) {
            let exchange = self.exchange_name();
            let delete = exchange::Delete {
                exchange: short(&exchange),
                if_unused: self.chance.once_in(2),
                ..Default::default()
            };
            self.method(c, n, &delete);
        } else {
            let queue = self.queue_name();
            let delete = queue::Delete {
                queue: short(&queue),
                if_unused: self.chance.once_in(3),
                if_empty: self.chance.once_in(3),
                ..Default::default()
            };
            self.method(c, n, &delete);
        }
    }

    /// What no good client does.
    fn wrong(&mut self, c: usize, n: u16) {
        match self.chance.below(6) {
            0 => self.method(c, n, &channel::Open::default()),
            1 => self.method(c, n, &channel::Flow { active: false }),
            2 => self.method(c, n, &queue::DeclareOk::default()),
            3 => self.method(c, n, &connection::Open::default()),
            4 => self.method(c, n, &basic::Publish::default()),
            _ => self.raw(c, n, "a body alone", &[3, 0, n as u8, 0, 0, 0, 1, 7, 0xce]),
        }
    }

    // Putting together.

    fn method(&mut self, c: usize, n: u16, method: &(impl EncodeMethod + fmt::Debug)) {
        self.send(c, n, format!("{method:?}"), Then::Ping, |frames| frames.method(n, method));
    }

    fn raw(&mut self, c: usize, n: u16, text: &str, octets: &[u8]) {
        let step = Step {
            connection: c,
            channel: n,
            text: text.to_owned(),
            octets: octets.to_vec(),
            then: Then::Ping,
        };
        self.script.steps.push(step);
    }

    fn send(
        &mut self,
        c: usize,
        n: u16,
        text: String,
        then: Then,
        write: impl FnOnce(&mut FrameWriter<'_, Vec<u8>>),
    ) {
        let mut octets = Vec::new();
        write(&mut Encoder::frames_in(&mut octets, FRAME_MAX));
        let text = text.replace(&self.script.prefix, "");
        self.script.steps.push(Step { connection: c, channel: n, text, octets, then });
    }
}

#[test]
fn a_seed_makes_the_same_script_again() {
    let of = |seed| -> Vec<String> {
        Script::of_seed(seed).steps.iter().map(ToString::to_string).collect()
    };
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}
