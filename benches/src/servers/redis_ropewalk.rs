//! Publish/subscribe on Ropewalk, with every limit at its default.

use std::io;

use ropewalk_reactor::Reactor;
use ropewalk_redis::server::{Config, Server};

use super::announce_reactor;

pub(super) fn run() -> io::Result<()> {
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let server = Server::new(Config::default());
    let listener = reactor.listen("127.0.0.1:0", server).map_err(io::Error::other)?;
    announce_reactor(&mut reactor, listener)?;
    reactor.run().map_err(io::Error::other)
}
