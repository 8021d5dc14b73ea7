//! The server: joins a transport to the connection's state machine and to a handler.
//!
//! It moves bytes, calls the handler, and keeps time; what HTTP/1.1 means is decided in
//! `connection`. The one rule: every callback ends in `settle`, which flushes, closes, pauses
//! reading and sets the deadline according to the state that is reached.

mod deadline;
mod protocol;
mod record;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::{Result, Transport};

use self::deadline::Deadline;
use self::record::Record;
use crate::connection::{Connection, Event, Waiting};
use crate::exchange::Flow;
use crate::flush::{FLUSH_AT, flush};
use crate::handler::{ExchangeHandler, Handler, Intake};
use crate::site::Shared;
use crate::{
    AccessLog, Config, Error, Exchange, ExchangeId, LOG, Request, Response, Status, spare,
};

/// One connection of an HTTP/1.1 server.
///
/// ```no_run
/// use ropewalk_http::{HttpServer, Request};
/// use ropewalk_reactor::Reactor;
///
/// # fn main() -> ropewalk_reactor::Result {
/// let mut reactor = Reactor::new()?;
/// reactor.listen("127.0.0.1:8080", |_| {
///     HttpServer::new(|request: &Request| format!("you asked for {}\n", request.path()))
/// })?;
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
pub struct HttpServer {
    connection: Connection,
    handler: Box<dyn Handler>,
    /// There while a request is; an idle connection has none.
    request: Option<Box<Request>>,
    flow: Flow,
    deadline: Deadline,
    /// The current request's body goes into `request`.
    is_gathering: bool,
    /// This server has paused reading.
    is_holding: bool,
    /// An error ends the connection; whether an exchange was under way is in it.
    failure: Option<Cut>,
    /// The access log, if there is one, and what it needs to know.
    record: Option<Box<Record>>,
    /// What this connection shares with the others of its site.
    site: Option<Rc<Shared>>,
}

/// How long a connection that is new when its site drains has for its request.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// What an error did to the exchange of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// There was none.
    Nothing,
    /// Its response was not complete.
    Exchange,
}

impl HttpServer {
    /// A server with the usual limits and timeouts.
    pub fn new(handler: impl Handler) -> Self {
        Self::with_config(Arc::new(Config::default()), handler)
    }

    /// A server with its own; connections share the `Arc`.
    pub fn with_config(config: Arc<Config>, handler: impl Handler) -> Self {
        Self {
            connection: Connection::new(config),
            handler: Box::new(handler),
            request: None,
            flow: Flow::default(),
            deadline: Deadline::default(),
            is_gathering: false,
            is_holding: false,
            failure: None,
            record: None,
            site: None,
        }
    }

    pub(crate) fn of_site(mut self, log: Option<AccessLog>, site: Rc<Shared>) -> Self {
        self.record = log.map(|log| Box::new(Record::new(log)));
        self.site = Some(site);
        self
    }

    /// Calls `call` with the exchange of this name, to answer it later; `None`, and no call, if it
    /// is complete or lost. From outside the connection, reach the server with
    /// `Reactor::with_protocol::<HttpServer, _>(id.connection(), …)` first.
    pub fn with_exchange<R>(
        &mut self,
        transport: &mut Transport<'_>,
        id: ExchangeId,
        call: impl FnOnce(&mut Exchange<'_>) -> R,
    ) -> Option<R> {
        if id.connection() != transport.id()
            || id.number() != self.connection.number()
            || !self.connection.is_answering()
        {
            return None;
        }
        self.flow.wall = None;
        let answer = self.exchange(transport, |_, exchange| Ok(call(exchange))).ok().flatten();
        let result = self.go_on(transport);
        self.conclude(transport, result);
        answer
    }

    /// Calls the handler with the current exchange; `None` if the connection has gone meanwhile.
    fn exchange<R>(
        &mut self,
        transport: &mut Transport<'_>,
        call: impl FnOnce(&mut dyn Handler, &mut Exchange<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let id = transport.id();
        let Some(transport) = transport.connection(id) else { return Ok(None) };
        let mut exchange = Exchange {
            request: self.request.get_or_insert_with(Box::default),
            connection: &mut self.connection,
            flow: &mut self.flow,
            transport,
        };
        call(&mut *self.handler, &mut exchange).map(Some)
    }

    /// The same, for the handler that follows this exchange alone, if there is one.
    fn follower(
        &mut self,
        transport: &mut Transport<'_>,
        call: impl FnOnce(&mut dyn ExchangeHandler, &mut Exchange<'_>) -> Result,
    ) -> Result {
        let Some(mut current) = self.flow.current.take() else { return Ok(()) };
        let number = self.connection.number();
        let result = self.exchange(transport, |_, exchange| call(&mut *current, exchange));
        // It may have completed the exchange, or handed it on.
        if self.flow.current.is_none()
            && self.connection.is_answering()
            && self.connection.number() == number
        {
            self.flow.current = Some(current);
        }
        result.map(drop)
    }

    /// Takes what is whole in `input`: how far it came, and an error that ends the connection.
    fn pump(&mut self, transport: &mut Transport<'_>, input: &[u8]) -> (usize, Result) {
        let mut at = 0;
        while !self.is_blocked() {
            let request = self.request.get_or_insert_with(Box::default);
            let (used, event) = match self.connection.receive(&input[at..], request) {
                Ok(step) => step,
                Err(error) => {
                    self.note_unreadable(&input[at..]);
                    return (input.len(), self.refuse(transport, error));
                }
            };
            at += used;
            if event == Event::RequestReceived {
                self.begin_exchange(transport);
            }
            let result = match event {
                Event::RequestReceived if self.connection.expects_body() => {
                    self.body_expected(transport)
                }
                Event::RequestReceived => self.request_received(transport),
                Event::BodyReceived(data) if self.is_gathering => {
                    if let Some(request) = &mut self.request {
                        request.body.extend_from_slice(data);
                    }
                    Ok(())
                }
                Event::BodyReceived(data) => self
                    .follower(transport, |handler, exchange| handler.body_received(exchange, data)),
                Event::BodyEnded if self.is_gathering => self.request_received(transport),
                Event::BodyEnded => self.follower(transport, |handler, exchange| {
                    let trailers = exchange.request.trailers();
                    handler.body_ended(exchange, trailers)
                }),
                Event::NeedMore | Event::Blocked | Event::Over => break,
            };
            if let Err(error) = result.and_then(|()| self.produce(transport)) {
                return (input.len(), self.handler_failed(transport, error));
            }
            self.write_down_finished(transport);
            if self.connection.output.len() >= FLUSH_AT {
                flush(&mut self.connection.output, transport, &mut self.flow.is_congested);
            }
        }
        (at, Ok(()))
    }

    /// Whether more input is of no use now.
    fn is_blocked(&self) -> bool {
        !self.connection.wants_input()
            || self.flow.upgraded.is_some()
            // The responses to more requests would only wait: a client must read to be served.
            || (self.flow.is_congested && !self.connection.is_answering())
    }

    fn body_expected(&mut self, transport: &mut Transport<'_>) -> Result {
        self.is_gathering = false;
        let intake = self.exchange(transport, |handler, exchange| {
            let request = exchange.request;
            handler.body_expected(request, exchange)
        })?;
        let limit = match intake {
            None => return Ok(()),
            Some(Intake::Gather) => self.connection.config().max_body,
            Some(Intake::GatherUpTo(limit)) => limit,
            Some(Intake::Stream(handler)) => {
                self.connection.accept_body();
                self.flow.current = Some(handler);
                self.flow.is_fresh = true;
                return Ok(());
            }
            Some(Intake::Refuse(response)) => {
                self.exchange(transport, |_, exchange| {
                    exchange.respond(response);
                    Ok(())
                })?;
                return Ok(());
            }
        };
        if self.connection.is_unanswered() {
            self.is_gathering = true;
            if self.connection.limit_body(limit).is_ok() {
                self.connection.accept_body();
            } else {
                return Err(Box::new(Error::BodyTooLarge));
            }
        }
        Ok(())
    }

    fn request_received(&mut self, transport: &mut Transport<'_>) -> Result {
        self.is_gathering = false;
        let reply = self.exchange(transport, |handler, exchange| {
            let request = exchange.request;
            handler.request_received(request, exchange)?.give(exchange);
            Ok(())
        });
        reply.map(drop)
    }

    /// Lets a handler that has just taken the exchange produce.
    fn produce(&mut self, transport: &mut Transport<'_>) -> Result {
        while self.flow.is_fresh {
            self.flow.is_fresh = false;
            if !self.flow.is_congested {
                self.follower(transport, |handler, exchange| handler.resume_producing(exchange))?;
            }
        }
        Ok(())
    }

    /// Goes on after something else than input: a handler may have finished, or handed over.
    fn go_on(&mut self, transport: &mut Transport<'_>) -> Result {
        if let Err(error) = self.produce(transport) {
            return self.handler_failed(transport, error);
        }
        if self.connection.goes_on_alone() { self.pump(transport, &[]).1 } else { Ok(()) }
    }

    /// The request is not acceptable: the peer is told, and the connection ends with the error.
    fn refuse(&mut self, transport: &mut Transport<'_>, error: Error) -> Result {
        self.note_failure();
        let now = transport.wall_clock();
        if !self.connection.refuse(error, now) {
            self.cut(transport);
        }
        Err(Box::new(error))
    }

    fn handler_failed(
        &mut self,
        transport: &mut Transport<'_>,
        error: ropewalk_reactor::BoxError,
    ) -> Result {
        if let Some(&refusal) = error.downcast_ref::<Error>() {
            return self.refuse(transport, refusal);
        }
        self.note_failure();
        let now = transport.wall_clock();
        if !self.connection.fail(Response::status(Status::INTERNAL_SERVER_ERROR).close(), now) {
            self.cut(transport);
        }
        Err(error)
    }

    /// A head is in.
    fn begin_exchange(&mut self, transport: &mut Transport<'_>) {
        self.flow.forget_exchange();
        if let Some(record) = &mut self.record {
            record.begin(transport);
        }
        if self.site.as_ref().is_some_and(|site| site.is_draining()) {
            self.connection.end_after_response();
        }
    }

    /// The connection is to end, without cutting a response: now if it is between two requests.
    pub(crate) fn drain(&mut self, transport: &mut Transport<'_>) {
        self.connection.end_after_response();
        if self.connection.is_answering() {
            self.flow.wall = None;
            let result = self
                .follower(transport, |handler, exchange| handler.drain_began(exchange))
                .or_else(|error| self.handler_failed(transport, error))
                .and_then(|()| self.go_on(transport));
            return self.conclude(transport, result);
        }
        if !self.connection.is_idle() && !self.connection.is_draining() {
            return;
        }
        if self.connection.number() > 0 {
            return self.lose(transport);
        }
        // Its first request may be on its way.
        transport.call_later(DRAIN_GRACE, |server: &mut Self, transport| {
            if server.connection.number() == 0 {
                server.lose(transport);
            }
        });
    }

    /// There is nothing to do any more but to flush, which nobody has to wait for.
    fn lose(&mut self, transport: &mut Transport<'_>) {
        transport.lose_connection();
        if let Some(site) = &self.site
            && site.is_draining()
        {
            site.connection_gone(transport.id());
        }
    }

    fn note_failure(&mut self) {
        let cut = if self.connection.is_answering() { Cut::Exchange } else { Cut::Nothing };
        self.failure.get_or_insert(cut);
    }

    /// A response that has begun cannot be completed. Without a length or a coding only a reset
    /// tells the peer that it is not whole.
    fn cut(&mut self, transport: &mut Transport<'_>) {
        log::debug!(target: LOG, "{}: a response was cut", transport.peer());
        if self.connection.is_close_delimited() {
            transport.abort_connection();
        }
    }

    /// Brings everything around the connection in line with its state. `has_pending`: whether
    /// unconsumed input stays behind, if that is known.
    fn settle(&mut self, transport: &mut Transport<'_>, has_pending: Option<bool>) {
        flush(&mut self.connection.output, transport, &mut self.flow.is_congested);
        self.write_down_finished(transport);
        if !self.connection.is_answering() && self.failure.is_none() {
            self.flow.current = None;
            self.flow.forget_exchange();
        }
        if self.flow.upgraded.is_some() {
            self.deadline.clear();
            if let Some(site) = self.site.take() {
                site.connection_gone(transport.id());
            }
            self.give_back(); // there is no further request
            return self.hold(transport, false);
        }
        if self.connection.is_over() {
            self.deadline.clear();
            if self.failure.is_none() {
                self.lose(transport);
            }
            return; // with an error, the reactor closes
        }
        let blocked = self.is_blocked();
        match has_pending {
            Some(has_pending) => {
                let hold = blocked && (has_pending || self.connection.is_body_paused());
                self.hold(transport, hold);
            }
            None if !blocked => self.hold(transport, false),
            None if self.connection.is_body_paused() => self.hold(transport, true),
            None => {}
        }
        let waiting = if self.flow.is_congested {
            deadline::Awaited::Output
        } else {
            deadline::Awaited::Input(self.connection.waiting(has_pending.unwrap_or(false)))
        };
        self.deadline.update(waiting, &self.connection, transport);
        if self.connection.is_idle() {
            self.give_back();
        }
    }

    fn hold(&mut self, transport: &mut Transport<'_>, hold: bool) {
        if self.is_holding != hold {
            self.is_holding = hold;
            if hold { transport.pause_reading() } else { transport.resume_reading() }
        }
    }

    /// The end of a callback that has no result of its own: what `settle` does, and the error's
    /// log line.
    fn conclude(&mut self, transport: &mut Transport<'_>, result: Result) {
        if let Err(error) = result {
            log::warn!(target: LOG, "{}: {error}", transport.peer());
            self.settle(transport, None);
            return transport.lose_connection();
        }
        self.settle(transport, None);
        if let Err(error) = self.begin_upgrade(transport) {
            log::warn!(target: LOG, "{}: {error}", transport.peer());
            transport.lose_connection();
        }
    }

    /// Tells the protocol that has just taken the connection over that it has.
    fn begin_upgrade(&mut self, transport: &mut Transport<'_>) -> Result {
        match &mut self.flow.upgraded {
            Some(inner) if std::mem::take(&mut self.flow.upgrade_is_fresh) => {
                inner.connection_made(transport)
            }
            _ => Ok(()),
        }
    }

    fn borrow(&mut self) {
        if self.request.is_none() {
            let spare = spare::take();
            self.request = Some(spare.request);
            self.connection.output.lend(spare.output);
        }
    }

    fn give_back(&mut self) {
        if let Some(request) = self.request.take() {
            let output = self.connection.output.release();
            spare::give_back(spare::Spare { request, output });
        }
    }

    /// A deadline may have passed.
    fn deadline_fired(&mut self, transport: &mut Transport<'_>) {
        let send_timeout = self.connection.config().send_timeout;
        let Some(awaited) = self.deadline.fired(send_timeout, transport) else { return };
        log::debug!(target: LOG, "{}: timed out waiting for {awaited:?}", transport.peer());
        match awaited {
            deadline::Awaited::Input(Waiting::Head | Waiting::Body) => {
                self.note_unreadable(&[]);
                let result = self.refuse(transport, Error::Timeout);
                self.conclude(transport, result);
            }
            deadline::Awaited::Input(_) => transport.lose_connection(),
            deadline::Awaited::Output => transport.abort_connection(),
        }
    }
}
