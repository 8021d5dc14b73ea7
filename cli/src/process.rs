//! What a configuration file says of the process itself: who it is, how long it may take to stop, how
//! much it says, and where its number stands.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use log::{LevelFilter, debug};
use nix::unistd::Uid;
use ropewalk::ReactorOptions;
use serde::Deserialize;

use crate::privileges::Who;

/// The options at the top of the file.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Process {
    user: Option<Who>,
    group: Option<String>,
    /// In seconds.
    shutdown_timeout: Option<u32>,
    log: Option<Level>,
    pid_file: Option<PathBuf>,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Level(LevelFilter);

impl TryFrom<String> for Level {
    type Error = &'static str;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        let level = LevelFilter::from_str(&given);
        level.map(Self).map_err(|_| "it is one of off, error, warn, info, debug, trace")
    }
}

impl Process {
    /// Its keys in the file.
    pub(crate) const KEYS: &[&str] = &["user", "group", "shutdown-timeout", "log", "pid-file"];

    /// Those that a process takes on when it starts, and not again.
    pub(crate) const AT_START: &[&str] = &["user", "group", "shutdown-timeout", "pid-file"];

    /// Who it shall go on as.
    pub(crate) fn user(&self) -> Option<Who> {
        Some(self.user.clone()?.with_group(self.group.clone()))
    }

    /// With a user of the command line, who goes before the file's.
    pub(crate) fn set_user(&mut self, user: Option<Who>) {
        if user.is_some() {
            (self.user, self.group) = (user, None);
        }
    }

    /// Options for its reactor.
    pub(crate) fn reactor_options(&self) -> ReactorOptions {
        match self.shutdown_timeout {
            None => ReactorOptions::default(),
            Some(seconds) => {
                let limit = Duration::from_secs(seconds.into());
                ReactorOptions::default().shutdown_timeout(limit)
            }
        }
    }

    /// Sets how much is logged from now on, unless the environment has said so.
    pub(crate) fn set_log_level(&self) {
        if std::env::var_os("RUST_LOG").is_none() {
            log::set_max_level(self.log.map_or(LevelFilter::Info, |level| level.0));
        }
    }

    /// Writes the process's number to its file, which is removed when what this answers is dropped.
    pub(crate) fn write_pid(&self) -> Result<Option<PidFile>, String> {
        let Some(path) = &self.pid_file else { return Ok(None) };
        let number = format!("{}\n", std::process::id());
        let written = match Uid::effective().is_root() {
            true => replace(path, &number),
            false => fs::write(path, number),
        };
        written.map_err(|error| format!("cannot write `pid-file` {}: {error}", path.display()))?;
        Ok(Some(PidFile(path.clone())))
    }
}

/// A file with the number of this process.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl Drop for PidFile {
    fn drop(&mut self) {
        // A later process may have written its own there.
        if read(&self.0) == Some(std::process::id())
            && let Err(error) = fs::remove_file(&self.0)
        {
            debug!("{} stays: {error}", self.0.display());
        }
    }
}

/// Writes a new file. The directory may be that of the user whom root goes on as: were what stands
/// there written to, a link of that user's would have root write to any file.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

fn read(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_of_the_stop_is_in_seconds() {
        let options = |text: &str| {
            let process: Process = toml::from_str(text).expect("good options");
            process.reactor_options()
        };
        let three = ReactorOptions::default().shutdown_timeout(Duration::from_secs(3));
        assert_eq!(options("shutdown-timeout = 3"), three);
        assert_eq!(options(""), ReactorOptions::default());
    }

    #[test]
    fn what_a_link_leads_to_is_not_written_to_by_root() {
        let here = std::env::temp_dir().join(format!("ropewalk-pid-{}", std::process::id()));
        fs::create_dir_all(&here).expect("a directory of ours");
        let (file, target) = (here.join("pid"), here.join("target"));
        fs::write(&target, "precious").expect("it is ours");
        std::os::unix::fs::symlink(&target, &file).expect("it is not there");
        let text = format!("pid-file = '{}'", file.display());
        let process: Process = toml::from_str(&text).expect("good options");
        for written in [&file, &file] {
            let kept = process.write_pid().expect("it can be written").expect("there is one");
            assert_eq!(read(written), Some(std::process::id()));
            if Uid::effective().is_root() {
                assert_eq!(fs::read_to_string(&target).expect("it is there"), "precious");
                assert!(!file.is_symlink());
            }
            std::mem::forget(kept); // as one that was killed leaves it
        }
        let _ = fs::remove_dir_all(&here);
    }
}
