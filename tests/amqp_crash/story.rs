//! Rounds: a broker on a directory, work, and a kill; then another broker on the same directory,
//! whose end may look torn. Some of them are killed while they recover, some are asked what they
//! have.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::client::Client;
use crate::ends::{End, begun};
use crate::record::{Counts, Log, QUEUES, Record, name};
use crate::support::{Server, scratch};
use crate::workers::{BOTH, Consumer, Counter, MARKS, Publisher, TARGETS, mark};
use crate::{run, said, start};

/// With more copies than this all are taken out.
const MANY: usize = 10_000;

/// Enough to know what is wrong.
const MAX_PROBLEMS: usize = 50;

pub(crate) struct Story {
    seed: u64,
    chance: Chance,
    directory: PathBuf,
    record: Record,
    round: u64,
    next_stream: u64,
    next_connection: u64,
    /// How long the last start took.
    starting: Duration,
    /// Marks that were confirmed in this life of the broker.
    marks: BTreeSet<Vec<u8>>,
    /// How the end of the log was torn before this life.
    torn: Option<String>,
    /// What is wrong and was said.
    told: Vec<String>,
}

impl Story {
    pub(crate) fn begin(seed: u64) -> Story {
        let directory = scratch("crash");
        let began = Instant::now();
        let mut server = start(&directory);
        let starting = began.elapsed();
        let mut client = Client::connect(server.address()).expect("it listens");
        for queue in QUEUES.iter().chain(&[MARKS]) {
            client.declare(queue, false).expect("it is alive");
        }
        client.fan_out(BOTH, &QUEUES[2..]).expect("it is alive");
        server.kill();
        Story {
            seed,
            chance: Chance::new(seed),
            directory,
            record: Record::default(),
            round: 0,
            next_stream: 1,
            next_connection: 1,
            starting,
            marks: BTreeSet::new(),
            torn: None,
            told: Vec::new(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.record.counts
    }

    /// Starts a broker, has it checked or not, gives it work, and kills it.
    pub(crate) fn round(&mut self) {
        self.round += 1;
        while self.chance.one_in(3) {
            self.kill_early();
        }
        let before = begun(&self.directory);
        self.marks.clear();
        let began = Instant::now();
        let mut server = start(&self.directory);
        self.starting = began.elapsed();
        match self.chance.below(3) {
            _ if self.record.len() > MANY => self.inspect(&server, true),
            0 => self.inspect(&server, true),
            1 => self.inspect(&server, false),
            _ => self.make_room(&server),
        }
        self.tell("what was found");
        let moment = match self.chance.below(4) {
            0 => self.chance.below(10_000),
            1 => self.chance.below(100_000),
            _ => self.chance.below(400_000),
        };
        let moment = Duration::from_micros(moment);
        self.live(&mut server, moment);
        self.complain(&server);
        self.tell(&format!("after {moment:?} of work, and a kill"));
        self.torn = None;
        let is_stored = |body: &[u8]| {
            self.marks.contains(body) || name(body).is_some_and(|it| self.record.is_confirmed(it))
        };
        if self.chance.one_in(2)
            && let Some(end) = End::read(&self.directory, &before, &is_stored)
        {
            self.tear(end);
        }
    }

    /// What is left of the log looks as after a power cut, not as after a kill.
    fn tear(&mut self, end: End) {
        let (how, lost) = end.tear(&mut self.chance);
        self.record.counts.torn += 1;
        self.record.counts.torn_off += lost;
        self.torn = Some(how);
        if self.chance.one_in(4) {
            self.check();
            self.tell("before the next start");
        }
    }

    /// A broker that gets no further than its recovery, if that far.
    fn kill_early(&mut self) {
        let directory = self.directory.to_str().expect("UTF-8");
        let mut child = Command::new(env!("CARGO_BIN_EXE_ropewalk"))
            .args(["amqp", "--listen", "127.0.0.1:0", "--data", directory])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary was built for this test");
        let moment = self.chance.below(self.starting.as_micros() as u64 * 5 / 4);
        thread::sleep(Duration::from_micros(moment));
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
        self.record.counts.early += 1;
    }

    /// Work, until the broker is killed.
    fn live(&mut self, server: &mut Server, moment: Duration) {
        let address = server.address();
        let counter = Arc::new(Counter::default());
        let mut calm = [true; QUEUES.len()];
        let mut workers = Vec::new();
        for _ in 0..=self.chance.below(4) {
            let stream = self.next_stream;
            self.next_stream += 1;
            let target = self.chance.index(TARGETS.len());
            let window = 1 << self.chance.below(9);
            let publisher = Publisher { stream, target, window };
            workers.push(thread::spawn(move || publisher.work(address)));
        }
        for _ in 0..=self.chance.below(5) {
            let connection = self.next_connection;
            self.next_connection += 1 << 20;
            let queue = self.chance.index(QUEUES.len());
            let prefetch = self.chance.below(100);
            let batch = match self.chance.below(2) {
                0 => 1,
                _ => 1 + self.chance.below(prefetch.clamp(1, 50)) as usize,
            };
            let is_restless = self.chance.one_in(4);
            calm[queue] &= !is_restless;
            let chance = Chance::new(self.chance.next());
            let prefetch = prefetch as u16; // below 100; 0 is no limit
            let consumer = Consumer { connection, queue, prefetch, batch, is_restless, chance };
            let counter = counter.clone();
            workers.push(thread::spawn(move || consumer.work(address, &counter)));
        }
        thread::sleep(moment);
        if !server.is_alive() {
            self.record.problems.add("the broker ended by itself");
        }
        server.kill();
        let logs = workers.into_iter().map(|worker| worker.join());
        let logs: Vec<Log> = logs.map(|log| log.expect("a worker that does not panic")).collect();
        self.marks.extend(logs.iter().flat_map(|log| log.marks.iter().cloned()));
        self.record.life(logs, calm);
    }

    fn make_room(&mut self, server: &Server) {
        let mut client = Client::connect(server.address()).expect("it listens");
        client.purge(MARKS).expect("it is there");
        client.close().expect("it is alive");
    }

    /// Holds all that the broker has against the record, and gives it back or acknowledges it.
    fn inspect(&mut self, server: &Server, empty: bool) {
        let mut client = Client::connect(server.address()).expect("it listens");
        client.purge(MARKS).expect("it is there");
        let connection = self.next_connection;
        self.next_connection += 1;
        for queue in 0..QUEUES.len() {
            let last = self.record.inspect(&mut client, connection, queue);
            if empty {
                if last > 0 {
                    client.ack(last, true).expect("it is alive");
                }
                let mark = mark(connection, client.next_tag());
                client.make_safe(MARKS, &mark).expect("it is alive");
                self.marks.insert(mark);
                self.record.emptied(queue);
            }
        }
        client.close().expect("it is alive");
    }

    /// What the broker says of its files: nothing is wrong with them.
    fn complain(&mut self, server: &Server) {
        let said = server.said();
        let bad = ["ERROR", "damaged", "cannot be read", "are lost", "left out, and kept"];
        for line in said.lines().filter(|line| bad.iter().any(|bad| line.contains(bad))) {
            self.record.problems.add(format_args!("the broker says: {line}"));
        }
    }

    /// Has its files checked: nothing is wrong with them.
    fn check(&mut self) {
        let checked = run(&["amqp", "check", self.directory.to_str().expect("UTF-8")]);
        if !checked.status.success() || said(&checked).contains("damaged") {
            let said = said(&checked);
            self.record.problems.add(format_args!("the check of its files: {said}"));
        }
    }

    /// Says what was wrong.
    fn tell(&mut self, when: &str) {
        let (seed, round) = (self.seed, self.round);
        let problems = self.record.problems.take();
        if let Some(torn) = self.torn.as_ref().filter(|_| !problems.is_empty()) {
            println!("round {round} began with a torn end: {torn}");
        }
        for problem in problems {
            let problem = format!("SEED={seed}, round {round}, {when}: {problem}");
            println!("{problem}");
            self.told.push(problem);
        }
        let (counts, directory) = (self.record.counts, self.directory.display());
        assert!(
            self.told.len() <= MAX_PROBLEMS,
            "too much is wrong: {counts}; {directory} is left"
        );
    }

    /// The last broker has what is to be there, to the octet, and then nothing.
    pub(crate) fn end(mut self) -> (Counts, Vec<String>) {
        let mut server = start(&self.directory);
        self.inspect(&server, true);
        self.complain(&server);
        server.kill();
        let mut server = start(&self.directory);
        self.inspect(&server, true);
        self.complain(&server);
        server.signal("TERM");
        if !server.wait().success() {
            self.record.problems.add("it does not end in order");
        }
        self.check();
        self.tell("at the end");
        if self.told.is_empty() {
            let _ = fs::remove_dir_all(&self.directory);
        } else {
            println!("{} is left", self.directory.display());
        }
        (self.record.counts, self.told)
    }
}
