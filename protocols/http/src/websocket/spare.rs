//! Buffers between two uses: a message that has to be gathered, inflated, compressed or masked is
//! done in one that was used before, and an idle connection holds none.

use std::cell::RefCell;

/// How many are kept: one callback runs at a time, and needs two; the rest is for messages that are
/// on their way.
const KEPT: usize = 16;
/// What holds more than this is given back to the allocator: 16 × 64 KiB in all, at most.
const CAPACITY: usize = 64 * 1024;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer, with capacity if there is one.
pub(super) fn take() -> Vec<u8> {
    SPARES.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Keeps a buffer for the next, emptied.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > CAPACITY {
        return;
    }
    buffer.clear();
    SPARES.with_borrow_mut(|spares| {
        if spares.len() < KEPT {
            spares.push(buffer);
        }
    });
}
