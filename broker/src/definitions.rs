//! Definitions: everything of a broker but its messages, as values that a file can carry.
//!
//! What RabbitMQ calls by that name, without its JSON. Names are text here, as they are there;
//! what is not UTF-8 cannot be exported.

use std::fmt;

use crate::password::PasswordHash;
use crate::users::UserLimits;
use crate::value::Table;
use crate::vhost::VhostLimits;

/// All definitions. [`Broker::import_definitions`](crate::Broker::import_definitions) takes them,
/// [`Broker::export_definitions`](crate::Broker::export_definitions) gives them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Definitions {
    /// Virtual hosts.
    pub vhosts: Vec<VhostDefinition>,
    /// Users.
    pub users: Vec<UserDefinition>,
    /// What users may do.
    pub permissions: Vec<PermissionDefinition>,
    /// Which routing keys users may use.
    pub topic_permissions: Vec<TopicPermissionDefinition>,
    /// Exchanges, without the predeclared ones.
    pub exchanges: Vec<ExchangeDefinition>,
    /// Queues that belong to no connection.
    pub queues: Vec<QueueDefinition>,
    /// Bindings, without the implied ones of the default exchange.
    pub bindings: Vec<BindingDefinition>,
}

/// A virtual host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VhostDefinition {
    /// Its name.
    pub name: String,
    /// What it is for, in an operator's words.
    pub description: String,
    /// An operator's labels.
    pub tags: Vec<String>,
    /// Its limits.
    pub limits: VhostLimits,
}

/// A user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserDefinition {
    /// Its name.
    pub name: String,
    /// `None`: nobody can log in as this user by password.
    pub password: Option<PasswordHash>,
    /// What it means to management tools.
    pub tags: Vec<String>,
    /// Its limits.
    pub limits: UserLimits,
}

/// What a user may do in a virtual host: three patterns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PermissionDefinition {
    /// The user.
    pub user: String,
    /// The virtual host.
    pub vhost: String,
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish to or bind as a destination.
    pub write: String,
    /// What it may consume from or bind as a source.
    pub read: String,
}

/// Which routing keys a user may use with a topic exchange: two patterns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopicPermissionDefinition {
    /// The user.
    pub user: String,
    /// The virtual host.
    pub vhost: String,
    /// The exchange, which need not exist.
    pub exchange: String,
    /// The keys that it may publish with.
    pub write: String,
    /// The keys that it may bind with.
    pub read: String,
}

/// An exchange.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExchangeDefinition {
    /// Its virtual host.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// The name of its type.
    pub kind: String,
    /// It outlives a restart.
    pub durable: bool,
    /// It goes with the last of its bindings.
    pub auto_delete: bool,
    /// Clients cannot publish to it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: Table,
}

/// A queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueDefinition {
    /// Its virtual host.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// It outlives a restart.
    pub durable: bool,
    /// It goes with the last of its consumers.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: Table,
}

/// A binding.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BindingDefinition {
    /// The virtual host of both ends.
    pub vhost: String,
    /// The exchange that messages come from.
    pub source: String,
    /// The queue or exchange that they go to.
    pub destination: String,
    /// Whether that is a queue.
    pub to_queue: bool,
    /// The binding key.
    pub routing_key: String,
    /// Its arguments.
    pub arguments: Table,
}

/// Why definitions cannot be imported, and which of them is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionError {
    section: &'static str,
    index: usize,
    problem: String,
}

impl DefinitionError {
    pub(crate) fn new(section: &'static str, index: usize, problem: impl Into<String>) -> Self {
        DefinitionError { section, index, problem: problem.into() }
    }

    /// The list, named as in RabbitMQ's files: `queues`, `topic_permissions`.
    pub fn section(&self) -> &'static str {
        self.section
    }

    /// Its place in the list, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.section, self.index, self.problem)
    }
}

impl std::error::Error for DefinitionError {}
