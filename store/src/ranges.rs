//! A set of positions, kept as ranges: what was acknowledged of a queue, mostly in order, is a
//! few of them, however many positions they cover.

use std::collections::BTreeMap;

use crate::batch::Position;
use crate::codec::{Reader, put_varint};

/// Ranges, both ends included, that neither touch nor overlap, by their first position. No
/// range reaches `u64::MAX`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    map: BTreeMap<Position, Position>,
}

impl Ranges {
    pub(crate) fn contains(&self, position: Position) -> bool {
        self.map.range(..=position).next_back().is_some_and(|(_, &last)| position <= last)
    }

    /// The first position from `position` on that is not in the set.
    pub(crate) fn next_absent(&self, position: Position) -> Position {
        match self.map.range(..=position).next_back() {
            Some((_, &last)) if position <= last => last + 1,
            _ => position,
        }
    }

    /// How many positions from `first` to `last` are in the set. O(ranges between them).
    pub(crate) fn count(&self, first: Position, last: Position) -> u64 {
        if first > last {
            return 0;
        }
        let mut count = 0;
        for (&start, &end) in self.map.range(..=last).rev() {
            if end < first {
                break;
            }
            count += end.min(last) - start.max(first) + 1;
        }
        count
    }

    /// Adds the positions from `first` to `last`; tells of those that were not in the set, as
    /// ranges in ascending order.
    pub(crate) fn insert(
        &mut self,
        first: Position,
        last: Position,
        mut added: impl FnMut(Position, Position),
    ) {
        let last = last.min(Position::MAX - 1);
        if first > last {
            return;
        }
        // The one that reaches up to `first`, if one does: in order, that is all there is to do.
        let before = self.map.range_mut(..=first).next_back();
        let (start, mut from) = match before {
            Some((&start, end)) if *end >= first.saturating_sub(1) => {
                if *end >= last {
                    return;
                }
                let from = first.max(*end + 1);
                *end = last;
                (start, from)
            }
            _ => {
                self.map.insert(first, last);
                (first, first)
            }
        };
        // Those that begin within what is added, or right after it, become part of it.
        let mut end = last;
        while let Some((&next, &next_end)) = self.map.range(start + 1..=last + 1).next() {
            self.map.remove(&next);
            if next > from {
                added(from, next - 1);
            }
            from = next_end + 1;
            end = end.max(next_end);
        }
        if from <= last {
            added(from, last);
        }
        if end > last {
            self.map.insert(start, end);
        }
    }

    /// Takes one position out.
    pub(crate) fn remove(&mut self, position: Position) {
        let Some((&first, &last)) = self.map.range(..=position).next_back() else { return };
        if position > last {
            return;
        }
        self.map.remove(&first);
        if first < position {
            self.map.insert(first, position - 1);
        }
        if position < last {
            self.map.insert(position + 1, last);
        }
    }

    /// Forgets what is below `position`, as far as it is in ranges of its own.
    pub(crate) fn forget_below(&mut self, position: Position) {
        while let Some(entry) = self.map.first_entry() {
            if *entry.get() >= position {
                break;
            }
            entry.remove();
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.map.len() as u64);
        let mut end = 0;
        for (&first, &last) in &self.map {
            put_varint(out, first - end);
            put_varint(out, last - first);
            end = last;
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Ranges> {
        let mut ranges = Ranges::default();
        let mut end = 0;
        for place in 0..reader.count(2)? {
            let first = reader.varint()?.checked_add(end)?;
            let last = reader.varint()?.checked_add(first)?;
            // Apart from the one before by more than one.
            if (place > 0 && first - end < 2) || last == Position::MAX {
                return None;
            }
            ranges.map.insert(first, last);
            end = last;
        }
        Some(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn normal(ranges: &Ranges) -> bool {
        let all: Vec<_> = ranges.map.iter().collect();
        all.iter().all(|(first, last)| first <= last)
            && all.windows(2).all(|pair| *pair[0].1 + 1 < *pair[1].0)
    }

    proptest! {
        #[test]
        fn ranges_are_as_a_set(calls in prop::collection::vec((0..3u8, 0..60u64, 0..12u64), 0..60)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (what, first, length) in calls {
                let last = first + length;
                if what == 2 {
                    ranges.remove(first);
                    set.remove(&first);
                } else {
                    let mut added = Vec::new();
                    ranges.insert(first, last, |a, b| added.push((a, b)));
                    let new: Vec<u64> = (first..=last).filter(|p| set.insert(*p)).collect();
                    let told: Vec<u64> = added.iter().flat_map(|&(a, b)| a..=b).collect();
                    prop_assert_eq!(new, told);
                    // As few pieces as there are.
                    prop_assert!(added.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                }
                prop_assert!(normal(&ranges), "{ranges:?}");
                for position in 0..80 {
                    prop_assert_eq!(ranges.contains(position), set.contains(&position));
                    let absent = (position..).find(|p| !set.contains(p));
                    prop_assert_eq!(Some(ranges.next_absent(position)), absent);
                }
                let count = set.range(first..=last).count() as u64;
                prop_assert_eq!(ranges.count(first, last), count);
            }
            let mut out = Vec::new();
            ranges.encode(&mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(Ranges::decode(&mut reader), Some(ranges));
            prop_assert!(reader.rest.is_empty());
        }
    }

    #[test]
    fn acknowledging_in_order_leaves_one_range() {
        let mut ranges = Ranges::default();
        for position in 0..1000 {
            ranges.insert(position, position, |_, _| {});
        }
        assert_eq!(ranges.map.len(), 1);
        ranges.insert(5, Position::MAX, |first, last| {
            assert_eq!((first, last), (1000, Position::MAX - 1));
        });
        assert_eq!(ranges.next_absent(3), Position::MAX);
        ranges.forget_below(7);
        assert!(ranges.contains(3), "a range that reaches further is kept whole");
    }
}
