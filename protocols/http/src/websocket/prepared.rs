//! A message that goes to many: encoded once, compressed once, and in memory once, however many have
//! yet to read it.

use std::cell::OnceCell;

use bytes::Bytes;
use ropewalk_reactor::{ConnectionId, Transport, Written};

use super::codec::{FrameHead, MAX_HEAD, Opcode};
use super::connection::{Connection, Wire};
use super::deflate::{Agreed, Deflate, Deflater};
use super::{Kind, Message, with_websocket};

/// A message for many connections.
///
/// ```
/// use ropewalk_http::websocket::{Message, Prepared, WebSocket};
///
/// fn tell(socket: &mut WebSocket<'_>, everybody: &[ropewalk_reactor::ConnectionId]) {
///     Prepared::text("hello, all").broadcast(socket.transport(), everybody);
/// }
/// # let _ = tell;
/// ```
#[derive(Debug, Clone)]
pub struct Prepared {
    kind: Kind,
    /// A whole frame, as a server sends it.
    plain: Bytes,
    /// Where its payload begins.
    payload: usize,
    /// The same, compressed for itself; made for the first who takes it so. `None` inside if that is
    /// no shorter.
    compressed: OnceCell<Option<Bytes>>,
}

impl Prepared {
    /// A message of text.
    pub fn text(text: &str) -> Self {
        Self::new(Message::Text(text))
    }

    /// A message of octets.
    pub fn binary(data: &[u8]) -> Self {
        Self::new(Message::Binary(data))
    }

    /// Either.
    pub fn new<'m>(message: impl Into<Message<'m>>) -> Self {
        let message = message.into();
        let (plain, payload) = frame(message.kind(), false, message.as_bytes());
        Self { kind: message.kind(), plain, payload, compressed: OnceCell::new() }
    }

    /// Sends it to all of these, soon: when the present callback has returned, and still in this turn.
    /// Those who have gone by then, or are no open WebSockets, are passed over. What a slow reader
    /// has yet to take counts against its connection's
    /// [`output_limit`](ropewalk_reactor::ConnectionOptions::output_limit) alone.
    pub fn broadcast(&self, transport: &mut Transport<'_>, ids: &[ConnectionId]) {
        let (prepared, ids) = (self.clone(), ids.to_vec());
        transport.local().call_soon(move |reactor| {
            for id in ids {
                with_websocket(reactor, id, |socket| socket.send_prepared(&prepared));
            }
        });
    }

    pub(super) fn send(&self, connection: &mut Connection, wire: &mut impl Wire) -> Written {
        if !connection.takes_prepared() {
            let payload = &self.plain[self.payload..];
            let message = match (self.kind, str::from_utf8(payload)) {
                (Kind::Text, Ok(text)) => Message::Text(text),
                _ => Message::Binary(payload),
            };
            return connection.send(message, wire);
        }
        let compressed = match &connection.config().deflate {
            Some(deflate) if connection.agreed().is_some() => self.compressed(deflate),
            _ => None,
        };
        connection.send_prepared(&self.plain, compressed, wire)
    }

    /// With the settings of the first who asks: it is the same for all connections of a listener.
    fn compressed(&self, deflate: &Deflate) -> Option<&Bytes> {
        let make = || {
            let payload = &self.plain[self.payload..];
            if payload.len() < deflate.min_size.max(1) {
                return None;
            }
            let alone =
                Agreed { is_own_alone: true, own_bits: 15, is_peers_alone: true, peers_bits: 15 };
            let mut out = Vec::new();
            Deflater::new(alone, deflate)?.deflate(payload, true, &mut out);
            (out.len() < payload.len()).then(|| frame(self.kind, true, &out).0)
        };
        self.compressed.get_or_init(make).as_ref()
    }
}

/// A frame that is a whole message of a server, and where its payload begins.
fn frame(kind: Kind, is_compressed: bool, data: &[u8]) -> (Bytes, usize) {
    let opcode = match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    };
    let length = data.len() as u64;
    let head = FrameHead { is_final: true, is_compressed, opcode, mask: None, length };
    let mut octets = [0; MAX_HEAD];
    let size = head.write(&mut octets);
    (Bytes::from([&octets[..size], data].concat()), size)
}
