//! A channel's unacknowledged deliveries, in the order of their tags.
//!
//! A ring of 48 bytes a delivery, found by arithmetic or bisection, never by a map. One
//! acknowledged out of order leaves a hole until the front passes it or holes outnumber the rest.

use std::collections::VecDeque;

use crate::backlog::Entry;
use crate::ids::{ConsumerId, QueueId};
use crate::messages::MessageId;

/// A delivery that waits for its acknowledgement; it owns the entry it took from the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unacked {
    pub(crate) tag: u64,
    pub(crate) entry: Entry,
    pub(crate) queue: QueueId,
    /// `None` if it was fetched with `basic.get`.
    pub(crate) consumer: Option<ConsumerId>,
}

#[derive(Default)]
pub(crate) struct UnackedList {
    /// Ascending tags; a hole has no message.
    ring: VecDeque<Unacked>,
    holes: usize,
}

impl UnackedList {
    #[cfg(test)]
    fn len(&self) -> usize {
        self.ring.len() - self.holes
    }

    pub(crate) fn push(&mut self, unacked: Unacked) {
        self.ring.push_back(unacked);
    }

    /// The tag of the first delivery.
    pub(crate) fn first_tag(&self) -> Option<u64> {
        self.ring.front().map(|first| first.tag)
    }

    /// Whether `tag` is outstanding.
    pub(crate) fn contains(&self, tag: u64) -> bool {
        self.find(tag).is_some()
    }

    /// Takes the delivery of `tag`.
    pub(crate) fn take(&mut self, tag: u64) -> Option<Unacked> {
        if self.ring.front()?.tag == tag {
            return self.take_first(tag); // as it mostly is
        }
        let at = self.find(tag)?;
        let unacked = self.ring[at];
        self.ring[at].entry.message = MessageId::NONE;
        self.holes += 1;
        // Without this one delivery that is never acknowledged would pin all that follow.
        if self.holes > 64 && self.holes > self.ring.len() / 2 {
            self.ring.retain(|unacked| unacked.entry.message != MessageId::NONE);
            self.holes = 0;
        }
        Some(unacked)
    }

    /// Takes the first delivery with a tag up to `last`.
    pub(crate) fn take_first(&mut self, last: u64) -> Option<Unacked> {
        if self.ring.front()?.tag > last {
            return None;
        }
        let first = self.ring.pop_front();
        self.trim();
        first
    }

    /// Takes the last delivery of all.
    pub(crate) fn take_last(&mut self) -> Option<Unacked> {
        while let Some(unacked) = self.ring.pop_back() {
            if unacked.entry.message != MessageId::NONE {
                return Some(unacked);
            }
            self.holes -= 1;
        }
        None
    }

    /// Takes deliveries back in whose settling was undone.
    pub(crate) fn restore(&mut self, back: impl Iterator<Item = Unacked>) {
        let before = self.ring.len();
        self.ring.extend(back);
        if self.ring.len() > before {
            self.ring.retain(|unacked| unacked.entry.message != MessageId::NONE);
            self.holes = 0;
            self.ring.make_contiguous().sort_unstable_by_key(|unacked| unacked.tag);
        }
    }

    fn find(&self, tag: u64) -> Option<usize> {
        let first = self.ring.front()?.tag;
        // Tags mostly run without gaps: then the index is a subtraction.
        let guess = usize::try_from(tag.checked_sub(first)?).ok()?;
        let at = match self.ring.get(guess) {
            Some(unacked) if unacked.tag == tag => guess,
            _ => self.ring.binary_search_by_key(&tag, |unacked| unacked.tag).ok()?,
        };
        (self.ring[at].entry.message != MessageId::NONE).then_some(at)
    }

    fn trim(&mut self) {
        while self.ring.front().is_some_and(|first| first.entry.message == MessageId::NONE) {
            self.ring.pop_front();
            self.holes -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backlog::NEVER;
    use crate::ids::Slots;
    use crate::messages::Messages;
    use crate::returns::Returns;

    fn list(tags: impl IntoIterator<Item = u64>) -> UnackedList {
        let queue = Slots::<QueueId, ()>::new().insert(());
        let publish = crate::message::Publish::new(b"", b"", b"");
        let message = Messages::default().insert(&publish, None, 1);
        let entry = Entry { position: 0, expires: NEVER, message, returns: Returns::default() };
        let mut list = UnackedList::default();
        tags.into_iter().for_each(|tag| list.push(Unacked { tag, entry, queue, consumer: None }));
        list
    }

    #[test]
    fn a_tag_is_found_with_and_without_gaps_and_only_once() {
        let mut list = list([1, 2, 5, 9, 10]);
        assert_eq!(list.take(9).map(|unacked| unacked.tag), Some(9));
        assert!(list.take(9).is_none());
        assert!(list.take(3).is_none());
        assert!(list.take(0).is_none());
        assert_eq!(list.len(), 4);
        assert_eq!(list.take(1).map(|unacked| unacked.tag), Some(1));
        let left: Vec<_> = std::iter::from_fn(|| list.take_first(9)).map(|it| it.tag).collect();
        assert_eq!(left, [2, 5]);
        assert_eq!(list.take_last().map(|unacked| unacked.tag), Some(10));
        assert_eq!(list.len(), 0);
    }

    #[test]
    fn one_delivery_that_is_never_acknowledged_does_not_pin_those_behind_it() {
        let mut list = list(1..=10_000);
        (2..10_000).for_each(|tag| assert!(list.take(tag).is_some()));
        assert_eq!(list.len(), 2);
        assert!(list.ring.len() < 200, "{} kept", list.ring.len());
        assert!(list.contains(1) && list.contains(10_000));
    }

    #[test]
    fn a_delivery_takes_48_bytes_or_little_more() {
        assert!(size_of::<Unacked>() <= 56, "{}", size_of::<Unacked>());
    }
}
