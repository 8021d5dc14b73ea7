//! tokio's timers, on its paused clock: the wheel of `tokio_util::time::DelayQueue`, and
//! `tokio::time::Sleep`, one a timer. Both count in milliseconds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use super::{Payload, Queue};

async fn advance_to(now: Instant) {
    tokio::time::advance(now - Instant::now()).await;
}

pub(super) struct Delays {
    start: Instant,
    queue: DelayQueue<Payload>,
}

impl Queue for Delays {
    type Id = Key;

    fn new() -> Self {
        Delays { start: Instant::now(), queue: DelayQueue::new() }
    }

    fn insert(&mut self, deadline: u64, payload: Payload) -> Key {
        self.queue.insert_at(payload, self.start + Duration::from_nanos(deadline))
    }

    fn cancel(&mut self, id: Key) -> bool {
        self.queue.try_remove(&id).is_some()
    }

    fn reset(&mut self, id: &mut Key, deadline: u64) {
        self.queue.reset_at(id, self.start + Duration::from_nanos(deadline));
    }

    async fn advance(&mut self, now: u64) {
        advance_to(self.start + Duration::from_nanos(now)).await;
    }

    fn fire(&mut self, _now: u64) -> (u64, u64) {
        let mut context = Context::from_waker(Waker::noop());
        let (mut count, mut sum) = (0, 0u64);
        while let Poll::Ready(Some(expired)) = self.queue.poll_expired(&mut context) {
            count += 1;
            sum = sum.wrapping_add(expired.into_inner()());
        }
        (count, sum)
    }

    /// The queue keeps it to itself, and has its own clock wake it.
    fn next_deadline(&mut self) -> Option<u64> {
        None
    }
}

/// Boxed sleeps with a waker each, as tasks would have; no task is made or scheduled, so this
/// is less than what tokio's users pay.
pub(super) struct Sleeps {
    start: Instant,
    sleeps: Vec<Option<(Pin<Box<Sleep>>, Payload)>>,
    woken: Arc<Mutex<Vec<usize>>>,
}

struct Bell {
    number: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}

impl Queue for Sleeps {
    type Id = usize;

    fn new() -> Self {
        Sleeps { start: Instant::now(), sleeps: Vec::new(), woken: Arc::default() }
    }

    fn insert(&mut self, deadline: u64, payload: Payload) -> usize {
        let number = self.sleeps.len();
        let mut sleep = Box::pin(sleep_until(self.start + Duration::from_nanos(deadline)));
        let waker = Waker::from(Arc::new(Bell { number, woken: Arc::clone(&self.woken) }));
        // Only a sleep that was polled is in the wheel.
        if sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
        self.sleeps.push(Some((sleep, payload)));
        number
    }

    fn cancel(&mut self, id: usize) -> bool {
        self.sleeps[id].take().is_some()
    }

    fn reset(&mut self, id: &mut usize, deadline: u64) {
        if let Some((sleep, _)) = &mut self.sleeps[*id] {
            sleep.as_mut().reset(self.start + Duration::from_nanos(deadline));
        }
    }

    async fn advance(&mut self, now: u64) {
        advance_to(self.start + Duration::from_nanos(now)).await;
    }

    fn fire(&mut self, _now: u64) -> (u64, u64) {
        let woken = std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut count, mut sum) = (0, 0u64);
        for number in woken {
            let mut context = Context::from_waker(Waker::noop());
            let Some((mut sleep, payload)) = self.sleeps[number].take() else { continue };
            if sleep.as_mut().poll(&mut context).is_ready() {
                count += 1;
                sum = sum.wrapping_add(payload());
            } else {
                self.sleeps[number] = Some((sleep, payload));
            }
        }
        (count, sum)
    }

    /// The runtime knows it, and does not tell.
    fn next_deadline(&mut self) -> Option<u64> {
        None
    }
}
