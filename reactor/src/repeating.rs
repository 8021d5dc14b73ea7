//! A call that is made again and again, in a phase that it keeps.

use std::cell::Cell;
use std::rc::Rc;

use log::error;

use crate::clock::Nanos;
use crate::core::Alarm;
use crate::local::Local;
use crate::panics::isolate;
use crate::{LOG, Reactor, TimerId};

/// A call that repeats until this is told to [`stop`](Self::stop); dropping it changes nothing.
#[derive(Clone)]
pub struct RepeatingCall {
    state: Rc<State>,
    local: Local,
}

struct State {
    running: Cell<bool>,
    timer: Cell<Option<TimerId>>,
}

impl RepeatingCall {
    /// Makes `call` every `interval` nanoseconds from now on.
    pub(crate) fn start(
        reactor: &mut Reactor,
        interval: Nanos,
        call: Box<dyn FnMut(&mut Reactor)>,
    ) -> Self {
        let state = Rc::new(State { running: Cell::new(true), timer: Cell::new(None) });
        let began = reactor.core.clock.now();
        Beat { began, interval, state: state.clone(), call }.wait(reactor);
        Self { state, local: reactor.local() }
    }

    /// No further beat; also from inside the call itself.
    pub fn stop(&self) {
        self.state.running.set(false);
        if let Some(timer) = self.state.timer.take() {
            self.local.call_soon(move |reactor| {
                let _ = reactor.cancel(timer);
            });
        }
    }

    /// Whether it still repeats.
    pub fn is_running(&self) -> bool {
        self.state.running.get()
    }
}

struct Beat {
    began: Nanos,
    interval: Nanos,
    state: Rc<State>,
    call: Box<dyn FnMut(&mut Reactor)>,
}

impl Beat {
    /// Sets the timer for the first beat that is still to come.
    fn wait(self, reactor: &mut Reactor) {
        let beats = (reactor.core.clock.now() - self.began) / self.interval;
        let next = self.began.saturating_add((beats + 1).saturating_mul(self.interval));
        let state = self.state.clone();
        let alarm = Alarm::Call(Box::new(move |reactor: &mut Reactor| self.strike(reactor)));
        state.timer.set(Some(reactor.core.timers.insert(next, alarm)));
    }

    fn strike(mut self, reactor: &mut Reactor) {
        self.state.timer.set(None);
        if !self.state.running.get() {
            return;
        }
        if let Err(message) = isolate(|| (self.call)(reactor)) {
            self.state.running.set(false);
            error!(target: LOG, "a repeating call panicked, and stops: {message}");
        }
        if self.state.running.get() {
            self.wait(reactor);
        }
    }
}
