//! Single active consumer: a queue that feeds one of its consumers at a time.
//!
//! The first to come is active until it ends; then the next in order of coming takes over. What
//! the first has not acknowledged stays with it.

use crate::broker::Broker;
use crate::ids::{ConsumerId, QueueId};
use crate::queue::Queue;

impl Queue {
    /// Whether it feeds one consumer at a time.
    pub(crate) fn feeds_one(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.single_active_consumer)
    }

    /// Whether the queue feeds only one, and this is not it.
    #[inline]
    pub(crate) fn is_benched(&self, consumer: ConsumerId) -> bool {
        self.settings.is_some() && self.feeds_one() && self.active != Some(consumer)
    }
}

impl Broker {
    /// Makes the eldest consumer active if none is. Called when one came or ended.
    pub(crate) fn elect(&mut self, queue: QueueId) {
        let Some(state) = self.queues.get_mut(queue) else { return };
        if !state.feeds_one() {
            return;
        }
        let current = state.active.filter(|active| state.consumers.contains(active));
        state.active = current.or_else(|| state.consumers.first().copied());
        if current.is_none()
            && let Some(active) = state.active
        {
            self.wake(&[active]);
        }
    }
}
