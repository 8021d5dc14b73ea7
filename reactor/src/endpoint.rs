//! Where to listen or to connect, as people write it: `tcp://host:port`, `tls://host:port`,
//! `unix:/path`, `systemd:0`, each with options behind a `?`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::address::Address;
use crate::datagram::DatagramOptions;
use crate::options::ListenOptions;
use crate::{Error, percent};

mod read;

/// Where to listen or to connect, read from a string or made from an address.
///
/// | written | means |
/// |---|---|
/// | `tcp://127.0.0.1:8080`, `127.0.0.1:8080` | TCP |
/// | `tcp://[::1]:8080` | TCP over IPv6: the address stands in brackets |
/// | `tcp://example.org:8080` | a name; it is resolved off the loop |
/// | `tls://0.0.0.0:8443?cert=FILE&key=FILE` | TLS, with a certificate and its key in PEM |
/// | `udp://0.0.0.0:53` | UDP, for [`listen_datagram`](crate::Reactor::listen_datagram) |
/// | `unix:/run/app.sock` | a Unix socket at that path |
/// | `unix:@app` | a Unix socket in Linux's abstract namespace |
/// | `systemd:0`, `systemd:web` | the first socket that systemd passed to this process, or the one of that name (`FileDescriptorName=`), see sd_listen_fds(3) |
///
/// Options for listening follow a `?`, with `&` between them. They go before those that
/// [`listen_with`](crate::Reactor::listen_with) is given:
///
/// | option | means |
/// |---|---|
/// | `proxy=true` | each connection begins with a PROXY protocol header, see [`ListenOptions::proxy`] |
/// | `backlog=4096` | connections that the kernel holds until they are accepted |
/// | `reuse-port=true` | several sockets share the address (TCP, UDP) |
/// | `mode=660` | who may connect: the permissions of the path, in octal (Unix sockets) |
/// | `client-ca=FILE` | clients must show a certificate that one of these signed (TLS) |
///
/// `tls://` reads its files when it is listened on or connected to; [`tls`](crate::tls) has more.
///
/// In a path or a file name, `%3F` stands for `?`, `%26` for `&` and `%25` for `%`.
///
/// ```
/// use ropewalk_reactor::Endpoint;
///
/// let endpoint: Endpoint = "unix:/run/app.sock?mode=660".parse()?;
/// assert_eq!(endpoint.to_string(), "unix:/run/app.sock?mode=660");
/// let error = "127.0.0.1:99999".parse::<Endpoint>().expect_err("too large");
/// assert!(error.to_string().contains("port 99999 is over 65535"));
/// # Ok::<(), ropewalk_reactor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    target: Target,
    /// It was written `udp://`.
    datagrams: bool,
    tls: Option<Box<TlsFiles>>,
    listening: Listening,
}

/// What an [`Endpoint`] points to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Target {
    /// An address.
    Address(Address),
    /// A host name and a port; it is resolved off the loop.
    Name {
        /// The name, as DNS or the hosts file knows it.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// A socket that systemd passed to this process, to listen on.
    Systemd(Passed),
}

/// Which of the sockets that systemd passed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Passed {
    /// By its place, counted from 0 (descriptor 3).
    Index(usize),
    /// By its name: `FileDescriptorName=` in the `.socket` unit.
    Name(String),
}

/// The files of a `tls://` address, as paths; nothing has been read from them.
///
/// To listen, `certificate` and `key` are needed; to connect, both are a client's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct TlsFiles {
    /// `cert=`: the certificate and what links it to its authority, in PEM. There exactly if
    /// `key` is.
    pub certificate: Option<PathBuf>,
    /// `key=`: the certificate's private key, in PEM.
    pub key: Option<PathBuf>,
    /// `client-ca=`: the authorities of which clients must show a certificate, in PEM.
    pub client_ca: Option<PathBuf>,
}

/// What the address itself says of listening; what it does not say, [`ListenOptions`] do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Listening {
    proxy: Option<bool>,
    backlog: Option<u32>,
    reuse_port: Option<bool>,
    mode: Option<u32>,
}

/// An option behind the `?`: how it is written, and for what kinds of address.
const PROXY: &str = "proxy";
const BACKLOG: &str = "backlog";
const REUSE_PORT: &str = "reuse-port";
const MODE: &str = "mode";
const CERTIFICATE: &str = "cert";
const KEY: &str = "key";
const CLIENT_CA: &str = "client-ca";

impl Endpoint {
    fn new(target: Target) -> Self {
        Self { target, datagrams: false, tls: None, listening: Listening::default() }
    }

    /// What it points to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The files of a `tls://` address; `None` for any other.
    pub fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_deref()
    }

    /// Whether it was written `udp://`: for datagrams, and not for connections.
    pub fn is_datagram(&self) -> bool {
        self.datagrams
    }

    /// Whether it says that each connection begins with a PROXY protocol header: `?proxy=true`.
    pub fn is_proxied(&self) -> bool {
        self.listening.proxy == Some(true)
    }

    /// Whether a socket that listens at the other address could be one of this one as it is: the same
    /// place, and the same `backlog`, `reuse-port` and `mode`. What its connections begin with (TLS, a
    /// PROXY header) may differ: [`change_listener`](crate::Reactor::change_listener) changes that.
    pub fn is_same_socket(&self, other: &Self) -> bool {
        let socket = |of: &Self| Listening { proxy: None, ..of.listening.clone() };
        self.target == other.target
            && self.datagrams == other.datagrams
            && socket(self) == socket(other)
    }

    /// The options of a listener at this address: what it says itself goes before `options`.
    pub(crate) fn listen_options(&self, mut options: ListenOptions) -> ListenOptions {
        let Listening { proxy, backlog, reuse_port, mode } = &self.listening;
        options.proxy = proxy.unwrap_or(options.proxy);
        options.backlog = backlog.unwrap_or(options.backlog);
        options.reuse_port = reuse_port.unwrap_or(options.reuse_port);
        options.mode = mode.or(options.mode);
        options
    }

    /// The options of a datagram socket at this address, or why there can be none.
    pub(crate) fn datagram_options(
        &self,
        mut options: DatagramOptions,
    ) -> Result<DatagramOptions, Error> {
        let Listening { proxy, backlog, reuse_port, mode } = &self.listening;
        if self.tls.is_some() || proxy.is_some() || backlog.is_some() {
            let problem = "it is for connections, and these are datagrams";
            return Err(read::bad(&self.to_string(), problem));
        }
        options.reuse_port = reuse_port.unwrap_or(options.reuse_port);
        options.mode = mode.or(options.mode);
        Ok(options)
    }

    /// Whether it can be for connections, or why not.
    pub(crate) fn check_stream(&self) -> Result<(), Error> {
        match self.datagrams {
            true => {
                let problem = "udp:// carries datagrams, and this is for connections";
                Err(read::bad(&self.to_string(), problem))
            }
            false => Ok(()),
        }
    }

    /// Whether one can connect to it, or why not.
    pub(crate) fn check_connectable(&self) -> Result<(), Error> {
        let problem = match &self.target {
            Target::Systemd(_) => "systemd: is a socket to listen on, not one to connect to",
            _ if self.listening != Listening::default() => {
                "an option of it says how to listen, and means nothing for connecting"
            }
            _ => return Ok(()),
        };
        Err(read::bad(&self.to_string(), problem))
    }

    /// What stands behind the `?`, in the order in which it is shown.
    fn query(&self) -> Vec<(&'static str, String)> {
        let Listening { proxy, backlog, reuse_port, mode } = &self.listening;
        let path = |path: &PathBuf| percent::encode(path.as_os_str().as_encoded_bytes());
        let tls = self.tls.as_ref();
        let options = [
            (CERTIFICATE, tls.and_then(|tls| tls.certificate.as_ref()).map(path)),
            (KEY, tls.and_then(|tls| tls.key.as_ref()).map(path)),
            (CLIENT_CA, tls.and_then(|tls| tls.client_ca.as_ref()).map(path)),
            (PROXY, proxy.map(|proxy| proxy.to_string())),
            (BACKLOG, backlog.map(|backlog| backlog.to_string())),
            (REUSE_PORT, reuse_port.map(|reuse_port| reuse_port.to_string())),
            (MODE, mode.map(|mode| format!("{mode:03o}"))),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        read::endpoint(given)
    }
}

impl fmt::Display for Endpoint {
    /// As it is read: what is shown is the same endpoint again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.target, &self.tls) {
            (Target::Address(Address::Tcp(address)), Some(_)) => write!(f, "tls://{address}")?,
            (Target::Address(address), _) => address.fmt(f)?,
            (Target::Name { host, port }, Some(_)) => write!(f, "tls://{host}:{port}")?,
            (Target::Name { host, port }, None) => {
                let scheme = if self.datagrams { "udp" } else { "tcp" };
                write!(f, "{scheme}://{host}:{port}")?;
            }
            (Target::Systemd(Passed::Index(index)), _) => write!(f, "systemd:{index}")?,
            (Target::Systemd(Passed::Name(name)), _) => {
                write!(f, "systemd:{}", percent::encode(name.as_bytes()))?;
            }
        }
        for (index, (name, value)) in self.query().into_iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        let datagrams = matches!(address, Address::Udp(_));
        Self { datagrams, ..Self::new(Target::Address(address)) }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::from(Address::Tcp(address))
    }
}

/// What `listen` and `connect` take: an endpoint, an address, a string to parse, or a host and a
/// port.
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

impl IntoEndpoint for (&str, u16) {
    /// A host, by its name or its IP address, and a TCP port.
    fn into_endpoint(self) -> Result<Endpoint, Error> {
        let (host, port) = self;
        match read::host(host, port) {
            Ok(target) => Ok(Endpoint::new(target)),
            Err(problem) => Err(read::bad(&format!("{host}:{port}"), problem)),
        }
    }
}

impl<T: Into<Endpoint>> IntoEndpoint for T {
    fn into_endpoint(self) -> Result<Endpoint, Error> {
        Ok(self.into())
    }
}
