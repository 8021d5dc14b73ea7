//! A bare edge-triggered loop over epoll, shared by the servers that mark the limit. Generic
//! over what to do with the bytes, and so compiled into each with nothing in between.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use crate::sys::{self, Epoll, NO_EVENT};

const LISTENER: u64 = u64::MAX;
/// As much as one `recv` takes.
const BUFFER: usize = 64 * 1024;
/// Readable and writable, once, for good: nothing is registered again.
const INTEREST: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;

/// What a server does with the bytes. Every closure that takes a connection and what it sent is
/// one.
pub(super) trait Serve {
    /// `data` came on this connection.
    fn received(&mut self, connection: &mut Connection, data: &[u8]) -> io::Result<()>;

    /// All that was ready has been read, and sockets may take more than before. The connections
    /// are found by their slots.
    fn turn_ended(&mut self, _connections: &mut [Option<Connection>]) -> io::Result<()> {
        Ok(())
    }

    /// The connection in this slot has gone.
    fn lost(&mut self, _slot: usize) {}
}

impl<F: FnMut(&mut Connection, &[u8]) -> io::Result<()>> Serve for F {
    fn received(&mut self, connection: &mut Connection, data: &[u8]) -> io::Result<()> {
        self(connection, data)
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    /// What the kernel would not take yet.
    unsent: Vec<u8>,
    /// What the server left for later.
    pub(super) kept: Vec<u8>,
}

impl Connection {
    /// Its number, which it shares with no other that is open.
    pub(super) fn slot(&self) -> usize {
        self.stream.as_raw_fd() as usize
    }

    /// Whether the kernel takes no more for now.
    pub(super) fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn send(&mut self, mut data: &[u8]) -> io::Result<()> {
        if self.unsent.is_empty() {
            match sys::send(self.stream.as_raw_fd(), data) {
                Ok(count) => data = &data[count..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        self.unsent.extend_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match sys::send(self.stream.as_raw_fd(), &self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        self.unsent = Vec::new();
        Ok(())
    }
}

/// Serves whoever connects.
pub(super) fn serve(listener: &TcpListener, mut server: impl Serve) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(listener, libc::EPOLLIN | libc::EPOLLET, LISTENER)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = [NO_EVENT; 1024];
    loop {
        for event in epoll.wait(&mut events, -1)? {
            let (token, flags) = (event.u64, event.events as i32);
            if token == LISTENER {
                accept_all(listener, &epoll, &mut connections)?;
                continue;
            }
            let Some(connection) = &mut connections[token as usize] else { continue };
            let open = ready(connection, flags, &mut buffer, &mut server);
            if !matches!(open, Ok(true)) {
                connections[token as usize] = None;
                server.lost(token as usize);
            }
        }
        server.turn_ended(&mut connections)?;
    }
}

/// `false` when the peer has gone.
#[inline]
fn ready(
    connection: &mut Connection,
    flags: i32,
    buffer: &mut [u8],
    server: &mut impl Serve,
) -> io::Result<bool> {
    if flags & libc::EPOLLOUT != 0 && !connection.unsent.is_empty() {
        connection.flush()?;
    }
    if flags & (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) == 0 {
        return Ok(true);
    }
    loop {
        match sys::recv(connection.stream.as_raw_fd(), buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                server.received(connection, &buffer[..count])?;
                // A short read has drained it, but for the peer's FIN.
                if count < buffer.len() && flags & libc::EPOLLRDHUP == 0 {
                    return Ok(true);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(e) => return Err(e),
        }
    }
}

/// The descriptor's number is the token: a new connection can only have that of a closed one.
fn accept_all(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let connection = Connection { stream, unsent: Vec::new(), kept: Vec::new() };
        let slot = connection.slot();
        epoll.add(&connection.stream, INTEREST, slot as u64)?;
        if connections.len() <= slot {
            connections.resize_with(slot + 1, || None);
        }
        connections[slot] = Some(connection);
    }
}
