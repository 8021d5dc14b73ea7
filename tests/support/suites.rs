//! Test suites that other programs carry: run to their end, with what they say in a file below
//! `target/`, and counted.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{target, wait_within};

/// A suite's longest time; what takes longer hangs.
pub(crate) const SUITE_LIMIT: Duration = Duration::from_secs(600);

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
