//! The publish/subscribe tests that redis-py carries, run against the real binary: those of the
//! client with threads, and those of the one with asyncio.
//!
//! The source comes from the package registry, once, to below `target/`. What fails against a
//! redis-server 7.0 as well stands in `tests/python/suites/exceptions.txt`, with reasons.

mod support;

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Server, python, python_source, root, target, wait_within};

/// A suite's longest time; what takes longer hangs.
const SUITE_LIMIT: Duration = Duration::from_secs(600);

#[test]
fn the_publish_subscribe_tests_of_redis_py_pass() {
    run_suite("redis-py", "tests/test_pubsub.py", 120);
}

#[test]
fn the_publish_subscribe_tests_of_redis_py_pass_with_asyncio() {
    run_suite("redis-py-asyncio", "tests/test_asyncio/test_pubsub.py", 179);
}

fn run_suite(name: &str, tests: &str, passed: usize) {
    let server = Server::start(&["redis", "--listen", "127.0.0.1:0"], 1);
    let ours = root().join("tests/python/suites");
    let mut pytest = Command::new(python());
    pytest
        .args(["-m", "pytest", tests, "-q", "--color=no", "--tb=short", "-rfE"])
        .args([
            "-p",
            "ropewalk_plugin",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:aiomisc",
            "-W",
            "ignore",
            "-o",
            "addopts=",
        ])
        .args(["--redis-url", &format!("redis://{}/0", server.address())])
        .current_dir(python_source("redis==8.1.0"))
        .env("SUITE", name)
        .env("PYTHONPATH", ours)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let logs = target().join("tests-logs");
    fs::create_dir_all(&logs).expect("target/ is writable");
    let log = logs.join(name).with_extension("log");
    let file = File::create(&log).expect("target/ is writable");
    let errors = file.try_clone().expect("a descriptor is free");
    pytest.stdin(Stdio::null()).stdout(file).stderr(errors);
    let mut child = pytest.spawn().unwrap_or_else(|error| panic!("{pytest:?}: {error}"));
    let status = wait_within(&mut child, SUITE_LIMIT);
    let said = fs::read_to_string(&log).expect("it was just written");
    assert!(status.success(), "{said}");
    let summary = said.lines().last().unwrap_or_default();
    let words: Vec<_> = summary.split(' ').collect();
    let found = words.windows(2).find(|pair| pair[1].starts_with("passed"));
    let found = found.and_then(|pair| pair[0].parse().ok());
    assert_eq!(found, Some(passed), "{summary}");
}
