//! Writing without waiting: the loop hands over entries, a thread of the pool writes them.
//!
//! The one rule: the loop never waits for a file. When the thread is slower than whoever writes,
//! entries are left out, and what is written says how many.

use std::fmt::{self, Display};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::warn;

use crate::core::Core;
use crate::{LOG, Transport};

/// Bytes of entries that wait to be written: a disk that stops for a moment loses nothing, one that
/// is too slow costs no more memory than this.
const WAITING: usize = 4 << 20;

/// Entries on their way to a thread; `T` is turned into text there.
pub(crate) struct Background<T: Display> {
    queue: Mutex<Queue<T>>,
    /// Locked by the thread that writes.
    sink: Mutex<Box<dyn Write + Send>>,
    /// What it is, for the log: "the traffic log".
    name: &'static str,
}

struct Queue<T> {
    entries: Vec<T>,
    /// What they cost.
    bytes: usize,
    left_out: u64,
    /// A thread has been asked to write.
    writing: bool,
    /// Writing has failed: there is no more.
    broken: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), bytes: 0, left_out: 0, writing: false, broken: false }
    }
}

impl<T: Display + Send + 'static> Background<T> {
    pub(crate) fn to(name: &'static str, sink: impl Write + Send + 'static) -> Self {
        Self { queue: Mutex::default(), sink: Mutex::new(Box::new(sink)), name }
    }

    /// Whether anything that is handed over is written.
    pub(crate) fn is_wanted(&self) -> bool {
        !lock(&self.queue).broken
    }

    /// Hands over an entry, which takes `cost` bytes while it waits.
    pub(crate) fn push(self: &Arc<Self>, entry: T, cost: usize, core: &mut Core) {
        if !self.enqueue(entry, cost) {
            return;
        }
        let (writing, name) = (Writing { to: self.clone(), has_ended: false }, self.name);
        core.defer_to_thread(move || writing.write()).then(move |_, result| match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(target: LOG, "{name} ends here: {error}"),
            Err(error) => warn!(target: LOG, "{name} has to wait: {error}"),
        });
    }

    /// True if a thread is to be asked to write.
    fn enqueue(&self, entry: T, cost: usize) -> bool {
        let mut queue = lock(&self.queue);
        if queue.broken {
            return false;
        }
        if queue.bytes + cost > WAITING {
            queue.left_out += 1;
        } else {
            queue.bytes += cost;
            queue.entries.push(entry);
        }
        !std::mem::replace(&mut queue.writing, true)
    }
}

impl<T: Display> Background<T> {
    /// Writes all that waits; on a thread of the pool.
    fn write(&self) -> io::Result<()> {
        let mut sink = lock(&self.sink);
        loop {
            let mut waiting = lock(&self.queue);
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
                *lock(&self.queue) = Queue { broken: true, ..Queue::default() };
            }
            if was_last || written.is_err() {
                return written;
            }
        }
    }
}

impl<T: Display> Drop for Background<T> {
    /// What came after the last thread had stopped.
    fn drop(&mut self) {
        if let Err(error) = self.write() {
            warn!(target: LOG, "the end of {} is lost: {error}", self.name);
        }
    }
}

/// What a thread of the pool was asked to do.
struct Writing<T: Display> {
    to: Arc<Background<T>>,
    has_ended: bool,
}

impl<T: Display> Writing<T> {
    fn write(mut self) -> io::Result<()> {
        let written = self.to.write();
        self.has_ended = true;
        written
    }
}

impl<T: Display> Drop for Writing<T> {
    /// It was never begun (there was no thread, or its reactor has gone, of which another one that
    /// writes to the same place knows nothing), or it panicked: the next entry asks again.
    fn drop(&mut self) {
        if !self.has_ended {
            lock(&self.to.queue).writing = false;
        }
    }
}

/// Writes lines to a file, or to anything else, from a thread of the pool, so that the loop never
/// waits for it: for logs.
///
/// Lines of 4 MiB in all may wait; beyond that they are left out, and what is written says how many.
/// After an error there is no more, and the log has said so. Clones write to the same place.
#[derive(Clone)]
pub struct BackgroundWriter {
    to: Arc<Background<String>>,
    reopening: Arc<AtomicBool>,
}

impl BackgroundWriter {
    /// Appends to the file `path`, which is made with mode 0600 if it is not there. `name` is what the
    /// log calls it: `the access log`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(name: &'static str, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let file = append_to(&path).map_err(|error| {
            let problem = format!("cannot open {name} {}: {error}", path.display());
            io::Error::new(error.kind(), problem)
        })?;
        let reopening = Arc::new(AtomicBool::new(false));
        let file = BufWriter::new(file);
        let sink = Reopened { name, path, file, is_asked: reopening.clone() };
        Ok(Self { to: Arc::new(Background::to(name, sink)), reopening })
    }

    /// Writes to anything else.
    pub fn to(name: &'static str, sink: impl Write + Send + 'static) -> Self {
        Self { to: Arc::new(Background::to(name, sink)), reopening: Arc::default() }
    }

    /// Opens the file anew before the next line, under the name that it was opened by: after somebody
    /// has renamed it. Should that fail, the log says so, and the old file stays.
    pub fn reopen(&self) {
        self.reopening.store(true, Ordering::Relaxed);
    }

    /// Writes `line`, and the end of a line.
    pub fn write_line(&self, mut line: String, transport: &mut Transport<'_>) {
        line.push('\n');
        let cost = size_of::<String>() + line.capacity();
        self.to.push(line, cost, transport.core);
    }
}

impl fmt::Debug for BackgroundWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BackgroundWriter").field(&self.to.name).finish()
    }
}

/// A file that is opened again when that is asked for.
struct Reopened {
    name: &'static str,
    path: PathBuf,
    file: BufWriter<File>,
    is_asked: Arc<AtomicBool>,
}

impl Write for Reopened {
    /// (Called with whole lines.)
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.is_asked.swap(false, Ordering::Relaxed) {
            self.file.flush()?;
            match append_to(&self.path) {
                Ok(file) => self.file = BufWriter::new(file),
                Err(error) => {
                    let (name, path) = (self.name, self.path.display());
                    warn!(target: LOG, "cannot open {name} {path} again, the old file stays: {error}");
                }
            }
        }
        self.file.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What it has may be anybody's secrets.
pub(crate) fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// (A panic of a sink of the user's may have poisoned it; what is behind it is whole.)
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
