//! Everything of a reactor but the protocols: what a [`Transport`](crate::Transport) borrows
//! while a callback runs. Nothing in here ever enters user code; it takes notes (ready, dirty,
//! lost, garbage), and the reactor acts on them between callbacks.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use slab::Slab;

use crate::address::Address;
use crate::arrival::Arrival;
use crate::clock::Clock;
use crate::connection::{Connections, Stage};
use crate::connector::{Attempt, Connector};
use crate::datagram::DatagramId;
use crate::datagram::port::Ports;
use crate::datagram::transport::DatagramCall;
#[cfg(feature = "_tls")]
use crate::filter::Filter;
use crate::handle::Shared;
use crate::identity::{ConnectionId, Generations, ListenerId};
use crate::listener::Listener;
use crate::local::Local;
use crate::network::Network;
use crate::options::{ConnectionOptions, ReactorOptions};
use crate::output::OutputPool;
use crate::policy::rations::Lanes;
use crate::policy::seats::Seat;
use crate::policy::{Direction, Policy};
use crate::process::{ChildId, Children, ProcessCall};
use crate::protocol::{Protocol, Reason};
use crate::random::Random;
use crate::resolver::Resolver;
use crate::shutdown::Shutdown;
use crate::signals::Signals;
use crate::socket::Stream;
use crate::tasks::Tasks;
use crate::threads::Pool;
use crate::timer::{TimerId, Timers};
use crate::{LOG, Promise, Reactor, Transport};

/// A call of a connection's own, made with its protocol.
pub(crate) type ProtocolCall = Box<dyn FnOnce(&mut dyn Protocol, &mut Transport<'_>)>;

/// What a timer does when it is due.
pub(crate) enum Alarm {
    /// A free call.
    Call(Box<dyn FnOnce(&mut Reactor)>),
    /// A connection's own call.
    Protocol(ConnectionId, ProtocolCall),
    /// A datagram socket's own call.
    Datagram(DatagramId, DatagramCall),
    /// A child's own call.
    Process(ChildId, ProcessCall),
    /// A child must have ended within this limit.
    ChildTimeout(ChildId, Duration),
    /// A child that was asked to end must have ended.
    ChildKill(ChildId),
    /// A closing connection must have made progress.
    Flush(ConnectionId),
    /// A closed connection has waited long enough for the peer's FIN.
    Linger(ConnectionId),
    /// A filter must have agreed with its peer.
    Handshake(ConnectionId),
    /// A connection must have been made.
    Connect(u32, u32),
    /// The attempts to make it have gone nowhere for a while: begin another one.
    NextAttempt(u32, u32),
    /// The header of an accepted connection must be there.
    Arrival(u32, u32, Duration),
    /// A timeout of a policy may be due.
    Policy(ConnectionId),
    /// A connection has waited for bytes that it may send or receive.
    Ration(ConnectionId, Direction),
    /// Connections that share a rate have waited.
    Lane(u32, u32, Direction),
    /// Callers were refused a while ago.
    Refused(Policy),
    /// Descriptors ran out a while ago: try to accept again.
    Accept(ListenerId),
    /// The stop has been held, or has flushed, for long enough.
    Shutdown,
}

/// A connection to be born in the turn's step for births.
pub(crate) enum Birth {
    Accepted {
        listener: ListenerId,
        stream: Stream,
        peer: Address,
        seat: Option<Seat>,
    },
    /// Accepted earlier; the header that named its peer has come since.
    Arrived {
        listener: ListenerId,
        stream: Stream,
        peer: Address,
        seat: Option<Seat>,
    },
    Connected {
        connector: Box<Connector>,
        stream: Stream,
        peer: Address,
    },
    /// This process's own standard input and output.
    Standard {
        stream: Stream,
        protocol: Box<dyn Protocol>,
        options: Rc<ConnectionOptions>,
        promise: Promise<ConnectionId>,
    },
}

/// The connection that is just now told of its loss.
pub(crate) struct Departed {
    pub(crate) id: ConnectionId,
    pub(crate) host: Option<Address>,
    pub(crate) peer: Address,
    /// What was agreed on stays readable.
    #[cfg(feature = "_tls")]
    pub(crate) filter: Option<Box<Filter>>,
}

pub(crate) struct Core {
    pub(crate) clock: Clock,
    pub(crate) network: Network,
    pub(crate) random: Random,
    pub(crate) options: ReactorOptions,
    pub(crate) generations: Generations,

    pub(crate) connections: Connections,
    pub(crate) listeners: Slab<Listener>,
    pub(crate) arrivals: Slab<Arrival>,
    pub(crate) connectors: Slab<Box<Connector>>,
    pub(crate) attempts: Slab<Attempt>,
    pub(crate) ports: Ports,
    /// Connections that share a rate, by their policy.
    pub(crate) lanes: Slab<Lanes>,
    pub(crate) children: Children,
    /// One of the user's own; away while it is called.
    pub(crate) resolver: Option<Box<dyn Resolver>>,
    pub(crate) timers: Timers<Alarm>,
    pub(crate) tasks: Tasks,
    /// Functions behind connections that have not ended; a stop waits for them.
    pub(crate) functions: usize,
    pub(crate) pool: Pool,
    pub(crate) outputs: OutputPool,
    pub(crate) shutdown: Shutdown,
    pub(crate) signals: Signals,

    /// Connections to read from although no new edge will tell.
    pub(crate) ready: Vec<ConnectionId>,
    /// Those whose handshake can go on, in the order in which they came.
    pub(crate) handshakes: VecDeque<ConnectionId>,
    /// Listeners with more to accept than their share of a turn.
    pub(crate) accepting: Vec<ListenerId>,
    /// Connections with something to flush, or a close to drive on.
    pub(crate) dirty: Vec<ConnectionId>,
    pub(crate) births: VecDeque<Birth>,
    pub(crate) lost: Vec<ConnectionId>,
    pub(crate) departed: Option<Departed>,
    /// The datagram socket that is just now told of its end, and where it was.
    pub(crate) departed_port: Option<(DatagramId, Address)>,
    /// For `tls://` addresses that name no files.
    #[cfg(feature = "_tls")]
    pub(crate) tls_client: Option<crate::tls::TlsClient>,
    /// Who waits for the loss of a connection.
    pub(crate) watchers: BTreeMap<ConnectionId, Vec<Promise<Reason>>>,
    /// Values of users that must not be dropped while a callback runs: their `Drop` is user code.
    pub(crate) garbage: Vec<Box<dyn Any>>,

    pub(crate) local: Local,
    pub(crate) shared: Arc<Shared>,
}

impl Core {
    /// Whether the next turn has something to do without waiting.
    pub(crate) fn is_busy(&self) -> bool {
        !(self.ready.is_empty()
            && self.handshakes.is_empty()
            && self.accepting.is_empty()
            && self.dirty.is_empty()
            && self.births.is_empty()
            && self.lost.is_empty()
            && self.garbage.is_empty()
            && self.local.is_empty())
            || self.ports.is_busy()
            || self.children.is_busy()
            || self.tasks.has_ready()
            || self.shared.has_calls()
            || self.signals.has_arrived()
            || self.shutdown.is_due()
    }

    // Connections.

    /// Puts a connection on the list of those to read from, once; a handshake has to queue.
    pub(crate) fn mark_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.in_ready
        {
            connection.in_ready = true;
            if connection.is_handshaking() {
                self.handshakes.push_back(id);
            } else {
                self.ready.push(id);
            }
        }
    }

    /// Puts a connection on the list of those to flush, once.
    pub(crate) fn mark_dirty(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.in_dirty
        {
            connection.in_dirty = true;
            self.dirty.push(id);
        }
    }

    /// Begins to close in order: flush, FIN, linger. The first reason stays, unless a failure
    /// (`overrides`) explains more than the close that came before it.
    pub(crate) fn lose(&mut self, id: ConnectionId, reason: Reason, overrides: bool) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.stage == Stage::Lost {
            return;
        }
        if overrides || connection.reason.is_none() {
            connection.reason = Some(Box::new(reason));
        }
        if connection.stage != Stage::Open {
            return;
        }
        connection.stage = Stage::Flushing;
        connection.unread = Default::default();
        connection.progressed = false;
        // What is not read there is for others, and nobody waits for us to read it.
        connection.read_ended |= !connection.stream.needs_lingering();
        let timeout = connection.options.flush_timeout;
        let deadline = self.timers.insert(self.clock.after(timeout), Alarm::Flush(id));
        connection.deadline = Some(deadline);
        self.mark_ready(id);
        self.mark_dirty(id);
    }

    /// Ends a connection at once; its protocol is told in the step for losses.
    pub(crate) fn end(&mut self, id: ConnectionId, reason: Reason) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.stage == Stage::Lost {
            return;
        }
        connection.stage = Stage::Lost;
        connection.reason = Some(Box::new(reason));
        connection.unread = Default::default();
        let plain = connection.filter.as_mut().and_then(|filter| filter.plain().take());
        for output in connection.output.take().into_iter().chain(plain) {
            self.garbage.push(output); // a queued payload may have a user's `Drop`
        }
        self.lost.push(id);
    }

    /// Ends a connection at once, with a reset for the peer.
    pub(crate) fn abort(&mut self, id: ConnectionId, reason: Reason) {
        if let Some(connection) = self.connections.get_mut(id)
            && connection.stage != Stage::Lost
        {
            connection.stream.reset_on_close();
            self.end(id, reason);
        }
    }

    /// Ends a connection whose close has been completed, with the reason that began it.
    pub(crate) fn finish(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && connection.stage != Stage::Lost
        // its reason is for its protocol
        {
            let reason = connection.reason.take().map_or(Reason::Done, |reason| *reason);
            self.end(id, reason);
        }
    }

    /// Takes a close as far as it goes without waiting. Called whenever output has run dry.
    pub(crate) fn drive_closing(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let closing = connection.stage == Stage::Flushing;
        if !(closing || connection.write_closing) || connection.buffered() > 0 {
            return;
        }
        if let Some(filter) = &connection.filter {
            if filter.owes_last_words() && !connection.broken {
                return self.mark_dirty(id); // the flush says them, behind all else
            }
            if filter.is_handshaking() && !closing {
                return; // there is more to say before nothing more is said
            }
        }
        if !connection.write_ended && connection.stage != Stage::Lost {
            connection.write_ended = true;
            connection.write_closing = true;
            if self.network.shutdown_write(&mut connection.stream).is_err() {
                // The peer has reset it already; what reading finds says more, if anything.
                connection.fin_seen = true;
            }
        }
        match connection.stage {
            Stage::Open if connection.read_ended => self.finish(id),
            Stage::Flushing if connection.read_ended => self.finish(id),
            Stage::Flushing => {
                connection.stage = Stage::Lingering;
                let timeout = connection.options.linger_timeout;
                let flushing = connection.deadline.take();
                let deadline = self.timers.insert(self.clock.after(timeout), Alarm::Linger(id));
                connection.deadline = Some(deadline);
                if let Some(timer) = flushing {
                    self.timers.cancel(timer);
                }
                self.mark_ready(id);
            }
            _ => {}
        }
    }

    /// A closing connection's flush deadline: another round if output moved meanwhile.
    pub(crate) fn flush_timed_out(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.stage != Stage::Flushing {
            return;
        }
        // (Nor is the peer to blame while a rate makes this side wait.)
        if std::mem::take(&mut connection.progressed) || connection.writing_rationed {
            let deadline = self.clock.after(connection.options.flush_timeout);
            connection.deadline = Some(self.timers.insert(deadline, Alarm::Flush(id)));
        } else {
            warn!(target: LOG, "{}: {}", connection.peer, Reason::FlushTimedOut);
            self.abort(id, Reason::FlushTimedOut);
        }
    }

    pub(crate) fn resume_reading(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.stage == Stage::Open && connection.paused {
            connection.paused = false;
            let policed = connection.policed.is_some();
            // The edge is spent, and bytes held back make none: look again.
            self.mark_ready(id);
            if policed {
                self.silence_ended(id);
            }
        }
    }

    // Timers.

    pub(crate) fn call_later(
        &mut self,
        delay: Duration,
        call: Box<dyn FnOnce(&mut Reactor)>,
    ) -> TimerId {
        self.timers.insert(self.clock.after(delay), Alarm::Call(call))
    }

    pub(crate) fn cancel(&mut self, timer: TimerId) -> bool {
        match self.timers.cancel(timer) {
            None => false,
            Some(alarm) => {
                self.garbage.push(Box::new(alarm));
                true
            }
        }
    }

    pub(crate) fn reset(&mut self, timer: TimerId, delay: Duration) -> bool {
        self.timers.reset(timer, self.clock.after(delay))
    }
}

/// What listening and connecting answer to `tls://` without the feature.
#[cfg(not(feature = "_tls"))]
pub(crate) fn no_tls() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::Unsupported, "this program was built without TLS")
}
