//! A directory served by Ropewalk, with every limit and timeout at its default.

use std::io;

use ropewalk_http::{Site, StaticFiles};
use ropewalk_reactor::Reactor;

use super::{announce_reactor, root_of_files};

pub(super) fn run() -> io::Result<()> {
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let site = Site::new(StaticFiles::new(root_of_files()?));
    let listener = reactor.listen("127.0.0.1:0", site).map_err(io::Error::other)?;
    announce_reactor(&mut reactor, listener)?;
    reactor.run().map_err(io::Error::other)
}
