//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692): a server, as an answer to an HTTP
//! request, and a client.
//!
//! ```no_run
//! use ropewalk_http::websocket::{Message, WebSocket, WebSocketUpgrade};
//! use ropewalk_http::{HttpServer, Request};
//! use ropewalk_reactor::Reactor;
//!
//! # fn main() -> ropewalk_reactor::Result {
//! let mut reactor = Reactor::new()?;
//! reactor.listen("127.0.0.1:8080", |_| {
//!     HttpServer::new(|request: &Request| {
//!         let echo = |socket: &mut WebSocket<'_>, message: Message<'_>| {
//!             socket.send(message);
//!             Ok(())
//!         };
//!         WebSocketUpgrade::new().accept(request, echo)
//!     })
//! })?;
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! From the inside out: `codec` (frames, masks, UTF-8) and `deflate` turn bytes into values and
//! back, `connection` is the state machine, [`WebSocketProtocol`] joins it to a transport and a
//! [`WebSocketHandler`]; `handshake`, [`WebSocketUpgrade`] and [`WebSocketClient`] are how it begins.

mod client;
mod close;
pub mod codec;
mod config;
mod connection;
mod deadline;
mod deflate;
mod error;
mod handler;
mod handshake;
mod message;
mod prepared;
mod protocol;
mod socket;
mod spare;
#[cfg(test)]
mod tests;
mod upgrade;
mod url;

pub use client::{HandshakeError, WebSocketClient};
pub use close::{Close, CloseCode};
pub use config::Config;
pub use deflate::Deflate;
pub use error::Error;
pub use handler::{Intake, WebSocketHandler};
pub use message::{Kind, Message};
pub use prepared::Prepared;
pub use protocol::WebSocketProtocol;
pub use socket::{WebSocket, close_all, with_websocket};
pub use upgrade::WebSocketUpgrade;
