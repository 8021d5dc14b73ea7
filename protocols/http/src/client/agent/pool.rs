//! The connections that a client keeps, by where they lead.
//!
//! A request leases one and gives it back when its answer is whole; with none to give and as many open
//! as may be, it waits. The one rule: a lease, and the permit to open a connection, give themselves
//! back when they are dropped, so whoever is cancelled in between takes nothing with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use ropewalk_reactor::{ConnectionId, Deferred, Local, Promise};

/// Where connections lead: what is the same in two requests that may share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// Whether TLS is spoken with the server.
    pub(super) is_secure: bool,
    /// The server's host and port; empty for a proxy that takes requests for all servers.
    pub(super) host: String,
    pub(super) port: u16,
    /// The proxy in between: its host, port and credentials.
    pub(super) proxy: Option<(String, u16, Option<String>)>,
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) per_origin: usize,
    pub(super) idle: usize,
    pub(super) waiting: usize,
}

/// A handle on the pool; clones are one.
#[derive(Clone)]
pub(super) struct Pool {
    local: Local,
    state: Rc<RefCell<State>>,
}

struct State {
    limits: Limits,
    origins: BTreeMap<Origin, Slot>,
    idle: usize,
    waiting: usize,
    is_closed: bool,
}

/// The connections that lead to one place.
#[derive(Default)]
struct Slot {
    connecting: usize,
    open: Vec<ConnectionId>,
    /// Those of `open` that nobody uses, the one used last at the end: it is the least likely to be
    /// closed by the server.
    idle: Vec<ConnectionId>,
    waiting: VecDeque<Promise<Grant>>,
}

/// What a request gets.
pub(super) enum Grant {
    /// A connection that is there.
    Lease(Lease),
    /// The right to open one.
    Permit(Permit),
}

/// What becomes of a request for a connection.
pub(super) enum Asked {
    Now(Grant),
    Later(Deferred<Grant>),
    /// As many wait as may.
    Full,
}

/// A connection, for one request.
pub(super) struct Lease {
    pool: Pool,
    origin: Origin,
    id: ConnectionId,
    /// Whether it has served a request before.
    pub(super) is_used: bool,
    is_settled: bool,
}

/// The right to open a connection.
pub(super) struct Permit {
    pool: Pool,
    origin: Origin,
    is_settled: bool,
}

impl Pool {
    pub(super) fn new(local: Local, limits: Limits) -> Self {
        let state =
            State { limits, origins: BTreeMap::new(), idle: 0, waiting: 0, is_closed: false };
        Self { local, state: Rc::new(RefCell::new(state)) }
    }

    /// Asks for a connection to `origin`; for a `fresh` one if what was kept is not to be trusted.
    pub(super) fn ask(&self, origin: &Origin, fresh: bool) -> Asked {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let slot = state.origins.entry(origin.clone()).or_default();
        if !fresh && let Some(id) = slot.idle.pop() {
            state.idle -= 1;
            return Asked::Now(Grant::Lease(self.lease(origin, id, true)));
        }
        if fresh
            && slot.open.len() + slot.connecting >= state.limits.per_origin
            && !slot.idle.is_empty()
        {
            let oldest = slot.idle.remove(0);
            slot.open.retain(|&id| id != oldest);
            state.idle -= 1;
            self.close(oldest);
        }
        if slot.open.len() + slot.connecting < state.limits.per_origin {
            slot.connecting += 1;
            return Asked::Now(Grant::Permit(self.permit(origin)));
        }
        if state.waiting >= state.limits.waiting {
            // Those that were given up wait no more.
            for slot in state.origins.values_mut() {
                let before = slot.waiting.len();
                slot.waiting.retain(Promise::is_wanted);
                state.waiting -= before - slot.waiting.len();
            }
        }
        if state.waiting >= state.limits.waiting {
            return Asked::Full;
        }
        let (promise, deferred) = self.local.deferred();
        state.origins.entry(origin.clone()).or_default().waiting.push_back(promise);
        state.waiting += 1;
        Asked::Later(deferred)
    }

    /// Closes what is idle, now and from now on.
    pub(super) fn close_idle(&self) {
        let mut state = self.state.borrow_mut();
        state.is_closed = true;
        state.idle = 0;
        for slot in state.origins.values_mut() {
            for id in std::mem::take(&mut slot.idle) {
                slot.open.retain(|&open| open != id);
                self.close(id);
            }
        }
    }

    /// How many connections are open, and how many of these are idle.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state.borrow();
        (state.origins.values().map(|slot| slot.open.len()).sum(), state.idle)
    }

    fn lease(&self, origin: &Origin, id: ConnectionId, is_used: bool) -> Lease {
        Lease { pool: self.clone(), origin: origin.clone(), id, is_used, is_settled: false }
    }

    fn permit(&self, origin: &Origin) -> Permit {
        Permit { pool: self.clone(), origin: origin.clone(), is_settled: false }
    }

    fn close(&self, id: ConnectionId) {
        self.local.call_soon(move |reactor| {
            if let Some(mut transport) = reactor.connection(id) {
                transport.lose_connection();
            }
        });
    }

    /// A connection is free: the next that waits has it, or it is kept.
    fn release(&self, origin: &Origin, id: ConnectionId) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(slot) = state.origins.get_mut(origin) else { return };
        if !slot.open.contains(&id) {
            return; // it has gone
        }
        if state.limits.idle == 0 {
            // What is never kept is never used again, not even at once.
            slot.open.retain(|&open| open != id);
            self.close(id);
            return self.make_room_known(state, origin);
        }
        while let Some(promise) = slot.waiting.pop_front() {
            state.waiting -= 1;
            if promise.is_wanted() {
                return promise.succeed(Grant::Lease(self.lease(origin, id, true)));
            }
        }
        if state.is_closed || state.idle >= state.limits.idle {
            slot.open.retain(|&open| open != id);
            self.close(id);
        } else {
            slot.idle.push(id);
            state.idle += 1;
        }
        state.tidy(origin);
    }

    /// A connection has gone, or is not to be used any more.
    fn forget(&self, origin: &Origin, id: ConnectionId) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(slot) = state.origins.get_mut(origin) else { return };
        if slot.idle.contains(&id) {
            slot.idle.retain(|&idle| idle != id);
            state.idle -= 1;
        }
        if slot.open.contains(&id) {
            slot.open.retain(|&open| open != id);
            self.make_room_known(state, origin);
        }
    }

    /// There is room for one more connection: the next that waits may open it.
    fn make_room_known(&self, state: &mut State, origin: &Origin) {
        let Some(slot) = state.origins.get_mut(origin) else { return };
        while slot.open.len() + slot.connecting < state.limits.per_origin
            && let Some(promise) = slot.waiting.pop_front()
        {
            state.waiting -= 1;
            if promise.is_wanted() {
                slot.connecting += 1;
                promise.succeed(Grant::Permit(self.permit(origin)));
            }
        }
        state.tidy(origin);
    }
}

impl State {
    /// Keeps no place for where nothing leads.
    fn tidy(&mut self, origin: &Origin) {
        let empty = self.origins.get(origin).is_some_and(|slot| {
            slot.connecting == 0 && slot.open.is_empty() && slot.waiting.is_empty()
        });
        if empty {
            self.origins.remove(origin);
        }
    }
}

impl Permit {
    /// The connection is there, and is leased at once.
    pub(super) fn opened(mut self, id: ConnectionId) -> Lease {
        self.is_settled = true;
        let mut state = self.pool.state.borrow_mut();
        let slot = state.origins.entry(self.origin.clone()).or_default();
        slot.connecting = slot.connecting.saturating_sub(1);
        slot.open.push(id);
        drop(state);
        let (pool, origin) = (self.pool.clone(), self.origin.clone());
        self.pool.local.call_soon(move |reactor| {
            reactor.when_lost(id).then(move |_, _| pool.forget(&origin, id));
        });
        self.pool.lease(&self.origin, id, false)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_settled {
            let mut state = self.pool.state.borrow_mut();
            if let Some(slot) = state.origins.get_mut(&self.origin) {
                slot.connecting = slot.connecting.saturating_sub(1);
            }
            self.pool.make_room_known(&mut state, &self.origin);
        }
    }
}

impl Lease {
    /// The connection.
    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    /// The connection is not to be used any more.
    pub(super) fn discard(mut self) {
        self.is_settled = true;
        self.pool.forget(&self.origin, self.id);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_settled {
            self.pool.release(&self.origin, self.id);
        }
    }
}
