//! What a script is about: which steps it makes, and how often.
//!
//! Steps that are chosen from all that there is seldom meet; those of one theme do.

use ropewalk_amqp::codec::TableBuf;
use ropewalk_amqp::codec::method::{basic, confirm, tx};

use crate::script::{Chance, Maker, short};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// All that there is.
    Anything,
    /// Headers exchanges, exchanges bound to exchanges, alternate exchanges.
    Routing,
    /// A chain of queues that dead-letter to each other.
    Death,
    /// Priorities, lengths and times, with confirms.
    Limits,
    /// Consumers: single active, exclusive, of several priorities, with prefetches.
    Consumers,
    Transactions,
    /// Direct reply-to.
    Replies,
    /// What no good client does.
    Wrong,
    /// A quorum queue beside classic ones.
    Quorum,
}

/// A kind of step.
type Kind = fn(&mut Maker, usize, u16);

/// Steps with their weights.
type Kinds = &'static [(usize, Kind)];

const ANYTHING: Kinds = &[
    (8, Maker::declare_any_queue),
    (4, Maker::declare_any_exchange),
    (7, Maker::bind_any),
    (3, Maker::unbind),
    (4, Maker::exchange_binding),
    (26, Maker::publish),
    (9, Maker::get),
    (8, Maker::consume),
    (2, Maker::cancel),
    (12, Maker::settle),
    (3, Maker::qos),
    (2, Maker::recover),
    (3, Maker::mode),
    (3, Maker::delete),
    (1, Maker::purge),
    (2, Maker::burst),
    (3, Maker::close_channel),
    (1, Maker::close_connection),
    (2, Maker::wrong_method),
];

const ROUTING: Kinds = &[
    (20, Maker::bind_any),
    (5, Maker::unbind),
    (15, Maker::exchange_binding),
    (8, Maker::declare_any_exchange),
    (4, Maker::delete),
    (50, Maker::publish),
    (8, Maker::get),
    (1, Maker::purge),
];

const DEATH: Kinds = &[
    (30, Maker::publish_to_a_queue),
    (5, Maker::publish_some),
    (12, Maker::get),
    (10, Maker::consume_own),
    (25, Maker::settle),
    (2, Maker::cancel),
    (2, Maker::purge),
    (2, Maker::recover),
    (2, Maker::qos),
    (3, Maker::close_channel),
];

const LIMITS: Kinds = &[
    (25, Maker::publish_to_a_queue),
    (15, Maker::publish_some),
    (10, Maker::publish),
    (12, Maker::get),
    (6, Maker::consume_own),
    (15, Maker::settle),
    (2, Maker::recover),
    (2, Maker::cancel),
    (4, Maker::close_channel),
    (2, Maker::select_confirms),
];

const CONSUMERS: Kinds = &[
    (25, Maker::consume_own),
    (10, Maker::cancel),
    (15, Maker::publish_to_a_queue),
    (10, Maker::publish_some),
    (20, Maker::settle),
    (8, Maker::qos),
    (4, Maker::recover),
    (3, Maker::get),
    (5, Maker::close_channel),
    (2, Maker::close_connection),
    (2, Maker::delete),
];

const TRANSACTIONS: Kinds = &[
    (10, Maker::mode),
    (20, Maker::publish_to_a_queue),
    (5, Maker::publish),
    (15, Maker::get),
    (5, Maker::consume_own),
    (20, Maker::settle),
    (10, Maker::commit),
    (8, Maker::roll_back),
    (2, Maker::recover),
    (4, Maker::close_channel),
    (1, Maker::delete),
];

const REPLIES: Kinds = &[
    (12, Maker::consume_replies),
    (25, Maker::request),
    (20, Maker::get_beside_replies),
    (20, Maker::reply),
    (6, Maker::declare_address),
    (4, Maker::cancel),
    (4, Maker::consume_beside_replies),
    (3, Maker::close_channel),
    (1, Maker::close_connection),
];

const WRONG: Kinds = &[
    (20, Maker::wrong_method),
    (40, Maker::wrong_frame),
    (15, Maker::wrong_content),
    (4, Maker::wrong_greeting),
    (10, Maker::publish_in_pieces),
    (10, Maker::interleave),
    (5, Maker::declare_any_queue),
    (5, Maker::get),
    (3, Maker::close_channel),
    (3, Maker::nowait_error),
];

const QUORUM: Kinds = &[
    (30, Maker::publish_to_a_queue),
    (5, Maker::publish_some),
    (10, Maker::get),
    (10, Maker::consume_own),
    (25, Maker::settle_one),
    (2, Maker::purge),
    (3, Maker::delete),
    (3, Maker::declare_any_queue),
    (3, Maker::close_channel),
];

impl Theme {
    pub(crate) fn of(chance: &mut Chance) -> Theme {
        match chance.below(16) {
            0..=3 => Theme::Anything,
            4..=5 => Theme::Routing,
            6..=7 => Theme::Death,
            8..=9 => Theme::Limits,
            10..=11 => Theme::Consumers,
            12 => Theme::Transactions,
            13 => Theme::Replies,
            14 => Theme::Wrong,
            _ => Theme::Quorum,
        }
    }

    fn kinds(self) -> Kinds {
        match self {
            Theme::Anything => ANYTHING,
            Theme::Routing => ROUTING,
            Theme::Death => DEATH,
            Theme::Limits => LIMITS,
            Theme::Consumers => CONSUMERS,
            Theme::Transactions => TRANSACTIONS,
            Theme::Replies => REPLIES,
            Theme::Wrong => WRONG,
            Theme::Quorum => QUORUM,
        }
    }
}

impl Maker {
    pub(crate) fn step(&mut self, c: usize, n: u16) {
        let kinds = self.theme.kinds();
        let mut at = self.chance.below(kinds.iter().map(|(weight, _)| weight).sum());
        for (weight, kind) in kinds {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return kind(self, c, n),
            }
        }
    }

    /// Something to work with: most scripts declare what they use.
    pub(crate) fn setting(&mut self) {
        for at in 0..self.script.queues.len() {
            let name = self.script.queues[at].clone();
            match self.theme {
                Theme::Anything | Theme::Routing if self.chance.once_in(4) => {}
                Theme::Anything | Theme::Routing | Theme::Wrong => {
                    self.declare_queue(0, 1, &name);
                }
                _ => {
                    let arguments = self.themed_arguments(at);
                    self.declare_with(0, 1, &name, &arguments);
                }
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
        for (c, n) in [(0, 1), (1, 2), (2, 1), (2, 2)] {
            match self.theme {
                Theme::Limits => self.method(c, n, &confirm::Select { nowait: false }),
                Theme::Transactions => self.method(c, n, &tx::Select {}),
                Theme::Consumers | Theme::Death => self.qos(c, n),
                // So that of a quorum queue a channel has one message at most.
                Theme::Quorum => {
                    self.method(c, n, &basic::Qos { prefetch_count: 1, ..Default::default() });
                }
                _ => {}
            }
        }
    }

    /// The arguments of queue `at` in a script that has a theme.
    fn themed_arguments(&mut self, at: usize) -> TableBuf {
        let mut table = TableBuf::new();
        match self.theme {
            Theme::Death => {
                // RabbitMQ 3.10 mixes up a history of three deaths and more (see `known`): a
                // chain has two queues that let messages die, or one of them again and again.
                let Some(next) = self.script.queues.get(at + 1).cloned() else { return table };
                table = table.with("x-dead-letter-exchange", "");
                if self.chance.once_in(4) {
                    return table; // back to where it was
                }
                table = table.with("x-dead-letter-routing-key", next.as_str());
                match self.chance.below(8) {
                    0 => table.with("x-message-ttl", 0),
                    1 => table.with("x-max-length", self.chance.of(&[0, 1, 2])),
                    2 => table.with("x-max-length-bytes", 30),
                    3 => table.with("x-max-length", 1).with("x-overflow", "reject-publish-dlx"),
                    4 => table.with("x-max-length", 1).with("x-overflow", "reject-publish"),
                    _ => table,
                }
            }
            Theme::Limits => {
                if self.chance.once_in(2) {
                    table = table.with("x-max-priority", self.chance.of(&[1, 3, 10, 255]));
                }
                if self.chance.once_in(2) {
                    table = table.with("x-max-length", self.chance.of(&[0, 1, 2, 3]));
                }
                if self.chance.once_in(3) {
                    table = table.with("x-max-length-bytes", self.chance.of(&[0, 20, 60]));
                }
                if self.chance.once_in(2) {
                    let overflow =
                        self.chance.of(&["drop-head", "reject-publish", "reject-publish-dlx"]);
                    table = table.with("x-overflow", overflow);
                }
                if self.chance.once_in(4) {
                    table = table.with("x-message-ttl", self.chance.of(&[0, 600_000]));
                }
                table
            }
            Theme::Consumers => match self.chance.below(3) {
                0 => table.with("x-single-active-consumer", true),
                1 => table.with("x-max-priority", 3),
                _ => table,
            },
            Theme::Transactions if self.chance.once_in(4) => {
                table.with("x-max-length", 1).with("x-overflow", "reject-publish")
            }
            // With a limit, what comes back goes to the head; without, to the tail in RabbitMQ.
            Theme::Quorum if at == 0 => {
                table.with("x-queue-type", "quorum").with("x-delivery-limit", 20)
            }
            _ => table,
        }
    }

    fn declare_with(&mut self, c: usize, n: u16, name: &str, arguments: &TableBuf) {
        let declare = ropewalk_amqp::codec::method::queue::Declare {
            queue: short(name),
            durable: arguments.as_table().get("x-queue-type").is_some() || self.chance.once_in(2),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &declare);
    }
}
