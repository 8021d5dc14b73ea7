//! The contract between the reactor and a protocol: the traits that users implement, and the
//! reasons for which a connection ends.
//!
//! The one rule: no callback ever runs inside another. A protocol may therefore borrow shared
//! state (`Rc<RefCell<_>>`) in any callback without fear.

use std::any::{Any, TypeId};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;

use crate::{Address, BoxError, Result, Transport};

/// One side of one connection.
///
/// The story of a connection is always the same: [`connection_made`](Self::connection_made)
/// first, then any number of the others, then [`connection_lost`](Self::connection_lost) exactly
/// once and last.
///
/// An `Err` from a callback closes *this* connection with that reason, after what was written
/// before (an error reply, say) has been flushed. A panic aborts it. Either is logged once with
/// the peer's address, and every other connection goes on.
pub trait Protocol: Any {
    /// The connection is there. What is written here is sent; reading may be paused here.
    #[doc(alias = "connectionMade")]
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// The TLS handshake is done: [`tls`](Transport::tls) tells what was agreed on. What was written
    /// before is sent now; what the peer sends comes after this.
    #[doc(alias = "handshakeCompleted")]
    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// Bytes arrived. `data` holds every byte received and not yet consumed: take what is whole;
    /// what is left in it is there again, with more behind it, at the next call.
    ///
    /// What is left over counts against
    /// [`receive_limit`](crate::ConnectionOptions::receive_limit); a connection over it is closed
    /// with [`Reason::ReceiveLimit`].
    #[doc(alias = "dataReceived")]
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result;

    /// A file descriptor came from the peer of a Unix socket, with the first byte of the data that
    /// is delivered next or with one behind it. Only connections that have asked for descriptors
    /// get any, see [`receive_descriptors`](crate::Transport::receive_descriptors).
    ///
    /// Unless this is overridden, it is closed.
    #[doc(alias = "fileDescriptorReceived")]
    fn descriptor_received(
        &mut self,
        transport: &mut Transport<'_>,
        descriptor: OwnedFd,
    ) -> Result {
        let _ = (transport, descriptor);
        Ok(())
    }

    /// The peer has closed its sending half (its FIN arrived, after all its data; with TLS, its
    /// close_notify). Unless this
    /// is overridden, the connection is closed once all output has been flushed; a protocol that
    /// overrides it may go on writing, and closes when it is done.
    #[doc(alias = "readConnectionLost")]
    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.lose_connection();
        Ok(())
    }

    /// Buffered output has passed the high-water mark, although sending was tried: stop
    /// producing until [`resume_producing`](Self::resume_producing).
    #[doc(alias = "pauseProducing")]
    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Buffered output has fallen to the low-water mark after
    /// [`pause_producing`](Self::pause_producing), or after a write that answered
    /// [`AboveHighWater`](crate::Written::AboveHighWater): produce again.
    #[doc(alias = "resumeProducing")]
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// The connection is gone: its socket is closed and its slot is free. The addresses can
    /// still be read from `transport`, other connections written to; this one takes nothing more.
    #[doc(alias = "connectionLost")]
    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let _ = (transport, reason);
    }

    /// What of type `of` is inside this one, for a protocol that wraps another: answer with
    /// [`layer_of`] on an inner [`Protocol`], or by comparing the inner one's type where its trait
    /// is another. The reactor asks only after it has compared the outermost type itself.
    fn layer(&mut self, of: TypeId) -> Option<&mut dyn Any> {
        let _ = of;
        None
    }
}

/// Finds the layer of type `of` in `protocol`: itself, or a protocol that it wraps.
pub fn layer_of(protocol: &mut dyn Protocol, of: TypeId) -> Option<&mut dyn Any> {
    if Any::type_id(protocol) == of { Some(protocol) } else { protocol.layer(of) }
}

/// Makes the protocol for each new connection.
///
/// Every `FnMut(Address) -> P`, and every `FnMut(Address) -> Option<P>`, is a factory.
pub trait Factory: 'static {
    /// What the connections speak.
    type Protocol: Protocol;

    /// The protocol for a connection with `peer`; `None` refuses it, which closes it.
    #[doc(alias = "buildProtocol")]
    fn build_protocol(&mut self, peer: Address) -> Option<Self::Protocol>;
}

/// What a closure may answer to be a [`Factory`]: a protocol, or an `Option` of one.
pub trait IntoProtocol {
    /// The protocol inside.
    type Protocol: Protocol;

    /// The protocol, or `None` to refuse the connection.
    fn into_protocol(self) -> Option<Self::Protocol>;
}

impl<P: Protocol> IntoProtocol for P {
    type Protocol = P;

    fn into_protocol(self) -> Option<P> {
        Some(self)
    }
}

impl<P: Protocol> IntoProtocol for Option<P> {
    type Protocol = P;

    fn into_protocol(self) -> Option<P> {
        self
    }
}

impl<F, R> Factory for F
where
    F: FnMut(Address) -> R + 'static,
    R: IntoProtocol,
{
    type Protocol = R::Protocol;

    fn build_protocol(&mut self, peer: Address) -> Option<R::Protocol> {
        self(peer).into_protocol()
    }
}

/// A factory with its protocol's type forgotten, so that one reactor hosts every protocol.
pub(crate) trait AnyFactory {
    fn build(&mut self, peer: Address) -> Option<Box<dyn Protocol>>;
}

impl<F: Factory> AnyFactory for F {
    fn build(&mut self, peer: Address) -> Option<Box<dyn Protocol>> {
        self.build_protocol(peer).map(|protocol| Box::new(protocol) as Box<dyn Protocol>)
    }
}

/// Why a connection ended, and who ended it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reason {
    /// The peer closed, in order.
    Done,
    /// Closed here, by [`lose_connection`](crate::Transport::lose_connection).
    Closed,
    /// Aborted here, by [`abort_connection`](crate::Transport::abort_connection).
    Aborted,
    /// The peer reset the connection; the system's error (its errno) is inside.
    Reset(Rc<io::Error>),
    /// The system's keep-alive or retransmission timer gave up (`ETIMEDOUT`).
    TimedOut(Rc<io::Error>),
    /// Another error of the system.
    Io(Rc<io::Error>),
    /// A file that was being sent ([`write_file`](crate::Transport::write_file)) could not be read, or
    /// ended too early (`UnexpectedEof`); so it was aborted.
    File(Rc<io::Error>),
    /// It was to be closed, but the peer took nothing of what was left to send for
    /// [`flush_timeout`](crate::ConnectionOptions::flush_timeout), so it was aborted.
    FlushTimedOut,
    /// Buffered output passed [`output_limit`](crate::ConnectionOptions::output_limit) (bytes).
    OutputLimit(usize),
    /// Unconsumed input passed [`receive_limit`](crate::ConnectionOptions::receive_limit) (bytes).
    ReceiveLimit(usize),
    /// Nothing was sent or received for [`idle_timeout`](crate::Policy::idle_timeout).
    IdleTimeout(Duration),
    /// Nothing was received for [`read_timeout`](crate::Policy::read_timeout).
    ReadTimeout(Duration),
    /// Nothing of what was waiting was taken by the peer for
    /// [`write_timeout`](crate::Policy::write_timeout), so it was aborted.
    WriteTimeout(Duration),
    /// It was as old as [`max_lifetime`](crate::Policy::max_lifetime) allows.
    Lifetime(Duration),
    /// The TLS handshake failed, or the stream after it was not what it should be.
    #[cfg(feature = "_tls")]
    Tls(Rc<crate::tls::Failure>),
    /// The peer's FIN came without TLS's close_notify: some of what the peer sent may be missing, and
    /// somebody else may have cut it off (RFC 8446 §6.1). Peers that tell the end of their messages by
    /// other means often close so.
    Truncated,
    /// A callback returned this error.
    Error(Rc<BoxError>),
    /// A callback panicked, with this message.
    Panic(Rc<str>),
    /// The reactor stopped.
    Stopped,
}

impl Reason {
    /// Sorts an error of the system into the reason that it is.
    pub(crate) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted => Self::Reset(Rc::new(error)),
            io::ErrorKind::TimedOut => Self::TimedOut(Rc::new(error)),
            _ => Self::Io(Rc::new(error)),
        }
    }

    /// Whether the connection ended as it should: closed by one side or the other, in order.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::Done | Self::Closed | Self::Stopped)
    }

    /// The error that a callback returned, if it is of type `E`.
    pub fn error<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Error(error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// The errno of the system's error, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Reset(error) | Self::TimedOut(error) | Self::Io(error) | Self::File(error) => {
                error.raw_os_error()
            }
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("closed by the peer"),
            Self::Closed => f.write_str("closed here"),
            Self::Aborted => f.write_str("aborted here"),
            Self::Reset(error) => write!(f, "reset by the peer: {error}"),
            Self::TimedOut(error) => write!(f, "timed out: {error}"),
            Self::Io(error) => write!(f, "failed: {error}"),
            Self::File(error) => write!(f, "aborted: a file could not be sent: {error}"),
            Self::FlushTimedOut => {
                f.write_str("aborted: the peer did not take what was left to send")
            }
            Self::OutputLimit(limit) => {
                write!(f, "aborted: more than {limit} bytes of output were waiting for the peer")
            }
            Self::ReceiveLimit(limit) => {
                write!(f, "closed: more than {limit} bytes of input made no whole message")
            }
            Self::IdleTimeout(limit) => {
                write!(f, "closed: nothing was sent or received for {limit:?}")
            }
            Self::ReadTimeout(limit) => write!(f, "closed: nothing was received for {limit:?}"),
            Self::WriteTimeout(limit) => {
                write!(f, "aborted: the peer took nothing for {limit:?} of what was left to send")
            }
            Self::Lifetime(limit) => {
                write!(f, "closed: it had lasted for {limit:?}, which is the limit")
            }
            #[cfg(feature = "_tls")]
            Self::Tls(failure) => write!(f, "{failure}"),
            Self::Truncated => f.write_str("cut off: the peer closed without TLS's close_notify"),
            Self::Error(error) => write!(f, "closed on an error: {error}"),
            Self::Panic(message) => write!(f, "aborted: its protocol panicked: {message}"),
            Self::Stopped => f.write_str("the reactor stopped"),
        }
    }
}
