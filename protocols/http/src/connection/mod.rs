//! The server's side of an HTTP/1.1 connection as a state machine: bytes in, events out, response
//! in, bytes out. No I/O, no clock (the time is passed in), no handler.
//!
//! The one rule: one request at a time. A pipelined request is not looked at before the response
//! to the one before it is complete, so responses are in order without a queue of them, and what
//! a client has sent too early stays in its own buffer, bounded by the shell.

mod output;
mod receive;
mod respond;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

pub(crate) use output::{Output, Sink};

use crate::codec::ChunkedDecoder;
use crate::{Config, Error, Method, Request, Status, Version};

/// What came of some input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// Nothing, without more input. What was not consumed must be there again.
    NeedMore,
    /// A head is in the request. Where [`Connection::expects_body`], the body follows; else the
    /// request is whole.
    RequestReceived,
    /// Bytes of the body, never empty.
    BodyReceived(&'a [u8]),
    /// The request is whole.
    BodyEnded,
    /// Nothing, until the response is complete or the body is resumed.
    Blocked,
    /// There will be no more requests: close once the output has been flushed.
    Over,
}

/// What the connection waits for, and so which timeout holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// For the first byte of a request.
    Request,
    /// For the rest of a head.
    Head,
    /// For more of a body.
    Body,
    /// For the handler, or for nothing.
    Handler,
}

/// What the next bytes from the peer are.
#[derive(Debug)]
enum Receiving {
    /// A head. `scanned` bytes of it were there the last time and were no whole head.
    Head { scanned: usize },
    /// A body of so many more bytes; zero is just before its end is told.
    Exact { left: u64 },
    /// A chunked body.
    Chunked(Box<ChunkedDecoder>),
    /// The next request, which has to wait.
    Complete,
    /// Nothing that anybody reads.
    Over,
}

/// How far the response to the current request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// There is no request to answer.
    Idle,
    /// The head has not been written.
    Awaited,
    /// The body has so many more bytes.
    Exact { left: u64 },
    /// The body is chunked.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
    /// There is no body to send, although the handler may produce one (HEAD, 204, 304).
    Bodiless,
    /// Complete.
    Finished,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    config: Arc<Config>,
    receiving: Receiving,
    sending: Sending,
    /// Of the current request.
    method: Method,
    version: Version,
    /// Whether another request may follow the current one.
    keep_alive: bool,
    /// Whether the client waits for a `100 Continue` that it has not been sent.
    expects_continue: bool,
    /// Whether the handler takes no body for now.
    body_paused: bool,
    /// Whether the peer has closed its side.
    input_ended: bool,
    /// Whether the last response ends with the connection.
    is_close_delimited: bool,
    /// Bytes of the current body so far, and how many it may have.
    body_received: u64,
    body_limit: u64,
    /// Bytes of the current body that were thrown away since the response was complete.
    drained: u64,
    /// Counts requests, and tells exchanges apart.
    number: u64,
    /// What the current request, or the last one, was answered with, and how much body that had.
    status: Option<Status>,
    body_sent: u64,
    /// No request is taken after the next response.
    ending: bool,
    pub(crate) output: Output,
}

impl Connection {
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            receiving: Receiving::Head { scanned: 0 },
            sending: Sending::Idle,
            method: Method::Get,
            version: Version::Http11,
            keep_alive: true,
            expects_continue: false,
            body_paused: false,
            input_ended: false,
            is_close_delimited: false,
            body_received: 0,
            body_limit: u64::MAX,
            drained: 0,
            number: 0,
            status: None,
            body_sent: 0,
            ending: false,
            output: Output::default(),
        }
    }

    /// Consumes a piece of `input`: how many bytes, and what came of them. Call it again with the
    /// rest until it answers `NeedMore`, `Blocked` or `Over`. After an error call
    /// [`refuse`](Self::refuse).
    pub(crate) fn receive<'a>(
        &mut self,
        input: &'a [u8],
        request: &mut Request,
    ) -> Result<(usize, Event<'a>), Error> {
        match self.receiving {
            Receiving::Head { scanned } => self.receive_head(input, scanned, request),
            Receiving::Complete => Ok((0, Event::Blocked)),
            Receiving::Over => Ok((input.len(), Event::Over)),
            Receiving::Exact { .. } | Receiving::Chunked(_) => self.receive_body(input, request),
        }
    }

    /// The peer has closed its side: what it has sent is answered, then the connection is over.
    pub(crate) fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// What the connection waits for. `pending`: whether it was left with unconsumed input.
    pub(crate) fn waiting(&self, pending: bool) -> Waiting {
        match &self.receiving {
            Receiving::Head { .. } if pending => Waiting::Head,
            Receiving::Head { .. } => Waiting::Request,
            Receiving::Exact { left: 0 } => Waiting::Handler,
            Receiving::Exact { .. } | Receiving::Chunked(_) if !self.body_paused => Waiting::Body,
            _ => Waiting::Handler,
        }
    }

    /// Whether more input could be used now.
    pub(crate) fn wants_input(&self) -> bool {
        match &self.receiving {
            Receiving::Head { .. } => true,
            Receiving::Exact { .. } | Receiving::Chunked(_) => !self.body_paused,
            Receiving::Complete => false,
            Receiving::Over => true, // it is thrown away
        }
    }

    /// Whether there is nothing left to do but flush and close.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.receiving, Receiving::Over)
            && matches!(self.sending, Sending::Idle | Sending::Finished)
    }

    /// Whether a request has been given out and its response is not complete.
    pub(crate) fn is_answering(&self) -> bool {
        !matches!(self.sending, Sending::Idle | Sending::Finished)
    }

    /// Whether the response's head has not been written.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.sending == Sending::Awaited
    }

    /// Whether the response has begun and what is written of its body goes out.
    pub(crate) fn takes_body(&self) -> bool {
        matches!(self.sending, Sending::Exact { .. } | Sending::Chunked | Sending::UntilClose)
    }

    /// Whether the response that was begun, and perhaps cut, ends with the connection.
    pub(crate) fn is_close_delimited(&self) -> bool {
        self.is_close_delimited
    }

    /// The length of the current body, before any of it was received; `None` if it is chunked.
    pub(crate) fn body_length(&self) -> Option<u64> {
        match &self.receiving {
            Receiving::Exact { left } => Some(*left + self.body_received),
            Receiving::Chunked(_) => None,
            _ => Some(self.body_received),
        }
    }

    /// Whether there may be another event without more input: the end of a body, or of all.
    pub(crate) fn goes_on_alone(&self) -> bool {
        self.input_ended || matches!(self.receiving, Receiving::Exact { left: 0 })
    }

    /// Whether the next request's head is not in.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.sending == Sending::Idle
    }

    /// Whether a request was answered, and the rest of its body is read and thrown away.
    pub(crate) fn is_draining(&self) -> bool {
        self.sending == Sending::Finished
    }

    /// Whether nothing of a request is here, nor of a response.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.receiving, Receiving::Head { .. })
            && self.sending == Sending::Idle
            && self.output.is_empty()
    }

    /// Whether the handler takes no body for now.
    pub(crate) fn is_body_paused(&self) -> bool {
        self.body_paused
    }

    /// Whether the request has a body that is not all in.
    pub(crate) fn expects_body(&self) -> bool {
        match &self.receiving {
            Receiving::Exact { left } => *left > 0,
            Receiving::Chunked(_) => true,
            _ => false,
        }
    }

    /// Bytes of the current body so far, those thrown away included.
    pub(crate) fn body_received(&self) -> u64 {
        self.body_received + self.drained
    }

    /// What the current request, or the last one, was answered with, and the bytes of the body.
    pub(crate) fn answered(&self) -> (Option<Status>, u64) {
        (self.status, self.body_sent)
    }

    /// No request is taken after the current one, or after the next if there is none.
    pub(crate) fn end_after_response(&mut self) {
        self.ending = true;
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending
    }

    /// The number of the current exchange; each request has another.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Takes at most so many bytes of the current body, in all. An error if its length is known
    /// and greater.
    pub(crate) fn limit_body(&mut self, limit: u64) -> Result<(), Error> {
        self.body_limit = limit;
        match &self.receiving {
            Receiving::Exact { left } if left.saturating_add(self.body_received) > limit => {
                Err(Error::BodyTooLarge)
            }
            _ if self.body_received > limit => Err(Error::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// The handler takes no body until [`resume_body`](Self::resume_body).
    pub(crate) fn pause_body(&mut self) {
        self.body_paused = true;
    }

    pub(crate) fn resume_body(&mut self) {
        self.body_paused = false;
    }

    /// Goes on to the next request once both the request and its response are complete. The only
    /// place where an exchange ends in order.
    fn settle(&mut self) {
        if self.sending != Sending::Finished {
            return;
        }
        self.body_paused = false; // whoever paused it has gone
        match (&self.receiving, self.keep_alive && !self.ending) {
            (Receiving::Complete, true) => {
                self.sending = Sending::Idle;
                self.receiving = Receiving::Head { scanned: 0 };
            }
            // The rest of the request is thrown away, up to a limit.
            (Receiving::Exact { .. } | Receiving::Chunked(_), true) => {}
            _ => self.receiving = Receiving::Over,
        }
    }
}
