//! What a connection and the futures that use it have in common: bytes that wait to be read,
//! requests that wait to be done, and who is to be woken.

use std::cell::{Ref, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::reading;
use crate::address::Address;
use crate::local::Local;
use crate::output::Written;
use crate::protocol::Reason;
use crate::tasks::TaskId;
use crate::timer::TimerId;
use crate::{BoxError, ConnectionId, Error};

/// Reading pauses when so much waits unread: as much as one receive brings.
pub(crate) const READ_MARK: usize = 64 * 1024;

/// Small payloads are joined up to this size; a larger one stays by itself, and is not copied.
const JOINED: usize = 16 * 1024;

/// What a future asked for; done in order, in the turn's step after the futures.
pub(crate) enum Request {
    Write(BytesMut),
    WriteBytes(Bytes),
    Resume,
    #[cfg(feature = "_tls")]
    StartTls(Box<crate::tls::StartTls>),
    LoseWrite,
    Lose,
    Abort,
    /// The function behind the connection has come to its end.
    Ended(Result<(), Failure>),
}

/// How a function failed.
pub(crate) enum Failure {
    Error(BoxError),
    Panic(String),
}

pub(crate) struct Shared {
    state: RefCell<State>,
    local: Local,
}

pub(crate) struct State {
    /// `None` until the connection is made.
    pub(crate) id: Option<ConnectionId>,
    pub(crate) peer: Address,
    pub(crate) host: Address,
    pub(crate) high_water_mark: usize,
    pub(crate) read_mark: usize,
    /// Received and not read.
    input: BytesMut,
    /// The peer has closed its half, behind `input`.
    eof: bool,
    pub(crate) lost: Option<Reason>,
    /// By `received`, until a future wants more.
    paused: bool,
    pub(crate) handshaken: bool,
    /// More than the high-water mark is waiting; the low-water mark ends that.
    above: bool,
    /// Nothing more is written.
    closing: bool,
    requests: VecDeque<Request>,
    /// The bytes of the writes among them.
    queued: usize,
    /// It is on the list of those to be served.
    pub(crate) in_list: bool,
    /// The one future that reads.
    reader: Option<Waker>,
    waiters: Waiters,
    /// The function behind it, while that runs.
    pub(crate) task: Option<TaskId>,
    /// Drops the function, some time after the loss.
    pub(crate) grace: Option<TimerId>,
}

/// Futures that wait for anything but input.
#[derive(Default)]
struct Waiters {
    next: u64,
    list: Vec<(u64, Waker)>,
}

impl State {
    pub(crate) fn writability(&self) -> Written {
        if self.closing || self.lost.is_some() {
            Written::Gone
        } else if self.above || self.is_queue_full() {
            Written::AboveHighWater
        } else {
            Written::Taken
        }
    }

    /// Whether writes that are still queued here hold up whoever waits for room.
    pub(crate) fn is_queue_full(&self) -> bool {
        self.queued > self.high_water_mark
    }

    pub(crate) fn is_above(&self) -> bool {
        self.above
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    pub(crate) fn lost_error(&self) -> Error {
        let reason = self.lost.as_ref();
        Error::Lost(reason.map_or_else(|| Reason::Closed.to_string(), Reason::to_string))
    }

    pub(crate) fn take_requests(&mut self) -> VecDeque<Request> {
        self.in_list = false;
        self.queued = 0;
        std::mem::take(&mut self.requests)
    }
}

impl Shared {
    pub(crate) fn new(local: Local) -> Self {
        let nowhere = Address::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let state = State {
            id: None,
            peer: nowhere.clone(),
            host: nowhere,
            high_water_mark: usize::MAX,
            read_mark: READ_MARK,
            input: BytesMut::new(),
            eof: false,
            lost: None,
            paused: false,
            handshaken: false,
            above: false,
            closing: false,
            requests: VecDeque::new(),
            queued: 0,
            in_list: false,
            reader: None,
            waiters: Waiters::default(),
            task: None,
            grace: None,
        };
        Self { state: RefCell::new(state), local }
    }

    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(crate) fn borrow(&self) -> Ref<'_, State> {
        self.state.borrow()
    }

    /// Changes the state. No waker is called in here: it may be of another make, and look.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.borrow_mut())
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.state.borrow().input.is_empty()
    }

    // From the connection.

    /// Takes what was received; true when it is enough for now.
    pub(crate) fn received(&self, data: &mut BytesMut) -> bool {
        let paused = self.change(|state| {
            state.input.extend_from_slice(data);
            state.paused = state.input.len() >= state.read_mark;
            state.paused
        });
        data.clear();
        self.wake_reader();
        paused
    }

    pub(crate) fn read_closed(&self) {
        self.change(|state| state.eof = true);
        self.wake_reader();
    }

    /// Output has passed the high-water mark, or fallen to the low one.
    pub(crate) fn set_above(&self, above: bool) {
        self.change(|state| state.above = above);
        if !above {
            self.wake_waiters();
        }
    }

    pub(crate) fn wake_reader(&self) {
        let reader = self.change(|state| state.reader.take());
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(crate) fn wake_waiters(&self) {
        for (_, waiter) in self.change(|state| std::mem::take(&mut state.waiters.list)) {
            waiter.wake();
        }
    }

    // From futures.

    /// Queues a request, and sees to it that it is done.
    pub(crate) fn ask(self: &Rc<Self>, request: Request) {
        self.change(|state| state.requests.push_back(request));
        self.local.serve_later(self);
    }

    pub(crate) fn write(self: &Rc<Self>, data: &[u8]) -> Written {
        let writability = self.borrow().writability();
        if writability == Written::Gone || data.is_empty() {
            return writability;
        }
        let joined = self.change(|state| {
            state.queued += data.len();
            match state.requests.back_mut() {
                Some(Request::Write(last)) if last.len() < JOINED => {
                    last.extend_from_slice(data);
                    true
                }
                _ => false,
            }
        });
        if !joined {
            self.ask(Request::Write(BytesMut::from(data)));
        }
        self.borrow().writability()
    }

    pub(crate) fn write_bytes(self: &Rc<Self>, data: Bytes) -> Written {
        let writability = self.borrow().writability();
        if writability == Written::Gone || data.len() < JOINED {
            return self.write(&data);
        }
        self.change(|state| state.queued += data.len());
        self.ask(Request::WriteBytes(data));
        self.borrow().writability()
    }

    /// Queues one of the requests after which nothing is written.
    pub(crate) fn close(self: &Rc<Self>, request: Request) {
        let gone = self.change(|state| {
            state.closing = true;
            state.lost.is_some()
        });
        if !gone {
            self.ask(request);
        }
        self.wake_waiters(); // who waits for room waits in vain
    }

    /// Takes as many bytes as `take` says, or waits for more.
    pub(crate) fn poll_read(
        self: &Rc<Self>,
        context: &mut Context<'_>,
        take: &mut impl FnMut(&[u8]) -> Option<Result<usize, Error>>,
    ) -> Poll<Result<Option<BytesMut>, Error>> {
        let (poll, resume) = self.change(|state| match take(&state.input) {
            Some(Ok(count)) => {
                let taken = reading::take(&mut state.input, count);
                let resume = state.paused && state.input.len() <= state.read_mark / 2;
                (Poll::Ready(Ok(Some(taken))), resume)
            }
            Some(Err(error)) => (Poll::Ready(Err(error)), false),
            None if state.eof && state.input.is_empty() => (Poll::Ready(Ok(None)), false),
            None if state.eof => (Poll::Ready(Err(Error::CutOff)), false),
            None if state.lost.is_some() => (Poll::Ready(Err(state.lost_error())), false),
            None => {
                state.reader = Some(context.waker().clone());
                (Poll::Pending, state.paused)
            }
        });
        if resume {
            self.change(|state| state.paused = false);
            self.ask(Request::Resume);
        }
        poll
    }

    /// A future that is done when `ready` says so.
    pub(crate) fn wait<R>(self: &Rc<Self>, ready: fn(&State) -> Option<R>) -> Wait<R> {
        Wait { shared: self.clone(), ready, waiter: None }
    }
}

pub(crate) struct Wait<R> {
    shared: Rc<Shared>,
    ready: fn(&State) -> Option<R>,
    waiter: Option<u64>,
}

impl<R> Wait<R> {
    /// One that is given up leaves no waker behind.
    fn forget(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.shared.change(|state| state.waiters.list.retain(|(number, _)| *number != waiter));
        }
    }
}

impl<R> Future for Wait<R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        self.forget();
        let done = (self.ready)(&self.shared.borrow());
        if let Some(result) = done {
            return Poll::Ready(result);
        }
        let waiter = self.shared.change(|state| {
            let number = state.waiters.next;
            state.waiters.next += 1;
            state.waiters.list.push((number, context.waker().clone()));
            number
        });
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl<R> Drop for Wait<R> {
    fn drop(&mut self) {
        self.forget();
    }
}
