//! The message queue's options, and the server that they make: users, virtual hosts, limits, and
//! definitions as RabbitMQ exports them.

use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use log::{info, warn};
use ropewalk::Reactor;
use ropewalk::amqp::broker::{PasswordHash, Permission, User};
use ropewalk::amqp::definitions;
use ropewalk::amqp::server::{Config, Server};
use serde::Deserialize;

use crate::data;
use crate::memory::MemoryLimit;
use crate::policies::Limits;
use crate::privileges::Identity;
use crate::service::{Listen, ONE_THREAD};
use crate::size::Size;

/// Options of the message queue.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Amqp {
    /// Listen on ADDRESS (repeatable) [default: tcp://127.0.0.1:5672]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<Listen>,
    /// Keep durable queues and persistent messages in DIR
    /// [default: ropewalk/amqp in the user's data home]
    #[arg(long, value_name = "DIR", conflicts_with = "memory")]
    data: Option<PathBuf>,
    /// Keep nothing: all is in memory, and gone at the end
    #[arg(long)]
    memory: bool,
    /// A user who can log in (repeatable) [default: guest:guest]
    #[arg(long, value_name = "NAME:PASSWORD")]
    user: Vec<Login>,
    /// A file of users, one NAME:PASSWORD a line
    #[arg(long, value_name = "FILE")]
    user_file: Option<PathBuf>,
    /// A user who can only connect from this machine (repeatable); an empty NAME is nobody
    /// [default: guest]
    #[arg(long, value_name = "NAME")]
    loopback_user: Vec<String>,
    /// A virtual host besides `/` (repeatable)
    #[arg(long, value_name = "NAME")]
    vhost: Vec<String>,
    /// Definitions to import, a JSON file as RabbitMQ exports it
    #[arg(long, value_name = "FILE")]
    definitions: Option<PathBuf>,
    /// The most connections at once [default: no limit]
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// The most channels of a connection; 0 is no limit [default: 2047]
    #[arg(long, value_name = "N")]
    max_channels: Option<u16>,
    /// The most queues in each virtual host [default: no limit]
    #[arg(long, value_name = "N")]
    max_queues: Option<usize>,
    /// The largest message body that is taken [default: 134217728]
    #[arg(long, value_name = "BYTES")]
    max_message_size: Option<NonZeroU64>,
    /// The memory that messages may hold; above it, who publishes is blocked until there is room:
    /// bytes, a size as 512MiB, a share of this machine's memory as 40%, or none [default: 40%]
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<MemoryLimit>,
    /// What shall stay free on the disk of the data; below it, who publishes is blocked until there
    /// is more: bytes, or a size as 1GiB; 0 is no limit [default: 50MB]
    #[arg(long, value_name = "SIZE")]
    disk_limit: Option<Size>,
    /// How long a consumer may hold a message without acknowledging it until its channel is closed;
    /// 0 is for ever [default: 1800]
    #[arg(long, value_name = "SECONDS")]
    consumer_timeout: Option<u32>,
    /// The largest frame to propose to clients, at least 4096 [default: 131072]
    #[arg(long, value_name = "BYTES")]
    frame_max: Option<FrameMax>,
    /// The heartbeat interval to propose to clients; 0 is none [default: 60]
    #[arg(long, value_name = "SECONDS")]
    heartbeat: Option<u16>,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) limits: Limits,
    /// There is one.
    #[arg(long, hide = true, value_parser = one_thread)]
    #[serde(skip)]
    threads: Option<()>,
}

/// Whoever knows the option from the other services is told why it is none here.
fn one_thread(given: &str) -> Result<(), &'static str> {
    if given == "1" { Ok(()) } else { Err(ONE_THREAD) }
}

/// The octets of a frame.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
struct FrameMax(u32);

/// AMQP 0-9-1, section 4.2.3: both peers must take frames of this size.
const LEAST_FRAME_MAX: u32 = 4096;

impl TryFrom<u32> for FrameMax {
    type Error = String;

    fn try_from(octets: u32) -> Result<Self, String> {
        match octets {
            LEAST_FRAME_MAX.. => Ok(Self(octets)),
            _ => Err(format!("a frame is at least {LEAST_FRAME_MAX} bytes")),
        }
    }
}

impl FromStr for FrameMax {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        given.parse::<u32>().map_err(|error| error.to_string())?.try_into()
    }
}

/// A user's name and password.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
struct Login {
    name: String,
    password: String,
}

impl FromStr for Login {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given.split_once(':') {
            None | Some(("", _) | (_, "")) => Err("write NAME:PASSWORD, neither of them empty"),
            Some((name, password)) => {
                Ok(Self { name: name.to_owned(), password: password.to_owned() })
            }
        }
    }
}

impl TryFrom<String> for Login {
    type Error = &'static str;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why the message queue cannot start.
#[derive(Debug)]
pub(crate) enum AmqpError {
    Randomness(io::Error),
    File { path: PathBuf, error: io::Error },
    Users { path: PathBuf, line: usize, problem: &'static str },
    Definitions { path: PathBuf, problem: String },
    Data { directory: PathBuf, problem: String },
    NoDirectory,
    BothMemoryAndData,
    Output(io::Error),
}

impl fmt::Display for AmqpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Randomness(error) => write!(f, "the system gives no randomness: {error}"),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Users { path, line, problem } => {
                write!(f, "{}, line {line}: {problem}", path.display())
            }
            Self::Definitions { path, problem } => write!(f, "{}: {problem}", path.display()),
            Self::Data { directory, problem } => {
                write!(f, "cannot use the data in {}: {problem}", directory.display())
            }
            Self::NoDirectory => write!(
                f,
                "there is no home directory for its data; choose one with --data DIR (`data` in a \
                 file), or keep nothing with --memory"
            ),
            Self::BothMemoryAndData => write!(f, "choose one of `data` and `memory`"),
            Self::Output(error) => write!(f, "cannot write to standard output: {error}"),
        }
    }
}

impl Amqp {
    /// Whether `guest` can log in with the password that everybody knows.
    pub(crate) fn has_guest(&self) -> bool {
        self.user.is_empty() && self.user_file.is_none() && self.definitions.is_none()
    }

    /// For options from a command line.
    pub(crate) fn warn_of_passwords(&self) {
        if !self.user.is_empty() {
            warn!(
                "amqp: other users of this machine can see the passwords of --user; see --user-file"
            );
        }
    }

    /// Where the data is kept; `None` when it is not.
    pub(crate) fn directory(
        &self,
        identity: Option<&Identity>,
    ) -> Result<Option<PathBuf>, AmqpError> {
        match (&self.data, self.memory) {
            (Some(_), true) => Err(AmqpError::BothMemoryAndData),
            (None, true) => Ok(None),
            (Some(directory), false) => Ok(Some(directory.clone())),
            (None, false) => {
                data::default_directory(identity).ok_or(AmqpError::NoDirectory).map(Some)
            }
        }
    }

    /// Reads the files that the options name.
    pub(crate) fn read_files(&self) -> Files {
        let definitions = self.definitions.as_ref().map(|path| {
            let json = read_file(path, |path| std::fs::read(path));
            (path.clone(), json)
        });
        let users = self.user_file.as_deref().map_or(Ok(Vec::new()), read_users);
        Files { definitions, users }
    }

    /// A server that is not started: its listeners can be there before, as long as the loop does not
    /// turn.
    pub(crate) fn server(&self) -> Server {
        Server::new(self.config())
    }

    /// Starts the server with all that the options and their files say.
    pub(crate) fn start(
        &self,
        server: &Server,
        files: Files,
        identity: Option<&Identity>,
        reactor: &mut Reactor,
    ) -> Result<(), AmqpError> {
        match self.directory(identity)? {
            None => server.start(reactor).map_err(AmqpError::Randomness)?,
            Some(directory) => data::open(server, &directory, identity, reactor)?,
        }
        if let Some((path, json)) = files.definitions {
            import(server, &path, &json?, reactor)?;
        }
        let mut users = files.users?;
        users.extend_from_slice(&self.user);
        for user in &users {
            self.add_user(server, user, reactor)?;
        }
        if server.with_broker(|broker| broker.users().next().is_none()) == Some(true) {
            warn!("amqp: there is no user, so nobody can log in: see --user-file");
        }
        info!("amqp: messages may hold {}", self.memory_limit.unwrap_or_default());
        Ok(())
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        if !self.has_guest() {
            config = config.without_default_user();
        }
        for vhost in &self.vhost {
            config = config.vhost(vhost);
        }
        if !self.loopback_user.is_empty() {
            config = config.loopback_users(&self.loopback_user);
        }
        if let Some(limit) = self.max_connections {
            config = config.max_connections(limit);
        }
        if let Some(limit) = self.max_channels {
            config = config.channel_max(limit);
        }
        if let Some(limit) = self.max_queues {
            config = config.max_queues(limit);
        }
        if let Some(limit) = self.max_message_size {
            config = config.max_message_size(limit.get());
        }
        if let Some(octets) = self.memory_limit.unwrap_or_default().octets() {
            config = config.memory_limit(octets);
        }
        if let Some(Size(octets)) = self.disk_limit {
            config = config.disk_limit(octets);
        }
        if let Some(seconds) = self.consumer_timeout {
            let timeout = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
            config = config.consumer_timeout(timeout);
        }
        if let Some(FrameMax(octets)) = self.frame_max {
            config = config.frame_max(octets);
        }
        if let Some(seconds) = self.heartbeat {
            config = config.heartbeat(seconds);
        }
        config
    }

    /// Adds an administrator who may do everything in the virtual hosts of the command line.
    fn add_user(
        &self,
        server: &Server,
        login: &Login,
        reactor: &mut Reactor,
    ) -> Result<(), AmqpError> {
        let mut salt = [0; 4];
        reactor.random(&mut salt).map_err(AmqpError::Randomness)?;
        let name = login.name.as_bytes();
        let mut user = User::new(Some(PasswordHash::new(login.password.as_bytes(), salt)));
        user.tags.push("administrator".to_owned());
        server.with_broker(|broker| {
            broker.put_user(name, user);
            for vhost in ["/"].into_iter().chain(self.vhost.iter().map(String::as_str)) {
                broker.set_user_permission(name, vhost.as_bytes(), Some(Permission::everything()));
            }
        });
        Ok(())
    }
}

/// What the files of a message queue say.
#[derive(Debug)]
pub(crate) struct Files {
    definitions: Option<(PathBuf, Result<Vec<u8>, AmqpError>)>,
    users: Result<Vec<Login>, AmqpError>,
}

impl Files {
    /// Whether they are there and right, as far as that can be told with nothing started.
    pub(crate) fn check(self) -> Result<(), AmqpError> {
        if let Some((path, json)) = self.definitions {
            let read = definitions::read(&json?, &mut |_| {});
            read.map_err(|error| AmqpError::Definitions { path, problem: error.to_string() })?;
        }
        self.users.map(drop)
    }
}

/// Imports a file of definitions, all of it or nothing; what is left out goes to the log.
fn import(
    server: &Server,
    path: &Path,
    json: &[u8],
    reactor: &mut Reactor,
) -> Result<(), AmqpError> {
    let mut exhausted = None;
    let reading = definitions::read(json, &mut |salt| {
        if let Err(error) = reactor.random(salt) {
            exhausted = Some(error);
        }
    });
    if let Some(error) = exhausted {
        return Err(AmqpError::Randomness(error));
    }
    let wrong = |problem: String| AmqpError::Definitions { path: path.to_owned(), problem };
    let reading = reading.map_err(|error| wrong(error.to_string()))?;
    let imported = server.with_broker(|broker| broker.import_definitions(&reading.definitions));
    let left_out = match imported {
        Some(imported) => imported.map_err(|error| wrong(error.to_string()))?,
        None => Vec::new(), // it was started
    };
    for warning in reading.warnings.iter().chain(&left_out) {
        warn!("amqp: {}: {warning}", path.display());
    }
    Ok(())
}

/// One `NAME:PASSWORD` a line; empty lines and those that begin with `#` are skipped.
fn read_users(path: &Path) -> Result<Vec<Login>, AmqpError> {
    let text = read_file(path, |path| std::fs::read_to_string(path))?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let users = lines.map(|(index, line)| {
        let line_number = index + 1;
        line.parse().map_err(|problem| AmqpError::Users {
            path: path.to_owned(),
            line: line_number,
            problem,
        })
    });
    users.collect()
}

fn read_file<T>(path: &Path, read: impl Fn(&Path) -> io::Result<T>) -> Result<T, AmqpError> {
    read(path).map_err(|error| AmqpError::File { path: path.to_owned(), error })
}
