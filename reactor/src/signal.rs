//! Signals by name and number.

use std::fmt;
use std::str::FromStr;

/// A signal of Unix, as it is [heard](crate::Reactor::on_signal), or
/// [sent to a child](crate::ProcessTransport::signal).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

/// The names that every Unix has.
const NAMES: &[(&str, i32)] = &[
    ("SIGHUP", libc::SIGHUP),
    ("SIGINT", libc::SIGINT),
    ("SIGQUIT", libc::SIGQUIT),
    ("SIGILL", libc::SIGILL),
    ("SIGTRAP", libc::SIGTRAP),
    ("SIGABRT", libc::SIGABRT),
    ("SIGBUS", libc::SIGBUS),
    ("SIGFPE", libc::SIGFPE),
    ("SIGKILL", libc::SIGKILL),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGSEGV", libc::SIGSEGV),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGPIPE", libc::SIGPIPE),
    ("SIGALRM", libc::SIGALRM),
    ("SIGTERM", libc::SIGTERM),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGCONT", libc::SIGCONT),
    ("SIGSTOP", libc::SIGSTOP),
    ("SIGTSTP", libc::SIGTSTP),
    ("SIGTTIN", libc::SIGTTIN),
    ("SIGTTOU", libc::SIGTTOU),
    ("SIGURG", libc::SIGURG),
    ("SIGXCPU", libc::SIGXCPU),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGWINCH", libc::SIGWINCH),
    ("SIGIO", libc::SIGIO),
    ("SIGSYS", libc::SIGSYS),
];

/// The highest number of a signal that any Unix has (MIPS Linux: 127).
const HIGHEST: i32 = 127;

impl Signal {
    /// The terminal has gone; many daemons read their configuration again.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// As Ctrl-C sends it.
    pub const INT: Self = Self(libc::SIGINT);
    /// As Ctrl-\ sends it; leaves a core.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// Ends a process at once, whatever it thinks of that.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// For programs to use as they like.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// For programs to use as they like.
    pub const USR2: Self = Self(libc::SIGUSR2);
    /// It wrote to a pipe that nobody reads.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// Please end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// Stops a process until [`CONT`](Self::CONT).
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// Lets a stopped process go on.
    pub const CONT: Self = Self(libc::SIGCONT);
    /// The terminal has another size.
    pub const WINCH: Self = Self(libc::SIGWINCH);

    /// The signal of this number, if there can be one; whether the system has it shows when it is
    /// sent.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=HIGHEST).contains(&number).then_some(Self(number))
    }

    /// Its number on this system.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Its name (`SIGTERM`), if it has one; real-time signals have none.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(_, number)| *number == self.0).map(|(name, _)| *name)
    }
}

/// What was given as a signal is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSignal(String);

impl fmt::Display for BadSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no signal; write it like SIGTERM, TERM or 15", self.0)
    }
}

impl std::error::Error for BadSignal {}

impl FromStr for Signal {
    type Err = BadSignal;

    /// Reads a name with or without `SIG`, in capitals or not, or a number.
    fn from_str(given: &str) -> Result<Self, BadSignal> {
        let bad = || BadSignal(given.to_owned());
        if let Ok(number) = given.parse() {
            return Self::from_number(number).ok_or_else(bad);
        }
        let found = NAMES.iter().find(|(name, _)| {
            given.eq_ignore_ascii_case(name) || given.eq_ignore_ascii_case(&name["SIG".len()..])
        });
        found.map(|(_, number)| Self(*number)).ok_or_else(bad)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number_and_shown_by_name() {
        for given in ["SIGTERM", "TERM", "sigterm", "term", "15"] {
            assert_eq!(given.parse(), Ok(Signal::TERM), "{given}");
        }
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
        assert_eq!(
            Signal::from_number(40).map(|signal| signal.to_string()).as_deref(),
            Some("signal 40")
        );
        for given in ["", "SIG", "SIGNOTHING", "0", "-9", "128", "15 "] {
            let error = given.parse::<Signal>().expect_err("it is none").to_string();
            assert!(error.contains(&format!("{given:?}")), "{error}");
        }
    }
}
