//! The seam to the file system: a tree of files that are opened, read by position, and listed.
//!
//! All of it is called from threads of the pool, where it may block; in a simulation, from the loop. The
//! one rule: paths are relative and have nothing but names in them, and what they lead to is within the
//! tree, or not found.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

/// Where [`StaticFiles`](crate::StaticFiles) come from: a [`Directory`](super::Directory), a
/// [`MemoryTree`](super::MemoryTree), or an archive of your own.
pub trait FileTree: Send + Sync + 'static {
    /// Opens what `path` names; the empty path is the root. It never waits for anything but the disk: not
    /// for the other end of a FIFO.
    ///
    /// # Errors
    /// `NotFound` and `NotADirectory` (or, for a path that leads out of the tree, `NotFound`) are
    /// answered with 404, `PermissionDenied` with 403, and all else with 500, and logged.
    fn open(&self, path: &Path) -> io::Result<Node>;

    /// What is in a directory, in any order, hidden files included; at most `limit` entries.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    fn list(&self, path: &Path, limit: usize) -> io::Result<Vec<Entry>>;
}

/// What a path names.
#[non_exhaustive]
pub enum Node {
    /// A file, open for reading.
    File(Metadata, Arc<dyn OpenFile>),
    /// A directory.
    Directory,
    /// Neither: a FIFO, a socket, a device. It is never served.
    Other,
}

/// A file that is open: what it is called now, and whether it still is, does not matter.
pub trait OpenFile: Send + Sync + 'static {
    /// At most `length` bytes from `offset` on; fewer if that is what there is for now, none behind the
    /// end of the file.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;

    /// The file of the system that this is, all of it, if it is one: for
    /// [`StaticFiles::sendfile`](crate::StaticFiles::sendfile).
    fn system_file(&self) -> Option<Arc<File>> {
        None
    }
}

/// What is known of a file when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes.
    pub length: u64,
    /// When its content changed last.
    pub modified: SystemTime,
    /// Tells it from another one that took its name: the inode, say.
    pub identity: u64,
}

/// What a directory has under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without a path.
    pub name: OsString,
    /// Whether it is a directory itself. A symbolic link is none.
    pub is_directory: bool,
    /// Bytes, of a file.
    pub length: u64,
    /// When it changed last.
    pub modified: SystemTime,
}
