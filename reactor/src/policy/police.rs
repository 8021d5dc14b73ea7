//! What a connection keeps of its policy, and where its life meets it: birth, bytes, death.

use super::rations::Means;
use super::seats::Seat;
use super::{Direction, Limits, Policy};
use crate::ConnectionId;
use crate::clock::Nanos;
use crate::connection::Connection;
use crate::core::Core;
use crate::timer::TimerId;

/// A connection's own part of its policy. Without a policy there is none.
#[derive(Debug)]
pub(crate) struct Policed {
    seat: Seat,
    /// Its place in the reactor's list of those whose connections share a rate.
    pub(super) lanes: Option<u32>,
    pub(super) began: Nanos,
    /// When something was received last, or reading was taken up again after a pause.
    pub(super) last_in: Nanos,
    /// When something was sent last, or sending was taken up again after a wait.
    pub(super) last_out: Nanos,
    /// Since when output waits and the peer takes nothing of it.
    pub(super) stalled_since: Option<Nanos>,
    /// The earliest time at which a timeout may be due.
    pub(super) timeout: Option<TimerId>,
    /// Its time is over, and so will that soon be which it has to flush.
    pub(super) overdue: bool,
    pub(super) rations: [Ration; 2],
}

/// What a connection may send, or receive.
#[derive(Debug, Default)]
pub(crate) struct Ration {
    /// When its own bucket is full again.
    pub(super) full_at: Nanos,
    /// Ends the wait for its own bucket.
    pub(super) timer: Option<TimerId>,
    /// What it has got of the bucket of all, and not yet used.
    pub(super) granted: usize,
    /// It waits for its turn in the line.
    pub(super) queued: bool,
    /// It had a turn, and has not had enough since.
    pub(super) served: bool,
}

impl Policed {
    pub(crate) fn new(seat: Seat, now: Nanos) -> Self {
        Self {
            seat,
            lanes: None,
            began: now,
            last_in: now,
            last_out: now,
            stalled_since: None,
            timeout: None,
            overdue: false,
            rations: Default::default(),
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.seat.policy()
    }

    pub(super) fn limits(&self) -> &Limits {
        self.seat.policy().limits()
    }

    /// So many bytes came, out of `most` that were asked for.
    pub(crate) fn received(&mut self, count: usize, most: usize, means: &Means<'_>) {
        self.policy().count_bytes(Direction::In, count);
        if self.limits().is_timed() {
            self.last_in = means.clock.now();
        }
        self.spend(Direction::In, count, means);
        if count < most {
            self.has_enough(Direction::In); // there is no more
        }
    }

    /// There was nothing to receive.
    pub(crate) fn nothing_received(&mut self) {
        self.has_enough(Direction::In);
    }

    /// The kernel took so many bytes, out of `most` that it might have taken, and `left` wait.
    pub(crate) fn sent(&mut self, count: usize, most: usize, left: usize, means: &Means<'_>) {
        if count > 0 {
            self.policy().count_bytes(Direction::Out, count);
            self.spend(Direction::Out, count, means);
        }
        if left == 0 || count < most {
            self.has_enough(Direction::Out); // of what the peer takes, maybe
        }
        if self.limits().is_timed() {
            let now = means.clock.now();
            if count > 0 {
                self.last_out = now;
            }
            self.stalled_since = match self.stalled_since {
                _ if left == 0 => None,
                Some(since) if count == 0 => Some(since),
                _ => Some(now),
            };
        }
    }

    pub(super) fn take_timers(&mut self) -> impl Iterator<Item = TimerId> {
        let [one, other] = self.rations.each_mut().map(|ration| ration.timer.take());
        self.timeout.take().into_iter().chain(one).chain(other)
    }
}

impl Limits {
    /// Whether a timeout is set, so that somebody wants to know when bytes have moved.
    pub(super) fn is_timed(&self) -> bool {
        self.idle_timeout.is_some() || self.read_timeout.is_some() || self.write_timeout.is_some()
    }
}

impl Core {
    /// Puts a new connection under the policy that it has a seat of.
    pub(crate) fn place(&mut self, connection: &mut Connection, seat: Option<Seat>) {
        if let Some(seat) = seat {
            connection.policed = Some(Box::new(Policed::new(seat, self.clock.now())));
        }
    }

    /// A connection is there: what its policy has to watch begins.
    pub(crate) fn begin_policy(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else { return };
        let Some(policed) = &connection.policed else { return };
        let policy = policed.policy().clone();
        if policy.limits().total_rates.iter().any(Option::is_some) {
            let lanes = self.enter_lanes(&policy);
            if let Some(connection) = self.connections.get_mut(id)
                && let Some(policed) = &mut connection.policed
            {
                policed.lanes = Some(lanes);
            }
        }
        self.watch_time(id);
        self.log_birth(id);
    }

    /// A connection is gone: what it had of its policy is given back.
    pub(crate) fn end_policy(&mut self, mut policed: Policed) {
        for direction in [Direction::In, Direction::Out] {
            policed.has_enough(direction);
        }
        for timer in policed.take_timers() {
            self.timers.cancel(timer);
        }
        if let Some(lanes) = policed.lanes {
            self.leave_lanes(lanes);
        }
    }
}
