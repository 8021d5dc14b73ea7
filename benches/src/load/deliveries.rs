//! The load of publish/subscribe: one connection that keeps a number of publishes in flight, and
//! subscribers who all hear each of them. What is counted is deliveries.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Instant;

use super::{Load, Outcome, PATIENCE};
use crate::histogram::Histogram;
use crate::sys::{self, Epoll, NO_EVENT};

const PUBLISHER: u64 = u64::MAX;
const BUFFER: usize = 256 * 1024;

/// Someone who hears the same message again and again.
struct Subscriber {
    stream: TcpStream,
    /// Bytes heard so far.
    heard: u64,
}

struct Publisher {
    stream: TcpStream,
    /// `depth` publishes and one more: any number of them from any offset are one slice.
    requests: Vec<u8>,
    request_len: usize,
    offset: usize,
    unsent: usize,
    answer: Vec<u8>,
    /// Of the answer that is arriving.
    arrived: usize,
    sent_at: Vec<Instant>,
    oldest: usize,
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// As `load::drive`: `load.connections` subscribers, `load.depth` publishes of `size` bytes in flight.
pub(super) fn drive(load: &Load, size: usize, mut at_edge: impl FnMut()) -> io::Result<Outcome> {
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
    // Wherever a read begins in a message, what it holds is one slice of this.
    let expected = message.repeat(BUFFER / message.len() + 2).into_bytes();
    let request = format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n${size}\r\n{payload}\r\n");
    let stream = connect(load.port)?;
    stream.set_nonblocking(true)?;
    epoll.add(&stream, libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET, PUBLISHER)?;
    let start = Instant::now();
    let mut publisher = Publisher {
        stream,
        request_len: request.len(),
        requests: request.repeat(load.depth + 1).into_bytes(),
        offset: 0,
        unsent: 0,
        answer: format!(":{}\r\n", load.connections).into_bytes(),
        arrived: 0,
        sent_at: vec![start; load.depth],
        oldest: 0,
    };
    publisher.ask(load.depth, start)?;
    let mut latency = Histogram::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = [NO_EVENT; 256];
    let (mut bytes, mut measured_from) = (0_u64, None);
    loop {
        let ready = epoll.wait(&mut events, PATIENCE.as_millis() as i32)?;
        if ready.is_empty() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the server fell silent"));
        }
        for event in ready {
            if event.u64 == PUBLISHER {
                publisher.answered(&mut buffer, &mut latency)?;
            } else {
                let subscriber = &mut subscribers[event.u64 as usize];
                bytes += subscriber.hear(&mut buffer, &expected, message.len())?;
            }
        }
        let now = Instant::now();
        match measured_from {
            None if now - start >= load.warm_up => {
                bytes = 0;
                latency.clear();
                at_edge();
                measured_from = Some(Instant::now());
            }
            Some(from) if now - from >= load.duration => {
                let elapsed = from.elapsed();
                at_edge();
                return Ok(Outcome { requests: bytes / message.len() as u64, elapsed, latency });
            }
            _ => {}
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

impl Publisher {
    fn ask(&mut self, count: usize, now: Instant) -> io::Result<()> {
        let depth = self.sent_at.len();
        for _ in 0..count {
            self.sent_at[self.oldest] = now;
            self.oldest = (self.oldest + 1) % depth;
        }
        self.unsent += count * self.request_len;
        while self.unsent > 0 {
            let chunk = &self.requests[self.offset..self.offset + self.unsent];
            match sys::send(self.stream.as_raw_fd(), chunk) {
                Ok(n) => {
                    self.unsent -= n;
                    self.offset = (self.offset + n) % self.request_len;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn answered(&mut self, buffer: &mut [u8], latency: &mut Histogram) -> io::Result<()> {
        loop {
            let count = match sys::recv(self.stream.as_raw_fd(), buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return self.ask(0, Instant::now());
                }
                Err(e) => return Err(e),
            };
            let (now, mut completed) = (Instant::now(), 0);
            for &byte in &buffer[..count] {
                // Everybody was there from the beginning: each publish has reached all.
                if byte != self.answer[self.arrived] {
                    return Err(super::wrong(&buffer[..count]));
                }
                self.arrived += 1;
                if self.arrived == self.answer.len() {
                    self.arrived = 0;
                    let place = (self.oldest + completed) % self.sent_at.len();
                    latency.record(now - self.sent_at[place]);
                    completed += 1;
                }
            }
            self.ask(completed, now)?;
        }
    }
}
