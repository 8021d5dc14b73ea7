//! Thousands of stories in which everything fails, one a seed: clients hand numbered messages to a
//! server, over TCP, TLS, Unix sockets, UDP and Unix datagrams, while lines are cut, slow, thin and
//! lossy, machines crash, are killed, stall and run out of descriptors, clocks go wrong, and callbacks
//! fail and panic. Each message is taken exactly once and in order; and when the faults are over,
//! everything gets through, and nothing is left behind.
//!
//! `ROPEWALK_SEEDS=1000000` runs more of them, `ROPEWALK_SEED=n` replays one.

#[path = "../common/mod.rs"]
mod common;
mod datagrams;
mod streams;
mod world;

use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::simulation::{Failure, Fault, Faults, Latency, find_failure};
use ropewalk_reactor::{Simulation, simulation};

use common::{Chance, FAULTS_TOLD, seeds};
use world::{Kind, World};

/// In some seconds on two cores.
const STORIES: u64 = 600;
/// Until when there are faults, mostly; and now and then, so that systems give up as well.
const TROUBLE: Duration = Duration::from_secs(60);
const LONG_TROUBLE: Duration = Duration::from_secs(3000);
/// Longer than any system tries to reach who is gone, with keep-alive or by sending again.
const LONG: Duration = Duration::from_secs(3000);

#[test]
fn every_message_is_taken_once_whatever_fails_and_nothing_is_left_behind() {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let failures = std::thread::scope(|scope| {
        let parts: Vec<_> =
            (0..threads).map(|part| scope.spawn(move || tell_all(part, threads))).collect();
        let failures = parts.into_iter().filter_map(|part| part.join().expect("it is caught"));
        failures.map(|failure| failure.to_string()).collect::<Vec<_>>()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn tell_all(part: u64, of: u64) -> Option<Told> {
    for seed in seeds(STORIES).share(part, of) {
        if let Some(failure) = find_failure([seed], tell) {
            return Some(Told::new(&failure));
        }
        if seed % 16 == 0 {
            simulation::assert_replays(seed, tell);
        }
    }
    None
}

/// A failure as text: its trace belongs to its thread.
struct Told(String);

impl Told {
    fn new(failure: &Failure) -> Self {
        Self(failure.to_string())
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Stories that have failed once.
#[test]
fn what_went_wrong_before_goes_right() {
    for seed in [
        15459, // what a crashed machine had sent was received with a gap
    ] {
        if let Some(failure) = find_failure([seed], tell) {
            panic!("{failure}");
        }
    }
}

#[test]
fn the_stories_have_everything_in_them() {
    let mut told = String::new();
    // (A connection that is given up, after a quarter of an hour, is the rarest of it.)
    for seed in seeds(500) {
        let failure = find_failure([seed], |simulation| {
            let world = tell_and_keep(simulation);
            let marks = world.marks().join(" ");
            Err::<(), _>(marks)
        });
        let failure = failure.expect("it answers an error with all that came up");
        assert!(failure.replays, "seed {seed}: told twice, it differs");
        told.push_str(&failure.message);
        told.push('\n');
        told.push_str(&failure.trace.to_string());
    }
    let ours = [
        "on the way",
        "gives up: no answer",
        "hears nothing",
        "is refused",
        "TCP done",
        "UnixStream done",
        "UDP done",
        "UnixDatagram done",
        #[cfg(feature = "_tls")]
        "TLS done",
        "resent",
        "TimedOut",
        "Reset",
        "Done",
        "Aborted",
        "Closed",
        "panics",
        "fails",
        "pauses",
    ];
    for word in FAULTS_TOLD.into_iter().chain(ours) {
        assert!(told.contains(word), "no story has {word:?} in it");
    }
}

fn tell(simulation: &mut Simulation) {
    tell_and_keep(simulation);
}

fn tell_and_keep(simulation: &mut Simulation) -> Rc<World> {
    let seed = simulation.seed();
    let mut chance = Chance::new(seed);
    // Byte by byte, a handshake would take longer than the faults do.
    simulation.capacity(256 << chance.below(8));
    if chance.one_in(2) {
        let most = Duration::from_micros(1 << chance.below(17));
        simulation.latency(Latency::jittering(Duration::from_micros(chance.below(1000)), most));
    }
    let trouble = if chance.one_in(8) { LONG_TROUBLE } else { TROUBLE };
    let world = World::new(simulation.trace(), chance.next(), trouble / 15);
    let clients = 1 + chance.below(5) as u32;
    for client in 0..clients {
        let kind = Kind::ALL[chance.below(Kind::ALL.len() as u64) as usize];
        world.add_client(client, kind, 1 + chance.below(30) as usize);
    }
    let shared = world.clone();
    // Who talks over the paths of a machine lives on it.
    simulation.host("server", move |reactor| {
        streams::serve(&shared, reactor)?;
        datagrams::serve(&shared, reactor)?;
        for (client, kind) in shared.clients().into_iter().filter(|(_, kind)| kind.is_local()) {
            begin(&shared, client, kind, reactor);
        }
        Ok(())
    });
    for (client, kind) in world.clients().into_iter().filter(|(_, kind)| !kind.is_local()) {
        let shared = world.clone();
        simulation.host(&format!("client{client}"), move |reactor| {
            begin(&shared, client, kind, reactor);
            Ok(())
        });
    }
    simulation.play(profile(&mut chance, trouble));

    simulation.run_for(trouble);
    let all_done = simulation.run_until(|_| world.is_done());
    assert!(all_done, "an hour after all faults, {}", world.what_is_missing());
    simulation.run_for(LONG);
    world.check();

    // Only what listens is left.
    for host in simulation.hosts().collect::<Vec<_>>() {
        let reactor = simulation.reactor_at(host);
        assert_eq!(reactor.connection_count(), 0, "connections left on {host:?}");
        assert_eq!(reactor.timer_count(), 0, "timers left on {host:?}");
        reactor.stop();
    }
    simulation.settle();
    assert_eq!(simulation.open_sockets(), 0, "sockets left");
    world.check();
    world
}

fn begin(world: &Rc<World>, client: u32, kind: Kind, reactor: &mut ropewalk_reactor::Reactor) {
    if world.has_all_acknowledged(client) {
        return; // before the last crash
    }
    match kind {
        Kind::Udp | Kind::UnixDatagram => datagrams::begin(world, client, kind, reactor),
        _ => streams::begin(world, client, kind, reactor),
    }
}

/// All faults, some, or one kind alone: that of two together may hide what one would show.
fn profile(chance: &mut Chance, trouble: Duration) -> Faults {
    let every = trouble / (2 + chance.below(30) as u32);
    let all = Fault::ALL.into_iter().fold(Faults::none(), |faults, it| faults.every(it, every));
    let faults = match chance.below(3) {
        0 => all,
        1 => Fault::ALL.into_iter().fold(all, |faults, it| match chance.one_in(2) {
            true => faults.without(it),
            false => faults,
        }),
        _ => {
            let one = Fault::ALL[chance.below(Fault::ALL.len() as u64) as usize];
            Faults::none().every(one, every / 4)
        }
    };
    let parts = if trouble == TROUBLE { 2 + chance.below(60) as u32 } else { 2 };
    faults.until(trouble).lasting(trouble / parts)
}
