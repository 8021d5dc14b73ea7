//! Channels and their consumers: how they come, how they end, and whether they are too slow.

use std::collections::VecDeque;
use std::mem;

use ropewalk_reactor::Promise;

use super::{Core, Event, Phase};
use crate::client::lane::{Lane, Stage};
use crate::client::options::DELIVERIES_STRETCH;
use crate::client::requests::Request;
use crate::client::{Error, Result};
use crate::codec::method::channel;
use crate::codec::{ReplyCode, ShortStr};

impl Core {
    pub(in crate::client) fn lane_mut(&mut self, number: u16) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::from(number).checked_sub(1)?)?.as_deref_mut()
    }

    /// The lowest number that is free, with its slot made.
    pub(in crate::client) fn free_number(&mut self) -> Result<u16> {
        let free = self.lanes.iter().position(Option::is_none).unwrap_or(self.lanes.len());
        if free >= usize::from(self.limits.channel_max) {
            return Err(Error::NoChannelLeft(self.limits.channel_max));
        }
        if free == self.lanes.len() {
            self.lanes.push(None);
        }
        Ok(free as u16 + 1) // at most channel_max
    }

    /// Puts a lane on its number and opens it.
    pub(in crate::client) fn open_lane(&mut self, number: u16, lane: Lane, request: Request) {
        self.lanes[usize::from(number) - 1] = Some(Box::new(lane));
        self.request(number, &channel::Open::default(), request);
    }

    /// Closes a channel from here.
    pub(in crate::client) fn close_lane(&mut self, number: u16, code: ReplyCode, text: &str) {
        let method = channel::Close {
            reply_code: code.number(),
            reply_text: ShortStr::cut_text(text),
            ..Default::default()
        };
        self.send(number, &method);
        if let Some(lane) = self.lane_mut(number) {
            lane.stage = Stage::Closing(Vec::new());
        }
    }

    /// A channel is no more: all that waits on it fails, its consumers end, its number is free.
    pub(in crate::client) fn end_lane(&mut self, number: u16, error: &Error) {
        let slot = usize::from(number) - 1;
        let Some(mut lane) = self.lanes.get_mut(slot).and_then(Option::take) else { return };
        lane.fail_requests(error);
        if let Some(shared) = &lane.shared {
            shared.end.borrow_mut().get_or_insert_with(|| error.clone());
        }
        for consuming in mem::take(&mut lane.consumers) {
            let subscription = consuming.subscription;
            self.events.push_back(Event::ConsumerEnd(subscription, Err(error.clone())));
            self.consumer_gone(&consuming.queue);
        }
        if let Stage::Closing(promises) = &mut lane.stage {
            promises.drain(..).for_each(|promise| promise.succeed(()));
        }
        match (lane.on_close.take(), error) {
            (Some(callback), Error::Closed) => self.garbage.push(Box::new(callback)),
            (Some(callback), error) => {
                self.events.push_back(Event::ChannelClosed(callback, error.clone()));
            }
            (None, _) => {}
        }
        self.garbage.push(Box::new((lane.on_return.take(), lane.on_cancel.take())));
    }

    /// Consumers that are being cancelled when the connection is lost have ended with it.
    pub(in crate::client) fn finish_cancels(&mut self, number: u16) {
        let Some(lane) = self.lane_mut(number) else { return };
        let (cancels, kept): (VecDeque<_>, _) = mem::take(&mut lane.pending)
            .into_iter()
            .partition(|request| matches!(request, Request::Cancel(..)));
        lane.pending = kept;
        for request in cancels {
            if let Request::Cancel(tag, promise) = request {
                self.consumer_cancelled(number, &tag, promise);
            }
        }
    }

    /// A consumer has ended because it was asked to.
    pub(in crate::client) fn consumer_cancelled(
        &mut self,
        number: u16,
        tag: &str,
        promise: Option<Promise<()>>,
    ) {
        let Some(lane) = self.lane_mut(number) else { return };
        if let Some(consuming) = lane.remove_consumer(tag.as_bytes()) {
            self.events.push_back(Event::ConsumerEnd(consuming.subscription, Ok(())));
            self.consumer_gone(&consuming.queue);
        }
        if let Some(promise) = promise {
            promise.succeed(());
        }
    }

    /// Consumers whose start the server had not granted: they are not brought back.
    pub(in crate::client) fn end_unstarted_consumers(&mut self, number: u16) {
        let Some(lane) = self.lane_mut(number) else { return };
        let (kept, ended) = mem::take(&mut lane.consumers)
            .into_iter()
            .partition(|consuming| consuming.is_started && !consuming.is_abandoned);
        lane.consumers = kept;
        for consuming in ended {
            let callback = consuming.subscription.end(Err(Error::Closed));
            self.garbage.push(Box::new(callback));
        }
    }

    /// A consumer of `queue` has gone; if it was the last on this connection, an auto-delete
    /// queue is gone too.
    pub(in crate::client) fn consumer_gone(&mut self, queue: &str) {
        let queue = self.topology.current(queue).to_owned();
        let mut consumers = self.lanes.iter().flatten().flat_map(|lane| &lane.consumers);
        if !consumers.any(|other| self.topology.current(&other.queue) == queue) {
            self.topology.queue_unused(&queue);
        }
    }

    /// Whether reading has to wait until users have taken some deliveries.
    ///
    /// An answer comes behind the deliveries: whoever awaits one before he takes the next
    /// delivery must get it, so reading goes on for him, up to a limit that is harder.
    pub(in crate::client) fn should_pause(&self) -> bool {
        let limit = self.options.deliveries_limit;
        if self.held <= limit || matches!(self.phase, Phase::Closing) {
            return false; // what comes while it is being closed is not kept
        }
        !self.is_awaited() || self.held > limit.saturating_mul(DELIVERIES_STRETCH)
    }

    /// Whether reading may go on again after a pause.
    pub(in crate::client) fn may_resume(&self) -> bool {
        self.held <= self.options.deliveries_limit / 2 || self.is_awaited() && !self.should_pause()
    }

    /// Whether the server has to say something that somebody waits for.
    fn is_awaited(&self) -> bool {
        !self.is_open()
            || !self.secrets.is_empty()
            || self.lanes.iter().flatten().any(|lane| lane.is_awaited())
    }
}
