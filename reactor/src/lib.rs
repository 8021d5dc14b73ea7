//! The event loop of Ropewalk: sockets, time and connections, and no protocol of its own.
//!
//! Implement [`Protocol`], hand a [`Factory`] to a [`Reactor`], and run:
//!
//! ```
//! use bytes::BytesMut;
//! use ropewalk_reactor::{Protocol, Reactor, Result, Transport};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
//!         transport.write(data);
//!         data.clear();
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result {
//! let mut reactor = Reactor::new()?;
//! let port = reactor.listen("127.0.0.1:0", |_| Echo)?;
//! # reactor.stop();
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! To learn how the loop works, read the files in this order: [`protocol`] (the contract),
//! `transport` (what a callback may ask for), `reactor` (one turn, top to bottom), `connection`
//! (the life of a connection), `socket` (every system call), `timer`; `filter` (what TLS is to the
//! reactor), `datagram` for sockets without connections, `process` for children, `policy` for limits.

#![deny(unsafe_code)]

#[cfg(not(all(unix, target_pointer_width = "64")))]
compile_error!("ropewalk-reactor runs on 64-bit Unix only, for now");

mod address;
mod answer;
mod any_transport;
mod arrival;
mod async_stream;
mod background;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench_support;
mod clock;
mod connection;
mod connector;
mod core;
mod cores;
mod datagram;
mod deferred;
mod endpoint;
mod error;
mod filter;
mod filtering;
mod gather;
mod handle;
mod identity;
mod inherited;
mod jobs;
mod listener;
mod lives;
mod local;
mod many_futures;
mod network;
mod notify;
mod options;
mod output;
mod panics;
mod percent;
mod pipes;
mod policy;
mod process;
pub mod protocol;
mod proxy;
mod random;
mod reactor;
mod reading;
mod reconnecting;
mod repeating;
mod requests;
mod resolver;
mod service;
mod setters;
mod shared_listener;
mod shutdown;
mod signal;
mod signals;
pub mod simulation;
mod socket;
mod standard_io;
#[expect(unsafe_code, reason = "all of it is there")]
mod system;
mod tasks;
pub mod testing;
mod threads;
mod timer;
#[cfg(feature = "_tls")]
pub mod tls;
mod transport;
mod unix;
mod writing;

pub use address::{Address, UnixAddress};
pub use answer::{Answer, RemotePromise};
pub use async_stream::protocol::{AsyncFactory, AsyncProtocol, async_protocol};
pub use async_stream::{AsyncStream, AsyncWriter};
pub use background::BackgroundWriter;
pub use cores::{Cores, CoresHandle};
pub use datagram::{
    DatagramId, DatagramOptions, DatagramProtocol, DatagramTransport, Interface, Posted,
};
pub use deferred::{Deferred, Promise};
pub use endpoint::{Endpoint, IntoEndpoint, Passed, Target, TlsFiles};
pub use error::{BoxError, Error, Result};
pub use gather::{Either, both, either, first_of, gather, gather_all, race};
pub use handle::Handle;
pub use identity::{ConnectionId, ListenerId};
pub use local::Local;
pub use notify::Notifier;
pub use options::{ConnectOptions, ConnectionOptions, ListenOptions, ReactorOptions};
pub use output::Written;
pub use policy::rate::Rate;
pub use policy::traffic::TrafficLog;
pub use policy::{Counts, Policy, WhenFull};
pub use process::{
    ChildId, ProcessOutput, ProcessProtocol, ProcessStatus, ProcessTransport, Program, Wiring,
};
pub use protocol::{Factory, IntoProtocol, Protocol, Reason, layer_of};
pub use reactor::Reactor;
pub use reconnecting::ReconnectingClient;
pub use repeating::RepeatingCall;
pub use resolver::Resolver;
pub use service::{ListeningService, Service, ServiceOptions, ServiceState, Services};
pub use shared_listener::SharedListener;
pub use shutdown::Hold;
pub use signal::{BadSignal, Signal};
pub use simulation::Simulation;
pub use timer::TimerId;
pub use transport::Transport;
pub use unix::PeerCredentials;

/// The log target of everything in this crate.
pub(crate) const LOG: &str = "ropewalk_reactor";
