//! TLS 1.2 and 1.3, as a filter inside the connection: rustls's state machine between the socket and
//! the protocol.
//!
//! ```no_run
//! # use bytes::BytesMut;
//! # use ropewalk_reactor::{Protocol, Result, Transport};
//! use ropewalk_reactor::tls::{TlsClient, TlsServer};
//! use ropewalk_reactor::{ConnectOptions, ListenOptions, Reactor};
//! # struct Echo;
//! # impl Protocol for Echo {
//! #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
//! #         transport.write(&data.split());
//! #         Ok(())
//! #     }
//! # }
//!
//! # fn main() -> Result {
//! let mut reactor = Reactor::new()?;
//! let server = TlsServer::new("cert.pem", "key.pem")?;
//! reactor.listen_with(ListenOptions::default().tls(server), "127.0.0.1:8443", |_| Echo)?;
//! let client = TlsClient::builder().authorities("cert.pem").build()?;
//! let connecting = ConnectOptions::default().tls(client);
//! reactor.connect_with(connecting, "localhost:8443", |_| Echo).forget();
//! # Ok(())
//! # }
//! ```
//!
//! The protocol is the one that runs without TLS. `connection_made` comes when the connection is
//! there, before the handshake, and what is written then is sent after it;
//! [`handshake_completed`](crate::Protocol::handshake_completed) tells when it is done, and
//! [`Transport::tls`](crate::Transport::tls) what was agreed on. If it fails, `connection_lost`
//! tells with [`Reason::Tls`](crate::Reason::Tls). The peer's close_notify is its end of input; a
//! FIN without it may have been forged, and is told apart as
//! [`Reason::Truncated`](crate::Reason::Truncated).
//! [`start_tls`](crate::Transport::start_tls) begins it in mid-stream.
//!
//! Early data (0-RTT) is neither sent nor taken: whoever records it can send it again.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::Error;

mod certificates;
mod client;
mod failure;
mod files;
pub(crate) mod filter;
mod info;
mod pem;
pub(crate) mod seam;
mod server;
mod session;
mod starting;
mod watch;

pub use client::{TlsClient, TlsClientBuilder};
pub use failure::Failure;
pub use info::Info;
pub use pem::Pem;
pub use server::{TlsServer, TlsServerBuilder};

/// The library beneath, for what is not offered here: its configurations can be used as they are.
pub use rustls;

/// As long as Go's and Envoy's peers have by default, or twice that: many round trips on a bad line.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What [`start_tls`](crate::Transport::start_tls) takes: `&TlsServer`, or
/// [`TlsClient::to`] a server by name.
#[derive(Debug, Clone)]
pub struct StartTls(pub(crate) Side);

impl From<&TlsServer> for StartTls {
    fn from(server: &TlsServer) -> Self {
        Self(Side::Server(server.clone()))
    }
}

/// Which side of a session.
#[derive(Debug, Clone)]
pub(crate) enum Side {
    Server(TlsServer),
    Client { client: TlsClient, name: ServerName<'static> },
}

impl Side {
    fn handshake_timeout(&self) -> Duration {
        match self {
            Self::Server(server) => server.handshake_timeout(),
            Self::Client { client, .. } => client.handshake_timeout(),
        }
    }
}

/// The cryptography that sessions here use, for a configuration of rustls's own; its random numbers
/// replay in a simulation.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    seam::provider()
}

/// The clock that sessions here use, for a configuration of rustls's own; it is virtual in a
/// simulation.
pub fn time() -> Arc<dyn rustls::time_provider::TimeProvider> {
    Arc::new(seam::Time)
}

fn general(problem: impl ToString) -> Error {
    Error::Tls { subject: "TLS".into(), problem: problem.to_string() }
}
