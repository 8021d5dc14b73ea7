//! What the tests of whole programs share: the real binary as a child process, and a Python
//! environment of the tests' own.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of it")]
#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything in these tests may take before it counts as hung.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary `ropewalk`, running. Dropping it kills it.
pub struct Server {
    child: Child,
    /// What it said on standard output: `(kind, address)` for each listener.
    pub listening: Vec<(String, String)>,
    output: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
    /// Its user's data home, in which nobody else keeps anything.
    home: PathBuf,
}

impl Server {
    /// Starts `ropewalk ARGUMENTS` and waits until it listens on `listeners` addresses.
    pub fn start(arguments: &[&str], listeners: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.args(arguments).stdin(Stdio::null());
        Self::start_with(command, listeners)
    }

    /// As [`start`](Self::start), by a command that becomes the binary.
    pub fn start_with(mut command: Command, listeners: usize) -> Self {
        let home = scratch("home");
        let mut child = command
            .env("RUST_LOG", "info")
            .env("XDG_DATA_HOME", &home)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built for this test");
        let errors = lines(child.stderr.take().expect("it is piped"));
        let output = lines(child.stdout.take().expect("it is piped"));
        let mut listening = Vec::new();
        while listening.len() < listeners {
            let Some(listener) = next_listener(&output) else {
                let _ = child.kill();
                let said: Vec<_> = errors.iter().collect();
                panic!("{command:?} does not listen; it said:\n{}", said.join("\n"));
            };
            listening.push(listener);
        }
        Self { child, listening, output, errors, home }
    }

    /// Waits until it listens on one more address, of which it tells the kind and the address.
    pub fn listens_again(&self) -> (String, String) {
        next_listener(&self.output).expect("it says where")
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens first.
    pub fn address(&self) -> SocketAddr {
        let address = &self.listening[0].1;
        let tcp = address.strip_prefix("tcp://").and_then(|address| address.parse().ok());
        tcp.unwrap_or_else(|| panic!("it listens on {address}"))
    }

    /// Sends it a signal by name, as in `kill -TERM`.
    pub fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &process]).status();
        assert!(status.expect("kill is everywhere").success());
    }

    /// Kills it at once (`kill -9`).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// What it has written to standard error so far.
    pub fn said(&self) -> String {
        let said: Vec<_> = self.errors.try_iter().collect();
        said.join("\n")
    }

    /// Waits for a line on standard error with this text in it; what it has written up to there.
    pub fn said_until(&self, text: &str) -> String {
        let mut said = String::new();
        while !said.contains(text) {
            let Ok(line) = self.errors.recv_timeout(PATIENCE) else {
                panic!("it does not say {text:?}; it said:\n{said}")
            };
            said.push_str(&line);
            said.push('\n');
        }
        said
    }

    /// The most memory that it has had so far, in bytes, where the system tells (Linux).
    pub fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// A line of standard output, as `(kind, address)`; `None` when there is none within patience.
fn next_listener(output: &mpsc::Receiver<String>) -> Option<(String, String)> {
    let line = output.recv_timeout(PATIENCE).ok()?;
    let words: Vec<_> = line.split(' ').collect();
    let [announcement, kind, address] = words[..] else { panic!("{line:?}") };
    assert_eq!(announcement, "listening", "{line:?}");
    Some((kind.to_owned(), address.to_owned()))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// A new directory below `target/`, whose user removes it.
pub fn scratch(what: &str) -> PathBuf {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let name = format!("{what}-{}-{number}", std::process::id());
    let directory = target().join("tests-scratch").join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("target/ is writable");
    directory
}

/// As [`scratch`], with a path that is short enough for the one of a Unix socket in it.
pub fn short_scratch() -> PathBuf {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("ropewalk-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("the temporary directory is writable");
    directory
}

/// Waits for the end of a child, within patience.
pub fn wait(child: &mut Child) -> ExitStatus {
    wait_within(child, PATIENCE)
}

/// Waits for the end of a child, and kills it at the limit.
pub fn wait_within(child: &mut Child, limit: Duration) -> ExitStatus {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        if Instant::now() >= end {
            let _ = child.kill();
            panic!("process {} does not end", child.id());
        }
        thread::sleep(Duration::from_millis(5)); // std has no wait with a limit
    }
}

/// The lines of a child's output, as they come.
pub fn lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace")
}

/// The interpreter of a virtual environment below `target/` with the packages that
/// `tests/python/requirements.txt` pins. Made on first use, and again when that file changes.
pub fn python() -> PathBuf {
    let requirements = root().join("tests/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements).expect("it is in the repository");
    let home = target().join("tests-python");
    fs::create_dir_all(&home).expect("target/ is writable");
    // Several test binaries run at once; one makes it, the others wait.
    let lock = File::create(home.join("lock")).expect("target/ is writable");
    lock.lock().expect("the lock's file is ours");
    let (venv, stamp) = (home.join("venv"), home.join("installed.txt"));
    let python = venv.join("bin/python");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return python;
    }
    let _ = fs::remove_dir_all(&venv);
    run(
        Command::new("python3").args(["-m", "venv"]).arg(&venv),
        "python3 with its venv module is missing: apt-get install python3 python3-venv",
    );
    run(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(&requirements),
        "the Python packages cannot be installed: pip install -r tests/python/requirements.txt",
    );
    fs::write(&stamp, wanted).expect("target/ is writable");
    python
}

/// The directory of a package's source distribution (`NAME==VERSION`), unpacked below `target/`.
/// Fetched on first use.
pub fn python_source(package: &str) -> PathBuf {
    let python = python();
    let (name, version) = package.split_once("==").expect("the package is pinned");
    let home = target().join("tests-python/sources").join(name);
    fs::create_dir_all(&home).expect("target/ is writable");
    let lock = File::create(home.join("lock")).expect("target/ is writable");
    lock.lock().expect("the lock's file is ours");
    // As its file is named: a name's hyphens are underscores there.
    let stem = format!("{}-{version}", name.replace('-', "_"));
    let source = home.join(&stem);
    if source.exists() {
        return source;
    }
    // Only this package has to come as source: pip may need others, built, to read its metadata.
    let hint = format!("{package} cannot be fetched: pip download --no-binary {name} {package}");
    run(
        Command::new(&python)
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--no-binary", name, package])
            .arg("--dest")
            .arg(&home),
        &hint,
    );
    // Unpacked beside its place and moved there: what is there is whole.
    let unpacked = home.join("unpacked");
    let _ = fs::remove_dir_all(&unpacked);
    let archive = home.join(format!("{stem}.tar.gz"));
    run(Command::new(&python).args(["-m", "tarfile", "-e"]).arg(archive).arg(&unpacked), &hint);
    fs::rename(unpacked.join(&stem), &source).expect("target/ is writable");
    source
}

/// The build directory: two levels above this test's own binary, which is in `PROFILE/deps`.
pub fn target() -> PathBuf {
    let binary = std::env::current_exe().expect("this test runs");
    binary.ancestors().nth(3).expect("cargo puts it in target/PROFILE/deps").to_owned()
}

fn run(command: &mut Command, hint: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{hint} ({error})"));
    assert!(
        output.status.success(),
        "{hint}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
