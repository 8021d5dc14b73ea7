//! What is asked of an open stream: send, receive, shut down, close.

use std::io::{self, IoSlice};

use bytes::{Buf, BytesMut};

use super::{Event, Net};
use crate::address::Address;
use crate::clock::Nanos;

impl Net {
    /// Sends a segment, a FIN or a reset towards `to`, behind what is under way already.
    pub(super) fn towards(&mut self, to: usize, event: Event) {
        let bytes = if let Event::Data { bytes, .. } = &event { bytes.len() } else { 0 };
        let at = self.arrival_at_end(to, bytes);
        let end = self.end(to);
        let at = at.max(end.last_arrival);
        end.last_arrival = at;
        self.later(at, event);
    }

    /// When `bytes` that are sent to an end now arrive there.
    fn arrival_at_end(&mut self, to: usize, bytes: usize) -> Nanos {
        let end = &self.ends[&to];
        let from = end.other.and_then(|other| self.ends.get(&other)).map(|other| other.port);
        match (&end.local, from) {
            (Address::Tcp(_) | Address::Udp(_), Some(from)) => self.arrival(from, end.port, bytes),
            _ => self.now() + self.delay(),
        }
    }

    pub(super) fn send(&mut self, from: usize, segments: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered: usize = segments.iter().map(|segment| segment.len()).sum();
        let end = self.end(from);
        if let Some(kind) = end.failure {
            return Err(kind.into());
        }
        if end.fin_sent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let Some(to) = end.other else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let peer = self.end(to);
        let held = peer.arrived.len() + peer.under_way;
        let room = self.manners.capacity.saturating_sub(held);
        if room == 0 && offered > 0 {
            self.end(from).wants_room = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = offered.min(room);
        let mut bytes = Vec::with_capacity(taken);
        for segment in segments {
            let part = segment.len().min(taken - bytes.len());
            bytes.extend_from_slice(&segment[..part]);
        }
        self.end(from).wants_room |= taken < offered;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let cut = match self.manners.cuts && self.chance.one_in(2) {
                true => 1 + self.chance.below(rest.len() as u64) as usize,
                false => rest.len(),
            };
            let (segment, behind) = rest.split_at(cut);
            rest = behind;
            self.end(to).under_way += segment.len();
            self.towards(to, Event::Data { to, bytes: segment.to_vec() });
            if self.manners.reset_one_in > 0 && self.chance.one_in(self.manners.reset_one_in) {
                // (What is behind it is sent all the same: on a line that is cut, resets get lost.)
                self.towards(to, Event::Reset { to });
                self.towards(from, Event::Reset { to: from });
            }
        }
        Ok(taken)
    }

    /// What a receive answers when nothing has arrived.
    fn nothing_arrived(&mut self, index: usize) -> io::Result<usize> {
        let end = self.end(index);
        match end.failure {
            // Told once; then the socket is at its end, as the kernel has it.
            Some(io::ErrorKind::NotConnected) => Ok(0),
            Some(kind) => {
                end.failure = Some(io::ErrorKind::NotConnected);
                Err(kind.into())
            }
            None if end.fin_arrived => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn peek(&mut self, index: usize, data: &mut [u8]) -> io::Result<usize> {
        let end = self.end(index);
        if end.arrived.is_empty() {
            return self.nothing_arrived(index);
        }
        let count = data.len().min(end.arrived.len());
        data[..count].copy_from_slice(&end.arrived[..count]);
        Ok(count)
    }

    pub(super) fn recv(
        &mut self,
        index: usize,
        buffer: &mut BytesMut,
        limit: usize,
    ) -> io::Result<usize> {
        let end = self.end(index);
        if end.arrived.is_empty() {
            return self.nothing_arrived(index);
        }
        let count = limit.min(end.arrived.len());
        buffer.extend_from_slice(&end.arrived[..count]);
        end.arrived.advance(count);
        if let Some(other) = end.other
            && std::mem::take(&mut self.end(other).wants_room)
        {
            let at = self.arrival_at_end(other, 0);
            self.later(at, Event::Room { end: other });
        }
        Ok(count)
    }

    pub(super) fn shutdown_write(&mut self, index: usize) {
        let end = self.end(index);
        if end.fin_sent || end.failure.is_some() {
            return;
        }
        end.fin_sent = true;
        if let Some(to) = end.other {
            self.towards(to, Event::Fin { to });
        }
    }

    pub(super) fn close(&mut self, index: usize) {
        let Some(end) = self.ends.get_mut(&index).filter(|end| end.vanished.is_none()) else {
            return self.forget_if_over(index); // it is closed already, and its machine counts anew
        };
        end.closed = true;
        let port = end.port;
        let unread = !end.arrived.is_empty();
        let (reset, failed, other) = (end.reset_on_close || unread, end.failure, end.other);
        end.arrived = BytesMut::new();
        if let Some(source) = end.source {
            self.edges[port].remove(&source);
        }
        self.descriptors[port].0 -= 1;
        if let Some(to) = other.filter(|_| failed.is_none()) {
            if reset {
                self.send_no_more(index);
                self.towards(to, Event::Reset { to });
            } else {
                self.shutdown_write(index);
            }
        }
        self.forget_if_over(index);
    }

    /// An end is forgotten once both are closed; what is still under way then finds nobody.
    pub(super) fn forget_if_over(&mut self, index: usize) {
        let Some(end) = self.ends.get(&index).filter(|end| end.closed) else { return };
        let other = end.other;
        if other.is_none_or(|other| self.ends.get(&other).is_none_or(|other| other.closed)) {
            self.ends.remove(&index);
            if let Some(other) = other {
                self.ends.remove(&other);
            }
        }
    }
}
