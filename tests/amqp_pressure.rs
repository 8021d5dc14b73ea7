//! Back-pressure of the real binary, where the kernel's buffers have a say: who publishes without
//! limit is held to the memory limit, and who does not read costs no memory to speak of.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use ropewalk::amqp::codec::method::{basic, channel, connection, queue};
use ropewalk::amqp::codec::{
    EncodeMethod, Encoder, FrameKind, Frames, Method, PROTOCOL_HEADER, Secret, ShortStr, TableBuf,
};
use ropewalk::bytes::BytesMut;
use support::{PATIENCE, Server, lines, python, root, wait};

const Q: ShortStr<'static> = ShortStr::literal("q");

const MIB: u64 = 1 << 20;

/// What the process may take beside its messages: its code, the connections' buffers, and what
/// the allocator does not give back.
const OVERHEAD: u64 = 32 * MIB;

/// What a client has seen.
#[derive(Debug, PartialEq)]
enum Seen {
    Method(&'static str),
    Body(Vec<u8>),
    /// Ready messages, as `queue.declare-ok` has it.
    Ready(u32),
}

/// A client that writes frames by hand and reads in a thread of its own, if it reads.
struct Client {
    stream: TcpStream,
}

impl Client {
    /// Opens a connection and channel 1, and declares `q`. The answers wait to be read.
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
        let mut client = Self { stream };
        let capabilities = TableBuf::new().with("connection.blocked", true);
        let properties = TableBuf::new().with("capabilities", &capabilities);
        let start_ok = connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: ShortStr::literal("PLAIN"),
            response: Secret(b"\0guest\0guest"),
            ..Default::default()
        };
        let tune_ok = connection::TuneOk { channel_max: 9, frame_max: 131_072, heartbeat: 0 };
        client.stream.write_all(&PROTOCOL_HEADER).expect("it is open");
        client.send(0, &start_ok);
        client.send(0, &tune_ok);
        client.send(0, &connection::Open::default());
        client.send(1, &channel::Open::default());
        client.send(1, &queue::Declare { queue: Q, ..Default::default() });
        client
    }

    fn send(&mut self, channel: u16, method: &impl EncodeMethod) {
        let mut octets = Vec::new();
        Encoder::new().frames_to(&mut octets, 0).method(channel, method);
        self.stream.write_all(&octets).expect("it is open");
    }

    fn publish(&mut self, body: &[u8]) {
        let publish = basic::Publish { routing_key: Q, ..Default::default() };
        let mut octets = Vec::new();
        Encoder::new().frames_to(&mut octets, 131_072).content_copied(1, &publish, b"\0\0", body);
        self.stream.write_all(&octets).expect("the server takes it in the end");
    }

    /// What it sees after the answer to its declaration.
    fn read(&self) -> Receiver<Seen> {
        let (sender, receiver) = mpsc::channel();
        let mut stream = self.stream.try_clone().expect("a second handle");
        thread::spawn(move || {
            let (mut data, mut chunk) = (BytesMut::new(), vec![0; 65_536]);
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                data.extend_from_slice(&chunk[..count]);
                let mut frames = Frames::new(&mut data, 0);
                while let Some(frame) = frames.next_frame().expect("legal frames") {
                    let seen = match frame.kind {
                        FrameKind::Method => {
                            match Method::decode(&frame.payload).expect("a legal method") {
                                Method::QueueDeclareOk(ok) => Seen::Ready(ok.message_count),
                                method => Seen::Method(method.name()),
                            }
                        }
                        FrameKind::Body => Seen::Body(frame.payload.to_vec()),
                        _ => continue,
                    };
                    if sender.send(seen).is_err() {
                        return;
                    }
                }
            }
        });
        while !matches!(receiver.recv_timeout(PATIENCE).expect("answers"), Seen::Ready(_)) {}
        receiver
    }
}

/// Waits until a client has seen this, and passes over what it sees before.
fn await_method(seen: &Receiver<Seen>, name: &'static str) {
    while seen.recv_timeout(PATIENCE).expect(name) != Seen::Method(name) {}
}

fn ready(client: &mut Client, seen: &Receiver<Seen>) -> u32 {
    client.send(1, &queue::Declare { queue: Q, passive: true, ..Default::default() });
    loop {
        if let Seen::Ready(count) = seen.recv_timeout(PATIENCE).expect("an answer") {
            return count;
        }
    }
}

fn body(number: usize) -> Vec<u8> {
    let mut body = format!("{number:06}").into_bytes();
    body.resize(1000, b'.');
    body
}

fn start(memory_limit: &str) -> Server {
    // With a store a long queue would wait there, and need no memory.
    let limit = ["--memory", "--memory-limit", memory_limit];
    Server::start(&[&["amqp", "--listen", "127.0.0.1:0"], &limit[..]].concat(), 1)
}

#[test]
fn a_publisher_without_limit_is_held_to_the_memory_limit_and_loses_nothing() {
    const COUNT: usize = 150_000;
    let server = start("16MiB");
    let mut publisher = Client::open(server.address());
    let told = publisher.read();
    let publishing = thread::spawn(move || {
        (0..COUNT).for_each(|number| publisher.publish(&body(number)));
        publisher // its connection stays open
    });
    await_method(&told, "connection.blocked");
    assert!(!publishing.is_finished(), "the kernel's buffers do not hold so much");

    let mut consumer = Client::open(server.address());
    consumer.send(1, &basic::Consume { queue: Q, no_ack: true, ..Default::default() });
    let mut next = 0;
    for seen in consumer.read() {
        if let Seen::Body(found) = seen {
            assert!(found == body(next), "message {next}");
            next += 1;
            if next == COUNT {
                break;
            }
        }
    }
    assert_eq!(next, COUNT);
    publishing.join().expect("all was taken");
    await_method(&told, "connection.unblocked");
    if let Some(peak) = server.peak_memory() {
        assert!(peak < 2 * 16 * MIB + OVERHEAD, "{peak} bytes");
    }
    let said = server.said();
    let (begun, ended) = (said.matches("memory alarm:"), said.matches("memory alarm ends"));
    let (begun, ended) = (begun.count(), ended.count());
    assert!(begun > 0 && begun == ended, "{begun} begun, {ended} ended:\n{said}");
}

#[test]
fn a_consumer_that_does_not_read_costs_bounded_memory_and_its_acknowledgements_count() {
    const LARGE: usize = 100_000;
    let server = start("2MiB");
    // Nothing that comes after the answers to this is read by it, ever.
    let mut deaf = Client::open(server.address());
    deaf.send(1, &basic::Consume { queue: Q, ..Default::default() });
    let mut publisher = Client::open(server.address());
    let told = publisher.read();
    let publishing = thread::spawn(move || {
        (0..300).for_each(|_| publisher.publish(&[b'x'; LARGE]));
        publisher
    });
    // What lies in its hands is still held: only its acknowledgements make room.
    await_method(&told, "connection.blocked");
    deaf.send(1, &basic::Ack { delivery_tag: 0, multiple: true });
    await_method(&told, "connection.unblocked");
    // Others are undisturbed, and get what it has not been given.
    let mut other = Client::open(server.address());
    let seen = other.read();
    other.send(1, &basic::Consume { queue: Q, no_ack: true, ..Default::default() });
    deaf.stream.shutdown(std::net::Shutdown::Both).expect("it is open");
    let publisher = publishing.join().expect("all was taken");
    while ready(&mut other, &seen) > 0 {}
    drop(publisher);
    if let Some(peak) = server.peak_memory() {
        assert!(peak < 2 * 2 * MIB + OVERHEAD, "{peak} bytes");
    }
}

#[test]
fn a_backlog_waits_in_the_queue_and_not_for_a_connection_that_does_not_read() {
    const COUNT: u32 = 100_000;
    let server = start("none");
    let mut deaf = Client::open(server.address());
    deaf.send(1, &basic::Consume { queue: Q, no_ack: true, ..Default::default() });
    let mut publisher = Client::open(server.address());
    let seen = publisher.read();
    (0..COUNT as usize).for_each(|number| publisher.publish(&body(number)));
    let waiting = ready(&mut publisher, &seen);
    // The kernel holds some megabytes for it, the server half a one.
    assert!(waiting > COUNT / 2, "{waiting} of {COUNT}");
}

#[test]
fn pika_is_told_that_it_is_blocked_and_when_it_may_go_on() {
    let server = start("256KiB");
    let program = |arguments: &[&str]| {
        let mut child = Command::new(python())
            .arg(root().join("tests/python/blocked.py"))
            .args(arguments)
            .env("AMQP_PORT", server.address().port().to_string())
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter was just made");
        let said = lines(child.stdout.take().expect("it is piped"));
        (child, said)
    };
    let (mut publisher, told) = program(&["publish", "50", "8192"]);
    let line = told.recv_timeout(PATIENCE);
    assert_eq!(line.as_deref(), Ok("blocked: low on memory"));
    let (mut consumer, said) = program(&["consume", "50"]);
    let line = said.recv_timeout(PATIENCE);
    assert_eq!(line.as_deref(), Ok("consumed 50"));
    let line = told.recv_timeout(PATIENCE);
    assert_eq!(line.as_deref(), Ok("unblocked"));
    assert!(wait(&mut consumer).success());
    assert!(wait(&mut publisher).success());
}
