//! A server under measurement: this very program, started again with `serve NAME`, pinned to
//! a core of its own. It dies with us, and with the value that stands for it.

use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sys;

/// The environment variable that tells a server where its data are, if they are to outlive it.
pub(crate) const DATA: &str = "ROPEWALK_BENCH_DATA";

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// From the start of the process until it accepted a connection.
    pub(crate) started_in: Duration,
}

/// Why a server is not there.
#[derive(Debug)]
pub(crate) enum Missing {
    /// It cannot run on this machine: a peer that is not installed.
    Absent(String),
    Failed(io::Error),
}

impl From<io::Error> for Missing {
    fn from(error: io::Error) -> Self {
        Missing::Failed(error)
    }
}

impl From<io::ErrorKind> for Missing {
    fn from(kind: io::ErrorKind) -> Self {
        Missing::Failed(kind.into())
    }
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(name: &str, core: Option<usize>) -> Result<Self, Missing> {
        Server::start_on(name, core, None)
    }

    /// The same, on data in a directory that stays when the server goes.
    pub(crate) fn start_on(
        name: &str,
        core: Option<usize>,
        data: Option<&Path>,
    ) -> Result<Self, Missing> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", name]).stdin(Stdio::null()).stdout(Stdio::piped());
        if let Some(directory) = data {
            command.env(DATA, directory);
        }
        sys::pin_child(&mut command, core);
        let began = Instant::now();
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut server = Server { child, port: 0, started_in: Duration::ZERO };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        match line.trim().split_once(' ') {
            Some(("listening", port)) => {
                server.port = port.parse().map_err(io::Error::other)?;
                server.wait_until_it_accepts()?;
                server.started_in = began.elapsed();
                Ok(server)
            }
            Some(("bound", port)) => {
                server.port = port.parse().map_err(io::Error::other)?;
                server.started_in = began.elapsed();
                Ok(server)
            }
            Some(("absent", why)) => Err(Missing::Absent(why.to_owned())),
            _ => Err(Missing::Failed(io::Error::other(format!("{name} did not start: {line:?}")))),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes it stand still, so that it takes no time from others.
    pub(crate) fn pause(&self) -> io::Result<()> {
        sys::signal(self.pid(), libc::SIGSTOP)
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        sys::signal(self.pid(), libc::SIGCONT)
    }

    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        sys::cpu_time_of(self.pid())
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        resident_of(&self.pid().to_string())
    }

    /// What it had at most of that, in bytes.
    pub(crate) fn peak(&self) -> io::Result<u64> {
        kilobytes_of(&self.pid().to_string(), "VmHWM:")
    }

    /// What it has read so far, from wherever, in bytes.
    pub(crate) fn read(&self) -> io::Result<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid()))?;
        let count = io.lines().find_map(|line| line.strip_prefix("rchar:")?.trim().parse().ok());
        count.ok_or_else(|| io::Error::other("no rchar"))
    }

    /// Some announce a port before they listen on it (nginx takes its place by exec).
    fn wait_until_it_accepts(&mut self) -> io::Result<()> {
        let mut last = Ok(());
        for _ in 0..6000 {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended: {status}")));
            }
            match std::net::TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(_) => return Ok(()),
                Err(e) => last = Err(e),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        last
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have died already, or been reaped by the tracer: nothing is lost then.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(scratch_of(self.pid()));
    }
}

/// Where a server may put files; they are gone with it.
pub(crate) fn scratch_of(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("ropewalk-bench-{pid}"))
}

/// Resident memory of `pid` (or `self`), in bytes.
pub(crate) fn resident_of(pid: &str) -> io::Result<u64> {
    kilobytes_of(pid, "VmRSS:")
}

fn kilobytes_of(pid: &str, what: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.map(|k| k * 1024).ok_or_else(|| io::Error::other(format!("no {what}")))
}

/// A directory for the data of one server after the other; it goes with this.
pub(crate) struct Data(PathBuf);

impl Data {
    pub(crate) fn new(name: &str) -> io::Result<Data> {
        let name = format!("ropewalk-bench-{name}-{}", std::process::id());
        let data = Data(std::env::temp_dir().join(name));
        std::fs::create_dir_all(data.path())?;
        Ok(data)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What its files take of the disk.
    pub(crate) fn octets(&self) -> io::Result<u64> {
        let mut octets = 0;
        each_file(&self.0, &mut |path| {
            octets += std::fs::metadata(path)?.blocks() * 512;
            Ok(())
        })?;
        Ok(octets)
    }

    /// Has the system's cache forget its files.
    pub(crate) fn forget(&self) -> io::Result<()> {
        each_file(&self.0, &mut |path| sys::forget_file(&std::fs::File::open(path)?))
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // the server may have died in the middle of it
    }
}

/// Calls `call` with each file; what is deleted meanwhile is passed over.
fn each_file(directory: &Path, call: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match std::fs::read_dir(directory) {
        Err(error) if gone(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let done = match entry.file_type() {
            Ok(kind) if kind.is_dir() => each_file(&entry.path(), call),
            Ok(kind) if kind.is_file() => call(&entry.path()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        done.or_else(|error| if gone(&error) { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}
