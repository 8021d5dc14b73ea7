//! What can be set on a datagram socket.

use crate::Address;
use crate::setters::setters;

/// The longest datagram of UDP is shorter (65,507 bytes over IPv4).
const RECEIVE_LIMIT: usize = 64 * 1024;
/// Some hundred full datagrams, or what a burst to ten thousand peers takes.
const QUEUE_LIMIT: usize = 1024 * 1024;

/// How to open a datagram socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatagramOptions {
    pub(crate) receive_limit: usize,
    pub(crate) queue_limit: usize,
    pub(crate) broadcast: bool,
    pub(crate) reuse_port: bool,
    pub(crate) bind: Option<Address>,
    pub(crate) mode: Option<u32>,
}

impl Default for DatagramOptions {
    fn default() -> Self {
        Self {
            receive_limit: RECEIVE_LIMIT,
            queue_limit: QUEUE_LIMIT,
            broadcast: false,
            reuse_port: false,
            bind: None,
            mode: None,
        }
    }
}

impl DatagramOptions {
    setters! {
        /// The longest datagram that is received, in bytes (64 KiB, which no UDP datagram is
        /// longer than). A longer one is told to
        /// [`datagram_oversized`](crate::DatagramProtocol::datagram_oversized).
        receive_limit: usize;
        /// The most bytes that wait to be sent (1 MiB); each datagram counts as 64 at least.
        /// What is sent beyond that, while something waits, is dropped, see
        /// [`Posted::Dropped`](crate::Posted::Dropped).
        queue_limit: usize;
        /// Whether it may send to broadcast addresses (`SO_BROADCAST`, false).
        broadcast: bool;
        /// Whether other sockets may have the same address (`SO_REUSEADDR` and `SO_REUSEPORT`,
        /// false): each gets every multicast datagram, and a share of the others.
        reuse_port: bool;
        /// Where a socket that connects is bound (the system's choice). A Unix socket without a
        /// name of its own can be sent no reply.
        bind: Option<Address>;
    }

    /// Who may send to a Unix socket: the permissions of its path, as for chmod(2) (what the umask
    /// leaves).
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode & 0o777);
        self
    }
}
