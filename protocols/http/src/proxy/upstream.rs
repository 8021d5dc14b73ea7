//! The connections to the other server: those that are kept, and new ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::{Address, ConnectOptions, ConnectionId, Deferred, Endpoint, Reactor};

use crate::client::{ConnectionConfig, HttpClient};

/// The other server. Clones share the connections that are kept.
#[derive(Clone)]
pub(super) struct Upstream {
    endpoint: Endpoint,
    options: ConnectOptions,
    config: Arc<ConnectionConfig>,
    idle: Rc<RefCell<Idle>>,
}

/// Connections between two requests; some may have gone meanwhile, which shows when they are asked.
#[derive(Default)]
struct Idle {
    /// The one that was used last at the end: it is the least likely to be closed.
    connections: Vec<ConnectionId>,
    most: usize,
}

impl Upstream {
    pub(super) fn new(
        endpoint: Endpoint,
        options: ConnectOptions,
        config: Arc<ConnectionConfig>,
    ) -> Self {
        Self { endpoint, options, config, idle: Rc::default() }
    }

    pub(super) fn set_options(&mut self, change: impl FnOnce(ConnectOptions) -> ConnectOptions) {
        self.options = change(std::mem::take(&mut self.options));
    }

    pub(super) fn set_config(&mut self, config: ConnectionConfig) {
        self.config = Arc::new(config);
    }

    /// Keeps so many from now on.
    pub(super) fn keep(&self, most: usize) {
        self.idle.borrow_mut().most = most;
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A connection that was kept.
    pub(super) fn take(&self) -> Option<ConnectionId> {
        self.idle.borrow_mut().connections.pop()
    }

    /// Keeps a connection, or closes it if there are enough.
    pub(super) fn give_back(&self, reactor: &mut Reactor, id: ConnectionId) {
        // One that has gone would only fill the place of another.
        let ready = reactor.with_protocol::<HttpClient, _>(id, |client, _| client.is_ready());
        if ready != Some(true) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.connections.len() >= idle.most {
            // The oldest is the most likely to have gone.
            idle.connections.retain(|&id| reactor.connection(id).is_some());
        }
        if idle.connections.len() < idle.most {
            idle.connections.push(id);
        } else if let Some(mut transport) = reactor.connection(id) {
            transport.lose_connection();
        }
    }

    /// A new connection.
    pub(super) fn connect(&self, reactor: &mut Reactor) -> Deferred<ConnectionId> {
        let config = self.config.clone();
        reactor.connect_with(self.options.clone(), self.endpoint.clone(), move |_: Address| {
            HttpClient::with_config(config.clone())
        })
    }
}
