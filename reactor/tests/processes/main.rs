//! Child processes: real ones (`sh`, `cat` and this test program itself), and simulated ones.

#![allow(clippy::disallowed_methods, reason = "deadlines of tests are no protocols")]

#[path = "../common/mod.rs"]
mod common;
mod ending;
mod inheriting;
mod outputs;
mod probe;
mod simulated;
mod stopping;
mod talking;
mod terminals;
