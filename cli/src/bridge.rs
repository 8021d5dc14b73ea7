//! The bridges of a configuration file: what joins a service of publish/subscribe to a message queue, or
//! servers elsewhere to one another.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ropewalk::amqp::client as amqp;
use ropewalk::bridge::{Direction, Options};
use ropewalk::redis::client::ClientOptions;
use ropewalk::tls::TlsClient;
use ropewalk::{Address, ConnectOptions, Endpoint, Error};
use serde::Deserialize;

use crate::config::{Named, Settings};
use crate::service::Service;
use crate::size::Size;

/// The options of a bridge.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Bridge {
    redis: String,
    amqp: String,
    channels: String,
    exchange: String,
    #[serde(default)]
    binding_key: Option<String>,
    #[serde(default)]
    direction: Way,
    #[serde(default)]
    redis_user: Option<String>,
    #[serde(default)]
    redis_password: Option<String>,
    #[serde(default)]
    redis_password_file: Option<PathBuf>,
    #[serde(default)]
    amqp_vhost: Option<String>,
    #[serde(default)]
    amqp_user: Option<String>,
    #[serde(default)]
    amqp_password: Option<String>,
    #[serde(default)]
    amqp_password_file: Option<PathBuf>,
    #[serde(default)]
    buffer: Option<Size>,
    #[serde(default)]
    max_message_size: Option<Size>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    #[default]
    Both,
    ToAmqp,
    ToRedis,
}

/// A bridge, and what it is called in the log.
#[derive(Debug)]
pub(crate) struct NamedBridge {
    pub(crate) name: String,
    pub(crate) bridge: Bridge,
    pub(crate) settings: Settings,
}

/// One of the two sides, as the file names it.
enum Side<'a> {
    /// A service of the same file.
    Service(&'a str),
    Elsewhere(&'a str),
}

/// What a bridge needs besides the addresses of services: its secrets, read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secrets {
    redis: Option<String>,
    amqp: Option<String>,
}

/// Why a bridge cannot be.
#[derive(Debug)]
pub(crate) enum BridgeError {
    /// What is wrong with the value of a key.
    Key(&'static str, String),
    File {
        path: PathBuf,
        error: io::Error,
    },
    NoPassword {
        path: PathBuf,
    },
    Address(Error),
    Amqp(amqp::Error),
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key, problem) => write!(f, "`{key}`: {problem}"),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NoPassword { path } => {
                write!(f, "{}: its first line is no password: it is empty", path.display())
            }
            Self::Address(error) => write!(f, "{error}"),
            Self::Amqp(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Debug for Bridge {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("channels", &self.channels)
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}

impl Bridge {
    /// Whether it can be with these services; nothing is read or connected.
    pub(crate) fn check(&self, services: &[Named]) -> Result<(), BridgeError> {
        self.serves(services, "redis", &self.redis, |service| {
            matches!(service, Service::Redis(_))
        })?;
        self.serves(services, "amqp", &self.amqp, |service| matches!(service, Service::Amqp(_)))?;
        let key = |key, problem: &str| Err(BridgeError::Key(key, problem.to_owned()));
        if self.channels.is_empty() {
            return key("channels", "write a pattern of channels, as \"news.*\"");
        }
        if self.exchange.is_empty() || self.exchange.len() > amqp_name() {
            return key("exchange", "the name of an exchange has 1 to 255 bytes");
        }
        if self.binding_key.as_ref().is_some_and(|key| key.len() > amqp_name()) {
            return key("binding-key", "it has 255 bytes at most");
        }
        if self.redis_password.is_some() && self.redis_password_file.is_some() {
            return key("redis-password", "choose one of this and `redis-password-file`");
        }
        if self.amqp_password.is_some() && self.amqp_password_file.is_some() {
            return key("amqp-password", "choose one of this and `amqp-password-file`");
        }
        self.options("", &Secrets { redis: None, amqp: None }, &|_| None).map(drop)
    }

    /// Whether a side is a service of the right kind that a client of this machine can reach, or
    /// elsewhere.
    fn serves(
        &self,
        services: &[Named],
        kind: &'static str,
        side: &str,
        is_kind: impl Fn(&Service) -> bool,
    ) -> Result<(), BridgeError> {
        let Side::Service(name) = Side::of(side) else { return Ok(()) };
        let Some(named) = services.iter().find(|named| named.name == name) else {
            let problem =
                format!("there is no service `{name}`; a server elsewhere is {kind}://HOST");
            return Err(BridgeError::Key(kind, problem));
        };
        if !is_kind(&named.service) {
            let problem = format!("the service `{name}` is of kind {}", named.service.kind());
            return Err(BridgeError::Key(kind, problem));
        }
        if !named.service.endpoints().iter().any(is_reachable) {
            let problem = format!(
                "the service `{name}` has no address that a bridge can connect to: add a tcp:// or unix: \
                 one without `proxy`"
            );
            return Err(BridgeError::Key(kind, problem));
        }
        Ok(())
    }

    /// Whether it joins what another one joins: then every message would cross twice.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.redis == other.redis
            && self.amqp == other.amqp
            && self.amqp_vhost == other.amqp_vhost
            && self.channels == other.channels
            && self.exchange == other.exchange
    }

    /// Reads its passwords; that of a service of the same file is known there.
    pub(crate) fn secrets(&self, services: &[Named]) -> Result<Secrets, BridgeError> {
        let mut redis = secret(&self.redis_password, self.redis_password_file.as_deref())?;
        if let (None, Side::Service(name)) = (&redis, Side::of(&self.redis)) {
            let named = services.iter().find(|named| named.name == name);
            if let Some(Named { service: Service::Redis(options), .. }) = named {
                let read = options.read_password();
                redis = read.map_err(|error| BridgeError::Key("redis", error.to_string()))?;
            }
        }
        let amqp = secret(&self.amqp_password, self.amqp_password_file.as_deref())?;
        Ok(Secrets { redis, amqp })
    }

    /// What the bridge shall be; `address` knows where services listen.
    pub(crate) fn options(
        &self,
        name: &str,
        secrets: &Secrets,
        address: &dyn Fn(&str) -> Option<Address>,
    ) -> Result<Options, BridgeError> {
        let mut client = ClientOptions::default();
        if let Some(password) = &secrets.redis {
            client = client.password(password);
        }
        if let Some(user) = &self.redis_user {
            client = client.user(user);
        }
        let redis = match Side::of(&self.redis) {
            Side::Service(name) => address(name).map_or(unknown(), Endpoint::from),
            Side::Elsewhere(url) => {
                let (endpoint, is_tls) = redis_endpoint(url)?;
                if is_tls {
                    let tls = TlsClient::new().map_err(BridgeError::Address)?;
                    client = client.connect(ConnectOptions::default().tls(tls));
                }
                endpoint
            }
        };
        let mut broker = match Side::of(&self.amqp) {
            Side::Service(name) => {
                let broker = amqp::Options::from_uri("amqp://").map_err(BridgeError::Amqp)?;
                broker.endpoint(address(name).map_or(unknown(), Endpoint::from))
            }
            Side::Elsewhere(uri) => amqp::Options::from_uri(uri),
        }
        .map_err(|error| BridgeError::Key("amqp", error.to_string()))?;
        if let Some(vhost) = &self.amqp_vhost {
            broker = broker.vhost(vhost);
        }
        if self.amqp_user.is_some() || secrets.amqp.is_some() {
            let user = self.amqp_user.as_deref().unwrap_or("guest");
            broker = broker.credentials(user, secrets.amqp.as_deref().unwrap_or("guest"));
        }
        let options = Options::new(redis, broker, &self.channels, &self.exchange);
        let mut options = options.map_err(BridgeError::Address)?.name(name).redis(client);
        options = options.direction(match self.direction {
            Way::Both => Direction::Both,
            Way::ToAmqp => Direction::ToAmqp,
            Way::ToRedis => Direction::ToRedis,
        });
        if let Some(key) = &self.binding_key {
            options = options.binding_key(key);
        }
        if let Some(size) = self.buffer {
            options = options.buffer(size.bytes());
        }
        if let Some(size) = self.max_message_size {
            options = options.max_message(size.bytes());
        }
        Ok(options)
    }

    /// The services of the same file that it joins.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        [&self.redis, &self.amqp].into_iter().filter_map(|side| match Side::of(side) {
            Side::Service(name) => Some(name),
            Side::Elsewhere(_) => None,
        })
    }

    /// What it joins, in a line.
    pub(crate) fn describe(&self) -> String {
        format!("channels {} = exchange {}", self.channels, self.exchange)
    }
}

impl<'a> Side<'a> {
    fn of(given: &'a str) -> Self {
        // The name of a service has no colon.
        if given.contains(':') { Self::Elsewhere(given) } else { Self::Service(given) }
    }
}

/// For a check alone, which connects to nothing.
fn unknown() -> Endpoint {
    Endpoint::from(Address::Tcp((Ipv4Addr::LOCALHOST, 1).into()))
}

/// The longest name in AMQP 0-9-1.
fn amqp_name() -> usize {
    ropewalk::amqp::codec::ShortStr::MAX_LEN
}

/// Whether a client of this machine can speak to a listener as it is.
fn is_reachable(endpoint: &Endpoint) -> bool {
    endpoint.tls().is_none() && !endpoint.is_datagram() && !endpoint.is_proxied()
}

/// Where a client of this machine reaches one that listens at `address` as `endpoint` says.
pub(crate) fn reached_at(endpoint: &Endpoint, address: &Address) -> Option<Address> {
    if !is_reachable(endpoint) {
        return None;
    }
    let mut address = address.clone();
    if let Address::Tcp(socket) = &mut address
        && socket.ip().is_unspecified()
    {
        match socket.is_ipv4() {
            true => socket.set_ip(Ipv4Addr::LOCALHOST.into()),
            false => socket.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    Some(address)
}

/// A Redis server elsewhere, and whether with TLS.
fn redis_endpoint(url: &str) -> Result<(Endpoint, bool), BridgeError> {
    let problem = |problem: &str| BridgeError::Key("redis", problem.to_owned());
    let (rest, is_tls) = match url.split_once("://") {
        Some(("redis", rest)) => (rest, false),
        Some(("rediss", rest)) => (rest, true),
        _ => (url, false),
    };
    if rest.contains('@') {
        return Err(problem(
            "its user and password are written as `redis-user` and `redis-password`",
        ));
    }
    let rest = rest.trim_end_matches('/');
    let has_port =
        rest.rsplit_once(':').is_some_and(|(host, _)| !host.ends_with(':')) && !rest.ends_with(']');
    let endpoint: Result<Endpoint, Error> = match (rest == url, has_port) {
        (true, _) | (_, true) => rest.parse(),
        (false, false) => format!("{rest}:6379").parse(),
    };
    let endpoint = endpoint.map_err(|error| problem(&error.to_string()))?;
    Ok((endpoint, is_tls))
}

fn secret(given: &Option<String>, file: Option<&Path>) -> Result<Option<String>, BridgeError> {
    let Some(path) = file else { return Ok(given.clone()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| BridgeError::File { path: path.to_owned(), error })?;
    match text.lines().next() {
        None | Some("") => Err(BridgeError::NoPassword { path: path.to_owned() }),
        Some(password) => Ok(Some(password.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_server_elsewhere_has_an_address() {
        for (url, expected) in [
            ("redis://example.org", "tcp://example.org:6379"),
            ("redis://example.org:1/", "tcp://example.org:1"),
            ("redis://[::1]", "tcp://[::1]:6379"),
            ("redis://[::1]:7", "tcp://[::1]:7"),
            ("tcp://10.0.0.1:2", "tcp://10.0.0.1:2"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock"),
        ] {
            let (endpoint, is_tls) = redis_endpoint(url).expect(url);
            assert_eq!((&*endpoint.to_string(), is_tls), (expected, false), "{url}");
        }
        let (endpoint, is_tls) = redis_endpoint("rediss://example.org").expect("good");
        assert_eq!((&*endpoint.to_string(), is_tls), ("tcp://example.org:6379", true));
        let error = redis_endpoint("redis://:secret@host").expect_err("not there").to_string();
        assert!(error.contains("`redis-password`") && !error.contains("secret"), "{error}");
    }
}
