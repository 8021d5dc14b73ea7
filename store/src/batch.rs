//! What is to be stored, encoded record by record on the loop; no I/O.

use crate::record;

/// A queue's number. The caller gives it, and never again in the life of a log:
/// [`Recovered::next_queue`](crate::Recovered) is above all that were ever used.
pub type QueueId = u64;

/// A message's place in its queue: ascending in the order of storing, with holes if need be,
/// never used twice in a queue. Below `u64::MAX`.
pub type Position = u64;

/// The time at which a message that does not expire expires.
pub const NEVER: u64 = u64::MAX;

/// A message's place in one of the queues that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The queue.
    pub queue: QueueId,
    /// Above all positions that the queue has had; a reference that is not is left out.
    pub position: Position,
    /// When the message expires there, in milliseconds since the epoch; [`NEVER`] if it does not.
    /// The log keeps this for the caller, and does nothing about it.
    pub expires: u64,
}

/// Records, one after another. They are stored together: after a crash either all of a batch
/// is there or nothing of it.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) octets: Vec<u8>,
    pub(crate) records: usize,
    /// Whether it holds messages, which are refused sooner than acknowledgements when the disk
    /// is full.
    pub(crate) messages: bool,
    pub(crate) too_large: bool,
    acknowledged: Option<Acknowledged>,
}

/// An acknowledgement in a batch, and where it stands there.
#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    queue: QueueId,
    first: Position,
    last: Position,
    start: usize,
    end: usize,
}

impl Batch {
    /// The octets that a batch may hold at most: 1 GiB.
    pub const MAX_OCTETS: usize = 1 << 30;

    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// A definition: the newest value of a key counts.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        if self.has_room(key.len().saturating_add(value.len())) {
            record::put(&mut self.octets, key, value);
        }
    }

    /// Takes a definition away.
    pub fn remove(&mut self, key: &[u8]) {
        if self.has_room(key.len()) {
            record::remove(&mut self.octets, key);
        }
    }

    /// A message: `parts` one after another are its payload, stored once however many queues hold
    /// it. One that is not `persistent` is kept only to be loaded, and forgotten at a restart.
    /// `body` is what it counts for in [`RecoveredQueue::octets`](crate::RecoveredQueue::octets),
    /// 4 GiB at most. Without references it is left out.
    pub fn message(
        &mut self,
        references: &[Reference],
        persistent: bool,
        body: u64,
        parts: &[&[u8]],
    ) {
        let payload = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len()));
        let places = references.len().saturating_mul(record::REFERENCE_OCTETS);
        if !references.is_empty() && self.has_room(payload.saturating_add(places)) {
            let body = u32::try_from(body).unwrap_or(u32::MAX);
            record::message(&mut self.octets, false, references, persistent, body, parts);
            self.messages = true;
        }
    }

    /// The messages of a queue from `first` to `last`, this included, are not needed there any
    /// more. Holes and those that were acknowledged before do no harm.
    pub fn acknowledged(&mut self, queue: QueueId, first: Position, last: Position) {
        if first > last {
            return;
        }
        // In order, as they mostly are, they make one record. It is still the last if it ends
        // where the batch does.
        if let Some(before) = self.acknowledged
            && before.queue == queue
            && before.end == self.octets.len()
            && first > before.first
            && before.last.checked_add(1).is_some_and(|next| first <= next)
        {
            let last = last.max(before.last);
            self.octets.truncate(before.start);
            record::acknowledged(&mut self.octets, queue, before.first, last);
            self.acknowledged = Some(Acknowledged { last, ..before });
            return;
        }
        if self.has_room(0) {
            let start = self.octets.len();
            record::acknowledged(&mut self.octets, queue, first, last);
            let end = self.octets.len();
            self.acknowledged = Some(Acknowledged { queue, first, last, start, end });
        }
    }

    /// All messages below `end` may have been delivered: after a crash they are loaded as
    /// redelivered. The newest counts, also if it is lower: what a caller says who knows exactly
    /// what was delivered, and has said so by [`returned`](Batch::returned).
    pub fn leased(&mut self, queue: QueueId, end: Position) {
        if self.has_room(0) {
            record::leased(&mut self.octets, queue, end);
        }
    }

    /// How often a message came back to its queue, or whatever else the caller wants to be told of
    /// it by [`Loaded::returns`](crate::Loaded::returns), until it is acknowledged.
    pub fn returned(&mut self, queue: QueueId, position: Position, returns: u32) {
        if self.has_room(0) {
            record::returned(&mut self.octets, queue, position, returns);
        }
    }

    /// A queue is gone, with all its messages.
    pub fn queue_removed(&mut self, queue: QueueId) {
        if self.has_room(0) {
            record::queue_removed(&mut self.octets, queue);
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The octets that it takes in the log.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// How many records there are in it.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Empties it, and keeps its memory.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.records = 0;
        self.messages = false;
        self.too_large = false;
        self.acknowledged = None;
    }

    /// Counts one record more, if it fits; a batch into which one did not fit is never stored.
    fn has_room(&mut self, variable: usize) -> bool {
        let octets = variable.saturating_add(record::MAX_FIXED_OCTETS);
        if self.octets.len().saturating_add(octets) > Batch::MAX_OCTETS {
            self.too_large = true;
        }
        self.records += usize::from(!self.too_large);
        !self.too_large
    }
}
