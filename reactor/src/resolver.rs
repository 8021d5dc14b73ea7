//! Names to addresses: by the system's resolver on the thread pool, by the simulation's table in
//! a simulation. The loop never waits for a name.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use crate::address::Address;
use crate::core::Core;
use crate::network::Network;
use crate::{Deferred, Error};

/// Waits for the answer: for listening, which happens at start.
pub(crate) fn now(network: &Network, host: &str, port: u16) -> Result<Vec<Address>, Error> {
    if let Some(addresses) = loopback(host, port) {
        return Ok(addresses);
    }
    let answer = network.simulated_name(host, port).unwrap_or_else(|| lookup(host, port));
    answer.map_err(|source| Error::Resolve { host: host.to_owned(), source })
}

/// The addresses of `localhost`, which a resolver may answer itself, and always with loopback
/// (RFC 6761 §6.3).
pub(crate) fn loopback(host: &str, port: u16) -> Option<Vec<Address>> {
    let is_local = host.eq_ignore_ascii_case("localhost");
    is_local.then(|| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()])
}

#[expect(clippy::disallowed_methods, reason = "the seam itself: names enter here")]
fn lookup(host: &str, port: u16) -> io::Result<Vec<Address>> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.map(Address::Tcp).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

impl Core {
    /// The addresses of `host`, later.
    pub(crate) fn resolve(
        &mut self,
        host: &str,
        port: u16,
    ) -> Deferred<Result<Vec<Address>, Error>> {
        let simulated = self.network.simulated_name(host, port);
        let host = host.to_owned();
        self.defer_to_thread(move || {
            let answer = simulated.unwrap_or_else(|| lookup(&host, port));
            answer.map_err(|source| Error::Resolve { host, source })
        })
    }
}
