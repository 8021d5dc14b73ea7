//! A 4-ary min-heap of timer entries: where each timer stands in the order of firing.
//!
//! It knows nothing of payloads, nor which entries are dead; it only keeps order. Four
//! children in place of two halve the depth, and the four lie side by side in memory:
//! fewer cache misses on the way down.

use std::ops::Range;

/// Children of a node.
const ARITY: usize = 4;

/// Capacity below which nothing is given back (24 bytes an entry: 24 KiB).
const KEEP: usize = 1024;

/// A place in the queue. Smaller is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) deadline: u64,
    /// Unique, so no two entries compare equal.
    pub(super) order: u64,
    pub(super) slot: u32,
}

impl Entry {
    /// One wide number: deadline first, then the order of setting.
    fn key(&self) -> u128 {
        u128::from(self.deadline) << 64 | u128::from(self.order)
    }
}

pub(super) struct Heap {
    /// No entry is smaller than its parent: that of `i` is `(i - 1) / ARITY`.
    entries: Vec<Entry>,
}

impl Heap {
    pub(super) fn new() -> Self {
        Heap { entries: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    pub(super) fn peek(&self) -> Option<Entry> {
        self.entries.first().copied()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.sift_up(self.entries.len() - 1);
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let top = self.peek()?;
        let last = self.entries.pop()?;
        if !self.entries.is_empty() {
            // The last entry belongs near the bottom: walk the hole down without comparing
            // with it, then let it rise the little that it must.
            let hole = self.sink_hole();
            self.entries[hole] = last;
            self.sift_up(hole);
        }
        self.give_back();
        Some(top)
    }

    /// Puts `entry`, which must not be smaller, in the place of the top.
    pub(super) fn replace_top(&mut self, entry: Entry) {
        self.entries[0] = entry;
        self.sift_down(0);
    }

    /// Keeps the entries for which `keep` holds, in O(n).
    pub(super) fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
        if self.entries.len() > 1 {
            let last_parent = (self.entries.len() - 2) / ARITY;
            for i in (0..=last_parent).rev() {
                self.sift_down(i);
            }
        }
        self.give_back();
    }

    /// Memory follows the entries down, at a quarter, so that it does not swing at an edge.
    fn give_back(&mut self) {
        let capacity = self.entries.capacity();
        if capacity > KEEP && self.entries.len() < capacity / 4 {
            self.entries.shrink_to((self.entries.len() * 2).max(KEEP));
        }
    }

    fn sift_up(&mut self, mut i: usize) {
        let entries = &mut self.entries[..];
        let entry = entries[i];
        while i > 0 {
            let parent = (i - 1) / ARITY;
            if entries[parent].key() < entry.key() {
                break;
            }
            entries[i] = entries[parent];
            i = parent;
        }
        entries[i] = entry;
    }

    fn sift_down(&mut self, mut i: usize) {
        let entries = &mut self.entries[..];
        let entry = entries[i];
        loop {
            let first = i * ARITY + 1;
            if first >= entries.len() {
                break;
            }
            let child = smallest(entries, first..entries.len().min(first + ARITY));
            if entry.key() < entries[child].key() {
                break;
            }
            entries[i] = entries[child];
            i = child;
        }
        entries[i] = entry;
    }

    /// Moves the hole at the top down to a leaf and says where it came to rest. Families of a
    /// known size are walked apart from the short one that may come last: popping from a heap
    /// of a million entries takes three quarters of the time so.
    fn sink_hole(&mut self) -> usize {
        let entries = &mut self.entries[..];
        let mut hole = 0;
        loop {
            let first = hole * ARITY + 1;
            if first + ARITY <= entries.len() {
                let child = smallest(entries, first..first + ARITY);
                entries[hole] = entries[child];
                hole = child;
            } else if first < entries.len() {
                let child = smallest(entries, first..entries.len());
                entries[hole] = entries[child];
                return child;
            } else {
                return hole;
            }
        }
    }
}

/// The index of the smallest entry in a range that is not empty.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "zipped iterators take half as long again")]
fn smallest(entries: &[Entry], among: Range<usize>) -> usize {
    let mut smallest = among.start;
    let mut key = entries[smallest].key();
    for i in among.start + 1..among.end {
        let candidate = entries[i].key();
        let smaller = candidate < key;
        smallest = if smaller { i } else { smallest };
        key = if smaller { candidate } else { key };
    }
    smallest
}
