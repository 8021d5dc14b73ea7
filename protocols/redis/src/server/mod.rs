//! The server: every command of publish/subscribe and of connections, in Redis 7.0's words. There
//! are no keys: whoever asks for one is told that the command is unknown.
//!
//! `session` is one connection, `dispatch` decides what may be called, `hub` is what connections
//! share, `registry` who has subscribed to what, `publish` the way of a message, `slow` the end of
//! those who do not read.

mod clients;
mod command;
mod config;
mod connection;
mod dispatch;
mod hub;
mod info;
mod introspection;
mod publish;
mod pubsub;
mod registry;
mod session;
mod slow;
mod table;

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk_reactor::{Address, Factory, Reactor};

pub use config::Config;
pub use session::Session;

use hub::Hub;

/// A server of publish/subscribe. It is the factory of its connections; clones share its channels,
/// so that it can listen on several addresses.
#[derive(Clone)]
pub struct Server {
    hub: Rc<RefCell<Hub>>,
}

impl Server {
    /// A server without clients.
    pub fn new(config: Config) -> Self {
        Self { hub: Rc::new(RefCell::new(Hub::new(config))) }
    }

    /// Notes that the server begins now: `INFO` tells since when it is up. Without this it counts from
    /// its first client.
    pub fn begin(&self, reactor: &Reactor) {
        self.hub.borrow_mut().began.get_or_insert(reactor.now());
    }

    /// Changes what was set, on the reactor that serves it. All limits hold for those who are connected,
    /// too, but for the number of clients, which closes nobody; nobody has to authenticate again.
    pub fn set_config(&self, reactor: &mut Reactor, config: Config) {
        let mut hub = self.hub.borrow_mut();
        hub.config = config;
        let connections: Vec<_> = hub.clients.values().map(|client| client.connection).collect();
        drop(hub);
        for connection in connections {
            let _ = reactor.with_protocol::<Session, _>(connection, Session::keep_to_config);
        }
    }

    /// Clients that are connected.
    pub fn clients(&self) -> usize {
        self.hub.borrow().clients.len()
    }

    /// Subscribers of a channel, those of matching patterns not among them.
    pub fn subscribers(&self, channel: impl AsRef<[u8]>) -> usize {
        self.hub.borrow().channels.subscribers(channel.as_ref()).len()
    }
}

impl Factory for Server {
    type Protocol = Session;

    fn build_protocol(&mut self, _: Address) -> Option<Session> {
        Some(Session::new(self.hub.clone()))
    }
}
