//! What the log keeps in memory of a queue: not its messages, nor one thing for each of them,
//! but which positions are gone, which segments the others are in, and which were delivered.

use std::collections::BTreeMap;

use crate::batch::Position;
use crate::ranges::Ranges;
use crate::runs::Runs;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Above all positions that were used.
    pub(crate) next: Position,
    /// Below `next`: acknowledged, or never a message. Every other is a message in some run.
    pub(crate) gone: Ranges,
    pub(crate) runs: Runs,
    /// How many messages there are, in all runs together.
    pub(crate) messages: u64,
    /// All below may have been delivered since the log was opened.
    pub(crate) leased: Position,
    /// What may have been delivered before the log was opened.
    pub(crate) delivered: Ranges,
    /// Of live messages, those that came back: how often.
    pub(crate) returns: BTreeMap<Position, u32>,
}

impl Queue {
    /// A new message. False if its position is not above all others: then nothing is changed.
    pub(crate) fn stored(
        &mut self,
        position: Position,
        segment: u64,
        octets: u64,
        persistent: bool,
    ) -> bool {
        if position < self.next || position == Position::MAX {
            return false;
        }
        if position > self.next {
            self.gone.insert(self.next, position - 1, |_, _| {});
        }
        self.next = position + 1;
        self.runs.push(position, segment, octets, persistent);
        self.messages += 1;
        true
    }

    /// The messages from `first` to `last` are gone. Tells of each segment how many it loses;
    /// gives how many there were.
    pub(crate) fn acknowledged(
        &mut self,
        first: Position,
        last: Position,
        mut lost: impl FnMut(u64, u64),
    ) -> u64 {
        let Some(end) = self.next.checked_sub(1) else { return 0 };
        let last = last.min(end);
        let Queue { gone, runs, returns, .. } = self;
        let mut count = 0;
        gone.insert(first, last, |first, last| {
            count += runs.take(first, last, &mut lost);
            if !returns.is_empty() {
                let ended: Vec<Position> = returns.range(first..=last).map(|(&p, _)| p).collect();
                for position in ended {
                    returns.remove(&position);
                }
            }
        });
        self.messages -= count.min(self.messages);
        count
    }

    /// A message was copied to another segment. Gives the segment that has lost it, if it is
    /// another; `None` if the message is gone, or there already.
    ///
    /// With `revive`, one that nobody knows is taken in: when all snapshots are lost, a copy may
    /// be the first that is heard of a message.
    pub(crate) fn moved(
        &mut self,
        position: Position,
        to: u64,
        octets: u64,
        persistent: bool,
        revive: bool,
    ) -> Moved {
        if position >= self.next {
            return match revive && self.stored(position, to, octets, persistent) {
                true => Moved::In,
                false => Moved::Not,
            };
        }
        if self.gone.contains(position) {
            if !revive {
                return Moved::Not;
            }
            self.gone.remove(position);
            self.messages += 1;
        }
        match self.runs.reassign(position, to, octets, persistent, &self.gone) {
            Some(from) if from == to => Moved::Not,
            Some(from) => Moved::From(from),
            None => Moved::In,
        }
    }

    pub(crate) fn leased(&mut self, end: Position) {
        self.leased = end;
    }

    pub(crate) fn returned(&mut self, position: Position, returns: u32) {
        if position < self.next && !self.gone.contains(position) {
            self.returns.insert(position, returns);
        }
    }

    /// The log is opened: what may have been delivered counts as delivered. A lease that reached
    /// beyond all messages says nothing of those to come.
    pub(crate) fn opened(&mut self) {
        if let Some(last) = self.leased.min(self.next).checked_sub(1) {
            self.delivered.insert(0, last, |_, _| {});
        }
        self.leased = 0;
    }

    /// The first message.
    pub(crate) fn first(&self) -> Option<Position> {
        let first = self.runs.first()?.first;
        Some(self.gone.next_absent(first))
    }

    /// The first position from which on a message need not have been delivered.
    pub(crate) fn marked(&self) -> Position {
        self.delivered.next_absent(self.first().unwrap_or(self.next))
    }

    /// What its messages count for; exact if all its runs are.
    pub(crate) fn octets(&self) -> u64 {
        self.runs.iter().fold(0, |sum: u64, run| sum.saturating_add(run.octets))
    }
}

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Its message is gone, or it is there already.
    Not,
    /// It came from this segment.
    From(u64),
    /// Nobody knew it.
    In,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Call {
        Stored { hole: u64, octets: u64 },
        Acknowledged { first: u64, last: u64 },
        Moved { position: u64 },
        NextSegment,
    }

    fn calls() -> impl Strategy<Value = Vec<Call>> {
        let one = prop_oneof![
            4 => (0..3u64, 0..50u64).prop_map(|(hole, octets)| Call::Stored { hole, octets }),
            2 => (0..60u64, 0..4u64)
                .prop_map(|(first, more)| Call::Acknowledged { first, last: first + more }),
            2 => (0..60u64).prop_map(|position| Call::Moved { position }),
            1 => Just(Call::NextSegment),
        ];
        prop::collection::vec(one, 0..120)
    }

    proptest! {
        /// Held against a map from positions to segments and octets.
        #[test]
        fn a_queue_knows_the_segment_of_each_of_its_messages(calls in calls()) {
            let (mut queue, mut model) = (Queue::default(), BTreeMap::new());
            let mut segment = 1;
            for call in calls {
                match call {
                    Call::Stored { hole, octets } => {
                        let position = queue.next + if hole == 2 { 3 } else { 0 };
                        prop_assert!(queue.stored(position, segment, octets, true));
                        model.insert(position, (segment, octets));
                    }
                    Call::Acknowledged { first, last } => {
                        let mut lost = BTreeMap::new();
                        let count = queue.acknowledged(first, last, |segment, count| {
                            *lost.entry(segment).or_insert(0) += count;
                        });
                        let mut expected = BTreeMap::new();
                        model.retain(|position, (segment, _)| {
                            let gone = (first..=last).contains(position);
                            if gone {
                                *expected.entry(*segment).or_insert(0) += 1;
                            }
                            !gone
                        });
                        prop_assert_eq!(count, expected.values().sum::<u64>());
                        prop_assert_eq!(lost, expected);
                    }
                    Call::Moved { position } => {
                        let octets = model.get(&position).map_or(0, |(_, octets)| *octets);
                        let moved = queue.moved(position, segment, octets, true, false);
                        let expected = match model.get_mut(&position) {
                            Some((from, _)) if *from == segment => Moved::Not,
                            Some((from, _)) => Moved::From(std::mem::replace(from, segment)),
                            None => Moved::Not,
                        };
                        prop_assert_eq!(moved, expected);
                    }
                    Call::NextSegment => segment += 1,
                }
                prop_assert_eq!(queue.messages, model.len() as u64);
                prop_assert_eq!(queue.first(), model.keys().next().copied());
                for position in 0..queue.next {
                    let live = !queue.gone.contains(position);
                    let run = queue.runs.of(position).filter(|_| live).map(|run| run.segment);
                    prop_assert_eq!(run, model.get(&position).map(|(segment, _)| *segment));
                }
                let runs: Vec<_> = queue.runs.iter().collect();
                for run in &runs {
                    let within = model.range(run.first..=run.last);
                    let (count, octets) =
                        within.fold((0, 0), |(n, sum), (_, (_, octets))| (n + 1, sum + octets));
                    prop_assert_eq!(run.live, count);
                    prop_assert!(!run.exact || run.octets == octets, "{:?}: {}", run, octets);
                }
                // As few as there can be.
                prop_assert!(runs.windows(2).all(|pair| pair[0].last < pair[1].first));
            }
        }
    }
}
