//! Ropewalk: event-driven networking, with the protocols included and a message queue as the
//! flagship.
//!
//! This crate is a facade: the reactor at its root, and each protocol as a module behind a cargo
//! feature of the same name.
//!
//! ```
//! use ropewalk::bytes::BytesMut;
//! use ropewalk::{Protocol, Reactor, Result, Transport};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
//!         transport.write(data);
//!         data.clear();
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result {
//! let mut reactor = Reactor::new()?;
//! reactor.listen("127.0.0.1:0", |_| Echo)?;
//! # reactor.stop();
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! Where to go on: [`Protocol`] is the trait to implement and its contract, [`Transport`] what a
//! callback may ask for, [`Reactor`] what a program may, [`Simulation`] and [`testing`] how to
//! test. The guide is in `docs/` of the repository, and `examples/` has a program for each thing.
//! Ropewalk logs through the `log` crate: without a logger (`env_logger`, say) it is silent.

#![forbid(unsafe_code)]

pub use ropewalk_reactor::*;

/// The buffers of the public interface ([`BytesMut`](bytes::BytesMut), [`Bytes`](bytes::Bytes)).
pub use bytes;

#[cfg(feature = "amqp")]
pub use ropewalk_amqp as amqp;
#[cfg(feature = "bridge")]
pub use ropewalk_bridge as bridge;
#[cfg(feature = "database")]
pub use ropewalk_database as database;
#[cfg(feature = "http")]
pub use ropewalk_http as http;
#[cfg(feature = "line")]
pub use ropewalk_line as line;
#[cfg(feature = "redis")]
pub use ropewalk_redis as redis;
