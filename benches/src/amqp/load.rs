//! The load generator: one publisher and some consumers on one thread, over bare epoll. All
//! that is published was encoded beforehand, and what comes is known but for its numbers, so
//! that it is rarely the slower side. Each delivery's tag, body and last octet are checked, and
//! in the end the number of all.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ropewalk_amqp::codec::method::basic;
use ropewalk_amqp::codec::{BasicProperties, Encoder, ShortStr};

use super::client::{CHANNEL, Client, PATIENCE};
use super::shapes::Shape;
use crate::histogram::Histogram;
use crate::sys::{self, Epoll, NO_EVENT};

/// Octets that are encoded beforehand, about: enough to be sent at once.
const ENCODED: usize = 1 << 20;
/// `basic.ack` in its frame: a head of 7 octets, two numbers of 2, the tag, a bit, the end.
const ACK: usize = 7 + 4 + 8 + 1 + 1;
const FRAME_END: u8 = 0xCE;
/// No delivery tags of ours are further apart than this while they are unconfirmed.
const RING: usize = 1 << 14;

pub(super) struct Outcome {
    /// Deliveries in the measured time; confirms, if there are any.
    pub(super) messages: u64,
    pub(super) elapsed: Duration,
    /// From publishing to the confirm; empty without confirms.
    pub(super) latency: Histogram,
}

/// Warms up, measures, and waits until all that was published has arrived. `at_edge` is called
/// when the measured time begins and ends.
pub(super) fn drive(
    shape: &Shape,
    port: u16,
    (warm_up, duration): (Duration, Duration),
    mut at_edge: impl FnMut(),
) -> io::Result<Outcome> {
    let mut consumers = Vec::new();
    let clients = shape.consumers(port)?;
    let mut publisher = Client::open(port)?;
    if shape.in_flight.is_some() {
        publisher.confirm()?;
    }
    let epoll = Epoll::new()?;
    for (i, client) in clients.iter().enumerate() {
        let stream = watched(client, &epoll, i)?;
        consumers.push(Consumer::new(stream, shape));
    }
    let stream = watched(&publisher, &epoll, consumers.len())?;
    let mut publisher_side = Publisher::new(stream, shape);

    let mut events = [NO_EVENT; 256];
    let start = Instant::now();
    let mut phase = Phase::WarmUp;
    let (mut delivered, mut outcome) = (0, None);
    loop {
        let now = Instant::now();
        match phase {
            Phase::WarmUp if now - start >= warm_up => {
                publisher_side.latency.clear();
                at_edge();
                let counted = publisher_side.counted(delivered);
                phase = Phase::Measured { from: Instant::now(), counted };
            }
            Phase::Measured { from, counted } if now - from >= duration => {
                let elapsed = from.elapsed();
                at_edge();
                let messages = publisher_side.counted(delivered) - counted;
                outcome = Some((messages, elapsed, publisher_side.latency.clone()));
                phase = Phase::Drained;
            }
            _ => {}
        }
        publisher_side.publish(shape.arrived(delivered), now, phase == Phase::Drained)?;
        if phase == Phase::Drained && publisher_side.is_done(delivered, shape.copies()) {
            break;
        }
        let ready = epoll.wait(&mut events, PATIENCE.as_millis() as i32)?;
        if ready.is_empty() {
            let (published, confirmed) = (publisher_side.published(), publisher_side.confirmed);
            let text = format!(
                "silence after {published} published, {confirmed} confirmed, {delivered} delivered"
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        for event in ready {
            match consumers.get_mut(event.u64 as usize) {
                Some(consumer) => delivered += consumer.received()?,
                None => publisher_side.received()?,
            }
        }
    }
    for client in clients.into_iter().chain([publisher]) {
        client.stream.set_nonblocking(false)?;
        client.close()?;
    }
    let (messages, elapsed, latency) = outcome.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Outcome { messages, elapsed, latency })
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    WarmUp,
    Measured {
        from: Instant,
        counted: u64,
    },
    /// Nothing more is published.
    Drained,
}

pub(super) fn watched(client: &Client, epoll: &Epoll, token: usize) -> io::Result<TcpStream> {
    let stream = client.stream.try_clone()?;
    stream.set_nonblocking(true)?;
    epoll.add(&stream, libc::EPOLLIN, token as u64)?;
    Ok(stream)
}

/// Octets that came, with what was left of the last read before them.
struct Input {
    buffer: Vec<u8>,
    held: usize,
}

impl Input {
    fn new() -> Input {
        Input { buffer: vec![0; 256 * 1024], held: 0 }
    }

    /// Reads once; nothing is there if nothing came.
    fn fill(&mut self, stream: &TcpStream) -> io::Result<&[u8]> {
        match sys::recv(stream.as_raw_fd(), &mut self.buffer[self.held..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.held += count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        Ok(&self.buffer[..self.held])
    }

    fn consumed(&mut self, count: usize) {
        self.buffer.copy_within(count..self.held, 0);
        self.held -= count;
    }
}

fn body(shape: &Shape) -> Vec<u8> {
    (0..shape.body).map(|i| b'!' + (i % 90) as u8).collect()
}

pub(super) struct Publisher {
    stream: TcpStream,
    input: Input,
    /// Some messages, one after the other, all of one length.
    encoded: Vec<u8>,
    message_len: u64,
    /// Octets, all in all.
    sent: u64,
    due: u64,
    backlog: u64,
    /// So many are published at once, or none.
    step: u64,
    in_flight: Option<u64>,
    pub(super) confirmed: u64,
    /// Below this, all are confirmed; from here on, those that `ring` says.
    oldest: u64,
    ring: Vec<bool>,
    published_at: Vec<Instant>,
    latency: Histogram,
}

impl Publisher {
    pub(super) fn new(stream: TcpStream, shape: &Shape) -> Publisher {
        let (keys, body) = (shape.keys(), Bytes::from(body(shape)));
        let delivery_mode = shape.durable.map(|_| 2);
        let properties = BasicProperties { delivery_mode, ..Default::default() }.to_vec();
        let mut one_round = Vec::new();
        let mut encoder = Encoder::new();
        let mut frames = encoder.frames_to(&mut one_round, 0);
        for key in &keys {
            let publish = basic::Publish {
                exchange: ShortStr::literal(shape.exchange()),
                routing_key: ShortStr::cut(key),
                ..Default::default()
            };
            frames.content(CHANNEL, &publish, &properties, &body);
        }
        drop(frames);
        let message_len = (one_round.len() / keys.len()) as u64;
        let backlog = shape.backlog as u64;
        let in_flight = shape.in_flight.map(|count| count as u64);
        Publisher {
            stream,
            input: Input::new(),
            encoded: one_round.repeat((ENCODED / one_round.len()).max(1)),
            message_len,
            sent: 0,
            due: 0,
            backlog,
            step: if in_flight.is_some() { 1 } else { backlog / 4 },
            in_flight,
            confirmed: 0,
            oldest: 1,
            ring: vec![false; RING],
            published_at: vec![Instant::now(); RING],
            latency: Histogram::new(),
        }
    }

    /// Messages, the last of them perhaps in part.
    pub(super) fn published(&self) -> u64 {
        self.sent.div_ceil(self.message_len)
    }

    fn counted(&self, delivered: u64) -> u64 {
        if self.in_flight.is_some() { self.confirmed } else { delivered }
    }

    fn is_done(&self, delivered: u64, copies: usize) -> bool {
        let published = self.published();
        let confirmed = self.in_flight.is_none() || self.confirmed == published;
        self.sent == self.due && delivered == published * copies as u64 && confirmed
    }

    /// Publishes what may be published when so many messages have reached every queue.
    pub(super) fn publish(&mut self, arrived: u64, now: Instant, last: bool) -> io::Result<()> {
        if last {
            self.due = self.published() * self.message_len;
        } else {
            let unconfirmed = self.in_flight.map_or(u64::MAX, |count| self.confirmed + count);
            let allowed = (arrived + self.backlog).min(unconfirmed);
            let due = self.due / self.message_len;
            if allowed >= due + self.step {
                self.due = allowed * self.message_len;
                if self.in_flight.is_some() {
                    for tag in due + 1..=allowed {
                        self.published_at[tag as usize % RING] = now;
                    }
                }
            }
        }
        while self.sent < self.due {
            let at = (self.sent % self.encoded.len() as u64) as usize;
            let count = ((self.due - self.sent) as usize).min(self.encoded.len() - at);
            match sys::send(self.stream.as_raw_fd(), &self.encoded[at..at + count]) {
                Ok(count) => self.sent += count as u64,
                // What the server takes in comes out as deliveries, and wakes us.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Reads confirms.
    pub(super) fn received(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let input = self.input.fill(&self.stream)?;
        let mut taken = 0;
        for ack in input.chunks_exact(ACK) {
            let good = ack[..11] == [1, 0, CHANNEL as u8, 0, 0, 0, 13, 0, 60, 0, 80];
            let tag = u64::from_be_bytes(ack[11..19].try_into().map_err(io::Error::other)?);
            if !good || ack[20] != FRAME_END || tag > self.sent.div_ceil(self.message_len) {
                return Err(wrong(ack));
            }
            let first = if ack[19] & 1 == 1 { self.oldest } else { tag };
            for tag in first..=tag {
                let place = tag as usize % RING;
                if !std::mem::replace(&mut self.ring[place], true) {
                    self.confirmed += 1;
                    self.latency.record(now - self.published_at[place]);
                }
            }
            while std::mem::take(&mut self.ring[self.oldest as usize % RING]) {
                self.oldest += 1;
            }
            taken += ACK;
        }
        self.input.consumed(taken);
        Ok(())
    }
}

pub(super) struct Consumer {
    stream: TcpStream,
    input: Input,
    /// The length of a delivery, all three frames of it; 0 before the first.
    delivery_len: usize,
    tag_at: usize,
    tag: u64,
    body: Vec<u8>,
    acknowledges: bool,
    acks: Vec<u8>,
}

impl Consumer {
    pub(super) fn new(stream: TcpStream, shape: &Shape) -> Consumer {
        Consumer {
            stream,
            input: Input::new(),
            delivery_len: 0,
            tag_at: 0,
            tag: 0,
            body: body(shape),
            acknowledges: shape.prefetch.is_some(),
            acks: Vec::new(),
        }
    }

    /// Reads deliveries, and says how many.
    pub(super) fn received(&mut self) -> io::Result<u64> {
        let input = self.input.fill(&self.stream)?;
        if self.delivery_len == 0 {
            let Some(len) = first_delivery(input) else { return Ok(0) };
            self.delivery_len = len;
            self.tag_at = 7 + 4 + 1 + usize::from(input[11]);
        }
        let before = self.tag;
        let len = self.delivery_len;
        for delivery in input.chunks_exact(len) {
            let tag = &delivery[self.tag_at..self.tag_at + 8];
            let body = &delivery[len - 1 - self.body.len()..len - 1];
            let next = (self.tag + 1).to_be_bytes();
            if *tag != next || body != self.body || delivery[len - 1] != FRAME_END {
                return Err(wrong(delivery));
            }
            self.tag += 1;
            if self.acknowledges {
                self.acks.extend_from_slice(&[1, 0, CHANNEL as u8, 0, 0, 0, 13, 0, 60, 0, 80]);
                self.acks.extend_from_slice(&next);
                self.acks.extend_from_slice(&[0, FRAME_END]);
            }
        }
        let delivered = self.tag - before;
        self.input.consumed(delivered as usize * len);
        if !self.acks.is_empty() {
            // At most so many are unacknowledged that they always fit into the socket.
            let count = sys::send(self.stream.as_raw_fd(), &self.acks)?;
            if count < self.acks.len() {
                return Err(io::Error::other("no room for acknowledgements"));
            }
            self.acks.clear();
        }
        Ok(delivered)
    }
}

/// The length of the three frames that a delivery is, if all of them are there.
fn first_delivery(input: &[u8]) -> Option<usize> {
    let mut end = 0;
    for _ in 0..3 {
        let size: [u8; 4] = input.get(end + 3..end + 7)?.try_into().ok()?;
        end += 7 + u32::from_be_bytes(size) as usize + 1;
    }
    (input.len() >= end).then_some(end)
}

fn wrong(frames: &[u8]) -> io::Error {
    let text = format!("not what was expected: {}", frames.escape_ascii());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use ropewalk_amqp::codec::EncodeMethod;

    use super::*;

    #[test]
    fn an_acknowledgement_has_the_length_that_is_counted_with() {
        let mut out = Vec::new();
        let ack = basic::Ack { delivery_tag: 7, multiple: true };
        assert_eq!((ack.id().class_id, ack.id().method_id), (60, 80));
        Encoder::new().frames_to(&mut out, 0).method(CHANNEL, &ack);
        assert_eq!(out.len(), ACK);
        assert_eq!(out[..11], [1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80]);
        assert_eq!(out[19..], [1, FRAME_END]);
    }
}
