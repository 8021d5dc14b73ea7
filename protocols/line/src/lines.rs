//! Lines on a connection: what turns a protocol of lines into a protocol of bytes.

use std::any::{Any, TypeId};

use bytes::{Buf, BytesMut};
use ropewalk_reactor::{Protocol, Reason, Result, Transport};

use crate::Error;
use crate::codec::{Decoded, Delimiter, LineCodec, LineEvent};

/// What a [`LineProtocol`] wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Whole lines, one a call.
    #[default]
    Lines,
    /// Bytes as they come.
    Raw,
}

/// One side of a connection that speaks in lines, some of the time at least. [`Lines`] makes a
/// [`Protocol`] of it.
///
/// Errors and panics do what they do in a [`Protocol`]. Pausing works as it does there: no line
/// follows the one that paused, and resuming delivers the rest. After
/// [`lose_connection`](Transport::lose_connection) nothing is delivered any more. The end of a
/// stream ends no line: bytes without a delimiter behind them are dropped.
#[doc(alias = "LineReceiver")]
pub trait LineProtocol: Any {
    /// As [`Protocol::connection_made`].
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// A line came; its delimiter is taken off.
    #[doc(alias = "lineReceived")]
    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result;

    /// Whether lines or bytes come next. It is asked before each line and each piece of raw
    /// data, so a switch in the middle of what has arrived applies to the rest of it.
    #[doc(alias = "setRawMode")]
    fn mode(&self) -> Mode {
        Mode::Lines
    }

    /// Bytes came in raw mode. `data` holds every byte received and not yet consumed: take what
    /// belongs to you. What is left in it is there again at the next call, or is taken for lines
    /// at once if [`mode`](Self::mode) now says so.
    ///
    /// What is left counts against
    /// [`receive_limit`](ropewalk_reactor::ConnectionOptions::receive_limit).
    ///
    /// # Errors
    /// A protocol that does not override this closes with [`Error::NoRawMode`].
    #[doc(alias = "rawDataReceived")]
    fn raw_data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let _ = (transport, data);
        Err(Error::NoRawMode.into())
    }

    /// A line is longer than the limit; `start` is as much of it as the limit allows. If this
    /// returns `Ok`, the rest of the line is dropped and the next one is delivered again.
    ///
    /// # Errors
    /// Unless overridden, [`Error::LineTooLong`], which closes the connection.
    #[doc(alias = "lineLengthExceeded")]
    fn line_length_exceeded(&mut self, transport: &mut Transport<'_>, start: &[u8]) -> Result {
        let _ = transport;
        Err(Error::LineTooLong { limit: start.len() }.into())
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

/// Feeds a [`LineProtocol`] from a stream of bytes.
///
/// `reactor.with_protocol::<P, _>` and `transport.call_later::<P>` reach the protocol inside.
#[derive(Debug, Clone)]
pub struct Lines<P> {
    inner: P,
    codec: LineCodec,
}

impl<P: LineProtocol> Lines<P> {
    /// Lines that end in CR LF and have at most 16 KiB before it.
    pub fn new(inner: P) -> Self {
        Self { inner, codec: LineCodec::default() }
    }

    /// What ends a line that is received. (What is sent has its own: see
    /// [`LineTransport`](crate::LineTransport).)
    #[must_use]
    pub fn delimiter(mut self, delimiter: Delimiter) -> Self {
        self.codec = LineCodec::new(delimiter, self.codec.max_length());
        self
    }

    /// The most bytes that a line may have, without its delimiter. Above 900 KiB or so, raise the
    /// connection's [`receive_limit`](ropewalk_reactor::ConnectionOptions::receive_limit) too: it
    /// has to hold a line and what is read in one go behind it (64 KiB).
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Self {
        self.codec = LineCodec::new(self.codec.delimiter().clone(), bytes);
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

impl<P: LineProtocol> Protocol for Lines<P> {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        self.inner.connection_made(transport)
    }

    /// A loop, not a recursion, however often the mode changes. It ends: a line takes at least
    /// its delimiter, and raw mode goes round again only when it has changed to lines.
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        while !data.is_empty() && transport.wants_data() {
            if self.inner.mode() == Mode::Raw {
                self.codec.reset();
                self.inner.raw_data_received(transport, data)?;
                if self.inner.mode() == Mode::Raw {
                    break;
                }
                continue;
            }
            let Decoded { event, consumed } = self.codec.decode(data);
            let Some(event) = event else {
                data.advance(consumed);
                break;
            };
            match event {
                LineEvent::Line(line) => self.inner.line_received(transport, line)?,
                LineEvent::TooLong(start) => self.inner.line_length_exceeded(transport, start)?,
            }
            data.advance(consumed);
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
