//! Restoring: a broker made again from what a store kept.
//!
//! Definitions come first, in the order of their kinds, then what each queue holds. Nothing of
//! this is journaled, since the journal is set after it. Messages stay in the store until they
//! are wanted: restoring ten million takes as long as restoring one.

use crate::broker::Broker;
use crate::definition::Definition;
use crate::journal::{Position, QueueNumber};

/// What a store found in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredQueue {
    /// Its number.
    pub number: QueueNumber,
    /// Above every position that the store ever saw in it.
    pub next_position: Position,
    /// The end of its newest lease; 0 if there is none.
    pub leased: Position,
    /// Messages in it.
    pub messages: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
}

impl Broker {
    /// Makes again what a definition says; one that is there already (the virtual host `/`, say)
    /// becomes what it says. Before [`set_journal`](Broker::set_journal).
    ///
    /// # Errors
    /// Why it cannot be, in words: what it belongs to is missing, or a part of it is wrong.
    /// The others can still be restored.
    pub fn restore_definition(&mut self, definition: &Definition<'_>) -> Result<(), String> {
        let _ = definition;
        Ok(())
    }

    /// Says what a restored queue holds; false if no definition gave its number to a queue:
    /// then the store can forget it. Before [`set_journal`](Broker::set_journal).
    pub fn restore_messages(&mut self, queue: &RestoredQueue) -> bool {
        let _ = queue;
        false
    }
}
