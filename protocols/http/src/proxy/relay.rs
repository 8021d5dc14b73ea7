//! One exchange on its way through the proxy: what comes from one connection waits here, in order and
//! bounded, until the other connection's turn comes.
//!
//! The two never call each other: neither's callback may run inside the other's. Each puts into a
//! queue what came, and the loop hands it on in the same turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use log::warn;
use ropewalk_reactor::{Address, ConnectionId, Error, Local, Reactor, Reason, Result};

use super::heads;
use super::tunnel::{Early, Opening, Tunnel};
use super::upstream::Upstream;
use crate::client::{self, Failure, HttpClient, RequestBody, RequestHead, ResponseHandler};
use crate::codec::ResponseHead;
use crate::{Exchange, ExchangeHandler, ExchangeId, Headers, HttpServer, LOG, Response, Status};

/// Bytes that may wait each way before their sender is paused: a read of the loop, so that no more than
/// two of them wait.
const WINDOW: usize = 64 * 1024;
/// A part's place in the queue, and what an allocation costs besides its bytes.
const OVERHEAD: usize = 256;

/// One exchange.
pub(super) struct Relay {
    down: ExchangeId,
    peer: Address,
    head: RequestHead,
    body: RequestBody,
    upstream: Upstream,
    local: Local,
    /// It may be sent again, should a connection that was kept turn out to be closed.
    may_repeat: Cell<bool>,
    up: Cell<Option<client::ExchangeId>>,
    /// The client has gone.
    is_abandoned: Cell<bool>,
    request: RefCell<Way<RequestPart>>,
    response: RefCell<Way<ResponsePart>>,
}

/// What goes one way.
struct Way<T> {
    parts: VecDeque<T>,
    bytes: usize,
    /// The loop has been asked to hand it on.
    is_scheduled: bool,
    /// Its sender was told to wait.
    is_paused: bool,
}

enum RequestPart {
    Data(Bytes),
    End(Headers),
}

enum ResponsePart {
    /// A response before the response.
    Hint(Response),
    Start(Response, Option<u64>),
    Data(Bytes),
    End(Headers),
    /// The connection goes on as a tunnel.
    Switch(Response, ConnectionId, Rc<RefCell<Early>>),
    /// There is no more, and it is not whole; or there is nothing, and this is the answer.
    Failed(Status),
}

/// What waits, and the memory that it takes: small chunks take more than their bytes.
trait Part {
    fn data(&self) -> usize;

    fn cost(&self) -> usize {
        OVERHEAD + self.data()
    }
}

impl Part for RequestPart {
    fn data(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::End(_) => 0,
        }
    }
}

impl Part for ResponsePart {
    fn data(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            _ => 0,
        }
    }
}

impl<T> Default for Way<T> {
    fn default() -> Self {
        Self { parts: VecDeque::new(), bytes: 0, is_scheduled: false, is_paused: false }
    }
}

impl<T: Part> Way<T> {
    /// Adds a part; whether its sender is to wait.
    fn push(&mut self, part: T) -> bool {
        self.bytes += part.cost();
        self.parts.push_back(part);
        self.is_paused |= self.bytes >= WINDOW;
        self.is_paused
    }

    fn pop(&mut self) -> Option<T> {
        let part = self.parts.pop_front()?;
        self.bytes -= part.cost();
        Some(part)
    }

    /// Whether the sender waits and there is room again; it is told once.
    fn resumes(&mut self) -> bool {
        let resumes = self.is_paused && self.bytes < WINDOW / 2;
        self.is_paused &= !resumes;
        resumes
    }
}

impl Relay {
    pub(super) fn new(
        down: ExchangeId,
        peer: Address,
        head: RequestHead,
        body: RequestBody,
        may_repeat: bool,
        upstream: Upstream,
        local: Local,
    ) -> Rc<Self> {
        Rc::new(Self {
            down,
            peer,
            head,
            body,
            upstream,
            local,
            may_repeat: Cell::new(may_repeat),
            up: Cell::new(None),
            is_abandoned: Cell::new(false),
            request: RefCell::default(),
            response: RefCell::default(),
        })
    }

    /// Sends the request, as soon as the callback has returned.
    pub(super) fn begin(self: &Rc<Self>) {
        let relay = self.clone();
        self.local.call_soon(move |reactor| relay.send(reactor));
    }

    /// Sends the request on a connection that was kept, or on a new one.
    fn send(self: Rc<Self>, reactor: &mut Reactor) {
        while let Some(id) = self.upstream.take() {
            if self.send_on(reactor, id, true) {
                return;
            }
        }
        self.may_repeat.set(false);
        self.upstream.clone().connect(reactor).then(move |reactor, connected| match connected {
            Ok(id) if self.is_abandoned.get() => self.upstream.give_back(reactor, id),
            Ok(id) => {
                if !self.send_on(reactor, id, false) {
                    self.fail(Status::BAD_GATEWAY, &"the connection was lost at once");
                }
            }
            Err(error) => {
                let status = match error {
                    Error::TimedOut => Status::GATEWAY_TIMEOUT,
                    Error::Stopped => Status::SERVICE_UNAVAILABLE,
                    _ => Status::BAD_GATEWAY,
                };
                self.fail(status, &error);
            }
        });
    }

    fn send_on(self: &Rc<Self>, reactor: &mut Reactor, id: ConnectionId, was_kept: bool) -> bool {
        if self.is_abandoned.get() {
            self.upstream.give_back(reactor, id);
            return true;
        }
        let handler = Box::new(UpstreamHandler { relay: self.clone(), was_kept });
        let sent = reactor.with_protocol::<HttpClient, _>(id, |client, transport| {
            client.send(transport, &self.head, self.body.clone(), handler).ok()
        });
        self.up.set(sent.flatten());
        self.up.get().is_some()
    }

    /// There is no answer, or no more of it: says why, and lets the client know behind what has come.
    fn fail(self: &Rc<Self>, status: Status, why: &dyn fmt::Display) {
        if self.is_abandoned.get() {
            return;
        }
        warn!(
            target: LOG,
            "{}: {} {}: the server at {} failed: {why}",
            self.peer,
            self.head.method(),
            self.head.target(),
            self.upstream.endpoint(),
        );
        self.put_response(ResponsePart::Failed(status));
    }

    fn downstream<R>(
        &self,
        reactor: &mut Reactor,
        call: impl FnOnce(&mut Exchange<'_>) -> R,
    ) -> Option<R> {
        let id = self.down;
        reactor
            .with_protocol::<HttpServer, _>(id.connection(), |server, transport| {
                server.with_exchange(transport, id, call)
            })
            .flatten()
    }

    fn upstream<R>(
        &self,
        reactor: &mut Reactor,
        call: impl FnOnce(&mut client::Exchange<'_>) -> R,
    ) -> Option<R> {
        let id = self.up.get()?;
        reactor
            .with_protocol::<HttpClient, _>(id.connection(), |client, transport| {
                client.with_exchange(transport, id, call)
            })
            .flatten()
    }

    // The request's body.

    fn schedule_request(self: &Rc<Self>) {
        if std::mem::replace(&mut self.request.borrow_mut().is_scheduled, true) {
            return;
        }
        let relay = self.clone();
        self.local.call_soon(move |reactor| {
            relay.request.borrow_mut().is_scheduled = false;
            relay.upstream(reactor, |exchange| relay.drain_request(exchange));
            relay.resume_downstream(reactor);
        });
    }

    /// Hands on what of the body waits, as long as there is room.
    fn drain_request(&self, exchange: &mut client::Exchange<'_>) {
        let mut request = self.request.borrow_mut();
        // What is written without room would only wait elsewhere, and its sender would go on.
        while exchange.has_room()
            && let Some(part) = request.pop()
        {
            match part {
                RequestPart::Data(data) => {
                    exchange.write_bytes(data);
                }
                RequestPart::End(trailers) => exchange.finish_with(&trailers),
            }
        }
    }

    fn resume_downstream(&self, reactor: &mut Reactor) {
        if self.request.borrow_mut().resumes() {
            self.downstream(reactor, |exchange| exchange.resume_reading());
        }
    }

    // The response.

    /// Takes a part of the response; whether the other server is to wait.
    fn put_response(self: &Rc<Self>, part: ResponsePart) -> bool {
        let mut response = self.response.borrow_mut();
        let is_paused = response.push(part);
        if !std::mem::replace(&mut response.is_scheduled, true) {
            let relay = self.clone();
            self.local.call_soon(move |reactor| {
                relay.response.borrow_mut().is_scheduled = false;
                relay.downstream(reactor, |exchange| relay.drain_response(exchange));
                relay.resume_upstream(reactor);
            });
        }
        is_paused
    }

    /// Hands on what of the response waits, as long as there is room.
    fn drain_response(&self, exchange: &mut Exchange<'_>) {
        let mut response = self.response.borrow_mut();
        while exchange.has_room()
            && let Some(part) = response.pop()
        {
            match part {
                ResponsePart::Hint(hint) => exchange.send_informational(&hint),
                ResponsePart::Start(head, length) => {
                    exchange.start(head, length);
                }
                ResponsePart::Data(data) => {
                    exchange.write_bytes(data);
                }
                ResponsePart::End(trailers) => exchange.finish_with(&trailers),
                ResponsePart::Switch(head, there, early) if exchange.is_unanswered() => {
                    exchange.upgrade(&head, Box::new(Opening(Tunnel::new(there, early))));
                }
                ResponsePart::Switch(_, there, _) => {
                    if let Some(mut there) = exchange.transport().connection(there) {
                        there.abort_connection();
                    }
                }
                ResponsePart::Failed(status) if exchange.is_unanswered() => {
                    exchange.respond(Response::status(status));
                }
                ResponsePart::Failed(_) => exchange.cut(),
            }
        }
    }

    fn resume_upstream(&self, reactor: &mut Reactor) {
        if self.response.borrow_mut().resumes() {
            self.upstream(reactor, |exchange| exchange.resume_reading());
        }
    }
}

/// The client's side: takes the request's body, and has room for the response, or not.
pub(super) struct Downstream(pub(super) Rc<Relay>);

impl ExchangeHandler for Downstream {
    fn body_received(&mut self, exchange: &mut Exchange<'_>, data: &[u8]) -> Result {
        let part = RequestPart::Data(Bytes::copy_from_slice(data));
        if self.0.request.borrow_mut().push(part) {
            exchange.pause_reading();
        }
        self.0.schedule_request();
        Ok(())
    }

    fn body_ended(&mut self, _: &mut Exchange<'_>, trailers: &Headers) -> Result {
        self.0.request.borrow_mut().push(RequestPart::End(heads::trailers(trailers)));
        self.0.schedule_request();
        Ok(())
    }

    fn resume_producing(&mut self, exchange: &mut Exchange<'_>) -> Result {
        self.0.drain_response(exchange);
        let relay = self.0.clone();
        self.0.local.call_soon(move |reactor| relay.resume_upstream(reactor));
        Ok(())
    }

    fn exchange_lost(&mut self, _: &Reason) {
        self.0.is_abandoned.set(true);
        let relay = self.0.clone();
        self.0.local.call_soon(move |reactor| {
            let aborted = relay.upstream(reactor, |exchange| exchange.abort());
            // One that has just become a tunnel has no exchange, and nobody else who knows it.
            if let (None, Some(up)) = (aborted, relay.up.get())
                && let Some(mut transport) = reactor.connection(up.connection())
            {
                transport.abort_connection();
            }
        });
    }
}

/// The other server's side: takes the response, and has room for the request's body, or not.
struct UpstreamHandler {
    relay: Rc<Relay>,
    /// The connection had been used before.
    was_kept: bool,
}

impl ResponseHandler for UpstreamHandler {
    fn informational_received(
        &mut self,
        _: &mut client::Exchange<'_>,
        head: &ResponseHead,
    ) -> Result {
        // The client was told to go on by this server.
        if head.status() != Status::CONTINUE {
            let (hint, _) = heads::response(head);
            self.relay.put_response(ResponsePart::Hint(hint));
        }
        Ok(())
    }

    fn head_received(
        &mut self,
        exchange: &mut client::Exchange<'_>,
        head: &ResponseHead,
    ) -> Result {
        if self.relay.is_abandoned.get() {
            return Err("the client has gone".into());
        }
        let (response, length) = heads::response(head);
        let part = if heads::is_switching(head) {
            let early = Rc::<RefCell<Early>>::default();
            let there = self.relay.down.connection();
            exchange.hand_over(Box::new(Tunnel::new(there, early.clone())));
            ResponsePart::Switch(response, exchange.id().connection(), early)
        } else {
            ResponsePart::Start(response, length)
        };
        self.relay.put_response(part);
        Ok(())
    }

    fn body_received(&mut self, exchange: &mut client::Exchange<'_>, data: &[u8]) -> Result {
        let part = ResponsePart::Data(Bytes::copy_from_slice(data));
        if self.relay.put_response(part) {
            exchange.pause_reading();
        }
        Ok(())
    }

    fn body_ended(&mut self, exchange: &mut client::Exchange<'_>, trailers: &Headers) -> Result {
        self.relay.put_response(ResponsePart::End(heads::trailers(trailers)));
        if exchange.is_reusable() {
            let (upstream, id) = (self.relay.upstream.clone(), exchange.id().connection());
            self.relay.local.call_soon(move |reactor| upstream.give_back(reactor, id));
        }
        self.relay.up.set(None);
        Ok(())
    }

    fn exchange_lost(&mut self, failure: &Failure) {
        let relay = self.relay.clone();
        relay.up.set(None);
        if relay.is_abandoned.get() {
            return;
        }
        if self.was_kept && matches!(failure, Failure::Unanswered(_)) && relay.may_repeat.get() {
            return relay.begin();
        }
        let status = match failure {
            Failure::TimedOut(..) => Status::GATEWAY_TIMEOUT,
            _ => Status::BAD_GATEWAY,
        };
        relay.fail(status, failure);
    }

    fn resume_producing(&mut self, exchange: &mut client::Exchange<'_>) -> Result {
        self.relay.drain_request(exchange);
        let relay = self.relay.clone();
        self.relay.local.call_soon(move |reactor| relay.resume_downstream(reactor));
        Ok(())
    }
}
