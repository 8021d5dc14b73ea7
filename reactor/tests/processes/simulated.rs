//! Children on the simulated network: the same protocols, and a test plays the program.

use std::time::Duration;

use bytes::BytesMut;
use ropewalk_reactor::simulation::{ChildEvent, SimulatedChild};
use ropewalk_reactor::testing::ProcessHarness;
use ropewalk_reactor::{
    Error, ProcessProtocol, ProcessStatus, ProcessTransport, Program, Reason, Result, Signal,
    Simulation, Written,
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
