//! The same scripts of commands against a redis-server and against ours: what clients see is held
//! together byte by byte, step by step. redis-server has to be installed, and is started here.
//!
//! ```sh
//! cargo test -p ropewalk-redis --test differential -- --ignored --nocapture
//! SEED=7 SEEDS=1 cargo test -p ropewalk-redis --test differential -- --ignored   # one of them
//! ```
//!
//! What differs on purpose stands in `known`, and in docs/differences-from-redis.md.

#![allow(clippy::disallowed_methods, reason = "it waits for another program, in real time")]

mod known;
mod normal;
mod run;
mod script;

use run::{Servers, run};

/// How many scripts a seed makes unless told.
const SEEDS: u64 = 300;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
#[ignore = "needs redis-server"]
fn scripts_see_the_same() {
    let servers = Servers::start(None);
    for text in script::WRITTEN {
        let script = script::parse(text);
        servers.compare(&script, &format!("script {text:?}"));
    }
    println!("{} written scripts are answered alike", script::WRITTEN.len());
    let first = number("SEED", 0);
    let seeds = number("SEEDS", SEEDS);
    for seed in first..first + seeds {
        servers.compare(&script::random(seed), &format!("SEED={seed} SEEDS=1"));
    }
    println!("{seeds} scripts of chance are answered alike");
}

#[test]
#[ignore = "needs redis-server"]
fn who_has_to_authenticate_sees_the_same() {
    let servers = Servers::start(Some("secret"));
    for text in script::WITH_PASSWORD {
        servers.compare(&script::parse(text), &format!("script {text:?}"));
    }
}

#[test]
#[ignore = "needs redis-server"]
fn patterns_match_the_same() {
    let servers = Servers::start(None);
    let seeds = number("SEEDS", SEEDS);
    for seed in 0..seeds {
        servers.compare(&script::patterns(seed), &format!("patterns of seed {seed}"));
    }
    println!("{seeds} scripts of patterns are answered alike");
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_told_to_differ_differs() {
    let servers = Servers::start(None);
    for known in known::KNOWN {
        let script = script::parse(known.script);
        for (whose, address, expected) in
            [("redis", servers.theirs(), known.redis), ("ours", servers.ours(), known.ours)]
        {
            let seen = run(address, &script);
            let last = seen.last().expect("there is a step");
            let text: Vec<_> =
                last.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
            let text = text.concat();
            assert!(text.contains(expected), "{whose}: {:?}: {text:?}", known.script);
        }
    }
    println!("{} differences are as they are told", known::KNOWN.len());
}
