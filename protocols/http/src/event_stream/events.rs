//! The subscribers of one stream of events, and what reaches them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ropewalk_reactor::{Local, Reactor, Result};

use super::Event;
use crate::{
    Exchange, ExchangeHandler, ExchangeId, Handler, HttpServer, LOG, Method, Reply, Request,
    Response, Status,
};

/// A page that is a few seconds behind has this much waiting; one that has gone has it sooner or
/// later.
const LIMIT: usize = 1024 * 1024;
/// WHATWG HTML §9.2.7 recommends every 15 seconds or so: proxies give up after 60.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A comment, which pages do not see.
const COMMENT: &[u8] = b":\n\n";

/// A stream of events that pages subscribe to: a handler, and a hub that is sent to from any callback
/// of its reactor. Clones are the same.
///
/// ```
/// use ropewalk_http::{Event, Events, Request, Routes};
/// use ropewalk_reactor::Reactor;
///
/// # fn main() -> ropewalk_reactor::Result {
/// let reactor = Reactor::new()?;
/// let events = Events::new(&reactor).history(100);
/// let sender = events.clone();
/// let routes = Routes::new()
///     .get("/events", events)
///     .post("/say", move |request: &Request| {
///         let said = String::from_utf8_lossy(request.body());
///         let heard = sender.send(&Event::new(said).name("said"));
///         format!("{heard} pages hear that\n")
///     });
/// # let _ = routes;
/// # Ok(())
/// # }
/// ```
///
/// A subscriber is given all that is sent while it is subscribed, in order. One for which more than
/// [`limit`](Self::limit) bytes wait when something is sent is closed, and the log says so; its browser
/// comes back, and with a [`history`](Self::history) it misses nothing. A site that
/// [drains](crate::Site::drain) ends the streams.
///
/// Each reactor has hubs of its own: a program with several threads sends to each.
#[derive(Clone)]
pub struct Events(Rc<Hub>);

struct Hub {
    local: Local,
    /// Borrowed for a moment at a time, and never while anybody else is called.
    state: RefCell<State>,
}

struct State {
    limit: usize,
    keep_alive: Duration,
    /// By the order of subscribing.
    subscribers: BTreeMap<u64, Subscriber>,
    last_subscriber: u64,
    /// What was sent and is to be written, and the number of the first of it.
    pending: Vec<Bytes>,
    first: u64,
    /// The loop was asked to write what is pending.
    is_asked: bool,
    /// When something was written last; `None` while no keep-alive is awaited.
    written: Option<Instant>,
    /// The last events, with their ids, and how many are kept.
    history: VecDeque<(Option<String>, Bytes)>,
    kept: usize,
    is_closed: bool,
}

struct Subscriber {
    exchange: ExchangeId,
    /// The number of the first that it is given.
    from: u64,
}

impl Events {
    /// A hub on this reactor, without history.
    #[must_use]
    pub fn new(reactor: &Reactor) -> Self {
        let state = State {
            limit: LIMIT,
            keep_alive: KEEP_ALIVE,
            subscribers: BTreeMap::new(),
            last_subscriber: 0,
            pending: Vec::new(),
            first: 0,
            is_asked: false,
            written: None,
            history: VecDeque::new(),
            kept: 0,
            is_closed: false,
        };
        Self(Rc::new(Hub { local: reactor.local(), state: RefCell::new(state) }))
    }

    /// Bytes that may wait for a subscriber when something is sent (1 MiB); one with more is closed.
    /// For all clones.
    #[must_use]
    pub fn limit(self, bytes: usize) -> Self {
        self.0.state.borrow_mut().limit = bytes;
        self
    }

    /// How long nothing may be sent (15 s); then a comment is, so that nobody on the way gives up. For
    /// all clones.
    #[must_use]
    pub fn keep_alive(self, interval: Duration) -> Self {
        self.0.state.borrow_mut().keep_alive = interval;
        self
    }

    /// Keeps the last so many events (none) for browsers that come back: those behind the one that
    /// their Last-Event-ID names are sent again; if it is not among them, all are. Events have ids for
    /// that ([`Event::id`]). Keep less than [`limit`](Self::limit) bytes. For all clones.
    #[must_use]
    pub fn history(self, events: usize) -> Self {
        self.0.state.borrow_mut().kept = events;
        self
    }

    /// How many subscribe.
    pub fn subscribers(&self) -> usize {
        self.0.state.borrow().subscribers.len()
    }

    /// Sends an event to all who subscribe now, once the current callback has returned; how many they
    /// are. What is sent to a closed hub goes nowhere.
    pub fn send(&self, event: &Event) -> usize {
        let mut state = self.0.state.borrow_mut();
        if state.is_closed {
            return 0;
        }
        let text = Bytes::from(event.encode());
        if state.kept > 0 {
            if state.history.len() >= state.kept {
                state.history.pop_front();
            }
            state.history.push_back((event.id_text().map(str::to_owned), text.clone()));
        }
        let subscribers = state.subscribers.len();
        if subscribers > 0 {
            state.pending.push(text);
            self.0.ask(&mut state);
        }
        subscribers
    }

    /// Answers the exchange with the stream, from now on, or from where the browser's Last-Event-ID
    /// says. What `Events` does as a handler; a handler of your own answers with what this returns.
    pub fn subscribe(&self, exchange: &mut Exchange<'_>) -> Reply {
        let missed = match exchange.request().last_event_id() {
            Some(last) => self.0.state.borrow().behind(last),
            None => Vec::new(),
        };
        self.begin(exchange, missed)
    }

    /// The same, after these events, which the program has found out that the client has missed:
    /// [`Request::last_event_id`] tells where it was.
    pub fn subscribe_after<'a>(
        &self,
        exchange: &mut Exchange<'_>,
        missed: impl IntoIterator<Item = &'a Event>,
    ) -> Reply {
        let missed = missed.into_iter().map(|event| event.encode().into()).collect();
        self.begin(exchange, missed)
    }

    /// Ends all streams, once what was sent has been written. Who subscribes later has an empty stream,
    /// and browsers come back.
    pub fn close(&self) {
        self.0.state.borrow_mut().is_closed = true;
        let hub = self.0.clone();
        self.0.local.call_soon(move |reactor| {
            for id in hub.exchanges() {
                reach(reactor, id, |exchange| exchange.finish());
            }
        });
    }

    fn begin(&self, exchange: &mut Exchange<'_>, missed: Vec<Bytes>) -> Reply {
        let response = Response::new(Status::OK)
            .header("Content-Type", "text/event-stream")
            .header("Cache-Control", "no-store")
            .header("X-Accel-Buffering", "no"); // nginx would hold events back
        if !exchange.start(response, None) {
            return Reply::Later;
        }
        for text in missed {
            exchange.write_bytes(text);
        }
        let mut state = self.0.state.borrow_mut();
        // (HEAD has no body to wait for.)
        if state.is_closed || exchange.is_draining() || !exchange.connection.takes_body() {
            drop(state);
            exchange.finish();
            return Reply::Later;
        }
        state.last_subscriber += 1;
        let number = state.last_subscriber;
        let from = state.first + state.pending.len() as u64;
        state.subscribers.insert(number, Subscriber { exchange: exchange.id(), from });
        if state.written.is_none() {
            state.written = Some(exchange.transport().now());
            let hub = Rc::downgrade(&self.0);
            self.0.local.call_soon(move |reactor| keep_alive(&hub, reactor));
        }
        drop(state);
        exchange.hand_over(Box::new(Follower { hub: self.0.clone(), number }));
        Reply::Later
    }
}

impl Handler for Events {
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        if !matches!(request.method(), Method::Get | Method::Head) {
            let response = Response::status(Status::METHOD_NOT_ALLOWED);
            return Ok(response.header("Allow", "GET, HEAD").into());
        }
        Ok(self.subscribe(exchange))
    }
}

impl Request {
    /// The id of the last event that a browser has heard before its stream broke off.
    pub fn last_event_id(&self) -> Option<&str> {
        self.header("last-event-id").filter(|id| !id.is_empty())
    }
}

impl Hub {
    /// Has the loop write what is pending.
    fn ask(self: &Rc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.is_asked, true) {
            let hub = self.clone();
            self.local.call_soon(move |reactor| hub.write(reactor));
        }
    }

    fn exchanges(&self) -> Vec<ExchangeId> {
        self.state.borrow().subscribers.values().map(|it| it.exchange).collect()
    }

    /// Writes what is pending to all.
    fn write(&self, reactor: &mut Reactor) {
        let mut state = self.state.borrow_mut();
        state.is_asked = false;
        let pending = std::mem::take(&mut state.pending);
        let first = state.first;
        state.first += pending.len() as u64;
        state.written = state.written.map(|_| reactor.now());
        let limit = state.limit;
        let subscribers: Vec<_> =
            state.subscribers.values().map(|it| (it.exchange, it.from)).collect();
        drop(state);
        let all = joined(&pending);
        for (id, from) in subscribers {
            let text = match from.saturating_sub(first) {
                0 => all.clone(),
                skipped => joined(&pending[(skipped as usize).min(pending.len())..]),
            };
            if !text.is_empty() {
                reach(reactor, id, |exchange| write_to(exchange, text, limit));
            }
        }
    }
}

impl State {
    /// The events behind the one of this id; all, if it is not among them.
    fn behind(&self, last: &str) -> Vec<Bytes> {
        let found = self.history.iter().rposition(|(id, _)| id.as_deref() == Some(last));
        self.history.iter().skip(found.map_or(0, |at| at + 1)).map(|(_, it)| it.clone()).collect()
    }
}

fn joined(texts: &[Bytes]) -> Bytes {
    match texts {
        [only] => only.clone(),
        _ => texts.concat().into(),
    }
}

fn reach(reactor: &mut Reactor, id: ExchangeId, call: impl FnOnce(&mut Exchange<'_>)) {
    reactor.with_protocol::<HttpServer, _>(id.connection(), |server, transport| {
        server.with_exchange(transport, id, call);
    });
}

/// Judged by what waited before, so that no burst, however long, closes one that reads.
fn write_to(exchange: &mut Exchange<'_>, text: Bytes, limit: usize) {
    let transport = exchange.transport();
    if transport.is_closing() {
        return;
    }
    let waiting = transport.buffered();
    if waiting > limit {
        let peer = transport.peer();
        log::warn!(
            target: LOG,
            "{peer}: an event stream that is not read is closed: {waiting} bytes are waiting for it, and {limit} may"
        );
        exchange.abort();
    } else {
        exchange.write_bytes(text);
    }
}

/// Sends a comment if nothing else was sent for a while, and comes back.
fn keep_alive(hub: &Weak<Hub>, reactor: &mut Reactor) {
    let Some(strong) = hub.upgrade() else { return };
    let mut state = strong.state.borrow_mut();
    if state.subscribers.is_empty() {
        state.written = None;
    }
    let Some(written) = state.written else { return };
    let (now, interval) = (reactor.now(), state.keep_alive);
    let mut left = (written + interval).saturating_duration_since(now);
    if left.is_zero() {
        state.pending.push(Bytes::from_static(COMMENT));
        strong.ask(&mut state);
        left = interval;
    }
    let hub = hub.clone();
    reactor.call_later(left, move |reactor| keep_alive(&hub, reactor));
}

/// Follows a subscriber's exchange; whoever has it drops it when that is over.
struct Follower {
    hub: Rc<Hub>,
    number: u64,
}

impl ExchangeHandler for Follower {
    fn drain_began(&mut self, exchange: &mut Exchange<'_>) -> Result {
        let state = self.hub.state.borrow();
        let from = state.subscribers.get(&self.number).map_or(u64::MAX, |it| it.from);
        let skipped = from.saturating_sub(state.first).min(state.pending.len() as u64);
        let text = joined(&state.pending[skipped as usize..]);
        drop(state);
        exchange.write_bytes(text);
        exchange.finish();
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.hub.state.borrow_mut().subscribers.remove(&self.number);
    }
}
