//! What a program may ask of its reactor about children, outside of their callbacks.

use std::any::{Any, TypeId};

use super::child::ChildId;
use super::{ProcessProtocol, ProcessTransport, Program, layer_of_process};
use crate::panics::isolate;
use crate::{Error, Reactor, Transport};

impl Reactor {
    /// Runs `program` as a child, with `protocol` to speak with it. It runs when this returns;
    /// [`process_started`](ProcessProtocol::process_started) comes later, from the loop.
    ///
    /// This waits for fork(2) and execve(2): a millisecond or so, and more for a process that has
    /// gigabytes of memory mapped.
    ///
    /// When the reactor stops, its children are terminated (see [`Program::stop_signal`]), and it
    /// waits for their end, up to [`shutdown_timeout`](crate::ReactorOptions::shutdown_timeout);
    /// then they are killed, as they are at once by `stop_now` and by dropping the reactor.
    ///
    /// Children are waited for by their own numbers. If another part of the program waits for any
    /// child at all, or ignores SIGCHLD, it may hear of the end first, and the status is
    /// [`Unknown`](super::ProcessStatus::Unknown).
    ///
    /// # Errors
    /// [`Error::Spawn`] when the program is not there or may not be run, or the system has no
    /// process or descriptor left; [`Error::Stopped`].
    #[doc(alias = "spawnProcess")]
    pub fn spawn_process(
        &mut self,
        program: Program,
        protocol: impl ProcessProtocol,
    ) -> Result<ChildId, Error> {
        self.refresh_clock();
        self.core.spawn_process(program, Box::new(protocol))
    }

    /// The transport of a child, whatever its protocol is; `None` when its story has ended.
    pub fn process(&mut self, id: ChildId) -> Option<ProcessTransport<'_>> {
        self.refresh_clock();
        self.core.children.get(id)?;
        Some(ProcessTransport { core: &mut self.core, id })
    }

    /// Calls `call` with the protocol and the transport of a child, now. `None` when its story has
    /// ended or not begun, its protocol is not of type `P` (nor has a layer that is), or `call` panics, which kills it.
    pub fn with_process<P: Any, R>(
        &mut self,
        id: ChildId,
        call: impl FnOnce(&mut P, &mut ProcessTransport<'_>) -> R,
    ) -> Option<R> {
        self.core.children.get(id)?;
        self.refresh_clock();
        let protocol = &mut **self.processes.get_mut(id.slot as usize)?.as_mut()?;
        let protocol = layer_of_process(protocol, TypeId::of::<P>())?.downcast_mut::<P>()?;
        let mut transport = ProcessTransport { core: &mut self.core, id };
        match isolate(|| call(protocol, &mut transport)) {
            Ok(answer) => Some(answer),
            Err(message) => {
                self.core.process_panicked(id, message);
                None
            }
        }
    }

    /// How many children there are whose story has not ended.
    pub fn process_count(&self) -> usize {
        self.core.children.slots.len()
    }

    /// The names of all children, in the order of their slots.
    pub fn processes(&self) -> Vec<ChildId> {
        self.core.children.ids()
    }
}

impl Transport<'_> {
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

    /// A child of this reactor, to write to, pause or end; `None` when its story has ended.
    pub fn process(&mut self, id: ChildId) -> Option<ProcessTransport<'_>> {
        self.core.children.get(id)?;
        Some(ProcessTransport { core: self.core, id })
    }
}
