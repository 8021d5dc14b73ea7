//! Births and losses: where a connection gets its protocol and where it loses it, and what an
//! error or a panic of its callbacks does to it.

use std::rc::Rc;

use log::{debug, error, warn};

use crate::address::Address;
use crate::connection::Connection;
use crate::connector::Connector;
use crate::core::{Birth, Core, Departed};
use crate::filter::Waiting;
use crate::identity::{ListenerId, Source};
use crate::panics::isolate;
use crate::policy::Policy;
use crate::policy::seats::Seat;
use crate::protocol::{Protocol, Reason};
use crate::socket::Stream;
#[cfg(feature = "_tls")]
use crate::tls::{self, Side};
use crate::{BoxError, ConnectionId, Endpoint, Error, LOG, Reactor, Transport};

impl Reactor {
    /// Step 6: accepted and made connections get their protocols, lost ones lose theirs. A loss
    /// inside this step waits for the next turn.
    pub(crate) fn births_and_losses(&mut self) {
        for birth in std::mem::take(&mut self.core.births) {
            match birth {
                Birth::Accepted { listener, stream, peer, seat } => {
                    match self.core.listener(listener).map(|listener| listener.proxy) {
                        Some(None) => self.admit(listener, stream, peer, seat, false),
                        Some(Some(limit)) => self.core.arrive(listener, stream, peer, seat, limit),
                        None => {} // it has been stopped since
                    }
                }
                Birth::Arrived { listener, stream, peer, seat } => {
                    self.admit(listener, stream, peer, seat, true);
                }
                Birth::Connected { mut connector, stream, peer } => {
                    if !connector.promise.is_wanted() {
                        // Cancelled since the connection was made, in this very turn.
                        self.core.garbage.push(Box::new(connector.factory));
                        continue;
                    }
                    let options = connector.connection.clone();
                    let built = isolate(|| connector.factory.build(peer.clone()));
                    let mut connection = Connection::new(stream, peer, options);
                    let seat = connector.policy.as_ref().map(Policy::seat_without_limit);
                    self.core.place(&mut connection, seat);
                    #[cfg(feature = "_tls")]
                    if let Some(client) = connector.tls.take() {
                        let side = client.to_endpoint(&connector.endpoint);
                        let put = side.and_then(|it| self.core.put_filter(&mut connection, it));
                        if let Err(error) = put {
                            self.core.garbage.push(Box::new(connector.factory));
                            self.core.garbage.push(Box::new(built));
                            connector.promise.fail(error);
                            continue;
                        }
                    }
                    let Connector { factory, promise, endpoint, .. } = *connector;
                    self.core.garbage.push(Box::new(factory));
                    self.bear(connection, built, Some(Waiting { promise, endpoint }), true);
                }
                Birth::Standard { stream, protocol, options, promise } => {
                    let connection = Connection::new(stream, Address::Stdio, options);
                    let waiting = Waiting { promise, endpoint: Address::Stdio.into() };
                    self.bear(connection, Ok(Some(protocol)), Some(waiting), false);
                }
            }
        }
        for id in std::mem::take(&mut self.core.lost) {
            self.bury(id);
        }
        self.datagram_births_and_losses();
        self.child_births_and_losses();
    }

    /// Lets the factory decide on a caller.
    fn admit(
        &mut self,
        listener: ListenerId,
        stream: Stream,
        peer: Address,
        mut seat: Option<Seat>,
        registered: bool,
    ) {
        if let Some(seat) = &mut seat
            && let Err(full) = seat.belongs_to(&peer)
        {
            return self.core.refused(listener, &peer, full);
        }
        let Some(found) = self.core.listener(listener) else { return };
        let options = found.connection.clone();
        let built = isolate(|| found.factory.build(peer.clone()));
        #[cfg(feature = "_tls")]
        let side = found.tls.clone().map(Side::Server);
        let mut connection = Connection::new(stream, peer, options);
        self.core.place(&mut connection, seat);
        #[cfg(feature = "_tls")]
        if let Some(side) = side
            && let Err(error) = self.core.put_filter(&mut connection, side)
        {
            error!(target: LOG, "{}: closed: {error}", connection.peer);
            return;
        }
        self.bear(connection, built, None, registered);
    }

    /// Gives a new connection its protocol, and tells it.
    fn bear(
        &mut self,
        mut connection: Connection,
        built: Result<Option<Box<dyn Protocol>>, String>,
        waiting: Option<Waiting>,
        registered: bool,
    ) {
        let peer = connection.peer.clone();
        let protocol = match built {
            Ok(Some(protocol)) => protocol,
            Ok(None) => {
                debug!(target: LOG, "{peer}: refused by the factory");
                return refuse(waiting);
            }
            Err(message) => {
                error!(target: LOG, "{peer}: closed, since the factory panicked: {message}");
                return refuse(waiting);
            }
        };
        let core = &mut self.core;
        let generation = core.generations.next();
        // The stream is registered under its name, so the name comes first.
        let id = core.connections.insert_with(generation, |id| {
            let source = Source::Connection(id);
            let named = if registered {
                core.network.rename(&mut connection.stream, source)
            } else {
                core.network.register(&mut connection.stream, source)
            };
            named.map(|()| connection)
        });
        let id = match id {
            Ok(id) => id,
            Err(failure) => {
                error!(target: LOG, "{peer}: closed, since the poller refused it: {failure}");
                return refuse(waiting);
            }
        };
        if self.protocols.len() <= id.slot() {
            self.protocols.resize_with(id.slot() + 1, || None);
        }
        self.protocols[id.slot()] = Some(protocol);
        debug!(target: LOG, "{peer}: connected");
        if self.core.shutdown.is_stopping() {
            self.core.lose(id, Reason::Stopped, false);
        }
        self.core.begin_policy(id);
        self.core.begin_handshake(id);
        self.callback(id, |protocol, transport| protocol.connection_made(transport));
        self.core.look_for_input(id);
        let Some(waiting) = waiting else { return };
        let connection = self.core.connections.get_mut(id);
        match connection.and_then(|connection| connection.filter.as_mut()) {
            None => waiting.promise.succeed(id),
            Some(filter) => {
                // There, but of no use before the handshake is done.
                waiting.promise.cancels(move |reactor| {
                    reactor.core_mut().abort(id, Reason::Aborted);
                });
                *filter.waiting() = Some(Box::new(waiting));
            }
        }
    }

    /// Closes the socket, frees the slots, and only then tells the protocol.
    fn bury(&mut self, id: ConnectionId) {
        let Some(mut connection) = self.core.connections.remove(id) else { return };
        let protocol = self.protocols.get_mut(id.slot()).and_then(Option::take);
        for timer in connection.take_timers() {
            self.core.cancel(timer);
        }
        let reason = connection.reason.take().map_or(Reason::Done, |reason| *reason);
        let host = connection.stream.local_address().ok();
        let peer = connection.peer.clone();
        let mut filter = connection.filter.take();
        let policed = connection.policed.take();
        self.core.network.forget(&mut connection.stream);
        drop(connection);
        if let Some(policed) = policed {
            self.core.log_loss(&policed, id, &peer, &reason);
            self.core.end_policy(*policed);
        }
        if let Some(waiting) = filter.as_mut().and_then(|filter| filter.waiting().take()) {
            let Waiting { promise, endpoint } = *waiting;
            promise.fail(not_connected(&reason, endpoint));
        }
        debug!(target: LOG, "{peer}: lost: {reason}");
        for watcher in self.core.watchers.remove(&id).unwrap_or_default() {
            watcher.succeed(reason.clone()); // whose callback is called later
        }
        let Some(mut protocol) = protocol else { return };
        #[cfg(feature = "_tls")]
        let departed = Departed { id, host, peer: peer.clone(), filter };
        #[cfg(not(feature = "_tls"))]
        let departed = Departed { id, host, peer: peer.clone() };
        self.core.departed = Some(departed);
        let mut transport = Transport { core: &mut self.core, id };
        if let Err(message) = isolate(|| protocol.connection_lost(&mut transport, &reason)) {
            error!(target: LOG, "{peer}: connection_lost panicked: {message}");
        }
        self.core.departed = None;
        if let Err(message) = isolate(|| drop(protocol)) {
            error!(target: LOG, "{peer}: the protocol panicked when it was dropped: {message}");
        }
    }
}

impl Core {
    /// A callback returned an error: its connection closes, after its last words.
    pub(crate) fn failed(&mut self, id: ConnectionId, failure: BoxError) {
        let Some(connection) = self.connections.get(id) else { return };
        let reason = Reason::Error(Rc::new(failure));
        warn!(target: LOG, "{}: {reason}", connection.peer);
        self.lose(id, reason, true);
    }

    /// A callback panicked: nothing of what it was about to say can be trusted.
    pub(crate) fn panicked(&mut self, id: ConnectionId, message: String) {
        let Some(connection) = self.connections.get(id) else { return };
        let reason = Reason::Panic(message.into());
        error!(target: LOG, "{}: {reason}", connection.peer);
        self.abort(id, reason);
    }
}

fn refuse(waiting: Option<Waiting>) {
    if let Some(waiting) = waiting {
        waiting.promise.fail(Error::Refused);
    }
}

/// What a loss before the end of the handshake is to whoever asked for the connection.
fn not_connected(reason: &Reason, endpoint: Endpoint) -> Error {
    match reason {
        #[cfg(feature = "_tls")]
        Reason::Tls(failure) => {
            let (endpoint, source) = (Box::new(endpoint), tls::Failure::clone(failure));
            Error::Handshake { endpoint, source: Box::new(source) }
        }
        Reason::Reset(error) | Reason::TimedOut(error) | Reason::Io(error) => {
            let source = match error.raw_os_error() {
                Some(errno) => std::io::Error::from_raw_os_error(errno),
                None => error.kind().into(),
            };
            Error::Connect { endpoint, source }
        }
        Reason::Stopped => Error::Stopped,
        Reason::IdleTimeout(_)
        | Reason::ReadTimeout(_)
        | Reason::WriteTimeout(_)
        | Reason::Lifetime(_) => Error::TimedOut,
        Reason::Panic(message) => Error::Panicked(message.to_string()),
        _ => Error::Cancelled, // its own protocol closed it
    }
}
