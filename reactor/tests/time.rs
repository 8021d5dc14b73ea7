//! What is promised of timers, on virtual time.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Chance, Happened, Probe, Record, seeds, served, sleep_until};
use ropewalk_reactor::{Reactor, RepeatingCall, Simulation, TimerId};

type Fired<T> = Rc<RefCell<Vec<T>>>;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines_and_equal_ones_in_the_order_of_setting() {
    for seed in seeds(100) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        let fired = Fired::<(u64, usize)>::default();
        for index in 0..200 {
            let deadline = chance.below(20);
            let told = fired.clone();
            simulation.reactor().call_later(millis(deadline), move |_| {
                told.borrow_mut().push((deadline, index));
            });
        }
        simulation.settle();
        let fired = fired.borrow();
        assert_eq!(fired.len(), 200);
        assert!(fired.is_sorted(), "{fired:?}");
    }
}

#[test]
fn a_timer_never_fires_inside_the_call_that_set_it_and_one_set_by_a_timer_waits_a_turn() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let fired = Fired::<&str>::default();
        let (first, second, third) = (fired.clone(), fired.clone(), fired.clone());
        simulation.reactor().call_later(Duration::ZERO, move |reactor| {
            let inner = first.clone();
            reactor.call_later(Duration::ZERO, move |_| inner.borrow_mut().push("next turn"));
            first.borrow_mut().push("first");
        });
        simulation
            .reactor()
            .call_later(Duration::ZERO, move |_| second.borrow_mut().push("second"));
        assert!(fired.borrow().is_empty());
        simulation.reactor().turn(Some(Duration::ZERO)).expect("a turn");
        third.borrow_mut().push("end of turn");
        simulation.settle();
        assert_eq!(*fired.borrow(), ["first", "second", "end of turn", "next turn"]);
    }
}

#[test]
fn input_comes_before_a_timer_that_a_timer_sets_for_now() {
    let record = Record::new();
    let order = Fired::<&str>::default();
    let heard = order.clone();
    let server = Probe::new(&record).on_data(move |_, data| {
        data.clear();
        heard.borrow_mut().push("input");
        Ok(())
    });
    let (mut simulation, mut peer) = served(None, server);
    simulation.settle();
    let told = order.clone();
    simulation.reactor().call_later(Duration::ZERO, move |reactor| {
        told.borrow_mut().push("timer");
        reactor.call_later(Duration::ZERO, move |_| told.borrow_mut().push("its timer"));
    });
    simulation.reactor().turn(Some(Duration::ZERO)).expect("a turn");
    peer.write(b"x");
    simulation.settle();
    assert_eq!(*order.borrow(), ["timer", "input", "its timer"]);
}

#[test]
fn a_timer_that_always_sets_another_for_now_starves_neither_input_nor_other_timers() {
    fn again(reactor: &mut Reactor, left: u32) {
        if left > 0 {
            reactor.call_later(Duration::ZERO, move |reactor| again(reactor, left - 1));
        }
    }
    for seed in seeds(20) {
        let record = Record::new();
        let (mut simulation, mut peer) = served(Some(seed), Probe::echo(&record));
        again(simulation.reactor(), 200_000);
        let fired = Rc::new(Cell::new(false));
        let told = fired.clone();
        simulation.reactor().call_later(millis(10), move |_| told.set(true));
        peer.write(b"hello");
        simulation.run_for(Duration::from_millis(100));
        assert!(fired.get());
        simulation.settle();
        assert_eq!(peer.read(), "hello");
    }
}

#[test]
fn timers_can_be_cancelled_and_moved_also_from_inside_another() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let fired = Fired::<&str>::default();
        let timer = |simulation: &mut Simulation, at, name| {
            let told = fired.clone();
            simulation.reactor().call_later(millis(at), move |_| told.borrow_mut().push(name))
        };
        let cancelled = timer(&mut simulation, 20, "cancelled");
        let sooner = timer(&mut simulation, 500, "sooner");
        let later = timer(&mut simulation, 30, "later");
        let plain = timer(&mut simulation, 100, "plain");
        simulation.reactor().call_later(millis(10), move |reactor| {
            assert!(reactor.cancel(cancelled));
            assert!(!reactor.cancel(cancelled));
            assert!(!reactor.reset(cancelled, millis(1)));
            assert!(reactor.reset(sooner, millis(40)));
            assert!(reactor.reset(later, millis(190)));
        });
        simulation.run_for(millis(400));
        assert_eq!(*fired.borrow(), ["sooner", "plain", "later"]);
        for timer in [cancelled, sooner, later, plain] {
            assert!(!simulation.reactor().cancel(timer), "it has fired, or was cancelled");
            assert!(!simulation.reactor().reset(timer, millis(1)));
        }
        simulation.settle();
        assert_eq!(fired.borrow().len(), 3);
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
}

#[test]
fn a_timer_that_is_due_in_the_same_turn_can_still_be_cancelled_or_put_off() {
    let mut simulation = Simulation::calm();
    let fired = Fired::<&str>::default();
    let victims: Rc<RefCell<Vec<TimerId>>> = Rc::default();
    let (aims, told) = (victims.clone(), fired.clone());
    simulation.reactor().call_later(millis(1), move |reactor| {
        assert!(reactor.cancel(aims.borrow()[0]));
        assert!(reactor.reset(aims.borrow()[1], Duration::ZERO));
        told.borrow_mut().push("killer");
    });
    for name in ["cancelled", "put off", "other"] {
        let told = fired.clone();
        let timer =
            simulation.reactor().call_later(millis(1), move |_| told.borrow_mut().push(name));
        victims.borrow_mut().push(timer);
    }
    simulation.settle();
    assert_eq!(*fired.borrow(), ["killer", "other", "put off"]);
}

#[test]
fn a_timer_centuries_away_neither_overflows_nor_blocks() {
    let mut reactor = Reactor::new().expect("a poller");
    let far: Vec<_> = [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 35)]
        .map(|delay| reactor.call_later(delay, |_| panic!("centuries have passed")))
        .into();
    let fired = Rc::new(Cell::new(false));
    let told = fired.clone();
    reactor.call_later(millis(1), move |_| told.set(true));
    sleep_until(&mut reactor, |_| fired.get());
    for timer in far {
        assert!(reactor.reset(timer, Duration::MAX));
        assert!(reactor.cancel(timer));
    }
    let mut simulation = Simulation::calm();
    simulation.reactor().call_later(Duration::MAX, |_| panic!("centuries have passed"));
    let repeats = simulation.reactor().call_repeatedly(Duration::MAX, |_| panic!("centuries"));
    simulation.settle();
    repeats.stop();
}

#[test]
fn a_repeating_call_keeps_its_phase_and_skips_the_beats_it_missed() {
    let interval = millis(10).as_nanos();
    let mut skipped = false;
    for seed in seeds(60) {
        let mut simulation = match seed {
            0 => Simulation::calm(),
            _ => Simulation::new(seed), // some have turns of several beats' length
        };
        let began = simulation.reactor().now();
        let beats = Fired::<u128>::default();
        let told = beats.clone();
        let call = simulation.reactor().call_repeatedly(millis(10), move |reactor| {
            told.borrow_mut().push((reactor.now() - began).as_nanos());
        });
        simulation.run_for(millis(1000));
        // Each beat falls into an interval of its own, as early in it as the loop was there.
        let places: Vec<_> = beats.borrow().iter().map(|beat| beat / interval).collect();
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
        assert!(places.first().is_some_and(|&first| first >= 1), "{places:?}");
        skipped |= places.len() < 90;
        if seed == 0 {
            assert_eq!(places, (1..100).collect::<Vec<_>>());
        }
        assert!(call.is_running());
        call.stop();
        assert!(!call.is_running());
        simulation.settle();
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
    assert!(skipped, "no turn was so long that a beat was missed");
}

#[test]
fn on_a_loop_that_was_busy_a_repeating_call_skips_beats_and_never_overlaps_itself() {
    let mut reactor = Reactor::new().expect("a poller");
    let (beats, inside) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let told = beats.clone();
    let interval = millis(2);
    let began = Rc::new(Cell::new(None));
    let started = began.clone();
    let call = reactor.call_repeatedly(interval, move |reactor| {
        assert!(!inside.replace(true), "it overlaps itself");
        started.set(started.get().or(Some(reactor.now())));
        assert!(reactor.turn(Some(Duration::ZERO)).is_err(), "a turn inside a turn");
        if told.get() == 0 {
            // Ten beats long.
            let passed = std::process::Command::new("sleep").arg("0.02").status();
            assert!(passed.is_ok());
        }
        told.set(told.get() + 1);
        inside.set(false);
    });
    sleep_until(&mut reactor, |_| beats.get() >= 5);
    let passed = began.get().map(|began| reactor.now() - began).expect("it has begun");
    let possible = passed.as_micros() / interval.as_micros();
    assert!(possible >= beats.get() as u128 + 5, "{possible} beats were possible");
    call.stop();
}

#[test]
fn a_repeating_call_can_stop_itself_and_one_that_panics_stops() {
    for seed in seeds(20) {
        let mut simulation = Simulation::new(seed);
        let (beats, stopper) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None)));
        let (told, stop) = (beats.clone(), stopper.clone());
        let call = simulation.reactor().call_repeatedly(millis(1), move |_| {
            told.set(told.get() + 1);
            if told.get() == 3 {
                stop.borrow().as_ref().map(RepeatingCall::stop);
            }
        });
        *stopper.borrow_mut() = Some(call);
        let panics = simulation.reactor().call_repeatedly(millis(1), |_| {
            std::panic::resume_unwind(Box::new("a repeating call's panic"))
        });
        simulation.settle();
        assert_eq!(beats.get(), 3);
        assert!(!panics.is_running());
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
}

#[test]
fn a_million_timers_set_and_cancelled_leave_nothing() {
    let mut simulation = Simulation::calm();
    let witness = Rc::new(());
    for round in 0..1000_u64 {
        let timers: Vec<_> = (0..1000)
            .map(|index| {
                let witness = witness.clone();
                simulation.reactor().call_later(millis(round * 7 + index), move |_| {
                    let _ = &witness;
                })
            })
            .collect();
        for timer in timers {
            assert!(simulation.reactor().cancel(timer));
        }
    }
    assert_eq!(simulation.reactor().timer_count(), 0);
    simulation.reactor().turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!(Rc::strong_count(&witness), 1);
}

#[test]
fn a_connections_timers_die_with_it() {
    for seed in seeds(50) {
        let record = Record::new();
        let server = Probe::new(&record).on_made(|transport| {
            for delay in 1..100 {
                transport.call_later(Duration::from_secs(delay), |_: &mut Probe, transport| {
                    transport.call_later(Duration::from_secs(1000), |_: &mut Probe, _| {});
                });
            }
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        simulation.run_for(Duration::from_secs(50));
        let set = simulation.reactor().timer_count();
        assert!(set >= 99, "{set}");
        peer.shutdown();
        simulation.run_for(Duration::from_secs(5));
        assert!(record.has(&Happened::Lost));
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
}
