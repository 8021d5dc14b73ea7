//! Starting a child: its pipes or its terminal, then fork(2) and execve(2), which std makes.
//!
//! The one rule: what is ours of it is registered before there is a child, so that nothing is left
//! to fail behind the fork but the descriptor that tells of its end.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use log::debug;
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::child::{Child, ChildId, Handle, Pipe, PipeWay};
use super::{ProcessProtocol, Program, Wiring};
use crate::core::{Alarm, Core};
use crate::identity::Source;
use crate::pipes::Pipes;
use crate::socket::Stream;
use crate::system::{self, BeforeExec};
use crate::{Error, LOG};

/// A pipe's name in the child, its way, and our end of it.
pub(crate) type OurEnd = (RawFd, PipeWay, Stream);

impl Core {
    /// Starts a child; its protocol is told in the step for births.
    pub(crate) fn spawn_process(
        &mut self,
        program: Program,
        protocol: Box<dyn ProcessProtocol>,
    ) -> Result<ChildId, Error> {
        let started = match self.shutdown.is_stopping() {
            true => Err(Error::Stopped),
            false => self.start(program),
        };
        match started {
            Ok(id) => {
                self.children.births.push((id, protocol));
                Ok(id)
            }
            Err(error) => {
                self.garbage.push(Box::new(protocol));
                Err(error)
            }
        }
    }

    fn start(&mut self, program: Program) -> Result<ChildId, Error> {
        let shown = program.shown();
        let slot = self.children.slots.vacant_key() as u32;
        let id = ChildId { slot, generation: self.generations.next() };
        let mut child = Child {
            generation: id.generation,
            // Replaced below, before anyone sees it.
            handle: Handle::Kernel { pid: 0, pidfd: None },
            name: shown.clone(),
            pid: 0,
            pipes: Vec::new(),
            high_water_mark: program.high_water_mark,
            low_water_mark: program.low_water_mark,
            output_limit: program.output_limit,
            receive_limit: program.receive_limit,
            stop_signal: program.stop_signal,
            stop_grace: program.stop_grace,
            has_terminal: program.terminal.is_some(),
            has_own_group: program.has_own_group(),
            is_born: false,
            status: None,
            reason: None,
            is_deaf: false,
            timers: Vec::new(),
            is_exit_told: false,
            is_terminating: false,
        };
        let timeout = program.timeout;
        if let Err(source) = self.launch(id, &mut child, program) {
            for mut pipe in child.pipes {
                self.children.places.remove(pipe.place as usize);
                if let Some(stream) = &mut pipe.stream {
                    self.network.forget(stream);
                }
            }
            return Err(Error::Spawn { program: shown, source });
        }
        if let Some(limit) = timeout {
            let alarm = Alarm::ChildTimeout(id, limit);
            child.timers.push(self.timers.insert(self.clock.after(limit), alarm));
        }
        debug!(target: LOG, "{}: started", child.shown());
        self.children.slots.insert(child);
        Ok(id)
    }

    fn launch(&mut self, id: ChildId, child: &mut Child, mut program: Program) -> io::Result<()> {
        if self.network.simulated().is_some() {
            let ways = ways(&program)?;
            let (simulated, ends) = self.network.spawn_simulated(program, &ways, id.slot)?;
            child.pid = simulated.pid();
            child.handle = Handle::Simulated(simulated);
            return self.adopt_pipes(id, child, ends);
        }
        check(&program)?;
        let wirings = std::mem::take(&mut program.wirings);
        let (theirs, ours) = match program.terminal {
            Some((rows, columns)) => open_terminal(wirings, rows, columns)?,
            None => open_pipes(wirings, None)?,
        };
        self.adopt_pipes(id, child, ours)?;
        let pid = run(program, theirs, self.children.portably)?;
        child.pid = pid;
        child.handle = Handle::Kernel { pid: pid as i32, pidfd: None };
        match self.watch_child(id, pid as i32) {
            Ok(pidfd) => child.handle = Handle::Kernel { pid: pid as i32, pidfd },
            Err(failure) => {
                // Nothing would tell of its end.
                super::ending::kill_and_wait(pid as i32);
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Registers our ends, each under a name of its own.
    fn adopt_pipes(&mut self, id: ChildId, child: &mut Child, ends: Vec<OurEnd>) -> io::Result<()> {
        for (descriptor, way, mut stream) in ends {
            let place = self.children.places.insert((id, descriptor)) as u32;
            let registered = self.network.register(&mut stream, Source::Pipe(place));
            child.pipes.push(Pipe::new(descriptor, way, place, stream));
            registered?;
        }
        Ok(())
    }
}

/// Looks for mistakes that the system would be silent about.
fn check(program: &Program) -> io::Result<()> {
    let wrong = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    for (&number, wiring) in &program.wirings {
        if number < 0 {
            return wrong(format!("{number} is no descriptor"));
        }
        if let Wiring::SameAs(other) = wiring
            && (*other == number
                || !program.wirings.contains_key(other)
                || matches!(program.wirings.get(other), Some(Wiring::SameAs(_))))
        {
            return wrong(format!(
                "descriptor {number} is to lead where {other} does, which is not wired"
            ));
        }
    }
    Ok(())
}

/// The pipes that a program asks for.
fn ways(program: &Program) -> io::Result<Vec<(RawFd, PipeWay)>> {
    check(program)?;
    let mut ways = Vec::new();
    if program.terminal.is_some() {
        ways.push((1, PipeWay::Both));
    }
    for (&number, wiring) in &program.wirings {
        match wiring {
            _ if program.terminal.is_some() && number <= 2 => {}
            Wiring::ToChild => ways.push((number, PipeWay::ToChild)),
            Wiring::FromChild => ways.push((number, PipeWay::FromChild)),
            _ => {}
        }
    }
    Ok(ways)
}

/// What the child has: a descriptor of ours that leads there, or the one of the same number.
enum Theirs {
    Own(OwnedFd),
    Inherited,
}

type Wirings = BTreeMap<RawFd, Wiring>;
type BothEnds = (BTreeMap<RawFd, Theirs>, Vec<OurEnd>);

fn open_pipes(wirings: Wirings, terminal: Option<OwnedFd>) -> io::Result<BothEnds> {
    let mut theirs = BTreeMap::new();
    if let Some(terminal) = terminal {
        for number in 0..3 {
            theirs.insert(number, Theirs::Own(terminal.try_clone()?));
        }
    }
    let mut ours = Vec::new();
    let mut same = Vec::new();
    for (number, wiring) in wirings {
        if theirs.contains_key(&number) {
            continue; // the terminal
        }
        let end = match wiring {
            Wiring::ToChild => {
                let (reader, writer) = io::pipe()?;
                ours.push((number, PipeWay::ToChild, our_end(None, Some(writer.into()))?));
                Theirs::Own(reader.into())
            }
            Wiring::FromChild => {
                let (reader, writer) = io::pipe()?;
                ours.push((number, PipeWay::FromChild, our_end(Some(reader.into()), None)?));
                Theirs::Own(writer.into())
            }
            Wiring::Null => {
                let flags = OFlags::RDWR | OFlags::CLOEXEC;
                Theirs::Own(rustix::fs::open("/dev/null", flags, Mode::empty())?)
            }
            Wiring::Inherit => Theirs::Inherited,
            Wiring::Descriptor(given) => Theirs::Own(given),
            Wiring::SameAs(other) => {
                same.push((number, other)); // when the others are there
                continue;
            }
        };
        theirs.insert(number, end);
    }
    for (number, other) in same {
        if let Some(end) = theirs.get(&other) {
            let copy = match end {
                Theirs::Own(end) => end.try_clone()?,
                Theirs::Inherited => system::duplicate(other, 0)?,
            };
            theirs.insert(number, Theirs::Own(copy));
        }
    }
    Ok((theirs, ours))
}

fn our_end(input: Option<OwnedFd>, output: Option<OwnedFd>) -> io::Result<Stream> {
    for end in input.iter().chain(&output) {
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok(Stream::Pipes(Box::new(Pipes::new(input, output))))
}

fn open_terminal(wirings: Wirings, rows: u16, columns: u16) -> io::Result<BothEnds> {
    #[cfg(target_os = "linux")]
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let ours = rustix::pty::openpt(flags)?;
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let name = rustix::pty::ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&ours, size)?;
    let (children, mut ends) = open_pipes(wirings, Some(theirs))?;
    ends.push((1, PipeWay::Both, our_end(Some(ours.try_clone()?), Some(ours))?));
    Ok((children, ends))
}

/// Runs it, and answers its number.
fn run(program: Program, mut theirs: BTreeMap<RawFd, Theirs>, portably: bool) -> io::Result<u32> {
    let mut command = Command::new(&program.program);
    command.args(&program.arguments);
    if let Some(name) = &program.name {
        command.arg0(name);
    }
    if program.clear_environment {
        command.env_clear();
    }
    for (name, value) in &program.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(directory) = &program.directory {
        command.current_dir(directory);
    }
    if let Some(user) = program.user {
        command.uid(user);
    }
    if let Some(group) = program.group {
        command.gid(group);
    }
    let mut standard = |number: RawFd| match theirs.remove(&number) {
        Some(Theirs::Own(end)) => Stdio::from(end),
        Some(Theirs::Inherited) => Stdio::inherit(),
        None => Stdio::null(),
    };
    command.stdin(standard(0)).stdout(standard(1)).stderr(standard(2));
    let session = program.session || program.terminal.is_some();
    if program.process_group && !session {
        command.process_group(0);
    }
    // Copies above all numbers that the child gets: whichever is put in its place first, none of
    // those that are still to be put is overwritten.
    // (There is no number above the highest of all; the system refuses that one as well.)
    let above = theirs.keys().next_back().map_or(3, |highest| highest.saturating_add(1));
    let mut copies = Vec::new();
    for (&number, end) in &theirs {
        let from = match end {
            Theirs::Own(end) => end.as_raw_fd(),
            Theirs::Inherited => number,
        };
        copies.push((system::duplicate(from, above)?, number));
    }
    // std tells of a failed execve(2) through a pipe; were that one of these numbers, it would be
    // overwritten. So they are taken while it is made (by us, or by others as it is).
    let mut kept = Vec::new();
    for (copy, number) in &copies {
        let taken = system::duplicate(copy.as_raw_fd(), *number)?;
        if taken.as_raw_fd() == *number {
            kept.push(taken);
        }
    }
    let moves = copies.iter().map(|(copy, number)| (copy.as_raw_fd(), *number)).collect();
    let session = session.then_some(program.terminal.is_some());
    let highest = (portably || !system::can_close_ranges()).then(highest_descriptor);
    system::before_exec(&mut command, BeforeExec { session, moves, highest });
    // Neither reaped nor killed when it is dropped: that is done here.
    let child = command.spawn().map_err(|error| explain(error, &program))?;
    Ok(child.id())
}

/// An error that names the culprit, as far as it can be told.
fn explain(error: io::Error, program: &Program) -> io::Error {
    match &program.directory {
        Some(directory) if !directory.is_dir() => {
            let problem = format!("{}: {error}", directory.display());
            io::Error::new(error.kind(), problem)
        }
        _ => error,
    }
}

/// The highest descriptor of this process; asked only where the kernel cannot be told to look.
fn highest_descriptor() -> RawFd {
    let listed = std::fs::read_dir("/dev/fd").map(|entries| {
        let numbers =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.max().unwrap_or(1024)
    });
    listed.unwrap_or(1024)
}
