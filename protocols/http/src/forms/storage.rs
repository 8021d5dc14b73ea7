//! Where the files of a form are written: the seam to the file system, so that a simulated program
//! writes none and replays.
//!
//! The one rule: all of it is called on threads of the pool, never on the loop.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What [`Forms`](super::Forms) asks of a file system.
pub trait Storage: Send + Sync + 'static {
    /// Makes a file that is not there yet, for its owner alone.
    ///
    /// # Errors
    /// There is one, or the system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Write + Send>>;

    /// Gives a file another name; one of that name is replaced.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Debug)]
pub(super) struct Disk;

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Write + Send>> {
        // O_EXCL: neither a file nor a link that somebody has put there is written through.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Files in memory, for tests. Clones are the same storage.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<Files>>);

#[derive(Debug, Default)]
struct Files {
    all: BTreeMap<PathBuf, Vec<u8>>,
    /// Bytes that fit in all; `None` is any number.
    capacity: Option<usize>,
}

impl MemoryStorage {
    /// No files, and room for any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets so many bytes in all fit; then the disk is full.
    pub fn set_capacity(&self, bytes: usize) {
        self.lock().capacity = Some(bytes);
    }

    /// The files that are there, in the order of their names.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.lock().all.iter().map(|(path, data)| (path.clone(), data.clone())).collect()
    }

    /// (A panic while it was locked leaves nothing half done.)
    fn lock(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Write + Send>> {
        let mut files = self.lock();
        if files.all.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.all.insert(path.to_owned(), Vec::new());
        Ok(Box::new(MemoryFile { storage: self.clone(), path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.lock();
        let data = files.all.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.all.insert(to.to_owned(), data);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.lock().all.remove(path);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}

struct MemoryFile {
    storage: MemoryStorage,
    path: PathBuf,
}

impl Write for MemoryFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut files = self.storage.lock();
        let used: usize = files.all.values().map(Vec::len).sum();
        if files.capacity.is_some_and(|capacity| used + data.len() > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // As on a disk, a file that was removed can still be written to.
        if let Some(file) = files.all.get_mut(&self.path) {
            file.extend_from_slice(data);
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
