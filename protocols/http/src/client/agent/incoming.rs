//! What has come of an answer and was not taken yet: between the connection, which puts it there, and
//! the future or callback that takes it.
//!
//! The one rule: what waits is bounded. Above a mark the connection is paused, and TCP slows the server
//! down.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::SystemTime;

use bytes::Bytes;
use ropewalk_reactor::{Local, Result};

use super::pool::Lease;
use super::upload::Upload;
use crate::Headers;
use crate::client::{Exchange, ExchangeId, Failure, HttpClient, ResponseHandler};
use crate::codec::ResponseHead;

/// Above this much unread body the server is slowed down; one read more may come. As the reactor's own
/// high-water mark.
const HIGH_WATER_MARK: usize = 64 * 1024;
/// A quarter of it, so that reading resumes before the reader runs dry and not for each piece.
const LOW_WATER_MARK: usize = HIGH_WATER_MARK / 4;
/// What a piece costs besides its bytes: small chunks are mostly that.
const OVERHEAD: usize = 64;

#[derive(Default)]
struct Incoming {
    head: Option<(ResponseHead, SystemTime)>,
    pieces: VecDeque<Bytes>,
    buffered: usize,
    is_paused: bool,
    end: Option<Result<Headers, Failure>>,
    waker: Option<Waker>,
}

/// The side that takes an answer. Dropping it before the answer is whole gives the exchange up.
pub(super) struct Answer {
    incoming: Rc<RefCell<Incoming>>,
    id: Option<ExchangeId>,
    local: Local,
}

/// The side that the connection calls. It holds the lease of its connection, and gives it back.
pub(super) struct Receiver {
    incoming: Rc<RefCell<Incoming>>,
    lease: Option<Lease>,
    upload: Option<Upload>,
}

/// Both sides of the answer to a request with this body.
pub(super) fn answer(local: &Local, lease: Lease, upload: Option<Upload>) -> (Receiver, Answer) {
    let incoming = Rc::new(RefCell::new(Incoming::default()));
    let receiver = Receiver { incoming: incoming.clone(), lease: Some(lease), upload };
    (receiver, Answer { incoming, id: None, local: local.clone() })
}

impl Answer {
    /// The request was sent: this is its exchange.
    pub(super) fn begun(&mut self, id: ExchangeId) {
        self.id = Some(id);
    }

    /// The answer's head, once it is here, and when it came.
    pub(super) async fn head(&mut self) -> Result<(ResponseHead, SystemTime), Failure> {
        poll_fn(|context| {
            let mut incoming = self.incoming.borrow_mut();
            if let Some(head) = incoming.head.take() {
                return Poll::Ready(Ok(head));
            }
            if let Some(Err(failure)) = &incoming.end {
                return Poll::Ready(Err(failure.clone()));
            }
            incoming.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next piece of the body, never empty; `None` behind the last. Giving this up takes nothing.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        poll_fn(|context| {
            let mut incoming = self.incoming.borrow_mut();
            if let Some(piece) = incoming.pieces.pop_front() {
                incoming.buffered -= piece.len() + OVERHEAD;
                if incoming.is_paused && incoming.buffered <= LOW_WATER_MARK {
                    incoming.is_paused = false;
                    self.with_exchange(|exchange| exchange.resume_reading());
                }
                return Poll::Ready(Ok(Some(piece)));
            }
            match &incoming.end {
                Some(Ok(_)) => Poll::Ready(Ok(None)),
                Some(Err(failure)) => Poll::Ready(Err(failure.clone())),
                None => {
                    incoming.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Whether the answer is whole, or will never be; what came of it may still wait.
    pub(super) fn is_over(&self) -> bool {
        self.incoming.borrow().end.is_some()
    }

    /// The fields behind a chunked body, once that has ended.
    pub(super) fn trailers(&self) -> Headers {
        match &self.incoming.borrow().end {
            Some(Ok(trailers)) => trailers.clone(),
            _ => Headers::new(),
        }
    }

    fn with_exchange(&self, call: fn(&mut Exchange<'_>)) {
        let Some(id) = self.id else { return };
        self.local.call_soon(move |reactor| {
            reactor.with_protocol::<HttpClient, _>(id.connection(), |client, transport| {
                client.with_exchange(transport, id, call);
            });
        });
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_over() {
            self.with_exchange(|exchange| exchange.abort());
        }
    }
}

impl Receiver {
    fn put(&mut self, put: impl FnOnce(&mut Incoming)) {
        let waker = {
            let mut incoming = self.incoming.borrow_mut();
            put(&mut incoming);
            incoming.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl ResponseHandler for Receiver {
    fn head_received(&mut self, exchange: &mut Exchange<'_>, head: &ResponseHead) -> Result {
        let now = exchange.transport().wall_clock();
        self.put(|incoming| incoming.head = Some((head.clone(), now)));
        Ok(())
    }

    fn body_received(&mut self, exchange: &mut Exchange<'_>, data: &[u8]) -> Result {
        self.put(|incoming| {
            incoming.pieces.push_back(Bytes::copy_from_slice(data));
            incoming.buffered += data.len() + OVERHEAD;
            if incoming.buffered >= HIGH_WATER_MARK {
                incoming.is_paused = true;
                exchange.pause_reading();
            }
        });
        Ok(())
    }

    fn body_ended(&mut self, exchange: &mut Exchange<'_>, trailers: &Headers) -> Result {
        self.put(|incoming| incoming.end = Some(Ok(trailers.clone())));
        match self.lease.take() {
            Some(lease) if exchange.is_reusable() => drop(lease),
            Some(lease) => lease.discard(),
            None => {}
        }
        Ok(())
    }

    fn exchange_lost(&mut self, failure: &Failure) {
        self.put(|incoming| incoming.end = Some(Err(failure.clone())));
        if let Some(lease) = self.lease.take() {
            lease.discard();
        }
    }

    fn resume_producing(&mut self, exchange: &mut Exchange<'_>) -> Result {
        match &mut self.upload {
            Some(upload) => upload.produce(exchange),
            None => Ok(()),
        }
    }
}
