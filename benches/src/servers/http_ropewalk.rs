//! "Hello, World!" on Ropewalk, with every limit and timeout at its default.

use std::io;

use ropewalk_http::{HttpServer, Request};
use ropewalk_reactor::Reactor;

use super::{HELLO, announce_reactor};

pub(super) fn run() -> io::Result<()> {
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let listener = reactor
        .listen("127.0.0.1:0", |_| HttpServer::new(|_: &Request| HELLO))
        .map_err(io::Error::other)?;
    announce_reactor(&mut reactor, listener)?;
    reactor.run().map_err(io::Error::other)
}
