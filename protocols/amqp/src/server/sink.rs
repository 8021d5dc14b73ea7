//! Frames into a connection's output buffer.

use bytes::Bytes;
use ropewalk_reactor::Transport;

use crate::codec::Sink;

/// A transport as the encoder wants it. What becomes of the writes is asked afterwards.
pub(crate) struct TransportSink<'a, 't>(pub(crate) &'a mut Transport<'t>);

impl Sink for TransportSink<'_, '_> {
    fn put_slice(&mut self, octets: &[u8]) {
        self.0.write(octets);
    }

    fn put_bytes(&mut self, bytes: Bytes) {
        self.0.write_bytes(bytes);
    }
}
