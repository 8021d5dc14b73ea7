//! One side of a WebSocket as a state machine: bytes in, events out, messages in, bytes out. No I/O,
//! no clock, no handler; chance comes with the wire.
//!
//! `receive` reads frames, `incoming` gathers them into messages, `send` writes. The one rule: after
//! a Close frame nothing is sent, and after the peer's nothing is read.

mod incoming;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use self::incoming::Payload;
use self::incoming::{Incoming, Intake};
pub(crate) use self::send::Wire;
use super::codec::FrameHead;
use super::deflate::{Agreed, Deflater, Inflater};
use super::{Close, Config, Kind};

/// What came of some input.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// Nothing, without more input. What was not consumed must be there again.
    NeedMore,
    /// Nothing, yet: go on.
    Nothing,
    /// A message begins. It is gathered, unless [`Connection::stream_message`] is called now.
    MessageStarted(Kind),
    /// A message that was gathered.
    MessageReceived(Payload<'a>),
    /// A piece of one that is streamed, never empty.
    PieceReceived(Payload<'a>),
    /// It has ended.
    MessageEnded,
    PingReceived(&'a [u8]),
    PongReceived(&'a [u8]),
    /// The peer's Close frame is in [`Connection::close_received`].
    CloseReceived,
    /// What still comes is of no interest.
    Over,
}

/// What the next bytes from the peer are.
#[derive(Debug)]
enum Receiving {
    /// A frame's head.
    Head,
    /// The payload of a frame of the present message, of which so much is left.
    Payload { head: FrameHead, left: u64 },
    /// What each compressed message would end with, from there on: it comes from here.
    Tail { at: usize },
    /// Nothing: the end of a streamed message is to be told.
    End,
    /// A payload that nobody reads, since this side has closed.
    Skipped { left: u64 },
    /// Nothing that anybody reads.
    Over,
}

/// Which side this is, and what it needs for that.
enum Role {
    Server,
    Client(Box<send::Keys>),
}

/// How far a message is that is sent in fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outgoing {
    kind: Kind,
    is_compressed: bool,
}

/// One connection.
pub(crate) struct Connection {
    role: Role,
    config: Arc<Config>,
    /// There if both sides compress.
    agreed: Option<Agreed>,
    receiving: Receiving,
    /// The message that has begun and has not ended.
    incoming: Option<Incoming>,
    inflater: Option<Box<Inflater>>,
    outgoing: Option<Outgoing>,
    deflater: Option<Box<Deflater>>,
    /// Frames of whole messages that were sent within a fragmented one.
    held: Vec<u8>,
    /// The payload of the latest ping that is not answered, as there is no room.
    owed_pong: Option<Box<[u8]>>,
    close_received: Option<Box<Close>>,
    is_close_sent: bool,
}

impl Connection {
    pub(crate) fn server(config: Arc<Config>, agreed: Option<Agreed>) -> Self {
        Self::new(Role::Server, config, agreed)
    }

    pub(crate) fn client(config: Arc<Config>, agreed: Option<Agreed>) -> Self {
        Self::new(Role::Client(Box::default()), config, agreed)
    }

    fn new(role: Role, config: Arc<Config>, agreed: Option<Agreed>) -> Self {
        Self {
            role,
            config,
            agreed,
            receiving: Receiving::Head,
            incoming: None,
            inflater: None,
            outgoing: None,
            deflater: None,
            held: Vec::new(),
            owed_pong: None,
            close_received: None,
            is_close_sent: false,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn is_server(&self) -> bool {
        matches!(self.role, Role::Server)
    }

    /// What was agreed on about compression.
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        self.agreed
    }

    /// The peer's Close frame.
    pub(crate) fn close_received(&self) -> Option<&Close> {
        self.close_received.as_deref()
    }

    /// Whether this side has sent its Close frame.
    pub(crate) fn is_close_sent(&self) -> bool {
        self.is_close_sent
    }

    /// Whether both sides have closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_close_sent && self.close_received.is_some()
    }

    /// How the connection was closed, for whoever asks at its end.
    pub(crate) fn take_close(&mut self) -> Close {
        match self.close_received.take() {
            Some(close) => Close { is_clean: self.is_close_sent, ..*close },
            None => Close::abnormal(),
        }
    }

    /// Whether there may be another event without more input.
    pub(crate) fn goes_on_alone(&self) -> bool {
        matches!(self.receiving, Receiving::Tail { .. } | Receiving::End)
            || self.inflater.as_ref().is_some_and(|inflater| inflater.is_full())
    }

    /// The message that has just begun is not gathered.
    pub(crate) fn stream_message(&mut self) {
        if let Some(incoming) = &mut self.incoming {
            incoming.intake = Intake::Stream;
        }
    }
}

#[cfg(test)]
impl Connection {
    /// Whether no memory is held for messages.
    pub(super) fn holds_nothing(&self) -> bool {
        self.incoming.is_none()
            && self.held.capacity() == 0
            && self.inflater.as_ref().is_none_or(|inflater| inflater.is_empty())
            && self.deflater.as_ref().is_none_or(|deflater| deflater.is_empty())
    }
}
