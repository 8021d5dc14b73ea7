//! The services: what each one's options are, on the command line and in the file alike, and how
//! it begins to listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use ropewalk::amqp::server::Server;
use ropewalk::{
    Address, Endpoint, Error, Factory, ListenOptions, Policy, Reactor, SharedListener, UnixAddress,
    http, line, redis,
};
use serde::Deserialize;

use crate::amqp::Amqp;
use crate::http::Http;
use crate::policies::{Limits, Number, Policies};
use crate::redis::Redis;
use crate::sites;
use crate::sockets::Change;

/// One of the servers, with its options.
#[derive(Debug)]
pub(crate) enum Service {
    Amqp(Box<Amqp>),
    Redis(Box<Redis>),
    Http(Box<Http>),
    Line(Line),
    Echo(Echo),
}

/// What all connections of a service share.
#[derive(Clone)]
pub(crate) enum Shared {
    Queue(Server),
    Channels(redis::server::Server),
    Site(http::Site),
}

/// Where to listen, as an option: `--listen`, repeatable.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Listen(pub(crate) Endpoint);

impl FromStr for Listen {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        given.parse().map(Self)
    }
}

impl TryFrom<String> for Listen {
    type Error = Error;

    fn try_from(given: String) -> Result<Self, Error> {
        given.parse()
    }
}

/// Options of the line server.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Line {
    /// Listen on ADDRESS (repeatable) [default: tcp://127.0.0.1:7000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<Listen>,
    /// The longest line in bytes; a longer one closes its connection [default: 16384]
    #[arg(long, value_name = "BYTES")]
    max_length: Option<NonZeroUsize>,
    #[command(flatten)]
    #[serde(skip)]
    policies: Policies,
    /// Run on N threads, which share the addresses and nothing else [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    threads: Option<NonZeroUsize>,
}

/// Options of the echo server.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Echo {
    /// Listen on ADDRESS (repeatable) [default: tcp://127.0.0.1:7007]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<Listen>,
    #[command(flatten)]
    #[serde(skip)]
    policies: Policies,
    /// Run on N threads, which share the addresses and nothing else [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    threads: Option<NonZeroUsize>,
}

impl Line {
    fn factory(&self) -> impl FnMut(Address) -> line::Lines<line::echo::LineEcho> + Clone + use<> {
        let longest = self.max_length.map_or(MAX_LENGTH, NonZeroUsize::get);
        move |_| {
            line::Lines::new(line::echo::LineEcho)
                .delimiter(line::Delimiter::LfOrCrLf)
                .max_length(longest)
        }
    }
}

impl Service {
    /// All of them, on their usual ports.
    pub(crate) fn usual() -> Vec<Self> {
        vec![
            Self::Amqp(Box::default()),
            Self::Redis(Box::default()),
            Self::Http(Box::default()),
            Self::Line(Line::default()),
            Self::Echo(Echo::default()),
        ]
    }

    /// Its name, as on the command line.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Amqp(_) => "amqp",
            Self::Redis(_) => "redis",
            Self::Http(_) => "http",
            Self::Line(_) => "line",
            Self::Echo(_) => "echo",
        }
    }

    pub(crate) fn listen(&self) -> &[Listen] {
        match self {
            Self::Amqp(options) => &options.listen,
            Self::Redis(options) => &options.listen,
            Self::Http(options) => &options.listen,
            Self::Line(Line { listen, .. }) | Self::Echo(Echo { listen, .. }) => listen,
        }
    }

    /// Sets what a file says of its connections.
    pub(crate) fn set_policies(&mut self, limits: Limits, number: Number) {
        match self {
            Self::Redis(options) => options.policies = Policies::new(limits, number),
            Self::Amqp(options) => options.limits = limits, // its number is RabbitMQ's
            Self::Http(options) => options.policies = Policies::new(limits, number),
            Self::Line(Line { policies, .. }) | Self::Echo(Echo { policies, .. }) => {
                *policies = Policies::new(limits, number)
            }
        }
    }

    /// What all its connections together are to keep to.
    pub(crate) fn policies(&self) -> Policies {
        match self {
            Self::Amqp(options) => Policies::new(options.limits.clone(), Number::default()),
            Self::Redis(options) => options.policies.clone(),
            Self::Http(options) => options.policies.clone(),
            Self::Line(Line { policies, .. }) | Self::Echo(Echo { policies, .. }) => {
                policies.clone()
            }
        }
    }

    fn usual_port(&self) -> u16 {
        match self {
            Self::Amqp(_) => 5672,
            Self::Redis(_) => 6379,
            Self::Http(_) => 8080,
            Self::Line(_) => 7000,
            Self::Echo(_) => 7007,
        }
    }

    /// A command that shows the service at work.
    pub(crate) fn try_it(&self, address: &Address) -> String {
        if let Address::Unix(address) = address {
            return self.try_unix(address);
        }
        let datagrams = matches!(address, Address::Udp(_));
        let Some(mut address) = address.socket_addr() else { return String::new() };
        // Whoever listens everywhere is reached by loopback.
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        match self {
            Self::Amqp(options) => {
                let login = if options.has_guest() { "guest:guest" } else { "USER:PASSWORD" };
                format!("any AMQP 0-9-1 client, as amqp://{login}@{address}/")
            }
            Self::Redis(options) => {
                let password = if options.has_password() { " --askpass" } else { "" };
                format!("redis-cli -h {} -p {}{password}", address.ip(), address.port())
            }
            Self::Http(options) if options.is_echo() => format!("curl http://{address}/hello"),
            Self::Http(_) => format!("curl http://{address}/"),
            Self::Echo(_) if datagrams => format!("nc -u {} {}", address.ip(), address.port()),
            Self::Line(_) | Self::Echo(_) => format!("nc {} {}", address.ip(), address.port()),
        }
    }

    fn try_unix(&self, address: &UnixAddress) -> String {
        let name = address.abstract_name().map(String::from_utf8_lossy);
        match (self, address.path(), name) {
            (Self::Amqp(_), ..) => "an AMQP 0-9-1 client that takes a Unix socket".to_owned(),
            (Self::Redis(_), Some(path), _) => format!("redis-cli -s {}", path.display()),
            (Self::Http(_), Some(path), _) => {
                format!("curl --unix-socket {} http://localhost/hello", path.display())
            }
            (Self::Http(_), _, Some(name)) => {
                format!("curl --abstract-unix-socket {name} http://localhost/hello")
            }
            (_, Some(path), _) => format!("nc -U {}", path.display()),
            (_, _, Some(name)) => format!("socat - ABSTRACT-CONNECT:{name}"),
            _ => String::new(),
        }
    }

    /// On how many threads it runs, if it was told; one that can have no more than one is not asked.
    pub(crate) fn threads(&self) -> Option<NonZeroUsize> {
        match self {
            Self::Amqp(_) | Self::Redis(_) => None,
            Self::Http(options) => options.threads,
            Self::Line(Line { threads, .. }) | Self::Echo(Echo { threads, .. }) => *threads,
        }
    }

    /// Where it listens: as told, or else at its usual place.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        match self.listen() {
            [] => {
                vec![Endpoint::from(SocketAddr::from((Ipv4Addr::LOCALHOST, self.usual_port())))]
            }
            chosen => chosen.iter().map(|Listen(endpoint)| endpoint.clone()).collect(),
        }
    }

    /// The files that a reload reads again.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let endpoints = self.endpoints();
        let certificates = endpoints
            .iter()
            .filter_map(Endpoint::tls)
            .flat_map(|tls| [tls.certificate.clone(), tls.key.clone(), tls.client_ca.clone()]);
        let password = match self {
            Self::Redis(options) => options.password_file().map(PathBuf::from),
            _ => None,
        };
        certificates.flatten().chain(password).collect()
    }

    /// Serves on one more reactor at an address that several share. Only for services without a
    /// state that they would have to share, too; but all write to one `log`.
    pub(crate) fn join(
        &self,
        reactor: &mut Reactor,
        shared: &SharedListener,
        log: Option<&http::AccessLog>,
    ) -> Result<(), Error> {
        let joined = match self {
            Self::Http(options) => {
                let site = options.site(log.cloned());
                let site = site.map_err(|error| Error::Other(error.to_string().into()))?;
                let listener = reactor.listen_shared(shared, site.clone())?;
                reactor.before_shutdown(move |reactor| {
                    reactor.stop_listening(listener);
                    sites::drain([&site], reactor)
                });
                return Ok(());
            }
            Self::Line(options) => reactor.listen_shared(shared, options.factory()),
            Self::Echo(_) => reactor.listen_shared(shared, |_| line::echo::Echo),
            Self::Amqp(_) => Err(Error::Other(ONE_THREAD.into())),
            Self::Redis(_) => Err(Error::Other(ONE_THREAD_OF_CHANNELS.into())),
        };
        joined.map(drop)
    }

    /// Listens at every address; `policy` is for all connections together, and `server` is what they
    /// share besides.
    pub(crate) fn listen_at(
        &self,
        sockets: &mut Change<'_>,
        policy: Option<&Policy>,
        server: Option<&Shared>,
    ) -> Result<(), Error> {
        let endpoints = self.endpoints();
        let all = listen_options(policy);
        match self {
            Self::Http(_) => match server {
                Some(Shared::Site(site)) => bind(sockets, &all, &endpoints, || site.clone()),
                _ => Ok(()),
            },
            Self::Line(options) => bind(sockets, &all, &endpoints, || options.factory()),
            Self::Echo(_) => {
                let (datagrams, streams): (Vec<_>, Vec<_>) =
                    endpoints.into_iter().partition(Endpoint::is_datagram);
                bind(sockets, &all, &streams, || |_| line::echo::Echo)?;
                datagrams
                    .iter()
                    .try_for_each(|endpoint| sockets.datagrams(endpoint, line::echo::DatagramEcho))
            }
            // All its listeners serve the same channels.
            Self::Redis(_) => match server {
                Some(Shared::Channels(server)) => {
                    bind(sockets, &all, &endpoints, || server.clone())
                }
                _ => Ok(()),
            },
            Self::Amqp(_) => match server {
                // All its listeners serve the same queues.
                Some(Shared::Queue(server)) => bind(sockets, &all, &endpoints, || server.clone()),
                _ => Ok(()),
            },
        }
    }
}

/// Why there is no more than one thread for the message queue.
pub(crate) const ONE_THREAD: &str = "a message queue runs on one thread: the order of its messages is \
    the order of that thread; for more, start several brokers, each with its own address and data";

/// The same, for publish/subscribe.
pub(crate) const ONE_THREAD_OF_CHANNELS: &str = "a publish/subscribe server runs on one thread: who publishes on \
    another would not reach its subscribers";

/// Twisted's `LineReceiver` has the same.
const MAX_LENGTH: usize = 16 * 1024;

/// What all listeners of a service have in common.
pub(crate) fn listen_options(policy: Option<&Policy>) -> ListenOptions {
    let options = ListenOptions::default();
    match policy {
        Some(policy) => options.policy(policy.clone()),
        None => options,
    }
}

fn bind<F: Factory>(
    sockets: &mut Change<'_>,
    options: &ListenOptions,
    endpoints: &[Endpoint],
    mut factory: impl FnMut() -> F,
) -> Result<(), Error> {
    endpoints.iter().try_for_each(|endpoint| sockets.listen(options.clone(), endpoint, factory()))
}
