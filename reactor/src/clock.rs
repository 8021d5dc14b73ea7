//! Time as the reactor sees it: read when somebody asks first, then standing still until the turn
//! is over; kept as nanoseconds since the reactor began, and virtual in a simulation. Nothing else
//! in the project reads a clock.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::simulation::clock::VirtualClock;

/// Nanoseconds since the first clock of this process began, or the simulation. 64 bits last 584
/// years; later deadlines saturate.
pub(crate) type Nanos = u64;

/// A duration as nanoseconds, saturating: centuries are as good as forever.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The system's own monotonic clock, as other programs read it too: for telling them a time, never
/// for measuring one.
pub(crate) fn of_the_system() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanoseconds)
}

#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    /// What was read in this turn; `None` until somebody asks. A turn of a loop without timers
    /// reads no clock at all.
    read: Cell<Option<Nanos>>,
    hands: Hands,
}

#[derive(Debug)]
enum Hands {
    /// The system's monotonic clock.
    System,
    /// Moved by the simulation.
    Virtual(VirtualClock),
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the seam itself: time enters here")]
    pub(crate) fn system() -> Self {
        // One beginning for all: reactors that share a rate compare their times.
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        let began = *BEGAN.get_or_init(Instant::now);
        Self { began, read: Cell::new(None), hands: Hands::System }
    }

    #[expect(clippy::disallowed_methods, reason = "only the zero of virtual time; never compared")]
    pub(crate) fn simulated(hands: VirtualClock) -> Self {
        Self { began: Instant::now(), read: Cell::new(None), hands: Hands::Virtual(hands) }
    }

    /// The time has passed: whoever asks next reads the clock again.
    pub(crate) fn expire(&self) {
        self.read.set(None);
    }

    /// The time, which stands still from the first question to the end of the turn.
    pub(crate) fn now(&self) -> Nanos {
        if let Some(now) = self.read.get() {
            return now;
        }
        let now = match &self.hands {
            Hands::System => nanos(self.began.elapsed()),
            Hands::Virtual(clock) => clock.now(),
        };
        self.read.set(Some(now));
        now
    }

    pub(crate) fn instant(&self) -> Instant {
        self.began + Duration::from_nanos(self.now())
    }

    #[expect(clippy::disallowed_methods, reason = "the seam itself: the wall clock enters here")]
    pub(crate) fn wall(&self) -> SystemTime {
        match &self.hands {
            Hands::System => SystemTime::now(),
            Hands::Virtual(clock) => clock.wall(),
        }
    }

    /// The deadline `delay` from now.
    pub(crate) fn after(&self, delay: Duration) -> Nanos {
        self.now().saturating_add(nanos(delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_of_two_reactors_show_the_same_time() {
        let one = Clock::system();
        while one.now() < 1_000_000 {
            one.expire();
        }
        let before = one.now();
        assert!(Clock::system().now() >= before);
    }
}
