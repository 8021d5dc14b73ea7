//! What a callback may ask of its datagram socket. Like any transport it only takes notes.

use std::any::Any;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::DatagramProtocol;
use super::port::DatagramId;
use crate::address::{Address, UnixAddress};
use crate::core::{Alarm, Core};
use crate::protocol::Reason;
use crate::{ConnectionId, LOG, TimerId, Transport};

/// A datagram socket as its protocol sees it, for as long as a callback runs.
pub struct DatagramTransport<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) id: DatagramId,
}

/// A call of a socket's own, made with its protocol.
pub(crate) type DatagramCall =
    Box<dyn FnOnce(&mut dyn DatagramProtocol, &mut DatagramTransport<'_>)>;

/// What became of a datagram that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Posted {
    /// It goes out at the end of this turn, or when the kernel has room. That it arrives, nobody
    /// promises.
    Taken,
    /// Too much waits already ([`queue_limit`](crate::DatagramOptions::queue_limit)), so it was
    /// dropped; [`resume_producing`](DatagramProtocol::resume_producing) tells when there is room.
    Dropped,
    /// No datagram is as long as that (65,507 bytes over IPv4, 65,527 over IPv6).
    TooLarge,
    /// There is nowhere to send it to: no address was given and the socket is not connected, or
    /// the address is of another kind or family than the socket.
    Nowhere,
    /// The socket is closed.
    Gone,
}

/// A network interface, for multicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Interface {
    /// The system's choice.
    #[default]
    Any,
    /// The one that has this address (IPv4).
    Address(Ipv4Addr),
    /// The one with this index, as `ip link` shows it.
    Index(u32),
}

impl DatagramTransport<'_> {
    /// Names this socket; any later callback can reach it by this name.
    pub fn id(&self) -> DatagramId {
        self.id
    }

    /// Where the socket is bound. Bound to no address in particular, it shows as `0.0.0.0`.
    #[doc(alias = "getHost")]
    pub fn host(&self) -> Address {
        let unknown = Address::Unix(UnixAddress::unnamed());
        match (self.core.ports.get(self.id), &self.core.departed_port) {
            (Some(port), _) => port.host.clone(),
            (None, Some((id, host))) if *id == self.id => host.clone(),
            (None, _) => unknown,
        }
    }

    /// The peer of a connected socket.
    pub fn peer(&self) -> Option<Address> {
        self.core.ports.get(self.id)?.peer.clone()
    }

    // Sending.

    /// Sends `data` to `to`, as one datagram, at the end of this turn, together with what else was
    /// sent in it.
    #[doc(alias = "write")]
    pub fn send_to(&mut self, data: &[u8], to: &Address) -> Posted {
        self.post(data, Some(to))
    }

    /// Sends `data` to the peer of a connected socket, as one datagram.
    #[doc(alias = "write")]
    pub fn send(&mut self, data: &[u8]) -> Posted {
        self.post(data, None)
    }

    fn post(&mut self, data: &[u8], to: Option<&Address>) -> Posted {
        let Some(port) = self.core.ports.open(self.id) else { return Posted::Gone };
        let kind_fits = match (&port.host, to) {
            (_, None) => port.peer.is_some(),
            (Address::Udp(host), Some(Address::Udp(to) | Address::Tcp(to))) => {
                host.is_ipv4() == to.is_ipv4()
            }
            (Address::Unix(_), Some(Address::Unix(to))) => !to.is_unnamed(),
            _ => false,
        };
        if !kind_fits {
            return Posted::Nowhere;
        }
        if data.len() > super::socket::send_limit(&port.host) {
            return Posted::TooLarge;
        }
        if !port.outbox.push(data, to.cloned(), port.queue_limit) {
            port.dropped += 1;
            port.owes_resume = true;
            return Posted::Dropped;
        }
        self.core.ports.mark_dirty(self.id);
        Posted::Taken
    }

    /// Datagrams that wait to be sent.
    pub fn queued(&self) -> usize {
        self.core.ports.get(self.id).map_or(0, |port| port.outbox.len())
    }

    /// Datagrams that were dropped here so far, since too much waited.
    pub fn dropped(&self) -> u64 {
        self.core.ports.get(self.id).map_or(0, |port| port.dropped)
    }

    /// Closes the socket. What waits is sent before, as far as the kernel takes it at once.
    #[doc(alias = "stopListening")]
    pub fn close(&mut self) {
        self.core.close_datagram(self.id, Reason::Closed);
    }

    // Broadcast and multicast.

    fn socket<T>(
        &self,
        call: impl FnOnce(&super::socket::DatagramSocket) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.core.ports.get(self.id) {
            Some(port) => call(&port.socket),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Allows sending to broadcast addresses, or forbids it.
    ///
    /// # Errors
    /// The system's; `Unsupported` for a Unix socket and in a simulation.
    #[doc(alias = "setBroadcastAllowed")]
    pub fn set_broadcast(&mut self, broadcast: bool) -> io::Result<()> {
        self.socket(|socket| socket.set_broadcast(broadcast))
    }

    /// Receives what is sent to a multicast group, as it comes in by `interface`.
    ///
    /// # Errors
    /// The system's, for an address that is no group's and an interface that is not there;
    /// `Unsupported` for a Unix socket and in a simulation.
    #[doc(alias = "joinGroup")]
    pub fn join_group(&mut self, group: IpAddr, interface: Interface) -> io::Result<()> {
        self.socket(|socket| socket.membership(group, interface, true))
    }

    /// Receives it no longer.
    ///
    /// # Errors
    /// As [`join_group`](Self::join_group), and for a group that was not joined there.
    #[doc(alias = "leaveGroup")]
    pub fn leave_group(&mut self, group: IpAddr, interface: Interface) -> io::Result<()> {
        self.socket(|socket| socket.membership(group, interface, false))
    }

    /// The interface by which multicasts leave (the system's choice).
    ///
    /// # Errors
    /// The system's, for an interface that is not there.
    #[doc(alias = "setOutgoingInterface")]
    pub fn set_multicast_interface(&mut self, interface: Interface) -> io::Result<()> {
        self.socket(|socket| socket.set_multicast_interface(interface))
    }

    /// How many routers a multicast may pass, and one more (1, which stays in this network).
    ///
    /// # Errors
    /// The system's.
    #[doc(alias = "setTTL")]
    pub fn set_multicast_ttl(&mut self, ttl: u8) -> io::Result<()> {
        self.socket(|socket| socket.set_multicast_ttl(ttl))
    }

    /// Whether sockets of this machine also get what this one multicasts (they do).
    ///
    /// # Errors
    /// The system's.
    #[doc(alias = "setLoopbackMode")]
    pub fn set_multicast_loopback(&mut self, loopback: bool) -> io::Result<()> {
        self.socket(|socket| socket.set_multicast_loopback(loopback))
    }

    // Time, chance, and the rest of the reactor.

    crate::any_transport::any_transport!();

    /// Calls `call` with this socket's protocol after `delay`, unless the socket is closed by
    /// then. `P` is the protocol's type; for any other the call is dropped with a log line.
    #[doc(alias = "callLater")]
    pub fn call_later<P: DatagramProtocol>(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut P, &mut DatagramTransport<'_>) + 'static,
    ) -> TimerId {
        let call: DatagramCall = Box::new(move |protocol, transport| {
            match (protocol as &mut dyn Any).downcast_mut::<P>() {
                Some(protocol) => call(protocol, transport),
                None => log::error!(
                    target: LOG,
                    "{}: a call was set for a {}, which its protocol is not",
                    transport.host(),
                    std::any::type_name::<P>(),
                ),
            }
        });
        let alarm = Alarm::Datagram(self.id, call);
        let timer = self.core.timers.insert(self.core.clock.after(delay), alarm);
        match self.core.ports.open(self.id) {
            Some(port) => self.core.timers.own(&mut port.timers, timer),
            None => drop(self.core.cancel(timer)),
        }
        timer
    }

    /// A connection of this reactor, to write to, pause, measure or close.
    pub fn connection(&mut self, id: ConnectionId) -> Option<Transport<'_>> {
        crate::transport::reach(self.core, id)
    }

    /// Another datagram socket of this reactor; `None` when it is closed.
    pub fn datagram(&mut self, id: DatagramId) -> Option<DatagramTransport<'_>> {
        self.core.ports.open(id)?;
        Some(DatagramTransport { core: self.core, id })
    }
}
