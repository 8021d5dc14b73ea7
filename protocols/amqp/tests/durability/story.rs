//! One story: a server on a disk, clients that come and go, and the end of the machine, again and
//! again.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_amqp::server::{Config, Server};
use ropewalk_reactor::Simulation;
use ropewalk_store::Finding;
use ropewalk_store::simulation::SimulatedDisk;

use super::chance::Chance;
use super::client::{COMMITTED, CONFIRMED, Client};
use super::layout::{DEAD, QUEUES};
use super::names::Names;
use super::record::{Counts, Record};

const HERE: &str = "127.0.0.1:5672";

/// Octets of a segment: a life fills some.
const SEGMENT: u64 = 8 << 10;

/// Queues that anybody declares, and queues that are declared and deleted.
const COMMON: [&str; 2] = ["common-1", "common-2"];
const EXTRA: [&str; 2] = ["extra-1", "extra-2"];

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The power fails between two steps.
    Crash,
    /// The power fails within whatever is being done to the disk.
    Cut,
    /// A sync fails, and then the power.
    FailedSync,
    FailedWrite,
    /// The program is killed.
    Kill,
    /// The server is stopped in order.
    Stop,
}

const ENDS: [End; 6] =
    [End::Crash, End::Cut, End::FailedSync, End::FailedWrite, End::Kill, End::Stop];

pub(crate) struct Story {
    chance: Chance,
    disk: SimulatedDisk,
    record: Record,
    names: Names,
    next_client: u64,
    /// Virtual time between two things that clients do, at most, in microseconds.
    pace: u64,
    config: Config,
}

/// A server's life.
struct Life {
    simulation: Simulation,
    server: Server,
    clients: Vec<Client>,
    is_over: Rc<Cell<bool>>,
}

impl Story {
    pub(crate) fn new(seed: u64, traces: bool) -> Story {
        let mut chance = Chance::new(seed);
        let mut broker = ropewalk_broker::Config::default();
        broker.page_messages = 1 << (1 + chance.below(6));
        broker.page_bytes = 256 << chance.below(6);
        broker.lease = 1 << chance.below(6);
        broker.max_lease = broker.lease << chance.below(4);
        let config = Config::default().broker(broker).segment_octets(SEGMENT).disk_limit(SEGMENT);
        let mut record = Record::default();
        record.traces = traces;
        Story {
            disk: SimulatedDisk::new(chance.next()),
            record,
            names: Names::default(),
            next_client: 1,
            pace: 1 << (6 + chance.below(10)),
            config,
            chance,
        }
    }

    /// Tells it to its end.
    pub(crate) fn tell(&mut self) -> Counts {
        let lives = 2 + self.chance.below(4);
        for _ in 0..lives {
            let Some(mut life) = self.begin() else { continue };
            if self.chance.one_in(3) {
                self.inspect(&mut life);
            }
            self.live(life);
        }
        let mut life = loop {
            match self.begin() {
                Some(life) => break life,
                None => continue,
            }
        };
        if self.chance.one_in(2) {
            // Without an end in between: also what is transient must be there.
            self.lay_out(&mut life);
            let is_alive = self.act(&mut life, None);
            assert!(is_alive, "the server failed: {:?}", life.server.failure());
            self.expect_answers(&mut life);
        }
        self.inspect(&mut life);
        self.record.counts
    }

    /// Starts a server; `None` if the power failed meanwhile.
    fn begin(&mut self) -> Option<Life> {
        let seed = self.chance.next();
        let mut simulation = Simulation::new(seed);
        simulation.capacity(256 << self.chance.below(9));
        let server = Server::new(self.config.clone());
        let is_cut = self.chance.one_in(12);
        if is_cut {
            self.disk.cut_power_after(self.chance.below(12));
        }
        let opened = server.start_with_store(simulation.reactor(), Arc::new(self.disk.clone()));
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                assert!(is_cut, "the store does not open: {error}");
                self.disk.crash();
                self.record.note(|| "the power failed at the start".to_owned());
                return None;
            }
        };
        assert!(opened.left_out.is_empty(), "{:?}", opened.left_out);
        for finding in &opened.report.findings {
            let is_torn = matches!(finding, Finding::Torn { .. });
            assert!(is_torn, "a crash has damaged what was whole: {finding}");
        }
        let found = server.with_broker(|broker| broker.export_definitions().0);
        self.names.check(&found.expect("it has started"));
        simulation.reactor().listen(HERE, server.clone()).expect("a free address");
        let is_over = Rc::new(Cell::new(false));
        let over = is_over.clone();
        simulation.reactor().after_shutdown(move |_| over.set(true));
        self.record.note(|| "a server starts".to_owned());
        let mut life = Life { simulation, server, clients: Vec::new(), is_over };
        if is_cut {
            // It has not happened yet: it does now.
            let settled = life.simulation.run_until(|_| life.is_over.get());
            if !settled {
                self.disk.crash();
            } else {
                assert!(life.server.failure().is_some());
                self.disk.crash();
            }
            return None;
        }
        Some(life)
    }

    fn connect(&mut self, life: &mut Life) {
        let peer = life.simulation.dial(HERE).expect("a good address");
        life.clients.push(Client::open(self.next_client, peer));
        self.next_client += 1;
    }

    /// Lets time pass, and has everybody read.
    fn pass(&mut self, life: &mut Life, time: Duration) {
        life.simulation.run_for(time);
        for client in &mut life.clients {
            client.read(&mut self.record, &mut self.names);
            let was_lost = client.is_ended && !client.may_end && life.server.failure().is_none();
            assert!(!was_lost, "client {} was disconnected", client.id);
        }
    }

    fn lay_out(&mut self, life: &mut Life) {
        self.connect(life);
        life.clients[0].lay_out();
        let mut waited = 0;
        while !life.clients[0].is_content() && life.server.failure().is_none() {
            self.pass(life, Duration::from_millis(100));
            waited += 1;
            assert!(waited < 10_000, "declaring never ends: {}", life.clients[0].wants());
        }
    }

    /// A life, and its end.
    fn live(&mut self, mut life: Life) {
        let end = ENDS[self.chance.index(ENDS.len())];
        self.record.note(|| format!("it will end with {end:?}"));
        self.lay_out(&mut life);
        let is_alive = self.act(&mut life, Some(end));
        let mut in_order = false;
        if !is_alive {
            assert!(matches!(end, End::Cut | End::FailedSync | End::FailedWrite));
            let ended = life.simulation.run_until(|_| life.is_over.get());
            assert!(ended, "the server has failed, and goes on");
            self.pass(&mut life, Duration::from_secs(1));
            self.disk.crash();
        } else if end == End::Stop {
            in_order = self.stop(&mut life);
            match self.chance.one_in(2) {
                true => self.disk.crash(),
                false => self.disk.kill(),
            }
        } else if end == End::Kill {
            self.disk.kill();
        } else {
            self.disk.crash();
        }
        self.record.counts.ends[end as usize] += 1;
        self.record.life_ended(in_order);
        self.names.life_ended();
        drop(life);
    }

    /// Stops the server in order; false if it had to hurry, and left the store as it was.
    fn stop(&mut self, life: &mut Life) -> bool {
        for client in &mut life.clients {
            client.may_end = true;
        }
        life.simulation.reactor().stop();
        let ended = life.simulation.run_until(|_| life.is_over.get());
        assert!(ended, "it does not stop");
        for _ in 0..100 {
            self.pass(life, Duration::from_secs(1));
        }
        // Not all that was on its way has come to one who is slow.
        let (clients, record) = (life.clients.drain(..), &mut self.record);
        let slow: Vec<Client> = clients.filter(|client| client.missed_the_end()).collect();
        let hurried = !slow.is_empty();
        slow.into_iter().for_each(|client| client.vanish(record, &mut self.names));
        let found = ropewalk_store::inspect(&self.disk).expect("the disk works");
        assert!(hurried || found.report.closed, "the store was not closed");
        found.report.closed
    }

    /// Clients do as they like. False if the server has failed.
    fn act(&mut self, life: &mut Life, end: Option<End>) -> bool {
        let steps = 10 + self.chance.below(120);
        let armed = self.chance.below(steps);
        // For a while the disk takes no more.
        let full = self.chance.below(4 * steps);
        let full = full..full + 5 + self.chance.below(40);
        for step in 0..steps {
            if step == full.start {
                let room = self.chance.below(2 * SEGMENT);
                self.disk.set_capacity(self.disk.used() + room);
                self.record.note(|| format!("the disk has room for {room} octets"));
            } else if step == full.end {
                self.disk.set_capacity(u64::MAX);
                self.record.note(|| "the disk has room again".to_owned());
            }
            if step == armed {
                match end {
                    Some(End::Cut) => self.disk.cut_power_after(self.chance.below(30)),
                    Some(End::FailedSync) => self.disk.fail_syncs(1),
                    Some(End::FailedWrite) => self.disk.fail_writes(1),
                    _ => {}
                }
            }
            if life.clients.is_empty() || (life.clients.len() < 5 && self.chance.one_in(8)) {
                self.connect(life);
            }
            for _ in 0..=self.chance.below(4) {
                self.do_something(life);
            }
            let time = Duration::from_micros(self.chance.below(self.pace));
            self.pass(life, time);
            if life.server.failure().is_some() {
                self.disk.set_capacity(u64::MAX);
                return false;
            }
        }
        self.disk.set_capacity(u64::MAX);
        true
    }

    fn do_something(&mut self, life: &mut Life) {
        if life.clients.is_empty() {
            return;
        }
        let Story { chance, record, names, .. } = self;
        let at = chance.index(life.clients.len());
        let client = &mut life.clients[at];
        let queue = chance.index(QUEUES.len());
        let size = match chance.below(12) {
            0 => 5000,
            1 => 1000,
            _ => chance.below(200) as usize,
        };
        // Nobody publishes to the dead but their queues.
        let to = (queue != DEAD).then_some(queue);
        let held = client.held(CONFIRMED);
        let tag = held.get(chance.index(held.len())).copied();
        match (chance.below(26), tag) {
            (0..=5, _) => {
                for _ in 0..=chance.below(6) {
                    let persistent = !chance.one_in(5);
                    client.publish(record, to, persistent, size);
                }
            }
            (6, _) => client.publish_later(record, to, size),
            (7, _) => match client.held(COMMITTED).first() {
                Some(&tag) => client.ack_later(record, tag),
                None => client.get(COMMITTED, to.unwrap_or(0)),
            },
            (8, _) => match chance.one_in(4) {
                true => client.roll_back(),
                false => client.commit(record),
            },
            (9..=11, _) if !client.consuming.contains(&queue) => client.consume(queue),
            (9..=11, _) => client.qos(1 + chance.below(8) as u16),
            (12, _) if client.consuming.contains(&queue) => client.cancel(queue),
            (12 | 13, _) => client.get(CONFIRMED, queue),
            (14..=17, Some(tag)) => client.ack(record, tag, chance.one_in(2)),
            (18, Some(tag)) => client.nack(record, tag, chance.one_in(3), false),
            (19 | 20, Some(tag)) => client.nack(record, tag, chance.one_in(3), true),
            (21, _) => client.qos(1 + chance.below(8) as u16),
            (22, _) => client.declare_common(COMMON[chance.index(COMMON.len())]),
            (23, _) => {
                client.change(names, EXTRA[chance.index(EXTRA.len())], chance.one_in(2));
            }
            (24, _) if chance.one_in(6) => client.purge(record, queue),
            (25, _) if chance.one_in(3) => {
                let client = life.clients.swap_remove(at);
                client.vanish(record, names);
            }
            _ => {}
        }
    }

    /// All that was asked for is answered, once there is time.
    fn expect_answers(&mut self, life: &mut Life) {
        for _ in 0..600 {
            if life.clients.iter().all(Client::is_content) {
                return;
            }
            self.pass(life, Duration::from_secs(1));
        }
        for client in &life.clients {
            assert!(client.is_content(), "client {} waits for {}", client.id, client.wants());
        }
    }

    /// Sends everybody away, and sees what is there.
    fn inspect(&mut self, life: &mut Life) {
        for client in life.clients.drain(..) {
            client.vanish(&mut self.record, &mut self.names);
        }
        life.simulation.run_for(Duration::from_secs(5));
        self.lay_out(life); // a queue may never have been there
        let inspector = &mut life.clients[0];
        for queue in 0..QUEUES.len() {
            inspector.count(queue);
        }
        for queue in 0..QUEUES.len() {
            inspector.consume(queue);
        }
        self.record.note(|| "an inspection".to_owned());
        let mut before = 0;
        loop {
            self.pass(life, Duration::from_secs(30));
            let inspector = &life.clients[0];
            let found = inspector.found.iter().map(Vec::len).sum();
            if found == before && inspector.is_content() {
                break;
            }
            before = found;
        }
        let inspector = &life.clients[0];
        for (&queue, &counted) in &inspector.counted {
            // Others change while they are looked at.
            if !matches!(QUEUES[queue].name, "brief" | "dead") {
                let found = inspector.found[queue].len();
                assert_eq!(counted as usize, found, "{} counts wrong", QUEUES[queue].name);
            }
        }
        self.record.inspected(&inspector.found);
        for client in life.clients.drain(..) {
            client.vanish(&mut self.record, &mut self.names);
        }
    }
}
