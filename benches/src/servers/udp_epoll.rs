//! Echo of datagrams by a bare loop: wait, receive what is there with one call, send it back with
//! another.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use crate::batch::Batch;
use crate::sys::{Epoll, NO_EVENT};

/// As many as Ropewalk takes with one call.
const PLACES: usize = 32;

pub(super) fn run() -> io::Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    super::announce_datagrams(socket.local_addr()?.port());
    let epoll = Epoll::new()?;
    epoll.add(&socket, libc::EPOLLIN, 0)?;
    let mut batch = Batch::new(PLACES, true);
    let mut events = [NO_EVENT; 1];
    loop {
        epoll.wait(&mut events, -1)?;
        loop {
            let count = match batch.receive(socket.as_raw_fd()) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let mut sent = 0;
            while sent < count {
                match batch.send(socket.as_raw_fd(), sent, count - sent) {
                    Ok(more) => sent += more,
                    // Dropped, as the network may.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            if count < batch.places() {
                break;
            }
        }
    }
}
