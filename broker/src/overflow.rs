//! Length limits: what a queue does when `x-max-length` or `x-max-length-bytes` is reached.
//!
//! Only ready messages count. A message that goes straight to a waiting consumer is never over
//! the limit of a queue that drops its head.

use crate::arguments::{Overflow, Settings};
use crate::backlog::Entry;
use crate::broker::Broker;
use crate::dead_letter::Reason;
use crate::ids::QueueId;
use crate::messages::Stored;
use crate::queue::Queue;

impl Broker {
    /// Whether the queue refuses one more message; one that dead-letters what it
    /// refuses has done so. The caller keeps its reference.
    #[inline]
    pub(crate) fn refuses(&mut self, queue: QueueId, stored: &Stored) -> bool {
        if self.queues[queue].settings.is_none() {
            return false;
        }
        if self.queues[queue].runnable {
            // Room that was made before this message came is for those that came before it, and
            // what they leave behind for this one.
            self.deliver_pass();
        }
        let state = &self.queues[queue];
        let Some(settings) = &state.settings else { return false };
        let overflow = settings.overflow;
        if overflow == Overflow::DropHead || !state.is_over(settings, 1, stored.bytes) {
            return false;
        }
        if overflow == Overflow::RejectPublishDeadLetter {
            self.messages.retain(stored.id);
            let entry = Entry::outside(stored.id);
            self.give_up(queue, entry, Reason::MaxLength);
        }
        true
    }

    /// Gives up the oldest messages of a queue that drops its head, until it is within its limits.
    pub(crate) fn drop_head(&mut self, queue: QueueId) {
        while let Some(state) = self.queues.get(queue)
            && let Some(settings) = &state.settings
            && settings.overflow == Overflow::DropHead
            && state.is_over(settings, 0, 0)
        {
            if state.is_blocked_by_paging() {
                return self.want_head(queue);
            }
            let Some(entry) = self.take_ready(queue) else { return };
            self.give_up(queue, entry, Reason::MaxLength);
        }
    }
}

impl Queue {
    /// Whether `more` messages of `bytes` together would be over a limit.
    fn is_over(&self, settings: &Settings, more: u64, bytes: u64) -> bool {
        settings.max_length.is_some_and(|limit| self.ready_count() as u64 + more > limit)
            || settings.max_length_bytes.is_some_and(|limit| self.ready_bytes() + bytes > limit)
    }
}
