//! What is promised of several reactors in several threads, and of an address that they share.

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use common::{PATIENCE, assert_same, dial, in_its_own_process, pattern, raise, seeds, spawn};
use ropewalk_reactor::{
    Cores, CoresHandle, Error, Protocol, Reactor, Result, SharedListener, Simulation, Transport,
};

/// Says which reactor it lives on, and then sends back whatever comes.
struct Numbered(usize);

impl Protocol for Numbered {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.write(&[b'0' + self.0 as u8]);
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        transport.write(&data.split());
        Ok(())
    }
}

/// What every test here runs: each reactor answers its number. The same function is run in a simulation.
fn numbered(shared: &SharedListener) -> impl Fn(&mut Reactor, usize) -> Result + Sync + '_ {
    move |reactor, number| {
        reactor.listen_shared(shared, move |_| Numbered(number))?;
        Ok(())
    }
}

struct Running {
    address: SocketAddr,
    handle: CoresHandle,
    thread: JoinHandle<Result<(), Error>>,
}

impl Running {
    fn start(count: usize) -> Self {
        let mut cores = Cores::new(count);
        let shared = cores.listen("127.0.0.1:0").expect("a free port");
        let address = shared.address().socket_addr().expect("it is TCP");
        let handle = cores.handle();
        let thread = spawn(move || cores.run(numbered(&shared)));
        number_of(dial(address)); // all are set up when the first of them answers
        Self { address, handle, thread }
    }

    fn end(self) -> Result<(), Error> {
        self.thread.join().expect("no panic")
    }
}

fn number_of(mut caller: impl Read) -> u8 {
    let mut number = [0];
    caller.read_exact(&mut number).expect("a number");
    number[0]
}

#[test]
fn callers_of_one_port_are_spread_over_all_reactors() {
    let running = Running::start(4);
    assert_ne!(running.address.port(), 0);
    let callers: Vec<_> = (0..200).map(|_| dial(running.address)).collect();
    let numbers: BTreeSet<_> = callers.iter().map(number_of).collect();
    // That one of four gets none of two hundred has a chance of one in 10²⁴.
    assert_eq!(numbers, BTreeSet::from(*b"0123"));
    running.handle.stop();
    running.end().expect("a stop is no failure");
}

#[test]
fn a_stop_ends_all_of_them_and_flushes_what_each_has_buffered() {
    let running = Running::start(3);
    let echoes: Vec<_> = (0..30)
        .map(|_| {
            let mut caller = dial(running.address);
            number_of(&caller);
            let mut writing = caller.try_clone().expect("a socket");
            let (half, is_there) = channel();
            let reading = spawn(move || {
                let mut back = vec![0; 1_000];
                caller.read_exact(&mut back).expect("the echo has begun");
                half.send(()).expect("the test waits");
                caller.read_to_end(&mut back).expect("no reset");
                back
            });
            writing.write_all(&pattern(0, 50_000)).expect("room");
            is_there.recv().expect("it begins");
            (reading, writing)
        })
        .collect();
    running.handle.stop();
    running.end().expect("a stop is no failure");
    for (reading, _writing) in echoes {
        let back = reading.join().expect("it read");
        assert_same(&back, pattern(0, back.len()));
    }
}

#[test]
fn one_that_is_stopped_stops_the_others() {
    let running = Running::start(3);
    running.handle.call_on_each(|reactor, number| {
        if number == 1 {
            reactor.stop();
        }
    });
    running.end().expect("a stop is no failure");
}

#[test]
fn one_that_fails_stops_the_others_and_its_error_is_told() {
    let running = Running::start(3);
    running.handle.call_on_each(|reactor, number| {
        if number == 2 {
            reactor.fail("the disk is gone");
            reactor.fail("a second complaint");
        }
    });
    let error = running.end().expect_err("it failed");
    assert_eq!(error.to_string(), "core 2: the disk is gone");
    assert!(matches!(error, Error::Core { number: 2, .. }));
}

#[test]
fn one_that_cannot_be_set_up_keeps_all_from_running() {
    for panics in [false, true] {
        let mut cores = Cores::new(3);
        let shared = cores.listen("127.0.0.1:0").expect("a free port");
        let address = shared.address().socket_addr().expect("it is TCP");
        let (set_up, turned) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let error = cores
            .run(|reactor, number| {
                reactor.listen_shared(&shared, move |_| Numbered(number))?;
                if number == 1 {
                    assert!(!panics, "on purpose");
                    return Err("no configuration".into());
                }
                let turned = turned.clone();
                reactor.call_later(Duration::ZERO, move |_| {
                    turned.fetch_add(1, Ordering::Relaxed);
                });
                set_up.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .expect_err("it failed");
        let expected =
            if panics { "core 1: panicked: on purpose" } else { "core 1: no configuration" };
        assert_eq!(error.to_string(), expected);
        assert_eq!(set_up.load(Ordering::Relaxed), 2);
        assert_eq!(turned.load(Ordering::Relaxed), 0, "none ran");
        drop(TcpListener::bind(address).expect("the address is free again"));
    }
}

#[test]
fn a_stop_before_they_run_is_not_lost() {
    let cores = Cores::new(2);
    cores.handle().stop();
    cores.run(|_, _| Ok(())).expect("a stop is no failure");
}

#[test]
fn a_call_is_made_on_each_in_its_own_thread() {
    let running = Running::start(3);
    let (tell, told): (Sender<_>, Receiver<_>) = channel();
    running.handle.call_on_each(move |_, number| {
        tell.send((number, std::thread::current().id())).expect("the test waits");
    });
    let told: BTreeSet<_> = (0..3)
        .map(|_| told.recv_timeout(PATIENCE).expect("a call"))
        .map(|(n, id)| (n, format!("{id:?}")))
        .collect();
    let numbers: Vec<_> = told.iter().map(|(number, _)| *number).collect();
    let threads: BTreeSet<_> = told.iter().map(|(_, thread)| thread).collect();
    assert_eq!((numbers, threads.len()), (vec![0, 1, 2], 3));
    running.handle.stop_now();
    running.end().expect("a stop is no failure");
}

#[test]
fn an_address_in_use_is_an_error_though_they_would_share_it() {
    let running = Running::start(2);
    let error = Cores::new(2).listen(running.address).expect_err("it is in use");
    assert!(error.is_address_in_use(), "{error}");
    // Who wants to share it with another process says so.
    let shares = format!("{}?reuse-port=true", running.address);
    Cores::new(2).listen(&shares).expect("it is shared");
    running.handle.stop();
    running.end().expect("a stop is no failure");
}

#[test]
fn a_unix_socket_is_shared_and_its_path_goes_with_the_last() {
    let folder = std::env::temp_dir().join(format!("ropewalk-cores-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("socket");
    let mut cores = Cores::new(3);
    let shared = cores.listen(&format!("unix:{}?mode=600", path.display())).expect("a path");
    let handle = cores.handle();
    let thread = spawn(move || cores.run(numbered(&shared)));
    let callers: Vec<_> =
        (0..100).map(|_| UnixStream::connect(&path).expect("it listens")).collect();
    for caller in &callers {
        caller.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert!(b"012".contains(&number_of(caller)));
    }
    handle.stop();
    thread.join().expect("no panic").expect("a stop is no failure");
    assert!(!path.exists());
    std::fs::remove_dir_all(&folder).expect("it was ours");
}

#[test]
fn a_signal_stops_all_even_one_that_came_before_they_ran() {
    in_its_own_process("a_signal_stops_all_even_one_that_came_before_they_ran", || {
        for before in [true, false] {
            let mut cores = Cores::new(3);
            cores.stop_on_signals().expect("handlers");
            let shared = cores.listen("127.0.0.1:0").expect("a free port");
            let address = shared.address().socket_addr().expect("it is TCP");
            if before {
                raise("TERM");
            }
            let thread = spawn(move || cores.run(numbered(&shared)));
            if !before {
                number_of(dial(address));
                raise("TERM");
            }
            thread.join().expect("no panic").expect("a stop is no failure");
        }
    });
}

#[test]
fn one_more_core_costs_no_descriptor_when_all_have_ended() {
    in_its_own_process("one_more_core_costs_no_descriptor_when_all_have_ended", || {
        let run = |count| {
            let running = Running::start(count);
            running.handle.stop();
            running.end().expect("a stop is no failure");
        };
        run(1);
        let before = common::descriptors();
        run(4);
        assert_eq!(common::descriptors(), before);
    });
}

// The same program on the simulated network.

#[test]
fn in_a_simulation_the_same_program_runs_and_the_seed_spreads_the_callers() {
    let mut spread = 0;
    for seed in seeds(100) {
        let mut simulation = Simulation::new(seed);
        let shared = simulation.share("10.0.0.1:7").expect("an address");
        let set_up = numbered(&shared);
        for number in 0..3 {
            let index = if number == 0 { 0 } else { simulation.add_reactor() };
            set_up(simulation.reactor_at(index), number).expect("it is set up");
        }
        let mut peers: Vec<_> =
            (0..12).map(|_| simulation.dial("10.0.0.1:7").expect("an address")).collect();
        for peer in &mut peers {
            peer.write(b"hello");
            peer.shutdown();
        }
        simulation.settle();
        let mut numbers = BTreeSet::new();
        for peer in &mut peers {
            let said = peer.read();
            assert_eq!(&said[1..], b"hello", "seed {seed}");
            numbers.insert(said[0]);
        }
        assert!(numbers.is_subset(&BTreeSet::from(*b"012")), "seed {seed}: {numbers:?}");
        spread += numbers.len();
        assert!((0..3).all(|index| simulation.reactor_at(index).connection_count() == 0));
    }
    assert!(spread > 250, "nearly always all three have some: {spread} of 300");
}

#[test]
fn in_a_simulation_one_that_stops_leaves_the_address_to_the_others() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let shared = simulation.share("10.0.0.1:0").expect("an address");
        let address = shared.address().clone();
        for number in 0..3 {
            let index = if number == 0 { 0 } else { simulation.add_reactor() };
            let reactor = simulation.reactor_at(index);
            reactor.listen_shared(&shared, move |_| Numbered(number)).expect("it is shared");
        }
        let alone = simulation.reactor().listen(address.clone(), |_| Numbered(9));
        assert!(alone.expect_err("it is in use").is_address_in_use());
        for stopped in 0..2 {
            simulation.reactor_at(stopped).stop();
            simulation.settle();
            let numbers = RefCell::new(BTreeSet::new());
            for _ in 0..8 {
                let mut peer = simulation.dial_address(address.clone()).expect("a socket");
                simulation.settle();
                numbers.borrow_mut().insert(peer.read()[0]);
            }
            let left = BTreeSet::from_iter((stopped as u8 + 1..3).map(|number| b'0' + number));
            assert!(numbers.borrow().is_subset(&left), "seed {seed}: {numbers:?}");
        }
        simulation.reactor_at(2).stop();
        simulation.settle();
        let refused = simulation.dial_address(address).expect("a socket");
        simulation.settle();
        assert!(refused.was_reset(), "seed {seed}");
    }
}

#[test]
fn in_a_simulation_one_whose_machine_crashes_leaves_the_address_to_the_others() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let shared = simulation.share("10.0.0.1:7").expect("an address");
        for number in 0..3 {
            let index = if number == 0 { 0 } else { simulation.add_reactor() };
            let reactor = simulation.reactor_at(index);
            reactor.listen_shared(&shared, move |_| Numbered(number)).expect("it is shared");
        }
        for crashed in 0..2 {
            simulation.crash(crashed);
            for _ in 0..8 {
                let mut peer = simulation.dial("10.0.0.1:7").expect("an address");
                simulation.settle();
                let number = peer.read().first().copied();
                let alive = (crashed as u8 + 1..3).map(|number| b'0' + number);
                assert!(alive.into_iter().any(|it| Some(it) == number), "seed {seed}: {number:?}");
            }
        }
    }
}
