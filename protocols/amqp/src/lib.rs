//! AMQP 0-9-1 for Ropewalk, as RabbitMQ speaks it.
//!
//! [`codec`] is the wire format alone: bytes to values and back, no I/O, no reactor. The server
//! and the client stand on it.

#![forbid(unsafe_code)]

pub mod codec;
