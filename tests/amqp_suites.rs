//! The test suites that RabbitMQ's clients carry, run against the real binary: those of py-amqp and
//! kombu (Python).
//!
//! Sources come from the package registries, once, to below `target/`. What is left out or known
//! to fail stands in `tests/python/suites/exceptions.txt`, with reasons.

mod support;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Server, python, python_source, root, target, wait_within};

/// A suite's longest time; what takes longer hangs.
const SUITE_LIMIT: Duration = Duration::from_secs(600);

fn broker() -> Server {
    Server::start(&["amqp", "--listen", "127.0.0.1:0"], 1)
}

/// A suite that `pytest` runs.
struct Suite {
    name: &'static str,
    /// The package whose source distribution carries it, pinned as in `requirements.txt`.
    package: &'static str,
    tests: &'static str,
    /// Processes side by side.
    workers: usize,
    /// How many pass: fewer means that some did not run.
    passed: usize,
}

#[test]
fn the_integration_tests_of_py_amqp_pass() {
    run_suite(&Suite {
        name: "py-amqp",
        package: "amqp==5.4.2",
        tests: "t/integration",
        workers: 1,
        passed: 48,
    });
}

#[test]
fn the_integration_tests_of_kombu_pass() {
    run_suite(&Suite {
        name: "kombu",
        package: "kombu==5.7.0",
        tests: "t/integration/test_py_amqp.py",
        workers: 1,
        passed: 51,
    });
}

fn run_suite(suite: &Suite) {
    let server = broker();
    let ours = root().join("tests/python/suites");
    let source = python_source(suite.package);
    if source.join("tests/docker_client.py").exists() {
        fs::copy(ours.join("docker_client.py"), source.join("tests/docker_client.py"))
            .expect("target/ is writable");
    }
    let mut pytest = Command::new(python());
    pytest
        .args(["-m", "pytest", suite.tests, "-q", "--color=no", "--tb=short", "-rfE"])
        .args(["-p", "ropewalk_plugin", "-p", "no:cacheprovider", "-W", "ignore"])
        .args(["-o", "log_cli=false", "--numprocesses", &suite.workers.to_string()])
        .current_dir(&source)
        .env("SUITE", suite.name)
        .env("PYTHONPATH", ours)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("RABBITMQ_HOST", server.address().ip().to_string())
        .env("RABBITMQ_5672_TCP", server.address().port().to_string());
    let said = run(suite.name, &mut pytest);
    let summary = said.lines().last().unwrap_or_default();
    let words: Vec<_> = summary.split(' ').collect();
    let passed = words.windows(2).find(|pair| pair[1].starts_with("passed"));
    let passed = passed.and_then(|pair| pair[0].parse().ok());
    assert_eq!(passed, Some(suite.passed), "{summary}");
}

/// Runs a program to its end and returns what it said, which is also in a file below `target/`.
fn run(name: &str, command: &mut Command) -> String {
    let path = log(name);
    let file = File::create(&path).expect("target/ is writable");
    let errors = file.try_clone().expect("a descriptor is free");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let status = wait_within(&mut child, SUITE_LIMIT);
    let said = fs::read_to_string(&path).expect("it was just written");
    assert!(status.success(), "{command:?}\n{said}");
    said
}

fn log(name: &str) -> PathBuf {
    let directory = target().join("tests-logs");
    fs::create_dir_all(&directory).expect("target/ is writable");
    directory.join(name).with_extension("log")
}
