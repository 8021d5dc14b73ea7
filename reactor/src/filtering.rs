//! Connections with a filter: how bytes get through it in either direction, handshakes and their
//! share of a turn, and what its end means to the connection.
//!
//! The one rule: whatever a filter has let through is delivered, or held back for a protocol that
//! paused, before anything that came after it: an end, a failure, another record.

use bytes::BytesMut;
use log::{debug, trace, warn};

use crate::clock::Clock;
use crate::connection::{Connection, Intake, Stage};
use crate::core::{Alarm, Core};
use crate::filter::Received;
use crate::policy::Direction;
use crate::policy::rations::means;
use crate::protocol::Reason;
use crate::random::Random;
use crate::reading::{READ_SIZE, READS_A_TURN, SMALL_LEFT_OVER};
use crate::{ConnectionId, LOG, Reactor};

/// How many handshakes go on in a turn. A step of one may take a millisecond of computation (a
/// signature with RSA), a thousand times what an established connection needs; in a burst of new
/// ones, the others wait for no more than this many.
const HANDSHAKES_A_TURN: usize = 8;

impl Reactor {
    /// A part of step 2: the handshakes that can go on, as many as fit into a turn, in the order in
    /// which they came.
    pub(crate) fn shake_hands(&mut self) {
        for _ in 0..HANDSHAKES_A_TURN.min(self.core.handshakes.len()) {
            let Some(id) = self.core.handshakes.pop_front() else { return };
            if let Some(connection) = self.core.connections.get_mut(id) {
                connection.in_ready = false;
                self.pass(id);
            }
        }
    }

    /// Reads a connection with a filter; a handshake has to queue.
    pub(crate) fn read_filtered(&mut self, id: ConnectionId) {
        match self.core.connections.get(id) {
            Some(connection) if connection.is_handshaking() => self.core.mark_ready(id),
            _ => self.pass(id),
        }
    }

    /// As [`read`](Self::read), through the filter.
    fn pass(&mut self, id: ConnectionId) {
        let mut budget = READS_A_TURN;
        loop {
            self.redeliver(id);
            let Some(connection) = self.core.connections.get_mut(id) else { return };
            let intake = connection.intake();
            if intake == Intake::Hold {
                if connection.broken {
                    self.core.finish(id); // as for a reset while it is paused
                }
                return;
            }
            if budget == 0 {
                return self.core.mark_ready(id);
            }
            let Some(filter) = &mut connection.filter else { return };
            if filter.is_ended() {
                return self.nothing_received(id, Ok(0));
            }
            // A part of a record that came before goes in front.
            let mut wire = std::mem::take(&mut self.read_buffer);
            let unseen = filter.take_wire(&mut wire);
            let most = match &connection.policed {
                Some(_) if !unseen => connection.may_receive(id, means!(self.core)),
                _ => READ_SIZE,
            };
            if most == 0 {
                if let Some(filter) = &mut connection.filter {
                    filter.keep_wire(&wire);
                }
                return self.give_back(wire);
            }
            let received = match unseen {
                true => Ok(wire.len()),
                false => connection.stream.recv(&mut wire, most),
            };
            let count = match received {
                Ok(count) if count > 0 => count,
                nothing => {
                    if let Some(filter) = &mut connection.filter {
                        filter.keep_wire(&wire);
                    }
                    self.give_back(wire);
                    return self.nothing_received(id, nothing);
                }
            };
            // As without a filter: drained, but not behind a FIN, nor where descriptors cut the
            // input short. Nobody could say which of the bytes inside they came with.
            let was_cut = !unseen && connection.stream.was_cut();
            if was_cut {
                connection.stream.drop_descriptors();
            }
            if let Some(policed) = &mut connection.policed
                && !unseen
            {
                policed.received(count, most, &means!(self.core));
            }
            if !unseen && count < most && !connection.fin_seen && !was_cut {
                connection.readable = false;
            }
            budget = budget.saturating_sub(count);
            if intake == Intake::Deliver {
                self.filter(id, &mut wire);
            }
            self.give_back(wire);
        }
    }

    fn give_back(&mut self, mut wire: BytesMut) {
        wire.clear();
        self.read_buffer = wire;
    }

    /// Lets what came through the filter, and delivers what comes out.
    fn filter(&mut self, id: ConnectionId, wire: &mut BytesMut) {
        let core = &mut self.core;
        let Some(connection) = core.connections.get_mut(id) else { return };
        let Some(filter) = &mut connection.filter else { return };
        // What the protocol left goes in front; a large left-over has a buffer of its own.
        let own = connection.unread.len() >= SMALL_LEFT_OVER;
        let mut data = match own {
            true => std::mem::take(&mut connection.unread),
            false => std::mem::take(&mut self.plain_buffer),
        };
        data.extend_from_slice(&std::mem::take(&mut connection.unread));
        let before = data.len();
        let output = connection.output.get_or_insert_with(|| core.outputs.lend());
        let seams = (&mut core.random, &core.clock);
        let Received { completed, failure } =
            within(seams, || filter.receive(wire, &mut data, output));
        filter.keep_wire(wire);
        if !output.is_empty() {
            core.mark_dirty(id);
        } else if let Some(output) = connection.output.take() {
            core.outputs.give_back(output);
        }
        if completed {
            self.handshake_done(id);
        }
        let fresh = data.len() > before;
        if fresh {
            self.core.log_traffic(id, Direction::In, &data[before..]);
        }
        if let Some(connection) = self.core.connections.get_mut(id) {
            if connection.stage != Stage::Open {
                data.clear();
            } else if fresh && (connection.paused || connection.throttled) {
                connection.held_back = true;
            } else if fresh {
                self.deliver(id, &mut data);
            }
        }
        if let Some(connection) = self.core.connections.get_mut(id) {
            connection.keep(&mut data);
        }
        if !own {
            data.clear();
            self.plain_buffer = data;
        }
        if let Some(reason) = failure {
            self.core.filter_failed(id, reason);
        }
    }

    /// Both sides have agreed: what was written until now can go out, and who waited is told.
    fn handshake_done(&mut self, id: ConnectionId) {
        let Some(connection) = self.core.connections.get_mut(id) else { return };
        let Some(filter) = &mut connection.filter else { return };
        let (timer, waiting) = (filter.timer().take(), filter.waiting().take());
        let open = connection.stage == Stage::Open;
        trace!(target: LOG, "{id}: the handshake is done");
        if let Some(timer) = timer {
            self.core.cancel(timer);
        }
        self.core.mark_dirty(id);
        if open {
            self.callback(id, |protocol, transport| protocol.handshake_completed(transport));
        }
        if let Some(waiting) = waiting {
            waiting.promise.succeed(id);
        }
    }
}

/// Lets a filter work with the reactor's time and chances.
#[cfg(feature = "_tls")]
fn within<R>((random, clock): (&mut Random, &Clock), call: impl FnOnce() -> R) -> R {
    crate::tls::seam::within(random, clock, call)
}

#[cfg(not(feature = "_tls"))]
fn within<R>(_: (&mut Random, &Clock), call: impl FnOnce() -> R) -> R {
    call()
}

impl Connection {
    /// What was received before the filter began is its input, not the protocol's.
    pub(crate) fn give_unread_to_filter(&mut self) {
        self.held_back = false;
        let wire = std::mem::take(&mut self.unread);
        if let Some(filter) = &mut self.filter {
            filter.begin_with(wire);
        }
    }
}

impl Core {
    /// Seals what was written, as much as a turn allows, and the last words where it is to close.
    pub(crate) fn seal(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(filter) = &mut connection.filter else { return };
        let last = connection.stage == Stage::Flushing || connection.write_closing;
        if !connection.writable
            || connection.writing_rationed
            || connection.broken
            || filter.is_handshaking()
            || !(filter.buffered() > 0 || last && filter.owes_last_words())
        {
            return;
        }
        let output = connection.output.get_or_insert_with(|| self.outputs.lend());
        let seams = (&mut self.random, &self.clock);
        let sealed = within(seams, || filter.seal(output, last));
        if let Some(plain) = filter.plain().take_if(|plain| plain.is_empty()) {
            self.outputs.give_back(plain);
        }
        if let Some(output) = connection.output.take_if(|output| output.is_empty()) {
            self.outputs.give_back(output);
        }
        match sealed {
            Ok(()) => {}
            Err(Reason::File(failure)) => self.file_failed(id, failure),
            Err(reason) => self.filter_failed(id, reason),
        }
    }

    /// Nothing more can pass the filter. What it has to say about that goes out, then the
    /// connection closes.
    pub(crate) fn filter_failed(&mut self, id: ConnectionId, reason: Reason) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        warn!(target: LOG, "{}: {reason}", connection.peer);
        self.give_up_filter(id, reason);
    }

    fn give_up_filter(&mut self, id: ConnectionId, reason: Reason) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(filter) = &mut connection.filter else { return };
        filter.die();
        let (plain, timer) = (filter.plain().take(), filter.timer().take());
        if let Some(plain) = plain {
            self.garbage.push(plain);
        }
        if let Some(timer) = timer {
            self.cancel(timer);
        }
        self.lose(id, reason, true);
        self.mark_dirty(id);
    }

    /// The peer's FIN came before the filter was told that it would.
    pub(crate) fn cut_off(&mut self, id: ConnectionId, reason: Reason) {
        let Some(connection) = self.connections.get(id) else { return };
        if connection.stage == Stage::Lingering {
            return self.finish(id); // our side of it was done
        }
        debug!(target: LOG, "{}: {reason}", connection.peer);
        if connection.is_handshaking() {
            // What waits for the end of the handshake will never go out.
            self.give_up_filter(id, reason);
        } else if connection.stage == Stage::Open {
            self.lose(id, reason, true);
        }
        self.drive_closing(id);
    }

    /// Bounds the handshake that is about to begin, and begins it.
    pub(crate) fn begin_handshake(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(filter) = &mut connection.filter else { return };
        let deadline = self.clock.after(filter.handshake_timeout());
        *filter.timer() = Some(self.timers.insert(deadline, Alarm::Handshake(id)));
        self.mark_ready(id);
        self.mark_dirty(id);
    }

    /// The peer has had its time: it says nothing, so it is told nothing.
    pub(crate) fn handshake_timed_out(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(filter) = &mut connection.filter else { return };
        filter.timer().take();
        if let Some(reason) = filter.timed_out() {
            warn!(target: LOG, "{}: {reason}", connection.peer);
            self.abort(id, reason);
        }
    }
}
