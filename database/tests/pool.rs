//! The pool's promises, in the simulation, with a database that does as it is told.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use r2d2::ManageConnection;
use ropewalk_database::{ConnectionPool, Database, PoolOptions, r2d2};
use ropewalk_reactor::{Deferred, Error, Simulation};

/// What the fake has seen, in order, and how it behaves.
#[derive(Debug, Default)]
struct Told {
    connected: AtomicUsize,
    closed: AtomicUsize,
    refuses: AtomicBool,
    invalid: AtomicBool,
    statements: std::sync::Mutex<Vec<String>>,
}

#[derive(Debug, Clone, Default)]
struct Fake(Arc<Told>);

#[derive(Debug)]
struct Line(Arc<Told>, usize);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct No(&'static str);

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for No {}

impl ManageConnection for Fake {
    type Connection = Line;
    type Error = No;

    fn connect(&self) -> Result<Line, No> {
        if self.0.refuses.load(Ordering::Relaxed) {
            return Err(No("the database is down"));
        }
        Ok(Line(self.0.clone(), self.0.connected.fetch_add(1, Ordering::Relaxed)))
    }

    fn is_valid(&self, _: &mut Line) -> Result<(), No> {
        match self.0.invalid.swap(false, Ordering::Relaxed) {
            true => Err(No("gone away")),
            false => Ok(()),
        }
    }

    fn has_broken(&self, _: &mut Line) -> bool {
        false
    }
}

impl Database for Fake {
    type Value = ();
    type Row = usize;

    fn query(line: &mut Line, _: &str, _: &[()]) -> Result<Vec<usize>, No> {
        Ok(vec![line.1])
    }

    fn execute(line: &mut Line, statement: &str, _: &[()]) -> Result<u64, No> {
        line.0.statements.lock().expect("no panic in here").push(statement.to_owned());
        match statement {
            "fail" => Err(No("it fails")),
            _ => Ok(1),
        }
    }
}

impl Fake {
    fn counts(&self) -> (usize, usize) {
        (self.0.connected.load(Ordering::Relaxed), self.0.closed.load(Ordering::Relaxed))
    }

    fn statements(&self) -> Vec<String> {
        std::mem::take(&mut self.0.statements.lock().expect("no panic in here"))
    }
}

type Outcomes<T> = Rc<RefCell<Vec<Result<T, String>>>>;

fn hear<T: 'static>(outcomes: &Outcomes<T>, deferred: Deferred<T>) {
    let told = outcomes.clone();
    let text = |error: Error| error.to_string();
    deferred.then(move |_, result| told.borrow_mut().push(result.map_err(text)));
}

fn heard<T: 'static>(simulation: &mut Simulation, deferred: Deferred<T>) -> Result<T, String> {
    let outcomes = Outcomes::default();
    hear(&outcomes, deferred);
    simulation.run_until(|_| !outcomes.borrow().is_empty());
    outcomes.borrow_mut().remove(0)
}

fn pool(simulation: &mut Simulation, options: PoolOptions) -> (Fake, ConnectionPool<Fake>) {
    let fake = Fake::default();
    (fake.clone(), ConnectionPool::with_options(simulation.reactor(), fake, options))
}

#[test]
fn there_are_never_more_connections_than_allowed_and_jobs_begin_in_order() {
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed);
        let (fake, pool) = pool(&mut simulation, PoolOptions::default().connections(3));
        let begun = Arc::new(std::sync::Mutex::new(Vec::new()));
        let outcomes = Outcomes::default();
        for number in 0..50 {
            let begun = begun.clone();
            let job = move |_: &mut Line| {
                begun.lock().expect("no panic in here").push(number);
                Ok::<_, No>(number)
            };
            hear(&outcomes, pool.run_with_connection(job));
        }
        simulation.run_until(|_| {
            assert!(pool.connections().0 <= 3);
            outcomes.borrow().len() == 50
        });
        assert!(outcomes.borrow().iter().all(Result::is_ok), "seed {seed}");
        assert!(fake.counts().0 <= 3, "seed {seed}: {:?}", fake.counts());
        let begun = begun.lock().expect("no panic in here");
        // Three at a time are on threads, and those overtake each other.
        for (place, &number) in begun.iter().enumerate() {
            assert!(number <= place + 2 && place <= number + 50, "seed {seed}: {begun:?}");
        }
    }
}

#[test]
fn one_connection_serves_in_the_order_of_the_calls() {
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed);
        let (fake, pool) = pool(&mut simulation, PoolOptions::default().connections(1));
        let outcomes = Outcomes::default();
        for number in 0..20 {
            hear(&outcomes, pool.run_operation(number.to_string(), []));
        }
        simulation.run_until(|_| outcomes.borrow().len() == 20);
        assert!(fake.statements().into_iter().eq((0..20).map(|number| number.to_string())));
        assert_eq!(fake.counts(), (1, 0));
    }
}

#[test]
fn an_interaction_is_committed_or_rolled_back_as_a_whole() {
    let mut simulation = Simulation::new(1);
    let (fake, pool) = pool(&mut simulation, PoolOptions::default());
    let good = pool.run_interaction(|line| Fake::execute(line, "good", &[]));
    assert_eq!(heard(&mut simulation, good), Ok(1));
    assert_eq!(fake.statements(), ["BEGIN", "good", "COMMIT"]);
    let bad = pool.run_interaction(|line| Fake::execute(line, "fail", &[]));
    assert_eq!(heard(&mut simulation, bad), Err("it fails".to_owned()));
    assert_eq!(fake.statements(), ["BEGIN", "fail", "ROLLBACK"]);
    let panics = pool.run_interaction(|_| -> Result<(), No> { panic!("on purpose") });
    assert_eq!(heard(&mut simulation, panics), Err("panicked: on purpose".to_owned()));
    assert_eq!(fake.statements(), ["BEGIN", "ROLLBACK"]);
    assert_eq!(fake.counts(), (1, 0), "rolled back, the connection is as good as before");
}

#[test]
fn a_panic_outside_of_a_transaction_costs_the_connection_and_nothing_else() {
    let mut simulation = Simulation::new(1);
    let (fake, pool) = pool(&mut simulation, PoolOptions::default());
    let panics = pool.run_with_connection(|_| -> Result<(), No> { panic!("on purpose") });
    assert_eq!(heard(&mut simulation, panics), Err("panicked: on purpose".to_owned()));
    assert_eq!(pool.connections(), (0, 0));
    let next = pool.run_query("", []);
    assert_eq!(heard(&mut simulation, next), Ok(vec![1]));
    assert_eq!(fake.counts(), (2, 1));
}

#[test]
fn a_connection_that_died_while_idle_is_replaced_before_a_job_gets_it() {
    let mut simulation = Simulation::new(1);
    let (fake, pool) = pool(&mut simulation, PoolOptions::default());
    let first = pool.run_query("", []);
    assert_eq!(heard(&mut simulation, first), Ok(vec![0]));
    fake.0.invalid.store(true, Ordering::Relaxed);
    let second = pool.run_query("", []);
    assert_eq!(heard(&mut simulation, second), Ok(vec![1]));
    assert_eq!(fake.counts(), (2, 1));
}

#[test]
fn a_database_that_is_down_fails_jobs_and_is_tried_again() {
    let mut simulation = Simulation::new(1);
    let (fake, pool) = pool(&mut simulation, PoolOptions::default().connections(1));
    fake.0.refuses.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let job = pool.run_query("", []);
        assert_eq!(heard(&mut simulation, job), Err("the database is down".to_owned()));
    }
    fake.0.refuses.store(false, Ordering::Relaxed);
    let job = pool.run_query("", []);
    assert_eq!(heard(&mut simulation, job), Ok(vec![0]));
}

#[test]
fn who_waits_too_long_is_told_and_is_never_served() {
    let mut simulation = Simulation::new(1);
    let options = PoolOptions::default().connections(1).wait_timeout(Some(Duration::ZERO));
    let (fake, pool) = pool(&mut simulation, options);
    let outcomes = Outcomes::default();
    hear(&outcomes, pool.run_operation("first", []));
    hear(&outcomes, pool.run_operation("second", []));
    simulation.run_until(|_| outcomes.borrow().len() == 2);
    let mut outcomes = outcomes.take();
    outcomes.sort();
    assert_eq!(outcomes, [Ok(1), Err("timed out".to_owned())]);
    assert_eq!(fake.statements(), ["first"]);
    assert_eq!(pool.waiting(), 0);
}

#[test]
fn a_full_queue_pushes_back() {
    let mut simulation = Simulation::new(1);
    let (_, pool) = pool(&mut simulation, PoolOptions::default().connections(1).queued_jobs(2));
    let outcomes = Outcomes::default();
    for _ in 0..4 {
        hear(&outcomes, pool.run_operation("", []));
    }
    simulation.run_until(|_| outcomes.borrow().len() == 4);
    let refused = Err("the thread pool's queue is full".to_owned());
    assert_eq!(*outcomes.borrow(), [refused, Ok(1), Ok(1), Ok(1)]);
}

#[test]
fn idle_connections_are_closed_after_a_while_and_old_ones_when_they_come_back() {
    let mut simulation = Simulation::new(1);
    let options = PoolOptions::default()
        .idle_timeout(Some(Duration::from_secs(60)))
        .max_lifetime(Some(Duration::from_secs(100)));
    let (fake, pool) = pool(&mut simulation, options);
    let job = pool.run_query("", []);
    assert_eq!(heard(&mut simulation, job), Ok(vec![0]));
    simulation.run_for(Duration::from_secs(59));
    assert_eq!(fake.counts(), (1, 0));
    let job = pool.run_query("", []);
    assert_eq!(heard(&mut simulation, job), Ok(vec![0]));
    simulation.run_for(Duration::from_secs(59));
    assert_eq!(fake.counts(), (1, 0), "it was used meanwhile");
    let job = pool.run_query("", []);
    assert_eq!(heard(&mut simulation, job), Ok(vec![0]));
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(fake.counts(), (1, 1), "118 seconds are too old");
    let job = pool.run_query("", []);
    assert_eq!(heard(&mut simulation, job), Ok(vec![1]));
    simulation.run_for(Duration::from_secs(61));
    assert_eq!(fake.counts(), (2, 2), "it lay idle");
}

#[test]
fn a_stop_waits_for_the_jobs_that_there_are_and_closes_all_connections() {
    for seed in 0..50 {
        let mut simulation = Simulation::new(seed);
        let (fake, pool) = pool(&mut simulation, PoolOptions::default().connections(2));
        let outcomes = Outcomes::default();
        for _ in 0..10 {
            hear(&outcomes, pool.run_operation("", []));
        }
        simulation.run_until(|_| !outcomes.borrow().is_empty());
        simulation.reactor().stop();
        simulation.run_for(Duration::from_secs(60));
        assert_eq!(outcomes.borrow().iter().filter(|it| it.is_ok()).count(), 10, "seed {seed}");
        let (connected, closed) = fake.counts();
        assert_eq!(connected, closed, "seed {seed}");
        assert_eq!(pool.connections(), (0, 0));
    }
}
