//! The one type of this crate that other threads may hold: it queues calls and wakes the loop.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use mio::Waker;

use crate::panics::isolate;
use crate::tasks::TaskId;
use crate::{Deferred, Error, Reactor};

pub(crate) type RemoteCall = Box<dyn FnOnce(&mut Reactor) + Send>;

/// A reactor, from another thread. Cheap to clone; it keeps nothing alive, and outlives its
/// reactor without harm.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone() }
    }

    /// Makes `call` on the reactor's thread: first in, first out, waking the loop if it sleeps.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the reactor has gone; `call` is dropped then.
    #[doc(alias = "callFromThread")]
    pub fn call_from_thread(
        &self,
        call: impl FnOnce(&mut Reactor) + Send + 'static,
    ) -> Result<(), Error> {
        self.shared.push_call(Box::new(call))
    }

    /// Makes `call` on the reactor's thread, and waits here until it has returned: for jobs of the
    /// thread pool that need something of the loop in their middle.
    ///
    /// # Errors
    /// [`Error::Nested`] on the reactor's own thread, which would wait for itself (in a simulation
    /// jobs run there, too), [`Error::Panicked`], and [`Error::Stopped`] when the reactor goes
    /// without having made the call.
    #[doc(alias = "blockingCallFromThread")]
    pub fn blocking_call_from_thread<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Reactor) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.wait_for(move |reactor, answer| {
            // Who asked waits for an answer, and only goes away with one.
            let _ = answer.send(isolate(|| call(reactor)).map_err(Error::Panicked));
        })
    }

    /// As [`blocking_call_from_thread`](Self::blocking_call_from_thread), and waits for the result
    /// of the deferred that `call` answers.
    ///
    /// # Errors
    /// Those, and the deferred's own.
    #[doc(alias = "blockingCallFromThread")]
    pub fn blocking_deferred_from_thread<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Reactor) -> Deferred<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.wait_for(move |reactor, answer| match isolate(|| call(reactor)) {
            Ok(deferred) => deferred.then(move |_, result| drop(answer.send(result))),
            Err(message) => drop(answer.send(Err(Error::Panicked(message)))),
        })
    }

    fn wait_for<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Reactor, Sender<Result<T, Error>>) + Send + 'static,
    ) -> Result<T, Error> {
        if self.shared.thread == thread::current().id() {
            return Err(Error::Nested);
        }
        let (answer, answered) = mpsc::channel();
        self.call_from_thread(move |reactor| call(reactor, answer))?;
        // Whatever becomes of the call, its end of the channel goes with it.
        answered.recv().unwrap_or(Err(Error::Stopped))
    }

    /// Asks the reactor to stop in order, as SIGTERM does.
    pub fn stop(&self) {
        // A reactor that has gone has stopped.
        let _ = self.call_from_thread(Reactor::stop);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// What the loop and other threads share: two queues, and whether the loop sleeps.
pub(crate) struct Shared {
    queues: Mutex<Queues>,
    /// Something is in a queue. Looked at once a turn, without the lock.
    pending: AtomicBool,
    /// The loop is in, or about to enter, its poller: wake it. Whoever clears it wakes, so a
    /// burst of calls costs one wake-up.
    asleep: AtomicBool,
    waker: Option<Arc<Waker>>,
    /// The reactor's own: it never leaves the one on which it was made.
    thread: ThreadId,
}

#[derive(Default)]
struct Queues {
    calls: Vec<RemoteCall>,
    tasks: Vec<TaskId>,
    closed: bool,
}

impl Shared {
    pub(crate) fn new(waker: Option<Arc<Waker>>) -> Self {
        Self {
            queues: Mutex::default(),
            pending: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            waker,
            thread: thread::current().id(),
        }
    }

    /// A panic elsewhere cannot leave a queue half changed: pushes and swaps are all there is.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push_call(&self, call: RemoteCall) -> Result<(), Error> {
        let mut queues = self.lock();
        if queues.closed {
            drop(queues); // first: dropping `call` runs user code
            return Err(Error::Stopped);
        }
        queues.calls.push(call);
        drop(queues);
        self.notify();
        Ok(())
    }

    pub(crate) fn push_task(&self, task: TaskId) {
        let mut queues = self.lock();
        if queues.closed {
            return; // nobody polls it any more
        }
        queues.tasks.push(task);
        drop(queues);
        self.notify();
    }

    fn notify(&self) {
        self.pending.store(true, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Some(waker) = &self.waker
        {
            // It can only fail when the poller is gone, and then nobody sleeps in it.
            let _ = waker.wake();
        }
    }

    pub(crate) fn has_calls(&self) -> bool {
        self.pending.load(Ordering::SeqCst)
    }

    /// Whether a task was woken and waits to be polled.
    pub(crate) fn has_woken_tasks(&self) -> bool {
        !self.lock().tasks.is_empty()
    }

    /// To be called before the loop looks for the last time whether it may sleep.
    pub(crate) fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// What is queued now; what comes later waits for the next turn.
    pub(crate) fn take(&self) -> (Vec<RemoteCall>, Vec<TaskId>) {
        if !self.has_calls() {
            return (Vec::new(), Vec::new());
        }
        let mut queues = self.lock();
        self.pending.store(false, Ordering::SeqCst);
        (std::mem::take(&mut queues.calls), std::mem::take(&mut queues.tasks))
    }

    /// Refuses all that comes; what was queued is handed back to be dropped without the lock.
    pub(crate) fn close(&self) -> Vec<RemoteCall> {
        let mut queues = self.lock();
        queues.closed = true;
        std::mem::take(&mut queues.calls)
    }
}
