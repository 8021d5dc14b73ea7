//! What can be set on a pool of connections.

use std::time::Duration;

/// Limits of a [`ConnectionPool`](crate::ConnectionPool). The defaults are r2d2's where it has
/// the same option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolOptions {
    pub(crate) connections: usize,
    pub(crate) queued_jobs: usize,
    pub(crate) wait_timeout: Option<Duration>,
    pub(crate) run_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) check_on_checkout: bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            connections: 4, // half of the reactor's threads: other jobs want some as well
            queued_jobs: 1024,
            wait_timeout: Some(Duration::from_secs(30)),
            run_timeout: None,
            idle_timeout: Some(Duration::from_secs(600)),
            max_lifetime: Some(Duration::from_secs(1800)),
            check_on_checkout: true,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        })*
    };
}

impl PoolOptions {
    setters! {
        /// The most connections at a time (4; none is taken for one). They are made when they are
        /// wanted. Each that is in use takes one of the reactor's
        /// [`threads`](ropewalk_reactor::ReactorOptions::threads).
        connections: usize;
        /// The most jobs that wait for a connection (1024); one more fails with
        /// [`Error::PoolFull`](ropewalk_reactor::Error::PoolFull).
        queued_jobs: usize;
        /// How long a job may wait for a connection (30 s; `None` is for ever). One that has waited
        /// longer fails with [`Error::TimedOut`](ropewalk_reactor::Error::TimedOut), and is never
        /// begun.
        wait_timeout: Option<Duration>;
        /// How long a job may run (for ever), with connecting if that is needed. One that takes
        /// longer fails with [`Error::TimedOut`](ropewalk_reactor::Error::TimedOut), and is
        /// interrupted if the database can do that; until it has returned, its connection and its
        /// thread are in use.
        run_timeout: Option<Duration>;
        /// How long a connection may lie idle until it is closed (10 min; `None` is for ever).
        idle_timeout: Option<Duration>;
        /// How old a connection may become (30 min; `None` is for ever): an older one is closed when
        /// it comes back. So failovers and changed credentials are noticed in the end.
        max_lifetime: Option<Duration>;
        /// Whether a connection that has lain idle is asked whether it still works before a job
        /// gets it (true); if it does not, the job gets a new one.
        check_on_checkout: bool;
    }
}
