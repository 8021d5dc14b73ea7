//! The broker's journal, as records of batches for the store.
//!
//! All goes into one batch, in order. Only while a full disk refuses messages, what makes room
//! (acknowledgements) and what lets consumers go on (leases) takes a way round them. The order does
//! not matter there: acknowledgements are of messages that were stored before, and a lease may come
//! earlier than the messages it is for, never later.

use std::collections::BTreeMap;

use ropewalk_broker::{
    Definition, DefinitionKey, Journal, JournaledMessage, Position, QueueNumber,
};
use ropewalk_store::{Batch, Reference};

use super::definitions;

/// Gathers what the broker journals, until the keeper takes it to the store.
#[derive(Default)]
pub(super) struct StoreJournal {
    pub(super) gathered: Gathered,
    /// What can be stored though the disk refuses messages; empty while it does not.
    pub(super) relief: Batch,
    /// While the disk refuses messages: the first in each queue that is not stored.
    refused: Option<BTreeMap<QueueNumber, Position>>,
    /// While the disk refuses messages: one of this call is among them, and what follows belongs
    /// to it. (The copy of a message that dies comes before its end, and without the copy the
    /// end would be a loss; so it is with transactions.)
    is_mixed: bool,
    passed: Passed,
    /// Records ever made: the number of the last one.
    pub(super) last: u64,
    /// The number of the last one that makes or ends something durable.
    pub(super) last_definition: u64,
    /// Reused for the references of one message.
    references: Vec<Reference>,
}

/// The newest leases that took the way round. What was refused may hold older ones, and of two the
/// later record counts: so these go behind each of those batches again.
#[derive(Default)]
struct Passed {
    newest: BTreeMap<QueueNumber, Position>,
    /// How often that has changed.
    changes: u64,
}

impl Passed {
    fn add(&mut self, relief: &mut Batch, queue: QueueNumber, end: Position) {
        relief.leased(queue, end);
        self.newest.insert(queue, end);
        self.changes += 1;
    }
}

/// Records, and which messages are among them.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) batch: Batch,
    /// The first message of each run of messages for one queue.
    runs: Vec<(QueueNumber, Position)>,
    /// The leases among them that did not take the way round: consumers wait for these.
    leases: Vec<(QueueNumber, Position)>,
    /// How many changes of [`Passed`] it knows.
    known: u64,
}

impl Gathered {
    pub(super) fn clear(&mut self) {
        self.batch.clear();
        self.runs.clear();
        self.leases.clear();
        self.known = 0;
    }

    /// Whether a lease is in it and nowhere else.
    pub(super) fn has_leases(&self) -> bool {
        !self.leases.is_empty()
    }

    fn pass_leases(&mut self, relief: &mut Batch, passed: &mut Passed) {
        self.leases.drain(..).for_each(|(queue, end)| passed.add(relief, queue, end));
    }

    fn note_first(&self, first: &mut BTreeMap<QueueNumber, Position>) {
        for &(queue, position) in &self.runs {
            first.entry(queue).or_insert(position); // positions ascend
        }
    }
}

impl StoreJournal {
    /// What was gathered; goes on with another batch.
    pub(super) fn take(&mut self, empty: Gathered) -> Gathered {
        std::mem::replace(&mut self.gathered, empty)
    }

    /// The disk has refused these, if any; until it takes them, others may pass them.
    /// The leases among them take the way round at once.
    pub(super) fn set_refused<'a>(&mut self, refused: impl Iterator<Item = &'a mut Gathered>) {
        let mut first = None;
        for gathered in refused {
            let first = first.get_or_insert_with(BTreeMap::new);
            gathered.pass_leases(&mut self.relief, &mut self.passed);
            gathered.note_first(first);
        }
        match &mut first {
            Some(first) => {
                self.gathered.pass_leases(&mut self.relief, &mut self.passed);
                self.gathered.note_first(first);
            }
            None => self.passed.newest.clear(),
        }
        self.refused = first;
    }

    /// Has a batch that was refused end with the newest leases.
    pub(super) fn end_with_leases(&self, refused: &mut Gathered) {
        if refused.known != self.passed.changes {
            refused.known = self.passed.changes;
            for (&queue, &end) in &self.passed.newest {
                refused.batch.leased(queue, end);
            }
        }
    }

    /// What follows does not belong to what was journaled before.
    pub(super) fn end_call(&mut self) {
        self.is_mixed = false;
    }

    fn record(&mut self) -> &mut Batch {
        self.last += 1;
        &mut self.gathered.batch
    }

    /// The batch for a record about messages up to `last` of a queue.
    fn record_about(&mut self, queue: QueueNumber, last: Position) -> &mut Batch {
        let is_stored = |refused: &BTreeMap<QueueNumber, Position>| {
            refused.get(&queue).is_none_or(|&first| last < first)
        };
        match !self.is_mixed && self.refused.as_ref().is_some_and(is_stored) {
            true => {
                self.last += 1;
                &mut self.relief
            }
            false => self.record(),
        }
    }
}

impl Journal for StoreJournal {
    fn defined(&mut self, definition: &Definition<'_>) {
        let (key, value) = (definitions::key(&definition.key()), definitions::value(definition));
        self.record().put(&key, &value);
        self.last_definition = self.last;
    }

    fn undefined(&mut self, key: &DefinitionKey<'_>) {
        let key = definitions::key(key);
        self.record().remove(&key);
        self.last_definition = self.last;
    }

    fn message(&mut self, message: &JournaledMessage<'_>) {
        self.is_mixed = self.refused.is_some();
        self.references.clear();
        self.references.extend(message.references.iter().map(|it| Reference {
            queue: it.queue,
            position: it.position,
            expires: it.expires,
        }));
        for it in message.references {
            let runs = &mut self.gathered.runs;
            if runs.last().is_none_or(|&(queue, _)| queue != it.queue) {
                runs.push((it.queue, it.position));
            }
            if let Some(refused) = &mut self.refused {
                refused.entry(it.queue).or_insert(it.position);
            }
        }
        self.last += 1;
        let JournaledMessage { persistent, body, ref parts, .. } = *message;
        self.gathered.batch.message(&self.references, persistent, body, parts);
    }

    fn acknowledged(&mut self, queue: QueueNumber, first: Position, last: Position) {
        self.record_about(queue, last).acknowledged(queue, first, last);
    }

    fn leased(&mut self, queue: QueueNumber, end: Position) {
        self.last += 1;
        if self.refused.is_none() {
            self.gathered.batch.leased(queue, end);
            self.gathered.leases.push((queue, end));
        } else {
            // Also in a call of which other records are refused: who waits for a lease hears of it
            // when those that took the way round are stored.
            self.passed.add(&mut self.relief, queue, end);
        }
    }

    fn returned(&mut self, queue: QueueNumber, position: Position, returns: u32) {
        self.record_about(queue, position).returned(queue, position, returns);
        if self.refused.is_some() {
            self.gathered.batch.returned(queue, position, returns);
        }
    }

    fn queue_removed(&mut self, queue: QueueNumber) {
        self.record().queue_removed(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(journal: &mut StoreJournal, queue: QueueNumber, position: Position) {
        let references = [ropewalk_broker::Reference { queue, position, expires: u64::MAX }];
        let references = &references;
        journal.message(&JournaledMessage {
            references,
            persistent: true,
            body: 0,
            parts: [&[]; 3],
        });
    }

    #[test]
    fn while_the_disk_refuses_messages_no_lease_waits_behind_one() {
        let mut journal = StoreJournal::default();
        journal.leased(1, 5);
        publish(&mut journal, 1, 0);
        journal.end_call();
        let mut refused = journal.take(Gathered::default());
        assert!(refused.has_leases());
        // It was among what was refused, and is wanted at once.
        journal.set_refused(std::iter::once(&mut refused));
        assert!(!refused.has_leases() && !journal.relief.is_empty());
        // In one call a message dies, which makes a copy in another queue, and the next ones of its
        // own queue go to a consumer.
        journal.relief.clear();
        publish(&mut journal, 2, 0);
        journal.acknowledged(1, 0, 0);
        assert!(journal.relief.is_empty(), "the end of what has a copy waits for the copy");
        journal.leased(1, 9);
        assert!(!journal.relief.is_empty() && !journal.gathered.has_leases());
        // What was refused holds an older lease, and must not end with that.
        let before = refused.batch.len();
        journal.end_with_leases(&mut refused);
        assert!(refused.batch.len() > before);
    }
}
