//! The machines of a simulation: each a reactor with a name, an address, clocks and chances of its
//! own. They crash, are killed, stall, and start again.
//!
//! The one rule: a program that ends here ends as under `kill -9`. None of its code is called any
//! more, only what it held is dropped.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::clock::VirtualClock;
use super::network::Port;
use super::{Simulation, network};
use crate::clock::{Clock, Nanos, nanos};
use crate::network::Network;
use crate::options::ReactorOptions;
use crate::random::{Random, Seeded};
use crate::{Endpoint, Reactor, Result};

/// What a host does when it starts.
type Boot = Box<dyn FnMut(&mut Reactor) -> Result>;

/// One machine.
pub(super) struct Machine {
    pub(super) port: Port,
    pub(super) clock: VirtualClock,
    /// `None` while it is down.
    pub(super) reactor: Option<Reactor>,
    options: ReactorOptions,
    boot: Option<Boot>,
    /// Where the chances of its next reactor come from.
    chance: Seeded,
    /// Until when it takes no turn, though it has something to do.
    pub(super) stalled_until: Nanos,
    pub(super) usual: Usual,
}

/// What the test has set, and what is so again when a fault is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual {
    /// Parts per million.
    pub(super) drift: i32,
    /// Nanoseconds.
    pub(super) ahead: i64,
    pub(super) descriptors: usize,
}

impl Machine {
    pub(super) fn has_boot(&self) -> bool {
        self.boot.is_some()
    }

    /// A reactor for it, with chances that `seed` makes.
    fn assemble(port: &Port, clock: &VirtualClock, seed: u64, options: &ReactorOptions) -> Reactor {
        let network = Network::Simulated(port.clone());
        let clock = Clock::simulated(clock.clone());
        let random = Random::Seeded(Seeded::new(seed));
        Reactor::assemble(network, clock, random, options.clone())
            .expect("a simulated reactor asks the system for nothing")
    }
}

/// Names a machine of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(usize);

impl Host {
    /// Where the [peers](Simulation::dial) of the test are: one place, which is no machine, but has
    /// lines to all of them.
    pub const OUTSIDE: Self = Self(usize::MAX);

    pub(super) fn at(index: usize) -> Self {
        Self(index)
    }

    /// The index of its reactor, for [`Simulation::reactor_at`].
    ///
    /// (That of [`OUTSIDE`](Self::OUTSIDE) is no reactor's.)
    pub fn index(self) -> usize {
        self.0
    }
}

/// What can say which machine is meant: a [`Host`], the index of a reactor, a host's name, or an IP
/// address that is a host's own, or at which a reactor listens.
pub trait IntoHost: fmt::Debug {
    /// The machine, if there is one.
    fn host_in(&self, simulation: &Simulation) -> Option<Host>;
}

impl IntoHost for Host {
    fn host_in(&self, simulation: &Simulation) -> Option<Host> {
        (*self == Self::OUTSIDE || self.0 < simulation.machines.len()).then_some(*self)
    }
}

impl IntoHost for usize {
    fn host_in(&self, simulation: &Simulation) -> Option<Host> {
        Host(*self).host_in(simulation)
    }
}

impl IntoHost for IpAddr {
    fn host_in(&self, simulation: &Simulation) -> Option<Host> {
        let port = simulation.net.borrow().port_with(*self)?;
        port.checked_sub(1).map(Host) // the first port is the outside's
    }
}

impl IntoHost for &str {
    fn host_in(&self, simulation: &Simulation) -> Option<Host> {
        let named = {
            let net = simulation.net.borrow();
            net.places.iter().skip(1).position(|place| place.name == **self)
        };
        named.map(Host).or_else(|| self.parse::<IpAddr>().ok()?.host_in(simulation))
    }
}

impl Simulation {
    /// Adds a machine of that name. It has an address of its own, which its name resolves to for
    /// everybody, and a reactor, which `boot` prepares now and whenever the machine
    /// [starts again](Self::restart): it listens, connects, sets timers. What has to outlive a
    /// crash, as files do, is what `boot` holds.
    ///
    /// Wildcard addresses, loopback addresses and the paths of Unix sockets are the machine's own:
    /// two machines can both listen on `0.0.0.0:80`.
    ///
    /// ```
    /// # use bytes::BytesMut;
    /// # use ropewalk_reactor::{Protocol, Result, Simulation, Transport};
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
    /// #         transport.write(&data.split());
    /// #         Ok(())
    /// #     }
    /// # }
    /// let mut simulation = Simulation::new(1);
    /// simulation.host("server", |reactor| {
    ///     reactor.listen("0.0.0.0:7", |_| Echo)?;
    ///     Ok(())
    /// });
    /// simulation.crash("server");
    /// simulation.restart("server");
    /// let mut peer = simulation.dial("server:7").expect("it has a name");
    /// peer.write(b"hello");
    /// simulation.settle();
    /// assert_eq!(peer.read(), "hello");
    /// ```
    ///
    /// # Panics
    /// If `boot` fails, or another host has the name.
    pub fn host(&mut self, name: &str, boot: impl FnMut(&mut Reactor) -> Result + 'static) -> Host {
        self.host_with(name, ReactorOptions::default(), boot)
    }

    /// As [`host`](Self::host), with options for its reactor.
    ///
    /// # Panics
    /// If `boot` fails, or another host has the name.
    pub fn host_with(
        &mut self,
        name: &str,
        options: ReactorOptions,
        boot: impl FnMut(&mut Reactor) -> Result + 'static,
    ) -> Host {
        let taken = name.host_in(self).is_some();
        assert!(!taken, "seed {}: there is a host {name} already", self.seed());
        let index = self.machines.len();
        // RFC 1918; far from what tests write down for themselves.
        let number = u16::try_from(index + 1).expect("a simulation has fewer hosts than that");
        let [high, low] = number.to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(172, 16, high, low));
        // Its chances come from its place and not from a common stream: another host more leaves
        // the random numbers of those that are there as they were.
        let own = (index as u64 + 1).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let host = self.add_machine(options, self.seed() ^ own);
        {
            let mut net = self.net.borrow_mut();
            let place = &mut net.places[index + 1];
            (place.name, place.address) = (name.to_owned(), Some(address));
            net.name(name, vec![address]);
        }
        self.machines[index].boot = Some(Box::new(boot));
        self.boot(host);
        host
    }

    /// Adds a machine without a name, and answers its index: its addresses are whatever it listens
    /// on, and belong to all machines without a name in common.
    pub(super) fn add_machine(&mut self, options: ReactorOptions, seed: u64) -> Host {
        let port = Port::with_programs(&self.net, &self.programs);
        let clock = VirtualClock::new(self.clock.clone());
        let reactor = Machine::assemble(&port, &clock, seed, &options);
        let index = self.machines.len();
        self.net.borrow_mut().places[port.number()].name = format!("reactor {index}");
        self.machines.push(Machine {
            port,
            clock,
            reactor: Some(reactor),
            options,
            boot: None,
            chance: Seeded::new(!seed),
            stalled_until: 0,
            usual: Usual { drift: 0, ahead: 0, descriptors: usize::MAX },
        });
        Host(index)
    }

    fn boot(&mut self, host: Host) {
        let seed = self.seed();
        let machine = self.machine(host);
        if let (Some(boot), Some(reactor)) = (&mut machine.boot, &mut machine.reactor)
            && let Err(error) = boot(reactor)
        {
            panic!("seed {seed}: {} does not start: {error}", self.name_of(host));
        }
    }

    /// The machine loses its power: its program is gone at once with its children, nothing is sent, and
    /// whoever was connected is not told. What is sent to it gets no answer. Until it
    /// [starts again](Self::restart): then old connections are answered with resets, as their data
    /// comes.
    ///
    /// (Its Unix sockets end with the machine, for others without a name as by a reset.) Nothing
    /// happens if it is down already.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn crash(&mut self, host: impl IntoHost) {
        let host = self.find(host);
        let machine = self.machine(host);
        if let Some(reactor) = machine.reactor.take() {
            let port = machine.port.number();
            self.say(format_args!("{} crashes", self.name_of(host)));
            self.net.borrow_mut().crash(port);
            reactor.crash();
            super::programs::crash(&self.programs, port);
            self.net.borrow_mut().crashed(port);
        }
    }

    /// The program of the machine is killed (`kill -9`), and its system closes what it had open:
    /// peers see the end of the stream, or a reset where input was unread; whoever connects is
    /// refused. The program [starts again](Self::restart) when it is told to.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn kill(&mut self, host: impl IntoHost) {
        let host = self.find(host);
        if let Some(reactor) = self.machine(host).reactor.take() {
            self.say(format_args!("{} is killed", self.name_of(host)));
            reactor.crash();
        }
    }

    /// Starts a machine that has crashed or was killed: a new reactor, with the name, the address and
    /// the clocks of the old one, prepared as the first one was. One without a `boot` of its own is
    /// empty, and the test says what it does. Nothing happens if it is up.
    ///
    /// # Panics
    /// If there is no such host, or its `boot` fails.
    pub fn restart(&mut self, host: impl IntoHost) {
        let host = self.find(host);
        let machine = self.machine(host);
        if machine.reactor.is_some() {
            return;
        }
        let seed = machine.chance.next();
        let reactor = Machine::assemble(&machine.port, &machine.clock, seed, &machine.options);
        machine.reactor = Some(reactor);
        let port = machine.port.number();
        self.net.borrow_mut().comes_up(port);
        self.say(format_args!("{} starts again", self.name_of(host)));
        self.boot(host);
    }

    /// Whether the program of `host` runs.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn is_up(&self, host: impl IntoHost) -> bool {
        let host = self.find(host);
        host == Host::OUTSIDE || self.machines[host.index()].reactor.is_some()
    }

    /// The program of `host` stands still for `duration`, as in a long pause of a virtual machine:
    /// its sockets fill, its timers are late, and then it finds everything at once.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn stall(&mut self, host: impl IntoHost, duration: Duration) {
        let host = self.find(host);
        let until = self.clock.get().saturating_add(nanos(duration));
        self.machine(host).stalled_until = until;
        self.say(format_args!("{} stands still for {duration:?}", self.name_of(host)));
    }

    /// From now on, `host` can have at most `most` sockets: what would be one more fails with
    /// `EMFILE`.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn limit_descriptors(&mut self, host: impl IntoHost, most: usize) {
        let host = self.find(host);
        let machine = self.machine(host);
        machine.usual.descriptors = most;
        let port = machine.port.number();
        self.net.borrow_mut().limit_descriptors(port, most);
    }

    /// The address of a host that was added with a name.
    ///
    /// # Panics
    /// If there is no such host, or it has no address of its own.
    pub fn address(&self, host: impl IntoHost) -> IpAddr {
        let port = self.port_of(host);
        let address = self.net.borrow().places[port].address;
        address.unwrap_or_else(|| panic!("seed {}: it has no address of its own", self.seed()))
    }

    /// All machines, in the order in which they were added; the first is the one that every
    /// simulation begins with.
    pub fn hosts(&self) -> impl Iterator<Item = Host> + use<> {
        (0..self.machines.len()).map(Host)
    }

    pub(super) fn find(&self, host: impl IntoHost) -> Host {
        let found = host.host_in(self);
        found.unwrap_or_else(|| panic!("seed {}: there is no host {host:?}", self.seed()))
    }

    pub(super) fn port_of(&self, host: impl IntoHost) -> usize {
        match self.find(host) {
            Host::OUTSIDE => 0,
            host => self.machines[host.index()].port.number(),
        }
    }

    pub(super) fn machine(&mut self, host: Host) -> &mut Machine {
        let seed = self.seed();
        let machine = self.machines.get_mut(host.index());
        machine.unwrap_or_else(|| panic!("seed {seed}: the outside is no machine"))
    }

    pub(super) fn name_of(&self, host: Host) -> String {
        let port = self.port_of(host);
        self.net.borrow().places[port].name.clone()
    }

    /// The addresses that a test's own peer means by an endpoint: names are looked up at once.
    pub(super) fn look_up(&self, endpoint: &Endpoint) -> std::io::Result<crate::Address> {
        use crate::endpoint::Target;
        match endpoint.target() {
            Target::Address(address) => Ok(address.clone()),
            Target::Name { host, port } => {
                let found = self.net.borrow().resolve(host)?;
                let first = found.first().ok_or(std::io::ErrorKind::NotFound)?;
                Ok(std::net::SocketAddr::new(*first, *port).into())
            }
            Target::Systemd(_) => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }
}

/// What the network knows of a machine, by the number of its port.
pub(super) struct Place {
    pub(super) name: String,
    /// Its own, if it has one; else it shares a realm with the others that have none.
    pub(super) address: Option<IpAddr>,
    /// Whether it answers at all.
    pub(super) up: bool,
    /// Where a machine without an address listened when it crashed: nobody answers there.
    pub(super) dead: Vec<crate::Address>,
}

impl Place {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), address: None, up: true, dead: Vec::new() }
    }
}

impl network::Net {
    /// The port of the machine that has `ip`, or listens there.
    pub(super) fn port_with(&self, ip: IpAddr) -> Option<usize> {
        let owner = self.places.iter().position(|place| place.address == Some(ip));
        owner.or_else(|| self.port_listening_at(ip))
    }
}
