//! Where the message queue keeps its data, and opening it.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use log::{info, warn};
use ropewalk::Reactor;
use ropewalk::amqp::server::{Opened, Server, StartError, read_definitions};
use ropewalk::amqp::{definitions, store};

use crate::amqp::AmqpError;
use crate::privileges::Identity;

/// What can be asked of a directory with data, whether a broker runs on it or not.
#[derive(Debug, Subcommand)]
pub(crate) enum DataTool {
    /// Tell what can be read of a data directory; it is not changed
    Check {
        /// The directory, as given to --data
        directory: PathBuf,
    },
    /// Print the definitions of a data directory as JSON, for `rabbitmqctl import_definitions` or
    /// --definitions
    Definitions {
        /// The directory, as given to --data
        directory: PathBuf,
    },
}

/// The directory of those who chose none: in the user's data home (the XDG base directory
/// specification).
pub(crate) fn default_directory(identity: Option<&Identity>) -> Option<PathBuf> {
    if let Some(identity) = identity {
        // The environment is still that of who started the program.
        return Some(identity.home()?.join(".local/share/ropewalk/amqp"));
    }
    let home = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = home("XDG_DATA_HOME").or_else(|| Some(home("HOME")?.join(".local/share")))?;
    Some(data.join("ropewalk/amqp"))
}

/// Starts a server on what the directory has.
pub(crate) fn open(
    server: &Server,
    directory: &Path,
    identity: Option<&Identity>,
    reactor: &mut Reactor,
) -> Result<(), AmqpError> {
    let problem = |problem: String| AmqpError::Data { directory: directory.to_owned(), problem };
    let disk = store::Directory::new(directory).map_err(|error| match identity {
        Some(identity) => problem(identity.cannot_make(directory, &error)),
        None => problem(error.to_string()),
    })?;
    if let Some(identity) = identity {
        identity.check_ownership(directory).map_err(problem)?;
    }
    let opened = server.start_with_store(reactor, Arc::new(disk)).map_err(|error| match error {
        StartError::Randomness(error) => AmqpError::Randomness(error),
        error => problem(error.to_string()),
    })?;
    tell(directory, &opened);
    Ok(())
}

fn tell(directory: &Path, opened: &Opened) {
    let directory = directory.display();
    match opened.is_new {
        true => info!("amqp: data goes to {directory}, which is new"),
        false => info!(
            "amqp: data in {directory}: {} messages in {} durable queues",
            opened.messages, opened.queues
        ),
    }
    if !opened.report.closed {
        info!("amqp: the data was not closed in order, and is recovered");
    }
    for finding in &opened.report.findings {
        warn!("amqp: {directory}: {finding}");
    }
    for left_out in &opened.left_out {
        warn!("amqp: {directory}: left out, and kept in the data: {left_out}");
    }
}

impl DataTool {
    /// Does what is asked.
    pub(crate) fn run(&self) -> Result<(), AmqpError> {
        let (Self::Check { directory } | Self::Definitions { directory }) = self;
        let problem = |problem: String| AmqpError::Data { directory: directory.clone(), problem };
        let disk = store::Directory::read_only(directory);
        let disk = disk.map_err(|error| problem(error.to_string()))?;
        let told = match self {
            Self::Check { .. } => {
                store::check(&disk).map_err(|error| problem(error.to_string()))?.to_string()
            }
            Self::Definitions { .. } => {
                let read = read_definitions(&disk).map_err(|error| problem(error.to_string()))?;
                let (definitions, left_out) = read;
                for left_out in left_out {
                    warn!("amqp: left out: {left_out}");
                }
                definitions::write(&definitions)
            }
        };
        print(told.trim_end()).map_err(AmqpError::Output)
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")?;
    output.flush()
}
