//! The parts of a program that are started and stopped together, in order: Twisted's
//! `application.service`.
//!
//! [`Services`] starts each part once the one before it works, and stops them in reverse. The one
//! rule: a start or a stop always ends. Either has a deadline for each part; one that fails to start
//! makes those that were started with it stop again, and one that does not stop is passed over.

use std::time::Duration;

use crate::panics::isolate;
use crate::setters::setters;
use crate::{
    Address, Deferred, Endpoint, Error, Factory, ListenOptions, ListenerId, Reactor, Result,
};

mod collection;
mod deadline;

pub use collection::Services;

/// A part of a program with a beginning and an end: a listener, a client that reconnects, a beat.
///
/// Its methods are called by [`Services`], from the loop and inside no other callback. For what
/// takes time they answer a [`Deferred`].
#[doc(alias = "IService")]
pub trait Service: 'static {
    /// Begins. The part works when this has returned, or else when the deferred that it answers has
    /// fired.
    ///
    /// # Errors
    /// Why it cannot, now or by the deferred; then it has nothing to stop.
    #[doc(alias = "startService")]
    fn start(&mut self, reactor: &mut Reactor) -> Result<Option<Deferred<()>>>;

    /// Ends: takes in nothing new, and finishes or gives up what is under way. Called once for each
    /// start, unless that has failed; also when the start took too long and may still go on.
    #[doc(alias = "stopService")]
    fn stop(&mut self, reactor: &mut Reactor) -> Option<Deferred<()>> {
        let _ = reactor;
        None
    }
}

/// How long a service may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOptions {
    start_timeout: Duration,
    stop_timeout: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self { start_timeout: Duration::from_secs(30), stop_timeout: Duration::from_secs(10) }
    }
}

impl ServiceOptions {
    setters! {
        /// How long its start may take (30 s); then it has failed.
        start_timeout: Duration;
        /// How long its stop may take (10 s); then it is passed over, which the log tells. At the stop
        /// of the reactor, all together have
        /// [`hold_timeout`](crate::ReactorOptions::hold_timeout).
        stop_timeout: Duration;
    }
}

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServiceState {
    /// It has not been started, or has been stopped, or failed to start.
    Stopped,
    /// Its start has not ended.
    Starting,
    /// It works.
    Running,
    /// Its stop has not ended.
    Stopping,
}

type Tell = Box<dyn FnMut(&Address)>;

/// A listener as a service: it begins to listen with its start. With its stop it accepts no more;
/// its connections live on until they or the reactor end.
#[doc(alias = "StreamServerEndpointService")]
pub struct ListeningService<M> {
    options: ListenOptions,
    endpoint: Endpoint,
    make: M,
    tell: Option<Tell>,
    listener: Option<ListenerId>,
}

impl<F: Factory, M: FnMut() -> F + 'static> ListeningService<M> {
    /// Listens at `endpoint`, with a factory that `make` makes at each start.
    pub fn new(endpoint: Endpoint, make: M) -> Self {
        Self { options: ListenOptions::default(), endpoint, make, tell: None, listener: None }
    }

    /// Calls `tell` at each start with the address where it really listens.
    #[must_use]
    pub fn on_listening(mut self, tell: impl FnMut(&Address) + 'static) -> Self {
        self.tell = Some(Box::new(tell));
        self
    }

    /// How to listen.
    #[must_use]
    pub fn options(mut self, options: ListenOptions) -> Self {
        self.options = options;
        self
    }
}

impl<F: Factory, M: FnMut() -> F + 'static> Service for ListeningService<M> {
    fn start(&mut self, reactor: &mut Reactor) -> Result<Option<Deferred<()>>> {
        let (options, endpoint) = (self.options.clone(), self.endpoint.clone());
        let listener = reactor.listen_with(options, endpoint, (self.make)())?;
        self.listener = Some(listener);
        if let (Some(tell), Some(address)) = (&mut self.tell, reactor.address(listener))
            && let Err(message) = isolate(|| tell(&address))
        {
            // It has not started, so nobody will stop it.
            self.stop(reactor);
            return Err(format!("what was to be told of its address panicked: {message}").into());
        }
        Ok(None)
    }

    fn stop(&mut self, reactor: &mut Reactor) -> Option<Deferred<()>> {
        if let Some(listener) = self.listener.take() {
            reactor.stop_listening(listener);
        }
        None
    }
}

/// What a start that has failed comes to, for whoever asked for it.
fn failed(name: &str, source: crate::BoxError) -> Error {
    Error::Service { name: name.to_owned(), source }
}
