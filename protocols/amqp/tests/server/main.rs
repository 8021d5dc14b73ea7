//! The server, told in the wire's own words: clients that write frames by hand, on a simulated
//! network with a virtual clock.

#![allow(clippy::unwrap_used, reason = "tests")]

mod wire;

mod alarms;
mod contents;
mod disk;
mod durable;
mod endings;
mod errors;
mod flow;
mod handshake;
mod hostile;
mod methods;
mod operators;
mod stories;
mod tutorials;
mod users;
