//! Files on Ropewalk: with `write_file`, and, as was done without it, read into buffers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ropewalk_reactor::{Protocol, Reactor, Result, Transport, Written};

use super::{announce_reactor, scratch_file};
use crate::files::{FILE, REPLY};

/// Read at once by the one that copies: what a socket's buffer commonly holds.
const PIECE: u64 = 64 * 1024;

struct Server {
    file: Arc<File>,
    copies: bool,
    left: u64,
}

impl Server {
    fn produce(&mut self, transport: &mut Transport<'_>) -> io::Result<()> {
        while self.left > 0 && transport.writability() == Written::Taken {
            let at = (REPLY - self.left % REPLY) % FILE;
            let count = match self.copies {
                true => PIECE.min(self.left),
                false => FILE.min(self.left),
            };
            if self.copies {
                let mut piece = vec![0; count as usize];
                self.file.read_exact_at(&mut piece, at)?;
                transport.write_bytes(Bytes::from(piece));
            } else {
                transport.write_file(self.file.clone(), at, count);
            }
            self.left -= count;
        }
        Ok(())
    }
}

impl Protocol for Server {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        self.left += data.len() as u64 * REPLY;
        data.clear();
        Ok(self.produce(transport)?)
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        if self.produce(transport).is_err() {
            transport.abort_connection();
        }
    }
}

pub(super) fn run() -> io::Result<()> {
    serve(false)
}

pub(super) fn run_copying() -> io::Result<()> {
    serve(true)
}

fn serve(copies: bool) -> io::Result<()> {
    let file = Arc::new(scratch_file()?);
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let factory = move |_| Server { file: file.clone(), copies, left: 0 };
    let listener = reactor.listen("127.0.0.1:0", factory).map_err(io::Error::other)?;
    announce_reactor(&mut reactor, listener)?;
    reactor.run().map_err(io::Error::other)
}
