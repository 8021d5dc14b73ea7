//! Where readiness comes from: the kernel's poller, or the simulated network. The reactor sees
//! one list of what became ready, and registers its sockets without knowing which it is.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Waker};

use crate::address::Address;
use crate::datagram::DatagramOptions;
use crate::datagram::socket::DatagramSocket;
use crate::endpoint::Passed;
use crate::identity::Source;
use crate::options::ListenOptions;
use crate::process::{OurEnd, PipeWay, Program};
use crate::simulation::programs::{self, SimulatedChild};
use crate::simulation::{datagrams as simulated_datagrams, network as simulated};
use crate::socket::{self, Listening, Stream};
use crate::{inherited, system, unix};

/// Events taken from the kernel in one call. More wait for the next turn, so this also bounds
/// how long a turn's first step can be.
const EVENTS_A_TURN: usize = 1024;

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// What became ready, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) source: Source,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has closed its sending half: a FIN waits behind the data.
    pub(crate) read_closed: bool,
    /// The socket has failed: it was reset, or refused.
    pub(crate) failed: bool,
}

#[derive(Debug)]
pub(crate) enum Network {
    Kernel { poll: Poll, events: Events },
    Simulated(simulated::Port),
}

impl Network {
    pub(crate) fn kernel() -> io::Result<Self> {
        Ok(Self::Kernel { poll: Poll::new()?, events: Events::with_capacity(EVENTS_A_TURN) })
    }

    /// What wakes this poller from another thread; a simulation needs none.
    pub(crate) fn waker(&self) -> io::Result<Option<Arc<Waker>>> {
        match self {
            Self::Kernel { poll, .. } => {
                Ok(Some(Arc::new(Waker::new(poll.registry(), Source::Waker.token())?)))
            }
            Self::Simulated(_) => Ok(None),
        }
    }

    /// Waits until something is ready, or for `limit`, and appends what is.
    pub(crate) fn poll(
        &mut self,
        ready: &mut Vec<Readiness>,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let (poll, events) = match self {
            Self::Kernel { poll, events } => (poll, events),
            Self::Simulated(port) => {
                port.poll(ready);
                return Ok(());
            }
        };
        match poll.poll(events, limit) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        ready.extend(events.iter().map(|event| Readiness {
            source: Source::of(event.token()),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            failed: event.is_error(),
        }));
        Ok(())
    }

    pub(crate) fn listen(
        &mut self,
        address: &Address,
        options: &ListenOptions,
        source: Source,
    ) -> io::Result<Listening> {
        if let Self::Simulated(port) = self {
            return port.listen(address, options, source).map(Listening::Simulated);
        }
        let mut listening = match address {
            Address::Tcp(address) | Address::Udp(address) => Listening::tcp(*address, options)?,
            Address::Unix(address) => Listening::unix(address, options)?,
            Address::Stdio => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.watch(&mut listening, source)?;
        Ok(listening)
    }

    /// Listens on a socket that systemd passed to this process.
    pub(crate) fn listen_passed(
        &mut self,
        which: &Passed,
        options: &ListenOptions,
        source: Source,
    ) -> io::Result<Listening> {
        if let Self::Simulated(_) = self {
            return Err(not_in_a_simulation());
        }
        let mut listening = Listening::passed(inherited::take(which)?, options)?;
        self.watch(&mut listening, source)?;
        Ok(listening)
    }

    /// Opens a datagram socket at `host`.
    pub(crate) fn open_datagram(
        &mut self,
        host: &Address,
        options: &DatagramOptions,
        source: Source,
    ) -> io::Result<DatagramSocket> {
        if let Self::Simulated(port) = self {
            let socket = simulated_datagrams::Socket::bind(port, host, Some(source))?;
            return Ok(DatagramSocket::Simulated(socket));
        }
        let socket = match host {
            Address::Udp(host) | Address::Tcp(host) => DatagramSocket::udp(*host, options)?,
            Address::Unix(host) => DatagramSocket::unix(host, options)?,
            Address::Stdio => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.watch_new_datagram(socket, source)
    }

    /// Takes over a datagram socket that systemd passed to this process.
    pub(crate) fn open_passed_datagram(
        &mut self,
        which: &Passed,
        source: Source,
    ) -> io::Result<DatagramSocket> {
        if let Self::Simulated(_) = self {
            return Err(not_in_a_simulation());
        }
        let socket = DatagramSocket::passed(system::adopt(inherited::take(which)?)?)?;
        self.watch_new_datagram(socket, source)
    }

    fn watch_new_datagram(
        &mut self,
        mut socket: DatagramSocket,
        source: Source,
    ) -> io::Result<DatagramSocket> {
        if let Self::Kernel { poll, .. } = self {
            let (registry, token) = (poll.registry(), source.token());
            match &mut socket {
                DatagramSocket::Udp(socket) => {
                    registry.register(socket, token, Interest::READABLE)?;
                }
                DatagramSocket::Unix { socket, .. } => {
                    registry.register(socket, token, Interest::READABLE)?;
                }
                DatagramSocket::Simulated(_) => {}
            }
        }
        Ok(socket)
    }

    /// Asks for the writable edge of a datagram socket, or no longer. It would come for each
    /// datagram that has left, so it is asked for only while sending is blocked.
    pub(crate) fn watch_datagram(
        &mut self,
        socket: &mut DatagramSocket,
        source: Source,
        writable: bool,
    ) -> io::Result<()> {
        let Self::Kernel { poll, .. } = self else { return Ok(()) };
        let (registry, token) = (poll.registry(), source.token());
        let interest = if writable { BOTH } else { Interest::READABLE };
        match socket {
            DatagramSocket::Udp(socket) => registry.reregister(socket, token, interest),
            DatagramSocket::Unix { socket, .. } => registry.reregister(socket, token, interest),
            DatagramSocket::Simulated(_) => Ok(()),
        }
    }

    /// Tells the kernel's poller of a listener.
    pub(crate) fn watch(&mut self, listening: &mut Listening, source: Source) -> io::Result<()> {
        let Self::Kernel { poll, .. } = self else { return Ok(()) };
        match listening {
            Listening::Tcp(listener) => {
                poll.registry().register(listener, source.token(), Interest::READABLE)
            }
            Listening::Unix { listener, .. } => {
                poll.registry().register(listener, source.token(), Interest::READABLE)
            }
            Listening::Simulated(_) => Ok(()),
        }
    }

    pub(crate) fn connect(
        &mut self,
        address: &Address,
        bind: Option<SocketAddr>,
        source: Source,
    ) -> io::Result<Stream> {
        match (self, address) {
            (Self::Simulated(port), address) => {
                port.connect(address, bind, source).map(|end| Stream::Simulated(Box::new(end)))
            }
            (network, Address::Tcp(address) | Address::Udp(address)) => {
                let mut stream = socket::connect_tcp(*address, bind)?;
                network.register(&mut stream, source)?;
                Ok(stream)
            }
            (Self::Kernel { poll, .. }, Address::Unix(address)) => {
                let mut end = unix::connect(address)?;
                // Connected already, of which the writable edge tells.
                poll.registry().register(&mut end.socket, source.token(), BOTH)?;
                Ok(Stream::Unix(Box::new(end)))
            }
            (_, Address::Stdio) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Asks for both edges at once and for good: pausing is a flag of ours, so no connection ever
    /// costs another call to the poller. A Unix socket would wake us each time its peer has read
    /// something; the writable edge of that is asked for when it is needed.
    pub(crate) fn register(&mut self, stream: &mut Stream, source: Source) -> io::Result<()> {
        match (self, stream) {
            (Self::Kernel { poll, .. }, Stream::Tcp(stream)) => {
                poll.registry().register(stream, source.token(), BOTH)
            }
            (Self::Kernel { poll, .. }, Stream::Unix(end)) => {
                poll.registry().register(&mut end.socket, source.token(), Interest::READABLE)
            }
            (Self::Kernel { poll, .. }, Stream::Pipes(pipes)) => {
                pipes.register(poll.registry(), source.token())
            }
            (_, Stream::Simulated(stream)) => {
                stream.register(source);
                Ok(())
            }
            (Self::Simulated(_), _) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Gives a registered stream another name. An edge that was already told is told again.
    pub(crate) fn rename(&mut self, stream: &mut Stream, source: Source) -> io::Result<()> {
        match (self, stream) {
            (Self::Kernel { poll, .. }, Stream::Tcp(stream)) => {
                poll.registry().reregister(stream, source.token(), BOTH)
            }
            (Self::Kernel { poll, .. }, Stream::Unix(end)) => {
                poll.registry().reregister(&mut end.socket, source.token(), Interest::READABLE)
            }
            (network, stream) => network.register(stream, source),
        }
    }

    /// After a short write: sees to it that the writable edge comes. Only Unix sockets need this.
    pub(crate) fn await_room(&mut self, stream: &mut Stream, source: Source) -> io::Result<()> {
        match (self, stream) {
            (Self::Kernel { poll, .. }, Stream::Unix(end)) => {
                poll.registry().reregister(&mut end.socket, source.token(), BOTH)
            }
            _ => Ok(()),
        }
    }

    /// After the edge that [`await_room`](Self::await_room) asked for: no more of them.
    pub(crate) fn room_is_there(&mut self, stream: &mut Stream, source: Source) -> io::Result<()> {
        match stream {
            Stream::Unix(_) => self.rename(stream, source),
            _ => Ok(()),
        }
    }

    /// Sends FIN after what the kernel still holds, or closes what is written to.
    pub(crate) fn shutdown_write(&mut self, stream: &mut Stream) -> io::Result<()> {
        match (self, stream) {
            (Self::Kernel { poll, .. }, Stream::Pipes(pipes)) => {
                pipes.shutdown_write(poll.registry())
            }
            (_, stream) => stream.shutdown_write(),
        }
    }

    /// Before a stream is closed: sockets leave the poller by themselves, what is shared with
    /// others does not.
    pub(crate) fn forget(&mut self, stream: &mut Stream) {
        if let (Self::Kernel { poll, .. }, Stream::Pipes(pipes)) = (self, stream) {
            pipes.deregister(poll.registry());
        }
    }

    /// Watches a descriptor that becomes readable when something has happened.
    pub(crate) fn register_descriptor(
        &mut self,
        descriptor: &OwnedFd,
        source: Source,
    ) -> io::Result<()> {
        let Self::Kernel { poll, .. } = self else { return Err(io::ErrorKind::Unsupported.into()) };
        let descriptor = descriptor.as_raw_fd();
        poll.registry().register(&mut SourceFd(&descriptor), source.token(), Interest::READABLE)
    }

    /// Watches it no longer; it is about to be closed.
    pub(crate) fn forget_descriptor(&mut self, descriptor: &OwnedFd) {
        if let Self::Kernel { poll, .. } = self {
            // Should this fail, it was never registered.
            let _ = poll.registry().deregister(&mut SourceFd(&descriptor.as_raw_fd()));
        }
    }

    /// Starts a child that a test plays, with our ends of its pipes.
    pub(crate) fn spawn_simulated(
        &mut self,
        program: Program,
        ways: &[(RawFd, PipeWay)],
        slot: u32,
    ) -> io::Result<(SimulatedChild, Vec<OurEnd>)> {
        match self {
            Self::Kernel { .. } => Err(io::ErrorKind::Unsupported.into()),
            Self::Simulated(port) => programs::spawn(port, program, ways, Source::Child(slot)),
        }
    }

    pub(crate) fn register_signals(
        &mut self,
        signals: &mut signal_hook_mio::v1_0::Signals,
        source: Source,
    ) -> io::Result<()> {
        match self {
            Self::Kernel { poll, .. } => {
                poll.registry().register(signals, source.token(), Interest::READABLE)
            }
            Self::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The simulated network, if this is it.
    pub(crate) fn simulated(&self) -> Option<&Rc<RefCell<simulated::Net>>> {
        match self {
            Self::Kernel { .. } => None,
            Self::Simulated(port) => Some(port.net()),
        }
    }

    /// The addresses that the simulation's table has for a name; `None` outside of one.
    pub(crate) fn simulated_name(&self, host: &str) -> Option<io::Result<Vec<IpAddr>>> {
        Some(self.simulated()?.borrow().resolve(host))
    }
}

fn not_in_a_simulation() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "no socket is passed to a simulation")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::identity::ConnectionId;
    use crate::unix::UnixEnd;

    #[test]
    fn a_unix_socket_wakes_nobody_when_its_peer_reads_unless_room_is_awaited() {
        let mut network = Network::kernel().expect("a poller");
        let (ours, mut peer) = std::os::unix::net::UnixStream::pair().expect("two sockets");
        ours.set_nonblocking(true).expect("a socket");
        let end = UnixEnd::new(mio::net::UnixStream::from_std(ours));
        let mut stream = Stream::Unix(Box::new(end));
        let source = Source::Connection(ConnectionId::new(7, 7));
        network.register(&mut stream, source).expect("it is new");
        let edges = |network: &mut Network| {
            let mut ready = Vec::new();
            network.poll(&mut ready, Some(Duration::ZERO)).expect("it polls");
            ready.iter().filter(|ready| ready.writable).count()
        };
        let mut buffer = vec![0; 100_000];
        for _ in 0..3 {
            stream.send(b"small").expect("room");
            peer.read_exact(&mut buffer[..5]).expect("it is there");
            assert_eq!(edges(&mut network), 0);
        }
        // Full: the edge is asked for, comes once there is room, and is called off again.
        while stream.send(&buffer).is_ok() {}
        network.await_room(&mut stream, source).expect("it is registered");
        assert_eq!(edges(&mut network), 0);
        peer.set_nonblocking(true).expect("a socket");
        while peer.read(&mut buffer).is_ok() {}
        assert_eq!(edges(&mut network), 1);
        network.room_is_there(&mut stream, source).expect("it is registered");
        stream.send(b"small").expect("room");
        peer.read_exact(&mut buffer[..5]).expect("it is there");
        assert_eq!(edges(&mut network), 0);
        // Input is told all the same.
        peer.write_all(b"hello").expect("room");
        let mut ready = Vec::new();
        network.poll(&mut ready, Some(Duration::ZERO)).expect("it polls");
        assert!(ready.iter().any(|ready| ready.readable && ready.source == source));
    }
}
