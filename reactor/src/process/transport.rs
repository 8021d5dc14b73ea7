//! What a callback may ask of its child. Like any transport it only takes notes; signals alone are
//! sent at once, which runs nothing here.

use std::any::{Any, TypeId};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use bytes::Bytes;
use log::error;

use super::child::{Child, ChildId};
use super::{ProcessProtocol, ProcessStatus, Program, layer_of_process};
use crate::core::{Alarm, Core};
use crate::output::Written;
use crate::protocol::Reason;
use crate::{ConnectionId, Deferred, Error, LOG, Signal, TimerId, Transport};

/// A child as its protocol sees it, for as long as a callback runs.
///
/// Descriptors are named by the child's numbers. Those of a child on a terminal are one: 0 is
/// written to, 1 is read.
pub struct ProcessTransport<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) id: ChildId,
}

/// A call of a child's own, made with its protocol.
pub(crate) type ProcessCall = Box<dyn FnOnce(&mut dyn ProcessProtocol, &mut ProcessTransport<'_>)>;

impl ProcessTransport<'_> {
    /// Names this child; any later callback can reach it by this name.
    pub fn id(&self) -> ChildId {
        self.id
    }

    fn child(&self) -> Option<&Child> {
        self.core.children.get(self.id)
    }

    /// The system's number of the process; it stays readable in `process_ended`. Once the process
    /// has exited, the system may give the number to another one.
    pub fn pid(&self) -> u32 {
        match (self.child(), &self.core.children.departed) {
            (Some(child), _) => child.pid,
            (None, Some(departed)) if departed.id == self.id => departed.pid,
            (None, _) => 0,
        }
    }

    /// How it ended, once it was reaped.
    pub fn status(&self) -> Option<ProcessStatus> {
        self.child()?.status
    }

    /// Why this side has ended it, or is about to: an error or a panic of its protocol, a limit,
    /// the reactor's stop, or [`terminate`](Self::terminate) (`Closed`) and [`kill`](Self::kill)
    /// (`Aborted`). `None` for a child that ended, or will, by itself. It stays readable in
    /// `process_ended`.
    pub fn reason(&self) -> Option<Reason> {
        match (self.child(), &self.core.children.departed) {
            (Some(child), _) => child.reason.clone(),
            (None, Some(departed)) if departed.id == self.id => departed.reason.clone(),
            (None, _) => None,
        }
    }

    // Writing.

    /// Queues `data` for the child's standard input, to be sent at the end of this turn. Writing to
    /// a child that has gone, or that has closed its input, is a silent no-op.
    pub fn write(&mut self, data: &[u8]) -> Written {
        self.write_to(0, data)
    }

    /// As [`write`](Self::write); a payload of 16 KiB or more is queued without being copied.
    pub fn write_bytes(&mut self, data: Bytes) -> Written {
        self.put(0, |output| output.push_bytes(data))
    }

    /// As [`write`](Self::write), to another descriptor that was wired
    /// [`ToChild`](super::Wiring::ToChild).
    #[doc(alias = "writeToChild")]
    pub fn write_to(&mut self, descriptor: RawFd, data: &[u8]) -> Written {
        self.put(descriptor, |output| output.push_slice(data))
    }

    fn put(&mut self, descriptor: RawFd, put: impl FnOnce(&mut crate::output::Output)) -> Written {
        let Some(child) = self.core.children.get_mut(self.id) else { return Written::Gone };
        let high_water_mark = child.high_water_mark;
        let Some(pipe) = child.pipe(descriptor) else { return Written::Gone };
        let written = pipe.write(high_water_mark, &mut self.core.outputs, put);
        if written != Written::Gone {
            self.core.children.mark_dirty(self.id, descriptor);
        }
        written
    }

    /// Bytes that were written to `descriptor` and that its pipe has not taken yet.
    pub fn buffered(&mut self, descriptor: RawFd) -> usize {
        self.core.children.pipe(self.id, descriptor).map_or(0, |pipe| pipe.buffered())
    }

    // Closing.

    /// Closes the child's standard input once what was written has been taken: the child sees the
    /// end. (A terminal has no end; there, write what is typed for it, `\x04`.)
    #[doc(alias = "closeStdin")]
    pub fn close_stdin(&mut self) {
        self.close_descriptor(0);
    }

    /// Closes the pipe of one descriptor: one that is written to once what was written has been
    /// taken, one that is read at once, so that the child's next write there fails.
    #[doc(alias = "closeChildFD")]
    #[doc(alias = "closeStdout")]
    #[doc(alias = "closeStderr")]
    pub fn close_descriptor(&mut self, descriptor: RawFd) {
        match self.core.children.pipe(self.id, descriptor) {
            Some(pipe) if !pipe.is_read() => self.core.close_when_flushed(self.id, descriptor),
            Some(pipe) if !pipe.is_written() => self.core.close_pipe(self.id, descriptor),
            _ => {} // a terminal, or nothing
        }
    }

    /// Closes all pipes, as [`close_descriptor`](Self::close_descriptor) does: what the child has said
    /// and was not received is thrown away. A terminal hangs up, which ends most programs; others go
    /// on until they notice.
    #[doc(alias = "loseConnection")]
    pub fn lose_connection(&mut self) {
        let pipes = self.child().map_or(&[][..], |child| &child.pipes);
        let pipes: Vec<_> = pipes.iter().map(|pipe| (pipe.descriptor, pipe.is_read())).collect();
        for (descriptor, is_read) in pipes {
            match is_read {
                true => self.core.close_pipe(self.id, descriptor),
                false => self.core.close_when_flushed(self.id, descriptor),
            }
        }
    }

    // Ending.

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// [`Error::ProcessExited`] when it has exited already, [`Error::System`] when that is not
    /// permitted or there is no such signal.
    #[doc(alias = "signalProcess")]
    pub fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        self.core.signal_child(self.id, signal, false)
    }

    /// Sends a signal to the process and all that it has started, if it has a process group of its
    /// own ([`Program::process_group`], [`session`](Program::session),
    /// [`terminal`](Program::terminal)); else to the process alone.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn signal_group(&mut self, signal: Signal) -> Result<(), Error> {
        let group = self.child().is_some_and(|child| child.has_own_group);
        self.core.signal_child(self.id, signal, group)
    }

    /// Asks it to end: its input is closed, and it is sent [`Program::stop_signal`], then SIGKILL
    /// when it has not ended within [`Program::stop_grace`]. In a process group of its own, all of
    /// the group. What it says meanwhile is received. When it has ended, its pipes are read empty (up
    /// to 1 MiB each), and closed though others may hold them; for one that has ended by itself, that
    /// is all that this does.
    pub fn terminate(&mut self) {
        self.core.terminate_child(self.id, Reason::Closed);
    }

    /// Kills it (SIGKILL), in a process group of its own with the group; else as
    /// [`terminate`](Self::terminate).
    pub fn kill(&mut self) {
        self.core.kill_child(self.id, Reason::Aborted);
    }

    // Reading.

    /// Nothing more is received from `descriptor` until
    /// [`resume_reading`](Self::resume_reading): the child waits when its pipe is full.
    #[doc(alias = "pauseProducing")]
    pub fn pause_reading(&mut self, descriptor: RawFd) {
        if let Some(pipe) = self.core.children.pipe(self.id, descriptor) {
            pipe.paused = true;
        }
    }

    /// Receives from `descriptor` again, also what was left over when it was paused.
    #[doc(alias = "resumeProducing")]
    pub fn resume_reading(&mut self, descriptor: RawFd) {
        self.core.resume_pipe(self.id, descriptor);
    }

    // Terminals.

    /// Tells the child's terminal of another size, and the child with SIGWINCH.
    ///
    /// # Errors
    /// `Unsupported` when it has no terminal, and in a simulation; `NotConnected` when that has gone.
    pub fn resize_terminal(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        let child = self.core.children.get_mut(self.id).ok_or(io::ErrorKind::NotConnected)?;
        if !child.has_terminal {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let pipe = child.pipe(1).and_then(|pipe| pipe.stream.as_ref());
        pipe.ok_or(io::ErrorKind::NotConnected)?.resize_terminal(rows, columns)
    }

    // Time, chance, and the rest of the reactor.

    crate::any_transport::any_transport!();

    /// Calls `call` with this child's protocol after `delay`, unless its story has ended by then.
    /// `P` is the protocol's type, or that of a layer inside it; for any other the call is dropped
    /// with a log line.
    #[doc(alias = "callLater")]
    pub fn call_later<P: Any>(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut P, &mut ProcessTransport<'_>) + 'static,
    ) -> TimerId {
        let call: ProcessCall = Box::new(move |protocol, transport| {
            let layer = layer_of_process(protocol, TypeId::of::<P>());
            match layer.and_then(|layer| layer.downcast_mut::<P>()) {
                Some(protocol) => call(protocol, transport),
                None => error!(
                    target: LOG,
                    "process {}: a call was set for a {}, which its protocol is not",
                    transport.pid(),
                    std::any::type_name::<P>(),
                ),
            }
        });
        let alarm = Alarm::Process(self.id, call);
        let timer = self.core.timers.insert(self.core.clock.after(delay), alarm);
        match self.core.children.get_mut(self.id) {
            Some(child) => self.core.timers.own(&mut child.timers, timer),
            None => drop(self.core.cancel(timer)),
        }
        timer
    }

    /// A connection of this reactor, to write to, pause, measure or close.
    pub fn connection(&mut self, id: ConnectionId) -> Option<Transport<'_>> {
        crate::transport::reach(self.core, id)
    }

    /// Another child of this reactor; `None` when its story has ended.
    pub fn process(&mut self, id: ChildId) -> Option<ProcessTransport<'_>> {
        self.core.children.get(id)?;
        Some(ProcessTransport { core: self.core, id })
    }

    /// As [`Reactor::spawn_process`](crate::Reactor::spawn_process).
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn spawn_process(
        &mut self,
        program: Program,
        protocol: impl ProcessProtocol,
    ) -> Result<ChildId, Error> {
        self.core.spawn_process(program, Box::new(protocol))
    }

    /// Calls `call` with this child's protocol and the result of `deferred`, once it is there; if
    /// the child's story has ended by then, the result is dropped.
    pub fn when<P: Any, T: 'static>(
        &mut self,
        deferred: Deferred<T>,
        call: impl FnOnce(&mut P, &mut ProcessTransport<'_>, Result<T, Error>) + 'static,
    ) {
        let id = self.id;
        deferred.then(move |reactor, result| {
            reactor.with_process::<P, _>(id, move |protocol, transport| {
                call(protocol, transport, result);
            });
        });
    }
}
