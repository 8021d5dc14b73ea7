//! Reading requests: one head, then its body, as far as the input goes.

use super::{Connection, Event, Receiving, Sending};
use crate::codec::{BodyLength, Framing, Piece, check_partial, has_blank_line, parse_request};
use crate::{Error, Request};

impl Connection {
    pub(super) fn receive_head<'a>(
        &mut self,
        input: &'a [u8],
        scanned: usize,
        request: &mut Request,
    ) -> Result<(usize, Event<'a>), Error> {
        // Empty lines before a request are skipped (RFC 9112 §2.2).
        let mut skipped = 0;
        while scanned == 0 && input[skipped..].starts_with(b"\r\n") {
            skipped += 2;
        }
        let head = &input[skipped..];
        let parsed = if head.is_empty() || head == b"\r" {
            None
        } else if scanned > 0 && !has_blank_line(&head[scanned.saturating_sub(3).min(head.len())..])
        {
            check_partial(head, &self.config)?;
            None
        } else {
            parse_request(head, &self.config, request)?
        };
        match parsed {
            Some((length, framing)) => {
                self.begin(framing, request);
                Ok((skipped + length, Event::RequestReceived))
            }
            None if self.input_ended => {
                self.receiving = Receiving::Over;
                Ok((input.len(), Event::Over))
            }
            None => {
                let scanned = if head == b"\r" { 0 } else { head.len() };
                self.receiving = Receiving::Head { scanned };
                Ok((skipped, Event::NeedMore))
            }
        }
    }

    /// A request's head is in.
    fn begin(&mut self, framing: Framing, request: &Request) {
        self.method = request.method;
        self.version = request.version;
        self.keep_alive = framing.keep_alive;
        self.expects_continue = framing.expects_continue;
        self.body_paused = false;
        self.body_received = 0;
        self.body_limit = u64::MAX;
        self.drained = 0;
        self.number += 1;
        self.status = None;
        self.body_sent = 0;
        self.sending = Sending::Awaited;
        self.receiving = match framing.body {
            BodyLength::Exact(0) => Receiving::Complete,
            BodyLength::Exact(left) => Receiving::Exact { left },
            BodyLength::Chunked => Receiving::Chunked(Box::default()),
        };
    }

    pub(super) fn receive_body<'a>(
        &mut self,
        input: &'a [u8],
        request: &mut Request,
    ) -> Result<(usize, Event<'a>), Error> {
        let mut at = 0;
        loop {
            // Once the response is complete, the rest is drained.
            let draining = self.sending == Sending::Finished;
            if self.body_paused {
                return Ok((at, Event::Blocked));
            }
            let (used, piece) = match &mut self.receiving {
                Receiving::Exact { left: 0 } => (0, Piece::Ended),
                Receiving::Exact { left } => {
                    let rest = &input[at..];
                    let used = usize::try_from(*left).map_or(rest.len(), |l| l.min(rest.len()));
                    *left -= used as u64;
                    match &rest[..used] {
                        [] => (0, Piece::NeedMore),
                        data => (used, Piece::Data(data)),
                    }
                }
                Receiving::Chunked(decoder) => {
                    decoder.decode(&input[at..], &self.config, &mut request.trailers)?
                }
                _ => return Ok((at, Event::Blocked)),
            };
            at += used;
            match piece {
                Piece::Data(data) if draining => {
                    self.drained += data.len() as u64;
                    if self.drained > self.config.max_drain {
                        self.receiving = Receiving::Over;
                        return Ok((input.len(), Event::Over));
                    }
                }
                Piece::Data(data) => {
                    // A client that did not wait needs no 100 (RFC 9110 §10.1.1).
                    self.expects_continue = false;
                    self.body_received += data.len() as u64;
                    if self.body_received > self.body_limit {
                        return Err(Error::BodyTooLarge);
                    }
                    return Ok((at, Event::BodyReceived(data)));
                }
                Piece::NeedMore if self.input_ended => return Err(Error::Truncated),
                Piece::NeedMore => return Ok((at, Event::NeedMore)),
                Piece::Ended => {
                    self.receiving = Receiving::Complete;
                    if draining {
                        self.settle();
                        return self.receive(&input[at..], request).map(|(n, e)| (at + n, e));
                    }
                    return Ok((at, Event::BodyEnded));
                }
            }
        }
    }
}
