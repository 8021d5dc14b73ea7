//! Running a story with many seeds, and telling which one failed and how to run it again.
//!
//! The one rule: a story that failed once fails again with its seed. Where it does not, something
//! enters that the seed does not know, and the report says so.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Simulation, Trace};

/// Lines of the record that a report shows: the last ones, which mostly tell the story.
const SHOWN: usize = 60;

/// What a story may come to: nothing, or a result.
pub trait Verdict {
    /// What went wrong, if anything did.
    fn complaint(self) -> Option<String>;
}

impl Verdict for () {
    fn complaint(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> Verdict for Result<(), E> {
    fn complaint(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// A seed with which a story failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed: with it, [`Simulation::new`] makes the same network, and the same story.
    pub seed: u64,
    /// The message of the panic, or of the error.
    pub message: String,
    /// The record of what happened, from a second run.
    pub trace: Trace,
    /// Whether the second run failed in the same way.
    pub replays: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, message, trace, replays } = self;
        let lines = trace.lines();
        let left_out = lines.len().saturating_sub(SHOWN);
        if left_out > 0 {
            writeln!(f, "({left_out} lines before these)")?;
        }
        for line in &lines[left_out..] {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {seed}: {message}")?;
        if !replays {
            writeln!(
                f,
                "With the same seed it did not fail in this way again: something enters that the \
                 seed does not know (a system's clock, random numbers, the order of a HashMap)."
            )?;
        }
        write!(f, "ROPEWALK_SEED={seed} runs this one alone.")
    }
}

/// Tells `story` once for each seed, and panics with the first [`Failure`]: for tests.
///
/// In the environment, `ROPEWALK_SEEDS=100000` runs so many seeds from the beginning of the range on,
/// if that is more than it has, and `ROPEWALK_SEED=7` that seed alone.
///
/// ```
/// use ropewalk_reactor::simulation;
///
/// simulation::seeds(0..100, |simulation| {
///     simulation.settle();
///     assert_eq!(simulation.open_sockets(), 0);
/// });
/// ```
///
/// # Panics
/// If the story fails: with the seed, what happened, and how to run it again.
pub fn seeds<V: Verdict>(seeds: Range<u64>, story: impl FnMut(&mut Simulation) -> V) {
    if let Some(failure) = find_failure(asked_for(seeds), story) {
        panic!("{failure}");
    }
}

/// Tells `story` once for each seed until it panics or answers an error. Then it is told again
/// with that seed and a [record](Simulation::record).
pub fn find_failure<V: Verdict>(
    seeds: impl IntoIterator<Item = u64>,
    mut story: impl FnMut(&mut Simulation) -> V,
) -> Option<Failure> {
    seeds.into_iter().find_map(|seed| {
        let (message, _) = tell(seed, false, &mut story);
        let message = message?;
        let (again, trace) = tell(seed, true, &mut story);
        let replays = again.as_ref() == Some(&message);
        Some(Failure { seed, message, trace, replays })
    })
}

/// Tells `story` twice with `seed`, and panics unless all that happened was the same.
///
/// # Panics
/// If the records differ: with the first line that does.
pub fn assert_replays<V: Verdict>(seed: u64, mut story: impl FnMut(&mut Simulation) -> V) {
    let (_, one) = tell(seed, true, &mut story);
    let (_, other) = tell(seed, true, &mut story);
    let (one, other) = (one.lines(), other.lines());
    let differ = one.iter().zip(&other).position(|(one, other)| one != other);
    let differ = differ.or((one.len() != other.len()).then(|| one.len().min(other.len())));
    if let Some(line) = differ {
        panic!(
            "seed {seed}: told twice, it differs in line {line}:\n{:?}\n{:?}",
            one.get(line),
            other.get(line),
        );
    }
}

fn tell<V: Verdict>(
    seed: u64,
    record: bool,
    story: &mut impl FnMut(&mut Simulation) -> V,
) -> (Option<String>, Trace) {
    let mut simulation = Simulation::new(seed);
    if record {
        simulation.record();
    }
    let trace = simulation.trace();
    // What a panic has left half done dies here, with the simulation.
    let told = catch_unwind(AssertUnwindSafe(|| {
        let verdict = story(&mut simulation);
        drop(simulation);
        verdict.complaint()
    }));
    let message = told.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Some(text.unwrap_or_else(|| "it panicked".to_owned()))
    });
    (message, trace)
}

/// The seeds that the environment asks for; else these.
fn asked_for(seeds: Range<u64>) -> Range<u64> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    match (number("ROPEWALK_SEED"), number("ROPEWALK_SEEDS")) {
        (Some(one), _) => one..one.saturating_add(1),
        (None, Some(count)) => seeds.start..seeds.end.max(seeds.start.saturating_add(count)),
        (None, None) => seeds,
    }
}
