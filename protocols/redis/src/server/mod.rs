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

use ropewalk_reactor::{Address, Factory};

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

    /// Changes what was set. It holds for who connects from now on, and the limits of what may wait
    /// for a subscriber for all; nobody has to authenticate again.
    pub fn set_config(&self, config: Config) {
        self.hub.borrow_mut().config = config;
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
