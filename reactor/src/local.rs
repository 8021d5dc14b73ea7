//! What futures, deferreds and shared state of the reactor's own thread keep of it: a queue of
//! calls that the loop makes between callbacks, and nothing that could reach a connection now.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use crate::async_stream::shared::Shared;
use crate::deferred::{self, Deferred, Promise};
use crate::gather::{Either, either};
use crate::{Error, Reactor};

pub(crate) type LocalCall = Box<dyn FnOnce(&mut Reactor)>;

/// A reactor, from inside its own thread, for code that no callback has called: futures above
/// all. It queues; nothing that is asked for here happens before the asker has returned.
#[derive(Clone)]
pub struct Local {
    queue: Rc<Queue>,
}

#[derive(Default)]
struct Queue {
    calls: RefCell<VecDeque<LocalCall>>,
    /// Connections of which futures have asked something.
    asking: RefCell<Vec<Rc<Shared>>>,
    /// The reactor has gone: calls are dropped, and deferreds fail.
    closed: Cell<bool>,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self { queue: Rc::default() }
    }

    /// Makes `call` on the loop, in the order of asking, never from inside this call. Once the
    /// reactor has gone, `call` is dropped.
    #[doc(alias = "callLater")]
    pub fn call_soon(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        if self.queue.closed.get() {
            return;
        }
        self.queue.calls.borrow_mut().push_back(Box::new(call));
    }

    /// Makes `call` on the loop and gives back what it answered.
    pub fn call<T: 'static>(&self, call: impl FnOnce(&mut Reactor) -> T + 'static) -> Deferred<T> {
        let (promise, deferred) = self.deferred();
        self.call_soon(move |reactor| promise.succeed(call(reactor)));
        deferred
    }

    /// A new deferred and the promise that fires it.
    pub fn deferred<T: 'static>(&self) -> (Promise<T>, Deferred<T>) {
        deferred::new(self.clone())
    }

    /// Is there after `delay`; dropping it cancels the timer.
    pub fn sleep(&self, delay: Duration) -> Deferred<()> {
        let (promise, deferred) = self.deferred();
        let timer = Rc::new(Cell::new(None));
        let set = timer.clone();
        self.call_soon(move |reactor| {
            if promise.is_wanted() {
                set.set(Some(reactor.call_later(delay, move |_| promise.succeed(()))));
            }
        });
        deferred.on_cancel(true, move |reactor| {
            if let Some(timer) = timer.take() {
                reactor.cancel(timer);
            }
        });
        deferred
    }

    /// Runs a future on the loop; see [`Reactor::spawn`].
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Deferred<T> {
        self.spawn_with(future, false, |result| result)
    }

    /// As [`spawn`](Self::spawn), for a future whose error is to be the deferred's own; dropping
    /// the deferred cancels it: the future is dropped.
    pub fn spawn_result<T: 'static>(
        &self,
        future: impl Future<Output = Result<T, Error>> + 'static,
    ) -> Deferred<T> {
        self.spawn_with(future, true, |result| result.and_then(|output| output))
    }

    fn spawn_with<T: 'static, U: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
        cancel_on_drop: bool,
        result: fn(Result<T, Error>) -> Result<U, Error>,
    ) -> Deferred<U> {
        let (promise, deferred) = self.deferred();
        let task = Rc::new(Cell::new(None));
        let started = task.clone();
        self.call_soon(move |reactor| {
            if promise.is_cancelled() {
                promise.fail(Error::Cancelled);
            } else {
                let ended = move |output| promise.fire(result(output));
                started.set(Some(reactor.core_mut().tasks.start(future, ended)));
            }
        });
        deferred.on_cancel(cancel_on_drop, move |reactor| {
            if let Some(task) = task.take() {
                reactor.core_mut().stop_task(task);
            }
        });
        deferred
    }

    /// Waits for `future`, for at most `limit` from now on; then it is dropped, and the error is
    /// [`Error::TimedOut`]. When both are done, it is the future's output.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and [`Error::Abandoned`] when the reactor has gone.
    #[doc(alias = "addTimeout")]
    pub fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Error>> + use<F> {
        let limit = self.sleep(limit);
        async move {
            match either(future, limit).await {
                Either::Left(output) => Ok(output),
                Either::Right(slept) => Err(slept.err().unwrap_or(Error::TimedOut)),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.calls.borrow().is_empty() && !self.is_anyone_asking()
    }

    pub(crate) fn is_anyone_asking(&self) -> bool {
        !self.queue.asking.borrow().is_empty()
    }

    pub(crate) fn push_asking(&self, shared: Rc<Shared>) {
        if !self.queue.closed.get() {
            self.queue.asking.borrow_mut().push(shared);
        }
    }

    pub(crate) fn take_asking(&self) -> Vec<Rc<Shared>> {
        self.queue.asking.take()
    }

    /// What is queued now; what these calls queue in turn waits for the next turn.
    pub(crate) fn take(&self) -> VecDeque<LocalCall> {
        self.queue.calls.take()
    }

    pub(crate) fn close(&self) {
        self.queue.closed.set(true);
    }
}
