//! Where the messages of a queue are: intervals of positions, each in one segment. Ten million
//! messages are some hundred runs, and the segment of any of them is found by bisection.

use std::collections::VecDeque;

use crate::batch::Position;
use crate::ranges::Ranges;

/// The messages of an interval of positions: every position in it that is not gone from the
/// queue is a message in this segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) segment: u64,
    /// How many there are; never 0.
    pub(crate) live: u64,
    /// What they count for together, if `exact`, and else as much as that would be if all counted
    /// for the same.
    pub(crate) octets: u64,
    pub(crate) exact: bool,
    /// Whether some of them are, or were, persistent, and whether some are not.
    pub(crate) persistent: bool,
    pub(crate) transient: bool,
}

/// Runs in ascending order, which do not overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    list: VecDeque<Run>,
}

impl Runs {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.list.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn first(&self) -> Option<&Run> {
        self.list.front()
    }

    /// The runs that reach to `position` or beyond.
    pub(crate) fn from(&self, position: Position) -> impl Iterator<Item = &Run> {
        self.list.range(self.place(position)..)
    }

    /// The run in which `position` lies.
    pub(crate) fn of(&self, position: Position) -> Option<&Run> {
        self.list.get(self.place(position)).filter(|run| run.first <= position)
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, position: Position) -> Option<&mut Run> {
        let place = self.place(position);
        self.list.get_mut(place).filter(|run| run.first <= position)
    }

    /// One message more, at a position above all that are here.
    pub(crate) fn push(&mut self, position: Position, segment: u64, octets: u64, persistent: bool) {
        match self.list.back_mut() {
            Some(run) if run.segment == segment => {
                run.last = position;
                run.live += 1;
                run.octets += octets;
                run.persistent |= persistent;
                run.transient |= !persistent;
            }
            _ => self.list.push_back(Run::of(position, segment, octets, persistent)),
        }
    }

    /// Puts back what a snapshot held; false if it does not belong behind all others.
    pub(crate) fn restore(&mut self, run: Run) -> bool {
        if self.list.back().is_some_and(|last| run.first <= last.last) {
            return false;
        }
        self.list.push_back(run);
        true
    }

    /// The messages from `first` to `last`, all of which were live, are not any more. Tells of
    /// each segment how many it loses.
    pub(crate) fn take(
        &mut self,
        first: Position,
        last: Position,
        mut lost: impl FnMut(u64, u64),
    ) -> u64 {
        let mut place = self.place(first);
        let mut all = 0;
        while let Some(run) = self.list.get_mut(place) {
            let (from, to) = (first.max(run.first), last.min(run.last));
            if from > to {
                break;
            }
            let count = (to - from + 1).min(run.live);
            all += count;
            lost(run.segment, count);
            if count == run.live {
                self.list.remove(place);
                continue;
            }
            run.octets -= share(run.octets, count, run.live);
            run.live -= count;
            run.exact = false;
            place += 1;
        }
        all
    }

    /// The message at `position`, which is not gone, is now in the segment `to`. Gives the
    /// segment that it was in; `None` if it was in none, which happens only to those whose
    /// history is lost.
    pub(crate) fn reassign(
        &mut self,
        position: Position,
        to: u64,
        octets: u64,
        persistent: bool,
        gone: &Ranges,
    ) -> Option<u64> {
        let mut place = self.place(position);
        let from = match self.list.get(place) {
            Some(run) if run.first <= position => {
                let run = run.clone();
                if run.segment == to {
                    return Some(to);
                }
                self.list.remove(place);
                let before = run.live_before(position, gone);
                let after = run.live - 1 - before.min(run.live - 1);
                let rest = run.octets.saturating_sub(octets);
                if before > 0 {
                    let octets = share(rest, before, before + after);
                    let part = Run { last: position - 1, live: before, octets, ..run.clone() };
                    self.list.insert(place, Run { exact: run.exact && after == 0, ..part });
                    place += 1;
                }
                if after > 0 {
                    let octets = share(rest, after, before + after);
                    let part = Run { first: position + 1, live: after, octets, ..run.clone() };
                    self.list.insert(place, Run { exact: run.exact && before == 0, ..part });
                }
                Some(run.segment)
            }
            _ => None,
        };
        let run = Run::of(position, to, octets, persistent);
        self.insert(place, run);
        from
    }

    /// Puts a run between two others, as a part of one of them or of both if it can.
    fn insert(&mut self, place: usize, run: Run) {
        if let Some(next) = self.list.get_mut(place)
            && next.segment == run.segment
        {
            next.first = run.first;
            next.join(&run);
        } else {
            self.list.insert(place, run);
        }
        if place > 0
            && let (Some(before), Some(next)) = (self.list.get(place - 1), self.list.get(place))
            && before.segment == next.segment
            && let Some(next) = self.list.remove(place)
            && let Some(before) = self.list.get_mut(place - 1)
        {
            before.last = next.last;
            before.join(&next);
        }
    }

    /// The place of the first run that reaches to `position` or beyond.
    fn place(&self, position: Position) -> usize {
        self.list.partition_point(|run| run.last < position)
    }
}

impl Run {
    fn of(position: Position, segment: u64, octets: u64, persistent: bool) -> Run {
        Run {
            first: position,
            last: position,
            segment,
            live: 1,
            octets,
            exact: true,
            persistent,
            transient: !persistent,
        }
    }

    fn live_before(&self, position: Position, gone: &Ranges) -> u64 {
        match position.checked_sub(1) {
            Some(last) if last >= self.first => {
                last - self.first + 1 - gone.count(self.first, last)
            }
            _ => 0,
        }
    }

    fn join(&mut self, other: &Run) {
        self.live += other.live;
        self.octets += other.octets;
        self.exact &= other.exact;
        self.persistent |= other.persistent;
        self.transient |= other.transient;
    }
}

/// What falls to `part` of `whole` things that together have so many octets.
pub(crate) fn share(octets: u64, part: u64, whole: u64) -> u64 {
    match whole {
        0 => 0,
        _ => (u128::from(octets) * u128::from(part) / u128::from(whole)) as u64,
    }
}
