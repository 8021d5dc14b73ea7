//! RabbitMQ's definition files: JSON as `rabbitmqctl export_definitions` writes it, and as
//! `rabbitmqctl import_definitions` reads it.
//!
//! It only converts; [`Broker::import_definitions`](ropewalk_broker::Broker::import_definitions)
//! imports. What a file says and this broker cannot keep is told in a warning, never dropped in
//! silence.

mod read;
mod write;

use std::fmt;

pub use read::{Reading, read};
pub use write::write;

/// Why a file cannot be read, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// As in `queues[3].durable`; empty where it is not JSON at all.
    place: String,
    problem: String,
}

impl Error {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Error {
        Error { place: place.into(), problem: problem.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.place {
            "" => f.write_str(&self.problem),
            place => write!(f, "{place}: {}", self.problem),
        }
    }
}

impl std::error::Error for Error {}

/// RabbitMQ's names for the hashes of passwords.
const ALGORITHMS: [(&str, ropewalk_broker::HashAlgorithm); 2] = [
    ("rabbit_password_hashing_sha256", ropewalk_broker::HashAlgorithm::Sha256),
    ("rabbit_password_hashing_sha512", ropewalk_broker::HashAlgorithm::Sha512),
];
