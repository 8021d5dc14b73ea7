//! Opening: a broker made again from what a store has.

use std::fmt;
use std::io;
use std::sync::Arc;

use ropewalk_broker::{Broker, Config, Definitions, Journal, RestoredQueue};
use ropewalk_store::{Disk, Log, Options, Recovered, Report, inspect};

use super::definitions;
use super::journal::StoreJournal;
use crate::server::convert::BasicCodec;

/// What was found when a store was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// Whether nothing had ever been stored.
    pub is_new: bool,
    /// Queues that were restored.
    pub queues: usize,
    /// Messages in them.
    pub messages: u64,
    /// Definitions that could not be restored, in words. They stay in the store, with all their
    /// messages.
    pub left_out: Vec<String>,
    /// What the store says of its files.
    pub report: Report,
}

/// Why a server with a store cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The system gives no randomness.
    Randomness(io::Error),
    /// The store cannot be opened.
    Store(ropewalk_store::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Randomness(error) => write!(f, "the system gives no randomness: {error}"),
            StartError::Store(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Randomness(error) => Some(error),
            StartError::Store(error) => Some(error),
        }
    }
}

/// Opens a log and makes a new broker what it was; from then on the broker journals.
pub(crate) fn open(
    broker: &mut Broker,
    disk: Arc<dyn Disk>,
    options: Options,
) -> Result<(Log, Opened), ropewalk_store::Error> {
    let (log, recovered) = Log::open(disk, options)?;
    let mut opened = Opened {
        is_new: recovered.definitions.is_empty() && recovered.queues.is_empty(),
        queues: 0,
        messages: 0,
        left_out: restore_definitions(broker, &recovered),
        report: recovered.report,
    };
    let mut journal = StoreJournal::default();
    for queue in &recovered.queues {
        let restored = broker.restore_messages(&RestoredQueue {
            number: queue.id,
            next_position: queue.next_position,
            leased: queue.leased,
            messages: queue.messages,
            bytes: queue.octets,
        });
        if restored {
            opened.queues += 1;
            opened.messages += queue.messages;
        } else if opened.left_out.is_empty() {
            journal.queue_removed(queue.id); // it was a transient one
        }
    }
    broker.set_journal(Box::new(journal), recovered.next_queue);
    Ok((log, opened))
}

/// Returns, in words, what could not be restored.
fn restore_definitions(broker: &mut Broker, recovered: &Recovered) -> Vec<String> {
    let mut left_out = Vec::new();
    for (key, value) in &recovered.definitions {
        let restored = definitions::read(key, value, |definition| {
            let restored = broker.restore_definition(definition);
            restored.map_err(|problem| format!("{:?}: {problem}", definition.key()))
        });
        if let Err(problem) = restored.flatten() {
            left_out.push(problem);
        }
    }
    left_out
}

/// The definitions that a store has, and in words what cannot be read or exported of them. The
/// store is not changed, and may be in use.
///
/// # Errors
/// Those of reading the store.
pub fn read_definitions(
    disk: &dyn Disk,
) -> Result<(Definitions, Vec<String>), ropewalk_store::Error> {
    let recovered = inspect(disk)?;
    // No name is made up in it, so there is nothing to be random.
    let unused = |octets: &mut [u8]| octets.fill(0);
    let mut broker = Broker::new(Config::default(), unused, BasicCodec);
    let mut left_out = restore_definitions(&mut broker, &recovered);
    let (definitions, not_exported) = broker.export_definitions();
    left_out.extend(not_exported);
    Ok((definitions, left_out))
}
