//! Bytes to and from children, within a turn's share a pipe.
//!
//! The one rule is that of all reading here: an edge is told once. Whoever stops reading before the
//! pipe is drained keeps `readable` set, and sees to it that the pipe is looked at again.

use std::io;
use std::os::fd::RawFd;

use bytes::BytesMut;
use log::{debug, warn};

use super::child::{ChildId, PipeWay};
use crate::core::Core;
use crate::network::Readiness;
use crate::output::Sent;
use crate::protocol::Reason;
use crate::reading::{READ_SIZE, READS_A_TURN, SMALL_LEFT_OVER};
use crate::{LOG, Reactor};

impl Core {
    /// News of a pipe; what there is to do has its own steps.
    pub(crate) fn pipe_ready(&mut self, place: u32, ready: Readiness) {
        let Some(&(id, descriptor)) = self.children.places.get(place as usize) else { return };
        let Some(pipe) = self.children.pipe(id, descriptor) else { return };
        pipe.readable |= ready.readable || ready.read_closed || ready.failed;
        pipe.end_seen |= ready.read_closed || ready.failed;
        let has_room = ready.writable && !std::mem::replace(&mut pipe.writable, true);
        // Nobody reads it any more, which is not for the next write to find out.
        if pipe.way == PipeWay::ToChild && pipe.end_seen {
            return self.close_pipe(id, descriptor);
        }
        if has_room {
            self.children.mark_dirty(id, descriptor);
        }
        self.children.mark_ready(id, descriptor);
    }

    /// Closes our end; the protocol is told in the step for losses.
    pub(crate) fn close_pipe(&mut self, id: ChildId, descriptor: RawFd) {
        let Some(pipe) = self.children.pipe(id, descriptor) else { return };
        let Some(mut stream) = pipe.stream.take() else { return };
        pipe.unread = BytesMut::new();
        pipe.held_back = false;
        let descriptor = pipe.descriptor;
        if let Some(output) = pipe.output.take() {
            self.garbage.push(output); // a queued payload may have a user's `Drop`
        }
        self.network.forget(&mut stream);
        drop(stream);
        // Its place stays its own until then: an event that came with this turn's others may still
        // name it, and would be taken for one of a new child's pipe.
        self.children.closed.push((id, descriptor));
    }

    /// Closes a pipe to the child when what waits in it has gone.
    pub(crate) fn close_when_flushed(&mut self, id: ChildId, descriptor: RawFd) {
        if let Some(pipe) = self.children.pipe(id, descriptor)
            && pipe.is_written()
        {
            pipe.closing = true;
            self.children.mark_dirty(id, descriptor);
        }
    }

    /// Reads from a pipe again.
    pub(crate) fn resume_pipe(&mut self, id: ChildId, descriptor: RawFd) {
        if let Some(pipe) = self.children.pipe(id, descriptor)
            && std::mem::take(&mut pipe.paused)
        {
            // The edge is spent, and bytes held back make none: look again.
            self.children.mark_ready(id, descriptor);
        }
    }
}

impl Reactor {
    /// Reads what the children have said, a turn's share of each pipe.
    pub(crate) fn read_children(&mut self) {
        for (id, descriptor) in std::mem::take(&mut self.core.children.ready) {
            if let Some(pipe) = self.core.children.pipe(id, descriptor) {
                pipe.in_ready = false;
                self.read_pipe(id, descriptor);
            }
        }
    }

    fn read_pipe(&mut self, id: ChildId, descriptor: RawFd) {
        if self.core.children.get(id).is_some_and(|child| !child.is_born) {
            return self.core.children.mark_ready(id, descriptor); // later in this turn
        }
        self.redeliver_pipe(id, descriptor);
        let mut budget = READS_A_TURN;
        loop {
            let Some(child) = self.core.children.get_mut(id) else { return };
            let is_deaf = child.is_deaf;
            let Some(pipe) = child.pipe(descriptor).filter(|pipe| pipe.is_read()) else { return };
            let Some(stream) = &mut pipe.stream else { return };
            if (pipe.paused && !is_deaf) || !pipe.readable {
                if pipe.last.is_some() {
                    self.core.close_pipe(id, descriptor);
                }
                return;
            }
            if budget == 0 {
                return self.core.children.mark_ready(id, descriptor);
            }
            // As for connections: a large left-over has a buffer of its own.
            let own = pipe.unread.len() >= SMALL_LEFT_OVER;
            let mut data = if own {
                std::mem::take(&mut pipe.unread)
            } else {
                let mut shared = std::mem::take(&mut self.read_buffer);
                shared.extend_from_slice(&std::mem::take(&mut pipe.unread));
                shared
            };
            let received = stream.recv(&mut data, READ_SIZE);
            let mut is_over = false;
            match received {
                Ok(count) if count > 0 => {
                    // Short is drained, but for a terminal, which gives a line or a piece at a
                    // time, and for what is closed behind it, whose edge is spent.
                    if count < READ_SIZE && !pipe.end_seen && pipe.way != PipeWay::Both {
                        pipe.readable = pipe.last.is_some();
                    }
                    budget = budget.saturating_sub(count);
                    if let Some(left) = &mut pipe.last {
                        *left = left.saturating_sub(count);
                        is_over = *left == 0; // whoever goes on writing is not the child
                    }
                    if is_deaf {
                        data.clear();
                    } else {
                        self.deliver_output(id, descriptor, &mut data);
                    }
                }
                Ok(_) => is_over = true,
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => {
                    pipe.readable = false;
                }
                Err(failure) => {
                    debug!(target: LOG, "descriptor {descriptor} of a child: {failure}");
                    is_over = true;
                }
            }
            self.keep_unread(id, descriptor, data, own);
            if is_over {
                return self.core.close_pipe(id, descriptor);
            }
        }
    }

    fn keep_unread(&mut self, id: ChildId, descriptor: RawFd, mut data: BytesMut, own: bool) {
        let pipe = self.core.children.pipe(id, descriptor);
        if let Some(pipe) = pipe.filter(|pipe| pipe.stream.is_some() && !data.is_empty()) {
            pipe.unread = match data.len() >= SMALL_LEFT_OVER {
                true => std::mem::take(&mut data),
                false => BytesMut::from(&data[..]), // a few bytes must not keep a large buffer
            };
        }
        if !own {
            data.clear();
            self.read_buffer = data;
        }
    }

    /// Delivers again what a paused protocol left, though nothing new has arrived.
    fn redeliver_pipe(&mut self, id: ChildId, descriptor: RawFd) {
        let Some(child) = self.core.children.get_mut(id) else { return };
        let is_deaf = child.is_deaf;
        let Some(pipe) = child.pipe(descriptor) else { return };
        if pipe.paused || !std::mem::take(&mut pipe.held_back) {
            return;
        }
        let mut data = std::mem::take(&mut pipe.unread);
        if is_deaf {
            return;
        }
        self.deliver_output(id, descriptor, &mut data);
        self.keep_unread(id, descriptor, data, true);
    }

    fn deliver_output(&mut self, id: ChildId, descriptor: RawFd, data: &mut BytesMut) {
        self.process_callback(id, |protocol, transport| {
            protocol.child_data_received(transport, descriptor, data)
        });
        let Some(child) = self.core.children.get_mut(id) else { return };
        let (limit, is_deaf) = (child.receive_limit, child.is_deaf);
        let Some(pipe) = child.pipe(descriptor) else { return };
        pipe.held_back = pipe.paused && !data.is_empty();
        if is_deaf {
            data.clear();
        } else if data.len() > limit && !pipe.paused {
            data.clear();
            child.is_deaf = true;
            let reason = Reason::ReceiveLimit(limit);
            warn!(target: LOG, "{}: terminated: {reason}", child.shown());
            self.core.terminate_child(id, reason);
        }
    }

    /// Sends what was written to children in this turn, in one call a pipe, and judges the marks
    /// by what is left.
    pub(crate) fn flush_children(&mut self) {
        for (id, descriptor) in std::mem::take(&mut self.core.children.dirty) {
            if let Some(pipe) = self.core.children.pipe(id, descriptor) {
                pipe.in_dirty = false;
                self.flush_pipe(id, descriptor);
            }
        }
    }

    fn flush_pipe(&mut self, id: ChildId, descriptor: RawFd) {
        let core = &mut self.core;
        let Some(pipe) = core.children.pipe(id, descriptor) else { return };
        let Some(stream) = &mut pipe.stream else { return };
        if pipe.writable
            && let Some(output) = &mut pipe.output
        {
            match output.send(stream, usize::MAX) {
                Ok(Sent::All) => {
                    if let Some(output) = pipe.output.take() {
                        core.outputs.give_back(output);
                    }
                }
                // (No rate is set on a pipe.)
                Ok(Sent::Some | Sent::Rationed) => core.children.mark_dirty(id, descriptor),
                Ok(Sent::Blocked) => pipe.writable = false,
                Err(failure) => {
                    // The child takes no more, as it may: what it says and how it ends tells more.
                    debug!(target: LOG, "descriptor {descriptor} of a child: {failure}");
                    pipe.closing = true;
                    if let Some(output) = pipe.output.take() {
                        core.garbage.push(output);
                    }
                }
            }
        }
        let Some(pipe) = core.children.pipe(id, descriptor) else { return };
        if pipe.closing && pipe.output.is_none() && pipe.way == PipeWay::ToChild {
            return core.close_pipe(id, descriptor);
        }
        self.judge_pipe(id, descriptor);
    }

    fn judge_pipe(&mut self, id: ChildId, descriptor: RawFd) {
        let Some(child) = self.core.children.get_mut(id) else { return };
        let (high, low, limit) = (child.high_water_mark, child.low_water_mark, child.output_limit);
        let has_terminal = child.has_terminal;
        let Some(pipe) = child.pipe(descriptor).filter(|pipe| !pipe.closing) else { return };
        let buffered = pipe.buffered();
        // Writing to a terminal is writing to its descriptor 0, whatever we call it.
        let written_to = if has_terminal && descriptor == 1 { 0 } else { descriptor };
        if buffered > limit {
            let reason = Reason::OutputLimit(limit);
            if let Some(output) = pipe.output.take() {
                self.core.garbage.push(output);
            }
            warn!(target: LOG, "{}: terminated: {reason}", child.shown());
            self.core.terminate_child(id, reason);
        } else if buffered > high && !pipe.producer_paused {
            pipe.producer_paused = true;
            pipe.owes_resume = true;
            self.process_callback(id, |protocol, transport| {
                protocol.pause_producing(transport, written_to);
                Ok(())
            });
        } else if buffered <= low && pipe.owes_resume {
            pipe.producer_paused = false;
            pipe.owes_resume = false;
            self.process_callback(id, |protocol, transport| {
                protocol.resume_producing(transport, written_to);
                Ok(())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Simulation;
    use crate::process::{ProcessProtocol, Program};

    struct Silent;

    impl ProcessProtocol for Silent {}

    #[test]
    fn an_event_for_a_pipe_that_has_just_closed_is_for_no_other() {
        let mut simulation = Simulation::calm();
        simulation.program("cat", || |_: &_, _| {});
        let reactor = simulation.reactor();
        let start = |reactor: &mut Reactor| {
            let started = reactor.spawn_process(Program::new("cat"), Silent);
            started.expect("it is known")
        };
        let old = start(reactor);
        let places: Vec<_> = reactor.core.children.places.iter().map(|(place, _)| place).collect();
        for descriptor in 0..3 {
            reactor.core.close_pipe(old, descriptor);
        }
        // In the same turn, before what the poller has told is over.
        let new = start(reactor);
        for place in places {
            let ready = Readiness {
                source: crate::identity::Source::Pipe(place as u32),
                readable: true,
                writable: true,
                read_closed: true,
                failed: true,
            };
            reactor.core.pipe_ready(place as u32, ready);
        }
        let input = reactor.core.children.pipe(new, 0).expect("it has one");
        assert!(input.stream.is_some() && !input.end_seen);
        simulation.settle();
        assert_eq!(simulation.reactor().core.children.places.len(), 3, "of the new one");
    }
}
