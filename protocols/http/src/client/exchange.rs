//! One request and its response, as a handler acts on them while a callback runs.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
#[cfg(feature = "_tls")]
use ropewalk_reactor::Deferred;
use ropewalk_reactor::{BoxError, ConnectionId, Promise, Protocol, TimerId, Transport, Written};

use super::connection::ClientConnection;
use super::{Failure, HttpClient, ResponseHandler};
use crate::Headers;
use crate::flush::written;

/// Names one exchange: a connection, and the how-manieth of its requests. `Copy`; a stale one finds
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExchangeId {
    connection: ConnectionId,
    number: u64,
}

impl ExchangeId {
    pub(super) fn new(connection: ConnectionId, number: u64) -> Self {
        Self { connection, number }
    }

    /// The connection that the exchange is on.
    pub fn connection(self) -> ConnectionId {
        self.connection
    }

    pub(super) fn number(self) -> u64 {
        self.number
    }
}

/// One request and its response, for as long as a callback runs.
///
/// What is written when the request is complete, or the connection has gone, is dropped in silence, as
/// a transport does.
pub struct Exchange<'a> {
    pub(super) connection: &'a mut ClientConnection,
    pub(super) flow: &'a mut Flow,
    pub(super) transport: Transport<'a>,
}

/// What the client and its exchanges share besides the connection's state.
#[derive(Default)]
pub(super) struct Flow {
    /// Follows the current exchange.
    pub(super) handler: Option<Box<dyn ResponseHandler>>,
    /// How far it is with producing the request's body.
    pub(super) production: Production,
    /// Output passed the high-water mark, and nobody has said that it fell.
    pub(super) is_congested: bool,
    /// Why the current exchange is given up.
    pub(super) failure: Option<Failure>,
    /// The protocol that has taken the connection over.
    pub(super) heir: Option<Box<dyn Protocol>>,
    /// Its `connection_made` has not been called yet.
    pub(super) heir_is_fresh: bool,
    /// TLS is to begin inside a tunnel.
    #[cfg(feature = "_tls")]
    pub(super) tls: Option<ropewalk_reactor::tls::StartTls>,
    /// Waits for the handshake inside a tunnel.
    pub(super) handshake: Option<Promise<()>>,
}

/// How far a handler is with producing a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Production {
    /// It is not to begin yet.
    #[default]
    NotYet,
    /// It is to begin as soon as there is room.
    Due,
    /// It was asked to.
    Begun,
}

impl<'a> Exchange<'a> {
    /// Names this exchange; a later callback can reach it by this name, with
    /// [`HttpClient::with_exchange`].
    pub fn id(&self) -> ExchangeId {
        ExchangeId::new(self.transport.id(), self.connection.number())
    }

    /// The transport underneath, for everything that is not HTTP: time, other connections, threads. Do
    /// not write to it.
    pub fn transport(&mut self) -> &mut Transport<'a> {
        &mut self.transport
    }

    /// In [`body_ended`](ResponseHandler::body_ended): whether the connection takes another request,
    /// once the callback has returned.
    pub fn is_reusable(&self) -> bool {
        self.connection.is_ready() && self.flow.failure.is_none()
    }

    // The request's body.

    /// Writes a piece of the request's body. When the answer is `AboveHighWater`, stop until
    /// `resume_producing`. What goes beyond an announced length is dropped.
    pub fn write(&mut self, data: &[u8]) -> Written {
        self.connection.write_body(data);
        self.written()
    }

    /// As [`write`](Self::write), without copying a piece of 16 KiB and more.
    pub fn write_bytes(&mut self, data: Bytes) -> Written {
        self.connection.write_body_bytes(data);
        self.written()
    }

    /// Whether what is written now is below the high-water mark.
    pub(crate) fn has_room(&self) -> bool {
        !self.flow.is_congested && self.transport.writability() == Written::Taken
    }

    /// The request's body is complete. One that is shorter than was announced gives the exchange up:
    /// the server would wait for the rest.
    pub fn finish(&mut self) {
        self.finish_with(&Headers::new());
    }

    /// The request's body is complete, and these fields go behind it if it is chunked (RFC 9110 §6.5).
    /// Announce them in a Trailer field.
    pub fn finish_with(&mut self, trailers: &Headers) {
        if !self.connection.finish(trailers) {
            self.abort();
        }
    }

    /// Whether some of the request's body may still be written: not when it is complete, nor when the
    /// server has answered before it wanted it.
    pub fn takes_body(&self) -> bool {
        self.connection.takes_body() && self.flow.failure.is_none()
    }

    // The response.

    /// No more `body_received` until [`resume_reading`](Self::resume_reading); the server is slowed
    /// down by the transport's own means.
    pub fn pause_reading(&mut self) {
        self.connection.pause_body();
    }

    /// The body may come again.
    pub fn resume_reading(&mut self) {
        self.connection.resume_body();
    }

    /// Gives the exchange up, with its connection: [`exchange_lost`](ResponseHandler::exchange_lost)
    /// follows.
    pub fn abort(&mut self) {
        self.flow.failure.get_or_insert(Failure::Aborted);
    }

    /// The same for a reason of one's own: [`Failure::Handler`] has it.
    pub fn abort_with(&mut self, error: impl Into<BoxError>) {
        self.flow.failure.get_or_insert(Failure::Handler(Rc::new(error.into())));
    }

    /// After 101, or a 2xx to CONNECT: the connection is this protocol's from here on. Its
    /// `connection_made` is called first; what the server has sent already follows. The handler gets no
    /// more calls. `false`, and nothing happens, if the connection is no tunnel.
    pub fn hand_over(&mut self, protocol: Box<dyn Protocol>) -> bool {
        if self.connection.is_tunnel() && self.flow.heir.is_none() {
            self.flow.heir = Some(protocol);
            self.flow.heir_is_fresh = true;
        }
        self.connection.is_tunnel()
    }

    /// After a 2xx to CONNECT: TLS begins inside the tunnel, and the connection takes requests again as
    /// if it were new, once the deferred fires. The handler gets no more calls. The deferred fails if
    /// the handshake does; [`when_lost`](ropewalk_reactor::Reactor::when_lost) has the reason.
    #[cfg(feature = "_tls")]
    pub fn start_tls(&mut self, tls: ropewalk_reactor::tls::StartTls) -> Deferred<()> {
        let (promise, deferred) = self.transport.local().deferred();
        if self.connection.is_tunnel() {
            self.flow.tls = Some(tls);
            self.flow.handshake = Some(promise);
        }
        deferred
    }

    /// Calls `call` with this exchange after `delay`; never if it is over by then.
    pub fn call_later(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut Exchange<'_>) + 'static,
    ) -> TimerId {
        let id = self.id();
        self.transport.call_later(delay, move |client: &mut HttpClient, transport| {
            client.with_exchange(transport, id, call);
        })
    }

    fn written(&mut self) -> Written {
        let is_congested = &mut self.flow.is_congested;
        written(&mut self.connection.output, &mut self.transport, is_congested)
    }
}
