//! The loop itself. `turn` is one turn of it, step by step; every callback is made from here, one
//! after the other, with everything but its own protocol lent to it as a `Transport`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use log::error;
use slab::Slab;

use crate::clock::{Clock, Nanos};
use crate::connection::{Connections, Stage};
use crate::core::{Alarm, Core};
use crate::datagram::DatagramProtocol;
use crate::datagram::port::Ports;
use crate::datagram::traffic::Room;
use crate::handle::Shared;
use crate::identity::{Generations, Source};
use crate::local::Local;
use crate::network::{Network, Readiness};
use crate::options::ReactorOptions;
use crate::output::OutputPool;
use crate::panics::isolate;
use crate::process::{Children, ProcessProtocol};
use crate::protocol::Protocol;
use crate::random::Random;
use crate::shutdown::Shutdown;
use crate::signals::Signals;
use crate::tasks::Tasks;
use crate::threads::Pool;
use crate::timer::Timers;
use crate::transport::Transport;
use crate::{ConnectionId, Error, LOG, Result};

/// An event loop: one thread, any number of connections, timers and tasks.
pub struct Reactor {
    /// By the connection's slot; disjoint from `core`, so that a callback can borrow both.
    pub(crate) protocols: Vec<Option<Box<dyn Protocol>>>,
    /// By the socket's slot; disjoint from `core` likewise.
    pub(crate) datagrams: Vec<Option<Box<dyn DatagramProtocol>>>,
    /// By the child's slot, likewise.
    pub(crate) processes: Vec<Option<Box<dyn ProcessProtocol>>>,
    pub(crate) core: Core,
    /// Readiness of this turn; kept for its allocation.
    readiness: Vec<Readiness>,
    /// Every connection reads through this one.
    pub(crate) read_buffer: BytesMut,
    /// What filters have made of that.
    pub(crate) plain_buffer: BytesMut,
    /// Every datagram socket receives in here.
    pub(crate) room: Room,
    /// An emptied list, kept for its allocation.
    pub(crate) spare: Vec<ConnectionId>,
    /// A turn is under way: another one inside it is refused.
    pub(crate) turning: bool,
}

impl Reactor {
    /// A reactor on the system's poller and clock.
    ///
    /// # Errors
    /// [`Error::System`] when the system gives no poller.
    pub fn new() -> Result<Self, Error> {
        Self::with_options(ReactorOptions::default())
    }

    /// A reactor with options of its own.
    ///
    /// # Errors
    /// [`Error::System`] when the system gives no poller.
    pub fn with_options(options: ReactorOptions) -> Result<Self, Error> {
        let network = Network::kernel().map_err(Error::System)?;
        Self::assemble(network, Clock::system(), Random::System, options)
    }

    pub(crate) fn assemble(
        network: Network,
        clock: Clock,
        random: Random,
        options: ReactorOptions,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(network.waker().map_err(Error::System)?));
        Ok(Self {
            protocols: Vec::new(),
            datagrams: Vec::new(),
            processes: Vec::new(),
            core: Core {
                clock,
                network,
                random,
                generations: Generations::default(),
                connections: Connections::default(),
                listeners: Slab::new(),
                arrivals: Slab::new(),
                connectors: Slab::new(),
                attempts: Slab::new(),
                ports: Ports::default(),
                lanes: Slab::new(),
                children: Children::default(),
                resolver: None,
                timers: Timers::new(),
                tasks: Tasks::new(shared.clone()),
                functions: 0,
                pool: Pool::new(options.threads, options.queued_jobs, shared.clone()),
                outputs: OutputPool::default(),
                shutdown: Shutdown::default(),
                signals: Signals::default(),
                ready: Vec::new(),
                handshakes: VecDeque::new(),
                accepting: Vec::new(),
                dirty: Vec::new(),
                births: Default::default(),
                lost: Vec::new(),
                departed: None,
                departed_port: None,
                #[cfg(feature = "_tls")]
                tls_client: None,
                watchers: Default::default(),
                garbage: Vec::new(),
                local: Local::new(),
                shared,
                options,
            },
            readiness: Vec::new(),
            read_buffer: BytesMut::new(),
            plain_buffer: BytesMut::new(),
            room: Room::default(),
            spare: Vec::new(),
            turning: false,
        })
    }

    // The loop.

    /// Turns until the reactor is stopped, in order: see [`stop`](Self::stop).
    ///
    /// # Errors
    /// [`Error::System`] when the poller fails, [`Error::Nested`] inside a callback, and
    /// [`Error::Other`] with what [`fail`](Self::fail) was given.
    pub fn run(&mut self) -> Result<(), Error> {
        while !self.core.shutdown.is_over() {
            self.turn(None)?;
        }
        self.core.shutdown.take_failure().map_or(Ok(()), |error| Err(Error::Other(error)))
    }

    /// One turn of the loop: waits until something happens, at most for `limit` (`None` is
    /// without limit), and deals with all that did.
    ///
    /// # Errors
    /// [`Error::System`] when the poller fails, and [`Error::Nested`] inside a callback.
    pub fn turn(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        if self.turning {
            return Err(Error::Nested);
        }
        self.turning = true;
        let polled = self.poll(limit);
        if polled.is_ok() {
            self.dispatch_readiness();
            self.fire_timers();
            self.make_calls();
            self.run_tasks();
            self.births_and_losses();
            self.drive_shutdown();
            self.flush();
            self.sweep();
        }
        self.turning = false;
        polled
    }

    /// Step 1: sleeps, unless an earlier step left something to do, until the kernel has news,
    /// a timer is due, or another thread calls.
    fn poll(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        let core = &mut self.core;
        core.shared.fall_asleep();
        let limit = if core.is_busy() {
            Some(Duration::ZERO)
        } else {
            core.clock.expire(); // the last turn may have taken a while
            let next = core.timers.next_deadline();
            let next = next
                .map(|deadline| Duration::from_nanos(deadline.saturating_sub(core.clock.now())));
            match (limit, next) {
                (Some(limit), Some(next)) => Some(limit.min(next)),
                (limit, next) => limit.or(next),
            }
        };
        let polled = core.network.poll(&mut self.readiness, limit);
        core.shared.wake_up();
        core.clock.expire();
        polled.map_err(Error::System)
    }

    /// Step 2: what became ready, and what earlier turns left unread because a budget was spent
    /// or a pause has ended.
    fn dispatch_readiness(&mut self) {
        let left_unread = std::mem::take(&mut self.core.ready);
        let left_unaccepted = std::mem::take(&mut self.core.accepting);
        let mut readiness = std::mem::take(&mut self.readiness);
        for ready in readiness.drain(..) {
            match ready.source {
                Source::Connection(id) => self.connection_ready(id, ready),
                Source::Listener(slot) => {
                    // One that waits for the rest of its share has it below, and only once.
                    let listener = self.core.listeners.get(slot as usize);
                    if let Some(listener) = listener.filter(|listener| !listener.in_accepting) {
                        self.core.accept(listener.id);
                    }
                }
                Source::Attempt(slot) => self.core.attempt_moved(slot),
                Source::Datagram(slot) => self.datagram_ready(slot, ready),
                Source::Arrival(slot) => self.core.arrival_moved(slot),
                Source::Pipe(place) => self.core.pipe_ready(place, ready),
                Source::Child(slot) => {
                    let id = self.core.children.at(slot);
                    self.core.children.exits.extend(id);
                }
                Source::ChildSignal => self.core.some_child_ended(),
                Source::Waker => {} // what it tells of has its own step
                Source::Signals => self.core.signals_moved(),
            }
        }
        self.readiness = readiness;
        for id in left_unread {
            if let Some(connection) = self.core.connections.get_mut(id) {
                connection.in_ready = false;
                self.read(id);
            }
        }
        self.shake_hands();
        for id in left_unaccepted {
            self.core.accept(id);
        }
        self.read_datagrams();
        self.read_children();
    }

    /// Step 3: timers that are due, in order. One that is set meanwhile, even for now, waits for
    /// the next turn.
    fn fire_timers(&mut self) {
        if self.core.timers.len() == 0 {
            return;
        }
        let now = self.core.clock.now();
        let turn = self.core.timers.begin_turn();
        while let Some((_, alarm)) = self.core.timers.pop_due(now, turn) {
            match alarm {
                Alarm::Call(call) => self.free_call("a timer", |reactor| call(reactor)),
                Alarm::Protocol(id, call) => self.callback(id, |protocol, transport| {
                    call(protocol, transport);
                    Ok(())
                }),
                Alarm::Datagram(id, call) => {
                    let called = self.datagram_callback(id, |protocol, transport| {
                        call(protocol, transport);
                        Ok(())
                    });
                    self.log_failure(id, None, called);
                }
                Alarm::Process(id, call) => self.process_callback(id, |protocol, transport| {
                    call(protocol, transport);
                    Ok(())
                }),
                Alarm::ChildTimeout(id, limit) => self.core.child_timed_out(id, limit),
                Alarm::ChildKill(id) => self.core.child_outstayed(id),
                Alarm::Flush(id) => self.core.flush_timed_out(id),
                Alarm::Linger(id) => self.core.finish(id),
                Alarm::Handshake(id) => self.core.handshake_timed_out(id),
                Alarm::Connect(slot, generation) => {
                    self.core.connect_ended(slot, generation, Error::TimedOut);
                }
                Alarm::NextAttempt(slot, generation) => {
                    self.core.next_attempt(slot, generation);
                }
                Alarm::Arrival(slot, generation, limit) => {
                    self.core.arrival_timed_out(slot, generation, limit);
                }
                Alarm::Policy(id) => self.core.look_at_time(id),
                Alarm::Ration(id, direction) => self.core.ration_is_there(id, direction),
                Alarm::Lane(slot, generation, direction) => {
                    self.core.serve_line(slot, generation, direction);
                }
                Alarm::Refused(policy) => self.core.tell_refused(policy),
                Alarm::Accept(id) => self.core.accept_again(id),
                Alarm::Shutdown => self.core.shutdown.timed_out(),
            }
        }
    }

    /// Step 4: signals, calls from other threads, then what deferreds and futures asked for. What
    /// these ask for in turn waits for the next turn, so they cannot starve the others.
    fn make_calls(&mut self) {
        self.hear_signals();
        let (calls, woken) = self.core.shared.take();
        self.core.tasks.woken(woken);
        for call in calls {
            self.free_call("a call from another thread", call);
        }
        for call in self.core.local.take() {
            self.free_call("a deferred call", call);
        }
    }

    /// Step 5: futures whose waker was called, then what they asked of their connections.
    fn run_tasks(&mut self) {
        self.core.tasks.run();
        self.serve_streams();
    }

    /// Step 8: drops users' values that were let go inside callbacks.
    fn sweep(&mut self) {
        for value in std::mem::take(&mut self.core.garbage) {
            if let Err(message) = isolate(|| drop(value)) {
                error!(target: LOG, "a value panicked when it was dropped: {message}");
            }
        }
    }

    // Calling users.

    /// Makes one callback of a connection's protocol. An error closes the connection, a panic
    /// aborts it; nothing else is disturbed.
    pub(crate) fn callback(
        &mut self,
        id: ConnectionId,
        call: impl FnOnce(&mut dyn Protocol, &mut Transport<'_>) -> Result,
    ) {
        if self.core.connections.get(id).is_none_or(|found| found.stage == Stage::Lost) {
            return;
        }
        let Some(Some(protocol)) = self.protocols.get_mut(id.slot()) else { return };
        let mut transport = Transport { core: &mut self.core, id };
        match isolate(|| call(&mut **protocol, &mut transport)) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => self.core.failed(id, failure),
            Err(message) => self.core.panicked(id, message),
        }
    }

    /// Makes a call that belongs to no connection.
    fn free_call(&mut self, what: &str, call: impl FnOnce(&mut Self)) {
        if let Err(message) = isolate(|| call(self)) {
            error!(target: LOG, "{what} panicked: {message}");
        }
    }

    pub(crate) fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    /// Ends it as `kill -9` does: no callback is made, and nothing is flushed. What users gave it is
    /// dropped, for there is no way around that.
    pub(crate) fn crash(mut self) {
        self.core.shutdown.give_up();
        self.core.local.close();
        drop_each(std::mem::take(&mut self.protocols));
        drop_each(std::mem::take(&mut self.datagrams));
        drop_each(std::mem::take(&mut self.processes));
        drop_each(std::mem::take(&mut self.core.births));
        drop_each(std::mem::take(&mut self.core.children.births));
    }

    /// When the simulation has to wake this reactor: at once, or at a deadline.
    pub(crate) fn next_work(&mut self) -> Option<Nanos> {
        if self.core.is_busy() {
            return Some(0);
        }
        self.core.timers.next_deadline()
    }
}

/// Drops values of users, none of which keeps the next one from being dropped.
fn drop_each<T>(values: impl IntoIterator<Item = T>) {
    for value in values {
        if let Err(message) = isolate(|| drop(value)) {
            error!(target: LOG, "a protocol panicked when it was dropped: {message}");
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.abandon();
        self.core.local.close();
        self.sweep();
        // Whatever is left may own this reactor's own queues: a cycle, unless it is cut here.
        let calls = self.core.local.take();
        let _ = isolate(|| drop(calls));
        drop(self.core.local.take_asking());
        let handlers = std::mem::take(&mut self.core.signals);
        let _ = isolate(|| drop(handlers));
        let calls = self.core.shared.close();
        let _ = isolate(|| drop(calls));
        for promise in self.core.pool.take_waiting() {
            let _ = isolate(|| drop(promise));
        }
        for task in self.core.tasks.take_all() {
            let _ = isolate(|| drop(task));
        }
    }
}
