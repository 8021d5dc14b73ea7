//! Accepting: a bounded share of a turn, and what happens when descriptors run out.
//!
//! With edges alone a listener that failed once would stay deaf, with levels it would spin. So a
//! reserve descriptor sheds the callers that cannot be served (they see a prompt close instead
//! of a silence), and a timer looks again.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use log::{error, info, warn};

use crate::address::Address;
use crate::core::{Alarm, Birth, Core};
use crate::endpoint::{Endpoint, IntoEndpoint, Target};
use crate::identity::{ListenerId, Source};
use crate::options::{ConnectionOptions, ListenOptions};
use crate::policy::Policy;
use crate::protocol::AnyFactory;
use crate::socket::Listening;
use crate::{Error, Factory, LOG, Reactor};

/// Connections accepted from one listener in one turn: enough for a burst, and short beside
/// what the established ones do in a turn.
const ACCEPTS_A_TURN: usize = 64;
/// How long after descriptors ran out to look again. Long enough not to spin, short enough that
/// a caller whom the reserve could not shed does not give up.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// A listening socket, and what makes protocols for it.
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    pub(crate) socket: Listening,
    pub(crate) factory: Box<dyn AnyFactory>,
    pub(crate) connection: Rc<ConnectionOptions>,
    /// Connections begin with a PROXY header, which must come within this time.
    pub(crate) proxy: Option<Duration>,
    pub(crate) policy: Option<Policy>,
    /// Its policy allows no more connections, and will tell when it does.
    pub(crate) waits_for_seat: bool,
    #[cfg(feature = "_tls")]
    pub(crate) tls: Option<crate::tls::TlsServer>,
    /// In the list of listeners with more to accept.
    pub(crate) in_accepting: bool,
    /// Descriptors ran out: said once, until accepting works again.
    starved: bool,
    /// A timer is set to look again: one is enough, however many callers come meanwhile.
    looks_again: bool,
    /// Given up for a moment to take a caller off the queue and close the line.
    reserve: Option<File>,
}

impl Listener {
    pub(crate) fn new(
        id: ListenerId,
        socket: Listening,
        factory: Box<dyn AnyFactory>,
        options: ListenOptions,
    ) -> Self {
        let mut listener = Self {
            id,
            socket,
            factory,
            connection: Rc::new(options.connection),
            proxy: options.proxy.then_some(options.proxy_timeout),
            policy: options.policy,
            waits_for_seat: false,
            #[cfg(feature = "_tls")]
            tls: options.tls,
            in_accepting: false,
            starved: false,
            looks_again: false,
            reserve: None,
        };
        listener.keep_reserve();
        listener
    }

    fn keep_reserve(&mut self) {
        if self.reserve.is_none() && self.socket.is_kernel() {
            self.reserve = File::open("/dev/null").ok();
        }
    }

    /// Takes one caller off the queue and closes the line; false when even that cannot be done.
    fn shed(&mut self) -> bool {
        if self.socket.is_kernel() && self.reserve.take().is_none() {
            return false;
        }
        let shed = match &mut self.socket {
            Listening::Simulated(socket) => socket.shed(),
            _ => self.socket.accept().is_ok(),
        };
        self.keep_reserve();
        shed
    }
}

/// What an error of accept(2) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Nothing to accept.
    Nothing,
    /// That caller only: it has gone, a firewall said no, or the network failed under it (Linux
    /// hands on such errors of the new socket; accept(2) says to try the next).
    ThisCaller,
    /// No descriptor left, here or in the whole system.
    NoDescriptors,
    /// No memory for another socket: only time helps.
    NoMemory,
    /// Something else; time may help.
    Other,
}

fn trouble(error: &io::Error) -> Trouble {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::WouldBlock, _) => Trouble::Nothing,
        (io::ErrorKind::ConnectionAborted | io::ErrorKind::PermissionDenied, _) => {
            Trouble::ThisCaller
        }
        (
            _,
            Some(
                libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH,
            ),
        ) => Trouble::ThisCaller,
        (_, Some(libc::EMFILE | libc::ENFILE)) => Trouble::NoDescriptors,
        (_, Some(libc::ENOMEM | libc::ENOBUFS)) => Trouble::NoMemory,
        _ => Trouble::Other,
    }
}

impl Core {
    /// Listens at `endpoint`. A factory that is not wanted after all is dropped between callbacks.
    pub(crate) fn listen(
        &mut self,
        endpoint: Result<Endpoint, Error>,
        factory: Box<dyn AnyFactory>,
        options: ListenOptions,
    ) -> Result<ListenerId, Error> {
        let bound = endpoint.and_then(|endpoint| self.bind(endpoint, options));
        self.add_listener(bound, factory)
    }

    /// A socket that listens for the listener that is added next.
    fn bind(
        &mut self,
        endpoint: Endpoint,
        options: ListenOptions,
    ) -> Result<(Listening, ListenOptions), Error> {
        if self.shutdown.is_stopping() {
            return Err(Error::Stopped);
        }
        let options = options_at(&endpoint, options)?;
        let source = self.next_listener();
        let bound = match endpoint.target() {
            Target::Systemd(which) => self.network.listen_passed(which, &options, source),
            Target::Address(address) => self.network.listen(address, &options, source),
            Target::Name { host, port } => {
                let mut bound = Err(io::ErrorKind::AddrNotAvailable.into());
                for ip in crate::resolver::now(&self.network, host)? {
                    let address = SocketAddr::new(ip, *port).into();
                    bound = self.network.listen(&address, &options, source);
                    if bound.is_ok() {
                        break;
                    }
                }
                bound
            }
        };
        match bound {
            Ok(socket) => Ok((socket, options)),
            Err(source) => Err(Error::Listen { endpoint, source }),
        }
    }

    /// What the poller is to call the listener that is added next.
    pub(crate) fn next_listener(&self) -> Source {
        Source::Listener(self.listeners.vacant_key() as u32)
    }

    /// Adds the listener that has this socket, if there is one.
    pub(crate) fn add_listener(
        &mut self,
        bound: Result<(Listening, ListenOptions), Error>,
        factory: Box<dyn AnyFactory>,
    ) -> Result<ListenerId, Error> {
        match bound {
            Ok((socket, options)) => {
                let slot = self.listeners.vacant_key() as u32;
                let id = ListenerId { slot, generation: self.generations.next() };
                self.listeners.insert(Listener::new(id, socket, factory, options));
                Ok(id)
            }
            Err(error) => {
                self.garbage.push(Box::new(factory));
                Err(error)
            }
        }
    }

    pub(crate) fn listener(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.listeners
            .get_mut(id.slot as usize)
            .filter(|listener| listener.id.generation == id.generation)
    }

    pub(crate) fn stop_listening(&mut self, id: ListenerId) -> bool {
        if self.listener(id).is_none() {
            return false;
        }
        self.close_arrivals(id);
        let listener = self.listeners.remove(id.slot as usize);
        self.garbage.push(Box::new(listener.factory));
        true
    }

    /// Accepts a turn's share; the newcomers are born later in this turn.
    pub(crate) fn accept(&mut self, id: ListenerId) {
        let Some(listener) = self.listener(id) else { return };
        listener.in_accepting = false;
        for _ in 0..ACCEPTS_A_TURN {
            let Some(entrance) = self.entrance(id) else { return };
            let Some(listener) = self.listeners.get_mut(id.slot as usize) else { return };
            let failure = match listener.socket.accept() {
                Ok((stream, peer)) => {
                    if std::mem::take(&mut listener.starved) {
                        listener.keep_reserve(); // it may have been lost to somebody else
                        info!(target: LOG, "accepting again on {}", here(listener));
                    }
                    match entrance.seat() {
                        Ok(seat) => {
                            let listener = id;
                            self.births.push_back(Birth::Accepted { listener, stream, peer, seat });
                        }
                        Err(full) => self.refused(id, &peer, full),
                    }
                    continue;
                }
                Err(error) => error,
            };
            let kind = trouble(&failure);
            match kind {
                Trouble::Nothing => return,
                Trouble::ThisCaller => continue,
                Trouble::NoDescriptors | Trouble::NoMemory | Trouble::Other => {}
            }
            if !std::mem::replace(&mut listener.starved, true) {
                warn!(
                    target: LOG,
                    "cannot accept on {}: {failure}; callers are turned away until that is over \
                     (a higher limit on open files may help: ulimit -n)",
                    here(listener),
                );
            }
            if matches!(kind, Trouble::NoDescriptors) && listener.shed() {
                continue;
            }
            if !std::mem::replace(&mut listener.looks_again, true) {
                self.timers.insert(self.clock.after(TRY_AGAIN), Alarm::Accept(id));
            }
            return;
        }
        self.accept_later(id);
    }

    /// Descriptors ran out a while ago: looks whether there are some again.
    pub(crate) fn accept_again(&mut self, id: ListenerId) {
        if let Some(listener) = self.listener(id) {
            listener.looks_again = false;
        }
        self.accept(id);
    }

    /// Accepts more in the next turn, although no edge will tell.
    fn accept_later(&mut self, id: ListenerId) {
        if let Some(listener) = self.listener(id)
            && !std::mem::replace(&mut listener.in_accepting, true)
        {
            self.accepting.push(id);
        }
    }
}

impl Reactor {
    /// Lets a listener serve something else, without closing its socket: connections from now on get
    /// their protocols from this factory, and begin with these options, those of `endpoint` first, as
    /// in [`listen_with`](Self::listen_with). Those that are there already go on as they are. What
    /// belongs to the socket itself (where it listens, the backlog, the mode) stays.
    ///
    /// # Errors
    /// [`Error::Gone`] when it does not listen any more; for `tls://` those of its files, and
    /// [`Error::Listen`] in a program that was built without TLS. Then nothing has changed.
    pub fn change_listener(
        &mut self,
        listener: ListenerId,
        options: ListenOptions,
        endpoint: impl IntoEndpoint,
        factory: impl Factory,
    ) -> Result<(), Error> {
        let options = endpoint.into_endpoint().and_then(|endpoint| options_at(&endpoint, options));
        let core = self.core_mut();
        let (found, options) = match (core.listener(listener), options) {
            (Some(found), Ok(options)) => (found, options),
            (_, refused) => {
                core.garbage.push(Box::new(factory)); // its `Drop` may be anything
                return Err(refused.err().unwrap_or(Error::Gone));
            }
        };
        found.connection = Rc::new(options.connection);
        found.proxy = options.proxy.then_some(options.proxy_timeout);
        #[cfg(feature = "_tls")]
        {
            found.tls = options.tls;
        }
        found.policy = options.policy;
        let waited = std::mem::take(&mut found.waits_for_seat);
        let former = std::mem::replace(&mut found.factory, Box::new(factory));
        core.garbage.push(Box::new(former));
        if waited {
            core.accept_later(listener); // the policy that would tell is not its own any more
        }
        Ok(())
    }
}

/// What a listener at `endpoint` begins with: what that says itself goes before `options`, and the
/// certificates of `tls://` are read. Every way to listen goes through here, so none of them goes on
/// in plaintext where there is no TLS.
pub(crate) fn options_at(
    endpoint: &Endpoint,
    options: ListenOptions,
) -> Result<ListenOptions, Error> {
    endpoint.check_stream()?;
    let options = endpoint.listen_options(options);
    match endpoint.tls() {
        None => Ok(options),
        #[cfg(feature = "_tls")]
        Some(_) if options.tls.is_some() => Ok(options),
        #[cfg(feature = "_tls")]
        Some(files) => Ok(options.tls(files.server()?)),
        #[cfg(not(feature = "_tls"))]
        Some(_) => Err(Error::Listen { endpoint: endpoint.clone(), source: crate::core::no_tls() }),
    }
}

fn here(listener: &Listener) -> String {
    match listener.socket.local_address() {
        Ok(address) => Address::to_string(&address),
        Err(error) => {
            error!(target: LOG, "a listener has no address: {error}");
            "a listener".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_caller_are_skipped_and_those_of_the_system_slow_accepting_down() {
        for (errno, meaning) in [
            (libc::EAGAIN, Trouble::Nothing),
            (libc::ECONNABORTED, Trouble::ThisCaller),
            (libc::EPERM, Trouble::ThisCaller),
            (libc::EHOSTUNREACH, Trouble::ThisCaller),
            (libc::EMFILE, Trouble::NoDescriptors),
            (libc::ENFILE, Trouble::NoDescriptors),
            (libc::ENOBUFS, Trouble::NoMemory),
            (libc::ENOMEM, Trouble::NoMemory),
            (libc::EINVAL, Trouble::Other),
        ] {
            assert_eq!(trouble(&io::Error::from_raw_os_error(errno)), meaning, "{errno}");
        }
    }
}
