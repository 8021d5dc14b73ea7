//! A disk that runs low, or full: who publishes waits before the last octet is written, whoever
//! consumes makes room, and nothing is lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ropewalk_amqp::codec::Method;
use ropewalk_amqp::server::{Config, Resource};
use ropewalk_amqp::store::simulation::SimulatedDisk;
use ropewalk_amqp::store::{self, Disk, File, Lock};

use crate::durable::{confirming, declare, persistent, settle, start_with, stop};
use crate::wire::*;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

const SEGMENT: u64 = 64 * KIB;

/// What shall stay free, and what all files together may have.
const LIMIT: u64 = MIB;
const CAPACITY: u64 = 3 * MIB;

/// A disk of which the free space is asked for.
struct Watched {
    disk: SimulatedDisk,
    /// How often that was.
    looks: AtomicU64,
    /// There is no answer.
    is_blind: AtomicBool,
}

impl Watched {
    fn new(seed: u64) -> Arc<Watched> {
        let disk = SimulatedDisk::new(seed);
        disk.set_capacity(CAPACITY);
        let (looks, is_blind) = Default::default();
        Arc::new(Watched { disk, looks, is_blind })
    }

    fn left(&self) -> u64 {
        self.disk.free().expect("a sound disk")
    }

    /// How often it is looked at in a minute.
    fn looks_in_a_minute(&self, world: &mut World) -> u64 {
        let before = self.looks.load(Ordering::Relaxed);
        world.simulation.run_for(Duration::from_secs(60));
        self.looks.load(Ordering::Relaxed) - before
    }
}

impl Disk for Watched {
    fn lock(&self) -> store::Result<Lock> {
        self.disk.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.disk.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.disk.create(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    fn free(&self) -> io::Result<u64> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        match self.is_blind.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::Unsupported.into()),
            false => self.disk.free(),
        }
    }
}

fn config() -> Config {
    Config::default().segment_octets(SEGMENT).disk_limit(LIMIT)
}

fn is_low(world: &World) -> bool {
    world.server.has_alarm(Resource::Disk)
}

/// Publishes messages of this size, each when the one before it has been stored, until the alarm
/// is on. Returns how many.
fn fill(world: &mut World, publisher: &mut Client, size: u64) -> u64 {
    let body = "x".repeat(size as usize);
    let mut sent = 0;
    while !is_low(world) {
        publisher.raw(world, &persistent("q", &body));
        sent += 1;
        settle(world);
        assert!(sent < 1000, "a disk that is low is noticed");
    }
    sent
}

/// The last tag that was confirmed; passes over all else.
fn confirmed(client: &mut Client) -> u64 {
    let mut last = 0;
    while let Some(seen) = client.next_now() {
        if let Seen::Method(1, "basic.ack", payload) = seen {
            let Ok(Method::BasicAck(ack)) = Method::decode(&payload) else { unreachable!() };
            last = ack.delivery_tag;
        }
    }
    last
}

#[test]
fn publishers_wait_before_the_disk_is_full_and_a_few_acknowledgements_let_them_go_on() {
    let disk = Watched::new(1);
    let (mut world, _) = start_with(disk.clone(), config());
    let mut publisher = confirming(&mut world);
    declare(&mut world, &mut publisher, "q", 0);
    let sent = fill(&mut world, &mut publisher, 20 * KIB);
    assert!(disk.left() > LIMIT - 2 * SEGMENT, "{} octets are left", disk.left());
    // One more is served, with which it is blocked, and one is not.
    publisher.raw(&mut world, &persistent("q", "second to last"));
    publisher.raw(&mut world, &persistent("q", "last"));
    settle(&mut world);
    assert_eq!(confirmed(&mut publisher), sent);
    assert!(is_low(&world));

    let mut consumer = world.open();
    consumer.consume(&mut world, "q", "c", true);
    world.simulation.run_for(Duration::from_secs(10));
    assert!(!is_low(&world));
    assert!(disk.left() > LIMIT);
    assert_eq!(confirmed(&mut publisher), sent + 2);
    let bodies = consumer.bodies(&mut world);
    assert_eq!(bodies.len() as u64, sent + 2);
    assert_eq!(bodies[sent as usize..], ["second to last", "last"]);
}

#[test]
fn a_disk_that_is_low_at_the_start_blocks_the_first_publisher() {
    let disk = Watched::new(2);
    let (mut world, _) = start_with(disk.clone(), config());
    let mut publisher = confirming(&mut world);
    declare(&mut world, &mut publisher, "q", 0);
    fill(&mut world, &mut publisher, 20 * KIB);
    stop(world);
    let (mut world, _) = start_with(disk.clone(), config());
    assert!(is_low(&world), "and nobody has waited for it");
    // Somebody else makes room.
    disk.disk.set_capacity(2 * CAPACITY);
    world.simulation.run_for(Duration::from_secs(2));
    assert!(!is_low(&world));
    // And takes it.
    disk.disk.set_capacity(disk.disk.used() + LIMIT - 1);
    world.simulation.run_for(Duration::from_secs(11));
    assert!(is_low(&world));
}

#[test]
fn the_nearer_the_limit_the_more_often_it_is_looked_at() {
    let disk = Watched::new(3);
    let (mut world, _) = start_with(disk.clone(), config());
    for (free, looks) in [(LIMIT + MIB, 600), (u64::MAX / 2, 6), (LIMIT - 1, 120)] {
        disk.disk.set_capacity(disk.disk.used() + free);
        world.simulation.run_for(Duration::from_secs(10)); // the next look
        let found = disk.looks_in_a_minute(&mut world);
        assert!((looks * 8 / 10..=looks).contains(&found), "{found} with {free} octets free");
    }
}

#[test]
fn a_limit_of_0_is_none() {
    let disk = Watched::new(4);
    let (mut world, _) = start_with(disk.clone(), config().disk_limit(0));
    world.simulation.run_for(Duration::from_secs(60));
    disk.disk.set_capacity(disk.disk.used());
    assert_eq!(disk.looks_in_a_minute(&mut world), 0);
    assert!(!is_low(&world));
}

#[test]
fn a_load_that_could_fill_the_disk_between_two_looks_is_noticed_as_it_is_stored() {
    let disk = Watched::new(8);
    disk.disk.set_capacity(64 * MIB);
    let limit = 16 * MIB;
    let config = Config::default().segment_octets(MIB).disk_limit(limit);
    let (mut world, _) = start_with(disk.clone(), config);
    let mut publisher = confirming(&mut world);
    declare(&mut world, &mut publisher, "q", 0);
    let message = persistent("q", &"x".repeat(MIB as usize));
    while !is_low(&world) {
        publisher.raw(&mut world, &message); // some milliseconds
    }
    assert!(disk.left() > limit - 2 * MIB, "{} octets are left", disk.left());
}

#[test]
fn a_system_that_does_not_tell_what_is_free_blocks_nobody_and_is_asked_again() {
    let disk = Watched::new(5);
    disk.is_blind.store(true, Ordering::Relaxed);
    let (mut world, _) = start_with(disk.clone(), config().disk_limit(2 * CAPACITY));
    assert!(disk.looks_in_a_minute(&mut world) > 0);
    assert!(!is_low(&world));
    disk.is_blind.store(false, Ordering::Relaxed);
    world.simulation.run_for(Duration::from_secs(11));
    assert!(is_low(&world));
    // Nothing new is known now.
    disk.is_blind.store(true, Ordering::Relaxed);
    world.simulation.run_for(Duration::from_secs(60));
    assert!(is_low(&world));
}

#[test]
fn an_alarm_of_the_program_around_the_server_and_one_of_the_disk_end_each_for_itself() {
    let disk = Watched::new(6);
    let (mut world, _) = start_with(disk.clone(), config());
    let set_alarm = |world: &mut World, low| {
        let server = world.server.clone();
        server.set_alarm(world.simulation.reactor(), Resource::Disk, low).expect("randomness");
    };
    set_alarm(&mut world, true);
    let mut publisher = confirming(&mut world);
    declare(&mut world, &mut publisher, "q", 0);
    publisher.raw(&mut world, &persistent("q", "one"));
    publisher.raw(&mut world, &persistent("q", "two"));
    world.simulation.run_for(Duration::from_secs(30));
    assert_eq!(confirmed(&mut publisher), 0, "there is room on the disk, but it was said");
    disk.disk.set_capacity(disk.disk.used());
    world.simulation.run_for(Duration::from_secs(11));
    set_alarm(&mut world, false);
    settle(&mut world);
    assert_eq!(confirmed(&mut publisher), 0, "it was unsaid, but there is no room");
    disk.disk.set_capacity(CAPACITY);
    world.simulation.run_for(Duration::from_secs(2));
    assert_eq!(confirmed(&mut publisher), 2);
}

#[test]
fn a_full_disk_blocks_publishers_until_there_is_room_and_loses_nothing() {
    let disk = Watched::new(7);
    let config = Config::default().disk_limit(0);
    disk.disk.set_capacity(120 * MIB);
    let (mut world, _) = start_with(disk.clone(), config);
    let mut client = confirming(&mut world);
    declare(&mut world, &mut client, "q", 0);
    settle(&mut world);
    disk.disk.set_capacity(disk.disk.used());
    let sent = fill(&mut world, &mut client, MIB);
    let mut consumer = world.open();
    consumer.consume(&mut world, "q", "c", true);
    settle(&mut world);
    world.simulation.run_for(Duration::from_secs(10));
    let mut got = 0;
    while consumer.delivery(&mut world).is_some() {
        got += 1;
    }
    assert!(got > 0, "consumers go on");
    disk.disk.set_capacity(u64::MAX);
    world.simulation.run_for(Duration::from_secs(10));
    assert!(!is_low(&world));
    client.raw(&mut world, &persistent("q", "the last"));
    settle(&mut world);
    assert_eq!(confirmed(&mut client), sent + 1, "all are confirmed in the end");
}
