//! Writing requests: which framing a body gets, and what the head says about it.

use bytes::Bytes;

use super::{ClientConnection, Receiving, Sending};
use crate::client::{RequestBody, RequestHead};
use crate::codec::encode::{write_content_length, write_field, write_fields};
use crate::codec::{write_chunk, write_chunk_size, write_last_chunk};
use crate::{Headers, LOG, Method};

impl ClientConnection {
    /// Writes a request, or its head. `false`, and nothing is written, if one is under way or the
    /// connection is not to be used again.
    pub(crate) fn send(&mut self, head: &RequestHead, body: &RequestBody) -> bool {
        if !self.is_ready() {
            return false;
        }
        self.number += 1;
        self.method = head.method;
        self.upgrades = head.upgrades;
        self.keep_alive = !head.close;
        self.body_paused = false;
        self.answer_begun = false;
        self.informational = 0;
        self.received = 0;
        self.trailers.clear();
        self.receiving = Receiving::Head { scanned: 0 };
        self.write_head(head, body);
        self.sending = match body {
            RequestBody::Empty => Sending::Finished,
            RequestBody::Whole(data) => {
                self.output.push_bytes(data.clone());
                Sending::Finished
            }
            RequestBody::Exact(0) => Sending::Finished,
            RequestBody::Exact(length) => Sending::Exact { left: *length },
            RequestBody::Chunked => Sending::Chunked,
        };
        self.awaits_continue = head.expects_continue && self.takes_body();
        true
    }

    fn write_head(&mut self, head: &RequestHead, body: &RequestBody) {
        let out = &mut self.output.tail;
        out.extend_from_slice(head.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(head.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        write_field(out, b"Host", head.host.as_bytes());
        write_fields(out, &head.headers);
        match body {
            // A method whose request usually has a body says that this one has none (RFC 9110 §8.6).
            RequestBody::Empty => {
                if matches!(head.method, Method::Post | Method::Put | Method::Patch) {
                    write_content_length(out, 0);
                }
            }
            RequestBody::Whole(data) => write_content_length(out, data.len() as u64),
            RequestBody::Exact(length) => write_content_length(out, *length),
            RequestBody::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        match (head.upgrades, head.close) {
            (true, _) => out.extend_from_slice(b"Connection: Upgrade\r\n"),
            (false, true) => out.extend_from_slice(b"Connection: close\r\n"),
            (false, false) => {}
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Writes a part of the body. What is beyond the announced length is dropped: it would be taken
    /// for the next request.
    pub(crate) fn write_body(&mut self, data: &[u8]) {
        match &mut self.sending {
            Sending::Exact { left } => {
                let taken = usize::try_from(*left).map_or(data.len(), |l| l.min(data.len()));
                *left -= taken as u64;
                warn_of_excess(data.len() - taken);
                self.output.tail.extend_from_slice(&data[..taken]);
            }
            Sending::Chunked => write_chunk(&mut self.output.tail, data),
            Sending::Raw => self.output.tail.extend_from_slice(data),
            Sending::Finished | Sending::Cut => {}
        }
    }

    /// The same, without copying what is large.
    pub(crate) fn write_body_bytes(&mut self, mut data: Bytes) {
        match &mut self.sending {
            Sending::Exact { left } => {
                let taken = usize::try_from(*left).map_or(data.len(), |l| l.min(data.len()));
                *left -= taken as u64;
                warn_of_excess(data.len() - taken);
                data.truncate(taken);
                self.output.push_bytes(data);
            }
            Sending::Chunked if !data.is_empty() => {
                write_chunk_size(&mut self.output.tail, data.len());
                self.output.push_bytes(data);
                self.output.tail.extend_from_slice(b"\r\n");
            }
            Sending::Raw => self.output.push_bytes(data),
            Sending::Chunked | Sending::Finished | Sending::Cut => {}
        }
    }

    /// The body is complete; trailers go out if it is chunked. `false` if it is shorter than was
    /// announced: then the server waits for the rest, and the exchange has to be given up.
    pub(crate) fn finish(&mut self, trailers: &Headers) -> bool {
        match self.sending {
            Sending::Exact { left: 0 } => {}
            Sending::Exact { left } => {
                log::warn!(target: LOG, "a request ended {left} bytes before its announced length");
                return false;
            }
            Sending::Chunked => write_last_chunk(&mut self.output.tail, trailers),
            Sending::Raw | Sending::Finished | Sending::Cut => return true,
        }
        self.sending = Sending::Finished;
        true
    }
}

fn warn_of_excess(excess: usize) {
    if excess > 0 {
        log::warn!(target: LOG, "{excess} bytes beyond a request's announced length were dropped");
    }
}
