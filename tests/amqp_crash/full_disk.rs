//! The real broker on a real disk that is too small for its load: publishers are blocked, consumers
//! go on and make room, publishing resumes; and a broker that is killed meanwhile has all that it
//! confirmed. Once with a limit, before which the disk is never full, and once really full.
//!
//! It needs the directory of a small file system, of 128 MiB or so, in `SMALL_DISK`:
//! `tests/debian/full-disk` makes one.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use crate::client::{Client, Told};
use crate::record::{Delivery, Event, Log, QUEUES, Record, name};
use crate::support::Server;
use crate::workers::{BOTH, MARKS, Publisher, TARGETS};
use crate::{run, said};

/// How the disk runs out.
struct Way {
    /// In bytes.
    limit: u64,
    /// What the log says when publishers are blocked, and when they go on.
    begins: &'static str,
    ends: &'static str,
}

const LOW: Way = Way { limit: 40_000_000, begins: "disk alarm: ", ends: "disk alarm ends: " };
const FULL: Way = Way { limit: 0, begins: "the disk is full", ends: "the disk has room again" };

#[test]
#[ignore = "needs a small file system: tests/debian/full-disk"]
fn on_a_disk_that_runs_low_publishers_wait_and_nothing_confirmed_is_lost() {
    Story::begin(&LOW).tell();
}

#[test]
#[ignore = "needs a small file system: tests/debian/full-disk"]
fn on_a_disk_that_is_full_publishers_wait_and_nothing_confirmed_is_lost() {
    Story::begin(&FULL).tell();
}

struct Story {
    way: &'static Way,
    directory: PathBuf,
    record: Record,
    next_stream: u64,
    next_connection: u64,
}

type Worker = JoinHandle<Log>;

impl Story {
    fn begin(way: &'static Way) -> Story {
        let disk = std::env::var("SMALL_DISK").expect("set by tests/debian/full-disk");
        let directory = Path::new(&disk).join("data");
        let _ = fs::remove_dir_all(&directory); // of a story that came to a bad end
        let story =
            Story { way, directory, record: Record::default(), next_stream: 1, next_connection: 1 };
        let server = story.start();
        let mut client = Client::connect(server.address()).expect("it listens");
        for queue in QUEUES.iter().chain(&[MARKS]) {
            client.declare(queue, false).expect("it is alive");
        }
        client.fan_out(BOTH, &QUEUES[2..]).expect("it is alive");
        story
    }

    fn start(&self) -> Server {
        let (directory, limit) = (text(&self.directory), self.way.limit.to_string());
        let options = ["--listen", "127.0.0.1:0", "--data", directory, "--disk-limit", &limit];
        Server::start(&[&["amqp"], &options[..]].concat(), 1)
    }

    fn tell(mut self) {
        // Nobody consumes.
        let mut server = self.start();
        let publishers = self.publish(server.address());
        self.is_blocked(&server);
        let some = self.consume_some(server.address());
        server.kill();
        self.died(publishers, some);
        let confirmed = self.record.counts.confirmed;
        assert!(confirmed > 10_000, "there was no load: {}", self.record.counts);

        // What was confirmed is there, on a disk that has no more room now than before.
        let mut server = self.start();
        self.inspect(&server, false);
        server.kill();

        // Consumers make room, and publishers take it.
        let mut server = self.start();
        let publishers = self.publish(server.address());
        let mut witness = self.is_blocked(&server);
        let consumers = self.consume(server.address());
        // Its message was stored, and this is its confirm.
        while !matches!(witness.read().expect("room is made"), Told::Confirmed { .. }) {}
        self.complain(&server.said_until(self.way.ends));
        self.complain(&server.said_until(self.way.begins));
        server.kill();
        self.died(publishers, consumers);
        assert!(self.record.counts.confirmed > confirmed, "publishing has not resumed");

        let mut server = self.start();
        self.inspect(&server, true);
        server.kill();
        let mut server = self.start();
        self.inspect(&server, true);
        server.signal("TERM");
        assert!(server.wait().success());
        self.complain(&server.said());
        let checked = run(&["amqp", "check", text(&self.directory)]);
        assert!(checked.status.success() && !said(&checked).contains("damaged"), "{checked:?}");
        println!("{}", self.record.counts);
        fs::remove_dir_all(&self.directory).expect("it is ours");
    }

    /// Publishers without limit, one for each kind of queue.
    fn publish(&mut self, address: SocketAddr) -> Vec<Worker> {
        let publishers = (0..TARGETS.len()).map(|target| {
            let stream = self.next_stream;
            self.next_stream += 1;
            let publisher = Publisher { stream, target, window: 100 << target };
            thread::spawn(move || publisher.work(address))
        });
        publishers.collect()
    }

    /// Waits until publishers are blocked; a client that has just been told so.
    fn is_blocked(&self, server: &Server) -> Client {
        self.complain(&server.said_until(self.way.begins));
        // The broker takes room by 16 MiB, and writes some more until it looks.
        let (free, least) = (free(&self.directory), self.way.limit.saturating_sub(20 << 20));
        assert!(free >= least, "{free} bytes are free");
        let mut witness = Client::informed(server.address()).expect("it listens");
        witness.publish("", MARKS, b"a mark").expect("it is alive");
        let told = witness.read().expect("it is alive");
        assert!(matches!(told, Told::Answered("connection.blocked", _)));
        witness
    }

    /// While publishers are blocked: a consumer gets and acknowledges what there is.
    fn consume_some(&mut self, address: SocketAddr) -> Vec<Worker> {
        const SOME: usize = 1000;
        let log = self.consumer(0, address).work(SOME);
        assert_eq!(log.events.len(), 2 * SOME, "consumers do not go on");
        vec![thread::spawn(|| log)]
    }

    /// Consumers that take a half or so of each queue.
    fn consume(&mut self, address: SocketAddr) -> Vec<Worker> {
        let consumers = (0..QUEUES.len()).map(|queue| {
            let consumer = self.consumer(queue, address);
            thread::spawn(move || consumer.work(15_000))
        });
        consumers.collect()
    }

    fn consumer(&mut self, queue: usize, address: SocketAddr) -> Consumer {
        self.next_connection += 1;
        let mut client = Client::connect(address).expect("it listens");
        client.consume(QUEUES[queue], 500).expect("it is alive");
        Consumer { client, connection: self.next_connection, queue }
    }

    /// The broker is dead; this is what its clients saw.
    fn died(&mut self, publishers: Vec<Worker>, consumers: Vec<Worker>) {
        let workers = publishers.into_iter().chain(consumers);
        let logs = workers.map(|worker| worker.join().expect("a worker that does not panic"));
        self.record.life(logs.collect(), [true; QUEUES.len()]);
        self.is_content();
    }

    /// Holds all that the broker has against the record; acknowledges it if the queues shall be
    /// empty.
    fn inspect(&mut self, server: &Server, empty: bool) {
        let mut client = Client::connect(server.address()).expect("it listens");
        self.next_connection += 1;
        let connection = self.next_connection;
        for queue in 0..QUEUES.len() {
            let last = self.record.inspect(&mut client, connection, queue);
            if empty && last > 0 {
                client.ack(last, true).expect("it is alive");
            }
        }
        client.close().expect("it is alive");
        if empty {
            // By another connection: this one may have to wait for the room that was made.
            let mut client = Client::connect(server.address()).expect("it listens");
            client.make_safe(MARKS, b"a mark").expect("there is room again");
            (0..QUEUES.len()).for_each(|queue| self.record.emptied(queue));
        }
        self.is_content();
    }

    /// What the broker says of its files: nothing is wrong with them; and with a limit, the disk is
    /// never full.
    fn complain(&self, said: &str) {
        for bad in ["ERROR", "damaged", "cannot be read", "are lost", "left out, and kept"] {
            assert!(!said.contains(bad), "{said}");
        }
        assert!(self.way.limit == 0 || !said.contains(FULL.begins), "{said}");
    }

    fn is_content(&mut self) {
        let (problems, counts) = (self.record.problems.take(), self.record.counts);
        assert!(problems.is_empty(), "{counts}\n{}", problems.join("\n"));
    }
}

/// Takes and acknowledges. It does not publish: a connection that does is not read when it is
/// blocked, and so makes no room.
struct Consumer {
    client: Client,
    connection: u64,
    queue: usize,
}

impl Consumer {
    /// Works until it had so many, or the broker is gone.
    fn work(mut self, count: usize) -> Log {
        const BATCH: usize = 100;
        let (connection, queue) = (self.connection, self.queue);
        let (mut events, mut held) = (Vec::new(), Vec::new());
        let mut note = |event| events.push((events.len() as u64, event));
        for _ in 0..count {
            let Ok(told) = self.client.read() else { break };
            let Told::Delivered { tag, redelivered, body } = told else {
                panic!("expected a delivery")
            };
            let name = name(&body);
            note(Event::Delivered(Delivery { connection, queue, name, redelivered }));
            held.extend(name);
            if held.len() == BATCH {
                held.drain(..).for_each(|name| note(Event::Acknowledged(queue, name)));
                if self.client.ack(tag, true).is_err() {
                    break;
                }
            }
        }
        Log { events, ..Log::default() }
    }
}

/// What is free on the disk of a directory, in bytes.
fn free(directory: &Path) -> u64 {
    let output = Command::new("df").args(["-B1", "--output=avail", text(directory)]).output();
    let output = output.expect("df is everywhere").stdout;
    let output = String::from_utf8_lossy(&output);
    output.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("a number of bytes")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
