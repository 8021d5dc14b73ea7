//! What is promised of connecting by name: a resolver of one's own, a race between addresses, a
//! client that comes back.

mod common;

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use common::{Chance, Probe, Record, once, outcome, seeds, turn_until};
use ropewalk_reactor::{
    Address, ConnectOptions, ConnectionId, Error, Reactor, Reason, ReconnectingClient, Simulation,
};

type Outcome = common::Outcome<ConnectionId>;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn ips(all: &[&str]) -> Vec<IpAddr> {
    all.iter().map(|text| ip(text)).collect()
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

// The race.

/// A simulation in which `race.test` has these addresses, the silent ones of which never answer,
/// and somebody listens at 10.0.0.1.
fn race(addresses: &[&str], silent: &[&str]) -> (Simulation, Record) {
    let mut simulation = Simulation::calm();
    simulation.name("race.test", ips(addresses));
    for address in silent {
        simulation.silence(ip(address));
    }
    let record = Record::new();
    let mut first = Some(record.clone());
    let server = move |_: Address| Probe::new(&first.take().unwrap_or_default());
    simulation.reactor().listen("10.0.0.1:7", server).expect("a free address");
    (simulation, record)
}

#[test]
fn another_address_is_tried_each_quarter_of_a_second_and_the_losers_are_closed() {
    let silent = ["fd00::1", "fd00::2", "10.0.0.9"];
    let (mut simulation, served) = race(&["fd00::1", "fd00::2", "10.0.0.9", "10.0.0.1"], &silent);
    let record = Record::new();
    let outcome = outcome(simulation.reactor().connect("race.test:7", once(Probe::new(&record))));
    // One socket is the listener's… which is none here: sockets are ends of streams.
    for (at, sockets) in [(100, 1), (240, 1), (260, 2), (490, 2), (510, 3), (740, 3)] {
        simulation.run_for(millis(at) - simulation.elapsed());
        assert_eq!(simulation.open_sockets(), sockets, "after {at} ms");
        assert!(outcome.borrow().is_empty());
    }
    simulation.run_for(millis(20));
    assert!(matches!(outcome.borrow()[..], [Ok(id)] if id == record.id()), "{outcome:?}");
    assert!(served.is_made());
    assert_eq!(simulation.open_sockets(), 2, "those of the winner");
    assert_eq!(simulation.reactor().timer_count(), 0);
    simulation.settle();
    assert_eq!(outcome.borrow().len(), 1);
}

#[test]
fn the_next_address_is_tried_at_once_when_one_fails() {
    // Nobody listens at the first three: they refuse.
    let (mut simulation, _) = race(&["10.0.0.7", "10.0.0.8", "10.0.0.9", "10.0.0.1"], &[]);
    let outcome = outcome(simulation.reactor().connect("race.test:7", |_| Probe::default()));
    simulation.run_for(millis(10));
    assert!(matches!(outcome.borrow()[..], [Ok(_)]), "{outcome:?}");

    // And it has its whole quarter of a second from then on.
    let (mut simulation, _) = race(&["10.0.0.7", "10.0.0.8", "10.0.0.1"], &["10.0.0.8"]);
    let outcome = outcome_of(&mut simulation, ConnectOptions::default());
    simulation.run_for(millis(245));
    assert!(outcome.borrow().is_empty(), "{outcome:?}");
    simulation.run_for(millis(10));
    assert!(matches!(outcome.borrow()[..], [Ok(_)]), "{outcome:?}");
}

fn outcome_of(simulation: &mut Simulation, options: ConnectOptions) -> Outcome {
    outcome(simulation.reactor().connect_with(options, "race.test:7", |_| Probe::default()))
}

#[test]
fn the_families_take_turns() {
    // Five dead addresses of one family delay the other by one attempt, not by five.
    let dead = ["fd00::1", "fd00::2", "fd00::3", "fd00::4", "fd00::5"];
    let all = [&dead[..], &["10.0.0.1"]].concat();
    let (mut simulation, _) = race(&all, &dead);
    let outcome = outcome_of(&mut simulation, ConnectOptions::default());
    simulation.run_for(millis(260));
    assert!(matches!(outcome.borrow()[..], [Ok(_)]), "{outcome:?}");
    assert_eq!(simulation.open_sockets(), 2);
}

#[test]
fn the_delay_between_attempts_can_be_set() {
    let (mut simulation, _) = race(&["10.0.0.9", "10.0.0.1"], &["10.0.0.9"]);
    let options = ConnectOptions::default().attempt_delay(Duration::from_secs(2));
    let outcome = outcome_of(&mut simulation, options);
    simulation.run_for(millis(1990));
    assert!(outcome.borrow().is_empty(), "{outcome:?}");
    simulation.run_for(millis(20));
    assert!(matches!(outcome.borrow()[..], [Ok(_)]), "{outcome:?}");
}

#[test]
fn a_race_that_all_lose_fails_once_with_the_last_reason() {
    for seed in seeds(100) {
        let mut simulation = Simulation::new(seed);
        simulation.name("race.test", ips(&["fd00::1", "10.0.0.8", "10.0.0.9"]));
        let outcome = outcome_of(&mut simulation, ConnectOptions::default());
        simulation.settle();
        let outcome = outcome.borrow();
        let [Err(Error::Connect { endpoint, source })] = &outcome[..] else {
            panic!("seed {seed}: {outcome:?}")
        };
        assert_eq!(endpoint.to_string(), "tcp://race.test:7");
        assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
        assert_eq!((simulation.reactor().timer_count(), simulation.open_sockets()), (0, 0));
    }
}

#[test]
fn a_race_in_which_nobody_answers_times_out_and_closes_all() {
    let silent = ["fd00::1", "10.0.0.9"];
    let (mut simulation, _) = race(&silent, &silent);
    let outcome = outcome_of(&mut simulation, ConnectOptions::default());
    simulation.run_for(Duration::from_secs(29));
    assert_eq!((outcome.borrow().len(), simulation.open_sockets()), (0, 2));
    simulation.run_for(Duration::from_secs(2));
    assert!(matches!(outcome.borrow()[..], [Err(Error::TimedOut)]), "{outcome:?}");
    assert_eq!((simulation.reactor().timer_count(), simulation.open_sockets()), (0, 0));
}

#[test]
fn whatever_the_race_one_connection_is_made_or_one_error_told_and_nothing_is_left() {
    for seed in seeds(2000) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        let mut addresses = Vec::new();
        for number in 0..1 + chance.below(6) {
            let address = match chance.one_in(2) {
                true => ip(&format!("fd00::{number}")),
                false => ip(&format!("10.0.0.{number}")),
            };
            match chance.below(3) {
                0 => simulation.silence(address),
                1 => {
                    let at = SocketAddr::new(address, 7);
                    let answers = simulation.reactor().listen(at, |_| Probe::default());
                    answers.expect("a free address");
                }
                _ => {} // it refuses
            }
            addresses.push(address);
        }
        simulation.name("race.test", addresses);
        let cancelled_at = chance.one_in(4).then(|| millis(chance.below(2000)));
        let record = Record::new();
        let connecting = simulation.reactor().connect("race.test:7", once(Probe::new(&record)));
        let told = Outcome::default();
        if let Some(at) = cancelled_at {
            let (mut held, tell) = (Some(connecting), told.clone());
            simulation.reactor().call_later(at, move |_| {
                let Some(mut connecting) = held.take() else { return };
                connecting.cancel();
                connecting.then(move |_, result| tell.borrow_mut().push(result));
            });
        } else {
            let tell = told.clone();
            connecting.then(move |_, result| tell.borrow_mut().push(result));
        }
        simulation.run_for(Duration::from_secs(40));
        let told = told.borrow();
        assert_eq!(told.len(), 1, "seed {seed}: {told:?}");
        assert_eq!(record.is_made(), told[0].is_ok() || record.is_made());
        let made = usize::from(record.is_made() && !record.is_lost());
        // Losers that the server had accepted see their end; the winner has two.
        simulation.run_for(Duration::from_secs(5));
        assert_eq!(simulation.open_sockets(), 2 * made, "seed {seed}: {told:?}");
        assert_eq!(simulation.reactor().timer_count(), 0, "seed {seed}");
    }
}

#[test]
fn on_sockets_a_name_that_is_this_machine_is_reached_whichever_family_listens() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let mut reactor = Reactor::new().expect("a poller");
        let served = Record::new();
        let listener = reactor.listen(host, once(Probe::new(&served))).expect("a free port");
        let port = reactor.address(listener).and_then(|address| address.port());
        let outcome =
            outcome(reactor.connect(("localhost", port.expect("TCP")), |_| Probe::default()));
        turn_until(&mut reactor, |_| served.is_made() && !outcome.borrow().is_empty());
        assert!(matches!(outcome.borrow()[..], [Ok(_)]), "{outcome:?}");
        assert_eq!(reactor.timer_count(), 0);
    }
}

// Bind address, Unix sockets.

#[test]
fn a_connection_comes_from_the_address_that_was_chosen_and_only_its_family_is_tried() {
    let mut reactor = Reactor::new().expect("a poller");
    let peers = Rc::new(RefCell::new(Vec::new()));
    let seen = peers.clone();
    let listener = reactor.listen("127.0.0.1:0", move |peer: Address| {
        seen.borrow_mut().push(peer.socket_addr());
        Probe::default()
    });
    let port = reactor.address(listener.expect("a free port")).and_then(|address| address.port());
    let port = port.expect("TCP");
    // A port of one's own choice, again at once: the first connection lingers in TIME_WAIT.
    let own = TcpListener::bind("127.0.0.2:0").and_then(|socket| socket.local_addr());
    let own = own.expect("a free port");
    for bind in ["127.0.0.2:0".parse().expect("an address"), own, own] {
        let options = ConnectOptions::default().bind(Some(bind));
        let record = Record::new();
        let probe = once(Probe::new(&record));
        let outcome = outcome(reactor.connect_with(options, ("localhost", port), probe));
        turn_until(&mut reactor, |_| !outcome.borrow().is_empty());
        assert!(matches!(outcome.borrow()[..], [Ok(_)]), "{outcome:?}");
        reactor.connection(record.id()).expect("it is open").lose_connection();
        turn_until(&mut reactor, |reactor| reactor.connection_count() == 0);
    }
    let peers = peers.borrow();
    assert_eq!(peers[0].expect("TCP").ip(), own.ip());
    assert_eq!(peers[1..], [Some(own); 2]);

    let options = ConnectOptions::default().bind("[::1]:0".parse().ok());
    let outcome = outcome(reactor.connect_with(options, ("127.0.0.1", port), |_| Probe::default()));
    turn_until(&mut reactor, |_| !outcome.borrow().is_empty());
    let outcome = outcome.borrow();
    let [Err(error)] = &outcome[..] else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("::1 is of the other family"), "{error}");
}

#[test]
fn a_unix_socket_whose_queue_is_full_is_waited_for() {
    let path = std::env::temp_dir().join(format!("ropewalk-full-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&socket2::SockAddr::unix(&path).expect("short")).expect("free");
    socket.listen(0).expect("a socket");
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    let _waiting = UnixStream::connect(&path).expect("room for one");

    let mut reactor = Reactor::new().expect("a poller");
    let address = format!("unix:{}", path.display());
    let options = ConnectOptions::default().timeout(millis(100));
    let late = outcome(reactor.connect_with(options, &address, |_| Probe::default()));
    turn_until(&mut reactor, |_| !late.borrow().is_empty());
    assert!(matches!(late.borrow()[..], [Err(Error::TimedOut)]), "{late:?}");

    let waits = outcome(reactor.connect(&address, |_| Probe::default()));
    for _ in 0..5 {
        reactor.turn(Some(millis(1))).expect("a turn");
    }
    assert!(waits.borrow().is_empty(), "{waits:?}");
    let _accepted = listener.accept().expect("it waits");
    turn_until(&mut reactor, |_| !waits.borrow().is_empty());
    assert!(matches!(waits.borrow()[..], [Ok(_)]), "{waits:?}");
    assert_eq!(reactor.timer_count(), 0);
    let _ = std::fs::remove_file(&path);
}

// The resolver.

#[test]
fn a_resolver_of_ones_own_is_asked_between_callbacks_and_may_answer_later() {
    let (mut simulation, served) = race(&[], &[]);
    let asked = Rc::new(RefCell::new(Vec::new()));
    let names = asked.clone();
    simulation.reactor().set_resolver(move |reactor: &mut Reactor, host: &str| {
        names.borrow_mut().push(host.to_owned());
        let (promise, deferred) = reactor.deferred();
        reactor.call_later(Duration::from_secs(3), |_| promise.succeed(ips(&["10.0.0.1"])));
        deferred
    });
    // From inside a callback, too.
    let connecting = Rc::new(RefCell::new(None));
    let held = connecting.clone();
    let inside = asked.clone();
    let server = Probe::default().on_made(move |transport| {
        *held.borrow_mut() = Some(transport.connect("service.test:7", |_| Probe::default()));
        assert!(inside.borrow().is_empty(), "user code ran inside a callback");
        Ok(())
    });
    simulation.reactor().listen("10.0.0.2:7", once(server)).expect("a free address");
    let _peer = simulation.dial("10.0.0.2:7").expect("a good address");
    simulation.run_for(Duration::from_secs(2));
    assert_eq!(*asked.borrow(), ["service.test"]);
    assert!(!served.is_made());
    simulation.run_for(Duration::from_secs(2));
    assert!(served.is_made());
    // Nor is what was given up before it had its turn, addresses and localhost.
    drop(simulation.reactor().connect("unwanted.test:7", |_| Probe::default()));
    simulation.reactor().connect("10.0.0.1:7", |_| Probe::default()).forget();
    simulation.reactor().connect("LOCALHOST:7", |_| Probe::default()).forget();
    simulation.run_for(Duration::from_secs(2));
    assert_eq!(asked.borrow().len(), 1);
}

#[test]
fn a_resolver_that_fails_panics_or_never_answers_fails_the_connect_once() {
    let mut simulation = Simulation::calm();
    let reactor = simulation.reactor();
    reactor.set_resolver(|reactor: &mut Reactor, host: &str| {
        let (promise, deferred) = reactor.deferred();
        match host {
            "fails.test" => promise.fail(Error::Other("no such service".into())),
            "panics.test" => std::panic::resume_unwind(Box::new("at its wits' end")),
            "nowhere.test" => promise.succeed(Vec::new()),
            "never.test" => std::mem::forget(promise),
            _ => {} // dropped
        }
        deferred
    });
    let outcomes: Vec<_> = ["fails", "panics", "nowhere", "drops", "never"]
        .iter()
        .map(|name| outcome(reactor.connect((&*format!("{name}.test"), 7), |_| Probe::default())))
        .collect();
    simulation.run_for(Duration::from_secs(29));
    assert!(outcomes[4].borrow().is_empty());
    simulation.settle();
    let told: Vec<_> = outcomes
        .iter()
        .map(|outcome| match &outcome.borrow()[..] {
            [Err(error)] => error.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "no such service",
            "panicked: at its wits' end",
            "cannot connect to tcp://nowhere.test:7: the name has no address",
            "abandoned: its promise was dropped",
            "timed out",
        ]
    );
    assert_eq!(simulation.reactor().timer_count(), 0);
}

#[test]
fn a_resolver_can_put_another_in_its_place() {
    let (mut simulation, served) = race(&[], &[]);
    simulation.reactor().set_resolver(|reactor: &mut Reactor, host: &str| {
        reactor.set_resolver(|reactor: &mut Reactor, _: &str| {
            let (promise, deferred) = reactor.deferred();
            promise.succeed(ips(&["10.0.0.1"]));
            deferred
        });
        let (promise, deferred) = reactor.deferred();
        promise.fail(Error::Other(format!("not {host}").into()));
        deferred
    });
    let first = outcome(simulation.reactor().connect("a.test:7", |_| Probe::default()));
    simulation.settle();
    assert!(matches!(first.borrow()[..], [Err(Error::Other(_))]), "{first:?}");
    let second = outcome(simulation.reactor().connect("b.test:7", |_| Probe::default()));
    simulation.settle();
    assert!(matches!(second.borrow()[..], [Ok(_)]), "{second:?}");
    assert!(served.is_made());
}

#[test]
fn the_systems_resolver_answers_from_the_pool() {
    let mut reactor = Reactor::new().expect("a poller");
    // A label has 63 octets at most, so this is an error without asking anybody.
    let name = format!("{}.test", "x".repeat(64));
    let outcome = outcome(reactor.connect((&*name, 7), |_| Probe::default()));
    turn_until(&mut reactor, |_| !outcome.borrow().is_empty());
    let outcome = outcome.borrow();
    let [Err(Error::Resolve { host, .. })] = &outcome[..] else { panic!("{outcome:?}") };
    assert_eq!(*host, name);
    let error = reactor.listen((&*name, 0), |_| Probe::default()).expect_err("no such name");
    assert!(matches!(error, Error::Resolve { .. }), "{error}");
}

// The loss of a connection.

#[test]
fn a_loss_is_told_after_connection_lost_and_once_it_is_over_it_is_gone() {
    for seed in seeds(50) {
        let (mut simulation, mut peer) = common::served(Some(seed), Probe::default());
        let id = simulation.reactor().connections()[0];
        let told = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..2 {
            let tell = told.clone();
            simulation.reactor().when_lost(id).then(move |reactor, reason| {
                assert!(reactor.connection(id).is_none());
                tell.borrow_mut().push(reason);
            });
        }
        simulation.run_for(millis(10));
        assert!(told.borrow().is_empty());
        peer.reset();
        simulation.settle();
        assert!(matches!(told.borrow()[..], [Ok(Reason::Reset(_)), Ok(Reason::Reset(_))]));
        let tell = told.clone();
        let late = simulation.reactor().when_lost(id);
        late.then(move |_, reason| tell.borrow_mut().push(reason));
        simulation.settle();
        assert!(matches!(told.borrow()[2], Err(Error::Gone)));
    }
}

// The client that comes back.

/// When the server was called, in milliseconds.
type Calls = Rc<RefCell<Vec<u64>>>;

/// A server at 10.0.0.1 that closes each connection after `holds`, and writes down its calls.
fn server(simulation: &mut Simulation, holds: Rc<Cell<Duration>>) -> Calls {
    let calls = Calls::default();
    let (called, began) = (calls.clone(), simulation.reactor().now());
    let listener = simulation.reactor().listen("10.0.0.1:7", move |_: Address| {
        let (called, holds) = (called.clone(), holds.get());
        Probe::default().on_made(move |transport| {
            called.borrow_mut().push((transport.now() - began).as_millis() as u64);
            transport.call_later(holds, |_: &mut Probe, transport| transport.lose_connection());
            Ok(())
        })
    });
    listener.expect("a free address");
    calls
}

fn client() -> ReconnectingClient {
    ReconnectingClient::new("10.0.0.1:7").expect("a good address")
}

/// The waits between calls, each held against the longest it may be.
fn check_waits(calls: &[u64], held: u64, longest: &[u64]) {
    for ((pair, longest), number) in calls.windows(2).zip(longest).zip(0..) {
        let wait = pair[1] - pair[0] - held;
        assert!((longest / 2..=longest + 5).contains(&wait), "wait {number}: {wait} of {longest}");
    }
}

#[test]
fn the_delay_doubles_with_jitter_up_to_its_maximum() {
    let mut waits = Vec::new();
    for seed in seeds(30) {
        // Nobody listens: each attempt is refused, at once in a calm network.
        let mut simulation = Simulation::new(seed);
        let tried = Rc::new(RefCell::new(Vec::new()));
        let (attempts, began) = (tried.clone(), simulation.reactor().now());
        simulation.reactor().set_resolver(move |reactor: &mut Reactor, _: &str| {
            attempts.borrow_mut().push((reactor.now() - began).as_millis() as u64);
            let (promise, deferred) = reactor.deferred();
            promise.fail(Error::Other("not yet".into()));
            deferred
        });
        let client = ReconnectingClient::new("service.test:7").expect("a good address");
        client.start(simulation.reactor(), |_| Probe::default()).forget();
        simulation.run_for(Duration::from_secs(600));
        let tried = tried.borrow();
        let longest = [1, 2, 4, 8, 16, 32, 60, 60, 60].map(|seconds| seconds * 1000);
        // Turns may be slow in a simulation: a few of 50 ms each.
        for ((pair, longest), number) in tried.windows(2).zip(longest).zip(0..) {
            let wait = pair[1] - pair[0];
            assert!((longest / 2..=longest + 1000).contains(&wait), "{number}: {wait}");
        }
        assert!(tried.len() > longest.len(), "seed {seed}: {tried:?}");
        waits.push(tried[1] - tried[0]);
    }
    waits.dedup();
    assert!(waits.len() > 20, "no two clients wait as long: {waits:?}");
}

#[test]
fn a_connection_that_held_begins_the_count_anew_and_one_that_did_not_does_not() {
    let mut simulation = Simulation::calm();
    let holds = Rc::new(Cell::new(Duration::ZERO));
    let calls = server(&mut simulation, holds.clone());
    client().start(simulation.reactor(), |_| Probe::default()).forget();
    simulation.run_for(Duration::from_secs(20));
    // Accepted and closed at once, again and again: that is no success.
    check_waits(&calls.borrow(), 0, &[1000, 2000, 4000, 8000]);
    assert!(calls.borrow().len() >= 4);
    holds.set(Duration::from_secs(100));
    simulation.run_for(Duration::from_secs(250));
    let calls = calls.borrow();
    let held = calls.windows(2).position(|pair| pair[1] - pair[0] > 100_000);
    let held = held.expect("one that held, and another after it");
    check_waits(&calls[held..held + 2], 100_000, &[1000]);
}

#[test]
fn a_client_finds_its_server_again_each_time() {
    for seed in seeds(100) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        let records = Rc::new(RefCell::new(Vec::<Record>::new()));
        let made = records.clone();
        let client = client().first_delay(millis(100)).max_delay(Duration::from_secs(1));
        let client = client.start(simulation.reactor(), move |_: Address| {
            made.borrow_mut().push(Record::new());
            made.borrow().last().map(Probe::new)
        });
        client.forget();
        for round in 0..4 {
            // Away for a while.
            simulation.run_for(millis(chance.below(3000)));
            assert_eq!(records.borrow().len(), round, "seed {seed}");
            let listener = simulation.reactor().listen("10.0.0.1:7", |_| Probe::default());
            simulation.run_for(Duration::from_secs(5));
            assert_eq!(records.borrow().len(), round + 1, "seed {seed}: one at a time");
            assert!(simulation.reactor().stop_listening(listener.expect("a free address")));
            let id = records.borrow()[round].id();
            simulation.reactor().connection(id).expect("it is open").abort_connection();
        }
    }
}

#[test]
fn a_client_that_is_told_to_stop_at_any_moment_connects_no_more_and_leaves_nothing() {
    for seed in seeds(500) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        let holds = Rc::new(Cell::new(millis(chance.below(500))));
        let calls = server(&mut simulation, holds);
        let client = client().first_delay(millis(100)).max_delay(Duration::from_secs(1));
        let mut client = client.start(simulation.reactor(), |_| Probe::default());
        let most = 1 << (10 + chance.below(14));
        simulation.run_for(Duration::from_micros(chance.below(most)));
        client.cancel();
        let before = calls.borrow().len();
        // One may be on its way already.
        simulation.run_for(Duration::from_secs(2));
        let after = calls.borrow().len();
        assert!(after <= before + 1, "seed {seed}");
        simulation.run_for(Duration::from_secs(1000));
        assert_eq!(calls.borrow().len(), after, "seed {seed}");
        let reactor = simulation.reactor();
        assert_eq!((reactor.connection_count(), reactor.timer_count()), (0, 0), "seed {seed}");
    }
}

#[test]
fn a_client_gives_up_after_as_many_failures_as_it_was_told_to() {
    let mut simulation = Simulation::calm();
    let over = Rc::new(RefCell::new(None));
    let told = over.clone();
    let client = client().max_attempts(3);
    client.start(simulation.reactor(), |_| Probe::default()).then(move |reactor, error| {
        *told.borrow_mut() = Some((reactor.now(), error));
    });
    let began = simulation.reactor().now();
    simulation.settle();
    let over = over.borrow();
    let (at, Ok(error)) = over.as_ref().expect("it gave up") else { panic!("{over:?}") };
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let took = at.duration_since(began);
    assert!((millis(1500)..=millis(3010)).contains(&took), "two waits: {took:?}");
}

#[test]
fn a_client_is_over_when_the_reactor_stops() {
    for connected in [false, true] {
        let mut simulation = Simulation::calm();
        if connected {
            let listening = simulation.reactor().listen("10.0.0.1:7", |_| Probe::default());
            listening.expect("a free address");
        }
        let over = Rc::new(RefCell::new(None));
        let told = over.clone();
        let client = client().start(simulation.reactor(), |_| Probe::default());
        client.then(move |_, error| *told.borrow_mut() = Some(error));
        simulation.run_for(Duration::from_secs(10));
        simulation.reactor().stop();
        simulation.run_for(Duration::from_secs(100));
        let over = over.borrow();
        assert!(matches!(*over, Some(Ok(Error::Stopped))), "{over:?}");
    }
}

#[test]
fn a_client_of_a_bad_address_is_told_so_at_once() {
    for bad in ["127.0.0.1", "systemd:0", "127.0.0.1:7?backlog=3"] {
        let error = ReconnectingClient::new(bad).expect_err(bad);
        assert!(matches!(error, Error::BadAddress { .. }), "{error}");
    }
}
