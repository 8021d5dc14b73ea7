//! What a user writes to talk over a WebSocket: a closure for whole messages, or a
//! [`WebSocketHandler`] for all that may happen.
//!
//! Events are in the past tense and never come from inside a call that a handler makes.

use std::any::Any;

use ropewalk_reactor::{Reason, Result, Transport};

use super::{Close, Kind, Message, WebSocket};

/// What becomes of a message that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Intake {
    /// It is gathered, up to [`Config::max_message`](super::Config::max_message), and
    /// [`message_received`](WebSocketHandler::message_received) gets it whole.
    Gather,
    /// [`piece_received`](WebSocketHandler::piece_received) gets it while it comes. It has no limit.
    Stream,
}

/// Follows one WebSocket, on either side.
///
/// Its story is always the same: [`opened`](Self::opened) first, then any number of the others, then
/// [`closed`](Self::closed) exactly once and last. (A client whose handshake fails has no story.)
///
/// An error from a callback is logged and closes the connection, with a Close frame of 1011.
///
/// Every `FnMut(&mut WebSocket<'_>, Message<'_>) -> Result` is a handler that is called for each
/// message.
#[doc(alias = "WebSocketServerProtocol")]
pub trait WebSocketHandler: Any {
    /// The handshake is done: messages may be sent.
    #[doc(alias = "onOpen")]
    fn opened(&mut self, socket: &mut WebSocket<'_>) -> Result {
        let _ = socket;
        Ok(())
    }

    /// A message is whole.
    #[doc(alias = "onMessage")]
    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result;

    /// A message begins. Unless this is overridden it is gathered.
    #[doc(alias = "onMessageBegin")]
    fn message_started(&mut self, socket: &mut WebSocket<'_>, kind: Kind) -> Result<Intake> {
        let _ = (socket, kind);
        Ok(Intake::Gather)
    }

    /// Some of a message that is streamed, never empty; text is cut between characters. Pieces are
    /// what came together, not what the peer sent as a frame.
    #[doc(alias = "onMessageFrameData")]
    fn piece_received(&mut self, socket: &mut WebSocket<'_>, piece: Message<'_>) -> Result {
        let _ = (socket, piece);
        Ok(())
    }

    /// A message that is streamed is whole.
    #[doc(alias = "onMessageEnd")]
    fn message_ended(&mut self, socket: &mut WebSocket<'_>) -> Result {
        let _ = socket;
        Ok(())
    }

    /// The peer sent a ping. It is answered without you.
    #[doc(alias = "onPing")]
    fn ping_received(&mut self, socket: &mut WebSocket<'_>, data: &[u8]) -> Result {
        let _ = (socket, data);
        Ok(())
    }

    /// The peer sent a pong: to a ping of yours, to one that keeps the connection alive (those are
    /// empty), or to none.
    #[doc(alias = "onPong")]
    fn pong_received(&mut self, socket: &mut WebSocket<'_>, data: &[u8]) -> Result {
        let _ = (socket, data);
        Ok(())
    }

    /// The peer has closed, and sends nothing more. What is sent in here still goes out before the
    /// answer, which comes without you.
    #[doc(alias = "onCloseFrame")]
    fn close_received(&mut self, socket: &mut WebSocket<'_>, close: &Close) -> Result {
        let _ = (socket, close);
        Ok(())
    }

    /// Output has passed the high-water mark: stop sending until
    /// [`resume_producing`](Self::resume_producing).
    #[doc(alias = "pauseProducing")]
    fn pause_producing(&mut self, socket: &mut WebSocket<'_>) {
        let _ = socket;
    }

    /// There is room again, after [`pause_producing`](Self::pause_producing) or after something sent
    /// that answered [`AboveHighWater`](ropewalk_reactor::Written::AboveHighWater).
    #[doc(alias = "resumeProducing")]
    fn resume_producing(&mut self, socket: &mut WebSocket<'_>) {
        let _ = socket;
    }

    /// The connection is gone. `close` is what the peer gave for a reason, `lost` what the transport
    /// did: an error of this side ([`Error`](super::Error)) is in there. Other connections can still
    /// be reached through `transport`.
    #[doc(alias = "onClose")]
    fn closed(&mut self, transport: &mut Transport<'_>, close: &Close, lost: &Reason) {
        let _ = (transport, close, lost);
    }
}

impl<F> WebSocketHandler for F
where
    F: FnMut(&mut WebSocket<'_>, Message<'_>) -> Result + 'static,
{
    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        self(socket, message)
    }
}
