//! Results that cross threads, once: what another thread, or a task of another runtime, asks of a
//! reactor and awaits; and what a reactor's deferred awaits from another thread.
//!
//! The one rule: either side may go away at any time, and the other one hears of it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::gather::{Either, either};
use crate::handle::Handle;
use crate::local::Local;
use crate::panics::isolate;
use crate::{Deferred, Error, Reactor};

/// What a reactor will answer: a future for any thread and any runtime.
///
/// Dropping it gives the question up. A call that was not made yet is not made then, and a deferred
/// that it was waiting for is cancelled.
#[must_use = "dropping an answer gives the question up"]
pub struct Answer<T> {
    shared: Arc<Shared<T>>,
    /// What it means when nobody is left to answer.
    abandoned: fn() -> Error,
}

/// Fires a [`Deferred`] of a reactor from any thread. Dropped without a result, it fails with
/// [`Error::Abandoned`].
pub struct RemotePromise<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T>(Mutex<Slot<T>>);

struct Slot<T> {
    result: Option<Result<T, Error>>,
    /// The promise has been used, or is gone.
    fired: bool,
    /// The other side has gone.
    unwanted: bool,
    asker: Option<Waker>,
    answerer: Option<Waker>,
}

impl<T> Shared<T> {
    /// Moves of values are all there is inside: a panic elsewhere leaves nothing half changed.
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new<T>(abandoned: fn() -> Error) -> (RemotePromise<T>, Answer<T>) {
    let slot = Slot { result: None, fired: false, unwanted: false, asker: None, answerer: None };
    let shared = Arc::new(Shared(Mutex::new(slot)));
    (RemotePromise { shared: shared.clone() }, Answer { shared, abandoned })
}

impl<T> RemotePromise<T> {
    /// Gives the result; the other side hears of it on the reactor's own thread.
    pub fn succeed(self, value: T) {
        self.fire(Ok(value));
    }

    /// Gives an error for a result.
    pub fn fail(self, error: Error) {
        self.fire(Err(error));
    }

    /// Gives either. What nobody waits for any more is dropped here.
    pub fn fire(self, result: Result<T, Error>) {
        let mut slot = self.shared.lock();
        slot.fired = true;
        let unwanted = if slot.unwanted {
            Some(result)
        } else {
            slot.result = Some(result);
            None
        };
        let asker = slot.asker.take();
        drop(slot); // first: both may run code of others
        drop(unwanted);
        if let Some(asker) = asker {
            asker.wake();
        }
    }

    /// Whether the other side still waits; once it does not, the work may as well stop.
    pub fn is_wanted(&self) -> bool {
        !self.shared.lock().unwanted
    }

    /// Waits until the other side waits no more: it was cancelled, or its reactor has gone.
    pub async fn unwanted(&self) {
        poll_fn(|context| {
            let mut slot = self.shared.lock();
            if slot.unwanted {
                return Poll::Ready(());
            }
            let earlier = slot.answerer.replace(context.waker().clone());
            drop(slot);
            drop(earlier);
            Poll::Pending
        })
        .await;
    }
}

impl<T> Drop for RemotePromise<T> {
    fn drop(&mut self) {
        let mut slot = self.shared.lock();
        slot.fired = true;
        let asker = slot.asker.take();
        drop(slot);
        if let Some(asker) = asker {
            asker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.shared.lock();
        if let Some(result) = slot.result.take() {
            return Poll::Ready(result);
        }
        if slot.fired {
            return Poll::Ready(Err((self.abandoned)()));
        }
        let earlier = slot.asker.replace(context.waker().clone());
        drop(slot);
        drop(earlier);
        Poll::Pending
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let mut slot = self.shared.lock();
        slot.unwanted = true;
        let (unheard, answerer) = (slot.result.take(), slot.answerer.take());
        drop(slot);
        drop(unheard);
        if let Some(answerer) = answerer {
            answerer.wake();
        }
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

impl<T> fmt::Debug for RemotePromise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemotePromise")
    }
}

impl Handle {
    /// Makes `call` on the reactor's thread, and gives what it answered to whoever awaits it, on any
    /// runtime.
    ///
    /// It fails with [`Error::Panicked`], and with [`Error::Stopped`] when the reactor goes without
    /// having made the call.
    #[doc(alias = "deferToThread")]
    pub fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Reactor) -> T + Send + 'static,
    ) -> Answer<T> {
        let (promise, answer) = new(|| Error::Stopped);
        // A reactor that has gone drops the call, and the promise with it.
        let _ = self.call_from_thread(move |reactor| {
            if promise.is_wanted() {
                promise.fire(isolate(|| call(reactor)).map_err(Error::Panicked));
            }
        });
        answer
    }

    /// As [`call`](Self::call), and gives the result of the deferred that `call` answers. When the
    /// answer is dropped, that deferred is cancelled.
    ///
    /// It fails with those, and with the deferred's own error.
    pub fn call_deferred<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Reactor) -> Deferred<T> + Send + 'static,
    ) -> Answer<T> {
        let (promise, answer) = new(|| Error::Stopped);
        let _ = self.call_from_thread(move |reactor| {
            if !promise.is_wanted() {
                return;
            }
            match isolate(|| call(reactor)) {
                Err(message) => promise.fail(Error::Panicked(message)),
                Ok(deferred) => {
                    let waiting = async move {
                        let deferred = deferred.cancel_on_drop();
                        if let Either::Left(result) = either(deferred, promise.unwanted()).await {
                            promise.fire(result);
                        }
                    };
                    reactor.spawn(waiting).forget();
                }
            }
        });
        answer
    }
}

impl Local {
    /// A new deferred, and a promise that fires it from any thread. Cancelling or dropping the
    /// deferred makes the promise [`unwanted`](RemotePromise::unwanted).
    pub fn remote_deferred<T: Send + 'static>(&self) -> (RemotePromise<T>, Deferred<T>) {
        let (promise, answer) = new(|| Error::Abandoned);
        (promise, self.spawn_result(answer))
    }
}

impl Reactor {
    /// As [`Local::remote_deferred`].
    pub fn remote_deferred<T: Send + 'static>(&self) -> (RemotePromise<T>, Deferred<T>) {
        self.core.local.remote_deferred()
    }
}
