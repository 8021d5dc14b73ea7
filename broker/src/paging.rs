//! Paging: a long queue keeps only its head in memory, the rest in the store.
//!
//! All ready messages in memory come before all that are paged out: while any are, every new
//! message is paged out, too. When the head falls below half of what memory may hold, the broker
//! asks for the next ones. It asks only for queues that somebody uses or whose messages expire,
//! so that a thousand idle backlogs take no memory.

use bytes::Bytes;

use crate::broker::Broker;
use crate::ids::QueueId;
use crate::journal::{Position, QueueNumber};

/// Messages that the broker wants from the store, oldest first.
///
/// It is answered once, by [`Broker::loaded`], from a store that has been given all that was
/// journaled before [`Broker::next_load`] returned it; more is no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// The queue.
    pub queue: QueueNumber,
    /// Messages at this position and after it, in order, those acknowledged left out.
    pub from: Position,
    /// As many as this, at most; at least 1.
    pub max_messages: usize,
    /// Enough once the payloads together have this many bytes or more. The first message is
    /// wanted however large it is.
    pub max_octets: usize,
    pub(crate) id: u64,
    pub(crate) of: QueueId,
}

/// A message from the store.
#[derive(Debug, Clone)]
pub struct LoadedMessage {
    /// Its position.
    pub position: Position,
    /// When it expires, as in its [`Reference`](crate::Reference).
    pub expires: u64,
    /// What [`Journal::returned`](crate::Journal::returned) said last; 0 if it said nothing.
    pub returns: u32,
    /// The parts that were journaled, joined. A body of 4 KiB or more is kept as a slice of this
    /// buffer, so it should not be part of a larger one.
    pub payload: Bytes,
}

#[derive(Default)]
pub(crate) struct Paging {
    /// Messages that are only in the store, and the bytes of their bodies.
    pub(crate) count: usize,
    pub(crate) bytes: u64,
}

impl Broker {
    /// The next load that a queue wants; `None` if there is none now. Asked after every call that
    /// may have taken messages out of queues, and after the outbox was drained. Several may be
    /// under way at once, for different queues.
    pub fn next_load(&mut self) -> Option<Load> {
        None
    }

    /// Answers a load; fewer messages than wanted are no harm, but none means that the store has
    /// no more of what was journaled before the load was asked for, and those counted are given
    /// up. Returns how many could not be read: they stay in the store. If the queue was purged or
    /// deleted meanwhile, the answer is ignored.
    pub fn loaded(
        &mut self,
        load: &Load,
        messages: impl IntoIterator<Item = LoadedMessage>,
    ) -> usize {
        let _ = (load, messages.into_iter());
        0
    }
}
