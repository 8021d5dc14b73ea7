//! Where readiness comes from: the kernel's poller, or the simulated network. The reactor sees
//! one list of what became ready, and registers its sockets without knowing which it is.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Waker};

use crate::address::Address;
use crate::endpoint::Passed;
use crate::identity::Source;
use crate::inherited;
use crate::options::ListenOptions;
use crate::simulation::network as simulated;
use crate::socket::{self, Listening, Stream};

/// Events taken from the kernel in one call. More wait for the next turn, so this also bounds
/// how long a turn's first step can be.
const EVENTS_A_TURN: usize = 1024;

/// What became ready, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) source: Source,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has closed its sending half: a FIN waits behind the data.
    pub(crate) read_closed: bool,
    /// The socket has failed: it was reset, or refused.
    pub(crate) failed: bool,
}

#[derive(Debug)]
pub(crate) enum Network {
    Kernel { poll: Poll, events: Events },
    Simulated(simulated::Port),
}

impl Network {
    pub(crate) fn kernel() -> io::Result<Self> {
        Ok(Self::Kernel { poll: Poll::new()?, events: Events::with_capacity(EVENTS_A_TURN) })
    }

    /// What wakes this poller from another thread; a simulation needs none.
    pub(crate) fn waker(&self) -> io::Result<Option<Arc<Waker>>> {
        match self {
            Self::Kernel { poll, .. } => {
                Ok(Some(Arc::new(Waker::new(poll.registry(), Source::Waker.token())?)))
            }
            Self::Simulated(_) => Ok(None),
        }
    }

    /// Waits until something is ready, or for `limit`, and appends what is.
    pub(crate) fn poll(
        &mut self,
        ready: &mut Vec<Readiness>,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let (poll, events) = match self {
            Self::Kernel { poll, events } => (poll, events),
            Self::Simulated(port) => {
                port.poll(ready);
                return Ok(());
            }
        };
        match poll.poll(events, limit) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        ready.extend(events.iter().map(|event| Readiness {
            source: Source::of(event.token()),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            failed: event.is_error(),
        }));
        Ok(())
    }

    pub(crate) fn listen(
        &mut self,
        address: &Address,
        options: &ListenOptions,
        source: Source,
    ) -> io::Result<Listening> {
        let Address::Tcp(address) = address else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        match self {
            Self::Kernel { .. } => {
                let mut listening = Listening::tcp(*address, options)?;
                self.watch(&mut listening, source)?;
                Ok(listening)
            }
            Self::Simulated(port) => {
                port.listen(*address, options, source).map(Listening::Simulated)
            }
        }
    }

    /// Listens on a socket that systemd passed to this process.
    pub(crate) fn listen_passed(
        &mut self,
        which: &Passed,
        options: &ListenOptions,
        source: Source,
    ) -> io::Result<Listening> {
        if let Self::Simulated(_) = self {
            let problem = "no socket is passed to a simulation";
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        }
        let mut listening = Listening::passed(inherited::take(which)?, options)?;
        self.watch(&mut listening, source)?;
        Ok(listening)
    }

    /// Tells the kernel's poller of a listener.
    fn watch(&mut self, listening: &mut Listening, source: Source) -> io::Result<()> {
        match (self, listening) {
            (Self::Kernel { poll, .. }, Listening::Tcp(listener)) => {
                poll.registry().register(listener, source.token(), Interest::READABLE)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn connect(
        &mut self,
        address: &Address,
        bind: Option<SocketAddr>,
        source: Source,
    ) -> io::Result<Stream> {
        let Address::Tcp(address) = address else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        match self {
            Self::Kernel { .. } => {
                let mut stream = socket::connect_tcp(*address, bind)?;
                self.register(&mut stream, source)?;
                Ok(stream)
            }
            Self::Simulated(port) => {
                port.connect(*address, bind, source).map(|end| Stream::Simulated(Box::new(end)))
            }
        }
    }

    /// Asks for both edges at once and for good: pausing is a flag of ours, so no connection ever
    /// costs another call to the poller.
    pub(crate) fn register(&mut self, stream: &mut Stream, source: Source) -> io::Result<()> {
        match (self, stream) {
            (Self::Kernel { poll, .. }, Stream::Tcp(stream)) => poll.registry().register(
                stream,
                source.token(),
                Interest::READABLE | Interest::WRITABLE,
            ),
            (_, Stream::Simulated(stream)) => {
                stream.register(source);
                Ok(())
            }
            (Self::Simulated(_), Stream::Tcp(_)) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Gives a registered stream another name. An edge that was already told is told again.
    pub(crate) fn rename(&mut self, stream: &mut Stream, source: Source) -> io::Result<()> {
        match (self, stream) {
            (Self::Kernel { poll, .. }, Stream::Tcp(stream)) => poll.registry().reregister(
                stream,
                source.token(),
                Interest::READABLE | Interest::WRITABLE,
            ),
            (network, stream) => network.register(stream, source),
        }
    }

    pub(crate) fn register_signals(
        &mut self,
        signals: &mut signal_hook_mio::v1_0::Signals,
    ) -> io::Result<()> {
        match self {
            Self::Kernel { poll, .. } => {
                poll.registry().register(signals, Source::Signals.token(), Interest::READABLE)
            }
            Self::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The simulated network, if this is it.
    pub(crate) fn simulated(&self) -> Option<&Rc<RefCell<simulated::Net>>> {
        match self {
            Self::Kernel { .. } => None,
            Self::Simulated(port) => Some(port.net()),
        }
    }

    /// The addresses that the simulation's table has for a name; `None` outside of one.
    pub(crate) fn simulated_name(&self, host: &str, port: u16) -> Option<io::Result<Vec<Address>>> {
        Some(self.simulated()?.borrow().resolve(host, port))
    }
}
