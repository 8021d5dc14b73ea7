//! Leases: how a queue knows after a crash what it may have handed out before.
//!
//! No delivery is journaled. Instead the queue journals, some way ahead, that all messages below
//! a position may have been handed out; a message that was stored goes out only below a lease
//! that is stored as well. One that was just published need not wait: its lease stands before it
//! in the journal, so that if the lease is lost, so is the message.

use crate::broker::Broker;
use crate::config::Config;
use crate::ids::QueueId;
use crate::journal::Position;

/// What a queue has leased.
#[derive(Default)]
pub(crate) struct Lease {
    /// All below may have been handed out: so it is journaled.
    end: Position,
    /// All below may have been handed out: so it is stored.
    stored: Position,
    /// Messages from here on were journaled after the newest lease: they need not wait for it.
    since: Position,
    /// All below may have been handed out before the broker was restored.
    restored: Position,
    /// How far the next lease goes; 0 before the first.
    ahead: u64,
    /// The head may not go out before a lease is stored; a ticket for it is waiting.
    pub(crate) waits: bool,
}

impl Lease {
    pub(crate) fn restored(end: Position, next_position: Position) -> Lease {
        let since = next_position.max(end);
        Lease { end, stored: end, since, restored: end, ..Lease::default() }
    }

    /// Whether the message of this position may have been handed out in an earlier life.
    pub(crate) fn was_seen(&self, position: Position) -> bool {
        position < self.restored
    }

    #[inline]
    fn covers(&self, position: Position) -> bool {
        position < self.stored || (self.since <= position && position < self.end)
    }

    /// Leases `position` and those after it.
    fn extend(&mut self, position: Position, since: Position) -> Position {
        self.end = position + 1 + self.ahead;
        self.since = since;
        self.end
    }
}

impl Broker {
    /// A persistent message of a durable queue goes out at once, under this position, and is
    /// journaled after this.
    #[inline(never)]
    pub(crate) fn lease_new(&mut self, queue: QueueId, position: Position) {
        let ahead = self.config.lease;
        let Some(store) = &mut self.queues[queue].store else { return };
        if position < store.lease.end {
            return;
        }
        store.lease.ahead = ahead;
        let end = store.lease.extend(position, position);
        self.journal_lease(queue, end);
    }

    /// Whether the message that goes next must wait for the store: until it is loaded, or a lease
    /// for it is stored. Journals the leases that it takes.
    #[inline(never)]
    pub(crate) fn must_wait(&mut self, queue: QueueId) -> bool {
        let state = &self.queues[queue];
        let Some(store) = &state.store else { return false };
        if store.paging.is_incomplete() {
            return true;
        }
        let Some(&head) = state.ready.first() else { return false };
        if !store.keeps || !head.returns.is_stored() {
            return false;
        }
        let covered = store.lease.covers(head.position);
        if !covered && !self.messages.get(head.message).persistent() {
            return false; // paged out only: no restart will see it
        }
        let next_position = state.next_position;
        let Some(store) = &mut self.queues[queue].store else { return false };
        let end = store.lease.renew(head.position, next_position, &self.config);
        store.lease.waits = !covered;
        if let Some(end) = end {
            self.journal_lease(queue, end);
        }
        !covered
    }

    fn journal_lease(&mut self, queue: QueueId, end: Position) {
        let number = self.number_of(queue);
        if let Some(journal) = &mut self.journal {
            journal.leased(number, end);
            self.tickets.lease(queue, end);
        }
    }

    /// A lease is stored: what waited for it goes out.
    pub(crate) fn lease_stored(&mut self, queue: QueueId, end: Position) {
        let Some(store) = self.queues.get_mut(queue).and_then(|state| state.store.as_mut()) else {
            return;
        };
        store.lease.stored = store.lease.stored.max(end);
        store.lease.waits = false;
        self.schedule(queue);
    }

    /// Journals exactly which messages were handed out, in place of the leases, so that after
    /// an orderly end only those are redelivered. The last call before the journal is written for
    /// the last time: all connections have been closed.
    pub fn release_leases(&mut self) {
        let Broker { queues, journal, .. } = self;
        let Some(journal) = journal else { return };
        for (_, state) in queues.iter() {
            let Some(store) = &state.store else { continue };
            let Some(number) = store.number.filter(|_| store.keeps) else { continue };
            // O(n) in what is in memory, which paging bounds.
            for entry in state.ready.iter() {
                if entry.returns.is_stored() && entry.returns.redelivered() {
                    journal.returned(number, entry.position, entry.returns.to_journal());
                }
            }
            let end = match store.paging.from() {
                Some(from) if from < store.lease.restored => store.lease.restored,
                _ => 0,
            };
            if end != store.lease.end {
                journal.leased(number, end);
            }
        }
    }
}

impl Lease {
    /// The end of the lease that is to be journaled for a head at `position`, if it takes one:
    /// it is not covered, or soon the next ones will not be.
    fn renew(&mut self, position: Position, next: Position, config: &Config) -> Option<Position> {
        let left = self.end.saturating_sub(position);
        if left > self.ahead / 2 || (left > 0 && self.end >= next) {
            return None;
        }
        self.ahead = match self.ahead {
            0 => config.lease,
            ahead => (ahead * 2).min(config.max_lease.max(config.lease)),
        };
        Some(self.extend(position, next))
    }
}
