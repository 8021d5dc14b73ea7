//! Connecting: resolve the name, try each of its addresses in turn, and tell the result exactly
//! once, later, whatever happens.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use crate::address::{Address, Endpoint};
use crate::core::{Alarm, Birth, Core};
use crate::identity::Source;
use crate::options::{ConnectOptions, ConnectionOptions};
use crate::protocol::AnyFactory;
use crate::socket::Stream;
use crate::timer::TimerId;
use crate::{ConnectionId, Deferred, Error, Promise};

/// A connection that is being made.
pub(crate) struct Connector {
    generation: u32,
    pub(crate) endpoint: Endpoint,
    /// Not tried yet, in the resolver's order.
    addresses: VecDeque<Address>,
    /// The attempt under way; `None` while the name is being resolved.
    stream: Option<Stream>,
    bind: Option<std::net::SocketAddr>,
    deadline: TimerId,
    pub(crate) connection: Rc<ConnectionOptions>,
    #[cfg(feature = "_tls")]
    pub(crate) tls: Option<crate::tls::TlsClient>,
    pub(crate) factory: Box<dyn AnyFactory>,
    pub(crate) promise: Promise<ConnectionId>,
}

impl Core {
    pub(crate) fn connect(
        &mut self,
        endpoint: Result<Endpoint, Error>,
        factory: Box<dyn AnyFactory>,
        options: ConnectOptions,
    ) -> Deferred<ConnectionId> {
        let (promise, deferred) = self.local.deferred();
        let endpoint = match endpoint {
            Ok(endpoint) if !self.shutdown.is_stopping() => endpoint,
            Ok(_) => {
                self.garbage.push(Box::new(factory));
                promise.fail(Error::Stopped);
                return deferred;
            }
            Err(error) => {
                self.garbage.push(Box::new(factory));
                promise.fail(error);
                return deferred;
            }
        };
        let slot = self.connectors.vacant_key() as u32;
        let generation = self.generations.next();
        let alarm = Alarm::Connect(slot, generation);
        let deadline = self.timers.insert(self.clock.after(options.timeout), alarm);
        let connector = Connector {
            generation,
            endpoint: endpoint.clone(),
            addresses: VecDeque::new(),
            stream: None,
            bind: options.bind,
            deadline,
            connection: Rc::new(options.connection),
            #[cfg(feature = "_tls")]
            tls: options.tls,
            factory,
            promise,
        };
        self.connectors.insert(Some(Box::new(connector)));
        deferred.on_cancel(true, move |reactor| {
            reactor.core_mut().connect_ended(slot, generation, Error::Cancelled);
        });
        match endpoint {
            Endpoint::Address(address) => self.resolved(slot, generation, Ok(vec![address])),
            Endpoint::Name { host, port } => {
                self.resolve(&host, port).then(move |reactor, answer| {
                    let answer = answer.and_then(|addresses| addresses);
                    reactor.core_mut().resolved(slot, generation, answer);
                });
            }
        }
        deferred
    }

    fn connector(&mut self, slot: u32, generation: u32) -> Option<&mut Connector> {
        self.connectors
            .get_mut(slot as usize)?
            .as_deref_mut()
            .filter(|connector| connector.generation == generation)
    }

    fn resolved(&mut self, slot: u32, generation: u32, answer: Result<Vec<Address>, Error>) {
        let Some(connector) = self.connector(slot, generation) else { return };
        match answer {
            Err(error) => self.connect_ended(slot, generation, error),
            Ok(addresses) => {
                connector.addresses = addresses.into();
                let nothing = io::Error::from(io::ErrorKind::AddrNotAvailable);
                self.try_next(slot, generation, nothing);
            }
        }
    }

    /// Begins the next attempt; with none left, `failure` (the last one's) is the result.
    fn try_next(&mut self, slot: u32, generation: u32, mut failure: io::Error) {
        loop {
            let Some(connector) = self.connector(slot, generation) else { return };
            connector.stream = None;
            let Some(address) = connector.addresses.pop_front() else {
                let endpoint = connector.endpoint.clone();
                let error = Error::Connect { endpoint, source: failure };
                return self.connect_ended(slot, generation, error);
            };
            let bind = connector.bind;
            match self.network.connect(address, bind, Source::Connector(slot)) {
                Err(error) => failure = error,
                Ok(stream) => {
                    let Some(connector) = self.connector(slot, generation) else { return };
                    if let Err(error) = stream.configure(&connector.connection) {
                        failure = error;
                        continue;
                    }
                    connector.stream = Some(stream);
                    return;
                }
            }
        }
    }

    /// An event on an attempt: it succeeded, failed, or goes on.
    pub(crate) fn connect_moved(&mut self, slot: u32) {
        let Some(Some(connector)) = self.connectors.get_mut(slot as usize) else { return };
        let generation = connector.generation;
        let Some(stream) = &mut connector.stream else { return };
        let failure = match stream.take_error() {
            Ok(None) => None,
            Ok(Some(error)) | Err(error) => Some(error),
        };
        if let Some(failure) = failure {
            return self.try_next(slot, generation, failure);
        }
        // Not connected yet: the event was an earlier use's of this slot.
        let Ok(peer) = stream.peer_address() else { return };
        let Some(mut connector) = self.connectors.remove(slot as usize) else { return };
        self.timers.cancel(connector.deadline);
        if let Some(stream) = connector.stream.take() {
            self.births.push_back(Birth::Connected { connector, stream, peer });
        }
    }

    pub(crate) fn connect_ended(&mut self, slot: u32, generation: u32, error: Error) {
        if self.connector(slot, generation).is_none() {
            return;
        }
        if let Some(connector) = self.connectors.remove(slot as usize) {
            let Connector { promise, factory, deadline, .. } = *connector;
            self.timers.cancel(deadline);
            self.garbage.push(Box::new(factory));
            promise.fail(error);
        }
    }

    /// Ends all attempts, at shutdown.
    pub(crate) fn stop_connecting(&mut self) {
        let under_way: Vec<_> = self
            .connectors
            .iter()
            .filter_map(|(slot, connector)| Some((slot as u32, connector.as_ref()?.generation)))
            .collect();
        for (slot, generation) in under_way {
            self.connect_ended(slot, generation, Error::Stopped);
        }
    }
}
