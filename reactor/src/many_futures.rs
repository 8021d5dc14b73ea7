//! Many futures that are waited for as one. Each is polled again only when its own waker was
//! called, so waiting for ten thousand of them costs what is woken, not what waits.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Futures of one type, named by their place. Dropping it drops those that have not ended.
pub(crate) struct Children<F> {
    /// `None` once it has ended.
    futures: Vec<Option<Pin<Box<F>>>>,
    wakes: Vec<Arc<Wakes>>,
    woken: Arc<Woken>,
    left: usize,
}

/// Wakes one of them, from any thread. One that is queued already is not queued again.
struct Wakes {
    index: usize,
    queued: AtomicBool,
    woken: Arc<Woken>,
}

/// Those that were woken, first in, first out: of two that ended, the one that was woken first
/// is heard first.
#[derive(Default)]
struct Woken(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    ready: VecDeque<usize>,
    /// Who waits for them all.
    parent: Option<Waker>,
}

impl Woken {
    /// Pushes and pops are all there is: a panic elsewhere leaves nothing half changed.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut queue = self.woken.lock();
        queue.ready.push_back(self.index);
        let parent = queue.parent.take();
        drop(queue); // first: the parent may be of another make, and its waker may do anything
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

impl<F: Future> Children<F> {
    pub(crate) fn new(futures: impl IntoIterator<Item = F>) -> Self {
        let futures: Vec<_> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
        let left = futures.len();
        let woken = Arc::new(Woken::default());
        woken.lock().ready.extend(0..left); // each is polled once to begin with, in order
        let wakes =
            |index| Arc::new(Wakes { index, queued: AtomicBool::new(true), woken: woken.clone() });
        let wakes = (0..left).map(wakes).collect();
        Self { futures, wakes, woken, left }
    }

    /// How many there were to begin with.
    pub(crate) fn count(&self) -> usize {
        self.futures.len()
    }

    /// The place and the output of the next one that ends; `None` when all have ended.
    pub(crate) async fn next(&mut self) -> Option<(usize, F::Output)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut queue = self.woken.lock();
        queue.parent = Some(context.waker().clone());
        // One that wakes itself has its turn again in the next poll, and holds nobody up.
        let share = queue.ready.len();
        drop(queue);
        for _ in 0..share {
            let Some(index) = self.woken.lock().ready.pop_front() else { break };
            let wakes = &self.wakes[index];
            // A swap, and not a store: whoever wakes it and finds it queued leaves it at that, so what
            // he wrote before must be seen by the poll below.
            wakes.queued.swap(false, Ordering::AcqRel);
            let waker = Waker::from(wakes.clone());
            let Some(future) = &mut self.futures[index] else { continue };
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.futures[index] = None;
                self.left -= 1;
                return Poll::Ready(Some((index, output)));
            }
        }
        Poll::Pending // who woke itself meanwhile has woken the parent
    }
}
