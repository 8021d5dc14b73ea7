//! Where one end of a connection is. Where to listen or to connect, which may still be a name to
//! resolve, is an [`Endpoint`](crate::Endpoint).

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::percent;

/// The address of one end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// UDP over IPv4 or IPv6.
    Udp(SocketAddr),
    /// A Unix socket, of streams or of datagrams.
    Unix(UnixAddress),
    /// This process's standard input and output, which have no address.
    Stdio,
}

impl Address {
    /// The IP address and port, for a transport that has one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Udp(address) => Some(*address),
            Self::Unix(_) | Self::Stdio => None,
        }
    }

    /// The IP address, for a transport that has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }

    /// The port, for a transport that has one.
    pub fn port(&self) -> Option<u16> {
        self.socket_addr().map(|address| address.port())
    }

    /// The file of a Unix socket that has one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(address) => address.path(),
            Self::Tcp(_) | Self::Udp(_) | Self::Stdio => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    /// As on the command line: `tcp://127.0.0.1:5672`, `unix:/run/app.sock`. What connects to a
    /// Unix socket has no name as a rule, and shows as `unix:(unnamed)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Unix(address) => write!(f, "unix:{address}"),
            Self::Stdio => f.write_str("stdio:"),
        }
    }
}

/// The name of a Unix socket: a path, an abstract name (Linux), or none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixAddress(Name);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Name {
    Unnamed,
    /// Not empty, without a NUL, at most `MAX_UNIX_NAME` bytes.
    Path(Arc<Path>),
    /// Not empty, at most `MAX_UNIX_NAME` bytes; any byte may be in it.
    Abstract(Arc<[u8]>),
}

/// What fits into a Unix socket's address: `sun_path` (108 bytes on Linux, 104 on BSD) without the
/// NUL behind a path or before an abstract name.
pub(crate) const MAX_UNIX_NAME: usize =
    size_of::<libc::sockaddr_un>() - std::mem::offset_of!(libc::sockaddr_un, sun_path) - 1;

/// How a socket without a name is shown.
pub(crate) const UNNAMED: &str = "(unnamed)";

impl UnixAddress {
    /// No name: what a client's socket has, unless it was bound.
    pub const fn unnamed() -> Self {
        Self(Name::Unnamed)
    }

    /// The socket at `path`; `None` when that is empty, too long (107 bytes on Linux) or has a
    /// NUL in it.
    pub fn new(path: impl AsRef<Path>) -> Option<Self> {
        let path = path.as_ref();
        let bytes = path.as_os_str().as_bytes();
        let good = (1..=MAX_UNIX_NAME).contains(&bytes.len()) && !bytes.contains(&0);
        good.then(|| Self(Name::Path(path.into())))
    }

    /// The socket with this name in Linux's abstract namespace; `None` when it is empty or too
    /// long (107 bytes).
    pub fn from_abstract_name(name: impl AsRef<[u8]>) -> Option<Self> {
        let name = name.as_ref();
        (1..=MAX_UNIX_NAME).contains(&name.len()).then(|| Self(Name::Abstract(name.into())))
    }

    /// The path, if it has one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Name::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The abstract name, if it has one.
    pub fn abstract_name(&self) -> Option<&[u8]> {
        match &self.0 {
            Name::Abstract(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it has no name.
    pub fn is_unnamed(&self) -> bool {
        self.0 == Name::Unnamed
    }

    /// What stands behind `unix:`: `@name` for an abstract name, else a path.
    pub(crate) fn read(given: &str) -> Result<Self, String> {
        let too_long = || format!("the name is longer than {MAX_UNIX_NAME} bytes");
        match given.strip_prefix('@') {
            _ if given == UNNAMED => Err("a socket without a name cannot be found".to_owned()),
            _ if given.is_empty() => Err("the path is missing".to_owned()),
            Some("") => Err("the name is missing".to_owned()),
            Some(_) if !cfg!(target_os = "linux") => {
                Err("names that begin with @ are Linux's alone".to_owned())
            }
            Some(name) => Self::from_abstract_name(percent::decode(name)?).ok_or_else(too_long),
            None => {
                let path = percent::decode(given)?;
                if path.contains(&0) {
                    return Err("a path has no NUL in it".to_owned());
                }
                Self::new(OsStr::from_bytes(&path)).ok_or_else(too_long)
            }
        }
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Unnamed => f.write_str(UNNAMED),
            Name::Abstract(name) => write!(f, "@{}", percent::encode(name)),
            Name::Path(path) => {
                let shown = percent::encode(path.as_os_str().as_bytes());
                match shown.strip_prefix('@') {
                    Some(rest) => write!(f, "%40{rest}"),
                    None if shown == UNNAMED => write!(f, "%28unnamed)"),
                    None => f.write_str(&shown),
                }
            }
        }
    }
}
