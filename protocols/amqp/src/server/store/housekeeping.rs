//! When the log's housekeeping is due: at once while there is nothing else to do, and else in
//! proportion to what is appended, so that it keeps pace with any load.
//!
//! The one rule: with a job that appends comes none, and after a job of nothing else the next one
//! appends. So nobody who waits for a sync waits for more than one job of housekeeping.

/// It is due when so many octets were appended and there is nothing else to do.
const IDLE: usize = 1 << 20;

/// It waits for such a moment no longer than this: an eighth of a segment.
const PATIENCE: usize = 2 << 20;

/// While it has more to do, a step for each so many octets that are appended. A step writes about
/// 1 MiB, of zeros or of copies. At worst, when messages go in no order at all, the log copies
/// 0.72 octets for each that is appended, and writes zeros for both: 2.5 steps a MiB.
const STEP: usize = 256 << 10;

/// A job counts for so many octets at least. Acknowledgements are small, and empty whole files: a
/// backlog that is only consumed would not be deleted before the store is idle.
const JOB: usize = 32 << 10;

/// Steps in a row, whatever is behind: some 30 ms.
const STEPS: usize = 16;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Housekeeping {
    /// Octets appended and not yet made up for.
    appended: usize,
    /// It is due in any case: there is more to do, or the disk is to be looked at.
    look: bool,
    /// The last job did nothing else, though something waited.
    alone: bool,
}

impl Housekeeping {
    /// The disk has not been looked at yet.
    pub(super) fn new() -> Housekeeping {
        Housekeeping { appended: 0, look: true, alone: false }
    }

    pub(super) fn appended(&mut self, octets: usize) {
        self.appended = self.appended.saturating_add(octets.max(JOB));
    }

    /// Has it done in the next idle moment.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    pub(super) fn wants_a_look(&self) -> bool {
        self.look
    }

    /// The steps that are due in the next job, which then does nothing else. `busy` is whether
    /// there is something else to do.
    pub(super) fn due(&self, busy: bool) -> usize {
        match (busy, self.look) {
            (true, _) if self.alone => 0,
            (true, true) => (self.appended / STEP).min(STEPS),
            (true, false) => usize::from(self.appended > PATIENCE),
            (false, look) => usize::from(look || self.appended > IDLE),
        }
    }

    /// The next job takes so many steps.
    pub(super) fn begun(&mut self, steps: usize) {
        self.alone = steps > 0;
        if steps > 0 {
            let made_up = if self.look { steps * STEP } else { self.appended };
            self.appended = self.appended.saturating_sub(made_up);
            self.look = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: usize = 100 << 10;

    /// Jobs of a store that is never idle; gives the steps for each MiB appended.
    fn steps_when_busy(more: bool) -> f64 {
        let (mut housekeeping, mut steps, mut appended, mut last) = (Housekeeping::new(), 0, 0, 0);
        housekeeping.begun(1);
        housekeeping.begun(0);
        for _ in 0..10_000 {
            let due = housekeeping.due(true);
            assert!(due == 0 || last == 0, "somebody waits for two jobs of housekeeping");
            housekeeping.begun(due);
            if due == 0 {
                housekeeping.appended(BATCH);
                appended += BATCH;
            } else if more {
                housekeeping.look();
            }
            steps += due;
            last = due;
        }
        steps as f64 / (appended as f64 / f64::from(1 << 20))
    }

    #[test]
    fn a_busy_store_keeps_house_as_fast_as_is_needed_at_worst() {
        let steps = steps_when_busy(true);
        assert!((2.5..=4.0).contains(&steps), "{steps} steps a MiB");
    }

    #[test]
    fn a_busy_store_looks_whether_there_is_something_to_do_now_and_then() {
        let steps = steps_when_busy(false);
        assert!((0.4..=0.5).contains(&steps), "{steps} steps a MiB");
    }

    #[test]
    fn a_store_that_is_busy_with_acknowledgements_deletes_what_they_empty() {
        let (mut housekeeping, mut steps) = (Housekeeping::new(), 0);
        housekeeping.begun(1);
        for _ in 0..1_000 {
            let due = housekeeping.due(true);
            housekeeping.begun(due);
            if due == 0 {
                housekeeping.appended(20);
            } else {
                housekeeping.look();
            }
            steps += due;
        }
        assert!(steps > 80, "{steps} steps in 1000 jobs");
    }

    #[test]
    fn an_idle_store_keeps_house_until_there_is_nothing_to_do() {
        let mut housekeeping = Housekeeping::new();
        assert_eq!(housekeeping.due(false), 1, "nobody has looked");
        for _ in 0..3 {
            housekeeping.begun(1);
            housekeeping.look();
            assert_eq!(housekeeping.due(false), 1);
        }
        housekeeping.begun(1);
        assert_eq!(housekeeping.due(false), 0);
        housekeeping.appended(IDLE + 1);
        assert_eq!(housekeeping.due(false), 1);
    }
}
