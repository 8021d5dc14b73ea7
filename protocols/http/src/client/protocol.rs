//! One connection of a client: joins a transport to the connection's state machine and to a handler.
//!
//! It moves bytes, calls the handler, and keeps time; what HTTP/1.1 means is decided in `connection`.
//! The one rule: every callback ends in `settle`, which flushes, closes, pauses reading and sets the
//! deadline according to the state that is reached.

mod events;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::{Reason, Result, Transport};

use super::connection::{ClientConnection, Event, Waiting};
use super::deadline::{Awaited, Deadline};
use super::exchange::{Flow, Production};
use super::{
    ConnectionConfig, Exchange, ExchangeId, Failure, Phase, RequestBody, RequestHead,
    ResponseHandler,
};
use crate::codec::ResponseHead;
use crate::flush::flush;
use crate::{Error, LOG, Status};

/// One connection of an HTTP/1.1 client: one exchange after the other.
///
/// See the [module](super) for how to use it. Connect it as any protocol; with TLS, the connecting
/// deferred fires when the handshake is done. A server that closes while no exchange is under way, or
/// sends what nobody asked for, ends the connection;
/// [`when_lost`](ropewalk_reactor::Reactor::when_lost) tells a pool.
pub struct HttpClient {
    connection: ClientConnection,
    head: ResponseHead,
    flow: Flow,
    deadline: Deadline,
    /// This client has paused reading.
    is_holding: bool,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpClient {
    /// A connection with the usual limits and timeouts.
    pub fn new() -> Self {
        Self::with_config(Arc::default())
    }

    /// A connection with its own; connections share the `Arc`.
    pub fn with_config(config: Arc<ConnectionConfig>) -> Self {
        Self {
            connection: ClientConnection::new(config),
            head: ResponseHead::default(),
            flow: Flow::default(),
            deadline: Deadline::default(),
            is_holding: false,
        }
    }

    /// Whether a request may be sent now: none is under way, and the connection has not ended.
    pub fn is_ready(&self) -> bool {
        self.connection.is_ready() && self.flow.failure.is_none() && self.flow.handshake.is_none()
    }

    /// Sends a request, and hands what becomes of it to `handler`. A body that is streamed is written
    /// by the handler, or through [`with_exchange`](Self::with_exchange).
    ///
    /// # Errors
    /// The handler comes back uncalled, and nothing was sent, if the connection is not
    /// [ready](Self::is_ready), or has gone.
    pub fn send(
        &mut self,
        transport: &mut Transport<'_>,
        head: &RequestHead,
        body: RequestBody,
        handler: Box<dyn ResponseHandler>,
    ) -> Result<ExchangeId, Box<dyn ResponseHandler>> {
        if transport.is_closing() || !self.is_ready() || !self.connection.send(head, &body) {
            return Err(handler);
        }
        self.flow.handler = Some(handler);
        self.flow.production = Production::NotYet;
        let id = ExchangeId::new(transport.id(), self.connection.number());
        if self.connection.awaits_continue() {
            let patience = self.connection.config().continue_timeout;
            self.produce_after(transport, patience);
        } else if self.connection.takes_body() {
            self.produce_after(transport, Duration::ZERO); // not from inside this call
        }
        self.settle(transport, None);
        Ok(id)
    }

    /// Calls `call` with the exchange of this name; `None`, and no call, if it is over. From outside
    /// the connection, reach the client with `Reactor::with_protocol::<HttpClient, _>` first.
    pub fn with_exchange<R>(
        &mut self,
        transport: &mut Transport<'_>,
        id: ExchangeId,
        call: impl FnOnce(&mut Exchange<'_>) -> R,
    ) -> Option<R> {
        if id.connection() != transport.id()
            || id.number() != self.connection.number()
            || !self.connection.is_busy()
            || self.flow.heir.is_some()
        {
            return None;
        }
        let own = transport.id();
        let answer = call(&mut Exchange {
            connection: &mut self.connection,
            flow: &mut self.flow,
            transport: transport.connection(own)?,
        });
        // What may come of it is told by the loop, and not from inside the caller's call.
        if !self.connection.is_body_paused() && self.connection.goes_on_alone() {
            transport.call_later(Duration::ZERO, |client: &mut Self, transport| {
                client.pump(transport, &[]);
                client.settle(transport, None);
            });
        }
        self.settle(transport, None);
        Some(answer)
    }

    fn produce_after(&mut self, transport: &mut Transport<'_>, delay: Duration) {
        let number = self.connection.number();
        transport.call_later(delay, move |client: &mut Self, transport| {
            if client.connection.number() == number && client.connection.is_busy() {
                client.begin_producing(transport);
                client.settle(transport, None);
            }
        });
    }

    /// The body is wanted, or nobody says that it is not.
    fn begin_producing(&mut self, transport: &mut Transport<'_>) {
        self.connection.stop_awaiting_continue();
        if self.flow.production == Production::NotYet && self.connection.takes_body() {
            self.flow.production = Production::Due;
            if !self.flow.is_congested {
                self.produce(transport);
            }
        }
    }

    fn produce(&mut self, transport: &mut Transport<'_>) {
        self.flow.production = Production::Begun;
        self.handle(transport, |handler, exchange| handler.resume_producing(exchange));
    }

    /// Calls the handler with the current exchange.
    fn handle(
        &mut self,
        transport: &mut Transport<'_>,
        call: impl FnOnce(&mut dyn ResponseHandler, &mut Exchange<'_>) -> Result,
    ) {
        if self.flow.failure.is_some() {
            return; // it is told of nothing but its end
        }
        let Some(mut handler) = self.flow.handler.take() else { return };
        let id = transport.id();
        let result = match transport.connection(id) {
            Some(transport) => call(
                &mut *handler,
                &mut Exchange { connection: &mut self.connection, flow: &mut self.flow, transport },
            ),
            None => Ok(()),
        };
        self.flow.handler = Some(handler);
        if let Err(error) = result {
            log::warn!(target: LOG, "an answer was refused here: {error}");
            self.flow.failure.get_or_insert(Failure::Handler(Rc::new(error)));
        }
    }

    /// Takes what is whole in `input`, and answers how far it came.
    fn pump(&mut self, transport: &mut Transport<'_>, input: &[u8]) -> usize {
        let mut at = 0;
        while self.goes_on() {
            let (used, event) = match self.connection.receive(&input[at..], &mut self.head) {
                Ok(step) => step,
                Err(error) => {
                    self.flow.failure = Some(self.failure_of(error));
                    return input.len();
                }
            };
            at += used;
            let head = std::mem::take(&mut self.head);
            match event {
                Event::InformationalReceived => {
                    self.handle(transport, |handler, exchange| {
                        handler.informational_received(exchange, &head)
                    });
                    if head.status() == Status::CONTINUE {
                        self.begin_producing(transport);
                    }
                }
                Event::HeadReceived => {
                    self.handle(transport, |handler, exchange| {
                        handler.head_received(exchange, &head)
                    });
                }
                Event::BodyReceived(data) => self
                    .handle(transport, |handler, exchange| handler.body_received(exchange, data)),
                Event::BodyEnded => {
                    if at < input.len() {
                        log::debug!(target: LOG, "{}: more than its answer came", transport.peer());
                        self.connection.refuse_reuse();
                    }
                    let trailers = self.connection.trailers().clone();
                    self.handle(transport, |handler, exchange| {
                        handler.body_ended(exchange, &trailers)
                    });
                    self.flow.handler = None; // that was the last call
                }
                Event::NeedMore | Event::Blocked | Event::Over => {
                    self.head = head;
                    break;
                }
            }
            self.head = head;
        }
        at
    }

    fn goes_on(&self) -> bool {
        self.flow.failure.is_none()
            && self.flow.heir.is_none()
            && self.flow.handshake.is_none()
            && self.connection.is_busy()
    }

    /// Begins TLS inside a tunnel, if the handler has asked for it. What was left of the input is
    /// taken for the server's part of the handshake.
    #[cfg(feature = "_tls")]
    fn begin_tls(&mut self, transport: &mut Transport<'_>) {
        let Some(tls) = self.flow.tls.take() else { return };
        self.flow.handler = None;
        self.connection.restart();
        if let Err(error) = transport.start_tls(tls) {
            self.flow.failure.get_or_insert(Failure::Handler(Rc::new(error.into())));
        }
    }

    fn failure_of(&self, error: Error) -> Failure {
        match error {
            Error::Truncated if self.connection.is_answer_begun() => Failure::Cut(Reason::Done),
            Error::Truncated => Failure::Unanswered(Reason::Done),
            error => Failure::Malformed(error),
        }
    }

    /// Brings everything around the connection in line with its state. `left`: how much unconsumed
    /// input stays behind, if that is known.
    fn settle(&mut self, transport: &mut Transport<'_>, left: Option<usize>) {
        #[cfg(feature = "_tls")]
        self.begin_tls(transport);
        if self.flow.failure.is_some() {
            self.connection.give_up();
            self.connection.output = crate::connection::Output::default();
            self.deadline.update(None, 0, 0, transport);
            // Nothing that is left to send is worth sending, and nothing that comes worth reading.
            return transport.abort_connection();
        }
        flush(&mut self.connection.output, transport, &mut self.flow.is_congested);
        if self.flow.handshake.is_some() {
            return self.deadline.update(None, 0, 0, transport); // TLS has its own
        }
        if self.flow.heir.is_some() {
            self.flow.handler = None;
            self.deadline.update(None, 0, 0, transport);
            return self.hold(transport, false);
        }
        let busy = self.connection.is_busy();
        let unasked = left.is_some_and(|left| left > 0);
        if !busy && (unasked || !self.connection.is_ready()) {
            if unasked {
                log::debug!(target: LOG, "{}: sent what nobody asked for", transport.peer());
            }
            self.connection.give_up();
            self.deadline.update(None, 0, 0, transport);
            self.hold(transport, false);
            return transport.lose_connection();
        }
        self.hold(transport, busy && self.connection.is_body_paused());
        if !busy {
            self.connection.release(); // an idle connection holds no buffers
            self.head = ResponseHead::default();
        }
        let config = self.connection.config();
        let (awaited, progress) = if self.flow.is_congested && busy {
            let waiting = transport.buffered() as u64;
            (Some((Awaited::Server(Phase::Send), config.send_timeout)), waiting)
        } else {
            let awaited = match self.connection.waiting() {
                Waiting::Nothing if busy => None,
                Waiting::Nothing => config.idle_timeout.map(|limit| (Awaited::Request, limit)),
                Waiting::Head => Some((Awaited::Server(Phase::Head), config.head_timeout)),
                Waiting::Body => Some((Awaited::Server(Phase::Body), config.body_timeout)),
            };
            (awaited, self.connection.received())
        };
        self.deadline.update(awaited, self.connection.number(), progress, transport);
    }

    fn hold(&mut self, transport: &mut Transport<'_>, hold: bool) {
        if self.is_holding != hold {
            self.is_holding = hold;
            if hold { transport.pause_reading() } else { transport.resume_reading() }
        }
    }

    /// A deadline may have passed.
    pub(super) fn deadline_fired(&mut self, transport: &mut Transport<'_>) {
        match self.deadline.fired(transport) {
            None => {}
            Some((Awaited::Server(phase), limit)) => {
                self.flow.failure.get_or_insert(Failure::TimedOut(phase, limit));
                self.settle(transport, None);
            }
            Some((Awaited::Request, _)) => {
                self.connection.give_up();
                transport.lose_connection();
            }
        }
    }
}
