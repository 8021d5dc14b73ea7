//! Back-pressure through TLS: pauses, records shared by small writes, marks, and what a turn may
//! spend on handshakes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_reactor::{ConnectOptions, ConnectionOptions, ListenOptions, Simulation, Written};

use crate::common::{Happened, Probe, Record, assert_same, once, pattern, seeds};
use crate::support::*;

#[test]
fn pausing_holds_back_records_that_are_already_decrypted() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    // Takes ten bytes, then pauses; the rest of them came in the same read.
    let called = Probe::new(&there).on_data(|transport, data| {
        let _ = data.split_to(10.min(data.len()));
        transport.pause_reading();
        Ok(())
    });
    listen(simulation.reactor(), server(), once(called));
    let mut client = RawClient::dial(&mut simulation);
    client.shake_hands(&mut simulation);
    let mut wire = Vec::new();
    for part in 0..3 {
        wire.extend(client.seal(&pattern(part * 10, 10)));
    }
    client.tls.send_close_notify();
    wire.extend(client.wire());
    client.peer.write(&wire);
    for taken in [10, 20, 30] {
        simulation.run_for(Duration::from_secs(1));
        assert_same(there.data(), pattern(0, taken));
        assert!(!there.has(&Happened::ReadClosed), "the end came before what was held back");
        simulation.reactor().connection(there.id()).expect("it lives").resume_reading();
    }
    soon(&mut simulation, || there.is_lost());
    assert_same(there.data(), pattern(0, 30));
    assert!(there.has(&Happened::ReadClosed));
}

#[test]
fn what_comes_with_the_end_of_the_handshake_is_held_back_from_a_protocol_that_has_paused() {
    for (early, seed) in [(true, 1), (false, 1)] {
        let there = Record::new();
        let mut simulation = Simulation::calm();
        let called = Probe::new(&there)
            .on_made(move |transport| {
                if early {
                    transport.pause_reading();
                }
                Ok(())
            })
            .on_handshake(move |transport| {
                transport.pause_reading();
                transport.write(b"paused, but shaken");
                Ok(())
            });
        listen(simulation.reactor(), server(), once(called));
        let mut client = RawClient::dial(&mut simulation);
        // The last of the handshake and the first data arrive in one segment.
        let hello = client.wire();
        client.peer.write(&hello);
        simulation.run_for(Duration::from_millis(1));
        let answer = client.peer.read();
        client.tls.read_tls(&mut &answer[..]).expect("memory");
        client.tls.process_new_packets().expect("a handshake");
        let mut wire = client.seal(b"too early");
        wire.extend(client.seal(b" for a paused one"));
        client.peer.write(&wire);
        simulation.run_for(Duration::from_secs(1));
        assert!(
            there.has(&Happened::HandshakeCompleted),
            "a pause is no reason not to shake hands"
        );
        assert_eq!(there.deliveries(), 0, "seed {seed}");
        client.pump();
        assert_same(&client.read, b"paused, but shaken");
        simulation.reactor().connection(there.id()).expect("it lives").resume_reading();
        soon(&mut simulation, || there.deliveries() > 0);
        assert_same(there.data(), b"too early for a paused one");
    }
}

#[test]
fn small_writes_of_one_turn_share_a_record() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    listen(simulation.reactor(), server(), once(Probe::new(&there)));
    let mut client = RawClient::dial(&mut simulation);
    client.shake_hands(&mut simulation);
    let write = |simulation: &mut Simulation, times: usize| {
        let mut transport = simulation.reactor().connection(there.id()).expect("it lives");
        for _ in 0..times {
            transport.write(b"ten bytes.");
        }
    };
    write(&mut simulation, 100);
    simulation.run_for(Duration::from_millis(1));
    let wire = client.peer.read();
    assert_eq!(records(&wire), 1, "a hundred writes of ten bytes");
    assert!(wire.len() < 1100, "{} bytes", wire.len());
    write(&mut simulation, 4000);
    simulation.run_for(Duration::from_millis(1));
    assert_eq!(records(&client.peer.read()), 3, "40,000 bytes are two full records and a rest");
}

#[test]
fn the_marks_count_what_waits_on_either_side_of_tls() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    listen(simulation.reactor(), server(), once(Probe::new(&there)));
    let mut client = RawClient::dial(&mut simulation);
    client.shake_hands(&mut simulation);
    simulation.capacity(10_000);
    client.peer.stop_reading();
    let mut transport = simulation.reactor().connection(there.id()).expect("it lives");
    assert_eq!(transport.write(&pattern(0, 50_000)), Written::Taken);
    assert_eq!(
        transport.write_bytes(Bytes::from(pattern(50_000, 1_000_000))),
        Written::AboveHighWater
    );
    assert_eq!(transport.buffered(), 1_050_000);
    simulation.run_for(Duration::from_secs(1));
    assert!(there.has(&Happened::Paused));
    let buffered = simulation.reactor().connection(there.id()).expect("it lives").buffered();
    // The network holds ten thousand bytes; of what is left, a turn's share is sealed.
    assert!((1_040_000..1_041_000).contains(&buffered), "{buffered}");
    client.peer.resume_reading();
    for _ in 0..10_000 {
        client.pump();
        simulation.run_for(Duration::from_millis(1));
        if client.read.len() == 1_050_000 {
            break;
        }
    }
    assert_same(&client.read, pattern(0, 1_050_000));
    assert!(there.has(&Happened::Resumed));
}

#[test]
fn a_slow_reader_costs_bounded_memory_and_loses_nothing() {
    for seed in seeds(50) {
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        let left = Rc::new(RefCell::new(400_000));
        let produce = move |transport: &mut ropewalk_reactor::Transport<'_>| {
            let mut left = left.borrow_mut();
            while *left > 0 {
                *left -= 1000;
                assert!(transport.buffered() < 90_000, "{}", transport.buffered());
                if transport.write(&pattern(399_000 - *left, 1000)) != Written::Taken {
                    break;
                }
            }
        };
        let again = produce.clone();
        let called = Probe::new(&there)
            .on_made(move |transport| {
                produce(transport);
                Ok(())
            })
            .on_resume(again);
        listen(simulation.reactor(), server(), once(called));
        let caller = Probe::new(&here).on_data(|transport, data| {
            data.clear();
            transport.pause_reading();
            transport.call_later(Duration::from_millis(5), |_: &mut Probe, transport| {
                transport.resume_reading();
            });
            Ok(())
        });
        simulation.reactor().connect_with(connecting(client()), SERVER, once(caller)).forget();
        soon(&mut simulation, || here.data().len() == 400_000);
        assert_same(here.data(), pattern(0, 400_000));
    }
}

#[test]
fn a_burst_of_handshakes_does_not_starve_those_who_have_done_theirs() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    let mut first = Some(Probe::echo(&there));
    let others = Rc::new(RefCell::new(Vec::new()));
    let known = others.clone();
    listen(simulation.reactor(), server(), move |_| {
        first.take().unwrap_or_else(|| {
            let record = Record::new();
            known.borrow_mut().push(record.clone());
            Probe::new(&record)
        })
    });
    let mut old = RawClient::dial(&mut simulation);
    old.shake_hands(&mut simulation);
    let mut burst: Vec<_> = (0..200).map(|_| RawClient::dial(&mut simulation)).collect();
    while simulation.reactor().connection_count() < 201 {
        assert!(simulation.step());
    }
    // All of them say hello at once, and then the old one says something.
    for client in &mut burst {
        let hello = client.wire();
        client.peer.write(&hello);
    }
    let wire = old.seal(b"is anybody there?");
    old.peer.write(&wire);
    let mut turns = 0;
    while old.peer.read().is_empty() {
        simulation.step();
        turns += 1;
    }
    assert_same(there.data(), b"is anybody there?");
    let mut answered = 0;
    for client in &mut burst {
        answered += usize::from(!client.peer.read().is_empty());
    }
    assert!(answered <= 32, "{answered} handshakes went first, in {turns} turns");
}

#[test]
fn everybody_in_a_burst_of_handshakes_has_their_turn() {
    let mut simulation = Simulation::calm();
    let done = Rc::new(RefCell::new(0));
    let counted = done.clone();
    listen(simulation.reactor(), server(), move |_| {
        let counted = counted.clone();
        Probe::new(&Record::new()).on_handshake(move |_| {
            *counted.borrow_mut() += 1;
            Ok(())
        })
    });
    let tls = client();
    for _ in 0..300 {
        let options = connecting(tls.clone());
        simulation
            .reactor()
            .connect_with(options, SERVER, once(Probe::new(&Record::new())))
            .forget();
    }
    soon(&mut simulation, || *done.borrow() == 300);
}

#[test]
fn more_written_before_the_handshake_than_stops_reading_does_not_stop_the_handshake() {
    let (here, there) = (Record::new(), Record::new());
    let mut simulation = Simulation::calm();
    let marks = ConnectionOptions::default().high_water_mark(100).stop_reading_mark(200);
    let options = ListenOptions::default().tls(server()).connection(marks.clone());
    let called = Probe::new(&there);
    simulation.reactor().listen_with(options, SERVER, once(called)).expect("free");
    let caller = Probe::new(&here).on_made(|transport| {
        transport.write(&pattern(0, 5000));
        Ok(())
    });
    let options = ConnectOptions::default().tls(client()).connection(marks);
    simulation.reactor().connect_with(options, SERVER, once(caller)).forget();
    soon(&mut simulation, || there.data().len() == 5000);
}
