//! The deadline of a start or a stop, told apart from an error of the service's own: that may be
//! `TimedOut` as well.

use std::fmt;
use std::time::Duration;

use crate::{Deferred, Error};

/// A deadline of [`ServiceOptions`](super::ServiceOptions) has passed: no deferred of a service's own
/// fails with that.
#[derive(Debug)]
struct Late;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Error::TimedOut.fmt(f)
    }
}

impl std::error::Error for Late {}

/// The deferred, which fails with [`Late`] when it has not fired within `limit`.
pub(super) fn within<T>(limit: Duration, deferred: Deferred<T>) -> Deferred<T> {
    deferred.timeout_with(limit, || Error::Other(Box::new(Late)))
}

/// Whether a deferred from [`within`] was too late.
pub(super) fn is_late(error: &Error) -> bool {
    matches!(error, Error::Other(error) if error.is::<Late>())
}
