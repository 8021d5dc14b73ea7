//! The stream: writing before the handshake, records and reads, ends and their reasons.

use std::time::Duration;

use ropewalk_reactor::tls::rustls::version::{TLS12, TLS13};
use ropewalk_reactor::tls::{Failure, TlsClient};
use ropewalk_reactor::{Error, Reason, Simulation};

use crate::common::{Happened, Probe, Record, assert_same, once, pattern, seeds};
use crate::support::*;

/// A client and a server of ours on one simulated reactor.
fn pair(simulation: &mut Simulation, client_side: Probe, server_side: Probe) {
    listen(simulation.reactor(), server(), once(server_side));
    let options = connecting(client());
    simulation.reactor().connect_with(options, SERVER, once(client_side)).forget();
}

#[test]
fn bytes_written_before_the_handshake_is_done_arrive_after_it() {
    for seed in seeds(200) {
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        let caller = Probe::new(&here).on_made(|transport| {
            assert!(transport.is_handshaking() && transport.tls().is_none());
            transport.write(b"written ");
            transport.write(b"early");
            Ok(())
        });
        let called = Probe::new(&there).on_made(|transport| {
            transport.write(&pattern(0, 100_000));
            Ok(())
        });
        pair(&mut simulation, caller, called);
        soon(&mut simulation, || here.data().len() == 100_000 && there.data().len() == 13);
        assert_same(here.data(), pattern(0, 100_000));
        assert_same(there.data(), b"written early");
        for record in [here, there] {
            let story = record.story();
            let at = |what| story.events.iter().position(|event| *event == what);
            let first = story.events.iter().position(|event| matches!(event, Happened::Data(_)));
            assert!(at(Happened::HandshakeCompleted) < first, "seed {seed}: {:?}", story.events);
        }
    }
}

#[test]
fn connecting_is_done_when_the_handshake_is() {
    let here = Record::new();
    let mut simulation = Simulation::calm();
    listen(simulation.reactor(), server(), each(|| Probe::new(&Record::new())));
    let known = here.clone();
    simulation.reactor().connect_with(connecting(client()), SERVER, once(Probe::new(&here))).then(
        move |reactor, made| {
            let id = made.expect("it connects");
            let transport = reactor.connection(id).expect("it is there");
            let tls = transport.tls().expect("the handshake is done");
            assert_eq!(tls.version(), "TLSv1.3");
            assert!(known.has(&Happened::HandshakeCompleted));
            reactor.stop();
        },
    );
    soon(&mut simulation, || here.is_lost());
}

#[test]
fn several_records_in_one_read_are_all_delivered_at_once() {
    for versions in [&TLS12, &TLS13] {
        let there = Record::new();
        let mut simulation = Simulation::calm();
        listen(simulation.reactor(), server(), once(Probe::new(&there)));
        let mut client = RawClient::dial_with(&mut simulation, raw_config(&[versions]));
        client.shake_hands(&mut simulation);
        let mut wire = Vec::new();
        for part in 0..5 {
            wire.extend(client.seal(&pattern(part * 1000, 1000)));
        }
        assert_eq!(records(&wire), 5);
        client.peer.write(&wire);
        soon(&mut simulation, || there.data().len() == 5000);
        assert_same(there.data(), pattern(0, 5000));
        assert_eq!(there.deliveries(), 1);
    }
}

#[test]
fn a_record_is_delivered_however_it_is_cut() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    listen(simulation.reactor(), server(), once(Probe::new(&there)));
    let mut client = RawClient::dial(&mut simulation);
    client.shake_hands(&mut simulation);
    let wire = client.seal(&pattern(0, 40_000));
    for piece in wire.chunks(777) {
        client.peer.write(piece);
        simulation.run_for(Duration::from_millis(1));
    }
    assert_same(there.data(), pattern(0, 40_000));
}

#[test]
fn the_peers_close_notify_is_the_end_of_input_and_a_clean_end() {
    for versions in [&TLS12, &TLS13] {
        let there = Record::new();
        let mut simulation = Simulation::calm();
        let called = Probe::new(&there).on_read_closed(|transport| {
            transport.write(b"the last word");
            transport.lose_connection();
            Ok(())
        });
        listen(simulation.reactor(), server(), once(called));
        let mut client = RawClient::dial_with(&mut simulation, raw_config(&[versions]));
        client.shake_hands(&mut simulation);
        let mut wire = client.seal(b"all there is");
        client.tls.send_close_notify();
        wire.extend(client.wire());
        client.peer.write(&wire);
        // No FIN: the words of TLS alone are the end.
        soon(&mut simulation, || there.is_lost());
        client.pump();
        assert_same(there.data(), b"all there is");
        assert!(there.has(&Happened::ReadClosed));
        assert!(matches!(there.reason(), Reason::Done), "{:?}", there.reason());
        assert_same(&client.read, b"the last word");
        let state = client.tls.process_new_packets().expect("a good stream");
        assert!(state.peer_has_closed(), "our close_notify came");
        assert!(client.peer.is_ended() && !client.peer.was_reset());
    }
}

#[test]
fn a_fin_without_close_notify_is_told_from_a_clean_close() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    // Output that was queued when the FIN came is sent nevertheless.
    let called = Probe::new(&there).on_data(|transport, data| {
        transport.write(&data.split());
        Ok(())
    });
    listen(simulation.reactor(), server(), once(called));
    let mut client = RawClient::dial(&mut simulation);
    client.shake_hands(&mut simulation);
    let wire = client.seal(b"is this all?");
    client.peer.write(&wire);
    client.peer.shutdown();
    soon(&mut simulation, || there.is_lost());
    client.pump();
    assert_same(there.data(), b"is this all?");
    assert_same(&client.read, b"is this all?");
    assert!(!there.has(&Happened::ReadClosed), "nobody said that this is the end");
    assert!(matches!(there.reason(), Reason::Truncated), "{:?}", there.reason());
    assert!(!there.reason().is_orderly());
}

#[test]
fn closing_says_close_notify_behind_everything_that_was_written() {
    for seed in seeds(100) {
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        let called = Probe::new(&there).on_handshake(|transport| {
            transport.write(&pattern(0, 200_000));
            transport.lose_connection();
            Ok(())
        });
        pair(&mut simulation, Probe::new(&here), called);
        soon(&mut simulation, || here.is_lost() && there.is_lost());
        assert_same(here.data(), pattern(0, 200_000));
        assert!(here.has(&Happened::ReadClosed), "seed {seed}: {:?}", here.reason());
        assert!(matches!(here.reason(), Reason::Done), "seed {seed}: {:?}", here.reason());
        assert!(matches!(there.reason(), Reason::Closed), "seed {seed}: {:?}", there.reason());
    }
}

#[test]
fn what_was_written_before_a_close_in_mid_handshake_arrives() {
    for seed in seeds(100) {
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        let caller = Probe::new(&here).on_made(|transport| {
            transport.write(b"hello, and goodbye");
            transport.lose_connection();
            Ok(())
        });
        pair(&mut simulation, caller, Probe::new(&there));
        soon(&mut simulation, || here.is_lost() && there.is_lost());
        assert_same(there.data(), b"hello, and goodbye");
        assert!(matches!(there.reason(), Reason::Done), "seed {seed}: {:?}", there.reason());
        assert!(matches!(here.reason(), Reason::Closed), "seed {seed}: {:?}", here.reason());
    }
}

#[test]
fn a_half_close_leaves_the_other_half_open() {
    for seed in seeds(100) {
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        let caller = Probe::new(&here).on_made(|transport| {
            transport.write(b"a question");
            transport.lose_write_connection();
            Ok(())
        });
        let called = Probe::new(&there).on_read_closed(|transport| {
            transport.write(&pattern(0, 50_000));
            transport.lose_connection();
            Ok(())
        });
        pair(&mut simulation, caller, called);
        soon(&mut simulation, || here.is_lost() && there.is_lost());
        assert_same(there.data(), b"a question");
        assert_same(here.data(), pattern(0, 50_000));
        for record in [here, there] {
            assert!(matches!(record.reason(), Reason::Done), "seed {seed}: {:?}", record.reason());
        }
    }
}

#[test]
fn a_half_close_in_mid_handshake_waits_for_it_though_nothing_was_written() {
    for seed in seeds(50) {
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        let caller = Probe::new(&here).on_made(|transport| {
            transport.lose_write_connection(); // it only listens
            Ok(())
        });
        let called = Probe::new(&there).on_read_closed(|transport| {
            transport.write(b"for those who listen");
            transport.lose_connection();
            Ok(())
        });
        pair(&mut simulation, caller, called);
        soon(&mut simulation, || here.is_lost() && there.is_lost());
        assert_same(here.data(), b"for those who listen");
        assert!(matches!(here.reason(), Reason::Done), "seed {seed}: {:?}", here.reason());
    }
}

#[test]
fn the_reason_of_a_failed_handshake_reaches_both_protocols_and_the_one_who_connects() {
    for seed in seeds(50) {
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        listen(simulation.reactor(), server(), once(Probe::new(&there)));
        let stranger = Authority::new("a stranger");
        let client = TlsClient::builder().authorities(stranger.pem()).build().expect("good");
        let failed = std::rc::Rc::new(std::cell::RefCell::new(None));
        let told = failed.clone();
        simulation
            .reactor()
            .connect_with(connecting(client), SERVER, once(Probe::new(&here)))
            .then(move |_, made| *told.borrow_mut() = made.err());
        soon(&mut simulation, || here.is_lost() && there.is_lost() && failed.borrow().is_some());
        let Reason::Tls(ours) = here.reason() else { panic!("seed {seed}: {:?}", here.reason()) };
        assert!(matches!(&*ours, Failure::Handshake(_)), "{ours:?}");
        assert!(ours.to_string().contains("not signed by an authority that is trusted"), "{ours}");
        let Reason::Tls(theirs) = there.reason() else { panic!("{:?}", there.reason()) };
        assert!(theirs.alert().is_some(), "the alert came: {theirs}");
        let error = failed.borrow_mut().take().expect("it failed");
        let Error::Handshake { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.downcast_ref::<Failure>(), Some(&*ours));
        assert!(!here.has(&Happened::HandshakeCompleted));
    }
}

#[test]
fn a_tls_address_trusts_whom_the_system_trusts_and_nobody_else() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    listen(simulation.reactor(), server(), once(Probe::new(&there)));
    let failed = std::rc::Rc::new(std::cell::RefCell::new(None));
    let told = failed.clone();
    let connecting =
        simulation.reactor().connect(&*format!("tls://{SERVER}"), |_| Probe::default());
    connecting.then(move |_, made| *told.borrow_mut() = made.err());
    soon(&mut simulation, || failed.borrow().is_some());
    let error = failed.borrow_mut().take().expect("it failed").to_string();
    assert!(error.starts_with(&format!("cannot connect to tls://{SERVER}: ")), "{error}");
    assert!(error.contains("not signed by an authority that is trusted"), "{error}");
}

#[test]
fn a_peer_that_closes_in_mid_handshake_is_told_so() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    listen(simulation.reactor(), server(), once(Probe::new(&there)));
    let mut client = RawClient::dial(&mut simulation);
    let hello = client.wire();
    client.peer.write(&hello[..100]);
    client.peer.shutdown();
    soon(&mut simulation, || there.is_lost());
    let Reason::Tls(failure) = there.reason() else { panic!("{:?}", there.reason()) };
    assert_eq!(*failure, Failure::HandshakeCutOff);
}
