//! A job on a thread of the pool: a connection is checked or made, used, and given back. Nothing
//! here knows of the loop.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use r2d2::ManageConnection;
use ropewalk_reactor::Error;

use crate::{Database, Interrupter};

/// What a job has come to.
pub(crate) struct Used<T> {
    pub(crate) result: Result<T, Error>,
    /// Whether the connection is as it was before.
    pub(crate) is_clean: bool,
}

/// Lends a connection to `body`, the one that is there or a new one; gives it back if it can be
/// used again.
pub(crate) fn run<M, T>(
    manager: &M,
    idle: Option<M::Connection>,
    watch: &Watch,
    interrupter: fn(&M::Connection) -> Option<Interrupter>,
    body: impl FnOnce(&mut M::Connection) -> Used<T>,
) -> (Option<M::Connection>, Result<T, Error>)
where
    M: ManageConnection<Error: Send + Sync>,
{
    let connection = match idle {
        Some(connection) => Ok(connection),
        None => manager.connect(),
    };
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(error) => return (None, Err(Error::Other(error.into()))),
    };
    if !watch.begin(interrupter(&connection)) {
        return (Some(connection), Err(Error::TimedOut));
    }
    let used = guarded(|| body(&mut connection));
    watch.end();
    let keep = used.is_clean && !manager.has_broken(&mut connection);
    (keep.then_some(connection), used.result)
}

/// Calls `body`; after a panic nobody knows what state the connection is in.
fn guarded<T>(body: impl FnOnce() -> Used<T>) -> Used<T> {
    // What `body` was in the middle of is a connection, and that is thrown away.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let result = Err(Error::Panicked(message(&*panic)));
        Used { result, is_clean: false }
    })
}

/// Calls `call` inside of a transaction, which lasts if that returns `Ok`.
pub(crate) fn in_transaction<M, T, E>(
    connection: &mut M::Connection,
    call: impl FnOnce(&mut M::Connection) -> Result<T, E>,
) -> Used<T>
where
    M: Database<Error: Send + Sync>,
    E: Into<ropewalk_reactor::BoxError>,
{
    if let Err(error) = M::begin(connection) {
        // A broken connection, most likely; if not, a new one costs little.
        return Used { result: Err(Error::Other(error.into())), is_clean: false };
    }
    let result = match catch_unwind(AssertUnwindSafe(|| call(connection))) {
        Ok(Ok(answer)) => match M::commit(connection) {
            Ok(()) => return Used { result: Ok(answer), is_clean: true },
            Err(error) => Err(Error::Other(error.into())),
        },
        Ok(Err(error)) => Err(Error::Other(error.into())),
        Err(panic) => Err(Error::Panicked(message(&*panic))),
    };
    let rolled_back = M::rollback(connection);
    if let Err(error) = &rolled_back {
        log::warn!(
            target: crate::LOG,
            "a transaction could not be rolled back, its connection is closed: {error}"
        );
    }
    Used { result, is_clean: rolled_back.is_ok() }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// What the loop and a job know of each other: an interrupt must meet this job, never the next one
/// on the same connection.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Watched>>);

#[derive(Default)]
enum Watched {
    #[default]
    NotBegun,
    Running(Option<Interrupter>),
    /// It has taken too long before it was begun, or is over.
    Over,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is still time.
    fn begin(&self, interrupter: Option<Interrupter>) -> bool {
        let mut watched = self.lock();
        let in_time = matches!(*watched, Watched::NotBegun);
        if in_time {
            *watched = Watched::Running(interrupter);
        }
        in_time
    }

    fn end(&self) {
        *self.lock() = Watched::Over;
    }

    /// The time is over; to be said again while the job is running: it may have been between
    /// two statements.
    pub(crate) fn interrupt(&self) {
        let mut watched = self.lock();
        match &*watched {
            Watched::NotBegun => *watched = Watched::Over,
            Watched::Running(Some(interrupter)) => interrupter(),
            Watched::Running(None) | Watched::Over => {}
        }
    }
}
