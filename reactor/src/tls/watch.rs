//! Files that are read again when they have changed, while everything runs: certificates are renewed
//! every few weeks, and nobody should have to remember it.
//!
//! Looking and reading is done on the thread pool. What is found only ever replaces what is good
//! with what is good.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log::{info, warn};

use crate::{Error, LOG, Reactor, RepeatingCall};

use super::{TlsClient, TlsServer};

impl TlsServer {
    /// Looks at its files every `interval`, and [reloads](Self::reload) when one has changed and has
    /// stayed the same since the last look; so a certificate and its key that are written one after
    /// the other are read together. What happens is logged. [`RepeatingCall::stop`] ends it.
    pub fn watch(&self, reactor: &mut Reactor, interval: Duration) -> RepeatingCall {
        let tls = self.clone();
        watch(reactor, interval, self.files(), move || tls.reload())
    }
}

impl TlsClient {
    /// As [`TlsServer::watch`].
    pub fn watch(&self, reactor: &mut Reactor, interval: Duration) -> RepeatingCall {
        let tls = self.clone();
        watch(reactor, interval, self.files(), move || tls.reload())
    }
}

/// What tells that a file is another one: when it was written, its length, and its number, which
/// changes when it is replaced. `None` if it is not there.
type Stamp = Option<(i64, i64, u64, u64)>;

struct Seen {
    /// When the files were read last.
    read: Vec<Stamp>,
    /// At the last look.
    last: Vec<Stamp>,
}

fn watch(
    reactor: &mut Reactor,
    interval: Duration,
    files: Vec<PathBuf>,
    reload: impl Fn() -> Result<(), Error> + Send + Sync + 'static,
) -> RepeatingCall {
    let now = stamps(&files);
    let seen = Mutex::new(Seen { read: now.clone(), last: now });
    let look = Arc::new(move || {
        let now = stamps(&files);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = seen.last == now;
        seen.last.clone_from(&now);
        if !settled || seen.read == now {
            return;
        }
        // Also if it fails: it is said once, and tried again when a file has changed again.
        seen.read = now;
        let first = files.first().map(|file| file.display().to_string()).unwrap_or_default();
        match reload() {
            Ok(()) => info!(target: LOG, "TLS: {first} and what belongs to it were read again"),
            Err(error) => warn!(target: LOG, "TLS: what was read before stays in use: {error}"),
        }
    });
    reactor.call_repeatedly(interval, move |reactor| {
        let look = look.clone();
        reactor.defer_to_thread(move || look()).forget();
    })
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
    };
    files.iter().map(stamp).collect()
}
