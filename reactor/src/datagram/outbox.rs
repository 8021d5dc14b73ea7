//! What waits to be sent on one datagram socket: bounded, first in, first out.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use crate::Address;

/// What a datagram costs besides its bytes, here and in the kernel, roughly: small ones must not
/// fill memory beyond the limit.
const LEAST_COST: usize = 64;
/// An emptied buffer above this size is given back to the allocator.
const KEPT_CAPACITY: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Of all that wait, one behind the other.
    bytes: BytesMut,
    items: VecDeque<Item>,
    cost: usize,
}

#[derive(Debug)]
struct Item {
    length: usize,
    /// `None` is the peer of a connected socket.
    to: Option<Address>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Takes a datagram, unless that costs more than `limit` in all; an empty box takes any.
    pub(crate) fn push(&mut self, data: &[u8], to: Option<Address>, limit: usize) -> bool {
        let cost = self.cost + data.len().max(LEAST_COST);
        if cost > limit && !self.is_empty() {
            return false;
        }
        self.cost = cost;
        self.bytes.extend_from_slice(data);
        self.items.push_back(Item { length: data.len(), to });
        true
    }

    /// The first datagrams, and where they go.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&Address>)> {
        let mut rest = &self.bytes[..];
        self.items.iter().map(move |item| {
            let (data, behind) = rest.split_at(item.length);
            rest = behind;
            (data, item.to.as_ref())
        })
    }

    /// Takes out the first datagram, and answers where it was to go.
    pub(crate) fn pop(&mut self) -> Option<Address> {
        let item = self.items.pop_front()?;
        self.cost -= item.length.max(LEAST_COST);
        self.bytes.advance(item.length);
        if self.items.is_empty() {
            // What was taken out of its front is a part of it all the same.
            let _ = self.bytes.try_reclaim(self.bytes.capacity() + 1);
            if self.bytes.capacity() > KEPT_CAPACITY {
                *self = Self::default();
            }
        }
        item.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_outbox_keeps_no_large_buffer_however_it_was_emptied() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            assert!(outbox.push(&[7; 1400], None, usize::MAX));
        }
        for _ in 0..100 {
            outbox.pop();
        }
        assert!(!outbox.bytes.try_reclaim(KEPT_CAPACITY + 1), "all of it is there again");
    }

    #[test]
    fn datagrams_keep_their_order_and_their_bounds_and_small_ones_cost_too() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(&[7; 1000], None, 200), "whatever the limit, one can go out");
        outbox.pop();
        assert!(outbox.push(b"one", None, 200));
        assert!(outbox.push(b"", None, 200));
        assert!(outbox.push(&[7; 72], None, 200));
        assert!(!outbox.push(b"x", None, 200), "64 + 64 + 72 are all there is room for");
        let waiting: Vec<_> = outbox.iter().map(|(data, _)| data.len()).collect();
        assert_eq!(waiting, [3, 0, 72]);
        outbox.pop();
        assert_eq!(outbox.iter().next(), Some((&b""[..], None)));
        assert!(outbox.push(b"x", None, 200));
        for _ in 0..3 {
            outbox.pop();
        }
        assert_eq!((outbox.len(), outbox.cost(), outbox.is_empty()), (0, 0, true));
        assert!(outbox.pop().is_none());
    }
}
