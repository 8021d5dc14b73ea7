//! One connection: what the reactor keeps of it besides its protocol, and the stages of its life.
//! No call to the kernel and no callback happens here; `core` and `reactor` do those.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use slab::Slab;

use crate::address::Address;
use crate::filter::Filter;
use crate::identity::ConnectionId;
use crate::options::ConnectionOptions;
use crate::output::files::QueuedFile;
use crate::output::{Output, OutputPool, Written};
use crate::policy::police::Policed;
use crate::protocol::Reason;
use crate::socket::Stream;
use crate::timer::TimerId;

/// The stages of a connection. They only ever go forward:
///
/// ```text
/// Open ──lose_connection, Err, peer's FIN──▶ Flushing ──output is out, FIN sent──▶ Lingering
///   │                                           │                                     │
///   │  abort, reset, panic                      │  abort, reset, deadline, panic      │ peer's FIN,
///   ▼                                           ▼                                     ▼ deadline
/// Lost ◀──────────────────────────────────────────────────────────────────────────────┘
/// ```
///
/// A `Lost` connection waits only for its protocol to be told, in the turn's step for losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Data goes both ways, as far as neither half is closed.
    Open,
    /// To be closed, but output is still on its way. Input is read and thrown away, so that a
    /// peer which writes before it reads is not deadlocked.
    Flushing,
    /// Our FIN is sent. Closing now could reset the connection and destroy what the peer has not
    /// read yet, so input is thrown away until the peer's FIN or a deadline.
    Lingering,
    /// Over: in the list of losses.
    Lost,
}

/// What to do with input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intake {
    /// Nothing now: reading is paused, or there is nothing to read.
    Hold,
    /// Hand it to the protocol.
    Deliver,
    /// Throw it away.
    Discard,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) peer: Address,
    pub(crate) options: Rc<ConnectionOptions>,
    /// What `data_received` left. Right-sized: an idle connection holds no buffers.
    pub(crate) unread: BytesMut,
    /// `None` while nothing waits to be sent. With a filter, as it goes over the wire.
    pub(crate) output: Option<Box<Output>>,
    /// What rewrites its bytes, if anything does.
    pub(crate) filter: Option<Box<Filter>>,
    /// What its policy has to know of it, if it has one.
    pub(crate) policed: Option<Box<Policed>>,
    /// Why it is ending, from the moment that this is decided.
    pub(crate) reason: Option<Box<Reason>>,
    /// The timers that die with it; may name some that have fired (see `Timers::own`).
    pub(crate) timers: Vec<TimerId>,
    /// Bounds `Flushing`, then `Lingering`.
    pub(crate) deadline: Option<TimerId>,
    generation: u32,
    pub(crate) stage: Stage,

    /// The kernel may have more input: set by the edge, cleared by a short read.
    pub(crate) readable: bool,
    /// The kernel may take more output: cleared by a short write, set by the edge.
    pub(crate) writable: bool,
    /// The kernel told of the peer's FIN: a short read no longer means that nothing is left.
    pub(crate) fin_seen: bool,
    /// The FIN itself was read: input is over.
    pub(crate) read_ended: bool,
    /// A send failed: read what is left, then the connection is lost.
    pub(crate) broken: bool,
    /// By the protocol.
    pub(crate) paused: bool,
    /// By the stop-reading mark.
    pub(crate) throttled: bool,
    /// A rate allows no reading now; a timer will tell.
    pub(crate) reading_rationed: bool,
    /// A rate allows no sending now; a timer will tell.
    pub(crate) writing_rationed: bool,
    /// `unread` waits for the pause to end, not for more bytes.
    pub(crate) held_back: bool,
    /// `pause_producing` was called last.
    pub(crate) producer_paused: bool,
    /// Somebody has stopped producing: by `pause_producing`, or because a write answered
    /// `AboveHighWater`. `resume_producing` is due once output has fallen to the low-water mark.
    pub(crate) owes_resume: bool,
    /// Our FIN goes out once output is flushed.
    pub(crate) write_closing: bool,
    /// Our FIN is out.
    pub(crate) write_ended: bool,
    /// Output moved since the flush deadline was last looked at.
    pub(crate) progressed: bool,
    /// In the list of connections to read from.
    pub(crate) in_ready: bool,
    /// In the list of connections to flush.
    pub(crate) in_dirty: bool,
}

impl Connection {
    pub(crate) fn new(stream: Stream, peer: Address, options: Rc<ConnectionOptions>) -> Self {
        Self {
            stream,
            peer,
            options,
            unread: BytesMut::new(),
            output: None,
            filter: None,
            policed: None,
            reason: None,
            timers: Vec::new(),
            deadline: None,
            generation: 0,
            stage: Stage::Open,
            readable: false,
            writable: true, // a fresh socket's buffer is empty; the first send finds out
            fin_seen: false,
            read_ended: false,
            broken: false,
            paused: false,
            throttled: false,
            reading_rationed: false,
            writing_rationed: false,
            held_back: false,
            producer_paused: false,
            owes_resume: false,
            write_closing: false,
            write_ended: false,
            progressed: false,
            in_ready: false,
            in_dirty: false,
        }
    }

    pub(crate) fn intake(&self) -> Intake {
        if let Some(filter) = &self.filter {
            return self.filtered_intake(filter);
        }
        match self.stage {
            Stage::Lost => Intake::Hold,
            _ if self.read_ended || !self.readable => Intake::Hold,
            Stage::Open | Stage::Flushing if self.reading_rationed => Intake::Hold,
            Stage::Flushing | Stage::Lingering => Intake::Discard,
            Stage::Open if self.paused || self.throttled => Intake::Hold,
            Stage::Open => Intake::Deliver,
        }
    }

    /// As [`intake`](Self::intake), where `Deliver` means: to the filter.
    fn filtered_intake(&self, filter: &Filter) -> Intake {
        match self.stage {
            Stage::Lost => Intake::Hold,
            _ if self.read_ended || !(self.readable || filter.has_input()) => Intake::Hold,
            Stage::Lingering => Intake::Discard,
            _ if self.reading_rationed => Intake::Hold,
            Stage::Flushing if filter.is_dead() => Intake::Discard,
            // Its handshake may have to go on before anything can be flushed.
            Stage::Flushing => Intake::Deliver,
            // A pause holds back what the peer sends, and no part of that is a handshake.
            Stage::Open if filter.is_handshaking() => Intake::Deliver,
            Stage::Open if self.paused || self.throttled => Intake::Hold,
            Stage::Open => Intake::Deliver,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.is_handshaking())
    }

    /// Bytes that wait to be sent, on either side of a filter; of each file, no more than its window.
    pub(crate) fn buffered(&self) -> usize {
        let plain = self.filter.as_ref().map_or(0, |filter| filter.buffered());
        plain + self.output.as_ref().map_or(0, |output| output.len())
    }

    /// The same, with all bytes of files.
    pub(crate) fn unsent(&self) -> usize {
        let plain = self.filter.as_ref().map_or(0, |filter| filter.unsent());
        plain.saturating_add(self.output.as_ref().map_or(0, |output| output.total()))
    }

    pub(crate) fn takes_output(&self) -> bool {
        self.stage == Stage::Open && !self.write_closing && !self.broken
    }

    pub(crate) fn write(&mut self, data: &[u8], pool: &mut OutputPool) -> Written {
        if !self.takes_output() {
            return Written::Gone;
        }
        if !data.is_empty() {
            self.written(pool).push_slice(data);
        }
        self.answer()
    }

    pub(crate) fn write_bytes(&mut self, data: Bytes, pool: &mut OutputPool) -> Written {
        if !self.takes_output() {
            return Written::Gone;
        }
        if !data.is_empty() {
            self.written(pool).push_bytes(data);
        }
        self.answer()
    }

    /// As [`write`](Self::write); the file has at least one byte left.
    pub(crate) fn write_file(&mut self, file: QueuedFile, pool: &mut OutputPool) -> Written {
        if !self.takes_output() {
            return Written::Gone;
        }
        self.written(pool).push_file(file);
        self.answer()
    }

    /// As [`write`](Self::write), with descriptors for its first byte. The caller has looked that
    /// there is one, that so many may wait, and that no filter lies in between.
    pub(crate) fn write_with_descriptors(
        &mut self,
        data: &[u8],
        descriptors: Vec<OwnedFd>,
        pool: &mut OutputPool,
    ) -> Written {
        if !self.takes_output() {
            return Written::Gone;
        }
        let output = self.output.get_or_insert_with(|| pool.lend());
        for descriptor in descriptors {
            output.push_descriptor(descriptor);
        }
        self.write(data, pool)
    }

    /// Where what the protocol writes is collected: before the filter, if there is one.
    fn written(&mut self, pool: &mut OutputPool) -> &mut Output {
        let place = match &mut self.filter {
            None => &mut self.output,
            Some(filter) => filter.plain(),
        };
        place.get_or_insert_with(|| pool.lend())
    }

    /// What a write says of itself; whoever stops because of it is owed a word when to go on.
    fn answer(&mut self) -> Written {
        let written = self.judge();
        self.owes_resume |= written == Written::AboveHighWater;
        written
    }

    pub(crate) fn judge(&self) -> Written {
        if self.buffered() > self.options.high_water_mark {
            Written::AboveHighWater
        } else {
            Written::Taken
        }
    }

    pub(crate) fn take_timers(&mut self) -> Vec<TimerId> {
        let mut timers = std::mem::take(&mut self.timers);
        timers.extend(self.deadline.take());
        timers.extend(self.filter.as_mut().and_then(|filter| filter.timer().take()));
        timers
    }
}

/// All connections of a reactor, by slot; a name from an earlier use of a slot finds nothing.
#[derive(Debug, Default)]
pub(crate) struct Connections(Slab<Connection>);

impl Connections {
    /// Makes a connection that needs to know its own name.
    pub(crate) fn insert_with<E>(
        &mut self,
        generation: u32,
        make: impl FnOnce(ConnectionId) -> Result<Connection, E>,
    ) -> Result<ConnectionId, E> {
        let entry = self.0.vacant_entry();
        let id = ConnectionId::new(entry.key(), generation);
        let mut connection = make(id)?;
        connection.generation = generation;
        entry.insert(connection);
        Ok(id)
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.0.get(id.slot()).filter(|connection| connection.generation == id.generation())
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.0.get_mut(id.slot()).filter(|connection| connection.generation == id.generation())
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.get(id)?;
        self.0.try_remove(id.slot())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The names of all, in slot order.
    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        self.0
            .iter()
            .map(|(slot, connection)| ConnectionId::new(slot, connection.generation))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::simulation::network::{self, Manners, Net, Port};

    #[test]
    fn a_connection_leaves_room_for_its_protocol_in_256_bytes() {
        assert!(size_of::<Connection>() <= 224, "{} bytes", size_of::<Connection>());
    }

    #[test]
    fn a_name_of_an_earlier_use_of_a_slot_finds_nothing_in_any_way() {
        let manners = Manners { most_delay: 0, capacity: 1, cuts: false, reset_one_in: 0 };
        let net = Net::new(0, manners, Rc::new(Cell::new(0)));
        let mut port = Port::new(&Rc::new(RefCell::new(net)));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
        let mut connections = Connections::default();
        let mut insert = |connections: &mut Connections, generation| {
            let stream = network::Stream::bare(&mut port, &address.into()).expect("no limit");
            let stream = Stream::Simulated(Box::new(stream));
            let connection = Connection::new(stream, Address::Tcp(address), Rc::default());
            let id = connections.insert_with(generation, |_| Ok::<_, ()>(connection));
            id.expect("it is made")
        };
        let old = insert(&mut connections, 1);
        assert!(connections.remove(old).is_some());
        let new = insert(&mut connections, 2);
        assert_eq!(old.slot(), new.slot());
        assert!(connections.get(old).is_none());
        assert!(connections.get_mut(old).is_none());
        assert!(connections.remove(old).is_none());
        assert!(connections.get_mut(new).is_some());
    }
}
