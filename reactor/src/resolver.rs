//! Names to addresses: by the system's resolver on the thread pool, by the simulation's table in
//! a simulation. The loop never waits for a name.

use std::io;
use std::net::ToSocketAddrs;

use crate::address::{Address, Endpoint};
use crate::core::Core;
use crate::network::Network;
use crate::{Deferred, Error};

/// Waits for the answer: for listening, which happens at start.
pub(crate) fn now(network: &Network, endpoint: &Endpoint) -> Result<Vec<Address>, Error> {
    let (host, port) = match endpoint {
        Endpoint::Address(address) => return Ok(vec![*address]),
        Endpoint::Name { host, port } => (host, *port),
    };
    let answer = match network.simulated_name(endpoint) {
        Some(answer) => answer,
        None => lookup(host, port),
    };
    answer.map_err(|source| Error::Resolve { host: host.clone(), source })
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
        let endpoint = Endpoint::Name { host: host.to_owned(), port };
        let answer = self.network.simulated_name(&endpoint);
        let host = host.to_owned();
        self.defer_to_thread(move || {
            let answer = answer.unwrap_or_else(|| lookup(&host, port));
            answer.map_err(|source| Error::Resolve { host, source })
        })
    }
}
