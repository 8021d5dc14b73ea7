//! Datagrams on the simulated network: each on its way alone, so that they overtake each other;
//! lost and doubled as often as the simulation was told; refused where nobody is.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use super::network::{Event, Net, Port, Realm, mark_edge};
use crate::address::{Address, UnixAddress};
use crate::identity::Source;

/// The datagram sockets of a network, and how it treats what they send.
#[derive(Default)]
pub(super) struct Datagrams {
    /// By a number that is never used again.
    sockets: BTreeMap<usize, Held>,
    next: usize,
    names: BTreeMap<(Realm, Address), usize>,
    /// One in so many is lost, or arrives twice; 0 is none.
    pub(super) lose_one_in: u64,
    pub(super) double_one_in: u64,
}

/// What a socket holds.
struct Held {
    port: usize,
    source: Option<Source>,
    local: Address,
    peer: Option<Address>,
    arrived: VecDeque<(Vec<u8>, Address)>,
    arrived_bytes: usize,
    /// Sent, and neither arrived nor lost yet.
    under_way: usize,
    /// A send found no room: an edge is owed.
    wants_room: bool,
    refused: bool,
}

/// One on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Travelling {
    sender: usize,
    /// The sender's.
    port: usize,
    from: Address,
    to: Address,
    bytes: Vec<u8>,
}

impl Net {
    fn held(&mut self, number: usize) -> &mut Held {
        self.datagrams.sockets.get_mut(&number).expect("a socket stays until it is closed")
    }

    fn edge_of(&mut self, number: usize, readable: bool, writable: bool, failed: bool) {
        let Some(held) = self.datagrams.sockets.get(&number) else { return };
        let Some(source) = held.source else { return };
        let port = held.port;
        mark_edge(&mut self.edges[port], source, |edge| {
            edge.readable |= readable;
            edge.writable |= writable;
            edge.failed |= failed;
        });
    }

    /// The socket that what `sender`'s port sends to `address` reaches.
    fn named(&self, sender: usize, address: &Address) -> Option<usize> {
        let realm = self.realm(sender, address);
        let everywhere = |port| Address::Udp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        let names = &self.datagrams.names;
        let found = names.get(&(realm, address.clone()));
        found.or_else(|| names.get(&(realm, everywhere(address.port()?)))).copied()
    }

    fn bind(
        &mut self,
        port: usize,
        address: &Address,
        source: Option<Source>,
    ) -> io::Result<usize> {
        let mut local = address.clone();
        let realm = self.may_bind(port, &local)?;
        if let Address::Udp(address) = &mut local
            && address.port() == 0
        {
            let taken = |net: &Self, address: &SocketAddr| {
                net.datagrams.names.contains_key(&(realm, Address::Udp(*address)))
            };
            while address.port() == 0 || taken(self, address) {
                address.set_port(self.free_port());
            }
        }
        if self.datagrams.names.contains_key(&(realm, local.clone())) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.take_descriptor(port)?;
        self.datagrams.next += 1;
        let number = self.datagrams.next;
        if local != Address::Unix(UnixAddress::unnamed()) {
            self.datagrams.names.insert((realm, local.clone()), number);
        }
        self.datagrams.sockets.insert(
            number,
            Held {
                port,
                source,
                local,
                peer: None,
                arrived: VecDeque::new(),
                arrived_bytes: 0,
                under_way: 0,
                wants_room: false,
                refused: false,
            },
        );
        Ok(number)
    }

    fn send_datagram(
        &mut self,
        sender: usize,
        data: &[u8],
        to: Option<&Address>,
    ) -> io::Result<()> {
        let capacity = self.manners.capacity;
        let held = self.held(sender);
        if std::mem::take(&mut held.refused) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let to = match (to, &held.peer) {
            (Some(Address::Tcp(to)), _) => Address::Udp(*to),
            (Some(to), _) | (None, Some(to)) => to.clone(),
            (None, None) => return Err(io::ErrorKind::NotConnected.into()),
        };
        if held.under_way > 0 && held.under_way + data.len() > capacity {
            held.wants_room = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (port, local) = (held.port, held.local.clone());
        let from = match local {
            // As the kernel fills in the address of the way that it takes.
            Address::Udp(local) if local.ip().is_unspecified() => {
                Address::Udp(SocketAddr::new(self.source_address(port, &to), local.port()))
            }
            local => local,
        };
        if matches!(to, Address::Unix(_)) {
            // On one machine nothing is lost: whoever is not there is told of at once.
            let Some(receiver) = self.named(port, &to) else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            self.arrive(receiver, data.to_vec(), from);
            return Ok(());
        }
        let way = self.port_of_datagrams(port, &to);
        let rules = way.map_or((None, None), |way| self.links.datagram_rules(port, way));
        let Datagrams { lose_one_in, double_one_in, .. } = self.datagrams;
        let (lose_one_in, double_one_in) =
            (rules.0.unwrap_or(lose_one_in), rules.1.unwrap_or(double_one_in));
        let copies = match (lose_one_in, double_one_in) {
            (lose, _) if lose > 0 && self.chance.one_in(lose) => 0,
            (_, double) if double > 0 && self.chance.one_in(double) => 2,
            _ => 1,
        };
        if copies != 1 && self.trace.is_on() {
            let what = if copies == 0 { "lost" } else { "doubled" };
            self.say(format_args!("a datagram from {from} to {to} is {what}"));
        }
        for _ in 0..copies {
            self.held(sender).under_way += data.len();
            let at = match way {
                Some(way) => self.arrival(port, way, data.len()),
                None => self.now() + self.delay(),
            };
            let (from, to) = (from.clone(), to.clone());
            let bytes = data.to_vec();
            self.later(at, Event::Datagram(Travelling { sender, port, from, to, bytes }));
        }
        Ok(())
    }

    /// A datagram reaches its address: a socket, or nobody.
    pub(super) fn datagram_arrives(&mut self, datagram: Travelling) {
        let Travelling { sender, port, from, to, bytes } = datagram;
        let way = self.port_of_datagrams(port, &to);
        let carried = way.is_none_or(|way| self.carries_between(port, way));
        let answered = way.is_none_or(|way| self.links.is_open(way, port));
        let receiver = self.named(port, &to);
        if self.trace.is_on() {
            let what = if carried { "arrives" } else { "is lost on the way" };
            self.say(format_args!("{} bytes from {from} for {to}: {what}", bytes.len()));
        }
        let mut room = false;
        if let Some(held) = self.datagrams.sockets.get_mut(&sender) {
            held.under_way -= bytes.len();
            room = std::mem::take(&mut held.wants_room);
            let refused = receiver.is_none() && carried && answered;
            if refused && held.peer.as_ref() == Some(&to) {
                held.refused = true;
                self.edge_of(sender, true, false, true);
            }
        }
        if room {
            self.edge_of(sender, false, true, false);
        }
        if let Some(receiver) = receiver.filter(|_| carried) {
            self.arrive(receiver, bytes, from);
        }
    }

    fn arrive(&mut self, receiver: usize, bytes: Vec<u8>, from: Address) {
        let capacity = self.manners.capacity;
        let held = self.held(receiver);
        let stranger = held.peer.as_ref().is_some_and(|peer| *peer != from);
        // A full buffer takes nothing more, as the kernel's; an empty one takes any datagram.
        let full = !held.arrived.is_empty() && held.arrived_bytes + bytes.len() > capacity;
        if stranger || full {
            return;
        }
        held.arrived_bytes += bytes.len();
        held.arrived.push_back((bytes, from));
        self.edge_of(receiver, true, false, false);
    }

    fn receive_datagram(&mut self, number: usize) -> io::Result<(Vec<u8>, Address)> {
        let held = self.held(number);
        if std::mem::take(&mut held.refused) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (bytes, from) = held.arrived.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        held.arrived_bytes -= bytes.len();
        Ok((bytes, from))
    }

    /// The port of whoever gets what is sent to `to`.
    fn port_of_datagrams(&self, sender: usize, to: &Address) -> Option<usize> {
        if matches!(to, Address::Unix(_)) {
            return None; // no line is used
        }
        let ip = to.ip()?;
        let owner = self.places.iter().position(|place| place.address == Some(ip));
        let named = || self.datagrams.sockets.get(&self.named(sender, to)?).map(|held| held.port);
        owner.or_else(named)
    }

    /// All datagram sockets of a machine are gone.
    pub(super) fn crash_datagrams(&mut self, port: usize) {
        let gone = self.datagrams.sockets.extract_if(.., |_, held| held.port == port);
        let gone: Vec<_> = gone.map(|(number, _)| number).collect();
        self.datagrams.names.retain(|_, named| !gone.contains(named));
    }

    fn close_datagram(&mut self, number: usize) {
        let Some(held) = self.datagrams.sockets.remove(&number) else { return };
        self.datagrams.names.retain(|_, named| *named != number);
        self.give_descriptor_back(held.port);
        if let Some(source) = held.source {
            self.edges[held.port].remove(&source);
        }
    }

    pub(super) fn open_datagram_sockets(&self) -> usize {
        self.datagrams.sockets.len()
    }
}

/// A datagram socket.
pub(crate) struct Socket {
    net: Rc<RefCell<Net>>,
    number: usize,
}

impl Socket {
    /// Binds a socket of a reactor, or of a test (which is told of no edges).
    pub(crate) fn bind(port: &Port, address: &Address, source: Option<Source>) -> io::Result<Self> {
        let net = port.net().clone();
        let number = net.borrow_mut().bind(port.number(), address, source)?;
        Ok(Self { net, number })
    }

    pub(crate) fn connect(&mut self, peer: &Address) {
        self.net.borrow_mut().held(self.number).peer = Some(peer.clone());
    }

    pub(crate) fn local(&self) -> Address {
        self.net.borrow().datagrams.sockets[&self.number].local.clone()
    }

    pub(crate) fn send(&mut self, data: &[u8], to: Option<&Address>) -> io::Result<()> {
        self.net.borrow_mut().send_datagram(self.number, data, to)
    }

    /// Its whole length, and the sender; as much of it as there is room for is in `place`.
    pub(crate) fn receive(&mut self, place: &mut [u8]) -> io::Result<(usize, Address)> {
        let (bytes, from) = self.receive_whole()?;
        let count = place.len().min(bytes.len());
        place[..count].copy_from_slice(&bytes[..count]);
        Ok((bytes.len(), from))
    }

    pub(crate) fn receive_whole(&mut self) -> io::Result<(Vec<u8>, Address)> {
        self.net.borrow_mut().receive_datagram(self.number)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.net.borrow_mut().close_datagram(self.number);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.number)
    }
}

/// A datagram socket in the hands of a test: it sends and receives as the test says.
#[derive(Debug)]
pub struct DatagramPeer(pub(super) Socket);

impl DatagramPeer {
    /// Where it is bound.
    pub fn address(&self) -> Address {
        self.0.local()
    }

    /// Sends one datagram; the network may lose it, delay it or double it.
    pub fn send_to(&mut self, data: &[u8], to: &Address) {
        // One that there is no room for is lost as well.
        let _ = self.0.send(data, Some(to));
    }

    /// The next datagram that has arrived, and who sent it.
    pub fn receive(&mut self) -> Option<(Vec<u8>, Address)> {
        self.0.receive_whole().ok()
    }
}
