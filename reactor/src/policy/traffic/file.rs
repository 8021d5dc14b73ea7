//! A file that is put aside when it is large enough. Only threads of the pool write to it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::background::append_to;

/// A file, and the one before it.
pub(super) struct Rotating {
    path: PathBuf,
    file: BufWriter<File>,
    size: u64,
    max_size: u64,
}

impl Rotating {
    pub(super) fn open(path: &Path, max_size: u64) -> io::Result<Self> {
        let file = append_to(path).map_err(|error| {
            let problem = format!("cannot open the traffic log {}: {error}", path.display());
            io::Error::new(error.kind(), problem)
        })?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), size, max_size })
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let mut former = self.path.clone().into_os_string();
        former.push(".1");
        std::fs::rename(&self.path, former)?;
        self.file = BufWriter::new(append_to(&self.path)?);
        self.size = 0;
        Ok(())
    }
}

impl Write for Rotating {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // (At the end of a line: what was written in one call has one there.)
        let count = self.file.write(data)?;
        self.size += count as u64;
        if self.size >= self.max_size && data[..count].ends_with(b"\n") {
            self.rotate()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
