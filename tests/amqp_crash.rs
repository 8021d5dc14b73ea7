//! The real broker, killed at any moment under load and started again on the same directory:
//! nothing that it confirmed is lost, nothing is invented, order and marks hold. `ROUNDS` sets how
//! often it is killed.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use ropewalk::amqp::codec::method::{basic, channel, confirm, connection, queue};
use ropewalk::amqp::codec::{
    Assembler, BasicProperties, EncodeMethod, Encoder, Frames, Method, PROTOCOL_HEADER, Secret,
    ShortStr, TableBuf,
};
use ropewalk::bytes::BytesMut;
use support::{Server, scratch};

/// Nobody waits longer for a frame.
const PATIENCE: Duration = Duration::from_secs(20);

const PUBLISHERS: u64 = 3;
const CONSUMERS: u64 = 2;
/// Messages that a publisher may have without a confirm, and a consumer unacknowledged.
const WINDOW: usize = 40;

const QUEUES: [&str; 2] = ["classic", "quorum"];

// A client that blocks.

struct Client {
    socket: TcpStream,
    received: BytesMut,
    assembler: Assembler,
    sent_tag: u64,
}

enum Told {
    Confirmed {
        tag: u64,
        multiple: bool,
    },
    Delivered {
        tag: u64,
        redelivered: bool,
        body: Vec<u8>,
    },
    /// Any other method.
    Answered(&'static str, u32),
}

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Client> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let (received, assembler) = (BytesMut::new(), Assembler::default());
        let mut client = Client { socket, received, assembler, sent_tag: 0 };
        client.socket.write_all(&PROTOCOL_HEADER)?;
        client.expect("connection.start")?;
        let start_ok = connection::StartOk {
            mechanism: ShortStr::literal("PLAIN"),
            response: Secret(b"\0guest\0guest"),
            ..Default::default()
        };
        client.call(0, &start_ok, "connection.tune")?;
        client
            .send(0, &connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 })?;
        let open = connection::Open { virtual_host: ShortStr::literal("/"), ..Default::default() };
        client.call(0, &open, "connection.open-ok")?;
        client.call(1, &channel::Open::default(), "channel.open-ok")?;
        client.call(1, &confirm::Select::default(), "confirm.select-ok")?;
        Ok(client)
    }

    fn send(&mut self, channel: u16, method: &impl EncodeMethod) -> io::Result<()> {
        let mut octets = Vec::new();
        Encoder::new().frames_to(&mut octets, 131_072).method(channel, method);
        self.socket.write_all(&octets)
    }

    fn call(&mut self, channel: u16, method: &impl EncodeMethod, answer: &str) -> io::Result<u32> {
        self.send(channel, method)?;
        self.expect(answer)
    }

    fn expect(&mut self, answer: &str) -> io::Result<u32> {
        match self.read()? {
            Told::Answered(name, count) if name == answer => Ok(count),
            Told::Answered(name, _) => panic!("expected {answer}, not {name}"),
            _ => panic!("expected {answer}"),
        }
    }

    /// Waits for what comes next. An error is the end of the server.
    fn read(&mut self) -> io::Result<Told> {
        loop {
            let mut frames = Frames::new(&mut self.received, 131_072);
            let frame = frames.next_frame().expect("the server's frames are legal");
            if let Some(frame) = frame {
                let command = self.assembler.push(frame).expect("the server's frames fit");
                let Some(command) = command else { continue };
                let body = command.content.map(|content| content.body.to_vec());
                return Ok(match command.method {
                    Method::BasicAck(ack) => {
                        Told::Confirmed { tag: ack.delivery_tag, multiple: ack.multiple }
                    }
                    Method::BasicDeliver(deliver) => Told::Delivered {
                        tag: deliver.delivery_tag,
                        redelivered: deliver.redelivered,
                        body: body.unwrap_or_default(),
                    },
                    Method::QueueDeclareOk(ok) => {
                        Told::Answered("queue.declare-ok", ok.message_count)
                    }
                    method => Told::Answered(method.name(), 0),
                });
            }
            drop(frames);
            let mut buffer = [0; 65_536];
            match self.socket.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn declare(&mut self, name: &str) -> io::Result<u32> {
        let mut arguments = TableBuf::new();
        if name == "quorum" {
            arguments = arguments.with("x-queue-type", "quorum");
        }
        let declare = queue::Declare {
            queue: ShortStr::cut(name),
            durable: true,
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.call(1, &declare, "queue.declare-ok")
    }

    /// Returns the tag that its confirm will have.
    fn publish(&mut self, queue: &str, body: &[u8]) -> io::Result<u64> {
        let publish = basic::Publish { routing_key: ShortStr::cut(queue), ..Default::default() };
        let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() };
        let properties = properties.to_vec();
        let mut octets = Vec::new();
        let mut encoder = Encoder::new();
        encoder.frames_to(&mut octets, 131_072).content_copied(1, &publish, &properties, body);
        self.socket.write_all(&octets)?;
        self.sent_tag += 1;
        Ok(self.sent_tag)
    }

    fn consume(&mut self, queue: &str, prefetch_count: u16) -> io::Result<()> {
        let qos = basic::Qos { prefetch_count, ..Default::default() };
        self.call(1, &qos, "basic.qos-ok")?;
        let queue = ShortStr::cut(queue);
        let consume = basic::Consume { queue, consumer_tag: queue, ..Default::default() };
        self.call(1, &consume, "basic.consume-ok").map(drop)
    }

    fn ack(&mut self, delivery_tag: u64, multiple: bool) -> io::Result<()> {
        self.send(1, &basic::Ack { delivery_tag, multiple })
    }

    /// Publishes one more and waits for its confirm: then all that was sent before is safe.
    fn make_safe(&mut self, queue: &str, body: &[u8]) -> io::Result<()> {
        let published = self.publish(queue, body)?;
        loop {
            if let Told::Confirmed { tag, .. } = self.read()?
                && tag >= published
            {
                return Ok(());
            }
        }
    }
}

// The record.

/// Publisher and number: a message.
type Name = (u64, u64);

#[derive(Default)]
struct Record {
    sent: BTreeSet<Name>,
    confirmed: BTreeSet<Name>,
    seen: BTreeSet<Name>,
    /// Acknowledgements that may have arrived.
    acked: BTreeSet<Name>,
}

impl Record {
    fn add(&mut self, more: Record) {
        self.sent.extend(more.sent);
        self.confirmed.extend(more.confirmed);
        self.seen.extend(more.seen);
        self.acked.extend(more.acked);
    }
}

fn body((publisher, number): Name) -> Vec<u8> {
    let mut body = format!("{publisher} {number} ").into_bytes();
    // Now and then one that is stored without being copied.
    let size = if number % 50 == 7 { 30_000 } else { 60 + number % 400 } as usize;
    body.extend((body.len()..size).map(|at| (at as u64 * 7 + number) as u8));
    body
}

fn name(found: &[u8]) -> Name {
    let text = String::from_utf8_lossy(found);
    let mut words = text.split(' ').map(|word| word.parse().ok());
    let (Some(Some(publisher)), Some(Some(number))) = (words.next(), words.next()) else {
        panic!("nobody has sent {text:?}");
    };
    assert!(found == body((publisher, number)), "message {publisher} {number} has changed");
    (publisher, number)
}

/// Publishes until the server is gone.
fn publish(address: SocketAddr, publisher: u64, queue: &str) -> Record {
    let mut record = Record::default();
    let mut open = BTreeMap::new();
    let _ = (|| -> io::Result<()> {
        let mut client = Client::connect(address)?;
        for number in 0.. {
            let name = (publisher, number);
            record.sent.insert(name);
            open.insert(client.publish(queue, &body(name))?, name);
            while open.len() >= WINDOW {
                let Told::Confirmed { tag, multiple } = client.read()? else {
                    panic!("expected a confirm")
                };
                let later = open.split_off(&(tag + 1));
                let confirmed = match multiple {
                    true => std::mem::replace(&mut open, later),
                    false => {
                        let name = open.remove(&tag);
                        open.extend(later);
                        name.map(|name| (tag, name)).into_iter().collect()
                    }
                };
                record.confirmed.extend(confirmed.into_values());
            }
        }
        Ok(())
    })();
    record
}

/// Consumes until the server is gone.
fn consume(address: SocketAddr, consumer: u64, queue: &str) -> Record {
    let mut record = Record::default();
    let _ = (|| -> io::Result<()> {
        let mut client = Client::connect(address)?;
        client.consume(queue, WINDOW as u16)?;
        let mut held = Vec::new();
        loop {
            let Told::Delivered { tag, body, .. } = client.read()? else { continue };
            held.push(name(&body));
            record.seen.insert(name(&body));
            // One by one, or many at once.
            let many = consumer % 2 == 1;
            if !many || held.len() >= WINDOW / 2 {
                record.acked.extend(held.drain(..));
                client.ack(tag, many)?;
            }
        }
    })();
    record
}

/// Takes all that a queue has, and holds it against the record.
fn check(record: &Record, client: &mut Client, queue: &str, mine: impl Fn(Name) -> bool) {
    let count = client.declare(queue).expect("it is alive");
    client.consume(queue, 0).expect("it is alive");
    let mut found = BTreeSet::new();
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    let mut newest = 0;
    for _ in 0..count {
        let told = client.read().expect("as many as it counted");
        let Told::Delivered { tag, redelivered, body } = told else { panic!("a delivery") };
        newest = tag;
        let name = name(&body);
        assert!(record.sent.contains(&name), "nobody has sent {name:?}");
        assert!(found.insert(name), "{name:?} came twice");
        assert!(redelivered || !record.seen.contains(&name), "{name:?} is not marked");
        let before = last.insert(name.0, name.1);
        assert!(before.is_none_or(|before| before < name.1), "{name:?} after {before:?}");
    }
    for &name in record.confirmed.iter().filter(|name| mine(**name)) {
        let is_there = found.contains(&name) || record.acked.contains(&name);
        assert!(is_there, "{name:?} was confirmed, and is lost");
    }
    if newest > 0 {
        client.ack(newest, true).expect("it is alive");
    }
    let cancel = basic::Cancel { consumer_tag: ShortStr::cut(queue), ..Default::default() };
    client.call(1, &cancel, "basic.cancel-ok").expect("it is alive");
}

fn start(directory: &Path) -> Server {
    let directory = directory.to_str().expect("UTF-8");
    Server::start(&["amqp", "--listen", "127.0.0.1:0", "--data", directory], 1)
}

fn run(arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ropewalk"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = |stream: Option<Box<dyn Read + Send>>| {
        let mut octets = Vec::new();
        stream.expect("it is piped").read_to_end(&mut octets).expect("a pipe");
        octets
    };
    let stderr = thread::spawn(move || read(stderr.map(|it| Box::new(it) as _)));
    let stdout = thread::spawn(move || read(stdout.map(|it| Box::new(it) as _)));
    let status = support::wait_within(&mut child, PATIENCE);
    let stdout = stdout.join().expect("a pipe");
    Output { status, stdout, stderr: stderr.join().expect("a pipe") }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// What a directory has of segments, oldest first.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).expect("it is there");
    let files = files.map(|file| file.expect("it is there").path());
    let mut files: Vec<_> =
        files.filter(|it| it.extension().is_some_and(|it| it == "log")).collect();
    files.sort();
    files
}

#[test]
fn what_was_confirmed_outlives_a_kill_at_any_moment() {
    let rounds = std::env::var("ROUNDS").ok().map_or(8, |text| text.parse().expect("a number"));
    let directory = scratch("crash");
    for round in 0..rounds {
        let mut server = start(&directory);
        let address = server.address();
        let mut client = Client::connect(address).expect("it listens");
        QUEUES.iter().for_each(|queue| drop(client.declare(queue)));
        let mut workers = Vec::new();
        for worker in 0..PUBLISHERS {
            let queue = QUEUES[worker as usize % 2];
            workers.push(thread::spawn(move || publish(address, worker, queue)));
        }
        for worker in 0..CONSUMERS {
            let queue = QUEUES[worker as usize % 2];
            workers.push(thread::spawn(move || consume(address, worker, queue)));
        }
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        thread::sleep(Duration::from_millis(30 + u64::from(clock.subsec_nanos()) / 1000 % 400));
        server.signal("KILL");
        server.wait();
        let mut record = Record::default();
        for worker in workers {
            record.add(worker.join().expect("a worker found nothing wrong"));
        }
        let confirmed = record.confirmed.len();
        println!("round {round}: {confirmed} confirmed, {} acknowledged", record.acked.len());

        let server = start(&directory);
        let mut client = Client::connect(server.address()).expect("it listens");
        for (at, queue) in QUEUES.iter().enumerate() {
            check(&record, &mut client, queue, |name| name.0 % 2 == at as u64);
        }
        // What is acknowledged now does not come back, whatever happens next.
        client.make_safe(QUEUES[0], b"the last").expect("it is alive");
        match round % 2 {
            0 => server.signal("KILL"),
            _ => server.signal("TERM"),
        }
        let mut server = server;
        server.wait();
        let server = start(&directory);
        let mut client = Client::connect(server.address()).expect("it listens");
        let counts = QUEUES.map(|queue| client.declare(queue).expect("it is alive"));
        assert_eq!(counts, [1, 0], "round {round}: what was acknowledged has come back");
        let purge = queue::Purge { queue: ShortStr::cut(QUEUES[0]), ..Default::default() };
        client.call(1, &purge, "queue.purge-ok").expect("it is alive");
        client.make_safe(QUEUES[1], b"the last").expect("it is alive");
        client
            .call(1, &queue::Purge { queue: ShortStr::cut(QUEUES[1]), ..purge }, "queue.purge-ok")
            .expect("it is alive");
        server.signal("TERM");
        let mut server = server;
        assert!(server.wait().success());
    }
    let _ = fs::remove_dir_all(directory);
}

/// A directory with some files' worth of messages in a queue, and how many.
fn filled() -> (PathBuf, u32) {
    let directory = scratch("damage");
    let mut server = start(&directory);
    let mut client = Client::connect(server.address()).expect("it listens");
    client.declare("classic").expect("it is alive");
    let count = 80;
    for number in 0..count {
        let mut body = format!("{number} ").into_bytes();
        body.resize(500_000, number as u8);
        client.make_safe("classic", &body).expect("it is alive");
    }
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(segments(&directory).len() > 2, "{:?}", segments(&directory));
    (directory, count)
}

/// Starts on a damaged directory: what is left comes in order and unchanged. Returns how many.
fn left(directory: &Path, file: &str) -> u32 {
    let server = start(directory);
    let mut client = Client::connect(server.address()).expect("it listens");
    let count = client.declare("classic").expect("it is alive");
    client.consume("classic", 0).expect("it is alive");
    let (mut left, mut last) = (0, None);
    client.socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket");
    while let Ok(Told::Delivered { body, .. }) = client.read() {
        let text = String::from_utf8_lossy(&body[..4]).into_owned();
        let number: u32 = text.split(' ').next().and_then(|it| it.parse().ok()).expect("a number");
        assert!(body[4..].iter().all(|&octet| octet == number as u8), "{number} has changed");
        assert!(last.is_none_or(|last| last < number), "{number} after {last:?}");
        (left, last) = (left + 1, Some(number));
    }
    assert!(left <= count, "{left} came of {count}");
    let said = server.said();
    assert!(said.contains(file), "it does not name {file}:\n{said}");
    left
}

#[test]
fn a_damaged_file_is_named_and_the_rest_is_served() {
    let (directory, count) = filled();
    let victim = segments(&directory)[0].clone();
    let file = victim.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
    let mut octets = fs::read(&victim).expect("it is there");
    let middle = octets.len() / 2;
    octets[middle] ^= 0x10;
    fs::write(&victim, &octets).expect("it can be written");
    let path = directory.to_str().expect("UTF-8");
    let told = said(&run(&["amqp", "check", path]));
    assert!(told.contains(&file), "{told}");
    let left = left(&directory, &file);
    assert!((count / 2..count).contains(&left), "{left} of {count} are left");
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn a_file_that_is_cut_off_is_named_and_the_rest_is_served() {
    let (directory, count) = filled();
    let victim = segments(&directory)[0].clone();
    let file = victim.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
    let opened = fs::OpenOptions::new().write(true).open(&victim).expect("it is there");
    let length = opened.metadata().expect("it is there").len();
    opened.set_len(length / 2).expect("it can be cut");
    let path = directory.to_str().expect("UTF-8");
    let told = said(&run(&["amqp", "check", path]));
    assert!(told.contains(&file), "{told}");
    let left = left(&directory, &file);
    assert!((count / 2..count).contains(&left), "{left} of {count} are left");
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn a_second_broker_on_the_same_directory_is_refused() {
    let directory = scratch("twice");
    let _first = start(&directory);
    let path = directory.to_str().expect("UTF-8");
    let second = run(&["amqp", "--listen", "127.0.0.1:0", "--data", path]);
    assert!(!second.status.success());
    assert!(said(&second).contains("is in use by another process"), "{}", said(&second));
    let _ = fs::remove_dir_all(directory);
}

/// CRC-32C, bit by bit.
fn crc32c<'a>(octets: impl Iterator<Item = &'a u8>) -> u32 {
    !octets.fold(!0, |sum, &octet| {
        (0..8).fold(sum ^ u32::from(octet), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[test]
fn a_directory_of_a_newer_version_is_refused_by_the_name_of_its_file() {
    let directory = scratch("newer");
    let mut server = start(&directory);
    server.signal("TERM");
    assert!(server.wait().success());
    // The newest that was begun: one more is prepared.
    let mut begun = segments(&directory);
    begun.retain(|file| fs::read(file).is_ok_and(|octets| octets.starts_with(b"ROPEWALK")));
    let newest = begun.last().expect("a segment");
    let mut octets = fs::read(newest).expect("it is there");
    octets[8] += 1; // the version follows eight octets of what kind of file it is
    let checksum = crc32c(octets[..12].iter().chain(&octets[16..64]));
    octets[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(newest, octets).expect("it can be written");
    let path = directory.to_str().expect("UTF-8");
    let refused = run(&["amqp", "--listen", "127.0.0.1:0", "--data", path]);
    let said = said(&refused);
    assert!(!refused.status.success(), "{said}");
    let file = newest.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    assert!(said.contains("newer version") && said.contains(file), "{said}");
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn the_definitions_of_a_directory_can_be_imported_again() {
    let (one, other) = (scratch("definitions"), scratch("definitions"));
    let given = support::root().join("protocols/amqp/tests/data/rabbitmq-3.10-definitions.json");
    let mut printed = Vec::new();
    let mut import = given;
    for directory in [&one, &other] {
        let path = directory.to_str().expect("UTF-8");
        let import_path = import.to_str().expect("UTF-8");
        let data = ["amqp", "--listen", "127.0.0.1:0", "--data", path];
        let mut server = Server::start(&[&data[..], &["--definitions", import_path]].concat(), 1);
        server.signal("TERM");
        assert!(server.wait().success());
        let output = run(&["amqp", "definitions", path]);
        assert!(output.status.success(), "{}", said(&output));
        printed.push(String::from_utf8(output.stdout).expect("UTF-8"));
        import = one.join("printed.json");
        fs::write(&import, &printed[0]).expect("it can be written");
    }
    assert!(printed[0].contains("\"queues\"") && printed[0].len() > 1000, "{}", printed[0]);
    assert_eq!(printed[0], printed[1]);
    let _ = fs::remove_dir_all(one);
    let _ = fs::remove_dir_all(other);
}
