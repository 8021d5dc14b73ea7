//! The record: what a broker that was killed must still have, may have, and cannot have.
//!
//! A message in a queue is a *copy*. The record takes what workers saw once their broker is dead,
//! and what an inspection finds in the next one; it counts what is wrong, and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::problems::Problems;

/// The queues: two kinds, and two that share what is published to one exchange.
pub(crate) const QUEUES: [&str; 4] = ["classic", "quorum", "left", "right"];

/// A message: its publisher, and a number that ascends.
pub(crate) type Name = (u64, u64);

/// The octets of a message. Now and then they are many, so that they are stored without being
/// copied.
pub(crate) fn body((stream, number): Name) -> Vec<u8> {
    let mut body = format!("{stream} {number} ").into_bytes();
    let size = if number % 50 == 7 { 30_000 } else { 60 + number % 400 } as usize;
    body.extend((body.len()..size).map(|at| (at as u64 * 7 + number) as u8));
    body
}

/// Which message has these octets; `None` if none has.
pub(crate) fn name(octets: &[u8]) -> Option<Name> {
    let head = String::from_utf8_lossy(&octets[..octets.len().min(42)]).into_owned();
    let mut words = head.split(' ').map(|word| word.parse().ok());
    let name = (words.next()??, words.next()??);
    (octets == body(name)).then_some(name)
}

/// What a worker saw. Each event has a number from one counter, taken after the socket was read
/// and before it is written to.
#[derive(Default)]
pub(crate) struct Log {
    /// A publisher, the queues that it published to, and how many messages.
    pub(crate) published: Option<(u64, &'static [usize], u64)>,
    /// The numbers of those that were confirmed.
    pub(crate) confirmed: Vec<u64>,
    pub(crate) events: Vec<(u64, Event)>,
    /// Marks that were confirmed.
    pub(crate) marks: Vec<Vec<u8>>,
}

pub(crate) enum Event {
    Delivered(Delivery),
    /// Its acknowledgement is about to be sent.
    Acknowledged(usize, Name),
    /// Its acknowledgement is on the disk.
    Ended(usize, Name),
}

pub(crate) struct Delivery {
    /// Whose turn it was: deliveries on one connection from one queue are in life.
    pub(crate) connection: u64,
    pub(crate) queue: usize,
    /// `None` if nobody has sent it.
    pub(crate) name: Option<Name>,
    pub(crate) redelivered: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Copy {
    confirmed: bool,
    seen: bool,
    /// An acknowledgement may have arrived.
    acknowledged: bool,
    /// An acknowledgement is on the disk.
    ended: bool,
}

/// What was counted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    /// Brokers killed while they started.
    pub(crate) early: u64,
    /// Ends of the log that were torn after a kill, and octets that nobody had been promised and
    /// that went with them.
    pub(crate) torn: u64,
    pub(crate) torn_off: u64,
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
    pub(crate) delivered: u64,
    pub(crate) redelivered: u64,
    /// Copies that were found after a restart.
    pub(crate) survived: u64,
    pub(crate) lost: u64,
    pub(crate) invented: u64,
    pub(crate) out_of_order: u64,
    pub(crate) unmarked: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { early, torn, torn_off, published, confirmed, .. } = self;
        let Counts { delivered, redelivered, survived, .. } = self;
        let Counts { lost, invented, out_of_order, unmarked, .. } = self;
        write!(
            f,
            "{early} more kills at the start, {torn} ends torn ({torn_off} octets lost with them), \
             {published} published, {confirmed} confirmed, {delivered} delivered, {redelivered} of \
             them redelivered, {survived} found after a restart; {lost} lost, {invented} invented, \
             {out_of_order} out of order, {unmarked} duplicates unmarked"
        )
    }
}

#[derive(Default)]
pub(crate) struct Record {
    copies: BTreeMap<(usize, Name), Copy>,
    pub(crate) counts: Counts,
    pub(crate) problems: Problems,
}

/// What is known of one life of the broker.
#[derive(Default)]
struct Life {
    /// The last message of each publisher that came on a connection from a queue, without a mark or
    /// whatever its mark.
    unmarked: BTreeMap<(u64, usize, u64), u64>,
    any: BTreeMap<(u64, usize, u64), u64>,
    /// Acknowledged, and not come back.
    acknowledged: BTreeSet<(usize, Name)>,
}

impl Record {
    /// How many copies may be there.
    pub(crate) fn len(&self) -> usize {
        self.copies.len()
    }

    /// Whether a message was confirmed, and may be there.
    pub(crate) fn is_confirmed(&self, name: Name) -> bool {
        let copies = (0..QUEUES.len()).filter_map(|queue| self.copies.get(&(queue, name)));
        copies.into_iter().any(|copy| copy.confirmed)
    }

    /// A broker has died, and this is what its workers saw. In `calm` queues nothing was given
    /// back meanwhile.
    pub(crate) fn life(&mut self, logs: Vec<Log>, calm: [bool; QUEUES.len()]) {
        let mut events = Vec::new();
        for log in logs {
            if let Some((stream, queues, count)) = log.published {
                self.counts.published += count;
                self.counts.confirmed += log.confirmed.len() as u64;
                for &queue in queues {
                    for number in 0..count {
                        self.copies.insert((queue, (stream, number)), Copy::default());
                    }
                    for &number in &log.confirmed {
                        self.copies.entry((queue, (stream, number))).or_default().confirmed = true;
                    }
                }
            }
            events.extend(log.events);
        }
        events.sort_by_key(|&(at, _)| at);
        let mut life = Life::default();
        for (_, event) in events {
            match event {
                Event::Delivered(delivery) => {
                    let is_calm = calm[delivery.queue];
                    self.delivered(&delivery, is_calm, &mut life);
                }
                Event::Acknowledged(queue, name) => {
                    if let Some(copy) = self.copies.get_mut(&(queue, name)) {
                        copy.acknowledged = true;
                    }
                    life.acknowledged.insert((queue, name));
                }
                Event::Ended(queue, name) => {
                    if let Some(copy) = self.copies.get_mut(&(queue, name)) {
                        copy.ended = true;
                    }
                }
            }
        }
    }

    fn delivered(&mut self, delivery: &Delivery, is_calm: bool, life: &mut Life) {
        let &Delivery { connection, queue, name, redelivered } = delivery;
        self.counts.delivered += 1;
        self.counts.redelivered += u64::from(redelivered);
        let place = QUEUES[queue];
        let Some(name) = name else {
            self.counts.invented += 1;
            self.problems.add(format_args!("{place}: a message that nobody has sent"));
            return;
        };
        let Some(copy) = self.copies.get_mut(&(queue, name)) else {
            self.counts.invented += 1;
            self.problems
                .add(format_args!("{place}: {name:?} was never there, or had gone for good"));
            return;
        };
        if copy.ended || (is_calm && life.acknowledged.contains(&(queue, name))) {
            self.counts.invented += 1;
            self.problems.add(format_args!("{place}: {name:?} came back: {copy:?}"));
        }
        if copy.seen && !redelivered {
            self.counts.unmarked += 1;
            self.problems.add(format_args!("{place}: {name:?} was seen before, and is not marked"));
        }
        (copy.seen, copy.acknowledged) = (true, false);
        let mut check = |last: &mut BTreeMap<_, u64>| {
            let before = last.insert((connection, queue, name.0), name.1);
            if before.is_some_and(|before| before >= name.1) {
                self.counts.out_of_order += 1;
                self.problems.add(format_args!("{place}: {name:?} came after {before:?}"));
            }
        };
        if is_calm {
            check(&mut life.any);
        } else if !redelivered {
            check(&mut life.unmarked);
        }
    }

    /// All that a queue has after a restart, in its order, and nobody else was there.
    pub(crate) fn inspected(&mut self, queue: usize, found: &[Delivery]) {
        let (mut there, mut life) = (BTreeSet::new(), Life::default());
        for delivery in found {
            // An acknowledgement that had not arrived is void.
            if let Some(copy) = delivery.name.and_then(|it| self.copies.get_mut(&(queue, it))) {
                copy.acknowledged = false;
            }
            self.delivered(delivery, true, &mut life);
            if delivery.name.is_some_and(|name| !there.insert(name)) {
                self.counts.invented += 1;
                let name = delivery.name;
                self.problems.add(format_args!("{}: {name:?} is there twice", QUEUES[queue]));
            }
        }
        self.counts.survived += found.len() as u64;
        let missing: Vec<(Name, Copy)> = self
            .copies
            .range((queue, (0, 0))..(queue + 1, (0, 0)))
            .filter(|((_, name), _)| !there.contains(name))
            .map(|(&(_, name), &copy)| (name, copy))
            .collect();
        for (name, copy) in missing {
            // It does not come back any more.
            self.copies.remove(&(queue, name));
            if copy.confirmed && !copy.acknowledged && !copy.ended {
                self.counts.lost += 1;
                let place = QUEUES[queue];
                self.problems.add(format_args!("{place}: {name:?} was confirmed, and is lost"));
            }
        }
        for name in there {
            if let Some(copy) = self.copies.get_mut(&(queue, name)) {
                // It is on the disk.
                copy.confirmed = true;
            }
        }
    }

    /// All that a queue had was acknowledged, and that is safe.
    pub(crate) fn emptied(&mut self, queue: usize) {
        self.copies.retain(|&(of, _), _| of != queue);
    }
}
