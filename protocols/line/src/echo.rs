//! The smallest services there are: whatever comes goes back.

use bytes::BytesMut;
use ropewalk_reactor::{Address, DatagramProtocol, DatagramTransport, Protocol, Result, Transport};

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

/// Sends back every datagram to whoever sent it (RFC 862).
#[derive(Debug, Clone, Copy, Default)]
pub struct DatagramEcho;

impl DatagramProtocol for DatagramEcho {
    fn datagram_received(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        data: &[u8],
        from: Address,
    ) -> Result {
        // What there is no room for is lost, as on any network.
        let _ = transport.send_to(data, &from);
        Ok(())
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
