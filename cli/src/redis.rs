//! The options of the publish/subscribe server, and the server that they make.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use log::warn;
use ropewalk::redis::server::Config;
use serde::Deserialize;

use crate::policies::Policies;
use crate::service::{Listen, ONE_THREAD_OF_CHANNELS};
use crate::size::Size;

/// Options of the publish/subscribe server.
#[derive(Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Redis {
    /// Listen on ADDRESS (repeatable) [default: tcp://127.0.0.1:6379]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<Listen>,
    /// What clients have to say with AUTH before anything else [default: none]
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// The same, as the first line of a file
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    password_file: Option<PathBuf>,
    /// The most clients at once [default: 10000]
    #[arg(long, value_name = "N")]
    max_clients: Option<NonZeroUsize>,
    /// The largest message that is taken: bytes, or a size as 1MiB [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    max_message_size: Option<Size>,
    /// What may wait for one subscriber; with more it is closed at once; 0 is no limit [default: 32MiB]
    #[arg(long, value_name = "SIZE")]
    subscriber_limit: Option<Size>,
    /// What may wait for one subscriber for --subscriber-soft-time; 0 is no limit [default: 8MiB]
    #[arg(long, value_name = "SIZE")]
    subscriber_soft_limit: Option<Size>,
    /// How long more than that may wait until the subscriber is closed [default: 60]
    #[arg(long, value_name = "SECONDS")]
    subscriber_soft_time: Option<u32>,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) policies: Policies,
    /// There is one.
    #[arg(long, hide = true, value_parser = one_thread)]
    #[serde(skip)]
    threads: Option<()>,
}

/// Whoever knows the option from the other services is told why it is none here.
fn one_thread(given: &str) -> Result<(), &'static str> {
    if given == "1" { Ok(()) } else { Err(ONE_THREAD_OF_CHANNELS) }
}

impl fmt::Debug for Redis {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Why the server cannot start.
#[derive(Debug)]
pub(crate) enum RedisError {
    File { path: PathBuf, error: io::Error },
    NoPassword { path: PathBuf },
    BothPasswords,
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NoPassword { path } => {
                write!(f, "{}: its first line is no password: it is empty", path.display())
            }
            Self::BothPasswords => f.write_str("choose one of `password` and `password-file`"),
        }
    }
}

impl Redis {
    /// For options from a command line.
    pub(crate) fn warn_of_password(&self) {
        if self.password.is_some() {
            warn!(
                "redis: other users of this machine can see what is said with --password; see \
                 --password-file"
            );
        }
    }

    /// Whether clients have to authenticate.
    pub(crate) fn has_password(&self) -> bool {
        self.password.is_some() || self.password_file.is_some()
    }

    /// The file with the password, if there is one.
    pub(crate) fn password_file(&self) -> Option<&Path> {
        self.password_file.as_deref()
    }

    /// What the options say of the server.
    pub(crate) fn config(&self) -> Result<Config, RedisError> {
        let mut config = Config::default();
        if let Some(password) = self.read_password()? {
            config = config.password(password);
        }
        if let Some(count) = self.max_clients {
            config = config.max_clients(count.get());
        }
        if let Some(size) = self.max_message_size {
            config = config.max_argument(size.bytes());
        }
        if let Some(size) = self.subscriber_limit {
            config = config.hard_limit(size.bytes());
        }
        if self.subscriber_soft_limit.is_some() || self.subscriber_soft_time.is_some() {
            let size = self.subscriber_soft_limit.map_or(Config::SOFT_LIMIT, Size::bytes);
            let time = self.subscriber_soft_time.map(|seconds| Duration::from_secs(seconds.into()));
            config = config.soft_limit(size, time.unwrap_or(Config::SOFT_TIME));
        }
        Ok(config)
    }

    /// The password, read from its file if it has one.
    pub(crate) fn read_password(&self) -> Result<Option<String>, RedisError> {
        let Some(path) = &self.password_file else { return Ok(self.password.clone()) };
        if self.password.is_some() {
            return Err(RedisError::BothPasswords);
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| RedisError::File { path: path.clone(), error })?;
        match text.lines().next() {
            None | Some("") => Err(RedisError::NoPassword { path: path.clone() }),
            Some(password) => Ok(Some(password.to_owned())),
        }
    }
}
