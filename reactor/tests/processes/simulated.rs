//! Children on the simulated network: the same protocols, and a test plays the program.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use ropewalk_reactor::simulation::{ChildEvent, SimulatedChild};
use ropewalk_reactor::testing::ProcessHarness;
use ropewalk_reactor::{
    Error, ProcessProtocol, ProcessStatus, ProcessTransport, Program, Reason, Result, Signal,
    Simulation, Wiring, Written,
};

use crate::common::{assert_same, pattern, seeds};
use crate::probe::{Happened, Probe, Record};

fn cat() -> impl FnMut(&SimulatedChild, ChildEvent) {
    |child, event| match event {
        ChildEvent::Input(_, data) => child.write(1, &data),
        ChildEvent::InputClosed(_) => child.exit(0),
        _ => {}
    }
}

#[test]
fn whatever_goes_through_a_simulated_cat_comes_back_under_every_seed() {
    for seed in seeds(300) {
        let mut simulation = Simulation::new(seed);
        simulation.program("cat", cat);
        let record = Record::new();
        let sent = pattern(0, 5_000);
        let probe = Probe::new(&record).on_started(move |transport| {
            for piece in sent.chunks(700) {
                transport.write(piece);
            }
            transport.close_stdin();
            Ok(())
        });
        simulation.reactor().spawn_process(Program::new("cat"), probe).expect("it is known");
        simulation.settle();
        assert_same(&record.story().out, pattern(0, 5_000));
        assert!(record.is_ended(), "seed {seed}: {:?}", record.story().events);
        assert_eq!(record.status().code(), Some(0));
        assert_eq!(simulation.reactor().process_count(), 0);
        assert_eq!((simulation.open_sockets(), simulation.children().len()), (0, 0), "seed {seed}");
    }
}

#[test]
fn a_script_says_things_and_exits_and_all_of_it_arrives() {
    for seed in seeds(200) {
        let mut simulation = Simulation::new(seed);
        simulation.program("report", || {
            |child: &SimulatedChild, event| {
                if event == ChildEvent::Started {
                    assert_eq!(child.arguments(), ["report", "--all"]);
                    assert_eq!(child.variable("DEPTH"), Some("3".into()));
                    child.write(2, b"a warning");
                    child.write(1, &pattern(0, 3_000));
                    child.exit(4);
                }
            }
        });
        let record = Record::new();
        let program = Program::new("report").arg("--all").env("DEPTH", "3");
        simulation.reactor().spawn_process(program, Probe::new(&record)).expect("it is known");
        simulation.settle();
        assert_same(&record.story().out, pattern(0, 3_000));
        assert_eq!(record.story().err, b"a warning", "seed {seed}");
        assert_eq!(record.status().code(), Some(4));
        assert!(record.is_ended());
    }
}

#[test]
fn an_unknown_program_is_not_there() {
    let mut simulation = Simulation::calm();
    let spawned =
        simulation.reactor().spawn_process(Program::new("cat"), Probe::new(&Record::new()));
    assert!(matches!(spawned, Err(Error::Spawn { .. })));
}

#[test]
fn signals_deadlines_and_graces_pass_in_virtual_time() {
    let mut simulation = Simulation::calm();
    simulation.program("stubborn", || {
        |child: &SimulatedChild, event| {
            if let ChildEvent::Signalled(signal) = event {
                child.write(1, format!("{signal} ").as_bytes());
                child.survive();
            }
        }
    });
    let record = Record::new();
    let program = Program::new("stubborn")
        .timeout(Duration::from_secs(3600))
        .stop_grace(Duration::from_secs(60));
    let probe = Probe::new(&record);
    let id = simulation.reactor().spawn_process(program, probe).expect("it is known");
    simulation.run_for(Duration::from_secs(1));
    simulation.reactor().process(id).expect("it runs").signal(Signal::HUP).expect("it runs");
    simulation.run_for(Duration::from_secs(3600));
    assert_eq!(record.out(), "SIGHUP SIGTERM SIGCONT ");
    assert!(!record.has(&Happened::Exited));
    simulation.run_for(Duration::from_secs(60));
    assert_eq!(record.status().signal(), Some(Signal::KILL));
    assert!(matches!(record.story().reason, Some(Reason::TimedOut(_))));
}

#[test]
fn a_slow_child_pauses_its_producer() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        simulation.capacity(10_000);
        simulation.program("slow", || {
            |child: &SimulatedChild, event| {
                if event == ChildEvent::Started {
                    child.stop_reading();
                }
            }
        });
        let record = Record::new();
        let probe = Probe::new(&record).on_started(|transport| {
            transport.write(&pattern(0, 300_000));
            Ok(())
        });
        simulation.reactor().spawn_process(Program::new("slow"), probe).expect("it is known");
        simulation.run_for(Duration::from_secs(5));
        assert!(record.has(&Happened::Paused(0)), "seed {seed}");
        let child = simulation.children().remove(0);
        child.resume_reading();
        simulation.settle();
        assert!(record.has(&Happened::Resumed(0)), "seed {seed}");
        child.killed_by(Signal::PIPE);
        simulation.settle();
        assert_eq!(record.status().signal(), Some(Signal::PIPE));
        assert!(record.is_ended());
    }
}

#[test]
fn a_terminal_and_a_stop_are_simulated_too() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        simulation.program("sh", cat);
        let record = Record::new();
        let probe = Probe::new(&record).on_started(|transport| {
            transport.write(b"typed");
            Ok(())
        });
        let program = Program::new("sh").terminal(24, 80);
        simulation.reactor().spawn_process(program, probe).expect("it is known");
        simulation.run_until(|_| record.out() == "typed");
        simulation.reactor().stop();
        simulation.settle();
        assert!(record.is_ended(), "seed {seed}");
        assert_eq!(record.status().signal(), Some(Signal::TERM));
    }
}

/// Sends numbers, wants each back doubled, and says when it is satisfied.
struct Doubling {
    wanted: Vec<u32>,
    satisfied: bool,
}

impl ProcessProtocol for Doubling {
    fn process_started(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        for number in &self.wanted {
            transport.write(format!("{number}\n").as_bytes());
        }
        Ok(())
    }

    fn out_received(
        &mut self,
        transport: &mut ProcessTransport<'_>,
        data: &mut BytesMut,
    ) -> Result {
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            let line = data.split_to(end + 1);
            let number: u32 = std::str::from_utf8(&line)?.trim().parse()?;
            if number != 2 * self.wanted.remove(0) {
                return Err("it cannot multiply".into());
            }
        }
        if self.wanted.is_empty() {
            self.satisfied = true;
            transport.close_stdin();
        }
        Ok(())
    }
}

fn doubling() -> Doubling {
    Doubling { wanted: vec![2, 30], satisfied: false }
}

#[test]
fn a_harness_plays_the_child() {
    let mut harness = ProcessHarness::new(doubling());
    assert_eq!(harness.written(), "2\n30\n");
    harness.say_bytewise(1, b"4\n60\n");
    assert!(harness.is_closed(0));
    assert_eq!(harness.with(|protocol, _| protocol.wanted.len()), 0);
    harness.exit(0);
    assert_eq!(harness.ended(), Some(ProcessStatus::Exited(0)));
    assert!(harness.reason().is_none());
    assert!(harness.into_protocol().satisfied);
}

#[test]
fn a_harness_shows_what_an_error_does_to_the_child() {
    let program = Program::new("any").stop_grace(Duration::from_secs(5));
    let mut harness = ProcessHarness::with_program(program, doubling());
    harness.survive_signals();
    harness.say(1, b"5\n");
    assert!(harness.is_closed(0));
    assert_eq!(harness.signals(), [Signal::TERM, Signal::CONT]);
    assert_eq!(harness.ended(), None);
    harness.advance(Duration::from_secs(5));
    assert_eq!(harness.ended().and_then(ProcessStatus::signal), Some(Signal::KILL));
    let reason = harness.reason().expect("it was ended here");
    assert_eq!(reason.to_string(), "closed on an error: it cannot multiply");
}

#[test]
fn a_harness_closes_pipes_and_fills_up() {
    let mut harness = ProcessHarness::new(doubling());
    harness.room(1000);
    harness.stop_reading();
    let buffered = harness.with(|_, transport| {
        transport.write(&[b'x'; 5000]);
        transport.buffered(0)
    });
    assert_eq!(buffered, 5000);
    assert_eq!(harness.with(|_, transport| transport.buffered(0)), 4000);
    harness.resume_reading();
    assert_eq!(harness.with(|_, transport| transport.buffered(0)), 0);
    assert_eq!(harness.written().len(), "2\n30\n".len() + 5000);
    harness.close(0);
    let gone = harness.with(|_, transport| transport.write(b"more"));
    assert_eq!(gone, Written::Gone);
    harness.close(1);
    harness.killed_by(Signal::HUP);
    assert_eq!(harness.ended().and_then(ProcessStatus::signal), Some(Signal::HUP));
}

#[test]
fn descriptors_that_are_wired_to_one_pipe_are_one_until_the_last_is_closed() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        simulation.program("two", || {
            |child: &SimulatedChild, event| match event {
                ChildEvent::Started => {
                    child.write(2, b"warning ");
                    child.close(1);
                    child.write(1, b"never ");
                    child.write(2, b"and error ");
                    child.write(5, b"of five");
                    child.close(2);
                }
                ChildEvent::InputClosed(_) => child.exit(0),
                _ => {}
            }
        });
        let record = Record::new();
        let program =
            Program::new("two").stderr(Wiring::SameAs(1)).descriptor(5, Wiring::SameAs(1));
        let id = simulation.reactor().spawn_process(program, Probe::new(&record));
        let id = id.expect("it is known");
        simulation.settle();
        assert_eq!(record.out(), "warning and error of five", "seed {seed}");
        assert!(!record.has(&Happened::Lost(1)), "5 still leads there");
        simulation.children().remove(0).close(5);
        simulation.settle();
        assert!(record.has(&Happened::Lost(1)), "seed {seed}");
        simulation.reactor().process(id).expect("it runs").close_stdin();
        simulation.settle();
        assert!(record.is_ended());
    }
}

/// A child that says something on both outputs; what its protocol does with that is the test's.
fn talker(
    on_data: impl FnMut(&mut ProcessTransport<'_>, i32, &mut BytesMut) -> Result + 'static,
) -> Record {
    let mut simulation = Simulation::calm();
    simulation.program("talker", || {
        |child: &SimulatedChild, event| {
            if event == ChildEvent::Started {
                child.write(1, b"said");
            }
        }
    });
    let record = Record::new();
    let probe = Probe::new(&record).on_data(on_data);
    simulation.reactor().spawn_process(Program::new("talker"), probe).expect("it is known");
    simulation.run_until(|_| record.has(&Happened::Data(1)));
    simulation.children().remove(0).write(2, b"and warned");
    simulation.settle();
    assert!(record.has(&Happened::Data(2)));
    record
}

#[test]
fn what_was_left_in_a_pause_is_not_delivered_after_an_error_nor_once_its_pipe_is_closed() {
    let record = talker(|transport, descriptor, _| {
        if descriptor == 1 {
            transport.pause_reading(1);
            return Ok(());
        }
        transport.resume_reading(1);
        Err("no more".into())
    });
    assert_eq!(record.count(&Happened::Data(1)), 1, "{:?}", record.story().events);
    let record = talker(|transport, descriptor, data| {
        if descriptor == 1 {
            transport.pause_reading(1);
            return Ok(());
        }
        data.clear();
        transport.resume_reading(1);
        transport.close_descriptor(1);
        Ok(())
    });
    assert_eq!(record.count(&Happened::Data(1)), 1, "{:?}", record.story().events);
    assert!(record.has(&Happened::Lost(1)));
}

#[test]
fn whoever_writes_on_when_the_child_has_ended_is_not_read_for_ever() {
    // Played by a pipe that holds more than any real one.
    let mut simulation = Simulation::calm();
    simulation.capacity(8 << 20);
    simulation.program("parent", || {
        |child: &SimulatedChild, event| {
            if event == ChildEvent::Started {
                child.write(1, &pattern(0, 4 << 20));
            }
        }
    });
    let record = Record::new();
    let probe = Probe::new(&record)
        .on_started(|transport| {
            transport.pause_reading(1);
            Ok(())
        })
        .on_exited(|transport, _| {
            transport.resume_reading(1);
            transport.terminate();
        });
    simulation.reactor().spawn_process(Program::new("parent"), probe).expect("it is known");
    simulation.run_for(Duration::from_secs(5));
    simulation.children().remove(0).killed_by(Signal::HUP);
    simulation.settle();
    assert!(record.is_ended());
    let heard = record.story().out.len();
    assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&heard), "{heard}");
}

/// Panics when it is dropped, and counts that.
struct Bomb(Rc<Cell<u32>>);

impl ProcessProtocol for Bomb {}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        panic!("a bomb");
    }
}

#[test]
fn a_crash_takes_the_children_of_its_machine_and_drops_all_their_protocols() {
    let mut simulation = Simulation::calm();
    simulation.program("cat", cat);
    let elsewhere = simulation.host("elsewhere", |reactor| {
        reactor.spawn_process(Program::new("cat"), Probe::default())?;
        Ok(())
    });
    let dropped = Rc::new(Cell::new(0));
    let spawn = |simulation: &mut Simulation| {
        let bomb = Bomb(dropped.clone());
        simulation.reactor().spawn_process(Program::new("cat"), bomb).expect("it is known");
    };
    spawn(&mut simulation);
    spawn(&mut simulation);
    simulation.settle();
    // Two that are not told yet that they run.
    spawn(&mut simulation);
    spawn(&mut simulation);
    let children = simulation.children();
    assert_eq!(children.len(), 5);
    simulation.crash(0);
    assert_eq!(dropped.get(), 4);
    assert_eq!(simulation.children().len(), 1, "the one elsewhere");
    let killed = |child: &&SimulatedChild| child.status().is_some_and(|how| !how.is_success());
    assert_eq!(children.iter().filter(killed).count(), 4);
    children.iter().for_each(|child| child.write(1, b"to nobody"));
    simulation.restart(0);
    let record = Record::new();
    let probe = Probe::new(&record).on_started(|transport| {
        transport.write(b"again");
        transport.close_stdin();
        Ok(())
    });
    simulation.reactor().spawn_process(Program::new("cat"), probe).expect("it is known");
    simulation.settle();
    assert!(record.is_ended());
    assert_eq!(record.out(), "again");
    simulation.crash(elsewhere);
    assert_eq!((simulation.children().len(), simulation.open_sockets()), (0, 0));
}
