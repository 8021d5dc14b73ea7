//! AMQP 0-9-1 for Ropewalk, as RabbitMQ speaks it.
//!
//! [`codec`] is the wire format alone: bytes to values and back, no I/O, no reactor. [`server`]
//! is the broker on the network: any RabbitMQ client can talk to it. [`client`] talks to any
//! RabbitMQ, and to ours. [`definitions`] reads and writes RabbitMQ's files of users, queues and
//! bindings.

#![forbid(unsafe_code)]

pub mod client;
pub mod codec;
pub mod definitions;
pub mod server;

/// The message queue itself, which the [`server`] puts on the network.
pub use ropewalk_broker as broker;

/// The message log in which the [`server`] keeps what has to be there after a restart.
pub use ropewalk_store as store;
