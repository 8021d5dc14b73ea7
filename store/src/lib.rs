//! The message log of Ropewalk: what was synced to it is there after a power cut.
//!
//! It keeps definitions (names with values, opaque to it) and messages of numbered queues in one
//! log, in one order. It knows no AMQP, no broker and no reactor, and starts no thread. All calls
//! of a [`Log`] may block on the disk: they belong on a pool thread, one at a time. Only the
//! [`Batch`], which does no I/O, is filled on the loop.
//!
//! ```
//! use std::sync::Arc;
//! use ropewalk_store::{simulation::SimulatedDisk, Batch, Log, NEVER, Options, Reference};
//!
//! let disk = SimulatedDisk::new(7);
//! let (mut log, recovered) = Log::open(Arc::new(disk.clone()), Options::new())?;
//! assert!(recovered.queues.is_empty());
//! let mut batch = Batch::new();
//! batch.put(b"queue hello", b"1");
//! batch.message(&[Reference { queue: 1, position: 0, expires: NEVER }], true, 12, &[b"Hello World!"]);
//! log.append(&batch)?;
//! log.sync()?; // now, and no sooner, the message may be confirmed
//! drop(log);
//! disk.crash(); // the power fails, and comes back
//! let (mut log, recovered) = Log::open(Arc::new(disk), Options::new())?;
//! assert_eq!(recovered.definitions, [(b"queue hello".to_vec(), b"1".to_vec())]);
//! assert_eq!(recovered.queues[0].messages, 1);
//! assert_eq!(log.load(1, 0, 100, 1 << 20)?.messages[0].payload, "Hello World!");
//! # Ok::<(), ropewalk_store::Error>(())
//! ```

#![forbid(unsafe_code)]

mod batch;
mod check;
mod codec;
mod compaction;
mod directory;
mod disk;
mod error;
mod frame;
mod index;
mod loading;
mod log;
mod maintenance;
mod options;
mod queue;
mod ranges;
mod record;
mod recovery;
mod report;
mod restart;
mod runs;
mod sealed;
mod segment;
pub mod simulation;
mod snapshot;
mod space;
mod state;
mod writer;

pub use batch::{Batch, NEVER, Position, QueueId, Reference};
pub use check::{Check, check};
pub use directory::Directory;
pub use disk::{Disk, File, Lock};
pub use error::{Error, Result};
pub use log::{Load, Loaded, Log, Recovered, RecoveredQueue, Usage, inspect};
pub use options::Options;
pub use report::{Finding, Report};
