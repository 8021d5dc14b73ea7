//! What a call to the store can fail with, and what its caller can do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The result of a call to the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store could not do what was asked. `Display` is a sentence for the operator, with the
/// name of the file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The disk is full. The call has changed nothing: it can be made again when there is room.
    Full {
        /// What there was no room for.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The system failed to read, write or sync. If it was a write or a sync, the log takes no
    /// more: what reached the disk is unknown, and a second sync that succeeds would not say.
    Io {
        /// What was being done, such as `sync`.
        action: &'static str,
        /// To which file.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A write or sync failed before; the log must be opened again, after the disk was mended.
    Failed {
        /// The text of the error that it failed with.
        cause: String,
    },
    /// The directory belongs to another process.
    InUse {
        /// The directory.
        directory: PathBuf,
        /// What its owner wrote into the lock file: its process id. May be empty.
        owner: String,
    },
    /// A file was written by a newer version of this program. Nothing was changed.
    NewerVersion {
        /// The file.
        file: String,
        /// The version of its format.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// A batch holds more than [`Batch::MAX_OCTETS`](crate::Batch::MAX_OCTETS). It has changed
    /// nothing.
    TooLarge,
}

impl Error {
    /// Whether the disk is full: the same call can be made again later.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Full { .. })
    }

    /// Tells a full disk from everything else that can go wrong with a file.
    pub(crate) fn io(action: &'static str, file: &str, error: io::Error) -> Error {
        let (file, source) = (file.to_owned(), Arc::new(error));
        match source.kind() {
            // A quota is a disk that is full for us.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::Full { file, source }
            }
            _ => Error::Io { action, file, source },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Full { file, source } => write!(f, "no room on the disk for {file}: {source}"),
            Error::Io { action, file, source } => write!(f, "cannot {action} {file}: {source}"),
            Error::Failed { cause } => write!(f, "the log has failed before: {cause}"),
            Error::InUse { directory, owner } => {
                write!(f, "{} is in use by another process", directory.display())?;
                if owner.is_empty() { Ok(()) } else { write!(f, " ({owner})") }
            }
            Error::NewerVersion { file, found, known } => write!(
                f,
                "{file} was written by a newer version of this program: its format is {found}, \
                 this program knows {known}"
            ),
            Error::TooLarge => write!(f, "a batch is larger than the log can take"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Full { source, .. } | Error::Io { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
