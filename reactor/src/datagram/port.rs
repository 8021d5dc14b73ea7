//! One datagram socket: what the reactor keeps of it besides its protocol, and how it is opened.

use std::fmt;
use std::io;

use log::debug;
use slab::Slab;

use super::DatagramProtocol;
use super::options::DatagramOptions;
use super::outbox::Outbox;
use super::socket::{DatagramSocket, any_like};
use crate::address::Address;
use crate::core::Core;
use crate::endpoint::{Endpoint, Target};
use crate::identity::Source;
use crate::protocol::Reason;
use crate::timer::TimerId;
use crate::{Deferred, Error, LOG, Promise};

/// Names one datagram socket of one reactor, for as long as it lives; then it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatagramId {
    pub(crate) slot: u32,
    generation: u32,
}

impl fmt::Debug for DatagramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatagramId({}.{})", self.slot, self.generation)
    }
}

#[derive(Debug)]
pub(crate) struct Port {
    generation: u32,
    pub(crate) socket: DatagramSocket,
    pub(crate) host: Address,
    /// The peer of a connected socket.
    pub(crate) peer: Option<Address>,
    pub(crate) receive_limit: usize,
    pub(crate) queue_limit: usize,
    pub(crate) outbox: Outbox,
    /// Datagrams that there was no room for.
    pub(crate) dropped: u64,
    /// The timers that die with it; may name some that have fired.
    pub(crate) timers: Vec<TimerId>,
    /// Why it is closed, once it is.
    pub(crate) reason: Option<Reason>,
    /// The kernel may have more: set by the edge, cleared by a short batch.
    pub(crate) readable: bool,
    /// An error waits in the socket: a short batch says nothing then.
    pub(crate) failed: bool,
    /// The kernel may take more: cleared when it would block, set by the edge.
    pub(crate) writable: bool,
    /// Something was dropped: `resume_producing` is due once there is room.
    pub(crate) owes_resume: bool,
    /// In the list of those to read from.
    pub(crate) in_ready: bool,
    /// In the list of those to flush.
    pub(crate) in_dirty: bool,
}

/// All datagram sockets of a reactor, and what is to be done with them.
#[derive(Default)]
pub(crate) struct Ports {
    pub(crate) slots: Slab<Port>,
    /// Opened, and not yet told so.
    pub(crate) births: Vec<PortBirth>,
    /// To be read from although no edge will tell.
    pub(crate) ready: Vec<DatagramId>,
    pub(crate) dirty: Vec<DatagramId>,
    pub(crate) closed: Vec<DatagramId>,
}

pub(crate) struct PortBirth {
    pub(crate) id: DatagramId,
    pub(crate) protocol: Box<dyn DatagramProtocol>,
    pub(crate) promise: Option<Promise<DatagramId>>,
}

impl Ports {
    pub(crate) fn get(&self, id: DatagramId) -> Option<&Port> {
        self.slots.get(id.slot as usize).filter(|port| port.generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: DatagramId) -> Option<&mut Port> {
        self.slots.get_mut(id.slot as usize).filter(|port| port.generation == id.generation)
    }

    /// One that is open: not closed, and not about to be.
    pub(crate) fn open(&mut self, id: DatagramId) -> Option<&mut Port> {
        self.get_mut(id).filter(|port| port.reason.is_none())
    }

    pub(crate) fn ids(&self) -> Vec<DatagramId> {
        let id = |(slot, port): (usize, &Port)| DatagramId {
            slot: slot as u32,
            generation: port.generation,
        };
        self.slots.iter().map(id).collect()
    }

    /// The name of the socket whose readiness an event tells.
    pub(crate) fn at(&self, slot: u32) -> Option<DatagramId> {
        let generation = self.slots.get(slot as usize)?.generation;
        Some(DatagramId { slot, generation })
    }

    pub(crate) fn is_busy(&self) -> bool {
        !(self.births.is_empty()
            && self.ready.is_empty()
            && self.dirty.is_empty()
            && self.closed.is_empty())
    }

    pub(crate) fn mark_ready(&mut self, id: DatagramId) {
        if let Some(port) = self.get_mut(id)
            && !std::mem::replace(&mut port.in_ready, true)
        {
            self.ready.push(id);
        }
    }

    pub(crate) fn mark_dirty(&mut self, id: DatagramId) {
        if let Some(port) = self.get_mut(id)
            && !std::mem::replace(&mut port.in_dirty, true)
        {
            self.dirty.push(id);
        }
    }
}

impl Core {
    /// Opens a socket at `endpoint`; its protocol is told in the step for births. One that is not
    /// wanted after all is dropped between callbacks.
    pub(crate) fn listen_datagram(
        &mut self,
        endpoint: Result<Endpoint, Error>,
        protocol: Box<dyn DatagramProtocol>,
        options: DatagramOptions,
    ) -> Result<DatagramId, Error> {
        let opened = endpoint.and_then(|endpoint| self.bind_datagram(endpoint, options));
        match &opened {
            Ok(id) => self.ports.births.push(PortBirth { id: *id, protocol, promise: None }),
            Err(_) => self.garbage.push(Box::new(protocol)),
        }
        opened
    }

    fn bind_datagram(
        &mut self,
        endpoint: Endpoint,
        options: DatagramOptions,
    ) -> Result<DatagramId, Error> {
        if self.shutdown.is_stopping() {
            return Err(Error::Stopped);
        }
        let options = endpoint.datagram_options(options)?;
        let opened = match endpoint.target() {
            Target::Systemd(which) => self.open(
                |network, source| network.open_passed_datagram(which, source),
                &options,
                None,
            ),
            Target::Address(address) => self.open_at(address, &options, None),
            Target::Name { host, port } => {
                let mut opened = Err(io::ErrorKind::AddrNotAvailable.into());
                for ip in crate::resolver::now(&self.network, host)? {
                    opened = self.open_at(&Address::Udp((ip, *port).into()), &options, None);
                    if opened.is_ok() {
                        break;
                    }
                }
                opened
            }
        };
        opened.map_err(|source| Error::Listen { endpoint, source })
    }

    /// Opens a socket that talks to `endpoint` alone.
    pub(crate) fn connect_datagram(
        &mut self,
        endpoint: Result<Endpoint, Error>,
        protocol: Box<dyn DatagramProtocol>,
        options: DatagramOptions,
    ) -> Deferred<DatagramId> {
        let (promise, deferred) = self.local.deferred();
        let checked = endpoint.and_then(|endpoint| {
            endpoint.check_connectable()?;
            endpoint.datagram_options(options.clone())?;
            Ok(endpoint)
        });
        match checked {
            Err(error) => {
                self.garbage.push(Box::new(protocol));
                promise.fail(error);
            }
            Ok(endpoint) => match endpoint.target().clone() {
                Target::Address(peer) => {
                    self.connect_datagram_to(&[peer], endpoint, protocol, &options, promise);
                }
                Target::Name { host, port } => self.local.call_soon(move |reactor| {
                    if !promise.is_wanted() {
                        return;
                    }
                    let found = match crate::resolver::loopback(&host) {
                        Some(found) => {
                            let (promise, deferred) = reactor.deferred();
                            promise.succeed(found);
                            deferred
                        }
                        None => reactor.resolve(&host),
                    };
                    found.then(move |reactor, found| match found {
                        Err(error) => promise.fail(error),
                        Ok(found) => {
                            let peers: Vec<_> = found
                                .into_iter()
                                .map(|ip| Address::Udp((ip, port).into()))
                                .collect();
                            let core = reactor.core_mut();
                            core.connect_datagram_to(&peers, endpoint, protocol, &options, promise);
                        }
                    });
                }),
                Target::Systemd(_) => {} // not connectable
            },
        }
        deferred
    }

    /// Opens it to the first of `peers` that there is a way to.
    fn connect_datagram_to(
        &mut self,
        peers: &[Address],
        endpoint: Endpoint,
        protocol: Box<dyn DatagramProtocol>,
        options: &DatagramOptions,
        promise: Promise<DatagramId>,
    ) {
        let stopping = self.shutdown.is_stopping();
        if stopping || !promise.is_wanted() {
            self.garbage.push(Box::new(protocol));
            return promise.fail(if stopping { Error::Stopped } else { Error::Cancelled });
        }
        let mut opened = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for peer in peers {
            let peer = as_datagram(peer);
            let host = options.bind.as_ref().map_or_else(|| any_like(&peer), as_datagram);
            opened = self.open_at(&host, options, Some(peer));
            if opened.is_ok() {
                break;
            }
        }
        match opened {
            Ok(id) => self.ports.births.push(PortBirth { id, protocol, promise: Some(promise) }),
            Err(source) => {
                self.garbage.push(Box::new(protocol));
                promise.fail(Error::Connect { endpoint, source });
            }
        }
    }

    fn open_at(
        &mut self,
        host: &Address,
        options: &DatagramOptions,
        peer: Option<Address>,
    ) -> io::Result<DatagramId> {
        let host = as_datagram(host);
        self.open(|network, source| network.open_datagram(&host, options, source), options, peer)
    }

    fn open(
        &mut self,
        open: impl FnOnce(&mut crate::network::Network, Source) -> io::Result<DatagramSocket>,
        options: &DatagramOptions,
        peer: Option<Address>,
    ) -> io::Result<DatagramId> {
        let slot = self.ports.slots.vacant_key() as u32;
        let mut socket = open(&mut self.network, Source::Datagram(slot))?;
        if let Some(peer) = &peer {
            socket.connect(peer)?;
        }
        let host = socket.local_address()?;
        debug!(target: LOG, "{host}: open for datagrams");
        let generation = self.generations.next();
        self.ports.slots.insert(Port {
            generation,
            socket,
            host,
            peer,
            receive_limit: options.receive_limit.max(1),
            queue_limit: options.queue_limit,
            outbox: Outbox::default(),
            dropped: 0,
            timers: Vec::new(),
            reason: None,
            readable: false,
            failed: false,
            writable: true,
            owes_resume: false,
            in_ready: false,
            in_dirty: false,
        });
        Ok(DatagramId { slot, generation })
    }

    /// Closes a socket; its protocol is told in the step for losses. What waits is sent before, as
    /// far as the kernel takes it.
    pub(crate) fn close_datagram(&mut self, id: DatagramId, reason: Reason) -> bool {
        let Some(port) = self.ports.open(id) else { return false };
        port.reason = Some(reason);
        self.ports.closed.push(id);
        true
    }
}

/// An address of TCP stands for the same one of UDP: it was written without a scheme.
pub(crate) fn as_datagram(address: &Address) -> Address {
    match address {
        Address::Tcp(address) => Address::Udp(*address),
        address => address.clone(),
    }
}
