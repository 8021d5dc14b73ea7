//! A log of what connections say: for whoever has to see it to believe it. It has what the protocol
//! sees, so with TLS it is in the clear.
//!
//! The one rule: the loop never waits for a file. Entries queue for a thread of the pool; when it is
//! slower than the connections, entries are left out, and the log says how many.

mod dump;
mod file;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::{Level, log_enabled, trace, warn};

use super::Direction;
use super::police::Policed;
use crate::address::Address;
use crate::core::Core;
use crate::protocol::Reason;
use crate::{ConnectionId, LOG};
use dump::{Entry, What};
use file::Rotating;

/// Bytes of entries that wait to be written: a disk that stops for a moment loses nothing, one that
/// is too slow costs no more memory than this.
const WAITING: usize = 4 << 20;
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
    Sink {
        queue: Mutex<Queue>,
        /// Locked by the thread that writes.
        sink: Mutex<Box<dyn io::Write + Send>>,
    },
}

#[derive(Default)]
struct Queue {
    entries: Vec<Entry>,
    /// Of their data, and what each costs besides.
    bytes: usize,
    left_out: u64,
    /// A thread has been asked to write.
    writing: bool,
    /// Writing has failed: there is no more.
    broken: bool,
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
        Self(Arc::new(Place::Sink { queue: Mutex::default(), sink: Mutex::new(Box::new(sink)) }))
    }

    /// Writes to the log, at the level `trace`, where that is enabled.
    pub fn trace() -> Self {
        Self(Arc::new(Place::Log))
    }

    fn is_wanted(&self) -> bool {
        match &*self.0 {
            Place::Log => log_enabled!(target: LOG, Level::Trace),
            Place::Sink { queue, .. } => !lock(queue).broken,
        }
    }

    /// Takes an entry; true if a thread is to be asked to write.
    fn push(&self, entry: Entry) -> bool {
        match &*self.0 {
            Place::Log => {
                trace!(target: LOG, "{entry}");
                false
            }
            Place::Sink { queue, .. } => {
                let mut queue = lock(queue);
                if queue.bytes + entry.cost() > WAITING {
                    queue.left_out += 1;
                } else {
                    queue.bytes += entry.cost();
                    queue.entries.push(entry);
                }
                !std::mem::replace(&mut queue.writing, true)
            }
        }
    }

    /// Writes all that waits; on a thread of the pool.
    fn write(&self) -> io::Result<()> {
        self.0.write()
    }

    /// No thread could be asked: the next entry tries again.
    fn not_writing(&self) {
        if let Place::Sink { queue, .. } = &*self.0 {
            lock(queue).writing = false;
        }
    }
}

impl Place {
    fn write(&self) -> io::Result<()> {
        let Self::Sink { queue, sink } = self else { return Ok(()) };
        let mut sink = lock(sink);
        loop {
            let mut waiting = lock(queue);
            let entries = std::mem::take(&mut waiting.entries);
            let left_out = std::mem::take(&mut waiting.left_out);
            waiting.bytes = 0;
            let was_last = entries.is_empty() && left_out == 0;
            waiting.writing = !was_last;
            drop(waiting);
            let written =
                entries.iter().try_for_each(|entry| sink.write_all(entry.to_string().as_bytes()));
            let written = written.and_then(|()| match left_out {
                0 if was_last => sink.flush(), // a full disk may show only here
                0 => Ok(()),
                more => writeln!(sink, "({more} entries are left out: writing them was too slow)"),
            });
            if written.is_err() {
                *lock(queue) = Queue { broken: true, ..Queue::default() };
            }
            if was_last || written.is_err() {
                return written;
            }
        }
    }
}

impl Drop for Place {
    /// What came after the last thread had stopped.
    fn drop(&mut self) {
        if let Err(error) = self.write() {
            warn!(target: LOG, "the end of the traffic log is lost: {error}");
        }
    }
}

/// (A panic of a sink of the user's may have poisoned it; what is behind it is whole.)
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        if !log.push(entry) {
            return;
        }
        let writer = log.clone();
        self.defer_to_thread(move || writer.write()).then(move |_, result| match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(target: LOG, "the traffic log ends here: {error}"),
            Err(error) => {
                log.not_writing();
                warn!(target: LOG, "the traffic log has to wait: {error}");
            }
        });
    }
}

fn log_of(policed: &Policed) -> Option<TrafficLog> {
    policed.limits().traffic.clone().filter(TrafficLog::is_wanted)
}
