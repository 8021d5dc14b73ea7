//! Echo on a bare loop over mio, as its documentation suggests, with the one refinement that
//! a short read ends the reading.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::listen;

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
}

pub(super) fn run() -> io::Result<()> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let Token(slot) = event.token();
            if event.token() == LISTENER {
                accept_all(&listener, &poll, &mut connections)?;
                continue;
            }
            let Some(connection) = &mut connections[slot] else { continue };
            if !matches!(ready(connection, event, &mut buffer), Ok(true)) {
                connections[slot] = None;
            }
        }
    }
}

/// `false` when the peer has gone.
fn ready(
    connection: &mut Connection,
    event: &mio::event::Event,
    buffer: &mut [u8],
) -> io::Result<bool> {
    if event.is_writable() && !connection.unsent.is_empty() {
        let unsent = std::mem::take(&mut connection.unsent);
        send(connection, &unsent)?;
    }
    while event.is_readable() {
        match connection.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                send(connection, &buffer[..count])?;
                if count < buffer.len() && !event.is_read_closed() {
                    break;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn send(connection: &mut Connection, mut data: &[u8]) -> io::Result<()> {
    while connection.unsent.is_empty() && !data.is_empty() {
        match connection.stream.write(data) {
            Ok(count) => data = &data[count..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    connection.unsent.extend_from_slice(data);
    Ok(())
}

fn accept_all(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        stream.set_nodelay(true)?;
        let slot = stream.as_raw_fd() as usize;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(slot), interest)?;
        if connections.len() <= slot {
            connections.resize_with(slot + 1, || None);
        }
        connections[slot] = Some(Connection { stream, unsent: Vec::new() });
    }
}
