//! A client for AMQP 0-9-1: RabbitMQ's protocol, from the side that publishes and consumes.
//!
//! [`Client::connect`] gives a [`Connection`], that opens [`Channel`]s; every request answers a
//! [`Deferred`](ropewalk_reactor::Deferred), for a callback or for an `await`. Lost connections
//! are made again, with all that was on them. The one rule: handles only write down what is
//! wanted, and the loop does it, so they can be used anywhere: in callbacks, in futures, in both.
//!
//! ```no_run
//! use ropewalk_amqp::client::{Client, ConsumeOptions, Properties, QueueDeclare};
//! use ropewalk_reactor::Reactor;
//!
//! # fn main() -> ropewalk_reactor::Result {
//! let mut reactor = Reactor::new()?;
//! let connecting = Client::connect(&mut reactor, "amqp://guest:guest@localhost:5672/%2f");
//! let work = async move {
//!     let channel = connecting.await?.open_channel().await?;
//!     channel.queue_declare(QueueDeclare::named("hello")).await?;
//!     channel.publish("", "hello", Properties::new().persistent(), "Hello World!")?;
//!     let mut consumer = channel.subscribe("hello", ConsumeOptions::new()).await?;
//!     if let Some(delivery) = consumer.next().await? {
//!         println!("{}", delivery.text());
//!         delivery.ack()?;
//!     }
//!     Ok::<(), ropewalk_reactor::BoxError>(())
//! };
//! reactor.spawn(work).then(|reactor, _| reactor.stop());
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! From the outside in: `connection`, `channel`, `consumer` and `message` are what users hold;
//! `hub` and `link` move octets and time; `core` is the state machine, with `handshake`,
//! `commands`, `publishing` and `recovery` as its chapters, and `lane` for each channel.

mod channel;
mod commands;
mod confirms;
mod connection;
mod consumer;
mod core;
mod declare;
mod error;
mod handshake;
mod hub;
mod lane;
mod link;
mod message;
mod options;
mod outbox;
mod properties;
mod publishing;
mod recovery;
mod requests;
mod topology;
mod uri;

pub use channel::Channel;
pub use connection::{Client, Connection, Notice};
pub use consumer::Consumer;
pub use declare::{ConsumeOptions, ExchangeDeclare, Publish, QueueDeclare};
pub use error::{Close, Error, Result};
pub use message::{Confirmation, DeclaredQueue, Delivery, Fetched, Message, Returned};
pub use options::{Mechanism, Options, Reconnect};
pub use properties::Properties;
pub use uri::{Uri, UriError};

/// The log target of the client.
const LOG: &str = "ropewalk_amqp";
