//! Files on bare system calls: `sendfile` until the socket takes no more, and nothing around it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use super::{listen, scratch_file};
use crate::files::{FILE, REPLY};
use crate::sys::{self, Epoll, NO_EVENT};

const LISTENER: u64 = u64::MAX;
const INTEREST: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
/// As Ropewalk has it, so that the calls are as many.
const SHARE: u64 = 1 << 20;

struct Reader {
    stream: TcpStream,
    left: u64,
}

pub(super) fn run() -> io::Result<()> {
    let file = scratch_file()?;
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(&listener, libc::EPOLLIN, LISTENER)?;
    let mut readers: BTreeMap<u64, Reader> = BTreeMap::new();
    let mut events = [NO_EVENT; 64];
    loop {
        for event in epoll.wait(&mut events, -1)? {
            let token = event.u64;
            if token == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let token = stream.as_raw_fd() as u64;
                epoll.add(&stream, INTEREST, token)?;
                readers.insert(token, Reader { stream, left: 0 });
            } else if let Some(reader) = readers.get_mut(&token)
                && !matches!(serve(reader, &file), Ok(true))
            {
                readers.remove(&token);
            }
        }
    }
}

/// `false` when the reader has gone.
fn serve(reader: &mut Reader, file: &File) -> io::Result<bool> {
    match sys::recv(reader.stream.as_raw_fd(), &mut [0; 64]) {
        Ok(0) => return Ok(false),
        Ok(asked) => reader.left += asked as u64 * REPLY,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
        Err(e) => return Err(e),
    }
    while reader.left > 0 {
        let at = (REPLY - reader.left % REPLY) % FILE;
        let count = SHARE.min(FILE - at).min(reader.left) as usize;
        match sys::sendfile(reader.stream.as_raw_fd(), file, at, count) {
            Ok(count) => reader.left -= count as u64,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}
