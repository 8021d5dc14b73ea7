//! The free space of the store's disk, looked at again and again: with less than the limit,
//! publishers are blocked before the disk is really full.
//!
//! The nearer the limit, the sooner comes the next look, as with RabbitMQ's disk monitor. That is
//! for what others write; as the store writes itself, its housekeeping looks, too. A look asks the
//! system on a thread of the pool, since a file system that hangs would hold the loop.

use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use ropewalk_reactor::Reactor;
use ropewalk_store::Disk;

use crate::server::hub::Hub;
use crate::server::{LOG, Shared};

/// Between two looks, at most and at least. RabbitMQ's.
const MOST: Duration = Duration::from_secs(10);
const LEAST: Duration = Duration::from_millis(100);

/// While the alarm is on: so long may publishers wait though there is room.
const LOW: Duration = Duration::from_secs(1);

/// Octets a millisecond that others may write: 1 GB a second.
const RATE: u64 = 1_000_000;

/// Watches a disk.
pub(crate) struct DiskWatch {
    disk: Arc<dyn Disk>,
    /// Octets that shall stay free.
    limit: u64,
    /// The system did not tell what is free when it was asked last.
    is_blind: bool,
}

impl DiskWatch {
    /// Looks at once, and from then on as long as there is a store. A limit of 0 is none.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        limit: u64,
        hub: &mut Hub,
        shared: &Rc<Shared>,
        reactor: &mut Reactor,
    ) {
        if limit > 0 {
            let mut watch = DiskWatch { disk, limit, is_blind: false };
            let pause = watch.seen(watch.disk.free(), hub);
            watch.later(pause, Rc::downgrade(shared), reactor);
        }
    }

    fn later(self, pause: Duration, shared: Weak<Shared>, reactor: &mut Reactor) {
        reactor.call_later(pause, move |reactor: &mut Reactor| self.look(shared, reactor));
    }

    fn look(mut self, shared: Weak<Shared>, reactor: &mut Reactor) {
        let disk = self.disk.clone();
        reactor.defer_to_thread(move || disk.free()).then(move |reactor, answer| {
            let Some(strong) = shared.upgrade() else { return };
            let free = answer.unwrap_or_else(|error| Err(io::Error::other(error.to_string())));
            let seen = |hub: &mut Hub, _: &mut Reactor| {
                let pause = hub.keeper.is_some().then(|| self.seen(free, hub));
                (self, pause)
            };
            if let Some((watch, Some(pause))) = strong.change(reactor, seen) {
                watch.later(pause, shared, reactor);
            }
        });
    }

    /// Takes note of what is free; says when to look again.
    fn seen(&mut self, free: io::Result<u64>, hub: &mut Hub) -> Duration {
        let was_blind = std::mem::replace(&mut self.is_blind, free.is_err());
        match free {
            Ok(free) => {
                if was_blind {
                    info!(target: LOG, "the system tells again how much is free on the disk");
                }
                hub.set_free(free);
                if free < self.limit
                    && let Some(keeper) = &mut hub.keeper
                {
                    // A few acknowledgements may have made room, too few for it to be due.
                    keeper.housekeeping.look();
                }
                pause(free, self.limit)
            }
            Err(error) => {
                if !was_blind {
                    warn!(target: LOG, "how much is free on the disk cannot be told: {error}");
                }
                MOST
            }
        }
    }
}

/// No longer than the disk takes to be filled up to the limit.
fn pause(free: u64, limit: u64) -> Duration {
    match free.checked_sub(limit) {
        None => LOW,
        Some(left) => Duration::from_millis(left / RATE).clamp(LEAST, MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_the_limit_the_sooner_is_the_next_look() {
        const LIMIT: u64 = 50_000_000;
        for (free, milliseconds) in [
            (u64::MAX, 10_000),
            (LIMIT + 10_000_000_000, 10_000),
            (LIMIT + 2_500_000_000, 2_500),
            (LIMIT + 100_000_000, 100),
            (LIMIT, 100),
            (LIMIT - 1, 1_000),
            (0, 1_000),
        ] {
            assert_eq!(pause(free, LIMIT), Duration::from_millis(milliseconds), "{free}");
        }
    }
}
