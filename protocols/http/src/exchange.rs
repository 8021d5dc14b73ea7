//! One request and its response, as a handler acts on them while a callback runs.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ropewalk_reactor::{ConnectionId, Deferred, Error, Protocol, TimerId, Transport, Written};

use crate::connection::Connection;
use crate::filter::{Filters, ResponseFilter};
use crate::flush::{flush, written};
use crate::handler::ExchangeHandler;
use crate::response::Body;
use crate::{Headers, HttpServer, LOG, Request, Response};

/// Names one exchange: a connection, and the how-manieth of its requests. `Copy`; a stale one
/// finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExchangeId {
    connection: ConnectionId,
    number: u64,
}

impl ExchangeId {
    pub(crate) fn new(connection: ConnectionId, number: u64) -> Self {
        Self { connection, number }
    }

    /// The connection that the exchange is on.
    pub fn connection(self) -> ConnectionId {
        self.connection
    }

    pub(crate) fn number(self) -> u64 {
        self.number
    }
}

/// One request and its response, for as long as a callback runs.
///
/// What is written after the response is complete, or after the connection has gone, is dropped in
/// silence, as a transport does.
pub struct Exchange<'a> {
    pub(crate) request: &'a Request,
    pub(crate) connection: &'a mut Connection,
    pub(crate) flow: &'a mut Flow,
    pub(crate) transport: Transport<'a>,
}

/// What the server and its exchanges share besides the connection's state.
#[derive(Default)]
pub(crate) struct Flow {
    /// Follows the current exchange.
    pub(crate) current: Option<Box<dyn ExchangeHandler>>,
    /// `current` has not been asked to produce yet.
    pub(crate) is_fresh: bool,
    /// Output passed the high-water mark, and nobody has said that it fell.
    pub(crate) is_congested: bool,
    /// Change the response of the current exchange.
    pub(crate) filters: Filters,
    /// The middlewares that have seen the current exchange, by number.
    pub(crate) asked: Vec<u64>,
    /// Who the current request is from, once it was found out.
    pub(crate) user: Option<Box<str>>,
    /// The protocol that has taken the connection over.
    pub(crate) upgraded: Option<Box<dyn Protocol>>,
    /// Its `connection_made` has not been called yet.
    pub(crate) upgrade_is_fresh: bool,
    /// The wall clock, once it was read in this callback.
    pub(crate) wall: Option<SystemTime>,
}

impl Flow {
    /// What belonged to the last exchange is dropped.
    pub(crate) fn forget_exchange(&mut self) {
        self.filters.clear();
        self.asked.clear();
        self.user = None;
    }
}

impl<'a> Exchange<'a> {
    /// Names this exchange; a later callback can reach it by this name, with
    /// [`HttpServer::with_exchange`].
    pub fn id(&self) -> ExchangeId {
        ExchangeId::new(self.transport.id(), self.connection.number())
    }

    /// The request: its head, and its body if that was gathered.
    pub fn request(&self) -> &Request {
        self.request
    }

    /// Whether the response has not begun.
    pub fn is_unanswered(&self) -> bool {
        self.connection.is_unanswered()
    }

    /// Whether the connection ends with this exchange because its site drains: a response that would
    /// go on for ever should not begin.
    pub fn is_draining(&self) -> bool {
        self.connection.is_ending()
    }

    /// The transport underneath, for everything that is not HTTP: time, other connections,
    /// threads. Do not write to it.
    pub fn transport(&mut self) -> &mut Transport<'a> {
        &mut self.transport
    }

    // The response.

    /// Answers with the whole response; a body that is pulled is produced from here on. Nothing
    /// happens if the response has begun already.
    pub fn respond(&mut self, mut response: Response) {
        let now = self.wall_clock();
        if !self.is_unanswered() {
            return;
        }
        match std::mem::replace(&mut response.body, Body::Whole(Bytes::new())) {
            Body::Whole(mut body) => {
                let length = Some(body.len() as u64);
                if self.flow.filters.start(self.request, &mut response, length) {
                    let mut rewritten = self.flow.filters.write(&body).to_vec();
                    rewritten.extend_from_slice(self.flow.filters.finish());
                    body = rewritten.into();
                }
                self.connection.respond(&response, body, now);
            }
            Body::Pulled { length, pieces } => {
                self.start_filtered(&mut response, length, now);
                if self.connection.takes_body() {
                    self.hand_over(Box::new(Pull { pieces }));
                } else {
                    self.finish(); // HEAD: nothing is produced in vain
                }
            }
        }
    }

    /// Sends the head of a response whose body is written piece by piece with
    /// [`write`](Self::write) and ended with [`finish`](Self::finish). With a `length` that many
    /// bytes must follow; without, the body is chunked (for HTTP/1.0, ended by closing). The
    /// response's own body is not sent. `false` if the response has begun already.
    pub fn start(&mut self, mut response: Response, length: Option<u64>) -> bool {
        let now = self.wall_clock();
        self.is_unanswered() && self.start_filtered(&mut response, length, now)
    }

    fn start_filtered(
        &mut self,
        response: &mut Response,
        length: Option<u64>,
        now: SystemTime,
    ) -> bool {
        let is_rewritten = self.flow.filters.start(self.request, response, length);
        self.connection.start(response, length.filter(|_| !is_rewritten), now)
    }

    /// Sends a response before the response: `103 Early Hints` with its Link fields, say
    /// (RFC 9110 §15.2). Its body is not sent. Nothing happens if the status is not 1xx or is 101, if
    /// the response has begun already, or if the client speaks HTTP/1.0, which does not know such.
    pub fn send_informational(&mut self, response: &Response) {
        self.connection.send_informational(response);
    }

    /// Lets `filter` change the response, behind those that were added before. Too late once the
    /// response has begun: it is dropped.
    pub fn filter(&mut self, filter: impl ResponseFilter) {
        self.flow.filters.add(Box::new(filter));
    }

    /// Who the request is from, as whoever has found out says: for the access log, and for handlers.
    pub fn set_user(&mut self, user: impl Into<Box<str>>) {
        self.flow.user = Some(user.into());
    }

    /// Who the request is from, if somebody has found out: the name of
    /// [`BasicAuth`](crate::BasicAuth), say.
    pub fn user(&self) -> Option<&str> {
        self.flow.user.as_deref()
    }

    /// Writes a piece of the body after [`start`](Self::start). When the answer is
    /// `AboveHighWater`, stop until `resume_producing`.
    pub fn write(&mut self, data: &[u8]) -> Written {
        if self.flow.filters.rewrites() {
            if self.connection.takes_body() {
                self.connection.write_body(self.flow.filters.write(data));
            }
        } else {
            self.connection.write_body(data);
        }
        self.written()
    }

    /// As [`write`](Self::write), without copying a piece of 16 KiB and more.
    pub fn write_bytes(&mut self, data: Bytes) -> Written {
        if self.flow.filters.rewrites() {
            return self.write(&data);
        }
        self.connection.write_body_bytes(data);
        self.written()
    }

    /// Writes `length` bytes of `file`, from `offset` on, as a piece of the body, without copying them
    /// where the system can do that; see
    /// [`Transport::write_file`](ropewalk_reactor::Transport::write_file), also for what it means to the
    /// loop. `None`, and nothing is written, if a filter rewrites the body: it has to see the bytes.
    pub fn write_file(&mut self, file: Arc<File>, offset: u64, length: u64) -> Option<Written> {
        if self.flow.filters.rewrites() {
            return None;
        }
        let length = self.connection.begin_file(length);
        if length == 0 {
            return Some(self.written());
        }
        flush(&mut self.connection.output, &mut self.transport, &mut self.flow.is_congested);
        let written = self.transport.write_file(file, offset, length);
        self.flow.is_congested |= written == Written::AboveHighWater;
        self.connection.end_file();
        Some(written)
    }

    /// The body is complete.
    pub fn finish(&mut self) {
        self.finish_with(&Headers::new());
    }

    /// The body is complete, and these fields go behind it, where its coding has room for them
    /// (RFC 9110 §6.5). Announce them in a Trailer field.
    pub fn finish_with(&mut self, trailers: &Headers) {
        if self.flow.filters.rewrites() && self.connection.takes_body() {
            self.connection.write_body(self.flow.filters.finish());
        }
        self.connection.finish(trailers);
    }

    /// Ends the exchange and its connection at once: the peer sees that the response is cut.
    pub fn abort(&mut self) {
        self.transport.abort_connection();
    }

    /// Whether what is written now is below the high-water mark.
    pub(crate) fn has_room(&self) -> bool {
        !self.flow.is_congested && self.transport.writability() == Written::Taken
    }

    /// Ends a response that has begun and cannot be completed: what was written goes out, then the
    /// connection closes in a way that tells the client that the response is not whole. Nothing
    /// happens if the response has not begun.
    pub fn cut(&mut self) {
        if !self.connection.is_unanswered() && self.connection.is_answering() {
            let is_close_delimited = self.connection.is_close_delimited();
            self.connection.cut();
            if is_close_delimited {
                self.transport.abort_connection();
            }
        }
    }

    /// Hands the connection over to another protocol; see
    /// [`Reply::Upgrade`](crate::Reply::Upgrade). Nothing happens if the response has begun
    /// already.
    pub fn upgrade(&mut self, response: &Response, protocol: Box<dyn Protocol>) {
        let now = self.wall_clock();
        if self.connection.switch_protocols(response, now) {
            self.flow.upgraded = Some(protocol);
            self.flow.upgrade_is_fresh = true;
        }
    }

    /// Gives the exchange to `handler`, which produces its response and takes what is still to
    /// come of the request's body. It replaces one that had the exchange before.
    pub fn hand_over(&mut self, handler: Box<dyn ExchangeHandler>) {
        if self.connection.is_answering() {
            self.flow.current = Some(handler);
            self.flow.is_fresh = true;
        }
    }

    /// Has `resume_producing` called for the handler that has the exchange, once this callback has
    /// returned, if there is room for output: what it waited for is there.
    pub(crate) fn wake_producer(&mut self) {
        self.flow.is_fresh = true;
    }

    // The request's body.

    /// How long the body is; `None` if it is chunked, so that nobody knows yet.
    pub fn body_length(&self) -> Option<u64> {
        self.connection.body_length()
    }

    /// The limit for gathered bodies, [`Config::max_body`](crate::Config::max_body).
    pub fn max_body(&self) -> u64 {
        self.connection.config().max_body
    }

    /// No more `body_received` until [`resume_reading`](Self::resume_reading); the client is slowed
    /// down by the transport's own means.
    pub fn pause_reading(&mut self) {
        self.connection.pause_body();
    }

    /// The body may come again.
    pub fn resume_reading(&mut self) {
        self.connection.resume_body();
    }

    /// Takes at most so many bytes of the body, in all; a longer one is answered with 413. `false`
    /// if it is clear already that it is longer: answer, or let it come and be refused.
    pub fn limit_body(&mut self, limit: u64) -> bool {
        self.connection.limit_body(limit).is_ok()
    }

    // Time.

    /// Calls `call` with this exchange after `delay`; never if it is complete or lost by then.
    pub fn call_later(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut Exchange<'_>) + 'static,
    ) -> TimerId {
        let id = self.id();
        self.transport.call_later(delay, move |server: &mut HttpServer, transport| {
            server.with_exchange(transport, id, call);
        })
    }

    /// Calls `call` with this exchange and the result of `deferred` (of a thread's work, or a
    /// connection to another server); never if the exchange is complete or lost by then.
    pub fn when<T: 'static>(
        &mut self,
        deferred: Deferred<T>,
        call: impl FnOnce(&mut Exchange<'_>, Result<T, Error>) + 'static,
    ) {
        let id = self.id();
        self.transport.when(deferred, move |server: &mut HttpServer, transport, result| {
            server.with_exchange(transport, id, |exchange| call(exchange, result));
        });
    }

    /// Read once a callback, as a read costs as much as all else that a small response needs.
    fn wall_clock(&mut self) -> SystemTime {
        *self.flow.wall.get_or_insert_with(|| self.transport.wall_clock())
    }

    fn written(&mut self) -> Written {
        let is_congested = &mut self.flow.is_congested;
        written(&mut self.connection.output, &mut self.transport, is_congested)
    }
}

/// Produces a response's body from an iterator, as long as there is room.
struct Pull {
    pieces: Box<dyn Iterator<Item = Bytes>>,
}

impl ExchangeHandler for Pull {
    fn resume_producing(&mut self, exchange: &mut Exchange<'_>) -> ropewalk_reactor::Result {
        loop {
            let Some(piece) = self.pieces.next() else {
                exchange.finish();
                return Ok(());
            };
            if exchange.write_bytes(piece) != Written::Taken {
                log::trace!(target: LOG, "{}: waits for the peer", exchange.transport.id());
                return Ok(());
            }
        }
    }
}
