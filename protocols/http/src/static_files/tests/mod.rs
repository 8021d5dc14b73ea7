//! Files on the simulated network: stories in the wire's own words, from a tree in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use ropewalk_reactor::testing::Harness;

use super::*;
use crate::{Config, HttpServer};

mod ranges;
mod sendfile;
mod sending;
mod serving;

/// A directory of its own, gone at the end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = format!("ropewalk-files-{name}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(path);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory of ours");
        Self(path.canonicalize().expect("it is there"))
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is in ours")).expect("a directory of ours");
        fs::write(path, content).expect("a file of ours");
    }

    pub(super) fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.path(path)).expect("a link of ours");
    }

    /// A FIFO.
    pub(super) fn special(&self, path: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let made = mknodat(CWD, self.path(path), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
        made.expect("a FIFO of ours");
    }

    pub(super) fn socket(&self, path: &str) {
        std::os::unix::net::UnixListener::bind(self.path(path)).expect("a socket of ours");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// When the files of a tree were written: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

/// A tree of these files, each with its content.
fn tree(files: &[(&str, &str)]) -> MemoryTree {
    let tree = MemoryTree::new();
    for (path, content) in files {
        tree.insert(path, content.to_string(), then());
    }
    tree
}

fn server(files: StaticFiles) -> HttpServer {
    HttpServer::with_config(Arc::new(Config::new().date(false)), files)
}

fn harness(files: StaticFiles) -> Harness<HttpServer> {
    Harness::new(server(files))
}

/// What came back for a request.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn status(&self) -> &str {
        &self.head[9..12]
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("it is text")
    }
}

/// Asks with a request line's method and target, and fields, each with its CRLF.
fn ask(harness: &mut Harness<HttpServer>, line: &str, fields: &str) -> Reply {
    harness.feed(format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
    harness.advance(Duration::from_secs(1));
    split(&harness.written())
}

fn split(written: &[u8]) -> Reply {
    let end = written.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8_lossy(&written[..end + 2]).into_owned();
    Reply { head, body: written[end + 4..].to_vec() }
}

fn get(files: &StaticFiles, target: &str) -> Reply {
    ask(&mut harness(files.clone()), &format!("GET {target}"), "")
}

fn get_with(files: &StaticFiles, target: &str, fields: &str) -> Reply {
    ask(&mut harness(files.clone()), &format!("GET {target}"), fields)
}

/// A tree that counts what is asked of it.
struct Counting {
    tree: MemoryTree,
    opened: Arc<AtomicUsize>,
    read: Arc<AtomicUsize>,
}

struct CountingFile {
    file: Arc<dyn OpenFile>,
    read: Arc<AtomicUsize>,
}

impl FileTree for Counting {
    fn open(&self, path: &Path) -> std::io::Result<Node> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(match self.tree.open(path)? {
            Node::File(metadata, file) => {
                let read = self.read.clone();
                Node::File(metadata, Arc::new(CountingFile { file, read }))
            }
            other => other,
        })
    }

    fn list(&self, path: &Path, limit: usize) -> std::io::Result<Vec<Entry>> {
        self.tree.list(path, limit)
    }
}

impl OpenFile for CountingFile {
    fn read_at(&self, offset: u64, length: usize) -> std::io::Result<bytes::Bytes> {
        let data = self.file.read_at(offset, length)?;
        self.read.fetch_add(data.len(), Ordering::Relaxed);
        Ok(data)
    }
}
