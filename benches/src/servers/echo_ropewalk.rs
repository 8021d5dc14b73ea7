//! Echo on Ropewalk, as its README has it.

use std::io;

use bytes::BytesMut;
use ropewalk_reactor::{Protocol, Reactor, Result, Transport};

use super::announce_reactor;

pub(super) struct Echo;

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
    announce_reactor(&mut reactor, listener)?;
    reactor.run().map_err(io::Error::other)
}
