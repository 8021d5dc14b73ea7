//! What a connection has to say and has not handed on yet: one buffer for heads and small bodies,
//! and large bodies as they are.

use bytes::Bytes;

/// Bodies of this size and more are not copied; the reactor sends them vectored.
const QUEUED_FROM: usize = 16 * 1024;

/// Output in order: `queue`, then `tail`.
#[derive(Debug, Default)]
pub(crate) struct Output {
    queue: Vec<Bytes>,
    queued: usize,
    pub(crate) tail: Vec<u8>,
}

impl Output {
    /// Bytes for which memory is held.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.tail.capacity() + self.queue.capacity()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.queued + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a piece of a body, copied if it is small.
    pub(crate) fn push_bytes(&mut self, data: Bytes) {
        if data.len() < QUEUED_FROM {
            self.tail.extend_from_slice(&data);
        } else {
            if !self.tail.is_empty() {
                let tail = Bytes::from(std::mem::take(&mut self.tail));
                self.queued += tail.len();
                self.queue.push(tail);
            }
            self.queued += data.len();
            self.queue.push(data);
        }
    }

    /// Hands everything on, in order, and keeps the empty buffer.
    pub(crate) fn drain(&mut self, to: &mut dyn Sink) {
        self.queued = 0;
        for bytes in self.queue.drain(..) {
            to.write_bytes(bytes);
        }
        if !self.tail.is_empty() {
            to.write(&self.tail);
            self.tail.clear();
        }
    }

    /// The empty buffer, for the next connection that is busy; this one keeps nothing.
    pub(crate) fn release(&mut self) -> Vec<u8> {
        debug_assert!(self.is_empty());
        self.queue = Vec::new();
        std::mem::take(&mut self.tail)
    }

    /// Takes a buffer to write into, if there is none yet.
    pub(crate) fn lend(&mut self, spare: Vec<u8>) {
        if self.tail.capacity() == 0 {
            self.tail = spare;
        }
    }
}

/// Where output goes: a transport, or a test's buffer.
pub(crate) trait Sink {
    fn write(&mut self, data: &[u8]);
    fn write_bytes(&mut self, data: Bytes);
}

impl Sink for Vec<u8> {
    fn write(&mut self, data: &[u8]) {
        self.extend_from_slice(data);
    }

    fn write_bytes(&mut self, data: Bytes) {
        self.extend_from_slice(&data);
    }
}
