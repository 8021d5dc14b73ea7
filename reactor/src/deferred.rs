//! A result that comes later, once: to one callback (`then`), or to a future's `await`.
//!
//! The one rule: firing runs nothing. The callback is queued for the loop, so neither the one who
//! fires nor the one who asks can be surprised by the other.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use log::error;

use crate::local::Local;
use crate::timer::TimerId;
use crate::{Error, LOG, Reactor};

type Callback<T> = Box<dyn FnOnce(&mut Reactor, Result<T, Error>)>;
type Canceller = Box<dyn FnOnce(&mut Reactor)>;

/// The side that waits for the result. It is also a [`Future`], on the reactor's own thread.
///
/// Dropped before the result is there, it cancels what would have produced it where that says so
/// ([`connect`](crate::Reactor::connect) does), and else lets it run on. Dropped with an error
/// that nobody has heard, it logs that error.
#[doc(alias = "promise")]
#[must_use = "dropping a deferred may cancel it; say `.forget()` to let it go on"]
pub struct Deferred<T: 'static> {
    slot: Rc<RefCell<Slot<T>>>,
}

/// The side that gives the result. Dropped without one, the other side fails with
/// [`Error::Abandoned`].
pub struct Promise<T: 'static> {
    slot: Rc<RefCell<Slot<T>>>,
}

struct Slot<T> {
    state: State<T>,
    local: Local,
    /// Stops what would produce the result.
    canceller: Option<Canceller>,
    /// Whether dropping the deferred is enough to cancel.
    cancel_on_drop: bool,
    /// Set by `timeout`.
    timer: Option<TimerId>,
}

enum State<T> {
    /// Nobody has given a result, nobody has asked for it.
    Empty,
    Called(Callback<T>),
    Awaited(Waker),
    /// Fired, not yet asked for.
    Ready(Result<T, Error>),
    /// The deferred was dropped, and what produces the result goes on.
    Unheard,
    /// Handed over, or cancelled.
    Over,
}

impl<T> Slot<T> {
    fn is_pending(&self) -> bool {
        matches!(self.state, State::Empty | State::Called(_) | State::Awaited(_) | State::Unheard)
    }
}

/// Says that an error reached nobody, unless it only says that the work was given up.
fn log_unheard(error: &Error) {
    if !matches!(error, Error::Abandoned | Error::Cancelled | Error::Stopped) {
        error!(target: LOG, "a deferred failed, and nobody asked: {error}");
    }
}

pub(crate) fn new<T>(local: Local) -> (Promise<T>, Deferred<T>) {
    let slot = Rc::new(RefCell::new(Slot {
        state: State::Empty,
        local,
        canceller: None,
        cancel_on_drop: false,
        timer: None,
    }));
    (Promise { slot: slot.clone() }, Deferred { slot })
}

/// Gives `result` to whoever waits. Later results find nobody and are dropped by the caller.
fn fire<T: 'static>(
    slot: &Rc<RefCell<Slot<T>>>,
    result: Result<T, Error>,
) -> Option<Result<T, Error>> {
    let mut inner = slot.borrow_mut();
    if !inner.is_pending() {
        return Some(result);
    }
    let canceller = inner.canceller.take();
    let timer = inner.timer.take();
    let local = inner.local.clone();
    if canceller.is_some() || timer.is_some() {
        // The canceller may own users' values, which must not be dropped in here.
        local.call_soon(move |reactor| {
            drop(canceller);
            if let Some(timer) = timer {
                reactor.cancel(timer);
            }
        });
    }
    match std::mem::replace(&mut inner.state, State::Over) {
        State::Called(callback) => {
            drop(inner);
            local.call_soon(move |reactor| callback(reactor, result));
        }
        State::Awaited(waker) => {
            inner.state = State::Ready(result);
            drop(inner);
            waker.wake();
        }
        State::Unheard => {
            if let Err(error) = &result {
                log_unheard(error);
            }
            return Some(result);
        }
        _ => inner.state = State::Ready(result),
    }
    None
}

fn cancel<T: 'static>(slot: &Rc<RefCell<Slot<T>>>, error: Error) {
    let mut inner = slot.borrow_mut();
    if !inner.is_pending() {
        return;
    }
    if let Some(canceller) = inner.canceller.take() {
        inner.local.call_soon(canceller);
    }
    drop(inner);
    fire(slot, Err(error));
}

impl<T: 'static> Promise<T> {
    /// Gives the result; the other side's callback runs later, on the loop.
    pub fn succeed(self, value: T) {
        self.fire(Ok(value));
    }

    /// Gives an error for a result.
    pub fn fail(self, error: Error) {
        self.fire(Err(error));
    }

    /// Gives either. A result that nobody waits for any more is dropped later, on the loop.
    pub fn fire(self, result: Result<T, Error>) {
        if let Some(unwanted) = fire(&self.slot, result) {
            self.slot.borrow().local.call_soon(move |_| drop(unwanted));
        }
    }

    /// Whether the other side still waits; once it does not, the work may as well stop.
    pub fn is_wanted(&self) -> bool {
        let inner = self.slot.borrow();
        inner.is_pending() && !matches!(inner.state, State::Unheard)
    }

    /// Changes what stops the work, since another part of it has begun.
    pub(crate) fn cancels(&self, canceller: impl FnOnce(&mut Reactor) + 'static) {
        let mut inner = self.slot.borrow_mut();
        if inner.canceller.is_some() {
            inner.canceller = Some(Box::new(canceller));
        }
    }

    /// Whether the work was told to stop; an unheard result does not say so.
    pub(crate) fn is_cancelled(&self) -> bool {
        !self.slot.borrow().is_pending()
    }
}

impl<T: 'static> Drop for Promise<T> {
    fn drop(&mut self) {
        fire(&self.slot, Err(Error::Abandoned));
    }
}

impl<T: 'static> Deferred<T> {
    /// Calls `callback` with the result, once, on the loop and never from inside this call.
    #[doc(alias = "addCallback")]
    pub fn then(self, callback: impl FnOnce(&mut Reactor, Result<T, Error>) + 'static) {
        let mut inner = self.slot.borrow_mut();
        match std::mem::replace(&mut inner.state, State::Over) {
            State::Ready(result) => {
                inner.local.call_soon(move |reactor| callback(reactor, result));
            }
            _ => inner.state = State::Called(Box::new(callback)),
        }
        inner.cancel_on_drop = false;
    }

    /// Lets it go on unheard; an error is logged.
    pub fn forget(self) {
        self.then(|_, result| {
            if let Err(error) = result {
                log_unheard(&error);
            }
        });
    }

    /// Gives it up: what would have produced the result is told to stop, and the result is
    /// [`Error::Cancelled`] for whoever still awaits this deferred.
    pub fn cancel(&mut self) {
        cancel(&self.slot, Error::Cancelled);
    }

    /// Makes dropping it enough to [`cancel`](Self::cancel) it, whatever it would let go on else.
    /// (`then` and `forget` do not drop it.)
    pub fn cancel_on_drop(self) -> Self {
        self.slot.borrow_mut().cancel_on_drop = true;
        self
    }

    /// Fails with [`Error::TimedOut`], and cancels, if there is no result within `limit`.
    pub fn timeout(self, limit: Duration) -> Self {
        self.timeout_with(limit, || Error::TimedOut)
    }

    /// As [`timeout`](Self::timeout), with an error that the work itself cannot have failed with.
    pub(crate) fn timeout_with(
        self,
        limit: Duration,
        error: impl FnOnce() -> Error + 'static,
    ) -> Self {
        let slot = Rc::downgrade(&self.slot);
        let local = self.slot.borrow().local.clone();
        local.call_soon(move |reactor| {
            let Some(strong) = slot.upgrade() else { return };
            if !strong.borrow().is_pending() {
                return;
            }
            let timer = reactor.call_later(limit, move |_| {
                if let Some(slot) = slot.upgrade() {
                    slot.borrow_mut().timer = None;
                    cancel(&slot, error());
                }
            });
            let earlier = strong.borrow_mut().timer.replace(timer);
            if let Some(earlier) = earlier {
                reactor.cancel(earlier); // the last limit counts
            }
        });
        self
    }

    /// Whether the result is there.
    pub fn is_ready(&self) -> bool {
        matches!(self.slot.borrow().state, State::Ready(_))
    }

    /// Sets what stops the work; `on_drop` says whether dropping the deferred is enough.
    pub(crate) fn on_cancel(&self, on_drop: bool, canceller: impl FnOnce(&mut Reactor) + 'static) {
        let mut inner = self.slot.borrow_mut();
        inner.canceller = Some(Box::new(canceller));
        inner.cancel_on_drop = on_drop;
    }
}

impl<T: 'static> Drop for Deferred<T> {
    fn drop(&mut self) {
        let mut inner = self.slot.borrow_mut();
        match &inner.state {
            State::Ready(Err(error)) => {
                log_unheard(error);
                inner.state = State::Over;
            }
            State::Empty | State::Awaited(_) if inner.cancel_on_drop => {
                inner.state = State::Over;
                if let Some(canceller) = inner.canceller.take() {
                    inner.local.call_soon(canceller);
                }
            }
            State::Empty | State::Awaited(_) => inner.state = State::Unheard,
            _ => {}
        }
    }
}

impl<T: 'static> Future for Deferred<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut inner = self.slot.borrow_mut();
        match std::mem::replace(&mut inner.state, State::Over) {
            State::Ready(result) => Poll::Ready(result),
            State::Over => Poll::Ready(Err(Error::Abandoned)),
            _ => {
                inner.state = State::Awaited(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
