//! A real directory: the one place of this crate that touches the system's files.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use crate::disk::{Disk, File, Lock};
use crate::error::{Error, Result};

/// The file that a process holds a lock on while it has the directory open.
const LOCK: &str = "lock";

/// A directory of the file system.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    read_only: bool,
}

impl Directory {
    /// The directory at `path`, which is made if it is not there.
    pub fn new(path: impl AsRef<Path>) -> Result<Directory> {
        let path = path.as_ref().to_owned();
        let name = path.display().to_string();
        if !path.is_dir() {
            let changed = changed_by_making(&path);
            fs::create_dir_all(&path).map_err(|error| Error::io("make", &name, error))?;
            // Its own name has to survive, too, and those of the new directories that it is in.
            for parent in changed {
                let synced = fs::File::open(&parent).and_then(|parent| parent.sync_all());
                synced.map_err(|error| {
                    Error::io(
                        "sync, for a new directory in it,",
                        &parent.display().to_string(),
                        error,
                    )
                })?;
            }
        }
        Ok(Directory { path, read_only: false })
    }

    /// The directory at `path`, to be looked at and not changed: for [`check`](crate::check).
    pub fn read_only(path: impl AsRef<Path>) -> Result<Directory> {
        let path = path.as_ref().to_owned();
        fs::read_dir(&path)
            .map_err(|error| Error::io("read", &path.display().to_string(), error))?;
        Ok(Directory { path, read_only: true })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn changing(&self) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }

    fn named(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Disk for Directory {
    fn lock(&self) -> Result<Lock> {
        let failed = |error| Error::io("lock", LOCK, error);
        self.changing().map_err(failed)?;
        let path = self.named(LOCK);
        // Opened without emptying it: it may be another's, and name its owner.
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut owner = Vec::new();
                let _ = (&file).take(200).read_to_end(&mut owner);
                let owner = String::from_utf8_lossy(&owner).trim().to_owned();
                return Err(Error::InUse { directory: self.path.clone(), owner });
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Who it is helps, but is not worth failing for: the disk may be full.
        let _ = file.set_len(0);
        let _ = writeln!(file, "process {}", std::process::id());
        Ok(Box::new(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // What we did not make is not ours to touch: other names, directories.
            if let (Ok(name), true) =
                (entry.file_name().into_string(), entry.file_type()?.is_file())
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(!self.read_only);
        Ok(Box::new(RealFile(options.open(self.named(name))?)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.changing()?;
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Box::new(RealFile(options.open(self.named(name))?)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.changing()?;
        fs::remove_file(self.named(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.changing()?;
        fs::rename(self.named(from), self.named(to))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The directories that get a new entry when `path` is made with all that is missing above it: the
/// parent of each new one, the outermost first.
fn changed_by_making(path: &Path) -> Vec<PathBuf> {
    let missing = path.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.is_dir());
    let mut changed: Vec<_> = missing
        .map(|new| match new.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        })
        .collect();
    changed.reverse();
    changed
}

struct RealFile(fs::File);

impl File for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < into.len() {
            match self.0.read_at(&mut into[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, mut offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<io::IoSlice<'_>> = parts.iter().map(|p| io::IoSlice::new(p)).collect();
        let mut left = &mut slices[..];
        // Empty slices in front would make a write of nothing look like a full disk.
        io::IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match rustix::io::pwritev(&self.0, left, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    offset += count as u64;
                    io::IoSlice::advance_slices(&mut left, count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(()),
            // Not every file system can set blocks aside. Then a full disk is found by writing.
            Err(rustix::io::Errno::OPNOTSUPP) => match self.length()? < length {
                true => self.0.set_len(length),
                false => Ok(()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_each_new_directory_is_changed() {
        let here = std::env::temp_dir().join(format!("ropewalk-changed-{}", std::process::id()));
        fs::create_dir_all(&here).expect("a directory of ours");
        let changed = changed_by_making(&here.join("a/b/c"));
        assert_eq!(changed, [here.clone(), here.join("a"), here.join("a/b")]);
        assert_eq!(changed_by_making(&here.join("a")), std::slice::from_ref(&here));
        assert!(changed_by_making(&here).is_empty());
        let relative = Path::new("no-such-directory/in-it");
        let both = [PathBuf::from("."), PathBuf::from("no-such-directory")];
        assert_eq!(changed_by_making(relative), both);
        Directory::new(here.join("a/b/c")).expect("all of them are made");
        assert!(changed_by_making(&here.join("a/b/c")).is_empty());
        let _ = fs::remove_dir_all(&here);
    }
}
