//! Time: messages that outlive their time to live, and queues that nobody uses.
//!
//! A message expires only at the head of its queue, as in RabbitMQ: one behind a live head, or
//! behind one of a higher priority, stays, and is counted, until it gets there. Each queue has at
//! most one alarm that counts; those it set earlier for later find nothing to do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::backlog::{Entry, NEVER};
use crate::broker::Broker;
use crate::dead_letter::Reason;
use crate::ids::QueueId;
use crate::queue::Queue;

/// Nanoseconds of a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// Alarms of queues, the earliest first.
#[derive(Default)]
pub(crate) struct Alarms {
    heap: BinaryHeap<Reverse<(u64, QueueId)>>,
}

impl Broker {
    /// Tells the broker the time, since an epoch of the caller's choice; it never goes back. What
    /// has expired is dropped or dead-lettered, queues that went unused for too long are deleted,
    /// channels that hold a delivery for too long are told of.
    pub fn tick(&mut self, now: Duration) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX - 1);
        self.now = self.now.max(now);
        while let Some(&Reverse((due, queue))) = self.alarms.heap.peek()
            && due <= self.now
        {
            self.alarms.heap.pop();
            if let Some(state) = self.queues.get_mut(queue)
                && state.alarm == due
            {
                state.alarm = NEVER;
                self.alarm_rang(queue);
            }
        }
        self.look_at_channels();
        self.finish();
    }

    /// When [`tick`](Broker::tick) has something to do next, on the same clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        let alarm = self.alarms.heap.peek().map_or(NEVER, |&Reverse((due, _))| due);
        let due = alarm.min(self.watch.due);
        (due != NEVER).then(|| Duration::from_nanos(due))
    }

    /// Tells the broker the time since the Unix epoch, in milliseconds' precision: dead-lettered
    /// messages carry its seconds, and in a store messages expire by it. Together with
    /// [`tick`](Broker::tick), before anything is restored or loaded.
    pub fn set_wall_clock(&mut self, since_epoch: Duration) {
        self.wall_clock = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    }

    /// When a message with a time to live of its `own` that enters this queue now expires.
    pub(crate) fn expiry_of(&self, queue: QueueId, own: Option<u64>) -> u64 {
        let of_queue =
            self.queues[queue].settings.as_ref().and_then(|settings| settings.message_ttl);
        match (own, of_queue) {
            (None, None) => NEVER,
            (Some(one), Some(other)) => self.after(one.min(other)),
            (Some(one), None) | (None, Some(one)) => self.after(one),
        }
    }

    /// An instant of the broker's clock, in milliseconds since the Unix epoch, as the journal has
    /// it. Never earlier than it is.
    pub(crate) fn wall_clock_of(&self, expires: u64) -> u64 {
        match expires {
            NEVER => u64::MAX,
            _ => {
                let left = expires.saturating_sub(self.now).div_ceil(MILLISECOND);
                self.wall_clock.saturating_add(left).min(u64::MAX - 1)
            }
        }
    }

    /// The same back.
    pub(crate) fn instant_of(&self, wall_clock: u64) -> u64 {
        match wall_clock {
            u64::MAX => NEVER,
            _ => self.after(wall_clock.saturating_sub(self.wall_clock)),
        }
    }

    fn after(&self, milliseconds: u64) -> u64 {
        self.now.saturating_add(milliseconds.saturating_mul(MILLISECOND)).min(NEVER - 1)
    }

    /// Gives up the expired messages at the head of a queue.
    pub(crate) fn drop_expired(&mut self, queue: QueueId) {
        let now = self.now;
        let expired = |entry: &Entry| entry.expires <= now;
        while let Some(state) = self.queues.get_mut(queue)
            && state.may_expire
            && state.knows_head()
            && let Some(entry) = state.ready.pop_if(expired)
        {
            self.took_ready(queue, &entry);
            self.give_up(queue, entry, Reason::Expired);
        }
    }

    /// Notes that a queue with a lease was used: declared, fetched from, or left by its last
    /// consumer.
    pub(crate) fn touch(&mut self, queue: QueueId) {
        if let Some(state) = self.queues.get_mut(queue)
            && state.settings.as_ref().is_some_and(|settings| settings.expires.is_some())
        {
            state.last_used = self.now;
            self.set_alarm(queue);
        }
    }

    /// Sets the alarm of a queue whose head or use has changed, if it must ring earlier.
    pub(crate) fn set_alarm(&mut self, queue: QueueId) {
        let Some(state) = self.queues.get_mut(queue) else { return };
        let mut due = state.lease_end();
        if state.may_expire && state.knows_head() {
            due = state.ready.first().map_or(due, |entry| entry.expires.min(due));
        }
        if due < state.alarm {
            state.alarm = due;
            self.alarms.heap.push(Reverse((due, queue)));
        }
    }

    fn alarm_rang(&mut self, queue: QueueId) {
        if self.queues[queue].lease_end() <= self.now {
            self.remove_queue(queue);
            return;
        }
        self.drop_expired(queue);
        self.set_alarm(queue);
    }
}

impl Queue {
    /// When the queue goes if nobody uses it; a queue with consumers is in use.
    fn lease_end(&self) -> u64 {
        match self.settings.as_ref().and_then(|settings| settings.expires) {
            Some(expires) if self.consumers.is_empty() => {
                self.last_used.saturating_add(expires.saturating_mul(MILLISECOND))
            }
            _ => NEVER,
        }
    }
}
