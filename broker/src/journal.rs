//! The journal: the seam through which the broker says what a store must keep.
//!
//! The broker calls it in the order in which things happen and never waits for it; whoever keeps
//! the store gathers the records, writes them in that order, and tells by
//! [`Broker::stored`](crate::Broker::stored) how far it got. What is not journaled does not
//! outlive the broker: everything transient, and what is exclusive to a connection.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};

use crate::backlog::Entry;
use crate::broker::Broker;
use crate::definition::{Definition, DefinitionKey};
use crate::ids::QueueId;
use crate::lease::Lease;
use crate::messages::MessageId;
use crate::paging::Paging;
use crate::payload::Header;
use crate::queue::Queue;

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
    /// [loaded](crate::LoadedMessage::returns); it says how often, in the broker's own way.
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
    /// How many of those are in durable queues.
    pub(crate) pending_durable: u32,
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
    /// on to queues, and above those of all that were restored.
    ///
    /// It is called once, after the `restore_` calls and before anything else durable is made:
    /// what is there already is not journaled. Queues made before without being restored keep
    /// nothing.
    pub fn set_journal(&mut self, journal: Box<dyn Journal>, next_queue: QueueNumber) {
        self.journal = Some(journal);
        // The store has not heard of the number of a queue that never held anything.
        let restored = self.storing.restoring.last_key_value().map_or(0, |(number, _)| number + 1);
        self.storing.next_number = next_queue.max(restored);
        self.storing.restoring.clear();
        for (_, queue) in self.queues.iter_mut() {
            let pages = queue.may_page();
            queue.store.get_or_insert_with(|| Box::new(QueueStore::new(false, pages)));
        }
        for queue in self.queues.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            self.want_load(queue);
        }
    }

    /// The journal, if it is a `J`.
    pub fn journal_mut<J: Journal>(&mut self) -> Option<&mut J> {
        let journal: &mut dyn Any = self.journal.as_deref_mut()?;
        journal.downcast_mut()
    }

    /// The number of a queue that is to be stored.
    pub(crate) fn number_of(&mut self, queue: QueueId) -> QueueNumber {
        let Broker { queues, storing, .. } = self;
        let store = queues[queue].store.get_or_insert_default();
        *store.number.get_or_insert_with(|| {
            storing.next_number += 1;
            storing.next_number - 1
        })
    }

    /// The message at hand is to be kept under this entry. The caller has it journaled with
    /// [`journal_message`](Self::journal_message) once it has been to all its queues.
    #[inline(never)]
    pub(crate) fn refer(&mut self, queue: QueueId, entry: &Entry) {
        let number = self.number_of(queue);
        let expires = self.wall_clock_of(entry.expires);
        self.storing.pending.push(Reference { queue: number, position: entry.position, expires });
        self.storing.pending_durable += u32::from(self.queues[queue].durable);
    }

    /// Journals the message at hand if it is to be kept anywhere; gives in how many queues a restart
    /// must find it.
    #[inline]
    pub(crate) fn journal_message(&mut self, id: MessageId) -> u32 {
        if self.storing.pending.is_empty() { 0 } else { self.journal_pending(id) }
    }

    #[inline(never)]
    fn journal_pending(&mut self, id: MessageId) -> u32 {
        let Broker { journal, storing, messages, .. } = self;
        let message = messages.get(id);
        let durable = std::mem::take(&mut storing.pending_durable);
        let kept = if message.persistent() { durable } else { 0 };
        let header = Header::of(message);
        if let Some(journal) = journal {
            journal.message(&JournaledMessage {
                references: &storing.pending,
                persistent: kept > 0,
                body: message.body().len() as u64,
                parts: [
                    header.bytes(),
                    message.packed(),
                    message.shared_body().map_or(&[][..], |body| body),
                ],
            });
        }
        storing.pending.clear();
        for _ in 0..std::mem::take(&mut storing.paged_out) {
            messages.release(id);
        }
        kept
    }

    /// A consumer has acknowledged an entry, or does so by taking it.
    #[inline]
    pub(crate) fn end_acknowledged(&mut self, queue: QueueId, entry: &Entry) {
        if entry.returns.is_stored() {
            self.journal_end(queue, entry.position);
            self.acknowledged_stored(entry.message);
        }
    }

    /// The life of an entry ends, and so what the store keeps of it.
    #[inline]
    pub(crate) fn end_stored(&mut self, queue: QueueId, entry: &Entry) {
        if entry.returns.is_stored() {
            self.journal_end(queue, entry.position);
        }
    }

    #[inline(never)]
    fn journal_end(&mut self, queue: QueueId, position: Position) {
        let Broker { queues, journal, storing, .. } = self;
        let Some(state) = queues.get(queue) else { return };
        let Some(number) = state.store.as_ref().and_then(|store| store.number) else { return };
        // One that goes before it was journaled never gets there.
        let here = |it: &Reference| (it.queue, it.position) == (number, position);
        if let Some(at) = storing.pending.iter().rposition(here) {
            storing.pending.remove(at);
            storing.pending_durable -= u32::from(state.durable);
        } else if let Some(journal) = journal {
            journal.acknowledged(number, position, position);
        }
    }

    /// Journals the end of all that was ready in a queue: of these entries and of what was paged
    /// out.
    pub(crate) fn journal_purge(&mut self, queue: QueueId, mut positions: Vec<Position>) {
        let Broker { queues, journal, .. } = self;
        let state = &queues[queue];
        let Some(store) = &state.store else { return };
        let (Some(number), Some(journal)) = (store.number, journal) else { return };
        positions.sort_unstable();
        for run in positions.chunk_by(|one, next| one + 1 == *next) {
            if let (Some(&first), Some(&last)) = (run.first(), run.last()) {
                journal.acknowledged(number, first, last);
            }
        }
        if let Some(from) = store.paging.from() {
            journal.acknowledged(number, from, state.next_position - 1);
        }
    }

    /// A message came back to a queue that counts how often.
    pub(crate) fn journal_return(&mut self, queue: QueueId, entry: &Entry) {
        let store = self.queues.get(queue).and_then(|state| state.store.as_ref());
        let number = store.and_then(|store| store.number);
        if let (Some(number), Some(journal)) = (number, &mut self.journal) {
            journal.returned(number, entry.position, entry.returns.to_journal());
        }
    }
}

impl QueueStore {
    pub(crate) fn new(keeps: bool, may_page: bool) -> QueueStore {
        QueueStore { keeps, paging: Paging::new(may_page), ..QueueStore::default() }
    }
}

impl Queue {
    /// Whether its tail may wait in the store.
    pub(crate) fn may_page(&self) -> bool {
        self.settings.as_ref().is_none_or(|settings| settings.max_priority == 0)
    }
}
