//! Where a child's protocol comes in, what it is told of its child's end, and what an error or a
//! panic of it does to the child.

use std::os::fd::RawFd;
use std::rc::Rc;

use log::{debug, error, warn};

use super::child::{ChildId, Ended, Pipe};
use super::{ProcessProtocol, ProcessTransport};
use crate::core::Core;
use crate::panics::isolate;
use crate::protocol::Reason;
use crate::{LOG, Reactor, Result};

impl Reactor {
    pub(crate) fn child_births_and_losses(&mut self) {
        for (id, protocol) in std::mem::take(&mut self.core.children.births) {
            let slot = id.slot as usize;
            if self.processes.len() <= slot {
                self.processes.resize_with(slot + 1, || None);
            }
            self.processes[slot] = Some(protocol);
            if let Some(child) = self.core.children.get_mut(id) {
                child.is_born = true;
            }
            self.process_callback(id, |protocol, transport| protocol.process_started(transport));
        }
        for (id, descriptor) in std::mem::take(&mut self.core.children.closed) {
            let children = &mut self.core.children;
            let Some(child) = children.get_mut(id) else { continue };
            let is_it = |pipe: &Pipe| pipe.stream.is_none() && pipe.descriptor == descriptor;
            if let Some(at) = child.pipes.iter().position(is_it) {
                let place = child.pipes.remove(at).place;
                children.places.remove(place as usize);
            }
            children.ending.push(id);
            self.process_callback(id, |protocol, transport| {
                protocol.child_connection_lost(transport, descriptor)
            });
        }
        for id in std::mem::take(&mut self.core.children.exits) {
            self.core.reap(id);
            match self.core.children.get(id) {
                // Started in this very step: there is nobody yet to be told.
                Some(child) if !child.is_born => self.core.children.exits.push(id),
                _ => self.tell_exit(id),
            }
        }
        for id in std::mem::take(&mut self.core.children.ending) {
            if self.core.children.get(id).is_some_and(|child| child.is_over()) {
                self.bury_child(id);
            }
        }
    }

    fn tell_exit(&mut self, id: ChildId) {
        let Some(child) = self.core.children.get_mut(id) else { return };
        let Some(status) = child.status else { return };
        if std::mem::replace(&mut child.is_exit_told, true) {
            return;
        }
        self.core.children.ending.push(id);
        self.process_callback(id, |protocol, transport| {
            protocol.process_exited(transport, status);
            Ok(())
        });
    }

    /// Frees the slots, and only then tells the protocol.
    fn bury_child(&mut self, id: ChildId) {
        let child = self.core.children.slots.remove(id.slot as usize);
        let protocol = self.processes.get_mut(id.slot as usize).and_then(Option::take);
        let shown = child.shown();
        for timer in child.timers {
            self.core.cancel(timer);
        }
        debug!(target: LOG, "{shown}: over");
        let (Some(mut protocol), Some(status)) = (protocol, child.status) else { return };
        self.core.children.departed = Some(Ended { id, pid: child.pid, reason: child.reason });
        let mut transport = ProcessTransport { core: &mut self.core, id };
        if let Err(message) = isolate(|| protocol.process_ended(&mut transport, status)) {
            error!(target: LOG, "{shown}: process_ended panicked: {message}");
        }
        self.core.children.departed = None;
        if let Err(message) = isolate(|| drop(protocol)) {
            error!(target: LOG, "{shown}: the protocol panicked when it was dropped: {message}");
        }
    }

    /// Makes one callback of a child's protocol. An error terminates the child, a panic kills it;
    /// nothing else is disturbed.
    pub(crate) fn process_callback(
        &mut self,
        id: ChildId,
        call: impl FnOnce(&mut dyn ProcessProtocol, &mut ProcessTransport<'_>) -> Result,
    ) {
        if self.core.children.get(id).is_none() {
            return;
        }
        let Some(Some(protocol)) = self.processes.get_mut(id.slot as usize) else { return };
        let mut transport = ProcessTransport { core: &mut self.core, id };
        match isolate(|| call(&mut **protocol, &mut transport)) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                let reason = Reason::Error(Rc::new(failure));
                if let Some(child) = self.core.children.get_mut(id) {
                    warn!(target: LOG, "{}: terminated: {reason}", child.shown());
                    child.is_deaf = true;
                    child.reason = Some(reason.clone());
                }
                self.core.terminate_child(id, reason);
            }
            Err(message) => self.core.process_panicked(id, message),
        }
    }
}

impl Core {
    /// A callback panicked: nothing of what it was about to say can be trusted.
    pub(crate) fn process_panicked(&mut self, id: ChildId, message: String) {
        let Some(child) = self.children.get_mut(id) else { return };
        let reason = Reason::Panic(message.into());
        error!(target: LOG, "{}: killed: {reason}", child.shown());
        child.is_deaf = true;
        child.reason = Some(reason.clone());
        let pipes: Vec<RawFd> = child.pipes.iter().map(|pipe| pipe.descriptor).collect();
        self.kill_child(id, reason);
        for descriptor in pipes {
            self.close_pipe(id, descriptor);
        }
    }
}
