//! Bytes per second, and the arithmetic of the bucket that measures them out. It has no clock and
//! no timer: it is told what time it is.
//!
//! A bucket is one number: the time at which it would be full again. What is taken out moves that
//! time on by what filling it up costs. So an idle bucket needs no care, and a wait can be computed.

use crate::clock::Nanos;

const A_SECOND: u128 = 1_000_000_000;
/// Whoever has to wait does so until this part of a second's bytes is there: with a hundred wake-ups
/// a second at most, a limited connection costs next to nothing, and nobody notices the steps.
const STEPS_A_SECOND: u64 = 100;

/// So many bytes a second, and how many may pass at once after a pause.
///
/// Never more passes than the burst and, for each second that has gone by, the rate. Every number
/// of bytes is a rate (`rate_in(1 << 20)`), with a burst of what a second allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Not zero.
    per_second: u64,
    /// A step at least.
    burst: u64,
}

impl Rate {
    /// `bytes` a second (0 is taken as 1), of which a second's worth may pass at once.
    pub fn per_second(bytes: u64) -> Self {
        let bytes = bytes.max(1);
        Self { per_second: bytes, burst: bytes }
    }

    /// The most bytes that may pass at once after a pause: what a second allows, unless it is set
    /// here. Less than what a hundredth of one allows is taken as that: whoever waits is woken no
    /// more often.
    #[must_use]
    pub fn burst(mut self, bytes: u64) -> Self {
        self.burst = bytes.max(self.step());
        self
    }

    /// Bytes in a bucket at `now` that will be full at `full_at`; none while it is in debt.
    pub(crate) fn level(self, full_at: Nanos, now: Nanos) -> usize {
        let missing = u128::from(full_at.saturating_sub(now)) * u128::from(self.per_second);
        let missing = u64::try_from(missing.div_ceil(A_SECOND)).unwrap_or(u64::MAX);
        usize::try_from(self.burst.saturating_sub(missing)).unwrap_or(usize::MAX)
    }

    /// When the bucket is full again after `bytes` more have been taken out, also if that puts it
    /// into debt.
    pub(crate) fn spend(self, full_at: Nanos, now: Nanos, bytes: usize) -> Nanos {
        full_at.max(now).saturating_add(self.time_for(bytes as u64).div_ceil_nanos())
    }

    /// When the bucket is full again after `bytes` were put back into it.
    pub(crate) fn refund(self, full_at: Nanos, bytes: usize) -> Nanos {
        full_at.saturating_sub(self.time_for(bytes as u64).div_ceil_nanos())
    }

    /// When there is enough in it for whoever has waited: see [`step`](Self::step).
    pub(crate) fn ready_at(self, full_at: Nanos) -> Nanos {
        full_at.saturating_sub(self.time_for(self.burst - self.step()).floor_nanos())
    }

    /// What is handed out at once after a wait.
    pub(crate) fn step(self) -> u64 {
        (self.per_second / STEPS_A_SECOND).max(1)
    }

    fn time_for(self, bytes: u64) -> Time {
        Time { dividend: u128::from(bytes) * A_SECOND, divisor: u128::from(self.per_second) }
    }
}

impl From<u64> for Rate {
    fn from(bytes: u64) -> Self {
        Self::per_second(bytes)
    }
}

/// A time that is no whole number of nanoseconds: rounded so that never more passes than may.
struct Time {
    dividend: u128,
    divisor: u128,
}

impl Time {
    fn div_ceil_nanos(self) -> Nanos {
        Nanos::try_from(self.dividend.div_ceil(self.divisor)).unwrap_or(Nanos::MAX)
    }

    fn floor_nanos(self) -> Nanos {
        Nanos::try_from(self.dividend / self.divisor).unwrap_or(Nanos::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn a_bucket_begins_full_and_fills_up_at_its_rate() {
        let rate = Rate::per_second(1000).burst(300);
        let now = 5 * SECOND;
        assert_eq!(rate.level(0, now), 300);
        let full_at = rate.spend(0, now, 300);
        assert_eq!(rate.level(full_at, now), 0);
        assert_eq!(rate.level(full_at, now + SECOND / 10), 100);
        assert_eq!(rate.level(full_at, now + SECOND), 300, "and no more than full");
        let in_debt = rate.spend(full_at, now, 100);
        assert_eq!(rate.level(in_debt, now + SECOND / 10), 0);
        assert_eq!(rate.refund(in_debt, 100), full_at);
    }

    #[test]
    fn the_most_and_the_least_of_everything_is_no_trouble() {
        let most = Rate::per_second(u64::MAX);
        let least = Rate::from(0).burst(0);
        assert_eq!(least, Rate::per_second(1));
        for rate in [most, least, least.burst(u64::MAX), most.burst(0)] {
            let full_at = rate.spend(Nanos::MAX - 1, 3, usize::MAX);
            assert!(rate.ready_at(full_at) <= full_at);
            rate.level(full_at, 0);
            rate.refund(0, usize::MAX);
        }
    }

    proptest! {
        #[test]
        fn whoever_waits_until_it_is_ready_finds_a_step_and_a_moment_sooner_less(
            per_second in 1_u64..1 << 40,
            burst in 1_u64..1 << 40,
            now in 0..SECOND * 1000,
            spent in 0_usize..1 << 40,
        ) {
            let rate = Rate::per_second(per_second).burst(burst);
            let full_at = rate.spend(0, now, spent);
            let ready_at = rate.ready_at(full_at);
            prop_assert!(rate.level(full_at, ready_at) as u64 >= rate.step());
            if ready_at > now {
                prop_assert!((rate.level(full_at, ready_at - 1) as u64) < rate.step());
            }
        }

        #[test]
        fn never_more_passes_than_the_burst_and_the_rate_for_the_time(
            per_second in 1_u64..1 << 30,
            burst in 1_u64..1 << 20,
            steps in proptest::collection::vec((0..SECOND, any::<u64>()), 1..50),
        ) {
            let rate = Rate::per_second(per_second).burst(burst);
            let (mut now, mut full_at, mut passed) = (0, 0, 0_u128);
            for (pause, wanted) in steps {
                now += pause;
                let taken = rate.level(full_at, now).min(wanted as usize);
                full_at = rate.spend(full_at, now, taken);
                passed += taken as u128;
                let most = u128::from(rate.burst) + u128::from(now) * u128::from(per_second) / A_SECOND;
                prop_assert!(passed <= most, "{passed} instead of {most}");
            }
        }
    }
}
