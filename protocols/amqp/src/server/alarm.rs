//! Alarms: while memory or disk run low, those who publish wait, and nobody else.
//!
//! A connection is blocked by the first frame of a content that it sends while an alarm is on.
//! That frame is served, as RabbitMQ does; then the client is told, if it understands
//! `connection.blocked`, and nothing of what follows is read before the last alarm has ended. So
//! no message is lost or overtaken, and a message whose last frame has come is not kept waiting.
//! The one rule: whoever calls the broker asks afterwards whether the blocked can go on.

use log::{debug, info, warn};
use ropewalk_reactor::Reactor;

use crate::codec::ShortStr;
use crate::codec::method::connection;

use super::LOG;
use super::config::Config;
use super::connection::{Context, Running, Session, Stage};
use super::hub::{Hub, Reach};
use super::sink::TransportSink;

/// What a server can run out of. While one of them is low, connections that publish are blocked
/// (`connection.blocked`): they are not read, with all that they send; their deliveries and their
/// heartbeats go out. Connections that only consume notice nothing, so that what is there is used
/// up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Room for what has to be stored: `low on disk`.
    Disk,
    /// Room for messages: `low on memory`.
    Memory,
}

/// Which alarms are on, and who is blocked by them.
#[derive(Default)]
pub(super) struct Alarms {
    /// As told by [`Server::set_alarm`](super::Server::set_alarm).
    disk: bool,
    memory: bool,
    /// Messages hold more than they may, or have not yet given enough of it back.
    over: bool,
    /// Octets that messages may hold.
    memory_limit: u64,
    /// Less is free on the disk than shall stay free.
    low: bool,
    /// Octets that shall.
    disk_limit: u64,
    /// The store has been refused room for messages.
    full: bool,
    /// Connections that are blocked.
    pub(super) blocked: usize,
}

impl Alarms {
    pub(super) fn new(config: &Config) -> Alarms {
        let (memory_limit, disk_limit) = (config.memory_limit, config.disk_limit);
        let memory_limit = memory_limit.unwrap_or(u64::MAX);
        Alarms { memory_limit, disk_limit, ..Alarms::default() }
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.of_disk() | self.of_memory()
    }

    fn of_disk(&self) -> bool {
        self.disk | self.low | self.full
    }

    fn of_memory(&self) -> bool {
        self.memory | self.over
    }

    /// What messages must come down to before the alarm ends: an eighth below the limit, so that
    /// a message that goes does not unblock everybody for one that comes.
    fn low_mark(&self) -> u64 {
        self.memory_limit - self.memory_limit / 8
    }

    /// Looks at what messages hold.
    #[inline]
    fn watch(&mut self, held: u64) {
        if self.over {
            if held <= self.low_mark() {
                self.over = false;
                let limit = self.memory_limit;
                info!(target: LOG, "memory alarm ends: messages hold {held} of {limit} octets");
            }
        } else if held > self.memory_limit {
            self.over = true;
            self.warn_of_memory(held);
        }
    }

    #[cold]
    fn warn_of_memory(&self, held: u64) {
        let (limit, low) = (self.memory_limit, self.low_mark());
        warn!(
            target: LOG,
            "memory alarm: messages hold {held} octets, the limit is {limit}: publishers are \
             blocked until they hold {low}"
        );
    }

    /// As RabbitMQ words it.
    fn reason(&self) -> &'static str {
        match (self.of_disk(), self.of_memory()) {
            (true, true) => "low on disk & memory",
            (true, false) => "low on disk",
            (false, _) => "low on memory",
        }
    }
}

impl Hub {
    /// Whether one who publishes now may have to wait: what waits in the outbox may free memory.
    #[inline]
    pub(super) fn may_block(&self) -> bool {
        self.alarms.is_on() | (self.broker.memory() > self.alarms.memory_limit)
    }

    /// Whether one who publishes now has to wait.
    #[inline]
    fn is_alarmed(&mut self) -> bool {
        self.alarms.watch(self.broker.memory());
        self.alarms.is_on()
    }

    pub(super) fn is_blocked(&self, key: usize) -> bool {
        self.peers.get(key).is_some_and(|peer| peer.blocked)
    }

    pub(super) fn has_alarm(&self, resource: Resource) -> bool {
        match resource {
            Resource::Disk => self.alarms.of_disk(),
            Resource::Memory => self.alarms.of_memory(),
        }
    }

    pub(super) fn set_alarm(&mut self, resource: Resource, low: bool, reactor: &mut Reactor) {
        let (alarm, name) = match resource {
            Resource::Disk => (&mut self.alarms.disk, "disk"),
            Resource::Memory => (&mut self.alarms.memory, "memory"),
        };
        match (std::mem::replace(alarm, low), low) {
            (false, true) => {
                warn!(target: LOG, "{name} alarm: it runs low: publishers are blocked");
            }
            (true, false) => info!(target: LOG, "{name} alarm ends: it runs low no longer"),
            _ => {}
        }
        self.unblock(reactor);
    }

    /// The store has looked how much is free on its disk.
    pub(super) fn set_free(&mut self, free: u64) {
        let limit = self.alarms.disk_limit;
        let low = free < limit;
        match (std::mem::replace(&mut self.alarms.low, low), low) {
            (false, true) => warn!(
                target: LOG,
                "disk alarm: {free} octets are free, the limit is {limit}: publishers are blocked \
                 until there is more"
            ),
            (true, false) => {
                info!(target: LOG, "disk alarm ends: {free} octets are free, the limit is {limit}");
            }
            _ => {}
        }
    }

    /// The store has found no room for messages on its disk, or has found room again.
    pub(super) fn set_full(&mut self, full: bool) {
        match (std::mem::replace(&mut self.alarms.full, full), full) {
            (false, true) => warn!(
                target: LOG,
                "the disk is full: publishers are blocked until there is room; what waits is kept \
                 and not confirmed"
            ),
            (true, false) => info!(target: LOG, "the disk has room again"),
            _ => {}
        }
    }

    /// Lets those go on who are blocked, if there is no reason left. What lies in the broker's
    /// outbox for them has gone out before.
    #[inline]
    pub(super) fn unblock(&mut self, reach: &mut impl Reach) {
        if !self.is_alarmed() && self.alarms.blocked > 0 {
            self.unblock_all(reach);
        }
    }

    /// O(connections), and rare.
    fn unblock_all(&mut self, reach: &mut impl Reach) {
        debug!(target: LOG, "{} connections are unblocked", self.alarms.blocked);
        self.alarms.blocked = 0;
        for (_, peer) in &mut self.peers {
            if !std::mem::take(&mut peer.blocked) {
                continue;
            }
            let Some(mut target) = reach.reach(peer.id) else { continue };
            if peer.block_notify {
                let mut sink = TransportSink(&mut target);
                let mut frames = self.encoder.frames_to(&mut sink, peer.frame_max);
                frames.method(0, &connection::Unblocked {});
            }
            target.resume_reading();
        }
    }
}

impl Session {
    /// Reads no more from this connection, which has published, if there is an alarm and the
    /// connection runs: then true.
    pub(super) fn block(&mut self, context: &mut Context<'_, '_>) -> bool {
        let Stage::Running(Running { key, .. }) = self.stage else { return false };
        context.hub.drain(context.transport); // what was said before comes before
        let hub = &mut *context.hub;
        if !hub.is_alarmed() {
            return false;
        }
        let Some(peer) = hub.peers.get_mut(key) else { return false };
        let reason = hub.alarms.reason();
        debug!(target: LOG, "{}: blocked: {reason}", self.peer);
        peer.blocked = true;
        hub.alarms.blocked += 1;
        context.transport.pause_reading();
        if peer.block_notify {
            let reason = ShortStr::literal(reason);
            context.send(0, self.frame_max, &connection::Blocked { reason });
        }
        true
    }
}
