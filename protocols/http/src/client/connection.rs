//! The client's side of an HTTP/1.1 connection as a state machine: a request in, bytes out; bytes in,
//! events out. No I/O, no clock, no handler.
//!
//! The one rule: one request at a time. The next may be sent once the response is whole, the request
//! was sent to its end, and both sides said that the connection stays; bytes that nobody asked for end
//! it, as they could be taken for the next answer.

mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::ConnectionConfig;
use crate::codec::ChunkedDecoder;
use crate::connection::Output;
use crate::{Headers, Method};

/// What came of some input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// Nothing, without more input. What was not consumed must be there again.
    NeedMore,
    /// A 1xx response is in the head.
    InformationalReceived,
    /// The answer's head is in the head.
    HeadReceived,
    /// Bytes of the body, never empty.
    BodyReceived(&'a [u8]),
    /// The response is whole, and the exchange over: [`ClientConnection::is_ready`] tells whether
    /// another may follow.
    BodyEnded,
    /// Nothing, until the body is resumed.
    Blocked,
    /// Nothing is expected: input, if there is some, was not asked for.
    Over,
}

/// What the next bytes from the server are.
#[derive(Debug)]
enum Receiving {
    /// None: no request is under way.
    Idle,
    /// A head. `scanned` bytes of it were there the last time and were no whole head.
    Head { scanned: usize },
    /// A body of so many more bytes; zero is just before its end is told.
    Exact { left: u64 },
    /// A chunked body.
    Chunked(Box<ChunkedDecoder>),
    /// A body that ends with the connection; that of a tunnel, too.
    UntilClose,
    /// Nothing that anybody reads: the connection is not used again.
    Over,
}

/// How far the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// It was sent to its end, or there is none.
    Finished,
    /// The body has so many more bytes.
    Exact { left: u64 },
    /// The body is chunked.
    Chunked,
    /// The connection is a tunnel: bytes go out as they are.
    Raw,
    /// The body was given up.
    Cut,
}

/// What the connection waits for, and so which timeout holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// For nothing from the server.
    Nothing,
    /// For the answer's head.
    Head,
    /// For more of the answer's body.
    Body,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    config: Arc<ConnectionConfig>,
    receiving: Receiving,
    sending: Sending,
    /// Of the current request.
    method: Method,
    upgrades: bool,
    /// Whether another exchange may follow the current one.
    keep_alive: bool,
    /// Whether the body waits for a `100 Continue`.
    awaits_continue: bool,
    /// Whether the handler takes no body for now.
    body_paused: bool,
    /// Whether the server has closed its side.
    input_ended: bool,
    /// Whether a byte of the current answer has come.
    answer_begun: bool,
    /// 1xx responses to the current request.
    informational: u32,
    /// Bytes of the current response, heads included: what progress is measured by.
    received: u64,
    trailers: Headers,
    /// Counts requests, and tells exchanges apart.
    number: u64,
    pub(crate) output: Output,
}

impl ClientConnection {
    pub(crate) fn new(config: Arc<ConnectionConfig>) -> Self {
        Self {
            config,
            receiving: Receiving::Idle,
            sending: Sending::Finished,
            method: Method::Get,
            upgrades: false,
            keep_alive: true,
            awaits_continue: false,
            body_paused: false,
            input_ended: false,
            answer_begun: false,
            informational: 0,
            received: 0,
            trailers: Headers::new(),
            number: 0,
            output: Output::default(),
        }
    }

    pub(crate) fn config(&self) -> &ConnectionConfig {
        &self.config
    }

    /// The number of the current exchange, or of the last; each has another, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether a request may be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.receiving, Receiving::Idle) && self.keep_alive && !self.input_ended
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !matches!(self.receiving, Receiving::Idle | Receiving::Over)
    }

    /// Whether the connection is a tunnel.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.sending == Sending::Raw
    }

    /// Whether some of the request's body may still be written.
    pub(crate) fn takes_body(&self) -> bool {
        matches!(self.sending, Sending::Exact { .. } | Sending::Chunked | Sending::Raw)
    }

    /// Whether the body waits for the server's `100 Continue`.
    pub(crate) fn awaits_continue(&self) -> bool {
        self.awaits_continue
    }

    /// The server says nothing to `Expect: 100-continue`: the body is sent all the same.
    pub(crate) fn stop_awaiting_continue(&mut self) {
        self.awaits_continue = false;
    }

    /// Whether a byte of the current answer has come.
    pub(crate) fn is_answer_begun(&self) -> bool {
        self.answer_begun
    }

    /// The fields behind the last chunked body.
    pub(crate) fn trailers(&self) -> &Headers {
        &self.trailers
    }

    /// Bytes of the current response so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether nothing more of the request has to be sent.
    fn is_sent(&self) -> bool {
        matches!(self.sending, Sending::Finished | Sending::Exact { left: 0 })
    }

    /// What the connection waits for, once the request was sent.
    pub(crate) fn waiting(&self) -> Waiting {
        match &self.receiving {
            Receiving::Head { .. } if self.is_sent() => Waiting::Head,
            Receiving::Exact { left: 0 } => Waiting::Nothing,
            Receiving::UntilClose if self.is_tunnel() => Waiting::Nothing,
            Receiving::Exact { .. } | Receiving::Chunked(_) | Receiving::UntilClose
                if !self.body_paused =>
            {
                Waiting::Body
            }
            _ => Waiting::Nothing,
        }
    }

    /// The handler takes no body until [`resume_body`](Self::resume_body).
    pub(crate) fn pause_body(&mut self) {
        self.body_paused = true;
    }

    pub(crate) fn resume_body(&mut self) {
        self.body_paused = false;
    }

    pub(crate) fn is_body_paused(&self) -> bool {
        self.body_paused
    }

    /// Whether there may be another event without more input: the end of a body.
    pub(crate) fn goes_on_alone(&self) -> bool {
        self.input_ended || matches!(self.receiving, Receiving::Exact { left: 0 })
    }

    /// The server has closed its side.
    pub(crate) fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// Gives back what only an exchange needs.
    pub(crate) fn release(&mut self) {
        drop(self.output.release());
        self.trailers = Headers::new();
    }

    /// A tunnel becomes a connection as if nothing had been sent on it: what comes next is spoken
    /// inside.
    #[cfg(feature = "_tls")]
    pub(crate) fn restart(&mut self) {
        self.receiving = Receiving::Idle;
        self.sending = Sending::Finished;
        self.keep_alive = true;
        self.body_paused = false;
    }

    /// Something came behind the last response that nobody asked for.
    pub(crate) fn refuse_reuse(&mut self) {
        self.keep_alive = false;
        if matches!(self.receiving, Receiving::Idle) {
            self.receiving = Receiving::Over;
        }
    }

    /// The exchange and its connection are given up.
    pub(crate) fn give_up(&mut self) {
        self.receiving = Receiving::Over;
        self.sending = Sending::Cut;
        self.keep_alive = false;
        self.awaits_continue = false;
    }

    /// The response is whole. The only place where an exchange ends in order.
    fn settle(&mut self) {
        self.body_paused = false;
        self.awaits_continue = false;
        // A request that was not sent to its end has no place for the next one behind it.
        if !self.is_sent() {
            self.sending = Sending::Cut;
            self.keep_alive = false;
        }
        self.receiving = if self.keep_alive { Receiving::Idle } else { Receiving::Over };
    }
}
