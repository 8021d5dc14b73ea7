//! The server's store: durable things and persistent messages, kept in a directory.
//!
//! `journal` turns what the broker journals into records, `keeper` has them written and synced
//! off the loop, `housekeeping` says when the files are tidied, `disk` watches the room that is
//! left, `stall` keeps answers back until something is safe, `open` makes a broker again from what
//! a store has, and `definitions` is how queues, users and all that look in it.

mod definitions;
mod disk;
mod housekeeping;
mod journal;
mod keeper;
mod open;
pub(crate) mod stall;
mod work;

pub(crate) use disk::DiskWatch;
pub(crate) use keeper::{Keeper, close_at_shutdown};

pub(crate) use open::open;
pub use open::{Opened, StartError, read_definitions};
