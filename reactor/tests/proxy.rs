//! What is promised of connections that a proxy passes on: the header comes first, and the peer is
//! whom it names.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use common::{Chance, Happened, Probe, Record, dial, logs, once, seeds, turn_until, turn_while};
use ropewalk_reactor::{
    Address, ConnectionOptions, ListenOptions, Protocol, Reactor, Simulation, Transport,
};

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x13\x88\0\x50";
/// Whom both name.
const CLIENT: &str = "tcp://192.0.2.1:5000";
const SERVER: &str = "10.0.0.1:7?proxy=true";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// An echo that writes down whom its factory and its transport name.
fn listening(simulation: &mut Simulation, record: &Record) -> Rc<RefCell<Vec<String>>> {
    let names = Rc::<RefCell<Vec<String>>>::default();
    let (asked, made, lost) = (names.clone(), names.clone(), names.clone());
    let mut probe = Some(
        Probe::echo(record)
            .on_made(move |transport| {
                made.borrow_mut().push(transport.peer().to_string());
                Ok(())
            })
            .on_lost(move |transport, _| lost.borrow_mut().push(transport.peer().to_string())),
    );
    let listener = simulation.reactor().listen(SERVER, move |peer: Address| {
        asked.borrow_mut().push(peer.to_string());
        probe.take()
    });
    listener.expect("a free address");
    names
}

#[test]
fn the_peer_is_whom_the_header_names_and_what_follows_it_is_data() {
    for seed in seeds(300) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        let record = Record::new();
        let names = listening(&mut simulation, &record);
        let mut peer = simulation.dial("10.0.0.1:7").expect("a good address");
        let header = [V1, V2][chance.below(2) as usize];
        // All in one write, in two that cut anywhere, or byte by byte.
        let all = [header, b"hello"].concat();
        match chance.below(3) {
            0 => peer.write(&all),
            1 => {
                let (one, other) = all.split_at(chance.below(all.len() as u64) as usize);
                peer.write(one);
                simulation.run_for(Duration::from_secs(1));
                assert!(one.len() >= header.len() || !record.is_made(), "seed {seed}: too soon");
                peer.write(other);
            }
            _ => {
                for byte in all.chunks(1) {
                    peer.write(byte);
                    simulation.run_for(Duration::from_millis(chance.below(20)));
                }
            }
        }
        if chance.one_in(2) {
            peer.shutdown();
        }
        simulation.settle();
        assert_eq!(peer.read(), "hello", "seed {seed}");
        assert_eq!(record.data(), b"hello", "seed {seed}");
        peer.shutdown();
        simulation.settle();
        assert!(record.is_lost());
        assert_eq!(*names.borrow(), [CLIENT; 3], "seed {seed}");
        assert_eq!(simulation.reactor().timer_count(), 0, "seed {seed}");
    }
}

#[test]
fn a_header_without_a_client_leaves_the_address_of_the_socket() {
    for header in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        for seed in seeds(20) {
            let mut simulation = Simulation::new(seed);
            let record = Record::new();
            let names = listening(&mut simulation, &record);
            let mut peer = simulation.dial("10.0.0.1:7").expect("a good address");
            peer.write(header);
            peer.write(b"hello");
            simulation.settle();
            assert_eq!(peer.read(), "hello");
            assert!(names.borrow()[0].starts_with("tcp://127.0.0.1:"), "{names:?}");
        }
    }
}

#[test]
fn what_is_no_header_closes_that_connection_with_one_line_in_the_log_and_no_other() {
    for (sent, ends, problem) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], false, "begins with something else"),
        (b"PROXY TCP4 nonsense\r\n", false, "none of that family"),
        (&[b'P'; 1], true, "it ends in the middle"),
        (&V2[..20], true, "it ends in the middle"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", false, "longer than 4096 bytes"),
        (b"PRO", false, "no PROXY header came within 5s"),
        (b"", false, "no PROXY header came within 5s"),
    ] {
        for seed in seeds(20) {
            logs::collect();
            let mut simulation = Simulation::new(seed);
            let record = Record::new();
            let names = listening(&mut simulation, &record);
            let mut good = simulation.dial("10.0.0.1:7").expect("a good address");
            good.write(V1);
            good.write(b"hel");
            let mut peer = simulation.dial("10.0.0.1:7").expect("a good address");
            peer.write(sent);
            if ends {
                peer.shutdown();
            }
            simulation.settle();
            assert!(peer.is_ended(), "seed {seed}: {}", sent.escape_ascii());
            let lines: Vec<_> = logs::lines();
            assert_eq!(logs::count(problem), 1, "{lines:?}");
            assert_eq!(logs::count("tcp://127.0.0.1:"), 1, "{lines:?}");
            good.write(b"lo");
            simulation.settle();
            assert_eq!(good.read(), "hello");
            assert_eq!(names.borrow().len(), 2, "nobody was asked about it: {names:?}");
            assert_eq!(simulation.reactor().connection_count(), 1);
            assert_eq!(simulation.reactor().timer_count(), 0);
        }
    }
}

#[test]
fn whoever_only_looks_whether_the_port_is_open_is_not_worth_a_line() {
    for seed in seeds(40) {
        logs::collect();
        let mut simulation = Simulation::new(seed);
        listening(&mut simulation, &Record::new());
        let mut peer = simulation.dial("10.0.0.1:7").expect("a good address");
        simulation.run_for(Duration::from_millis(500));
        match seed % 2 {
            0 => peer.close(),
            _ => peer.reset(),
        }
        simulation.run_for(Duration::from_secs(2));
        assert_eq!(logs::lines(), [""; 0]);
        assert_eq!(simulation.reactor().timer_count(), 0, "nor is it waited for");
        drop(peer);
        simulation.settle();
        assert_eq!(simulation.open_sockets(), 0);
    }
}

#[test]
fn the_time_that_a_header_has_can_be_set() {
    let mut simulation = Simulation::calm();
    let options = ListenOptions::default().proxy(true).proxy_timeout(Duration::from_secs(1));
    let record = Record::new();
    let listening =
        simulation.reactor().listen_with(options, "10.0.0.1:7", once(Probe::echo(&record)));
    listening.expect("a free address");
    let mut in_time = simulation.dial("10.0.0.1:7").expect("a good address");
    let late = simulation.dial("10.0.0.1:7").expect("a good address");
    simulation.run_for(Duration::from_millis(900));
    in_time.write(V1);
    simulation.run_for(Duration::from_millis(200));
    assert!(record.is_made() && !in_time.is_ended());
    assert!(late.is_ended());
}

#[test]
fn a_listener_or_a_reactor_that_stops_closes_what_has_not_said_who_it_is() {
    for seed in seeds(40) {
        let mut simulation = Simulation::new(seed);
        let reactor = simulation.reactor();
        let listener = reactor.listen(SERVER, |_| Probe::default()).expect("a free address");
        let made = Rc::new(Cell::new(0));
        let count = made.clone();
        let other = reactor.listen("10.0.0.2:7?proxy=true", move |_: Address| {
            count.set(count.get() + 1);
            Probe::default()
        });
        other.expect("a free address");
        let mut one = simulation.dial("10.0.0.1:7").expect("a good address");
        let mut two = simulation.dial("10.0.0.2:7").expect("a good address");
        one.write(&V1[..10]);
        two.write(&V1[..10]);
        simulation.run_for(Duration::from_secs(2));
        assert!(simulation.reactor().stop_listening(listener));
        simulation.run_for(Duration::from_secs(1));
        assert!(one.is_ended() && !two.is_ended(), "seed {seed}");
        match seed % 2 {
            0 => simulation.reactor().stop(),
            _ => simulation.reactor().stop_now(),
        }
        simulation.run_for(Duration::from_secs(1));
        assert!(two.is_ended(), "seed {seed}");
        assert_eq!((simulation.reactor().timer_count(), made.get()), (0, 0));
        drop((one, two));
        simulation.settle();
        assert_eq!(simulation.open_sockets(), 0);
    }
}

/// Answers with the name of its peer.
struct WhoAmI;

impl Protocol for WhoAmI {
    fn data_received(
        &mut self,
        transport: &mut Transport<'_>,
        data: &mut bytes::BytesMut,
    ) -> ropewalk_reactor::Result {
        if data.ends_with(b"\n") {
            data.clear();
            transport.write(transport.peer().to_string().as_bytes());
            transport.lose_connection();
        }
        Ok(())
    }
}

#[test]
fn on_sockets_a_header_and_data_in_one_packet_or_byte_by_byte_are_told_apart() {
    let mut reactor = Reactor::new().expect("a poller");
    let path = std::env::temp_dir().join(format!("ropewalk-proxy-{}", std::process::id()));
    let tcp = reactor.listen("127.0.0.1:0?proxy=true", |_| WhoAmI).expect("a free port");
    let tcp = reactor.address(tcp).and_then(|address| address.socket_addr()).expect("it is TCP");
    reactor.listen(&format!("unix:{}?proxy=true", path.display()), |_| WhoAmI).expect("free");
    for header in [V1, V2] {
        for bytewise in [false, true] {
            for unix in [false, true] {
                let path = path.clone();
                let said = turn_while(&mut reactor, move || match unix {
                    true => asks(UnixStream::connect(path).expect("it listens"), header, bytewise),
                    false => asks(dial(tcp), header, bytewise),
                });
                assert_eq!(said, CLIENT);
            }
        }
    }
    // Whoever is not let in is closed, and nothing waits for it.
    let said = turn_while(&mut reactor, move || asks(dial(tcp), b"", false));
    assert_eq!(said, "");
    assert_eq!(reactor.timer_count(), 0);
}

fn asks(mut stream: impl Read + Write, header: &[u8], bytewise: bool) -> String {
    let question = [header, b"who?\n"].concat();
    let size = if bytewise { 1 } else { question.len() };
    for part in question.chunks(size) {
        stream.write_all(part).expect("room");
        stream.flush().expect("a socket");
        std::thread::yield_now();
    }
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said); // a reset says nothing as well
    said
}

#[test]
fn on_sockets_a_flood_behind_the_header_arrives_whole() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let options = ListenOptions::default().proxy(true).connection(ConnectionOptions::default());
    let listener = reactor.listen_with(options, "127.0.0.1:0", once(Probe::new(&record)));
    let address = reactor.address(listener.expect("a free port")).expect("it listens");
    let address: SocketAddr = address.socket_addr().expect("it is TCP");
    let mut client = dial(address);
    turn_while(&mut reactor, move || {
        client.write_all(V2).expect("room");
        client.write_all(&common::pattern(0, 5 << 20)).expect("room in the end");
    });
    turn_until(&mut reactor, |_| record.is_lost());
    common::assert_same(record.data(), common::pattern(0, 5 << 20));
    assert_eq!(record.story().events.first(), Some(&Happened::Made));
}
