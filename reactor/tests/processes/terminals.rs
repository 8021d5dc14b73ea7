//! Children on a terminal of their own.

use ropewalk_reactor::{Program, Reactor, Signal, Wiring};

use crate::common::turn_until;
use crate::probe::{Happened, Probe, Record, run, spawn};

#[test]
fn a_child_has_a_terminal_of_the_size_that_was_asked_for() {
    let record = Record::new();
    let line = "test -t 0 && test -t 1 && test -t 2 && stty size && tty </dev/tty";
    run(Program::shell(line).terminal(33, 99), &record, Probe::new(&record));
    assert_eq!(record.status().code(), Some(0), "{}", record.out());
    let out = record.out();
    let (size, tty) = out.split_once("\r\n").expect("two lines");
    assert_eq!(size, "33 99");
    assert!(tty.starts_with("/dev/"), "{tty}");
    // One descriptor, and one loss of it.
    let lost = [0, 1, 2].map(|descriptor| record.count(&Happened::Lost(descriptor)));
    assert_eq!(lost, [0, 1, 0]);
}

#[test]
fn other_descriptors_may_lead_to_the_terminal_or_past_it() {
    let record = Record::new();
    let program = Program::shell("echo seen >&5; echo aside >&6")
        .descriptor(5, Wiring::SameAs(1))
        .descriptor(6, Wiring::FromChild)
        .terminal(24, 80);
    run(program, &record, Probe::new(&record));
    assert_eq!((&*record.out(), &record.story().other[..]), ("seen\r\n", &b"aside\n"[..]));
}

#[test]
fn what_is_typed_is_read_by_line_and_ctrl_c_interrupts() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    let program = Program::shell("stty -echo; echo ready; read line; echo got $line; exec cat");
    let id = spawn(&mut reactor, program.terminal(24, 80), Probe::new(&record));
    turn_until(&mut reactor, |_| record.out().contains("ready"));
    reactor.process(id).expect("it runs").write(b"a line\n");
    turn_until(&mut reactor, |_| record.out().contains("got a line"));
    // (Until it is `cat`, a shell between two commands may miss the interrupt.)
    reactor.process(id).expect("it runs").write(b"to cat\n");
    turn_until(&mut reactor, |_| record.out().contains("to cat"));
    reactor.process(id).expect("it runs").write(b"\x03");
    turn_until(&mut reactor, |_| record.is_ended());
    assert_eq!(record.status().signal(), Some(Signal::INT));
}

#[test]
fn many_lines_come_whole_though_a_terminal_gives_them_in_pieces() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    // It lives on until it has its answer: no hang-up makes anybody look once more.
    let program = Program::shell("stty -echo; seq 1 20000; read answer").terminal(24, 80);
    let id = spawn(&mut reactor, program, Probe::new(&record));
    let expected: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
    turn_until(&mut reactor, |_| record.story().out.len() >= expected.len());
    reactor.process(id).expect("it runs").write(b"all there\n");
    turn_until(&mut reactor, |_| record.is_ended());
    crate::common::assert_same(record.out(), expected);
}

#[test]
fn another_size_is_told_to_the_child() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    let line = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done";
    let id = spawn(&mut reactor, Program::shell(line).terminal(24, 80), Probe::new(&record));
    turn_until(&mut reactor, |_| record.out().contains("ready"));
    reactor.process(id).expect("it runs").resize_terminal(50, 100).expect("it has one");
    turn_until(&mut reactor, |_| record.is_ended());
    assert!(record.out().ends_with("50 100\r\n"), "{}", record.out());
}

#[test]
fn hanging_up_ends_a_shell() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    let id =
        spawn(&mut reactor, Program::new("sh").arg("-i").terminal(24, 80), Probe::new(&record));
    turn_until(&mut reactor, |_| record.has(&Happened::Data(1)));
    let refused = spawn(&mut reactor, Program::new("cat"), Probe::new(&Record::new()));
    let mut piped = reactor.process(refused).expect("cat runs");
    assert!(piped.resize_terminal(1, 1).is_err());
    piped.kill();
    reactor.process(id).expect("it runs").lose_connection();
    turn_until(&mut reactor, |_| record.is_ended());
}

#[test]
fn a_stop_ends_an_interactive_shell_which_ignores_sigterm() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    spawn(&mut reactor, Program::new("sh").arg("-i").terminal(24, 80), Probe::new(&record));
    turn_until(&mut reactor, |_| record.has(&Happened::Data(1)));
    reactor.stop();
    reactor.run().expect("it stops");
    assert!(record.is_ended());
    assert_ne!(record.status().signal(), Some(Signal::KILL));
}
