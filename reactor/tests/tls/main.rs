//! TLS inside the connection: sentences 47 to 49 of what people rely on, on the simulated network
//! and, where the kernel has a say, on loopback.

#![allow(clippy::disallowed_methods, reason = "clients and deadlines of tests are no protocols")]

#[path = "../common/mod.rs"]
mod common;
mod files;
mod functions;
mod hostile;
mod loopback;
mod pausing;
mod proxied;
mod sent_files;
mod sessions;
mod starting;
mod streams;
mod support;
mod unix;
