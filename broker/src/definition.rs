//! A definition as the journal keeps it: one durable thing, and the key under which it is kept.
//!
//! Unlike those of [`Definitions`](crate::Definitions) the names are bytes, as on the wire: all
//! that can be made can be kept. The same values restore a broker.

use crate::exchange::ExchangeType;
use crate::journal::QueueNumber;
use crate::password::PasswordHash;
use crate::users::UserLimits;
use crate::value::Table;
use crate::vhost::VhostLimits;

/// Something durable. The order is that in which they must be restored.
///
/// Not `non_exhaustive`: a journal that passes over a kind that it does not know would lose it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Definition<'a> {
    /// A virtual host.
    Vhost {
        /// Its name.
        name: &'a [u8],
        /// What it is for, in an operator's words.
        description: &'a str,
        /// An operator's labels.
        tags: &'a [String],
        /// Its limits.
        limits: VhostLimits,
    },
    /// A user.
    User {
        /// Its name.
        name: &'a [u8],
        /// `None`: nobody can log in as this user by password.
        password: Option<&'a PasswordHash>,
        /// What it means to management tools.
        tags: &'a [String],
        /// Its limits.
        limits: UserLimits,
    },
    /// What a user may do in a virtual host: three patterns.
    Permission {
        /// The user.
        user: &'a [u8],
        /// The virtual host.
        vhost: &'a [u8],
        /// What it may declare and delete.
        configure: &'a str,
        /// What it may publish to or bind as a destination.
        write: &'a str,
        /// What it may consume from or bind as a source.
        read: &'a str,
    },
    /// Which routing keys a user may use with a topic exchange: two patterns.
    TopicPermission {
        /// The user.
        user: &'a [u8],
        /// The virtual host.
        vhost: &'a [u8],
        /// The exchange, which need not exist.
        exchange: &'a [u8],
        /// The keys that it may publish with.
        write: &'a str,
        /// The keys that it may bind with.
        read: &'a str,
    },
    /// A durable exchange. The predeclared ones are never journaled.
    Exchange {
        /// Its virtual host.
        vhost: &'a [u8],
        /// Its name.
        name: &'a [u8],
        /// Its type.
        kind: ExchangeType,
        /// It goes with the last of its bindings.
        auto_delete: bool,
        /// Clients cannot publish to it.
        internal: bool,
        /// Its arguments.
        arguments: &'a Table,
    },
    /// A durable queue that belongs to no connection.
    Queue {
        /// Its virtual host.
        vhost: &'a [u8],
        /// Its name.
        name: &'a [u8],
        /// Its number in the store.
        number: QueueNumber,
        /// It goes with the last of its consumers.
        auto_delete: bool,
        /// Its arguments.
        arguments: &'a Table,
    },
    /// A binding between two durable things.
    Binding {
        /// The virtual host of both ends.
        vhost: &'a [u8],
        /// The exchange that messages come from.
        source: &'a [u8],
        /// The queue or exchange that they go to.
        destination: &'a [u8],
        /// Whether that is a queue.
        to_queue: bool,
        /// The binding key.
        routing_key: &'a [u8],
        /// Its arguments, a part of what it is.
        arguments: &'a Table,
    },
}

/// What tells a definition from all others of its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DefinitionKey<'a> {
    /// A virtual host.
    Vhost {
        /// Its name.
        name: &'a [u8],
    },
    /// A user.
    User {
        /// Its name.
        name: &'a [u8],
    },
    /// What a user may do in a virtual host.
    Permission {
        /// The user.
        user: &'a [u8],
        /// The virtual host.
        vhost: &'a [u8],
    },
    /// Which routing keys a user may use with a topic exchange.
    TopicPermission {
        /// The user.
        user: &'a [u8],
        /// The virtual host.
        vhost: &'a [u8],
        /// The exchange.
        exchange: &'a [u8],
    },
    /// A durable exchange.
    Exchange {
        /// Its virtual host.
        vhost: &'a [u8],
        /// Its name.
        name: &'a [u8],
    },
    /// A durable queue.
    Queue {
        /// Its virtual host.
        vhost: &'a [u8],
        /// Its name.
        name: &'a [u8],
    },
    /// A binding between two durable things.
    Binding {
        /// The virtual host of both ends.
        vhost: &'a [u8],
        /// The exchange that messages come from.
        source: &'a [u8],
        /// The queue or exchange that they go to.
        destination: &'a [u8],
        /// Whether that is a queue.
        to_queue: bool,
        /// The binding key.
        routing_key: &'a [u8],
        /// Its arguments, exactly as in its definition: two bindings may differ in nothing else.
        arguments: &'a Table,
    },
}

impl<'a> Definition<'a> {
    /// The key under which it is kept.
    pub fn key(&self) -> DefinitionKey<'a> {
        match *self {
            Definition::Vhost { name, .. } => DefinitionKey::Vhost { name },
            Definition::User { name, .. } => DefinitionKey::User { name },
            Definition::Permission { user, vhost, .. } => DefinitionKey::Permission { user, vhost },
            Definition::TopicPermission { user, vhost, exchange, .. } => {
                DefinitionKey::TopicPermission { user, vhost, exchange }
            }
            Definition::Exchange { vhost, name, .. } => DefinitionKey::Exchange { vhost, name },
            Definition::Queue { vhost, name, .. } => DefinitionKey::Queue { vhost, name },
            Definition::Binding {
                vhost,
                source,
                destination,
                to_queue,
                routing_key,
                arguments,
            } => DefinitionKey::Binding {
                vhost,
                source,
                destination,
                to_queue,
                routing_key,
                arguments,
            },
        }
    }
}
