//! A file of a form, on disk under a temporary name until somebody keeps it.
//!
//! The one rule: whoever holds the name of a temporary file removes it when dropped, wherever that
//! is: in a callback, in a job that nobody waits for any more, or with the reactor.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_reactor::{Deferred, Error, Local};

use super::Part;
use super::storage::Storage;
use crate::LOG;

/// A file that came with a form.
///
/// It is on disk, written and closed, and readable by this process's user alone; it is removed when this
/// is dropped, unless [`persist`](Self::persist) has kept it. (A process that is killed removes
/// nothing: `upload-*.tmp` of old days in the directory can go.)
pub struct Upload {
    part: Part,
    size: u64,
    /// There until it is persisted.
    file: Option<TemporaryFile>,
    local: Local,
}

impl Upload {
    pub(super) fn new(part: Part, size: u64, file: TemporaryFile, local: Local) -> Self {
        Self { part, size, file: Some(file), local }
    }

    /// The name of the field.
    pub fn name(&self) -> &str {
        &self.part.name
    }

    /// The name that the client gives the file, without a path, never `.` or `..`, without control
    /// characters; empty if it gives none. Two may be the same, and it may begin with a dot: to store
    /// files under names of their clients' choice is for those who have thought about it.
    pub fn file_name(&self) -> &str {
        self.part.file_name.as_deref().unwrap_or_default()
    }

    /// What the client says that it is: `image/png`. Never believe it.
    pub fn content_type(&self) -> Option<&str> {
        self.part.content_type.as_deref()
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where it is now, for a thread that reads it.
    pub fn path(&self) -> &Path {
        self.file.as_ref().map_or(Path::new(""), |file| &file.path)
    }

    /// Keeps it, under this name, on a thread of the pool. A file of that name is replaced. The path must
    /// be on the file system of the directory of uploads: it is a renaming, so the file is there
    /// whole or not at all. Its mode stays 0600, and it is not synced.
    ///
    /// It fails with [`Error::System`], and then the upload is removed.
    pub fn persist(mut self, path: impl Into<PathBuf>) -> Deferred<()> {
        let (promise, deferred) = self.local.deferred();
        let path = path.into();
        if let Some(file) = self.file.take() {
            self.local.call_soon(move |reactor| {
                let renamed = reactor.defer_to_thread(move || file.persist(&path));
                renamed.then(move |_, result| {
                    promise.fire(result.and_then(|renamed| renamed.map_err(Error::System)));
                });
            });
        }
        deferred
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            drop_on_a_thread(&self.local, file);
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("part", &self.part)
            .field("size", &self.size)
            .field("path", &self.path())
            .finish()
    }
}

/// The name of a file that goes when this does.
pub(super) struct TemporaryFile {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    is_kept: bool,
}

impl TemporaryFile {
    /// The file at `path` was made just now.
    pub(super) fn new(storage: Arc<dyn Storage>, path: PathBuf) -> Self {
        Self { storage, path, is_kept: false }
    }

    fn persist(mut self, path: &Path) -> io::Result<()> {
        self.storage.rename(&self.path, path)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = self.storage.remove(&self.path) {
            log::warn!(target: LOG, "cannot remove the upload {}: {error}", self.path.display());
        }
    }
}

/// Drops what removes files where it may wait for a disk. Without a thread to be had (the pool is full,
/// or the reactor has gone) it is dropped at once: a file that stays would be worse than a wait.
pub(super) fn drop_on_a_thread(local: &Local, files: impl Send + 'static) {
    local.call_soon(move |reactor| reactor.defer_to_thread(move || drop(files)).then(|_, _| {}));
}
