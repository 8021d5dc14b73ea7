//! Children on the simulated network: a test plays the program, by a script or by hand, and its
//! pipes are streams that the seed delays, cuts and fills up like all others.
//!
//! The one rule: a script runs between turns, never inside a callback.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::{Rc, Weak};

use bytes::Bytes;

use super::Simulation;
use super::network::{Net, Port, Stream};
use super::peer::Peer;
use crate::Signal;
use crate::identity::Source;
use crate::process::{OurEnd, PipeWay, ProcessStatus, Program, Wiring};

/// What happens to a simulated child.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildEvent {
    /// It runs.
    Started,
    /// This was written to one of its descriptors: 0 is its standard input.
    Input(RawFd, Bytes),
    /// One of its descriptors has come to its end.
    InputClosed(RawFd),
    /// A signal came. Unless the script [survives](SimulatedChild::survive) it, or exits, it does
    /// what it does to programs that know nothing of it: most signals kill.
    Signalled(Signal),
}

type Script = Box<dyn FnMut(&SimulatedChild, ChildEvent)>;

/// What the reactors of a simulation can run, and what runs.
#[derive(Default)]
pub(crate) struct Programs {
    known: BTreeMap<OsString, Box<dyn FnMut() -> Script>>,
    children: Vec<SimulatedChild>,
    started: u32,
}

/// A child in the hands of a test: see [`Simulation::program`].
#[derive(Clone)]
pub struct SimulatedChild(Rc<RefCell<State>>);

struct State {
    pid: u32,
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    /// `None` before it is started, and while it runs.
    script: Option<Script>,
    started: bool,
    ends: BTreeMap<RawFd, End>,
    /// Its descriptors, and in which of the ends each leads: several in one, where they are wired so.
    names: BTreeMap<RawFd, RawFd>,
    /// Signals that the script has not seen.
    signals: VecDeque<Signal>,
    /// The script said so of the signal that it has just been told.
    survives: bool,
    /// It is to end when all that it said has gone.
    exiting: Option<ProcessStatus>,
    status: Option<ProcessStatus>,
    net: Weak<RefCell<Net>>,
    port: usize,
    source: Source,
}

struct End {
    peer: Peer,
    way: PipeWay,
    end_told: bool,
}

/// Starts a child, with the reactor's ends of its pipes.
pub(crate) fn spawn(
    port: &mut Port,
    program: Program,
    ways: &[(RawFd, PipeWay)],
    source: Source,
) -> io::Result<(SimulatedChild, Vec<OurEnd>)> {
    let programs = port.programs().clone();
    let mut programs = programs.borrow_mut();
    if !programs.known.contains_key(&program.program) {
        let problem = "no such program in this simulation (see Simulation::program)";
        return Err(io::Error::new(io::ErrorKind::NotFound, problem));
    }
    let mut ours = Vec::new();
    let mut ends = BTreeMap::new();
    let mut names = BTreeMap::new();
    for &(descriptor, way) in ways {
        let (our_end, their_end) = Stream::pair(port)?;
        ours.push((descriptor, way, crate::socket::Stream::Simulated(Box::new(our_end))));
        let end = End { peer: Peer::new(their_end), way, end_told: false };
        // A terminal is one: what is read there comes as from descriptor 0.
        ends.insert(descriptor, end);
        match way {
            PipeWay::Both => names.extend([(0, descriptor), (1, descriptor), (2, descriptor)]),
            _ => drop(names.insert(descriptor, descriptor)),
        }
    }
    for (&number, wiring) in &program.wirings {
        if let Wiring::SameAs(other) = wiring
            && !names.contains_key(&number)
            && let Some(&end) = names.get(other)
        {
            names.insert(number, end);
        }
    }
    programs.started += 1;
    let child = SimulatedChild(Rc::new(RefCell::new(State {
        pid: 1000 + programs.started,
        program: program.program,
        arguments: program.arguments,
        environment: program.environment,
        script: None,
        started: false,
        ends,
        names,
        signals: VecDeque::new(),
        survives: false,
        exiting: None,
        status: None,
        net: Rc::downgrade(port.net()),
        port: port.number(),
        source,
    })));
    programs.children.push(child.clone());
    Ok((child, ours))
}

impl Simulation {
    /// From now on the reactors of this simulation can run a program of this name. `start` makes
    /// the script of each child, which is called with what happens to it:
    ///
    /// ```
    /// use ropewalk_reactor::Simulation;
    /// use ropewalk_reactor::simulation::ChildEvent;
    ///
    /// let mut simulation = Simulation::new(7);
    /// simulation.program("cat", || {
    ///     |child, event| match event {
    ///         ChildEvent::Input(_, data) => child.write(1, &data),
    ///         ChildEvent::InputClosed(_) => child.exit(0),
    ///         _ => {}
    ///     }
    /// });
    /// ```
    pub fn program<S>(&mut self, name: &str, mut start: impl FnMut() -> S + 'static)
    where
        S: FnMut(&SimulatedChild, ChildEvent) + 'static,
    {
        let start = Box::new(move || -> Script { Box::new(start()) });
        self.programs.borrow_mut().known.insert(name.into(), start);
    }

    /// The children that run, or whose output is yet to be received, oldest first.
    pub fn children(&self) -> Vec<SimulatedChild> {
        self.programs.borrow().children.clone()
    }
}

/// Lets the children move. Nothing of the registry is borrowed while a script runs: it may ask the
/// simulation's reactors for nothing, but it can hold whatever the test holds.
pub(crate) fn pump(programs: &Rc<RefCell<Programs>>) {
    let children = programs.borrow().children.clone();
    for child in children {
        if child.status().is_none() && !child.0.borrow().started {
            let name = child.0.borrow().program.clone();
            let start = programs.borrow_mut().known.remove(&name);
            let Some(mut start) = start else { continue };
            let script = start();
            programs.borrow_mut().known.entry(name).or_insert(start);
            let mut state = child.0.borrow_mut();
            state.started = true;
            state.script = Some(script);
            drop(state);
            child.tell(ChildEvent::Started);
        }
        child.pump();
    }
    programs.borrow_mut().children.retain(|child| !child.is_over());
}

/// The machine of this port has lost its power, and nobody is left to be told of it.
pub(super) fn crash(programs: &Rc<RefCell<Programs>>, port: usize) {
    let here = |child: &mut SimulatedChild| child.0.borrow().port == port;
    let gone: Vec<_> = programs.borrow_mut().children.extract_if(.., here).collect();
    for child in gone {
        let mut state = child.0.borrow_mut();
        let killed = ProcessStatus::Killed { signal: Signal::KILL, core_dumped: false };
        state.status.get_or_insert(killed);
        let (ends, script) = (std::mem::take(&mut state.ends), state.script.take());
        drop(state);
        drop(ends);
        drop(script); // which may own anything of the test's
    }
}

impl SimulatedChild {
    // The test's side.

    /// What it was called with, the program's name first.
    pub fn arguments(&self) -> Vec<OsString> {
        let state = self.0.borrow();
        [&state.program].into_iter().chain(&state.arguments).cloned().collect()
    }

    /// What a variable of its environment was set to when it was spawned. (There is no other
    /// environment in a simulation.)
    pub fn variable(&self, name: impl AsRef<OsStr>) -> Option<OsString> {
        let state = self.0.borrow();
        let mut set = state.environment.iter().rev();
        set.find(|(set, _)| set == name.as_ref())?.1.clone()
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.0.borrow().pid
    }

    /// Says something: 1 is its standard output, 2 its standard error. Nothing once it has ended.
    pub fn write(&self, descriptor: RawFd, data: &[u8]) {
        let mut state = self.0.borrow_mut();
        if state.status.is_none()
            && state.exiting.is_none()
            && let Some(end) = state.end_of(descriptor)
        {
            end.peer.write(data);
        }
    }

    /// Closes one of its descriptors. A pipe closes with the last one that leads there, a terminal with
    /// any.
    pub fn close(&self, descriptor: RawFd) {
        let mut state = self.0.borrow_mut();
        let Some(closed) = state.names.remove(&descriptor) else { return };
        let is_held = state.names.values().any(|&end| end == closed);
        match state.ends.get_mut(&closed) {
            Some(end) if end.way == PipeWay::Both => end.peer.shutdown(),
            _ if is_held => {}
            Some(end) if end.way == PipeWay::ToChild => end.peer.close(),
            Some(end) => end.peer.shutdown(),
            None => {}
        }
    }

    /// Takes nothing more of what is written to its standard input, which fills up.
    pub fn stop_reading(&self) {
        self.input(Peer::stop_reading);
    }

    /// Takes everything again.
    pub fn resume_reading(&self) {
        self.input(Peer::resume_reading);
    }

    fn input(&self, call: impl FnOnce(&mut Peer)) {
        let mut state = self.0.borrow_mut();
        if let Some(end) = state.end_of(0) {
            call(&mut end.peer);
        }
    }

    /// Ends with a code, once all that it said has gone.
    pub fn exit(&self, code: i32) {
        self.0.borrow_mut().exiting.get_or_insert(ProcessStatus::Exited(code));
    }

    /// Is ended by a signal, at once: what it said and what is still on its way stays so.
    pub fn killed_by(&self, signal: Signal) {
        self.end(ProcessStatus::Killed { signal, core_dumped: false });
    }

    /// Goes on in spite of the signal that it was just told of; SIGKILL cannot be survived.
    pub fn survive(&self) {
        self.0.borrow_mut().survives = true;
    }

    /// How it ended, once it has.
    pub fn status(&self) -> Option<ProcessStatus> {
        self.0.borrow().status
    }

    // The reactor's side.

    pub(crate) fn signal(&self, signal: Signal) {
        if signal == Signal::KILL {
            return self.killed_by(signal);
        }
        self.0.borrow_mut().signals.push_back(signal);
    }

    // The simulation's side.

    fn tell(&self, event: ChildEvent) {
        let Some(mut script) = self.0.borrow_mut().script.take() else { return };
        if self.status().is_none() {
            script(self, event);
        }
        self.0.borrow_mut().script = Some(script);
    }

    fn pump(&self) {
        let mut events = Vec::new();
        let mut state = self.0.borrow_mut();
        for (&descriptor, end) in &mut state.ends {
            end.peer.pump();
            if end.way == PipeWay::FromChild {
                continue;
            }
            let data = end.peer.read();
            if !data.is_empty() {
                events.push(ChildEvent::Input(named(descriptor, end.way), data));
            }
            if end.peer.is_ended() && !std::mem::replace(&mut end.end_told, true) {
                events.push(ChildEvent::InputClosed(named(descriptor, end.way)));
            }
        }
        events.extend(std::mem::take(&mut state.signals).into_iter().map(ChildEvent::Signalled));
        drop(state);
        for event in events {
            let signal = match event {
                ChildEvent::Signalled(signal) => Some(signal),
                _ => None,
            };
            self.0.borrow_mut().survives = false;
            self.tell(event);
            let state = self.0.borrow();
            let ends = !state.survives && state.exiting.is_none();
            drop(state);
            if let Some(signal) = signal.filter(|signal| ends && kills(*signal)) {
                self.killed_by(signal);
            }
        }
        let state = self.0.borrow();
        let unsent = state.ends.values().any(|end| end.peer.unsent() > 0);
        let exiting = state.exiting.filter(|_| state.status.is_none() && !unsent);
        drop(state);
        if let Some(status) = exiting {
            self.end(status);
        }
    }

    fn end(&self, status: ProcessStatus) {
        let mut state = self.0.borrow_mut();
        if state.status.is_some() {
            return;
        }
        state.status = Some(status);
        for end in state.ends.values_mut() {
            match end.way {
                PipeWay::ToChild => end.peer.close(),
                _ => end.peer.shutdown(),
            }
        }
        if let Some(net) = state.net.upgrade() {
            net.borrow_mut().tell(state.port, state.source);
        }
    }

    /// Whether it has ended, and nothing of it is on its way any more.
    fn is_over(&self) -> bool {
        let state = self.0.borrow();
        let mut read = state.ends.values().filter(|end| end.way != PipeWay::ToChild);
        state.status.is_some() && read.all(|end| end.peer.is_ended())
    }
}

impl State {
    /// What `descriptor` leads to.
    fn end_of(&mut self, descriptor: RawFd) -> Option<&mut End> {
        let end = self.names.get(&descriptor)?;
        self.ends.get_mut(end)
    }
}

/// The descriptor that input comes from.
fn named(descriptor: RawFd, way: PipeWay) -> RawFd {
    if way == PipeWay::Both { 0 } else { descriptor }
}

/// Whether a signal ends programs that know nothing of it.
fn kills(signal: Signal) -> bool {
    let harmless = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGURG,
        libc::SIGWINCH,
    ];
    !harmless.contains(&signal.number())
}

impl fmt::Debug for SimulatedChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.try_borrow() {
            Ok(state) => write!(f, "SimulatedChild({:?} {})", state.program, state.pid),
            Err(_) => f.write_str("SimulatedChild"),
        }
    }
}
