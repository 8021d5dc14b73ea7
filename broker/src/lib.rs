//! The message queue of Ropewalk as a state machine: exchanges, bindings, queues, consumers.
//!
//! It has no socket, no wire format, no file, no clock and no threads. Calls change its state and
//! fill its outbox; [`Broker::next_event`] drains that. The semantics and the texts of errors
//! are RabbitMQ's.
//!
//! # How a server calls
//!
//! 1. [`open_connection`](Broker::open_connection), [`open_channel`](Broker::open_channel), then
//!    a call for each method that arrives, on the [`ChannelId`] of its channel.
//! 2. Before a call whose method has an answer (`declare-ok`, `cancel-ok`, …) it drains the
//!    outbox; then it calls, sends the answer, and drains again. So `consume-ok` precedes the
//!    consumer's first delivery and `cancel-ok` follows its last. For methods without an answer
//!    (`publish`, `ack`) one drain after a batch will do.
//! 3. An [`Error`] says what to close: the channel ([`Broker::close_channel`]) or the connection
//!    ([`Broker::close_connection`]); the call that failed has changed nothing, but for a
//!    [`commit`](Broker::commit) of which a full queue refused a part.
//! 4. When a connection's output passes its high-water mark, [`Broker::set_flow`] turns its
//!    consumers off, and on again below the low-water mark. This may be done between two events.
//! 5. [`Broker::tick`] tells the time, once a turn before the calls of that turn, and again when
//!    [`Broker::next_deadline`] has come; [`Broker::set_wall_clock`] tells the time that
//!    dead-lettered messages carry and stored ones expire by.
//!
//! # How a server keeps a store
//!
//! Without a [`Journal`] all is in memory. With one, the broker says what to keep, and:
//!
//! 1. After its calls and drains the server takes what its journal has gathered, and
//!    [`Broker::last_ticket`]; once that is written and synced, it calls [`Broker::stored`] with
//!    that ticket and drains: confirms go out, and deliveries that had to wait.
//! 2. It asks [`Broker::next_load`] until there is none, and answers each with
//!    [`Broker::loaded`], then drains.
//! 3. [`Broker::get`] may answer [`Fetch::Loading`]: it is asked again after the next `loaded`
//!    or `stored`, and nothing else of that channel goes before it.
//! 4. At an orderly end it closes all connections, calls [`Broker::release_leases`], and writes
//!    the last records.
//! 5. At a start it calls [`Broker::restore_definition`] and [`Broker::restore_messages`] with
//!    what the store found, then [`Broker::set_journal`].
//!
//! ```
//! use ropewalk_broker::*;
//!
//! let mut broker = Broker::new(Config::default(), |bytes: &mut [u8]| bytes.fill(7), NoHeaders);
//! let open = OpenConnection { vhost: b"/", user: b"guest", key: 1, cancel_notify: true };
//! let connection = broker.open_connection(&open)?;
//! let channel = broker.open_channel(connection, 1)?;
//! let none = Table::new();
//! let declare = QueueDeclare {
//!     name: b"hello",
//!     passive: false,
//!     durable: false,
//!     exclusive: false,
//!     auto_delete: false,
//!     arguments: &none,
//! };
//! broker.declare_queue(channel, &declare)?;
//! let consume = Consume {
//!     queue: b"hello",
//!     consumer_tag: b"",
//!     no_ack: true,
//!     exclusive: false,
//!     arguments: &none,
//! };
//! broker.consume(channel, &consume)?;
//! broker.publish(channel, &Publish::new(b"", b"hello", b"Hello World!"))?;
//! while let Some(event) = broker.next_event() {
//!     if let Event::Delivered(delivery) = event {
//!         assert_eq!(delivery.message.body(), b"Hello World!");
//!     }
//! }
//! # Ok::<(), Error>(())
//! ```

#![forbid(unsafe_code)]

mod access;
mod acknowledge;
mod arguments;
mod backlog;
mod binding;
mod broker;
mod channel;
mod config;
mod confirms;
mod connection;
mod consumer;
mod consumer_timeout;
mod copies;
mod dead_letter;
mod defining;
mod definition;
mod definitions;
mod delivery;
mod error;
mod exchange;
mod expiry;
mod export;
mod ids;
mod import;
mod journal;
mod lease;
mod listing;
mod message;
mod messages;
mod names;
mod outbox;
mod overflow;
mod paging;
mod password;
mod payload;
mod permission;
mod publish;
mod queue;
mod ready;
mod reply_to;
mod restore;
mod returns;
mod routing;
mod seams;
mod single_active;
mod transaction;
mod unacked;
mod users;
mod value;
mod vhost;

pub use access::{Access, Permissions};
pub use acknowledge::{Fetch, Fetched};
pub use binding::Bind;
pub use broker::{Broker, Totals};
pub use config::Config;
pub use connection::OpenConnection;
pub use consumer::Consume;
pub use definition::{Definition, DefinitionKey};
pub use definitions::{
    BindingDefinition, DefinitionError, Definitions, ExchangeDefinition, PermissionDefinition,
    QueueDefinition, TopicPermissionDefinition, UserDefinition, VhostDefinition,
};
pub use error::{Error, ErrorKind, Level, Result};
pub use exchange::{ExchangeDeclare, ExchangeType};
pub use ids::{BindingId, ChannelId, ConnectionId, ConsumerId, ExchangeId, QueueId, VhostId};
pub use journal::{Journal, JournaledMessage, Position, QueueNumber, Reference};
pub use listing::{BindingInfo, ConnectionInfo, ExchangeInfo, QueueInfo};
pub use message::{Body, Message, Properties, Publish, SHARED_BODY};
pub use names::MAX_NAME;
pub use outbox::{Delivery, Destination, Event};
pub use paging::{Load, LoadedMessage};
pub use password::{HashAlgorithm, PasswordHash};
pub use permission::{Pattern, Permission, TopicPermission};
pub use queue::{QueueDeclare, QueueStatus};
pub use restore::RestoredQueue;
pub use seams::{Entropy, NoHeaders, PropertyCodec, PropertyEdit};
pub use users::{User, UserLimits};
pub use value::{Table, Value};
pub use vhost::VhostLimits;
