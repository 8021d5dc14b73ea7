//! Signals as events of the loop: handlers of the program's own, and SIGINT and SIGTERM, of which
//! the first stops in order and a second one at once.
//!
//! The system's handler only takes a note. What a signal means is done in a turn, between
//! callbacks, like everything else.

use std::io;

use log::{error, info};
use signal_hook::consts::FORBIDDEN;
use signal_hook_mio::v1_0::Signals as Hook;

use crate::core::Core;
use crate::identity::Source;
use crate::network::Network;
use crate::panics::isolate;
use crate::{Error, LOG, Reactor, Signal};

type Call = Box<dyn FnMut(&mut Reactor)>;

/// What a reactor hears, and what it does about it.
#[derive(Default)]
pub(crate) struct Signals {
    /// Made with the first signal that is asked for; a simulation has none.
    hook: Option<Hook>,
    /// SIGINT and SIGTERM stop the reactor.
    stops: bool,
    /// Another reactor of this program says so in the log.
    is_silent: bool,
    /// One of them has come.
    stopping: bool,
    /// In the order of asking. `None` while it is called.
    handlers: Vec<(Signal, Option<Call>)>,
    /// Came, and has not been heard yet. Each is in here once, as the system has it too.
    arrived: Vec<Signal>,
}

/// Collects SIGINT and SIGTERM from now on, for a reactor that is yet to be made.
pub(crate) fn catch() -> Result<Hook, Error> {
    Hook::new([Signal::INT.number(), Signal::TERM.number()]).map_err(Error::System)
}

impl Signals {
    /// Lets the system tell of a signal.
    fn register(&mut self, signal: Signal, network: &mut Network) -> io::Result<()> {
        if FORBIDDEN.contains(&signal.number()) {
            let problem = format!("{signal} cannot be heard: it is the system's own");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        if network.simulated().is_some() {
            return Ok(()); // the simulation delivers them
        }
        match &self.hook {
            Some(hook) => hook.add_signal(signal.number()), // once is as good as twice
            None => {
                let mut hook = Hook::new([signal.number()])?;
                network.register_signals(&mut hook, Source::Signals)?;
                self.hook = Some(hook);
                Ok(())
            }
        }
    }

    /// Takes a note of a signal that somebody may want to hear.
    fn arrive(&mut self, signal: Signal) {
        if !self.arrived.contains(&signal) {
            self.arrived.push(signal);
        }
    }

    fn stops_on(&self, signal: Signal) -> bool {
        self.stops && matches!(signal, Signal::INT | Signal::TERM)
    }

    /// Whether one waits to be heard.
    pub(crate) fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }
}

impl Core {
    /// The system has taken notes: they are fetched, and heard in the turn's step for calls.
    pub(crate) fn signals_moved(&mut self) {
        let Some(hook) = &mut self.signals.hook else { return };
        let mut came: Vec<_> = hook.pending().filter_map(Signal::from_number).collect();
        came.sort_unstable(); // they have no order of their own
        for signal in came {
            self.signals.arrive(signal);
        }
    }

    /// As if the system had sent the signal. One that nobody has asked for is lost: a simulated
    /// program does not die of it.
    pub(crate) fn simulate_signal(&mut self, signal: Signal) {
        let signals = &mut self.signals;
        if signals.stops_on(signal) || signals.handlers.iter().any(|(heard, _)| *heard == signal) {
            signals.arrive(signal);
        }
    }
}

impl Reactor {
    /// Calls `call` each time this signal has come, from the loop and inside no other callback.
    /// Signals of a kind that come while one of it waits to be heard are one, as the system has it.
    /// Several handlers of a signal are called in the order in which they were set. For SIGINT and
    /// SIGTERM they are called besides what [`stop_on_signals`](Self::stop_on_signals) does.
    ///
    /// Each reactor of a process hears it. What the signal did before (SIGHUP ends a program), it
    /// does no more, even once the reactor has gone. A panic in `call` is logged, and the handler stays.
    ///
    /// ```
    /// use ropewalk_reactor::{Signal, Simulation};
    ///
    /// # fn main() -> ropewalk_reactor::Result {
    /// let mut simulation = Simulation::new(1);
    /// simulation.reactor().on_signal(Signal::HUP, |reactor| reactor.stop())?;
    /// simulation.signal(0, Signal::HUP);
    /// simulation.settle();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::System`] when the handler cannot be installed: SIGKILL and SIGSTOP reach no program,
    /// and those that tell of its own faults (SIGSEGV, SIGILL, SIGFPE) cannot wait for the loop.
    pub fn on_signal(
        &mut self,
        signal: Signal,
        call: impl FnMut(&mut Reactor) + 'static,
    ) -> Result<(), Error> {
        let core = self.core_mut();
        core.signals.register(signal, &mut core.network).map_err(Error::System)?;
        core.signals.handlers.push((signal, Some(Box::new(call))));
        Ok(())
    }

    /// Lets SIGINT and SIGTERM stop this reactor in order; a second one stops it at once.
    ///
    /// # Errors
    /// [`Error::System`] when the handlers cannot be installed.
    pub fn stop_on_signals(&mut self) -> Result<(), Error> {
        let core = self.core_mut();
        for signal in [Signal::INT, Signal::TERM] {
            core.signals.register(signal, &mut core.network).map_err(Error::System)?;
        }
        core.signals.stops = true;
        Ok(())
    }

    /// As [`stop_on_signals`](Self::stop_on_signals), also for what was [caught](catch) before. To be
    /// called before any signal is asked for.
    pub(crate) fn stop_on_caught(&mut self, mut hook: Hook, is_silent: bool) -> Result<(), Error> {
        let core = self.core_mut();
        core.network.register_signals(&mut hook, Source::Signals).map_err(Error::System)?;
        core.signals = Signals { hook: Some(hook), stops: true, is_silent, ..Signals::default() };
        Ok(())
    }

    /// Makes the calls for what has arrived.
    pub(crate) fn hear_signals(&mut self) {
        for signal in std::mem::take(&mut self.core_mut().signals.arrived) {
            self.stop_on(signal);
            // One that is set by another one hears the next signal.
            for index in 0..self.core_mut().signals.handlers.len() {
                let handlers = &mut self.core_mut().signals.handlers;
                let (heard, call) = &mut handlers[index];
                if *heard != signal {
                    continue;
                }
                let Some(mut call) = call.take() else { continue };
                if let Err(message) = isolate(|| call(self)) {
                    error!(target: LOG, "a handler of {signal} panicked: {message}");
                }
                self.core_mut().signals.handlers[index].1 = Some(call); // none is ever removed
            }
        }
    }

    fn stop_on(&mut self, signal: Signal) {
        let core = self.core_mut();
        if !core.signals.stops_on(signal) {
            return;
        }
        let again = std::mem::replace(&mut core.signals.stopping, true);
        if again {
            core.shutdown.request_now();
        } else {
            core.shutdown.request();
        }
        match (core.signals.is_silent, again) {
            (true, _) => {}
            (false, true) => info!(target: LOG, "{signal} again: stopping at once"),
            (false, false) => info!(target: LOG, "{signal}: stopping; again to stop at once"),
        }
    }
}
