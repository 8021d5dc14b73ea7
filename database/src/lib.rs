//! Databases whose drivers block, for programs on an event loop: a pool of connections whose
//! calls run on the reactor's threads, in the manner of Twisted's `adbapi`.
//!
//! Any driver with an [`r2d2::ManageConnection`] will do: the pool lends its connections to
//! closures ([`ConnectionPool::run_with_connection`]). With a [`Database`] for it, a few lines, there
//! are also [`run_query`](ConnectionPool::run_query),
//! [`run_operation`](ConnectionPool::run_operation) and, as a transaction,
//! [`run_interaction`](ConnectionPool::run_interaction). SQLite is included (the feature `sqlite`,
//! on by default).
//!
//! ```
//! use ropewalk_database::{ConnectionPool, PoolOptions, Sqlite};
//! use ropewalk_reactor::{Reactor, Result};
//!
//! # fn main() -> Result {
//! let mut reactor = Reactor::new()?;
//! // With one connection jobs are done in the order of the calls.
//! let options = PoolOptions::default().connections(1);
//! let pool = ConnectionPool::with_options(&mut reactor, Sqlite::memory()?, options);
//! pool.run_operation("CREATE TABLE ships (name TEXT, masts INTEGER)", []).forget();
//! let name = || "Victory".to_owned().into();
//! pool.run_operation("INSERT INTO ships VALUES (?, ?)", [name(), 3.into()]).forget();
//! let masts = pool.run_query("SELECT masts FROM ships WHERE name = ?", [name()]);
//! masts.then(|reactor, rows| {
//!     let masts: i64 = rows.expect("the table is there")[0].get(0).expect("a number");
//!     assert_eq!(masts, 3);
//!     reactor.stop();
//! });
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod database;
mod job;
mod options;
mod pool;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use database::{Database, Interrupter};
pub use options::PoolOptions;
pub use pool::ConnectionPool;
#[cfg(feature = "sqlite")]
pub use sqlite::{Row, Sqlite};

pub use r2d2;
#[cfg(feature = "sqlite")]
pub use rusqlite;

/// The log target of everything in this crate.
pub(crate) const LOG: &str = "ropewalk_database";
