//! Peers that mean no good, or know no better: garbage, silence, bytes one at a time, records that
//! were tampered with. Each costs its own connection, one line of the log, and no more.

use std::io::Write;
use std::time::Duration;

use ropewalk_reactor::tls::rustls::AlertDescription;
use ropewalk_reactor::tls::rustls::version::{TLS12, TLS13};
use ropewalk_reactor::tls::{Failure, TlsServer};
use ropewalk_reactor::{Error, ListenOptions, Reason, Simulation};

use crate::common::{Chance, Happened, Probe, Record, assert_same, logs, once, seeds};
use crate::support::*;

/// A server in a simulation that serves everybody, and a bystander whose handshake is done.
fn served(tls: TlsServer, record: &Record) -> (Simulation, RawClient) {
    let mut simulation = Simulation::calm();
    let (mut bystander, mut victim) = (Some(Probe::echo(&Record::new())), Some(Probe::new(record)));
    listen(simulation.reactor(), tls, move |_| bystander.take().or_else(|| victim.take()));
    let mut client = RawClient::dial(&mut simulation);
    client.shake_hands(&mut simulation);
    (simulation, client)
}

fn is_undisturbed(simulation: &mut Simulation, bystander: &mut RawClient) {
    let wire = bystander.seal(b"still there?");
    bystander.peer.write(&wire);
    simulation.run_for(Duration::from_millis(1));
    bystander.pump();
    assert_same(&bystander.read, b"still there?");
}

#[test]
fn garbage_instead_of_a_handshake_closes_that_connection_and_is_logged_once() {
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..],
        b"\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\xff\xff and so on",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    ] {
        logs::collect();
        let record = Record::new();
        let (mut simulation, mut bystander) = served(server(), &record);
        let mut peer = simulation.dial(SERVER).expect("a good address");
        peer.write(garbage);
        soon(&mut simulation, || peer.is_ended());
        peer.close();
        soon(&mut simulation, || record.is_lost());
        let Reason::Tls(failure) = record.reason() else { panic!("{:?}", record.reason()) };
        assert!(matches!(&*failure, Failure::Handshake(_)), "{failure}");
        assert_eq!(logs::lines().len(), 1, "{:?}", logs::lines());
        assert_eq!(logs::count("the TLS handshake failed: "), 1, "{:?}", logs::lines());
        assert_eq!(record.deliveries(), 0);
        is_undisturbed(&mut simulation, &mut bystander);
    }
}

#[test]
fn whoever_speaks_no_tls_at_all_is_told_from_the_rest() {
    logs::collect();
    let record = Record::new();
    let (mut simulation, _bystander) = served(server(), &record);
    let mut peer = simulation.dial(SERVER).expect("a good address");
    peer.write(b"GET / HTTP/1.1\r\n\r\n");
    soon(&mut simulation, || peer.is_ended());
    assert_eq!(logs::count("what the peer sent is not TLS"), 1, "{:?}", logs::lines());
    // An alert of five octets of header and two of its own, in the open.
    assert_eq!(peer.read()[..5], [21, 3, 3, 0, 2]);
    assert!(!peer.was_reset(), "it can read the alert");
}

#[test]
fn a_caller_who_hangs_up_at_once_is_not_worth_a_line() {
    logs::collect();
    let record = Record::new();
    let (mut simulation, _bystander) = served(server(), &record);
    let mut peer = simulation.dial(SERVER).expect("a good address");
    peer.shutdown();
    soon(&mut simulation, || record.is_lost());
    assert!(logs::lines().is_empty(), "{:?}", logs::lines());
}

#[test]
fn a_handshake_one_byte_at_a_time_is_a_handshake() {
    for versions in [&TLS12, &TLS13] {
        let record = Record::new();
        let (mut simulation, _bystander) = served(server(), &record);
        let mut client = RawClient::dial_with(&mut simulation, raw_config(&[versions]));
        for _ in 0..10 {
            let mut wire = client.wire();
            if !client.tls.is_handshaking() && !record.has(&Happened::Data(0)) {
                wire.extend(client.seal(b"bytewise"));
            }
            for byte in wire.chunks(1) {
                client.peer.write(byte);
                simulation.run_for(Duration::from_micros(10));
            }
            let came = client.peer.read();
            for byte in came.chunks(1) {
                client.tls.read_tls(&mut &byte[..]).expect("memory");
                client.tls.process_new_packets().expect("a good stream");
            }
            if !record.data().is_empty() {
                break;
            }
        }
        assert_same(record.data(), b"bytewise");
    }
}

#[test]
fn a_silent_caller_is_gone_after_the_time_for_a_handshake() {
    for (says, ours) in [(0, true), (100, true), (0, false)] {
        logs::collect();
        let record = Record::new();
        let mut simulation = Simulation::calm();
        let limit = Duration::from_secs(7);
        let made = std::rc::Rc::new(std::cell::RefCell::new(None));
        let mut peer = None;
        if ours {
            let tls = server_builder().handshake_timeout(limit).build().expect("good");
            listen(simulation.reactor(), tls, once(Probe::new(&record)));
            let mut client = RawClient::dial(&mut simulation);
            let hello = client.wire();
            client.peer.write(&hello[..says]);
            peer = Some(client.peer);
        } else {
            // The other way round: a server that accepts, and says nothing.
            let silent = Probe::new(&Record::new());
            simulation.reactor().listen(SERVER, once(silent)).expect("free");
            let tls = client_builder().handshake_timeout(limit).build().expect("good");
            let told = made.clone();
            simulation
                .reactor()
                .connect_with(connecting(tls), SERVER, once(Probe::new(&record)))
                .then(move |_, result| *told.borrow_mut() = Some(result));
        }
        simulation.run_for(Duration::from_millis(6_900));
        assert!(record.is_made() && !record.is_lost());
        simulation.run_for(Duration::from_millis(200));
        assert!(record.is_lost());
        let Reason::Tls(failure) = record.reason() else { panic!("{:?}", record.reason()) };
        assert_eq!(*failure, Failure::HandshakeTimedOut(limit));
        assert_eq!(logs::count("not done within 7s"), 1, "{:?}", logs::lines());
        if !ours {
            let told = made.borrow_mut().take().expect("it was told");
            assert!(matches!(told, Err(Error::Handshake { .. })), "{told:?}");
        }
        drop(peer);
        simulation.settle();
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
}

#[test]
fn giving_up_a_connect_in_mid_handshake_ends_the_connection() {
    let record = Record::new();
    let mut simulation = Simulation::calm();
    simulation.reactor().listen(SERVER, once(Probe::new(&Record::new()))).expect("free");
    let options = connecting(client());
    let made = simulation.reactor().connect_with(options, SERVER, once(Probe::new(&record)));
    soon(&mut simulation, || record.is_made());
    drop(made);
    soon(&mut simulation, || record.is_lost());
    assert!(matches!(record.reason(), Reason::Aborted), "{:?}", record.reason());
}

#[test]
fn a_record_that_was_tampered_with_ends_the_stream_and_what_came_before_it_is_good() {
    for versions in [&TLS12, &TLS13] {
        logs::collect();
        let record = Record::new();
        let (mut simulation, mut bystander) = served(server(), &record);
        let mut client = RawClient::dial_with(&mut simulation, raw_config(&[versions]));
        client.shake_hands(&mut simulation);
        let mut wire = client.seal(b"good");
        let mut bad = client.seal(b"not so good");
        let last = bad.len() - 1;
        bad[last] ^= 1;
        wire.extend(bad);
        wire.extend(client.seal(b"never seen"));
        client.peer.write(&wire);
        soon(&mut simulation, || client.peer.is_ended());
        client.pump();
        client.peer.close();
        soon(&mut simulation, || record.is_lost());
        assert_same(record.data(), b"good");
        let Reason::Tls(failure) = record.reason() else { panic!("{:?}", record.reason()) };
        assert!(matches!(&*failure, Failure::Stream(_)), "{failure}");
        assert_eq!(logs::count("the TLS stream failed"), 1, "{:?}", logs::lines());
        let told = client.tls.process_new_packets().expect_err("the alert came");
        assert_eq!(
            told,
            ropewalk_reactor::tls::rustls::Error::AlertReceived(AlertDescription::BadRecordMac)
        );
        is_undisturbed(&mut simulation, &mut bystander);
    }
}

#[test]
fn a_handshake_message_over_the_limit_is_refused_from_its_length_and_one_below_it_is_bounded() {
    // Handshake messages have lengths of 24 bits; more than 64 KiB is never kept.
    let record = Record::new();
    let (mut simulation, _bystander) = served(server(), &record);
    let mut peer = simulation.dial(SERVER).expect("a good address");
    peer.write(b"\x16\x03\x01\x00\x04\x01\x01\x00\x00");
    soon(&mut simulation, || peer.is_ended());
    peer.close();
    soon(&mut simulation, || record.is_lost());
    let Reason::Tls(failure) = record.reason() else { panic!("{:?}", record.reason()) };
    assert!(failure.to_string().contains("TooLarge"), "before anything of it was sent: {failure}");

    let record = Record::new();
    let (mut simulation, _bystander) = served(server(), &record);
    let mut peer = simulation.dial(SERVER).expect("a good address");
    let mut sent = 0;
    let mut head: &[u8] = b"\x01\x00\xff\xff";
    while !peer.is_ended() {
        let body = [head, &[0; 16_000]].concat();
        head = &[];
        peer.write(&[&[22, 3, 1][..], &(body.len() as u16).to_be_bytes(), &body].concat());
        sent += body.len();
        simulation.run_for(Duration::from_millis(1));
        assert!(sent < 100_000, "{sent} bytes of one message were taken");
    }
}

#[test]
fn chance_in_the_place_of_any_byte_harms_nobody_else() {
    for seed in seeds(300) {
        logs::collect();
        let mut chance = Chance::new(seed);
        let record = Record::new();
        let (mut simulation, mut bystander) = served(server(), &record);
        let mut client = RawClient::dial(&mut simulation);
        for round in 0..6 {
            let mut wire = match round {
                0..=2 => client.wire(),
                _ => {
                    let _ = client.tls.writer().write_all(b"a few words");
                    client.wire()
                }
            };
            if !wire.is_empty() && chance.one_in(2) {
                let at = chance.below(wire.len() as u64) as usize;
                match chance.below(3) {
                    0 => wire[at] = chance.next() as u8,
                    1 => wire.truncate(at),
                    _ => wire.insert(at, chance.next() as u8),
                }
            }
            client.peer.write(&wire);
            simulation.run_for(Duration::from_millis(1));
            let came = client.peer.read();
            let _ = client.tls.read_tls(&mut &came[..]);
            let _ = client.tls.process_new_packets();
        }
        client.peer.close();
        simulation.run_for(Duration::from_secs(10));
        assert!(b"a few words".repeat(3).starts_with(&record.data()), "seed {seed}");
        assert!(logs::lines().len() <= 1, "seed {seed}: {:?}", logs::lines());
        is_undisturbed(&mut simulation, &mut bystander);
    }
}

#[test]
fn a_server_name_that_is_none_is_refused_before_anything_is_sent() {
    let error = client().to("no name at all").expect_err("that is no name").to_string();
    assert_eq!(
        error,
        "cannot use the server's name \"no name at all\": it is neither a host name nor an IP address"
    );
    let listening = ListenOptions::default().tls(server());
    assert_eq!(listening.clone(), listening, "options can be compared");
    assert_ne!(listening, ListenOptions::default().tls(server()));
}
