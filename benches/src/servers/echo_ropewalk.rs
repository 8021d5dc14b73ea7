//! Echo on Ropewalk, as its README has it.

use std::io;

use bytes::BytesMut;
use ropewalk_reactor::{Protocol, Reactor, Result, Transport};

use super::announce;

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        transport.write(data);
        data.clear();
        Ok(())
    }
}

pub(super) fn run() -> io::Result<()> {
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let listener = reactor.listen("127.0.0.1:0", |_| Echo).map_err(io::Error::other)?;
    let address = reactor.address(listener).ok_or(io::ErrorKind::NotConnected)?;
    announce(address.port().ok_or(io::ErrorKind::AddrNotAvailable)?);
    reactor.run().map_err(io::Error::other)
}
