//! Who waits for the connection: to be there, to take messages, to be closed.

use std::rc::Rc;

use ropewalk_reactor::{Deferred, Promise, Reactor};

use super::Hub;
use crate::client::Error;
use crate::client::connection::Connection;
use crate::client::core::Phase;
use crate::client::error::fail;

/// Above this much in the outbox a publisher should wait: the reactor's own high-water mark.
const HIGH_WATER_MARK: usize = 64 * 1024;

impl Hub {
    /// The first connection is open, or will never be.
    pub(super) fn tell_opening(self: &Rc<Self>) {
        let outcome = match self.core.borrow().phase() {
            Phase::Open => Ok(()),
            Phase::Over(error) => Err(error.clone()),
            _ => return,
        };
        let Some(promise) = self.waiting.borrow_mut().opening.take() else { return };
        match outcome {
            Ok(()) if promise.is_wanted() => promise.succeed(Connection::from_hub(self.clone())),
            Ok(()) => self.close_now(), // whoever asked has gone
            Err(error) => fail(promise, &error),
        }
    }

    /// Whether somebody waits for the first connection.
    pub(in crate::client) fn is_opening(&self) -> bool {
        self.waiting.borrow().opening.as_ref().is_some_and(Promise::is_wanted)
    }

    /// Whether there has been no connection yet.
    pub(in crate::client) fn is_first(&self) -> bool {
        self.waiting.borrow().opening.is_some()
    }

    /// Fires once messages can be published: the connection is there, nothing blocks it, and its
    /// output is below the high-water mark.
    pub(in crate::client) fn ready(self: &Rc<Self>) -> Deferred<()> {
        let (promise, deferred) = self.local.deferred();
        self.waiting.borrow_mut().ready.push(promise);
        self.schedule();
        deferred
    }

    /// Whether publishing now adds to a backlog, or fails.
    pub(in crate::client) fn is_writable(&self) -> bool {
        let core = self.core.borrow();
        core.is_open()
            && core.blocked.is_none()
            && !self.output.is_congested.get()
            && core.outbox.len() <= HIGH_WATER_MARK
    }

    pub(super) fn tell_ready(self: &Rc<Self>) {
        if self.waiting.borrow().ready.is_empty() {
            return;
        }
        if self.is_writable() {
            let waiting = std::mem::take(&mut self.waiting.borrow_mut().ready);
            waiting.into_iter().for_each(|promise| promise.succeed(()));
        } else if let Phase::Over(error) = self.core.borrow().phase() {
            let waiting = std::mem::take(&mut self.waiting.borrow_mut().ready);
            waiting.into_iter().for_each(|promise| fail(promise, error));
        } else if self.output.is_congested.get() && !self.output.will_resume.get() {
            // The reactor tries to send at the end of this turn. If that is enough to come down,
            // it does not say so; if not, it says that it will.
            self.schedule();
        }
    }

    /// Fires when there will be no connection any more.
    pub(in crate::client) fn until_closed(self: &Rc<Self>) -> Deferred<()> {
        let (promise, deferred) = self.local.deferred();
        self.waiting.borrow_mut().closed.push(promise);
        self.schedule();
        deferred
    }

    pub(super) fn tell_until_closed(&self) {
        let core = self.core.borrow();
        let Phase::Over(reason) = core.phase() else { return };
        for promise in std::mem::take(&mut self.waiting.borrow_mut().closed) {
            match reason {
                Error::Closed => promise.succeed(()),
                reason => fail(promise, reason),
            }
        }
    }

    /// Closes in order; see `Connection::close`.
    pub(in crate::client) fn close(self: &Rc<Self>) -> Deferred<()> {
        let (promise, deferred) = self.local.deferred();
        self.waiting.borrow_mut().closing.push(promise);
        self.close_now();
        deferred
    }

    fn close_now(self: &Rc<Self>) {
        let mut core = self.core.borrow_mut();
        match core.phase() {
            Phase::Open | Phase::Recovering(_) => {
                core.close();
                let timeout = core.options.close_timeout;
                drop(core);
                self.schedule();
                self.arm(timeout, |hub, reactor| hub.abort(reactor));
            }
            Phase::Closing => {}
            Phase::Over(_) => {
                drop(core);
                self.tell_closed();
            }
            _ => {
                drop(core);
                let hub = self.clone();
                self.local.call_soon(move |reactor| {
                    hub.over(Error::Closed);
                    hub.abort(reactor);
                });
            }
        }
    }

    /// Ends the transport at once.
    fn abort(self: &Rc<Self>, reactor: &mut Reactor) {
        if let Some(mut transport) = self.link.get().and_then(|id| reactor.connection(id)) {
            transport.abort_connection();
        }
    }

    /// There will be no further connection.
    pub(in crate::client) fn over(self: &Rc<Self>, reason: Error) {
        let hub = self.clone();
        self.local.call_soon(move |reactor| {
            if let Some(timer) = hub.timer.take() {
                reactor.cancel(timer);
            }
        });
        let mut core = self.core.borrow_mut();
        if !matches!(core.phase(), Phase::Over(_)) {
            core.end(reason);
        }
        drop(core);
        self.tell_closed();
        self.schedule();
    }

    fn tell_closed(&self) {
        let waiting = std::mem::take(&mut self.waiting.borrow_mut().closing);
        waiting.into_iter().for_each(|promise| promise.succeed(()));
    }

    /// Sets the timer, in place of an earlier one.
    pub(in crate::client) fn arm(
        self: &Rc<Self>,
        delay: std::time::Duration,
        call: impl FnOnce(Rc<Hub>, &mut Reactor) + 'static,
    ) {
        let hub = self.clone();
        self.local.call_soon(move |reactor| {
            let timed = hub.clone();
            let timer = reactor.call_later(delay, move |reactor| {
                timed.timer.set(None);
                call(timed, reactor);
            });
            if let Some(earlier) = hub.timer.replace(Some(timer)) {
                reactor.cancel(earlier);
            }
        });
    }
}
