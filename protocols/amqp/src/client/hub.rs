//! What all handles of one client share: its state machine, and what moves it.
//!
//! Handles write into the state machine's outbox and have `run` called once on the loop; the
//! transport's protocol does the same when something has come. The one rule: no user code runs
//! while the state is borrowed.

mod waiting;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ropewalk_reactor::{ConnectionId, Local, Promise, Reactor, TimerId, Transport, Written};

use super::channel::Channel;
use super::connection::{Connection, Notice};
use super::consumer::{Offered, Subscription};
use super::core::{Core, Event, Phase};
use super::lane::Lane;
use super::{LOG, Options};

pub(super) type NoticeCallback = Box<dyn FnMut(&mut Reactor, Notice)>;

pub(super) struct Hub {
    pub(super) core: RefCell<Core>,
    pub(super) local: Local,
    /// The transport, while there is one.
    pub(super) link: Cell<Option<ConnectionId>>,
    /// `run` will be called.
    is_scheduled: Cell<bool>,
    pub(super) output: Output,
    /// Reading is paused because too much waits to be taken.
    pub(super) is_paused: Cell<bool>,
    /// Waits for the next attempt to connect, or for an answer to a close.
    pub(super) timer: Cell<Option<TimerId>>,
    pub(super) attempts: Cell<Attempts>,
    waiting: RefCell<Waiting>,
}

/// What is known of the transport's output.
#[derive(Default)]
pub(super) struct Output {
    /// Octets that it had not sent when it was last looked at.
    pub(super) buffered: Cell<usize>,
    /// It was above the high-water mark then.
    pub(super) is_congested: Cell<bool>,
    /// It will say so when it has come down.
    pub(super) will_resume: Cell<bool>,
    /// Something went out since heartbeats were last looked at.
    pub(super) is_fresh: Cell<bool>,
}

/// How connecting goes.
#[derive(Clone, Copy, Default)]
pub(super) struct Attempts {
    /// Since the last connection that held.
    pub(super) failed: u32,
    /// In all: which address is next.
    pub(super) made: usize,
    /// The delay before the last one.
    pub(super) delay: std::time::Duration,
    /// When the connection was opened.
    pub(super) opened: Option<std::time::Instant>,
}

/// Who waits for something to happen to the connection.
#[derive(Default)]
struct Waiting {
    opening: Option<Promise<Connection>>,
    closing: Vec<Promise<()>>,
    ready: Vec<Promise<()>>,
    closed: Vec<Promise<()>>,
    on_notice: Option<NoticeCallback>,
}

impl Hub {
    pub(super) fn new(local: Local, options: Options, opening: Promise<Connection>) -> Rc<Hub> {
        Rc::new(Hub {
            core: RefCell::new(Core::new(options)),
            local,
            link: Cell::new(None),
            is_scheduled: Cell::new(false),
            output: Output::default(),
            is_paused: Cell::new(false),
            timer: Cell::new(None),
            attempts: Cell::default(),
            waiting: RefCell::new(Waiting { opening: Some(opening), ..Waiting::default() }),
        })
    }

    /// Has `run` called, on the loop.
    pub(super) fn schedule(self: &Rc<Self>) {
        if !self.is_scheduled.replace(true) {
            let hub = self.clone();
            self.local.call_soon(move |reactor| hub.run(reactor));
        }
    }

    /// Moves what can be moved: output to the transport, events to users.
    fn run(self: Rc<Self>, reactor: &mut Reactor) {
        self.is_scheduled.set(false);
        self.tell_opening();
        self.flush_link(reactor);
        // Whatever a callback panics at, the rest is told in a later turn.
        let rest = Rest(&self);
        self.dispatch(reactor);
        drop(rest);
        self.flush_link(reactor);
        self.tell_until_closed();
        let garbage = std::mem::take(&mut self.core.borrow_mut().garbage);
        drop(garbage);
    }

    fn flush_link(self: &Rc<Self>, reactor: &mut Reactor) {
        if let Some(mut transport) = self.link.get().and_then(|id| reactor.connection(id)) {
            self.flush(&mut transport);
        }
        self.tell_ready();
    }

    /// Hands the outbox to the transport, and reads on if users have made room.
    pub(super) fn flush(self: &Rc<Self>, transport: &mut Transport<'_>) {
        let mut core = self.core.borrow_mut();
        if core.outbox.write_to(transport) {
            self.output.is_fresh.set(true);
        }
        self.output.buffered.set(transport.buffered());
        self.output.is_congested.set(transport.writability() == Written::AboveHighWater);
        if self.is_paused.get() && core.may_resume() {
            self.is_paused.set(false);
            transport.resume_reading();
        }
    }

    // Telling users.

    /// Makes the callbacks that are due, one after the other.
    fn dispatch(self: &Rc<Self>, reactor: &mut Reactor) {
        loop {
            let event = {
                let mut core = self.core.borrow_mut();
                match core.phase() {
                    // A callback could do little until everything is back.
                    Phase::Recovering(_) => core.next_notice(),
                    _ => core.events.pop_front(),
                }
            };
            let Some(event) = event else { break };
            self.tell(reactor, event);
        }
    }

    fn tell(self: &Rc<Self>, reactor: &mut Reactor, event: Event) {
        match event {
            Event::Delivery(subscription, delivery) => {
                let cost = delivery.cost();
                let offered = subscription.offer(delivery);
                if !matches!(offered, Offered::Kept) {
                    self.core.borrow_mut().release(cost);
                }
                match offered {
                    Offered::Kept => {}
                    Offered::Call(mut callback, delivery) => {
                        let channel = delivery.channel().clone();
                        let mut guard = Abandon { channel, subscription: Some(&subscription) };
                        callback(reactor, delivery);
                        guard.subscription = None;
                        subscription.put_back(callback);
                    }
                    // It goes back, to somebody who takes it.
                    Offered::Refused(delivery) if !delivery.is_settled() => {
                        let _ = delivery.reject(true);
                    }
                    Offered::Refused(_) => {}
                }
            }
            Event::ConsumerEnd(subscription, result) => drop(subscription.end(result)),
            Event::Cancelled(shared, tag) => {
                let callback = self.take(shared.number, |lane| lane.on_cancel.take());
                if let Some(mut callback) = callback {
                    callback(reactor, &tag);
                    self.give(shared.number, callback, |lane, it| lane.on_cancel = Some(it));
                }
            }
            Event::Returned(shared, returned) => {
                let callback = self.take(shared.number, |lane| lane.on_return.take());
                if let Some(mut callback) = callback {
                    callback(reactor, returned);
                    self.give(shared.number, callback, |lane, it| lane.on_return = Some(it));
                }
            }
            Event::ChannelClosed(callback, error) => callback(reactor, error),
            Event::Notice(notice) => {
                log::debug!(target: LOG, "{notice}");
                let is_last = matches!(notice, Notice::Closed(_));
                let callback = self.waiting.borrow_mut().on_notice.take();
                if let Some(mut callback) = callback {
                    callback(reactor, notice);
                    if !is_last {
                        self.waiting.borrow_mut().on_notice.get_or_insert(callback);
                    }
                }
            }
        }
    }

    fn take<T>(&self, number: u16, of: impl FnOnce(&mut Lane) -> Option<T>) -> Option<T> {
        self.core.borrow_mut().lane_mut(number).and_then(of)
    }

    fn give<T>(&self, number: u16, callback: T, to: impl FnOnce(&mut Lane, T)) {
        if let Some(lane) = self.core.borrow_mut().lane_mut(number) {
            to(lane, callback);
        }
    }

    pub(super) fn on_notice(&self, callback: NoticeCallback) {
        let earlier = self.waiting.borrow_mut().on_notice.replace(callback);
        drop(earlier);
    }
}

/// Sees to it that events are told even if telling one of them panicked.
struct Rest<'a>(&'a Rc<Hub>);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let core = self.0.core.borrow();
        let is_due = !core.events.is_empty() && !matches!(core.phase(), Phase::Recovering(_));
        if is_due {
            self.0.schedule();
        }
    }
}

/// Cancels a consumer whose callback panics.
struct Abandon<'a> {
    channel: Channel,
    /// `None` once the callback has returned.
    subscription: Option<&'a Rc<Subscription>>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(subscription) = self.subscription {
            self.channel.abandon(subscription, std::collections::VecDeque::new());
        }
    }
}

impl Core {
    /// Deliveries of this cost are users' own now.
    pub(super) fn release(&mut self, cost: usize) {
        debug_assert!(self.held >= cost, "what is released was held");
        self.held = self.held.saturating_sub(cost);
    }

    /// The next event that tells of the connection itself, leaving others where they are.
    fn next_notice(&mut self) -> Option<Event> {
        let found = self.events.iter().position(|event| matches!(event, Event::Notice(_)))?;
        self.events.remove(found)
    }
}
