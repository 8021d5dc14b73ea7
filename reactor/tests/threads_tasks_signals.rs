//! What is promised of calls from threads, of the pool, of deferreds and tasks, and of stopping.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{
    Chance, Happened, PATIENCE, Probe, Record, SERVER, assert_same, dial, in_its_own_process,
    listen, logs, once, outcome, pattern, raise, seeds, served, sleep_until, spawn, turn_until,
    turn_while,
};
use ropewalk_reactor::{
    Address, Deferred, Error, Handle, Reactor, ReactorOptions, Reason, Signal, Simulation,
};

/// Remembers what came of a deferred.
// Calls from threads.

#[test]
fn a_hundred_thousand_calls_from_a_thread_come_first_in_first_out() {
    let mut reactor = Reactor::new().expect("a poller");
    let next = Arc::new(AtomicUsize::new(0));
    let handle = reactor.handle();
    let seen = next.clone();
    let calling = spawn(move || {
        for number in 0..100_000 {
            let next = next.clone();
            let call = move |_: &mut Reactor| {
                let before = next.fetch_add(1, Ordering::Relaxed);
                assert_eq!(before, number);
            };
            handle.call_from_thread(call).expect("the reactor lives");
        }
    });
    turn_until(&mut reactor, |_| seen.load(Ordering::Relaxed) == 100_000);
    calling.join().expect("it has called");
}

#[test]
fn a_call_from_a_thread_wakes_a_loop_that_sleeps() {
    let mut reactor = Reactor::new().expect("a poller");
    for _ in 0..200 {
        let handle = reactor.handle();
        let woken = Arc::new(AtomicUsize::new(0));
        let told = woken.clone();
        let (about_to_sleep, calls) = channel::<()>();
        let calling = spawn(move || {
            calls.recv().expect("a word");
            handle
                .call_from_thread(move |_| {
                    told.fetch_add(1, Ordering::Relaxed);
                })
                .expect("the reactor lives");
        });
        about_to_sleep.send(()).expect("somebody listens");
        sleep_until(&mut reactor, |_| woken.load(Ordering::Relaxed) > 0);
        calling.join().expect("it has called");
    }
}

#[test]
fn calls_that_each_make_another_starve_neither_input_nor_timers() {
    fn again(handle: &Handle) {
        let next = handle.clone();
        let _ = handle.call_from_thread(move |_| again(&next));
    }
    let mut reactor = Reactor::new().expect("a poller");
    again(&reactor.handle());
    let fired = Rc::new(Cell::new(false));
    let told = fired.clone();
    reactor.call_later(Duration::from_millis(1), move |_| told.set(true));
    let address = listen(&mut reactor, |_: Address| Probe::echo(&Record::new()));
    turn_while(&mut reactor, move || {
        let mut client = dial(address);
        client.write_all(b"hello").expect("room");
        client.read_exact(&mut [0; 5]).expect("the echo");
    });
    turn_until(&mut reactor, |_| fired.get());
}

#[test]
fn a_job_of_the_pool_can_wait_for_an_answer_of_the_loop() {
    let mut reactor = Reactor::new().expect("a poller");
    let (here, handle) = (std::thread::current().id(), reactor.handle());
    let job = reactor.defer_to_thread(move || {
        let of_a_call = handle.blocking_call_from_thread(|_| std::thread::current().id());
        let of_a_deferred = handle
            .blocking_deferred_from_thread(|reactor| reactor.local().spawn(async { "later" }));
        let of_a_panic = handle.blocking_call_from_thread(|_| panic!("on purpose"));
        (of_a_call, of_a_deferred, of_a_panic)
    });
    let outcome = outcome(job);
    turn_until(&mut reactor, |_| !outcome.borrow().is_empty());
    let (of_a_call, of_a_deferred, of_a_panic): (_, _, Result<(), Error>) =
        outcome.borrow_mut().remove(0).expect("the job is done");
    assert_eq!(of_a_call.expect("it was made"), here);
    assert_eq!(of_a_deferred.expect("it came"), "later");
    assert!(matches!(of_a_panic, Err(Error::Panicked(message)) if message == "on purpose"));
}

#[test]
fn the_loop_does_not_wait_for_itself() {
    let mut reactor = Reactor::new().expect("a poller");
    let handle = reactor.handle();
    let asked = handle.blocking_call_from_thread(|_| ());
    assert!(matches!(asked, Err(Error::Nested)));
    reactor.stop();
    reactor.run().expect("it stops");

    let mut simulation = Simulation::new(1);
    let handle = simulation.reactor().handle();
    let job = move || handle.blocking_call_from_thread(|_| ());
    let outcome = outcome(simulation.reactor().defer_to_thread(job));
    simulation.run_for(Duration::from_secs(1));
    assert!(matches!(&outcome.borrow()[..], [Ok(Err(Error::Nested))]));
}

#[test]
fn who_waits_for_a_reactor_that_goes_is_told() {
    let mut reactor = Reactor::new().expect("a poller");
    let (asked, asks) = channel();
    let handle = reactor.handle();
    let waiting = spawn(move || {
        handle.blocking_deferred_from_thread(move |reactor| {
            let (promise, deferred) = reactor.deferred::<()>();
            asked.send(()).expect("the test waits");
            reactor.call_later(Duration::from_secs(3600), |_| promise.succeed(()));
            deferred
        })
    });
    turn_until(&mut reactor, |_| asks.try_recv().is_ok());
    drop(reactor);
    assert!(matches!(waiting.join().expect("no panic"), Err(Error::Stopped)));
}

#[test]
fn a_handle_outlives_its_reactor_and_says_so() {
    let reactor = Reactor::new().expect("a poller");
    let handle = reactor.handle();
    let witness = Arc::new(());
    let kept = witness.clone();
    handle.call_from_thread(move |_| drop(kept)).expect("the reactor lives");
    drop(reactor);
    assert_eq!(Arc::strong_count(&witness), 1, "the queued call is dropped");
    let kept = witness.clone();
    let late = handle.call_from_thread(move |_| drop(kept));
    assert!(matches!(late, Err(Error::Stopped)), "{late:?}");
    assert_eq!(Arc::strong_count(&witness), 1);
    handle.stop();
}

// The pool.

#[test]
fn work_on_the_pool_gives_its_result_or_panic_back_on_the_reactors_thread() {
    let mut reactor = Reactor::new().expect("a poller");
    let here = std::thread::current().id();
    let elsewhere = outcome(reactor.defer_to_thread(|| std::thread::current().id()));
    let panicked =
        outcome(reactor.defer_to_thread(|| std::panic::resume_unwind(Box::new("in a job"))));
    let _: &Rc<RefCell<Vec<Result<(), Error>>>> = &panicked;
    let failed = outcome(reactor.defer_to_thread(|| Err::<(), _>("no such file")));
    turn_until(&mut reactor, |_| {
        !elsewhere.borrow().is_empty()
            && !panicked.borrow().is_empty()
            && !failed.borrow().is_empty()
    });
    assert!(matches!(elsewhere.borrow()[..], [Ok(thread)] if thread != here));
    match &panicked.borrow()[..] {
        [Err(Error::Panicked(message))] => assert_eq!(message, "in a job"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(failed.borrow()[..], [Ok(Err("no such file"))]));
}

#[test]
fn in_a_simulation_jobs_run_without_threads_and_give_the_same() {
    for seed in seeds(30) {
        let mut simulation = Simulation::new(seed);
        let here = std::thread::current().id();
        let result =
            outcome(simulation.reactor().defer_to_thread(move || std::thread::current().id()));
        let panicked = simulation.reactor().defer_to_thread(|| {
            std::panic::resume_unwind(Box::new("in a job"));
        });
        let panicked = outcome::<()>(panicked);
        assert!(result.borrow().is_empty());
        simulation.settle();
        assert!(matches!(result.borrow()[..], [Ok(thread)] if thread == here));
        assert!(matches!(panicked.borrow()[..], [Err(Error::Panicked(_))]), "{panicked:?}");
    }
}

#[test]
fn a_full_queue_of_the_pool_pushes_back() {
    let options = ReactorOptions::default().threads(1).queued_jobs(2);
    let mut reactor = Reactor::with_options(options).expect("a poller");
    let (go_on, wait) = channel::<()>();
    let (begun, begins) = channel::<()>();
    let blocked = outcome(reactor.defer_to_thread(move || {
        begun.send(()).expect("somebody listens");
        wait.recv().expect("a word");
    }));
    begins.recv().expect("it begins");
    let outcomes: Vec<_> = (0..5).map(|_| outcome(reactor.defer_to_thread(|| ()))).collect();
    turn_until(&mut reactor, |_| outcomes.iter().any(|outcome| !outcome.borrow().is_empty()));
    let full =
        outcomes.iter().filter(|outcome| matches!(outcome.borrow()[..], [Err(Error::PoolFull)]));
    assert_eq!(full.count(), 3);
    go_on.send(()).expect("it waits");
    turn_until(&mut reactor, |_| outcomes.iter().all(|outcome| !outcome.borrow().is_empty()));
    assert!(matches!(blocked.borrow()[..], [Ok(())]));
}

#[test]
fn a_stop_waits_for_the_jobs_of_the_pool_and_tells_their_results() {
    let mut reactor = Reactor::new().expect("a poller");
    let done = Arc::new(AtomicUsize::new(0));
    let results: Vec<_> = (0..30)
        .map(|_| {
            let done = done.clone();
            outcome(reactor.defer_to_thread(move || done.fetch_add(1, Ordering::SeqCst)))
        })
        .collect();
    reactor.stop();
    reactor.run().expect("a run");
    assert_eq!(done.load(Ordering::SeqCst), 30);
    assert!(results.iter().all(|result| matches!(result.borrow()[..], [Ok(_)])), "{results:?}");
    assert_eq!(Arc::strong_count(&done), 1, "the threads are joined, with all that they held");
    let late = outcome(reactor.defer_to_thread(|| ()));
    drop(reactor);
    assert!(late.borrow().is_empty(), "nobody is left to tell");
}

// Deferreds and tasks.

#[test]
fn a_deferred_fires_once_and_never_inside_the_call_that_fires_it() {
    for seed in seeds(10) {
        let mut simulation = Simulation::new(seed);
        for asked_first in [true, false] {
            let (promise, deferred) = simulation.reactor().deferred::<u32>();
            if asked_first {
                let outcome = outcome(deferred);
                promise.succeed(7);
                assert!(outcome.borrow().is_empty(), "from inside");
                simulation.settle();
                assert!(matches!(outcome.borrow()[..], [Ok(7)]));
            } else {
                promise.succeed(7);
                assert!(deferred.is_ready());
                let outcome = outcome(deferred);
                assert!(outcome.borrow().is_empty(), "from inside");
                simulation.settle();
                assert!(matches!(outcome.borrow()[..], [Ok(7)]));
            }
        }
    }
}

#[test]
fn a_promise_dropped_without_a_result_fails_its_deferred() {
    let mut simulation = Simulation::calm();
    let (promise, deferred) = simulation.reactor().deferred::<u32>();
    let outcome = outcome(deferred);
    drop(promise);
    simulation.settle();
    assert!(matches!(outcome.borrow()[..], [Err(Error::Abandoned)]), "{outcome:?}");
}

#[test]
fn a_deferred_dropped_unheard_with_an_error_logs_it_and_one_with_a_value_does_not() {
    logs::collect();
    let mut simulation = Simulation::calm();
    let (promise, deferred) = simulation.reactor().deferred::<()>();
    promise.fail(Error::Other("nobody asked for this".into()));
    drop(deferred);
    assert_eq!(logs::count("nobody asked for this"), 1, "{:?}", logs::lines());
    let (promise, deferred) = simulation.reactor().deferred::<()>();
    deferred.forget();
    promise.fail(Error::Other("forgotten".into()));
    simulation.settle();
    assert_eq!(logs::count("forgotten"), 1, "{:?}", logs::lines());
    let before = logs::lines().len();
    let (promise, deferred) = simulation.reactor().deferred::<()>();
    promise.succeed(());
    drop(deferred);
    assert_eq!(logs::lines().len(), before, "{:?}", logs::lines());
}

#[test]
fn a_deferred_can_be_cancelled_and_a_late_result_finds_nobody() {
    for seed in seeds(10) {
        let mut simulation = Simulation::new(seed);
        let (promise, mut deferred) = simulation.reactor().deferred::<u32>();
        assert!(promise.is_wanted());
        deferred.cancel();
        deferred.cancel();
        assert!(!promise.is_wanted());
        promise.succeed(7);
        let outcome = outcome(deferred);
        simulation.settle();
        assert!(matches!(outcome.borrow()[..], [Err(Error::Cancelled)]), "{outcome:?}");
    }
}

#[test]
fn a_deferred_can_time_out_and_its_timer_goes_when_it_is_in_time() {
    for seed in seeds(20) {
        let mut simulation = Simulation::new(seed);
        let (promise, deferred) = simulation.reactor().deferred::<u32>();
        let late = outcome(deferred.timeout(Duration::from_secs(5)));
        let (in_time, deferred) = simulation.reactor().deferred::<u32>();
        let early = outcome(deferred.timeout(Duration::from_secs(50)));
        simulation.run_for(Duration::from_secs(4));
        assert!(late.borrow().is_empty());
        in_time.succeed(1);
        simulation.run_for(Duration::from_secs(4));
        assert!(matches!(late.borrow()[..], [Err(Error::TimedOut)]), "{late:?}");
        assert!(matches!(early.borrow()[..], [Ok(1)]), "{early:?}");
        promise.succeed(2);
        assert_eq!(simulation.reactor().timer_count(), 0);
        simulation.settle();
        assert_eq!(late.borrow().len(), 1);
    }
}

#[test]
fn a_deferred_can_be_awaited_by_a_task() {
    for seed in seeds(20) {
        let mut simulation = Simulation::new(seed);
        let reactor = simulation.reactor();
        let (promise, deferred) = reactor.deferred::<u32>();
        let local = reactor.local();
        let sum = outcome(reactor.spawn(async move {
            local.sleep(Duration::from_secs(1)).await?;
            let one = deferred.await?;
            let two = local.call(|reactor| reactor.timer_count() as u32).await?;
            Ok::<_, Error>(one + two)
        }));
        reactor.call_later(Duration::from_secs(2), move |_| promise.succeed(40));
        reactor.call_later(Duration::from_secs(60), |_| {});
        reactor.call_later(Duration::from_secs(60), |_| {});
        simulation.settle();
        assert!(matches!(sum.borrow()[..], [Ok(Ok(42))]), "{sum:?}");
    }
}

#[test]
fn a_task_that_panics_fails_its_deferred_and_a_cancelled_one_is_dropped() {
    logs::collect();
    let mut simulation = Simulation::calm();
    let reactor = simulation.reactor();
    let panicked = outcome(reactor.spawn(async {
        std::panic::resume_unwind(Box::new("in a task"));
    }));
    let _: &Rc<RefCell<Vec<Result<(), Error>>>> = &panicked;
    let (held, local) = (Rc::new(()), reactor.local());
    let kept = held.clone();
    let mut sleeper = reactor.spawn(async move {
        let _kept = kept;
        let _ = local.sleep(Duration::from_secs(1000)).await;
    });
    simulation.run_for(Duration::from_secs(1));
    assert!(matches!(panicked.borrow()[..], [Err(Error::Panicked(_))]), "{panicked:?}");
    assert_eq!(logs::count("in a task"), 1, "{:?}", logs::lines());
    assert_eq!(Rc::strong_count(&held), 2);
    sleeper.cancel();
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(simulation.reactor().timer_count(), 0, "its sleep is cancelled, too");
    drop(sleeper);
}

#[test]
fn tasks_that_always_yield_starve_neither_input_nor_timers() {
    let record = Record::new();
    let (mut simulation, mut peer) = served(None, Probe::echo(&record));
    let local = simulation.reactor().local();
    let spinning = simulation.reactor().spawn(async move {
        loop {
            let _ = local.call(|_| ()).await;
        }
    });
    let fired = Rc::new(Cell::new(false));
    let told = fired.clone();
    simulation.reactor().call_later(Duration::from_millis(1), move |_| told.set(true));
    peer.write(b"hello");
    simulation.run_for(Duration::from_millis(5));
    assert!(fired.get());
    assert_eq!(peer.read(), "hello");
    drop::<Deferred<()>>(spinning);
}

#[test]
fn calls_of_the_loop_itself_that_each_make_another_starve_no_timers() {
    fn again(reactor: &mut Reactor, made: Rc<Cell<u32>>) {
        made.set(made.get() + 1);
        if made.get() < 10_000 {
            reactor.local().call_soon(move |reactor| again(reactor, made));
        }
    }
    let mut simulation = Simulation::calm();
    let made = Rc::new(Cell::new(0));
    again(simulation.reactor(), made.clone());
    let fired_at = Rc::new(Cell::new(None));
    let (told, counted) = (fired_at.clone(), made.clone());
    simulation.reactor().call_later(Duration::from_micros(10), move |_| {
        told.set(Some(counted.get()));
    });
    simulation.settle();
    assert_eq!(made.get(), 10_000);
    assert!(fired_at.get().is_some_and(|made| made < 100), "{fired_at:?}");
}

// Stopping.

#[test]
fn stop_lets_the_callback_finish_and_runs_the_triggers_in_order() {
    for seed in seeds(30) {
        let record = Record::new();
        let order = Rc::new(RefCell::new(Vec::new()));
        let tell = |what: &'static str| {
            let order = order.clone();
            move || order.borrow_mut().push(what)
        };
        let (stopping, lost) = (tell("the callback goes on"), tell("lost"));
        let server = Probe::new(&record)
            .on_data(move |transport, data| {
                data.clear();
                transport.stop();
                transport.write(b"goodbye");
                stopping();
                Ok(())
            })
            .on_lost(move |_, _| lost());
        let (mut simulation, mut peer) = served(Some(seed), server);
        let (before, during, after) = (tell("before"), tell("during"), tell("after"));
        let reactor = simulation.reactor();
        reactor.after_shutdown(move |reactor| {
            after();
            assert_eq!(reactor.connection_count(), 0);
        });
        reactor.during_shutdown(move |reactor| {
            during();
            assert_eq!(reactor.connection_count(), 1);
        });
        reactor.before_shutdown(move |_| before());
        peer.write(b"x");
        simulation.run_for(Duration::from_secs(1));
        assert_eq!(peer.read(), "goodbye");
        peer.shutdown();
        simulation.settle();
        let expected = ["the callback goes on", "before", "during", "lost", "after"];
        assert_eq!(*order.borrow(), expected);
        assert!(simulation.reactor().run().is_ok(), "a stopped reactor returns at once");
    }
}

#[test]
fn a_trigger_before_shutdown_holds_the_stop_until_it_is_done_or_its_deadline_is_past() {
    for seed in seeds(30) {
        for answers in [true, false] {
            logs::collect();
            let record = Record::new();
            let (mut simulation, mut peer) = served(Some(seed), Probe::echo(&record));
            let reactor = simulation.reactor();
            let (promise, deferred) = reactor.deferred();
            reactor.before_shutdown(move |_| deferred);
            let promise = Rc::new(Cell::new(Some(promise)));
            let held = promise.clone();
            reactor.call_later(Duration::from_secs(5), move |_| {
                if answers && let Some(promise) = held.take() {
                    promise.succeed(());
                }
            });
            reactor.stop();
            simulation.run_for(Duration::from_secs(4));
            peer.write(b"still served");
            simulation.run_for(Duration::from_millis(900));
            assert!(!record.is_lost());
            simulation.run_for(Duration::from_secs(24));
            peer.shutdown();
            assert_eq!(record.is_lost(), answers, "{:?}", record.story().events);
            simulation.settle();
            assert!(record.is_lost());
            let warned = logs::count("held for too long");
            assert_eq!(warned, usize::from(!answers), "{:?}", logs::lines());
            assert_eq!(simulation.reactor().connection_count(), 0);
        }
    }
}

#[test]
fn stop_flushes_what_is_buffered_and_tells_every_connection_once_paused_ones_too() {
    for seed in seeds(50) {
        let (busy, paused) = (Record::new(), Record::new());
        let mut protocols = vec![
            Probe::new(&paused).on_made(|transport| {
                transport.pause_reading();
                Ok(())
            }),
            Probe::new(&busy).on_made(|transport| {
                transport.write(&pattern(0, 20_000));
                Ok(())
            }),
        ];
        let mut simulation = Simulation::new(seed);
        simulation.capacity(4000);
        let options = ReactorOptions::default().shutdown_timeout(Duration::from_secs(100));
        let at = simulation.add_reactor_with(options);
        simulation.reactor_at(at).listen(SERVER, move |_| protocols.pop()).expect("a free address");
        let mut reader = simulation.dial(SERVER).expect("a good address");
        reader.stop_reading();
        simulation.run_until(|_| busy.is_made());
        let mut other = simulation.dial(SERVER).expect("a good address");
        other.write(b"never read");
        simulation.run_until(|_| paused.is_made());
        simulation.reactor_at(at).stop();
        simulation.run_for(Duration::from_secs(1));
        reader.resume_reading();
        reader.shutdown();
        other.shutdown();
        simulation.settle();
        assert_same(reader.read(), pattern(0, 20_000));
        assert!(!reader.was_reset());
        for record in [busy, paused] {
            assert_eq!(record.count(&Happened::Lost), 1);
            assert!(matches!(record.reason(), Reason::Stopped), "{:?}", record.reason());
        }
        let late = simulation.dial(SERVER).expect("a good address");
        simulation.settle();
        assert!(late.was_reset(), "the port is closed");
    }
}

#[test]
fn a_stop_that_a_peer_does_not_let_flush_ends_by_its_deadline() {
    for seed in seeds(20) {
        logs::collect();
        let record = Record::new();
        let server = Probe::new(&record).on_made(|transport| {
            transport.write(&pattern(0, 200_000));
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.stop_reading();
        simulation.reactor().stop();
        simulation.run_for(Duration::from_secs(9));
        assert!(!record.is_lost());
        simulation.run_for(Duration::from_secs(5));
        assert!(matches!(record.reason(), Reason::Stopped), "{:?}", record.reason());
        assert_eq!(logs::count("did not take in time"), 1, "{:?}", logs::lines());
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
}

#[test]
fn on_sockets_stop_flushes_what_is_buffered() {
    let mut reactor = Reactor::new().expect("a poller");
    let address = listen(
        &mut reactor,
        once(Probe::default().on_made(|transport| {
            transport.write_bytes(pattern(0, 20 << 20).into());
            transport.stop();
            Ok(())
        })),
    );
    let client = spawn(move || {
        let mut received = Vec::new();
        dial(address).read_to_end(&mut received).expect("the end, not a reset");
        received
    });
    reactor.run().expect("a run");
    assert_same(client.join().expect("it has read"), pattern(0, 20 << 20));
}

#[test]
fn stop_now_waits_for_nobody() {
    for seed in seeds(30) {
        let record = Record::new();
        let server = Probe::new(&record).on_made(|transport| {
            transport.write(&pattern(0, 200_000));
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.stop_reading();
        let (held, deferred) = simulation.reactor().deferred();
        simulation.reactor().before_shutdown(move |_| deferred);
        simulation.reactor().stop();
        simulation.run_for(Duration::from_millis(1));
        assert!(!record.is_lost());
        simulation.reactor().stop_now();
        simulation.reactor().run().expect("it is over at once");
        assert!(matches!(record.reason(), Reason::Stopped), "{:?}", record.reason());
        drop(held);
    }
}

#[test]
fn a_connect_that_is_under_way_when_the_reactor_stops_fails_and_so_does_a_later_one() {
    for seed in seeds(500) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        let other = simulation.add_reactor();
        simulation.reactor_at(other).listen(SERVER, |_| Probe::default()).expect("free");
        let record = Record::new();
        let early = outcome(simulation.reactor().connect(SERVER, once(Probe::new(&record))));
        let late = Rc::new(RefCell::new(None));
        let kept = late.clone();
        simulation.reactor().during_shutdown(move |reactor| {
            let refused = reactor.connect(SERVER, |_| Probe::default());
            *kept.borrow_mut() = Some(outcome(refused));
            assert!(reactor.listen("10.0.0.3:7", |_| Probe::default()).is_err());
        });
        // From a timer, so that it falls into any step of a turn.
        let most = 1 << chance.below(20);
        let delay = Duration::from_micros(chance.below(most));
        simulation.reactor().call_later(delay, |reactor| reactor.stop());
        simulation.settle();
        assert_eq!(early.borrow().len(), 1);
        if matches!(early.borrow()[..], [Err(_)]) {
            assert!(matches!(early.borrow()[..], [Err(Error::Stopped)]), "{early:?}");
            assert!(!record.is_made());
        }
        let late = late.borrow_mut().take().expect("it was asked for");
        assert!(matches!(late.borrow()[..], [Err(Error::Stopped)]), "{late:?}");
    }
}

#[test]
fn what_a_stop_ends_is_told_before_it_is_over() {
    let mut simulation = Simulation::calm();
    simulation.silence("10.0.0.9".parse().expect("an address"));
    let reactor = simulation.reactor();
    let told = outcome(reactor.connect("10.0.0.9:7", |_| Probe::default()));
    let awaited = reactor.connect("10.0.0.9:7", |_| Probe::default());
    let heard = Rc::new(RefCell::new(None));
    let hears = heard.clone();
    let waiting = async move { *hears.borrow_mut() = Some(awaited.await) };
    reactor.spawn(waiting).forget();
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    // Nothing else holds the stop.
    reactor.stop();
    reactor.run().expect("it ends");
    assert!(matches!(told.borrow()[..], [Err(Error::Stopped)]), "{told:?}");
    assert!(matches!(*heard.borrow(), Some(Err(Error::Stopped))), "{heard:?}");
}

#[test]
fn a_reactor_that_is_dropped_tells_its_connections() {
    for seed in seeds(10) {
        let record = Record::new();
        let (simulation, peer) = served(Some(seed), Probe::new(&record));
        drop(simulation);
        assert!(matches!(record.reason(), Reason::Stopped), "{:?}", record.reason());
        drop(peer);
    }
}

/// Sends a signal to this process.
#[test]
fn sigterm_and_sigint_stop_in_order() {
    in_its_own_process("sigterm_and_sigint_stop_in_order", || {
        for name in ["TERM", "INT"] {
            let mut reactor = Reactor::new().expect("a poller");
            reactor.stop_on_signals().expect("handlers");
            reactor.stop_on_signals().expect("once is enough");
            let record = Record::new();
            let server = Probe::new(&record).on_made(|transport| {
                transport.write_bytes(pattern(0, 10 << 20).into());
                Ok(())
            });
            let address = listen(&mut reactor, once(server));
            let client = dial(address);
            turn_until(&mut reactor, |_| record.is_made());
            raise(name);
            let reading = spawn(move || {
                let (mut client, mut received) = (client, Vec::new());
                client.read_to_end(&mut received).expect("the end, not a reset");
                received
            });
            reactor.run().expect("a run");
            assert_same(reading.join().expect("it has read"), pattern(0, 10 << 20));
            assert!(matches!(record.reason(), Reason::Stopped), "{:?}", record.reason());
        }
    });
}

#[test]
fn a_second_signal_stops_at_once() {
    in_its_own_process("a_second_signal_stops_at_once", || {
        let options = ReactorOptions::default().hold_timeout(10 * PATIENCE);
        let mut reactor = Reactor::with_options(options).expect("a poller");
        reactor.stop_on_signals().expect("handlers");
        let record = Record::new();
        let server = Probe::new(&record).on_made(|transport| {
            transport.write_bytes(vec![0; 40 << 20].into());
            Ok(())
        });
        let address = listen(&mut reactor, once(server));
        let mut client = dial(address); // and reads nothing
        let (held, deferred) = reactor.deferred();
        let stopping = Rc::new(Cell::new(false));
        let told = stopping.clone();
        reactor.before_shutdown(move |_| {
            told.set(true);
            deferred
        });
        turn_until(&mut reactor, |_| record.is_made());
        raise("INT");
        turn_until(&mut reactor, |_| stopping.get());
        assert!(!record.is_lost());
        raise("INT");
        turn_until(&mut reactor, |_| record.is_lost());
        reactor.run().expect("it is over");
        assert!(matches!(record.reason(), Reason::Stopped), "{:?}", record.reason());
        let cut = std::io::copy(&mut client, &mut std::io::sink());
        assert!(cut.is_err(), "{cut:?}");
        drop(held);
    });
}

#[test]
fn several_reactors_live_in_one_process_one_after_another_and_side_by_side() {
    for _ in 0..5 {
        let mut one = Reactor::new().expect("a poller");
        let mut two = Reactor::new().expect("a poller");
        let echo = listen(&mut one, |_: Address| Probe::echo(&Record::new()));
        let record = Record::new();
        let client = Probe::new(&record).on_made(|transport| {
            transport.write(b"hello");
            Ok(())
        });
        two.connect(echo, once(client)).forget();
        turn_until(&mut one, |_| {
            two.turn(Some(Duration::ZERO)).expect("a turn");
            record.data() == b"hello"
        });
        one.stop();
        turn_until(&mut two, |_| {
            one.turn(Some(Duration::ZERO)).expect("a turn");
            record.is_lost()
        });
        one.run().expect("it comes to its end");
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            spawn(|| {
                let mut reactor = Reactor::new().expect("a poller");
                let address = listen(&mut reactor, |_: Address| Probe::echo(&Record::new()));
                turn_while(&mut reactor, move || {
                    let mut client = dial(address);
                    client.write_all(b"hello").expect("room");
                    client.read_exact(&mut [0; 5]).expect("the echo");
                });
                reactor.stop();
                reactor.run().expect("a run");
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it ran");
    }
}

#[test]
fn a_signal_is_heard_by_each_of_its_handlers_in_order_and_inside_no_callback() {
    for seed in seeds(100) {
        let mut simulation = Simulation::new(seed);
        let other = simulation.add_reactor();
        let (heard, busy) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(false)));
        for name in ["first", "panics", "last"] {
            let (heard, busy) = (heard.clone(), busy.clone());
            let hear = move |reactor: &mut Reactor| {
                assert!(!busy.get(), "inside a callback");
                heard.borrow_mut().push(name);
                // It is no turn: what this asks for comes later.
                let (heard, set) = (heard.clone(), Duration::ZERO);
                reactor.call_later(set, move |_| heard.borrow_mut().push("timer"));
                assert_ne!(name, "panics");
            };
            simulation.reactor().on_signal(Signal::HUP, hear).expect("a simulated one");
        }
        let told = heard.clone();
        let usr1 = move |_: &mut Reactor| told.borrow_mut().push("usr1");
        simulation.reactor().on_signal(Signal::USR1, usr1).expect("a simulated one");
        simulation.signal(other, Signal::HUP); // has no handler there
        simulation.signal(0, Signal::USR2); // nor this one here
        for _ in 0..3 {
            simulation.signal(0, Signal::HUP); // one, until it is heard
        }
        busy.set(true);
        simulation.signal(0, Signal::USR1);
        busy.set(false);
        assert!(heard.borrow().is_empty(), "it waits for a turn");
        simulation.settle();
        let first = ["first", "panics", "last", "usr1", "timer", "timer", "timer"];
        assert_eq!(*heard.borrow(), first, "seed {seed}");
        simulation.signal(0, Signal::HUP);
        simulation.settle();
        assert_eq!(heard.borrow()[7..10], ["first", "panics", "last"], "seed {seed}");
        simulation.reactor().stop();
        simulation.settle();
    }
}

#[test]
fn a_signal_that_no_program_can_hear_is_an_error() {
    for signal in [Signal::KILL, Signal::STOP] {
        let mut reactor = Reactor::new().expect("descriptors");
        for reactor in [&mut reactor, Simulation::new(1).reactor()] {
            let refused = reactor.on_signal(signal, |_| {}).expect_err("it cannot be heard");
            assert!(
                refused.to_string().contains(&format!("{signal} cannot be heard")),
                "{refused}"
            );
        }
    }
}

#[test]
fn on_the_simulated_network_a_signal_stops_in_order_and_a_second_one_at_once() {
    for seed in seeds(50) {
        for second in [false, true] {
            let mut simulation = Simulation::new(seed);
            simulation.reactor().stop_on_signals().expect("a simulated one");
            let (held, deferred) = simulation.reactor().deferred();
            simulation.reactor().before_shutdown(move |_| deferred);
            let over = Rc::new(Cell::new(false));
            let told = over.clone();
            simulation.reactor().after_shutdown(move |_| told.set(true));
            simulation.signal(0, Signal::TERM);
            simulation.run_for(Duration::from_secs(1));
            assert!(!over.get(), "seed {seed}: it is held");
            if second {
                simulation.signal(0, Signal::INT);
                simulation.run_for(Duration::from_secs(1));
                assert!(over.get(), "seed {seed}");
            }
            held.succeed(());
            simulation.settle();
            assert!(over.get(), "seed {seed}");
        }
    }
}

#[test]
fn a_signal_of_the_system_is_heard_by_every_reactor_that_asked_for_it() {
    in_its_own_process(
        "a_signal_of_the_system_is_heard_by_every_reactor_that_asked_for_it",
        || {
            let heard = Rc::new(RefCell::new(Vec::new()));
            let mut reactors = Vec::new();
            for number in 0..2 {
                let mut reactor = Reactor::new().expect("a poller");
                for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
                    let heard = heard.clone();
                    let hear = move |_: &mut Reactor| heard.borrow_mut().push((number, signal));
                    reactor.on_signal(signal, hear).expect("a handler");
                }
                reactors.push(reactor);
            }
            for (name, signal) in
                [("HUP", Signal::HUP), ("USR1", Signal::USR1), ("USR2", Signal::USR2)]
            {
                raise(name);
                for (number, reactor) in reactors.iter_mut().enumerate() {
                    turn_until(reactor, |_| heard.borrow().contains(&(number, signal)));
                }
            }
            assert_eq!(heard.borrow().len(), 6, "{heard:?}");
        },
    );
}
