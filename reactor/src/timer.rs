//! The queue of timers: what shall happen when, in nanoseconds on the reactor's clock.
//!
//! It does no I/O and has no clock of its own: it is told what time it is. The one rule:
//! timers come out in the order of their deadlines, exactly, and equal deadlines in the
//! order in which they were set.
//!
//! # Why a heap
//!
//! A 4-ary heap of 24-byte entries ([`heap`]) points into paged slots that hold the payloads
//! ([`slots`]). Two things are put off, because most timers of a server never fire:
//!
//! - *Cancelling* empties the slot and leaves the entry behind, dead. Dead entries are dropped
//!   when they surface, and swept out when they are more than half of the heap, so memory is
//!   bound to the timers that live, and a cancellation costs O(1) on average. (The sweep itself
//!   is O(n): some 15 ms in the one call that starts it, with a million timers.)
//! - *Resetting to later* writes the new deadline into the slot and leaves the entry where it
//!   is. When it surfaces, too early, it goes back in at its true place.
//!
//! Timing wheels, the usual answer, trade away exactness (a tick, often a millisecond) for O(1)
//! insertion; a heap inserts random deadlines in O(1) on average too. A million boxed closures
//! due at random within a minute took, in nanoseconds of processor time each, best of eight
//! alternating runs (`benches/` repeats it: `ropewalk-bench timers`):
//!
//! |                                  | this | tokio's `DelayQueue` | `BinaryHeap` | `BTreeMap` |
//! |----------------------------------|-----:|---------------------:|-------------:|-----------:|
//! | set, in fresh memory             |   63 |                   63 |           54 |        408 |
//! | set                              |   33 |                   55 |           52 |        364 |
//! | cancel in random order           |  295 |                  536 |          203 |        743 |
//! | fire                             |  394 |                  665 |          611 |        156 |
//! | reset to later (100,000 of them) |    6 |                  198 |           21 |        364 |
//! | fire after ten such resets       |  115 |                  523 |         2702 |         53 |
//! | reset to sooner (100,000)        |   33 |                  197 |           38 |        330 |
//! | KiB kept when one timer is left  |  198 |               65,541 |       57,344 |          0 |
//!
//! A prototype that kept far timers in a wheel of vectors, and only the near ones in a heap,
//! fired in two thirds of the time and set in half as much again. But when the earliest timer
//! lies in a coarse slot it must scan that slot to know the exact next deadline, or fall back
//! to a heap: more code, for rows that were won already. A 2-ary heap was some 20 % slower to set
//! and no faster to fire; an 8-ary one was within the noise of this. (The `BinaryHeap` is lazy
//! too, but never sweeps.)

mod heap;
mod slots;

use std::num::NonZeroU32;

use heap::{Entry, Heap};
use slots::{Slot, Slots};

/// Below this many entries a sweep is not worth its bookkeeping (24 bytes each: 1.5 KiB).
const SWEEP_MIN: usize = 64;

/// Names one timer that was set. `Copy`, 8 bytes: a slot and its generation.
///
/// Once the timer has fired or was cancelled the id is stale: it finds nothing, and never a
/// timer set later in the same place. (The generation counts the timers set, modulo 2³²: a
/// stale id could be mistaken only after exactly a multiple of 2³² further timers, and then
/// only if the same slot was taken.)
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    generation: NonZeroU32,
}

impl std::fmt::Debug for TimerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TimerId({}v{})", self.slot, self.generation)
    }
}

/// What was set before this mark may fire in the turn that the mark began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    before: u64,
}

/// Timers with a payload `T` each, handed back when the timer is due.
pub(crate) struct Timers<T> {
    slots: Slots<T>,
    heap: Heap,
    /// Due, but set since the turn began: out of the heap until the next turn.
    postponed: Vec<Entry>,
    /// How many entries, in `heap` and `postponed`, no slot names any more.
    dead: usize,
    /// The next place in the order of setting. At one a nanosecond it lasts 584 years.
    next_order: u64,
    next_generation: NonZeroU32,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers {
            slots: Slots::new(),
            heap: Heap::new(),
            postponed: Vec::new(),
            dead: 0,
            next_order: 0,
            next_generation: NonZeroU32::MIN,
        }
    }

    /// How many timers are set and have neither fired nor been cancelled.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Sets a timer. A deadline in the past is due at once, but see [`Timers::pop_due`].
    pub(crate) fn insert(&mut self, deadline: u64, payload: T) -> TimerId {
        let order = self.take_order();
        let generation = self.next_generation;
        self.next_generation = generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let slot = self.slots.insert(Slot { deadline, order, queued: order, generation, payload });
        self.heap.push(Entry { deadline, order, slot });
        TimerId { slot, generation }
    }

    /// Takes the timer out and hands its payload back; `None` if it has fired or gone.
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.find(id)?;
        let slot = self.slots.remove(id.slot)?;
        self.entry_died();
        Some(slot.payload)
    }

    /// Moves the timer to another deadline, sooner or later, as if it were set now: among
    /// equal deadlines it takes the last place. `false` if it has fired or gone.
    pub(crate) fn reset(&mut self, id: TimerId, deadline: u64) -> bool {
        let order = self.next_order;
        let Some(slot) = self.find(id) else { return false };
        let sooner = deadline < slot.deadline;
        slot.deadline = deadline;
        slot.order = order;
        if sooner {
            slot.queued = order;
        }
        self.next_order += 1;
        if sooner {
            self.heap.push(Entry { deadline, order, slot: id.slot });
            self.entry_died();
        }
        true
    }

    /// When the timer is due; `None` if it has fired or gone.
    pub(crate) fn deadline(&self, id: TimerId) -> Option<u64> {
        let slot = self.slots.get(id.slot)?;
        (slot.generation == id.generation).then_some(slot.deadline)
    }

    /// Remembers in `owned` a timer that is to die with its owner. The list may hold some that have
    /// fired; it is swept whenever it would have to grow, so it stays within twice what is alive.
    pub(crate) fn own(&self, owned: &mut Vec<TimerId>, timer: TimerId) {
        if owned.len() == owned.capacity() {
            owned.retain(|&timer| self.deadline(timer).is_some());
        }
        owned.push(timer);
    }

    /// The earliest deadline, exactly; `None` if no timer is set. O(1) while nothing changes.
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        self.readmit();
        self.settle().map(|entry| entry.deadline)
    }

    /// Marks the beginning of a turn: timers set or reset from here on fire in the next one.
    pub(crate) fn begin_turn(&mut self) -> Turn {
        self.readmit();
        Turn { before: self.next_order }
    }

    /// Takes out the first timer that is due at `now` and was set before the turn began;
    /// `None` if there is no more. So a timer that sets another for "now" cannot hold the
    /// loop: the other one waits for the next turn.
    pub(crate) fn pop_due(&mut self, now: u64, turn: Turn) -> Option<(TimerId, T)> {
        while let Some(entry) = self.settle() {
            if entry.deadline > now {
                return None;
            }
            self.heap.pop();
            if entry.order >= turn.before {
                self.postponed.push(entry);
                continue;
            }
            let slot = self.slots.remove(entry.slot).expect("settle found the slot filled");
            let id = TimerId { slot: entry.slot, generation: slot.generation };
            return Some((id, slot.payload));
        }
        None
    }

    fn find(&mut self, id: TimerId) -> Option<&mut Slot<T>> {
        self.slots.get_mut(id.slot).filter(|slot| slot.generation == id.generation)
    }

    fn take_order(&mut self) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        order
    }

    /// Brings a live entry that is at its true place to the top of the heap, and shows it.
    fn settle(&mut self) -> Option<Entry> {
        loop {
            let entry = self.heap.peek()?;
            match self.slots.get_mut(entry.slot) {
                Some(slot) if slot.queued == entry.order => {
                    if slot.order == entry.order {
                        return Some(entry);
                    }
                    slot.queued = slot.order;
                    let (deadline, order) = (slot.deadline, slot.order);
                    self.heap.replace_top(Entry { deadline, order, slot: entry.slot });
                }
                _ => {
                    self.heap.pop();
                    self.dead -= 1;
                }
            }
        }
    }

    fn readmit(&mut self) {
        for entry in self.postponed.drain(..) {
            self.heap.push(entry);
        }
    }

    fn entry_died(&mut self) {
        self.dead += 1;
        let entries = self.heap.len() + self.postponed.len();
        if entries >= SWEEP_MIN && self.dead * 2 > entries {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let slots = &self.slots;
        let lives = |e: &Entry| slots.get(e.slot).is_some_and(|slot| slot.queued == e.order);
        self.heap.retain(lives);
        self.postponed.retain(lives);
        self.postponed.shrink_to(SWEEP_MIN);
        self.dead = 0;
    }
}

#[cfg(test)]
mod tests;
