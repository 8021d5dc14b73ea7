//! Suites that pytest runs, and how many of their tests have to pass.

use std::path::Path;
use std::process::Command;

use crate::suites::run;
use crate::support::{python, root};

/// `pytest` for the tests of a package whose source is in `source`. `exceptions.txt` knows the suite by
/// `name`. `without` is the plug-in of another suite, which would take these tests for its own.
pub(crate) fn pytest(name: &str, tests: &str, source: &Path, without: &str) -> Command {
    let mut pytest = Command::new(python());
    pytest
        .args(["-m", "pytest", tests, "-q", "--color=no", "--tb=short", "-rfE", "-W", "ignore"])
        .args(["-p", "ropewalk_plugin", "-p", "no:cacheprovider", "-p", &format!("no:{without}")])
        .current_dir(source)
        .env("SUITE", name)
        .env("PYTHONPATH", root().join("tests/python/suites"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    pytest
}

/// Runs `pytest`, of whose tests exactly so many have to pass: fewer means that some did not run.
pub(crate) fn run_pytest(name: &str, pytest: &mut Command, passed: usize) {
    let said = run(name, pytest);
    let summary = said.lines().last().unwrap_or_default();
    let words: Vec<_> = summary.split(' ').collect();
    let found = words.windows(2).find(|pair| pair[1].starts_with("passed"));
    let found = found.and_then(|pair| pair[0].parse().ok());
    assert_eq!(found, Some(passed), "{summary}");
}
