//! Where a peer is (`Address`) and where to listen or connect (`Endpoint`, which may still be a
//! name to resolve).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::Error;

/// The address of one end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
}

impl Address {
    /// The IP address and port, for a transport that has one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let Self::Tcp(address) = self;
        Some(*address)
    }

    /// The IP address, for a transport that has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }

    /// The port, for a transport that has one.
    pub fn port(&self) -> Option<u16> {
        self.socket_addr().map(|address| address.port())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    /// As on the command line: `tcp://127.0.0.1:5672`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Tcp(address) = self;
        write!(f, "tcp://{address}")
    }
}

/// Where to listen or to connect: `127.0.0.1:5672`, `[::1]:5672`, `tcp://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Endpoint {
    /// An address.
    Address(Address),
    /// A host name and a port; it is resolved off the loop.
    Name {
        /// The name, as DNS or the hosts file knows it.
        host: String,
        /// The TCP port.
        port: u16,
    },
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let bad = |problem| Error::BadAddress { given: given.to_owned(), problem };
        let rest = match given.split_once("://") {
            None => given,
            Some(("tcp", rest)) => rest,
            Some(_) => return Err(bad("only tcp:// is known here")),
        };
        if let Ok(address) = rest.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
        let port = port.parse().map_err(|_| bad("the port is not a number from 0 to 65535"))?;
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        if host.contains(':') || host.contains('[') {
            return Err(bad("an IPv6 address stands in brackets"));
        }
        if host.len() > MAX_HOST_NAME || !host.bytes().all(is_name_byte) {
            return Err(bad("that is not a host name"));
        }
        if host == "localhost" {
            // RFC 6761 §6.3: a resolver may answer this one itself, and always with loopback.
            return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into());
        }
        Ok(Self::Name { host: host.to_owned(), port })
    }
}

/// RFC 1035 §2.3.4: a name is at most 255 octets, 253 of them as text.
const MAX_HOST_NAME: usize = 253;

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Address(Address::Tcp(address))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// What `listen` and `connect` take: an endpoint, an address, or a string to parse.
pub trait IntoEndpoint {
    /// The endpoint, or why it is none.
    fn into_endpoint(self) -> Result<Endpoint, Error>;
}

impl IntoEndpoint for &str {
    fn into_endpoint(self) -> Result<Endpoint, Error> {
        self.parse()
    }
}

impl IntoEndpoint for &String {
    fn into_endpoint(self) -> Result<Endpoint, Error> {
        self.parse()
    }
}

impl<T: Into<Endpoint>> IntoEndpoint for T {
    fn into_endpoint(self) -> Result<Endpoint, Error> {
        Ok(self.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_each_of_their_forms() {
        for (given, shown) in [
            ("127.0.0.1:5672", "tcp://127.0.0.1:5672"),
            ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
            ("[::1]:5672", "tcp://[::1]:5672"),
            ("tcp://[::1]:5672", "tcp://[::1]:5672"),
            ("tcp://example.org:80", "tcp://example.org:80"),
            ("localhost:7", "tcp://127.0.0.1:7"),
        ] {
            let endpoint: Endpoint = given.parse().expect(given);
            assert_eq!(endpoint.to_string(), shown);
        }
    }

    #[test]
    fn a_bad_address_is_told_with_what_is_wrong_and_a_right_one() {
        for (given, problem) in [
            ("5672", "the port is missing"),
            ("127.0.0.1:70000", "the port is not a number"),
            ("::1:5672", "brackets"),
            (":80", "the host is missing"),
            ("http://127.0.0.1:80", "only tcp://"),
            ("ho st:80", "not a host name"),
        ] {
            let error = given.parse::<Endpoint>().expect_err(given).to_string();
            assert!(error.contains(problem), "{given}: {error}");
            assert!(error.contains("127.0.0.1:5672"), "{given}: {error}");
        }
    }
}
