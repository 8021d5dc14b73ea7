//! The timer queue, opened for the `benches` workspace, which measures it alone.
//!
//! Not an interface: hidden, behind a feature that nothing else enables, and free to change.

use crate::timer::{TimerId, Timers, Turn};

/// The reactor's timer queue.
pub struct TimerQueue<T>(Timers<T>);

/// Marks a turn of the queue.
#[derive(Clone, Copy)]
pub struct TimerTurn(Turn);

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        TimerQueue(Timers::new())
    }
}

impl<T> TimerQueue<T> {
    /// Sets a timer for `deadline`, in nanoseconds.
    #[inline]
    pub fn insert(&mut self, deadline: u64, payload: T) -> TimerId {
        self.0.insert(deadline, payload)
    }

    /// Cancels it.
    #[inline]
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.0.cancel(id)
    }

    /// Moves it.
    #[inline]
    pub fn reset(&mut self, id: TimerId, deadline: u64) -> bool {
        self.0.reset(id, deadline)
    }

    /// The earliest deadline.
    #[inline]
    pub fn next_deadline(&mut self) -> Option<u64> {
        self.0.next_deadline()
    }

    /// Begins a turn.
    #[inline]
    pub fn begin_turn(&mut self) -> TimerTurn {
        TimerTurn(self.0.begin_turn())
    }

    /// Takes out the next timer that is due.
    #[inline]
    pub fn pop_due(&mut self, now: u64, turn: TimerTurn) -> Option<(TimerId, T)> {
        self.0.pop_due(now, turn.0)
    }
}
