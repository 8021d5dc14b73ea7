//! A configuration file that a test writes again and again.

use std::fs;
use std::path::PathBuf;

use crate::support::short_scratch;

/// The file, in a directory of its own. Dropping it removes both.
pub(crate) struct File {
    pub(crate) directory: PathBuf,
    pub(crate) path: String,
}

impl File {
    pub(crate) fn new(text: &str) -> Self {
        let directory = short_scratch();
        let path = directory.join("ropewalk.toml").to_str().expect("text").to_owned();
        let file = Self { directory, path };
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("it is ours");
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
