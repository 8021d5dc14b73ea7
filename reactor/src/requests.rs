//! What a program may ask of its reactor, outside of callbacks of connections. Each request only
//! takes notes; the loop acts on them.

use std::any::Any;
use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

use crate::address::Address;
use crate::connection::Stage;
use crate::endpoint::IntoEndpoint;
use crate::options::{ConnectOptions, ListenOptions};
use crate::panics::isolate;
use crate::protocol::Reason;
use crate::transport::downcast;
use crate::{
    BoxError, ConnectionId, Deferred, Error, Factory, Handle, ListenerId, Local, Promise, Reactor,
    RepeatingCall, TimerId, Transport,
};

impl Reactor {
    /// Accepts connections at `endpoint` (see [`Endpoint`](crate::Endpoint) for how it is
    /// written) and gives each a protocol from `factory`. Port 0 lets the system choose; [`address`](Self::address) tells what it chose.
    ///
    /// A host name is resolved before this returns; everything else never waits.
    ///
    /// # Errors
    /// [`Error::Listen`] when the address is in use ([`Error::is_address_in_use`]), not this
    /// machine's, or not permitted; [`Error::BadAddress`], [`Error::Resolve`].
    #[doc(alias = "listenTCP")]
    pub fn listen(
        &mut self,
        endpoint: impl IntoEndpoint,
        factory: impl Factory,
    ) -> Result<ListenerId, Error> {
        self.listen_with(ListenOptions::default(), endpoint, factory)
    }

    /// As [`listen`](Self::listen), with options.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_with(
        &mut self,
        options: ListenOptions,
        endpoint: impl IntoEndpoint,
        factory: impl Factory,
    ) -> Result<ListenerId, Error> {
        self.core.listen(endpoint.into_endpoint(), Box::new(factory), options)
    }

    /// Where a listener really listens, which tells the port that 0 became.
    pub fn address(&mut self, listener: ListenerId) -> Option<Address> {
        self.core.listener(listener)?.socket.local_address().ok()
    }

    /// Closes a listener; its connections live on. False when it was closed before.
    #[doc(alias = "stopListening")]
    pub fn stop_listening(&mut self, listener: ListenerId) -> bool {
        self.core.stop_listening(listener)
    }

    /// Connects to `endpoint` and gives the connection a protocol from `factory`. A host name is
    /// resolved off the loop (see [`set_resolver`](Self::set_resolver)), and its addresses are
    /// raced as RFC 8305 has it: IPv6 and IPv4 by turns, another one each 250 ms or as soon as one
    /// has failed; the first that is connected wins, and the others are closed. The deferred fires
    /// after `connection_made`; it fails exactly once, later, never from inside this call. Dropping
    /// it cancels the attempt.
    ///
    /// It fails with [`Error::Connect`] (refused, unreachable), [`Error::Resolve`],
    /// [`Error::TimedOut`] (30 seconds unless told otherwise), [`Error::Refused`] (by the
    /// factory), [`Error::BadAddress`] or [`Error::Stopped`].
    #[doc(alias = "connectTCP")]
    pub fn connect(
        &mut self,
        endpoint: impl IntoEndpoint,
        factory: impl Factory,
    ) -> Deferred<ConnectionId> {
        self.connect_with(ConnectOptions::default(), endpoint, factory)
    }

    /// As [`connect`](Self::connect), with options.
    pub fn connect_with(
        &mut self,
        options: ConnectOptions,
        endpoint: impl IntoEndpoint,
        factory: impl Factory,
    ) -> Deferred<ConnectionId> {
        self.refresh_clock();
        self.core.connect(endpoint.into_endpoint(), Box::new(factory), options)
    }

    /// Calls `call` with the protocol and the transport of a connection, now. `None` when the
    /// connection has gone, is not of type `P` (nor has a layer that is), or when `call` panics,
    /// which loses the connection.
    pub fn with_protocol<P: Any, R>(
        &mut self,
        id: ConnectionId,
        call: impl FnOnce(&mut P, &mut Transport<'_>) -> R,
    ) -> Option<R> {
        if self.core.connections.get(id).is_none_or(|found| found.stage == Stage::Lost) {
            return None;
        }
        self.refresh_clock();
        let protocol = downcast::<P>(&mut **self.protocols.get_mut(id.slot())?.as_mut()?)?;
        let mut transport = Transport { core: &mut self.core, id };
        match isolate(|| call(protocol, &mut transport)) {
            Ok(answer) => Some(answer),
            Err(message) => {
                self.core.panicked(id, message);
                None
            }
        }
    }

    /// The transport of a connection, whatever its protocol is; `None` when it has gone.
    pub fn connection(&mut self, id: ConnectionId) -> Option<Transport<'_>> {
        self.refresh_clock();
        let connection = self.core.connections.get(id)?;
        (connection.stage != Stage::Lost).then_some(Transport { core: &mut self.core, id })
    }

    /// Is there when a connection is lost, after its `connection_lost`, with the reason. Fails with
    /// [`Error::Gone`] when it has gone already.
    #[doc(alias = "whenDisconnected")]
    pub fn when_lost(&mut self, id: ConnectionId) -> Deferred<Reason> {
        let (promise, deferred) = self.deferred();
        match self.core.connections.get(id) {
            Some(_) => self.core.watchers.entry(id).or_default().push(promise),
            None => promise.fail(Error::Gone),
        }
        deferred
    }

    /// How many connections there are, closing ones included.
    pub fn connection_count(&self) -> usize {
        self.core.connections.len()
    }

    /// The names of all connections, in the order of their slots.
    pub fn connections(&self) -> Vec<ConnectionId> {
        self.core.connections.ids()
    }

    /// How many timers are set: free ones, those of connections, and the reactor's own.
    pub fn timer_count(&self) -> usize {
        self.core.timers.len()
    }

    /// Calls `call` after `delay`, counted from the beginning of this turn; never from inside
    /// this call, even with a delay of zero.
    #[doc(alias = "callLater")]
    pub fn call_later(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut Reactor) + 'static,
    ) -> TimerId {
        self.refresh_clock();
        self.core.call_later(delay, Box::new(call))
    }

    /// Cancels a timer; false when it has fired or was cancelled before.
    pub fn cancel(&mut self, timer: TimerId) -> bool {
        self.core.cancel(timer)
    }

    /// Moves a timer to `delay` from now; false when it has fired or was cancelled.
    pub fn reset(&mut self, timer: TimerId, delay: Duration) -> bool {
        self.refresh_clock();
        self.core.reset(timer, delay)
    }

    /// Calls `call` every `interval` from now on, until the [`RepeatingCall`] is stopped. It
    /// keeps its phase: a beat that was missed because the loop was busy is skipped, and the next
    /// one comes where it would have come anyway. An interval of zero is one nanosecond.
    #[doc(alias = "LoopingCall")]
    pub fn call_repeatedly(
        &mut self,
        interval: Duration,
        call: impl FnMut(&mut Reactor) + 'static,
    ) -> RepeatingCall {
        self.refresh_clock();
        let interval = crate::clock::nanos(interval).max(1);
        RepeatingCall::start(self, interval, Box::new(call))
    }

    /// The monotonic clock, which stands still in a turn once it was read; virtual in a simulation.
    #[doc(alias = "seconds")]
    pub fn now(&self) -> Instant {
        self.refresh_clock();
        self.core.clock.instant()
    }

    /// The wall clock; virtual in a simulation.
    pub fn wall_clock(&self) -> SystemTime {
        self.core.clock.wall()
    }

    /// Fills `bytes` with random numbers: secure ones in production, replayed in a simulation.
    ///
    /// # Errors
    /// The system's, if it has none to give.
    pub fn random(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.core.random.fill(bytes)
    }

    /// What other threads may keep of this reactor.
    pub fn handle(&self) -> Handle {
        Handle::new(&self.core.shared)
    }

    /// What futures and shared state of this thread may keep of this reactor.
    pub fn local(&self) -> Local {
        self.core.local.clone()
    }

    /// A new deferred and the promise that fires it.
    pub fn deferred<T: 'static>(&self) -> (Promise<T>, Deferred<T>) {
        self.core.local.deferred()
    }

    /// Runs a future on the loop, and gives its output. (A future that answers a `Result` gives
    /// that as a whole: its `Err` is no failure of the deferred, and is not logged by
    /// [`forget`](Deferred::forget).) Dropping the deferred lets the future run
    /// on; [`cancel`](Deferred::cancel) drops the future. A panic in it is logged, and fails the
    /// deferred.
    pub fn spawn<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> Deferred<T> {
        self.core.local.spawn(future)
    }

    /// Runs `job` on the thread pool, and gives its result, or its panic as
    /// [`Error::Panicked`]. Dropping the deferred lets the job run on. When more jobs wait than
    /// [`queued_jobs`](crate::ReactorOptions::queued_jobs), it fails with [`Error::PoolFull`].
    #[doc(alias = "deferToThread")]
    pub fn defer_to_thread<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Deferred<T> {
        self.core.defer_to_thread(job)
    }

    /// Stops in order, once the current callback has returned: triggers before, then every
    /// listener is closed and every connection flushed and closed, whoever waits for the result of
    /// something that has ended so is told of it, then triggers after.
    pub fn stop(&mut self) {
        self.core.shutdown.request();
    }

    /// Stops in order, since the program cannot go on: [`run`](Self::run) answers `error` in the
    /// end. The first one counts.
    pub fn fail(&mut self, error: impl Into<BoxError>) {
        self.core.shutdown.fail(error.into());
        self.core.shutdown.request();
    }

    /// Stops without waiting for anybody: connections are aborted.
    pub fn stop_now(&mut self) {
        self.core.shutdown.request_now();
    }

    /// Between turns the clock stands where the last turn left it, maybe long ago: a deadline that
    /// is counted from there would have passed at once.
    pub(crate) fn refresh_clock(&self) {
        if !self.turning {
            self.core.clock.expire();
        }
    }
}
