//! How output reaches the transport, on either side: what is small waits until the callback has
//! returned, and whether that was too much for now is noted.

use bytes::Bytes;
use ropewalk_reactor::{Transport, Written};

use crate::connection::{Output, Sink};

/// Output below this waits for more until the callback has returned; above it goes to the
/// transport (which sends once a turn, all the same), so that the high-water mark is noticed.
pub(crate) const FLUSH_AT: usize = 16 * 1024;

/// Hands all output to the transport, and notes whether that was too much for now.
pub(crate) fn flush(
    output: &mut Output,
    transport: &mut Transport<'_>,
    is_congested: &mut bool,
) -> Written {
    if output.is_empty() {
        return transport.writability();
    }
    let mut sink = ToTransport { transport, written: Written::Taken };
    output.drain(&mut sink);
    let written = sink.written;
    *is_congested |= written == Written::AboveHighWater;
    written
}

/// What becomes of a piece of a body that was put into the output.
pub(crate) fn written(
    output: &mut Output,
    transport: &mut Transport<'_>,
    is_congested: &mut bool,
) -> Written {
    if output.len() >= FLUSH_AT {
        return flush(output, transport, is_congested);
    }
    match transport.writability() {
        Written::Taken if *is_congested => Written::AboveHighWater,
        written => written,
    }
}

struct ToTransport<'a, 'b> {
    transport: &'a mut Transport<'b>,
    written: Written,
}

impl Sink for ToTransport<'_, '_> {
    fn write(&mut self, data: &[u8]) {
        self.written = self.transport.write(data);
    }

    fn write_bytes(&mut self, data: Bytes) {
        self.written = self.transport.write_bytes(data);
    }
}
