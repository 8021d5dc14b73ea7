//! Every call on a datagram socket, kernel or simulated; no state of a port is decided here.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use mio::net::{UdpSocket, UnixDatagram};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

use super::options::DatagramOptions;
use super::outbox::Outbox;
use super::transport::Interface;
use crate::address::{Address, UnixAddress};
use crate::simulation::datagrams as simulated;
use crate::system::{self, BATCH};
use crate::unix::{self, BoundPath};

#[derive(Debug)]
pub(crate) enum DatagramSocket {
    Udp(UdpSocket),
    Unix {
        #[expect(dead_code, reason = "it is there to be dropped")]
        path: Option<BoundPath>,
        socket: UnixDatagram,
    },
    Simulated(simulated::Socket),
}

/// A datagram that was received: its whole length, and who sent it.
pub(crate) struct Received {
    pub(crate) length: usize,
    pub(crate) from: Address,
}

impl DatagramSocket {
    /// A UDP socket bound to `address`.
    pub(crate) fn udp(address: SocketAddr, options: &DatagramOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if options.reuse_port {
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(true)?; // the same on every system; open both to have both
        }
        // Linux hands each socket of a port what is sent to a group that any other has joined.
        // (Kernels before 4.20 cannot be told not to, for IPv6.)
        #[cfg(target_os = "linux")]
        let _ = match address.is_ipv4() {
            true => socket.set_multicast_all_v4(false),
            false => socket.set_multicast_all_v6(false),
        };
        socket.set_broadcast(options.broadcast)?;
        socket.bind(&address.into())?;
        Ok(Self::Udp(UdpSocket::from_std(socket.into())))
    }

    /// A Unix socket bound to `address`, or to nothing.
    pub(crate) fn unix(address: &UnixAddress, options: &DatagramOptions) -> io::Result<Self> {
        let (socket, path) = match address.is_unnamed() {
            true => {
                let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
                socket.set_nonblocking(true)?;
                (socket, None)
            }
            false => unix::bound(address, Type::DGRAM, options.mode)?,
        };
        Ok(Self::Unix { path, socket: UnixDatagram::from_std(socket.into()) })
    }

    /// A socket that systemd passed to this process.
    pub(crate) fn passed(socket: Socket) -> io::Result<Self> {
        if socket.r#type()? != Type::DGRAM {
            let problem = "it is no datagram socket (ListenDatagram=)";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        socket.set_cloexec(true)?;
        socket.set_nonblocking(true)?;
        if socket.local_addr()?.is_unix() {
            let socket = UnixDatagram::from_std(socket.into());
            return Ok(Self::Unix { path: None, socket });
        }
        Ok(Self::Udp(UdpSocket::from_std(socket.into())))
    }

    /// Sends to `peer` alone from now on, and receives from it alone.
    pub(crate) fn connect(&mut self, peer: &Address) -> io::Result<()> {
        match (self, peer) {
            (Self::Udp(socket), Address::Udp(peer)) => socket.connect(*peer),
            (Self::Unix { socket, .. }, Address::Unix(peer)) => {
                SockRef::from(&*socket).connect(&unix::socket_address(peer)?)
            }
            (Self::Simulated(socket), peer) => {
                socket.connect(peer);
                Ok(())
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Udp(socket) => socket.local_addr().map(Address::Udp),
            Self::Unix { socket, .. } => {
                let address = SockRef::from(socket).local_addr()?;
                Ok(Address::Unix(unix::unix_address(&address)))
            }
            Self::Simulated(socket) => Ok(socket.local()),
        }
    }

    /// Receives a batch: each datagram into `size` bytes of `room`.
    pub(crate) fn receive(
        &mut self,
        room: &mut [u8],
        size: usize,
        received: &mut Vec<Received>,
    ) -> io::Result<()> {
        let socket = match self {
            Self::Udp(socket) => SockRef::from(&*socket),
            Self::Unix { socket, .. } => SockRef::from(&*socket),
            Self::Simulated(socket) => {
                for place in room.chunks_exact_mut(size.max(1)).take(BATCH) {
                    match socket.receive(place) {
                        Ok((length, from)) => received.push(Received { length, from }),
                        Err(_) if !received.is_empty() => break,
                        Err(error) => return Err(error),
                    }
                }
                return Ok(());
            }
        };
        let mut arrived = Vec::with_capacity(BATCH);
        system::receive_many(&socket, room, size, &mut arrived)?;
        received.extend(arrived.into_iter().map(|datagram| {
            Received {
                length: datagram.length,
                from: match datagram.from {
                    Some(from) => from
                        .as_socket()
                        .map_or_else(|| Address::Unix(unix::unix_address(&from)), Address::Udp),
                    None => Address::Unix(UnixAddress::unnamed()),
                },
            }
        }));
        Ok(())
    }

    /// Sends the first datagrams that wait, with one call; answers how many. An error is about
    /// the very first of them, or (refused) about an earlier one.
    pub(crate) fn send(&mut self, outbox: &Outbox) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => send_many(&*socket, outbox),
            Self::Unix { socket, .. } => send_many(&*socket, outbox),
            Self::Simulated(socket) => {
                let mut sent = 0;
                for (data, to) in outbox.iter().take(BATCH) {
                    match socket.send(data, to) {
                        Ok(()) => sent += 1,
                        Err(_) if sent > 0 => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok(sent)
            }
        }
    }

    fn option<T>(&self, set: impl FnOnce(SockRef<'_>, bool) -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Udp(socket) => set(SockRef::from(socket), socket.local_addr()?.is_ipv6()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.option(|socket, _| socket.set_broadcast(broadcast))
    }

    pub(crate) fn membership(&self, group: IpAddr, on: Interface, joins: bool) -> io::Result<()> {
        self.option(|socket, _| match (group, joins) {
            (IpAddr::V4(group), true) => socket.join_multicast_v4_n(&group, &on.v4()),
            (IpAddr::V4(group), false) => socket.leave_multicast_v4_n(&group, &on.v4()),
            (IpAddr::V6(group), true) => socket.join_multicast_v6(&group, on.v6()?),
            (IpAddr::V6(group), false) => socket.leave_multicast_v6(&group, on.v6()?),
        })
    }

    pub(crate) fn set_multicast_interface(&self, interface: Interface) -> io::Result<()> {
        self.option(|socket, is_v6| match (is_v6, interface) {
            (true, interface) => socket.set_multicast_if_v6(interface.v6()?),
            (false, Interface::Any) => socket.set_multicast_if_v4(&Ipv4Addr::UNSPECIFIED),
            (false, Interface::Address(address)) => socket.set_multicast_if_v4(&address),
            #[cfg(target_os = "linux")]
            (false, Interface::Index(index)) => {
                let (multicast, local) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
                Ok(rustix::net::sockopt::set_ip_multicast_if_with_ifindex(
                    &*socket, &multicast, &local, index,
                )?)
            }
            #[cfg(not(target_os = "linux"))]
            (false, Interface::Index(_)) => Err(io::ErrorKind::Unsupported.into()),
        })
    }

    pub(crate) fn set_multicast_ttl(&self, ttl: u8) -> io::Result<()> {
        self.option(|socket, is_v6| match is_v6 {
            true => socket.set_multicast_hops_v6(ttl.into()),
            false => socket.set_multicast_ttl_v4(ttl.into()),
        })
    }

    pub(crate) fn set_multicast_loopback(&self, loopback: bool) -> io::Result<()> {
        self.option(|socket, is_v6| match is_v6 {
            true => socket.set_multicast_loop_v6(loopback),
            false => socket.set_multicast_loop_v4(loopback),
        })
    }
}

impl Interface {
    fn v4(self) -> InterfaceIndexOrAddress {
        match self {
            Self::Any => InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
            Self::Address(address) => InterfaceIndexOrAddress::Address(address),
            Self::Index(index) => InterfaceIndexOrAddress::Index(index),
        }
    }

    /// IPv6 knows interfaces by their index alone.
    fn v6(self) -> io::Result<u32> {
        match self {
            Self::Any => Ok(0),
            Self::Index(index) => Ok(index),
            Self::Address(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// The longest datagram that a socket bound to `host` can send at all.
pub(crate) fn send_limit(host: &Address) -> usize {
    match host {
        // 65,535 bytes of IP, without the headers of IP (not counted in IPv6) and UDP.
        Address::Udp(SocketAddr::V4(_)) => 65_507,
        Address::Udp(SocketAddr::V6(_)) => 65_527,
        _ => usize::MAX, // the kernel's buffers decide
    }
}

/// Where an address of this socket's kind stands in for all of the family.
pub(crate) fn any_like(peer: &Address) -> Address {
    match peer {
        Address::Udp(SocketAddr::V6(_)) => Address::Udp((Ipv6Addr::UNSPECIFIED, 0).into()),
        Address::Unix(_) => Address::Unix(UnixAddress::unnamed()),
        _ => Address::Udp((Ipv4Addr::UNSPECIFIED, 0).into()),
    }
}

#[cfg(target_os = "linux")]
fn send_many(socket: impl AsFd, outbox: &Outbox) -> io::Result<usize> {
    use rustix::net::{
        MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketAddrUnix,
        addr::SocketAddrArg, sendmmsg,
    };

    let mut targets: Vec<Option<SocketAddrAny>> = Vec::with_capacity(BATCH);
    let mut segments = Vec::with_capacity(BATCH);
    for (data, to) in outbox.iter().take(BATCH) {
        targets.push(match to {
            None => None,
            Some(Address::Udp(address) | Address::Tcp(address)) => Some(address.as_any()),
            Some(Address::Unix(address)) => match (address.path(), address.abstract_name()) {
                (Some(path), _) => Some(SocketAddrUnix::new(path)?.as_any()),
                (_, Some(name)) => Some(SocketAddrUnix::new_abstract_name(name)?.as_any()),
                (None, None) => return Err(io::ErrorKind::InvalidInput.into()),
            },
            Some(Address::Stdio) => return Err(io::ErrorKind::InvalidInput.into()),
        });
        segments.push([IoSlice::new(data)]);
    }
    let mut controls: Vec<_> = segments.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<_> = targets
        .iter()
        .zip(&segments)
        .zip(&mut controls)
        .map(|((target, segment), control)| match target {
            Some(target) => MMsgHdr::new_with_addr(target, segment, control),
            None => MMsgHdr::new(segment, control),
        })
        .collect();
    system::again(|| Ok(sendmmsg(&socket, &mut messages, SendFlags::NOSIGNAL)?))
}

/// Where the system has no sendmmsg(2): one call each.
#[cfg(not(target_os = "linux"))]
fn send_many(socket: impl AsFd, outbox: &Outbox) -> io::Result<usize> {
    let socket = SockRef::from(&socket);
    let mut sent = 0;
    for (data, to) in outbox.iter().take(BATCH) {
        let result = system::again(|| match to {
            None => socket.send(data),
            Some(Address::Udp(address) | Address::Tcp(address)) => {
                socket.send_to(data, &(*address).into())
            }
            Some(Address::Unix(address)) => socket.send_to(data, &unix::socket_address(address)?),
        });
        match result {
            Ok(_) => sent += 1,
            Err(_) if sent > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_for_multicast_and_broadcast_reaches_the_kernel() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let address: SocketAddr = address.parse().expect("an address");
            let socket = DatagramSocket::udp(address, &DatagramOptions::default());
            let socket = socket.expect("a free port");
            let DatagramSocket::Udp(inner) = &socket else { panic!("{socket:?}") };
            let kernel = SockRef::from(inner);
            for on in [false, true] {
                socket.set_multicast_loopback(on).expect("a socket");
                socket.set_broadcast(on).expect("a socket");
                assert_eq!(kernel.broadcast().expect("a socket"), on);
                let loops = match address.is_ipv4() {
                    true => kernel.multicast_loop_v4(),
                    false => kernel.multicast_loop_v6(),
                };
                assert_eq!(loops.expect("a socket"), on);
            }
            socket.set_multicast_ttl(7).expect("a socket");
            if address.is_ipv4() {
                let loopback = Ipv4Addr::LOCALHOST;
                assert_eq!(kernel.multicast_ttl_v4().expect("a socket"), 7);
                for interface in [Interface::Address(loopback), Interface::Any] {
                    socket.set_multicast_interface(interface).expect("it is there");
                }
                assert!(kernel.multicast_if_v4().expect("a socket").is_unspecified());
                #[cfg(target_os = "linux")]
                socket.set_multicast_interface(Interface::Index(1)).expect("loopback");
                socket.set_multicast_interface(Interface::Address(loopback)).expect("loopback");
                assert_eq!(kernel.multicast_if_v4().expect("a socket"), loopback);
            } else {
                assert_eq!(kernel.multicast_hops_v6().expect("a socket"), 7);
                socket.set_multicast_interface(Interface::Index(1)).expect("loopback");
                assert_eq!(kernel.multicast_if_v6().expect("a socket"), 1);
            }
        }
    }
}
