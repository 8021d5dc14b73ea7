//! Every socket call, kernel or simulated, and nothing else: no state of a connection is decided
//! here. Calls that a signal interrupted are made again.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::address::{Address, UnixAddress};
use crate::options::{ConnectionOptions, ListenOptions};
use crate::pipes::Pipes;
use crate::simulation::network as simulated;
use crate::system::{self, again};
use crate::unix::{self, BoundPath, PeerCredentials, UnixEnd};

const PEEK: rustix::net::RecvFlags = rustix::net::RecvFlags::PEEK;

/// One end of a connection's byte stream.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(Box<UnixEnd>),
    Pipes(Box<Pipes>),
    Simulated(Box<simulated::Stream>),
}

impl Stream {
    /// Receives at most `limit` bytes behind what `buffer` holds; 0 is the peer's FIN.
    pub(crate) fn recv(&mut self, buffer: &mut BytesMut, limit: usize) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => system::receive(&SockRef::from(&*stream), buffer, limit),
            Self::Unix(end) if end.takes > 0 => end.recv_with_descriptors(buffer, limit),
            Self::Unix(end) => {
                let socket = SockRef::from(&end.socket);
                let (count, was_cut) = system::receive_message(&socket, buffer, limit)?;
                end.was_cut = was_cut;
                Ok(count)
            }
            Self::Pipes(pipes) => pipes.recv(buffer, limit),
            Self::Simulated(stream) => stream.recv(buffer, limit),
        }
    }

    /// Looks at what has arrived, and takes nothing of it; 0 is the peer's FIN.
    pub(crate) fn peek(&mut self, data: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => again(|| stream.peek(data)),
            Self::Unix(end) => again(|| Ok(rustix::net::recv(&end.socket, &mut *data, PEEK)?.0)),
            Self::Pipes(_) => Err(io::ErrorKind::Unsupported.into()), // nobody accepts one
            Self::Simulated(stream) => stream.peek(data),
        }
    }

    pub(crate) fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                again(|| stream.write(data)) // send(2) with MSG_NOSIGNAL
            }
            Self::Unix(end) => {
                let socket = SockRef::from(&end.socket);
                again(|| socket.send_with_flags(data, libc::MSG_NOSIGNAL))
            }
            Self::Pipes(pipes) => pipes.send(&[IoSlice::new(data)]),
            Self::Simulated(stream) => stream.send(&[IoSlice::new(data)]),
        }
    }

    pub(crate) fn send_vectored(&mut self, segments: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                again(|| stream.write_vectored(segments)) // writev(2); Rust ignores SIGPIPE
            }
            Self::Unix(end) => {
                let socket = SockRef::from(&end.socket);
                again(|| socket.send_vectored_with_flags(segments, libc::MSG_NOSIGNAL))
            }
            Self::Pipes(pipes) => pipes.send(segments),
            Self::Simulated(stream) => stream.send(segments),
        }
    }

    /// As [`send_vectored`](Self::send_vectored), when another call follows at once: TCP waits with a
    /// packet that is not full.
    pub(crate) fn send_before_more(&mut self, segments: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Tcp(stream) => {
                let socket = SockRef::from(&*stream);
                let flags = libc::MSG_NOSIGNAL | libc::MSG_MORE;
                again(|| socket.send_vectored_with_flags(segments, flags))
            }
            _ => self.send_vectored(segments),
        }
    }

    /// Whether the kernel can send a file here by itself.
    pub(crate) fn sends_files(&self) -> bool {
        cfg!(target_os = "linux") && matches!(self, Self::Tcp(_) | Self::Unix(_))
    }

    /// As sendfile(2); 0 is the end of the file. A short count says nothing of the socket.
    #[cfg(target_os = "linux")]
    pub(crate) fn send_file(
        &mut self,
        file: &File,
        mut offset: u64,
        count: usize,
    ) -> io::Result<usize> {
        let socket = match &*self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(end) => end.socket.as_fd(),
            Self::Pipes(_) | Self::Simulated(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        // (A peer that is gone makes a SIGPIPE, which Rust ignores, as for writev.)
        again(|| Ok(rustix::fs::sendfile(socket, file, Some(&mut offset), count)?))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn send_file(&mut self, _: &File, _: u64, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`send_vectored`](Self::send_vectored), with descriptors for the first byte.
    pub(crate) fn send_with_descriptors(
        &mut self,
        segments: &[IoSlice<'_>],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        match self {
            Self::Unix(end) => end.send_with_descriptors(segments, descriptors),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the last receive, though it was short, may have left something: see `UnixEnd`.
    pub(crate) fn was_cut(&self) -> bool {
        matches!(self, Self::Unix(end) if end.was_cut)
    }

    /// Closes the descriptors that came with what was received last.
    pub(crate) fn drop_descriptors(&mut self) {
        if let Self::Unix(end) = self {
            end.descriptors.clear();
            end.overran = false;
        }
    }

    /// The end of a Unix stream, if this is one.
    pub(crate) fn unix_end(&mut self) -> Option<&mut UnixEnd> {
        match self {
            Self::Unix(end) => Some(end),
            _ => None,
        }
    }

    /// Sends FIN after what the kernel still holds.
    pub(crate) fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Self::Unix(end) => end.socket.shutdown(std::net::Shutdown::Write),
            Self::Pipes(_) => Err(io::ErrorKind::Unsupported.into()), // the poller has to know
            Self::Simulated(stream) => {
                stream.shutdown_write();
                Ok(())
            }
        }
    }

    /// Makes the close that follows a reset: nothing more is sent, nothing waits.
    pub(crate) fn reset_on_close(&mut self) {
        match self {
            // Only a bad descriptor can fail here, and then the close says nothing either.
            Self::Tcp(stream) => drop(SockRef::from(&*stream).set_linger(Some(Duration::ZERO))),
            // A Unix socket has no reset of its own: the peer sees one if its bytes were unread.
            Self::Unix(_) | Self::Pipes(_) => {}
            Self::Simulated(stream) => stream.reset_on_close(),
        }
    }

    /// The error that the kernel keeps for this socket; asking clears it.
    pub(crate) fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(end) => end.socket.take_error(),
            Self::Pipes(_) => Ok(None),
            Self::Simulated(stream) => Ok(stream.take_error()),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Address::Tcp),
            Self::Unix(end) => unix_name(SockRef::from(&end.socket).local_addr()),
            Self::Pipes(_) => Ok(Address::Stdio),
            Self::Simulated(stream) => Ok(stream.local()),
        }
    }

    /// The peer's address; an error while a connection is still being made.
    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(Address::Tcp),
            Self::Unix(end) => unix_name(SockRef::from(&end.socket).peer_addr()),
            Self::Pipes(_) => Ok(Address::Stdio),
            Self::Simulated(stream) => stream.peer(),
        }
    }

    /// Sets what this socket does not have from its listener.
    pub(crate) fn configure(&self, options: &ConnectionOptions) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => configure(&SockRef::from(stream), options),
            Self::Unix(_) | Self::Pipes(_) => Ok(()),
            Self::Simulated(stream) => {
                stream.keep_alive(options.keep_alive);
                Ok(())
            }
        }
    }

    /// Whether input has to be looked for to its end: no edge tells of it, or a short read says
    /// nothing.
    pub(crate) fn is_read_to_the_end(&self) -> bool {
        matches!(self, Self::Pipes(pipes) if pipes.is_read_to_the_end())
    }

    /// Whether a close with unread input could destroy what the peer has not read yet.
    pub(crate) fn needs_lingering(&self) -> bool {
        match self {
            Self::Pipes(pipes) => pipes.needs_lingering(),
            _ => true,
        }
    }

    /// Tells a terminal of another size.
    pub(crate) fn resize_terminal(&self, rows: u16, columns: u16) -> io::Result<()> {
        match self {
            Self::Pipes(pipes) => pipes.resize_terminal(rows, columns),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Who the peer is, where the kernel knows.
    pub(crate) fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        match self {
            Self::Unix(end) => system::peer_credentials(&end.socket),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// A socket that accepts.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(TcpListener),
    Unix {
        /// Dropped first: a path that is there is one that can be connected to. Listeners that share
        /// it keep it until the last of them goes.
        path: Option<Arc<BoundPath>>,
        listener: UnixListener,
    },
    Simulated(simulated::Listening),
}

impl Listening {
    /// Binds and listens. The options that Linux hands down to accepted sockets are set here,
    /// where they cost nothing later.
    pub(crate) fn tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(true)?; // the same on every system; list both to have both
        }
        configure(&SockRef::from(&socket), &options.connection)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        Ok(Self::Tcp(TcpListener::from_std(socket.into())))
    }

    /// Binds a Unix socket, to a path (with that mode, if any is given) or an abstract name, and
    /// listens.
    pub(crate) fn unix(address: &UnixAddress, options: &ListenOptions) -> io::Result<Self> {
        let (socket, path) = unix::bound(address, Type::STREAM, options.mode)?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        Ok(Self::Unix { path: path.map(Arc::new), listener: UnixListener::from_std(socket.into()) })
    }

    /// Whether it has a descriptor.
    pub(crate) fn is_kernel(&self) -> bool {
        !matches!(self, Self::Simulated(_))
    }

    /// Takes over a socket that was opened, bound and made to listen by whoever started this
    /// process. The descriptor must be nobody else's.
    pub(crate) fn passed(descriptor: RawFd, options: &ListenOptions) -> io::Result<Self> {
        let socket = system::adopt(descriptor)?;
        let address = socket.local_addr()?;
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            let problem = "it is not a listening stream socket (Accept=no, ListenStream=)";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        socket.set_cloexec(true)?;
        socket.set_nonblocking(true)?;
        if address.is_unix() {
            // The path is systemd's: it stays.
            return Ok(Self::Unix { path: None, listener: UnixListener::from_std(socket.into()) });
        }
        configure(&SockRef::from(&socket), &options.connection)?;
        Ok(Self::Tcp(TcpListener::from_std(socket.into())))
    }

    pub(crate) fn accept(&mut self) -> io::Result<(Stream, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = again(|| listener.accept())?;
                Ok((Stream::Tcp(stream), Address::Tcp(peer)))
            }
            Self::Unix { listener, .. } => {
                let (socket, peer) = accept_unix(&SockRef::from(&*listener))?;
                let end = UnixEnd::new(UnixStream::from_std(socket.into()));
                Ok((Stream::Unix(Box::new(end)), Address::Unix(unix::unix_address(&peer))))
            }
            Self::Simulated(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((Stream::Simulated(Box::new(stream)), peer))
            }
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Self::Unix { listener, .. } => unix_name(SockRef::from(listener).local_addr()),
            Self::Simulated(listener) => Ok(listener.local()),
        }
    }
}

/// Begins to connect; the writable edge tells the end of it.
pub(crate) fn connect_tcp(address: SocketAddr, bind: Option<SocketAddr>) -> io::Result<Stream> {
    let Some(bind) = bind else { return TcpStream::connect(address).map(Stream::Tcp) };
    if bind.is_ipv4() != address.is_ipv4() {
        let problem = format!("the local address {} is of the other family", bind.ip());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A port of one's own choice is free again at once, not after the last connection's TIME_WAIT.
    socket.set_reuse_address(bind.port() != 0)?;
    socket.bind(&bind.into())?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(Stream::Tcp(TcpStream::from_std(socket.into())))
}

/// accept(2) for a Unix socket; mio's own knows no abstract names, and fails over a caller whose
/// name fills all of its address.
fn accept_unix(socket: &SockRef<'_>) -> io::Result<(Socket, SockAddr)> {
    #[cfg(not(target_vendor = "apple"))]
    return again(|| socket.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK));
    #[cfg(target_vendor = "apple")]
    {
        let (accepted, peer) = again(|| socket.accept())?;
        accepted.set_nonblocking(true)?;
        Ok((accepted, peer))
    }
}

fn unix_name(address: io::Result<SockAddr>) -> io::Result<Address> {
    address.map(|address| Address::Unix(unix::unix_address(&address)))
}

fn configure(socket: &SockRef<'_>, options: &ConnectionOptions) -> io::Result<()> {
    if options.no_delay {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(idle) = options.keep_alive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    Ok(())
}
