//! Joins channels of a Redis server to a topic exchange of an AMQP 0-9-1 broker: what a client of one
//! kind publishes reaches the subscribers of the other.
//!
//! It is a client of both, so the servers may be anywhere. `options` says what is joined, `bridge` is
//! what users hold, `exchange` the side of AMQP and `channels` that of Redis, `names` how one's names
//! become the other's, `buffer` what waits. The one rule: a message crosses a bridge once, and then
//! no other one. What a bridge publishes to AMQP has a [header](HEADER), and no bridge takes such a
//! message; what it publishes to Redis, its own subscription does not hear.
//!
//! ```
//! use ropewalk_bridge::{Bridge, Options};
//! # use ropewalk_reactor::{Reactor, Result};
//!
//! # fn main() -> Result {
//! let mut reactor = Reactor::new()?;
//! let amqp = ropewalk_amqp::client::Options::from_uri("amqp://guest:guest@127.0.0.1/")?;
//! let options = Options::new("127.0.0.1:6379", amqp, "news.*", "news")?;
//! let bridge = Bridge::start(&mut reactor, options)?;
//! # reactor.stop();
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod bridge;
mod buffer;
mod channels;
mod exchange;
mod names;
mod options;

pub use bridge::{Bridge, Counts};
pub use options::{Direction, Options};

/// The header of what a bridge publishes to AMQP: which one it was. Whoever publishes such a message
/// again with its headers keeps it from crossing a bridge.
pub const HEADER: &str = "x-ropewalk-bridge";

/// The log target of everything in this crate.
pub(crate) const LOG: &str = "ropewalk_bridge";
