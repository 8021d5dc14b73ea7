//! The durable server forgets nothing and invents nothing, whatever becomes of its machine: whole
//! stories on a simulated network and a simulated disk, held against a record of what clients saw.
//!
//! `DURABILITY_SEEDS` sets how many stories are told and `DURABILITY_START` the seed of the first, so
//! that a long run can be told in parts. `DURABILITY_SEED` tells one of them, with all that
//! happened in it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod chance;
mod client;
mod layout;
mod names;
mod record;
mod story;

use record::Counts;
use story::Story;

/// As many as fit a test run.
const STORIES: u64 = 400;

/// Stories beyond those in which something was found once.
const FOUND: [u64; 3] = [3042, 8969, 11_819];

/// Shows what the programs log, beside the trace of a story that is told alone.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Tells every second story, from the first or the second on: for two cores.
fn tell(half: u64) {
    let mut counts = Counts::default();
    let only = number("DURABILITY_SEED");
    if only.is_some() && log::set_logger(&Log).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    let first = only.or(number("DURABILITY_START")).unwrap_or(0);
    let count = only.map_or(number("DURABILITY_SEEDS").unwrap_or(STORIES), |_| 1);
    let seeds = first..first.saturating_add(count);
    let found = FOUND.into_iter().filter(|seed| only.is_none() && !seeds.contains(seed));
    let mut told = 0;
    for seed in seeds.clone().chain(found).filter(|seed| seed % 2 == half) {
        let mut story = Story::new(seed, only.is_some());
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story.tell()));
        match ended {
            Ok(more) => counts.add(&more),
            Err(panic) => {
                eprintln!("DURABILITY_SEED={seed} tells this story alone");
                std::panic::resume_unwind(panic);
            }
        }
        told += 1;
    }
    println!("{told} stories: {counts:?}");
    if told >= 100 {
        // The seeds do what they are for.
        assert!(counts.ends.iter().all(|&count| count > told / 20), "{counts:?}");
        assert!(counts.survived > 10 * told && counts.confirmed > 10 * told, "{counts:?}");
        assert!(counts.safe > told && counts.died > told && counts.committed > told, "{counts:?}");
    }
}

#[test]
fn a_server_that_died_still_has_what_it_promised() {
    tell(0);
}

#[test]
fn a_server_that_died_still_has_what_it_promised_in_other_stories() {
    tell(1);
}
