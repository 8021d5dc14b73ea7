//! The test suites that RabbitMQ's clients carry, run against the real binary: those of py-amqp,
//! kombu, aiormq and aio-pika (Python) and of lapin (Rust), and Celery's worker and caller.
//!
//! Sources come from the package registries, once, to below `target/`. What is left out or known
//! to fail stands in `tests/python/suites/exceptions.txt`, with reasons.

#[path = "support/pytest.rs"]
mod pytest;
#[path = "support/suites.rs"]
mod suites;
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use pytest::{pytest, run_pytest};
use suites::{SUITE_LIMIT, log, run, spawn};
use support::{Server, python, python_source, root, target, wait_within};

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

#[test]
fn the_tests_of_aiormq_pass() {
    run_suite(&Suite {
        name: "aiormq",
        package: "aiormq==7.2.4",
        tests: "tests",
        workers: 2,
        passed: 554,
    });
}

#[test]
fn the_tests_of_aio_pika_pass() {
    run_suite(&Suite {
        name: "aio-pika",
        package: "aio-pika==10.2.1",
        tests: "tests",
        workers: 3,
        passed: 941,
    });
}

fn run_suite(suite: &Suite) {
    // One for each worker: the tests of a suite share names of queues.
    let servers: Vec<_> = (0..suite.workers).map(|_| broker()).collect();
    let ports: Vec<_> = servers.iter().map(|it| it.address().port().to_string()).collect();
    let source = python_source(suite.package);
    if source.join("tests/docker_client.py").exists() {
        let ours = root().join("tests/python/suites/docker_client.py");
        fs::copy(ours, source.join("tests/docker_client.py")).expect("target/ is writable");
    }
    let mut pytest = pytest(suite.name, suite.tests, &source, "asyncio");
    pytest
        .args(["-o", "log_cli=false", "--numprocesses", &suite.workers.to_string()])
        .env("RABBITMQ_HOST", servers[0].address().ip().to_string())
        .env("RABBITMQ_5672_TCP", ports.join(","));
    run_pytest(suite.name, &mut pytest, suite.passed);
}

#[test]
fn celery_calls_its_worker_through_classic_and_quorum_queues() {
    for queue_type in ["classic", "quorum"] {
        let server = broker();
        let celery = |arguments: &[&str]| {
            let mut command = Command::new(python());
            command
                .args(arguments)
                .current_dir(root().join("tests/python/celery"))
                .env("AMQP_URL", format!("amqp://guest:guest@{}//", server.address()))
                .env("QUEUE_TYPE", queue_type)
                .env("PYTHONDONTWRITEBYTECODE", "1");
            command
        };
        // It forks two processes; told to shut down, it ends them.
        let worker = ["-m", "celery", "-A", "tasks", "worker", "--concurrency=2", "-l", "info"];
        let worker_log = log(&format!("celery-{queue_type}-worker"));
        let mut worker = Worker(spawn(&mut celery(&worker), &worker_log));
        let said = run(&format!("celery-{queue_type}-caller"), &mut celery(&["caller.py"]));
        assert_eq!(said, "all well\n");
        let status = wait_within(&mut worker.0, SUITE_LIMIT);
        assert!(status.success(), "{}", fs::read_to_string(worker_log).expect("it is there"));
    }
}

/// Celery's worker, which is not left behind when its caller fails.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // Not SIGKILL: it would leave the processes that it forked.
            let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
            let _ = self.0.wait();
        }
    }
}

#[test]
fn the_tests_of_lapin_pass() {
    let server = broker();
    let home = lapin_source("4.12.3");
    // It brings its own lock file. No TLS: its backend would take minutes to build.
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--locked", "--no-fail-fast", "--test", "*"])
        .args(["--no-default-features", "--features", "tokio,smol"])
        .current_dir(&home)
        .env("CARGO_TARGET_DIR", home.with_file_name("target"))
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("AMQP_ADDR", format!("amqp://{}/%2f", server.address()));
    let said = run("lapin", &mut cargo);
    let passed = said.lines().filter(|line| line.starts_with("test ") && line.ends_with(" ok"));
    assert_eq!(passed.count(), 17, "{said}");
}

/// A copy of lapin's source that is a workspace of its own.
fn lapin_source(version: &str) -> PathBuf {
    let home = target().join("tests-lapin");
    let source = home.join(version);
    if source.exists() {
        return source;
    }
    // A package that depends on it makes cargo fetch it, and say where it is.
    fs::create_dir_all(home.join("fetch/src")).expect("target/ is writable");
    fs::write(home.join("fetch/src/lib.rs"), "").expect("target/ is writable");
    let manifest = home.join("fetch/Cargo.toml");
    let text = format!(
        "[package]\nname = \"fetch\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n\
         lapin = {{ version = \"={version}\", default-features = false }}\n"
    );
    fs::write(&manifest, text).expect("target/ is writable");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--quiet", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs this test");
    let said = String::from_utf8_lossy(&output.stdout);
    let end = format!("lapin-{version}/Cargo.toml\"");
    let found = said.split("\"manifest_path\":\"").find_map(|rest| {
        rest.find(&end).filter(|at| !rest[..*at].contains('"')).map(|at| &rest[..at])
    });
    let registry = found.unwrap_or_else(|| panic!("lapin {version} cannot be fetched"));
    let copy = home.join("copy");
    let _ = fs::remove_dir_all(&copy);
    let mut cp = Command::new("cp");
    cp.arg("-R").arg(format!("{registry}lapin-{version}")).arg(&copy);
    assert!(cp.status().expect("cp is everywhere").success());
    let manifest = copy.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("it was copied") + "\n[workspace]\n";
    fs::write(&manifest, text).expect("the copy is ours");
    fs::rename(&copy, &source).expect("target/ is writable");
    source
}
