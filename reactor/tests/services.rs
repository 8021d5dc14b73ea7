//! What is promised of services: an order, deadlines, and that a start or a stop always ends.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use common::{Chance, Outcome, Probe, Record, SERVER, logs, outcome, seeds};
use ropewalk_reactor::{
    Deferred, Endpoint, Error, ListeningService, Promise, Reactor, Result, Service, ServiceOptions,
    ServiceState, Services, Simulation,
};

/// How a start or a stop goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    AtOnce,
    /// After so many seconds.
    Later(u64),
    Never,
    Fails,
    FailsLater(u64),
    Panics,
}

/// What has happened, in order.
type Told = Rc<RefCell<Vec<String>>>;

/// A service that says what is done with it.
struct Part {
    name: String,
    start: Way,
    stop: Way,
    told: Told,
    /// No method is called while another one is at work.
    inside: Rc<Cell<bool>>,
    kept: Vec<Promise<()>>,
}

impl Part {
    fn go(
        &mut self,
        reactor: &mut Reactor,
        what: &'static str,
        way: Way,
    ) -> Result<Option<Deferred<()>>> {
        assert!(!self.inside.replace(true), "inside another one");
        let line = format!("{what} {}", self.name);
        self.told.borrow_mut().push(line.clone());
        let (promise, deferred) = reactor.deferred();
        let told = self.told.clone();
        let done = move |_: &mut Reactor, error: Option<&'static str>| {
            told.borrow_mut().push(format!("{line} done"));
            match error {
                None => promise.succeed(()),
                Some(error) => promise.fail(Error::Other(error.into())),
            }
        };
        self.inside.set(false);
        match way {
            Way::AtOnce => return Ok(None),
            Way::Fails => return Err("no luck".into()),
            Way::Panics => panic!("no luck at all"),
            Way::Later(seconds) => {
                reactor
                    .call_later(Duration::from_secs(seconds), move |reactor| done(reactor, None));
            }
            Way::FailsLater(seconds) => {
                let late = Some("late bad luck");
                reactor
                    .call_later(Duration::from_secs(seconds), move |reactor| done(reactor, late));
            }
            Way::Never => {
                let (promise, deferred) = reactor.deferred();
                self.kept.push(promise);
                return Ok(Some(deferred));
            }
        }
        Ok(Some(deferred))
    }
}

impl Service for Part {
    fn start(&mut self, reactor: &mut Reactor) -> Result<Option<Deferred<()>>> {
        self.go(reactor, "start", self.start)
    }

    fn stop(&mut self, reactor: &mut Reactor) -> Option<Deferred<()>> {
        self.go(reactor, "stop", self.stop).unwrap_or_default()
    }
}

/// Services of a test, and what was told of them.
struct Story {
    services: Services,
    told: Told,
    inside: Rc<Cell<bool>>,
}

impl Story {
    fn new(parts: &[(&str, Way, Way)]) -> Self {
        let story =
            Self { services: Services::new(), told: Told::default(), inside: Rc::default() };
        for (name, start, stop) in parts {
            story.add(name, *start, *stop);
        }
        story
    }

    fn add(&self, name: &str, start: Way, stop: Way) {
        let part = Part {
            name: name.to_owned(),
            start,
            stop,
            told: self.told.clone(),
            inside: self.inside.clone(),
            kept: Vec::new(),
        };
        let options = ServiceOptions::default()
            .start_timeout(Duration::from_secs(20))
            .stop_timeout(Duration::from_secs(5));
        self.services.add_with(options, name, part).expect("a name of its own");
    }

    fn told(&self) -> Vec<String> {
        self.told.take()
    }
}

/// What a deferred came to, as text; `None` while it has not.
fn text<T>(outcome: &Outcome<T>) -> Option<String> {
    let outcome = outcome.borrow();
    assert!(outcome.len() <= 1, "it fires once");
    outcome.first().map(|result| match result {
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    })
}

#[test]
fn services_start_in_order_each_once_the_one_before_it_works_and_stop_in_reverse() {
    for seed in seeds(100) {
        let mut simulation = Simulation::new(seed);
        let story = Story::new(&[
            ("one", Way::Later(3), Way::AtOnce),
            ("two", Way::AtOnce, Way::Later(2)),
            ("three", Way::Later(1), Way::Later(1)),
        ]);
        let started = outcome(story.services.start(simulation.reactor()));
        assert!(story.told().is_empty(), "nothing happens inside the call");
        simulation.run_for(Duration::from_secs(2));
        assert_eq!(story.told(), ["start one"], "seed {seed}");
        assert_eq!(story.services.state("one"), Some(ServiceState::Starting));
        simulation.settle();
        let then = ["start one done", "start two", "start three", "start three done"];
        assert_eq!(story.told(), then, "seed {seed}");
        assert_eq!(text(&started).as_deref(), Some("done"));
        // Again: they run already.
        let again = outcome(story.services.start(simulation.reactor()));
        simulation.settle();
        assert_eq!(text(&again).as_deref(), Some("done"));
        assert!(story.told().is_empty());
        let stopped = outcome(story.services.stop(simulation.reactor()));
        simulation.settle();
        let then = ["stop three", "stop three done", "stop two", "stop two done", "stop one"];
        assert_eq!(story.told(), then, "seed {seed}");
        assert_eq!(text(&stopped).as_deref(), Some("done"));
        // And from the beginning.
        let again = outcome(story.services.start(simulation.reactor()));
        simulation.settle();
        assert_eq!(text(&again).as_deref(), Some("done"));
        assert_eq!(story.told().len(), 5);
    }
}

#[test]
fn a_start_that_fails_in_whatever_way_stops_those_before_it_and_names_its_service() {
    for (way, problem) in [
        (Way::Fails, "service third: no luck"),
        (Way::FailsLater(2), "service third: late bad luck"),
        (Way::Panics, "service third: it panicked: no luck at all"),
        (Way::Never, "service third: timed out"),
    ] {
        for seed in seeds(30) {
            let mut simulation = Simulation::new(seed);
            let story = Story::new(&[("before", Way::AtOnce, Way::AtOnce)]);
            let before = outcome(story.services.start(simulation.reactor()));
            simulation.settle();
            assert_eq!(text(&before).as_deref(), Some("done"));
            story.told();
            story.add("first", Way::AtOnce, Way::Later(1));
            story.add("second", Way::Later(1), Way::AtOnce);
            story.add("third", way, Way::AtOnce);
            story.add("fourth", Way::AtOnce, Way::AtOnce);
            let started = outcome(story.services.start(simulation.reactor()));
            simulation.settle();
            assert_eq!(text(&started).as_deref(), Some(problem), "seed {seed}");
            let mut told = story.told();
            told.retain(|line| !line.ends_with("done"));
            let mut then = vec!["start first", "start second", "start third"];
            if way == Way::Never {
                then.push("stop third"); // it may still be at it
            }
            then.extend(["stop second", "stop first"]);
            assert_eq!(told, then, "seed {seed}: {way:?}");
            // Those of an earlier start go on.
            assert_eq!(story.services.state("before"), Some(ServiceState::Running));
            assert_eq!(story.services.state("third"), Some(ServiceState::Stopped));
            assert_eq!(story.services.state("fourth"), Some(ServiceState::Stopped));
        }
    }
}

#[test]
fn a_service_that_does_not_stop_in_time_is_told_and_passed_over() {
    for seed in seeds(30) {
        logs::collect();
        let mut simulation = Simulation::new(seed);
        let story = Story::new(&[
            ("one", Way::AtOnce, Way::AtOnce),
            ("stuck", Way::AtOnce, Way::Never),
            ("broken", Way::AtOnce, Way::Panics),
            ("sad", Way::AtOnce, Way::FailsLater(1)),
        ]);
        story.services.start(simulation.reactor()).forget();
        simulation.settle();
        story.told();
        let stopped = outcome(story.services.stop(simulation.reactor()));
        simulation.settle();
        let then = ["stop sad", "stop sad done", "stop broken", "stop stuck", "stop one"];
        assert_eq!(story.told(), then, "seed {seed}");
        assert_eq!(text(&stopped).as_deref(), Some("done"));
        for line in [
            "WARN service stuck: it did not stop within 5s, and is passed over",
            "WARN service broken: its stop failed: it panicked: no luck at all",
            "WARN service sad: its stop failed: late bad luck",
        ] {
            assert_eq!(logs::count(line), 1, "{line}: {:?}", logs::lines());
        }
    }
}

#[test]
fn the_stop_of_the_reactor_stops_them_before_it_closes_anything() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let story = Story::new(&[("part", Way::AtOnce, Way::Later(4))]);
        let record = Record::new();
        let told = record.clone();
        let endpoint: Endpoint = SERVER.parse().expect("an address");
        let listening = ListeningService::new(endpoint, move || {
            let told = told.clone();
            move |_| Probe::echo(&told)
        });
        story.services.add("listener", listening).expect("a free name");
        story.services.start(simulation.reactor()).forget();
        simulation.settle();
        let mut peer = simulation.dial(SERVER).expect("an address");
        peer.write(b"hello");
        simulation.run_until(|_| record.data() == b"hello");
        simulation.reactor().stop();
        simulation.run_for(Duration::from_secs(3));
        assert!(!record.is_lost(), "seed {seed}: the stop is held");
        let late = simulation.dial(SERVER).expect("an address");
        simulation.run_for(Duration::from_millis(900));
        assert!(late.was_reset(), "seed {seed}: the listener was the last, and stops first");
        peer.shutdown();
        simulation.settle();
        assert_eq!(story.told(), ["start part", "stop part", "stop part done"]);
        assert!(record.is_lost());
    }
}

#[test]
fn a_stop_gives_up_the_start_that_is_under_way_and_those_that_wait() {
    for seed in seeds(100) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        let slow = if chance.below(2) == 0 { Way::Never } else { Way::Later(10) };
        let story = Story::new(&[
            ("one", Way::AtOnce, Way::AtOnce),
            ("slow", slow, Way::AtOnce),
            ("three", Way::AtOnce, Way::AtOnce),
        ]);
        let first = outcome(story.services.start(simulation.reactor()));
        let second = outcome(story.services.start(simulation.reactor()));
        if chance.below(4) > 0 {
            simulation.run_for(Duration::from_millis(chance.below(9000)));
        }
        let stopped = outcome(story.services.stop(simulation.reactor()));
        let third = outcome(story.services.start(simulation.reactor()));
        simulation.run_for(Duration::from_secs(1));
        assert_eq!(text(&first).as_deref(), Some("cancelled"), "seed {seed}");
        assert_eq!(text(&second).as_deref(), Some("cancelled"), "seed {seed}");
        assert_eq!(text(&stopped).as_deref(), Some("done"), "seed {seed}");
        assert_eq!(text(&third), None, "seed {seed}: it came after the stop, and is slow");
        simulation.settle();
        let end = if slow == Way::Never { "service slow: timed out" } else { "done" };
        assert_eq!(text(&third).as_deref(), Some(end), "seed {seed}");
    }
}

#[test]
fn one_is_removed_and_another_one_takes_its_name() {
    for seed in seeds(50) {
        let mut simulation = Simulation::new(seed);
        let story =
            Story::new(&[("one", Way::AtOnce, Way::AtOnce), ("two", Way::Later(1), Way::Later(1))]);
        let taken = story.services.add(
            "two",
            ListeningService::new(SERVER.parse().expect("an address"), || |_| Probe::default()),
        );
        let error = taken.expect_err("it is taken").to_string();
        assert_eq!(error, "service two: there is one of that name already");
        story.services.start(simulation.reactor()).forget();
        // It waits for the start; giving the deferred up changes nothing.
        let mut removed = story.services.remove(simulation.reactor(), "two");
        removed.cancel();
        let other = outcome(story.services.remove(simulation.reactor(), "nobody"));
        simulation.settle();
        assert!(matches!(other.borrow()[..], [Ok(false)]));
        let then = ["start one", "start two", "start two done", "stop two", "stop two done"];
        assert_eq!(story.told(), then, "seed {seed}");
        assert_eq!(story.services.names().len(), 1);
        story.add("two", Way::AtOnce, Way::AtOnce);
        story.services.start(simulation.reactor()).forget();
        simulation.settle();
        assert_eq!(story.told(), ["start two"]);
        assert_eq!(story.services.state("two"), Some(ServiceState::Running));
    }
}

/// Whatever is asked for when, each start is paired with its stop, in the right order, and
/// everything ends.
#[test]
fn in_any_order_of_requests_starts_and_stops_are_paired_and_everything_ends() {
    for seed in seeds(1000) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        let story = Story::new(&[]);
        let mut ways = BTreeMap::new();
        let way = |chance: &mut Chance| match chance.below(8) {
            0 => Way::Later(chance.below(4)),
            1 => Way::FailsLater(chance.below(4)),
            2 => Way::Never,
            3 => Way::Fails,
            4 => Way::Panics,
            _ => Way::AtOnce,
        };
        for number in 0..1 + chance.below(5) {
            let start = way(&mut chance);
            story.add(&number.to_string(), start, way(&mut chance));
            ways.insert(number.to_string(), start);
        }
        let mut asked = Vec::new();
        for number in 0..1 + chance.below(6) {
            let reactor = simulation.reactor();
            match chance.below(4) {
                0 => asked.push(outcome(story.services.stop(reactor))),
                1 => {
                    let name = chance.below(5).to_string();
                    let removed = story.services.remove(reactor, &name);
                    let (promise, deferred) = reactor.deferred();
                    removed.then(move |_, result| promise.fire(result.map(drop)));
                    asked.push(outcome(deferred));
                }
                _ => asked.push(outcome(story.services.start(reactor))),
            }
            if chance.below(3) == 0 {
                let (name, start) = (format!("late {number}"), way(&mut chance));
                story.add(&name, start, way(&mut chance));
                ways.insert(name, start);
            }
            let pause = chance.below(6000);
            simulation.run_for(Duration::from_millis(pause));
        }
        asked.push(outcome(story.services.stop(simulation.reactor())));
        simulation.settle();
        for asked in &asked {
            assert_eq!(asked.borrow().len(), 1, "seed {seed}: it ends, once");
        }
        // Those that run, in the order of their start, and whether that may have failed since.
        let mut running: Vec<(String, bool)> = Vec::new();
        for line in story.told().iter().filter(|line| !line.ends_with("done")) {
            let (what, name) = line.split_once(' ').expect("two words");
            let place = running.iter().position(|(running, _)| running == name);
            if what == "start" {
                let before = place.map(|place| running.remove(place));
                assert!(before.is_none_or(|(_, failed)| failed), "seed {seed}: {line}");
                match ways[name] {
                    Way::Fails | Way::Panics => {}
                    Way::FailsLater(_) => running.push((name.to_owned(), true)),
                    _ => running.push((name.to_owned(), false)),
                }
            } else {
                let place = place.unwrap_or_else(|| panic!("seed {seed}: {line}"));
                running.remove(place);
            }
        }
        running.retain(|(_, failed)| !failed);
        assert!(running.is_empty(), "seed {seed}: {running:?}");
        for name in story.services.names() {
            assert_eq!(story.services.state(&name), Some(ServiceState::Stopped), "seed {seed}");
        }
    }
}

#[test]
fn a_start_that_was_given_up_does_not_decide_the_next_one() {
    let mut simulation = Simulation::calm();
    let story = Story::new(&[("slow", Way::Later(10), Way::AtOnce)]);
    let first = outcome(story.services.start(simulation.reactor()));
    simulation.run_for(Duration::from_secs(4));
    story.services.stop(simulation.reactor()).forget();
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(text(&first).as_deref(), Some("cancelled"));
    let second = outcome(story.services.start(simulation.reactor()));
    simulation.run_for(Duration::from_secs(7));
    let told = story.told();
    assert!(told.contains(&"start slow done".to_owned()), "the first one: {told:?}");
    assert_eq!(story.services.state("slow"), Some(ServiceState::Starting));
    simulation.run_for(Duration::from_secs(4));
    assert_eq!(story.services.state("slow"), Some(ServiceState::Running));
    assert!(second.borrow()[0].is_ok());
}

/// Its start and its stop fail with an error that looks like one of `Services`.
struct Alike(fn() -> Error, Told);

impl Service for Alike {
    fn start(&mut self, reactor: &mut Reactor) -> Result<Option<Deferred<()>>> {
        let (promise, deferred) = reactor.deferred();
        promise.fail((self.0)());
        Ok(Some(deferred))
    }

    fn stop(&mut self, _: &mut Reactor) -> Option<Deferred<()>> {
        self.1.borrow_mut().push("stop".to_owned());
        None
    }
}

#[test]
fn an_error_of_a_services_own_is_not_taken_for_a_deadline_or_a_stop() {
    for (error, said) in [
        ((|| Error::TimedOut) as fn() -> Error, Error::TimedOut.to_string()),
        (|| Error::Cancelled, Error::Cancelled.to_string()),
    ] {
        let mut simulation = Simulation::calm();
        let (services, told) = (Services::new(), Told::default());
        services.add("alike", Alike(error, told.clone())).expect("a name of its own");
        let started = outcome(services.start(simulation.reactor()));
        simulation.settle();
        let Err(failure @ Error::Service { .. }) = &started.borrow()[0] else {
            panic!("it has failed by itself")
        };
        assert!(failure.to_string().contains(&said), "{failure}");
        assert!(told.borrow().is_empty(), "it has nothing to stop");
    }
}

#[test]
fn a_listener_does_not_stay_when_what_is_told_of_it_panics() {
    let mut simulation = Simulation::calm();
    let services = Services::new();
    let endpoint: Endpoint = SERVER.parse().expect("an address");
    let factory = || |_| Some(Probe::new(&Record::new()));
    let listening = ListeningService::new(endpoint, factory).on_listening(|_| panic!("no luck"));
    services.add("server", listening).expect("a name of its own");
    let started = outcome(services.start(simulation.reactor()));
    simulation.settle();
    let failure = started.borrow()[0].as_ref().expect_err("it panicked").to_string();
    assert!(failure.contains("server") && failure.contains("no luck"), "{failure}");
    assert_eq!(services.state("server"), Some(ServiceState::Stopped));
    let peer = simulation.dial(SERVER).expect("an address");
    simulation.settle();
    assert!(peer.was_reset(), "nobody listens");
}
