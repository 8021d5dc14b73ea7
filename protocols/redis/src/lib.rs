//! Redis's publish/subscribe for Ropewalk: a server that Redis's clients speak to unchanged, and a
//! client that comes back to any such server.
//!
//! `codec` turns bytes into values and back, [`server`] joins it to a transport and to the
//! channels, [`client`] to callbacks and futures. The one rule: a delivery allocates, hashes and formats nothing. A message is encoded
//! once for each form of the protocol and copied behind what each subscriber has waiting.
//!
//! ```no_run
//! use ropewalk_reactor::Reactor;
//! use ropewalk_redis::server::{Config, Server};
//!
//! # fn main() -> ropewalk_reactor::Result {
//! let mut reactor = Reactor::new()?;
//! reactor.listen("127.0.0.1:6379", Server::new(Config::default()))?;
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod client;
pub mod codec;
mod kind;
pub mod server;

/// The log target of everything in this crate.
pub(crate) const LOG: &str = "ropewalk_redis";
