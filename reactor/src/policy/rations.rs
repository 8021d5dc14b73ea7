//! Bytes per second: what a connection may receive or send now, and who goes on when.
//!
//! Each connection may have a bucket of its own, and all of a policy have one in common. Whoever
//! finds his own empty sets a timer. Whoever finds the common one empty stands in a line, one for
//! each direction and reactor, and from then on everybody does, so that nobody gets ahead. The line
//! has one timer; when it fires, what has come into the bucket is shared out from the front. Whoever
//! wants more then stands behind the others again, even if there is some: else the first to come
//! back would always have it.

use std::collections::VecDeque;

use slab::Slab;

use super::police::Policed;
use super::{Direction, Policy};
use crate::ConnectionId;
use crate::clock::Clock;
use crate::connection::Stage;
use crate::core::{Alarm, Core};
use crate::reading::READ_SIZE;
use crate::timer::{TimerId, Timers};

/// The least share of somebody in a line: a segment of TCP on Ethernet. Less would cost as much.
const LEAST_SHARE: usize = 1448;

/// The connections of one policy, on one reactor, that wait for the bucket that they have in common.
pub(crate) struct Lanes {
    policy: Policy,
    generation: u32,
    /// Connections that may come to stand here; the last to go takes all of this with it.
    users: usize,
    /// By direction.
    lines: [Line; 2],
}

#[derive(Default)]
struct Line {
    /// Some may have gone since.
    waiting: VecDeque<ConnectionId>,
    /// Set while somebody waits.
    timer: Option<TimerId>,
}

/// What of the reactor it takes to measure out bytes, beside the connection itself.
pub(crate) struct Means<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) timers: &'a mut Timers<Alarm>,
    pub(crate) lanes: &'a mut Slab<Lanes>,
}

/// The fields of a core that are its means.
macro_rules! means {
    ($core:expr) => {
        $crate::policy::rations::Means {
            clock: &$core.clock,
            timers: &mut $core.timers,
            lanes: &mut $core.lanes,
        }
    };
}
pub(crate) use means;

impl Policed {
    /// How many of `wanted` bytes may go now. With none, it is seen to that the connection is looked
    /// at again.
    pub(crate) fn may(
        &mut self,
        direction: Direction,
        wanted: usize,
        id: ConnectionId,
        means: &mut Means<'_>,
    ) -> usize {
        let index = direction as usize;
        let (own, total) = (self.limits().rates[index], self.limits().total_rates[index]);
        let mut most = wanted;
        if let Some(rate) = own {
            let ration = &mut self.rations[index];
            most = most.min(rate.level(ration.full_at, means.clock.now()));
            if most == 0 {
                if ration.timer.is_none() {
                    let alarm = Alarm::Ration(id, direction);
                    ration.timer = Some(means.timers.insert(rate.ready_at(ration.full_at), alarm));
                }
                return 0;
            }
        }
        let Some(rate) = total else { return most };
        let Some(lanes) = self.lanes.and_then(|lanes| means.lanes.get_mut(lanes as usize)) else {
            return most;
        };
        if self.rations[index].granted > 0 {
            return most.min(self.rations[index].granted);
        }
        if lanes.lines[index].waiting.is_empty() && !self.rations[index].served {
            let level = self.policy().level(direction, rate, means.clock.now());
            if level > 0 {
                return most.min(level);
            }
        }
        if !std::mem::replace(&mut self.rations[index].queued, true) {
            lanes.lines[index].waiting.push_back(id);
        }
        if lanes.lines[index].timer.is_none() {
            let slot = self.lanes.unwrap_or_default();
            let alarm = Alarm::Lane(slot, lanes.generation, direction);
            let ready_at = rate.ready_at(lanes.policy.full_at(direction));
            lanes.lines[index].timer = Some(means.timers.insert(ready_at, alarm));
        }
        0
    }

    /// So many bytes went.
    pub(super) fn spend(&mut self, direction: Direction, count: usize, means: &Means<'_>) {
        let index = direction as usize;
        let (own, total) = (self.limits().rates[index], self.limits().total_rates[index]);
        if own.is_none() && total.is_none() {
            return; // and nobody has to know what time it is
        }
        let now = means.clock.now();
        let ration = &mut self.rations[index];
        if let Some(rate) = own {
            ration.full_at = rate.spend(ration.full_at, now, count);
        }
        let granted = ration.granted.min(count);
        ration.granted -= granted;
        if let Some(rate) = total
            && count > granted
        {
            let spend = |full_at| rate.spend(full_at, now, count - granted);
            self.policy().move_full_at(direction, spend);
        }
    }

    /// It wants no more for now: puts back what is not needed of what was handed out.
    pub(super) fn has_enough(&mut self, direction: Direction) {
        let ration = &mut self.rations[direction as usize];
        ration.served = false;
        let granted = std::mem::take(&mut ration.granted);
        if granted > 0
            && let Some(rate) = self.limits().total_rates[direction as usize]
        {
            self.policy().move_full_at(direction, |full_at| rate.refund(full_at, granted));
        }
    }
}

impl Core {
    /// A place among those who share a rate, with a number that `leave_lanes` wants.
    pub(super) fn enter_lanes(&mut self, policy: &Policy) -> u32 {
        // O(n) in the policies with such a rate that are in use here: a handful.
        let found = self.lanes.iter_mut().find(|(_, lanes)| lanes.policy.is(policy));
        if let Some((slot, lanes)) = found {
            lanes.users += 1;
            return slot as u32;
        }
        let generation = self.generations.next();
        let policy = policy.clone();
        self.lanes.insert(Lanes { policy, generation, users: 1, lines: Default::default() }) as u32
    }

    pub(super) fn leave_lanes(&mut self, slot: u32) {
        let Some(lanes) = self.lanes.get_mut(slot as usize) else { return };
        lanes.users -= 1;
        if lanes.users == 0 {
            for line in self.lanes.remove(slot as usize).lines {
                if let Some(timer) = line.timer {
                    self.timers.cancel(timer);
                }
            }
        }
    }

    /// A connection has waited for its own bucket.
    pub(crate) fn ration_is_there(&mut self, id: ConnectionId, direction: Direction) {
        if let Some(connection) = self.connections.get_mut(id)
            && let Some(policed) = &mut connection.policed
        {
            policed.rations[direction as usize].timer = None;
            self.goes_on(id, direction);
        }
    }

    /// Something has come into the bucket that all have in common: shares it out.
    pub(crate) fn serve_line(&mut self, slot: u32, generation: u32, direction: Direction) {
        let found = self.lanes.get_mut(slot as usize);
        let Some(lanes) = found.filter(|lanes| lanes.generation == generation) else { return };
        let index = direction as usize;
        let line = &mut lanes.lines[index];
        line.timer = None;
        let Some(rate) = lanes.policy.limits().total_rates[index] else { return };
        let now = self.clock.now();
        let mut left = lanes.policy.level(direction, rate, now);
        let least = usize::try_from(rate.step()).unwrap_or(usize::MAX).min(LEAST_SHARE);
        let mut waiting = line.waiting.len();
        let share = (left / waiting.max(1)).clamp(least, READ_SIZE);
        let policy = lanes.policy.clone();
        // Less than a share stays in the bucket: handed out, it would fall to the same ones each time.
        while left >= least && waiting > 0 {
            waiting -= 1;
            let line = &mut self.lanes[slot as usize].lines[index];
            let Some(id) = line.waiting.pop_front() else { break };
            let Some(connection) = self.connections.get_mut(id) else { continue };
            if connection.stage == Stage::Lost {
                continue;
            }
            let output = connection.output.as_ref();
            let output = output.map_or(0, |output| output.offer(&connection.stream));
            let Some(policed) = &mut connection.policed else { continue };
            let ration = &mut policed.rations[index];
            ration.queued = false;
            ration.served = true;
            let wanted = match direction {
                Direction::In => share,
                Direction::Out => share.min(output),
            };
            let granted = wanted.min(left);
            ration.granted = granted;
            left -= granted;
            policy.move_full_at(direction, |full_at| rate.spend(full_at, now, granted));
            self.goes_on(id, direction);
        }
        let lanes = &mut self.lanes[slot as usize];
        let line = &mut lanes.lines[index];
        if !line.waiting.is_empty() {
            // At a time to come: whoever finds it empty waits for a whole step.
            let ready_at = rate.ready_at(lanes.policy.full_at(direction)).max(now + 1);
            let alarm = Alarm::Lane(slot, generation, direction);
            line.timer = Some(self.timers.insert(ready_at, alarm));
        }
    }

    /// A wait is over.
    fn goes_on(&mut self, id: ConnectionId, direction: Direction) {
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(policed) = &mut connection.policed else { return };
        // The peer is not to blame for the wait.
        match direction {
            Direction::In => {
                policed.last_in = now;
                connection.reading_rationed = false;
                self.mark_ready(id);
            }
            Direction::Out => {
                policed.last_out = now;
                policed.stalled_since = policed.stalled_since.map(|_| now);
                connection.writing_rationed = false;
                self.mark_dirty(id);
            }
        }
    }
}
