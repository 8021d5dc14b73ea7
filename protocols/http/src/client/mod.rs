//! The client's side of HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! # One connection
//!
//! [`HttpClient`] is the protocol of one connection: it sends a request, hands the response to a
//! [`ResponseHandler`] as it comes, and keeps the connection for the next request where it may.
//! Both bodies are streamed: what is written is slowed down by the peer, and the response is by
//! [`Exchange::pause_reading`]. Proxies, and whoever needs the last say, are built on it.
//!
//! ```
//! use ropewalk_http::client::{Exchange, Failure, HttpClient, RequestBody, RequestHead};
//! use ropewalk_http::client::ResponseHandler;
//! use ropewalk_http::codec::ResponseHead;
//! use ropewalk_http::{Headers, Method};
//! use ropewalk_reactor::{Address, Reactor, Result};
//!
//! struct Print;
//!
//! impl ResponseHandler for Print {
//!     fn head_received(&mut self, _: &mut Exchange<'_>, head: &ResponseHead) -> Result {
//!         println!("{}", head.status());
//!         Ok(())
//!     }
//!
//!     fn body_received(&mut self, _: &mut Exchange<'_>, data: &[u8]) -> Result {
//!         println!("{} bytes", data.len());
//!         Ok(())
//!     }
//!
//!     fn body_ended(&mut self, exchange: &mut Exchange<'_>, _: &Headers) -> Result {
//!         println!("again on this connection: {}", exchange.is_reusable());
//!         Ok(())
//!     }
//!
//!     fn exchange_lost(&mut self, failure: &Failure) {
//!         println!("{failure}");
//!     }
//! }
//!
//! # fn main() -> Result {
//! let mut reactor = Reactor::new()?;
//! let connecting = reactor.connect("127.0.0.1:8080", |_: Address| HttpClient::new());
//! connecting.then(|reactor, connection| {
//!     let Ok(connection) = connection else { return };
//!     reactor.with_protocol::<HttpClient, _>(connection, |client, transport| {
//!         let head = RequestHead::new(Method::Get, "127.0.0.1:8080", "/").expect("a good target");
//!         client.send(transport, &head, RequestBody::Empty, Box::new(Print)).is_ok()
//!     });
//! });
//! # reactor.stop();
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! A request's body is [`RequestBody::Whole`], or it is streamed: the handler writes it in
//! [`resume_producing`](ResponseHandler::resume_producing), or anybody does, later, through
//! [`HttpClient::with_exchange`] and the [`ExchangeId`] that `send` answered, until a write answers
//! [`AboveHighWater`](ropewalk_reactor::Written::AboveHighWater). From inside another connection's
//! callback, [`Local::call_soon`](ropewalk_reactor::Local::call_soon) leads there, in the same turn.

#[cfg(feature = "client")]
mod agent;
mod config;
mod connection;
mod deadline;
mod exchange;
mod failure;
mod handler;
mod protocol;
mod request_head;

#[cfg(feature = "client")]
pub use agent::{
    Client, ClientBuilder, ClientError, Cookie, CookieJar, Request, Response, ResponseBody,
    StreamedResponse, TimedOut,
};
pub use config::ConnectionConfig;
pub use exchange::{Exchange, ExchangeId};
pub use failure::{Failure, Phase};
pub use handler::ResponseHandler;
pub use protocol::HttpClient;
pub use request_head::{RequestBody, RequestHead};
