//! Buffers between two uses. An idle connection holds none; a busy one borrows what the last busy
//! one of the same thread gave back, so that neither costs an allocation a request.

use std::cell::RefCell;

use crate::Request;

/// How many sets are kept: connections that are busy at once without waiting are few, since one
/// callback runs at a time; the rest is for exchanges that wait.
const KEPT: usize = 16;
/// What holds more than this is given back to the allocator: 16 sets × 3 × 16 KiB at most.
const CAPACITY: usize = 16 * 1024;

/// What a busy connection needs.
#[derive(Default)]
pub(crate) struct Spare {
    pub(crate) request: Box<Request>,
    pub(crate) output: Vec<u8>,
}

thread_local! {
    static SPARES: RefCell<Vec<Spare>> = const { RefCell::new(Vec::new()) };
}

/// Empty buffers, with capacity if there are any.
pub(crate) fn take() -> Spare {
    SPARES.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Keeps the buffers for the next, emptied.
pub(crate) fn give_back(mut spare: Spare) {
    spare.output.clear();
    spare.request.body = Default::default();
    spare.request.trailers.clear();
    let small = spare.output.capacity() <= CAPACITY
        && spare.request.headers.text.capacity() <= CAPACITY
        && spare.request.trailers.text.capacity() <= CAPACITY;
    if small {
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < KEPT {
                spares.push(spare);
            }
        });
    }
}
