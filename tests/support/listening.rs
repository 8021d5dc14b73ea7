//! Programs that are not the binary: the examples, scripts, and what else listens while a test runs.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of it")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// One of the examples. Cargo puts them next to the directory of the tests' own binaries.
pub fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows where it is");
    let profile = own.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let binary = profile.join("examples").join(name);
    assert!(binary.exists(), "{}: cargo build --examples makes it", binary.display());
    binary
}

/// A program. Dropping it kills it.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that listens, on loopback. Dropping it kills it.
pub struct Listening {
    _child: Killed,
    pub port: String,
}

impl Listening {
    /// Starts one whose first line on standard output ends with its port.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it was made just now");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("text");
        let port = line.trim_end().rsplit([' ', ':']).next().unwrap_or_default();
        Self::new(child, port)
    }

    /// One that has been started, and has told its port.
    pub fn new(child: Child, port: &str) -> Self {
        assert!(port.parse::<u16>().is_ok(), "{port:?} is no port");
        Self { _child: Killed(child), port: port.to_owned() }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
