//! What becomes of children when their reactor stops.

use std::time::Duration;

use ropewalk_reactor::{Program, Reactor, ReactorOptions, Reason, Signal};

use crate::common::turn_until;
use crate::probe::{Happened, Probe, Record, is_gone, spawn};

/// A reactor with children that all run, and have said so.
fn with_children(options: ReactorOptions, programs: Vec<Program>) -> (Reactor, Vec<Record>) {
    let mut reactor = Reactor::with_options(options).expect("a poller");
    let records: Vec<_> = programs.iter().map(|_| Record::new()).collect();
    for (program, record) in programs.into_iter().zip(&records) {
        spawn(&mut reactor, program, Probe::new(record));
    }
    turn_until(&mut reactor, |_| records.iter().all(|record| record.has(&Happened::Data(1))));
    (reactor, records)
}

const POLITE: &str = "trap 'echo bye; exit 2' TERM; echo; while :; do sleep 0.01; done";
const STUBBORN: &str = "trap '' TERM; echo; while :; do sleep 0.01; done";

#[test]
fn a_stop_asks_every_child_to_end_and_waits_for_it() {
    let quick = Program::shell("echo; sleep 1000");
    let other = Program::shell("trap 'exit 3' HUP; echo; while :; do sleep 0.01; done")
        .stop_signal(Signal::HUP);
    let programs = vec![quick.process_group(), Program::shell(POLITE), other];
    let (mut reactor, records) = with_children(ReactorOptions::default(), programs);
    reactor.stop();
    reactor.run().expect("it stops");
    assert_eq!(records[0].status().signal(), Some(Signal::TERM));
    assert_eq!((records[1].status().code(), &*records[1].out()), (Some(2), "\nbye\n"));
    assert_eq!(records[2].status().code(), Some(3));
    for record in &records {
        assert!(record.is_ended() && is_gone(record.story().pid));
        assert!(matches!(record.story().reason, Some(Reason::Stopped)));
    }
}

#[test]
fn one_that_does_not_end_is_killed_after_its_grace_or_the_reactors() {
    let grace = Duration::from_millis(50);
    let programs = vec![Program::shell(STUBBORN).stop_grace(grace)];
    let (mut reactor, records) = with_children(ReactorOptions::default(), programs);
    reactor.stop();
    reactor.run().expect("it stops");
    assert_eq!(records[0].status().signal(), Some(Signal::KILL));

    let options = ReactorOptions::default().shutdown_timeout(grace);
    let patient = Program::shell(STUBBORN).stop_grace(Duration::from_secs(3600));
    let (mut reactor, records) = with_children(options, vec![patient]);
    reactor.stop();
    reactor.run().expect("it stops");
    assert_eq!(records[0].status().signal(), Some(Signal::KILL));
    assert!(records[0].is_ended() && is_gone(records[0].story().pid));
}

#[test]
fn stopping_at_once_kills() {
    let (mut reactor, records) =
        with_children(ReactorOptions::default(), vec![Program::shell(POLITE)]);
    reactor.stop_now();
    reactor.run().expect("it stops");
    assert_eq!(records[0].status().signal(), Some(Signal::KILL));
    assert!(records[0].is_ended() && is_gone(records[0].story().pid));
}

#[test]
fn a_reactor_that_is_dropped_leaves_no_child_and_tells_all() {
    let programs = (0..20).map(|_| Program::shell(POLITE)).collect();
    let (mut reactor, records) = with_children(ReactorOptions::default(), programs);
    let unborn = Record::new();
    spawn(&mut reactor, Program::shell("sleep 1000"), Probe::new(&unborn));
    drop(reactor);
    for record in &records {
        assert!(record.is_ended() && is_gone(record.story().pid));
    }
    assert_eq!(unborn.story().events.last(), Some(&Happened::Ended));
}

#[test]
fn nothing_is_spawned_once_the_reactor_stops() {
    let mut reactor = Reactor::new().expect("a poller");
    let refused = Record::new();
    let record = refused.clone();
    reactor.during_shutdown(move |reactor| {
        let spawned = reactor.spawn_process(Program::new("true"), Probe::new(&record));
        assert!(matches!(spawned, Err(ropewalk_reactor::Error::Stopped)));
    });
    reactor.stop();
    reactor.run().expect("it stops");
    assert!(refused.story().events.is_empty());
}

#[test]
fn a_protocol_that_paused_for_good_does_not_hold_the_stop() {
    let mut reactor = Reactor::new().expect("a poller");
    let record = Record::new();
    let probe = Probe::new(&record).on_started(|transport| {
        transport.pause_reading(1);
        Ok(())
    });
    spawn(&mut reactor, Program::shell("echo unread; exit 0"), probe);
    turn_until(&mut reactor, |_| record.has(&Happened::Exited));
    reactor.stop();
    reactor.run().expect("it stops");
    assert!(record.is_ended());
}
