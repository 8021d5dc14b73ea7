//! Connecting: resolve the name, race its addresses (RFC 8305), and tell the result exactly once,
//! later, whatever happens.
//!
//! A race begins one attempt after the other: each a while after the one before it, or as soon as
//! that one has failed. The first to be connected wins, and the others are closed.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::address::Address;
use crate::core::{Alarm, Birth, Core};
use crate::endpoint::{Endpoint, Target};
use crate::identity::Source;
use crate::options::{ConnectOptions, ConnectionOptions};
use crate::policy::Policy;
use crate::protocol::AnyFactory;
use crate::resolver::loopback;
use crate::socket::Stream;
use crate::timer::TimerId;
use crate::{ConnectionId, Deferred, Error, Promise};

/// How long to wait before a Unix socket whose queue is full is tried again: its owner accepts in
/// less, and there is no edge that would tell.
const QUEUE_FULL: Duration = Duration::from_millis(20);

/// A connection that is being made.
pub(crate) struct Connector {
    generation: u32,
    pub(crate) endpoint: Endpoint,
    /// Not tried yet, in the order in which they are to be.
    addresses: VecDeque<Address>,
    /// The attempts under way, by their slots.
    attempts: Vec<u32>,
    /// Why the last attempt failed that did.
    failure: io::Error,
    bind: Option<SocketAddr>,
    attempt_delay: Duration,
    deadline: TimerId,
    /// Begins the next attempt.
    next: Option<TimerId>,
    pub(crate) connection: Rc<ConnectionOptions>,
    pub(crate) policy: Option<Policy>,
    #[cfg(feature = "_tls")]
    pub(crate) tls: Option<crate::tls::TlsClient>,
    pub(crate) factory: Box<dyn AnyFactory>,
    pub(crate) promise: Promise<ConnectionId>,
}

/// A socket that is being connected.
pub(crate) struct Attempt {
    connector: u32,
    stream: Stream,
}

impl Core {
    pub(crate) fn connect(
        &mut self,
        endpoint: Result<Endpoint, Error>,
        factory: Box<dyn AnyFactory>,
        options: ConnectOptions,
    ) -> Deferred<ConnectionId> {
        let (promise, deferred) = self.local.deferred();
        #[cfg_attr(not(feature = "_tls"), expect(unused_mut, reason = "nothing to add"))]
        let mut options = options;
        let endpoint = match endpoint.and_then(|endpoint| {
            let endpoint = self.connectable(endpoint)?;
            #[cfg(feature = "_tls")]
            if let Some(files) = endpoint.tls()
                && options.tls.is_none()
            {
                options.tls = Some(self.tls_client(files)?);
            }
            Ok(endpoint)
        }) {
            Ok(endpoint) => endpoint,
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
            attempts: Vec::new(),
            failure: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
            bind: options.bind,
            attempt_delay: options.attempt_delay,
            deadline,
            next: None,
            connection: Rc::new(options.connection),
            policy: options.policy,
            #[cfg(feature = "_tls")]
            tls: options.tls,
            factory,
            promise,
        };
        self.connectors.insert(Box::new(connector));
        deferred.on_cancel(true, move |reactor| {
            reactor.core_mut().connect_ended(slot, generation, Error::Cancelled);
        });
        match endpoint.target() {
            Target::Address(address) => self.race(slot, generation, vec![address.clone()]),
            Target::Name { host, port } => match loopback(host) {
                Some(found) => self.race(slot, generation, with_port(found, *port)),
                None => self.resolve_then_race(slot, generation, host.clone(), *port),
            },
            Target::Systemd(_) => {} // not connectable
        }
        deferred
    }

    fn connectable(&self, endpoint: Endpoint) -> Result<Endpoint, Error> {
        endpoint.check_stream()?;
        endpoint.check_connectable()?;
        if self.shutdown.is_stopping() {
            return Err(Error::Stopped);
        }
        #[cfg(not(feature = "_tls"))]
        if endpoint.tls().is_some() {
            return Err(Error::Connect { endpoint, source: crate::core::no_tls() });
        }
        Ok(endpoint)
    }

    /// Asks the resolver, which is user code: between callbacks.
    fn resolve_then_race(&mut self, slot: u32, generation: u32, host: String, port: u16) {
        self.local.call_soon(move |reactor| {
            let connector = reactor.core_mut().connector(slot, generation);
            if connector.is_none_or(|connector| !connector.promise.is_wanted()) {
                return; // given up since
            }
            reactor.resolve(&host).then(move |reactor, answer| match answer {
                Ok(found) => reactor.core_mut().race(slot, generation, with_port(found, port)),
                Err(error) => reactor.core_mut().connect_ended(slot, generation, error),
            });
        });
    }

    fn connector(&mut self, slot: u32, generation: u32) -> Option<&mut Connector> {
        let connector = self.connectors.get_mut(slot as usize)?;
        (connector.generation == generation).then_some(&mut **connector)
    }

    fn race(&mut self, slot: u32, generation: u32, addresses: Vec<Address>) {
        let Some(connector) = self.connector(slot, generation) else { return };
        connector.addresses = interleaved(addresses);
        self.next_attempt(slot, generation);
    }

    /// Begins the next attempt there is. With none left and none under way, it has failed.
    pub(crate) fn next_attempt(&mut self, slot: u32, generation: u32) {
        let Some(connector) = self.connector(slot, generation) else { return };
        if let Some(timer) = connector.next.take() {
            self.timers.cancel(timer);
        }
        while let Some(connector) = self.connector(slot, generation) {
            let Some(address) = connector.addresses.pop_front() else {
                if connector.attempts.is_empty() {
                    let source = std::mem::replace(&mut connector.failure, io::Error::other(""));
                    let error = Error::Connect { endpoint: connector.endpoint.clone(), source };
                    self.connect_ended(slot, generation, error);
                }
                return;
            };
            let delay = match self.begin_attempt(slot, generation, &address) {
                Ok(delay) => delay,
                Err(failure) => {
                    if is_queue_full(&address, &failure)
                        && let Some(connector) = self.connector(slot, generation)
                    {
                        connector.addresses.push_front(address);
                        self.next_attempt_after(slot, generation, QUEUE_FULL);
                        return;
                    }
                    if let Some(connector) = self.connector(slot, generation) {
                        connector.failure = failure;
                    }
                    continue;
                }
            };
            return self.next_attempt_after(slot, generation, delay);
        }
    }

    /// Begins to connect to `address`, and answers how long it has until the next one begins.
    fn begin_attempt(
        &mut self,
        slot: u32,
        generation: u32,
        address: &Address,
    ) -> io::Result<Duration> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let connector = self.connector(slot, generation).ok_or_else(gone)?;
        let (bind, delay) = (connector.bind, connector.attempt_delay);
        let options = connector.connection.clone();
        let attempt = self.attempts.vacant_key() as u32;
        let stream = self.network.connect(address, bind, Source::Attempt(attempt))?;
        stream.configure(&options)?;
        self.attempts.insert(Attempt { connector: slot, stream });
        if let Some(connector) = self.connector(slot, generation) {
            connector.attempts.push(attempt);
        }
        Ok(delay)
    }

    fn next_attempt_after(&mut self, slot: u32, generation: u32, delay: Duration) {
        let Some(connector) = self.connectors.get_mut(slot as usize) else { return };
        if !connector.addresses.is_empty() {
            let alarm = Alarm::NextAttempt(slot, generation);
            connector.next = Some(self.timers.insert(self.clock.after(delay), alarm));
        }
    }

    /// An event on an attempt: it succeeded, failed, or goes on.
    pub(crate) fn attempt_moved(&mut self, attempt: u32) {
        let Some(moved) = self.attempts.get_mut(attempt as usize) else { return };
        let slot = moved.connector;
        let failure = match moved.stream.take_error() {
            Ok(None) => None,
            Ok(Some(error)) | Err(error) => Some(error),
        };
        if let Some(failure) = failure {
            self.attempts.remove(attempt as usize);
            let Some(connector) = self.connectors.get_mut(slot as usize) else { return };
            connector.attempts.retain(|&other| other != attempt);
            connector.failure = failure;
            let generation = connector.generation;
            return self.next_attempt(slot, generation);
        }
        // Not connected yet: the event was an earlier use's of this slot.
        let Ok(peer) = moved.stream.peer_address() else { return };
        let Attempt { stream, .. } = self.attempts.remove(attempt as usize);
        let Some(connector) = self.connectors.get_mut(slot as usize) else { return };
        connector.attempts.retain(|&other| other != attempt);
        let generation = connector.generation;
        if let Some(connector) = self.take_connector(slot, generation) {
            self.births.push_back(Birth::Connected { connector, stream, peer });
        }
    }

    /// Takes a connector out, closes its attempts, and cancels its timers.
    fn take_connector(&mut self, slot: u32, generation: u32) -> Option<Box<Connector>> {
        self.connector(slot, generation)?;
        let mut connector = self.connectors.remove(slot as usize);
        for attempt in connector.attempts.drain(..) {
            self.attempts.remove(attempt as usize);
        }
        self.timers.cancel(connector.deadline);
        if let Some(timer) = connector.next {
            self.timers.cancel(timer);
        }
        Some(connector)
    }

    pub(crate) fn connect_ended(&mut self, slot: u32, generation: u32, error: Error) {
        if let Some(connector) = self.take_connector(slot, generation) {
            let Connector { promise, factory, .. } = *connector;
            self.garbage.push(Box::new(factory));
            promise.fail(error);
        }
    }

    /// Ends all attempts, at shutdown.
    pub(crate) fn stop_connecting(&mut self) {
        let under_way: Vec<_> = self
            .connectors
            .iter()
            .map(|(slot, connector)| (slot as u32, connector.generation))
            .collect();
        for (slot, generation) in under_way {
            self.connect_ended(slot, generation, Error::Stopped);
        }
    }
}

fn with_port(addresses: Vec<IpAddr>, port: u16) -> Vec<Address> {
    addresses.into_iter().map(|ip| SocketAddr::new(ip, port).into()).collect()
}

/// RFC 8305, section 4: the families by turns, that of the best address first, so that one family
/// which goes nowhere costs one attempt and not all of its own.
fn interleaved(addresses: Vec<Address>) -> VecDeque<Address> {
    let first = addresses.first().and_then(Address::ip).is_some_and(|ip| ip.is_ipv6());
    let (one, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.ip().is_some_and(|ip| ip.is_ipv6()) == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = VecDeque::new();
    loop {
        let pair = (one.next(), other.next());
        if let (None, None) = pair {
            return ordered;
        }
        ordered.extend(pair.0.into_iter().chain(pair.1));
    }
}

/// Linux answers so at once, where it would let a blocking connect wait.
fn is_queue_full(address: &Address, failure: &io::Error) -> bool {
    matches!(address, Address::Unix(_)) && failure.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_keep_their_order() {
        let order = |given: &[&str]| {
            let given = given.iter().map(|ip| ip.parse().expect("an address")).collect();
            let ordered = interleaved(with_port(given, 0));
            ordered.iter().filter_map(Address::ip).map(|ip| ip.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            order(&["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"]),
            ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]
        );
        assert_eq!(order(&["10.0.0.1", "::1", "10.0.0.2"]), ["10.0.0.1", "::1", "10.0.0.2"]);
        assert_eq!(order(&["::1", "::2"]), ["::1", "::2"]);
        assert_eq!(order(&[]), [""; 0]);
    }
}
