//! What is promised of writing and closing, on the simulated network and on loopback.

mod common;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::{
    Chance, Happened, Probe, Record, SERVER, assert_same, dial, listen, listen_with, once, pattern,
    reset, seeds, served, served_with, turn_until, turn_while,
};
use ropewalk_reactor::{
    ConnectionOptions, Error, ListenOptions, Reactor, Reason, Simulation, Written,
};

const MEBIBYTE: usize = 1 << 20;

/// Reads until the end; an error, a reset above all, fails the test.
fn read_all(mut stream: TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).expect("the end, not a reset");
    read
}

#[test]
fn all_written_before_a_close_arrives_and_then_the_end_though_input_was_unread() {
    for seed in seeds(100) {
        let record = Record::new();
        let server = Probe::new(&record).on_made(|transport| {
            transport.pause_reading();
            transport.write(&pattern(0, 2000));
            transport.lose_connection();
            Ok(())
        });
        let options = ConnectionOptions::default().linger_timeout(Duration::from_secs(2000));
        let (mut simulation, mut peer) = served_with(Some(seed), options, server);
        peer.write(&[7; 1000]);
        simulation.run_for(Duration::from_millis(300));
        peer.write(&[8; 1000]);
        peer.shutdown();
        simulation.settle();
        assert_same(peer.read(), pattern(0, 2000));
        assert!(peer.is_ended() && !peer.was_reset());
    }
}

#[test]
fn on_sockets_a_mebibyte_and_the_end_arrive_though_a_thousand_bytes_of_input_were_unread() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let address = listen(
        &mut reactor,
        once(Probe::new(&record).on_made(|transport| {
            transport.pause_reading();
            transport.write_bytes(pattern(0, MEBIBYTE).into());
            transport.lose_connection();
            Ok(())
        })),
    );
    let mut client = dial(address);
    client.write_all(&[7; 1000]).expect("room for it");
    let received = turn_while(&mut reactor, move || {
        let mut half = vec![0; MEBIBYTE / 2];
        client.read_exact(&mut half).expect("half of it");
        client.write_all(&[8; 1000]).expect("room for it");
        half.extend(read_all(client));
        half
    });
    assert_same(received, pattern(0, MEBIBYTE));
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Closed), "{:?}", record.reason());
    assert_eq!(record.deliveries(), 0);
}

#[test]
fn on_sockets_sixty_mebibytes_in_one_write_arrive_exactly() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let address = listen(
        &mut reactor,
        once(Probe::new(&record).on_made(|transport| {
            assert_eq!(transport.write(&pattern(0, 60 * MEBIBYTE)), Written::AboveHighWater);
            transport.lose_connection();
            Ok(())
        })),
    );
    let received = turn_while(&mut reactor, move || read_all(dial(address)));
    assert_same(received, pattern(0, 60 * MEBIBYTE));
}

#[test]
fn any_interleaving_of_writes_and_partial_sends_delivers_their_concatenation() {
    for seed in seeds(300) {
        let mut chance = Chance::new(seed);
        let record = Record::new();
        let (mut simulation, mut peer) = served(Some(seed), Probe::new(&record));
        simulation.capacity(1 + chance.below(60_000) as usize);
        let (mut written, mut received) = (0, Vec::new());
        for _ in 0..chance.below(40) {
            let id = record.id();
            let mut transport = simulation.reactor().connection(id).expect("it is open");
            for _ in 0..chance.below(90) {
                let most = [2, 100, 16 * 1024, 40_000][chance.below(4) as usize];
                let data = pattern(written, chance.below(most) as usize);
                written += data.len();
                match chance.below(3) {
                    0 => transport.write_bytes(Bytes::from(data)),
                    _ => transport.write(&data),
                };
                if written > 2_000_000 {
                    break;
                }
            }
            peer.stop_reading();
            for _ in 0..chance.below(20) {
                simulation.step();
                received.extend_from_slice(&peer.read_at_most(chance.below(50_000) as usize));
            }
            peer.resume_reading();
        }
        simulation.settle();
        received.extend_from_slice(&peer.read());
        assert_same(received, pattern(0, written));
    }
}

#[test]
fn on_sockets_many_large_and_small_segments_arrive_in_the_order_of_writing() {
    let mut reactor = Reactor::new().expect("a poller");
    let address = listen(
        &mut reactor,
        once(Probe::default().on_made(|transport| {
            let (mut chance, mut written) = (Chance::new(1), 0);
            while written < 8 * MEBIBYTE {
                let most = [10, 1000, 40_000][chance.below(3) as usize];
                let data = pattern(written, chance.below(most) as usize);
                written += data.len();
                match chance.one_in(2) {
                    true => transport.write(&data),
                    false => transport.write_bytes(data.into()),
                };
            }
            transport.write(&pattern(written, 8 * MEBIBYTE + 50_000 - written));
            transport.lose_connection();
            Ok(())
        })),
    );
    let received = turn_while(&mut reactor, move || read_all(dial(address)));
    assert_same(received, pattern(0, 8 * MEBIBYTE + 50_000));
}

#[test]
fn writes_from_connection_made_are_sent() {
    for seed in seeds(50) {
        let server = Probe::default().on_made(|transport| {
            assert_eq!(transport.write(b"220 "), Written::Taken);
            assert_eq!(transport.write(b"ready"), Written::Taken);
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        simulation.settle();
        assert_eq!(peer.read(), "220 ready");
    }
}

#[test]
fn writes_to_a_connection_that_has_gone_or_whose_write_half_is_closed_do_nothing() {
    for seed in seeds(50) {
        let record = Record::new();
        let server = Probe::new(&record)
            .on_data(|transport, data| {
                data.clear();
                transport.write(b"last");
                transport.lose_write_connection();
                assert_eq!(transport.write(b"never"), Written::Gone);
                assert_eq!(transport.write_bytes(Bytes::from(vec![0; 50_000])), Written::Gone);
                assert_eq!(transport.writability(), Written::Gone);
                assert_eq!(transport.buffered(), 4);
                Ok(())
            })
            .on_lost(|transport, _| {
                assert_eq!(transport.write(b"never"), Written::Gone);
                assert_eq!(transport.buffered(), 0);
            });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(b"x");
        simulation.settle();
        assert!(!record.is_lost());
        let id = record.id();
        let mut transport = simulation.reactor().connection(id).expect("half of it is open");
        assert_eq!(transport.write(b"never"), Written::Gone);
        peer.shutdown();
        simulation.settle();
        assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
        assert_eq!(peer.read(), "last");
        assert!(simulation.reactor().connection(id).is_none());
    }
}

#[test]
fn after_lose_connection_no_data_comes_though_bytes_are_in_flight() {
    for seed in seeds(100) {
        let record = Record::new();
        let server = Probe::new(&record).on_data(|transport, data| {
            data.clear();
            transport.lose_connection();
            Ok(())
        });
        let options = ConnectionOptions::default().linger_timeout(Duration::from_secs(2000));
        let (mut simulation, mut peer) = served_with(Some(seed), options, server);
        for _ in 0..50 {
            peer.write(&pattern(0, 100));
            simulation.step();
        }
        peer.shutdown();
        simulation.settle();
        assert_eq!(record.deliveries(), 1);
        assert!(!record.has(&Happened::ReadClosed));
        assert!(record.is_lost() && !peer.was_reset());
    }
}

#[test]
fn losing_and_aborting_in_any_order_and_number_makes_one_loss() {
    for order in 0..16 {
        for seed in seeds(5) {
            let record = Record::new();
            let server = Probe::new(&record)
                .on_data(move |transport, data| {
                    data.clear();
                    for step in 0..4 {
                        match order >> step & 1 {
                            0 => transport.lose_connection(),
                            _ => transport.abort_connection(),
                        }
                    }
                    Ok(())
                })
                .on_lost(|transport, _| {
                    transport.lose_connection();
                    transport.abort_connection();
                    transport.lose_write_connection();
                });
            let (mut simulation, mut peer) = served(Some(seed), server);
            peer.write(b"x");
            simulation.run_for(Duration::from_secs(1));
            peer.shutdown();
            simulation.settle();
            assert_eq!(record.count(&Happened::Lost), 1, "{:?}", record.story().events);
            let aborted = matches!(record.reason(), Reason::Aborted);
            assert_eq!(aborted, order != 0, "{:?}", record.reason());
        }
    }
}

#[test]
fn abort_never_calls_connection_lost_from_inside_and_nothing_written_later_is_delivered() {
    for seed in seeds(50) {
        let record = Record::new();
        let lost = Rc::new(Cell::new(false));
        let told = lost.clone();
        let server = Probe::new(&record)
            .on_data(move |transport, data| {
                data.clear();
                transport.write(b"thrown away");
                transport.abort_connection();
                assert!(!lost.get());
                assert_eq!(transport.write(b"never"), Written::Gone);
                Ok(())
            })
            .on_lost(move |_, _| told.set(true));
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(b"x");
        simulation.settle();
        assert!(matches!(record.reason(), Reason::Aborted), "{:?}", record.reason());
        assert_eq!(peer.read(), "");
        assert!(peer.was_reset());
    }
}

#[test]
fn on_sockets_abort_resets_the_peer_although_every_buffer_is_full() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let address = listen(
        &mut reactor,
        once(Probe::new(&record).on_made(|transport| {
            transport.write_bytes(vec![1; 40 * MEBIBYTE].into());
            Ok(())
        })),
    );
    let mut client = dial(address);
    turn_until(&mut reactor, |_| record.has(&Happened::Paused));
    let id = record.id();
    let mut transport = reactor.connection(id).expect("it is open");
    assert!(transport.buffered() > 0);
    transport.abort_connection();
    assert!(!record.is_lost());
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Aborted), "{:?}", record.reason());
    let failure = io::copy(&mut client, &mut io::sink()).expect_err("a reset");
    assert_eq!(failure.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!((reactor.connection_count(), reactor.timer_count()), (0, 0));
}

#[test]
fn after_an_abort_no_socket_timer_or_connection_is_left() {
    for seed in seeds(50) {
        let record = Record::new();
        let server = Probe::new(&record).on_data(|transport, data| {
            data.clear();
            transport.write(&[0; 100_000]);
            transport.call_later(Duration::from_secs(50), |_: &mut Probe, _| {});
            transport.lose_connection(); // sets a deadline
            transport.call_later(Duration::from_millis(400), |_: &mut Probe, transport| {
                transport.abort_connection();
            });
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        simulation.capacity(100);
        peer.stop_reading();
        peer.write(b"x");
        simulation.run_for(Duration::from_secs(2));
        assert!(matches!(record.reason(), Reason::Aborted), "{:?}", record.reason());
        drop(peer);
        assert_eq!(simulation.reactor().timer_count(), 0);
        assert_eq!(simulation.reactor().connection_count(), 0);
        assert_eq!(simulation.open_sockets(), 0);
    }
}

#[test]
fn a_close_that_the_peer_never_reads_ends_by_itself_and_the_reason_says_so() {
    for seed in seeds(50) {
        let record = Record::new();
        let options = ConnectionOptions::default().flush_timeout(Duration::from_secs(5));
        let server = Probe::new(&record).on_made(|transport| {
            transport.write(&[0; 100_000]);
            transport.lose_connection();
            Ok(())
        });
        let (mut simulation, mut peer) = served_with(Some(seed), options, server);
        peer.stop_reading();
        simulation.run_for(Duration::from_secs(4));
        assert!(!record.is_lost());
        simulation.run_for(Duration::from_secs(8));
        assert!(matches!(record.reason(), Reason::FlushTimedOut), "{:?}", record.reason());
        assert!(!record.reason().is_orderly());
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
}

#[test]
fn on_sockets_a_close_that_the_peer_never_reads_ends_by_itself() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let address = listen_with(
        &mut reactor,
        ConnectionOptions::default().flush_timeout(Duration::from_millis(50)),
        once(Probe::new(&record).on_made(|transport| {
            transport.write_bytes(vec![1; 40 * MEBIBYTE].into());
            transport.lose_connection();
            Ok(())
        })),
    );
    let mut client = dial(address);
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::FlushTimedOut), "{:?}", record.reason());
    let failure = io::copy(&mut client, &mut io::sink()).expect_err("a reset");
    assert_eq!(failure.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_peer_that_never_closes_its_half_holds_a_closed_connection_no_longer_than_the_deadline() {
    for seed in seeds(50) {
        let record = Record::new();
        let server = Probe::new(&record).on_made(|transport| {
            transport.write(b"bye");
            transport.lose_connection();
            Ok(())
        });
        let options = ConnectionOptions::default().linger_timeout(Duration::from_secs(20));
        let (mut simulation, mut peer) = served_with(Some(seed), options, server);
        simulation.run_for(Duration::from_secs(19));
        assert!(peer.is_ended() && !record.is_lost());
        simulation.run_for(Duration::from_secs(5));
        assert!(matches!(record.reason(), Reason::Closed), "{:?}", record.reason());
        assert_eq!(peer.read(), "bye");
        assert!(!peer.was_reset());
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
}

#[test]
fn a_peer_that_reads_slowly_but_steadily_gets_all_of_it_however_long_that_takes() {
    let record = Record::new();
    let options = ConnectionOptions::default().flush_timeout(Duration::from_secs(5));
    let server = Probe::new(&record).on_made(|transport| {
        transport.write(&pattern(0, 10_000));
        transport.lose_connection();
        Ok(())
    });
    let mut simulation = Simulation::calm();
    simulation.capacity(1000);
    let options = ListenOptions::default().connection(options);
    simulation.reactor().listen_with(options, SERVER, once(server)).expect("a free address");
    let mut peer = simulation.dial(SERVER).expect("a good address");
    peer.stop_reading();
    let mut received = Vec::new();
    while received.len() < 10_000 {
        simulation.run_for(Duration::from_secs(1));
        let read = peer.read_at_most(100);
        assert!(!read.is_empty(), "after {} bytes: {:?}", received.len(), record.story().reason);
        received.extend_from_slice(&read);
    }
    peer.resume_reading();
    peer.shutdown();
    simulation.settle();
    assert_same(received, pattern(0, 10_000));
    assert!(peer.is_ended() && !peer.was_reset());
    assert!(matches!(record.reason(), Reason::Closed), "{:?}", record.reason());
}

#[test]
fn when_connection_lost_runs_the_socket_is_closed_the_slot_free_and_the_addresses_are_there() {
    for seed in seeds(50) {
        let record = Record::new();
        let others = Record::new();
        let other = Rc::new(Cell::new(Some(Probe::new(&others))));
        let server = Probe::new(&record).on_lost(move |transport, _| {
            assert_eq!(transport.host().to_string(), format!("tcp://{SERVER}"));
            assert_eq!(transport.peer().ip().map(|ip| ip.to_string()), Some("127.0.0.1".into()));
            let id = transport.id();
            assert!(transport.connection(id).is_none());
            // The only descriptor is free again.
            let other = other.clone();
            transport.connect("10.0.0.2:7", move |_| other.take()).forget();
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        let second = simulation.add_reactor();
        simulation.reactor_at(second).listen("10.0.0.2:7", |_| Probe::default()).expect("free");
        simulation.limit_descriptors(0, 2); // the listener, and one more
        peer.shutdown();
        simulation.settle();
        assert!(record.is_lost());
        assert!(others.is_made());
    }
}

#[test]
fn on_sockets_the_peer_is_cut_off_by_the_time_that_connection_lost_runs() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let seen = Rc::new(Cell::new(None));
    let (client, told) = (Rc::new(Cell::new(None::<TcpStream>)), seen.clone());
    let peer = client.clone();
    let address = listen(
        &mut reactor,
        once(
            Probe::new(&record)
                .on_made(|transport| {
                    transport.abort_connection();
                    Ok(())
                })
                .on_lost(move |transport, _| {
                    let mut client = peer.take().expect("it was put there");
                    assert_eq!(transport.peer().socket_addr(), client.local_addr().ok());
                    assert_eq!(transport.host().ip(), transport.peer().ip());
                    told.set(client.read(&mut [0; 10]).err().map(|error| error.kind()));
                }),
        ),
    );
    let stream = dial(address);
    stream.set_nonblocking(true).expect("a socket");
    client.set(Some(stream));
    turn_until(&mut reactor, |_| record.is_lost());
    assert_eq!(seen.get(), Some(io::ErrorKind::ConnectionReset));
}

#[test]
fn the_reason_tells_who_closed_and_why() {
    type Shown = fn(&Reason) -> bool;
    let made = |act: fn(&mut ropewalk_reactor::Transport<'_>) -> ropewalk_reactor::Result| {
        Probe::default().on_made(act)
    };
    let stories: [(&str, Probe, Shown); 5] = [
        ("the peer", Probe::default(), |reason| matches!(reason, Reason::Done)),
        (
            "here",
            made(|transport| {
                transport.lose_connection();
                Ok(())
            }),
            |reason| matches!(reason, Reason::Closed),
        ),
        (
            "aborted",
            made(|transport| {
                transport.abort_connection();
                Ok(())
            }),
            |reason| matches!(reason, Reason::Aborted),
        ),
        ("an error", made(|_| Err(io::Error::other("bad syntax").into())), |reason| {
            reason.error::<io::Error>().is_some_and(|error| error.to_string() == "bad syntax")
        }),
        (
            "a panic",
            made(|_| std::panic::resume_unwind(Box::new("oops"))),
            |reason| matches!(reason, Reason::Panic(message) if &**message == "oops"),
        ),
    ];
    for (who, mut server, is_right) in stories {
        let record = Record::new();
        server.record = record.clone();
        let mut simulation = Simulation::calm();
        simulation.reactor().listen(SERVER, once(server)).expect("a free address");
        let mut peer = simulation.dial(SERVER).expect("a good address");
        peer.shutdown();
        simulation.settle();
        assert!(is_right(&record.reason()), "{who}: {:?}", record.reason());
    }

    let record = Record::new();
    let (mut simulation, mut peer) = served(None, Probe::new(&record));
    peer.reset();
    simulation.settle();
    assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());

    let record = Record::new();
    let (mut simulation, mut peer) = served(None, Probe::new(&record));
    simulation.settle();
    simulation.reactor().stop();
    simulation.step();
    peer.shutdown();
    simulation.settle();
    assert!(matches!(record.reason(), Reason::Stopped), "{:?}", record.reason());

    let mut simulation = Simulation::calm();
    let refused = Rc::new(Cell::new(false));
    let told = refused.clone();
    let connecting = simulation.reactor().connect("10.0.0.9:9", |_| Probe::default());
    connecting.then(move |_, result| match result {
        Err(Error::Connect { source, .. }) => {
            told.set(source.kind() == io::ErrorKind::ConnectionRefused);
        }
        other => panic!("{other:?}"),
    });
    simulation.settle();
    assert!(refused.get());
}

#[test]
fn on_sockets_a_reset_keeps_its_errno() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let address = listen(&mut reactor, once(Probe::new(&record)));
    let client = dial(address);
    turn_until(&mut reactor, |_| record.is_made());
    reset(client);
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
    assert_eq!(record.reason().errno(), Some(libc::ECONNRESET));
}

#[test]
fn the_peers_end_does_not_discard_output_that_is_still_queued() {
    for seed in seeds(100) {
        let record = Record::new();
        let server = Probe::new(&record).on_data(|transport, data| {
            data.clear();
            transport.write(&pattern(0, 3000));
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(b"x");
        peer.shutdown();
        simulation.settle();
        assert_same(peer.read(), pattern(0, 3000));
        assert!(peer.is_ended() && !peer.was_reset());
        assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
    }
}

#[test]
fn on_sockets_the_peers_end_does_not_discard_output_that_is_still_queued() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let address = listen(
        &mut reactor,
        once(Probe::new(&record).on_data(|transport, data| {
            data.clear();
            transport.write_bytes(pattern(0, 20 * MEBIBYTE).into());
            Ok(())
        })),
    );
    let received = turn_while(&mut reactor, move || {
        let mut client = dial(address);
        client.write_all(b"x").expect("room");
        client.shutdown(std::net::Shutdown::Write).expect("a socket");
        read_all(client)
    });
    assert_same(received, pattern(0, 20 * MEBIBYTE));
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
}

#[test]
fn a_close_between_two_turns_has_its_whole_deadline_however_long_the_last_turn_is_past() {
    let record = Record::new();
    let (mut simulation, mut peer) = served(None, Probe::new(&record));
    simulation.reactor().call_later(Duration::from_secs(5000), |_| {}); // makes turns read the clock
    simulation.run_for(Duration::from_secs(1));
    simulation.run_for(Duration::from_secs(1000));
    let id = record.id();
    let mut transport = simulation.reactor().connection(id).expect("it is open");
    transport.write(&pattern(0, 100));
    transport.lose_connection();
    peer.shutdown();
    simulation.run_for(Duration::from_secs(1));
    assert_same(peer.read(), pattern(0, 100));
    assert!(matches!(record.reason(), Reason::Closed), "{:?}", record.reason());
}
