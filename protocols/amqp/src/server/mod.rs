//! The AMQP 0-9-1 server: joins the reactor, the codec and the broker.
//!
//! It decides nothing about queues (the broker does) and knows no octet's place (the codec does).
//! The one rule: every callback borrows what the connections share once, handles all frames that
//! are there, and hands out what the broker wants sent before it returns.
//!
//! ```no_run
//! use ropewalk_amqp::server::{Config, Server};
//! use ropewalk_reactor::Reactor;
//!
//! # fn main() -> ropewalk_reactor::Result {
//! let mut reactor = Reactor::new()?;
//! let server = Server::new(Config::default());
//! reactor.listen("127.0.0.1:5672", server.clone())?;
//! reactor.listen("[::1]:5672", server)?; // the same queues by another address
//! reactor.stop_on_signals()?;
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! To learn how it works, read `connection` (frames to states), `handshake`, `command` (a method
//! to a call of the broker), then `hub` (what the broker wants sent, to all connections) and
//! `alarm` (who must wait when memory or disk run low).

mod alarm;
mod auth;
mod basic;
mod channel;
mod closing;
mod command;
mod config;
mod connection;
mod convert;
mod declare;
mod entropy;
mod fault;
mod handshake;
mod heartbeat;
mod hub;
mod operator;
mod peer;
mod sink;
mod store;
mod unfinished;

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_broker::Broker;
use ropewalk_reactor::{Address, Factory, Reactor, Transport};
use ropewalk_store::Disk;

pub use alarm::Resource;
pub use auth::{Authenticator, Login};
pub use config::Config;
pub use connection::Connection;
pub use operator::ConnectionInfo;
pub use store::{Opened, StartError, read_definitions};

use hub::Hub;
use store::DiskWatch;

/// The log target of the server.
pub(crate) const LOG: &str = "ropewalk_amqp";

/// The factory of the server's connections. Its clones serve the same broker, so that one broker
/// listens on several addresses of one reactor.
#[derive(Clone)]
pub struct Server {
    shared: Rc<Shared>,
}

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Made with the first connection, whose reactor gives time and randomness. No callback runs
    /// inside another, so it is never borrowed twice.
    hub: OnceCell<RefCell<Hub>>,
    /// Why the store failed, and the server with it.
    pub(crate) failure: RefCell<Option<String>>,
}

impl Server {
    /// A server with a broker of its own, which is made by [`start`](Self::start) or else with
    /// the first connection.
    pub fn new(config: Config) -> Server {
        let (hub, failure) = (OnceCell::new(), RefCell::default());
        Server { shared: Rc::new(Shared { config, hub, failure }) }
    }

    /// Makes the broker, on this reactor's clock and randomness. Need not be called: the first
    /// connection does it. All listeners of a server belong to one reactor.
    ///
    /// # Errors
    /// The system's, if it has no randomness to give.
    pub fn start(&self, reactor: &mut Reactor) -> std::io::Result<()> {
        if self.shared.hub.get().is_none() {
            let mut seed = [0; entropy::POOL];
            reactor.random(&mut seed)?;
            let mut hub = Hub::new(&self.shared.config, reactor.now(), &seed);
            hub.furnish(&self.shared.config, true);
            let _ = self.shared.hub.set(RefCell::new(hub)); // it was empty just now
            hub::say_goodbye_at_shutdown(&self.shared, reactor);
        }
        Ok(())
    }

    /// Makes the broker from what a store has, and keeps it there: durable exchanges, queues,
    /// bindings, users, and persistent messages. Confirms of these go out when they are synced, or
    /// sooner, when consumers have acknowledged them in all their queues.
    /// To be called before anything else makes the broker; blocks until the store is open, which
    /// takes no longer for a million messages than for one.
    ///
    /// A store that fails later stops the reactor: see [`failure`](Self::failure). An orderly stop
    /// of the reactor closes the store.
    ///
    /// # Errors
    /// [`StartError`]; nothing has been made then.
    ///
    /// # Panics
    /// If the server has been started already.
    pub fn start_with_store(
        &self,
        reactor: &mut Reactor,
        disk: Arc<dyn Disk>,
    ) -> Result<Opened, StartError> {
        assert!(self.shared.hub.get().is_none(), "a server is started once");
        let (mut seed, mut salt) = ([0; entropy::POOL], [0; 8]);
        reactor.random(&mut seed).map_err(StartError::Randomness)?;
        reactor.random(&mut salt).map_err(StartError::Randomness)?;
        let mut hub = Hub::new(&self.shared.config, reactor.now(), &seed);
        hub.tick(reactor); // messages in the store expire by the wall clock
        let config = &self.shared.config;
        let opened = hub.open_store(config, disk.clone(), u64::from_le_bytes(salt));
        let opened = opened.map_err(StartError::Store)?;
        hub.furnish(config, opened.is_new);
        DiskWatch::start(disk, config.disk_limit, &mut hub, &self.shared, reactor);
        hub.keep(&self.shared, || reactor.local());
        let _ = self.shared.hub.set(RefCell::new(hub)); // it was empty just now
        hub::say_goodbye_at_shutdown(&self.shared, reactor);
        store::close_at_shutdown(&self.shared, reactor);
        Ok(opened)
    }

    /// Why the store failed, if it did: a sentence for the operator. The reactor has stopped then,
    /// and what had not been confirmed was not.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.borrow().clone()
    }

    /// Looks into the broker, or changes it: makes virtual hosts, counts messages. `None` before
    /// it is [started](Self::start). What this makes the broker say goes out with the next event
    /// of any connection; so does the end of an alarm, if it makes room.
    ///
    /// # Panics
    /// If `call` calls this again.
    pub fn with_broker<R>(&self, call: impl FnOnce(&mut Broker) -> R) -> Option<R> {
        let hub = self.shared.hub.get()?;
        Some(call(&mut hub.borrow_mut().broker))
    }
}

/// Alarms: see [`Resource`].
impl Server {
    /// Says that a resource runs low, or does no longer: to be called by whoever watches it. The
    /// server itself raises the alarms, too, beyond [`Config::memory_limit`] and
    /// [`Config::disk_limit`]; they last until neither has a reason left. Saying the same again
    /// changes nothing. Makes the broker if it is not there yet, as [`start`](Self::start) does.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    ///
    /// # Panics
    /// If called from inside [`with_broker`](Self::with_broker).
    pub fn set_alarm(
        &self,
        reactor: &mut Reactor,
        resource: Resource,
        low: bool,
    ) -> std::io::Result<()> {
        self.start(reactor)?;
        if let Some(hub) = self.shared.hub() {
            hub.borrow_mut().set_alarm(resource, low, reactor);
        }
        Ok(())
    }

    /// Whether the alarm of this resource is on.
    ///
    /// # Panics
    /// If called from inside [`with_broker`](Self::with_broker).
    pub fn has_alarm(&self, resource: Resource) -> bool {
        self.shared.hub().is_some_and(|hub| hub.borrow().has_alarm(resource))
    }
}

impl Factory for Server {
    type Protocol = Connection;

    fn build_protocol(&mut self, _peer: Address) -> Option<Connection> {
        Some(Connection::new(self.shared.clone()))
    }
}

impl Shared {
    /// The hub; `None` before the first connection.
    pub(crate) fn hub(&self) -> Option<&RefCell<Hub>> {
        self.hub.get()
    }

    /// Changes something outside of any connection's callback; what that makes the broker say and
    /// keep goes out. `None` before there is a hub.
    pub(crate) fn change<R>(
        self: &Rc<Self>,
        reactor: &mut Reactor,
        call: impl FnOnce(&mut Hub, &mut Reactor) -> R,
    ) -> Option<R> {
        let hub = &mut *self.hub()?.borrow_mut();
        hub.tick(reactor);
        let answer = call(hub, reactor);
        hub.drain(reactor);
        hub.set_timer(self, reactor);
        hub.unblock(reactor);
        hub.keep(self, || reactor.local());
        Some(answer)
    }

    /// The hub, made if it is not there yet.
    pub(crate) fn start(
        self: &Rc<Self>,
        transport: &mut Transport<'_>,
    ) -> std::io::Result<&RefCell<Hub>> {
        if self.hub.get().is_none() {
            let mut seed = [0; entropy::POOL];
            transport.random(&mut seed)?;
            let mut hub = Hub::new(&self.config, transport.now(), &seed);
            hub.furnish(&self.config, true);
            let _ = self.hub.set(RefCell::new(hub)); // it was empty just now
            let shared = self.clone();
            transport.local().call_soon(move |reactor| {
                hub::say_goodbye_at_shutdown(&shared, reactor);
            });
        }
        Ok(self.hub.get().expect("set just now"))
    }
}
