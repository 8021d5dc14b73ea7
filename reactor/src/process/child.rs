//! One child: what the reactor keeps of it besides its protocol.

use std::fmt;
use std::os::fd::{OwnedFd, RawFd};

use bytes::BytesMut;
use slab::Slab;

use super::{ProcessProtocol, ProcessStatus};
use crate::Signal;
use crate::Written;
use crate::output::{Output, OutputPool};
use crate::protocol::Reason;
use crate::simulation::programs::SimulatedChild;
use crate::socket::Stream;
use crate::timer::TimerId;

/// Names one child of one reactor, until its story has ended; then it names nothing. (The system's
/// number, which is used again, is [`pid`](crate::ProcessTransport::pid).)
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildId({}.{})", self.slot, self.generation)
    }
}

/// The process itself.
#[derive(Debug)]
pub(crate) enum Handle {
    Kernel {
        pid: i32,
        /// What tells of its end, and what it is signalled by: never another process that has the
        /// number by now. `None` where the system has no such thing.
        pidfd: Option<OwnedFd>,
    },
    Simulated(SimulatedChild),
}

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) generation: u32,
    pub(crate) handle: Handle,
    /// For the log: the program, and its number.
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) pipes: Vec<Pipe>,
    pub(crate) high_water_mark: usize,
    pub(crate) low_water_mark: usize,
    pub(crate) output_limit: usize,
    pub(crate) receive_limit: usize,
    pub(crate) stop_signal: Signal,
    pub(crate) stop_grace: std::time::Duration,
    pub(crate) has_terminal: bool,
    pub(crate) has_own_group: bool,
    /// Its protocol has been told that it runs.
    pub(crate) is_born: bool,
    /// Set when it was reaped.
    pub(crate) status: Option<ProcessStatus>,
    /// Why it is to end, once that is decided here.
    pub(crate) reason: Option<Reason>,
    /// What it says is thrown away.
    pub(crate) is_deaf: bool,
    /// The timers that die with it; may name some that have fired.
    pub(crate) timers: Vec<TimerId>,
    /// Its protocol has been told of its status.
    pub(crate) is_exit_told: bool,
    /// Set when it was asked to end.
    pub(crate) is_terminating: bool,
}

/// Which way a pipe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipeWay {
    ToChild,
    FromChild,
    /// A terminal.
    Both,
}

/// What leads to one descriptor of a child.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// The child's number for it; a terminal has 1.
    pub(crate) descriptor: RawFd,
    pub(crate) way: PipeWay,
    /// Where the poller's name for it is kept.
    pub(crate) place: u32,
    /// `None` once it is closed, which its protocol is yet to be told.
    pub(crate) stream: Option<Stream>,
    pub(crate) output: Option<Box<Output>>,
    /// What the protocol left.
    pub(crate) unread: BytesMut,
    /// There may be more to read: set by the edge, cleared by a short read.
    pub(crate) readable: bool,
    /// The other end is closed, so that a short read no longer means that nothing is left.
    pub(crate) end_seen: bool,
    /// There may be room: cleared by a short write, set by the edge.
    pub(crate) writable: bool,
    /// By the protocol.
    pub(crate) paused: bool,
    /// `unread` waits for the pause to end, not for more bytes.
    pub(crate) held_back: bool,
    /// To be closed once its output has gone.
    pub(crate) closing: bool,
    pub(crate) producer_paused: bool,
    pub(crate) owes_resume: bool,
    /// The child has ended: what is there is read, up to so many bytes, and no more waited for.
    pub(crate) last: Option<usize>,
    pub(crate) in_ready: bool,
    pub(crate) in_dirty: bool,
}

impl Pipe {
    pub(crate) fn new(descriptor: RawFd, way: PipeWay, place: u32, stream: Stream) -> Self {
        Self {
            descriptor,
            way,
            place,
            stream: Some(stream),
            output: None,
            unread: BytesMut::new(),
            readable: false,
            end_seen: false,
            writable: true,
            paused: false,
            held_back: false,
            closing: false,
            producer_paused: false,
            owes_resume: false,
            last: None,
            in_ready: false,
            in_dirty: false,
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.way != PipeWay::ToChild
    }

    pub(crate) fn is_written(&self) -> bool {
        self.way != PipeWay::FromChild
    }

    /// Bytes that wait for the child.
    pub(crate) fn buffered(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.len())
    }

    pub(crate) fn takes_output(&self) -> bool {
        self.stream.is_some() && self.is_written() && !self.closing
    }

    /// Queues what `put` puts, and says what became of it.
    pub(crate) fn write(
        &mut self,
        high_water_mark: usize,
        pool: &mut OutputPool,
        put: impl FnOnce(&mut Output),
    ) -> Written {
        if !self.takes_output() {
            return Written::Gone;
        }
        put(self.output.get_or_insert_with(|| pool.lend()));
        let above = self.buffered() > high_water_mark;
        self.owes_resume |= above;
        if above { Written::AboveHighWater } else { Written::Taken }
    }
}

impl Child {
    /// The pipe that leads to `descriptor`; a terminal leads to all three.
    pub(crate) fn pipe(&mut self, descriptor: RawFd) -> Option<&mut Pipe> {
        let wanted = match descriptor {
            0 | 2 if self.has_terminal => 1,
            descriptor => descriptor,
        };
        self.pipes.iter_mut().find(|pipe| pipe.descriptor == wanted)
    }

    /// Why this side ends it; the first reason stays. One that has ended by itself was not ended by
    /// being told to: its pipes are.
    pub(crate) fn is_to_end(&mut self, reason: Reason) {
        if self.status.is_none() || !matches!(reason, Reason::Closed | Reason::Aborted) {
            self.reason.get_or_insert(reason);
        }
    }

    /// Whether its story is over, but for the last callback.
    pub(crate) fn is_over(&self) -> bool {
        self.is_exit_told && self.pipes.is_empty()
    }

    pub(crate) fn shown(&self) -> String {
        format!("{}[{}]", self.name, self.pid)
    }
}

/// What the protocol is still to be told.
pub(crate) struct Ended {
    pub(crate) id: ChildId,
    pub(crate) pid: u32,
    pub(crate) reason: Option<Reason>,
}

/// All children of a reactor, and what is to be done with them.
#[derive(Default)]
pub(crate) struct Children {
    pub(crate) slots: Slab<Child>,
    /// Whose pipe a token of the poller names.
    pub(crate) places: Slab<(ChildId, RawFd)>,
    /// Started, and not yet told so.
    pub(crate) births: Vec<(ChildId, Box<dyn ProcessProtocol>)>,
    /// Pipes to be read although no edge will tell.
    pub(crate) ready: Vec<(ChildId, RawFd)>,
    pub(crate) dirty: Vec<(ChildId, RawFd)>,
    /// Closed, and not yet told so.
    pub(crate) closed: Vec<(ChildId, RawFd)>,
    /// Those that may have ended.
    pub(crate) exits: Vec<ChildId>,
    /// Those that are over, or may be.
    pub(crate) ending: Vec<ChildId>,
    /// The one that is just now told of its end.
    pub(crate) departed: Option<Ended>,
    /// SIGCHLD, where there are children without a descriptor of their own.
    pub(crate) signals: Option<signal_hook_mio::v1_0::Signals>,
    /// Not to use what only Linux has; for tests of what is done elsewhere.
    pub(crate) portably: bool,
}

impl Children {
    pub(crate) fn get(&self, id: ChildId) -> Option<&Child> {
        self.slots.get(id.slot as usize).filter(|child| child.generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        self.slots.get_mut(id.slot as usize).filter(|child| child.generation == id.generation)
    }

    pub(crate) fn pipe(&mut self, id: ChildId, descriptor: RawFd) -> Option<&mut Pipe> {
        self.get_mut(id)?.pipe(descriptor)
    }

    pub(crate) fn at(&self, slot: u32) -> Option<ChildId> {
        let generation = self.slots.get(slot as usize)?.generation;
        Some(ChildId { slot, generation })
    }

    pub(crate) fn ids(&self) -> Vec<ChildId> {
        let id = |(slot, child): (usize, &Child)| ChildId {
            slot: slot as u32,
            generation: child.generation,
        };
        self.slots.iter().map(id).collect()
    }

    pub(crate) fn is_busy(&self) -> bool {
        !(self.births.is_empty()
            && self.ready.is_empty()
            && self.dirty.is_empty()
            && self.closed.is_empty()
            && self.exits.is_empty()
            && self.ending.is_empty())
    }

    pub(crate) fn mark_ready(&mut self, id: ChildId, descriptor: RawFd) {
        if let Some(pipe) = self.pipe(id, descriptor)
            && !std::mem::replace(&mut pipe.in_ready, true)
        {
            let descriptor = pipe.descriptor;
            self.ready.push((id, descriptor));
        }
    }

    pub(crate) fn mark_dirty(&mut self, id: ChildId, descriptor: RawFd) {
        if let Some(pipe) = self.pipe(id, descriptor)
            && !std::mem::replace(&mut pipe.in_dirty, true)
        {
            let descriptor = pipe.descriptor;
            self.dirty.push((id, descriptor));
        }
    }
}
