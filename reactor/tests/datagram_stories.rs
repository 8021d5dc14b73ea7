//! Thousands of stories about datagrams, one a seed: clients send numbered messages to a server and
//! repeat each until it is acknowledged, over a network that loses, doubles and overtakes; callbacks
//! fail and panic in between, queues are short, sockets close. Each message arrives exactly as it
//! was sent, and each that was acknowledged has arrived.
//!
//! `ROPEWALK_SEEDS=1000000` runs more of them, `ROPEWALK_SEED=n` replays one.

mod common;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use common::{Chance, pattern, seeds};
use ropewalk_reactor::{
    Address, DatagramOptions, DatagramProtocol, DatagramTransport, Posted, Reason, Result,
    Simulation,
};

const STORIES: u64 = 10_000;
const SERVER: &str = "udp://10.0.0.1:53";

/// What is known of all that was sent and has arrived.
#[derive(Default)]
struct World {
    trace: Vec<String>,
    /// By client: what was sent, by number.
    sent: BTreeMap<u32, Vec<Vec<u8>>>,
    /// By client, what the server has seen, and how often.
    seen: BTreeMap<(u32, usize), usize>,
    acknowledged: BTreeSet<(u32, usize)>,
    /// Things that must have come up in some story or other.
    marks: BTreeSet<&'static str>,
}

type Shared = Rc<RefCell<World>>;

/// `client, number, data`: acknowledged with the first eight bytes of it.
fn message(client: u32, number: usize, length: usize) -> Vec<u8> {
    let head = [client.to_be_bytes(), (number as u32).to_be_bytes()].concat();
    [head, pattern(number, length)].concat()
}

fn head(data: &[u8]) -> Option<(u32, usize)> {
    let (client, rest) = data.split_first_chunk::<4>()?;
    let (number, _) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*client), u32::from_be_bytes(*number) as usize))
}

struct Server {
    world: Shared,
    chance: Chance,
}

impl DatagramProtocol for Server {
    fn datagram_received(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        data: &[u8],
        from: Address,
    ) -> Result {
        let mut world = self.world.borrow_mut();
        let (client, number) = head(data).expect("nobody sends less");
        assert_eq!(data, world.sent[&client][number], "not as it was sent");
        let times = world.seen.entry((client, number)).or_default();
        *times += 1;
        if *times > 1 {
            world.marks.insert("seen again");
        }
        world.trace.push(format!("{client}.{number} from {from}"));
        let latest = world.seen.keys().rfind(|(other, _)| *other == client);
        if latest.is_some_and(|(_, latest)| *latest > number) {
            world.marks.insert("overtaken");
        }
        match self.chance.below(20) {
            0 => {
                world.marks.insert("failed");
                return Err("a story's error".into());
            }
            1 => {
                world.marks.insert("panicked");
                std::panic::resume_unwind(Box::new("a story's panic"));
            }
            _ => {}
        }
        let posted = transport.send_to(&data[..8], &from);
        if posted == Posted::Dropped {
            world.marks.insert("dropped");
        }
        Ok(())
    }
}

struct Client {
    world: Shared,
    chance: Chance,
    client: u32,
    /// Sent, and not acknowledged yet.
    open: BTreeSet<usize>,
    left: usize,
    stops: Rc<RefCell<Vec<u32>>>,
}

impl Client {
    /// Sends what is open again, and something new, every now and then.
    fn beat(&mut self, transport: &mut DatagramTransport<'_>) {
        if self.left > 0 {
            self.left -= 1;
            let mut world = self.world.borrow_mut();
            let sent = world.sent.entry(self.client).or_default();
            let most = 1 << self.chance.below(11);
            let length = self.chance.below(most) as usize;
            let number = sent.len();
            sent.push(message(self.client, number, length));
            self.open.insert(number);
        }
        for &number in &self.open {
            let data = self.world.borrow().sent[&self.client][number].clone();
            if transport.send(&data) == Posted::Dropped {
                self.world.borrow_mut().marks.insert("dropped");
            }
        }
        if self.left == 0 && self.open.is_empty() {
            return transport.close();
        }
        let delay = Duration::from_micros(1 + self.chance.below(400_000));
        transport.call_later(delay, |client: &mut Self, transport| client.beat(transport));
    }
}

impl DatagramProtocol for Client {
    fn started(&mut self, transport: &mut DatagramTransport<'_>) -> Result {
        self.beat(transport);
        Ok(())
    }

    fn datagram_received(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        data: &[u8],
        from: Address,
    ) -> Result {
        assert_eq!(Some(from), transport.peer(), "from a stranger");
        assert_eq!(data.len(), 8);
        let (client, number) = head(data).expect("it is as long as that");
        assert_eq!(client, self.client, "another's");
        let mut world = self.world.borrow_mut();
        assert!(world.seen.contains_key(&(client, number)), "acknowledged before it was seen");
        world.acknowledged.insert((client, number));
        world.trace.push(format!("{client}.{number} acknowledged"));
        self.open.remove(&number);
        Ok(())
    }

    fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) -> Result {
        self.world.borrow_mut().marks.insert("refused");
        Ok(())
    }

    fn resume_producing(&mut self, _: &mut DatagramTransport<'_>) {
        self.world.borrow_mut().marks.insert("resumed");
    }

    fn stopped(&mut self, _: &mut DatagramTransport<'_>, reason: &Reason) {
        assert!(matches!(reason, Reason::Closed | Reason::Stopped), "{reason:?}");
        self.stops.borrow_mut().push(self.client);
    }
}

fn tell(seed: u64) -> Shared {
    let mut chance = Chance::new(seed);
    let mut simulation = Simulation::new(seed);
    simulation.capacity(64 << chance.below(12));
    if chance.one_in(2) {
        simulation.lose_datagrams(2 + chance.below(20));
    }
    if chance.one_in(2) {
        simulation.double_datagrams(2 + chance.below(20));
    }
    let world = Shared::default();
    let clients = 1 + chance.below(4) as u32;
    let other = simulation.add_reactor();
    let mut server = Some(Server { world: world.clone(), chance: Chance::new(chance.next()) });
    let options = DatagramOptions::default().queue_limit(64 << chance.below(8));
    // It may come later than its clients.
    let late = chance.one_in(3);
    if !late && let Some(server) = server.take() {
        let opened = simulation.reactor().listen_datagram_with(options.clone(), SERVER, server);
        opened.expect("a free address");
    }
    let stops = Rc::new(RefCell::new(Vec::new()));
    for client in 0..clients {
        let protocol = Client {
            world: world.clone(),
            chance: Chance::new(chance.next()),
            client,
            open: BTreeSet::new(),
            left: 1 + chance.below(10) as usize,
            stops: stops.clone(),
        };
        let at = if chance.one_in(2) { 0 } else { other };
        let options = DatagramOptions::default().queue_limit(64 << chance.below(8));
        let reactor = simulation.reactor_at(at);
        reactor.connect_datagram_with(options, SERVER, protocol).forget();
    }
    if let Some(server) = server {
        simulation.run_for(Duration::from_millis(chance.below(2000)));
        let opened = simulation.reactor().listen_datagram_with(options, SERVER, server);
        opened.expect("a free address");
    }
    let stops_early = chance.one_in(10);
    if stops_early {
        simulation.run_for(Duration::from_millis(chance.below(2000)));
        simulation.reactor_at(other).stop();
        simulation.reactor().stop();
    }
    simulation.settle();
    let mut stopped = stops.borrow().clone();
    stopped.sort_unstable();
    assert_eq!(stopped, (0..clients).collect::<Vec<_>>(), "seed {seed}: each stops once");
    if !stops_early {
        let world = world.borrow();
        let all: usize = world.sent.values().map(Vec::len).sum();
        assert_eq!(world.seen.len(), all, "seed {seed}: all of them arrive in the end");
        assert_eq!(world.acknowledged.len(), all, "seed {seed}");
        assert_eq!(simulation.reactor().datagram_count(), 1, "seed {seed}: the server");
    }
    for index in [0, other] {
        assert_eq!(simulation.reactor_at(index).timer_count(), 0, "seed {seed}: timers left");
    }
    let servers = if stops_early { 0 } else { 1 };
    assert_eq!(simulation.open_sockets(), servers, "seed {seed}: sockets left");
    world
}

#[test]
fn every_message_arrives_as_it_was_sent_whatever_the_network_does() {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    std::thread::scope(|scope| {
        for part in 0..threads {
            scope.spawn(move || {
                for seed in seeds(STORIES).share(part, threads) {
                    let trace = tell(seed).take().trace;
                    if seed % 16 == 0 {
                        assert!(
                            trace == tell(seed).take().trace,
                            "seed {seed}: told twice, it differs"
                        );
                    }
                }
            });
        }
    });
}

#[test]
fn the_stories_have_everything_in_them() {
    let mut marks = BTreeSet::new();
    for seed in seeds(300) {
        marks.extend(tell(seed).take().marks);
    }
    for mark in ["seen again", "overtaken", "failed", "panicked", "dropped", "resumed", "refused"] {
        assert!(marks.contains(mark), "no story has {mark:?} in it");
    }
}
