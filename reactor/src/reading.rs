//! Input: from the socket through the shared buffer to `data_received`, within a turn's share.
//!
//! The one rule: an edge is told once. Whoever stops reading before the socket is drained keeps
//! `readable` set, and sees to it that the connection is looked at again.

use std::io;

use bytes::BytesMut;
use log::{debug, trace, warn};

use crate::connection::{Connection, Intake, Stage};
use crate::core::Core;
use crate::identity::Source;
use crate::network::Readiness;
use crate::policy::Direction;
use crate::policy::rations::{Means, means};
use crate::protocol::Reason;
use crate::{ConnectionId, LOG, Reactor};

/// Received in one call. What a socket's buffer commonly holds; larger ones gain nothing.
pub(crate) const READ_SIZE: usize = 64 * 1024;
/// What one connection may read in a turn before the others have theirs: four full reads.
pub(crate) const READS_A_TURN: usize = 4 * READ_SIZE;
/// A left-over below this is copied out of the shared buffer, and back into it for the next
/// read; a larger one keeps a buffer of its own.
pub(crate) const SMALL_LEFT_OVER: usize = 16 * 1024;

impl Reactor {
    pub(crate) fn connection_ready(&mut self, id: ConnectionId, ready: Readiness) {
        let Some(connection) = self.core.connections.get_mut(id) else { return };
        connection.fin_seen |= ready.read_closed;
        if ready.writable && !connection.writable {
            connection.writable = true;
            let has_output = connection.output.is_some();
            // The edge that was asked for has come. (Should this fail, there are some too many.)
            let _ = self.core.network.room_is_there(&mut connection.stream, Source::Connection(id));
            if has_output {
                self.core.mark_dirty(id);
            }
        }
        let Some(connection) = self.core.connections.get_mut(id) else { return };
        connection.readable |= ready.readable || ready.read_closed || ready.failed;
        // One that is on the list has its share from there, in this turn or the next: not two.
        if !connection.in_ready {
            self.read(id);
        }
        if ready.failed
            && let Some(connection) = self.core.connections.get_mut(id)
            && connection.intake() == Intake::Hold
        {
            // Nothing will be read that could tell, for now or for good: a reset is not worth
            // waiting for.
            if let Ok(Some(failure)) = connection.stream.take_error() {
                self.core.end(id, Reason::from_io(failure));
            }
        }
    }

    /// Reads and delivers until the socket is drained, the protocol pauses, or the turn's share
    /// is spent.
    pub(crate) fn read(&mut self, id: ConnectionId) {
        self.redeliver(id); // first: a FIN may be all that is left to read
        let mut budget = READS_A_TURN;
        loop {
            let Some(connection) = self.core.connections.get_mut(id) else { return };
            if connection.filter.is_some() {
                return self.read_filtered(id); // it may have begun in the last callback
            }
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
            let most = match &mut connection.policed {
                None => READ_SIZE,
                Some(_) => match connection.may_receive(id, means!(self.core)) {
                    0 => return,
                    most => most,
                },
            };
            // A large left-over grows in a buffer of its own; all else goes through the shared one.
            let own = connection.unread.len() >= SMALL_LEFT_OVER;
            let mut data = if own {
                std::mem::take(&mut connection.unread)
            } else {
                let mut shared = std::mem::take(&mut self.read_buffer);
                if !connection.unread.is_empty() {
                    shared.extend_from_slice(&std::mem::take(&mut connection.unread));
                }
                shared
            };
            let before = data.len();
            let received = connection.stream.recv(&mut data, most);
            match received {
                Ok(count) if count > 0 => {
                    // A short read means drained. Not so behind a FIN: its edge is spent, and
                    // only another read finds it. Nor where descriptors cut the input short.
                    let was_cut = connection.stream.was_cut();
                    let is_policed = connection.policed.is_some();
                    if count < most && !connection.fin_seen && !was_cut {
                        connection.readable = false;
                    }
                    if let Some(policed) = &mut connection.policed {
                        policed.received(count, most, &means!(self.core));
                    }
                    budget = budget.saturating_sub(count);
                    let goes_on = !was_cut || self.deliver_descriptors(id);
                    if goes_on && intake == Intake::Deliver {
                        if is_policed {
                            self.core.log_traffic(id, Direction::In, &data[before..]);
                        }
                        self.deliver(id, &mut data);
                    } else if goes_on || !self.is_held_back(id) {
                        data.clear();
                    }
                    self.keep_left_over(id, data, own);
                }
                nothing => {
                    self.keep_left_over(id, data, own);
                    return self.nothing_received(id, nothing);
                }
            }
        }
    }

    /// Hands over the descriptors that came with the data that is to be delivered next; false when
    /// it is not to be delivered, since that closed the connection or paused it.
    fn deliver_descriptors(&mut self, id: ConnectionId) -> bool {
        let connection = self.core.connections.get_mut(id);
        let Some(end) = connection.and_then(|connection| connection.stream.unix_end()) else {
            return true;
        };
        let takes = end.takes;
        let overran = std::mem::take(&mut end.overran);
        for descriptor in std::mem::take(&mut end.descriptors) {
            let connection = self.core.connections.get(id);
            if overran || connection.is_none_or(|connection| connection.stage != Stage::Open) {
                continue; // closed
            }
            self.callback(id, |protocol, transport| {
                protocol.descriptor_received(transport, descriptor)
            });
        }
        if overran {
            let problem = format!(
                "more than {takes} file descriptors came with one message, or there was no room \
                 for them here (ulimit -n)"
            );
            self.core.failed(id, problem.into());
        }
        let Some(connection) = self.core.connections.get_mut(id) else { return false };
        connection.held_back = connection.stage == Stage::Open && connection.paused;
        connection.stage == Stage::Open && !connection.paused
    }

    fn is_held_back(&self, id: ConnectionId) -> bool {
        self.core.connections.get(id).is_some_and(|connection| connection.held_back)
    }

    pub(crate) fn deliver(&mut self, id: ConnectionId, data: &mut BytesMut) {
        trace!(target: LOG, "{id}: {} bytes to data_received", data.len());
        self.callback(id, |protocol, transport| protocol.data_received(transport, data));
        let Some(connection) = self.core.connections.get_mut(id) else { return };
        let limit = connection.options.receive_limit;
        if connection.stage != Stage::Open {
            data.clear();
        } else if data.len() > limit && !connection.paused {
            // (What a paused protocol left is one read's worth at most, and comes back to it.)
            data.clear();
            warn!(target: LOG, "{}: {}", connection.peer, Reason::ReceiveLimit(limit));
            self.core.lose(id, Reason::ReceiveLimit(limit), true);
        } else {
            connection.held_back = connection.paused && !data.is_empty();
        }
    }

    /// What the callback left moves into the connection; the shared buffer comes back.
    fn keep_left_over(&mut self, id: ConnectionId, mut data: BytesMut, own: bool) {
        let connection = self.core.connections.get_mut(id);
        if let Some(connection) = connection.filter(|_| !data.is_empty()) {
            connection.keep(&mut data);
            if connection.filter.is_some() {
                // It has begun in that callback: what came before it is of the wire, and must never
                // be taken for something that has passed it.
                connection.give_unread_to_filter();
            }
        }
        if !own {
            data.clear();
            self.read_buffer = data;
        }
    }

    /// The end of input, an error, or no more for now.
    pub(crate) fn nothing_received(&mut self, id: ConnectionId, received: io::Result<usize>) {
        let Some(connection) = self.core.connections.get_mut(id) else { return };
        connection.readable = false;
        if let Some(policed) = &mut connection.policed {
            policed.nothing_received();
        }
        match received {
            Ok(_) => {
                connection.read_ended = true;
                if connection.broken {
                    return self.core.finish(id);
                }
                if let Some(reason) = connection.filter.as_ref().and_then(|filter| filter.cut_off())
                {
                    return self.core.cut_off(id, reason);
                }
                match connection.stage {
                    Stage::Open => {
                        debug!(target: LOG, "{}: the peer closed its half", connection.peer);
                        self.callback(id, |protocol, transport| protocol.read_closed(transport));
                        self.core.drive_closing(id);
                    }
                    Stage::Flushing => self.core.drive_closing(id),
                    Stage::Lingering => self.core.finish(id),
                    Stage::Lost => {}
                }
            }
            Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => {
                if connection.broken {
                    self.core.finish(id);
                }
            }
            // Our side of it was done: what the peer did after that changes nothing.
            Err(_) if connection.stage == Stage::Lingering || connection.broken => {
                self.core.finish(id);
            }
            Err(failure) => self.core.end(id, Reason::from_io(failure)),
        }
    }

    /// Delivers again what a paused protocol left, though nothing new has arrived.
    pub(crate) fn redeliver(&mut self, id: ConnectionId) {
        let Some(connection) = self.core.connections.get_mut(id) else { return };
        let holds = connection.stage != Stage::Open || connection.paused || connection.throttled;
        if holds || !connection.held_back {
            return;
        }
        connection.held_back = false;
        let mut data = std::mem::take(&mut connection.unread);
        let filtered = connection.filter.is_some();
        self.deliver(id, &mut data);
        match self.core.connections.get_mut(id) {
            Some(connection) if filtered => connection.keep(&mut data),
            _ => self.keep_left_over(id, data, true),
        }
    }
}

impl Core {
    /// A new connection whose input no edge will tell of (a file, or a terminal that gives a line
    /// at a time) is read until there is no more.
    pub(crate) fn look_for_input(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && connection.stream.is_read_to_the_end()
        {
            connection.readable = true;
            connection.fin_seen = true; // so that a short read does not mean drained
            self.mark_ready(id);
        }
    }
}

impl Connection {
    /// How much its policy lets it receive now.
    pub(crate) fn may_receive(&mut self, id: ConnectionId, mut means: Means<'_>) -> usize {
        let Some(policed) = &mut self.policed else { return READ_SIZE };
        if self.stage == Stage::Lingering {
            return READ_SIZE; // for the end of it, and not for long
        }
        let most = policed.may(Direction::In, READ_SIZE, id, &mut means);
        self.reading_rationed = most == 0;
        most
    }

    /// Keeps what was left unconsumed.
    pub(crate) fn keep(&mut self, data: &mut BytesMut) {
        if data.len() >= SMALL_LEFT_OVER {
            self.unread = std::mem::take(data);
        } else {
            // Copied also out of a buffer of its own: a few bytes must not keep all of it.
            self.unread = BytesMut::from(&data[..]);
        }
    }
}
