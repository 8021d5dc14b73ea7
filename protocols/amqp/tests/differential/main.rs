//! The same scripts of raw AMQP against RabbitMQ and against our server: what a client sees must
//! be the same, step by step.
//!
//! `tests/debian/differential` starts RabbitMQ and runs this. `SEEDS` (how many scripts) and
//! `SEED` (the first) choose others. What differs on purpose stands in `known`, is left out of
//! the scripts, is shown to differ, and is told in `docs/differences-from-rabbitmq.md`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test on real sockets")]

mod declare;
mod known;
mod known_messages;
mod message;
mod normal;
mod probe;
mod run;
mod script;
mod theme;
mod wire;
mod wrong;

use std::net::SocketAddr;

use ropewalk_amqp::server::{Config, Server};
use ropewalk_reactor::Reactor;

/// Our server, in a thread of its own.
fn start_ours() -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut reactor = Reactor::new().unwrap();
        let listener = reactor.listen("127.0.0.1:0", Server::new(Config::default())).unwrap();
        sender.send(reactor.address(listener).unwrap().socket_addr().unwrap()).unwrap();
        reactor.run().unwrap();
    });
    receiver.recv().unwrap()
}

fn rabbitmq() -> SocketAddr {
    let url = std::env::var("AMQP_URL").expect("AMQP_URL; tests/debian/differential sets it");
    let address = url.strip_prefix("amqp://guest:guest@").and_then(|rest| rest.split('/').next());
    address.and_then(|it| it.parse().ok()).expect("AMQP_URL=amqp://guest:guest@IP:PORT/%2f")
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
#[ignore = "needs RabbitMQ: run tests/debian/differential"]
fn every_script_gets_from_our_server_what_it_gets_from_rabbitmq() {
    let mut both = run::Both::connect(rabbitmq(), start_ours());
    let (first, count) = (number("SEED", 0), number("SEEDS", 500));
    let mut different = Vec::new();
    let mut steps = 0;
    for seed in first..first + count {
        let script = script::Script::of_seed(seed);
        steps += script.steps.len();
        if let Err(difference) = both.run(&script) {
            println!("script {seed} differs (SEED={seed} SEEDS=1 runs it alone):\n{difference}");
            different.push(seed);
        }
        if (seed + 1 - first).is_multiple_of(50) {
            println!("{} scripts, {} of them differ", seed + 1 - first, different.len());
        }
    }
    println!(
        "{steps} steps; {} passed, {} failed",
        count - different.len() as u64,
        different.len()
    );
    assert!(different.is_empty(), "scripts that differ: {different:?}");
}

#[test]
#[ignore = "needs RabbitMQ: run tests/debian/differential"]
fn what_is_known_to_differ_differs_as_the_docs_say() {
    let mut both = run::Both::connect(rabbitmq(), start_ours());
    let mut wrong = Vec::new();
    for difference in known::differences() {
        let parts = [difference.rabbitmq, difference.ours];
        let seen = both.probe(difference.steps, parts);
        let shows = |part: &str, seen: &str| match part.is_empty() {
            true => seen.is_empty(),
            false => seen.contains(part),
        };
        if !shows(parts[0], &seen[0]) || !shows(parts[1], &seen[1]) || seen[0] == seen[1] {
            println!("{}:\n  RabbitMQ: {}\n  ours: {}", difference.what, seen[0], seen[1]);
            wrong.push(difference.what);
        }
    }
    println!("{} differences, {} of them otherwise", known::differences().count(), wrong.len());
    assert!(wrong.is_empty(), "not as the docs say: {wrong:?}");
}
