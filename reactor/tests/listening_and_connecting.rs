//! What is promised of listening, accepting and connecting.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use common::{
    Chance, Happened, PATIENCE, Probe, Record, SERVER, descriptors, dial, in_its_own_process,
    listen, logs, once, outcome, pattern, reset, seeds, sleep_until, spawn, turn_until, turn_while,
    use_up_descriptors, with_few_descriptors,
};
use ropewalk_reactor::{
    Address, ConnectOptions, ConnectionId, Error, ListenOptions, Policy, Reactor, Reason,
    Simulation, WhenFull,
};
use socket2::{Domain, Socket, Type};

/// Sends `text` to an echo and reads it back.
fn echoes(reactor: &mut Reactor, client: &TcpStream, text: &'static [u8]) {
    let mut client = client.try_clone().expect("a descriptor");
    turn_while(reactor, move || {
        client.write_all(text).expect("room");
        let mut reply = vec![0; text.len()];
        client.read_exact(&mut reply).expect("the echo");
        assert_eq!(reply, text);
    });
}

#[test]
fn port_zero_reports_the_real_port() {
    let mut reactor = Reactor::new().expect("a poller");
    let address = listen(&mut reactor, |_: Address| Probe::echo(&Record::new()));
    assert_ne!(address.port(), 0);
    let client = dial(address);
    echoes(&mut reactor, &client, b"hello");

    let mut simulation = Simulation::calm();
    let reactor = simulation.reactor();
    let first = reactor.listen("10.0.0.1:0", |_| Probe::default()).expect("a free port");
    let second = reactor.listen("10.0.0.1:0", |_| Probe::default()).expect("a free port");
    assert_ne!(reactor.address(first), reactor.address(second));
    assert_ne!(reactor.address(first).and_then(|address| address.port()), Some(0));
}

#[test]
fn a_stopped_port_is_bound_again_at_once_and_accepted_connections_outlive_the_listener() {
    let mut reactor = Reactor::new().expect("a poller");
    let listener =
        reactor.listen("127.0.0.1:0", |_| Probe::echo(&Record::new())).expect("a free port");
    let address = reactor.address(listener).expect("it listens");
    let address = address.socket_addr().expect("it is TCP");
    let old = dial(address);
    echoes(&mut reactor, &old, b"old");
    for _ in 0..3 {
        assert!(reactor.stop_listening(listener) || reactor.address(listener).is_none());
        assert!(!reactor.stop_listening(listener));
        let refused = TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let again = reactor
            .listen(address, |_| Probe::echo(&Record::new()))
            .expect("at once, though a connection is still open");
        let new = dial(address);
        echoes(&mut reactor, &new, b"new");
        echoes(&mut reactor, &old, b"old still");
        assert!(reactor.stop_listening(again));
    }
}

#[test]
fn a_listener_that_is_stopped_from_a_callback_keeps_its_connections() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let listener = Rc::new(Cell::new(None));
        let stop = listener.clone();
        let record = Record::new();
        let server = Probe::new(&record).on_data(move |transport, data| {
            transport.write(&data.split());
            let stop = stop.take();
            transport.local().call_soon(move |reactor| {
                if let Some(listener) = stop {
                    assert!(reactor.stop_listening(listener));
                }
            });
            Ok(())
        });
        let listening = simulation.reactor().listen(SERVER, once(server)).expect("free");
        listener.set(Some(listening));
        let mut peer = simulation.dial(SERVER).expect("a good address");
        peer.write(b"one");
        simulation.settle();
        peer.write(b"two");
        simulation.settle();
        assert_eq!(peer.read(), "onetwo");
        let late = simulation.dial(SERVER).expect("a good address");
        simulation.settle();
        assert!(late.was_reset());
    }
}

#[test]
fn an_address_in_use_is_an_error_from_listen_itself_and_leaks_no_descriptor() {
    const NAME: &str = "an_address_in_use_is_an_error_from_listen_itself_and_leaks_no_descriptor";
    in_its_own_process(NAME, || {
        let mut reactor = Reactor::new().expect("a poller");
        let address = listen(&mut reactor, |_: Address| Probe::default());
        let before = descriptors();
        for _ in 0..100 {
            let error = reactor.listen(address, |_| Probe::default()).expect_err("it is in use");
            assert!(error.is_address_in_use(), "{error}");
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
        assert_eq!(descriptors(), before);
    });
    let mut simulation = Simulation::calm();
    simulation.reactor().listen(SERVER, |_| Probe::default()).expect("a free address");
    let error = simulation.reactor().listen(SERVER, |_| Probe::default()).expect_err("in use");
    assert!(error.is_address_in_use(), "{error}");
}

#[test]
fn a_reactor_that_has_gone_leaves_no_descriptor() {
    const NAME: &str = "a_reactor_that_has_gone_leaves_no_descriptor";
    in_its_own_process(NAME, || {
        let before = descriptors();
        for _ in 0..20 {
            let mut reactor = Reactor::new().expect("a poller");
            let address = listen(&mut reactor, |_: Address| Probe::default());
            let record = Record::new();
            reactor.connect(address, once(Probe::new(&record))).forget();
            turn_until(&mut reactor, |_| record.is_made());
            reactor.connect(address, |_| Probe::default()).forget();
            let client = dial(address);
            drop(reactor);
            assert!(record.is_lost());
            drop(client);
        }
        assert_eq!(descriptors(), before);
    });
}

/// Sockets that can connect when there is no descriptor left.
fn sockets(count: usize) -> Vec<Socket> {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    (0..count).map(|_| socket()).collect()
}

fn connect(socket: &Socket, address: SocketAddr) {
    socket.connect(&address.into()).expect("the backlog has room");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
}

#[test]
fn out_of_descriptors_callers_are_turned_away_and_the_others_are_served_until_it_is_over() {
    const NAME: &str =
        "out_of_descriptors_callers_are_turned_away_and_the_others_are_served_until_it_is_over";
    with_few_descriptors(NAME, 100, || {
        logs::collect();
        let mut reactor = Reactor::new().expect("a poller");
        let address = listen(&mut reactor, |_: Address| Probe::echo(&Record::new()));
        let mut old = dial(address);
        turn_until(&mut reactor, |reactor| reactor.connection_count() == 1);
        let callers = sockets(20);
        let used_up = use_up_descriptors();

        for caller in &callers {
            connect(caller, address);
        }
        let mut closed = 0;
        turn_while_here(&mut reactor, || {
            for caller in &callers {
                caller.set_nonblocking(true).expect("a socket");
                let end = (&*caller).read(&mut [0; 1]);
                closed += usize::from(end.is_ok_and(|count| count == 0));
            }
            closed >= callers.len()
        });
        old.write_all(b"alive").expect("room");
        let mut reply = Vec::new();
        old.set_nonblocking(true).expect("a socket");
        turn_while_here(&mut reactor, || {
            let mut part = [0; 5];
            if let Ok(count) = old.read(&mut part) {
                reply.extend_from_slice(&part[..count]);
            }
            reply == b"alive"
        });
        assert_eq!(logs::count("cannot accept on"), 1, "{:?}", logs::lines());

        // Nothing to do: the loop sleeps, until this timer.
        let over = Rc::new(Cell::new(false));
        let told = over.clone();
        reactor.call_later(Duration::from_millis(150), move |_| told.set(true));
        let mut turns = 0;
        sleep_until(&mut reactor, |_| {
            turns += 1;
            over.get()
        });
        assert!(turns < 20, "{turns} turns: it spins");

        drop(used_up);
        drop(callers);
        let new = dial(address);
        old.set_nonblocking(false).expect("a socket");
        echoes(&mut reactor, &new, b"new");
        assert_eq!(logs::count("accepting again"), 1, "{:?}", logs::lines());
    });
}

/// As [`turn_until`], for conditions that need no reactor.
fn turn_while_here(reactor: &mut Reactor, mut done: impl FnMut() -> bool) {
    turn_until(reactor, |_| done());
}

#[test]
fn a_listener_without_a_reserve_descriptor_looks_again_with_one_timer_and_gets_a_reserve_later() {
    const NAME: &str = "a_listener_without_a_reserve_descriptor_looks_again_with_one_timer_and_gets_a_reserve_later";
    with_few_descriptors(NAME, 100, || {
        logs::collect();
        let mut reactor = Reactor::new().expect("a poller");
        let mut callers = sockets(10);
        let mut used_up = use_up_descriptors();
        used_up.pop();
        let address = listen(&mut reactor, |_: Address| Probe::echo(&Record::new()));
        for caller in &callers {
            connect(caller, address);
            reactor.turn(Some(Duration::ZERO)).expect("a turn");
            assert!(reactor.timer_count() <= 1, "{} timers", reactor.timer_count());
        }
        assert_eq!(reactor.connection_count(), 0);
        assert_eq!(logs::count("cannot accept on"), 1, "{:?}", logs::lines());
        drop(used_up);
        turn_until(&mut reactor, |reactor| reactor.connection_count() == 10);
        let first = TcpStream::from(callers.remove(0));
        echoes(&mut reactor, &first, b"hello");

        // Out of them again: now there is a reserve to turn callers away with.
        let more = sockets(1);
        let _used_up = use_up_descriptors();
        connect(&more[0], address);
        more[0].set_nonblocking(true).expect("a socket");
        turn_while_here(&mut reactor, || {
            (&more[0]).read(&mut [0; 1]).is_ok_and(|count| count == 0)
        });
    });
}

#[test]
fn in_a_simulation_running_out_of_descriptors_turns_callers_away_and_disturbs_nobody() {
    for seed in seeds(50) {
        logs::collect();
        let mut simulation = Simulation::new(seed);
        simulation.reactor().listen(SERVER, |_| Probe::echo(&Record::new())).expect("free");
        let mut old = simulation.dial(SERVER).expect("a good address");
        simulation.settle();
        simulation.limit_descriptors(0, 2);
        let shed: Vec<_> =
            (0..5).map(|_| simulation.dial(SERVER).expect("a good address")).collect();
        old.write(b"alive");
        simulation.settle();
        assert!(shed.iter().all(|peer| peer.is_ended()));
        assert_eq!(old.read(), "alive");
        assert_eq!(logs::count("cannot accept on"), 1, "{:?}", logs::lines());
        assert_eq!(simulation.reactor().timer_count(), 0);
        simulation.limit_descriptors(0, 3);
        let mut new = simulation.dial(SERVER).expect("a good address");
        new.write(b"hello");
        simulation.settle();
        assert_eq!(new.read(), "hello");
    }
}

#[test]
fn a_burst_of_accepts_cannot_starve_an_established_connection() {
    let mut simulation = Simulation::calm();
    simulation.reactor().listen(SERVER, |_| Probe::echo(&Record::new())).expect("free");
    let mut old = simulation.dial(SERVER).expect("a good address");
    simulation.settle();
    let burst: Vec<_> = (0..500).map(|_| simulation.dial(SERVER).expect("good")).collect();
    old.write(b"still here");
    let mut answered_at = None;
    while simulation.reactor().connection_count() < 501 {
        let before = simulation.reactor().connection_count();
        assert!(simulation.step());
        let after = simulation.reactor().connection_count();
        assert!(after <= before + 64, "{} accepted in a turn", after - before);
        if old.read() == "still here" {
            answered_at = Some(after);
        }
    }
    assert!(answered_at.is_some_and(|accepted| accepted <= 129), "{answered_at:?}");
    drop(burst);
}

#[test]
fn one_busy_connection_cannot_starve_the_others() {
    let mut simulation = Simulation::calm();
    let (busy, quiet) = (Record::new(), Record::new());
    let mut protocols = vec![Probe::echo(&quiet), Probe::new(&busy)];
    simulation.reactor().listen(SERVER, move |_| protocols.pop()).expect("a free address");
    let mut flood = simulation.dial(SERVER).expect("a good address");
    simulation.settle();
    let mut other = simulation.dial(SERVER).expect("a good address");
    simulation.settle();
    flood.write(&pattern(0, 8 << 20));
    other.write(b"a word");
    let mut turns = 0;
    while busy.data().len() < 8 << 20 {
        let before = busy.data().len();
        assert!(simulation.step());
        let read = busy.data().len() - before;
        assert!(read <= 512 * 1024, "{read} bytes in a turn");
        turns += 1;
        assert!(turns > 2 || quiet.data() == b"a word" || turns == 1);
    }
    assert_eq!(other.read(), "a word");
}

#[test]
fn on_sockets_one_busy_connection_cannot_starve_the_others() {
    let mut reactor = Reactor::new().expect("a poller");
    let (busy, quiet) = (Record::new(), Record::new());
    let mut protocols = vec![Probe::echo(&quiet), Probe::new(&busy)];
    let address = listen(&mut reactor, move |_: Address| protocols.pop());
    let mut flood = dial(address);
    turn_until(&mut reactor, |_| busy.is_made());
    let other = dial(address);
    turn_until(&mut reactor, |_| quiet.is_made());
    let flooding = spawn(move || {
        // Until the server has gone.
        while flood.write_all(&[7; 100_000]).is_ok() {}
    });
    turn_until(&mut reactor, |_| busy.data().len() > 1 << 20);
    for _ in 0..20 {
        echoes(&mut reactor, &other, b"a word");
    }
    drop(reactor);
    flooding.join().expect("the flood ended");
}

#[test]
fn a_connect_that_is_refused_fails_once_and_never_from_inside() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let record = Record::new();
        let connecting = simulation.reactor().connect(SERVER, once(Probe::new(&record)));
        let outcome = outcome(connecting);
        simulation.settle();
        let outcome = outcome.borrow();
        assert!(matches!(outcome[..], [Err(Error::Connect { .. })]), "{outcome:?}");
        assert!(!record.is_made());
        assert_eq!((simulation.reactor().timer_count(), simulation.open_sockets()), (0, 0));
    }
    let mut reactor = Reactor::new().expect("a poller");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
    let outcome = outcome(reactor.connect(free.expect("a port"), |_| Probe::default()));
    turn_until(&mut reactor, |_| !outcome.borrow().is_empty());
    match &outcome.borrow()[..] {
        [Err(Error::Connect { source, .. })] => {
            assert_eq!(source.raw_os_error(), Some(libc::ECONNREFUSED));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(reactor.timer_count(), 0);
}

#[test]
fn a_connect_to_nowhere_fails_once_and_never_from_inside() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        simulation.name("nowhere.test", []);
        let reactor = simulation.reactor();
        let bad = outcome(reactor.connect("no port", |_| Probe::default()));
        let unknown = outcome(reactor.connect("unknown.test:7", |_| Probe::default()));
        let empty = outcome(reactor.connect("nowhere.test:7", |_| Probe::default()));
        simulation.settle();
        assert!(matches!(bad.borrow()[..], [Err(Error::BadAddress { .. })]), "{bad:?}");
        assert!(matches!(unknown.borrow()[..], [Err(Error::Resolve { .. })]), "{unknown:?}");
        assert!(matches!(empty.borrow()[..], [Err(Error::Connect { .. })]), "{empty:?}");
        assert_eq!((simulation.reactor().timer_count(), simulation.open_sockets()), (0, 0));
    }
}

#[test]
fn a_connect_that_nobody_answers_times_out() {
    let mut reactor = Reactor::new().expect("a poller");
    // A backlog that is full: further requests are dropped.
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    deaf.listen(0).expect("a socket");
    let address = deaf.local_addr().expect("a socket").as_socket().expect("IPv4");
    let _waiting = dial(address);
    let options = ConnectOptions::default().timeout(Duration::from_millis(30));
    let outcomes: Vec<_> = (0..5)
        .map(|_| outcome(reactor.connect_with(options.clone(), address, |_| Probe::default())))
        .collect();
    turn_until(&mut reactor, |_| outcomes.iter().all(|outcome| !outcome.borrow().is_empty()));
    // The first may have slipped into the queue.
    let late =
        outcomes.iter().filter(|outcome| matches!(outcome.borrow()[..], [Err(Error::TimedOut)]));
    assert!(late.count() >= 3, "{outcomes:?}");
    assert_eq!(reactor.timer_count(), 0);
}

#[test]
fn a_connect_has_its_whole_time_however_long_the_last_turn_is_past() {
    let shown = format!("{:?}", ConnectOptions::default());
    assert!(shown.contains("timeout: 30s"), "{shown}");
    let mut simulation = Simulation::calm();
    simulation.reactor().listen(SERVER, |_| Probe::default()).expect("a free address");
    simulation.reactor().call_later(Duration::from_secs(500), |_| {}); // turns read the clock
    simulation.run_for(Duration::from_secs(1));
    simulation.run_for(Duration::from_secs(100));
    let outcome = outcome(simulation.reactor().connect(SERVER, |_| Probe::default()));
    simulation.run_for(Duration::from_secs(1));
    assert!(matches!(outcome.borrow()[..], [Ok(_)]), "{outcome:?}");
}

#[test]
fn a_connect_can_be_cancelled_at_any_moment_and_then_nothing_is_made() {
    for seed in seeds(500) {
        let mut chance = Chance::new(seed);
        let drops = chance.one_in(2);
        let mut simulation = Simulation::new(seed);
        simulation.name("server.test", ["10.0.0.1".parse().expect("an address")]);
        simulation.reactor().listen(SERVER, |_| Probe::default()).expect("a free address");
        let record = Record::new();
        let connecting = simulation.reactor().connect("server.test:7", once(Probe::new(&record)));
        let connecting = Rc::new(RefCell::new(Some(connecting)));
        let given_up = connecting.clone();
        let made = record.clone();
        let made_before = Rc::new(Cell::new(false));
        let before = made_before.clone();
        let give_up = move || {
            before.set(made.is_made());
            let mut deferred = given_up.borrow_mut();
            match drops {
                true => *deferred = None,
                false => deferred.iter_mut().for_each(|deferred| deferred.cancel()),
            }
        };
        // From a timer, so that it falls into any step of a turn.
        let most = 1 << chance.below(20);
        let delay = Duration::from_micros(chance.below(most));
        simulation.reactor().call_later(delay, move |_| give_up());
        simulation.settle();
        assert!(made_before.get() || !record.is_made(), "made after it was given up");
        if !made_before.get() {
            assert_eq!(simulation.reactor().connection_count(), 0);
            assert_eq!(simulation.open_sockets(), 0);
        }
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
}

#[test]
fn a_connect_succeeds_once_after_connection_made() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        simulation.reactor().listen(SERVER, |_| Probe::default()).expect("a free address");
        let record = Record::new();
        let connecting = simulation.reactor().connect(SERVER, once(Probe::new(&record)));
        let outcome = outcome(connecting);
        simulation.run_until(|_| !outcome.borrow().is_empty());
        assert!(matches!(outcome.borrow()[..], [Ok(id)] if id == record.id()), "{outcome:?}");
        assert_eq!(simulation.reactor().timer_count(), 0, "its deadline is cancelled");
        simulation.settle();
        assert_eq!(outcome.borrow().len(), 1);
    }
}

#[test]
fn a_name_with_several_addresses_is_tried_until_one_answers() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let addresses = ["10.0.0.8", "10.0.0.9", "10.0.0.1"];
        simulation.name("many.test", addresses.map(|address| address.parse().expect("good")));
        simulation.reactor().listen(SERVER, |_| Probe::default()).expect("a free address");
        let record = Record::new();
        let connecting = simulation.reactor().connect("many.test:7", once(Probe::new(&record)));
        let outcome = outcome(connecting);
        simulation.settle();
        assert!(matches!(outcome.borrow()[..], [Ok(_)]), "{outcome:?}");
        assert!(record.is_made());
        assert_eq!(simulation.open_sockets(), 2); // those of the two ends
    }
}

#[test]
fn a_name_that_is_used_again_never_reaches_a_newcomer() {
    for seed in seeds(30) {
        let mut simulation = Simulation::new(seed);
        let records = Rc::new(RefCell::new(Vec::<Record>::new()));
        let made = records.clone();
        let listening = simulation.reactor().listen(SERVER, move |_: Address| {
            made.borrow_mut().push(Record::new());
            made.borrow().last().map(Probe::new)
        });
        listening.expect("a free address");
        let mut old: Vec<ConnectionId> = Vec::new();
        for round in 0..20 {
            let mut peer = simulation.dial(SERVER).expect("a good address");
            peer.write(b"mine");
            simulation.settle();
            let id = records.borrow()[round].id();
            assert!(!old.contains(&id));
            for &stale in &old {
                let reactor = simulation.reactor();
                assert!(reactor.connection(stale).is_none());
                assert_eq!(reactor.with_protocol::<Probe, ()>(stale, |_, _| ()), None);
                let mut transport = reactor.connection(id).expect("it is open");
                assert!(transport.connection(stale).is_none());
            }
            old.push(id);
            assert_eq!(records.borrow()[round].data(), b"mine");
            match round % 2 {
                0 => peer.reset(),
                _ => peer.shutdown(),
            }
            simulation.settle();
            assert!(records.borrow()[round].is_lost());
        }
    }
}

#[test]
fn on_sockets_a_descriptor_that_is_used_again_brings_no_events_of_its_last_owner() {
    let mut reactor = Reactor::new().expect("a poller");
    let records = Rc::new(RefCell::new(Vec::<Record>::new()));
    let made = records.clone();
    let address = listen(&mut reactor, move |_: Address| {
        made.borrow_mut().push(Record::new());
        made.borrow().last().map(Probe::new)
    });
    let mut previous: Option<TcpStream> = None;
    for round in 0..100 {
        let mut client = dial(address);
        client.write_all(b"mine").expect("room");
        // The reset of the last one and the newcomer are found in one turn.
        if let Some(previous) = previous.take() {
            reset(previous);
        }
        turn_until(&mut reactor, |_| {
            records.borrow().get(round).is_some_and(|record| record.data() == b"mine")
        });
        if round > 0 {
            let record = records.borrow()[round - 1].clone();
            turn_until(&mut reactor, |_| record.is_lost());
            assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
        }
        let newcomer = records.borrow()[round].clone();
        assert_eq!(newcomer.story().events, [Happened::Made, Happened::Data(4)]);
        previous = Some(client);
    }
}

#[test]
fn two_reactors_share_a_port_when_told_to() {
    let options = || ListenOptions::default().reuse_port(true);
    let (mut one, mut other) = (Reactor::new().expect("one"), Reactor::new().expect("two"));
    let listener = one.listen_with(options(), "127.0.0.1:0", |_| Probe::echo(&Record::new()));
    let address = one.address(listener.expect("a free port")).expect("it listens");
    let address = address.socket_addr().expect("it is TCP");
    other
        .listen_with(options(), address, |_| Probe::echo(&Record::new()))
        .expect("it may be shared");
    let clients: Vec<_> = (0..40).map(|_| dial(address)).collect();
    turn_until(&mut one, |one| {
        other.turn(Some(Duration::ZERO)).expect("a turn");
        one.connection_count() + other.connection_count() == clients.len()
    });
}

#[test]
fn a_listener_that_serves_something_else_keeps_its_socket_and_its_connections() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let (before, after) = (Record::new(), Record::new());
        let echo = before.clone();
        let listener = simulation
            .reactor()
            .listen(SERVER, move |_: Address| Probe::echo(&echo))
            .expect("free");
        let mut old = simulation.dial(SERVER).expect("an address");
        old.write(b"hello");
        simulation.settle();
        assert_eq!(old.read(), "hello", "seed {seed}");
        let told = after.clone();
        let mut greets = vec![Probe::new(&told).on_made(|transport| {
            transport.write(b"welcome");
            Ok(())
        })];
        let factory = move |_: Address| greets.pop();
        let changed =
            simulation.reactor().change_listener(listener, Default::default(), SERVER, factory);
        changed.expect("it listens");
        let mut new = simulation.dial(SERVER).expect("an address");
        old.write(b" again");
        simulation.settle();
        assert_eq!(new.read(), "welcome", "seed {seed}");
        assert_eq!(old.read(), " again", "seed {seed}");
        // And now each connection begins with a PROXY header.
        let proxied = format!("{SERVER}?proxy=true");
        let factory = |_: Address| Probe::echo(&Record::new());
        let changed =
            simulation.reactor().change_listener(listener, Default::default(), &proxied, factory);
        changed.expect("it listens");
        let mut bare = simulation.dial(SERVER).expect("an address");
        bare.write(b"hello");
        simulation.settle();
        assert_eq!(bare.read(), "", "seed {seed}: closed for want of a header");
        simulation.reactor().stop_listening(listener);
        let gone = simulation.reactor().change_listener(
            listener,
            Default::default(),
            SERVER,
            |_: Address| Probe::default(),
        );
        assert!(matches!(gone, Err(Error::Gone)), "{gone:?}");
        drop((old, new));
    }
}

#[test]
fn a_listener_that_is_full_accepts_again_when_it_gets_another_policy() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let echo = |_: Address| Probe::echo(&Record::new());
        let options = ListenOptions::default()
            .policy(Policy::new().max_connections(1).when_full(WhenFull::Wait));
        let listener = simulation.reactor().listen_with(options, SERVER, echo).expect("free");
        let mut first = simulation.dial(SERVER).expect("an address");
        first.write(b"first");
        simulation.settle();
        assert_eq!(first.read(), "first", "seed {seed}");
        let mut second = simulation.dial(SERVER).expect("an address");
        second.write(b"second");
        simulation.settle();
        assert_eq!(second.read(), "", "seed {seed}: it waits for a seat");
        let changed =
            simulation.reactor().change_listener(listener, Default::default(), SERVER, echo);
        changed.expect("it listens");
        simulation.settle();
        assert_eq!(second.read(), "second", "seed {seed}");
        // Giving back a seat of the former policy disturbs nothing.
        first.shutdown();
        let mut third = simulation.dial(SERVER).expect("an address");
        third.write(b"third");
        simulation.settle();
        assert_eq!(third.read(), "third", "seed {seed}");
    }
}
