//! Faults that the seed plays by itself: what, how often, and for how long. Each kind has chances
//! of its own, so that one more of them leaves the others as they were.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Simulation;
use super::hosts::Host;
use crate::clock::{Nanos, nanos};
use crate::random::Seeded;

/// Something that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The line between two hosts is cut.
    Partition,
    /// It is cut in one direction.
    OneWayPartition,
    /// All lines of a host are cut.
    Isolation,
    /// A host loses its power, and starts again. (Those that were [added with a
    /// name](Simulation::host): nobody else could prepare them again.)
    Crash,
    /// The program of such a host is killed, and starts again.
    Kill,
    /// A host's program stands still.
    Stall,
    /// A line is slow, and jitters.
    SlowLink,
    /// A line carries little.
    ThinLink,
    /// A line loses datagrams.
    Loss,
    /// A line doubles datagrams.
    Doubling,
    /// Connections are reset by something in between.
    Resets,
    /// A wall clock is wrong by up to an hour.
    WrongClock,
    /// A host's clocks run fast or slow, by up to a tenth.
    Drift,
    /// A host has few descriptors left, or none.
    FewDescriptors,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Partition,
        Self::OneWayPartition,
        Self::Isolation,
        Self::Crash,
        Self::Kill,
        Self::Stall,
        Self::SlowLink,
        Self::ThinLink,
        Self::Loss,
        Self::Doubling,
        Self::Resets,
        Self::WrongClock,
        Self::Drift,
        Self::FewDescriptors,
    ];
}

/// How often a kind of fault comes, unless told: some of each in the minute that they go on.
const EVERY: Duration = Duration::from_secs(20);
/// How long one lasts at most, unless told: longer than most timeouts are, at times.
const LASTING: Duration = Duration::from_secs(10);
/// Until when they go on, unless told.
const UNTIL: Duration = Duration::from_secs(60);

/// Which faults a simulation plays, how often, and until when.
///
/// ```
/// # use std::time::Duration;
/// # use ropewalk_reactor::Simulation;
/// use ropewalk_reactor::simulation::{Fault, Faults};
/// # let mut simulation = Simulation::new(1);
/// let faults = Faults::all()
///     .without(Fault::WrongClock)
///     .every(Fault::Crash, Duration::from_secs(5))
///     .until(Duration::from_secs(30));
/// simulation.play(faults);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    every: BTreeMap<Fault, Duration>,
    lasting: Duration,
    until: Duration,
}

impl Faults {
    /// None: to add some.
    pub fn none() -> Self {
        Self { every: BTreeMap::new(), lasting: LASTING, until: UNTIL }
    }

    /// All kinds, each every twenty seconds on average.
    pub fn all() -> Self {
        Fault::ALL.into_iter().fold(Self::none(), |faults, fault| faults.every(fault, EVERY))
    }

    /// With one of this kind each `interval`, on average.
    #[must_use]
    pub fn every(mut self, fault: Fault, interval: Duration) -> Self {
        self.every.insert(fault, interval);
        self
    }

    /// Without any of this kind.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.every.remove(&fault);
        self
    }

    /// How long one lasts at most (10 s).
    #[must_use]
    pub fn lasting(mut self, most: Duration) -> Self {
        self.lasting = most;
        self
    }

    /// How long they go on (60 s from when they are [played](Simulation::play)). Then all is well
    /// again: lines are mended, machines are up, clocks right. What is still wrong a while later is
    /// the program's own fault.
    #[must_use]
    pub fn until(mut self, end: Duration) -> Self {
        self.until = end;
        self
    }
}

/// What ends a fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relief {
    Mend(Host, Host, Direction),
    Restart(Host),
    Link(Host, Host),
    NoResets,
    Clock(Host),
    Drift(Host),
    Descriptors(Host),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    Both,
    There,
}

/// Plays them.
pub(super) struct Player {
    faults: Faults,
    end: Nanos,
    /// When the next of a kind is due, and its chances.
    kinds: BTreeMap<Fault, (Nanos, Seeded)>,
    /// In the order in which they are due; the number makes each its own.
    reliefs: BTreeMap<(Nanos, u64), Relief>,
    count: u64,
}

impl Player {
    fn new(seed: u64, now: Nanos, faults: Faults) -> Self {
        let mut kinds = BTreeMap::new();
        for (&fault, &every) in &faults.every {
            let kind = (fault as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93);
            let mut chance = Seeded::new(seed ^ kind);
            let first = now.saturating_add(pause(&mut chance, every));
            kinds.insert(fault, (first, chance));
        }
        let end = now.saturating_add(nanos(faults.until));
        Self { faults, end, kinds, reliefs: BTreeMap::new(), count: 0 }
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Nanos> {
        let fault = self.kinds.values().map(|(at, _)| *at).filter(|&at| at < self.end).min();
        let relief = self.reliefs.keys().next().map(|(at, _)| *at);
        fault.into_iter().chain(relief).min()
    }

    fn due_relief(&mut self, now: Nanos) -> Option<Relief> {
        let first = self.reliefs.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn due_fault(&mut self, now: Nanos) -> Option<Fault> {
        let due = self.kinds.iter().filter(|(_, (at, _))| *at <= now && *at < self.end);
        due.map(|(fault, (at, _))| (*at, *fault)).min().map(|(_, fault)| fault)
    }

    fn take_shortages(&mut self, host: Host) -> Vec<Relief> {
        let of_host = |relief: &Relief| matches!(relief, Relief::Descriptors(it) if *it == host);
        self.reliefs.extract_if(.., |_, relief| of_host(relief)).map(|(_, relief)| relief).collect()
    }

    fn relieve_later(&mut self, at: Nanos, relief: Relief) {
        self.count += 1;
        self.reliefs.insert((at.min(self.end), self.count), relief);
    }
}

/// From nothing to twice `mean`.
fn pause(chance: &mut Seeded, mean: Duration) -> Nanos {
    chance.below(nanos(mean).saturating_mul(2).max(1))
}

impl Simulation {
    /// Lets the seed play `faults` from now on: which come when, whom they strike and how long they
    /// last is drawn from it, and replays. A [record](Self::record) tells of each.
    ///
    /// They take the place of those that were played before; what such a one has begun ends when it
    /// would have ended anyway.
    pub fn play(&mut self, faults: Faults) {
        let mut player = Player::new(self.seed(), self.clock.get(), faults);
        if let Some(former) = self.player.take() {
            (player.reliefs, player.count) = (former.reliefs, former.count);
        }
        self.player = Some(player);
    }

    /// Begins and ends what is due.
    pub(super) fn play_what_is_due(&mut self) {
        let Some(mut player) = self.player.take() else { return };
        let now = self.clock.get();
        while let Some(relief) = player.due_relief(now) {
            if let Relief::Restart(host) = relief {
                // A new program has all its descriptors.
                for relief in player.take_shortages(host) {
                    self.relieve(relief);
                }
            }
            self.relieve(relief);
        }
        while let Some(fault) = player.due_fault(now) {
            let Some((at, mut chance)) = player.kinds.remove(&fault) else { break };
            let lasts = 1 + chance.below(nanos(player.faults.lasting).max(1));
            if let Some(relief) = self.strike(fault, lasts.min(player.end - at), &mut chance) {
                player.relieve_later(now.saturating_add(lasts), relief);
            }
            let every = player.faults.every[&fault];
            let next = at.saturating_add(1 + pause(&mut chance, every));
            player.kinds.insert(fault, (next, chance));
        }
        if player.next().is_some() {
            self.player = Some(player);
        }
    }
}
