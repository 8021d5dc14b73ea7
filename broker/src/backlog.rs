//! What a queue holds ready: entries of 24 bytes in the order of their positions.
//!
//! A position is given once, when the message enters the queue, and an entry that comes back
//! (rejected, recovered, its channel lost) goes back to its own position. The ring takes all
//! that is in order; what returns behind its head waits in a heap beside it.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use crate::messages::MessageId;
use crate::returns::Returns;

/// A message in a queue. It owns one reference to the message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Where in the queue: ever growing, never given twice.
    pub(crate) position: u64,
    /// When it expires, in nanoseconds of the broker's clock; [`NEVER`] if it does not.
    pub(crate) expires: u64,
    pub(crate) message: MessageId,
    pub(crate) returns: Returns,
}

impl Entry {
    /// The entry of a message that no queue holds.
    pub(crate) fn outside(message: MessageId) -> Entry {
        Entry { position: 0, expires: NEVER, message, returns: Returns::default() }
    }
}

pub(crate) const NEVER: u64 = u64::MAX;

/// One level of priority of a queue's ready messages.
#[derive(Default)]
pub(crate) struct Backlog {
    /// Ascending positions.
    ring: VecDeque<Entry>,
    /// Returned entries that do not fit before the ring's head, lowest position first.
    returned: BinaryHeap<Returned>,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.returned.is_empty()
    }

    /// All entries, in no order.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.ring.into_iter().chain(self.returned.into_iter().map(|Returned(entry)| entry))
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.ring.iter().chain(self.returned.iter().map(|Returned(entry)| entry))
    }

    /// Appends an entry with a position above all that were given before.
    pub(crate) fn push(&mut self, entry: Entry) {
        debug_assert!(self.ring.back().is_none_or(|last| last.position < entry.position));
        self.ring.push_back(entry);
    }

    /// Puts an entry back to its position.
    pub(crate) fn put_back(&mut self, entry: Entry) {
        if self.ring.front().is_none_or(|head| entry.position < head.position) {
            self.ring.push_front(entry);
        } else {
            self.returned.push(Returned(entry));
        }
    }

    /// The entry with the lowest position.
    pub(crate) fn first(&self) -> Option<&Entry> {
        match (self.ring.front(), self.returned.peek()) {
            (Some(head), Some(Returned(back))) if back.position < head.position => Some(back),
            (Some(head), _) => Some(head),
            (None, back) => back.map(|Returned(entry)| entry),
        }
    }

    /// Takes the entry with the lowest position.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        match (self.ring.front(), self.returned.peek()) {
            (Some(head), Some(Returned(back))) if back.position < head.position => {
                self.returned.pop().map(|Returned(entry)| entry)
            }
            (None, _) => self.returned.pop().map(|Returned(entry)| entry),
            _ => {
                let entry = self.ring.pop_front();
                // A drained backlog must not keep the memory of its peak.
                if self.ring.len() < self.ring.capacity() / 8 && self.ring.capacity() > 1024 {
                    self.ring.shrink_to(self.ring.capacity() / 4);
                }
                entry
            }
        }
    }
}

/// An entry in the heap of returned ones, which keeps its greatest on top: the order is reversed.
struct Returned(Entry);

impl Ord for Returned {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.position.cmp(&self.0.position)
    }
}

impl PartialOrd for Returned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Returned {
    fn eq(&self, other: &Self) -> bool {
        self.0.position == other.0.position
    }
}

impl Eq for Returned {}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: u64) -> Entry {
        Entry { position, expires: NEVER, message: MessageId::NONE, returns: Returns::default() }
    }

    /// Takes all, each of which must have been the first before.
    fn drain(backlog: &mut Backlog) -> Vec<u64> {
        let mut positions = Vec::new();
        while let Some(first) = backlog.first().map(|first| first.position) {
            let taken = backlog.pop().map(|entry| entry.position);
            assert_eq!(taken, Some(first));
            positions.push(first);
        }
        positions
    }

    #[test]
    fn an_entry_takes_24_bytes() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn entries_return_to_their_positions_in_whatever_order_they_come_back() {
        let mut backlog = Backlog::default();
        (0..6).for_each(|position| backlog.push(entry(position)));
        let out: Vec<_> = (0..5).filter_map(|_| backlog.pop()).collect();
        for back in [2, 0, 4, 1, 3] {
            backlog.put_back(out[back]);
        }
        backlog.push(entry(6));
        assert_eq!(backlog.first().map(|first| first.position), Some(0));
        assert_eq!(drain(&mut backlog), [0, 1, 2, 3, 4, 5, 6]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn an_emptied_ring_gives_its_memory_back() {
        let mut backlog = Backlog::default();
        (0..100_000).for_each(|position| backlog.push(entry(position)));
        assert_eq!(drain(&mut backlog).len(), 100_000);
        assert!(backlog.ring.capacity() <= 1024, "{}", backlog.ring.capacity());
    }
}
