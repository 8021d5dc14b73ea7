//! What is to be run, and how: a program, its surroundings, and where its descriptors lead.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Signal;
use crate::options::{HIGH_WATER_MARK, LOW_WATER_MARK, OUTPUT_LIMIT, RECEIVE_LIMIT};
use crate::setters::setters;

/// How long a program has between the request to end and SIGKILL. systemd gives 90 s and Docker 10;
/// it has to be over within the reactor's own `shutdown_timeout`.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A program to run as a child: see [`Reactor::spawn_process`](crate::Reactor::spawn_process).
///
/// The child gets descriptors 0, 1 and 2 as pipes to the protocol unless told otherwise, and no
/// other descriptor but those that are wired here, also of those that parts of this program have
/// opened without the close-on-exec flag. Its signal mask is empty, and SIGPIPE ends it as usual.
#[derive(Debug)]
pub struct Program {
    pub(crate) program: OsString,
    pub(crate) name: Option<OsString>,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) clear_environment: bool,
    /// In the order in which they were said; `None` removes one.
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) wirings: BTreeMap<RawFd, Wiring>,
    /// Rows and columns.
    pub(crate) terminal: Option<(u16, u16)>,
    pub(crate) process_group: bool,
    pub(crate) session: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stop_signal: Signal,
    pub(crate) stop_grace: Duration,
    pub(crate) high_water_mark: usize,
    pub(crate) low_water_mark: usize,
    pub(crate) output_limit: usize,
    pub(crate) receive_limit: usize,
}

/// Where a descriptor of the child leads.
#[derive(Debug)]
#[non_exhaustive]
pub enum Wiring {
    /// A pipe that is written to here and read by the child, as its standard input is.
    ToChild,
    /// A pipe that the child writes to and that is read here, as its standard output is.
    FromChild,
    /// Nowhere: `/dev/null`.
    Null,
    /// Where the descriptor of the same number leads in this process.
    Inherit,
    /// Where this one leads; it is closed here once the child runs.
    Descriptor(OwnedFd),
    /// Where another descriptor of the child leads, as `2>&1` does it in a shell.
    SameAs(RawFd),
}

impl Program {
    /// A program by its path, or by a name that is looked for in the child's `PATH`. It runs
    /// without a shell, so no argument needs quoting.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let pipes = [(0, Wiring::ToChild), (1, Wiring::FromChild), (2, Wiring::FromChild)];
        Self {
            program: program.as_ref().to_owned(),
            name: None,
            arguments: Vec::new(),
            clear_environment: false,
            environment: Vec::new(),
            directory: None,
            user: None,
            group: None,
            wirings: pipes.into(),
            terminal: None,
            process_group: false,
            session: false,
            timeout: None,
            stop_signal: Signal::TERM,
            stop_grace: STOP_GRACE,
            high_water_mark: HIGH_WATER_MARK,
            low_water_mark: LOW_WATER_MARK,
            output_limit: OUTPUT_LIMIT,
            receive_limit: RECEIVE_LIMIT,
        }
    }

    /// A line for `/bin/sh -c`. Never put into it what somebody else has said.
    #[must_use]
    pub fn shell(line: impl AsRef<OsStr>) -> Self {
        Self::new("/bin/sh").arg("-c").arg(line)
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// What the program is told that it is called, its `argv[0]`: `-sh` makes a login shell, say.
    #[must_use]
    pub fn name(mut self, name: impl AsRef<OsStr>) -> Self {
        self.name = Some(name.as_ref().to_owned());
        self
    }

    /// Sets a variable of its environment, which else is this process's.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes a variable from its environment.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), None));
        self
    }

    /// Begins with an empty environment; what [`env`](Self::env) sets later is there.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.clear_environment = true;
        self.environment.clear();
        self
    }

    /// The directory to run in (this process's own). A program with a relative path is looked for
    /// from there.
    #[doc(alias = "path")]
    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// The user to run as. Root's supplementary groups are dropped then.
    #[doc(alias = "uid")]
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// The group to run as.
    #[doc(alias = "gid")]
    #[must_use]
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Where a descriptor of the child leads, by the child's number.
    #[doc(alias = "childFDs")]
    #[must_use]
    pub fn descriptor(mut self, descriptor: RawFd, wiring: Wiring) -> Self {
        self.wirings.insert(descriptor, wiring);
        self
    }

    /// Where its standard input comes from (a pipe from here).
    #[must_use]
    pub fn stdin(self, wiring: Wiring) -> Self {
        self.descriptor(0, wiring)
    }

    /// Where its standard output goes (a pipe to here).
    #[must_use]
    pub fn stdout(self, wiring: Wiring) -> Self {
        self.descriptor(1, wiring)
    }

    /// Where its standard error goes (a pipe to here).
    #[must_use]
    pub fn stderr(self, wiring: Wiring) -> Self {
        self.descriptor(2, wiring)
    }

    /// Runs it on a terminal of its own, of so many rows and columns, as an editor or a shell
    /// wants it: descriptors 0, 1 and 2 are that terminal, which is also the controlling one of a
    /// new session. What is written to it comes from descriptor 0 as if it were typed (and is
    /// echoed, as long as the child does not say otherwise); all that the child says comes as its
    /// standard output.
    #[doc(alias = "usePTY")]
    #[must_use]
    pub fn terminal(mut self, rows: u16, columns: u16) -> Self {
        self.terminal = Some((rows, columns));
        self
    }

    /// Puts it into a process group of its own: what ends it also ends what it has started, and
    /// Ctrl-C at this process's terminal does not.
    #[must_use]
    pub fn process_group(mut self) -> Self {
        self.process_group = true;
        self
    }

    /// Puts it into a session of its own, without a terminal; that is a process group, too.
    #[must_use]
    pub fn session(mut self) -> Self {
        self.session = true;
        self
    }

    /// Terminates it when it has not ended after so long; see [`stop_signal`](Self::stop_signal).
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    setters! {
        /// The signal that asks it to end (SIGTERM), when it has to: at the reactor's stop, after
        /// an error of its protocol, when a limit is passed. Its standard input is closed as well.
        stop_signal: Signal;
        /// How long it may take to end after that (5 s); then it is killed. At the reactor's stop
        /// [`shutdown_timeout`](crate::ReactorOptions::shutdown_timeout) also bounds it.
        stop_grace: Duration;
        /// Bytes that wait for the child above which `pause_producing` is called (64 KiB).
        high_water_mark: usize;
        /// Bytes that wait for the child at which `resume_producing` is called (16 KiB).
        low_water_mark: usize;
        /// Bytes that wait for the child above which it is terminated (64 MiB), with
        /// [`Reason::OutputLimit`](crate::Reason::OutputLimit).
        output_limit: usize;
        /// Bytes of one descriptor that may be left unconsumed (1 MiB); above it the child is
        /// terminated with [`Reason::ReceiveLimit`](crate::Reason::ReceiveLimit).
        receive_limit: usize;
    }

    /// Whether signals to end it go to a group of its own.
    pub(crate) fn has_own_group(&self) -> bool {
        self.process_group || self.session || self.terminal.is_some()
    }

    /// How the log calls it.
    pub(crate) fn shown(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }
}
