//! Ropewalk: event-driven networking, with the protocols included and a message queue as the
//! flagship.
//!
//! This crate is a facade: the reactor at its root, and each protocol as a module behind a cargo
//! feature of the same name. See the [guide](https://docs.rs/ropewalk) and `examples/`.

pub use ropewalk_reactor::*;

#[cfg(feature = "amqp")]
pub use ropewalk_amqp as amqp;
#[cfg(feature = "http")]
pub use ropewalk_http as http;
#[cfg(feature = "line")]
pub use ropewalk_line as line;
