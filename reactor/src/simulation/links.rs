//! The lines between hosts: how long they take, how much they carry, what they lose, and whether
//! they carry anything at all. What happens to what is lost is decided elsewhere: a datagram is
//! gone, and a stream sends it again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::network::Net;
use crate::clock::{Nanos, nanos};
use crate::random::Seeded;

/// The stream of chances that lines draw from: apart from all others, so that a line with a
/// latency of its own changes nothing else.
const CHANCES_OF_LINES: u64 = 0x6c69_6e65_735f_5f5f;
/// An exponential distribution has no end. Beyond so many means it is one in eight million.
const MOST_MEANS: f64 = 16.0;

/// How long something is under way, as a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency(Kind);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Between(Nanos, Nanos),
    Exponential { least: Nanos, mean: Nanos },
}

impl Latency {
    /// Always the same.
    pub fn exactly(latency: Duration) -> Self {
        Self::between(latency, latency)
    }

    /// Any between the two, each as likely as the other.
    pub fn between(least: Duration, most: Duration) -> Self {
        Self(Kind::Between(nanos(least), nanos(most.max(least))))
    }

    /// `least`, and something on top of it that is mostly small and at times large: on average
    /// `jitter`, and at the very most sixteen times that. Queues in routers are of this kind.
    pub fn jittering(least: Duration, jitter: Duration) -> Self {
        Self(Kind::Exponential { least: nanos(least), mean: nanos(jitter) })
    }

    fn draw(self, chance: &mut Seeded) -> Nanos {
        match self.0 {
            Kind::Between(least, most) => least + chance.below((most - least).saturating_add(1)),
            Kind::Exponential { least, mean } => {
                // 53 bits make a number above zero, and up to one.
                let uniform = (chance.below(1 << 53) + 1) as f64 / (1_u64 << 53) as f64;
                let means = (-uniform.ln()).min(MOST_MEANS);
                least.saturating_add((mean as f64 * means) as Nanos)
            }
        }
    }
}

/// What a line between two hosts is like. What is not set is as the simulation has it for all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Link {
    latency: Option<Latency>,
    bandwidth: Option<u64>,
    lose_one_in: Option<u64>,
    double_one_in: Option<u64>,
}

impl Link {
    /// As the simulation has it for all.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long things are under way on it.
    #[must_use]
    pub fn latency(mut self, latency: Latency) -> Self {
        self.latency = Some(latency);
        self
    }

    /// How many bytes a second it carries, in each direction: what is sent while it is busy waits
    /// its turn. 0 is without limit.
    #[must_use]
    pub fn bandwidth(mut self, bytes_a_second: u64) -> Self {
        self.bandwidth = Some(bytes_a_second);
        self
    }

    /// One datagram in `datagrams` is lost on it; 0 is none.
    #[must_use]
    pub fn lose_datagrams(mut self, datagrams: u64) -> Self {
        self.lose_one_in = Some(datagrams);
        self
    }

    /// One datagram in `datagrams` arrives twice; 0 is none.
    #[must_use]
    pub fn double_datagrams(mut self, datagrams: u64) -> Self {
        self.double_one_in = Some(datagrams);
        self
    }
}

/// Something that carries one thing after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pipe {
    /// From one host to another.
    Link(usize, usize),
    /// All that one host sends, or receives.
    Up(usize),
    Down(usize),
}

/// All lines, by the numbers of the hosts' ports: from, to.
pub(super) struct Links {
    pub(super) every: Link,
    each: BTreeMap<(usize, usize), Link>,
    cuts: BTreeSet<(usize, usize)>,
    /// What faults that are played do to them, apart from what the test has set: it is there again
    /// when they are over. A line may be cut several times.
    faulty: BTreeMap<(usize, usize), Link>,
    faulty_cuts: BTreeMap<(usize, usize), u32>,
    /// Bytes a second that all lines of a host share, each way.
    pub(super) shared: BTreeMap<usize, u64>,
    /// Until when it is busy.
    pipes: BTreeMap<Pipe, Nanos>,
    chance: Seeded,
}

impl Links {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            every: Link::default(),
            each: BTreeMap::new(),
            cuts: BTreeSet::new(),
            faulty: BTreeMap::new(),
            faulty_cuts: BTreeMap::new(),
            shared: BTreeMap::new(),
            pipes: BTreeMap::new(),
            chance: Seeded::new(seed ^ CHANCES_OF_LINES),
        }
    }

    fn of(&self, from: usize, to: usize) -> Link {
        let layer = |links: &BTreeMap<_, Link>| links.get(&(from, to)).copied();
        let layers = [layer(&self.faulty), layer(&self.each), Some(self.every)];
        layers.into_iter().flatten().fold(Link::new(), |link, beneath| Link {
            latency: link.latency.or(beneath.latency),
            bandwidth: link.bandwidth.or(beneath.bandwidth),
            lose_one_in: link.lose_one_in.or(beneath.lose_one_in),
            double_one_in: link.double_one_in.or(beneath.double_one_in),
        })
    }

    pub(super) fn set(&mut self, from: usize, to: usize, link: Link) {
        self.each.insert((from, to), link);
    }

    /// Changes what a fault makes of a line; `None` ends it.
    pub(super) fn spoil(&mut self, ends: (usize, usize), change: Option<impl Fn(Link) -> Link>) {
        for ends in [ends, (ends.1, ends.0)] {
            match &change {
                None => drop(self.faulty.remove(&ends)),
                Some(change) => {
                    let link = self.faulty.entry(ends).or_default();
                    *link = change(*link);
                }
            }
        }
    }

    /// Whether anything sent by one arrives at the other.
    pub(super) fn is_open(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains(&(from, to)) && !self.faulty_cuts.contains_key(&(from, to))
    }

    /// Cuts, or mends, whatever had cut it.
    pub(super) fn cut(&mut self, from: usize, to: usize, cut: bool) {
        if cut && from != to {
            self.cuts.insert((from, to));
        } else if !cut {
            self.cuts.remove(&(from, to));
            self.faulty_cuts.remove(&(from, to));
        }
    }

    /// Cuts for a fault, or ends that.
    pub(super) fn spoil_by_cutting(&mut self, from: usize, to: usize, cut: bool) {
        if cut && from != to {
            *self.faulty_cuts.entry((from, to)).or_default() += 1;
        } else if !cut && let Some(times) = self.faulty_cuts.get_mut(&(from, to)) {
            *times -= 1;
            if *times == 0 {
                self.faulty_cuts.remove(&(from, to));
            }
        }
    }

    pub(super) fn mend_all(&mut self) -> bool {
        let cut = !self.cuts.is_empty() || !self.faulty_cuts.is_empty();
        self.cuts.clear();
        self.faulty_cuts.clear();
        cut
    }

    /// What one in how many datagrams suffers, where a line has rules of its own.
    pub(super) fn datagram_rules(&self, from: usize, to: usize) -> (Option<u64>, Option<u64>) {
        let link = self.of(from, to);
        (link.lose_one_in, link.double_one_in)
    }

    /// When `bytes` that leave now have passed all that they have to share, one after the other.
    fn departure(&mut self, now: Nanos, from: usize, to: usize, bytes: usize) -> Nanos {
        let mut at = now;
        let way = [
            (Pipe::Up(from), self.shared.get(&from).copied()),
            (Pipe::Link(from, to), self.of(from, to).bandwidth),
            (Pipe::Down(to), self.shared.get(&to).copied()),
        ];
        for (pipe, rate) in way {
            let Some(rate) = rate.filter(|&rate| rate > 0) else { continue };
            let free = self.pipes.entry(pipe).or_default();
            let takes = u128::from(bytes as u64) * 1_000_000_000 / u128::from(rate);
            at = at.max(*free).saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
            *free = at;
        }
        at
    }
}

impl Net {
    /// When `bytes` that are sent now arrive.
    pub(super) fn arrival(&mut self, from: usize, to: usize, bytes: usize) -> Nanos {
        let now = self.now();
        if from == to && self.places[from].address.is_some() {
            return now + self.delay(); // it never leaves the machine
        }
        let departs = self.links.departure(now, from, to, bytes);
        let latency = match self.links.of(from, to).latency {
            Some(latency) => latency.draw(&mut self.links.chance),
            None => self.delay(),
        };
        departs.saturating_add(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_latency_is_drawn_from_its_distribution() {
        let mut chance = Seeded::new(1);
        for _ in 0..1000 {
            assert_eq!(Latency::exactly(MS).draw(&mut chance), 1_000_000);
            let drawn = Latency::between(MS, 3 * MS).draw(&mut chance);
            assert!((1_000_000..=3_000_000).contains(&drawn), "{drawn}");
        }
        let jitters = |_| Latency::jittering(MS, 2 * MS).draw(&mut chance);
        let drawn: Vec<_> = (0..10_000).map(jitters).collect();
        assert!(drawn.iter().all(|drawn| (1_000_000..=33_000_000).contains(drawn)));
        let mean = drawn.iter().sum::<Nanos>() / 10_000;
        assert!((2_900_000..3_100_000).contains(&mean), "{mean}");
        assert!(drawn.iter().any(|&drawn| drawn > 12_000_000), "it has a tail");
    }

    #[test]
    fn a_line_carries_one_thing_after_the_other_and_lines_of_a_host_share() {
        let mut links = Links::new(0);
        links.set(1, 2, Link::new().bandwidth(1000));
        assert_eq!(links.departure(0, 1, 2, 500), 500_000_000);
        assert_eq!(links.departure(0, 1, 2, 500), 1_000_000_000, "behind the first");
        assert_eq!(links.departure(0, 2, 1, 500), 0, "the other way is free");
        links.shared.insert(3, 100);
        assert_eq!(links.departure(0, 3, 1, 10), 100_000_000);
        assert_eq!(links.departure(0, 3, 2, 10), 200_000_000, "another line, the same host");
        assert_eq!(links.departure(0, 1, 3, 10), 100_000_000, "what it receives has its own");
    }
}
