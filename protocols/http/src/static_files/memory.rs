//! A tree of files in memory: for tests, and for what a program carries within itself.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::tree::{Entry, FileTree, Metadata, Node, OpenFile};

/// Files in memory. Clones are the same tree.
///
/// A directory is there as long as a file is in it.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree(Arc<Mutex<Files>>);

#[derive(Debug, Default)]
struct Files {
    all: BTreeMap<PathBuf, Arc<MemoryFile>>,
    /// How many were ever put in: the next one's identity.
    count: u64,
}

#[derive(Debug)]
struct MemoryFile {
    identity: u64,
    content: Mutex<(Bytes, SystemTime)>,
}

impl MemoryTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file at a relative path, in the place of the one that is there: who has that one open goes
    /// on reading it, as after a rename.
    pub fn insert(
        &self,
        path: impl Into<PathBuf>,
        content: impl Into<Bytes>,
        modified: SystemTime,
    ) {
        let mut files = self.files();
        files.count += 1;
        let file =
            MemoryFile { identity: files.count, content: Mutex::new((content.into(), modified)) };
        files.all.insert(path.into(), Arc::new(file));
    }

    /// Writes to the file that is there, under those who read it: they may see parts of both, or too few
    /// bytes. `false` if there is none.
    pub fn overwrite(
        &self,
        path: impl AsRef<Path>,
        content: impl Into<Bytes>,
        modified: SystemTime,
    ) -> bool {
        let Some(file) = self.files().all.get(path.as_ref()).cloned() else { return false };
        *file.content() = (content.into(), modified);
        true
    }

    /// Takes a file away; whether there was one.
    pub fn remove(&self, path: impl AsRef<Path>) -> bool {
        self.files().all.remove(path.as_ref()).is_some()
    }

    /// Nothing is left half done where a panic could happen, so a poisoned lock is as good as any.
    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryFile {
    fn content(&self) -> MutexGuard<'_, (Bytes, SystemTime)> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileTree for MemoryTree {
    fn open(&self, path: &Path) -> io::Result<Node> {
        let files = self.files();
        if let Some(file) = files.all.get(path) {
            let (content, modified) = file.content().clone();
            let length = content.len() as u64;
            let metadata = Metadata { length, modified, identity: file.identity };
            return Ok(Node::File(metadata, file.clone()));
        }
        // Paths are ordered by their parts: what is in a directory follows where it would stand.
        let next = files.all.range(path.to_owned()..).next();
        let is_there = next.is_some_and(|(file, _)| file.starts_with(path));
        if is_there || path.as_os_str().is_empty() {
            Ok(Node::Directory)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn list(&self, path: &Path, limit: usize) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        for (file, node) in &self.files().all {
            let Ok(within) = file.strip_prefix(path) else { continue };
            let mut names = within.iter();
            let Some(name) = names.next() else { continue };
            let is_directory = names.next().is_some();
            // Paths are ordered by their parts: those of a directory stand together.
            if entries.last().is_some_and(|last| OsStr::new(&last.name) == name) {
                continue;
            }
            if entries.len() == limit {
                break;
            }
            let (content, modified) = node.content().clone();
            let length = if is_directory { 0 } else { content.len() as u64 };
            entries.push(Entry { name: name.to_owned(), is_directory, length, modified });
        }
        Ok(entries)
    }
}

impl OpenFile for MemoryFile {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let (content, _) = self.content().clone();
        let start = usize::try_from(offset).map_or(content.len(), |at| at.min(content.len()));
        let end = start.saturating_add(length).min(content.len());
        Ok(content.slice(start..end))
    }
}
