//! How children end: signals, reaping, and what happens to them at the reactor's stop.
//!
//! The one rule: only children of this reactor are waited for, each by its own name, and each is
//! waited for: those of others are never taken from them, and none of ours stays a zombie.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use log::{debug, error, warn};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus};
use signal_hook_mio::v1_0::Signals;

use super::ProcessStatus;
use super::child::{Child, ChildId, Handle};
use crate::Signal;
use crate::core::{Alarm, Core};
use crate::identity::Source;
use crate::protocol::Reason;
use crate::{Error, LOG, system};

/// What is still read of a pipe when the child has ended and others may go on writing to it: as much
/// as a pipe can hold, unless root lets it hold more (`/proc/sys/fs/pipe-max-size`).
const LAST_WORDS: usize = 1 << 20;
/// How often it is looked, at the end of a reactor, whether a killed child has gone.
const LOOK: Duration = Duration::from_millis(2);
/// How many times: a second in all. What SIGKILL does not end by then hangs in the kernel (a dead
/// network disk, say), and nobody can wait for that.
const LOOKS: usize = 500;

impl Core {
    /// Sees to it that the end of a child is told: by a descriptor of its own, or, where there are
    /// none (other systems than Linux, before 5.4, and where a sandbox refuses), by SIGCHLD.
    pub(crate) fn watch_child(&mut self, id: ChildId, pid: i32) -> io::Result<Option<OwnedFd>> {
        if !self.children.portably
            && let Some(pidfd) = open_pidfd(pid)
            && self.network.register_descriptor(&pidfd, Source::Child(id.slot)).is_ok()
        {
            return Ok(Some(pidfd));
        }
        if self.children.signals.is_none() {
            let mut signals = Signals::new([libc::SIGCHLD])?;
            self.network.register_signals(&mut signals, Source::ChildSignal)?;
            self.children.signals = Some(signals);
        }
        self.children.exits.push(id); // it may have ended before anybody listened
        Ok(None)
    }

    /// SIGCHLD came: any child without a descriptor may have ended.
    pub(crate) fn some_child_ended(&mut self) {
        let Some(signals) = &mut self.children.signals else { return };
        signals.pending().for_each(drop);
        for (slot, child) in &self.children.slots {
            if matches!(child.handle, Handle::Kernel { pidfd: None, .. }) {
                let id = ChildId { slot: slot as u32, generation: child.generation };
                self.children.exits.push(id);
            }
        }
    }

    /// Reaps a child if it has ended; its status, the first time.
    pub(crate) fn reap(&mut self, id: ChildId) -> Option<ProcessStatus> {
        let child = self.children.get_mut(id).filter(|child| child.status.is_none())?;
        let status = match &mut child.handle {
            Handle::Simulated(simulated) => simulated.status()?,
            Handle::Kernel { pid, pidfd } => {
                // What it has started shares its group, whose number is safe as long as the child
                // was not reaped: nobody else can have it.
                if child.is_terminating
                    && child.has_own_group
                    && let Ok(Some(_)) = wait(*pid, pidfd.as_ref(), WaitIdOptions::NOWAIT)
                {
                    let _ = system::kill(-*pid, libc::SIGKILL); // there may be none
                }
                match wait(*pid, pidfd.as_ref(), WaitIdOptions::empty()) {
                    Ok(Some(status)) => read(&status),
                    Ok(None) => return None,
                    Err(_) => ProcessStatus::Unknown, // ECHILD: somebody else was faster
                }
            }
        };
        child.status = Some(status);
        if let Handle::Kernel { pidfd, .. } = &mut child.handle
            && let Some(pidfd) = pidfd.take()
        {
            self.network.forget_descriptor(&pidfd);
        }
        debug!(target: LOG, "{}: {status}", child.shown());
        if child.is_terminating {
            self.wait_no_longer(id);
        }
        self.children.ending.push(id);
        Some(status)
    }

    /// The child has ended and was told to: what is in its pipes is read, but whoever else holds
    /// their other ends is not waited for.
    pub(crate) fn wait_no_longer(&mut self, id: ChildId) {
        let Some(child) = self.children.get_mut(id) else { return };
        let mut pipes = Vec::new();
        for pipe in &mut child.pipes {
            pipe.last.get_or_insert(LAST_WORDS);
            pipe.readable = true; // the edge may not have been told yet
            pipes.push((pipe.descriptor, pipe.is_read()));
        }
        for (descriptor, is_read) in pipes {
            match is_read {
                true => self.children.mark_ready(id, descriptor),
                false => self.close_pipe(id, descriptor),
            }
        }
    }

    /// Sends a signal, to its whole group if `group`.
    pub(crate) fn signal_child(
        &mut self,
        id: ChildId,
        signal: Signal,
        group: bool,
    ) -> Result<(), Error> {
        let child = self.children.get_mut(id).filter(|child| child.status.is_none());
        let Some(child) = child else { return Err(Error::ProcessExited) };
        let sent = match &mut child.handle {
            Handle::Simulated(simulated) => {
                simulated.signal(signal);
                Ok(())
            }
            Handle::Kernel { pid, .. } if group => system::kill(-*pid, signal.number()),
            Handle::Kernel { pid, pidfd } => send(*pid, pidfd.as_ref(), signal),
        };
        match sent {
            Err(failure) if failure.raw_os_error() == Some(libc::ESRCH) => {
                Err(Error::ProcessExited) // reaped by somebody else
            }
            sent => sent.map_err(Error::System),
        }
    }

    /// Asks a child to end, and kills it when it has not within its grace. The first reason stays.
    pub(crate) fn terminate_child(&mut self, id: ChildId, reason: Reason) {
        let Some(child) = self.children.get_mut(id) else { return };
        child.is_to_end(reason);
        if child.status.is_some() {
            return self.wait_no_longer(id);
        }
        if std::mem::replace(&mut child.is_terminating, true) {
            return;
        }
        let (signal, group) = (child.stop_signal, child.has_own_group);
        let (grace, has_terminal) = (child.stop_grace, child.has_terminal);
        for descriptor in written(child) {
            self.close_when_flushed(id, descriptor);
        }
        // A shell on a terminal ignores SIGTERM, and one that is stopped hears nothing before it
        // goes on.
        let hangup = has_terminal.then_some(Signal::HUP);
        for signal in [signal].into_iter().chain(hangup).chain([Signal::CONT]) {
            if let Err(failure) = self.signal_child(id, signal, group) {
                self.log_unsignalled(id, signal, &failure);
            }
        }
        let timer = self.timers.insert(self.clock.after(grace), Alarm::ChildKill(id));
        if let Some(child) = self.children.get_mut(id) {
            child.timers.push(timer);
        }
    }

    /// Its grace is over.
    pub(crate) fn child_outstayed(&mut self, id: ChildId) {
        let Some(child) = self.children.get_mut(id).filter(|child| child.status.is_none()) else {
            return;
        };
        let (grace, shown) = (child.stop_grace, child.shown());
        warn!(target: LOG, "{shown}: killed, since it did not end within {grace:?}");
        self.kill_child(id, Reason::Aborted);
    }

    /// Its time limit is over.
    pub(crate) fn child_timed_out(&mut self, id: ChildId, limit: Duration) {
        let Some(child) = self.children.get(id) else { return };
        if child.is_over() || child.reason.is_some() {
            return;
        }
        let problem = format!("it took longer than {limit:?}");
        warn!(target: LOG, "{}: terminated: {problem}", child.shown());
        let failure = io::Error::new(io::ErrorKind::TimedOut, problem);
        self.terminate_child(id, Reason::TimedOut(failure.into()));
    }

    /// Kills a child, and whatever is in a group of its own with it.
    pub(crate) fn kill_child(&mut self, id: ChildId, reason: Reason) {
        let Some(child) = self.children.get_mut(id) else { return };
        child.is_to_end(reason);
        if child.status.is_some() {
            return self.wait_no_longer(id);
        }
        child.is_terminating = true;
        let group = child.has_own_group;
        if let Err(failure) = self.signal_child(id, Signal::KILL, group) {
            self.log_unsignalled(id, Signal::KILL, &failure);
        }
    }

    fn log_unsignalled(&mut self, id: ChildId, signal: Signal, failure: &Error) {
        // It has a user of its own, and is not ours to signal (it may have changed it itself).
        if let Some(child) = self.children.get(id)
            && !matches!(failure, Error::ProcessExited)
        {
            warn!(target: LOG, "{}: cannot send it {signal}: {failure}", child.shown());
        }
    }

    /// The reactor stops: all are asked to end.
    pub(crate) fn terminate_children(&mut self) {
        for id in self.children.ids() {
            self.terminate_child(id, Reason::Stopped);
        }
    }

    /// The reactor is at its end: all are killed, and reaped here and now, since there may be no
    /// turn any more in which they could be. This waits for the kernel, for milliseconds as a rule.
    pub(crate) fn kill_children(&mut self) {
        let ids = self.children.ids();
        for &id in &ids {
            self.kill_child(id, Reason::Stopped);
            let pipes = self.children.get(id).map_or(&[][..], |child| &child.pipes);
            for descriptor in pipes.iter().map(|pipe| pipe.descriptor).collect::<Vec<_>>() {
                self.close_pipe(id, descriptor);
            }
        }
        let living = |core: &Self, id: ChildId| {
            core.children.get(id).is_some_and(|child| child.status.is_none())
        };
        for look in 0..LOOKS {
            for &id in &ids {
                if self.reap(id).is_some() {
                    self.children.exits.push(id); // to be told
                }
            }
            if !ids.iter().any(|&id| living(self, id)) {
                return;
            }
            if look + 1 < LOOKS {
                let pause =
                    rustix::thread::Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
                let _ = rustix::thread::nanosleep(&pause);
            }
        }
        for id in ids {
            let child = self.children.get_mut(id);
            if let Some(child) = child.filter(|child| child.status.is_none()) {
                error!(target: LOG, "{}: left behind, since SIGKILL does not end it", child.shown());
                child.status = Some(ProcessStatus::Unknown);
                self.children.exits.push(id);
            }
        }
    }
}

/// What it is written to through.
fn written(child: &Child) -> Vec<std::os::fd::RawFd> {
    let written = child.pipes.iter().filter(|pipe| !pipe.is_read());
    written.map(|pipe| pipe.descriptor).collect()
}

/// Kills a child that was only just started and cannot be watched, and reaps it.
pub(super) fn kill_and_wait(pid: i32) {
    // Neither can fail for a child of ours that was not reaped.
    let _ = system::kill(pid, libc::SIGKILL);
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    }
}

#[cfg(target_os = "linux")]
fn open_pidfd(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_pidfd(_: i32) -> Option<OwnedFd> {
    None
}

fn wait(pid: i32, pidfd: Option<&OwnedFd>, how: WaitIdOptions) -> io::Result<Option<WaitIdStatus>> {
    let which = match (pidfd, Pid::from_raw(pid)) {
        #[cfg(target_os = "linux")]
        (Some(pidfd), _) => WaitId::PidFd(std::os::fd::AsFd::as_fd(pidfd)),
        (_, Some(pid)) => WaitId::Pid(pid),
        (_, None) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let how = how | WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        match rustix::process::waitid(which.clone(), how) {
            Err(rustix::io::Errno::INTR) => {}
            waited => return Ok(waited?),
        }
    }
}

fn read(status: &WaitIdStatus) -> ProcessStatus {
    let signal = status.terminating_signal().and_then(Signal::from_number);
    match (status.exit_status(), signal) {
        (Some(code), _) => ProcessStatus::Exited(code),
        (None, Some(signal)) => ProcessStatus::Killed { signal, core_dumped: status.dumped() },
        (None, None) => ProcessStatus::Unknown,
    }
}

fn send(pid: i32, pidfd: Option<&OwnedFd>, signal: Signal) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(pidfd) = pidfd
        && let Some(named) = rustix::process::Signal::from_named_raw(signal.number())
    {
        return Ok(rustix::process::pidfd_send_signal(pidfd, named)?);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = pidfd;
    system::kill(pid, signal.number())
}

#[cfg(test)]
mod tests;
