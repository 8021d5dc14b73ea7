//! The real broker, killed at any moment under load and started again on the same directory, the
//! end of its log often torn in between: nothing that it confirmed is lost, nothing is invented,
//! order and marks hold. And what it does with directories that are damaged, and on a full disk.
//!
//! `ROUNDS` sets how often it is killed (`tests/crash` does so a thousand times), `SEED` what
//! moments and habits are chosen. Real processes do not replay: a seed that failed once fails
//! often, not always.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

#[path = "../../protocols/amqp/tests/durability/chance.rs"]
mod chance;
mod client;
mod damage;
mod ends;
mod full_disk;
mod inspection;
mod problems;
mod record;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod workers;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use story::Story;
use support::Server;

/// Nobody waits longer for a frame, or for the end of a process.
const PATIENCE: Duration = Duration::from_secs(20);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn what_was_confirmed_outlives_a_kill_at_any_moment() {
    let rounds = number("ROUNDS").unwrap_or(8);
    let seed = number("SEED").unwrap_or_else(|| {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        clock.map_or(0, |clock| u64::from(clock.subsec_nanos()))
    });
    println!("SEED={seed} ROUNDS={rounds}");
    let mut story = Story::begin(seed);
    for round in 1..=rounds {
        story.round();
        if round % 50 == 0 {
            println!("round {round}: {}", story.counts());
        }
    }
    let (counts, problems) = story.end();
    println!("SEED={seed}, {rounds} rounds: {counts}");
    assert!(problems.is_empty(), "{}\n{counts}", problems.join("\n"));
    assert!(rounds == 0 || counts.confirmed > 20 * rounds, "there was no load");
    assert!(rounds < 50 || counts.torn > rounds / 4, "hardly an end was torn");
    assert!(rounds < 200 || counts.torn_off > 100 * rounds, "hardly anything was lost with them");
}

/// What a directory has of segments, oldest first.
pub(crate) fn segments(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).expect("it is there");
    let files = files.map(|file| file.expect("it is there").path());
    let mut files: Vec<_> =
        files.filter(|it| it.extension().is_some_and(|it| it == "log")).collect();
    files.sort();
    files
}

pub(crate) fn start(directory: &Path) -> Server {
    let directory = directory.to_str().expect("UTF-8");
    Server::start(&["amqp", "--listen", "127.0.0.1:0", "--data", directory], 1)
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ropewalk"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = |stream: Option<Box<dyn Read + Send>>| {
        let mut octets = Vec::new();
        stream.expect("it is piped").read_to_end(&mut octets).expect("a pipe");
        octets
    };
    let stderr = thread::spawn(move || read(stderr.map(|it| Box::new(it) as _)));
    let stdout = thread::spawn(move || read(stdout.map(|it| Box::new(it) as _)));
    let status = support::wait_within(&mut child, PATIENCE);
    let stdout = stdout.join().expect("a pipe");
    Output { status, stdout, stderr: stderr.join().expect("a pipe") }
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
