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
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use bytes::BytesMut;

use super::datagrams::{Datagrams, Travelling};
use super::hosts::Place;
use super::links::Links;
use super::trace::Trace;
use crate::address::Address;
use crate::clock::Nanos;
use crate::identity::Source;
use crate::network::Readiness;
use crate::random::Seeded;

mod arrivals;
mod crashes;
mod lost;
mod port;
mod requests;
mod sharing;
mod streams;

pub(super) use arrivals::mark_edge;
use lost::Retry;
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
    listeners: BTreeMap<(Realm, Address), Queue>,
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
    /// The machines, by reactor; and the lines between them.
    pub(super) places: Vec<Place>,
    pub(super) links: Links,
    pub(super) trace: Trace,
}

/// Within one of these, an address means one thing: that of all machines without an address of
/// their own in common, or else a machine's own.
pub(super) type Realm = usize;

/// The common one.
const COMMON: Realm = usize::MAX;

/// A listening socket and the connections that wait in it.
struct Queue {
    port: usize,
    source: Source,
    waiting: VecDeque<(usize, Address)>,
    backlog: usize,
    /// Whether others may listen at its address; and those that do.
    shares: bool,
    behind: Vec<Queue>,
    /// What accepted connections have from it.
    keep_alive: Option<Nanos>,
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
    /// Its machine has crashed since, or a test has made it vanish: it was closed, and nobody was
    /// told.
    vanished: Option<Vanished>,
    /// Something that was sent to it is lost and never sent again, so nothing behind that can be
    /// received either.
    gap: bool,
    /// The other end does not know that this one was reset: the network has lost that.
    reset_lost: bool,
    /// Something that it sent has got no answer, and is sent again.
    retry: Option<Box<Retry>>,
    /// How often its connection request was sent again.
    requests: u32,
    /// Idle time before the other end is probed, and whether that is going on.
    keep_alive: Option<Nanos>,
    probes: Option<u32>,
}

/// How an end has gone without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vanished {
    /// With its machine, which answers again when it is up.
    Crashed,
    /// For good: nobody ever answers there.
    Silent,
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
    /// What got no answer is sent again.
    Retry {
        end: usize,
    },
    /// It has been idle for long: is the other end still there?
    Probe {
        end: usize,
    },
    Datagram(Travelling),
}

impl Net {
    pub(crate) fn new(seed: u64, manners: Manners, clock: Rc<Cell<Nanos>>) -> Self {
        Self {
            chance: Seeded::new(seed),
            manners,
            trace: Trace::new(clock.clone()),
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
            places: Vec::new(),
            links: Links::new(seed),
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

    pub(super) fn descriptors_in_use(&self, port: usize) -> usize {
        self.descriptors[port].0
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
            Event::Data { .. } | Event::Fin { .. } => self.segment_comes(event),
            Event::Reset { to } => self.reset_comes(to),
            Event::Room { end } => self.room_comes(end),
            Event::Retry { end } => self.retry(end),
            Event::Probe { end } => self.probe(end),
            Event::Datagram(datagram) => self.datagram_arrives(datagram),
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

impl End {
    /// Whether nothing is left of the socket that could take anything.
    fn is_dead(&self) -> bool {
        self.closed || self.retry.as_ref().is_some_and(|retry| retry.gave_up)
    }

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
            vanished: None,
            gap: false,
            reset_lost: false,
            retry: None,
            requests: 0,
            keep_alive: None,
            probes: None,
        }
    }
}
