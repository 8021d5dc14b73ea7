//! What waits for the other side: in its order, up to a limit, and then the eldest goes.

use std::collections::VecDeque;

/// A queue of things with a size.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    limit: usize,
}

/// What each thing takes besides its own bytes, about.
const COSTS: usize = 128;

impl<T> Buffer<T> {
    /// One that holds at most `limit` bytes, or else one thing, once it is trimmed.
    pub(crate) fn new(limit: usize) -> Self {
        Self { items: VecDeque::new(), bytes: 0, limit }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What it holds, with what that takes besides its own bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it has reached its limit.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.limit
    }

    pub(crate) fn front(&self) -> Option<(usize, &T)> {
        self.items.front().map(|(size, item)| (*size, item))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().map(|(_, item)| item)
    }

    /// Adds it behind the others.
    pub(crate) fn push(&mut self, size: usize, item: T) {
        let size = size + COSTS;
        self.bytes += size;
        self.items.push_back((size, item));
    }

    /// Takes out the eldest until the others keep to the limit.
    pub(crate) fn trim(&mut self) -> Vec<T> {
        let mut gone = Vec::new();
        while self.bytes > self.limit && self.items.len() > 1 {
            gone.extend(self.pop());
        }
        gone
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let (size, item) = self.items.pop_front()?;
        self.bytes -= size;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eldest_goes_for_what_is_new() {
        let mut buffer = Buffer::new(3 * (COSTS + 10));
        for number in 0..3 {
            buffer.push(10, number);
        }
        assert!(buffer.is_full() && buffer.trim().is_empty());
        buffer.push(11, 3);
        assert_eq!(buffer.trim(), [0, 1]);
        assert!(!buffer.is_full());
        buffer.push(10_000, 4);
        assert_eq!(buffer.trim(), [2, 3], "one is always held");
        assert_eq!((buffer.pop(), buffer.pop(), buffer.bytes), (Some(4), None, 0));
    }
}
