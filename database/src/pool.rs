//! The pool: who waits for a connection, and which connections there are. All of it lives on the
//! reactor's thread; only connections travel, each with the job that uses it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use r2d2::ManageConnection;
use ropewalk_reactor::{BoxError, Deferred, Error, Local, Promise, Reactor, TimerId};

use crate::job::{self, Used, Watch};
use crate::{Database, Interrupter, LOG, PoolOptions};

/// How long after an interrupt that did not help comes the next.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(100);

/// A pool of connections to a database, on one reactor. A clone is the same pool.
///
/// Every call gives a [`Deferred`], and may be made from any callback. Jobs begin in the order of
/// the calls, as connections are free: so with more than one connection the second may be done
/// before the first. What fails, fails with [`Error::Other`], with the database's own error inside;
/// [`Error::TimedOut`] and [`Error::PoolFull`] as [`PoolOptions`] say; [`Error::Panicked`];
/// [`Error::Stopped`] once the reactor has stopped. Dropping the deferred lets the job run on.
///
/// A stop of the reactor waits for the jobs that there are.
pub struct ConnectionPool<M: ManageConnection> {
    inner: Rc<Inner<M>>,
}

impl<M: ManageConnection> Clone for ConnectionPool<M> {
    fn clone(&self) -> Self {
        ConnectionPool { inner: self.inner.clone() }
    }
}

struct Inner<M: ManageConnection> {
    manager: Arc<M>,
    options: PoolOptions,
    local: Local,
    state: RefCell<State<M>>,
}

struct State<M: ManageConnection> {
    /// The one used last is last: so those that are not needed grow old.
    idle: Vec<Idle<M>>,
    /// Connections that are in use or being made.
    busy: usize,
    waiting: VecDeque<Waiting<M>>,
    /// The number of the next who waits.
    next: u64,
    /// The reactor has stopped.
    closed: bool,
    /// A timer is set to close what lies idle.
    reaper_set: bool,
}

struct Idle<M: ManageConnection> {
    connection: M::Connection,
    born: Instant,
    since: Instant,
}

/// Begins a job with a connection or without; or tells that it will not be.
type Begin<M> = Box<dyn FnOnce(&mut Reactor, Result<Option<Idle<M>>, Error>)>;

struct Waiting<M: ManageConnection> {
    number: u64,
    begin: Begin<M>,
    timer: Option<TimerId>,
}

impl<M: ManageConnection<Error: Send + Sync>> ConnectionPool<M> {
    /// A pool with usual limits. No connection is made yet.
    pub fn new(reactor: &mut Reactor, manager: M) -> Self {
        Self::with_options(reactor, manager, PoolOptions::default())
    }

    /// A pool with limits of its own.
    pub fn with_options(reactor: &mut Reactor, manager: M, options: PoolOptions) -> Self {
        let inner = Rc::new(Inner {
            manager: Arc::new(manager),
            options,
            local: reactor.local(),
            state: RefCell::new(State {
                idle: Vec::new(),
                busy: 0,
                waiting: VecDeque::new(),
                next: 0,
                closed: false,
                reaper_set: false,
            }),
        });
        let weak = Rc::downgrade(&inner);
        reactor.after_shutdown(move |reactor| {
            if let Some(inner) = weak.upgrade() {
                inner.close(reactor);
            }
        });
        ConnectionPool { inner }
    }

    /// Lends a connection to `call`, on a thread. What `call` leaves open on it (a transaction, say)
    /// the next job finds; after a panic the connection is thrown away.
    #[doc(alias = "runWithConnection")]
    pub fn run_with_connection<T, E>(
        &self,
        call: impl FnOnce(&mut M::Connection) -> Result<T, E> + Send + 'static,
    ) -> Deferred<T>
    where
        T: Send + 'static,
        E: Into<BoxError>,
    {
        self.run(|_| None, move |connection| used(call(connection)))
    }

    /// How many connections there are: those in use or being made, and idle ones.
    pub fn connections(&self) -> (usize, usize) {
        let state = self.inner.state.borrow();
        (state.busy, state.idle.len())
    }

    /// How many jobs wait for a connection.
    pub fn waiting(&self) -> usize {
        self.inner.state.borrow().waiting.len()
    }

    fn run<T: Send + 'static>(
        &self,
        interrupter: fn(&M::Connection) -> Option<Interrupter>,
        body: impl FnOnce(&mut M::Connection) -> Used<T> + Send + 'static,
    ) -> Deferred<T> {
        let (promise, deferred) = self.inner.local.deferred();
        let inner = self.inner.clone();
        let begin: Begin<M> = Box::new(move |reactor, connection| match connection {
            Ok(idle) => inner.begin(reactor, idle, interrupter, body, promise),
            Err(error) => promise.fail(error),
        });
        self.inner.enqueue(begin);
        deferred
    }
}

impl<M: Database<Error: Send + Sync>> ConnectionPool<M> {
    /// Runs a statement, and gives the rows of its answer, all of them: a statement that may answer
    /// with very many wants a limit of its own.
    #[doc(alias = "runQuery")]
    pub fn run_query(
        &self,
        statement: impl Into<String>,
        parameters: impl Into<Vec<M::Value>>,
    ) -> Deferred<Vec<M::Row>> {
        let (statement, parameters) = (statement.into(), parameters.into());
        self.run(M::interrupter, move |connection| {
            used(M::query(connection, &statement, &parameters))
        })
    }

    /// Runs a statement, and gives the number of rows that it changed.
    #[doc(alias = "runOperation")]
    pub fn run_operation(
        &self,
        statement: impl Into<String>,
        parameters: impl Into<Vec<M::Value>>,
    ) -> Deferred<u64> {
        let (statement, parameters) = (statement.into(), parameters.into());
        self.run(M::interrupter, move |connection| {
            used(M::execute(connection, &statement, &parameters))
        })
    }

    /// Runs `interaction` inside of a transaction, on a thread. If it returns `Ok` the transaction
    /// is committed before the deferred fires; if it returns an error, or panics, everything is
    /// rolled back.
    #[doc(alias = "runInteraction")]
    pub fn run_interaction<T, E>(
        &self,
        interaction: impl FnOnce(&mut M::Connection) -> Result<T, E> + Send + 'static,
    ) -> Deferred<T>
    where
        T: Send + 'static,
        E: Into<BoxError>,
    {
        self.run(M::interrupter, move |connection| {
            job::in_transaction::<M, _, _>(connection, interaction)
        })
    }
}

fn used<T, E: Into<BoxError>>(result: Result<T, E>) -> Used<T> {
    Used { result: result.map_err(|error| Error::Other(error.into())), is_clean: true }
}

impl<M: ManageConnection<Error: Send + Sync>> Inner<M> {
    /// Takes a job; it is begun in the loop's next step for calls, or later.
    fn enqueue(self: &Rc<Self>, begin: Begin<M>) {
        let mut state = self.state.borrow_mut();
        let free = self.options.connections.max(1) - state.busy;
        let refusal = match () {
            () if state.closed => Some(Error::Stopped),
            () if state.waiting.len() >= free + self.options.queued_jobs => Some(Error::PoolFull),
            () => None,
        };
        if let Some(refusal) = refusal {
            drop(state);
            self.local.call_soon(move |reactor| begin(reactor, Err(refusal)));
            return;
        }
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(Waiting { number, begin, timer: None });
        drop(state);
        let inner = self.clone();
        self.local.call_soon(move |reactor| {
            inner.begin_waiting(reactor);
            inner.limit_wait(reactor, number);
        });
    }

    /// Begins as many jobs as there may be connections.
    fn begin_waiting(&self, reactor: &mut Reactor) {
        loop {
            let mut state = self.state.borrow_mut();
            if state.busy >= self.options.connections.max(1) {
                return;
            }
            let Some(waiting) = state.waiting.pop_front() else { return };
            state.busy += 1;
            let idle = state.idle.pop();
            drop(state);
            if let Some(timer) = waiting.timer {
                reactor.cancel(timer);
            }
            (waiting.begin)(reactor, Ok(idle));
        }
    }

    /// Lets a job wait no longer than it may, if it still waits.
    fn limit_wait(self: &Rc<Self>, reactor: &mut Reactor, number: u64) {
        let Some(limit) = self.options.wait_timeout else { return };
        let mut state = self.state.borrow_mut();
        let Some(waiting) = state.waiting.iter_mut().rfind(|it| it.number == number) else {
            return;
        };
        let weak = Rc::downgrade(self);
        waiting.timer = Some(reactor.call_later(limit, move |reactor| {
            let Some(inner) = weak.upgrade() else { return };
            let mut state = inner.state.borrow_mut();
            let place = state.waiting.iter().position(|it| it.number == number);
            if let Some(waiting) = place.and_then(|place| state.waiting.remove(place)) {
                drop(state);
                (waiting.begin)(reactor, Err(Error::TimedOut));
            }
        }));
    }

    fn begin<T: Send + 'static>(
        self: Rc<Self>,
        reactor: &mut Reactor,
        idle: Option<Idle<M>>,
        interrupter: fn(&M::Connection) -> Option<Interrupter>,
        body: impl FnOnce(&mut M::Connection) -> Used<T> + Send + 'static,
        promise: Promise<T>,
    ) {
        let (manager, check) = (self.manager.clone(), self.options.check_on_checkout);
        let born = idle.as_ref().map_or_else(|| reactor.now(), |idle| idle.born);
        let watch = Watch::default();
        let promise = Rc::new(Cell::new(Some(promise)));
        let timer = self.limit_run(reactor, &watch, &promise);
        let job = move || {
            let mut connection = idle.map(|idle| idle.connection);
            if check
                && let Some(idle) = &mut connection
                && let Err(error) = manager.is_valid(idle)
            {
                log::info!(target: LOG, "a connection does not work any more: {error}");
                connection = None;
            }
            job::run(&*manager, connection, &watch, interrupter, body)
        };
        reactor.defer_to_thread(job).then(move |reactor, outcome| {
            if let Some(timer) = timer.and_then(|timer| timer.take()) {
                reactor.cancel(timer);
            }
            // Without an outcome the connection was lost on the way.
            let (connection, result) = outcome.unwrap_or_else(|error| (None, Err(error)));
            self.returned(reactor, connection, born);
            if let Some(promise) = promise.take() {
                promise.fire(result);
            }
        });
    }

    /// Sets the timer for a job that runs too long.
    fn limit_run<T: 'static>(
        &self,
        reactor: &mut Reactor,
        watch: &Watch,
        promise: &Rc<Cell<Option<Promise<T>>>>,
    ) -> Option<Rc<Cell<Option<TimerId>>>> {
        let limit = self.options.run_timeout?;
        let timer = Rc::new(Cell::new(None));
        let (watch, promise, set) = (watch.clone(), promise.clone(), timer.clone());
        timer.set(Some(reactor.call_later(limit, move |reactor| {
            if let Some(promise) = promise.take() {
                promise.fail(Error::TimedOut);
            }
            interrupt(reactor, watch, set);
        })));
        Some(timer)
    }

    /// A job is over.
    fn returned(
        self: &Rc<Self>,
        reactor: &mut Reactor,
        connection: Option<M::Connection>,
        born: Instant,
    ) {
        let now = reactor.now();
        let mut state = self.state.borrow_mut();
        state.busy -= 1;
        let too_old =
            self.options.max_lifetime.is_some_and(|most| now.duration_since(born) >= most);
        if let Some(connection) = connection {
            match too_old || state.closed {
                true => self.discard(reactor, vec![connection]),
                false => state.idle.push(Idle { connection, born, since: now }),
            }
        }
        drop(state);
        self.begin_waiting(reactor);
        self.reap_later(reactor);
    }

    /// Closes connections on a thread: that may take a while.
    fn discard(&self, reactor: &mut Reactor, connections: Vec<M::Connection>) {
        reactor.defer_to_thread(move || drop(connections)).then(|_, closed| {
            if let Err(error) = closed {
                log::warn!(target: LOG, "connections were closed in a hurry: {error}");
            }
        });
    }

    /// Sets the timer for those that lie idle, if it is not set.
    fn reap_later(self: &Rc<Self>, reactor: &mut Reactor) {
        let Some(limit) = self.options.idle_timeout else { return };
        let mut state = self.state.borrow_mut();
        let Some(oldest) = state.idle.first().filter(|_| !state.reaper_set && !state.closed) else {
            return;
        };
        let lain = reactor.now().duration_since(oldest.since);
        state.reaper_set = true;
        let weak = Rc::downgrade(self);
        let reap = move |reactor: &mut Reactor| Self::reap(&weak, reactor);
        reactor.call_later(limit.saturating_sub(lain), reap);
    }

    fn reap(weak: &Weak<Self>, reactor: &mut Reactor) {
        let Some(inner) = weak.upgrade() else { return };
        let (now, limit) = (reactor.now(), inner.options.idle_timeout.unwrap_or(Duration::MAX));
        let mut state = inner.state.borrow_mut();
        state.reaper_set = false;
        // They lie in the order in which they came back.
        let lain = |idle: &Idle<M>| now.duration_since(idle.since) >= limit;
        let count = state.idle.iter().take_while(|idle| lain(idle)).count();
        let old: Vec<_> = state.idle.drain(..count).map(|idle| idle.connection).collect();
        drop(state);
        if !old.is_empty() {
            inner.discard(reactor, old);
        }
        inner.reap_later(reactor);
    }

    /// The reactor has stopped: nothing else is going on that a slow close could hold up.
    fn close(&self, reactor: &mut Reactor) {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        let (idle, waiting) = (std::mem::take(&mut state.idle), std::mem::take(&mut state.waiting));
        drop(state);
        drop(idle);
        for waiting in waiting {
            (waiting.begin)(reactor, Err(Error::Stopped));
        }
    }
}

/// Interrupts a job, again and again until it is over.
fn interrupt(reactor: &mut Reactor, watch: Watch, timer: Rc<Cell<Option<TimerId>>>) {
    watch.interrupt();
    let again = timer.clone();
    let next = move |reactor: &mut Reactor| interrupt(reactor, watch, again);
    timer.set(Some(reactor.call_later(INTERRUPT_AGAIN, next)));
}
