//! Each fault of the simulated network by itself: what a program sees of it is what the kernel would
//! show.

mod common;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use common::{FAULTS_TOLD, Probe, Record, once};
use ropewalk_reactor::simulation::{Fault, Faults, Host, Latency, Link, find_failure};
use ropewalk_reactor::{
    Address, ConnectOptions, ConnectionOptions, DatagramProtocol, DatagramTransport, Error,
    ListenOptions, Protocol, Reactor, Reason, Result, Simulation, Transport, simulation,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        transport.write(&data.split());
        Ok(())
    }
}

fn echo(reactor: &mut Reactor) -> Result {
    reactor.listen("0.0.0.0:7", |_| Echo)?;
    Ok(())
}

/// A simulation with a `server` that echoes, and a `client` that is connected to it.
fn connected(options: ConnectionOptions) -> (Simulation, Record) {
    let mut simulation = Simulation::calm();
    simulation.host("server", echo);
    simulation.host("client", |_| Ok(()));
    let record = Record::new();
    connect(&mut simulation, options, &record);
    let both = |simulation: &mut Simulation| {
        record.is_made() && simulation.reactor_at("server").connection_count() == 1
    };
    assert!(simulation.run_until(both));
    (simulation, record)
}

fn connect(simulation: &mut Simulation, options: ConnectionOptions, record: &Record) {
    let options = ConnectOptions::default().connection(options);
    let protocol = once(Probe::new(record));
    simulation.reactor_at("client").connect_with(options, "server:7", protocol).forget();
}

fn say(simulation: &mut Simulation, record: &Record, data: &[u8]) {
    let reactor = simulation.reactor_at("client");
    reactor.connection(record.id()).expect("it is there").write(data);
}

#[test]
fn a_host_has_a_name_an_address_and_wildcards_of_its_own() {
    let mut simulation = Simulation::calm();
    for name in ["one", "other"] {
        let peers = Rc::new(RefCell::new(Vec::new()));
        simulation.host(name, move |reactor| {
            let peers = peers.clone();
            reactor.listen("0.0.0.0:7", move |peer: Address| {
                peers.borrow_mut().push(peer);
                Echo
            })?;
            reactor.listen("unix:/run/echo", |_| Echo)?;
            Ok(())
        });
    }
    assert_ne!(simulation.address("one"), simulation.address("other"));
    for name in ["one", "other"] {
        let mut peer = simulation.dial(&format!("{name}:7")).expect("it has a name");
        peer.write(b"hello");
        simulation.settle();
        assert_eq!(peer.read(), "hello");
    }
    let mut peer = simulation.dial("unix:/run/echo").expect("a good address");
    simulation.settle();
    assert!(peer.was_reset(), "a path is on its machine alone");
    peer.close();
    let address = SocketAddr::new(simulation.address("other"), 8);
    let refused = simulation.reactor_at("one").listen(&*address.to_string(), |_| Echo);
    assert!(matches!(refused, Err(Error::Listen { .. })), "it is another's");
    assert_eq!(simulation.hosts().count(), 3, "and the one that is always there");
}

#[test]
fn who_calls_is_seen_by_the_address_of_his_machine() {
    let mut simulation = Simulation::calm();
    let seen: Rc<RefCell<Vec<IpAddr>>> = Rc::default();
    let sees = seen.clone();
    simulation.host("server", move |reactor| {
        let sees = sees.clone();
        reactor.listen("server:7", move |peer: Address| {
            sees.borrow_mut().extend(peer.ip());
            Echo
        })?;
        Ok(())
    });
    simulation.host("client", |_| Ok(()));
    connect(&mut simulation, ConnectionOptions::default(), &Record::new());
    simulation.settle();
    assert_eq!(*seen.borrow(), [simulation.address("client")]);
}

#[test]
fn what_a_partition_held_up_arrives_when_it_heals() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    simulation.partition("client", "server");
    say(&mut simulation, &record, b"hello, ");
    simulation.run_for(10 * SECOND);
    say(&mut simulation, &record, b"world");
    simulation.run_for(10 * SECOND);
    assert_eq!(record.data(), b"");
    simulation.heal("client", "server");
    simulation.run_for(60 * SECOND);
    assert_eq!(record.data(), b"hello, world");
    assert!(!record.is_lost());
}

#[test]
fn a_partition_without_an_end_times_out_after_a_quarter_of_an_hour() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    simulation.partition("client", "server");
    simulation.run_for(3600 * SECOND);
    assert!(!record.is_lost(), "whoever sends nothing notices nothing");
    say(&mut simulation, &record, b"hello");
    let sent = simulation.elapsed();
    assert!(simulation.run_until(|_| record.is_lost()));
    assert!(matches!(record.reason(), Reason::TimedOut(_)), "{:?}", record.reason());
    let took = (simulation.elapsed() - sent).as_secs();
    assert!((900..1000).contains(&took), "{took} s");
}

#[test]
fn a_line_cut_in_one_direction_carries_the_other() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    simulation.partition_one_way("server", "client");
    say(&mut simulation, &record, b"hello");
    simulation.run_for(10 * SECOND);
    let got = simulation.reactor_at("server").connection_count();
    assert_eq!((got, record.data().len()), (1, 0), "the echo is lost");
    assert!(simulation.run_until(|_| record.is_lost()), "no answer is no answer");
    assert!(matches!(record.reason(), Reason::TimedOut(_)));
}

#[test]
fn keep_alive_finds_a_peer_that_is_gone() {
    let options = ConnectionOptions::default().keep_alive(Some(60 * SECOND));
    let (mut simulation, record) = connected(options);
    simulation.run_for(3000 * SECOND);
    assert!(!record.is_lost(), "nothing is wrong");
    simulation.crash("server");
    let crashed = simulation.elapsed();
    assert!(simulation.run_until(|_| record.is_lost()));
    assert!(matches!(record.reason(), Reason::TimedOut(_)), "{:?}", record.reason());
    let took = (simulation.elapsed() - crashed).as_secs();
    assert!((60 + 9 * 75..=60 + 9 * 75 + 1).contains(&took), "{took} s");
}

#[test]
fn keep_alive_finds_a_machine_that_came_back_without_the_connection() {
    let options = ConnectionOptions::default().keep_alive(Some(60 * SECOND));
    let (mut simulation, record) = connected(options);
    simulation.crash("server");
    simulation.restart("server");
    simulation.run_for(59 * SECOND);
    assert!(!record.is_lost());
    simulation.run_for(2 * SECOND);
    assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
}

#[test]
fn a_crash_tells_nobody_and_a_restart_answers_with_resets() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    simulation.crash("server");
    assert!(!simulation.is_up("server"));
    simulation.run_for(100 * SECOND);
    assert!(!record.is_lost());
    say(&mut simulation, &record, b"are you there?");
    simulation.run_for(10 * SECOND);
    assert!(!record.is_lost());
    simulation.restart("server");
    simulation.run_for(60 * SECOND);
    assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
    let again = Record::new();
    connect(&mut simulation, ConnectionOptions::default(), &again);
    simulation.run_until(|_| again.is_made());
    say(&mut simulation, &again, b"hello");
    simulation.settle();
    assert_eq!(again.data(), b"hello", "the new program serves");
}

#[test]
fn nothing_is_received_behind_what_a_crashed_machine_cannot_send_again() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    simulation.link_one_way("server", "client", Link::new().latency(Latency::exactly(SECOND)));
    say(&mut simulation, &record, b"one");
    simulation.run_for(SECOND / 2);
    say(&mut simulation, &record, b"other");
    simulation.run_for(SECOND / 4);
    simulation.crash("server"); // both answers are on their way
    simulation.partition("server", "client");
    simulation.run_for(SECOND / 2);
    simulation.heal("server", "client");
    simulation.run_for(10 * SECOND);
    assert_eq!(record.data(), b"", "the first is lost, and the second cannot come before it");
}

#[test]
fn a_program_that_is_killed_closes_its_connections_and_refuses_new_ones() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    simulation.kill("server");
    simulation.settle();
    assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
    let peer = simulation.dial("server:7").expect("a name");
    simulation.settle();
    assert!(peer.was_reset(), "refused");
    drop(peer);
    assert_eq!(simulation.open_sockets(), 0);
}

#[test]
fn nothing_of_a_program_is_called_when_it_crashes_and_all_of_it_is_dropped() {
    struct Witness {
        calls: Rc<Cell<u32>>,
        _lives: Rc<()>,
    }
    impl Protocol for Witness {
        fn data_received(&mut self, _: &mut Transport<'_>, _: &mut BytesMut) -> Result {
            Ok(())
        }
        fn connection_lost(&mut self, _: &mut Transport<'_>, _: &Reason) {
            self.calls.set(self.calls.get() + 1);
        }
    }
    for crash in [true, false] {
        let (called, alive) = (Rc::new(Cell::new(0)), Rc::new(()));
        let mut simulation = Simulation::calm();
        let (calls, lives) = (called.clone(), alive.clone());
        simulation.host("server", move |reactor| {
            let (calls, lives) = (calls.clone(), lives.clone());
            let (late, held) = (calls.clone(), lives.clone());
            reactor.listen("server:7", move |_| Witness {
                calls: calls.clone(),
                _lives: lives.clone(),
            })?;
            reactor.call_later(SECOND, move |_| {
                let _ = &held;
                late.set(late.get() + 1);
            });
            Ok(())
        });
        let _peers = [simulation.dial("server:7"), simulation.dial("server:7")];
        simulation.run_for(MS);
        assert_eq!(simulation.reactor_at("server").connection_count(), 2);
        match crash {
            true => simulation.crash("server"),
            false => simulation.kill("server"),
        }
        simulation.run_for(10 * SECOND);
        assert_eq!(called.get(), 0);
        assert_eq!(Rc::strong_count(&alive), 2, "boot has one, and the test");
    }
}

#[test]
fn connecting_to_a_machine_that_is_down_gets_no_answer_and_goes_through_when_it_is_up() {
    let mut simulation = Simulation::calm();
    simulation.host("server", echo);
    simulation.host("client", |_| Ok(()));
    simulation.crash("server");
    let record = Record::new();
    let options = ConnectOptions::default().timeout(1000 * SECOND);
    let client = simulation.reactor_at("client");
    client.connect_with(options, "server:7", once(Probe::new(&record))).forget();
    simulation.run_for(20 * SECOND);
    assert!(!record.is_made());
    simulation.restart("server");
    simulation.run_for(10 * SECOND); // the requests are 1, 2, 4, 8 and 16 s apart
    assert!(!record.is_made());
    simulation.run_for(2 * SECOND);
    assert!(record.is_made());
    // One that is patient enough hears from its system after two minutes.
    simulation.crash("server");
    let failed = Rc::new(RefCell::new(None));
    let fails = failed.clone();
    let options = ConnectOptions::default().timeout(1000 * SECOND);
    let began = simulation.elapsed();
    let ended = simulation.reactor_at("client").connect_with(options, "server:7", |_| Echo);
    ended.then(move |_, result| *fails.borrow_mut() = result.err());
    assert!(simulation.run_until(|_| failed.borrow().is_some()));
    let error = failed.take().expect("it has failed");
    let Error::Connect { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!((simulation.elapsed() - began).as_secs(), 127);
}

#[test]
fn whoever_takes_over_the_address_of_one_that_is_down_is_found_there() {
    let mut simulation = Simulation::calm();
    simulation.reactor().listen("10.0.0.1:7", |_| Echo).expect("free");
    let other = simulation.add_reactor();
    simulation.crash(0);
    let mut lost = simulation.dial("10.0.0.1:7").expect("a good address");
    simulation.run_for(SECOND);
    assert!(!lost.is_ended(), "nobody answers");
    simulation.reactor_at(other).listen("10.0.0.1:7", |_| Echo).expect("nobody has it");
    let mut peer = simulation.dial("10.0.0.1:7").expect("a good address");
    for peer in [&mut lost, &mut peer] {
        peer.write(b"hello");
        simulation.run_for(10 * SECOND);
        assert_eq!(peer.read(), "hello");
    }
}

#[test]
fn a_peer_can_vanish_without_a_word() {
    let (mut simulation, mut peer) = common::served(None, Probe::new(&Record::new()));
    peer.vanish();
    simulation.run_for(100 * SECOND);
    assert_eq!(simulation.reactor().connection_count(), 1, "nobody was told");
    let id = simulation.reactor().connections()[0];
    simulation.reactor().connection(id).expect("it is there").write(b"hello");
    simulation.run_for(1000 * SECOND);
    assert_eq!(simulation.reactor().connection_count(), 0, "it timed out");
}

#[test]
fn a_close_in_a_partition_ends_all_the_same_and_is_told_when_it_heals() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    simulation.partition("client", "server");
    say(&mut simulation, &record, b"last words");
    simulation.reactor_at("client").connection(record.id()).expect("it is").lose_connection();
    simulation.run_for(10 * SECOND);
    assert!(matches!(record.reason(), Reason::Closed), "{:?}", record.reason());
    assert_eq!(simulation.reactor_at("server").connection_count(), 1);
    simulation.heal("client", "server");
    simulation.run_for(60 * SECOND);
    assert_eq!(simulation.reactor_at("server").connection_count(), 0, "the FIN was sent again");
    assert_eq!(simulation.open_sockets(), 0);
}

#[test]
fn a_reset_that_is_lost_leaves_the_other_end_open_until_it_speaks() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    simulation.partition_one_way("server", "client");
    let server = simulation.reactor_at("server");
    let id = server.connections()[0];
    server.connection(id).expect("it is there").abort_connection();
    simulation.run_for(SECOND);
    simulation.heal_all();
    simulation.run_for(100 * SECOND);
    assert!(!record.is_lost(), "the reset was sent once");
    say(&mut simulation, &record, b"hello?");
    simulation.run_for(SECOND);
    assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
}

#[test]
fn a_latency_is_that_of_the_link() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    let round_trip = |simulation: &mut Simulation, record: &Record| {
        let (began, before) = (simulation.elapsed(), record.data().len());
        say(simulation, record, b"hello");
        assert!(simulation.run_until(|_| record.data().len() == before + 5));
        (simulation.elapsed() - began).as_millis()
    };
    simulation.link("client", "server", Link::new().latency(Latency::exactly(30 * MS)));
    assert_eq!(round_trip(&mut simulation, &record), 60);
    simulation.link_one_way("client", "server", Link::new().latency(Latency::exactly(5 * MS)));
    assert_eq!(round_trip(&mut simulation, &record), 35);
    simulation.link("client", "server", Link::new());
    assert_eq!(round_trip(&mut simulation, &record), 0);
    simulation.latency(Latency::between(10 * MS, 20 * MS));
    let took = round_trip(&mut simulation, &record);
    assert!((20..=40).contains(&took), "{took}");
}

#[test]
fn a_thin_link_takes_its_time_and_connections_share_it() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    let other = Record::new();
    connect(&mut simulation, ConnectionOptions::default(), &other);
    assert!(simulation.run_until(|_| other.is_made()));
    simulation.link_one_way("client", "server", Link::new().bandwidth(1000));
    let began = simulation.elapsed();
    say(&mut simulation, &record, &[1; 2000]);
    say(&mut simulation, &other, &[2; 1000]);
    assert!(simulation.run_until(|_| record.data().len() == 2000 && other.data().len() == 1000));
    assert_eq!((simulation.elapsed() - began).as_millis(), 3000);
    simulation.link("client", "server", Link::new());
    simulation.share_bandwidth("server", 500);
    let began = simulation.elapsed();
    say(&mut simulation, &record, &[1; 500]);
    assert!(simulation.run_until(|_| record.data().len() == 2500));
    assert_eq!((simulation.elapsed() - began).as_millis(), 2000, "in, and out again");
}

#[test]
fn a_stalled_program_finds_everything_at_once() {
    let (mut simulation, record) = connected(ConnectionOptions::default());
    simulation.stall("server", 10 * SECOND);
    say(&mut simulation, &record, b"hello");
    simulation.run_for(9 * SECOND);
    assert_eq!(record.data(), b"");
    simulation.run_for(2 * SECOND);
    assert_eq!(record.data(), b"hello");
}

#[test]
fn clocks_of_hosts_differ_in_pace_and_in_what_they_show() {
    let mut simulation = Simulation::calm();
    let fired: Rc<RefCell<Vec<(&str, Duration)>>> = Rc::default();
    simulation.host("fast", |_| Ok(()));
    simulation.host("slow", |_| Ok(()));
    simulation.drift("fast", 100_000);
    simulation.drift("slow", -100_000);
    for name in ["fast", "slow"] {
        let fires = fired.clone();
        let reactor = simulation.reactor_at(name);
        let begins = reactor.now();
        reactor.call_later(99 * SECOND, move |reactor| {
            fires.borrow_mut().push((name, reactor.now() - begins));
        });
    }
    simulation.run_for(90 * SECOND - MS);
    assert!(fired.borrow().is_empty());
    simulation.run_for(2 * MS);
    assert_eq!(fired.borrow()[0].0, "fast", "after 90 seconds of true time");
    assert!(fired.borrow()[0].1 < 99 * SECOND + MS);
    simulation.run_for(20 * SECOND);
    assert_eq!(fired.borrow().len(), 2, "after 110");
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("later");
    let right = since(simulation.wall_clock(0));
    assert!(since(simulation.wall_clock("fast")) > right + 10 * SECOND);
    simulation.put_clock_behind(0, 3600 * SECOND);
    assert_eq!(since(simulation.reactor().wall_clock()), right - 3600 * SECOND);
    simulation.put_clock_ahead(0, SECOND);
    assert_eq!(since(simulation.wall_clock(0)), right + SECOND);
}

#[test]
fn without_descriptors_everything_that_needs_one_fails_as_the_kernel_says() {
    struct Mute;
    impl DatagramProtocol for Mute {
        fn datagram_received(
            &mut self,
            _: &mut DatagramTransport<'_>,
            _: &[u8],
            _: Address,
        ) -> Result {
            Ok(())
        }
    }
    let mut simulation = Simulation::calm();
    simulation.host("poor", |_| Ok(()));
    simulation.limit_descriptors("poor", 1);
    let reactor = simulation.reactor_at("poor");
    let listener = reactor.listen("poor:7", |_| Echo).expect("the first");
    let emfile = |error: &Error| match error {
        Error::Listen { source, .. } | Error::Connect { source, .. } => {
            assert_eq!(source.raw_os_error(), Some(libc::EMFILE), "{error}");
        }
        _ => panic!("{error}"),
    };
    for address in ["poor:8", "unix:/run/echo"] {
        emfile(&reactor.listen(address, |_| Echo).expect_err("no descriptor"));
    }
    for address in ["udp://0.0.0.0:7", "unix:/run/datagrams"] {
        emfile(&reactor.listen_datagram(address, Mute).expect_err("no descriptor"));
    }
    let failed = Rc::new(Cell::new(0));
    for address in ["poor:7", "unix:/run/echo"] {
        let fails = failed.clone();
        reactor.connect(address, |_| Echo).then(move |_, result| {
            emfile(&result.expect_err("no descriptor"));
            fails.set(fails.get() + 1);
        });
    }
    simulation.run_for(SECOND);
    assert_eq!(failed.get(), 2);
    let peer = simulation.dial("poor:7").expect("a name");
    simulation.run_for(SECOND);
    assert!(peer.is_ended(), "turned away");
    simulation.reactor_at("poor").stop_listening(listener);
    // What fails for another reason gives back what it had taken.
    let foreign = ConnectOptions::default().bind(Some("10.0.0.9:0".parse().expect("an address")));
    let reactor = simulation.reactor_at("poor");
    reactor.connect_with(foreign, "10.0.0.1:7", |_| Echo).then(|_, result| {
        let error = result.expect_err("that address is another's");
        let Error::Connect { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), std::io::ErrorKind::AddrNotAvailable);
    });
    simulation.run_for(SECOND);
    simulation.reactor_at("poor").listen("unix:/run/echo", |_| Echo).expect("there is one again");
}

#[test]
fn datagrams_are_lost_where_the_line_is_cut_and_refused_where_nobody_is() {
    let mut simulation = Simulation::calm();
    simulation.host("server", |_| Ok(()));
    let address = SocketAddr::new(simulation.address("server"), 53);
    struct Client(Rc<Cell<u32>>);
    impl DatagramProtocol for Client {
        fn datagram_received(
            &mut self,
            _: &mut DatagramTransport<'_>,
            _: &[u8],
            _: Address,
        ) -> Result {
            Ok(())
        }
        fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) -> Result {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
        fn started(&mut self, transport: &mut DatagramTransport<'_>) -> Result {
            transport.send(b"hello");
            transport.call_later(SECOND, |client: &mut Self, transport| {
                let _ = client.started(transport);
            });
            Ok(())
        }
    }
    let refused = Rc::new(Cell::new(0));
    let reactor = simulation.reactor();
    reactor.connect_datagram(&*format!("udp://{address}"), Client(refused.clone())).forget();
    simulation.run_for(2 * SECOND - MS);
    assert_eq!(refused.get(), 2);
    simulation.partition(0, "server");
    simulation.run_for(2 * SECOND);
    assert_eq!(refused.get(), 2, "nothing comes back");
    simulation.heal(0, "server");
    simulation.partition_one_way("server", 0);
    simulation.run_for(2 * SECOND);
    assert_eq!(refused.get(), 2, "the word that nobody is there is lost");
    simulation.heal_all();
    simulation.crash("server");
    simulation.run_for(2 * SECOND);
    assert_eq!(refused.get(), 2, "nobody is there to say that nobody is there");
    simulation.restart("server");
    simulation.run_for(2 * SECOND);
    assert_eq!(refused.get(), 4);
    // A line with a rule of its own.
    let mut peer = simulation.open_datagram(&format!("udp://{}:9", "10.1.1.1")).expect("free");
    let mut there = simulation.open_datagram("udp://10.1.1.2:9").expect("free");
    simulation.link(Host::OUTSIDE, Host::OUTSIDE, Link::new().double_datagrams(1));
    peer.send_to(b"twice", &there.address());
    simulation.run_for(SECOND);
    assert_eq!(there.receive().map(|(data, _)| data).as_deref(), Some(&b"twice"[..]));
    assert!(there.receive().is_some());
    assert!(there.receive().is_none());
}

#[test]
fn the_record_tells_what_happened_and_when() {
    let mut simulation = Simulation::calm();
    simulation.record();
    simulation.host("server", echo);
    simulation.latency(Latency::exactly(10 * MS));
    let mut peer = simulation.dial("server:7").expect("a name");
    peer.write(b"hello");
    simulation.run_for(SECOND);
    simulation.trace().note("now it breaks");
    simulation.partition("server", Host::OUTSIDE);
    peer.write(b"lost");
    simulation.run_for(SECOND);
    simulation.crash("server");
    simulation.restart("server");
    let shown = simulation.trace().to_string();
    for line in [
        "0.010000s the outside: tcp://127.0.0.1:49153 ↔ tcp://172.16.0.2:7 is connected",
        "gets 5 bytes",
        "1.000000s now it breaks",
        "1.000000s the line from server to the outside is cut",
        "loses 4 bytes on the way",
        "server crashes",
        "server starts again",
    ] {
        assert!(shown.contains(line), "no {line:?} in:\n{shown}");
    }
    let mut quiet = Simulation::calm();
    quiet.host("server", echo);
    quiet.crash("server");
    assert_eq!(quiet.trace().to_string(), "", "nobody asked");
}

#[test]
fn faults_come_as_the_seed_says_all_of_them_and_are_over_in_the_end() {
    let story = |simulation: &mut Simulation| {
        simulation.host("one", echo);
        simulation.host("other", echo);
        let every = |faults: Faults, fault: Fault| faults.every(fault, 2 * SECOND);
        let faults = Fault::ALL.into_iter().fold(Faults::none(), every);
        simulation.play(faults.lasting(3 * SECOND).until(60 * SECOND));
        simulation.run_for(61 * SECOND);
        for name in ["one", "other"] {
            assert!(simulation.is_up(name));
            let mut peer = simulation.dial(&format!("{name}:7")).expect("a name");
            peer.write(b"hello");
            simulation.run_for(10 * SECOND);
            assert_eq!(peer.read(), "hello");
            let right = simulation.wall_clock(Host::OUTSIDE);
            let off = simulation.wall_clock(name).duration_since(right);
            let off = off.unwrap_or_else(|error| error.duration());
            assert!(off < 10 * SECOND, "what it drifted stays, {off:?}; what it jumped does not");
        }
    };
    simulation::seeds(0..20, story);
    let mut told = String::new();
    for seed in 0..3 {
        simulation::assert_replays(seed, story);
        let failure = find_failure([seed], |simulation| -> Result {
            story(simulation);
            Err("to see what was told".into())
        });
        let failure = failure.expect("it always fails");
        assert!(failure.replays);
        told.push_str(&failure.trace.to_string());
    }
    for word in FAULTS_TOLD.into_iter().chain(["behind"]) {
        assert!(told.contains(word), "no story has {word:?} in it");
    }
}

#[test]
fn what_was_begun_ends_also_when_other_faults_are_played_in_its_place() {
    let mut was_cut = false;
    for seed in 0..20 {
        let mut simulation = Simulation::new(seed);
        simulation.record();
        simulation.host("one", |_| Ok(()));
        simulation.host("other", |_| Ok(()));
        let lines = |simulation: &Simulation, what: &str| {
            let lines = simulation.trace().lines();
            lines.iter().filter(|line| line.contains(what)).count()
        };
        simulation.play(Faults::none().every(Fault::Partition, 5 * SECOND));
        simulation.run_for(20 * SECOND);
        was_cut |= lines(&simulation, " is cut") > lines(&simulation, " is mended");
        simulation.play(Faults::none());
        simulation.run_for(60 * SECOND);
        let (cut, mended) = (lines(&simulation, " is cut"), lines(&simulation, " is mended"));
        assert_eq!(cut, mended, "seed {seed}: {}", simulation.trace());
    }
    assert!(was_cut, "or this tests nothing");
}

#[test]
fn one_more_kind_of_fault_leaves_the_others_as_they_were() {
    let partitions = |faults: Faults| {
        let mut simulation = Simulation::new(5);
        simulation.record();
        simulation.host("one", |_| Ok(()));
        simulation.host("other", |_| Ok(()));
        simulation.play(faults);
        simulation.run_for(100 * SECOND);
        let lines = simulation.trace().lines();
        lines.into_iter().filter(|line| line.contains("the line from")).collect::<Vec<_>>()
    };
    let alone = Faults::none().every(Fault::Partition, 5 * SECOND);
    let one = partitions(alone.clone());
    assert!(one.len() > 10, "{one:?}");
    assert_eq!(one, partitions(alone.every(Fault::Drift, SECOND).every(Fault::Loss, SECOND)));
}

#[test]
fn a_failure_is_told_with_its_seed_and_whether_it_replays() {
    let failure = find_failure(0..100, |simulation| {
        simulation.trace().note("about to fail");
        assert!(simulation.seed() < 7, "seven is too much");
    });
    let failure = failure.expect("the eighth fails");
    assert_eq!((failure.seed, failure.replays), (7, true));
    let shown = failure.to_string();
    for part in ["about to fail", "seed 7: seven is too much", "ROPEWALK_SEED=7"] {
        assert!(shown.contains(part), "{shown}");
    }
    let times = Cell::new(0);
    let fickle = find_failure([3], |_| -> Result<(), String> {
        times.set(times.get() + 1);
        Err(format!("failed for the {}. time", times.get()))
    });
    let fickle = fickle.expect("it fails");
    assert!(!fickle.replays);
    assert!(fickle.to_string().contains("the seed does not know"), "{fickle}");
    assert!(find_failure(0..10, |_| ()).is_none());
}

#[test]
fn a_listener_hands_its_keep_alive_down() {
    let mut simulation = Simulation::calm();
    let record = Record::new();
    let options = ConnectionOptions::default().keep_alive(Some(10 * SECOND));
    let options = ListenOptions::default().connection(options);
    let listening = once(Probe::new(&record));
    simulation.reactor().listen_with(options, "10.0.0.1:7", listening).expect("free");
    let mut peer = simulation.dial("10.0.0.1:7").expect("a good address");
    assert!(simulation.run_until(|_| record.is_made()));
    peer.vanish();
    simulation.run_for(700 * SECOND);
    assert!(matches!(record.reason(), Reason::TimedOut(_)), "{:?}", record.reason());
}
