//! A whole program on a simulated network with a virtual clock: the same protocols, no sockets,
//! no threads, and every run replays from its seed.
//!
//! ```
//! use bytes::BytesMut;
//! use ropewalk_reactor::{Protocol, Result, Simulation, Transport};
//!
//! struct Echo;
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
//!         transport.write(&data.split());
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result {
//! for seed in 0..100 {
//!     let mut simulation = Simulation::new(seed);
//!     simulation.reactor().listen("10.0.0.1:7", |_| Echo)?;
//!     let mut peer = simulation.dial("10.0.0.1:7")?;
//!     peer.write(b"hello");
//!     simulation.settle();
//!     assert_eq!(peer.read(), "hello", "seed {seed}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What the seed decides: how long segments are under way, where the stream is cut, how much a
//! buffer holds, how long turns take, in which order sockets become ready and reactors turn.
//!
//! What it does not decide, unless told to, is failure. A test can make each happen: lines are slow,
//! thin, cut in one direction or both ([`Simulation::link`], [`Simulation::partition`]), machines
//! crash, are killed, stall and start again ([`Simulation::host`], [`Simulation::crash`]), clocks
//! are wrong ([`Simulation::drift`]), descriptors run out, connections are reset, datagrams are lost
//! and doubled. Or it lets the seed choose: [`Simulation::play`]. [`seeds`](fn@seeds) runs a test
//! with many of them, and reports the one that failed with what [happened](Simulation::trace).

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::address::Address;
use crate::clock::{Nanos, nanos};
use crate::endpoint::{Endpoint, IntoEndpoint, Target};
use crate::options::{ListenOptions, ReactorOptions};
use crate::random::Seeded;
use crate::{Error, Reactor, SharedListener, Signal};

pub(crate) mod clock;
pub(crate) mod datagrams;
mod faults;
mod hosts;
mod lines;
mod links;
pub(crate) mod network;
mod peer;
pub(crate) mod programs;
mod seeds;
mod strikes;
mod trace;

pub use datagrams::DatagramPeer;
pub use faults::{Fault, Faults};
pub use hosts::{Host, IntoHost};
pub use links::{Latency, Link};
pub use peer::Peer;
pub use programs::{ChildEvent, SimulatedChild};
pub use seeds::{Failure, Verdict, assert_replays, find_failure, seeds};
pub use trace::Trace;

use faults::Player;
use hosts::Machine;
use network::{Manners, Net, Port};
use peer::Peers;
use programs::Programs;

/// What a turn costs in virtual time, so that work which always makes more work gets somewhere.
const TURN_COSTS: Nanos = 1_000;
/// The longest that a slow turn takes: while it lasts, events and deadlines pile up, and the next
/// turn finds several at once.
const SLOW_TURN: u64 = 50_000_000;
/// Turns without the clock reaching a new event before `settle` gives up: a livelock.
const MOST_TURNS: usize = 1_000_000;

/// A network, a clock, and the reactors that live on them.
pub struct Simulation {
    seed: u64,
    /// Nothing in it comes from the seed.
    is_calm: bool,
    net: Rc<RefCell<Net>>,
    clock: Rc<Cell<Nanos>>,
    chance: Seeded,
    /// Once in how many turns one is slow; 0 is never.
    slow_one_in: u64,
    machines: Vec<Machine>,
    /// Plays faults, as long as there are some to come.
    player: Option<Player>,
    /// What [`resets`](Self::resets) was told last.
    usual_resets: u64,
    /// For peers that are not reactors.
    outside: Port,
    peers: Peers,
    programs: Rc<RefCell<Programs>>,
}

impl Simulation {
    /// A simulation in which the network delays, cuts, joins and fills up as `seed` says. It
    /// has one reactor; [`add_reactor`](Self::add_reactor) adds more.
    pub fn new(seed: u64) -> Self {
        let mut chance = Seeded::new(seed);
        let manners = Manners {
            most_delay: 1 << (10 + chance.below(18)), // from a microsecond to a quarter of a second
            capacity: 1 << chance.below(17),          // from a byte to 64 KiB
            cuts: !chance.one_in(4),
            reset_one_in: 0,
        };
        let slow_one_in = chance.below(2) * (2 + chance.below(30));
        Self::with_manners(seed, manners, slow_one_in)
    }

    /// A simulation without surprises: no delays, no cuts, and room for 16 MiB in each direction.
    pub fn calm() -> Self {
        let manners = Manners { most_delay: 0, capacity: 16 << 20, cuts: false, reset_one_in: 0 };
        Self::with_manners(0, manners, 0)
    }

    fn with_manners(seed: u64, manners: Manners, slow_one_in: u64) -> Self {
        let clock = Rc::new(Cell::new(0));
        let is_calm = manners.most_delay == 0;
        let net = Rc::new(RefCell::new(Net::new(seed, manners, clock.clone())));
        let outside = Port::new(&net);
        let chance = Seeded::new(!seed);
        let mut simulation = Self {
            seed,
            is_calm,
            net,
            clock,
            chance,
            slow_one_in,
            machines: Vec::new(),
            player: None,
            usual_resets: 0,
            outside,
            peers: Peers::default(),
            programs: Rc::default(),
        };
        simulation.add_reactor();
        simulation
    }

    /// What it was made with: put it into the message of every assertion.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// From now on, a connection is reset once in `segments` segments; 0 is never.
    pub fn resets(&mut self, segments: u64) {
        self.usual_resets = segments;
        self.net.borrow_mut().manners.reset_one_in = segments;
    }

    /// From now on, one direction of a stream holds at most `bytes`, arrived or under way.
    pub fn capacity(&mut self, bytes: usize) {
        self.net.borrow_mut().manners.capacity = bytes.max(1);
    }

    /// Gives `host` its addresses, for all reactors.
    pub fn name(&mut self, host: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        self.net.borrow_mut().name(host, addresses.into_iter().collect());
    }

    /// From now on, whoever tries to connect to `address` gets no answer at all, as behind a
    /// firewall that drops packets.
    pub fn silence(&mut self, address: IpAddr) {
        self.net.borrow_mut().silence(address);
    }

    /// From now on, one datagram in `datagrams` is lost; 0 is none. (Nothing is lost unless the
    /// simulation is told so. In an order of their own they arrive in any that is not
    /// [`calm`](Self::calm).)
    pub fn lose_datagrams(&mut self, datagrams: u64) {
        self.net.borrow_mut().datagrams.lose_one_in = datagrams;
    }

    /// From now on, one datagram in `datagrams` arrives twice; 0 is none.
    pub fn double_datagrams(&mut self, datagrams: u64) {
        self.net.borrow_mut().datagrams.double_one_in = datagrams;
    }

    /// A datagram socket that belongs to no reactor, but to the test.
    ///
    /// # Errors
    /// The address is bad, or in use.
    pub fn open_datagram(&mut self, address: &str) -> Result<DatagramPeer, Error> {
        let endpoint: Endpoint = address.parse()?;
        let opened = self.look_up(&endpoint).and_then(|address| {
            let address = crate::datagram::port::as_datagram(&address);
            datagrams::Socket::bind(&self.outside, &address, None)
        });
        opened.map(DatagramPeer).map_err(|source| Error::Listen { endpoint, source })
    }

    /// Adds a reactor to the network, and answers its index.
    pub fn add_reactor(&mut self) -> usize {
        self.add_reactor_with(ReactorOptions::default())
    }

    /// As [`add_reactor`](Self::add_reactor), with options.
    pub fn add_reactor_with(&mut self, options: ReactorOptions) -> usize {
        let seed = self.chance.next();
        self.add_machine(options, seed).index()
    }

    /// The first reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor_at(0)
    }

    /// The reactor with this index, or of this host.
    ///
    /// # Panics
    /// If there is none, or its host is [down](Self::is_up).
    pub fn reactor_at(&mut self, host: impl IntoHost) -> &mut Reactor {
        let (seed, host) = (self.seed, self.find(host));
        let reactor = self.machine(host).reactor.as_mut();
        reactor.unwrap_or_else(|| panic!("seed {seed}: the host {} is down", host.index()))
    }

    /// Sends a signal to the reactor of `host`, as kill(1) would to its process; it is heard in its next
    /// turn. A signal that it has no [handler](Reactor::on_signal) for is lost.
    ///
    /// # Panics
    /// If there is no such reactor, or its host is [down](Self::is_up).
    pub fn signal(&mut self, host: impl IntoHost, signal: Signal) {
        self.reactor_at(host).core_mut().simulate_signal(signal);
    }

    /// An address for several reactors of this simulation to listen on, with
    /// [`listen_shared`](Reactor::listen_shared): what [`Cores::listen`](crate::Cores::listen) is to
    /// real ones. The seed says who gets which caller.
    ///
    /// # Errors
    /// The address is bad, or is no address.
    pub fn share(&mut self, endpoint: impl IntoEndpoint) -> Result<SharedListener, Error> {
        let endpoint = endpoint.into_endpoint()?;
        let mut address = match endpoint.target() {
            Target::Address(address) => address.clone(),
            _ => {
                let source = std::io::ErrorKind::Unsupported.into();
                return Err(Error::Listen { endpoint, source });
            }
        };
        if let Address::Tcp(address) = &mut address
            && address.port() == 0
        {
            address.set_port(self.net.borrow_mut().free_port());
        }
        SharedListener::simulated(endpoint, address, ListenOptions::default())
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.clock.get())
    }

    /// Sockets that are open, in all reactors and peers together.
    pub fn open_sockets(&self) -> usize {
        self.net.borrow().open_ends()
    }

    /// A peer that is no reactor: it writes and reads bytes as the test says.
    ///
    /// # Errors
    /// The address is bad. A refused connection shows as [`Peer::was_reset`].
    pub fn dial(&mut self, address: &str) -> Result<Peer, Error> {
        let endpoint: Endpoint = address.parse()?;
        match self.look_up(&endpoint) {
            Ok(address) => self.dial_address(address),
            Err(source) => Err(Error::Connect { endpoint, source }),
        }
    }

    /// As [`dial`](Self::dial), for an address that needs no parsing.
    ///
    /// # Errors
    /// No socket could be had.
    pub fn dial_address(&mut self, address: impl Into<Address>) -> Result<Peer, Error> {
        let address = address.into();
        let stream = network::Stream::bare(&mut self.outside, &address)
            .map_err(|source| Error::Connect { endpoint: address.into(), source })?;
        Ok(self.peers.add(stream))
    }

    /// One step: the network moves, and one reactor that has something to do takes a turn. With
    /// nothing to do now, the clock jumps to the next event. False when there is none.
    pub fn step(&mut self) -> bool {
        self.step_until(Nanos::MAX)
    }

    fn step_until(&mut self, limit: Nanos) -> bool {
        self.play_what_is_due();
        self.net.borrow_mut().advance();
        self.peers.pump();
        programs::pump(&self.programs);
        let now = self.clock.get();
        let mut next = self.net.borrow().next_event();
        next = next.into_iter().chain(self.player.as_ref().and_then(Player::next)).min();
        let mut able = Vec::new();
        for (index, machine) in self.machines.iter_mut().enumerate() {
            let Some(reactor) = &mut machine.reactor else { continue };
            let work = match self.net.borrow().has_edges(machine.port.number()) {
                true => Some(0),
                false => reactor.next_work().map(|at| machine.clock.true_time_of(at)),
            };
            let work = work.map(|at| at.max(machine.stalled_until));
            match work {
                Some(at) if at <= now => able.push(index),
                Some(at) => next = Some(next.map_or(at, |next: Nanos| next.min(at))),
                None => {}
            }
        }
        if able.is_empty() {
            // Something centuries away never comes; jumping there would be no simulation.
            return match next.filter(|&at| at <= limit && at < Nanos::MAX) {
                None => false,
                Some(at) => {
                    self.clock.set(at.max(now));
                    true
                }
            };
        }
        let chosen = able[self.chance.below(able.len() as u64) as usize];
        let slow = self.slow_one_in > 0 && self.chance.one_in(self.slow_one_in);
        let costs = if slow { 1 + self.chance.below(SLOW_TURN) } else { TURN_COSTS };
        self.clock.set(now + costs);
        if let Some(reactor) = &mut self.machines[chosen].reactor {
            let turned = reactor.turn(Some(Duration::ZERO));
            assert!(turned.is_ok(), "seed {}: {turned:?}", self.seed);
        }
        true
    }

    /// Steps until nothing happens any more within an hour of virtual time, timers included.
    ///
    /// # Panics
    /// If it never settles.
    pub fn settle(&mut self) {
        let limit = self.clock.get() + nanos(Duration::from_secs(3600));
        self.run_within(limit, |_| false);
    }

    /// Steps until `done`, and answers whether it came to that; false when nothing happens any
    /// more within an hour of virtual time.
    ///
    /// # Panics
    /// If it never settles.
    pub fn run_until(&mut self, done: impl FnMut(&mut Self) -> bool) -> bool {
        let limit = self.clock.get() + nanos(Duration::from_secs(3600));
        self.run_within(limit, done)
    }

    /// Steps until nothing happens any more without the clock jumping on: no timer fires that
    /// was not due already.
    pub(crate) fn settle_now(&mut self) {
        for _ in 0..MOST_TURNS {
            let now = self.clock.get();
            if !self.step_until(now) {
                return;
            }
        }
        panic!("seed {}: after a million steps it still does not settle", self.seed);
    }

    /// Steps for `duration` of virtual time; then the clock stands exactly there, unless turns
    /// have carried it on.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.clock.get().saturating_add(nanos(duration));
        self.run_within(end, |simulation| simulation.clock.get() >= end);
        if self.clock.get() < end {
            self.clock.set(end);
        }
    }

    fn run_within(&mut self, limit: Nanos, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        for _ in 0..MOST_TURNS {
            if done(self) {
                return true;
            }
            if !self.step_until(limit) {
                return false;
            }
        }
        panic!("seed {}: after a million steps it still does not settle", self.seed);
    }
}

impl Drop for Simulation {
    /// Whatever failed, its seed is known.
    fn drop(&mut self) {
        if std::thread::panicking() && !self.is_calm {
            eprintln!("a simulation with seed {} was under way", self.seed);
        }
    }
}
