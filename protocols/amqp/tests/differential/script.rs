//! A script: what a seed makes a few clients do, right and wrong.
//!
//! RabbitMQ's queues are processes of their own, and what two of them do at once happens in any
//! order. So each channel has one queue of its own, and takes messages that it has to acknowledge
//! from that alone: no step then depends on which of two queues is the faster.

use std::fmt;

use ropewalk_amqp::codec::{EncodeMethod, Encoder, FrameWriter, ShortStr};

use crate::theme::Theme;
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
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) connection: usize,
    pub(crate) channel: u16,
    pub(crate) text: String,
    pub(crate) sent: Sent,
    pub(crate) then: Then,
}

#[derive(Clone)]
pub(crate) enum Sent {
    /// Octets on the step's connection, whose channel is opened before if it is not open.
    Octets(Vec<u8>),
    /// What is made of an address for direct replies: the last that the clients saw.
    ToAddress(fn(u16, &str) -> Vec<u8>),
    /// Octets on a connection of their own, from the protocol header on.
    Greeting(Vec<u8>),
}

/// What tells that all answers to a step have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The answer to a `channel.flow` that is sent behind it, or the channel's end.
    Ping,
    /// The answer to the step itself: RabbitMQ takes no other method before it has come.
    Answer,
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
pub(crate) struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// Makes a script. What it can put in stands in the files `declare`, `message` and `wrong`.
pub(crate) struct Maker {
    pub(crate) chance: Chance,
    pub(crate) theme: Theme,
    /// Whether a channel has one consumer at most, and can give several messages back at once.
    ///
    /// RabbitMQ gives them back consumer by consumer, and delivers in between: see `known`.
    pub(crate) one_consumer: bool,
    /// Whether channels that only consume may have a prefetch for all of their consumers, which
    /// then all acknowledge.
    pub(crate) global_limits: bool,
    /// Whether an empty name may stand for the queue declared last.
    pub(crate) empty_names: bool,
    /// Whether what is published must not be an error.
    pub(crate) good_messages: bool,
    pub(crate) script: Script,
}

impl Script {
    pub(crate) fn of_seed(seed: u64) -> Script {
        let prefix = format!("d{seed}.");
        let named = |kind: &str, count: usize| -> Vec<String> {
            (0..count).map(|number| format!("{prefix}{kind}{number}")).collect()
        };
        let script =
            Script { queues: named("q", 3), exchanges: named("x", 3), prefix, steps: Vec::new() };
        let mut chance = Chance(seed);
        let theme = Theme::of(&mut chance);
        let (one_consumer, global_limits) = (chance.once_in(2), chance.once_in(2));
        let mut maker = Maker {
            chance,
            theme,
            one_consumer,
            global_limits,
            empty_names: true,
            good_messages: false,
            script,
        };
        maker.setting();
        for _ in 0..10 + maker.chance.below(20) {
            let connection = maker.chance.below(CONNECTIONS);
            let channel = 1 + maker.chance.below(CHANNELS.into()) as u16;
            maker.step(connection, channel);
        }
        maker.script
    }
}

pub(crate) fn short(text: &str) -> ShortStr<'_> {
    ShortStr::new(text.as_bytes()).expect("names here are short")
}

impl Maker {
    // Names.

    pub(crate) fn queue_name(&mut self) -> String {
        match self.chance.below(14) {
            0 if self.empty_names => String::new(),
            1 => format!("{}none", self.script.prefix),
            _ => self.chance.of(&self.script.queues.clone()),
        }
    }

    /// Whether a channel takes messages by consumers alone. The others get, and in some scripts
    /// consume too: a limit that is global counts what was got or does not, as it comes.
    pub(crate) fn only_consumes(n: u16) -> bool {
        n == 1
    }

    /// The queue that this channel takes messages from.
    pub(crate) fn own_queue(&self, c: usize, n: u16) -> String {
        self.script.queues[(c + usize::from(n)) % self.script.queues.len()].clone()
    }

    pub(crate) fn exchange_name(&mut self) -> String {
        match self.chance.below(14) {
            0 => String::new(),
            1 => format!("{}none", self.script.prefix),
            2 => self.chance.of(&["amq.direct", "amq.fanout", "amq.topic", "amq.match"]).to_owned(),
            _ => self.chance.of(&self.script.exchanges.clone()),
        }
    }

    /// A key that may be the name of a queue, or fit a pattern.
    pub(crate) fn key(&mut self) -> String {
        match self.chance.below(4) {
            0 => self.queue_name(),
            _ => self.chance.of(&["", "a", "a.b", "a.b.c", "b", "a..b", "."]).to_owned(),
        }
    }

    pub(crate) fn pattern(&mut self) -> String {
        let patterns = ["", "a", "a.b", "#", "*", "a.#", "#.b", "*.b", "a.*.c", "#.a.#", "b"];
        self.chance.of(&patterns).to_owned()
    }

    // Putting together.

    pub(crate) fn method(&mut self, c: usize, n: u16, method: &(impl EncodeMethod + fmt::Debug)) {
        self.send(c, n, format!("{method:?}"), Then::Ping, |frames| frames.method(n, method));
    }

    pub(crate) fn raw(&mut self, c: usize, n: u16, text: &str, octets: &[u8], then: Then) {
        let sent = Sent::Octets(octets.to_vec());
        self.push(Step { connection: c, channel: n, text: text.to_owned(), sent, then });
    }

    pub(crate) fn send(
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
        self.push(Step { connection: c, channel: n, text, sent: Sent::Octets(octets), then });
    }

    pub(crate) fn push(&mut self, step: Step) {
        self.script.steps.push(step);
    }

    /// Sends the steps that `make` makes on one channel at once. All but the last must be such as
    /// a ping would follow.
    pub(crate) fn at_once(&mut self, c: usize, n: u16, make: impl FnOnce(&mut Maker)) {
        let before = self.script.steps.len();
        make(self);
        let (mut text, mut octets, mut then) = (String::new(), Vec::new(), Then::Ping);
        for step in self.script.steps.drain(before..) {
            let Sent::Octets(more) = step.sent else { continue };
            text += if text.is_empty() { "" } else { ", and at once " };
            text += &step.text;
            octets.extend(more);
            then = step.then;
        }
        self.push(Step { connection: c, channel: n, text, sent: Sent::Octets(octets), then });
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
