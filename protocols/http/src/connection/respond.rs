//! Writing responses: which framing a body gets, and what the head says about it.

use std::time::SystemTime;

use bytes::Bytes;

use super::{Connection, Receiving, Sending};
use crate::codec::encode::{write_content_length, write_field, write_fields, write_status_line};
use crate::codec::{write_chunk, write_chunk_size, write_last_chunk};
use crate::date::write_date;
use crate::response::Body;
use crate::{Error, Headers, LOG, Method, Response, Status, Version};

/// A head with the fields of most responses: status line 17, Date 37, Content-Type 41,
/// Content-Length 25, Connection 24, with room for some more.
const USUAL_HEAD: usize = 256;

impl Connection {
    /// The handler wants the body: a client that waits for it is told to send it.
    pub(crate) fn accept_body(&mut self) {
        if self.expects_continue && self.sending == Sending::Awaited {
            self.output.tail.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.expects_continue = false;
        }
    }

    /// Writes a head that says nothing but that the response is still to come (RFC 9110 §15.2).
    pub(crate) fn send_informational(&mut self, response: &Response) {
        if response.status == Status::CONTINUE {
            self.accept_body();
        } else if self.sending == Sending::Awaited
            && self.version >= Version::Http11
            && response.status.is_informational()
            && response.status != Status::SWITCHING_PROTOCOLS
        {
            let out = &mut self.output.tail;
            write_status_line(out, response.status);
            write_fields(out, &response.headers);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes a whole response and goes on to the next request. Nothing happens if the response
    /// has begun already.
    pub(crate) fn respond(&mut self, response: &Response, body: Bytes, now: SystemTime) {
        if let Receiving::Exact { left } = &self.receiving
            && *left > self.config.max_drain
        {
            self.keep_alive = false; // the rest of the request will not be read
        }
        if self.start(response, Some(body.len() as u64), now) {
            if self.sending != Sending::Bodiless {
                self.body_sent = body.len() as u64;
                self.output.push_bytes(body);
            }
            self.sending = Sending::Finished;
            self.settle();
        }
    }

    /// Writes a response's head; the body follows, `length` bytes of it if that is known. `false`
    /// if the response has begun already.
    pub(crate) fn start(
        &mut self,
        response: &Response,
        length: Option<u64>,
        now: SystemTime,
    ) -> bool {
        if self.sending != Sending::Awaited {
            return false;
        }
        let tunnel = self.method == Method::Connect && response.status.is_success();
        let bodiless = response.status.is_bodiless() || tunnel;
        self.sending = if bodiless || self.method == Method::Head {
            Sending::Bodiless
        } else {
            match length {
                Some(left) => Sending::Exact { left },
                None if self.version >= Version::Http11 => Sending::Chunked,
                None => Sending::UntilClose,
            }
        };
        self.is_close_delimited = self.sending == Sending::UntilClose;
        // A client that is answered while it waits for its 100 may send the body or not: nobody
        // can tell what its next bytes are.
        self.status = Some(response.status);
        self.keep_alive &= !response.close
            && !self.ending
            && !tunnel
            && !self.expects_continue
            && self.sending != Sending::UntilClose;
        self.write_head(response, length, bodiless, now);
        true
    }

    /// Writes a part of the body. What is beyond the announced length is dropped: it would be
    /// taken for the next response.
    pub(crate) fn write_body(&mut self, data: &[u8]) {
        match &mut self.sending {
            Sending::Exact { left } => {
                let taken = usize::try_from(*left).map_or(data.len(), |l| l.min(data.len()));
                *left -= taken as u64;
                warn_of_excess(data.len() - taken);
                self.output.tail.extend_from_slice(&data[..taken]);
                self.body_sent += taken as u64;
                return;
            }
            Sending::Chunked => write_chunk(&mut self.output.tail, data),
            Sending::UntilClose => self.output.tail.extend_from_slice(data),
            Sending::Idle | Sending::Awaited | Sending::Bodiless | Sending::Finished => return,
        }
        self.body_sent += data.len() as u64;
    }

    /// The same, without copying what is large.
    pub(crate) fn write_body_bytes(&mut self, mut data: Bytes) {
        let offered = data.len() as u64;
        match &mut self.sending {
            Sending::Exact { left } => {
                let taken = usize::try_from(*left).map_or(data.len(), |l| l.min(data.len()));
                *left -= taken as u64;
                warn_of_excess(data.len() - taken);
                data.truncate(taken);
                self.output.push_bytes(data);
                self.body_sent += taken as u64;
                return;
            }
            Sending::Chunked if !data.is_empty() => {
                write_chunk_size(&mut self.output.tail, data.len());
                self.output.push_bytes(data);
                self.output.tail.extend_from_slice(b"\r\n");
            }
            Sending::UntilClose => self.output.push_bytes(data),
            _ => return,
        }
        self.body_sent += offered;
    }

    /// So many bytes of the body follow behind what is in the output: how many of them may.
    pub(crate) fn begin_file(&mut self, length: u64) -> u64 {
        let taken = match &mut self.sending {
            Sending::Exact { left } => {
                let taken = length.min(*left);
                *left -= taken;
                warn_of_excess(usize::try_from(length - taken).unwrap_or(usize::MAX));
                taken
            }
            Sending::Chunked if length > 0 => {
                // A larger one is no file on a machine of 64 bits.
                let size = usize::try_from(length).unwrap_or(usize::MAX);
                write_chunk_size(&mut self.output.tail, size);
                length
            }
            Sending::UntilClose => length,
            _ => 0,
        };
        self.body_sent += taken;
        taken
    }

    /// These bytes are on their way.
    pub(crate) fn end_file(&mut self) {
        if self.sending == Sending::Chunked {
            self.output.tail.extend_from_slice(b"\r\n");
        }
    }

    /// The body is complete; trailers go out if it is chunked. A body that is shorter than was
    /// announced ends the connection, so that the client can tell.
    pub(crate) fn finish(&mut self, trailers: &Headers) {
        match self.sending {
            Sending::Exact { left: 0 } | Sending::Bodiless => {}
            Sending::UntilClose => self.keep_alive = false,
            Sending::Exact { left } => {
                log::warn!(target: LOG, "a response ended {left} bytes before its announced length");
                self.keep_alive = false;
            }
            Sending::Chunked => write_last_chunk(&mut self.output.tail, trailers),
            Sending::Idle | Sending::Awaited | Sending::Finished => return,
        }
        self.sending = Sending::Finished;
        self.settle();
    }

    /// Ends the connection over a request that is not one. The peer is told if its response has
    /// not begun; `false` if it has, and was cut.
    pub(crate) fn refuse(&mut self, error: Error, now: SystemTime) -> bool {
        let text = format!("{error}\n");
        let mut response = Response::text(text).close();
        response.status = error.status();
        self.fail(response, now)
    }

    /// The same, for a failure of the handler's.
    pub(crate) fn fail(&mut self, response: Response, now: SystemTime) -> bool {
        let Body::Whole(body) = &response.body else { return false };
        if self.sending == Sending::Idle {
            // The head was malformed: its method and version are unknown.
            (self.status, self.body_sent) = (None, 0);
            self.method = Method::Get;
            self.version = Version::Http11;
            self.sending = Sending::Awaited;
        }
        self.keep_alive = false;
        let whole =
            !matches!(self.sending, Sending::Exact { .. } | Sending::Chunked | Sending::UntilClose);
        self.respond(&response, body.clone(), now);
        self.receiving = Receiving::Over;
        self.sending = Sending::Finished;
        whole
    }

    /// Ends the connection in the middle of a response, which stays as it is.
    pub(crate) fn cut(&mut self) {
        self.keep_alive = false;
        self.receiving = Receiving::Over;
        self.sending = Sending::Finished;
    }

    /// Writes the head that hands the connection over to another protocol: 101, or a 2xx to
    /// CONNECT. `false` if the response has begun already.
    pub(crate) fn switch_protocols(&mut self, response: &Response, now: SystemTime) -> bool {
        if self.sending != Sending::Awaited {
            return false;
        }
        self.keep_alive = true; // no `Connection: close`
        self.status = Some(response.status);
        self.write_head(response, None, true, now);
        self.sending = Sending::Finished;
        self.receiving = Receiving::Over;
        true
    }

    fn write_head(
        &mut self,
        response: &Response,
        length: Option<u64>,
        bodiless: bool,
        now: SystemTime,
    ) {
        let out = &mut self.output.tail;
        out.reserve(USUAL_HEAD);
        write_status_line(out, response.status);
        if self.config.date && !response.dated {
            write_date(out, now);
        }
        if let Some(server) = &self.config.server {
            write_field(out, b"Server", server.as_bytes());
        }
        if response.is_text {
            out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
        }
        write_fields(out, &response.headers);
        match length {
            _ if bodiless => {}
            Some(length) => write_content_length(out, length),
            None if self.version >= Version::Http11 => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            }
            None => {}
        }
        let offers = response.status == Status::UPGRADE_REQUIRED && self.keep_alive;
        if response.status == Status::SWITCHING_PROTOCOLS || offers {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
        } else if !self.keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if self.version == Version::Http10 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn warn_of_excess(excess: usize) {
    if excess > 0 {
        log::warn!(target: LOG, "{excess} bytes beyond a response's announced length were dropped");
    }
}
