//! Names to addresses. The loop never waits for a name: whoever resolves answers later. The
//! resolver can be replaced; the one that is there to begin with asks the system on the thread
//! pool, and in a simulation the simulation's table.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use crate::network::Network;
use crate::panics::isolate;
use crate::{Deferred, Error, Reactor};

/// Turns host names into addresses, for [`connect`](Reactor::connect). Every closure of this shape
/// is one.
///
/// It is called on the loop, between callbacks, so it must not wait: it gives a deferred, and
/// answers when it knows. What it answers is tried in the order of RFC 8305. `localhost` is never
/// asked for: it is always this machine (RFC 6761, §6.3).
#[doc(alias = "IHostnameResolver")]
pub trait Resolver: 'static {
    /// The addresses of `host`, the best first. An error is what the connect fails with.
    fn resolve(&mut self, reactor: &mut Reactor, host: &str) -> Deferred<Vec<IpAddr>>;
}

impl<F> Resolver for F
where
    F: FnMut(&mut Reactor, &str) -> Deferred<Vec<IpAddr>> + 'static,
{
    fn resolve(&mut self, reactor: &mut Reactor, host: &str) -> Deferred<Vec<IpAddr>> {
        self(reactor, host)
    }
}

/// The addresses of `localhost`; `None` for any other name.
pub(crate) fn loopback(host: &str) -> Option<Vec<IpAddr>> {
    let is_local = host.eq_ignore_ascii_case("localhost");
    is_local.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// Waits for the answer: for listening, which happens at start. A resolver of one's own is not
/// asked, since it can answer only when the loop turns.
pub(crate) fn now(network: &Network, host: &str) -> Result<Vec<IpAddr>, Error> {
    if let Some(addresses) = loopback(host) {
        return Ok(addresses);
    }
    let answer = network.simulated_name(host).unwrap_or_else(|| lookup(host));
    answer.map_err(|source| Error::Resolve { host: host.to_owned(), source })
}

/// As [`now`], before there is a network to ask.
pub(crate) fn here(host: &str) -> Result<Vec<IpAddr>, Error> {
    let answer = loopback(host).map_or_else(|| lookup(host), Ok);
    answer.map_err(|source| Error::Resolve { host: host.to_owned(), source })
}

#[expect(clippy::disallowed_methods, reason = "the seam itself: names enter here")]
fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    let addresses: Vec<_> = (host, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// The system's resolver, getaddrinfo(3), on the thread pool.
fn system(reactor: &mut Reactor, host: &str) -> Deferred<Vec<IpAddr>> {
    let (promise, deferred) = reactor.deferred();
    let simulated = reactor.core_mut().network.simulated_name(host);
    let host = host.to_owned();
    let answer = reactor.defer_to_thread(move || {
        let answer = simulated.unwrap_or_else(|| lookup(&host));
        answer.map_err(|source| Error::Resolve { host, source })
    });
    answer.then(|_, answer| promise.fire(answer.and_then(|addresses| addresses)));
    deferred
}

impl Reactor {
    /// Lets `resolver` turn names into addresses from now on.
    #[doc(alias = "installNameResolver")]
    pub fn set_resolver(&mut self, resolver: impl Resolver) {
        let earlier = self.core_mut().resolver.replace(Box::new(resolver));
        self.core_mut().garbage.push(Box::new(earlier));
    }

    /// Asks the resolver; not to be called from a callback, since it enters user code.
    pub(crate) fn resolve(&mut self, host: &str) -> Deferred<Vec<IpAddr>> {
        let Some(mut resolver) = self.core_mut().resolver.take() else {
            return system(self, host);
        };
        let answer = isolate(|| resolver.resolve(self, host));
        // Unless it has put another one in its place.
        let place = &mut self.core_mut().resolver;
        match place {
            None => *place = Some(resolver),
            Some(_) => self.core_mut().garbage.push(Box::new(resolver)),
        }
        answer.unwrap_or_else(|message| {
            log::error!(target: crate::LOG, "the resolver panicked over {host}: {message}");
            let (promise, deferred) = self.deferred();
            promise.fail(Error::Panicked(message));
            deferred
        })
    }
}
