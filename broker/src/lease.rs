//! Leases: how a queue knows after a crash what it may have handed out before.
//!
//! No delivery is journaled. Instead the queue journals, some way ahead, that all messages below
//! a position may have been handed out; a message that was stored goes out only below a lease
//! that is stored as well. One that was just published need not wait: its lease stands before it
//! in the journal, so that if the lease is lost, so is the message.
//!
//! A dead letter must wait, though: if it is lost, the message that died is not, and will die
//! anew, as another message. So it goes out once a lease is stored that was journaled after it.

use crate::arguments::Settings;
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
    /// Messages below were journaled before a lease that is stored: so they are stored as well.
    safe: Position,
    /// Dead letters that must be stored before they go out are below this.
    letters: Position,
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
        Lease { end, stored: end, since, safe: since, restored: end, ..Lease::default() }
    }

    /// Whether the message of this position may have been handed out in an earlier life.
    pub(crate) fn was_seen(&self, position: Position) -> bool {
        position < self.restored
    }

    #[inline]
    fn covers(&self, position: Position) -> bool {
        let is_leased = position < self.stored || (self.since <= position && position < self.end);
        is_leased && !self.holds(position)
    }

    /// Whether this may be a dead letter that is not stored. All between two of them count as such.
    #[inline]
    fn holds(&self, position: Position) -> bool {
        self.safe <= position && position < self.letters
    }

    /// Whether there are dead letters that are not stored.
    pub(crate) fn has_letters(&self) -> bool {
        self.safe < self.letters
    }

    /// Leases `position` and those after it.
    fn extend(&mut self, position: Position, since: Position) -> Position {
        self.end = self.end.max(position + 1 + self.ahead);
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

    /// A dead letter whose original is stored gets this position: it must wait until it is stored,
    /// too, unless the queue has no room for what waits. Then false.
    #[inline(never)]
    pub(crate) fn hold_letter(&mut self, queue: QueueId, position: Position, expires: u64) -> bool {
        let now = self.now;
        let state = &mut self.queues[queue];
        let is_limited = |settings: &Settings| {
            settings.max_length.is_some() || settings.max_length_bytes.is_some()
        };
        let Some(store) = &mut state.store else { return false };
        if expires <= now || state.settings.as_deref().is_some_and(is_limited) {
            return false;
        }
        store.lease.letters = position + 1;
        true
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
        let since = self.queues[queue].store.as_ref().map_or(0, |store| store.lease.since);
        if let Some(journal) = &mut self.journal {
            journal.leased(number, end);
            self.tickets.lease(queue, end, since);
        }
    }

    /// A lease is stored, and with it all messages below `safe`: what waited for it goes out. Whether
    /// there are dead letters that wait for more.
    pub(crate) fn lease_stored(&mut self, queue: QueueId, end: Position, safe: Position) -> bool {
        let Some(store) = self.queues.get_mut(queue).and_then(|state| state.store.as_mut()) else {
            return false;
        };
        let lease = &mut store.lease;
        lease.stored = lease.stored.max(end);
        lease.safe = lease.safe.max(safe);
        lease.waits = false;
        let has_letters = lease.has_letters();
        self.schedule(queue);
        has_letters
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
            // It reaches far enough, but for a dead letter that was journaled after it.
            let is_news = self.holds(position) && self.since <= position;
            return is_news.then(|| self.extend(position, next));
        }
        self.ahead = match self.ahead {
            0 => config.lease,
            ahead => (ahead * 2).min(config.max_lease.max(config.lease)),
        };
        Some(self.extend(position, next))
    }
}
