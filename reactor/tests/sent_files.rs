//! What is promised of `write_file`: on sockets, where the kernel sends the file, and on the simulated
//! network, where it is read a piece at a time.

#![allow(clippy::disallowed_methods, reason = "clients and deadlines of tests are no protocols")]

mod common;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{
    Chance, Happened, PATIENCE, Probe, Record, SERVER, assert_same, descriptors, dial, file_of,
    in_its_own_process, listen, listen_with, logs, once, pattern, reset, seeds, served,
    served_with, turn_until, turn_while,
};
use ropewalk_reactor::{
    ConnectionOptions, ListenOptions, Policy, Rate, Reactor, Reason, Simulation, TrafficLog,
    Transport, Written,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

const KIBIBYTE: usize = 1 << 10;
const MEBIBYTE: usize = 1 << 20;

/// What a file that is not nearly out counts, with the marks as they are.
const COUNTED: usize = 64 * KIBIBYTE + 1;

/// Reads until the end; an error, a reset above all, fails the test.
fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).expect("the end, not a reset");
    read
}

/// Reads until there is no more, in whichever way that is told.
fn read_what_comes(mut stream: impl Read) -> (Vec<u8>, io::Result<usize>) {
    let mut read = Vec::new();
    let end = stream.read_to_end(&mut read);
    (read, end)
}

/// A head, a file, something small, a file from its middle, a small file, two files in a row, an end.
fn write_a_mixture(transport: &mut Transport<'_>) {
    let file = Arc::new(file_of(3 * MEBIBYTE));
    transport.write(b"head");
    transport.write_file(file.clone(), 0, 3 * MEBIBYTE as u64);
    transport.write(b"middle");
    transport.write_file(file.clone(), 12_345, 20_000);
    transport.write_bytes(pattern(0, 50_000).into());
    transport.write_file(file.clone(), 1000, 10);
    transport.write_file(file.clone(), 0, 0);
    transport.write_file(file.clone(), 7, MEBIBYTE as u64);
    transport.write_file(file, 2 * MEBIBYTE as u64, MEBIBYTE as u64);
    transport.write(b"end");
}

fn the_mixture() -> Vec<u8> {
    [
        b"head".to_vec(),
        pattern(0, 3 * MEBIBYTE),
        b"middle".to_vec(),
        pattern(12_345, 20_000),
        pattern(0, 50_000),
        pattern(1000, 10),
        pattern(7, MEBIBYTE),
        pattern(2 * MEBIBYTE, MEBIBYTE),
        b"end".to_vec(),
    ]
    .concat()
}

fn mixing(record: &Record) -> Probe {
    Probe::new(record).on_made(|transport| {
        write_a_mixture(transport);
        transport.lose_connection();
        Ok(())
    })
}

// Order.

#[test]
fn on_a_tcp_socket_files_arrive_in_order_with_what_was_written_before_and_behind_them() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let address = listen(&mut reactor, once(mixing(&record)));
    let received = turn_while(&mut reactor, move || read_all(dial(address)));
    assert_same(received, the_mixture());
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Closed), "{:?}", record.reason());
}

#[test]
fn on_a_unix_socket_they_do_too() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let name = format!("ropewalk-sent-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let address = format!("unix:{}", path.display());
    reactor.listen(&address, once(mixing(&record))).expect("a free path");
    let received = turn_while(&mut reactor, move || {
        let stream = UnixStream::connect(path).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        read_all(stream)
    });
    assert_same(received, the_mixture());
}

#[test]
fn any_interleaving_of_files_writes_and_partial_sends_delivers_their_concatenation() {
    let file = Arc::new(file_of(300_000));
    for seed in seeds(200) {
        let mut chance = Chance::new(seed);
        let record = Record::new();
        let (mut simulation, mut peer) = served(Some(seed), Probe::new(&record));
        simulation.capacity(1 + chance.below(60_000) as usize);
        let (mut written, mut received) = (Vec::new(), Vec::new());
        for _ in 0..chance.below(10) {
            let id = record.id();
            let mut transport = simulation.reactor().connection(id).expect("it is open");
            for _ in 0..chance.below(10) {
                let most = [2, 100, 16 * 1024, 40_000, 200_000][chance.below(5) as usize];
                let (from, length) = (chance.below(100_000) as usize, chance.below(most) as usize);
                let data = pattern(from, length);
                match chance.below(3) {
                    0 => transport.write_bytes(data.clone().into()),
                    1 => transport.write(&data),
                    _ => transport.write_file(file.clone(), from as u64, length as u64),
                };
                written.extend(data);
            }
            peer.stop_reading();
            for _ in 0..chance.below(20) {
                simulation.step();
                received.extend(peer.read_at_most(chance.below(50_000) as usize));
            }
            peer.resume_reading();
        }
        let mut transport = simulation.reactor().connection(record.id()).expect("it is open");
        transport.lose_connection();
        simulation.settle();
        received.extend(peer.read());
        assert_same(received, written);
    }
}

/// As recvmsg(2) until the end: all bytes, and for each descriptor the bytes that it may have come with.
fn read_with_descriptors(stream: &UnixStream) -> (Vec<u8>, Vec<Range<usize>>) {
    let (mut read, mut descriptors) = (Vec::new(), Vec::new());
    loop {
        let mut piece = vec![0; 30_000];
        let mut space = [MaybeUninit::uninit(); 64];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let segments = &mut [IoSliceMut::new(&mut piece)];
        let message = recvmsg(stream, segments, &mut control, RecvFlags::empty());
        let count = message.expect("the end, not a reset").bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = message {
                descriptors.extend(came.map(|_| read.len()..read.len() + count));
            }
        }
        read.extend_from_slice(&piece[..count]);
        if count == 0 {
            return (read, descriptors);
        }
    }
}

#[test]
fn a_descriptor_between_files_comes_with_its_own_byte() {
    let memory = pattern(0, 100_000).leak();
    for sent_by_the_kernel in [true, false] {
        let mut reactor = Reactor::new().expect("a poller");
        let place = memory.as_ptr() as u64;
        let probe = Probe::new(&Record::new()).on_made(move |transport| {
            let (file, from) = match sent_by_the_kernel {
                true => (file_of(100_000), 0),
                false => (File::open("/proc/self/mem")?, place),
            };
            let file = Arc::new(file);
            transport.write(b"head");
            transport.write_file(file.clone(), from, 100_000);
            transport.write_with_descriptors(b"x", [File::open("/dev/null")?.into()])?;
            transport.write_file(file, from, 50_000);
            transport.lose_connection();
            Ok(())
        });
        let name = format!("ropewalk-descriptor-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        reactor.listen(&format!("unix:{}", path.display()), once(probe)).expect("a free path");
        let (read, descriptors) = turn_while(&mut reactor, move || {
            let stream = UnixStream::connect(path).expect("somebody listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            read_with_descriptors(&stream)
        });
        let all = [b"head".to_vec(), pattern(0, 100_000), b"x".to_vec(), pattern(0, 50_000)];
        assert_same(read, all.concat());
        assert_eq!(descriptors.len(), 1);
        assert!(descriptors[0].contains(&100_004), "{descriptors:?}");
    }
}

/// A file that sendfile(2) refuses: the memory of this process, read where the pattern lies.
#[test]
fn a_file_that_the_kernel_does_not_send_is_read() {
    let mut reactor = Reactor::new().expect("a poller");
    let data = pattern(0, 300_000).leak();
    let (place, length) = (data.as_ptr() as u64, data.len() as u64);
    let probe = Probe::new(&Record::new()).on_made(move |transport| {
        transport.write(b"head");
        transport.write_file(File::open("/proc/self/mem")?, place, length);
        transport.write(b"end");
        transport.lose_connection();
        Ok(())
    });
    let address = listen(&mut reactor, once(probe));
    let received = turn_while(&mut reactor, move || read_all(dial(address)));
    assert_same(received, [b"head", &*data, b"end"].concat());
}

// Marks and limits.

#[test]
fn a_large_file_pauses_and_is_nearly_out_when_the_next_is_asked_for() {
    let file = Arc::new(file_of(MEBIBYTE));
    for seed in seeds(50) {
        let record = Record::new();
        let length = MEBIBYTE as u64;
        let (first, second) = (file.clone(), file.clone());
        let left = Rc::new(Cell::new(None));
        let at_resume = left.clone();
        let probe = Probe::new(&record)
            .on_made(move |transport| {
                assert_eq!(transport.write(b"head"), Written::Taken);
                let written = transport.write_file(first.clone(), 0, length);
                assert_eq!(written, Written::AboveHighWater);
                assert_eq!(transport.buffered(), 4 + COUNTED);
                Ok(())
            })
            .on_resume(move |transport| {
                if at_resume.get().is_none() {
                    at_resume.set(Some(transport.buffered()));
                    transport.write_file(second.clone(), 0, length);
                } else {
                    transport.lose_connection();
                }
            });
        // The whole file is above every limit; what counts of it is not.
        let options = ConnectionOptions::default().stop_reading_mark(150_000).output_limit(200_000);
        let (mut simulation, mut peer) = served_with(Some(seed), options, probe);
        simulation.capacity(10_000);
        peer.write(b"still read");
        simulation.settle();
        assert_same(record.data(), b"still read");
        assert_same(
            peer.read(),
            [b"head".to_vec(), pattern(0, MEBIBYTE), pattern(0, MEBIBYTE)].concat(),
        );
        assert!(left.get().is_some_and(|left| left <= 16 * KIBIBYTE), "{left:?}");
        assert!(record.count(&Happened::Resumed) == 2, "{:?}", record.story().events);
        assert!(!peer.was_reset());
    }
}

#[test]
fn files_that_nobody_takes_are_too_many_in_the_end() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let file = Arc::new(file_of(20_000));
    let held = file.clone();
    let probe = Probe::new(&record).on_data(move |transport, data| {
        data.clear();
        for _ in 0..1000 {
            transport.write_file(held.clone(), 0, 20_000);
        }
        Ok(())
    });
    let options = ConnectionOptions::default().output_limit(10_000_000);
    let address = listen_with(&mut reactor, options, once(probe));
    let mut client = dial(address);
    client.write_all(b"all of them").expect("room");
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::OutputLimit(_)), "{:?}", record.reason());
}

#[test]
fn one_turn_sends_its_share_and_the_others_have_theirs() {
    let mut reactor = Reactor::new().expect("a poller");
    let policy = Policy::new();
    let options = ListenOptions::default().policy(policy.clone());
    let (length, record) = (64 * MEBIBYTE, Record::new());
    let file = file_of(0);
    file.set_len(length as u64).expect("a hole");
    let file = Arc::new(file);
    let probe = Probe::new(&record).on_made(move |transport| {
        transport.write_file(file.clone(), 0, length as u64);
        transport.lose_connection();
        Ok(())
    });
    let listener = reactor.listen_with(options, "127.0.0.1:0", once(probe)).expect("free");
    let address = reactor.address(listener).expect("it listens").socket_addr().expect("TCP");
    let client = common::spawn(move || io::copy(&mut dial(address), &mut io::sink()));
    let (mut sent, mut most) = (0, 0);
    turn_until(&mut reactor, |_| {
        let now = policy.counts().bytes_out;
        most = most.max(now - sent);
        sent = now;
        record.is_lost()
    });
    assert_eq!(client.join().expect("no panic").expect("the end"), length as u64);
    assert_eq!(sent, length as u64);
    assert!(most <= MEBIBYTE as u64, "{most} bytes in one turn");
    assert!(most > 64 * KIBIBYTE as u64, "and by the kernel, not in pieces: {most}");
}

// Readers.

#[test]
fn on_sockets_a_slow_reader_gets_all_and_costs_no_memory() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let length = 24 * MEBIBYTE;
    let file = Arc::new(file_of(length));
    let probe = Probe::new(&record).on_made(move |transport| {
        transport.write_file(file.clone(), 0, length as u64);
        transport.write(b"end");
        transport.lose_connection();
        Ok(())
    });
    let address = listen(&mut reactor, once(probe));
    let mut client = dial(address);
    let (mut received, mut piece) = (Vec::new(), vec![0; 300_000]);
    while !received.ends_with(b"end") {
        for _ in 0..3 {
            reactor.turn(Some(Duration::ZERO)).expect("a turn");
        }
        if let Some(transport) = reactor.connection(record.id()) {
            assert!(transport.buffered() <= COUNTED + 3);
        }
        let count = turn_some(&mut reactor, &mut client, &mut piece);
        received.extend_from_slice(&piece[..count]);
    }
    assert_same(received, [pattern(0, length), b"end".to_vec()].concat());
}

/// Reads something, and lets the reactor turn while there is nothing.
fn turn_some(reactor: &mut Reactor, client: &mut std::net::TcpStream, piece: &mut [u8]) -> usize {
    client.set_nonblocking(true).expect("a socket");
    loop {
        match client.read(piece) {
            Ok(count) => return count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                reactor.turn(Some(Duration::from_millis(5))).expect("a turn");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_half_close_comes_behind_the_file_and_the_peer_may_still_speak() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let probe = Probe::new(&record).on_made(|transport| {
        transport.write_file(file_of(5 * MEBIBYTE), 0, 5 * MEBIBYTE as u64);
        transport.lose_write_connection();
        assert_eq!(transport.write_file(file_of(10), 0, 10), Written::Gone);
        Ok(())
    });
    let address = listen(&mut reactor, once(probe));
    let received = turn_while(&mut reactor, move || {
        let mut client = dial(address);
        let mut received = vec![0; MEBIBYTE];
        client.read_exact(&mut received).expect("a part of it");
        received.extend(read_all(&mut client));
        client.write_all(b"thanks").expect("it still reads");
        client.shutdown(Shutdown::Write).expect("a socket");
        received
    });
    assert_same(received, pattern(0, 5 * MEBIBYTE));
    turn_until(&mut reactor, |_| record.is_lost());
    assert_same(record.data(), b"thanks");
}

// The end of a file, and of a connection.

/// Writes a head and a file, cuts the file, and says how it ended.
fn cut(transport: &mut Transport<'_>) {
    let file = Arc::new(file_of(MEBIBYTE));
    transport.write(b"head");
    transport.write_file(file.clone(), 0, MEBIBYTE as u64);
    transport.write(b"never");
    transport.lose_connection();
    file.set_len(100_000).expect("it is ours");
}

fn assert_was_cut(record: &Record) {
    let Reason::File(failure) = record.reason() else { panic!("{:?}", record.reason()) };
    assert_eq!(failure.kind(), ErrorKind::UnexpectedEof, "{failure}");
    let told = format!("the file ends {} bytes before", MEBIBYTE - 100_000);
    assert_eq!(logs::count(&told), 1, "{:?}", logs::lines());
}

#[test]
fn on_sockets_a_file_that_has_shrunk_ends_the_connection_with_a_reset() {
    logs::collect();
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let probe = Probe::new(&record).on_made(|transport| {
        cut(transport);
        Ok(())
    });
    let address = listen(&mut reactor, once(probe));
    let (received, end) = turn_while(&mut reactor, move || read_what_comes(dial(address)));
    assert_eq!(end.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    let whole = [b"head".to_vec(), pattern(0, 100_000)].concat();
    assert_same(&received, &whole[..received.len()]);
    turn_until(&mut reactor, |_| record.is_lost());
    assert_was_cut(&record);
}

#[test]
fn in_a_simulation_it_does_too() {
    for seed in seeds(20) {
        logs::collect();
        let record = Record::new();
        let probe = Probe::new(&record).on_made(|transport| {
            cut(transport);
            Ok(())
        });
        let (mut simulation, mut peer) =
            served_with(Some(seed), ConnectionOptions::default(), probe);
        simulation.settle();
        assert!(peer.was_reset());
        let received = peer.read();
        let whole = [b"head".to_vec(), pattern(0, 100_000)].concat();
        assert_same(&received, &whole[..received.len()]);
        assert_was_cut(&record);
    }
}

#[test]
fn a_file_that_cannot_be_read_ends_the_connection() {
    for length in [10, MEBIBYTE] {
        logs::collect();
        let mut reactor = Reactor::new().expect("a poller");
        let record = Record::new();
        let probe = Probe::new(&record).on_made(move |transport| {
            let unreadable = File::options().write(true).open("/dev/null")?;
            let written = transport.write_file(unreadable, 0, length as u64);
            assert_eq!(written == Written::Gone, length == 10);
            Ok(())
        });
        let address = listen(&mut reactor, once(probe));
        let (_, end) = turn_while(&mut reactor, move || read_what_comes(dial(address)));
        assert!(end.is_err());
        turn_until(&mut reactor, |_| record.is_lost());
        let Reason::File(failure) = record.reason() else { panic!("{:?}", record.reason()) };
        assert_eq!(failure.raw_os_error(), Some(libc::EBADF));
        assert_eq!(logs::count("a file could not be sent"), 1, "{:?}", logs::lines());
    }
}

#[test]
fn files_are_closed_when_they_are_out_and_when_the_connection_is_lost() {
    const NAME: &str = "files_are_closed_when_they_are_out_and_when_the_connection_is_lost";
    in_its_own_process(NAME, || {
        let mut reactor = Reactor::new().expect("a poller");
        let ids = Rc::new(RefCell::new(Vec::new()));
        let known = ids.clone();
        let address = listen(&mut reactor, move |_| {
            let known = known.clone();
            Probe::new(&Record::new()).on_made(move |transport| {
                known.borrow_mut().push(transport.id());
                for _ in 0..3 {
                    transport.write_file(file_of(9 * MEBIBYTE), 0, 9 * MEBIBYTE as u64);
                }
                Ok(())
            })
        });
        for way in ["taken", "aborted", "reset"] {
            let before = descriptors();
            let mut client = dial(address);
            turn_until(&mut reactor, |_| !ids.borrow().is_empty());
            let id = ids.borrow_mut().remove(0);
            assert!(descriptors() >= before + 5, "two sockets, and files");
            match way {
                "taken" => {
                    turn_while(&mut reactor, move || {
                        client.read_exact(&mut vec![0; 27 * MEBIBYTE]).expect("all of them");
                        drop(client);
                    });
                    turn_until(&mut reactor, |reactor| reactor.connection(id).is_none());
                }
                "aborted" => {
                    reactor.connection(id).expect("it is open").abort_connection();
                    reactor.turn(Some(Duration::ZERO)).expect("a turn");
                    assert_eq!(descriptors(), before + 1, "only the client's, in the same turn");
                    drop(client);
                }
                _ => {
                    reset(client);
                    turn_until(&mut reactor, |reactor| reactor.connection(id).is_none());
                }
            }
            assert_eq!(descriptors(), before, "{way}");
        }
    });
}

// Policies.

/// How long a peer of a connection with this policy waits for 200,004 bytes, and the end.
fn time_for(seed: u64, policy: &Policy, write: fn(&mut Transport<'_>)) -> Duration {
    let mut simulation = Simulation::new(seed);
    let probe = Probe::new(&Record::new()).on_made(move |transport| {
        transport.write(b"head");
        write(transport);
        transport.lose_connection();
        Ok(())
    });
    let options = ListenOptions::default().policy(policy.clone());
    simulation.reactor().listen_with(options, SERVER, once(probe)).expect("a free address");
    let mut peer = simulation.dial(SERVER).expect("a good address");
    simulation.run_until(|_| peer.is_ended());
    assert_same(peer.read(), [b"head".to_vec(), pattern(0, 200_000)].concat());
    assert_eq!(policy.counts().bytes_out, 200_004);
    simulation.elapsed()
}

#[test]
fn a_file_keeps_to_a_rate_as_bytes_do() {
    let rate = Rate::per_second(10_000).burst(2000);
    for seed in seeds(20) {
        for policy in
            [|rate| Policy::new().rate_out(rate), |rate| Policy::new().total_rate_out(rate)]
        {
            let bytes = time_for(seed, &policy(rate), |transport| {
                transport.write_bytes(pattern(0, 200_000).into());
            });
            let file = time_for(seed, &policy(rate), |transport| {
                transport.write_file(file_of(200_000), 0, 200_000);
            });
            assert!(file >= Duration::from_secs(19), "{file:?}");
            assert!(file <= bytes + bytes / 10, "{file:?} instead of {bytes:?}");
        }
    }
}

#[test]
fn on_sockets_a_rate_holds_for_what_the_kernel_sends() {
    let mut reactor = Reactor::new().expect("a poller");
    let policy = Policy::new().rate_out(Rate::per_second(10_000_000).burst(100_000));
    let probe = Probe::new(&Record::new()).on_made(|transport| {
        transport.write_file(file_of(3_100_000), 0, 3_100_000);
        transport.lose_connection();
        Ok(())
    });
    let options = ListenOptions::default().policy(policy.clone());
    let listener = reactor.listen_with(options, "127.0.0.1:0", once(probe)).expect("free");
    let address = reactor.address(listener).expect("it listens").socket_addr().expect("TCP");
    let (received, took) = turn_while(&mut reactor, move || {
        let began = std::time::Instant::now();
        (read_all(dial(address)), began.elapsed())
    });
    assert_same(received, pattern(0, 3_100_000));
    assert!(took >= Duration::from_millis(295), "{took:?} for 0.3 s of bytes");
    assert_eq!(policy.counts().bytes_out, 3_100_000);
}

#[test]
fn a_traffic_log_has_the_first_of_a_file_and_how_long_it_is() {
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);
    impl Write for Paper {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(data)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let paper = Paper::default();
    let policy = Policy::new().traffic_log(TrafficLog::to(paper.clone()));
    let mut simulation = Simulation::calm();
    let probe = Probe::new(&Record::new()).on_made(|transport| {
        transport.write_file(file_of(100_000), 50_000, 50_000);
        transport.lose_connection();
        Ok(())
    });
    let options = ListenOptions::default().policy(policy.clone());
    simulation.reactor().listen_with(options, SERVER, once(probe)).expect("free");
    let _peer = simulation.dial(SERVER).expect("a good address");
    simulation.settle();
    let said = String::from_utf8(paper.0.lock().expect("no panic").clone()).expect("text");
    assert!(said.contains(" out 50000\n"), "{said}");
    assert!(said.contains(&format!("00000000  {:02x} ", pattern(50_000, 1)[0])), "{said}");
    assert!(said.contains("(and 33616 bytes more)"), "{said}");
}
