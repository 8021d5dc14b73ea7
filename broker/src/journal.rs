//! The journal: the seam through which the broker says what a store must keep.
//!
//! The broker calls it in the order in which things happen and never waits for it; whoever keeps
//! the store gathers the records, writes them in that order, and tells by
//! [`Broker::stored`](crate::Broker::stored) how far it got. What is not journaled does not
//! outlive the broker: everything transient, and what is exclusive to a connection.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};

use crate::broker::Broker;
use crate::definition::{Definition, DefinitionKey};
use crate::ids::QueueId;
use crate::lease::Lease;
use crate::paging::Paging;

/// A queue's number in the store: given by the broker, never used twice in the life of a store.
pub type QueueNumber = u64;

/// Where a message is in its queue: ascending, never used twice in one queue.
pub type Position = u64;

/// What a store must keep, record by record, in the order of the calls.
///
/// It never calls back into the broker and cannot fail: what could not be written is the keeper's
/// affair, who then never reports the records as [stored](Broker::stored).
pub trait Journal: Send + Any {
    /// Something durable was made or changed; the newest of one [key](Definition::key) counts.
    fn defined(&mut self, definition: &Definition<'_>);

    /// Something durable has gone. What goes with it is told apart, before it.
    fn undefined(&mut self, key: &DefinitionKey<'_>);

    /// A message entered the queues of its references: it is kept once for all of them.
    fn message(&mut self, message: &JournaledMessage<'_>);

    /// These positions, both included, need no longer be kept in the queue. Positions that were
    /// never journaled may lie between them.
    fn acknowledged(&mut self, queue: QueueNumber, first: Position, last: Position);

    /// All messages of the queue below `end` may have been handed out: found after a restart,
    /// they are redelivered. The newest counts, also if it is lower, as it may be in the records
    /// of [`Broker::release_leases`].
    fn leased(&mut self, queue: QueueNumber, end: Position);

    /// A message came back. `returns` is to be given back when the message is
    /// [loaded](LoadedMessage::returns); it says how often, in the broker's own way.
    fn returned(&mut self, queue: QueueNumber, position: Position, returns: u32);

    /// The queue has gone with all that was in it.
    fn queue_removed(&mut self, queue: QueueNumber);
}

/// A message for the store.
#[derive(Debug, Clone, Copy)]
pub struct JournaledMessage<'a> {
    /// The queues that keep it, each with its position there; never empty.
    pub references: &'a [Reference],
    /// Whether it must be found again after a restart. If not, it is journaled only because a
    /// queue was too long for memory.
    pub persistent: bool,
    /// The bytes of its body, in which a queue's length is limited: what
    /// [`RestoredQueue::bytes`](crate::RestoredQueue::bytes) sums up.
    pub body: u64,
    /// What to keep, one after the other, and to give back as
    /// [`LoadedMessage::payload`](crate::LoadedMessage::payload).
    pub parts: [&'a [u8]; 3],
}

/// A message's place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The queue.
    pub queue: QueueNumber,
    /// The position there.
    pub position: Position,
    /// When it expires there, in milliseconds since the Unix epoch; `u64::MAX` if it does not.
    pub expires: u64,
}

/// What the broker keeps beside its journal.
#[derive(Default)]
pub(crate) struct Storing {
    /// Where the message at hand is to be kept, until it is journaled.
    pub(crate) pending: Vec<Reference>,
    /// Whether any of those is in a durable queue.
    pub(crate) pending_durable: bool,
    /// References that go once the message at hand is journaled: of queues that paged it out.
    pub(crate) paged_out: u32,
    /// Queues that want a load, each once.
    pub(crate) wanting: VecDeque<QueueId>,
    pub(crate) last_load: u64,
    /// The number of the next queue that is stored.
    pub(crate) next_number: QueueNumber,
    /// Queues by their numbers, while the broker is restored.
    pub(crate) restoring: BTreeMap<QueueNumber, QueueId>,
}

/// What a queue of a broker with a journal knows about its messages in the store.
#[derive(Default)]
pub(crate) struct QueueStore {
    /// `None` until it has anything in the store.
    pub(crate) number: Option<QueueNumber>,
    /// It is durable: its persistent messages are journaled.
    pub(crate) keeps: bool,
    pub(crate) paging: Paging,
    pub(crate) lease: Lease,
}

impl Broker {
    /// Has the broker tell `journal` from now on what to keep, and give numbers from `next_queue`
    /// on to queues.
    ///
    /// It is called once, after the `restore_` calls and before anything else durable is made:
    /// what is there already is not journaled. Queues made before without being restored keep
    /// nothing.
    pub fn set_journal(&mut self, journal: Box<dyn Journal>, next_queue: QueueNumber) {
        self.journal = Some(journal);
        self.storing.next_number = next_queue;
    }

    /// The journal, if it is a `J`.
    pub fn journal_mut<J: Journal>(&mut self) -> Option<&mut J> {
        let journal: &mut dyn Any = self.journal.as_deref_mut()?;
        journal.downcast_mut()
    }
}
