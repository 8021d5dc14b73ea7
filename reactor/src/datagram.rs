//! Datagrams: the contract between the reactor and a protocol that has no connections, only
//! messages that come from anywhere and are sent to anyone, whole or not at all.
//!
//! The one rule is that of all callbacks: none runs inside another.

use std::any::Any;
use std::io;

use log::warn;

use crate::{Address, LOG, Reason, Result};

mod lives;
mod options;
mod outbox;
pub(crate) mod port;
mod requests;
pub(crate) mod socket;
pub(crate) mod traffic;
pub(crate) mod transport;

pub use options::DatagramOptions;
pub use port::DatagramId;
pub use transport::{DatagramTransport, Interface, Posted};

/// What speaks on one datagram socket.
///
/// Its story is [`started`](Self::started) first, then any number of the others, then
/// [`stopped`](Self::stopped) exactly once and last. An `Err` or a panic in any of them but
/// `started` is logged, and the socket lives on: one bad datagram is no reason to turn a deaf ear
/// to everybody else.
pub trait DatagramProtocol: Any {
    /// The socket is bound, and connected if it is to be. An `Err` or a panic closes it.
    #[doc(alias = "startProtocol")]
    fn started(&mut self, transport: &mut DatagramTransport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// A datagram came, whole, as it was sent by `from`. It may be empty.
    #[doc(alias = "datagramReceived")]
    fn datagram_received(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        data: &[u8],
        from: Address,
    ) -> Result;

    /// A datagram of `length` bytes came, more than the socket's
    /// [`receive_limit`](DatagramOptions::receive_limit). What there was room for would be no
    /// datagram, so nothing of it is delivered. Unless this is overridden, the log says so.
    fn datagram_oversized(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        length: usize,
        from: Address,
    ) -> Result {
        let host = transport.host();
        warn!(target: LOG, "{host}: dropped a datagram of {length} bytes from {from}");
        Ok(())
    }

    /// Nobody listens at the peer of a connected socket: its machine said so over something that
    /// was sent before (ICMP port unreachable). Others are not reported by the system.
    #[doc(alias = "connectionRefused")]
    fn connection_refused(&mut self, transport: &mut DatagramTransport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// A datagram could not be sent: there is no route, it is larger than the network takes, or
    /// nobody is at a Unix socket's path. Unless this is overridden, it is forgotten, as one that
    /// was lost on the way would be.
    fn send_failed(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        to: Option<Address>,
        failure: &io::Error,
    ) -> Result {
        let _ = (transport, to, failure);
        Ok(())
    }

    /// There is room again, after a send that answered [`Posted::Dropped`].
    #[doc(alias = "resumeProducing")]
    fn resume_producing(&mut self, transport: &mut DatagramTransport<'_>) {
        let _ = transport;
    }

    /// The socket is closed: here, by the reactor's stop, or since `started` failed.
    #[doc(alias = "stopProtocol")]
    fn stopped(&mut self, transport: &mut DatagramTransport<'_>, reason: &Reason) {
        let _ = (transport, reason);
    }
}
