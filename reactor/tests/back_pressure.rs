//! What is promised of pausing and resuming, in both directions.

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::{
    Chance, Happened, Probe, Record, SERVER, assert_same, dial, listen, listen_with, once, pattern,
    reset, seeds, served, served_with, turn_until, turn_while,
};
use ropewalk_reactor::{
    ConnectionOptions, ListenOptions, Reactor, Reason, Simulation, Transport, Written,
};

/// Marks of 1000 and 250 bytes; reading stops at 3000.
fn low_marks() -> ConnectionOptions {
    ConnectionOptions::default().high_water_mark(1000).low_water_mark(250).stop_reading_mark(3000)
}

fn resume(simulation: &mut Simulation, record: &Record) {
    let transport = simulation.reactor().connection(record.id());
    transport.expect("it is open").resume_reading();
}

#[test]
fn pausing_reads_in_connection_made_is_honoured() {
    for seed in seeds(100) {
        let record = Record::new();
        let server = Probe::new(&record).on_made(|transport| {
            transport.pause_reading();
            assert!(transport.is_reading_paused());
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(&pattern(0, 500));
        peer.shutdown();
        simulation.settle();
        assert_eq!(record.story().events, [Happened::Made]);
        resume(&mut simulation, &record);
        simulation.settle();
        assert_same(record.data(), pattern(0, 500));
        assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
    }
}

#[test]
fn on_sockets_pausing_reads_in_connection_made_is_honoured() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let server = Probe::new(&record).on_made(|transport| {
        transport.pause_reading();
        transport.write(b"hello");
        Ok(())
    });
    let address = listen(&mut reactor, once(server));
    let mut client = dial(address);
    client.write_all(&pattern(0, 500)).expect("room");
    turn_while(&mut reactor, move || {
        client.read_exact(&mut [0; 5]).expect("a greeting");
        drop(client);
    });
    for _ in 0..10 {
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
    }
    assert_eq!(record.story().events, [Happened::Made]);
    reactor.connection(record.id()).expect("it is open").resume_reading();
    turn_until(&mut reactor, |_| record.is_lost());
    assert_same(record.data(), pattern(0, 500));
}

#[test]
fn pausing_inside_data_received_stops_delivery_after_that_call() {
    for seed in seeds(100) {
        let record = Record::new();
        let server = Probe::new(&record).on_data(|transport, data| {
            data.clear();
            transport.pause_reading();
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(&pattern(0, 1000));
        simulation.settle();
        assert_eq!(record.deliveries(), 1);
        while record.data().len() < 1000 {
            let before = record.deliveries();
            resume(&mut simulation, &record);
            simulation.settle();
            assert_eq!(record.deliveries(), before + 1);
        }
        assert_same(record.data(), pattern(0, 1000));
    }
}

#[test]
fn a_thousand_toggles_lose_and_reorder_nothing() {
    for seed in seeds(50) {
        let record = Record::new();
        let mut chance = Chance::new(seed);
        let server = Probe::new(&record).on_data(move |transport, data| {
            let taken = chance.below(data.len() as u64 + 1) as usize;
            let _ = data.split_to(taken);
            for _ in 0..chance.below(9) {
                transport.pause_reading();
                transport.resume_reading();
            }
            if chance.one_in(3) {
                transport.pause_reading();
                let delay = Duration::from_micros(chance.below(50_000));
                transport.call_later(delay, |_: &mut Probe, transport| transport.resume_reading());
            }
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        simulation.capacity(500);
        peer.write(&pattern(0, 30_000));
        let mut chance = Chance::new(!seed);
        for _ in 0..1000 {
            simulation.step();
            let Some(mut transport) = simulation.reactor().connection(record.id()) else { break };
            match chance.below(2) {
                0 => transport.pause_reading(),
                _ => transport.resume_reading(),
            }
        }
        resume(&mut simulation, &record);
        simulation.settle();
        peer.write(b"!"); // what a call left waits for more to arrive
        simulation.settle();
        let (data, all) = (record.data(), [pattern(0, 30_000), vec![b'!']].concat());
        assert_same(&data, &all[..data.len()]);
        assert!(data.len() > 20_000, "{} bytes", data.len());
    }
}

#[test]
fn what_was_left_by_a_pausing_protocol_comes_again_on_resume_though_nothing_new_arrives() {
    for seed in seeds(100) {
        let record = Record::new();
        let mut calls = 0;
        let server = Probe::new(&record).on_data(move |transport, data| {
            calls += 1;
            if calls == 1 {
                transport.pause_reading();
            } else {
                data.clear();
            }
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(b"x");
        simulation.settle();
        assert_eq!(record.deliveries(), 1);
        resume(&mut simulation, &record);
        simulation.settle();
        assert_eq!(record.deliveries(), 2);
        assert_eq!(record.data(), b"x");
    }
}

#[test]
fn after_resume_data_that_came_meanwhile_is_delivered_though_no_new_packet_arrives() {
    for seed in seeds(100) {
        let record = Record::new();
        let (mut simulation, mut peer) = served(Some(seed), Probe::new(&record));
        simulation.settle();
        let id = record.id();
        simulation.reactor().connection(id).expect("it is open").pause_reading();
        peer.write(&pattern(0, 2000));
        simulation.settle();
        assert_eq!(record.deliveries(), 0);
        resume(&mut simulation, &record);
        simulation.settle();
        assert_same(record.data(), pattern(0, 2000));
    }
}

#[test]
fn on_sockets_resuming_looks_again_for_data_and_the_end_though_the_edge_is_spent() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let server = Probe::new(&record).on_data(|transport, data| {
        data.clear();
        transport.pause_reading();
        Ok(())
    });
    let address = listen(&mut reactor, once(server));
    let mut client = dial(address);
    // More than one read takes.
    turn_while(&mut reactor, move || client.write_all(&pattern(0, 200_000)).expect("room"));
    turn_until(&mut reactor, |_| record.deliveries() == 1);
    for _ in 0..10 {
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
    }
    assert_eq!(record.deliveries(), 1);
    turn_until(&mut reactor, |reactor| {
        if let Some(mut transport) = reactor.connection(record.id()) {
            transport.resume_reading();
        }
        record.is_lost()
    });
    assert_same(record.data(), pattern(0, 200_000));
    assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
}

#[test]
fn a_peer_that_resets_while_reads_are_paused_is_lost_at_once() {
    for seed in seeds(100) {
        let record = Record::new();
        let server = Probe::new(&record).on_made(|transport| {
            transport.pause_reading();
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(b"never read");
        simulation.run_for(Duration::from_secs(1));
        peer.reset();
        simulation.run_for(Duration::from_secs(1));
        assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
        assert_eq!(record.deliveries(), 0);
    }
}

#[test]
fn on_sockets_a_peer_that_resets_while_reads_are_paused_is_lost_at_once() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let server = Probe::new(&record).on_made(|transport| {
        transport.pause_reading();
        Ok(())
    });
    let address = listen(&mut reactor, once(server));
    let mut client = dial(address);
    client.write_all(b"never read").expect("room");
    turn_until(&mut reactor, |_| record.is_made());
    reset(client);
    turn_until(&mut reactor, |_| record.is_lost());
    assert_eq!(record.reason().errno(), Some(libc::ECONNRESET));
}

#[test]
fn on_sockets_a_reset_that_came_with_the_data_over_which_it_paused_is_told_at_once() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let server = Probe::new(&record).on_data(|transport, data| {
        data.clear();
        transport.pause_reading();
        Ok(())
    });
    let address = listen(&mut reactor, once(server));
    let mut client = dial(address);
    turn_until(&mut reactor, |_| record.is_made());
    client.write_all(b"last words").expect("room");
    reset(client);
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
}

#[test]
fn a_failed_send_is_told_at_once_also_to_a_protocol_that_pauses_over_the_last_data() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let server = Probe::new(&record).on_data(|transport, data| {
        data.clear();
        transport.pause_reading();
        Ok(())
    });
    let address = listen(&mut reactor, once(server));
    let mut client = dial(address);
    turn_until(&mut reactor, |_| record.is_made());
    let id = record.id();
    // In the middle of a turn: the send at its end finds the reset before the poller tells of it.
    reactor.call_later(Duration::ZERO, move |reactor| {
        client.write_all(b"last words").expect("room");
        reset(client);
        let mut transport = reactor.connection(id).expect("nobody has noticed yet");
        transport.write(b"to nobody");
    });
    turn_until(&mut reactor, |_| record.is_lost());
    assert_eq!(record.data(), b"last words");
    assert!(matches!(record.reason(), Reason::Reset(_)), "{:?}", record.reason());
}

#[test]
fn a_peer_that_closes_while_reads_are_paused_is_told_after_the_data_held_back_on_resume() {
    for seed in seeds(200) {
        let record = Record::new();
        let mut calls = 0;
        let server = Probe::new(&record).on_data(move |transport, data| {
            calls += 1;
            if calls == 1 {
                transport.pause_reading();
            } else {
                data.clear();
            }
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(b"held back");
        simulation.run_until(|_| record.deliveries() == 1);
        let mut chance = Chance::new(seed);
        // Before the end of input is there, together with it, or after it.
        peer.shutdown();
        for _ in 0..chance.below(4) {
            simulation.step();
        }
        assert!(!record.has(&Happened::ReadClosed));
        resume(&mut simulation, &record);
        simulation.settle();
        assert_eq!(record.data(), b"held back");
        assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
    }
}

#[test]
fn on_sockets_the_end_that_arrives_with_a_resume_comes_after_what_was_held_back() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let mut calls = 0;
    let server = Probe::new(&record).on_data(move |transport, data| {
        calls += 1;
        if calls == 1 {
            transport.pause_reading();
        } else {
            data.clear();
        }
        Ok(())
    });
    let address = listen(&mut reactor, once(server));
    let mut client = dial(address);
    client.write_all(b"held back").expect("room");
    turn_until(&mut reactor, |_| record.deliveries() == 1);
    // The next turn finds both: the end of input, and the pause over.
    drop(client);
    reactor.connection(record.id()).expect("it is open").resume_reading();
    turn_until(&mut reactor, |_| record.is_lost());
    assert_eq!(record.data(), b"held back");
    let events = record.story().events.clone();
    let at = |event| events.iter().rposition(|happened| *happened == event);
    assert!(at(Happened::Data(9)) < at(Happened::ReadClosed), "{events:?}");
}

#[test]
fn pause_and_resume_producing_come_once_for_each_passing_of_the_marks() {
    for seed in seeds(100) {
        let record = Record::new();
        let server = Probe::new(&record).on_data(|transport, data| {
            for _ in data.split().chunks(1) {
                transport.write(&[7; 300]);
            }
            Ok(())
        });
        let mut simulation = Simulation::new(seed);
        simulation.capacity(64);
        let options = ListenOptions::default().connection(low_marks());
        simulation.reactor().listen_with(options, SERVER, once(server)).expect("a free address");
        let mut peer = simulation.dial(SERVER).expect("a good address");
        peer.stop_reading();
        peer.write(b"xxx");
        simulation.settle();
        assert!(!record.has(&Happened::Paused), "{:?}", record.story().events);
        peer.write(b"xxxxx");
        simulation.settle();
        assert_eq!(record.count(&Happened::Paused), 1);
        assert!(!record.has(&Happened::Resumed));
        peer.resume_reading();
        simulation.settle();
        assert_eq!(record.count(&Happened::Paused), 1);
        assert_eq!(record.count(&Happened::Resumed), 1);
        assert_eq!(peer.read().len(), 8 * 300);
    }
}

#[test]
fn a_write_that_the_network_takes_at_once_pauses_nobody_and_whoever_stopped_is_told_to_go_on() {
    // The marks are judged after the send was tried, not by what was written. A producer that
    // stopped at the write's answer would wait for ever without a word.
    let record = Record::new();
    let server = Probe::new(&record).on_made(|transport| {
        assert_eq!(transport.write(&[7; 50_000]), Written::AboveHighWater);
        Ok(())
    });
    let (mut simulation, mut peer) = served_with(None, low_marks(), server);
    simulation.settle();
    assert_eq!(peer.read().len(), 50_000);
    assert_eq!(record.story().events, [Happened::Made, Happened::Resumed]);
}

#[test]
fn pausing_works_also_when_the_writing_happens_inside_resume_producing() {
    for seed in seeds(50) {
        let record = Record::new();
        let left = Rc::new(Cell::new(20));
        let server = Probe::new(&record)
            .on_made(|transport| {
                transport.write(&[7; 5000]);
                Ok(())
            })
            .on_resume(move |transport| {
                if left.get() > 0 {
                    left.set(left.get() - 1);
                    transport.write(&[7; 5000]);
                }
            });
        let mut simulation = Simulation::new(seed);
        simulation.capacity(700);
        let options = ListenOptions::default().connection(low_marks());
        simulation.reactor().listen_with(options, SERVER, once(server)).expect("a free address");
        let mut peer = simulation.dial(SERVER).expect("a good address");
        simulation.settle();
        assert_eq!(peer.read().len(), 21 * 5000);
        assert_eq!(record.count(&Happened::Paused), 21);
        assert_eq!(record.count(&Happened::Resumed), 21);
        let events = record.story().events.clone();
        let alternate =
            events[1..].chunks(2).all(|pair| pair == [Happened::Paused, Happened::Resumed]);
        assert!(alternate, "{events:?}");
    }
}

/// Writes until it is told to stop, then again when it is told to go on.
fn produce(transport: &mut Transport<'_>, left: &Cell<usize>, chunk: &Bytes, most: &Cell<usize>) {
    while left.get() > 0 && transport.writability() == Written::Taken {
        let length = left.get().min(chunk.len());
        left.set(left.get() - length);
        transport.write_bytes(chunk.slice(..length));
    }
    most.set(most.get().max(transport.buffered()));
    if left.get() == 0 {
        transport.lose_connection();
    }
}

#[test]
fn on_sockets_a_gibibyte_produced_on_demand_never_holds_more_than_the_high_water_mark() {
    const ALL: usize = 1 << 30;
    const CHUNK: usize = 32 * 1024;
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let (left, most) = (Rc::new(Cell::new(ALL)), Rc::new(Cell::new(0)));
    let (left_too, most_too, held) = (left.clone(), most.clone(), most.clone());
    let chunk = Bytes::from(vec![7; CHUNK]);
    let chunk_too = chunk.clone();
    let server = Probe::new(&record)
        .on_made(move |transport| {
            produce(transport, &left, &chunk, &most);
            Ok(())
        })
        .on_resume(move |transport| produce(transport, &left_too, &chunk_too, &most_too));
    let address = listen(&mut reactor, once(server));
    let received = turn_while(&mut reactor, move || {
        std::io::copy(&mut dial(address), &mut std::io::sink()).expect("the end, not a reset")
    });
    assert_eq!(received, ALL as u64);
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(held.get() <= 64 * 1024 + CHUNK, "{} bytes", held.get());
}

#[test]
fn a_body_produced_on_demand_holds_at_most_the_high_water_mark_and_one_chunk() {
    for seed in seeds(30) {
        const CHUNK: usize = 400;
        let record = Record::new();
        let (left, most) = (Rc::new(Cell::new(100_000)), Rc::new(Cell::new(0)));
        let (left_too, most_too, held) = (left.clone(), most.clone(), most.clone());
        let chunk = Bytes::from(vec![7; CHUNK]);
        let chunk_too = chunk.clone();
        let server = Probe::new(&record)
            .on_made(move |transport| {
                produce(transport, &left, &chunk, &most);
                Ok(())
            })
            .on_resume(move |transport| produce(transport, &left_too, &chunk_too, &most_too));
        let mut simulation = Simulation::new(seed);
        simulation.capacity(900);
        let options = ListenOptions::default().connection(low_marks());
        simulation.reactor().listen_with(options, SERVER, once(server)).expect("a free address");
        let mut peer = simulation.dial(SERVER).expect("a good address");
        peer.stop_reading();
        let mut received = 0;
        while received < 100_000 {
            simulation.run_for(Duration::from_secs(1));
            let read = peer.read_at_most(300).len();
            assert!(read > 0);
            received += read;
        }
        assert!(held.get() <= 1000 + CHUNK, "{}", held.get());
    }
}

#[test]
fn resume_reading_on_a_closing_connection_does_nothing() {
    for seed in seeds(50) {
        let record = Record::new();
        let server = Probe::new(&record)
            .on_data(|transport, _| {
                transport.pause_reading();
                transport.write(&[7; 500]);
                transport.lose_connection();
                transport.resume_reading();
                assert!(transport.is_closing());
                Ok(())
            })
            .on_lost(|transport, _| transport.resume_reading());
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(b"some");
        simulation.run_for(Duration::from_millis(10));
        peer.write(b"more");
        if let Some(mut transport) = simulation.reactor().connection(record.id()) {
            transport.resume_reading();
        }
        peer.shutdown();
        simulation.settle();
        assert_eq!(record.deliveries(), 1);
        assert!(record.is_lost());
    }
}

#[test]
fn a_peer_that_does_not_read_its_replies_is_read_no_more_until_it_does() {
    for seed in seeds(30) {
        let record = Record::new();
        let server = Probe::echo(&record);
        let mut simulation = Simulation::new(seed);
        simulation.capacity(500);
        let options = ListenOptions::default().connection(low_marks());
        simulation.reactor().listen_with(options, SERVER, once(server)).expect("a free address");
        let mut peer = simulation.dial(SERVER).expect("a good address");
        peer.stop_reading();
        peer.write(&pattern(0, 50_000));
        simulation.settle();
        let buffered = simulation.reactor().connection(record.id()).map(|end| end.buffered());
        // One read beyond the mark, which the small network bounds.
        assert!(buffered.is_some_and(|held| held > 3000 && held <= 3000 + 500), "{buffered:?}");
        assert!(peer.unsent() > 40_000);
        peer.resume_reading();
        simulation.settle();
        assert_same(peer.read(), pattern(0, 50_000));
    }
}

#[test]
fn on_sockets_a_client_that_writes_all_before_it_reads_is_not_deadlocked_while_closing() {
    // The server closes after its reply; the client first writes a lot, then reads.
    let mut reactor = Reactor::new().expect("a poller");
    let mut first = true;
    let server = Probe::default().on_data(move |transport, data| {
        data.clear();
        if std::mem::take(&mut first) {
            transport.write_bytes(pattern(0, 8 << 20).into());
            transport.lose_connection();
        }
        Ok(())
    });
    let address = listen(&mut reactor, once(server));
    let received = turn_while(&mut reactor, move || {
        let mut client = dial(address);
        client.write_all(&vec![0; 32 << 20]).expect("it is read and thrown away");
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the end, not a reset");
        received
    });
    assert_same(received, pattern(0, 8 << 20));
}

#[test]
fn output_above_its_limit_aborts_the_connection_and_input_above_its_limit_closes_it() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    let options = ConnectionOptions::default().output_limit(10 << 20).receive_limit(100_000);
    let server = Probe::new(&record).on_made(|transport| {
        transport.write_bytes(vec![1; 60 << 20].into());
        Ok(())
    });
    let address = listen_with(&mut reactor, options.clone(), once(server));
    let client = dial(address);
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::OutputLimit(limit) if limit == 10 << 20));
    drop(client);

    let record = Record::new();
    let hoarder = Probe::new(&record).on_data(|transport, data| {
        if data.len() > 100_000 {
            transport.write(b"too long");
        }
        Ok(())
    });
    let address = listen_with(&mut reactor, options, once(hoarder));
    turn_while(&mut reactor, move || {
        let mut client = dial(address);
        client.write_all(&[7; 100_000]).expect("within the limit");
        client.write_all(&[7; 300_000]).expect("it is read and thrown away");
        let mut reply = String::new();
        client.read_to_string(&mut reply).expect("the end, not a reset");
        assert_eq!(reply, "too long");
    });
    turn_until(&mut reactor, |_| record.is_lost());
    assert!(matches!(record.reason(), Reason::ReceiveLimit(100_000)), "{:?}", record.reason());
}
