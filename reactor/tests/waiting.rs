//! What is promised of waiting for several results at once, and of the limits on waiting.

mod common;

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use common::{Chance, logs, outcome, seeds};
use ropewalk_reactor::{
    Either, Error, Local, Simulation, both, either, first_of, gather, gather_all, race,
};

const SECOND: Duration = Duration::from_secs(1);

/// Remembers what came of a deferred.
/// Runs a future on the simulated loop to its end, and gives its output.
fn run<T: 'static>(simulation: &mut Simulation, future: impl Future<Output = T> + 'static) -> T {
    let outcome = outcome(simulation.reactor().spawn(future));
    assert!(simulation.run_until(|_| !outcome.borrow().is_empty()), "it never ends");
    let result = outcome.borrow_mut().pop();
    result.expect("it was awaited").expect("no panic")
}

/// Says after `delay` what it is told to; counts when it is dropped before that.
async fn after(
    local: Local,
    delay: Duration,
    says: Result<u64, &'static str>,
    dropped: Rc<Cell<u64>>,
) -> Result<u64, &'static str> {
    struct Guard(Rc<Cell<u64>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let guard = Guard(dropped);
    local.sleep(delay).await.expect("the reactor lives");
    std::mem::forget(guard);
    says
}

#[test]
fn all_results_come_in_the_order_of_the_futures_whatever_order_they_end_in() {
    for seed in seeds(200) {
        let mut simulation = Simulation::new(seed);
        let (local, mut chance) = (simulation.reactor().local(), Chance::new(seed));
        let many = chance.below(40);
        let mut longest = Duration::ZERO;
        let futures: Vec<_> = (0..many)
            .map(|number| {
                let delay = Duration::from_millis(chance.below(50));
                longest = longest.max(delay);
                after(local.clone(), delay, Ok(number), Rc::default())
            })
            .collect();
        let results = run(&mut simulation, gather(futures));
        assert_eq!(results, Ok((0..many).collect()));
        assert!(simulation.elapsed() >= longest && simulation.elapsed() < longest + SECOND);
    }
}

#[test]
fn the_first_error_fails_the_whole_at_once_and_drops_the_others() {
    let mut simulation = Simulation::calm();
    let (local, dropped) = (simulation.reactor().local(), Rc::new(Cell::new(0)));
    let one = |seconds, says| after(local.clone(), seconds * SECOND, says, dropped.clone());
    let futures = [one(1, Ok(1)), one(9, Ok(9)), one(2, Err("two")), one(3, Err("three"))];
    let result = run(&mut simulation, gather(futures));
    assert_eq!(result, Err("two"));
    assert!(simulation.elapsed() < 3 * SECOND);
    assert_eq!(dropped.get(), 2);
    simulation.settle();
    assert_eq!(simulation.reactor().timer_count(), 0);
}

#[test]
fn every_result_can_be_kept_errors_among_them() {
    let mut simulation = Simulation::calm();
    let local = simulation.reactor().local();
    let one = |seconds, says| after(local.clone(), seconds * SECOND, says, Rc::default());
    let futures = [one(3, Ok(3)), one(1, Err("one")), one(2, Ok(2))];
    let results = run(&mut simulation, gather_all(futures));
    assert_eq!(results, [Ok(3), Err("one"), Ok(2)]);
    assert_eq!(run(&mut simulation, gather_all(Vec::<std::future::Pending<()>>::new())), []);
}

#[test]
fn a_race_is_won_by_the_first_success_and_the_others_are_dropped() {
    for seed in seeds(200) {
        let mut simulation = Simulation::new(seed);
        let (local, mut chance) = (simulation.reactor().local(), Chance::new(seed));
        let dropped = Rc::new(Cell::new(0));
        // No two at once: which of two that end together is heard first is for the loop to say.
        let mut delays: Vec<_> = (1..=1 + chance.below(20)).collect();
        for index in (1..delays.len()).rev() {
            delays.swap(index, chance.below(index as u64 + 1) as usize);
        }
        let says: Vec<_> = delays
            .iter()
            .map(|&delay| if chance.one_in(3) { Err("it failed") } else { Ok(delay) })
            .collect();
        let futures: Vec<_> = delays
            .iter()
            .zip(&says)
            .map(|(&delay, &says)| {
                after(local.clone(), delay as u32 * SECOND, says, dropped.clone())
            })
            .collect();
        let winner =
            (0..says.len()).filter(|&index| says[index].is_ok()).min_by_key(|&index| delays[index]);
        let result = run(&mut simulation, race(futures));
        match winner {
            Some(winner) => {
                assert_eq!(result, Ok((winner, delays[winner])));
                let later = delays.iter().filter(|&&delay| delay > delays[winner]).count();
                assert_eq!(dropped.get(), later as u64);
            }
            None => assert_eq!(result, Err(vec!["it failed"; delays.len()])),
        }
        simulation.settle();
        assert_eq!(simulation.reactor().timer_count(), 0, "who lost has no timer left");
    }
}

#[test]
fn whatever_ends_first_of_many_or_of_two_is_told() {
    let mut simulation = Simulation::calm();
    let local = simulation.reactor().local();
    let one = |seconds, says| after(local.clone(), seconds * SECOND, says, Rc::default());
    let first = run(&mut simulation, first_of([one(2, Ok(2)), one(1, Err("one"))]));
    assert_eq!(first, Some((1, Err("one"))));
    let none = run(&mut simulation, first_of(Vec::<std::future::Pending<()>>::new()));
    assert_eq!(none, None);
    let sooner = run(&mut simulation, either(pending::<()>(), one(1, Ok(1))));
    assert_eq!(sooner, Either::Right(Ok(1)));
    let at_once = run(&mut simulation, either(async { "left" }, async { "right" }));
    assert_eq!(at_once, Either::Left("left"));
    let two = run(&mut simulation, both(one(2, Ok(2)), async { "soon" }));
    assert_eq!(two, (Ok(2), "soon"));
}

#[test]
fn ten_thousand_are_waited_for_at_the_cost_of_those_that_end() {
    let mut simulation = Simulation::calm();
    let polled = Rc::new(Cell::new(0));
    let (promises, futures): (Vec<_>, Vec<_>) = (0..10_000)
        .map(|_| {
            let (promise, mut deferred) = simulation.reactor().deferred::<()>();
            let polled = polled.clone();
            let future = std::future::poll_fn(move |context| {
                polled.set(polled.get() + 1);
                std::pin::Pin::new(&mut deferred).poll(context)
            });
            (promise, future)
        })
        .unzip();
    let outcome = outcome(simulation.reactor().spawn(gather(futures)));
    simulation.settle(); // all wait
    for promise in promises {
        promise.succeed(());
        simulation.step(); // a turn for each
    }
    simulation.settle();
    assert!(matches!(&outcome.borrow()[..], [Ok(Ok(all))] if all.len() == 10_000));
    assert_eq!(polled.get(), 20_000, "each once to begin with, and once when it was fired");
}

#[test]
fn one_that_wakes_itself_holds_nobody_up() {
    let mut simulation = Simulation::calm();
    let local = simulation.reactor().local();
    let restless = std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        std::task::Poll::<Result<u64, &str>>::Pending
    });
    let quiet = after(local, SECOND / 100, Ok(1), Rc::default());
    let futures: [std::pin::Pin<Box<dyn Future<Output = _>>>; 2] =
        [Box::pin(restless), Box::pin(quiet)];
    assert_eq!(run(&mut simulation, race(futures)), Ok((1, 1)));
}

// Deferreds, with callbacks.

#[test]
fn deferreds_are_gathered_and_an_error_cancels_the_rest_spawned_futures_among_them() {
    let mut simulation = Simulation::calm();
    let local = simulation.reactor().local();
    let dropped = Rc::new(Cell::new(0));
    let gathered = simulation.reactor().gather([local.sleep(SECOND), local.sleep(2 * SECOND)]);
    let gathered = outcome(gathered);
    simulation.settle();
    assert!(matches!(&gathered.borrow()[..], [Ok(all)] if all.len() == 2));

    let slow = after(local.clone(), 9 * SECOND, Ok(9), dropped.clone());
    let slow = local.spawn(slow);
    let (promise, failing) = local.deferred();
    let gathered = outcome(simulation.reactor().gather([slow, failing]));
    simulation.reactor().call_later(SECOND, |_| promise.fail(Error::Refused));
    let began = simulation.elapsed();
    simulation.settle();
    assert!(matches!(&gathered.borrow()[..], [Err(Error::Refused)]));
    assert_eq!(dropped.get(), 1);
    assert!(simulation.elapsed() < began + 2 * SECOND);
}

#[test]
fn cancelling_a_gathering_cancels_all_of_it() {
    for cancel_at_once in [true, false] {
        let mut simulation = Simulation::calm();
        let local = simulation.reactor().local();
        let dropped = Rc::new(Cell::new(0));
        let slow = || local.spawn(after(local.clone(), 9 * SECOND, Ok(9), dropped.clone()));
        let mut gathered = simulation.reactor().gather([slow(), slow(), slow()]);
        if !cancel_at_once {
            simulation.run_for(SECOND);
        }
        gathered.cancel();
        let gathered = outcome(gathered);
        simulation.settle();
        assert!(matches!(&gathered.borrow()[..], [Err(Error::Cancelled)]));
        assert!(simulation.elapsed() < 2 * SECOND);
        assert_eq!(simulation.reactor().timer_count(), 0);
        assert_eq!(dropped.get(), 3, "begun and dropped");
    }
}

#[test]
fn a_race_of_deferreds_has_one_winner_or_all_the_errors() {
    let mut simulation = Simulation::calm();
    let local = simulation.reactor().local();
    let won = outcome(simulation.reactor().race([local.sleep(2 * SECOND), local.sleep(SECOND)]));
    simulation.settle();
    assert!(matches!(&won.borrow()[..], [Ok((1, ()))]));

    let failing = |error| {
        let (promise, deferred) = local.deferred::<()>();
        promise.fail(error);
        deferred
    };
    let lost = [failing(Error::Refused), failing(Error::TimedOut)];
    let lost = outcome(simulation.reactor().race(lost));
    simulation.settle();
    let lost = lost.borrow_mut().pop();
    let Some(Err(error)) = lost else { panic!("{lost:?}") };
    let said = error.to_string();
    assert_eq!(said, "all failed: the factory refused the connection; timed out");
}

#[test]
fn every_deferred_is_heard_and_no_error_is_logged() {
    logs::collect();
    let mut simulation = Simulation::calm();
    let local = simulation.reactor().local();
    let (promise, failing) = local.deferred();
    promise.fail(Error::Other("nobody hears of this one".into()));
    let all = simulation.reactor().gather_all([local.sleep(SECOND), failing]);
    let all = outcome(all);
    simulation.settle();
    let all = all.borrow_mut().pop();
    let Some(Ok(all)) = all else { panic!("{all:?}") };
    assert!(matches!(all[..], [Ok(()), Err(Error::Other(_))]));
    assert_eq!(logs::count("nobody hears of this one"), 0);
}

#[test]
fn dropping_is_enough_to_cancel_what_says_so() {
    let mut simulation = Simulation::calm();
    let local = simulation.reactor().local();
    let dropped = Rc::new(Cell::new(0));
    let slow = |delay| local.spawn(after(local.clone(), delay, Ok(9), dropped.clone()));
    let (goes_on, ends) = (slow(SECOND), slow(SECOND).cancel_on_drop());
    simulation.run_for(SECOND / 2);
    drop((goes_on, ends));
    simulation.settle();
    assert_eq!(dropped.get(), 1);
}

#[test]
fn any_future_can_be_given_a_limit() {
    let mut simulation = Simulation::calm();
    let local = simulation.reactor().local();
    let dropped = Rc::new(Cell::new(0));
    let slow = after(local.clone(), 3 * SECOND, Ok(3), dropped.clone());
    let late = run(&mut simulation, local.timeout(SECOND, slow));
    assert!(matches!(late, Err(Error::TimedOut)));
    assert_eq!(dropped.get(), 1, "it was dropped");
    assert!(simulation.elapsed() < 2 * SECOND);
    let quick = after(local.clone(), SECOND, Ok(1), dropped.clone());
    let in_time = run(&mut simulation, local.timeout(3 * SECOND, quick));
    assert!(matches!(in_time, Ok(Ok(1))));
    simulation.settle();
    assert_eq!(simulation.reactor().timer_count(), 0, "the limit has no timer left");
}
