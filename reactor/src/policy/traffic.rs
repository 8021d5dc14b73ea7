//! A log of what connections say: for whoever has to see it to believe it. It has what the protocol
//! sees, so with TLS it is in the clear.
//!
//! The one rule: the loop never waits for a file. Entries go to a thread in the background.

mod dump;
mod file;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use log::{Level, log_enabled, trace};

use super::Direction;
use super::police::Policed;
use crate::address::Address;
use crate::background::Background;
use crate::core::Core;
use crate::protocol::Reason;
use crate::{ConnectionId, LOG};
use dump::{Entry, What};
use file::Rotating;

/// What is kept of what goes at once. Whoever sends more sends files.
const ENTRY: usize = 16 << 10;

/// Where the traffic of connections is written, readable: each time that bytes came or went, when it
/// was, whose they are, and the bytes in hexadecimal and as text.
///
/// Of more than 16 KiB at once, the first 16 KiB are written. When the file is slower than the
/// connections, entries are left out, and it says how many. What goes out is written when the protocol
/// writes it, whether or not the peer takes it.
///
/// Clones write to the same place.
#[derive(Clone)]
pub struct TrafficLog(Arc<Place>);

enum Place {
    /// The `log` crate, at `trace`.
    Log,
    Sink(Arc<Background<Entry>>),
}

impl TrafficLog {
    /// Writes to a file, behind what is in it; only its owner can read it. When it has grown to
    /// `max_size` bytes, it gets the name `FILE.1`, in place of the one that had it before, and a new
    /// one begins: together they are never larger than twice that, and an entry.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: impl AsRef<Path>, max_size: u64) -> io::Result<Self> {
        Rotating::open(path.as_ref(), max_size).map(Self::to)
    }

    /// Writes to anything else. It is written to and flushed by a thread of the pool.
    pub fn to(sink: impl io::Write + Send + 'static) -> Self {
        Self(Arc::new(Place::Sink(Arc::new(Background::to("the traffic log", sink)))))
    }

    /// Writes to the log, at the level `trace`, where that is enabled.
    pub fn trace() -> Self {
        Self(Arc::new(Place::Log))
    }

    fn is_wanted(&self) -> bool {
        match &*self.0 {
            Place::Log => log_enabled!(target: LOG, Level::Trace),
            Place::Sink(sink) => sink.is_wanted(),
        }
    }
}

impl fmt::Debug for TrafficLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrafficLog")
    }
}

impl Core {
    /// Bytes came from the connection, or were written to it.
    pub(crate) fn log_traffic(&mut self, id: ConnectionId, direction: Direction, data: &[u8]) {
        let what = match direction {
            Direction::In => What::In,
            Direction::Out => What::Out,
        };
        let Some(connection) = self.connections.get(id) else { return };
        let Some(policed) = &connection.policed else { return };
        if let Some(log) = log_of(policed).filter(|_| !data.is_empty()) {
            let entry = self.entry(id, &connection.peer, what, data);
            self.write_down(log, entry);
        }
    }

    /// A file was written to the connection: of its `length` bytes, `read` gives as many of the first
    /// as it is asked for.
    pub(crate) fn log_file(
        &mut self,
        id: ConnectionId,
        length: usize,
        read: impl FnOnce(usize) -> Bytes,
    ) {
        let Some(connection) = self.connections.get(id) else { return };
        if let Some(log) = connection.policed.as_deref().and_then(log_of) {
            let mut entry = self.entry(id, &connection.peer, What::Out, &read(ENTRY));
            entry.length = length;
            self.write_down(log, entry);
        }
    }

    /// The connection was made.
    pub(super) fn log_birth(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else { return };
        if let Some(log) = connection.policed.as_deref().and_then(log_of) {
            let entry = self.entry(id, &connection.peer, What::Made, &[]);
            self.write_down(log, entry);
        }
    }

    /// The connection is lost.
    pub(crate) fn log_loss(
        &mut self,
        policed: &Policed,
        id: ConnectionId,
        peer: &Address,
        reason: &Reason,
    ) {
        if let Some(log) = log_of(policed) {
            let entry = self.entry(id, peer, What::Lost(reason.to_string()), &[]);
            self.write_down(log, entry);
        }
    }

    fn entry(&self, id: ConnectionId, peer: &Address, what: What, data: &[u8]) -> Entry {
        let (at, peer) = (self.clock.wall(), peer.clone());
        let kept = &data[..data.len().min(ENTRY)];
        Entry { at, id, peer, what, data: kept.to_vec(), length: data.len() }
    }

    fn write_down(&mut self, log: TrafficLog, entry: Entry) {
        match &*log.0 {
            Place::Log => trace!(target: LOG, "{entry}"),
            Place::Sink(sink) => {
                let cost = entry.cost();
                sink.push(entry, cost, self);
            }
        }
    }
}

fn log_of(policed: &Policed) -> Option<TrafficLog> {
    policed.limits().traffic.clone().filter(TrafficLog::is_wanted)
}
