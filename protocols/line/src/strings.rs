//! Strings with their length before them on a connection: what turns a protocol of strings into a
//! protocol of bytes.

use std::any::{Any, TypeId};

use bytes::{Buf, BytesMut};
use ropewalk_reactor::{Protocol, Reason, Result, Transport};

use crate::Error;
use crate::codec::{Framing, StringCodec};

/// One side of a connection that speaks in strings of a known length. [`Strings`] makes a
/// [`Protocol`] of it.
///
/// Errors, panics and pausing do what they do in a [`Protocol`]: no string follows the one that
/// paused, and resuming delivers the rest. After
/// [`lose_connection`](Transport::lose_connection) nothing is delivered any more.
#[doc(alias = "NetstringReceiver")]
#[doc(alias = "Int32StringReceiver")]
pub trait StringProtocol: Any {
    /// As [`Protocol::connection_made`].
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// A string came, whole.
    #[doc(alias = "stringReceived")]
    fn string_received(&mut self, transport: &mut Transport<'_>, string: &[u8]) -> Result;

    /// What came is no string, or announces one over the limit: time for last words. The
    /// connection is closed with `error`, since nothing behind it can be told apart.
    #[doc(alias = "lengthLimitExceeded")]
    fn framing_failed(&mut self, transport: &mut Transport<'_>, error: &Error) {
        let _ = (transport, error);
    }

    /// As [`Protocol::handshake_completed`].
    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// As [`Protocol::read_closed`].
    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.lose_connection();
        Ok(())
    }

    /// As [`Protocol::pause_producing`].
    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// As [`Protocol::resume_producing`].
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// As [`Protocol::connection_lost`].
    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let _ = (transport, reason);
    }
}

/// Feeds a [`StringProtocol`] from a stream of bytes.
///
/// `reactor.with_protocol::<P, _>` and `transport.call_later::<P>` reach the protocol inside.
#[derive(Debug, Clone)]
pub struct Strings<P> {
    inner: P,
    codec: StringCodec,
}

impl<P: StringProtocol> Strings<P> {
    /// Strings of at most 99,999 bytes, or what the prefix can say.
    pub fn new(framing: Framing, inner: P) -> Self {
        Self { inner, codec: StringCodec::new(framing) }
    }

    /// As [`new`](Self::new), with [`Framing::Netstring`].
    pub fn netstrings(inner: P) -> Self {
        Self::new(Framing::Netstring, inner)
    }

    /// The most bytes that a string may have. Above 900 KiB or so, raise the connection's
    /// [`receive_limit`](ropewalk_reactor::ConnectionOptions::receive_limit) too: it has to hold a
    /// string and what is read in one go behind it (64 KiB).
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Self {
        self.codec = StringCodec::with_max_length(self.codec.framing(), bytes);
        self
    }

    /// The protocol inside.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// The protocol inside.
    pub fn inner_mut(&mut self) -> &mut P {
        &mut self.inner
    }

    /// The protocol inside, taken out.
    pub fn into_inner(self) -> P {
        self.inner
    }
}

impl<P: StringProtocol> Protocol for Strings<P> {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        self.inner.connection_made(transport)
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        while !data.is_empty() && transport.wants_data() {
            let decoded = match self.codec.decode(data) {
                Ok(decoded) => decoded,
                Err(error) => {
                    self.inner.framing_failed(transport, &error);
                    return Err(error.into());
                }
            };
            let Some(string) = decoded.event else { break };
            self.inner.string_received(transport, string)?;
            data.advance(decoded.consumed);
        }
        Ok(())
    }

    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.inner.handshake_completed(transport)
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.inner.read_closed(transport)
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        self.inner.pause_producing(transport);
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.inner.resume_producing(transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.inner.connection_lost(transport, reason);
    }

    fn layer(&mut self, of: TypeId) -> Option<&mut dyn Any> {
        (of == TypeId::of::<P>()).then_some(&mut self.inner)
    }
}
