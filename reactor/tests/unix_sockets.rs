//! What is promised of Unix stream sockets: the same as of TCP, and what is theirs alone.

mod common;

use std::cell::RefCell;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use common::{
    Happened, PATIENCE, Probe, Record, assert_same, descriptors, in_its_own_process, logs, once,
    pattern, pattern_at, sleep_until, spawn, turn_until, turn_while, use_up_descriptors,
    with_few_descriptors,
};
use ropewalk_reactor::{
    Address, ConnectionId, ConnectionOptions, Error, Factory, ListenOptions, ListenerId, Protocol,
    Reactor, Reason, Result, Transport, Written,
};

/// A directory of the test's own, with short names: a socket's path has 107 bytes at most.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ropewalk-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A reactor that listens in a folder.
struct Server {
    reactor: Reactor,
    folder: Folder,
    listener: ListenerId,
}

impl Server {
    fn new(factory: impl Factory) -> Self {
        Self::with_options(ConnectionOptions::default(), factory)
    }

    fn with_options(options: ConnectionOptions, factory: impl Factory) -> Self {
        let mut reactor = Reactor::new().expect("a poller");
        let folder = Folder::new();
        let options = ListenOptions::default().connection(options);
        let listener = reactor.listen_with(options, &folder.address(), factory);
        let listener = listener.expect("a path that is free");
        Self { reactor, folder, listener }
    }

    fn dial(&self) -> UnixStream {
        dial(&self.folder.socket())
    }
}

fn dial(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

// The path.

#[test]
fn an_echo_answers_and_both_ends_have_their_names() {
    let record = Record::new();
    let names = Rc::new(RefCell::new(Vec::new()));
    let told = names.clone();
    let probe = Probe::echo(&record).on_made(move |transport| {
        told.borrow_mut().push((transport.host(), transport.peer()));
        Ok(())
    });
    let told = names.clone();
    let probe = probe.on_lost(move |transport, _| {
        told.borrow_mut().push((transport.host(), transport.peer()));
    });
    let mut server = Server::new(once(probe));
    let mut client = server.dial();
    turn_while(&mut server.reactor, move || {
        client.write_all(b"hello").expect("room");
        let mut reply = [0; 5];
        client.read_exact(&mut reply).expect("the echo");
        assert_eq!(&reply, b"hello");
    });
    turn_until(&mut server.reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
    let address = server.reactor.address(server.listener).expect("it listens");
    assert_eq!(address.to_string(), server.folder.address());
    assert_eq!(address.path(), Some(&*server.folder.socket()));
    assert_eq!(address.socket_addr(), None);
    let names = names.borrow();
    assert_eq!(names.len(), 2);
    for (host, peer) in names.iter() {
        assert_eq!(host, &address);
        assert_eq!(peer.to_string(), "unix:(unnamed)");
    }
}

#[test]
fn the_path_is_there_while_somebody_listens_and_no_longer() {
    let mut server = Server::new(|_: Address| Probe::echo(&Record::new()));
    let path = server.folder.socket();
    assert!(fs::symlink_metadata(&path).expect("it is there").file_type().is_socket());
    let mut old = server.dial();
    turn_until(&mut server.reactor, |reactor| reactor.connection_count() == 1);
    assert!(server.reactor.stop_listening(server.listener));
    assert!(!exists(&path));
    old.write_all(b"on").expect("it outlives the listener");
    turn_while(&mut server.reactor, move || old.read_exact(&mut [0; 2]).expect("the echo"));

    let address = server.folder.address();
    server.reactor.listen(&address, |_| Probe::default()).expect("it is free again at once");
    assert!(exists(&path));
    server.reactor.stop();
    server.reactor.run().expect("it stops");
    assert!(!exists(&path), "after a stop in order");

    let mut reactor = Reactor::new().expect("a poller");
    reactor.listen(&address, |_| Probe::default()).expect("free");
    assert!(exists(&path));
    drop(reactor);
    assert!(!exists(&path), "after the reactor has gone");
}

#[test]
fn a_path_that_a_crash_has_left_is_replaced_and_one_that_is_alive_is_not() {
    let folder = Folder::new();
    let left = UnixListener::bind(folder.socket()).expect("free");
    let mut reactor = Reactor::new().expect("a poller");
    let error = reactor.listen(&folder.address(), |_| Probe::default()).expect_err("it is alive");
    assert!(error.is_address_in_use(), "{error}");
    assert!(error.to_string().contains("another process listens there already"), "{error}");
    assert!(UnixStream::connect(folder.socket()).is_ok(), "and it was left alone");

    drop(left); // std's leaves the path, as a crash does
    assert!(exists(&folder.socket()));
    reactor.listen(&folder.address(), |_| Probe::echo(&Record::new())).expect("it is stale");
    let mut client = dial(&folder.socket());
    turn_while(&mut reactor, move || {
        client.write_all(b"new").expect("room");
        client.read_exact(&mut [0; 3]).expect("the echo");
    });
    let error = reactor.listen(&folder.address(), |_| Probe::default()).expect_err("our own");
    assert!(error.is_address_in_use(), "{error}");
}

#[test]
fn a_listener_whose_queue_is_full_is_alive() {
    let folder = Folder::new();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&socket2::SockAddr::unix(folder.socket()).expect("short")).expect("free");
    socket.listen(0).expect("a socket");
    let _waiting = UnixStream::connect(folder.socket()).expect("there is room for one");
    let mut reactor = Reactor::new().expect("a poller");
    let error = reactor.listen(&folder.address(), |_| Probe::default()).expect_err("it is alive");
    assert!(error.is_address_in_use(), "{error}");
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = Folder::new();
    fs::write(folder.socket(), "precious").expect("a file");
    let mut reactor = Reactor::new().expect("a poller");
    let error = reactor.listen(&folder.address(), |_| Probe::default()).expect_err("a file");
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(fs::read(folder.socket()).expect("it is there"), b"precious");
    fs::remove_file(folder.socket()).expect("it is ours");

    // Nor is what a symbolic link points to, which is stale.
    let real = folder.0.join("real");
    drop(UnixListener::bind(&real).expect("free"));
    std::os::unix::fs::symlink(&real, folder.socket()).expect("a link");
    let error = reactor.listen(&folder.address(), |_| Probe::default()).expect_err("a link");
    assert!(error.is_address_in_use(), "{error}");
    assert!(exists(&real) && exists(&folder.socket()));

    // And one in a directory that is not there is a plain error.
    let nowhere = format!("unix:{}/no/socket", folder.0.display());
    let error = reactor.listen(&nowhere, |_| Probe::default()).expect_err("no directory");
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[test]
fn a_path_that_has_become_somebody_elses_is_not_removed() {
    let mut server = Server::new(|_: Address| Probe::default());
    let path = server.folder.socket();
    fs::remove_file(&path).expect("it is there");
    let _other = UnixListener::bind(&path).expect("free");
    assert!(server.reactor.stop_listening(server.listener));
    assert!(UnixStream::connect(&path).is_ok(), "the other is still reached");
}

#[test]
fn the_mode_is_what_was_asked_for_whatever_the_umask() {
    let folder = Folder::new();
    let mut reactor = Reactor::new().expect("a poller");
    for (written, mode) in [("660", 0o660), ("777", 0o777), ("600", 0o600)] {
        let address = format!("{}?mode={written}", folder.address());
        let listener = reactor.listen(&address, |_| Probe::default()).expect("free");
        let found = fs::symlink_metadata(folder.socket()).expect("it is there");
        assert_eq!(found.mode() & 0o777, mode);
        reactor.stop_listening(listener);
        let options = ListenOptions::default().mode(mode);
        let listener = reactor.listen_with(options, &folder.address(), |_| Probe::default());
        let found = fs::symlink_metadata(folder.socket()).expect("it is there");
        assert_eq!(found.permissions().mode() & 0o777, mode);
        reactor.stop_listening(listener.expect("free"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_listened_on_and_connected_to_and_is_free_again_at_the_end() {
    let mut reactor = Reactor::new().expect("a poller");
    let address = format!("unix:@ropewalk/test%00{}", std::process::id());
    for _ in 0..2 {
        let (served, calling) = (Record::new(), Record::new());
        let listener = reactor.listen(&address, once(Probe::echo(&served))).expect("free");
        assert_eq!(reactor.address(listener).expect("it listens").to_string(), address);
        let error = reactor.listen(&address, |_| Probe::default()).expect_err("in use");
        assert!(error.is_address_in_use(), "{error}");
        let probe = Probe::new(&calling).on_made(|transport| {
            transport.write(b"hello");
            Ok(())
        });
        let peer = Rc::new(RefCell::new(None));
        let told = peer.clone();
        let connecting = reactor.connect(&address, once(probe));
        connecting.then(move |reactor, id| {
            let id = id.expect("somebody listens");
            *told.borrow_mut() = reactor.connection(id).map(|transport| transport.peer());
        });
        turn_until(&mut reactor, |_| calling.data() == b"hello" && peer.borrow().is_some());
        assert_eq!(peer.borrow().as_ref().map(Address::to_string), Some(address.clone()));
        reactor.stop_listening(listener);
        reactor.connection(calling.id()).expect("it is open").lose_connection();
        turn_until(&mut reactor, |_| served.is_lost() && calling.is_lost());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_caller_is_served_under_any_name_and_shows_it() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, socket};
    let record = Rc::new(RefCell::new(Vec::new()));
    let seen = record.clone();
    let mut server = Server::new(move |peer: Address| {
        seen.borrow_mut().push(peer.to_string());
        Probe::echo(&Record::new())
    });
    // As long as an address can be, without a NUL at its end.
    let longest = format!("{}/{}", server.folder.0.display(), "x".repeat(108));
    let longest = SocketAddrUnix::new(&longest[..108]).expect("it fits");
    let named = SocketAddrUnix::new_abstract_name(b"caller").expect("it fits");
    let there = SocketAddrUnix::new(&*server.folder.socket()).expect("it is short");
    let mut callers = Vec::new();
    for name in [longest, named] {
        let caller = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
        bind(&caller, &name).expect("free");
        connect(&caller, &there).expect("somebody listens");
        callers.push(caller);
        turn_until(&mut server.reactor, |reactor| reactor.connection_count() == callers.len());
    }
    assert_eq!(*record.borrow(), ["unix:(unnamed)", "unix:@caller"]);
}

// The promises of every transport, where the kernel has a say.

#[test]
fn sixty_mebibytes_in_one_write_arrive_exactly_and_then_the_end() {
    const SIZE: usize = 60 << 20;
    let data = Rc::new(pattern(0, SIZE));
    let record = Record::new();
    let probe = Probe::new(&record).on_made(move |transport| {
        transport.write(&data);
        transport.lose_connection();
        Ok(())
    });
    let mut server = Server::new(once(probe));
    let mut client = server.dial();
    // Never read, and no reason to lose anything.
    client.write_all(&[1; 1000]).expect("room");
    let received = turn_while(&mut server.reactor, move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the end, not a reset");
        received
    });
    assert_same(received, pattern(0, SIZE));
    turn_until(&mut server.reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Closed), "{:?}", record.reason());
}

#[test]
fn a_flood_from_the_peer_arrives_exactly() {
    const SIZE: usize = 20 << 20;
    let record = Record::new();
    let mut server = Server::new(once(Probe::new(&record)));
    let mut client = server.dial();
    let writing = spawn(move || client.write_all(&pattern(0, SIZE)).expect("room in the end"));
    sleep_until(&mut server.reactor, |_| record.is_lost());
    writing.join().expect("it wrote all of it");
    assert_same(record.data(), pattern(0, SIZE));
}

#[test]
fn both_halves_close_apart() {
    // Ours first.
    let record = Record::new();
    let probe = Probe::new(&record).on_made(|transport| {
        transport.write(b"last words");
        transport.lose_write_connection();
        Ok(())
    });
    let mut server = Server::new(once(probe));
    let mut client = server.dial();
    turn_while(&mut server.reactor, move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the end");
        assert_eq!(received, b"last words");
        client.write_all(b"still here").expect("that half is open");
    });
    turn_until(&mut server.reactor, |_| record.is_lost());
    assert_eq!(record.data(), b"still here");
    assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());

    // The peer's first.
    let record = Record::new();
    let probe = Probe::new(&record).on_read_closed(|transport| {
        transport.write(b"a reply to it all");
        transport.lose_connection();
        Ok(())
    });
    let mut server = Server::new(once(probe));
    let mut client = server.dial();
    turn_while(&mut server.reactor, move || {
        client.write_all(b"a question").expect("room");
        client.shutdown(Shutdown::Write).expect("it is open");
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the end");
        assert_eq!(received, b"a reply to it all");
    });
    turn_until(&mut server.reactor, |_| record.is_lost());
    let expected = [Happened::Made, Happened::Data(10), Happened::ReadClosed, Happened::Lost];
    assert_eq!(record.story().events, expected);
}

#[test]
fn a_producer_is_paused_and_resumed_as_its_peer_reads() {
    const SIZE: usize = 8 << 20;
    struct Producer {
        sent: usize,
        most: Rc<RefCell<usize>>,
    }
    impl Producer {
        fn produce(&mut self, transport: &mut Transport<'_>) {
            while self.sent < SIZE {
                let written = transport.write(&pattern(self.sent, 4096));
                self.sent += 4096;
                let mut most = self.most.borrow_mut();
                *most = transport.buffered().max(*most);
                if written != Written::Taken {
                    return;
                }
            }
            transport.lose_connection();
        }
    }
    impl Protocol for Producer {
        fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
            self.produce(transport);
            Ok(())
        }

        fn data_received(&mut self, _: &mut Transport<'_>, _: &mut BytesMut) -> Result {
            Ok(())
        }

        fn resume_producing(&mut self, transport: &mut Transport<'_>) {
            self.produce(transport);
        }
    }
    let most = Rc::new(RefCell::new(0));
    let told = most.clone();
    let mut server = Server::new(move |_: Address| Producer { sent: 0, most: told.clone() });
    let mut client = server.dial();
    // The loop sleeps between: only the edge that it asks for tells that there is room again.
    let reading = spawn(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the end");
        received
    });
    turn_until(&mut server.reactor, |reactor| reactor.connection_count() == 1);
    sleep_until(&mut server.reactor, |reactor| reactor.connection_count() == 0);
    assert_same(reading.join().expect("it read"), pattern(0, SIZE));
    assert!(*most.borrow() <= 64 * 1024 + 4096, "{} buffered", most.borrow());
}

#[test]
fn a_pause_holds_data_and_the_end_back_and_resuming_delivers_them() {
    let record = Record::new();
    let probe = Probe::new(&record).on_made(|transport| {
        transport.pause_reading();
        Ok(())
    });
    let mut server = Server::new(once(probe));
    let mut client = server.dial();
    client.write_all(&pattern(0, 100_000)).expect("room");
    client.shutdown(Shutdown::Write).expect("it is open");
    for _ in 0..10 {
        server.reactor.turn(Some(Duration::ZERO)).expect("a turn");
    }
    assert_eq!(record.story().events, [Happened::Made]);
    let id = record.id();
    server.reactor.connection(id).expect("it is open").resume_reading();
    turn_until(&mut server.reactor, |_| record.is_lost());
    assert_same(record.data(), pattern(0, 100_000));
    assert!(record.has(&Happened::ReadClosed));
}

#[test]
fn a_peer_that_leaves_over_unread_bytes_is_lost_at_once_also_while_paused() {
    let record = Record::new();
    let probe = Probe::new(&record).on_made(|transport| {
        transport.pause_reading();
        transport.write(b"never read");
        Ok(())
    });
    let mut server = Server::new(once(probe));
    let client = server.dial();
    turn_until(&mut server.reactor, |_| record.is_made());
    server.reactor.turn(Some(Duration::ZERO)).expect("a turn");
    drop(client);
    sleep_until(&mut server.reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
    assert_eq!(record.reason().errno(), Some(libc::ECONNRESET));
}

#[test]
fn an_abort_ends_it_at_once_though_buffers_are_full_and_the_peer_does_not_read() {
    let record = Record::new();
    let probe = Probe::new(&record).on_made(|transport| {
        transport.write(&[7; 10 << 20]);
        Ok(())
    });
    let mut server = Server::new(once(probe));
    let mut client = server.dial();
    turn_until(&mut server.reactor, |_| record.has(&Happened::Paused));
    let mut transport = server.reactor.connection(record.id()).expect("it is open");
    transport.abort_connection();
    transport.write(b"too late");
    turn_until(&mut server.reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Aborted));
    assert_eq!(server.reactor.timer_count(), 0);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < 10 << 20 && !rest.ends_with(b"too late"), "{} bytes", rest.len());
}

#[test]
fn an_error_closes_its_connection_after_its_last_words_and_the_next_caller_is_served() {
    let mut protocols = vec![
        Probe::echo(&Record::new()),
        Probe::default().on_data(|transport, _| {
            transport.write(b"sorry");
            Err("nonsense".into())
        }),
    ];
    let mut server = Server::new(move |_: Address| protocols.pop());
    let mut client = server.dial();
    turn_while(&mut server.reactor, move || {
        client.write_all(b"?").expect("room");
        let mut said = String::new();
        client.read_to_string(&mut said).expect("the end");
        assert_eq!(said, "sorry");
    });
    let mut next = server.dial();
    turn_while(&mut server.reactor, move || {
        next.write_all(b"hello").expect("room");
        next.read_exact(&mut [0; 5]).expect("the echo");
    });
}

#[test]
fn out_of_descriptors_callers_are_turned_away_and_the_others_are_served() {
    const NAME: &str = "out_of_descriptors_callers_are_turned_away_and_the_others_are_served";
    with_few_descriptors(NAME, 100, || {
        logs::collect();
        let mut server = Server::new(|_: Address| Probe::echo(&Record::new()));
        let mut old = server.dial();
        turn_until(&mut server.reactor, |reactor| reactor.connection_count() == 1);
        let callers: Vec<_> = (0..10).map(|_| unconnected()).collect();
        let used_up = use_up_descriptors();
        let there = socket2::SockAddr::unix(server.folder.socket()).expect("short");
        for caller in &callers {
            caller.connect(&there).expect("there is room in the queue");
            caller.set_nonblocking(true).expect("a socket");
        }
        let ended = |caller: &socket2::Socket| {
            let end = (&*caller).read(&mut [0; 1]);
            !matches!(end, Err(error) if error.kind() == ErrorKind::WouldBlock)
        };
        turn_until(&mut server.reactor, |_| callers.iter().all(ended));
        old.write_all(b"alive").expect("room");
        old.set_nonblocking(true).expect("a socket");
        turn_until(&mut server.reactor, |_| old.read(&mut [0; 5]).is_ok_and(|count| count == 5));
        assert_eq!(logs::count("cannot accept on"), 1, "{:?}", logs::lines());
        drop(used_up);
        let mut new = server.dial();
        turn_while(&mut server.reactor, move || {
            new.write_all(b"new").expect("room");
            new.read_exact(&mut [0; 3]).expect("the echo");
        });
    });
}

fn unconnected() -> socket2::Socket {
    socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a descriptor")
}

// Connecting.

fn failure(reactor: &mut Reactor, address: &str) -> Error {
    let told = Rc::new(RefCell::new(None));
    let tell = told.clone();
    reactor.connect(address, |_| Probe::default()).then(move |_, result| {
        *tell.borrow_mut() = Some(result.expect_err("nobody is there"));
    });
    assert!(told.borrow().is_none(), "from inside");
    turn_until(reactor, |_| told.borrow().is_some());
    told.take().expect("it failed")
}

#[test]
fn a_connect_to_nobody_fails_with_the_reason() {
    let mut reactor = Reactor::new().expect("a poller");
    let folder = Folder::new();
    let error = failure(&mut reactor, &folder.address());
    let Error::Connect { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&folder.address()), "{error}");

    drop(UnixListener::bind(folder.socket()).expect("free"));
    let error = failure(&mut reactor, &folder.address());
    let Error::Connect { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(reactor.timer_count(), 0);
}

#[test]
fn a_connect_reaches_whoever_listens() {
    let (calling, served) = (Record::new(), Record::new());
    let mut server = Server::new(once(Probe::echo(&served)));
    let probe = Probe::new(&calling).on_made(|transport| {
        transport.write(b"hello");
        transport.lose_write_connection();
        Ok(())
    });
    let address = server.folder.address();
    let made: Rc<RefCell<Option<ConnectionId>>> = Rc::default();
    let told = made.clone();
    let connecting = server.reactor.connect(&address, once(probe));
    connecting.then(move |_, id| *told.borrow_mut() = id.ok());
    turn_until(&mut server.reactor, |_| calling.is_lost() && served.is_lost());
    assert_eq!(*made.borrow(), Some(calling.id()));
    assert_eq!(calling.data(), b"hello");
}

// Descriptors.

/// Keeps the descriptors that come, and what has come before each.
#[derive(Default)]
struct Taken {
    made: bool,
    data: Vec<u8>,
    descriptors: Vec<(usize, OwnedFd)>,
    reason: Option<Reason>,
}

struct Taker {
    most: usize,
    /// Pauses when a descriptor comes.
    pauses: bool,
    taken: Rc<RefCell<Taken>>,
}

impl Protocol for Taker {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.receive_descriptors(self.most)?;
        self.taken.borrow_mut().made = true;
        Ok(())
    }

    fn descriptor_received(
        &mut self,
        transport: &mut Transport<'_>,
        descriptor: OwnedFd,
    ) -> Result {
        let mut taken = self.taken.borrow_mut();
        let before = taken.data.len();
        taken.descriptors.push((before, descriptor));
        if self.pauses {
            transport.pause_reading();
        }
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        assert!(!transport.is_reading_paused(), "data while paused");
        self.taken.borrow_mut().data.extend_from_slice(&data.split());
        Ok(())
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.taken.borrow_mut().reason = Some(reason.clone());
    }
}

fn taker(most: usize) -> (Server, Rc<RefCell<Taken>>) {
    let taken = Rc::<RefCell<Taken>>::default();
    let told = taken.clone();
    // A peer that stays is not waited for.
    let options = ConnectionOptions::default().linger_timeout(Duration::ZERO);
    let server = Server::with_options(options, move |_: Address| Taker {
        most,
        pauses: false,
        taken: told.clone(),
    });
    (server, taken)
}

/// A file that says `text`.
fn file(folder: &Folder, text: &str) -> OwnedFd {
    let path = folder.0.join(text);
    fs::write(&path, text).expect("a file");
    fs::File::open(path).expect("it was written").into()
}

fn says(descriptor: &OwnedFd) -> String {
    let file = fs::File::from(descriptor.try_clone().expect("a descriptor"));
    std::io::read_to_string(file).expect("it is readable")
}

/// Sends `data` with descriptors, in one message.
fn send(client: &UnixStream, data: &[u8], descriptors: &[OwnedFd]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = vec![std::mem::MaybeUninit::uninit(); 4096];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let segment = [std::io::IoSlice::new(data)];
    let sent = sendmsg(client, &segment, &mut control, SendFlags::empty()).expect("room");
    assert_eq!(sent, data.len());
}

#[test]
fn descriptors_come_before_the_byte_that_they_were_sent_with() {
    let (mut server, taken) = taker(2);
    let client = server.dial();
    let files = ["one", "two", "three"].map(|text| file(&server.folder, text));
    let [one, two, three] = files;
    send(&client, b"before ", &[]);
    send(&client, b"first ", &[one, two]);
    send(&client, b"between ", &[]);
    send(&client, b"second ", &[three]);
    send(&client, b"after", &[]);
    drop(client);
    sleep_until(&mut server.reactor, |_| taken.borrow().reason.is_some());
    let taken = taken.borrow();
    assert_eq!(taken.data, b"before first between second after");
    let said: Vec<_> = taken.descriptors.iter().map(|(_, descriptor)| says(descriptor)).collect();
    assert_eq!(said, ["one", "two", "three"]);
    for ((before, descriptor), at) in taken.descriptors.iter().zip([7, 7, 21]) {
        assert!(*before <= at, "{before} bytes were delivered before it");
        let flags = rustix::io::fcntl_getfd(descriptor).expect("it is open");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "a child would inherit it");
    }
    assert!(matches!(taken.reason, Some(Reason::Done)));
}

#[test]
fn what_follows_a_descriptor_that_nobody_takes_is_not_forgotten() {
    // The kernel ends a read behind a message with descriptors: it is short, and not the last.
    for most in [0, 1] {
        let (mut server, taken) = taker(most);
        let client = server.dial();
        let one = file(&server.folder, "one");
        send(&client, b"with it, ", &[one]);
        send(&client, b"behind it", &[]);
        sleep_until(&mut server.reactor, |_| taken.borrow().data == b"with it, behind it");
        assert_eq!(taken.borrow().descriptors.len(), most);
    }
}

#[test]
fn more_descriptors_than_were_asked_for_close_the_connection_and_leak_none() {
    const NAME: &str = "more_descriptors_than_were_asked_for_close_the_connection_and_leak_none";
    in_its_own_process(NAME, || {
        for (most, sent) in [(1, 2), (1, 3), (2, 3), (2, 40), (253, 253)] {
            let (mut server, taken) = taker(most);
            let client = server.dial();
            turn_until(&mut server.reactor, |_| taken.borrow().made);
            let one = file(&server.folder, "one");
            let copies: Vec<_> =
                (0..sent).map(|_| one.try_clone().expect("a descriptor")).collect();
            send(&client, b"here", &copies);
            drop(copies);
            let before = descriptors();
            if sent > most {
                turn_until(&mut server.reactor, |_| taken.borrow().reason.is_some());
                let reason = taken.borrow().reason.clone().expect("it was lost").to_string();
                assert!(reason.contains(&format!("more than {most} file descriptors")), "{reason}");
                assert!(taken.borrow().data.is_empty() && taken.borrow().descriptors.is_empty());
                assert_eq!(descriptors(), before - 1, "that of the connection");
            } else {
                turn_until(&mut server.reactor, |_| taken.borrow().data == b"here");
                assert_eq!(descriptors(), before + sent);
            }
        }
    });
}

#[test]
fn a_pause_over_a_descriptor_holds_back_the_data_that_it_came_with() {
    let taken = Rc::<RefCell<Taken>>::default();
    let told = taken.clone();
    let mut server =
        Server::new(move |_: Address| Taker { most: 1, pauses: true, taken: told.clone() });
    let client = server.dial();
    let files = ["one", "two"].map(|text| [file(&server.folder, text)]);
    send(&client, b"first", &files[0]);
    send(&client, b" second", &files[1]);
    drop(client);
    for round in 1..=2 {
        turn_until(&mut server.reactor, |_| taken.borrow().descriptors.len() == round);
        for _ in 0..3 {
            server.reactor.turn(Some(Duration::ZERO)).expect("a turn");
        }
        assert_eq!(taken.borrow().data, [&b""[..], b"first"][round - 1]);
        let id = server.reactor.connections()[0];
        server.reactor.connection(id).expect("it is open").resume_reading();
    }
    turn_until(&mut server.reactor, |_| taken.borrow().reason.is_some());
    assert_eq!(taken.borrow().data, b"first second");
}

/// Sends what it is told to as soon as it is connected.
fn sender(act: impl FnOnce(&mut Transport<'_>) + 'static) -> impl FnMut(Address) -> Option<Probe> {
    let mut act = Some(act);
    once(Probe::default().on_made(move |transport| {
        if let Some(act) = act.take() {
            act(transport);
        }
        Ok(())
    }))
}

#[test]
fn what_is_written_with_descriptors_arrives_with_them_between_other_writes_of_any_size() {
    const BULK: usize = 3 << 20; // more than a socket holds: short writes on both sides of them
    let (mut server, taken) = taker(3);
    let files: Vec<_> =
        ["one", "two", "three", "four"].iter().map(|text| file(&server.folder, text)).collect();
    let address = server.folder.address();
    let connecting = server.reactor.connect(
        &address,
        sender(move |transport| {
            let mut files = files.into_iter();
            transport.write(&pattern(0, BULK));
            let two: Vec<_> = files.by_ref().take(2).collect();
            let written = transport.write_with_descriptors(&pattern(BULK, 10), two);
            assert!(matches!(written, Ok(Written::AboveHighWater)), "{written:?}");
            let written = transport.write_with_descriptors(&pattern(BULK + 10, 1), files.next());
            assert!(written.is_ok(), "{written:?}");
            transport.write(&pattern(BULK + 11, BULK));
            let at = 2 * BULK + 11;
            let written = transport.write_with_descriptors(&pattern(at, BULK), files.next());
            assert!(written.is_ok(), "{written:?}");
            transport.lose_connection();
        }),
    );
    connecting.forget();
    turn_until(&mut server.reactor, |_| taken.borrow().reason.is_some());
    let taken = taken.borrow();
    assert_same(&taken.data, pattern(0, 3 * BULK + 11));
    assert_eq!(taken.data[BULK], pattern_at(BULK));
    let said: Vec<_> = taken.descriptors.iter().map(|(_, descriptor)| says(descriptor)).collect();
    assert_eq!(said, ["one", "two", "three", "four"]);
    let places = [BULK, BULK, BULK + 10, 2 * BULK + 11];
    for ((before, _), at) in taken.descriptors.iter().zip(places) {
        // It comes with the read that has its byte: not after it, nor more than a read before it.
        assert!((at.saturating_sub(64 * 1024)..=at).contains(before), "{before} for {at}");
    }
}

#[test]
fn descriptors_that_wait_are_bounded_and_closed_with_the_connection() {
    const NAME: &str = "descriptors_that_wait_are_bounded_and_closed_with_the_connection";
    in_its_own_process(NAME, || {
        let record = Record::new();
        let mut server = Server::new(once(Probe::new(&record)));
        let client = server.dial();
        turn_until(&mut server.reactor, |_| record.is_made());
        let one = file(&server.folder, "one");
        let before = descriptors();
        let mut transport = server.reactor.connection(record.id()).expect("it is open");
        transport.write(&[0; 10 << 20]); // nobody reads
        for _ in 0..64 {
            let copy = one.try_clone().expect("a descriptor");
            transport.write_with_descriptors(b"x", [copy]).expect("room for 64");
        }
        let copy = one.try_clone().expect("a descriptor");
        let buffered = transport.buffered();
        let refused = transport.write_with_descriptors(b"x", [copy]).expect_err("one too many");
        assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
        assert_eq!(transport.buffered(), buffered, "and nothing was written");
        assert_eq!(descriptors(), before + 64);
        transport.abort_connection();
        turn_until(&mut server.reactor, |_| record.is_lost());
        server.reactor.turn(Some(Duration::ZERO)).expect("a turn");
        assert_eq!(descriptors(), before - 1, "that of the connection");
        drop(client);
    });
}

#[test]
fn only_unix_sockets_carry_descriptors_and_only_with_a_byte() {
    let mut server = Server::new(|_: Address| Probe::default());
    let one = file(&server.folder, "one");
    let copy = || one.try_clone().expect("a descriptor");
    let client = server.dial();
    turn_until(&mut server.reactor, |reactor| reactor.connection_count() == 1);
    let id = server.reactor.connections()[0];
    let mut transport = server.reactor.connection(id).expect("it is open");
    let error = transport.write_with_descriptors(b"", [copy()]).expect_err("no byte");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    transport.lose_connection();
    let written = transport.write_with_descriptors(b"x", [copy()]);
    assert!(matches!(written, Ok(Written::Gone)), "{written:?}");
    drop(client);

    let mut reactor = Reactor::new().expect("a poller");
    let address = common::listen(&mut reactor, |_: Address| Probe::default());
    let _client = common::dial(address);
    turn_until(&mut reactor, |reactor| reactor.connection_count() == 1);
    let id = reactor.connections()[0];
    let mut transport = reactor.connection(id).expect("it is open");
    let unsupported = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::Unsupported);
    unsupported(transport.write_with_descriptors(b"x", [copy()]).expect_err("TCP"));
    unsupported(transport.receive_descriptors(1).expect_err("TCP"));
    unsupported(transport.peer_credentials().expect_err("TCP"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_tells_who_the_peer_is() {
    let record = Record::new();
    let mut server = Server::new(once(Probe::new(&record)));
    let _client = server.dial();
    turn_until(&mut server.reactor, |_| record.is_made());
    let transport = server.reactor.connection(record.id()).expect("it is open");
    let peer = transport.peer_credentials().expect("Linux knows");
    assert_eq!(peer.process, Some(std::process::id()));
    let own = fs::metadata("/proc/self").expect("Linux");
    assert_eq!((peer.user, peer.group), (own.uid(), own.gid()));
}
