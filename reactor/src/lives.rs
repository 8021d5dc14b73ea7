//! Births and losses: where a connection gets its protocol and where it loses it, and what an
//! error or a panic of its callbacks does to it.

use std::rc::Rc;

use log::{debug, error, warn};

use crate::address::Address;
use crate::connection::Connection;
use crate::connector::Connector;
use crate::core::{Birth, Core, Departed};
use crate::identity::{ListenerId, Source};
use crate::panics::isolate;
use crate::protocol::{Protocol, Reason};
use crate::socket::Stream;
use crate::{BoxError, ConnectionId, Error, LOG, Promise, Reactor, Transport};

impl Reactor {
    /// Step 6: accepted and made connections get their protocols, lost ones lose theirs. A loss
    /// inside this step waits for the next turn.
    pub(crate) fn births_and_losses(&mut self) {
        for birth in std::mem::take(&mut self.core.births) {
            match birth {
                Birth::Accepted { listener, stream, peer } => {
                    match self.core.listener(listener).map(|listener| listener.proxy) {
                        Some(None) => self.admit(listener, stream, peer, false),
                        Some(Some(limit)) => self.core.arrive(listener, stream, peer, limit),
                        None => {} // it has been stopped since
                    }
                }
                Birth::Arrived { listener, stream, peer } => {
                    self.admit(listener, stream, peer, true);
                }
                Birth::Connected { mut connector, stream, peer } => {
                    if !connector.promise.is_wanted() {
                        // Cancelled since the connection was made, in this very turn.
                        self.core.garbage.push(Box::new(connector.factory));
                        continue;
                    }
                    let options = connector.connection.clone();
                    let built = isolate(|| connector.factory.build(peer.clone()));
                    let connection = Connection::new(stream, peer, options);
                    let Connector { factory, promise, .. } = *connector;
                    self.core.garbage.push(Box::new(factory));
                    self.bear(connection, built, Some(promise), true);
                }
            }
        }
        for id in std::mem::take(&mut self.core.lost) {
            self.bury(id);
        }
        self.datagram_births_and_losses();
    }

    /// Lets the factory decide on a caller.
    fn admit(&mut self, listener: ListenerId, stream: Stream, peer: Address, registered: bool) {
        let Some(found) = self.core.listener(listener) else { return };
        let options = found.connection.clone();
        let built = isolate(|| found.factory.build(peer.clone()));
        self.bear(Connection::new(stream, peer, options), built, None, registered);
    }

    /// Gives a new connection its protocol, and tells it.
    fn bear(
        &mut self,
        mut connection: Connection,
        built: Result<Option<Box<dyn Protocol>>, String>,
        promise: Option<Promise<ConnectionId>>,
        registered: bool,
    ) {
        let peer = connection.peer.clone();
        let protocol = match built {
            Ok(Some(protocol)) => protocol,
            Ok(None) => {
                debug!(target: LOG, "{peer}: refused by the factory");
                return refuse(promise);
            }
            Err(message) => {
                error!(target: LOG, "{peer}: closed, since the factory panicked: {message}");
                return refuse(promise);
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
                return refuse(promise);
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
        self.callback(id, |protocol, transport| protocol.connection_made(transport));
        if let Some(promise) = promise {
            promise.succeed(id);
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
        drop(connection);
        debug!(target: LOG, "{peer}: lost: {reason}");
        for watcher in self.core.watchers.remove(&id).unwrap_or_default() {
            watcher.succeed(reason.clone()); // whose callback is called later
        }
        let Some(mut protocol) = protocol else { return };
        self.core.departed = Some(Departed { id, host, peer: peer.clone() });
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

fn refuse(promise: Option<Promise<ConnectionId>>) {
    if let Some(promise) = promise {
        promise.fail(Error::Refused);
    }
}
