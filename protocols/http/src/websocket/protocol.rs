//! A WebSocket on a transport: joins the connection's state machine to a handler.
//!
//! It moves bytes, calls the handler, and keeps time; what RFC 6455 means is decided in
//! `connection`. The one rule: every callback ends in `settle`, which closes and sets the deadline
//! according to the state that is reached.

use std::any::{Any, TypeId};
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use ropewalk_reactor::{BoxError, Protocol, Reason, Result, Transport};

use super::connection::{Connection, Event};
use super::deadline::{Deadline, Due};
use super::deflate::Agreed;
use super::handler::{Intake, WebSocketHandler};
use super::socket::OnTransport;
use super::{CloseCode, Config, Error, WebSocket};
use crate::LOG;

/// One open WebSocket, of a server or a client: what
/// [`with_protocol`](ropewalk_reactor::Reactor::with_protocol) finds under either.
pub struct WebSocketProtocol {
    connection: Connection,
    handler: Box<dyn WebSocketHandler>,
    subprotocol: Option<String>,
    deadline: Deadline,
    /// What was wrong, where no error of a callback tells the reactor.
    failure: Option<Error>,
}

impl WebSocketProtocol {
    /// The server's side of a connection whose handshake is done, without compression. (For the
    /// handshake, see [`WebSocketUpgrade`](super::WebSocketUpgrade).)
    pub fn server(config: Arc<Config>, handler: impl WebSocketHandler) -> Self {
        Self::new(Connection::server(config, None), None, Box::new(handler))
    }

    /// The client's side of one, likewise. (For the handshake, see
    /// [`WebSocketClient`](super::WebSocketClient).)
    pub fn client(config: Arc<Config>, handler: impl WebSocketHandler) -> Self {
        Self::new(Connection::client(config, None), None, Box::new(handler))
    }

    pub(super) fn agreed_server(
        config: Arc<Config>,
        agreed: Option<Agreed>,
        subprotocol: Option<String>,
        handler: Box<dyn WebSocketHandler>,
    ) -> Self {
        Self::new(Connection::server(config, agreed), subprotocol, handler)
    }

    pub(super) fn agreed_client(
        config: Arc<Config>,
        agreed: Option<Agreed>,
        subprotocol: Option<String>,
        handler: Box<dyn WebSocketHandler>,
    ) -> Self {
        Self::new(Connection::client(config, agreed), subprotocol, handler)
    }

    fn new(
        connection: Connection,
        subprotocol: Option<String>,
        handler: Box<dyn WebSocketHandler>,
    ) -> Self {
        Self { connection, handler, subprotocol, deadline: Deadline::default(), failure: None }
    }

    /// Calls `call` with this WebSocket, from outside of its callbacks; `None`, and no call, if the
    /// connection has gone. See also [`with_websocket`](super::with_websocket).
    pub fn with_websocket<R>(
        &mut self,
        transport: &mut Transport<'_>,
        call: impl FnOnce(&mut WebSocket<'_>) -> R,
    ) -> Option<R> {
        let answer = self.call(transport, |_, socket| Ok(call(socket))).ok().flatten();
        self.go_on(transport);
        answer
    }

    /// The same, with the handler, if it is of type `H`.
    pub fn with_handler<H: WebSocketHandler>(
        &mut self,
        transport: &mut Transport<'_>,
        call: impl FnOnce(&mut H, &mut WebSocket<'_>),
    ) {
        let found = self.call(transport, |handler, socket| {
            let handler: &mut dyn Any = handler;
            if let Some(handler) = handler.downcast_mut() {
                call(handler, socket);
            } else {
                let name = std::any::type_name::<H>();
                log::error!(target: LOG, "a call was set for a {name}, which the handler is not");
            }
            Ok(())
        });
        let _ = found; // there is no error in it
        self.go_on(transport);
    }

    /// Calls the handler; `None` if the connection has gone.
    fn call<R>(
        &mut self,
        transport: &mut Transport<'_>,
        call: impl FnOnce(&mut dyn WebSocketHandler, &mut WebSocket<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let id = transport.id();
        let Some(transport) = transport.connection(id) else { return Ok(None) };
        let mut socket = WebSocket {
            connection: &mut self.connection,
            subprotocol: self.subprotocol.as_deref(),
            transport,
        };
        call(&mut *self.handler, &mut socket).map(Some)
    }

    /// Takes what is whole in `input`: how far it came, and an error that ends the connection.
    fn pump(&mut self, transport: &mut Transport<'_>, input: &mut [u8]) -> (usize, Result) {
        let mut at = 0;
        while transport.wants_data() {
            let (used, event) = match self.connection.receive(&mut input[at..]) {
                Ok(step) => step,
                Err(error) => return (input.len(), self.refuse(transport, error)),
            };
            at += used;
            // After the Close frame nobody listens (but the peer's own still counts).
            let is_deaf = self.connection.is_close_sent();
            let result = match event {
                Event::NeedMore | Event::Over => break,
                Event::Nothing => Ok(()),
                Event::CloseReceived => self.close_received(transport),
                _ if is_deaf => Ok(()),
                Event::MessageStarted(kind) => self.message_started(transport, kind),
                Event::MessageReceived(payload) => {
                    let result = self.call(transport, |handler, socket| {
                        handler.message_received(socket, payload.message())
                    });
                    payload.recycle();
                    result.map(drop)
                }
                Event::PieceReceived(payload) => {
                    let result = self.call(transport, |handler, socket| {
                        handler.piece_received(socket, payload.message())
                    });
                    payload.recycle();
                    result.map(drop)
                }
                Event::MessageEnded => {
                    self.call(transport, |handler, socket| handler.message_ended(socket)).map(drop)
                }
                Event::PingReceived(data) => {
                    self.connection.answer_ping(data, &mut OnTransport(transport));
                    self.call(transport, |handler, socket| handler.ping_received(socket, data))
                        .map(drop)
                }
                Event::PongReceived(data) => self
                    .call(transport, |handler, socket| handler.pong_received(socket, data))
                    .map(drop),
            };
            if let Err(error) = result {
                return (input.len(), self.handler_failed(transport, error));
            }
        }
        (at, Ok(()))
    }

    fn message_started(&mut self, transport: &mut Transport<'_>, kind: super::Kind) -> Result {
        let intake =
            self.call(transport, |handler, socket| handler.message_started(socket, kind))?;
        if intake == Some(Intake::Stream) {
            self.connection.stream_message();
        }
        Ok(())
    }

    fn close_received(&mut self, transport: &mut Transport<'_>) -> Result {
        if !self.connection.is_close_sent()
            && let Some(close) = self.connection.close_received().cloned()
        {
            self.call(transport, |handler, socket| handler.close_received(socket, &close))?;
        }
        self.connection.answer_close(&mut OnTransport(transport));
        Ok(())
    }

    /// The peer broke the rules: it is told, and the connection ends with the error.
    fn refuse(&mut self, transport: &mut Transport<'_>, error: Error) -> Result {
        self.connection.close(error.code(), error.text(), &mut OnTransport(transport));
        Err(Box::new(error))
    }

    fn handler_failed(&mut self, transport: &mut Transport<'_>, error: BoxError) -> Result {
        self.connection.close(CloseCode::INTERNAL_ERROR, "", &mut OnTransport(transport));
        Err(error)
    }

    /// Goes on after something else than input.
    fn go_on(&mut self, transport: &mut Transport<'_>) {
        if self.connection.goes_on_alone()
            && let Err(error) = self.pump(transport, &mut []).1
        {
            self.fail(transport, error);
        }
        self.settle(transport);
    }

    /// An error where there is no result to put it in.
    fn fail(&mut self, transport: &mut Transport<'_>, error: BoxError) {
        log::warn!(target: LOG, "{}: {error}", transport.peer());
        if let Some(&error) = error.downcast_ref::<Error>() {
            self.failure = Some(error);
        }
        transport.lose_connection();
    }

    /// Brings everything around the connection in line with its state.
    fn settle(&mut self, transport: &mut Transport<'_>) {
        // The server closes first, so that the wait for stray packets is its own (RFC 6455 §7.1.1).
        if self.connection.is_closed() && self.connection.is_server() {
            transport.lose_connection();
        }
        if self.connection.is_close_sent() && transport.is_reading_paused() {
            transport.resume_reading(); // the peer's own close is all that is awaited
        }
        if !transport.is_closing() {
            self.deadline.update(&self.connection, transport);
        }
    }

    pub(super) fn deadline_fired(&mut self, transport: &mut Transport<'_>) {
        match self.deadline.fired(&self.connection, transport) {
            None => {}
            Some(Due::Ping) => {
                self.connection.ping(&[], &mut OnTransport(transport));
            }
            Some(Due::Closed) => transport.lose_connection(),
            Some(Due::Failed(error)) => {
                log::debug!(target: LOG, "{}: {error}", transport.peer());
                self.failure = Some(error);
                self.connection.close(error.code(), error.text(), &mut OnTransport(transport));
                if error == Error::SendTimeout {
                    transport.abort_connection();
                } else {
                    transport.lose_connection();
                }
            }
        }
    }
}

impl Protocol for WebSocketProtocol {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let result = self.call(transport, |handler, socket| handler.opened(socket)).map(drop);
        let result = result.or_else(|error| self.handler_failed(transport, error));
        self.settle(transport);
        result
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        self.deadline.hear(transport);
        let (used, result) = self.pump(transport, data);
        if used == data.len() {
            data.clear();
        } else {
            data.advance(used);
        }
        self.settle(transport);
        result
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        let called = self.call(transport, |handler, socket| {
            handler.pause_producing(socket);
            Ok(())
        });
        let _ = called; // there is no error in it
        self.go_on(transport);
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.connection.resume(&mut OnTransport(transport));
        let called = self.call(transport, |handler, socket| {
            handler.resume_producing(socket);
            Ok(())
        });
        let _ = called; // there is no error in it
        self.go_on(transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let close = self.connection.take_close();
        match self.failure {
            Some(failure) => {
                let reason = Reason::Error(Rc::new(Box::new(failure)));
                self.handler.closed(transport, &close, &reason);
            }
            None => self.handler.closed(transport, &close, reason),
        }
    }

    fn layer(&mut self, of: TypeId) -> Option<&mut dyn Any> {
        let handler: &mut dyn Any = &mut *self.handler;
        if (*handler).type_id() == of { Some(handler) } else { None }
    }
}

#[cfg(test)]
impl WebSocketProtocol {
    /// Whether no memory is held but for the connection's own state.
    pub(super) fn holds_nothing(&self) -> bool {
        self.connection.holds_nothing()
    }
}
