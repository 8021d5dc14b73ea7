//! A reactor's side of the simulated network: what stands for its sockets. Each only knows the number
//! of what it is in the network, where everything happens.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;

use super::sharing::Owner;
use super::{End, Event, Net, Queue, Realm};
use crate::address::{Address, UnixAddress};
use crate::clock::nanos;
use crate::identity::Source;
use crate::network::Readiness;
use crate::options::ListenOptions;
use crate::simulation::hosts::Place;
use crate::simulation::programs::Programs;

/// One reactor's access to the network.
#[derive(Clone)]
pub(crate) struct Port {
    net: Rc<RefCell<Net>>,
    number: usize,
    /// What it can run; not in the network, which children hold on to.
    programs: Rc<RefCell<Programs>>,
}

impl Port {
    pub(crate) fn new(net: &Rc<RefCell<Net>>) -> Self {
        let mut inner = net.borrow_mut();
        inner.edges.push(BTreeMap::new());
        inner.descriptors.push((0, usize::MAX));
        inner.places.push(Place::new("the outside"));
        Self { net: net.clone(), number: inner.edges.len() - 1, programs: Rc::default() }
    }

    /// One whose reactor can run these programs.
    pub(crate) fn with_programs(net: &Rc<RefCell<Net>>, programs: &Rc<RefCell<Programs>>) -> Self {
        Self { programs: programs.clone(), ..Self::new(net) }
    }

    pub(crate) fn programs(&self) -> &Rc<RefCell<Programs>> {
        &self.programs
    }

    pub(crate) fn net(&self) -> &Rc<RefCell<Net>> {
        &self.net
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// The edges that are there, in an order of the seed's choosing.
    pub(crate) fn poll(&mut self, ready: &mut Vec<Readiness>) {
        let mut net = self.net.borrow_mut();
        let edges = std::mem::take(&mut net.edges[self.number]);
        let first = ready.len();
        ready.extend(edges.into_values());
        net.chance.shuffle(&mut ready[first..]);
    }

    pub(crate) fn listen(
        &mut self,
        address: &Address,
        options: &ListenOptions,
        source: Source,
    ) -> io::Result<Listening> {
        let mut net = self.net.borrow_mut();
        let mut local = address.clone();
        if let Address::Tcp(local) = &mut local
            && local.port() == 0
        {
            let realm = net.may_bind(self.number, &Address::Tcp(*local))?;
            while local.port() == 0 || net.listeners.contains_key(&(realm, Address::Tcp(*local))) {
                local.set_port(net.free_port());
            }
        }
        let at = (net.may_bind(self.number, &local)?, local);
        net.take_descriptor(self.number)?;
        let queue = Queue {
            port: self.number,
            source,
            waiting: VecDeque::new(),
            backlog: options.backlog.max(1) as usize,
            shares: options.reuse_port,
            behind: Vec::new(),
            keep_alive: options.connection.keep_alive.map(nanos),
        };
        if !net.add_listener(&at, queue) {
            net.descriptors[self.number].0 -= 1;
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(Listening { net: self.net.clone(), at, owner: (self.number, source) })
    }

    pub(crate) fn connect(
        &mut self,
        address: &Address,
        bind: Option<SocketAddr>,
        source: Source,
    ) -> io::Result<Stream> {
        let mut net = self.net.borrow_mut();
        net.take_descriptor(self.number)?;
        let local = match address {
            Address::Unix(_) | Address::Stdio => Address::Unix(UnixAddress::unnamed()),
            _ => {
                let mut local = SocketAddr::new(net.source_address(self.number, address), 0);
                if let Some(bind) = bind {
                    if let Err(foreign) = net.may_bind(self.number, &bind.into()) {
                        net.give_descriptor_back(self.number);
                        return Err(foreign);
                    }
                    local = bind;
                }
                if local.port() == 0 {
                    local.set_port(net.free_port());
                }
                local.into()
            }
        };
        let end = End::new(self.number, local, address.clone());
        let end = net.insert(End { source: Some(source), ..end });
        let at = match (address, net.port_at(self.number, address)) {
            (Address::Tcp(_) | Address::Udp(_), Some(to)) => net.arrival(self.number, to, 0),
            _ => net.now() + net.delay(),
        };
        net.later(at, Event::Request { end });
        Ok(Stream { net: self.net.clone(), end })
    }
}

impl Net {
    /// The address that what is sent from `port` to `to` comes from.
    pub(in crate::simulation) fn source_address(&self, port: usize, to: &Address) -> IpAddr {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let own = self.places[port].address.unwrap_or(loopback);
        if to.ip().is_some_and(|ip| ip.is_loopback()) { loopback } else { own }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({})", self.number)
    }
}

/// One end of a stream, as a socket.
pub(crate) struct Stream {
    net: Rc<RefCell<Net>>,
    end: usize,
}

impl Stream {
    pub(crate) fn recv(&mut self, buffer: &mut BytesMut, limit: usize) -> io::Result<usize> {
        self.net.borrow_mut().recv(self.end, buffer, limit)
    }

    pub(crate) fn peek(&mut self, data: &mut [u8]) -> io::Result<usize> {
        self.net.borrow_mut().peek(self.end, data)
    }

    pub(crate) fn send(&mut self, segments: &[IoSlice<'_>]) -> io::Result<usize> {
        self.net.borrow_mut().send(self.end, segments)
    }

    /// Idle time after which the other end is probed, if something may have happened to it.
    pub(crate) fn keep_alive(&self, idle: Option<Duration>) {
        self.net.borrow_mut().end(self.end).keep_alive = idle.map(nanos);
    }

    /// Is gone, and nobody is told: as if its cable were pulled.
    pub(crate) fn vanish(&mut self) {
        self.net.borrow_mut().vanish_silently(self.end);
    }

    pub(crate) fn shutdown_write(&mut self) {
        self.net.borrow_mut().shutdown_write(self.end);
    }

    pub(crate) fn reset_on_close(&mut self) {
        self.net.borrow_mut().end(self.end).reset_on_close = true;
    }

    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        let mut net = self.net.borrow_mut();
        let end = net.end(self.end);
        match end.failure {
            None | Some(io::ErrorKind::NotConnected) => None,
            Some(kind) => {
                end.failure = Some(io::ErrorKind::NotConnected);
                Some(kind.into())
            }
        }
    }

    pub(crate) fn local(&self) -> Address {
        self.net.borrow().ends[&self.end].local.clone()
    }

    pub(crate) fn peer(&self) -> io::Result<Address> {
        let end = &self.net.borrow().ends[&self.end];
        if end.connected { Ok(end.peer.clone()) } else { Err(io::ErrorKind::NotConnected.into()) }
    }

    pub(crate) fn register(&mut self, source: Source) {
        let mut net = self.net.borrow_mut();
        let end = net.end(self.end);
        let port = end.port;
        let earlier = end.source.replace(source);
        if let Some(earlier) = earlier {
            net.edges[port].remove(&earlier);
        }
        net.edge_of_state(self.end);
    }

    /// The two ends of a pipe: one for the port's reactor, one that no reactor watches.
    pub(crate) fn pair(port: &Port) -> io::Result<(Self, Self)> {
        let mut net = port.net.borrow_mut();
        let (ours, theirs) = net.pair(port.number)?;
        let stream = |end| Self { net: port.net.clone(), end };
        Ok((stream(ours), stream(theirs)))
    }

    /// A stream of the test's own, which no reactor watches.
    pub(crate) fn bare(port: &mut Port, address: &Address) -> io::Result<Self> {
        let stream = port.connect(address, None, Source::Waker)?;
        port.net.borrow_mut().end(stream.end).source = None;
        Ok(stream)
    }

    /// Whether the request is still under way; a refused one is not.
    pub(crate) fn is_connecting(&self) -> bool {
        let end = &self.net.borrow().ends[&self.end];
        !end.connected && end.failure.is_none()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.net.borrow_mut().close(self.end);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.end)
    }
}

/// A listening socket.
pub(crate) struct Listening {
    net: Rc<RefCell<Net>>,
    at: (Realm, Address),
    owner: Owner,
}

impl Listening {
    pub(crate) fn local(&self) -> Address {
        self.at.1.clone()
    }

    pub(crate) fn accept(&mut self) -> io::Result<(Stream, Address)> {
        let mut net = self.net.borrow_mut();
        let nobody = || io::Error::from(io::ErrorKind::WouldBlock);
        let queue = net.queue_of(&self.at, self.owner);
        let queue = queue.filter(|queue| !queue.waiting.is_empty());
        let port = queue.ok_or_else(nobody)?.port;
        net.take_descriptor(port)?;
        let queue = net.queue_of(&self.at, self.owner);
        let first = queue.and_then(|queue| queue.waiting.pop_front());
        let (end, peer) = first.ok_or_else(nobody)?;
        Ok((Stream { net: self.net.clone(), end }, peer))
    }

    /// Takes the first in the queue and closes it, as a reserve descriptor allows.
    pub(crate) fn shed(&mut self) -> bool {
        let mut net = self.net.borrow_mut();
        let waiting = net
            .queue_of(&self.at, self.owner)
            .and_then(|queue| queue.waiting.pop_front().map(|(end, _)| (queue.port, end)));
        if let Some((port, end)) = waiting {
            net.descriptors[port].0 += 1;
            net.close(end);
        }
        waiting.is_some()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut net = self.net.borrow_mut();
        let Some(queue) = net.remove_listener(&self.at, self.owner) else { return };
        net.edges[queue.port].remove(&queue.source);
        net.descriptors[queue.port].0 -= 1;
        for (end, _) in queue.waiting {
            net.end(end).reset_on_close = true;
            net.descriptors[queue.port].0 += 1;
            net.close(end);
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listening({})", self.at.1)
    }
}
