//! What can be asked of the connections of any service, on the command line and in the file alike:
//! how long, how fast, how many.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use ropewalk::{Error, Policy, Rate, TrafficLog};
use serde::Deserialize;
use toml::de::DeTable;

use crate::privileges::Identity;
use crate::size::{Given, Size};
use crate::span::Span;

/// Limits of a service's connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Close a connection on which nothing was sent or received for TIME: seconds, or as 500ms, 5m,
    /// 1h30m [default: never]
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<Span>,
    /// Close a connection TIME after it was made [default: never]
    #[arg(long, value_name = "TIME")]
    max_lifetime: Option<Span>,
    /// What each connection may send to the service in a second: bytes, or a size as 1MiB
    /// [default: no limit]
    #[arg(long, value_name = "SIZE")]
    rate_in: Option<PerSecond>,
    /// What is sent to each connection in a second [default: no limit]
    #[arg(long, value_name = "SIZE")]
    rate_out: Option<PerSecond>,
    /// As --rate-in, for all connections together
    #[arg(long, value_name = "SIZE")]
    total_rate_in: Option<PerSecond>,
    /// As --rate-out, for all connections together
    #[arg(long, value_name = "SIZE")]
    total_rate_out: Option<PerSecond>,
    /// The most connections at once of one IPv4 address, or one /64 of IPv6 [default: no limit]
    #[arg(long, value_name = "N")]
    max_connections_per_peer: Option<NonZeroUsize>,
    /// Write down all that connections say in FILE, readable, and in the clear also with TLS
    #[arg(long, value_name = "FILE")]
    traffic_log: Option<PathBuf>,
    /// How large that file becomes before it is put aside as FILE.1, in place of the one before
    /// [default: 64MiB]
    #[arg(long, value_name = "SIZE", requires = "traffic_log")]
    traffic_log_size: Option<Size>,
}

/// As [`Limits`], for services that have no number of connections of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Policies {
    /// The most connections at once; the next is closed [default: no limit]
    #[arg(long, value_name = "N")]
    max_connections: Option<NonZeroUsize>,
    #[command(flatten)]
    limits: Limits,
}

/// In a file the two stand side by side.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Number {
    max_connections: Option<NonZeroUsize>,
}

/// Two of them fit on any disk.
const TRAFFIC_LOG_SIZE: Size = Size(64 << 20);

/// Bytes in a second, and not none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Given")]
struct PerSecond(u64);

impl FromStr for PerSecond {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        given.strip_suffix("/s").unwrap_or(given).parse::<Size>()?.try_into()
    }
}

impl TryFrom<Size> for PerSecond {
    type Error = &'static str;

    fn try_from(Size(octets): Size) -> Result<Self, Self::Error> {
        match octets {
            0 => Err("no byte at all; leave it out for no limit"),
            octets => Ok(Self(octets)),
        }
    }
}

impl TryFrom<Given> for PerSecond {
    type Error = &'static str;

    fn try_from(given: Given) -> Result<Self, Self::Error> {
        match given {
            Given::Octets(octets) => Size(octets).try_into(),
            Given::Text(text) => text.parse(),
        }
    }
}

/// The keys of limits in a file; `Number` has one more.
const KEYS: [&str; 9] = [
    "idle-timeout",
    "max-lifetime",
    "rate-in",
    "rate-out",
    "total-rate-in",
    "total-rate-out",
    "max-connections-per-peer",
    "traffic-log",
    "traffic-log-size",
];

/// Whether a key of a service is one of its connections' limits.
pub(crate) fn is_limit(key: &str) -> bool {
    KEYS.contains(&key)
}

/// Takes the keys of limits out of a service's table: serde refuses unknown keys only where it reads
/// all of a table at once.
pub(crate) fn take_limits<'a>(table: &mut DeTable<'a>) -> DeTable<'a> {
    take(table, &KEYS)
}

/// As [`take_limits`], for the number of connections.
pub(crate) fn take_number<'a>(table: &mut DeTable<'a>) -> DeTable<'a> {
    take(table, &["max-connections"])
}

fn take<'a>(table: &mut DeTable<'a>, keys: &[&str]) -> DeTable<'a> {
    let mut taken = DeTable::new();
    for key in keys {
        if let Some((key, value)) = table.remove_entry(*key) {
            taken.insert(key, value);
        }
    }
    taken
}

impl Limits {
    /// What is not said here, as `others` say it.
    pub(crate) fn or(self, others: &Self) -> Self {
        Self {
            idle_timeout: self.idle_timeout.or(others.idle_timeout),
            max_lifetime: self.max_lifetime.or(others.max_lifetime),
            rate_in: self.rate_in.or(others.rate_in),
            rate_out: self.rate_out.or(others.rate_out),
            total_rate_in: self.total_rate_in.or(others.total_rate_in),
            total_rate_out: self.total_rate_out.or(others.total_rate_out),
            max_connections_per_peer: self
                .max_connections_per_peer
                .or(others.max_connections_per_peer),
            traffic_log: self.traffic_log, // two services cannot have one file
            traffic_log_size: self.traffic_log_size.or(others.traffic_log_size),
        }
    }
}

impl Policies {
    /// As a file has them.
    pub(crate) fn new(limits: Limits, number: Number) -> Self {
        Self { max_connections: number.max_connections, limits }
    }

    /// Whether both write their traffic down in the same file.
    pub(crate) fn same_log(&self, other: &Self) -> bool {
        // However it is written: `x` and `./x` are one.
        let path = |of: &Self| std::path::absolute(of.limits.traffic_log.as_ref()?).ok();
        path(self).is_some_and(|own| path(other) == Some(own))
    }

    /// Lets the traffic log stay as large as it is: two that write to one file, each with its own
    /// size, would put it aside twice. True if that is another size than was asked for.
    pub(crate) fn keep_log_of(&mut self, before: &Self) -> bool {
        let size = before.limits.traffic_log_size;
        std::mem::replace(&mut self.limits.traffic_log_size, size) != size
    }

    /// Where the traffic is written down, if it is.
    pub(crate) fn log_path(&self) -> Option<&Path> {
        self.limits.traffic_log.as_deref()
    }

    /// Opens the traffic log, if there is to be one. It is the user's whom root will go on as: it is
    /// put aside, and opened again at a reload, as that user.
    ///
    /// # Errors
    /// The file cannot be opened, or given to the user.
    pub(crate) fn open_log(
        &self,
        identity: Option<&Identity>,
    ) -> Result<Option<TrafficLog>, Error> {
        let Some(path) = self.log_path() else { return Ok(None) };
        let Size(most) = self.limits.traffic_log_size.unwrap_or(TRAFFIC_LOG_SIZE);
        let opened = TrafficLog::open(path, most).and_then(|log| {
            identity.map_or(Ok(()), |identity| identity.hand_over(path)).map(|()| log)
        });
        opened.map(Some).map_err(|error| Error::Other(error.into()))
    }

    /// The policy of a service, for all its listeners; `None` if nothing was asked for. `log` is its
    /// traffic log.
    pub(crate) fn policy(&self, log: Option<&TrafficLog>) -> Option<Policy> {
        let mut policy = None;
        let mut set = |with: &dyn Fn(Policy) -> Policy| {
            policy = Some(with(policy.take().unwrap_or_default()));
        };
        let limits = &self.limits;
        if let Some(Span(limit)) = limits.idle_timeout {
            set(&|policy| policy.idle_timeout(limit));
        }
        if let Some(Span(limit)) = limits.max_lifetime {
            set(&|policy| policy.max_lifetime(limit));
        }
        if let Some(PerSecond(bytes)) = limits.rate_in {
            set(&|policy| policy.rate_in(Rate::per_second(bytes)));
        }
        if let Some(PerSecond(bytes)) = limits.rate_out {
            set(&|policy| policy.rate_out(Rate::per_second(bytes)));
        }
        if let Some(PerSecond(bytes)) = limits.total_rate_in {
            set(&|policy| policy.total_rate_in(Rate::per_second(bytes)));
        }
        if let Some(PerSecond(bytes)) = limits.total_rate_out {
            set(&|policy| policy.total_rate_out(Rate::per_second(bytes)));
        }
        if let Some(most) = limits.max_connections_per_peer {
            set(&|policy| policy.max_connections_per_peer(most.get()));
        }
        if let Some(most) = self.max_connections {
            set(&|policy| policy.max_connections(most.get()));
        }
        if let Some(log) = log {
            set(&|policy| policy.traffic_log(log.clone()));
        }
        policy
    }
}
