//! HTTP/1.1 for Ropewalk: a server (RFC 9110, RFC 9112).
//!
//! `codec` turns bytes into values and back, `connection` is the state machine between a request
//! and its response, [`HttpServer`] joins both to a transport and a [`Handler`]. None of the types
//! that a handler sees ([`Request`], [`Response`], [`Exchange`]) is only HTTP/1.1's.
//!
//! # Why not the `http` crate's types
//!
//! A server spends its time on heads, and mostly on fields that nobody asks for. `HeaderMap`
//! hashes and stores every one, in its own allocation each; a `Uri` is parsed and counted by
//! reference even where only its path is compared with `/`. [`Headers`] copies a head's text once,
//! into memory that is used again, and notes where its fields lie; [`Request`] is filled again for
//! each request. What is left is a dozen nanoseconds a field, and no allocation.

#![forbid(unsafe_code)]

pub mod codec;
mod config;
mod connection;
mod date;
mod echo;
mod error;
mod exchange;
mod handler;
mod headers;
mod method;
mod request;
mod response;
mod server;
mod spare;
mod status;
pub mod websocket;

pub use config::Config;
pub use echo::Echo;
pub use error::Error;
pub use exchange::{Exchange, ExchangeId};
pub use handler::{ExchangeHandler, Handler, Intake, Reply, with_exchange};
pub use headers::Headers;
pub use method::{ExtensionMethod, Method};
pub use request::{Request, TargetForm, Version};
pub use response::Response;
pub use server::HttpServer;
pub use status::Status;

/// The log target of everything in this crate.
pub(crate) const LOG: &str = "ropewalk_http";
