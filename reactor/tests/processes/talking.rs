//! Bytes to and from real children.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_reactor::{ProcessStatus, Program, Reactor, Wiring, Written};

use crate::common::{assert_same, pattern, turn_until};
use crate::probe::{Happened, Probe, Record, run, spawn};

#[test]
fn what_is_written_to_cat_comes_back_and_its_story_is_told_in_order() {
    let record = Record::new();
    let probe = Probe::new(&record).on_started(|transport| {
        transport.write(b"hello ");
        transport.write(b"child");
        transport.close_stdin();
        Ok(())
    });
    run(Program::new("cat"), &record, probe);
    assert_eq!(record.out(), "hello child");
    assert_eq!(record.status(), ProcessStatus::Exited(0));
    let events = &record.story().events;
    assert_eq!(events.first(), Some(&Happened::Started));
    assert_eq!(events.last(), Some(&Happened::Ended));
    for descriptor in 0..3 {
        assert_eq!(record.count(&Happened::Lost(descriptor)), 1);
    }
    assert_eq!(record.count(&Happened::Exited), 1);
}

#[test]
fn eight_mebibytes_go_through_cat_unharmed_and_within_the_marks() {
    let sent = pattern(0, 8 << 20);
    let record = Record::new();
    let at = Rc::new(Cell::new(0));
    let rest = Bytes::from(sent.clone());
    // Never more than the mark and one piece waits here.
    let produce = move |transport: &mut ropewalk_reactor::ProcessTransport<'_>| {
        while at.get() < rest.len() {
            let piece = rest.slice(at.get()..rest.len().min(at.get() + 10_000));
            at.set(at.get() + piece.len());
            let answer = transport.write_bytes(piece);
            assert!(transport.buffered(0) <= 64 * 1024 + 10_000);
            if answer == Written::AboveHighWater {
                return Ok(());
            }
        }
        transport.close_stdin();
        Ok(())
    };
    let again = produce.clone();
    let probe = Probe::new(&record)
        .on_started(move |transport| produce(transport))
        .on_resume(move |transport| again(transport));
    run(Program::new("cat"), &record, probe);
    assert_same(&record.story().out, &sent);
    assert!(record.has(&Happened::Resumed(0)));
}

#[test]
fn what_is_left_over_comes_again_with_more_behind_it() {
    let record = Record::new();
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    let probe = Probe::new(&record)
        .on_started(|transport| {
            transport.write(b"ab");
            Ok(())
        })
        .on_data(move |transport, _, data| {
            calls.set(calls.get() + 1);
            if data.len() < 4 {
                assert_eq!(&data[..], b"ab");
                transport.write(b"cd");
                transport.close_stdin();
            } else {
                assert_eq!(&data[..], b"abcd");
                data.clear();
            }
            Ok(())
        });
    run(Program::new("cat"), &record, probe);
    assert_eq!((record.out().as_str(), counted.get()), ("abcd", 2));
}

#[test]
fn standard_error_is_apart_unless_it_is_wired_to_standard_output() {
    let line = "echo out; echo err >&2";
    let record = Record::new();
    run(Program::shell(line), &record, Probe::new(&record));
    assert_eq!((&record.story().out[..], &record.story().err[..]), (&b"out\n"[..], &b"err\n"[..]));
    let record = Record::new();
    let program = Program::shell(line).stderr(Wiring::SameAs(1));
    run(program, &record, Probe::new(&record));
    assert_eq!(record.out(), "out\nerr\n");
}

#[test]
fn other_descriptors_lead_both_ways() {
    let record = Record::new();
    let program = Program::shell("cat <&5 >&9")
        .descriptor(5, Wiring::ToChild)
        .descriptor(9, Wiring::FromChild);
    let probe = Probe::new(&record).on_started(|transport| {
        assert_eq!(transport.write_to(5, b"by the side door"), Written::Taken);
        assert_eq!(transport.write_to(9, b"wrong way"), Written::Gone);
        assert_eq!(transport.write_to(7, b"nowhere"), Written::Gone);
        transport.close_descriptor(5);
        Ok(())
    });
    run(program, &record, probe);
    assert_eq!(record.story().other, b"by the side door");
    assert!(record.has(&Happened::Lost(5)) && record.has(&Happened::Lost(9)));
}

#[test]
fn a_paused_descriptor_gives_nothing_until_it_is_resumed_and_then_all() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    let probe = Probe::new(&record).on_started(|transport| {
        transport.pause_reading(1);
        Ok(())
    });
    let id = spawn(&mut reactor, Program::shell("echo held; echo heard >&2"), probe);
    turn_until(&mut reactor, |_| record.has(&Happened::Exited) && record.has(&Happened::Lost(2)));
    assert_eq!((record.out().as_str(), &record.story().err[..]), ("", &b"heard\n"[..]));
    assert!(!record.is_ended());
    reactor.process(id).expect("its story goes on").resume_reading(1);
    turn_until(&mut reactor, |_| record.is_ended());
    assert_eq!(record.out(), "held\n");
}

#[test]
fn what_a_paused_protocol_left_comes_again_on_resume() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    let first = Cell::new(true);
    let probe = Probe::new(&record).on_data(move |transport, _, data| {
        if first.replace(false) {
            transport.pause_reading(1);
        } else {
            data.clear();
        }
        Ok(())
    });
    let id = spawn(&mut reactor, Program::shell("printf x"), probe);
    turn_until(&mut reactor, |_| record.has(&Happened::Exited) && record.has(&Happened::Data(1)));
    assert_eq!(record.count(&Happened::Data(1)), 1);
    reactor.process(id).expect("its story goes on").resume_reading(1);
    turn_until(&mut reactor, |_| record.is_ended());
    assert_eq!(record.out(), "x");
}

#[test]
fn writing_to_a_child_that_closed_its_input_or_has_gone_is_silent() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    let id = spawn(&mut reactor, Program::shell("exec <&-; read x <&2"), Probe::new(&record));
    // The loss of its reader is told though nothing was written.
    turn_until(&mut reactor, |_| record.has(&Happened::Lost(0)));
    turn_until(&mut reactor, |_| record.is_ended());
    assert_eq!(record.story().reason.as_ref().map(ToString::to_string), None);
    assert!(reactor.process(id).is_none());

    // One that goes while megabytes wait for it: no error of the process either.
    let record = Record::new();
    let probe = Probe::new(&record).on_started(|transport| {
        transport.write(&vec![b'x'; 1 << 20]);
        Ok(())
    });
    spawn(&mut reactor, Program::shell("head -c 1 >/dev/null; exit 7"), probe);
    turn_until(&mut reactor, |_| record.is_ended());
    assert_eq!(record.status().code(), Some(7));
    assert!(record.story().reason.is_none());
}

#[test]
fn a_child_whose_output_is_closed_here_notices_at_its_next_write() {
    let record = Record::new();
    let probe = Probe::new(&record).on_started(|transport| {
        transport.close_descriptor(1);
        transport.write(b"go\n");
        Ok(())
    });
    run(Program::shell("read x; echo too late; echo status $? >&2"), &record, probe);
    // The shell is ended by SIGPIPE, which it has as usual.
    assert_eq!(record.status().signal(), Some(ropewalk_reactor::Signal::PIPE));
}

#[test]
fn a_busy_child_does_not_starve_the_rest() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    let id = spawn(&mut reactor, Program::new("yes"), Probe::new(&record));
    let ticks = Rc::new(Cell::new(0));
    let ticked = ticks.clone();
    let beat = reactor.call_repeatedly(std::time::Duration::from_millis(1), move |_| {
        ticked.set(ticked.get() + 1)
    });
    turn_until(&mut reactor, |_| ticks.get() > 5 && record.story().out.len() > 1 << 20);
    beat.stop();
    reactor.process(id).expect("yes goes on").kill();
    turn_until(&mut reactor, |_| record.is_ended());
}

#[test]
fn hundreds_of_children_at_once_leave_neither_descriptors_nor_zombies() {
    let mut reactor = Reactor::new().expect("a poller");
    let records: Vec<_> = (0..300).map(|_| Record::new()).collect();
    for (number, record) in records.iter().enumerate() {
        let probe = Probe::new(record).on_started(|transport| {
            transport.write(b"x");
            transport.close_stdin();
            Ok(())
        });
        let line = format!("cat; exit {}", number % 200);
        spawn(&mut reactor, Program::shell(line), probe);
    }
    assert_eq!(reactor.process_count(), 300);
    turn_until(&mut reactor, |_| records.iter().all(Record::is_ended));
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record.status().code(), Some(number as i32 % 200));
        assert_eq!(record.out(), "x");
        assert!(crate::probe::is_gone(record.story().pid));
    }
    assert_eq!(reactor.process_count(), 0);
}

#[test]
fn no_descriptor_is_left_behind() {
    crate::common::in_its_own_process("talking::no_descriptor_is_left_behind", || {
        let mut reactor = Reactor::new().expect("a poller");
        let before = crate::common::descriptors();
        for _ in 0..20 {
            let record = Record::new();
            let program = Program::shell("cat").descriptor(4, Wiring::FromChild);
            let probe = Probe::new(&record).on_started(|transport| {
                transport.close_stdin();
                Ok(())
            });
            spawn(&mut reactor, program, probe);
            let terminal = Record::new();
            let program = Program::shell("true").terminal(24, 80);
            spawn(&mut reactor, program, Probe::new(&terminal));
            reactor
                .spawn_process(Program::new("/no/such/program"), Probe::new(&Record::new()))
                .expect_err("it is not there");
            turn_until(&mut reactor, |_| record.is_ended() && terminal.is_ended());
        }
        assert_eq!(crate::common::descriptors(), before);
    });
}
