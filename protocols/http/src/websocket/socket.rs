//! A WebSocket, as its handler acts on it while a callback runs.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_reactor::{ConnectionId, Deferred, Error, Reactor, TimerId, Transport, Written};

use super::connection::{Connection, Wire};
use super::{CloseCode, Message, Prepared, WebSocketHandler, WebSocketProtocol};

/// A WebSocket, for as long as a callback runs.
///
/// What is sent after [`close`](Self::close), or after the connection has gone, is dropped; the
/// answer is [`Written::Gone`] then.
pub struct WebSocket<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) subprotocol: Option<&'a str>,
    pub(super) transport: Transport<'a>,
}

/// Calls `call` with the WebSocket of a connection, from outside of its callbacks: from a timer, say,
/// or with what a thread has found. `None`, and no call, if it has gone, is not open yet, or is none.
///
/// In the callback of another connection, use [`WebSocket::with_websocket`].
pub fn with_websocket<R>(
    reactor: &mut Reactor,
    id: ConnectionId,
    call: impl FnOnce(&mut WebSocket<'_>) -> R,
) -> Option<R> {
    reactor
        .with_protocol::<WebSocketProtocol, _>(id, |protocol, transport| {
            protocol.with_websocket(transport, call)
        })
        .flatten()
}

/// Closes all WebSockets of a reactor, on either side: 1001 for browsers that are to come back later,
/// before the reactor closes their connections.
///
/// ```
/// use ropewalk_http::websocket::{CloseCode, close_all};
/// # let mut reactor = ropewalk_reactor::Reactor::new()?;
/// reactor.during_shutdown(|reactor| close_all(reactor, CloseCode::GOING_AWAY, "back soon"));
/// # Ok::<(), ropewalk_reactor::Error>(())
/// ```
pub fn close_all(reactor: &mut Reactor, code: CloseCode, reason: &str) {
    for id in reactor.connections() {
        with_websocket(reactor, id, |socket| socket.close(code, reason));
    }
}

impl<'a> WebSocket<'a> {
    /// Names the connection; any later callback can reach it by this name.
    pub fn id(&self) -> ConnectionId {
        self.transport.id()
    }

    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol
    }

    /// Whether both sides compress messages.
    pub fn is_compressed(&self) -> bool {
        self.connection.agreed().is_some()
    }

    /// The transport underneath, for everything that is no message: addresses, time, threads. Do not
    /// write to it, and close with [`close`](Self::close).
    pub fn transport(&mut self) -> &mut Transport<'a> {
        &mut self.transport
    }

    // Sending.

    /// Sends a message of text. When the answer is `AboveHighWater`, stop until
    /// `resume_producing`.
    #[doc(alias = "sendMessage")]
    pub fn send_text(&mut self, text: &str) -> Written {
        self.send(Message::Text(text))
    }

    /// Sends a message of octets.
    pub fn send_binary(&mut self, data: &[u8]) -> Written {
        self.send(Message::Binary(data))
    }

    /// Sends a message of octets; one of 16 KiB and more is not copied, unless it has to be masked (by
    /// a client) or is compressed.
    pub fn send_bytes(&mut self, data: impl Into<Bytes>) -> Written {
        let (connection, mut wire) = self.parts();
        connection.send_bytes(data.into(), &mut wire)
    }

    /// Sends a message.
    ///
    /// While a message is being sent in fragments, others are held until it has ended.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Written {
        let (connection, mut wire) = self.parts();
        connection.send(message.into(), &mut wire)
    }

    /// Sends a piece of a message; the first decides what the message is, and one of another kind
    /// is dropped with a log line. To produce a message on demand, send until the answer is not
    /// `Taken`, and go on in `resume_producing`.
    #[doc(alias = "sendMessageFrame")]
    pub fn send_fragment<'m>(&mut self, piece: impl Into<Message<'m>>, is_last: bool) -> Written {
        let (connection, mut wire) = self.parts();
        connection.send_fragment(piece.into(), is_last, &mut wire)
    }

    /// Sends a message that was encoded once, for many.
    #[doc(alias = "sendPreparedMessage")]
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Written {
        let (connection, mut wire) = self.parts();
        prepared.send(connection, &mut wire)
    }

    /// Sends a ping; the answer comes to `pong_received`. `data` is cut to 125 octets.
    #[doc(alias = "sendPing")]
    pub fn ping(&mut self, data: &[u8]) -> Written {
        let (connection, mut wire) = self.parts();
        connection.ping(data, &mut wire)
    }

    /// Sends a pong that answers nothing, as a sign of life (RFC 6455 §5.5.3).
    #[doc(alias = "sendPong")]
    pub fn pong(&mut self, data: &[u8]) -> Written {
        let (connection, mut wire) = self.parts();
        connection.pong(data, &mut wire)
    }

    /// Bytes that were sent and not yet taken by the kernel.
    #[doc(alias = "bufferedAmount")]
    pub fn buffered(&self) -> usize {
        self.transport.buffered() + self.connection.held()
    }

    /// What sending would answer now.
    pub fn writability(&self) -> Written {
        if self.connection.is_close_sent() { Written::Gone } else { self.transport.writability() }
    }

    // Closing.

    /// Closes in order: what was sent goes out, the Close frame behind it, and the connection ends
    /// when the peer has answered, or after
    /// [`close_timeout`](super::Config::close_timeout). What still comes until then is thrown away.
    /// The reason is cut to 123 octets; a code that may not be sent leaves the frame empty.
    #[doc(alias = "sendClose")]
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        let (connection, mut wire) = self.parts();
        connection.close(code, reason, &mut wire);
    }

    /// Whether this side has closed.
    pub fn is_closing(&self) -> bool {
        self.connection.is_close_sent()
    }

    /// Ends the connection at once, without a Close frame.
    #[doc(alias = "failConnection")]
    pub fn abort(&mut self) {
        self.transport.abort_connection();
    }

    // Receiving.

    /// No more messages until [`resume_reading`](Self::resume_reading); the peer is slowed down by
    /// the transport's own means. Nor are pings answered, or missed.
    pub fn pause_reading(&mut self) {
        self.transport.pause_reading();
    }

    /// Messages may come again.
    pub fn resume_reading(&mut self) {
        self.transport.resume_reading();
    }

    // Time, and others.

    /// Calls `call` with the handler and the WebSocket after `delay`; never if it has gone by then.
    /// `H` is the handler's type.
    pub fn call_later<H: WebSocketHandler>(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut H, &mut WebSocket<'_>) + 'static,
    ) -> TimerId {
        self.transport.call_later(delay, |protocol: &mut WebSocketProtocol, transport| {
            protocol.with_handler(transport, call);
        })
    }

    /// Calls `call` with the handler, the WebSocket and the result of `deferred` (of a thread's
    /// work, or a connection to another server); never if it has gone by then.
    pub fn when<H: WebSocketHandler, T: 'static>(
        &mut self,
        deferred: Deferred<T>,
        call: impl FnOnce(&mut H, &mut WebSocket<'_>, Result<T, Error>) + 'static,
    ) {
        self.transport.when(deferred, |protocol: &mut WebSocketProtocol, transport, result| {
            protocol.with_handler(transport, |handler, socket| call(handler, socket, result));
        });
    }

    /// Calls `call` with the WebSocket of another connection, soon: when this callback has returned,
    /// and still in this turn. Never if it has gone by then.
    pub fn with_websocket(
        &mut self,
        id: ConnectionId,
        call: impl FnOnce(&mut WebSocket<'_>) + 'static,
    ) {
        self.transport.local().call_soon(move |reactor| {
            with_websocket(reactor, id, call);
        });
    }

    fn parts(&mut self) -> (&mut Connection, OnTransport<'_, 'a>) {
        (self.connection, OnTransport(&mut self.transport))
    }
}

/// A transport as the place where frames go.
pub(super) struct OnTransport<'t, 'r>(pub(super) &'t mut Transport<'r>);

impl Wire for OnTransport<'_, '_> {
    fn write(&mut self, data: &[u8]) -> Written {
        self.0.write(data)
    }

    fn write_bytes(&mut self, data: Bytes) -> Written {
        self.0.write_bytes(data)
    }

    fn writability(&self) -> Written {
        self.0.writability()
    }

    fn output_limit(&self) -> usize {
        // The options are the reactor's to read; what is held has the reactor's own default.
        OUTPUT_LIMIT
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.random(bytes)
    }

    fn abort(&mut self) {
        self.0.abort_connection();
    }
}

/// As much as a connection may have waiting by default.
const OUTPUT_LIMIT: usize = 64 * 1024 * 1024;
