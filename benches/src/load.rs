//! The load generator: connections that each keep a number of requests in flight, on one
//! thread, over bare epoll, so that it is rarely the slower side. It checks every answer.
//!
//! It is a closed loop: the next request goes out when an answer has come. So throughput and
//! latency are two views of one figure; the server's processor time is the one to compare.

mod datagrams;
mod deliveries;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::secret::Session;
use crate::sys::{self, Epoll, NO_EVENT};

/// What is said, and what must come back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dialogue {
    /// So many bytes, and the same again.
    Echo { size: usize },
    /// The same, over TLS.
    SecretEcho { size: usize },
    /// Redis's `PING`.
    Ping,
    /// `GET /plaintext`, and a 200 with a body.
    Http,
}

/// What there is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Requests and their answers, on streams.
    Dialogue(Dialogue),
    /// As an echo of so many bytes, each in a datagram of its own.
    Datagrams { size: usize },
    /// Redis's `PUBLISH` of so many bytes to subscribers, who are the connections.
    Deliveries { size: usize },
}

const REQUEST: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";
const STATUS: &[u8] = b"HTTP/1.1 200";
const BODY: &[u8] = b"Hello, World!";
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) connections: usize,
    /// Requests in flight on each connection.
    pub(crate) depth: usize,
    pub(crate) work: Work,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Histogram,
}

/// Warms up, then measures. `at_edge` is called when the measured time begins and ends.
pub(crate) fn drive(load: &Load, at_edge: impl FnMut()) -> io::Result<Outcome> {
    match load.work {
        Work::Dialogue(dialogue) => talk(load, dialogue, at_edge),
        Work::Datagrams { size } => datagrams::drive(load, size, at_edge),
        Work::Deliveries { size } => deliveries::drive(load, size, at_edge),
    }
}

fn talk(load: &Load, dialogue: Dialogue, at_edge: impl FnMut()) -> io::Result<Outcome> {
    let epoll = Epoll::new()?;
    let mut clients = Vec::with_capacity(load.connections);
    for i in 0..load.connections {
        let Opened { stream, session, answer } = open(load.port, dialogue, i)?;
        stream.set_nonblocking(true)?;
        epoll.add(&stream, libc::EPOLLIN, i as u64)?;
        let checked = dialogue.checked(&answer);
        let mut client = Client::new(stream, request(dialogue, i), &answer, checked, load.depth);
        client.session = session;
        clients.push(client);
    }
    let mut state = State::new();
    let mut events = [NO_EVENT; 256];
    let mut window = Window::open(load, at_edge);
    for client in &mut clients {
        client.ask(load.depth, Instant::now())?;
    }
    loop {
        let ready = epoll.wait(&mut events, PATIENCE.as_millis() as i32)?;
        if ready.is_empty() {
            return Err(silence());
        }
        for event in ready {
            clients[event.u64 as usize].answered(&mut state)?;
        }
        if let Some(elapsed) = window.look(|| state.clear()) {
            return Ok(state.outcome(elapsed));
        }
    }
}

/// The time that is measured, behind the warm-up.
struct Window<F> {
    warm_up: Duration,
    duration: Duration,
    /// When the load began, and the measured time.
    start: Instant,
    from: Option<Instant>,
    at_edge: F,
}

impl<F: FnMut()> Window<F> {
    fn open(load: &Load, at_edge: F) -> Self {
        let Load { warm_up, duration, .. } = *load;
        Window { warm_up, duration, start: Instant::now(), from: None, at_edge }
    }

    /// Looks what time it is. `clear` is to forget what came before the measured time; once that is
    /// over, this says how long it was.
    fn look(&mut self, clear: impl FnOnce()) -> Option<Duration> {
        let now = Instant::now();
        match self.from {
            None if now - self.start >= self.warm_up => {
                clear();
                (self.at_edge)();
                self.from = Some(Instant::now());
                None
            }
            Some(from) if now - from >= self.duration => {
                let elapsed = from.elapsed();
                (self.at_edge)();
                Some(elapsed)
            }
            _ => None,
        }
    }
}

fn silence() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server fell silent")
}

/// Opens connections that say one thing each, and then nothing.
pub(crate) fn idle(port: u16, dialogue: Dialogue, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|i| Ok(open(port, dialogue, i)?.stream)).collect()
}

/// A connection on which one exchange was made.
struct Opened {
    stream: TcpStream,
    session: Option<Session>,
    answer: Vec<u8>,
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Connects and makes one exchange, to learn what an answer looks like.
fn open(port: u16, dialogue: Dialogue, number: usize) -> io::Result<Opened> {
    let mut stream = connect(port)?;
    let request = request(dialogue, number);
    let mut session = match dialogue {
        Dialogue::SecretEcho { .. } => Some(Session::new()?),
        Dialogue::Echo { .. } | Dialogue::Ping | Dialogue::Http => None,
    };
    match &mut session {
        Some(session) => session.over(&mut stream).write_all(&request)?,
        None => stream.write_all(&request)?,
    }
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let whole = match dialogue {
            Dialogue::Echo { size } | Dialogue::SecretEcho { size } => answer.len() >= size,
            Dialogue::Ping => answer.len() >= PONG.len(),
            Dialogue::Http => answer.ends_with(BODY),
        };
        if whole {
            break;
        }
        let count = match &mut session {
            Some(session) => session.over(&mut stream).read(&mut chunk)?,
            None => stream.read(&mut chunk)?,
        };
        match count {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
    let right = match dialogue {
        Dialogue::Echo { .. } | Dialogue::SecretEcho { .. } => answer == request,
        Dialogue::Ping => answer == PONG,
        Dialogue::Http => answer.starts_with(STATUS) && has_date(&answer),
    };
    if right { Ok(Opened { stream, session, answer }) } else { Err(wrong(&answer)) }
}

impl Dialogue {
    /// How much of an answer is the same each time: the status for HTTP, else all of it.
    fn checked(self, answer: &[u8]) -> usize {
        match self {
            Dialogue::Http => STATUS.len(),
            Dialogue::Echo { .. } | Dialogue::SecretEcho { .. } | Dialogue::Ping => answer.len(),
        }
    }
}

fn request(dialogue: Dialogue, number: usize) -> Vec<u8> {
    match dialogue {
        // Each connection says something of its own, so that mixing them up is noticed.
        Dialogue::Echo { size } | Dialogue::SecretEcho { size } => {
            (0..size).map(|i| b'!' + ((i + number) % 90) as u8).collect()
        }
        Dialogue::Ping => PING.to_vec(),
        Dialogue::Http => REQUEST.to_vec(),
    }
}

/// Every server does the same work: a `Date` (RFC 9110, section 6.6.1) in every answer.
fn has_date(answer: &[u8]) -> bool {
    answer.windows(6).any(|window| window.eq_ignore_ascii_case(b"\ndate:"))
}

fn wrong(answer: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
    io::Error::new(io::ErrorKind::InvalidData, format!("a wrong answer: {shown:?}"))
}

struct State {
    buffer: Vec<u8>,
    completed: u64,
    latency: Histogram,
}

impl State {
    fn new() -> Self {
        State { buffer: vec![0; 256 * 1024], completed: 0, latency: Histogram::new() }
    }

    fn clear(&mut self) {
        self.completed = 0;
        self.latency.clear();
    }

    fn outcome(self, elapsed: Duration) -> Outcome {
        Outcome { requests: self.completed, elapsed, latency: self.latency }
    }
}

struct Client {
    stream: TcpStream,
    /// With TLS.
    session: Option<Session>,
    /// `depth` requests and one more: any `depth` of them from any offset are one slice.
    requests: Vec<u8>,
    request_len: usize,
    /// Where in the first request of `requests` the next byte to send lies.
    offset: usize,
    unsent: usize,
    answer_len: usize,
    /// What each answer begins with.
    expected: Vec<u8>,
    /// Bytes of the answer that is arriving.
    arrived: usize,
    /// When each request in flight was sent, as a ring.
    sent_at: Vec<Instant>,
    oldest: usize,
}

impl Client {
    /// Of an answer, its beginning of `checked` bytes has to be right.
    fn new(
        stream: TcpStream,
        request: Vec<u8>,
        answer: &[u8],
        checked: usize,
        depth: usize,
    ) -> Self {
        Client {
            stream,
            session: None,
            request_len: request.len(),
            requests: request.repeat(depth + 1),
            offset: 0,
            unsent: 0,
            answer_len: answer.len(),
            expected: answer[..checked].to_vec(),
            arrived: 0,
            sent_at: vec![Instant::now(); depth],
            oldest: 0,
        }
    }

    /// Sends `count` more requests; the oldest `count` places in the ring are free for them.
    fn ask(&mut self, count: usize, now: Instant) -> io::Result<()> {
        let depth = self.sent_at.len();
        for _ in 0..count {
            self.sent_at[self.oldest] = now;
            self.oldest = (self.oldest + 1) % depth;
        }
        self.unsent += count * self.request_len;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.unsent > 0 {
            let chunk = &self.requests[self.offset..self.offset + self.unsent];
            let sent = match &mut self.session {
                Some(session) => session.send(&self.stream, chunk),
                None => sys::send(self.stream.as_raw_fd(), chunk),
            };
            match sent {
                Ok(n) => {
                    self.unsent -= n;
                    self.offset = (self.offset + n) % self.request_len;
                }
                // Answers that arrive make room; what they complete is asked again then.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn answered(&mut self, state: &mut State) -> io::Result<()> {
        let received = match &mut self.session {
            Some(session) => {
                session.flush(&self.stream)?;
                session.recv(&self.stream, &mut state.buffer)
            }
            None => sys::recv(self.stream.as_raw_fd(), &mut state.buffer),
        };
        let count = match received {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        let now = Instant::now();
        let mut rest = &state.buffer[..count];
        let mut completed = 0;
        while !rest.is_empty() {
            let part = rest.len().min(self.answer_len - self.arrived);
            let checked = self.expected.get(self.arrived..).unwrap_or_default();
            let checked = &checked[..checked.len().min(part)];
            if !rest.starts_with(checked) {
                return Err(wrong(rest));
            }
            rest = &rest[part..];
            self.arrived += part;
            if self.arrived == self.answer_len {
                self.arrived = 0;
                let place = (self.oldest + completed) % self.sent_at.len();
                state.latency.record(now - self.sent_at[place]);
                completed += 1;
            }
        }
        state.completed += completed as u64;
        if completed > 0 { self.ask(completed, now) } else { self.flush() }
    }
}
