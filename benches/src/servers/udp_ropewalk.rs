//! Echo of datagrams on Ropewalk, as its example has it.

use std::io;

use ropewalk_reactor::{Address, DatagramProtocol, DatagramTransport, Reactor, Result};

struct Echo;

impl DatagramProtocol for Echo {
    fn datagram_received(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        data: &[u8],
        from: Address,
    ) -> Result {
        transport.send_to(data, &from);
        Ok(())
    }
}

pub(super) fn run() -> io::Result<()> {
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let socket = reactor.listen_datagram("udp://127.0.0.1:0", Echo).map_err(io::Error::other)?;
    let address = reactor.datagram_address(socket).ok_or(io::ErrorKind::NotConnected)?;
    super::announce_datagrams(address.port().ok_or(io::ErrorKind::AddrNotAvailable)?);
    reactor.run().map_err(io::Error::other)
}
