//! The publish/subscribe tests that redis-py carries, run against the real binary: those of the
//! client with threads, and those of the one with asyncio.
//!
//! The source comes from the package registry, once, to below `target/`. What fails against a
//! redis-server 7.0 as well stands in `tests/python/suites/exceptions.txt`, with reasons.

#[path = "support/pytest.rs"]
mod pytest;
#[path = "support/suites.rs"]
mod suites;
mod support;

use pytest::{pytest, run_pytest};
use support::{Server, python_source};

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
    let mut pytest = pytest(name, tests, &python_source("redis==8.1.0"), "aiomisc");
    pytest
        .args(["-o", "addopts="])
        .args(["--redis-url", &format!("redis://{}/0", server.address())]);
    run_pytest(name, &mut pytest, passed);
}
