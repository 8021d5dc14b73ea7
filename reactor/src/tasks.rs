//! Futures on the loop. Each is polled in the turn's step for tasks, when its waker was called;
//! it reaches the reactor through a [`Local`](crate::Local), never by a reference.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use log::error;
use slab::Slab;

use crate::handle::Shared;
use crate::panics::isolate;
use crate::{Error, LOG};

/// Names a task for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskId {
    slot: usize,
    generation: u64,
}

pub(crate) struct Tasks {
    tasks: Slab<Task>,
    generation: u64,
    /// Woken, to be polled in this order.
    ready: Vec<TaskId>,
    shared: Arc<Shared>,
}

struct Task {
    generation: u64,
    /// `None` while it is being polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    wake: Arc<TaskWaker>,
}

/// Wakes from any thread. A task that is queued already is not queued again.
struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    shared: Arc<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.shared.push_task(self.id);
        }
    }
}

impl Tasks {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { tasks: Slab::new(), generation: 0, ready: Vec::new(), shared }
    }

    /// Takes a future; it is polled for the first time in the next step for tasks. `ended` gets its
    /// output, or its panic; it is dropped with the future if that is not polled to its end.
    pub(crate) fn start<T: 'static>(
        &mut self,
        future: impl Future<Output = T> + 'static,
        ended: impl FnOnce(Result<T, Error>) + 'static,
    ) -> TaskId {
        self.generation += 1;
        let id = TaskId { slot: self.tasks.vacant_key(), generation: self.generation };
        let mut future = Box::pin(future);
        let future = Box::pin(async move {
            let result = poll_fn(|context| match isolate(|| future.as_mut().poll(context)) {
                Ok(polled) => polled.map(Ok),
                Err(message) => Poll::Ready(Err(message)),
            });
            ended(result.await.map_err(|message| {
                error!(target: LOG, "a task panicked: {message}");
                Error::Panicked(message)
            }));
        });
        let shared = self.shared.clone();
        let wake = Arc::new(TaskWaker { id, queued: AtomicBool::new(true), shared });
        self.tasks.insert(Task { generation: id.generation, future: Some(future), wake });
        self.ready.push(id);
        id
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn woken(&mut self, woken: Vec<TaskId>) {
        self.ready.extend(woken);
    }

    /// Polls what was woken; what wakes meanwhile waits for the next turn.
    pub(crate) fn run(&mut self) {
        for id in std::mem::take(&mut self.ready) {
            self.poll(id);
        }
    }

    fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(id.slot).filter(|task| task.generation == id.generation)
    }

    fn poll(&mut self, id: TaskId) {
        let Some(task) = self.get_mut(id) else { return };
        let Some(mut future) = task.future.take() else { return };
        // A swap, and not a store: whoever wakes it and finds it queued leaves it at that, so what he
        // wrote before must be seen by the poll below.
        task.wake.queued.swap(false, Ordering::AcqRel);
        let waker = Waker::from(task.wake.clone());
        // A panic of the user's future was caught further in: its promise has heard of it.
        let pending = future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        if pending && let Some(task) = self.get_mut(id) {
            task.future = Some(future);
            return;
        }
        if self.get_mut(id).is_some() {
            self.tasks.remove(id.slot);
        }
        if let Err(message) = isolate(|| drop(future)) {
            error!(target: LOG, "a task panicked when it was dropped: {message}");
        }
    }

    /// Takes a task out, to be dropped where that is safe.
    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        self.get_mut(id)?;
        self.tasks.remove(id.slot).future
    }

    pub(crate) fn take_all(&mut self) -> Vec<Pin<Box<dyn Future<Output = ()>>>> {
        self.tasks.drain().filter_map(|task| task.future).collect()
    }
}

impl crate::core::Core {
    pub(crate) fn stop_task(&mut self, id: TaskId) {
        if let Some(future) = self.tasks.remove(id) {
            self.garbage.push(Box::new(future));
        }
    }
}
