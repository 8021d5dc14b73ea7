//! The services of a program, and their start and stop as tasks of the loop: one at a time, each
//! behind the one that was asked for before it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use log::{debug, info, warn};

use super::deadline::{is_late, within};
use super::{Service, ServiceOptions, ServiceState, failed};
use crate::panics::isolate;
use crate::{BoxError, Deferred, Error, LOG, Local, Promise, Reactor};

/// Services in the order of their start. Clones are one.
///
/// [`start`](Self::start) and [`stop`](Self::stop) only ask: everything is done by the loop, and a
/// deferred tells when it is done. The stop of the reactor stops them, before it closes anything.
///
/// ```
/// use ropewalk_reactor::{Endpoint, ListeningService, Protocol, Result, Services, Simulation};
/// # use ropewalk_reactor::Transport;
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     fn data_received(
/// #         &mut self,
/// #         transport: &mut Transport<'_>,
/// #         data: &mut bytes::BytesMut,
/// #     ) -> Result {
/// #         transport.write(&data.split());
/// #         Ok(())
/// #     }
/// # }
///
/// # fn main() -> Result {
/// let mut simulation = Simulation::new(1);
/// let services = Services::new();
/// let endpoint: Endpoint = "10.0.0.1:7".parse()?;
/// services.add("echo", ListeningService::new(endpoint, || |_| Echo))?;
/// services.start(simulation.reactor()).forget();
/// simulation.settle();
/// let mut peer = simulation.dial("10.0.0.1:7")?;
/// peer.write(b"hello");
/// simulation.settle();
/// assert_eq!(peer.read(), "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[doc(alias = "MultiService")]
#[doc(alias = "IServiceCollection")]
pub struct Services {
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// The stop of the reactor stops them; said once.
    joined: bool,
    /// A start or a stop is under way; those that were asked for since wait in `waiting`.
    busy: bool,
    waiting: VecDeque<Promise<()>>,
    /// Stops that were asked for and have not begun: a start that comes before them is given up.
    stops: usize,
    /// Ends the wait for the service that is just now started.
    starting: Option<Starting>,
}

/// One start has one: what comes of it when it was given up decides no later one. Empty once it is
/// decided.
type Starting = Rc<Cell<Option<Promise<Result<(), Error>>>>>;

/// How the wait for a start has ended.
enum Waited {
    /// The deferred has fired.
    Done(Result<(), Error>),
    Late,
    /// A stop was asked for.
    GivenUp,
}

struct Entry {
    name: Rc<str>,
    options: ServiceOptions,
    /// Away while it is called.
    service: Option<Box<dyn Service>>,
    state: ServiceState,
}

impl Services {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service behind the others. It begins with the next [`start`](Self::start), also when
    /// the others run already. The name is for the log, for errors and for [`remove`](Self::remove).
    ///
    /// # Errors
    /// [`Error::Service`] when another one has that name.
    #[doc(alias = "addService")]
    pub fn add(&self, name: &str, service: impl Service) -> Result<(), Error> {
        self.add_with(ServiceOptions::default(), name, service)
    }

    /// As [`add`](Self::add), with deadlines of its own.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_with(
        &self,
        options: ServiceOptions,
        name: &str,
        service: impl Service,
    ) -> Result<(), Error> {
        if self.state(name).is_some() {
            return Err(failed(name, "there is one of that name already".into()));
        }
        self.state.borrow_mut().entries.push(Entry {
            name: name.into(),
            options,
            service: Some(Box::new(service)),
            state: ServiceState::Stopped,
        });
        Ok(())
    }

    /// Starts those that do not run, in the order in which they were added, each once the one before
    /// it works. If one cannot, those that this call has started are stopped again, in reverse; those
    /// that ran before go on.
    ///
    /// The deferred fails with [`Error::Service`], which names the one and its error (a deadline that
    /// has passed is [`Error::TimedOut`]), or with [`Error::Cancelled`] when a stop has been asked for.
    #[doc(alias = "startService")]
    pub fn start(&self, reactor: &mut Reactor) -> Deferred<()> {
        self.join(reactor);
        let (services, local) = (self.clone(), reactor.local());
        run(reactor, async move {
            services.acquire(&local).await;
            let result = services.start_each(&local).await;
            services.release();
            result
        })
    }

    /// Stops those that run, in reverse. A start that is under way is given up. What does not stop in
    /// its time is passed over, and the log tells; the deferred never fails.
    #[doc(alias = "stopService")]
    pub fn stop(&self, reactor: &mut Reactor) -> Deferred<()> {
        self.state.borrow_mut().stops += 1;
        let starting = self.state.borrow_mut().starting.take();
        if let Some(promise) = starting.and_then(|starting| starting.take()) {
            promise.fail(Error::Cancelled);
        }
        let (services, local) = (self.clone(), reactor.local());
        run(reactor, async move {
            services.acquire(&local).await;
            services.state.borrow_mut().stops -= 1;
            let names = services.names();
            services.stop_each(&local, &names).await;
            services.release();
            Ok(())
        })
    }

    /// Takes a service out, stopped if it runs. The deferred tells whether there was one of that name.
    #[doc(alias = "removeService")]
    pub fn remove(&self, reactor: &mut Reactor, name: &str) -> Deferred<bool> {
        let (services, local, name) = (self.clone(), reactor.local(), Rc::<str>::from(name));
        run(reactor, async move {
            services.acquire(&local).await;
            services.stop_each(&local, std::slice::from_ref(&name)).await;
            let mut state = services.state.borrow_mut();
            let place = state.entries.iter().position(|entry| entry.name == name);
            let removed = place.map(|place| state.entries.remove(place));
            drop(state); // what a user's value does when it is dropped may come back here
            services.release();
            Ok(removed.is_some())
        })
    }

    /// What a service is doing; `None` when there is none of that name.
    pub fn state(&self, name: &str) -> Option<ServiceState> {
        let state = self.state.borrow();
        state.entries.iter().find(|entry| &*entry.name == name).map(|entry| entry.state)
    }

    /// The names, in the order of the start.
    pub fn names(&self) -> Vec<Rc<str>> {
        self.state.borrow().entries.iter().map(|entry| entry.name.clone()).collect()
    }

    /// Lets the stop of the reactor stop the services.
    fn join(&self, reactor: &mut Reactor) {
        if !std::mem::replace(&mut self.state.borrow_mut().joined, true) {
            let services = self.clone();
            reactor.before_shutdown(move |reactor| services.stop(reactor));
        }
    }

    // One after the other.

    async fn acquire(&self, local: &Local) {
        let before = {
            let mut state = self.state.borrow_mut();
            if !std::mem::replace(&mut state.busy, true) {
                return;
            }
            let (promise, deferred) = local.deferred();
            state.waiting.push_back(promise);
            deferred
        };
        let _ = before.await; // `release` fires it, and leaves `busy` as it is
    }

    fn release(&self) {
        let mut state = self.state.borrow_mut();
        match state.waiting.pop_front() {
            Some(next) => next.succeed(()),
            None => state.busy = false,
        }
    }

    // The tasks.

    async fn start_each(&self, local: &Local) -> Result<(), Error> {
        let mut started = Vec::new();
        for name in self.names() {
            if self.state(&name) != Some(ServiceState::Stopped) {
                continue;
            }
            let result = match self.state.borrow().stops {
                0 => Ok(()),
                _ => Err(Error::Cancelled),
            };
            let result = match result {
                Ok(()) => self.start_one(local, &name).await,
                error => error,
            };
            match result {
                Ok(()) => started.push(name),
                Err(error) => {
                    self.stop_each(local, &started).await;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn start_one(&self, local: &Local, name: &Rc<str>) -> Result<(), Error> {
        debug!(target: LOG, "service {name}: starting");
        self.set(name, ServiceState::Starting);
        let begun = self.call(local, name, |service, reactor| service.start(reactor)).await;
        let begun = begun.unwrap_or_else(|message| Err(BoxError::from(message)));
        let problem = match begun {
            Ok(None) => None,
            Err(problem) => Some(problem),
            Ok(Some(deferred)) => match self.wait_for_start(local, name, deferred).await {
                Waited::Done(result) => result.err().map(BoxError::from),
                waited => {
                    // It may still go on: its stop is to end that.
                    self.set(name, ServiceState::Running);
                    self.stop_each(local, std::slice::from_ref(name)).await;
                    match waited {
                        Waited::GivenUp => return Err(Error::Cancelled),
                        _ => Some(Error::TimedOut.into()),
                    }
                }
            },
        };
        match problem {
            None => {
                self.set(name, ServiceState::Running);
                info!(target: LOG, "service {name}: started");
                Ok(())
            }
            Some(problem) => {
                self.set(name, ServiceState::Stopped);
                Err(failed(name, problem))
            }
        }
    }

    /// Waits until the deferred of a start has fired, its time is up, or a stop is asked for.
    async fn wait_for_start(
        &self,
        local: &Local,
        name: &Rc<str>,
        deferred: Deferred<()>,
    ) -> Waited {
        let (promise, outcome) = local.deferred();
        let starting = Starting::new(Cell::new(Some(promise)));
        {
            let mut state = self.state.borrow_mut();
            if state.stops > 0 {
                return Waited::GivenUp;
            }
            state.starting = Some(starting.clone());
        }
        let limit = self.options(name).start_timeout;
        within(limit, deferred).then(move |_, result| {
            if let Some(promise) = starting.take() {
                promise.succeed(result);
            }
        });
        let outcome = outcome.await;
        self.state.borrow_mut().starting = None;
        match outcome {
            Ok(Err(error)) if is_late(&error) => Waited::Late,
            Ok(result) => Waited::Done(result),
            Err(Error::Cancelled) => Waited::GivenUp,
            Err(error) => Waited::Done(Err(error)),
        }
    }

    /// Stops those of these that run, the last one first.
    async fn stop_each(&self, local: &Local, names: &[Rc<str>]) {
        for name in names.iter().rev() {
            if self.state(name) != Some(ServiceState::Running) {
                continue;
            }
            debug!(target: LOG, "service {name}: stopping");
            self.set(name, ServiceState::Stopping);
            let limit = self.options(name).stop_timeout;
            match self.call(local, name, |service, reactor| service.stop(reactor)).await {
                Ok(None) => info!(target: LOG, "service {name}: stopped"),
                Ok(Some(deferred)) => match within(limit, deferred).await {
                    Ok(()) => info!(target: LOG, "service {name}: stopped"),
                    Err(error) if is_late(&error) => warn!(
                        target: LOG,
                        "service {name}: it did not stop within {limit:?}, and is passed over"
                    ),
                    Err(error) => warn!(target: LOG, "service {name}: its stop failed: {error}"),
                },
                Err(message) => warn!(target: LOG, "service {name}: its stop failed: {message}"),
            }
            self.set(name, ServiceState::Stopped);
        }
    }

    /// Makes one call of a service; its panic is the error.
    async fn call<T: 'static>(
        &self,
        local: &Local,
        name: &Rc<str>,
        call: impl FnOnce(&mut dyn Service, &mut Reactor) -> T + 'static,
    ) -> Result<T, String> {
        let (services, name) = (self.clone(), name.clone());
        let called = local.call(move |reactor| {
            let Some(mut service) = services.entry(&name, |entry| entry.service.take()).flatten()
            else {
                return Err("it has gone".to_owned());
            };
            let answer = isolate(|| call(&mut *service, reactor));
            services.entry(&name, |entry| entry.service = Some(service));
            answer.map_err(|message| format!("it panicked: {message}"))
        });
        match called.await {
            Ok(answer) => answer,
            Err(error) => Err(error.to_string()),
        }
    }

    // The entries.

    fn entry<R>(&self, name: &str, look: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let mut state = self.state.borrow_mut();
        state.entries.iter_mut().find(|entry| &*entry.name == name).map(look)
    }

    fn set(&self, name: &str, state: ServiceState) {
        self.entry(name, |entry| entry.state = state);
    }

    fn options(&self, name: &str) -> ServiceOptions {
        self.entry(name, |entry| entry.options.clone()).unwrap_or_default()
    }
}

/// Runs a task to its end, whatever becomes of the deferred: one that is dropped in the middle would
/// leave the others waiting for ever.
fn run<T: 'static>(
    reactor: &mut Reactor,
    task: impl Future<Output = Result<T, Error>> + 'static,
) -> Deferred<T> {
    let (promise, deferred) = reactor.deferred();
    reactor.spawn(async move { promise.fire(task.await) }).forget();
    deferred
}
