//! A program on many cores: several reactors, each in a thread of its own, that begin together and
//! stop together. They share addresses and nothing else.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

use log::{debug, error};
use signal_hook_mio::v1_0::Signals;

use crate::endpoint::IntoEndpoint;
use crate::options::{ListenOptions, ReactorOptions};
use crate::panics::isolate;
use crate::shared_listener::SharedListener;
use crate::signals;
use crate::{BoxError, Error, Handle, LOG, Reactor, Result};

/// Several reactors, each in a thread of its own.
///
/// ```no_run
/// # use bytes::BytesMut;
/// # use ropewalk_reactor::{Cores, Protocol, Result, Transport};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
/// #         transport.write(&data.split());
/// #         Ok(())
/// #     }
/// # }
/// # fn main() -> Result {
/// let mut cores = Cores::new(4);
/// cores.stop_on_signals()?;
/// let shared = cores.listen("127.0.0.1:7007")?;
/// cores.run(|reactor, _number| {
///     reactor.listen_shared(&shared, |_| Echo)?;
///     Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// What is in one of them is in no other: connections, timers, and what a factory owns. A thread
/// reaches another reactor by its [`Handle`]; [`CoresHandle::call_on_each`] reaches all.
///
/// **In a simulation** the same function sets up each of its reactors, and an address that
/// [`Simulation::share`](crate::Simulation::share) gave is shared by them; the seed says who
/// gets which caller, and who turns when. `docs/11-many-cores.md` has such a test.
#[doc(alias = "adoptStreamPort")]
pub struct Cores {
    count: usize,
    options: ReactorOptions,
    /// One for each reactor, if signals are to stop them.
    signals: VecDeque<Signals>,
    shared: Vec<SharedListener>,
    control: Arc<Control>,
}

/// Stops them, from any thread; cheap to clone. It outlives them without harm.
#[derive(Clone)]
pub struct CoresHandle {
    control: Arc<Control>,
}

#[derive(Default)]
struct Control(Mutex<State>);

#[derive(Default)]
struct State {
    /// With their numbers; all of them are there before the first one runs.
    handles: Vec<(usize, Handle)>,
    stop: Stop,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    #[default]
    No,
    InOrder,
    Now,
}

/// What a thread tells.
enum Report {
    SetUp(Result<(), BoxError>),
    Ended(Result<(), BoxError>),
}

impl Cores {
    /// So many reactors; 0 counts as one.
    pub fn new(count: usize) -> Self {
        Self {
            count: count.max(1),
            options: ReactorOptions::default(),
            signals: VecDeque::new(),
            shared: Vec::new(),
            control: Arc::default(),
        }
    }

    /// How many this process may use: cores, within its affinity and its control group's share.
    /// One, where the system does not tell.
    pub fn available() -> usize {
        thread::available_parallelism().map_or(1, NonZeroUsize::get)
    }

    /// What each reactor is made with.
    #[must_use]
    pub fn options(mut self, options: ReactorOptions) -> Self {
        self.options = options;
        self
    }

    /// Listens at `endpoint` for all of them: each joins with
    /// [`listen_shared`](Reactor::listen_shared). Port 0 lets the system choose, and it is the same
    /// port for all. Callers wait until the reactors run.
    ///
    /// A TCP address must be free, as for [`Reactor::listen`]; with the option `reuse-port` other
    /// processes may share it as well.
    ///
    /// # Errors
    /// As [`Reactor::listen`].
    pub fn listen(&mut self, endpoint: impl IntoEndpoint) -> Result<SharedListener, Error> {
        self.listen_with(ListenOptions::default(), endpoint)
    }

    /// As [`listen`](Self::listen), with options.
    ///
    /// # Errors
    /// As [`Reactor::listen`].
    pub fn listen_with(
        &mut self,
        options: ListenOptions,
        endpoint: impl IntoEndpoint,
    ) -> Result<SharedListener, Error> {
        let shared = SharedListener::bind(endpoint.into_endpoint()?, options)?;
        self.shared.push(shared.clone());
        Ok(shared)
    }

    /// Lets SIGINT and SIGTERM stop all in order, from now on; a second one stops them at once.
    ///
    /// # Errors
    /// [`Error::System`] when the handlers cannot be installed.
    pub fn stop_on_signals(&mut self) -> Result<(), Error> {
        while self.signals.len() < self.count {
            self.signals.push_back(signals::catch()?);
        }
        Ok(())
    }

    /// What other threads may keep of them.
    pub fn handle(&self) -> CoresHandle {
        CoresHandle { control: self.control.clone() }
    }

    /// Starts the threads, lets `set_up` prepare each reactor in its own (they are numbered from 0),
    /// and once all are prepared, runs them. It returns when all have ended.
    ///
    /// They stop together: when one is stopped, by a signal, its own [`stop`](Reactor::stop) or a
    /// handle, the others are stopped in order, too; and when one [fails](Reactor::fail).
    ///
    /// # Errors
    /// [`Error::Core`] with the number and the error of the first one that could not be set up (then
    /// none runs), failed, or panicked; what other ones say is logged. [`Error::System`] when there
    /// is no thread to be had.
    pub fn run<F>(self, set_up: F) -> Result<(), Error>
    where
        F: Fn(&mut Reactor, usize) -> Result + Sync,
    {
        let Self { count, options, mut signals, shared, control } = self;
        let (reporting, reports) = mpsc::channel();
        let mut first = None;
        thread::scope(|scope| {
            let mut begin = Vec::new();
            for number in 0..count {
                let core = Core {
                    number,
                    options: options.clone(),
                    signals: signals.pop_front(),
                    control: control.clone(),
                };
                let (beginning, begins) = mpsc::channel();
                let (reporting, set_up) = (reporting.clone(), &set_up);
                let thread = Builder::new().name(format!("ropewalk-core-{number}"));
                match thread.spawn_scoped(scope, move || core.run(set_up, reporting, begins)) {
                    Ok(_) => begin.push(beginning),
                    Err(source) => {
                        first = Some(Error::System(source));
                        break;
                    }
                }
            }
            drop(reporting);
            let mut waited_for = begin.len();
            // Ends with the last thread: each drops its side of the channel.
            for (number, report) in reports {
                let ended = match report {
                    Report::SetUp(result) => {
                        waited_for -= 1;
                        result
                    }
                    Report::Ended(result) => result,
                };
                if let Err(source) = ended {
                    let failure = Error::Core { number, source };
                    if first.is_none() {
                        first = Some(failure);
                    } else {
                        error!(target: LOG, "{failure}");
                    }
                }
                if waited_for == 0 {
                    for listener in &shared {
                        listener.release();
                    }
                    let go = first.is_none();
                    // Those that are not told to go see the end of the channel, and give up.
                    begin.drain(..).for_each(|beginning| {
                        let _ = go && beginning.send(()).is_ok();
                    });
                }
            }
        });
        shared.iter().for_each(SharedListener::release); // if it never came to that
        first.map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cores").field("count", &self.count).field("shared", &self.shared).finish()
    }
}

/// One thread.
struct Core {
    number: usize,
    options: ReactorOptions,
    signals: Option<Signals>,
    control: Arc<Control>,
}

impl Core {
    fn run(
        self,
        set_up: impl Fn(&mut Reactor, usize) -> Result,
        reporting: Sender<(usize, Report)>,
        begins: Receiver<()>,
    ) {
        let Self { number, options, signals, control } = self;
        // Whoever started us reads all reports.
        let report = |report| drop(reporting.send((number, report)));
        let prepared = isolate(|| {
            let mut reactor = Reactor::with_options(options)?;
            if let Some(signals) = signals {
                reactor.stop_on_caught(signals, number > 0)?;
            }
            set_up(&mut reactor, number)?;
            Ok(reactor)
        });
        let mut reactor = match prepared.unwrap_or_else(|message| Err(panicked(message))) {
            Ok(reactor) => reactor,
            Err(error) => return report(Report::SetUp(Err(error))),
        };
        control.add(number, reactor.handle());
        let stopping = control.clone();
        reactor.before_shutdown(move |_| stopping.stop(Stop::InOrder));
        report(Report::SetUp(Ok(())));
        if begins.recv().is_err() {
            return; // another one has failed
        }
        debug!(target: LOG, "core {number} runs");
        let ran = isolate(|| reactor.run());
        control.stop(Stop::InOrder);
        let dropped = isolate(|| drop(reactor));
        report(Report::Ended(match (ran, dropped) {
            (Ok(Ok(())), Ok(())) => Ok(()),
            (Ok(Err(error)), _) => Err(error.into()),
            (Err(message), _) | (Ok(Ok(())), Err(message)) => Err(panicked(message)),
        }));
    }
}

fn panicked(message: String) -> BoxError {
    Error::Panicked(message).into()
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, number: usize, handle: Handle) {
        let mut state = self.lock();
        state.handles.push((number, handle.clone()));
        let stop = state.stop;
        drop(state);
        stop.tell(&handle); // it was asked for before
    }

    fn stop(&self, how: Stop) {
        let mut state = self.lock();
        if state.stop >= how {
            return;
        }
        state.stop = how;
        let handles = state.handles.clone();
        drop(state);
        for (_, handle) in handles {
            how.tell(&handle);
        }
    }
}

impl Stop {
    /// One that has ended is told nothing.
    fn tell(self, handle: &Handle) {
        let _ = match self {
            Self::No => Ok(()),
            Self::InOrder => handle.call_from_thread(Reactor::stop),
            Self::Now => handle.call_from_thread(Reactor::stop_now),
        };
    }
}

impl CoresHandle {
    /// Stops all in order; also before they run.
    pub fn stop(&self) {
        self.control.stop(Stop::InOrder);
    }

    /// Stops all without waiting for anybody: connections are aborted.
    pub fn stop_now(&self) {
        self.control.stop(Stop::Now);
    }

    /// Makes `call` on each reactor, in its thread, with its number. Those that have ended are left
    /// out; before the set-up of a reactor is done, it is none of them.
    #[doc(alias = "callFromThread")]
    pub fn call_on_each(&self, call: impl Fn(&mut Reactor, usize) + Clone + Send + 'static) {
        let handles = self.control.lock().handles.clone();
        for (number, handle) in handles {
            let call = call.clone();
            let _ = handle.call_from_thread(move |reactor| call(reactor, number));
        }
    }
}

impl fmt::Debug for CoresHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoresHandle")
    }
}
