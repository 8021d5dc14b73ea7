//! The network of a simulation: listeners, byte streams and the events under way between their
//! ends, all moved by one seeded sequence of chances and one virtual clock. What a reactor holds of
//! it is in `port`.
//!
//! It keeps the kernel's manners where the reactor relies on them: edges are told once, a short
//! receive means drained, a full buffer takes a part, a close with unread input resets. It plays
//! with what the kernel leaves open: when things arrive, and where the stream is cut. Cuts are
//! chosen by position, never by content.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use bytes::{Buf, BytesMut};

use super::datagrams::{Datagrams, Travelling};
use crate::address::Address;
use crate::clock::Nanos;
use crate::identity::Source;
use crate::network::Readiness;
use crate::random::Seeded;

mod port;
mod sharing;

pub(crate) use port::{Listening, Port, Stream};

/// The first port that is given to those who ask for port 0.
const FIRST_FREE_PORT: u16 = 49152;

/// The port that belongs to no reactor: a simulation makes it first.
const OUTSIDE: usize = 0;

/// How the network plays with its streams.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    /// The longest that a segment, a FIN or a connection request is under way.
    pub(crate) most_delay: Nanos,
    /// The most that one direction holds, arrived or under way.
    pub(crate) capacity: usize,
    /// Whether segments are cut at chance positions.
    pub(crate) cuts: bool,
    /// Once in how many segments the connection is reset instead; 0 is never.
    pub(crate) reset_one_in: u64,
}

/// Everything that the reactors of one simulation share.
pub(crate) struct Net {
    pub(crate) chance: Seeded,
    pub(crate) manners: Manners,
    clock: Rc<Cell<Nanos>>,
    listeners: BTreeMap<Address, Queue>,
    /// By a number that is never used again: what is still under way to an end that has gone
    /// must not reach another.
    ends: BTreeMap<usize, End>,
    next_end: usize,
    under_way: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    sequence: u64,
    next_port: u16,
    names: BTreeMap<String, Vec<IpAddr>>,
    /// Connection requests to these are lost.
    silent: BTreeSet<IpAddr>,
    /// Edges not yet told, by reactor.
    pub(super) edges: Vec<BTreeMap<Source, Readiness>>,
    pub(super) datagrams: Datagrams,
    /// Descriptors in use, and how many there may be, by reactor.
    descriptors: Vec<(usize, usize)>,
}

/// A listening socket and the connections that wait in it.
struct Queue {
    port: usize,
    source: Source,
    waiting: VecDeque<(usize, Address)>,
    backlog: usize,
    /// Whether others may listen at its address; and those that do.
    shares: bool,
    behind: Vec<Queue>,
}

/// One end of a stream.
struct End {
    port: usize,
    source: Option<Source>,
    /// The other end; `None` before the connection is made and after that end is closed.
    other: Option<usize>,
    local: Address,
    peer: Address,
    connected: bool,
    /// Arrived and not yet received.
    arrived: BytesMut,
    /// Sent by the other end and not yet arrived.
    under_way: usize,
    /// When the last segment towards this end arrives: nothing overtakes it.
    last_arrival: Nanos,
    fin_arrived: bool,
    fin_sent: bool,
    failure: Option<io::ErrorKind>,
    /// A send found no room: an edge is owed once there is some.
    wants_room: bool,
    reset_on_close: bool,
    closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A connection request reaches its listener.
    Request {
        end: usize,
    },
    Data {
        to: usize,
        bytes: Vec<u8>,
    },
    Fin {
        to: usize,
    },
    Reset {
        to: usize,
    },
    /// Room in the buffer is told to the sender.
    Room {
        end: usize,
    },
    Datagram(Travelling),
}

impl Net {
    pub(crate) fn new(seed: u64, manners: Manners, clock: Rc<Cell<Nanos>>) -> Self {
        Self {
            chance: Seeded::new(seed),
            manners,
            clock,
            listeners: BTreeMap::new(),
            ends: BTreeMap::new(),
            next_end: 0,
            under_way: BinaryHeap::new(),
            sequence: 0,
            next_port: FIRST_FREE_PORT,
            names: BTreeMap::new(),
            silent: BTreeSet::new(),
            edges: Vec::new(),
            datagrams: Datagrams::default(),
            descriptors: Vec::new(),
        }
    }

    pub(crate) fn name(&mut self, host: &str, addresses: Vec<IpAddr>) {
        self.names.insert(host.to_owned(), addresses);
    }

    pub(crate) fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let nowhere = || io::Error::new(io::ErrorKind::NotFound, "no such name");
        self.names.get(host).cloned().ok_or_else(nowhere)
    }

    /// From now on nobody answers at `address`, neither yes nor no.
    pub(crate) fn silence(&mut self, address: IpAddr) {
        self.silent.insert(address);
    }

    pub(crate) fn limit_descriptors(&mut self, port: usize, most: usize) {
        self.descriptors[port].1 = most;
    }

    pub(crate) fn open_ends(&self) -> usize {
        let streams = self.ends.values().filter(|end| !end.closed).count();
        streams + self.open_datagram_sockets()
    }

    /// How long a simulated job (of the thread pool, of the resolver) takes.
    pub(crate) fn job_delay(&mut self) -> Nanos {
        self.delay()
    }

    pub(super) fn now(&self) -> Nanos {
        self.clock.get()
    }

    pub(super) fn delay(&mut self) -> Nanos {
        match self.manners.most_delay {
            0 => 0,
            most => self.chance.below(most),
        }
    }

    pub(super) fn later(&mut self, at: Nanos, event: Event) {
        self.sequence += 1;
        self.under_way.push(Reverse((at, self.sequence, event)));
    }

    /// When the next event is due.
    pub(crate) fn next_event(&self) -> Option<Nanos> {
        self.under_way.peek().map(|Reverse((at, ..))| *at)
    }

    /// Lets everything happen that is due by now.
    pub(crate) fn advance(&mut self) {
        let now = self.clock.get();
        while self.next_event().is_some_and(|at| at <= now) {
            if let Some(Reverse((_, _, event))) = self.under_way.pop() {
                self.happen(event);
            }
        }
    }

    pub(crate) fn has_edges(&self, port: usize) -> bool {
        !self.edges[port].is_empty()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request { end } => self.request(end),
            Event::Data { to, bytes } => {
                let Some(end) = self.ends.get_mut(&to) else { return };
                end.under_way -= bytes.len();
                if end.closed {
                    // As TCP answers data for a socket that is gone.
                    if let Some(other) = end.other {
                        self.reset_now(other);
                    }
                } else if end.failure.is_none() {
                    end.arrived.extend_from_slice(&bytes);
                    self.edge(to, |edge| edge.readable = true);
                }
            }
            Event::Fin { to } => {
                if let Some(end) = self.ends.get_mut(&to) {
                    end.fin_arrived = true;
                    self.edge(to, |edge| {
                        edge.readable = true;
                        edge.read_closed = true;
                    });
                }
            }
            Event::Reset { to } => self.reset_now(to),
            Event::Room { end } => self.edge(end, |edge| edge.writable = true),
            Event::Datagram(datagram) => self.datagram_arrives(datagram),
        }
    }

    /// Tells an edge to the reactor that the end belongs to.
    fn edge(&mut self, end: usize, mark: impl FnOnce(&mut Readiness)) {
        let Some(found) = self.ends.get(&end).filter(|end| !end.closed) else { return };
        let Some(source) = found.source else { return };
        mark_edge(&mut self.edges[found.port], source, mark);
    }

    /// Everything that is true of a socket becomes an edge when it is registered, as epoll does.
    fn edge_of_state(&mut self, index: usize) {
        let Some(end) = self.ends.get(&index) else { return };
        let readable = !end.arrived.is_empty() || end.fin_arrived || end.failure.is_some();
        let (read_closed, failed, writable) =
            (end.fin_arrived, end.failure.is_some(), end.connected);
        self.edge(index, |edge| {
            edge.readable |= readable;
            edge.writable |= writable;
            edge.read_closed |= read_closed;
            edge.failed |= failed;
        });
    }

    fn request(&mut self, client: usize) {
        let Some(end) = self.ends.get(&client) else { return };
        if end.closed {
            return;
        }
        let (from, to) = (end.local.clone(), end.peer.clone());
        if to.ip().is_some_and(|ip| self.silent.contains(&ip)) {
            return;
        }
        let at = match to.port() {
            Some(port) if !self.listeners.contains_key(&to) => {
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into()
            }
            _ => to.clone(),
        };
        self.draw_listener(&at);
        let room = self.listeners.get(&at).map(|queue| queue.waiting.len() < queue.backlog);
        match room {
            Some(true) => {}
            Some(false) => {
                // As a full backlog does: the request is dropped, and sent again a second later.
                let again = self.clock.get() + 1_000_000_000;
                return self.later(again, Event::Request { end: client });
            }
            None => {
                let end = self.end(client);
                end.failure = Some(match end.peer {
                    Address::Unix(_) => io::ErrorKind::NotFound, // stopping removes the path
                    _ => io::ErrorKind::ConnectionRefused,
                });
                return self.edge(client, |edge| {
                    edge.readable = true;
                    edge.writable = true;
                    edge.failed = true;
                });
            }
        }
        let Some(queue) = self.listeners.get(&at) else { return };
        let (port, source) = (queue.port, queue.source);
        let server = self.insert(End {
            connected: true,
            other: Some(client),
            ..End::new(port, to, from.clone())
        });
        let end = self.end(client);
        end.other = Some(server);
        end.connected = true;
        if let Some(queue) = self.listeners.get_mut(&at) {
            queue.waiting.push_back((server, from));
        }
        self.edge(client, |edge| edge.writable = true);
        mark_edge(&mut self.edges[port], source, |edge| edge.readable = true);
    }

    /// The reset is there: what had arrived and was not received is gone, as on most systems.
    fn reset_now(&mut self, index: usize) {
        let Some(end) = self.ends.get_mut(&index).filter(|end| !end.closed) else { return };
        end.failure = Some(io::ErrorKind::ConnectionReset);
        end.arrived.clear();
        self.edge(index, |edge| {
            edge.readable = true;
            edge.writable = true;
            edge.read_closed = true;
            edge.failed = true;
        });
    }

    /// Sends a segment, a FIN or a reset towards `to`, behind what is under way already.
    fn towards(&mut self, to: usize, event: Event) {
        let at = self.clock.get() + self.delay();
        let end = self.end(to);
        let at = at.max(end.last_arrival);
        end.last_arrival = at;
        self.later(at, event);
    }

    fn send(&mut self, from: usize, segments: &[IoSlice<'_>]) -> io::Result<usize> {
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
                self.towards(to, Event::Reset { to });
                self.towards(from, Event::Reset { to: from });
                break;
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

    fn peek(&mut self, index: usize, data: &mut [u8]) -> io::Result<usize> {
        let end = self.end(index);
        if end.arrived.is_empty() {
            return self.nothing_arrived(index);
        }
        let count = data.len().min(end.arrived.len());
        data[..count].copy_from_slice(&end.arrived[..count]);
        Ok(count)
    }

    fn recv(&mut self, index: usize, buffer: &mut BytesMut, limit: usize) -> io::Result<usize> {
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
            let at = self.clock.get() + self.delay();
            self.later(at, Event::Room { end: other });
        }
        Ok(count)
    }

    fn shutdown_write(&mut self, index: usize) {
        let end = self.end(index);
        if end.fin_sent || end.failure.is_some() {
            return;
        }
        end.fin_sent = true;
        if let Some(to) = end.other {
            self.towards(to, Event::Fin { to });
        }
    }

    fn close(&mut self, index: usize) {
        let end = self.end(index);
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
                self.towards(to, Event::Reset { to });
            } else {
                self.shutdown_write(index);
            }
        }
        self.forget_if_over(index);
    }

    /// An end is forgotten once both are closed; what is still under way then finds nobody.
    fn forget_if_over(&mut self, index: usize) {
        let Some(end) = self.ends.get(&index).filter(|end| end.closed) else { return };
        let other = end.other;
        if other.is_none_or(|other| self.ends.get(&other).is_none_or(|other| other.closed)) {
            self.ends.remove(&index);
            if let Some(other) = other {
                self.ends.remove(&other);
            }
        }
    }

    /// Two ends that are connected, the second of which no reactor has.
    pub(crate) fn pair(&mut self, port: usize) -> io::Result<(usize, usize)> {
        self.take_descriptor(port)?;
        self.take_descriptor(OUTSIDE)?;
        let ours =
            self.insert(End { connected: true, ..End::new(port, Address::Stdio, Address::Stdio) });
        let theirs = self.insert(End {
            connected: true,
            other: Some(ours),
            ..End::new(OUTSIDE, Address::Stdio, Address::Stdio)
        });
        self.end(ours).other = Some(theirs);
        Ok((ours, theirs))
    }

    /// Tells a reactor that something has happened to `source`.
    pub(crate) fn tell(&mut self, port: usize, source: Source) {
        mark_edge(&mut self.edges[port], source, |edge| edge.readable = true);
    }

    fn insert(&mut self, end: End) -> usize {
        self.next_end += 1;
        self.ends.insert(self.next_end, end);
        self.next_end
    }

    /// The end of a stream that is open.
    fn end(&mut self, index: usize) -> &mut End {
        self.ends.get_mut(&index).expect("an end stays until both are closed")
    }

    pub(super) fn take_descriptor(&mut self, port: usize) -> io::Result<()> {
        let (used, most) = &mut self.descriptors[port];
        if *used >= *most {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        *used += 1;
        Ok(())
    }

    pub(super) fn give_descriptor_back(&mut self, port: usize) {
        self.descriptors[port].0 -= 1;
    }

    pub(super) fn free_port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_FREE_PORT);
        self.next_port
    }
}

pub(super) fn mark_edge(
    edges: &mut BTreeMap<Source, Readiness>,
    source: Source,
    mark: impl FnOnce(&mut Readiness),
) {
    mark(edges.entry(source).or_insert(Readiness {
        source,
        readable: false,
        writable: false,
        read_closed: false,
        failed: false,
    }));
}

impl End {
    fn new(port: usize, local: Address, peer: Address) -> Self {
        Self {
            port,
            source: None,
            other: None,
            local,
            peer,
            connected: false,
            arrived: BytesMut::new(),
            under_way: 0,
            last_arrival: 0,
            fin_arrived: false,
            fin_sent: false,
            failure: None,
            wants_room: false,
            reset_on_close: false,
            closed: false,
        }
    }
}
