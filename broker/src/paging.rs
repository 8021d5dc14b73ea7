//! Paging: a long queue keeps only its head in memory, the rest in the store.
//!
//! All ready messages in memory come before all that are paged out: while any are, every new
//! message is paged out, too. When the head falls below half of what memory may hold, the broker
//! asks for the next ones. It asks only for queues that somebody uses or whose messages expire,
//! so that a thousand idle backlogs take no memory.

use bytes::Bytes;

use crate::backlog::{Entry, NEVER};
use crate::broker::Broker;
use crate::ids::QueueId;
use crate::journal::{Position, QueueNumber};
use crate::messages::Stored;
use crate::payload::Unpacked;
use crate::queue::Queue;
use crate::returns::Returns;

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
    /// The store knows that it may have been handed out before the broker was restored. (The
    /// broker knows that itself of those below [`RestoredQueue::leased`](crate::RestoredQueue).)
    pub redelivered: bool,
    /// The parts that were journaled, joined. A body of 4 KiB or more is kept as a slice of this
    /// buffer, so it should not be part of a larger one.
    pub payload: Bytes,
}

/// The part of a queue that is only in the store.
#[derive(Default)]
pub(crate) struct Paging {
    /// The queue may page out. One with priorities may not, since what goes next may be anywhere
    /// in it; when it is restored all of it is loaded before any of it goes out.
    allowed: bool,
    /// Ready messages that are not in memory, and the bytes of their bodies.
    count: usize,
    bytes: u64,
    /// All of them are at this position or after it, and nothing else of the queue is.
    from: Position,
    under_way: Option<UnderWay>,
    /// It is in the broker's list of queues that want a load.
    listed: bool,
    /// Somebody waits for the head.
    wanted: bool,
    /// What is at the head is known, and so whether it expires.
    known: bool,
}

/// A load that was asked for.
struct UnderWay {
    id: u64,
    /// Positions from here on were given after it.
    end: Position,
    /// What was paged out after it.
    count: usize,
    bytes: u64,
}

impl Paging {
    pub(crate) fn new(allowed: bool) -> Paging {
        Paging { allowed, known: true, ..Paging::default() }
    }

    pub(crate) fn restored(allowed: bool, count: usize, bytes: u64) -> Paging {
        Paging { allowed, count, bytes, ..Paging::default() }
    }

    /// Where they begin, if there are any.
    pub(crate) fn from(&self) -> Option<Position> {
        (self.count > 0).then_some(self.from)
    }

    /// Whether what goes next cannot be known before more is loaded.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.count > 0 && !self.allowed
    }

    /// Forgets them, and the load that is under way.
    pub(crate) fn clear(&mut self) {
        (self.count, self.bytes) = (0, 0);
        (self.under_way, self.wanted, self.known) = (None, false, true);
    }

    fn add(&mut self, position: Position, bytes: u64) {
        if self.count == 0 {
            self.from = position;
        }
        self.count += 1;
        self.bytes += bytes;
        if let Some(load) = &mut self.under_way {
            load.count += 1;
            load.bytes += bytes;
        }
    }

    /// One of them has been loaded. What the store counted may be off if it is damaged.
    fn take(&mut self, position: Position, bytes: u64) {
        self.from = position + 1;
        self.count = self.count.saturating_sub(1);
        self.bytes = match self.count {
            0 => 0,
            _ => self.bytes.saturating_sub(bytes),
        };
    }
}

impl Queue {
    /// Ready messages, those in the store included.
    #[inline]
    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len() + self.store.as_ref().map_or(0, |store| store.paging.count)
    }

    /// The bytes of their bodies.
    #[inline]
    pub(crate) fn ready_bytes(&self) -> u64 {
        self.ready.bytes() + self.store.as_ref().map_or(0, |store| store.paging.bytes)
    }

    /// Whether its next message, if it has any, must be fetched from the store first.
    #[inline]
    pub(crate) fn is_paged(&self) -> bool {
        self.store.as_ref().is_some_and(|store| store.paging.count > 0)
    }

    /// Whether what goes next is not in memory.
    pub(crate) fn is_blocked_by_paging(&self) -> bool {
        !self.knows_head() || self.ready.is_empty() && self.is_paged()
    }

    /// Whether the first in memory is what goes next; in a queue with priorities, what is not
    /// loaded yet may come before it.
    #[inline]
    pub(crate) fn knows_head(&self) -> bool {
        self.store.as_ref().is_none_or(|store| !store.paging.is_incomplete())
    }

    /// Whether it cannot deliver, for all that it has ready.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        let blocked =
            |store: &crate::journal::QueueStore| store.lease.waits || store.paging.is_incomplete();
        self.store.as_deref().is_some_and(blocked)
    }
}

impl Broker {
    /// Has a new message that waits in this queue journaled if it must be; true if it is kept in
    /// the store only.
    #[inline(never)] // without a journal the hot path must stay small
    pub(crate) fn keep_stored(&mut self, queue: QueueId, entry: &Entry, stored: &Stored) -> bool {
        let pages_out = self.pages_out(queue, stored.bytes);
        if pages_out || entry.returns.is_stored() {
            self.refer(queue, entry);
        }
        if pages_out {
            self.page_out(queue, entry, stored);
        }
        pages_out
    }

    fn pages_out(&self, queue: QueueId, bytes: u64) -> bool {
        let state = &self.queues[queue];
        let Some(store) = &state.store else { return false };
        let full = state.ready.len() >= self.config.page_messages.max(1)
            || state.ready.bytes() + bytes > self.config.page_bytes && !state.ready.is_empty();
        store.paging.count > 0 || full && store.paging.allowed
    }

    fn page_out(&mut self, queue: QueueId, entry: &Entry, stored: &Stored) {
        let state = &mut self.queues[queue];
        state.may_expire |= entry.expires != NEVER;
        if let Some(store) = &mut state.store {
            store.paging.add(entry.position, stored.bytes);
        }
        self.storing.paged_out += 1;
        self.drop_head(queue);
        self.want_load(queue);
    }

    /// Lists a queue whose head is short, and that somebody uses, for a load.
    #[inline(never)]
    pub(crate) fn want_load(&mut self, queue: QueueId) {
        let Some(state) = self.queues.get_mut(queue) else { return };
        let Some(store) = &mut state.store else { return };
        let paging = &mut store.paging;
        if paging.count == 0 || paging.listed || paging.under_way.is_some() {
            return;
        }
        let short = state.ready.len() < self.config.page_messages.div_ceil(2)
            && state.ready.bytes() < self.config.page_bytes.div_ceil(2);
        let empty = state.ready.is_empty();
        let used = !state.consumers.is_empty() || paging.wanted;
        let may_expire = state.may_expire || !paging.known;
        if (short || empty) && used || empty && may_expire || !paging.allowed {
            paging.listed = true;
            self.storing.wanting.push_back(queue);
        }
    }

    /// Somebody waits for the head of a queue of which a part is in the store.
    pub(crate) fn want_head(&mut self, queue: QueueId) {
        if let Some(store) = self.queues.get_mut(queue).and_then(|state| state.store.as_mut()) {
            store.paging.wanted = true;
            self.want_load(queue);
        }
    }

    /// The next load that a queue wants; `None` if there is none now. Asked after every call that
    /// may have taken messages out of queues, and after the outbox was drained. Several may be
    /// under way at once, for different queues.
    pub fn next_load(&mut self) -> Option<Load> {
        loop {
            let of = self.storing.wanting.pop_front()?;
            let Some(state) = self.queues.get_mut(of) else { continue };
            let Some(store) = &mut state.store else { continue };
            let (paging, Some(number)) = (&mut store.paging, store.number) else { continue };
            paging.listed = false;
            if paging.count == 0 || paging.under_way.is_some() {
                continue;
            }
            self.storing.last_load += 1;
            let id = self.storing.last_load;
            paging.under_way = Some(UnderWay { id, end: state.next_position, count: 0, bytes: 0 });
            let room = self.config.page_messages.saturating_sub(state.ready.len()).max(1);
            let bytes = self.config.page_bytes.saturating_sub(state.ready.bytes()).max(1);
            // Only to know whether the head expires, one will do.
            let peek = !paging.known
                && paging.allowed
                && !(paging.wanted || state.may_expire || !state.consumers.is_empty());
            return Some(Load {
                queue: number,
                from: paging.from,
                max_messages: if peek { 1 } else { room },
                max_octets: usize::try_from(bytes).unwrap_or(usize::MAX),
                id,
                of,
            });
        }
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
        let queue = load.of;
        let Some(paging) = self.paging_mut(queue) else { return 0 };
        let Some(under_way) = paging.under_way.take_if(|it| it.id == load.id) else { return 0 };
        (paging.wanted, paging.known) = (false, true);
        let from = paging.from;
        let mut unread = 0;
        for message in messages {
            unread += usize::from(!self.take_loaded(queue, message));
        }
        if let Some(paging) = self.paging_mut(queue)
            && paging.from == from
        {
            paging.from = under_way.end;
            (paging.count, paging.bytes) = (under_way.count, under_way.bytes);
        }
        self.drop_expired(queue);
        self.set_alarm(queue);
        self.overfull.push(queue);
        self.want_load(queue);
        self.schedule(queue);
        self.finish();
        unread
    }

    /// Puts a message from the store at the end of those in memory; false if it cannot be read.
    fn take_loaded(&mut self, queue: QueueId, loaded: LoadedMessage) -> bool {
        let LoadedMessage { position, expires, returns, redelivered, payload } = loaded;
        let expires = self.instant_of(expires);
        let state = &mut self.queues[queue];
        let next_position = state.next_position;
        let Some(store) = &mut state.store else { return false };
        if !(store.paging.from..next_position).contains(&position) {
            return false;
        }
        let Some(message) = Unpacked::read(&payload) else {
            store.paging.take(position, 0);
            return false;
        };
        let (publish, ttl) = (message.publish(), message.ttl);
        let bytes = publish.body.as_slice().len() as u64;
        store.paging.take(position, bytes);
        let mut returns = Returns::from_journal(returns);
        if redelivered || store.lease.was_seen(position) {
            returns = returns.seen();
        }
        let id = self.messages.insert(&publish, ttl, 1);
        let entry = Entry { position, expires, message: id, returns };
        let priority = state.level_of(publish.properties.priority);
        state.ready.push(entry, priority, bytes);
        state.may_expire |= expires != NEVER;
        true
    }

    fn paging_mut(&mut self, queue: QueueId) -> Option<&mut Paging> {
        let store = self.queues.get_mut(queue)?.store.as_mut()?;
        Some(&mut store.paging)
    }
}
