//! The message queue on Ropewalk, with every limit at its default: in memory, or on a store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ropewalk_amqp::server::{Config, Server};
use ropewalk_reactor::Reactor;
use ropewalk_store::Directory;

use super::announce_reactor;

pub(super) fn run() -> io::Result<()> {
    serve(None)
}

/// Keeps what is durable where the variable [`DATA`](crate::child::DATA) says, or else in a place
/// that goes with the server.
pub(super) fn run_durable() -> io::Result<()> {
    let scratch = || crate::child::scratch_of(std::process::id());
    serve(Some(std::env::var_os(crate::child::DATA).map_or_else(scratch, PathBuf::from)))
}

fn serve(directory: Option<PathBuf>) -> io::Result<()> {
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let server = Server::new(Config::default());
    match directory {
        None => server.start(&mut reactor)?,
        Some(directory) => {
            let disk = Arc::new(Directory::new(&directory).map_err(io::Error::other)?);
            server.start_with_store(&mut reactor, disk).map_err(io::Error::other)?;
        }
    }
    let listener = reactor.listen("127.0.0.1:0", server).map_err(io::Error::other)?;
    announce_reactor(&mut reactor, listener)?;
    reactor.run().map_err(io::Error::other)
}
