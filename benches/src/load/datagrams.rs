//! The load with datagrams: sockets that each keep a number of them in flight, many to a system
//! call. What the kernel drops is sent again once all is silent.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Instant;

use super::{Load, Outcome, PATIENCE, Window, silence};
use crate::batch::{Batch, LONGEST};
use crate::histogram::Histogram;
use crate::sys::{Epoll, NO_EVENT};

/// Loopback answers within microseconds; a busy machine within some milliseconds.
const SILENCE_MS: i32 = 100;

struct Client {
    socket: UdpSocket,
    /// When each datagram in flight was sent; they are told apart by their first byte.
    sent_at: Vec<Option<Instant>>,
    text: Vec<u8>,
}

impl Client {
    fn open(load: &Load, number: usize, size: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.connect(("127.0.0.1", load.port))?;
        // Each says something of its own, so that mixing them up is noticed.
        let text = (0..size).map(|i| b'!' + ((i + number) % 90) as u8).collect();
        Ok(Client { socket, sent_at: vec![None; load.depth], text })
    }

    /// Sends the datagrams that are not in flight.
    fn ask(&mut self, batch: &mut Batch, now: Instant) -> io::Result<()> {
        let mut count = 0;
        for (number, sent_at) in self.sent_at.iter_mut().enumerate() {
            if sent_at.is_none() {
                *sent_at = Some(now);
                self.text[0] = number as u8;
                batch.put(count, &self.text);
                count += 1;
            }
        }
        let mut sent = 0;
        while sent < count {
            sent += batch.send(self.socket.as_raw_fd(), sent, count - sent)?;
        }
        Ok(())
    }

    /// Takes the answers that are there, and says how many they were.
    fn answered(&mut self, batch: &mut Batch, latency: &mut Histogram) -> io::Result<u64> {
        let count = match batch.receive(self.socket.as_raw_fd()) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let (now, mut completed) = (Instant::now(), 0);
        for place in 0..count {
            let answer = batch.datagram(place);
            let number = usize::from(answer.first().copied().unwrap_or(u8::MAX));
            if answer.len() != self.text.len() || answer[1..] != self.text[1..] {
                return Err(super::wrong(answer));
            }
            // One that was taken for lost may come twice.
            if let Some(sent_at) = self.sent_at.get_mut(number).and_then(Option::take) {
                latency.record(now - sent_at);
                completed += 1;
            }
        }
        self.ask(batch, now)?;
        Ok(completed)
    }
}

/// As `load::drive`.
pub(super) fn drive(load: &Load, size: usize, at_edge: impl FnMut()) -> io::Result<Outcome> {
    assert!(size <= LONGEST && load.depth < usize::from(u8::MAX), "a size that fits a place");
    let epoll = Epoll::new()?;
    let mut batch = Batch::new(load.depth.max(1), false);
    let mut window = Window::open(load, at_edge);
    let mut heard = Instant::now();
    let mut clients = Vec::with_capacity(load.connections);
    for number in 0..load.connections {
        let mut client = Client::open(load, number, size)?;
        epoll.add(&client.socket, libc::EPOLLIN, number as u64)?;
        client.ask(&mut batch, heard)?;
        clients.push(client);
    }
    let (mut completed, mut latency) = (0, Histogram::new());
    let mut events = [NO_EVENT; 256];
    loop {
        let ready = epoll.wait(&mut events, SILENCE_MS)?;
        let now = Instant::now();
        if !ready.is_empty() {
            heard = now;
        } else if now - heard > PATIENCE {
            return Err(silence());
        } else {
            for client in &mut clients {
                client.sent_at.fill(None);
                client.ask(&mut batch, now)?;
            }
        }
        for event in ready {
            completed += clients[event.u64 as usize].answered(&mut batch, &mut latency)?;
        }
        let clear = || {
            completed = 0;
            latency.clear();
        };
        if let Some(elapsed) = window.look(clear) {
            return Ok(Outcome { requests: completed, elapsed, latency });
        }
    }
}
