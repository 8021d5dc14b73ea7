//! A directory of the file system, and everything beneath it.
//!
//! The one rule: what is opened lies beneath the root at the moment when it is opened, whatever
//! symbolic links say and whoever renames meanwhile. On Linux the kernel sees to that (`openat2` with
//! `RESOLVE_BENEATH`); elsewhere, and where a sandbox hides that call, links are resolved first and the
//! result is then opened name by name, following none.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::tree::{Entry, FileTree, Metadata, Node, OpenFile};

/// A FIFO must not be waited for, nor a terminal become the process's own.
const READING: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// The kernel says "again" when something was renamed while it looked; so often in a row that nobody
/// can be up to good.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TRIES: usize = 16;

/// A directory whose files are served.
///
/// It is looked up by its path for each request, so that a link to it can be pointed at a new release
/// while the server runs; open files are those of the old one until they are sent.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    follows_links: bool,
    /// Whether the kernel is asked first (yes; tests do without).
    asks_kernel: bool,
}

impl Directory {
    /// Everything beneath `root`. Nothing is opened yet, nor has to be there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), follows_links: true, asks_kernel: true }
    }

    /// Whether symbolic links beneath the root are followed (yes), so far as they stay beneath it. Those
    /// that lead out of it never are; hard links and mounts are taken for what they seem.
    #[must_use]
    pub fn follow_links(mut self, follow: bool) -> Self {
        self.follows_links = follow;
        self
    }

    /// Opens what is at `path`, of whatever kind.
    fn descriptor(&self, path: &Path) -> io::Result<OwnedFd> {
        let root = openat(CWD, &self.root, directory_flags(), Mode::empty())?;
        if path.as_os_str().is_empty() {
            return Ok(openat(&root, ".", READING, Mode::empty())?);
        }
        if self.asks_kernel {
            match beneath(&root, path, self.follows_links) {
                // It leads out, or it is an absolute link, which may lead in again.
                Err(Errno::XDEV) if self.follows_links => {}
                // An old kernel, another one, or a sandbox that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => {}
                opened => return Ok(opened?),
            }
        }
        if !self.follows_links {
            return Ok(by_name(root, path)?);
        }
        let outside = || io::Error::from(io::ErrorKind::NotFound);
        let canonical = fs::canonicalize(self.root.join(path))?;
        let within = canonical.strip_prefix(fs::canonicalize(&self.root)?);
        Ok(by_name(root, within.map_err(|_| outside())?)?)
    }
}

impl FileTree for Directory {
    fn open(&self, path: &Path) -> io::Result<Node> {
        let file = match self.descriptor(path) {
            Ok(descriptor) => File::from(descriptor),
            // A socket, or a device without a driver.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => {
                return Ok(Node::Other);
            }
            Err(error) => return Err(named(error)),
        };
        let found = file.metadata()?;
        if found.is_dir() {
            return Ok(Node::Directory);
        }
        if !found.is_file() {
            return Ok(Node::Other);
        }
        let metadata =
            Metadata { length: found.len(), modified: found.modified()?, identity: found.ino() };
        Ok(Node::File(metadata, Arc::new(RealFile(Arc::new(file)))))
    }

    fn list(&self, path: &Path, limit: usize) -> io::Result<Vec<Entry>> {
        let directory = self.descriptor(path).map_err(named)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() == limit {
                break;
            }
            // What has gone meanwhile is left out.
            let Ok(found) = statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let kind = FileType::from_raw_mode(found.st_mode);
            if !matches!(kind, FileType::Directory | FileType::RegularFile | FileType::Symlink) {
                continue;
            }
            entries.push(Entry {
                name: name.to_owned(),
                is_directory: kind == FileType::Directory,
                length: u64::try_from(found.st_size).unwrap_or(0),
                modified: SystemTime::UNIX_EPOCH
                    + Duration::from_secs(u64::try_from(found.st_mtime).unwrap_or(0)),
            });
        }
        Ok(entries)
    }
}

/// What the kernel opens beneath `root`.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn beneath(root: &OwnedFd, path: &Path, follow: bool) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};

    let mut how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if !follow {
        how |= ResolveFlags::NO_SYMLINKS;
    }
    for _ in 1..TRIES {
        match openat2(root, path, READING, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    openat2(root, path, READING, Mode::empty(), how)
}

/// Opens name by name, following no link.
fn by_name(root: OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mut names = path.components().peekable();
    if names.peek().is_none() {
        return openat(&root, ".", READING, Mode::empty());
    }
    let mut at = root;
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else { return Err(Errno::NOENT) };
        let flags = if names.peek().is_some() { directory_flags() } else { READING };
        at = openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(at)
}

/// Other kernels have no such call.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn beneath(_: &OwnedFd, _: &Path, _: bool) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// For a directory that is only passed through: on Linux that needs no right to read it.
fn directory_flags() -> OFlags {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let reading = OFlags::PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let reading = OFlags::RDONLY;
    reading | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// An error as [`FileTree::open`] has it: a path that cannot name a file of this tree names none.
fn named(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP | Errno::NAMETOOLONG | Errno::XDEV | Errno::MLINK) => {
            log::debug!(target: crate::LOG, "a path leads out of the tree, or nowhere: {error}");
            io::ErrorKind::NotFound.into()
        }
        _ => error,
    }
}

struct RealFile(Arc<File>);

impl OpenFile for RealFile {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut data = Vec::with_capacity(length);
        loop {
            match rustix::io::pread(self.0.as_fd(), spare_capacity(&mut data), offset) {
                Err(Errno::INTR) => {}
                read => {
                    read?;
                    return Ok(data.into());
                }
            }
        }
    }

    fn system_file(&self) -> Option<Arc<File>> {
        Some(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::static_files::tests::Scratch;

    /// What an attempt to read came to.
    #[derive(Debug, PartialEq, Eq)]
    enum Came {
        File(&'static str),
        Directory,
        Other,
        Nothing,
    }

    fn read(tree: &Directory, path: &str) -> Came {
        match tree.open(Path::new(path)) {
            Ok(Node::File(metadata, file)) => {
                let content = file.read_at(0, metadata.length as usize).expect("it is readable");
                match &content[..] {
                    b"inside" => Came::File("inside"),
                    b"secret" => Came::File("secret"),
                    _ => Came::File("?"),
                }
            }
            Ok(Node::Directory) => Came::Directory,
            Ok(Node::Other) => Came::Other,
            Err(error) => {
                let nothing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
                assert!(nothing.contains(&error.kind()), "{path}: {error:?}");
                Came::Nothing
            }
        }
    }

    /// Beside the root lies a secret, and within it are links of all kinds, and what is no file.
    fn tree() -> Scratch {
        let scratch = Scratch::new("directory");
        scratch.write("secret", "secret");
        scratch.write("root/a/b/file", "inside");
        scratch.write("root/file", "inside");
        for (name, target) in [
            ("in", "file"),
            ("in-deep", "a/b/file"),
            ("in-directory", "a/b"),
            ("a/up-and-in", "../file"),
            ("chain", "in-directory"),
            ("out", "../secret"),
            ("a/out", "../../secret"),
            ("out-and-in", "../root/file"),
            ("out-directory", ".."),
            ("chain-out", "out-directory"),
            ("loop", "loop"),
            ("nowhere", "missing"),
            ("magic", "/proc/self/root/etc/passwd"),
        ] {
            scratch.link(&format!("root/{name}"), target);
        }
        let root = scratch.path("root");
        scratch.link("root/absolute-in", root.join("file").to_str().expect("a plain path"));
        scratch.link("root/absolute-in-directory", root.join("a").to_str().expect("a plain path"));
        scratch.link("root/absolute-out", scratch.path("secret").to_str().expect("a plain path"));
        scratch.link("root/absolute-out-directory", "/");
        scratch.special("root/fifo");
        scratch.socket("root/socket");
        scratch.link("root/to-fifo", "fifo");
        scratch.link("root/null", "/dev/null");
        scratch
    }

    #[test]
    fn nothing_outside_is_opened_and_nothing_is_waited_for() {
        let scratch = tree();
        let long = "n".repeat(300);
        for asks_kernel in [true, false] {
            let tree = Directory { asks_kernel, ..Directory::new(scratch.path("root")) };
            for (path, came) in [
                ("", Came::Directory),
                ("file", Came::File("inside")),
                ("a/b/file", Came::File("inside")),
                ("a/b", Came::Directory),
                ("a/b/file/c", Came::Nothing),
                ("in", Came::File("inside")),
                ("in-deep", Came::File("inside")),
                ("in-directory", Came::Directory),
                ("in-directory/file", Came::File("inside")),
                ("a/up-and-in", Came::File("inside")),
                ("chain/file", Came::File("inside")),
                ("absolute-in", Came::File("inside")),
                ("absolute-in-directory/b/file", Came::File("inside")),
                ("out", Came::Nothing),
                ("a/out", Came::Nothing),
                ("out-directory", Came::Nothing),
                ("out-directory/secret", Came::Nothing),
                ("chain-out/secret", Came::Nothing),
                ("absolute-out", Came::Nothing),
                ("absolute-out-directory/etc/passwd", Came::Nothing),
                ("magic", Came::Nothing),
                ("null", Came::Nothing),
                ("loop", Came::Nothing),
                ("nowhere", Came::Nothing),
                ("fifo", Came::Other),
                ("to-fifo", Came::Other),
                ("socket", Came::Other),
                (&long, Came::Nothing),
            ] {
                assert_eq!(
                    read(&tree, path),
                    came,
                    "{path}, with the kernel's help: {asks_kernel}"
                );
            }
            let strict = tree.follow_links(false);
            for (path, came) in [
                ("a/b/file", Came::File("inside")),
                ("in", Came::Nothing),
                ("in-directory/file", Came::Nothing),
                ("absolute-in", Came::Nothing),
                ("out", Came::Nothing),
                ("magic", Came::Nothing),
            ] {
                assert_eq!(read(&strict, path), came, "{path}, no link followed: {asks_kernel}");
            }
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "somebody else changes the tree meanwhile")]
    fn whoever_swaps_links_meanwhile_gets_nothing_outside() {
        let scratch = tree();
        scratch.write("other/file", "secret");
        let root = scratch.path("root");
        let swapped = root.clone();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let swapping = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                for target in ["a/b", "../other"] {
                    let _ = fs::remove_file(swapped.join("new"));
                    let made = std::os::unix::fs::symlink(target, swapped.join("new"));
                    made.expect("a link of ours");
                    fs::rename(swapped.join("new"), swapped.join("swapped")).expect("a rename");
                }
            }
        });
        let mut seen = 0;
        for asks_kernel in [true, false] {
            let tree = Directory { asks_kernel, ..Directory::new(&root) };
            for _ in 0..3000 {
                match read(&tree, "swapped/file") {
                    Came::Nothing => {}
                    came => {
                        assert_eq!(came, Came::File("inside"));
                        seen += 1;
                    }
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        swapping.join().expect("it only renames");
        assert!(seen > 0, "the link never led inside");
    }

    #[test]
    fn a_listing_shows_files_directories_and_links_and_ends_at_its_limit() {
        let scratch = tree();
        let tree = Directory::new(scratch.path("root"));
        let mut all = tree.list(Path::new(""), 1000).expect("it is there");
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let find = |name: &str| all.iter().find(|entry| entry.name == name);
        assert!(find("a").is_some_and(|entry| entry.is_directory));
        assert!(find("file").is_some_and(|entry| !entry.is_directory && entry.length == 6));
        assert!(find("in-directory").is_some_and(|entry| !entry.is_directory));
        assert_eq!((find("fifo"), find("socket"), find("."), find("..")), (None, None, None, None));
        assert_eq!(tree.list(Path::new(""), 3).expect("it is there").len(), 3);
        assert!(tree.list(Path::new("out-directory"), 9).is_err());
        assert!(tree.list(Path::new("file"), 9).is_err());
    }

    #[test]
    fn a_root_that_is_a_link_may_be_pointed_elsewhere() {
        let scratch = Scratch::new("releases");
        scratch.write("one/file", "inside");
        scratch.write("two/file", "secret");
        scratch.link("current", "one");
        let tree = Directory::new(scratch.path("current"));
        assert_eq!(read(&tree, "file"), Came::File("inside"));
        scratch.link("next", "two");
        fs::rename(scratch.path("next"), scratch.path("current")).expect("a rename");
        assert_eq!(read(&tree, "file"), Came::File("secret"));
    }
}
