//! The durable server forgets nothing and invents nothing, whatever becomes of its machine: whole
//! stories on a simulated network and a simulated disk, held against a record of what clients saw.
//!
//! `DURABILITY_SEEDS` sets how many stories are told, and `DURABILITY_SEED` tells one of them,
//! with all that happened in it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod chance;
mod client;
mod layout;
mod names;
mod record;
mod story;

use record::Counts;
use story::Story;

/// Known to fail, and not yet understood: a message that was handed out while the disk was full
/// comes back without its mark after the server was killed.
const OPEN: [u64; 1] = [134];

/// As many as fit a test run.
const STORIES: u64 = 400;

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
    let seeds = only.map_or(0..number("DURABILITY_SEEDS").unwrap_or(STORIES), |it| it..it + 1);
    let mut told = 0;
    let is_told = |seed: &u64| seed % 2 == half && (only.is_some() || !OPEN.contains(seed));
    for seed in seeds.filter(is_told) {
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
