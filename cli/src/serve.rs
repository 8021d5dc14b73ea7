//! Starting: bind everything, stop being root, say where, turn the loop until a signal.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;

use ropewalk::{Error, Notifier, Reactor};

use crate::ahead::Ahead;
use crate::amqp::AmqpError;
use crate::arguments::{Arguments, Command, Serve};
use crate::bridge::BridgeError;
use crate::config::{self, ConfigError, Configuration};
use crate::privileges::Identity;
use crate::redis::RedisError;
use crate::reload::Reload;
use crate::running::{self, Running};
use crate::service::Service;
use crate::sockets::Listener;
use crate::threads;

/// Why the program ends with status 1, or a reload changes nothing.
#[derive(Debug)]
pub(crate) enum Problem {
    Config(ConfigError),
    Amqp { name: String, error: AmqpError },
    Redis { name: String, error: RedisError },
    Bridge { name: String, error: BridgeError },
    Tool(AmqpError),
    Listen { name: String, error: Box<Error> },
    Process(String),
    Reactor(Error),
    Output(io::Error),
    Store(String),
}

impl Problem {
    /// A service cannot listen.
    pub(crate) fn listen(name: &str, error: Error) -> Self {
        Self::Listen { name: name.to_owned(), error: Box::new(error) }
    }

    /// Says also what to do `instead` where an address is in use.
    pub(crate) fn or_else(self, instead: &str) -> Self {
        match self {
            Self::Listen { name, error } if error.is_address_in_use() => {
                Self::Process(format!("{name}: {error}; stop what listens there, or {instead}"))
            }
            problem => problem,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::Amqp { name, error } => write!(f, "{name}: {error}"),
            Self::Redis { name, error } => write!(f, "{name}: {error}"),
            Self::Bridge { name, error } => write!(f, "{name}: {error}"),
            Self::Tool(error) => write!(f, "amqp: {error}"),
            Self::Listen { name, error } => write!(f, "{name}: {error}"),
            Self::Process(problem) => f.write_str(problem),
            Self::Reactor(error) => write!(f, "{error}"),
            Self::Output(error) => write!(f, "cannot write to standard output: {error}"),
            Self::Store(problem) => write!(f, "amqp: the data could not be kept: {problem}"),
        }
    }
}

/// Runs what the command line asks for, until a signal stops it in order.
pub(crate) fn run(arguments: Arguments) -> Result<(), Problem> {
    // First of all: it takes the manager's variables out of the environment.
    let manager = Notifier::from_environment().map_err(Problem::Reactor)?;
    let (mut all, mut file) = (false, None);
    let mut instead = "choose another address with --listen";
    let configuration = match arguments.command {
        Command::Serve(Serve { config: None, user, .. }) => {
            all = true;
            instead = "name other addresses in a file for --config (see serve --help)";
            let mut configuration = Configuration::of(Service::usual());
            configuration.process.set_user(user);
            configuration
        }
        Command::Serve(Serve { config: Some(path), check, user }) => {
            all = true;
            instead = "change its `listen` in the file";
            let mut configuration = config::read(&path).map_err(Problem::Config)?;
            configuration.process.set_user(user);
            if check {
                let summary = self::check(&configuration)?;
                let mut output = io::stdout().lock();
                return writeln!(output, "{}: {summary}", path.display()).map_err(Problem::Output);
            }
            file = Some(path);
            configuration
        }
        Command::Amqp(queue) => {
            if let Some(tool) = queue.tool {
                return tool.run().map_err(Problem::Tool);
            }
            queue.options.warn_of_passwords();
            Configuration::of(vec![Service::Amqp(Box::new(queue.options))])
        }
        Command::Redis(options) => {
            options.warn_of_password();
            Configuration::of(vec![Service::Redis(options)])
        }
        Command::Http(options) => Configuration::of(vec![Service::Http(options)]),
        Command::Line(options) => Configuration::of(vec![Service::Line(options)]),
        Command::Echo(options) => Configuration::of(vec![Service::Echo(options)]),
    };
    if let [named] = &configuration.services[..]
        && let Some(count) = named.service.threads()
    {
        return threads::run(named, count, manager, instead);
    }
    let process = configuration.process.clone();
    process.set_log_level();
    let identity = identity(&configuration)?;
    let options = process.reactor_options();
    let mut reactor = Reactor::with_options(options).map_err(Problem::Reactor)?;
    let running = Running::new(configuration, file, identity.clone());
    let running = Rc::new(RefCell::new(running));
    // Before anything is announced: whoever reads that line may send a signal at once.
    reactor.stop_on_signals().map_err(Problem::Reactor)?;
    Reload::on_hangup(&mut reactor, running.clone(), manager.clone()).map_err(Problem::Reactor)?;
    let mut pid_file = None;
    let bound = || {
        pid_file = process.write_pid().map_err(Problem::Process)?;
        match &identity {
            Some(identity) => identity.take_on().map_err(Problem::Process),
            None => Ok(()),
        }
    };
    let opened = running.borrow_mut().start(&mut reactor, bound);
    let opened = opened.map_err(|problem| problem.or_else(instead))?;
    running.borrow().warn_of_unreadable();
    announce(&running.borrow(), &opened).map_err(Problem::Output)?;
    if all {
        eprint!("{}", table(&running.borrow(), &opened));
    }
    if let Some(manager) = &manager {
        manager.attach(&mut reactor);
        manager.status(&running.borrow().status(true));
        manager.ready();
    }
    let ran = reactor.run().map_err(Problem::Reactor);
    drop(pid_file);
    ran?;
    match running.borrow().failure() {
        Some(problem) => Err(Problem::Store(problem)),
        None => Ok(()),
    }
}

/// Who the process shall go on as.
fn identity(configuration: &Configuration) -> Result<Option<Identity>, Problem> {
    let Some(who) = configuration.process.user() else { return Ok(None) };
    let identity = Identity::find(&who).and_then(|identity| identity.check().map(|()| identity));
    identity.map(Some).map_err(|problem| Problem::Process(format!("user: {problem}")))
}

/// Reads what a start would read, and says what there is; nothing is started.
fn check(configuration: &Configuration) -> Result<String, Problem> {
    let who = configuration.process.user();
    let identity = who.as_ref().map(Identity::find).transpose();
    let identity = identity.map_err(|problem| Problem::Process(format!("user: {problem}")))?;
    running::check_places(configuration, identity.as_ref())?;
    Ahead::read(configuration)?.check()?;
    let services = configuration.services.iter();
    let addresses = services.map(|named| named.service.endpoints().len()).sum();
    let services = configuration.services.len();
    let bridges = with_bridges(configuration.bridges.len());
    let addresses = count(addresses, "address");
    Ok(format!("fine, {} on {addresses}{bridges}", count(services, "service")))
}

/// How many there are, if there are any.
fn with_bridges(number: usize) -> String {
    if number == 0 { String::new() } else { format!(", {}", count(number, "bridge")) }
}

/// How it goes, for the service manager.
pub(crate) fn status(addresses: usize, bridges: usize, good: bool) -> String {
    let (addresses, bridges) = (count(addresses, "address"), with_bridges(bridges));
    match good {
        true => format!("Listening on {addresses}{bridges}"),
        false => format!("Listening on {addresses}{bridges}; the last reload failed, see the log"),
    }
}

fn count(number: usize, what: &str) -> String {
    match (number, what) {
        (1, _) => format!("1 {what}"),
        (_, "address") => format!("{number} addresses"),
        _ => format!("{number} {what}s"),
    }
}

/// One line for each listener, once all are bound.
pub(crate) fn announce(running: &Running, opened: &[Listener]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for listener in opened {
        let (kind, _) = running.describe(listener);
        writeln!(output, "listening {kind} {}", listener.address)?;
    }
    output.flush()
}

/// What listens where, and how to try it, for a person.
fn table(running: &Running, opened: &[Listener]) -> String {
    let mut rows = vec![("service".to_owned(), "address".to_owned(), "try".to_owned())];
    rows.extend(opened.iter().map(|listener| {
        let (_, hint) = running.describe(listener);
        (listener.service.clone(), listener.address.to_string(), hint)
    }));
    rows.extend(running.joins().map(|(name, what)| {
        (name.to_owned(), what, "what is published on one side is heard on the other".to_owned())
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
