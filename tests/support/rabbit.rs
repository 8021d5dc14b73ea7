//! A RabbitMQ of the tests' own: a node in `AMQP_URL`, and in `RABBITMQCTL` the command that governs
//! it. `tests/debian/definitions` sets both.

#![allow(unreachable_pub, reason = "a module of tests")]

use std::path::PathBuf;
use std::process::Command;

use ropewalk::amqp::client::Options;

pub struct Rabbit {
    url: String,
    ctl: PathBuf,
}

impl Rabbit {
    pub fn of_the_environment() -> Self {
        let of = |name| std::env::var(name).expect("set by tests/debian/definitions");
        Self { url: of("AMQP_URL"), ctl: of("RABBITMQCTL").into() }
    }

    /// Runs `rabbitmqctl ARGUMENTS`.
    pub fn ctl(&self, arguments: &[&str]) {
        let output = Command::new(&self.ctl).args(arguments).output().expect("it can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {said}");
    }

    /// Nothing is there but what every new node has.
    pub fn reset(&self) {
        for command in ["stop_app", "reset", "start_app", "await_startup"] {
            self.ctl(&[command]);
        }
    }

    pub fn options(&self) -> Options {
        Options::from_uri(&self.url).expect("a URL")
    }
}
