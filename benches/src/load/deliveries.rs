//! The load of publish/subscribe: one connection that keeps a number of publishes in flight, and
//! subscribers who all hear each of them. What is counted is deliveries.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Instant;

use super::{Client, Load, Outcome, PATIENCE, State, Window, connect, silence};
use crate::sys::{self, Epoll, NO_EVENT};

const PUBLISHER: u64 = u64::MAX;

/// Someone who hears the same message again and again.
struct Subscriber {
    stream: TcpStream,
    /// Bytes heard so far.
    heard: u64,
}

/// As `load::drive`: `load.connections` subscribers, `load.depth` publishes of `size` bytes in flight.
pub(super) fn drive(load: &Load, size: usize, at_edge: impl FnMut()) -> io::Result<Outcome> {
    let epoll = Epoll::new()?;
    let mut subscribers = Vec::with_capacity(load.connections);
    for number in 0..load.connections {
        let mut stream = connect(load.port)?;
        stream.write_all(b"SUBSCRIBE news\r\n")?;
        let told = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";
        let mut answer = vec![0; told.len()];
        stream.read_exact(&mut answer)?;
        if answer != told {
            return Err(super::wrong(&answer));
        }
        stream.set_nonblocking(true)?;
        epoll.add(&stream, libc::EPOLLIN, number as u64)?;
        subscribers.push(Subscriber { stream, heard: 0 });
    }
    let payload: String = (0..size).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let message = format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n${size}\r\n{payload}\r\n");
    let request = format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n${size}\r\n{payload}\r\n");
    // Everybody was there from the beginning: each publish reaches all.
    let answer = format!(":{}\r\n", load.connections).into_bytes();
    let stream = connect(load.port)?;
    stream.set_nonblocking(true)?;
    epoll.add(&stream, libc::EPOLLIN, PUBLISHER)?;
    let mut publisher =
        Client::new(stream, request.into_bytes(), &answer, answer.len(), load.depth);
    let mut state = State::new();
    // Wherever a read begins in a message, what it holds is one slice of this.
    let expected = message.repeat(state.buffer.len() / message.len() + 2).into_bytes();
    let mut events = [NO_EVENT; 256];
    let mut window = Window::open(load, at_edge);
    publisher.ask(load.depth, Instant::now())?;
    let mut bytes = 0;
    loop {
        let ready = epoll.wait(&mut events, PATIENCE.as_millis() as i32)?;
        if ready.is_empty() {
            return Err(silence());
        }
        for event in ready {
            if event.u64 == PUBLISHER {
                publisher.answered(&mut state)?;
            } else {
                let subscriber = &mut subscribers[event.u64 as usize];
                bytes += subscriber.hear(&mut state.buffer, &expected, message.len())?;
            }
        }
        let clear = || {
            bytes = 0;
            state.clear();
        };
        if let Some(elapsed) = window.look(clear) {
            // What was published is not what counts here.
            return Ok(Outcome {
                requests: bytes / message.len() as u64,
                ..state.outcome(elapsed)
            });
        }
    }
}

impl Subscriber {
    /// Takes what is there, checks it, and says how much that was.
    fn hear(&mut self, buffer: &mut [u8], expected: &[u8], message: usize) -> io::Result<u64> {
        let count = match sys::recv(self.stream.as_raw_fd(), buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(e) => return Err(e),
        };
        let from = (self.heard % message as u64) as usize;
        if buffer[..count] != expected[from..from + count] {
            return Err(super::wrong(&buffer[..count]));
        }
        self.heard += count as u64;
        Ok(count as u64)
    }
}
