//! One listening address for several reactors. For TCP each of them has a socket of its own
//! (`SO_REUSEPORT`), and the kernel spreads the callers; a Unix socket, or one that systemd passed,
//! exists once, and each has a duplicate of it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::net::{TcpListener, UnixListener};

use crate::address::Address;
use crate::core::Core;
use crate::endpoint::{Endpoint, Target};
use crate::identity::Source;
use crate::inherited;
use crate::listener::options_at;
use crate::network::Network;
use crate::options::ListenOptions;
use crate::protocol::AnyFactory;
use crate::resolver;
use crate::socket::Listening;
use crate::unix::BoundPath;
use crate::{Error, Factory, ListenerId, Reactor};

/// An address that several reactors listen on, each with a factory of its own: made by
/// [`Cores::listen`](crate::Cores::listen) or [`Simulation::share`](crate::Simulation::share), and
/// given to each with [`Reactor::listen_shared`].
///
/// On Linux the kernel spreads the callers of a TCP address evenly, by a hash of their addresses,
/// and each stays where it is. The duplicates of a Unix socket all hear of each caller, and the first
/// one to look takes it.
#[derive(Clone)]
pub struct SharedListener {
    inner: Arc<Inner>,
}

struct Inner {
    /// As it was given; for what is said of it.
    endpoint: Endpoint,
    address: Address,
    options: ListenOptions,
    held: Mutex<Held>,
}

enum Held {
    /// Bound and listening, so the port is ours from the beginning on. The first reactor takes it,
    /// the others bind beside it: a socket that nobody accepts from would have callers all the same.
    First(Option<TcpListener>),
    /// Duplicated for each reactor, and then let go.
    One(Option<One>),
    /// Of a simulation.
    Simulated,
}

struct One {
    socket: OwnedFd,
    is_tcp: bool,
    path: Option<Arc<BoundPath>>,
}

impl SharedListener {
    /// Listens at `endpoint`, so that reactors can join.
    pub(crate) fn bind(endpoint: Endpoint, options: ListenOptions) -> Result<Self, Error> {
        let options = options_at(&endpoint, options)?; // certificates are read once, for all
        let bound = match endpoint.target() {
            Target::Address(Address::Tcp(address) | Address::Udp(address)) => {
                bind_tcp(*address, &options)
            }
            Target::Address(address @ Address::Unix(_)) => bind_unix(address, &options),
            Target::Address(Address::Stdio) => Err(io::ErrorKind::Unsupported.into()),
            Target::Systemd(which) => inherited::take(which)
                .and_then(|descriptor| Listening::passed(descriptor, &options))
                .and_then(keep),
            Target::Name { host, port } => {
                let mut bound = Err(io::ErrorKind::AddrNotAvailable.into());
                for ip in resolver::here(host)? {
                    bound = bind_tcp(SocketAddr::new(ip, *port), &options);
                    if bound.is_ok() {
                        break;
                    }
                }
                bound
            }
        };
        match bound {
            Ok((address, held)) => Ok(Self::new(endpoint, address, options, held)),
            Err(source) => Err(Error::Listen { endpoint, source }),
        }
    }

    /// An address of a simulated network, at which nobody listens yet.
    pub(crate) fn simulated(
        endpoint: Endpoint,
        address: Address,
        options: ListenOptions,
    ) -> Result<Self, Error> {
        let options = options_at(&endpoint, options)?;
        Ok(Self::new(endpoint, address, options, Held::Simulated))
    }

    fn new(endpoint: Endpoint, address: Address, options: ListenOptions, held: Held) -> Self {
        Self { inner: Arc::new(Inner { endpoint, address, options, held: Mutex::new(held) }) }
    }

    /// Where it really listens, which tells the port that 0 became.
    pub fn address(&self) -> &Address {
        &self.inner.address
    }

    /// A listening socket for one more reactor.
    fn socket(&self) -> io::Result<Listening> {
        match &mut *self.lock() {
            Held::First(first) => match (first.take(), &self.inner.address) {
                (Some(listener), _) => Ok(Listening::Tcp(listener)),
                (None, Address::Tcp(address)) => {
                    Listening::tcp(*address, &self.inner.options.clone().reuse_port(true))
                }
                (None, _) => Err(io::ErrorKind::InvalidInput.into()),
            },
            Held::One(Some(one)) => one.duplicate(),
            Held::One(None) => Err(io::Error::other(
                "a socket that exists once is shared only until every reactor is set up",
            )),
            Held::Simulated => Err(io::Error::other("it belongs to a simulation")),
        }
    }

    /// Every reactor has what it wants: what is left of it is closed. Its path lives on with the
    /// last duplicate.
    pub(crate) fn release(&self) {
        let left = match &mut *self.lock() {
            Held::First(first) => (first.take(), None),
            Held::One(one) => (None, one.take()),
            Held::Simulated => (None, None),
        };
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedListener({})", self.inner.address)
    }
}

impl One {
    fn duplicate(&self) -> io::Result<Listening> {
        let socket = self.socket.try_clone()?;
        Ok(if self.is_tcp {
            Listening::Tcp(TcpListener::from_std(socket.into()))
        } else {
            let listener = UnixListener::from_std(socket.into());
            Listening::Unix { path: self.path.clone(), listener }
        })
    }
}

fn bind_tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<(Address, Held)> {
    if address.port() != 0 && !options.reuse_port {
        // With SO_REUSEPORT a second program of the same user would be let in beside us, and half of
        // the callers would be its: without it, the kernel tells that somebody listens there.
        drop(Listening::tcp(address, options)?);
    }
    let listening = Listening::tcp(address, &options.clone().reuse_port(true))?;
    let address = listening.local_address()?;
    match listening {
        Listening::Tcp(listener) => Ok((address, Held::First(Some(listener)))),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn bind_unix(address: &Address, options: &ListenOptions) -> io::Result<(Address, Held)> {
    match address {
        Address::Unix(address) => keep(Listening::unix(address, options)?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn keep(listening: Listening) -> io::Result<(Address, Held)> {
    let address = listening.local_address()?;
    let one = match listening {
        Listening::Tcp(listener) => {
            One { socket: listener.as_fd().try_clone_to_owned()?, is_tcp: true, path: None }
        }
        Listening::Unix { path, listener } => {
            One { socket: listener.as_fd().try_clone_to_owned()?, is_tcp: false, path }
        }
        Listening::Simulated(_) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    Ok((address, Held::One(Some(one))))
}

impl Network {
    fn listen_shared(&mut self, shared: &SharedListener, source: Source) -> io::Result<Listening> {
        if let Self::Simulated(_) = self {
            let options = shared.inner.options.clone().reuse_port(true);
            return self.listen(&shared.inner.address, &options, source);
        }
        let mut listening = shared.socket()?;
        self.watch(&mut listening, source)?;
        Ok(listening)
    }
}

impl Reactor {
    /// Listens at an address that other reactors listen on, too: each caller comes to one of them,
    /// and gets its protocol from that one's factory.
    ///
    /// # Errors
    /// [`Error::Listen`] when there is no descriptor for it, and [`Error::Stopped`].
    pub fn listen_shared(
        &mut self,
        shared: &SharedListener,
        factory: impl Factory,
    ) -> Result<ListenerId, Error> {
        self.core.listen_shared(shared, Box::new(factory))
    }
}

impl Core {
    fn listen_shared(
        &mut self,
        shared: &SharedListener,
        factory: Box<dyn AnyFactory>,
    ) -> Result<ListenerId, Error> {
        let bound = if self.shutdown.is_stopping() {
            Err(Error::Stopped)
        } else {
            let source = self.next_listener();
            match self.network.listen_shared(shared, source) {
                Ok(socket) => Ok((socket, shared.inner.options.clone())),
                Err(source) => {
                    Err(Error::Listen { endpoint: shared.inner.endpoint.clone(), source })
                }
            }
        };
        self.add_listener(bound, factory)
    }
}
