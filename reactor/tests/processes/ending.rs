//! How children end, and what their protocols can do to them.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use ropewalk_reactor::{Error, ProcessStatus, Program, Reactor, Reason, Signal};

use crate::common::logs;
use crate::common::turn_until;
use crate::probe::{Happened, Probe, Record, is_gone, run, spawn};

#[test]
fn a_code_and_a_signal_are_told_apart() {
    let record = Record::new();
    run(Program::shell("exit 3"), &record, Probe::new(&record));
    assert_eq!(record.status(), ProcessStatus::Exited(3));
    assert_eq!(record.status().to_string(), "exited with code 3");
    let record = Record::new();
    run(Program::shell("kill -USR1 $$"), &record, Probe::new(&record));
    assert_eq!(record.status().signal(), Some(Signal::USR1));
    assert_eq!(record.status().to_string(), "killed by SIGUSR1");
    assert!(!record.status().core_dumped());
}

#[test]
fn a_program_that_is_not_there_is_an_error_of_spawn_with_its_name() {
    let mut reactor = Reactor::new().expect("a poller");
    let mut fail = |program: Program| {
        let record = Record::new();
        let error = reactor.spawn_process(program, Probe::new(&record)).expect_err("it cannot run");
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
        assert!(record.story().events.is_empty());
        assert_eq!(reactor.process_count(), 0);
        let Error::Spawn { source, .. } = &error else { panic!("{error}") };
        (source.kind(), error.to_string())
    };
    let (kind, text) = fail(Program::new("/no/such/program"));
    assert_eq!(kind, io::ErrorKind::NotFound);
    assert!(text.starts_with("cannot run /no/such/program: "), "{text}");
    let (kind, _) = fail(Program::new("no-such-program-on-the-path"));
    assert_eq!(kind, io::ErrorKind::NotFound);
    let (kind, _) = fail(Program::new("/etc/passwd"));
    assert_eq!(kind, io::ErrorKind::PermissionDenied);
    let (_, text) = fail(Program::new("true").directory("/no/such/directory"));
    assert!(text.contains("/no/such/directory"), "{text}");
}

#[test]
fn the_exit_is_told_at_its_reaping_and_the_end_when_the_pipes_have_closed() {
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    // The child leaves another one behind that holds its standard output and waits for its input.
    let line = "(read x; echo last words) <&3 & echo first; exit 4";
    let program = Program::shell(line).descriptor(3, ropewalk_reactor::Wiring::ToChild);
    let id = spawn(&mut reactor, program, Probe::new(&record));
    turn_until(&mut reactor, |_| record.has(&Happened::Exited));
    assert!(is_gone(record.story().pid));
    assert!(!record.is_ended());
    let mut transport = reactor.process(id).expect("its story goes on");
    assert_eq!(transport.status(), Some(ProcessStatus::Exited(4)));
    assert!(matches!(transport.signal(Signal::TERM), Err(Error::ProcessExited)));
    transport.write_to(3, b"\n");
    turn_until(&mut reactor, |_| record.is_ended());
    assert_eq!(record.out(), "first\nlast words\n");
}

#[test]
fn whoever_does_not_want_to_wait_for_the_pipes_closes_them() {
    let record = Record::new();
    let probe = Probe::new(&record).on_exited(|transport, _| transport.lose_connection());
    let program =
        Program::shell("(read x) <&3 & exit 0").descriptor(3, ropewalk_reactor::Wiring::ToChild);
    run(program, &record, probe);
}

#[test]
fn whoever_does_not_want_to_wait_may_still_want_what_was_said_and_has_not_ended_it() {
    let record = Record::new();
    let mut started = false;
    let probe = Probe::new(&record)
        .on_started(|transport| {
            transport.pause_reading(1);
            Ok(())
        })
        .on_exited(move |transport, _| {
            assert!(!std::mem::replace(&mut started, true));
            transport.resume_reading(1);
            transport.terminate();
            transport.kill();
        });
    let line = "(read x) <&3 & head -c 50000 /dev/zero; exit 9";
    let program = Program::shell(line).descriptor(3, ropewalk_reactor::Wiring::ToChild);
    run(program, &record, probe);
    assert_eq!((record.status().code(), record.out().len()), (Some(9), 50_000));
    assert!(record.story().reason.is_none(), "{:?}", record.story().reason);
}

#[test]
fn signals_arrive_and_a_real_time_one_does_too() {
    for signal in ["USR2", "40"] {
        let record = Record::new();
        let probe = Probe::new(&record).on_data(move |transport, _, data| {
            data.clear();
            transport.signal(signal.parse().expect("a signal"))?;
            Ok(())
        });
        let line = format!(
            "trap 'echo got it; exit 5' {signal}; echo ready; while :; do sleep 0.01; done"
        );
        run(Program::shell(line), &record, probe);
        assert_eq!(record.status().code(), Some(5), "{signal}");
    }
}

#[test]
fn terminating_is_asking_first_and_killing_after_the_grace() {
    let record = Record::new();
    let probe = Probe::new(&record).on_data(|transport, _, data| {
        data.clear();
        transport.terminate();
        Ok(())
    });
    let program =
        Program::shell("trap 'echo bye; exit 6' TERM; echo; while :; do sleep 0.01; done");
    run(program, &record, probe);
    assert_eq!((record.status().code(), record.out().as_str()), (Some(6), "\nbye\n"));
    assert!(matches!(record.story().reason, Some(Reason::Closed)));

    let record = Record::new();
    let probe = Probe::new(&record).on_data(|transport, _, data| {
        data.clear();
        transport.terminate();
        Ok(())
    });
    let deaf = Program::shell("trap '' TERM; echo; while :; do sleep 0.01; done")
        .stop_grace(Duration::from_millis(50));
    run(deaf, &record, probe);
    assert_eq!(record.status().signal(), Some(Signal::KILL));
}

#[test]
fn a_timeout_ends_the_child_and_in_a_group_of_its_own_all_that_it_started() {
    let record = Record::new();
    let program = Program::shell("sleep 1000 & echo $!; wait")
        .process_group()
        .timeout(Duration::from_millis(200));
    run(program, &record, Probe::new(&record));
    assert!(matches!(record.story().reason, Some(Reason::TimedOut(_))));
    assert_eq!(record.status().signal(), Some(Signal::TERM));
    let sleeper: u32 = record.out().trim().parse().expect("a number");
    // Adopted by init, which reaps it in its own time.
    let running = || {
        let stat = std::fs::read_to_string(format!("/proc/{sleeper}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    let began = std::time::Instant::now();
    while running() {
        assert!(began.elapsed() < crate::common::PATIENCE, "{sleeper} lives on");
        std::thread::yield_now();
    }
}

#[test]
fn without_a_group_what_holds_the_pipes_is_not_waited_for_after_a_timeout() {
    let record = Record::new();
    // The grandchild ends by itself when this side of descriptor 3 has gone.
    let program = Program::shell("(read x) <&3 & echo kept; sleep 1000")
        .descriptor(3, ropewalk_reactor::Wiring::ToChild)
        .timeout(Duration::from_millis(200));
    run(program, &record, Probe::new(&record));
    assert_eq!(record.out(), "kept\n");
}

#[test]
fn an_error_terminates_that_child_and_a_panic_kills_it_and_each_is_logged_once() {
    let mut reactor = Reactor::new().expect("a poller");
    let line = "trap 'exit 8' TERM; echo; while :; do sleep 0.01; done";
    let (failing, panicking, other) = (Record::new(), Record::new(), Record::new());
    let probe = Probe::new(&failing).on_data(|_, _, _| Err("wrong words".into()));
    spawn(&mut reactor, Program::shell(line), probe);
    let probe = Probe::new(&panicking).on_data(|_, _, _| panic!("worse words"));
    spawn(&mut reactor, Program::shell(line), probe);
    spawn(&mut reactor, Program::shell("echo fine"), Probe::new(&other));
    logs::collect();
    turn_until(&mut reactor, |_| failing.is_ended() && panicking.is_ended() && other.is_ended());
    let said = logs::lines();
    assert_eq!(failing.status().code(), Some(8));
    assert!(matches!(&failing.story().reason, Some(Reason::Error(_))));
    assert_eq!(panicking.status().signal(), Some(Signal::KILL));
    assert!(
        matches!(&panicking.story().reason, Some(Reason::Panic(text)) if &**text == "worse words")
    );
    assert_eq!(other.out(), "fine\n");
    let about = |words: &str, pid: u32| {
        let name = format!("/bin/sh[{pid}]");
        said.iter().filter(|line| line.contains(words) && line.contains(&name)).count()
    };
    assert_eq!(about("wrong words", failing.story().pid), 1);
    assert_eq!(about("worse words", panicking.story().pid), 1);
}

#[test]
fn more_left_over_than_the_limit_terminates() {
    let record = Record::new();
    let probe = Probe::new(&record).on_data(|_, _, _| Ok(()));
    run(Program::new("yes").receive_limit(10_000), &record, probe);
    assert!(matches!(record.story().reason, Some(Reason::ReceiveLimit(10_000))));
}

#[test]
fn more_waiting_than_the_limit_terminates() {
    let record = Record::new();
    let probe = Probe::new(&record).on_started(|transport| {
        transport.write(&vec![0; 300_000]); // a pipe takes 64 KiB
        Ok(())
    });
    run(Program::shell("sleep 1000").process_group().output_limit(100_000), &record, probe);
    assert!(matches!(record.story().reason, Some(Reason::OutputLimit(100_000))));
}

#[test]
fn children_of_others_are_left_to_them() {
    let mut reactor = Reactor::new().expect("a poller");
    let mut theirs = std::process::Command::new("sh").args(["-c", "exit 9"]).spawn().expect("sh");
    let record = Record::new();
    spawn(&mut reactor, Program::shell("exit 1"), Probe::new(&record));
    turn_until(&mut reactor, |_| record.is_ended());
    let status = theirs.wait().expect("it is still theirs to wait for");
    assert_eq!((status.code(), status.signal()), (Some(9), None));
}

#[test]
fn a_child_that_somebody_else_has_waited_for_ends_all_the_same() {
    crate::common::in_its_own_process(
        "ending::a_child_that_somebody_else_has_waited_for_ends_all_the_same",
        || {
            let mut reactor = Reactor::new().expect("a poller");
            let record = Record::new();
            spawn(&mut reactor, Program::shell("exit 1"), Probe::new(&record));
            // As a library does that waits for any child.
            let waited = rustix::process::wait(rustix::process::WaitOptions::empty());
            assert!(waited.expect("a child").is_some());
            turn_until(&mut reactor, |_| record.is_ended());
            assert_eq!(record.status(), ProcessStatus::Unknown);
        },
    );
}

#[test]
fn a_callback_may_spawn_another_child_and_reach_it() {
    let (first, second) = (Record::new(), Record::new());
    let mut reactor = Reactor::new().expect("a poller");
    let heard = second.clone();
    let probe = Probe::new(&first).on_ended(move |transport, _| {
        let id = transport.spawn_process(Program::new("cat"), Probe::new(&heard)).expect("cat");
        assert!(heard.story().events.is_empty(), "no callback runs inside another");
        let mut other = transport.process(id).expect("it runs");
        other.write(b"hello");
        other.close_stdin();
    });
    spawn(&mut reactor, Program::new("true"), probe);
    turn_until(&mut reactor, |_| second.is_ended());
    assert_eq!(second.out(), "hello");
}
