//! Silence, and age. A connection with such a policy has one timer. Bytes do not move it: they only
//! leave the time at which they came, and when the timer fires too early it is set again.

use log::debug;

use crate::clock::{Nanos, nanos};
use crate::connection::{Connection, Stage};
use crate::core::{Alarm, Core};
use crate::protocol::Reason;
use crate::{ConnectionId, LOG};

/// The earliest time at which something may be due, and what that is.
type Due = Option<(Nanos, Reason)>;

fn earlier(one: Due, other: Due) -> Due {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}

impl Connection {
    /// What is due next; with things as they are now, and nothing moving any more.
    fn due(&self, now: Nanos) -> Due {
        let policed = self.policed.as_ref()?;
        let limits = policed.limits();
        let after = |since: Nanos, limit| since.saturating_add(nanos(limit));
        let mut due = None;
        if let Some(limit) = limits.max_lifetime {
            due = earlier(due, Some((after(policed.began, limit), Reason::Lifetime(limit))));
        }
        if self.stage != Stage::Open {
            return due; // a close has deadlines of its own
        }
        let held_up = self.paused || self.reading_rationed;
        if let Some(limit) = limits.idle_timeout {
            let since = match held_up || self.writing_rationed {
                true => now,
                false => policed.last_in.max(policed.last_out),
            };
            due = earlier(due, Some((after(since, limit), Reason::IdleTimeout(limit))));
        }
        if let Some(limit) = limits.read_timeout.filter(|_| !self.read_ended) {
            // (Not so for the idle timeout: a peer that takes no replies is idle by its own doing. But
            // nobody can tell whether one that is not read is silent.)
            let since = if held_up || self.throttled { now } else { policed.last_in };
            due = earlier(due, Some((after(since, limit), Reason::ReadTimeout(limit))));
        }
        if let Some(limit) = limits.write_timeout {
            let stalled = policed.stalled_since.filter(|_| !self.writing_rationed);
            let since = stalled.unwrap_or(now);
            due = earlier(due, Some((after(since, limit), Reason::WriteTimeout(limit))));
        }
        due
    }
}

impl Core {
    /// Sets the timer of a connection that has just begun, if its policy wants one.
    pub(super) fn watch_time(&mut self, id: ConnectionId) {
        let now = self.clock.now();
        let Some(connection) = self.connections.get(id) else { return };
        if let Some((at, _)) = connection.due(now) {
            self.look_again(id, at);
        }
    }

    fn look_again(&mut self, id: ConnectionId, at: Nanos) {
        if let Some(connection) = self.connections.get_mut(id)
            && let Some(policed) = &mut connection.policed
        {
            policed.timeout = Some(self.timers.insert(at, Alarm::Policy(id)));
        }
    }

    /// A timeout may be due.
    pub(crate) fn look_at_time(&mut self, id: ConnectionId) {
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(policed) = &mut connection.policed else { return };
        policed.timeout = None;
        if policed.overdue {
            return match connection.stage {
                Stage::Open | Stage::Flushing => {
                    let limit = policed.limits().max_lifetime.unwrap_or_default();
                    self.abort(id, Reason::Lifetime(limit));
                }
                Stage::Lingering | Stage::Lost => {}
            };
        }
        let Some((at, reason)) = connection.due(now) else { return };
        if at > now {
            return self.look_again(id, at);
        }
        let Some(policed) = &mut connection.policed else { return };
        let was_open = connection.stage == Stage::Open;
        if was_open {
            policed.policy().count_timeout();
            debug!(target: LOG, "{}: {reason}", connection.peer);
        }
        match reason {
            Reason::WriteTimeout(_) => self.abort(id, reason),
            Reason::Lifetime(_) => {
                policed.overdue = true;
                let at = self.clock.after(connection.options.flush_timeout);
                self.lose(id, reason, false);
                self.look_again(id, at);
            }
            _ => {
                self.lose(id, reason, false);
                self.watch_time(id); // its lifetime goes on
            }
        }
    }

    /// Reading goes on after a wait: the peer is not to blame for the silence before it.
    pub(crate) fn silence_ended(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && let Some(policed) = &mut connection.policed
        {
            policed.last_in = self.clock.now();
        }
    }
}
