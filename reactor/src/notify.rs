//! Telling the service manager how the program is doing: systemd's protocol, sd_notify(3).
//!
//! A message is one datagram of `NAME=VALUE` lines to the socket that `$NOTIFY_SOCKET` names. The
//! one rule: the program never fails because its manager does not listen; that is logged.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use log::warn;

use crate::{Error, LOG, Reactor, clock, system};

/// The manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How often it wants a sign of life, in microseconds, and from which process.
const WATCHDOG_INTERVAL: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// How long a message may wait for room in the manager's socket. Its queue is long; when it is full
/// all the same, a message that got lost (`READY=1`) is worse than a loop that stands still.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the service manager of this process, from any of its threads; clones are one.
///
/// A unit of `Type=notify` is started when it says [`ready`](Self::ready), so that what depends on it
/// finds it working. With `Type=notify-reload`, `systemctl reload` sends SIGHUP and waits for
/// [`reloading`](Self::reloading) and the `ready` behind it.
///
/// ```
/// use ropewalk_reactor::{Notifier, Reactor};
///
/// # fn main() -> ropewalk_reactor::Result {
/// let mut reactor = Reactor::new()?;
/// let manager = Notifier::from_environment()?; // before any thread is started
/// // ... listen ...
/// if let Some(manager) = manager {
///     manager.attach(&mut reactor);
///     manager.ready();
/// }
/// # reactor.stop();
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Notifier {
    line: Arc<Line>,
}

struct Line {
    socket: UnixDatagram,
    to: SocketAddr,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The one that `$NOTIFY_SOCKET` names: a path, or `@name` in Linux's abstract namespace. `None`
    /// when it is not set, because nobody manages this process.
    ///
    /// Call it first of all in `main`: while there is one thread, what concerns the manager is also
    /// taken out of the environment, so that processes which this one starts do not speak for it.
    ///
    /// # Errors
    /// [`Error::System`] when the variable names no such socket, or there is none to be had.
    pub fn from_environment() -> Result<Option<Self>, Error> {
        let Some(name) = std::env::var_os(SOCKET) else { return Ok(None) };
        let variable = |name| std::env::var(name).ok();
        let (interval, process) = (variable(WATCHDOG_INTERVAL), variable(WATCHDOG_PROCESS));
        let watchdog = watchdog(std::process::id(), interval.as_deref(), process.as_deref());
        system::forget_variables(&[SOCKET, WATCHDOG_INTERVAL, WATCHDOG_PROCESS]);
        let mut notifier = Self::to(&name)?;
        if let Some(line) = Arc::get_mut(&mut notifier.line) {
            line.watchdog = watchdog;
        }
        Ok(Some(notifier))
    }

    /// One to the socket of this name, as `$NOTIFY_SOCKET` has it; nothing expects signs of life.
    ///
    /// # Errors
    /// [`Error::System`] when the name is none of a socket, or there is none to be had.
    pub fn to(name: &OsStr) -> Result<Self, Error> {
        let to = address(name).map_err(|error| {
            let problem = format!("NOTIFY_SOCKET={}: {error}", name.display());
            Error::System(io::Error::new(error.kind(), problem))
        })?;
        let socket = UnixDatagram::unbound().map_err(Error::System)?;
        socket.set_write_timeout(Some(PATIENCE)).map_err(Error::System)?;
        Ok(Self { line: Arc::new(Line { socket, to, watchdog: None }) })
    }

    /// How long the manager waits for a sign of life before it kills this process (`WatchdogSec=`).
    pub fn watchdog(&self) -> Option<Duration> {
        self.line.watchdog
    }

    /// Lets a reactor tell the manager what it knows itself: `STOPPING=1` when its stop begins, and,
    /// if the manager wants signs of life, one at each half of the [`watchdog`](Self::watchdog)'s
    /// interval. They come from the loop: when that hangs, they stop.
    pub fn attach(&self, reactor: &mut Reactor) {
        let notifier = self.clone();
        reactor.before_shutdown(move |_| notifier.stopping());
        if let Some(interval) = self.watchdog() {
            let notifier = self.clone();
            reactor.call_repeatedly(interval / 2, move |_| notifier.send("WATCHDOG=1"));
            self.send("WATCHDOG=1");
        }
    }

    /// `READY=1`: everything works, after a start or a reload.
    #[doc(alias = "sd_notify")]
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// `RELOADING=1`, with the time that `Type=notify-reload` asks for: a reload has begun;
    /// [`ready`](Self::ready) ends it, however it went.
    pub fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::of_the_system().as_micros()));
    }

    /// `STOPPING=1`: a stop has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// `STATUS=`: a line for people, in `systemctl status`. Line breaks in it become spaces.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace(['\n', '\r'], " ")));
    }

    /// Sends lines of the protocol as they are.
    pub fn send(&self, lines: &str) {
        let Line { socket, to, .. } = &*self.line;
        match system::again(|| socket.send_to_addr(lines.as_bytes(), to)) {
            Ok(_) => {}
            Err(error) => warn!(target: LOG, "the service manager was not told {lines:?}: {error}"),
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { to, watchdog, .. } = &*self.line;
        f.debug_struct("Notifier").field("to", to).field("watchdog", watchdog).finish()
    }
}

/// Where `$NOTIFY_SOCKET` leads.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)
        }
        _ => {
            let problem = "it is neither a path (/run/…) nor an abstract name (@…)";
            Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
        }
    }
}

/// The interval that is meant for this process, if there is one.
fn watchdog(own: u32, interval: Option<&str>, process: Option<&str>) -> Option<Duration> {
    if process.is_some_and(|process| process.parse() != Ok(own)) {
        return None;
    }
    let microseconds = interval?.parse().ok().filter(|&interval| interval > 0)?;
    Some(Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::Simulation;

    /// A manager, and how to reach it.
    fn manager(name: &str) -> (UnixDatagram, Notifier) {
        let name = OsString::from(name);
        let socket = UnixDatagram::bind_addr(&address(&name).expect("a name")).expect("free");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        (socket, Notifier::to(&name).expect("a socket"))
    }

    fn heard(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 1000];
        let count = manager.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn each_word_is_a_datagram_to_a_path_or_an_abstract_name() {
        let name = format!("ropewalk-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let mut names = vec![path.display().to_string()];
        if cfg!(target_os = "linux") {
            names.push(format!("@{name}"));
        }
        for name in names {
            let (socket, notifier) = manager(&name);
            notifier.ready();
            notifier.status("two\nlines");
            let before = clock::of_the_system().as_micros();
            notifier.reloading();
            let after = clock::of_the_system().as_micros();
            notifier.stopping();
            assert_eq!(heard(&socket), "READY=1");
            assert_eq!(heard(&socket), "STATUS=two lines");
            let reloading = heard(&socket);
            let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            let time: u128 = time.and_then(|time| time.parse().ok()).expect("a time");
            assert!((before..=after).contains(&time), "{before} {time} {after}");
            assert_eq!(heard(&socket), "STOPPING=1");
        }
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn a_reactor_gives_signs_of_life_at_half_of_the_interval_and_tells_of_its_stop() {
        let path = std::env::temp_dir().join(format!("ropewalk-watchdog-{}", std::process::id()));
        let (socket, mut notifier) = manager(&path.display().to_string());
        let line = Arc::get_mut(&mut notifier.line).expect("there is one");
        line.watchdog = Some(Duration::from_secs(10));
        let mut simulation = Simulation::calm();
        notifier.attach(simulation.reactor());
        socket.set_nonblocking(true).expect("a socket");
        let count = |expected: &str| {
            let mut buffer = [0; 100];
            let mut counted = 0;
            while let Ok(length) = socket.recv(&mut buffer) {
                counted += usize::from(&buffer[..length] == expected.as_bytes());
            }
            counted
        };
        assert_eq!(count("WATCHDOG=1"), 1);
        for _ in 0..5 {
            simulation.run_for(Duration::from_secs(6));
            assert!(count("WATCHDOG=1") >= 1);
        }
        simulation.reactor().stop();
        simulation.run_for(Duration::from_secs(1));
        assert_eq!(count("STOPPING=1"), 1);
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn a_name_that_is_none_is_refused_and_a_manager_that_has_gone_is_no_harm() {
        for name in ["", "relative", "vsock:2:1"] {
            let error = Notifier::to(OsStr::new(name)).expect_err(name).to_string();
            assert!(error.contains("neither a path"), "{error}");
        }
        let gone = std::env::temp_dir().join("ropewalk-no-such-manager");
        Notifier::to(gone.as_os_str()).expect("a good name").ready();
    }

    #[test]
    fn signs_of_life_are_for_the_process_that_is_named() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(7, Some("1000000"), None), second);
        assert_eq!(watchdog(7, Some("1000000"), Some("7")), second);
        for (interval, process) in
            [(Some("1000000"), Some("8")), (None, Some("7")), (Some("0"), None), (Some("x"), None)]
        {
            assert_eq!(watchdog(7, interval, process), None, "{interval:?} {process:?}");
        }
    }
}
