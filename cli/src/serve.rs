//! Starting: bind everything, say where, turn the loop until a signal.

use std::fmt;
use std::io::{self, Write};

use ropewalk::amqp::server::Server;
use ropewalk::{Address, Error, Reactor};

use crate::amqp::AmqpError;
use crate::arguments::{Arguments, Command};
use crate::config::{self, ConfigError};
use crate::service::{Service, StartError};
use crate::threads;

/// Why the program ends with status 1.
#[derive(Debug)]
pub(crate) enum Problem {
    Config(ConfigError),
    Amqp(AmqpError),
    Listen { kind: &'static str, error: Error, instead: &'static str },
    Reactor(Error),
    Output(io::Error),
    Store(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::Amqp(error) => write!(f, "amqp: {error}"),
            Self::Listen { kind, error, instead } if error.is_address_in_use() => {
                write!(f, "{kind}: {error}; stop what listens there, or {instead}")
            }
            Self::Listen { kind, error, .. } => write!(f, "{kind}: {error}"),
            Self::Reactor(error) => write!(f, "{error}"),
            Self::Output(error) => write!(f, "cannot write to standard output: {error}"),
            Self::Store(problem) => write!(f, "amqp: the data could not be kept: {problem}"),
        }
    }
}

/// Runs what the command line asks for, until a signal stops it in order.
pub(crate) fn run(arguments: Arguments) -> Result<(), Problem> {
    let mut all = false;
    let mut instead = "choose another address with --listen";
    let services = match arguments.command {
        Command::Serve { config: None } => {
            all = true;
            instead = "name other addresses in a file for --config (see serve --help)";
            Service::usual()
        }
        Command::Serve { config: Some(file) } => {
            all = true;
            instead = "change its `listen` in the file";
            config::read(&file).map_err(Problem::Config)?
        }
        Command::Amqp(queue) => {
            if let Some(tool) = queue.tool {
                return tool.run().map_err(Problem::Amqp);
            }
            queue.options.warn_of_passwords();
            vec![Service::Amqp(Box::new(queue.options))]
        }
        Command::Http(options) => vec![Service::Http(options)],
        Command::Line(options) => vec![Service::Line(options)],
        Command::Echo(options) => vec![Service::Echo(options)],
    };
    if let [service] = &services[..]
        && let Some(count) = service.threads()
    {
        let kind = service.kind();
        let announce = |addresses: Vec<Address>| {
            let bound: Vec<_> = addresses.into_iter().map(|address| (service, address)).collect();
            announce(&bound).map_err(Problem::Output)
        };
        return threads::run(service, count, announce, |error| Problem::Listen {
            kind,
            error,
            instead,
        });
    }
    let mut reactor = Reactor::new().map_err(Problem::Reactor)?;
    // Before anything is announced: whoever reads that line may send a signal at once.
    reactor.stop_on_signals().map_err(Problem::Reactor)?;
    let (mut bound, mut brokers) = (Vec::new(), Vec::new());
    for service in &services {
        let kind = service.kind();
        let addresses = service.start(&mut reactor, &mut brokers).map_err(|error| match error {
            StartError::Amqp(error) => Problem::Amqp(error),
            StartError::Listen(error) => Problem::Listen { kind, error, instead },
        })?;
        bound.extend(addresses.into_iter().map(|address| (service, address)));
    }
    announce(&bound).map_err(Problem::Output)?;
    if all {
        eprint!("{}", table(&bound));
    }
    reactor.run().map_err(Problem::Reactor)?;
    match brokers.iter().find_map(Server::failure) {
        Some(problem) => Err(Problem::Store(problem)),
        None => Ok(()),
    }
}

/// One line for each listener, once all are bound.
fn announce(bound: &[(&Service, Address)]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for (service, address) in bound {
        writeln!(output, "listening {} {address}", service.kind())?;
    }
    output.flush()
}

/// What listens where, and how to try it, for a person.
fn table(bound: &[(&Service, Address)]) -> String {
    let mut rows = vec![("service".to_owned(), "address".to_owned(), "try".to_owned())];
    rows.extend(bound.iter().map(|(service, address)| {
        (service.kind().to_owned(), address.to_string(), service.try_it(address))
    }));
    let first = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let second = rows.iter().map(|row| row.1.len()).max().unwrap_or(0);
    let mut table = String::from("\n");
    for (kind, address, hint) in rows {
        table.push_str(&format!("  {kind:first$}  {address:second$}  {hint}\n"));
    }
    table.push_str("\n  Ctrl-C stops.\n\n");
    table
}
