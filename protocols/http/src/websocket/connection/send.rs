//! Writing frames: whole messages, fragments, pings, pongs, and the one Close frame.
//!
//! The rule: within a message that is sent in fragments only control frames go out; whole messages
//! are held until it has ended, and count as buffered.

use std::io;

use bytes::Bytes;
use ropewalk_reactor::Written;

use super::{Connection, Outgoing, Role};
use crate::LOG;
use crate::websocket::codec::{FrameHead, MAX_CONTROL, MAX_HEAD, Opcode, mask};
use crate::websocket::deflate::Deflater;
use crate::websocket::{Close, CloseCode, Kind, Message, spare};

/// A client's payload is masked in pieces of this size, in a buffer that is used again.
const MASKED: usize = 16 * 1024;
/// Bytes of random numbers that are asked for at once: keys for 64 frames.
const KEYS: usize = 256;

/// Where frames go, and where chance comes from: a transport, or a test's buffer.
pub(crate) trait Wire {
    fn write(&mut self, data: &[u8]) -> Written;
    fn write_bytes(&mut self, data: Bytes) -> Written;
    /// What a write would answer now.
    fn writability(&self) -> Written;
    /// How many bytes may be held beside what is written.
    fn output_limit(&self) -> usize;
    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()>;
    /// There are no random numbers, or too much is held: the connection must not go on.
    fn abort(&mut self);
}

/// Keys for masking, a few frames ahead: each has to be one that nobody can guess (RFC 6455 §5.3).
pub(super) struct Keys {
    octets: [u8; KEYS],
    left: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self { octets: [0; KEYS], left: 0 }
    }
}

impl Keys {
    fn next(&mut self, wire: &mut impl Wire) -> io::Result<[u8; 4]> {
        if self.left == 0 {
            wire.random(&mut self.octets)?;
            self.left = KEYS;
        }
        self.left -= 4;
        let mut key = [0; 4];
        key.copy_from_slice(&self.octets[self.left..self.left + 4]);
        Ok(key)
    }
}

impl Connection {
    /// Sends a whole message.
    pub(crate) fn send(&mut self, message: Message<'_>, wire: &mut impl Wire) -> Written {
        if self.is_close_sent {
            return Written::Gone;
        }
        let data = message.as_bytes();
        if self.outgoing.is_some() {
            return self.hold(message.kind(), data, wire);
        }
        if !self.compresses(data.len()) {
            return self.frame(opcode(message.kind()), true, false, data, wire);
        }
        let mut out = spare::take();
        if let Some(deflater) = &mut self.deflater {
            deflater.deflate(data, true, &mut out);
        }
        let written = self.frame(opcode(message.kind()), true, true, &out, wire);
        spare::give_back(out);
        written
    }

    /// Sends a whole binary message without copying it, where it is neither masked nor compressed.
    pub(crate) fn send_bytes(&mut self, data: Bytes, wire: &mut impl Wire) -> Written {
        let as_it_is = self.is_server() && !self.is_close_sent && self.outgoing.is_none();
        if !as_it_is || self.compresses(data.len()) {
            return self.send(Message::Binary(&data), wire);
        }
        let head = FrameHead {
            is_final: true,
            is_compressed: false,
            opcode: Opcode::Binary,
            mask: None,
            length: data.len() as u64,
        };
        let mut out = [0; MAX_HEAD];
        let size = head.write(&mut out);
        wire.write(&out[..size]);
        wire.write_bytes(data)
    }

    /// Sends frames that were made before, for a server: `plain`, or `compressed` (with a window of
    /// 32 KiB, and for itself) where that may be.
    pub(crate) fn send_prepared(
        &mut self,
        plain: &Bytes,
        compressed: Option<&Bytes>,
        wire: &mut impl Wire,
    ) -> Written {
        let takes = self.agreed.is_some_and(|agreed| agreed.own_bits == 15);
        match compressed.filter(|_| takes) {
            Some(compressed) => {
                // The peer's window has a message more than the compressor's.
                if let Some(deflater) = &mut self.deflater {
                    deflater.forget();
                }
                wire.write_bytes(compressed.clone())
            }
            None => wire.write_bytes(plain.clone()),
        }
    }

    /// Whether a frame that was made before may go out as it is.
    pub(crate) fn takes_prepared(&self) -> bool {
        self.is_server() && !self.is_close_sent && self.outgoing.is_none()
    }

    /// Sends a fragment: the first decides what the message is.
    pub(crate) fn send_fragment(
        &mut self,
        message: Message<'_>,
        is_last: bool,
        wire: &mut impl Wire,
    ) -> Written {
        if self.is_close_sent {
            return Written::Gone;
        }
        let (kind, data) = (message.kind(), message.as_bytes());
        let (first, outgoing) = match self.outgoing {
            None => {
                // A message that is sent in pieces is a long one.
                let is_compressed = self.compresses(usize::MAX);
                (opcode(kind), Outgoing { kind, is_compressed })
            }
            Some(outgoing) if outgoing.kind != kind => {
                log::error!(target: LOG, "a fragment was dropped: its message is of another kind");
                return wire.writability();
            }
            Some(outgoing) => (Opcode::Continuation, outgoing),
        };
        let is_first = self.outgoing.is_none();
        self.outgoing = Some(outgoing);
        let mut written = if outgoing.is_compressed {
            let mut out = spare::take();
            if let Some(deflater) = &mut self.deflater {
                deflater.deflate(data, is_last, &mut out);
            }
            let written = self.frame(first, is_last, is_first, &out, wire);
            spare::give_back(out);
            written
        } else {
            self.frame(first, is_last, false, data, wire)
        };
        if is_last {
            self.outgoing = None;
            if !self.held.is_empty() {
                written = wire.write_bytes(std::mem::take(&mut self.held).into());
            }
        }
        written
    }

    /// Bytes that wait for the end of a fragmented message.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn ping(&mut self, data: &[u8], wire: &mut impl Wire) -> Written {
        self.control(Opcode::Ping, data, wire)
    }

    pub(crate) fn pong(&mut self, data: &[u8], wire: &mut impl Wire) -> Written {
        self.control(Opcode::Pong, data, wire)
    }

    /// Answers a ping, at once if there is room: a peer that pings and does not read gets one answer
    /// later, to the latest (RFC 6455 §5.5.3).
    pub(crate) fn answer_ping(&mut self, data: &[u8], wire: &mut impl Wire) {
        if self.is_close_sent {
            return;
        }
        match wire.writability() {
            Written::Taken => {
                self.owed_pong = None;
                self.pong(data, wire);
            }
            Written::AboveHighWater => self.owed_pong = Some(data.into()),
            Written::Gone => {}
        }
    }

    /// There is room again.
    pub(crate) fn resume(&mut self, wire: &mut impl Wire) {
        if let Some(data) = self.owed_pong.take() {
            self.pong(&data, wire);
        }
    }

    /// Sends the Close frame, unless it was sent. What is held is lost, and so is a message that was
    /// not ended.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str, wire: &mut impl Wire) {
        if self.is_close_sent {
            return;
        }
        let mut payload = spare::take();
        Close::write(&mut payload, code, reason);
        self.control(Opcode::Close, &payload, wire);
        spare::give_back(payload);
        self.is_close_sent = true;
        self.owed_pong = None;
        self.held = Vec::new();
        self.outgoing = None;
        self.deflater = None;
    }

    /// Answers the peer's Close frame with its own code.
    pub(crate) fn answer_close(&mut self, wire: &mut impl Wire) {
        let Some(close) = &self.close_received else { return };
        let code = close.code;
        self.close(code, "", wire);
    }

    fn control(&mut self, opcode: Opcode, data: &[u8], wire: &mut impl Wire) -> Written {
        if self.is_close_sent {
            return Written::Gone;
        }
        let data = &data[..data.len().min(MAX_CONTROL)];
        self.frame(opcode, true, false, data, wire)
    }

    /// Whether a message of so many bytes is compressed; makes what does it.
    fn compresses(&mut self, size: usize) -> bool {
        let (Some(agreed), Some(deflate)) = (self.agreed, &self.config.deflate) else {
            return false;
        };
        if size < deflate.min_size.max(1) {
            return false;
        }
        if self.deflater.is_none() {
            self.deflater = Deflater::new(agreed, deflate).map(Box::new);
        }
        self.deflater.is_some()
    }

    /// Keeps a whole message until the fragmented one has ended.
    fn hold(&mut self, kind: Kind, data: &[u8], wire: &mut impl Wire) -> Written {
        let mut held = std::mem::take(&mut self.held);
        let limit = wire.output_limit();
        let written =
            self.frame(opcode(kind), true, false, data, &mut Held { held: &mut held, wire });
        self.held = held;
        if self.held.len() > limit {
            log::warn!(target: LOG, "aborted: {} bytes wait for a message's end", self.held.len());
            self.held = Vec::new();
            wire.abort();
            return Written::Gone;
        }
        written
    }

    /// Writes one frame.
    fn frame(
        &mut self,
        opcode: Opcode,
        is_final: bool,
        is_compressed: bool,
        data: &[u8],
        wire: &mut impl Wire,
    ) -> Written {
        let mask_key = match &mut self.role {
            Role::Server => None,
            Role::Client(keys) => match keys.next(wire) {
                Ok(key) => Some(key),
                Err(error) => {
                    log::error!(target: LOG, "no random numbers to mask with: {error}");
                    wire.abort();
                    return Written::Gone;
                }
            },
        };
        let length = data.len() as u64;
        let head = FrameHead { is_final, is_compressed, opcode, mask: mask_key, length };
        let mut out = [0; MAX_HEAD];
        let size = head.write(&mut out);
        let mut written = wire.write(&out[..size]);
        let Some(key) = mask_key else {
            return if data.is_empty() { written } else { wire.write(data) };
        };
        let mut buffer = spare::take();
        for (number, piece) in data.chunks(MASKED).enumerate() {
            buffer.clear();
            buffer.extend_from_slice(piece);
            mask(&mut buffer, key, (number * MASKED) as u64);
            written = wire.write(&buffer);
        }
        spare::give_back(buffer);
        written
    }
}

fn opcode(kind: Kind) -> Opcode {
    match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    }
}

/// What is held, with the chance of the wire behind it.
struct Held<'a, W> {
    held: &'a mut Vec<u8>,
    wire: &'a mut W,
}

impl<W: Wire> Wire for Held<'_, W> {
    fn write(&mut self, data: &[u8]) -> Written {
        self.held.extend_from_slice(data);
        self.wire.writability()
    }

    fn write_bytes(&mut self, data: Bytes) -> Written {
        self.write(&data)
    }

    fn writability(&self) -> Written {
        self.wire.writability()
    }

    fn output_limit(&self) -> usize {
        self.wire.output_limit()
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.wire.random(bytes)
    }

    fn abort(&mut self) {
        self.wire.abort();
    }
}
