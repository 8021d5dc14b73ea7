//! Publisher confirms: numbers from 1 on, in order, as few as may be.
//!
//! A publish is confirmed when all its queues have it, or, if it was journaled as persistent,
//! when the store has it, or when consumers have acknowledged it in all queues that keep it. Runs
//! of confirms leave as one `multiple`; one that waits holds back those behind it.

use std::collections::VecDeque;

use crate::broker::Broker;
use crate::channel::Mode;
use crate::error::{Result, precondition_failed};
use crate::ids::{ChannelId, QueueId};
use crate::journal::Position;
use crate::messages::MessageId;

/// The confirms of one channel.
#[derive(Default)]
pub(crate) struct Confirms {
    /// The number of the last publish.
    last: u64,
    /// Confirmed up to here, to the client.
    sent: u64,
    /// Taken over up to here; `sent..=taken` may go out as one.
    taken: u64,
    /// The fates of the publishes after `taken`, in order.
    pending: VecDeque<Fate>,
    /// Whether the channel is in the outbox's list.
    listed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Waiting,
    Taken,
    Refused,
}

impl Confirms {
    fn push(&mut self, fate: Fate) -> u64 {
        self.last += 1;
        if fate == Fate::Taken && self.pending.is_empty() {
            self.taken = self.last;
        } else {
            self.pending.push_back(fate);
        }
        self.last
    }

    fn resolve(&mut self, number: u64) {
        let first = self.last - self.pending.len() as u64 + 1;
        if let Some(fate) = number.checked_sub(first).and_then(|at| usize::try_from(at).ok())
            && let Some(fate) = self.pending.get_mut(fate)
        {
            *fate = Fate::Taken;
        }
        while self.pending.front() == Some(&Fate::Taken) {
            self.pending.pop_front();
            self.taken += 1;
        }
    }

    fn has_news(&self) -> bool {
        self.sent < self.taken || self.pending.front() == Some(&Fate::Refused)
    }

    /// The next confirm: number, multiple, taken.
    fn next(&mut self) -> Option<(u64, bool, bool)> {
        if self.sent < self.taken {
            let multiple = self.taken - self.sent > 1;
            self.sent = self.taken;
            return Some((self.sent, multiple, true));
        }
        if self.pending.front() != Some(&Fate::Refused) {
            return None;
        }
        self.pending.pop_front();
        self.taken += 1;
        self.sent = self.taken;
        let refused = self.sent;
        while self.pending.front() == Some(&Fate::Taken) {
            self.pending.pop_front();
            self.taken += 1;
        }
        Some((refused, false, false))
    }
}

/// Something that waits for the store.
struct Ticket {
    number: u64,
    waits: Waits,
}

enum Waits {
    /// The confirm of a publish, of which so many queues keep the message.
    Confirm(ChannelId, u64, u32),
    /// Deliveries of a queue below a position, and dead letters in it below another.
    Lease(QueueId, Position, Position),
}

/// What waits for the store, oldest first.
#[derive(Default)]
pub(crate) struct Tickets {
    last: u64,
    waiting: VecDeque<Ticket>,
}

impl Tickets {
    fn push(&mut self, waits: Waits) {
        self.last += 1;
        self.waiting.push_back(Ticket { number: self.last, waits });
    }

    /// A queue waits for a lease up to `end`. Messages from `since` on are journaled after it.
    pub(crate) fn lease(&mut self, queue: QueueId, end: Position, since: Position) {
        self.push(Waits::Lease(queue, end, since));
    }

    /// What waits with this number, if it still does.
    fn waiting(&mut self, number: u64) -> Option<&mut Waits> {
        let at = self.waiting.binary_search_by_key(&number, |ticket| ticket.number).ok()?;
        self.waiting.get_mut(at).map(|ticket| &mut ticket.waits)
    }
}

impl Broker {
    /// Turns publisher confirms on (`confirm.select`); again is no error. `PRECONDITION_FAILED`
    /// on a transactional channel.
    pub fn select_confirm(&mut self, channel: ChannelId) -> Result<()> {
        let channel = self.channel_mut(channel)?;
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Confirm(Confirms::default()),
            Mode::Confirm(_) => {}
            Mode::Transaction(_) => {
                return Err(precondition_failed("cannot switch from tx to confirm mode"));
            }
        }
        Ok(())
    }

    /// The number of the last record that something waits for; 0 if there was none yet. Once all
    /// that was journaled so far is stored, [`stored`](Broker::stored) may say so with it.
    pub fn last_ticket(&self) -> u64 {
        self.tickets.last
    }

    /// Says that the store has all that was journaled when `ticket` was the last, and that it
    /// will survive a power cut: confirms of publishes go out, and deliveries that waited.
    pub fn stored(&mut self, ticket: u64) {
        while self.tickets.waiting.front().is_some_and(|first| first.number <= ticket) {
            let Some(ticket) = self.tickets.waiting.pop_front() else { return };
            match ticket.waits {
                Waits::Confirm(channel, publish, _) => self.resolve(channel, publish),
                Waits::Lease(queue, end, since) => {
                    self.lease_stored(queue, end, since);
                }
            }
        }
    }

    /// Says that the store has all leases that were journaled when `ticket` was the last, though
    /// not yet all messages: a full disk refuses those first, and deliveries make room. O(n) in
    /// what waits.
    pub fn leases_stored(&mut self, ticket: u64) {
        for waiting in std::mem::take(&mut self.tickets.waiting) {
            let waits_on = match waiting.waits {
                Waits::Lease(queue, end, _) if waiting.number <= ticket => {
                    self.lease_stored(queue, end, 0)
                }
                _ => true,
            };
            if waits_on {
                self.tickets.waiting.push_back(waiting);
            }
        }
    }

    /// A consumer has acknowledged a message in one of the queues that keep it. Once all of them
    /// are done with it there is nothing that the store could lose: its confirm need not wait.
    pub(crate) fn acknowledged_stored(&mut self, message: MessageId) {
        let ticket = self.messages.get(message).ticket;
        if ticket == 0 {
            return;
        }
        let Some(Waits::Confirm(channel, publish, queues)) = self.tickets.waiting(ticket) else {
            return;
        };
        *queues = queues.saturating_sub(1);
        let (channel, publish, queues) = (*channel, *publish, *queues);
        if queues == 0 {
            self.resolve(channel, publish);
        }
    }

    /// A publish is taken over; it does no harm to say so twice.
    fn resolve(&mut self, channel: ChannelId, publish: u64) {
        if let Some(state) = self.channels.get_mut(channel)
            && let Mode::Confirm(confirms) = &mut state.mode
        {
            confirms.resolve(publish);
            list(&mut self.outbox.confirming, channel, confirms);
        }
    }

    /// Numbers a publish on a channel with confirms. If so many queues keep the message, and that is
    /// not none, its confirm waits.
    #[inline]
    pub(crate) fn confirm(
        &mut self,
        channel: ChannelId,
        refused: bool,
        message: MessageId,
        queues: u32,
    ) {
        let Some(state) = self.channels.get_mut(channel) else { return };
        let Mode::Confirm(confirms) = &mut state.mode else { return };
        let wait = queues > 0 && !refused;
        let fate = match (refused, wait) {
            (true, _) => Fate::Refused,
            (_, true) => Fate::Waiting,
            _ => Fate::Taken,
        };
        let publish = confirms.push(fate);
        if wait {
            self.tickets.push(Waits::Confirm(channel, publish, queues));
            self.messages.set_ticket(message, self.tickets.last);
        }
        list(&mut self.outbox.confirming, channel, confirms);
    }

    /// The next confirm to send.
    pub(crate) fn next_confirm(&mut self) -> Option<(ChannelId, u64, bool, bool)> {
        while let Some(&channel) = self.outbox.confirming.front() {
            if let Some(state) = self.channels.get_mut(channel)
                && let Mode::Confirm(confirms) = &mut state.mode
            {
                if let Some((number, multiple, taken)) = confirms.next() {
                    return Some((channel, number, multiple, taken));
                }
                confirms.listed = false;
            }
            self.outbox.confirming.pop_front();
        }
        None
    }
}

#[inline]
fn list(confirming: &mut VecDeque<ChannelId>, channel: ChannelId, confirms: &mut Confirms) {
    if !confirms.listed && confirms.has_news() {
        confirms.listed = true;
        confirming.push_back(channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_confirms_leaves_as_one_and_a_refusal_alone() {
        let mut confirms = Confirms::default();
        for fate in [Fate::Taken, Fate::Taken, Fate::Refused, Fate::Taken, Fate::Taken] {
            confirms.push(fate);
        }
        let sent: Vec<_> = std::iter::from_fn(|| confirms.next()).collect();
        assert_eq!(sent, [(2, true, true), (3, false, false), (5, true, true)]);
    }

    #[test]
    fn a_confirm_that_waits_for_the_store_holds_back_those_behind_it() {
        let mut confirms = Confirms::default();
        for fate in [Fate::Taken, Fate::Waiting, Fate::Taken, Fate::Waiting] {
            confirms.push(fate);
        }
        assert_eq!(confirms.next(), Some((1, false, true)));
        assert_eq!(confirms.next(), None);
        confirms.resolve(4);
        assert_eq!(confirms.next(), None);
        confirms.resolve(2);
        assert_eq!(confirms.next(), Some((4, true, true)));
    }
}
