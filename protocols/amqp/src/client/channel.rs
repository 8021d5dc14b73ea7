//! A channel as its users hold it: its life here, and every request of AMQP 0-9-1, each a method,
//! in the files beneath.

mod consuming;
mod exchanges;
mod publishing;
mod queues;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use ropewalk_reactor::{Deferred, Promise, Reactor};

use super::connection::Connection;
use super::consumer::Subscription;
use super::core::{Core, Settle};
use super::error::fail;
use super::hub::Hub;
use super::lane::{Lane, Mode, Stage};
use super::message::Delivery;
use super::requests::Request;
use super::topology::{Binding, Destination};
use super::{Error, Result};
use crate::codec::method::basic;
use crate::codec::{FRAME_OVERHEAD, ReplyCode, ShortStr, Table};

/// What the handles of one channel share.
pub(super) struct ChannelShared {
    pub(super) hub: Rc<Hub>,
    pub(super) number: u16,
    /// Why it is closed, once it is: its number may be another channel's then.
    pub(super) end: RefCell<Option<Error>>,
}

impl ChannelShared {
    pub(super) fn new(hub: Rc<Hub>, number: u16) -> ChannelShared {
        ChannelShared { hub, number, end: RefCell::new(None) }
    }
}

/// A channel of a [`Connection`]. A clone is the same channel.
///
/// Requests may be made without waiting for the answer to the one before: the server takes them
/// in order. What it refuses closes the channel ([`Error::ChannelClosed`]), and with it fails
/// whatever was asked after that.
///
/// A channel lives through reconnections; once it is closed, it stays so.
#[derive(Clone)]
pub struct Channel {
    shared: Rc<ChannelShared>,
}

/// The arguments of most methods have room beside two names and some bits in the smallest frame.
const NAMES_ROOM: usize = 1024;

impl Channel {
    pub(super) fn from_shared(shared: Rc<ChannelShared>) -> Channel {
        Channel { shared }
    }

    /// Its number on the wire.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.shared.number
    }

    /// Its connection.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection::from_hub(self.shared.hub.clone())
    }

    /// Why it is closed, if it is.
    #[must_use]
    pub fn closed(&self) -> Option<Error> {
        self.shared.end.borrow().clone()
    }

    /// Closes it. What was delivered and not settled goes back to its queues.
    pub fn close(&self) -> Deferred<()> {
        let (promise, deferred) = self.shared.hub.local.deferred();
        let mut core = self.shared.hub.core.borrow_mut();
        if let Some(Lane { stage: Stage::Closing(promises), .. }) = core.lane_of(&self.shared) {
            promises.push(promise);
            return deferred;
        }
        let is_closed = self.shared.end.borrow().is_some();
        if is_closed || !core.is_up() {
            // Gone already; or it will not be brought back.
            core.end_lane_of(&self.shared);
            promise.succeed(());
        } else {
            core.close_lane(self.shared.number, ReplyCode::ReplySuccess, "Goodbye");
            *self.shared.end.borrow_mut() = Some(Error::Closed);
            if let Some(lane) = core.lane_mut(self.shared.number) {
                lane.fail_requests(&Error::Closed);
                lane.stage = Stage::Closing(vec![promise]);
            }
        }
        drop(core);
        self.shared.hub.schedule();
        deferred
    }

    /// Calls `callback` when the channel ends otherwise than by [`close`](Self::close).
    pub fn on_close(&self, callback: impl FnOnce(&mut Reactor, Error) + 'static) {
        let callback = Box::new(callback);
        self.set(|lane| lane.on_close.replace(callback));
    }

    // What deliveries and consumers need.

    pub(super) fn epoch(&self) -> u64 {
        self.shared.hub.core.borrow().epoch
    }

    /// Settles a delivery of the connection `epoch`; nothing, if that one is gone.
    pub(super) fn settle(&self, epoch: u64, delivery_tag: u64, how: Settle) -> Result {
        let mut core = self.shared.hub.core.borrow_mut();
        if core.epoch != epoch {
            log::debug!(target: super::LOG, "a stale delivery was settled ({how:?})");
            return Ok(());
        }
        self.usable(&mut core)?;
        core.settle(self.shared.number, delivery_tag, how);
        drop(core);
        self.shared.hub.schedule();
        Ok(())
    }

    /// A delivery that waited in a stream has been taken.
    pub(super) fn taken(&self, cost: usize) {
        let mut core = self.shared.hub.core.borrow_mut();
        core.release(cost);
        if self.shared.hub.is_paused.get() {
            drop(core);
            self.shared.hub.schedule();
        }
    }

    /// A stream has been dropped: what is `left` in it goes back, and it is cancelled.
    pub(super) fn abandon(&self, subscription: &Rc<Subscription>, left: VecDeque<Delivery>) {
        let (channel, subscription) = (self.clone(), subscription.clone());
        // It may be dropped anywhere, even where the state is borrowed.
        self.shared.hub.local.call_soon(move |_| {
            for delivery in left {
                channel.taken(delivery.cost());
                if !delivery.is_settled() {
                    let _ = delivery.reject(true); // if the channel is gone, it has gone back
                }
            }
            let mut core = channel.shared.hub.core.borrow_mut();
            let is_up = core.is_up();
            let number = channel.shared.number;
            let Some(lane) = core.lane_of(&channel.shared) else { return };
            let mut consumers = lane.consumers.iter_mut();
            let Some(consuming) =
                consumers.find(|found| Rc::ptr_eq(&found.subscription, &subscription))
            else {
                return;
            };
            if std::mem::replace(&mut consuming.is_abandoned, true) {
                return;
            }
            let tag = subscription.tag.clone();
            if is_up && !matches!(lane.stage, Stage::Closing(_)) {
                let consumer_tag = ShortStr::cut(tag.as_bytes());
                let method = basic::Cancel { consumer_tag, nowait: false };
                core.request(number, &method, Request::Cancel(tag.clone(), None));
                drop(core);
                channel.shared.hub.schedule();
            } else {
                lane.remove_consumer(tag.as_bytes());
            }
        });
    }

    // Helpers.

    fn usable(&self, core: &mut Core) -> Result {
        if let Some(end) = &*self.shared.end.borrow() {
            return Err(end.clone());
        }
        core.usable()
    }

    /// Whether these names fit, and arguments of this size.
    fn check(&self, names: &[(&'static str, &str)], size: usize) -> Result {
        for &(what, name) in names {
            if name.len() > ShortStr::MAX_LEN {
                return Err(Error::TooLong(what));
            }
        }
        let frame_max = self.shared.hub.core.borrow().limits.frame_max as usize;
        let limit = frame_max - FRAME_OVERHEAD - NAMES_ROOM;
        if size > limit { Err(Error::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// The name that a queue has now, after any reconnection.
    fn queue_name(&self, queue: &str) -> Result<String> {
        self.check(&[("queue's name", queue)], 0)?;
        let mut core = self.shared.hub.core.borrow_mut();
        let last = match core.lane_mut(self.shared.number) {
            Some(lane) if queue.is_empty() && lane.is_reopened => lane.last_queue.clone(),
            _ => queue.to_owned(),
        };
        Ok(core.topology.current(&last).to_owned())
    }

    fn binding(
        &self,
        kind: Destination,
        names: [&str; 3],
        arguments: Table<'_>,
    ) -> Result<Binding> {
        let [destination, source, routing_key] = names;
        let checked = [
            ("destination's name", destination),
            ("source's name", source),
            ("routing key", routing_key),
        ];
        self.check(&checked, arguments.as_bytes().len())?;
        let destination = match kind {
            Destination::Queue => self.queue_name(destination)?,
            Destination::Exchange => destination.to_owned(),
        };
        Ok(Binding {
            kind,
            destination,
            source: source.to_owned(),
            routing_key: routing_key.to_owned(),
            arguments: arguments.as_bytes().to_vec(),
        })
    }

    /// The error, if the channel's mode is one that forbids this.
    fn mode_forbids(&self, forbids: impl FnOnce(&Mode) -> bool) -> Option<Error> {
        let mut core = self.shared.hub.core.borrow_mut();
        let mode = &core.lane_of(&self.shared)?.mode;
        forbids(mode).then(|| {
            Error::WrongMode(match mode {
                Mode::Transaction => "transactional",
                _ => "one with confirms",
            })
        })
    }

    /// Makes a request if one can be made now.
    fn ask<T: 'static>(&self, request: impl FnOnce(&mut Core, u16, Promise<T>)) -> Deferred<T> {
        let (promise, deferred) = self.shared.hub.local.deferred();
        let mut core = self.shared.hub.core.borrow_mut();
        match self.usable(&mut core) {
            Ok(()) => request(&mut core, self.shared.number, promise),
            Err(error) => fail(promise, &error),
        }
        drop(core);
        self.shared.hub.schedule();
        deferred
    }

    fn refused<T: 'static>(&self, error: &Error) -> Deferred<T> {
        let (promise, deferred) = self.shared.hub.local.deferred();
        fail(promise, error);
        deferred
    }

    /// Changes something, and drops what was there before where that is safe.
    fn set<T>(&self, set: impl FnOnce(&mut Lane) -> Option<T>) {
        let earlier = self.shared.hub.core.borrow_mut().lane_of(&self.shared).and_then(set);
        drop(earlier);
    }
}

impl Core {
    /// The lane of this channel, unless it has gone and its number is another's.
    fn lane_of(&mut self, shared: &Rc<ChannelShared>) -> Option<&mut Lane> {
        let lane = self.lane_mut(shared.number)?;
        lane.shared.as_ref().is_some_and(|found| Rc::ptr_eq(found, shared)).then_some(lane)
    }

    /// Forgets a channel that is closed while there is no connection.
    fn end_lane_of(&mut self, shared: &Rc<ChannelShared>) {
        if !self.is_up() && self.lane_of(shared).is_some() {
            self.end_lane(shared.number, &Error::Closed);
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.shared.number).finish()
    }
}
