//! The seam to the system's files: what the log asks of a directory and of a file in it.
//!
//! [`Directory`](crate::Directory) is the real one, [`simulation`](crate::simulation) one that
//! loses what it may lose. The contract is that of a POSIX file system at its worst: what has not
//! been synced may be lost, in part and in any order, when the power fails.

use std::any::Any;
use std::io;

/// Holds a directory against other processes until it is dropped.
pub type Lock = Box<dyn Any + Send>;

/// A directory of files, without directories in it. Names are short, of `[0-9a-z.-]`.
pub trait Disk: Send + Sync {
    /// Keeps other processes out; [`Error::InUse`](crate::Error::InUse) if one is in.
    fn lock(&self) -> crate::Result<Lock>;

    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file, to read and to write. Fails with `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Makes a file, empty; one that has the name is emptied. The name survives a power cut after
    /// [`sync`](Disk::sync).
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Takes a file away, durably after [`sync`](Disk::sync).
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in place of a file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes what was created, removed and renamed survive a power cut.
    fn sync(&self) -> io::Result<()>;

    /// The octets that can still be written.
    fn free(&self) -> io::Result<u64>;
}

/// A file, read and written at offsets: it has no position of its own.
pub trait File: Send {
    /// Its length in octets.
    fn length(&self) -> io::Result<u64>;

    /// Reads up to `into.len()` octets; fewer than that only at the end of the file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes the parts one after another, all of them, in as few calls as the system allows. An
    /// error leaves open which of them are written.
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()>;

    /// Makes the file at least `length` octets long, with zeros where nothing was written, and
    /// sets blocks aside for them, so that writing there later cannot find the disk full.
    fn reserve(&self, length: u64) -> io::Result<()>;

    /// Cuts the file off.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes what was written survive a power cut.
    fn sync(&self) -> io::Result<()>;
}
