//! Every socket call, kernel or simulated, and nothing else: no state of a connection is decided
//! here. Calls that a signal interrupted are made again.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd, RawFd};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::address::Address;
use crate::options::{ConnectionOptions, ListenOptions};
use crate::simulation::network as simulated;

/// One end of a connection's byte stream.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Simulated(Box<simulated::Stream>),
}

impl Stream {
    /// Receives at most `limit` bytes behind what `buffer` holds; 0 is the peer's FIN.
    pub(crate) fn recv(&mut self, buffer: &mut BytesMut, limit: usize) -> io::Result<usize> {
        buffer.reserve(limit);
        match self {
            Self::Tcp(stream) => {
                let socket = SockRef::from(&*stream);
                // SAFETY: the slice is only handed to recv(2), which writes to it and reads
                // nothing; `advance_mut` then covers exactly the bytes that the kernel says it
                // wrote. There is no safe way to receive into the spare room of a `BytesMut`
                // without clearing it first, which at 64 KiB costs more than the call itself.
                unsafe {
                    let spare: &mut [MaybeUninit<u8>] = buffer.chunk_mut().as_uninit_slice_mut();
                    let room = spare.len().min(limit);
                    let received = again(|| socket.recv(&mut spare[..room]))?;
                    buffer.advance_mut(received);
                    Ok(received)
                }
            }
            Self::Simulated(stream) => stream.recv(buffer, limit),
        }
    }

    pub(crate) fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                again(|| stream.write(data)) // send(2) with MSG_NOSIGNAL
            }
            Self::Simulated(stream) => stream.send(&[IoSlice::new(data)]),
        }
    }

    pub(crate) fn send_vectored(&mut self, segments: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                again(|| stream.write_vectored(segments)) // writev(2); Rust ignores SIGPIPE
            }
            Self::Simulated(stream) => stream.send(segments),
        }
    }

    /// Sends FIN after what the kernel still holds.
    pub(crate) fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
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
            Self::Simulated(stream) => stream.reset_on_close(),
        }
    }

    /// The error that the kernel keeps for this socket; asking clears it.
    pub(crate) fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Simulated(stream) => Ok(stream.take_error()),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Address::Tcp),
            Self::Simulated(stream) => Ok(Address::Tcp(stream.local())),
        }
    }

    /// The peer's address; an error while a connection is still being made.
    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(Address::Tcp),
            Self::Simulated(stream) => stream.peer().map(Address::Tcp),
        }
    }

    /// Sets what this socket does not have from its listener.
    pub(crate) fn configure(&self, options: &ConnectionOptions) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => configure(&SockRef::from(stream), options),
            Self::Simulated(_) => Ok(()),
        }
    }
}

/// A socket that accepts.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(TcpListener),
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

    /// Takes over a socket that was opened, bound and made to listen by whoever started this
    /// process. The descriptor must be nobody else's.
    pub(crate) fn passed(descriptor: RawFd, options: &ListenOptions) -> io::Result<Self> {
        // SAFETY: a descriptor that the process was started with belongs to nothing in it, and
        // `inherited` gives out each once. One that is not open is let go again below.
        let socket = unsafe { Socket::from_raw_fd(descriptor) };
        let address = match socket.local_addr() {
            Ok(address) => address,
            Err(failure) => {
                let _ = socket.into_raw_fd(); // it is no socket of ours to close
                return Err(failure);
            }
        };
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            let problem = "it is not a listening stream socket (Accept=no, ListenStream=)";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        if address.as_socket().is_none() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        socket.set_cloexec(true)?;
        socket.set_nonblocking(true)?;
        configure(&SockRef::from(&socket), &options.connection)?;
        Ok(Self::Tcp(TcpListener::from_std(socket.into())))
    }

    pub(crate) fn accept(&mut self) -> io::Result<(Stream, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = again(|| listener.accept())?;
                Ok((Stream::Tcp(stream), Address::Tcp(peer)))
            }
            Self::Simulated(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((Stream::Simulated(Box::new(stream)), Address::Tcp(peer)))
            }
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Self::Simulated(listener) => Ok(Address::Tcp(listener.local())),
        }
    }
}

/// Begins to connect; the writable edge tells the end of it.
pub(crate) fn connect_tcp(address: SocketAddr, bind: Option<SocketAddr>) -> io::Result<Stream> {
    let Some(bind) = bind else { return TcpStream::connect(address).map(Stream::Tcp) };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&bind.into())?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(Stream::Tcp(TcpStream::from_std(socket.into())))
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

/// Makes a call again as long as a signal interrupts it.
fn again<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
