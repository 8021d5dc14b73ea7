//! What is promised of datagrams: whole or not at all, one bad one disturbs nobody, and nobody
//! fills memory with them.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::Duration;

use common::{
    Chance, PATIENCE, descriptors, in_its_own_process, logs, pattern, seeds, sleep_until,
    turn_until,
};
use ropewalk_reactor::{
    Address, DatagramId, DatagramOptions, DatagramProtocol, DatagramTransport, Error, Interface,
    Posted, Reactor, Reason, Result, Simulation, UnixAddress,
};

/// What happened to a socket, in order.
#[derive(Debug, Clone, PartialEq)]
enum Happened {
    Started,
    Datagram(Vec<u8>, Address),
    Oversized(usize),
    Refused,
    Failed(Option<Address>, ErrorKind),
    Resumed,
    Stopped(String),
}

#[derive(Clone, Default)]
struct Record(Rc<RefCell<Vec<Happened>>>);

impl Record {
    fn all(&self) -> Vec<Happened> {
        self.0.borrow().clone()
    }

    fn count(&self, like: impl Fn(&Happened) -> bool) -> usize {
        self.0.borrow().iter().filter(|happened| like(happened)).count()
    }

    fn datagrams(&self) -> Vec<Vec<u8>> {
        let happened = self.0.borrow();
        let data = |happened: &Happened| match happened {
            Happened::Datagram(data, _) => Some(data.clone()),
            _ => None,
        };
        happened.iter().filter_map(data).collect()
    }

    fn push(&self, happened: Happened) {
        let mut all = self.0.borrow_mut();
        let first = all.is_empty() == (happened == Happened::Started);
        let over = matches!(all.last(), Some(Happened::Stopped(_)));
        assert!(first && !over, "{happened:?} after {all:?}");
        all.push(happened);
    }
}

type OnDatagram = Box<dyn FnMut(&mut DatagramTransport<'_>, &[u8], Address) -> Result>;
type OnTransport = Box<dyn FnMut(&mut DatagramTransport<'_>) -> Result>;

/// Records, and does what the test says.
#[derive(Default)]
struct Probe {
    record: Record,
    started: Option<OnTransport>,
    datagram: Option<OnDatagram>,
    resumed: Option<OnTransport>,
}

impl Probe {
    fn new(record: &Record) -> Self {
        Self { record: record.clone(), ..Self::default() }
    }

    fn echo(record: &Record) -> Self {
        Self::new(record).on_datagram(|transport, data, from| {
            assert_eq!(transport.send_to(data, &from), Posted::Taken);
            Ok(())
        })
    }

    fn on_started(
        mut self,
        act: impl FnMut(&mut DatagramTransport<'_>) -> Result + 'static,
    ) -> Self {
        self.started = Some(Box::new(act));
        self
    }

    fn on_datagram(
        mut self,
        act: impl FnMut(&mut DatagramTransport<'_>, &[u8], Address) -> Result + 'static,
    ) -> Self {
        self.datagram = Some(Box::new(act));
        self
    }

    fn on_resumed(
        mut self,
        act: impl FnMut(&mut DatagramTransport<'_>) -> Result + 'static,
    ) -> Self {
        self.resumed = Some(Box::new(act));
        self
    }
}

impl DatagramProtocol for Probe {
    fn started(&mut self, transport: &mut DatagramTransport<'_>) -> Result {
        self.record.push(Happened::Started);
        self.started.as_mut().map_or(Ok(()), |act| act(transport))
    }

    fn datagram_received(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        data: &[u8],
        from: Address,
    ) -> Result {
        self.record.push(Happened::Datagram(data.to_vec(), from.clone()));
        self.datagram.as_mut().map_or(Ok(()), |act| act(transport, data, from))
    }

    fn datagram_oversized(
        &mut self,
        _: &mut DatagramTransport<'_>,
        length: usize,
        _: Address,
    ) -> Result {
        self.record.push(Happened::Oversized(length));
        Ok(())
    }

    fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) -> Result {
        self.record.push(Happened::Refused);
        Ok(())
    }

    fn send_failed(
        &mut self,
        _: &mut DatagramTransport<'_>,
        to: Option<Address>,
        failure: &io::Error,
    ) -> Result {
        self.record.push(Happened::Failed(to, failure.kind()));
        Ok(())
    }

    fn resume_producing(&mut self, transport: &mut DatagramTransport<'_>) {
        self.record.push(Happened::Resumed);
        if let Some(act) = &mut self.resumed {
            act(transport).expect("no test fails here");
        }
    }

    fn stopped(&mut self, transport: &mut DatagramTransport<'_>, reason: &Reason) {
        assert_eq!(transport.send(b"too late"), Posted::Gone);
        assert_ne!(transport.host().to_string(), "unix:(unnamed)", "it stays readable");
        self.record.push(Happened::Stopped(reason.to_string()));
    }
}

fn opened(reactor: &mut Reactor, protocol: impl DatagramProtocol) -> (DatagramId, SocketAddr) {
    let id = reactor.listen_datagram("127.0.0.1:0", protocol).expect("a free port");
    let address = reactor.datagram_address(id).expect("it is open");
    (id, address.socket_addr().expect("it is UDP"))
}

/// A socket of std's that talks to `address`.
fn peer(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(address).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let count = socket.recv(&mut buffer).expect("a datagram in time");
    buffer.truncate(count);
    buffer
}

fn udp(text: &str) -> Address {
    Address::Udp(text.parse().expect("an address"))
}

// On sockets.

#[test]
fn datagrams_keep_their_boundaries_whatever_their_size() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::default();
    let (id, address) = opened(&mut reactor, Probe::echo(&record));
    let client = peer(address);
    let sizes = [0, 1, 1400, 0, 9000, 65_507, 2];
    for size in sizes {
        client.send(&pattern(size, size)).expect("room");
    }
    turn_until(&mut reactor, |_| record.datagrams().len() == sizes.len());
    let from = Address::Udp(client.local_addr().expect("bound"));
    for (size, happened) in sizes.iter().zip(&record.all()[1..]) {
        assert_eq!(*happened, Happened::Datagram(pattern(*size, *size), from.clone()));
    }
    for size in sizes {
        assert_eq!(received(&client), pattern(size, size));
    }
    assert!(reactor.close_datagram(id));
    assert!(!reactor.close_datagram(id));
    turn_until(&mut reactor, |reactor| reactor.datagram_count() == 0);
    assert_eq!(record.all().last(), Some(&Happened::Stopped("closed here".into())));
    assert!(reactor.datagram(id).is_none());
    assert_eq!(reactor.timer_count(), 0);
}

#[test]
fn an_error_or_a_panic_over_one_is_logged_with_its_sender_and_the_socket_lives() {
    logs::collect();
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::default();
    let probe = Probe::new(&record).on_datagram(|transport, data, from| match data {
        b"bad" => Err("nonsense".into()),
        b"worse" => std::panic::resume_unwind(Box::new("at its wits' end")),
        _ => {
            transport.send_to(data, &from);
            Ok(())
        }
    });
    let (_, address) = opened(&mut reactor, probe);
    let (client, other) = (peer(address), peer(address));
    for data in [&b"bad"[..], b"worse", b"good"] {
        client.send(data).expect("room");
    }
    other.send(b"mine").expect("room");
    turn_until(&mut reactor, |_| record.datagrams().len() == 4);
    assert_eq!((received(&client), received(&other)), (b"good".to_vec(), b"mine".to_vec()));
    let from = format!("a datagram from udp://{}", client.local_addr().expect("bound"));
    assert_eq!(logs::count(&from), 2, "{:?}", logs::lines());
    assert_eq!(logs::count("nonsense"), 1);
    assert_eq!(logs::count("panicked: at its wits' end"), 1);
}

#[test]
fn one_that_is_too_long_is_reported_and_not_cut() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::default();
    let options = DatagramOptions::default().receive_limit(100);
    let id = reactor.listen_datagram_with(options, "127.0.0.1:0", Probe::new(&record));
    let address = reactor.datagram_address(id.expect("a free port")).expect("it is open");
    let client = peer(address.socket_addr().expect("UDP"));
    for size in [100, 101, 65_507, 3] {
        client.send(&pattern(0, size)).expect("room");
    }
    turn_until(&mut reactor, |_| record.all().len() == 5);
    let sizes: Vec<_> = record.datagrams().iter().map(Vec::len).collect();
    assert_eq!(sizes, [100, 3]);
    assert_eq!(record.all()[2..4], [Happened::Oversized(101), Happened::Oversized(65_507)]);
}

#[test]
fn what_cannot_be_sent_says_so_at_once_or_is_told_later() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::default();
    let answers = Rc::new(RefCell::new(Vec::new()));
    let told = answers.clone();
    let probe = Probe::new(&record).on_started(move |transport| {
        let there = udp("127.0.0.1:9");
        let broadcast = udp("255.255.255.255:9"); // not allowed
        *told.borrow_mut() = vec![
            transport.send(b"no peer"),
            transport.send_to(&[0; 65_508], &there),
            transport.send_to(b"another family", &udp("[::1]:9")),
            transport.send_to(b"another kind", &Address::Unix(UnixAddress::unnamed())),
            transport.send_to(b"forbidden", &broadcast),
        ];
        Ok(())
    });
    let (id, _) = opened(&mut reactor, probe);
    turn_until(&mut reactor, |_| record.all().len() == 2);
    use Posted::{Nowhere, Taken, TooLarge};
    assert_eq!(*answers.borrow(), [Nowhere, TooLarge, Nowhere, Nowhere, Taken]);
    let refused = Happened::Failed(Some(udp("255.255.255.255:9")), ErrorKind::PermissionDenied);
    assert_eq!(record.all()[1], refused);
    let mut transport = reactor.datagram(id).expect("it lives");
    assert_eq!((transport.queued(), transport.dropped()), (0, 0));
    assert_eq!(transport.send_to(b"on", &udp("127.0.0.1:9")), Taken);
}

#[test]
fn a_connected_socket_hears_its_peer_alone_and_is_told_when_nobody_is_there() {
    let mut reactor = Reactor::new().expect("a poller");
    let server = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let there = server.local_addr().expect("bound");
    let record = Record::default();
    let probe = Probe::new(&record).on_started(move |transport| {
        assert_eq!(transport.peer(), Some(Address::Udp(there)));
        assert_eq!(transport.send(b"hello"), Posted::Taken);
        Ok(())
    });
    let opened = Rc::new(Cell::new(None));
    let told = opened.clone();
    let endpoint = format!("udp://{there}");
    reactor.connect_datagram(&endpoint, probe).then(move |_, id| told.set(id.ok()));
    assert!(record.all().is_empty(), "from inside");
    turn_until(&mut reactor, |_| opened.get().is_some());
    let mut buffer = [0; 100];
    let (count, client) = server.recv_from(&mut buffer).expect("in time");
    assert_eq!(&buffer[..count], b"hello");
    // A stranger is not heard.
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    stranger.send_to(b"psst", client).expect("room");
    server.send_to(b"welcome", client).expect("room");
    turn_until(&mut reactor, |_| record.all().len() == 2);
    assert_eq!(record.datagrams(), [b"welcome"]);

    drop(server);
    let id = opened.get().expect("it was opened");
    for round in 1..4 {
        // Each datagram is refused, and none is taken for the refusal of another.
        assert_eq!(reactor.datagram(id).expect("it lives").send(b"?"), Posted::Taken);
        sleep_until(&mut reactor, |_| {
            record.count(|happened| *happened == Happened::Refused) == round
        });
    }
    // Of several at once, too, though each but the first meets the refusal of the one before.
    let mut transport = reactor.datagram(id).expect("it lives");
    for _ in 0..5 {
        assert_eq!(transport.send(b"?"), Posted::Taken);
    }
    sleep_until(&mut reactor, |reactor| {
        reactor.datagram(id).is_some_and(|port| port.queued() == 0)
    });
    assert_eq!(record.count(|happened| matches!(happened, Happened::Failed(..))), 0);

    // And when somebody is there again, all is well: what was refused before costs nothing new.
    reactor.datagram(id).expect("it lives").send(b"refused");
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    let server = UdpSocket::bind(there).expect("it is free");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // The refusal does not hide what comes behind it.
    let refused = record.count(|happened| *happened == Happened::Refused);
    server.send_to(b"behind it", client).expect("room");
    sleep_until(&mut reactor, |_| {
        record.datagrams().last().is_some_and(|last| last == b"behind it")
    });
    assert!(record.count(|happened| *happened == Happened::Refused) > refused);
    reactor.datagram(id).expect("it lives").send(b"again");
    turn_until(&mut reactor, |reactor| reactor.datagram(id).is_some_and(|port| port.queued() == 0));
    assert_eq!(received(&server), b"again");
}

#[test]
fn a_burst_is_received_whole_in_turns_of_bounded_size() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::default();
    let (_, address) = opened(&mut reactor, Probe::new(&record));
    let client = peer(address);
    // Fewer than a receive buffer holds, more than a turn takes.
    for number in 0..150_u32 {
        client.send(&number.to_be_bytes()).expect("room");
    }
    let mut turns = 0;
    while record.datagrams().len() < 150 {
        let before = record.datagrams().len();
        reactor.turn(Some(PATIENCE)).expect("a turn");
        let taken = record.datagrams().len() - before;
        assert!(taken <= 128, "{taken} in a turn");
        turns += 1;
    }
    assert!((2..=4).contains(&turns), "{turns} turns");
    let numbers: Vec<_> = (0..150_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(record.datagrams(), numbers);
}

#[test]
fn a_socket_that_is_closed_in_the_middle_of_a_burst_delivers_no_more_of_it() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::default();
    let probe = Probe::new(&record).on_datagram(|transport, data, _| {
        if data == b"last" {
            transport.close();
        }
        Ok(())
    });
    let (_, address) = opened(&mut reactor, probe);
    let client = peer(address);
    for data in [&b"first"[..], b"last", b"late", b"later"] {
        client.send(data).expect("room");
    }
    turn_until(&mut reactor, |reactor| reactor.datagram_count() == 0);
    assert_eq!(record.datagrams(), [&b"first"[..], b"last"]);
}

#[test]
fn what_was_sent_before_the_close_goes_out_and_the_port_is_free_again() {
    let mut reactor = Reactor::new().expect("a poller");
    let server = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let there = Address::Udp(server.local_addr().expect("bound"));
    let record = Record::default();
    let probe = Probe::new(&record).on_started(move |transport| {
        transport.send_to(b"last words", &there);
        transport.close();
        Ok(())
    });
    let (_, address) = opened(&mut reactor, probe);
    turn_until(&mut reactor, |reactor| reactor.datagram_count() == 0);
    assert_eq!(received(&server), b"last words");
    let error = reactor.listen_datagram(server.local_addr().expect("bound"), Probe::default());
    assert!(error.expect_err("in use").is_address_in_use());
    reactor.listen_datagram(address, Probe::default()).expect("at once");
}

#[test]
fn all_that_was_sent_before_the_close_goes_out_however_many_they_are() {
    let mut simulation = Simulation::calm();
    let mut peer = simulation.open_datagram("10.0.0.2:53").expect("a free address");
    let id = simulation.reactor().listen_datagram("10.0.0.1:53", Probe::default());
    let id = id.expect("a free address");
    simulation.settle();
    let mut socket = simulation.reactor().datagram(id).expect("it is open");
    for _ in 0..1000 {
        assert_eq!(socket.send_to(b"last words", &udp("10.0.0.2:53")), Posted::Taken);
    }
    socket.close();
    simulation.settle();
    let mut count = 0;
    while peer.receive().is_some() {
        count += 1;
    }
    assert_eq!(count, 1000);
}

#[test]
fn a_queue_that_is_full_drops_counts_and_tells_when_there_is_room() {
    let mut reactor = Reactor::new().expect("a poller");
    let folder = std::env::temp_dir().join(format!("ropewalk-queue-{}", std::process::id()));
    let _ = std::fs::remove_file(&folder);
    // A Unix socket whose reader sleeps blocks its writers, as UDP on loopback does not.
    let reader = UnixDatagram::bind(&folder).expect("a free path");
    let record = Record::default();
    let options = DatagramOptions::default().queue_limit(10_000);
    let probe = Probe::new(&record).on_resumed(|transport| {
        transport.send(b"after the flood");
        Ok(())
    });
    let there = format!("unix:{}", folder.display());
    let opened = Rc::new(Cell::new(None));
    let told = opened.clone();
    reactor.connect_datagram_with(options, &there, probe).then(move |_, id| told.set(id.ok()));
    turn_until(&mut reactor, |_| opened.get().is_some());
    let id = opened.get().expect("it was opened");
    let mut taken = 0;
    while record.count(|_| true) == 1 {
        let mut transport = reactor.datagram(id).expect("it lives");
        match transport.send(&pattern(taken, 1000)) {
            Posted::Taken => taken += 1,
            Posted::Dropped => break,
            other => panic!("{other:?}"),
        }
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
    }
    let mut transport = reactor.datagram(id).expect("it lives");
    assert_eq!((transport.queued(), transport.dropped()), (10, 1));
    assert_eq!(transport.send(b""), Posted::Dropped, "even the smallest");
    // The loop sleeps until the reader reads: the edge is asked for.
    let reading = common::spawn(move || {
        reader.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut all = Vec::new();
        loop {
            let mut buffer = [0; 2000];
            let count = reader.recv(&mut buffer).expect("in time");
            all.push(buffer[..count].to_vec());
            if buffer.starts_with(b"after") {
                return all;
            }
        }
    });
    sleep_until(&mut reactor, |reactor| {
        let drained = reactor.datagram(id).is_some_and(|port| port.queued() == 0);
        drained && record.count(|happened| *happened == Happened::Resumed) > 0
    });
    turn_until(&mut reactor, |_| reading.is_finished());
    let all = reading.join().expect("it read");
    assert_eq!(all.len(), taken + 1);
    for (number, data) in all[..taken].iter().enumerate() {
        assert_eq!(*data, pattern(number, 1000), "datagram {number}");
    }
    assert_eq!(record.count(|happened| *happened == Happened::Resumed), 1);
    std::fs::remove_file(folder).expect("std leaves it");
}

#[test]
fn unix_datagrams_have_the_same_paths_and_boundaries() {
    let mut reactor = Reactor::new().expect("a poller");
    let path = std::env::temp_dir().join(format!("ropewalk-dgram-{}", std::process::id()));
    let own = path.with_extension("own");
    for path in [&path, &own] {
        let _ = std::fs::remove_file(path);
    }
    // Left by a crash; then alive.
    drop(UnixDatagram::bind(&path).expect("a free path"));
    let record = Record::default();
    let address = format!("unix:{}?mode=600", path.display());
    let id = reactor.listen_datagram(&address, Probe::echo(&record)).expect("it is stale");
    let error = reactor.listen_datagram(&address, Probe::default()).expect_err("alive");
    assert!(error.is_address_in_use(), "{error}");
    let error = reactor.listen(&address, |_| common::Probe::default()).expect_err("alive");
    assert!(error.is_address_in_use(), "as a stream, too: {error}");

    let client = UnixDatagram::bind(&own).expect("a free path");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.connect(&path).expect("it is there");
    for data in [&b"one"[..], b"", &pattern(0, 70_000)] {
        client.send(data).expect("room");
    }
    turn_until(&mut reactor, |_| record.all().len() == 4);
    let from = Address::Unix(UnixAddress::new(&own).expect("short"));
    assert_eq!(record.all()[1], Happened::Datagram(b"one".to_vec(), from.clone()));
    assert_eq!(record.all()[2], Happened::Datagram(Vec::new(), from));
    assert_eq!(record.all()[3], Happened::Oversized(70_000), "beyond 64 KiB");
    let mut buffer = [0; 10];
    assert_eq!(client.recv(&mut buffer).expect("in time"), 3);
    assert_eq!(client.recv(&mut buffer).expect("in time"), 0);

    // Whoever has no name can be sent nothing; whoever has gone is told of.
    let nameless = UnixDatagram::unbound().expect("a socket");
    nameless.send_to(b"?", &path).expect("room");
    drop(client);
    std::fs::remove_file(&own).expect("std leaves it");
    let mut transport = reactor.datagram(id).expect("it lives");
    let gone = Address::Unix(UnixAddress::new(&own).expect("short"));
    assert_eq!(transport.send_to(b"late", &gone), Posted::Taken);
    assert_eq!(transport.send_to(b"?", &Address::Unix(UnixAddress::unnamed())), Posted::Nowhere);
    let failed = Happened::Failed(Some(gone), ErrorKind::NotFound);
    // (The echo of the nameless one is not posted: its probe asserts that it is taken.)
    logs::collect();
    turn_until(&mut reactor, |_| record.count(|happened| *happened == failed) == 1);
    reactor.close_datagram(id);
    turn_until(&mut reactor, |reactor| reactor.datagram_count() == 0);
    assert!(!path.exists());
}

#[test]
fn a_broadcast_needs_permission_and_reaches_all() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::default();
    // 127.255.255.255 is the broadcast address of loopback.
    let id = reactor.listen_datagram("0.0.0.0:0", Probe::new(&record)).expect("a free port");
    let port = reactor.datagram_address(id).and_then(|address| address.port()).expect("UDP");
    let everybody = udp(&format!("127.255.255.255:{port}"));
    let sender = Record::default();
    let (from, _) = opened(&mut reactor, Probe::new(&sender));
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    let mut transport = reactor.datagram(from).expect("it lives");
    transport.send_to(b"forbidden", &everybody);
    turn_until(&mut reactor, |_| sender.all().len() == 2);
    assert!(matches!(sender.all()[1], Happened::Failed(..)), "{:?}", sender.all());
    let mut transport = reactor.datagram(from).expect("it lives");
    transport.set_broadcast(true).expect("everybody may");
    transport.send_to(b"to all", &everybody);
    turn_until(&mut reactor, |_| record.datagrams().len() == 1);
    assert_eq!(record.datagrams(), [b"to all"]);

    let options = DatagramOptions::default().broadcast(true);
    let from = reactor.listen_datagram_with(options, "127.0.0.1:0", Probe::default());
    let from = from.expect("a free port");
    reactor.datagram(from).expect("it lives").send_to(b"at once", &everybody);
    turn_until(&mut reactor, |_| record.datagrams().len() == 2);
}

#[test]
fn a_multicast_reaches_those_who_have_joined_and_no_longer_those_who_have_left() {
    let mut reactor = Reactor::new().expect("a poller");
    let loopback = Interface::Address(Ipv4Addr::LOCALHOST);
    let group = Ipv4Addr::new(239, 255, 77, 9);
    let (one, other) = (Record::default(), Record::default());
    // Both have the same port, as members of a group do.
    let options = || DatagramOptions::default().reuse_port(true);
    let first = reactor.listen_datagram_with(options(), "0.0.0.0:0", Probe::new(&one));
    let first = first.expect("a free port");
    let port = reactor.datagram_address(first).and_then(|address| address.port()).expect("UDP");
    let second = reactor.listen_datagram_with(options(), ("0.0.0.0", port), Probe::new(&other));
    let second = second.expect("it may be shared");
    let sender = reactor.listen_datagram("127.0.0.1:0", Probe::default()).expect("a free port");
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    let to = udp(&format!("{group}:{port}"));
    let send = |reactor: &mut Reactor, data: &[u8]| {
        let mut transport = reactor.datagram(sender).expect("it lives");
        transport.set_multicast_interface(loopback).expect("it is there");
        transport.set_multicast_ttl(0).expect("it goes nowhere else");
        assert_eq!(transport.send_to(data, &to), Posted::Taken);
    };
    for id in [first, second] {
        let mut transport = reactor.datagram(id).expect("it lives");
        transport.join_group(group.into(), loopback).expect("a group");
    }
    send(&mut reactor, b"both");
    turn_until(&mut reactor, |_| one.datagrams().len() == 1 && other.datagrams().len() == 1);
    let mut transport = reactor.datagram(first).expect("it lives");
    transport.leave_group(group.into(), loopback).expect("it was joined");
    transport.leave_group(group.into(), loopback).expect_err("it was left");
    send(&mut reactor, b"one");
    turn_until(&mut reactor, |_| other.datagrams().len() == 2);
    assert_eq!(one.datagrams(), [b"both"]);
    let mut transport = reactor.datagram(second).expect("it lives");
    let error = transport.join_group([10, 0, 0, 1].into(), loopback).expect_err("no group");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = transport.join_group(group.into(), Interface::Index(4711)).expect_err("none");
    assert!(error.raw_os_error().is_some());
}

#[test]
fn ipv6_multicast_takes_interfaces_by_their_index() {
    let mut reactor = Reactor::new().expect("a poller");
    let id = reactor.listen_datagram("[::1]:0", Probe::default()).expect("a free port");
    let mut transport = reactor.datagram(id).expect("it lives");
    let group = "ff01::4d09".parse().expect("a group");
    transport.join_group(group, Interface::Index(1)).expect("loopback is the first");
    transport.set_multicast_interface(Interface::Index(1)).expect("it is there");
    transport.set_multicast_ttl(3).expect("a socket");
    transport.set_multicast_loopback(true).expect("a socket");
    transport.leave_group(group, Interface::Index(1)).expect("it was joined");
    let error = transport.join_group(group, Interface::Address(Ipv4Addr::LOCALHOST));
    assert_eq!(error.expect_err("IPv4").kind(), ErrorKind::InvalidInput);
}

#[test]
fn addresses_for_datagrams_are_told_from_those_for_connections() {
    let mut reactor = Reactor::new().expect("a poller");
    for bad in ["tls://127.0.0.1:0", "127.0.0.1:0?backlog=3", "127.0.0.1:0?proxy=true"] {
        let error = reactor.listen_datagram(bad, Probe::default()).expect_err(bad);
        assert!(error.to_string().contains("these are datagrams"), "{error}");
    }
    let error = reactor.listen("udp://127.0.0.1:0", |_| common::Probe::default());
    assert!(error.expect_err("UDP").to_string().contains("udp:// carries datagrams"));
    let told = Rc::new(RefCell::new(None));
    for bad in ["udp://localhost:7", "udp://127.0.0.1:7"] {
        let tell = told.clone();
        let connecting = reactor.connect(bad, |_| common::Probe::default());
        connecting.then(move |_, result| *tell.borrow_mut() = result.err());
        turn_until(&mut reactor, |_| told.borrow().is_some());
        assert!(matches!(told.take(), Some(Error::BadAddress { .. })));
    }
    for (good, shown) in [
        ("udp://127.0.0.1:0?reuse-port=true", "udp://127.0.0.1:"),
        ("127.0.0.1:0", "udp://127.0.0.1:"),
        ("udp://[::1]:0", "udp://[::1]:"),
        ("udp://localhost:0", "udp://127.0.0.1:"),
    ] {
        let id = reactor.listen_datagram(good, Probe::default()).expect(good);
        let address = reactor.datagram_address(id).expect("it is open").to_string();
        assert!(address.starts_with(shown), "{address}");
    }
}

#[test]
fn a_stop_tells_every_socket_and_leaves_no_descriptor() {
    const NAME: &str = "a_stop_tells_every_socket_and_leaves_no_descriptor";
    in_its_own_process(NAME, || {
        let before = descriptors();
        for way in 0..3 {
            let mut reactor = Reactor::new().expect("a poller");
            let record = Record::default();
            let (_, address) = opened(&mut reactor, Probe::echo(&record));
            let client = peer(address);
            client.send(b"hello").expect("room");
            turn_until(&mut reactor, |_| record.datagrams().len() == 1);
            match way {
                0 => reactor.stop(),
                1 => reactor.stop_now(),
                _ => drop(std::mem::replace(&mut reactor, Reactor::new().expect("another"))),
            }
            if way < 2 {
                reactor.run().expect("it stops");
                let late = reactor.listen_datagram("127.0.0.1:0", Probe::default());
                assert!(matches!(late, Err(Error::Stopped)));
            }
            let over = Happened::Stopped("the reactor stopped".into());
            assert_eq!(record.all().last(), Some(&over));
            drop((reactor, client));
        }
        assert_eq!(descriptors(), before);
    });
}

// In a simulation.

#[test]
fn a_protocol_that_does_not_start_closes_its_socket_with_the_reason() {
    for panics in [false, true] {
        logs::collect();
        let mut simulation = Simulation::calm();
        let record = Record::default();
        let probe = Probe::new(&record).on_started(move |_| match panics {
            true => std::panic::resume_unwind(Box::new("no way")),
            false => Err("no way".into()),
        });
        let reactor = simulation.reactor();
        let id = reactor.listen_datagram("udp://10.0.0.1:53", probe).expect("free");
        simulation.settle();
        assert_eq!(simulation.reactor().datagram_address(id), None);
        let [Happened::Started, Happened::Stopped(reason)] = &record.all()[..] else { panic!() };
        assert!(reason.contains("no way"), "{reason}");
        assert_eq!(logs::count("no way"), 1, "{:?}", logs::lines());
        assert_eq!(simulation.open_sockets(), 0);
    }
}

#[test]
fn timers_of_a_socket_reach_its_protocol_and_die_with_it() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let fired = Rc::new(Cell::new(0));
        let count = fired.clone();
        let probe = Probe::default().on_started(move |transport| {
            for seconds in [1, 2, 3, 4] {
                let count = count.clone();
                let delay = Duration::from_secs(seconds);
                transport.call_later(delay, move |_: &mut Probe, transport| {
                    count.set(count.get() + 1);
                    if count.get() == 2 {
                        transport.close();
                    }
                });
            }
            Ok(())
        });
        simulation.reactor().listen_datagram("10.0.0.1:53", probe).expect("free");
        simulation.run_until(|simulation| fired.get() == 2 && simulation.open_sockets() == 0);
        assert_eq!(simulation.reactor().timer_count(), 0, "those to come went with it");
        simulation.settle();
        assert_eq!(fired.get(), 2, "seed {seed}");
    }
}

#[test]
fn in_a_simulation_a_connected_socket_is_refused_and_a_full_queue_drains() {
    for seed in seeds(300) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        simulation.capacity(1 << chance.below(12));
        let record = Record::default();
        let options = DatagramOptions::default().queue_limit(2000);
        let posted = Rc::new(RefCell::new(Vec::new()));
        let (first, later) = (posted.clone(), posted.clone());
        let probe = Probe::new(&record)
            .on_started(move |transport| {
                for number in 0..50_u32 {
                    first.borrow_mut().push(transport.send(&number.to_be_bytes()));
                }
                Ok(())
            })
            .on_resumed(move |transport| {
                later.borrow_mut().push(transport.send(b"resumed"));
                Ok(())
            });
        let connecting =
            simulation.reactor().connect_datagram_with(options, "udp://10.0.0.1:53", probe);
        connecting.forget();
        simulation.settle();
        let posted = posted.borrow();
        let dropped = posted.iter().filter(|posted| **posted == Posted::Dropped).count();
        assert_eq!(dropped, 50 - 2000 / 64, "seed {seed}");
        assert_eq!(record.count(|happened| *happened == Happened::Resumed), 1, "seed {seed}");
        let refused = record.count(|happened| *happened == Happened::Refused);
        assert!((1..=32).contains(&refused), "seed {seed}: {refused}");
        // The refusal of one is no failure of the next.
        assert_eq!(record.count(|happened| matches!(happened, Happened::Failed(..))), 0);
        assert_eq!(simulation.reactor().datagram_count(), 1);
    }
}

#[test]
fn a_name_is_resolved_for_a_connected_socket() {
    for seed in seeds(30) {
        let mut simulation = Simulation::new(seed);
        simulation.name("dns.test", ["10.0.0.1".parse().expect("an address")]);
        let record = Record::default();
        let server = Record::default();
        simulation.reactor().listen_datagram("10.0.0.1:53", Probe::echo(&server)).expect("free");
        let probe = Probe::new(&record).on_started(|transport| {
            transport.send(b"who?");
            Ok(())
        });
        let told = Rc::new(RefCell::new(Vec::new()));
        for (address, probe) in
            [("udp://dns.test:53", probe), ("udp://unknown.test:53", Probe::default())]
        {
            let tell = told.clone();
            let connecting = simulation.reactor().connect_datagram(address, probe);
            connecting.then(move |_, result| tell.borrow_mut().push(result.is_ok()));
        }
        simulation.settle();
        assert_eq!(record.datagrams(), [b"who?"], "seed {seed}");
        assert_eq!(told.borrow().iter().filter(|ok| **ok).count(), 1);
        assert_eq!(told.borrow().len(), 2);
    }
}
