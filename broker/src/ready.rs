//! The ready messages of one queue, by priority: the highest level first, positions within it.
//!
//! A queue without `x-max-priority` has one level and pays for no other.

use crate::backlog::{Backlog, Entry};

#[derive(Default)]
pub(crate) struct Ready {
    base: Backlog,
    /// Level `p` at index `p - 1`; grown to the highest priority seen.
    higher: Vec<Backlog>,
    len: usize,
    /// The bytes of the bodies.
    bytes: u64,
}

impl Ready {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a new entry to its level.
    pub(crate) fn push(&mut self, entry: Entry, priority: u8, bytes: u64) {
        self.len += 1;
        self.bytes += bytes;
        self.level(priority).push(entry);
    }

    /// Puts an entry back to its position in its level.
    pub(crate) fn put_back(&mut self, entry: Entry, priority: u8, bytes: u64) {
        self.len += 1;
        self.bytes += bytes;
        self.level(priority).put_back(entry);
    }

    /// Takes the entry that goes next; the caller then calls [`Ready::took`] with its size, which
    /// only the message knows.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let level = self.higher.iter_mut().rev().find(|level| !level.is_empty());
        let entry = level.unwrap_or(&mut self.base).pop()?;
        self.len -= 1;
        Some(entry)
    }

    /// All entries, in no order.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = Entry> {
        let levels = std::iter::once(self.base).chain(self.higher);
        levels.flat_map(Backlog::into_entries)
    }

    /// The same, left where they are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.base).chain(&self.higher).flat_map(Backlog::iter)
    }

    /// Accounts for the bytes of an entry taken.
    pub(crate) fn took(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }

    /// The entry that goes next: the only one that can expire.
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.higher.iter().rev().find_map(Backlog::first).or_else(|| self.base.first())
    }

    /// Takes the entry that goes next if it satisfies `test`; the caller then calls
    /// [`Ready::took`].
    pub(crate) fn pop_if(&mut self, test: impl Fn(&Entry) -> bool) -> Option<Entry> {
        if self.first().is_some_and(test) { self.pop() } else { None }
    }

    fn level(&mut self, priority: u8) -> &mut Backlog {
        let Some(at) = usize::from(priority).checked_sub(1) else { return &mut self.base };
        if self.higher.len() <= at {
            self.higher.resize_with(at + 1, Backlog::default);
        }
        &mut self.higher[at]
    }
}
