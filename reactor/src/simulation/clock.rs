//! A host's own clocks, which are not quite those of the others: the monotonic one may run fast or
//! slow, and the wall clock may be wrong. True time is the simulation's, and no program sees it.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::Simulation;
use super::hosts::IntoHost;
use crate::clock::{Nanos, nanos};

/// Where a simulation's wall clocks begin: 2020-01-01T00:00:00Z, in seconds since 1970.
const EPOCH: u64 = 1_577_836_800;
/// Parts in a million.
const MILLION: i128 = 1_000_000;
/// The most that a clock may be fast or slow, in parts per million: half or one and a half times
/// as fast. (A bad quartz is off by 100; the kernel slews by 500 at most.)
const MOST_DRIFT: i32 = 500_000;

/// The clocks of one host. Clones show the same time.
#[derive(Debug, Clone)]
pub(crate) struct VirtualClock {
    truth: Rc<Cell<Nanos>>,
    pace: Rc<Cell<Pace>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    /// True time, and what the monotonic clock showed, when it last changed its pace.
    since: Nanos,
    shown: Nanos,
    /// How much too fast it runs, in parts per million.
    drift: i32,
    /// How much the wall clock is ahead of the monotonic one, in nanoseconds.
    ahead: i64,
}

impl VirtualClock {
    pub(crate) fn new(truth: Rc<Cell<Nanos>>) -> Self {
        Self { truth, pace: Rc::default() }
    }

    /// The monotonic clock.
    pub(crate) fn now(&self) -> Nanos {
        let pace = self.pace.get();
        let passed = i128::from(self.truth.get().saturating_sub(pace.since));
        let shown = i128::from(pace.shown) + passed * (MILLION + i128::from(pace.drift)) / MILLION;
        u64::try_from(shown).unwrap_or(u64::MAX)
    }

    pub(crate) fn wall(&self) -> SystemTime {
        let at = Duration::from_secs(EPOCH) + Duration::from_nanos(self.now());
        let ahead = self.pace.get().ahead;
        let off = Duration::from_nanos(ahead.unsigned_abs());
        let at = if ahead < 0 { at.saturating_sub(off) } else { at.saturating_add(off) };
        SystemTime::UNIX_EPOCH + at
    }

    /// The true time at which the monotonic clock first shows `deadline` or more.
    pub(crate) fn true_time_of(&self, deadline: Nanos) -> Nanos {
        let pace = self.pace.get();
        if deadline == Nanos::MAX {
            return deadline; // it never comes, by any clock
        }
        let left = u128::from(deadline.saturating_sub(pace.shown));
        let pace_in_millionths = (MILLION + i128::from(pace.drift)).unsigned_abs();
        let passes = (left * MILLION.unsigned_abs()).div_ceil(pace_in_millionths);
        u64::try_from(u128::from(pace.since) + passes).unwrap_or(u64::MAX)
    }

    pub(super) fn drift(&self, parts_per_million: i32) {
        let drift = parts_per_million.clamp(-MOST_DRIFT, MOST_DRIFT);
        let (since, shown) = (self.truth.get(), self.now());
        self.pace.set(Pace { since, shown, drift, ..self.pace.get() });
    }

    pub(super) fn put_ahead(&self, ahead: i64) {
        self.pace.set(Pace { ahead, ..self.pace.get() });
    }
}

impl Simulation {
    /// From now on, the monotonic clock of `host` runs fast by so many parts per million (slow, if
    /// negative), and its wall clock with it: all its timers fire early, or late. 0 is right again;
    /// what was gained or lost stays. Within ±500,000.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn drift(&mut self, host: impl IntoHost, parts_per_million: i32) {
        let host = self.find(host);
        self.machine(host).usual.drift = parts_per_million;
        self.machine(host).clock.drift(parts_per_million);
        let name = self.name_of(host);
        self.say(format_args!("the clock of {name} drifts by {parts_per_million} ppm"));
    }

    /// The wall clock of `host` jumps to `ahead` of the right time. Timers know nothing of it: they
    /// go by the monotonic clock.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn put_clock_ahead(&mut self, host: impl IntoHost, ahead: Duration) {
        let ahead_nanos = i64::try_from(nanos(ahead)).unwrap_or(i64::MAX);
        self.put_clock(host, ahead_nanos, format_args!("{ahead:?} ahead"));
    }

    /// The wall clock of `host` jumps to `behind` the right time.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn put_clock_behind(&mut self, host: impl IntoHost, behind: Duration) {
        let behind_nanos = i64::try_from(nanos(behind)).unwrap_or(i64::MAX);
        self.put_clock(host, -behind_nanos, format_args!("{behind:?} behind"));
    }

    fn put_clock(&mut self, host: impl IntoHost, ahead: i64, words: fmt::Arguments<'_>) {
        let host = self.find(host);
        self.machine(host).usual.ahead = ahead;
        self.machine(host).clock.put_ahead(ahead);
        self.say(format_args!("the wall clock of {} is {words}", self.name_of(host)));
    }

    /// What the wall clock of `host` shows.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn wall_clock(&self, host: impl IntoHost) -> SystemTime {
        let host = self.find(host);
        match self.machines.get(host.index()) {
            Some(machine) => machine.clock.wall(),
            None => VirtualClock::new(self.clock.clone()).wall(), // the outside's is right
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_comes_when_the_clock_shows_it_and_not_a_nanosecond_before() {
        let truth = Rc::new(Cell::new(0));
        let clock = VirtualClock::new(truth.clone());
        for (step, drift) in [0, 100, -100, 333_333, -499_999, 7].into_iter().enumerate() {
            clock.drift(drift);
            for ahead in [0, 1, 2, 999, 1_000_000, 86_400_000_000_000] {
                let deadline = clock.now() + ahead;
                let at = clock.true_time_of(deadline);
                let before = truth.get();
                truth.set(at);
                assert!(clock.now() >= deadline, "{drift} {ahead}");
                if at > before {
                    truth.set(at - 1);
                    assert!(clock.now() < deadline, "{drift} {ahead}");
                }
                truth.set(before + 12_345 * (step as u64 + 1));
            }
        }
        assert_eq!(clock.true_time_of(Nanos::MAX), Nanos::MAX);
    }

    #[test]
    fn a_clock_of_another_pace_goes_on_from_what_it_showed() {
        let truth = Rc::new(Cell::new(1_000_000));
        let clock = VirtualClock::new(truth.clone());
        clock.drift(1_000);
        assert_eq!(clock.now(), 1_000_000);
        truth.set(2_000_000);
        assert_eq!(clock.now(), 2_001_000);
        clock.drift(0);
        truth.set(3_000_000);
        assert_eq!(clock.now(), 3_001_000, "what was gained stays");
    }
}
