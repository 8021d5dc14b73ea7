//! Thousands of stories, one a seed: several connections on one to three reactors, with closes
//! from either side, half closes, aborts, errors, panics, pauses, timers, small buffers and
//! resets; an oracle holds each against what was promised.
//!
//! `ROPEWALK_SEEDS=1000000` runs more of them, `ROPEWALK_SEED=n` replays one.

mod actor;
#[path = "../common/mod.rs"]
mod common;
mod oracle;
#[cfg(feature = "_tls")]
#[path = "secrecy.rs"]
mod secrecy;
#[cfg(not(feature = "_tls"))]
#[path = "no_secrecy.rs"]
mod secrecy;

use std::time::Duration;

use ropewalk_reactor::simulation::{Fault, Faults, Peer};
use ropewalk_reactor::{
    ConnectOptions, ConnectionOptions, ListenOptions, ReactorOptions, Simulation,
};

use actor::Actor;
use common::{Chance, pattern, pattern_at, seeds};
use oracle::{Excuses, Key, Side, World};
use secrecy::Secrecy;

/// In under a minute on two cores.
const STORIES: u64 = 40_000;

#[test]
fn every_story_keeps_what_was_promised() {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    std::thread::scope(|scope| {
        for part in 0..threads {
            scope.spawn(move || {
                for seed in seeds(STORIES).share(part, threads) {
                    let trace = tell(seed);
                    // Every so often, and always when one is replayed by hand.
                    if seed % 16 == 0 || std::env::var_os("ROPEWALK_SEED").is_some() {
                        let again = tell(seed);
                        assert!(trace == again, "seed {seed}: told twice, it differs");
                    }
                }
            });
        }
    });
}

#[test]
fn the_stories_have_everything_in_them() {
    // A suite of stories in which, say, nobody ever pauses would prove nothing about pausing.
    let mut told = String::new();
    for seed in seeds(400) {
        for line in tell(seed) {
            told.push_str(&line);
            told.push('\n');
        }
    }
    for word in [
        "made",
        "read_closed",
        "paused",
        "resumed",
        "held back",
        "delivered again",
        "Done",
        "Closed",
        "Aborted",
        "Reset",
        "FlushTimedOut",
        "OutputLimit",
        "ReceiveLimit",
        "Error",
        "Panic",
        "Stopped",
        "loses write",
        "to another",
        #[cfg(feature = "_tls")]
        "secret",
        #[cfg(feature = "_tls")]
        "turns to TLS",
        #[cfg(feature = "_tls")]
        "Truncated",
        #[cfg(feature = "_tls")]
        "HandshakeCutOff",
    ] {
        assert!(told.contains(word), "no story has {word:?} in it");
    }
}

/// A peer that is no reactor, and what it has written and read.
struct Outsider {
    peer: Peer,
    key: Key,
    written: usize,
    read: usize,
    stopped: bool,
    shut: bool,
    gone: bool,
}

/// Tells the story of a seed, and answers its trace.
fn tell(seed: u64) -> Vec<String> {
    let mut chance = Chance::new(seed);
    let mut simulation = Simulation::new(seed);
    // A handshake is some thousand bytes: byte by byte there would be no time for anything else.
    let secrecy = chance.one_in(3).then(Secrecy::new);
    let least = if secrecy.is_some() { 8 } else { 0 };
    let capacity = 1 << (least + chance.below(15 - least));
    simulation.capacity(capacity);
    let faults = chance.one_in(5);
    let chaos = faults && chance.one_in(2);
    if faults {
        simulation.resets(20 + chance.below(200));
    }
    if chaos {
        simulation.play(some_of_each(&mut chance));
    }
    let reactors = 1 + chance.below(3) as usize;
    for _ in 1..reactors {
        let options = ReactorOptions::default().shutdown_timeout(Duration::from_secs(2));
        simulation.add_reactor_with(options);
    }
    // Patience beyond all delays, or so little that deadlines pass.
    let patient = !chance.one_in(4);
    let limited = chance.one_in(8);
    let high = 16 << chance.below(10);
    let options = options(&mut chance, high, patient, limited);
    // Without it, whoever never hears of a reset waits for ever.
    let options = options.keep_alive(chaos.then_some(Duration::from_secs(10)));
    let world = World::new(seed, Excuses { faults, patient, limited }, capacity, high);

    let pairs = 1 + chance.below(4) as usize;
    let mut outsiders = Vec::new();
    for pair in 0..pairs {
        let (client, server) = (Key { pair, side: Side::Client }, Key { pair, side: Side::Server });
        let at = chance.below(reactors as u64) as usize;
        let address = match chance.one_in(4) {
            true => format!("unix:/run/{pair}"),
            false => format!("10.0.0.{}:7", pair + 1),
        };
        let outside = chance.one_in(3);
        let secrecy = secrecy.as_ref().filter(|_| !outside);
        let openings = secrecy.map(|secrecy| secrecy.choose(&mut chance));
        let (calls, answers) = openings.unzip();
        let listening = ListenOptions::default().connection(options.clone());
        let listening = match (secrecy, &answers) {
            (Some(secrecy), Some(opening)) => secrecy.listening(opening, listening),
            _ => listening,
        };
        let mut actor = Some(Actor::new(&world, server, Chance::new(chance.next()), answers));
        simulation
            .reactor_at(at)
            .listen_with(listening, &address, move |_| actor.take())
            .expect("a free address");
        if outside {
            world.begin(client, true);
            let peer = simulation.dial(&address).expect("a good address");
            outsiders.push(Outsider {
                peer,
                key: client,
                written: 0,
                read: 0,
                stopped: false,
                shut: false,
                gone: false,
            });
        } else {
            let from = chance.below(reactors as u64) as usize;
            let connecting = ConnectOptions::default().connection(options.clone());
            let connecting = match (secrecy, &calls) {
                (Some(secrecy), Some(opening)) => secrecy.connecting(opening, connecting),
                _ => connecting,
            };
            let mut actor = Some(Actor::new(&world, client, Chance::new(chance.next()), calls));
            simulation
                .reactor_at(from)
                .connect_with(connecting, &address, move |_| actor.take())
                .forget();
        }
    }

    for _ in 0..60 + chance.below(100) {
        let most = 1 << (3 + chance.below(16));
        simulation.run_for(Duration::from_micros(1 + chance.below(most)));
        world.look_at(simulation.elapsed());
        if !outsiders.is_empty() {
            let index = chance.below(outsiders.len() as u64) as usize;
            outsiders[index].act(&mut chance, &world);
        }
        if chance.one_in(100) {
            simulation.capacity(1 << (least + chance.below(15 - least)));
        }
    }

    simulation.run_for(Duration::from_secs(2));
    world.look_at(simulation.elapsed());
    world.look_for_the_deaf();

    // The end: whoever has not closed by now does.
    world.wind_up();
    let stops = chance.one_in(4);
    for index in 0..reactors {
        let reactor = simulation.reactor_at(index);
        match stops {
            true => reactor.stop(),
            false => {
                for id in reactor.connections() {
                    if let Some(mut transport) = reactor.connection(id) {
                        transport.resume_reading();
                        world.told_to_close(&transport);
                        transport.lose_connection();
                    }
                }
            }
        }
    }
    for outsider in &mut outsiders {
        outsider.end(&world);
    }
    simulation.resets(0);
    simulation.capacity(1 << 14); // byte by byte, what is left could take longer than an hour
    simulation.settle();
    for outsider in &mut outsiders {
        outsider.read(&world);
    }
    world.close_the_book();
    drop(outsiders);
    simulation.settle();

    for index in 0..reactors {
        let reactor = simulation.reactor_at(index);
        assert_eq!(reactor.connection_count(), 0, "seed {seed}: connections left");
        assert_eq!(reactor.timer_count(), 0, "seed {seed}: timers left");
    }
    assert_eq!(simulation.open_sockets(), 0, "seed {seed}: sockets left");
    world.trace()
}

/// All kinds of faults while the story goes on, but for wrong clocks: the oracle looks at them.
fn some_of_each(chance: &mut Chance) -> Faults {
    let every = Duration::from_millis(100 << chance.below(6));
    let faults = Fault::ALL.into_iter().fold(Faults::none(), |faults, it| faults.every(it, every));
    let lasting = Duration::from_millis(100 + chance.below(3000));
    let faults = faults.without(Fault::WrongClock).without(Fault::Drift);
    faults.lasting(lasting).until(Duration::from_secs(10))
}

fn options(chance: &mut Chance, high: usize, patient: bool, limited: bool) -> ConnectionOptions {
    let mut options = ConnectionOptions::default()
        .high_water_mark(high)
        .low_water_mark(high / 4)
        .stop_reading_mark(high * (1 + chance.below(8) as usize));
    if patient {
        let long = Duration::from_secs(100_000);
        options = options.flush_timeout(long).linger_timeout(long);
    } else {
        let short = Duration::from_millis(1 + chance.below(500));
        options = options.flush_timeout(short).linger_timeout(short);
    }
    if limited {
        options = options.output_limit(high * 2).receive_limit(64 + high);
    }
    options
}

impl Outsider {
    fn act(&mut self, chance: &mut Chance, world: &World) {
        if self.gone {
            return;
        }
        match chance.below(40) {
            0..=15 if !self.shut => {
                let length = world.some_length(chance);
                self.peer.write(&pattern(self.written, length));
                self.written += length;
                world.wrote(self.key, length);
            }
            16..=19 => {
                self.peer.stop_reading();
                self.stopped = true;
            }
            20..=24 => {
                self.peer.resume_reading();
                self.stopped = false;
            }
            25..=30 if self.stopped => {
                let data = self.peer.read_at_most(1 + chance.below(100) as usize);
                self.check(&data, world);
            }
            31 if !self.shut && chance.one_in(3) => {
                self.shut = true;
                world.closes(self.key);
                self.peer.shutdown();
            }
            32 if chance.one_in(4) => {
                self.gone = true;
                world.hostile(self.key, true);
                self.peer.reset();
            }
            33 if chance.one_in(4) => {
                // With unread input this is a reset, and what is unsent is lost.
                self.gone = true;
                world.hostile(self.key, false);
                self.peer.close();
            }
            _ => self.read(world),
        }
    }

    fn read(&mut self, world: &World) {
        if self.stopped {
            return;
        }
        let data = self.peer.read();
        self.check(&data, world);
        if self.peer.is_ended() && !self.peer.was_reset() {
            world.outsider_saw_the_end(self.key, self.read);
        }
    }

    fn check(&mut self, data: &[u8], world: &World) {
        for (offset, &byte) in data.iter().enumerate() {
            world.expect(self.key, byte == pattern_at(self.read + offset), "a wrong byte");
        }
        self.read += data.len();
        world.outsider_read(self.key, self.read);
    }

    fn end(&mut self, world: &World) {
        self.peer.resume_reading();
        self.stopped = false;
        if !self.shut && !self.gone {
            self.shut = true;
            world.closes(self.key);
            self.peer.shutdown();
        }
    }
}
