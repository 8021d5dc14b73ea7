//! HTTP/1.1 for Ropewalk: a server, and a [`client`] (RFC 9110, RFC 9112).
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

mod access_log;
mod basic_auth;
pub mod client;
pub mod codec;
mod compression;
mod config;
mod connection;
mod content_coding;
mod cookies;
mod date;
mod echo;
mod error;
mod event_stream;
mod exchange;
mod filter;
mod flush;
pub mod forms;
mod handler;
mod headers;
mod method;
mod middleware;
mod proxy;
mod request;
mod response;
mod routes;
mod server;
mod setters;
mod site;
mod spare;
pub mod static_files;
mod status;
mod virtual_hosts;
pub mod websocket;

pub use access_log::AccessLog;
pub use basic_auth::BasicAuth;
pub use compression::Compression;
pub use config::Config;
pub use cookies::{Cookie, SameSite};
pub use echo::Echo;
pub use error::Error;
pub use event_stream::{Event, Events};
pub use exchange::{Exchange, ExchangeId};
pub use filter::{ResponseFilter, Rewrite};
pub use forms::{Form, FormError, FormLimits, Forms, Upload};
pub use handler::{ExchangeHandler, Handler, Intake, Reply, with_exchange};
pub use headers::Headers;
pub use method::{ExtensionMethod, Method};
pub use middleware::{HandlerExt, Middleware, With};
pub use proxy::ReverseProxy;
pub use request::{Request, TargetForm, Version};
pub use response::Response;
pub use routes::Routes;
pub use server::HttpServer;
pub use site::Site;
pub use static_files::StaticFiles;
pub use status::Status;
pub use virtual_hosts::VirtualHosts;

/// The log target of everything in this crate.
pub(crate) const LOG: &str = "ropewalk_http";
