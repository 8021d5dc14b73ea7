//! Frames that wait to be handed to the transport: small ones in one buffer, large bodies by
//! reference.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ropewalk_reactor::Transport;

use crate::codec::Sink;

/// Octets on their way out, in order: `chunks`, then `tail`.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    chunks: VecDeque<Bytes>,
    /// Octets in `chunks`.
    queued: usize,
    tail: BytesMut,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.queued + self.tail.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Outbox::default();
    }

    /// Hands everything over; answers whether there was anything.
    pub(super) fn write_to(&mut self, transport: &mut Transport<'_>) -> bool {
        if self.len() == 0 {
            return false;
        }
        for chunk in self.chunks.drain(..) {
            transport.write_bytes(chunk);
        }
        self.queued = 0;
        if !self.tail.is_empty() {
            transport.write(&self.tail);
            self.tail.clear();
        }
        true
    }
}

impl Sink for Outbox {
    fn put_slice(&mut self, octets: &[u8]) {
        self.tail.extend_from_slice(octets);
    }

    fn put_bytes(&mut self, bytes: Bytes) {
        if !self.tail.is_empty() {
            let before = self.tail.split().freeze();
            self.queued += before.len();
            self.chunks.push_back(before);
        }
        self.queued += bytes.len();
        self.chunks.push_back(bytes);
    }
}
