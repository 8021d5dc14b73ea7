//! Stopping in order: triggers before (which may hold it), then listeners and connections, then
//! triggers after; each part with a deadline, so that a stop always ends.

use std::cell::Cell;
use std::rc::Rc;

use log::{debug, error, warn};

use crate::connection::Stage;
use crate::core::{Alarm, Core};
use crate::panics::isolate;
use crate::protocol::Reason;
use crate::timer::TimerId;
use crate::{BoxError, Deferred, LOG, Reactor};

/// What a trigger before shutdown may answer: `()`, or a deferred that holds the stop until it
/// has fired.
pub trait Hold: 'static {
    /// The deferred to wait for, if any.
    fn into_hold(self) -> Option<Deferred<()>>;
}

impl Hold for () {
    fn into_hold(self) -> Option<Deferred<()>> {
        None
    }
}

impl Hold for Deferred<()> {
    fn into_hold(self) -> Option<Deferred<()>> {
        Some(self)
    }
}

impl<T: Hold> Hold for Option<T> {
    fn into_hold(self) -> Option<Deferred<()>> {
        self.and_then(T::into_hold)
    }
}

type Trigger<R> = Box<dyn FnOnce(&mut Reactor) -> R>;

#[derive(Default)]
pub(crate) struct Shutdown {
    stage: ShutdownStage,
    requested: Requested,
    before: Vec<Trigger<Option<Deferred<()>>>>,
    during: Vec<Trigger<()>>,
    after: Vec<Trigger<()>>,
    /// Deferreds that hold the stop and have not fired.
    holds: Rc<Cell<usize>>,
    deadline: Option<TimerId>,
    timed_out: bool,
    /// What `run` is to answer.
    failure: Option<BoxError>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Requested {
    #[default]
    No,
    InOrder,
    Now,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ShutdownStage {
    #[default]
    Running,
    /// Triggers before have run, and some hold.
    Held,
    /// Nothing is accepted any more; connections flush and close.
    Closing,
    /// Everything has gone.
    Over,
}

impl Shutdown {
    pub(crate) fn request(&mut self) {
        self.requested = self.requested.max(Requested::InOrder);
    }

    pub(crate) fn request_now(&mut self) {
        self.requested = Requested::Now;
    }

    pub(crate) fn fail(&mut self, error: BoxError) {
        self.failure.get_or_insert(error);
    }

    pub(crate) fn take_failure(&mut self) -> Option<BoxError> {
        self.failure.take()
    }

    /// Nothing is left to be done: everything has gone at once.
    pub(crate) fn give_up(&mut self) {
        self.stage = ShutdownStage::Over;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stage >= ShutdownStage::Closing
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stage == ShutdownStage::Over
    }

    /// Whether the stop can go on without waiting for anything.
    pub(crate) fn is_due(&self) -> bool {
        match self.stage {
            ShutdownStage::Running => self.requested != Requested::No,
            ShutdownStage::Held => {
                self.holds.get() == 0 || self.timed_out || self.requested == Requested::Now
            }
            ShutdownStage::Closing => self.timed_out || self.requested == Requested::Now,
            ShutdownStage::Over => false,
        }
    }

    pub(crate) fn timed_out(&mut self) {
        self.deadline = None;
        self.timed_out = true;
    }
}

impl Core {
    /// Whether somebody is still to be told of a result, or of the end of what he had asked for.
    fn owes_calls(&self) -> bool {
        !self.local.is_empty() || self.tasks.has_ready() || self.shared.has_woken_tasks()
    }
}

impl Reactor {
    /// Runs `trigger` when a stop has been asked for, before anything is closed. If it answers a
    /// [`Deferred`], the stop waits for that, up to
    /// [`hold_timeout`](crate::ReactorOptions::hold_timeout).
    #[doc(alias = "addSystemEventTrigger")]
    pub fn before_shutdown<H: Hold>(&mut self, trigger: impl FnOnce(&mut Reactor) -> H + 'static) {
        let trigger: Trigger<_> = Box::new(move |reactor| trigger(reactor).into_hold());
        self.core_mut().shutdown.before.push(trigger);
    }

    /// Runs `trigger` during a stop: listeners are closed, connections are about to be told to
    /// close. Here a protocol's last words are written.
    #[doc(alias = "addSystemEventTrigger")]
    pub fn during_shutdown(&mut self, trigger: impl FnOnce(&mut Reactor) + 'static) {
        self.core_mut().shutdown.during.push(Box::new(trigger));
    }

    /// Runs `trigger` at the end of a stop, when all connections have gone.
    #[doc(alias = "addSystemEventTrigger")]
    pub fn after_shutdown(&mut self, trigger: impl FnOnce(&mut Reactor) + 'static) {
        self.core_mut().shutdown.after.push(Box::new(trigger));
    }

    /// Takes a stop as far as it goes without waiting.
    pub(crate) fn drive_shutdown(&mut self) {
        loop {
            let shutdown = &self.core_mut().shutdown;
            let now = shutdown.requested == Requested::Now;
            match shutdown.stage {
                ShutdownStage::Running if shutdown.requested == Requested::No => return,
                ShutdownStage::Running => self.begin_shutdown(),
                ShutdownStage::Held if shutdown.is_due() => self.close_everything(),
                ShutdownStage::Closing => {
                    if now || shutdown.timed_out {
                        self.abort_everything();
                    }
                    let core = self.core_mut();
                    let hurried = now || core.shutdown.timed_out;
                    if core.connections.len() > 0
                        || !core.children.slots.is_empty()
                        || !core.births.is_empty()
                        || ((core.pool.is_busy() || core.functions > 0 || core.owes_calls())
                            && !hurried)
                    {
                        return;
                    }
                    self.end_shutdown();
                }
                ShutdownStage::Held | ShutdownStage::Over => return,
            }
        }
    }

    fn begin_shutdown(&mut self) {
        debug!(target: LOG, "stopping");
        let core = self.core_mut();
        core.shutdown.stage = ShutdownStage::Held;
        let holds = core.shutdown.holds.clone();
        for trigger in std::mem::take(&mut self.core_mut().shutdown.before) {
            match isolate(|| trigger(self)) {
                Err(message) => {
                    error!(target: LOG, "a trigger before shutdown panicked: {message}")
                }
                Ok(None) => {}
                Ok(Some(hold)) => {
                    holds.set(holds.get() + 1);
                    let holds = holds.clone();
                    hold.then(move |_, result| {
                        holds.set(holds.get() - 1);
                        if let Err(error) = result {
                            warn!(target: LOG, "what held the stop failed: {error}");
                        }
                    });
                }
            }
        }
        self.set_shutdown_deadline();
    }

    fn close_everything(&mut self) {
        if self.core_mut().shutdown.timed_out {
            warn!(target: LOG, "the stop was held for too long, and goes on");
        }
        let core = self.core_mut();
        core.shutdown.stage = ShutdownStage::Closing;
        for id in core.listeners.iter().map(|(_, listener)| listener.id).collect::<Vec<_>>() {
            core.stop_listening(id);
        }
        core.births.clear();
        core.stop_connecting();
        self.set_shutdown_deadline();
        for trigger in std::mem::take(&mut self.core_mut().shutdown.during) {
            if let Err(message) = isolate(|| trigger(self)) {
                error!(target: LOG, "a trigger during shutdown panicked: {message}");
            }
        }
        let core = self.core_mut();
        for id in core.connections.ids() {
            core.lose(id, Reason::Stopped, false);
        }
        for id in core.ports.ids() {
            core.close_datagram(id, Reason::Stopped);
        }
        core.terminate_children();
        self.births_and_losses();
    }

    fn abort_everything(&mut self) {
        let core = self.core_mut();
        for id in core.connections.ids() {
            if let Some(connection) = core.connections.get(id)
                && connection.stage != Stage::Lost
            {
                if connection.buffered() > 0 {
                    warn!(
                        target: LOG,
                        "{}: stopped with {} bytes that the peer did not take in time",
                        connection.peer,
                        connection.buffered(),
                    );
                }
                core.abort(id, Reason::Stopped);
            }
        }
        core.kill_children();
        self.births_and_losses();
    }

    fn end_shutdown(&mut self) {
        self.core_mut().pool.close();
        for trigger in std::mem::take(&mut self.core_mut().shutdown.after) {
            if let Err(message) = isolate(|| trigger(self)) {
                error!(target: LOG, "a trigger after shutdown panicked: {message}");
            }
        }
        let core = self.core_mut();
        core.shutdown.stage = ShutdownStage::Over;
        core.shutdown.timed_out = false;
        if let Some(deadline) = core.shutdown.deadline.take() {
            core.timers.cancel(deadline);
        }
        debug!(target: LOG, "stopped");
    }

    fn set_shutdown_deadline(&mut self) {
        let core = self.core_mut();
        core.shutdown.timed_out = false;
        if let Some(earlier) = core.shutdown.deadline.take() {
            core.timers.cancel(earlier);
        }
        let limit = match core.shutdown.stage {
            ShutdownStage::Held => core.options.hold_timeout,
            _ => core.options.shutdown_timeout,
        };
        core.shutdown.deadline = Some(core.timers.insert(core.clock.after(limit), Alarm::Shutdown));
    }

    /// Ends a reactor that was never stopped: nothing is flushed, but everyone is told.
    pub(crate) fn abandon(&mut self) {
        if !self.core_mut().shutdown.is_over() {
            self.core_mut().shutdown.stage = ShutdownStage::Closing;
            let core = self.core_mut();
            core.births.clear();
            core.stop_connecting();
            for id in self.core_mut().ports.ids() {
                self.core_mut().close_datagram(id, Reason::Stopped);
            }
            self.abort_everything();
            self.core_mut().pool.close();
            self.core_mut().shutdown.stage = ShutdownStage::Over;
        }
    }
}
