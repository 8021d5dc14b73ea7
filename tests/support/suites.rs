//! Test suites that other programs carry: run to their end, with what they say in a file below
//! `target/`, and counted.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{python, root, target, wait_within};

/// A suite's longest time; what takes longer hangs.
pub(crate) const SUITE_LIMIT: Duration = Duration::from_secs(600);

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

/// Runs a program to its end and returns what it said, which is also in a file below `target/`.
pub(crate) fn run(name: &str, command: &mut Command) -> String {
    let path = log(name);
    let mut child = spawn(command, &path);
    let status = wait_within(&mut child, SUITE_LIMIT);
    let said = fs::read_to_string(&path).expect("it was just written");
    assert!(status.success(), "{command:?}\n{said}");
    said
}

/// Starts a program that says what it says to a file.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> Child {
    let file = File::create(log).expect("target/ is writable");
    let errors = file.try_clone().expect("a descriptor is free");
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// That file.
pub(crate) fn log(name: &str) -> PathBuf {
    let directory = target().join("tests-logs");
    fs::create_dir_all(&directory).expect("target/ is writable");
    directory.join(name).with_extension("log")
}
