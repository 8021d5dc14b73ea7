//! The smallest services there are: whatever comes goes back.

use bytes::BytesMut;
use ropewalk_reactor::{Protocol, Result, Transport};

use crate::{LineProtocol, LineTransport};

/// Sends back every byte (RFC 862). It reads no faster than its peer does: above the high-water
/// mark it reads nothing until that has passed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        transport.write(data);
        data.clear();
        Ok(())
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}

/// Sends back every line, with CR LF behind it, no faster than its peer reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineEcho;

impl LineProtocol for LineEcho {
    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
        transport.send_line(line);
        Ok(())
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}
