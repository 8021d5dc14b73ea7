//! A connection as the others see it: where it is, whether it has enough, and the small frames
//! that are gathered for it.
//!
//! The one rule: what is gathered goes out before anything else is written to the connection.

use std::time::Duration;

use ropewalk_broker::ConnectionId as BrokerConnection;
use ropewalk_reactor::{ConnectionId, Transport, Written};

use crate::codec::SHARED_OUTPUT_MIN;

use super::connection::Connection;
use super::hub::Reach;

/// Frames for one connection are gathered up to this before they are written to it, so that what
/// it is given in a turn overshoots its high-water mark by at most this and one message.
pub(super) const RUN: usize = 32 * 1024;

/// Buffers for frames that are kept between two drains, of [`RUN`] each and a little more: 1 MiB.
pub(super) const SPARES: usize = 32;

/// A connection as the others see it.
pub(super) struct Peer {
    pub(super) id: ConnectionId,
    pub(super) broker: BrokerConnection,
    pub(super) frame_max: u32,
    /// Its output is above high water, as the reactor says.
    pub(super) paused: bool,
    /// It got all that it may get in this turn.
    pub(super) sated: bool,
    /// It is not read, because of an alarm.
    pub(super) blocked: bool,
    /// Its client wants to be told so.
    pub(super) block_notify: bool,
    /// Small frames that it is to get, in order. Between two drains there are none, and there is
    /// no memory for any: gathering for each connection apart makes one write of what a fan-out
    /// brings in a hundred pieces.
    pub(super) staged: Vec<u8>,
    /// An answer to it waits for the store, and what the broker says to it waits behind that, in
    /// `staged`.
    pub(super) held: bool,
}

/// What lies in the connections' `staged`.
#[derive(Default)]
pub(super) struct Gathered {
    /// Connections whose `staged` has memory.
    pub(super) keys: Vec<usize>,
    /// Octets in all of them, about.
    pub(super) octets: usize,
    /// Empty buffers.
    pub(super) spare: Vec<Vec<u8>>,
}

impl Peer {
    pub(super) fn new(id: ConnectionId, broker: BrokerConnection, frame_max: u32) -> Peer {
        Peer {
            id,
            broker,
            frame_max,
            paused: false,
            sated: false,
            blocked: false,
            block_notify: false,
            staged: Vec::new(),
            held: false,
        }
    }

    /// Writes what is staged.
    pub(super) fn hand_over(
        &mut self,
        key: usize,
        reach: &mut impl Reach,
        filled: &mut Vec<usize>,
    ) {
        if self.staged.is_empty() || self.held {
            return;
        }
        if let Some(mut target) = reach.reach(self.id) {
            if self.staged.len() >= SHARED_OUTPUT_MIN {
                // The transport would copy so much into memory of its own.
                let next = Vec::with_capacity(RUN + RUN / 8);
                target.write_bytes(std::mem::replace(&mut self.staged, next).into());
            } else {
                target.write(&self.staged);
            }
            self.judge(key, target, filled);
        }
        self.staged.clear();
    }

    /// After something was written: whether it has enough for this turn. What it was given is
    /// sent at the end of the turn; only then can the reactor tell a slow reader (and calls
    /// `pause_producing`) from a fast one, who gets more in the next turn.
    pub(super) fn judge(&mut self, key: usize, mut target: Transport<'_>, filled: &mut Vec<usize>) {
        if target.writability() == Written::AboveHighWater && !self.sated {
            self.sated = true;
            filled.push(key);
            target.call_later::<Connection>(Duration::ZERO, Connection::hungry);
        }
    }
}
