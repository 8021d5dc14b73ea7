//! What is promised of closing one half, on the simulated network and on loopback.

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use common::{
    Happened, Probe, Record, assert_same, dial, listen, once, pattern, reset, seeds, served,
    turn_until, turn_while,
};
use ropewalk_reactor::{Reactor, Reason};

#[test]
fn lose_write_connection_flushes_the_peer_sees_the_end_and_its_data_still_arrives() {
    for seed in seeds(100) {
        let record = Record::new();
        let server = Probe::new(&record).on_made(|transport| {
            transport.write(&pattern(0, 2000));
            transport.lose_write_connection();
            transport.lose_write_connection();
            assert!(!transport.is_closing());
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        simulation.settle();
        assert_same(peer.read(), pattern(0, 2000));
        assert!(peer.is_ended() && !peer.was_reset());
        assert!(!record.is_lost());
        peer.write(&pattern(0, 1000));
        simulation.settle();
        assert_same(record.data(), pattern(0, 1000));
        assert!(!record.is_lost());
    }
}

#[test]
fn on_sockets_lose_write_connection_shows_the_end_and_data_still_arrives() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let address = listen(
        &mut reactor,
        once(Probe::new(&record).on_made(|transport| {
            transport.write_bytes(pattern(0, 8 << 20).into());
            transport.lose_write_connection();
            Ok(())
        })),
    );
    turn_while(&mut reactor, move || {
        let mut client = dial(address);
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the end, not a reset");
        assert_same(received, pattern(0, 8 << 20));
        client.write_all(&pattern(0, 100_000)).expect("it still reads");
    });
    turn_until(&mut reactor, |_| record.is_lost());
    assert_same(record.data(), pattern(0, 100_000));
    assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
}

#[test]
fn a_protocol_that_overrides_read_closed_goes_on_writing_after_the_peers_end() {
    for seed in seeds(100) {
        let record = Record::new();
        let server = Probe::new(&record).on_read_closed(|transport| {
            transport.write(b"and ");
            transport.call_later(Duration::from_secs(100), |_: &mut Probe, transport| {
                transport.write(b"another thing");
                transport.lose_connection();
            });
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.shutdown();
        simulation.run_for(Duration::from_secs(90));
        assert!(!record.is_lost());
        simulation.settle();
        assert_eq!(peer.read(), "and another thing");
        assert_eq!(record.count(&Happened::ReadClosed), 1);
        assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
    }
}

#[test]
fn on_sockets_a_reply_goes_out_after_the_peers_end() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let server = Probe::new(&record).on_read_closed(|transport| {
        transport.write(&pattern(0, 8 << 20));
        transport.lose_connection();
        Ok(())
    });
    let address = listen(&mut reactor, once(server));
    let received = turn_while(&mut reactor, move || {
        let mut client = dial(address);
        client.write_all(b"all I have").expect("room");
        client.shutdown(Shutdown::Write).expect("a socket");
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the end, not a reset");
        received
    });
    assert_same(received, pattern(0, 8 << 20));
    assert_eq!(record.data(), b"all I have");
}

#[test]
fn both_halves_closed_in_either_order_are_one_full_close() {
    for seed in seeds(100) {
        for peer_first in [false, true] {
            let record = Record::new();
            let server = Probe::new(&record)
                .on_made(move |transport| {
                    if !peer_first {
                        transport.lose_write_connection();
                    }
                    Ok(())
                })
                .on_read_closed(move |transport| {
                    if peer_first {
                        transport.lose_write_connection();
                    }
                    Ok(())
                });
            let (mut simulation, mut peer) = served(Some(seed), server);
            simulation.run_for(Duration::from_secs(1));
            peer.shutdown();
            simulation.settle();
            assert_eq!(record.count(&Happened::Lost), 1);
            assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
            assert!(peer.is_ended() && !peer.was_reset());
            assert_eq!(simulation.reactor().timer_count(), 0);
            drop(peer);
            assert_eq!(simulation.open_sockets(), 0);
        }
    }
}

#[test]
fn on_sockets_a_peer_that_resets_after_its_end_was_read_is_lost_at_once() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    // It stays, and writes nothing that could find out.
    let address = listen(&mut reactor, once(Probe::new(&record).on_read_closed(|_| Ok(()))));
    let client = dial(address);
    client.shutdown(Shutdown::Write).expect("a socket");
    turn_until(&mut reactor, |_| record.has(&Happened::ReadClosed));
    reset(client);
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
}

#[test]
fn data_and_the_end_that_arrive_together_are_both_told() {
    for seed in seeds(100) {
        let record = Record::new();
        let (mut simulation, mut peer) = served(Some(seed), Probe::new(&record));
        peer.write(b"goodbye");
        peer.shutdown();
        simulation.settle();
        assert_eq!(record.data(), b"goodbye");
        assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
    }
    // The kernel tells of both in one event; data are read short, and the end must still be found.
    let mut reactor = Reactor::new().expect("a poller");
    for _ in 0..20 {
        let record = Record::new();
        let address = listen(&mut reactor, once(Probe::new(&record)));
        let mut client = dial(address);
        client.write_all(b"goodbye").expect("room");
        drop(client);
        turn_until(&mut reactor, |_| record.is_lost());
        assert_eq!(record.data(), b"goodbye");
        assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
    }
}
