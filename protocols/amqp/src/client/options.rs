//! How to connect: where, as whom, within which limits, and what to do when the connection is
//! lost. Every limit is named here, with its default and the reason for it.

use std::fmt;
use std::time::Duration;

use ropewalk_reactor::{Endpoint, IntoEndpoint};

use super::{Error, Uri};
use crate::codec::{FRAME_MAX_DEFAULT, FRAME_MIN_SIZE, MAX_BODY_SIZE, TableBuf};

/// The port that IANA has given to AMQP.
const PORT: u16 = 5672;
/// What RabbitMQ's own clients allow for TCP and for the greeting.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// A server that is alive answers `connection.close` within a round trip, after what is under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Publishing is refused above this much output that the network has not taken: some seconds of
/// a good line, and four times less than what the reactor allows a connection.
const OUTPUT_LIMIT: usize = 16 << 20;
/// Deliveries that wait for a slow consumer: above this the socket is not read any more. About
/// 30,000 small messages, or 128 frames of the usual size.
const DELIVERIES_LIMIT: usize = 16 << 20;
/// While an answer is awaited reading goes on up to this many times the limit, since the answer
/// comes behind the deliveries.
pub(super) const DELIVERIES_STRETCH: usize = 4;

/// How the client proves who it is (SASL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mechanism {
    /// User name and password (RFC 4616).
    Plain,
    /// The same in a field table: AMQP 0-8's.
    AmqPlain,
    /// What the transport has proved, a certificate above all.
    External,
}

impl Mechanism {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
        }
    }

    pub(super) fn named(name: &str) -> Option<Mechanism> {
        [Self::Plain, Self::AmqPlain, Self::External]
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

/// What to do when a connection is lost: wait, longer each time, and connect again.
///
/// The delay before the attempt *n* is drawn between half of and the whole of
/// `first_delay` × 2ⁿ, and never above `max_delay`; so a thousand clients of a broker that
/// restarts do not come back at once. A connection that has held for longer than the last delay
/// begins the count anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    pub(super) first_delay: Duration,
    pub(super) max_delay: Duration,
    pub(super) max_attempts: u32,
    pub(super) initially: bool,
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect {
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            max_attempts: u32::MAX,
            initially: false,
        }
    }
}

impl Reconnect {
    /// The longest that the first attempt waits (500 ms).
    #[must_use]
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// The longest that any attempt waits (30 s).
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Gives up after so many attempts in a row (never).
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Whether to try again also if the very first connection fails (false).
    #[must_use]
    pub fn initially(mut self, initially: bool) -> Self {
        self.initially = initially;
        self
    }

    /// The longest delay before the attempt `attempt`, counted from 0.
    pub(super) fn ceiling(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.first_delay.saturating_mul(factor).min(self.max_delay)
    }
}

/// How to connect. A URI makes one; the methods change it.
///
/// ```
/// # use ropewalk_amqp::client::Options;
/// let options = Options::from_uri("amqp://guest:guest@10.0.0.1/%2f")?
///     .or_endpoint("10.0.0.2:5672")?
///     .connection_name("billing");
/// # Ok::<(), ropewalk_amqp::client::Error>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) vhost: String,
    pub(super) mechanisms: Vec<Mechanism>,
    pub(super) heartbeat: Option<u16>,
    pub(super) connection_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    pub(super) max_message_size: u64,
    pub(super) output_limit: usize,
    pub(super) deliveries_limit: usize,
    pub(super) properties: TableBuf,
    pub(super) reconnect: Option<Reconnect>,
}

impl Options {
    /// What the URI says, and for the rest: `guest` with the password `guest`, `localhost`, port
    /// 5672, the virtual host `/`.
    ///
    /// # Errors
    /// [`Error::Uri`], and [`Error::Reactor`] for a host that is none.
    pub fn from_uri(uri: &str) -> Result<Options, Error> {
        let uri: Uri = uri.parse()?;
        for name in &uri.ignored {
            log::warn!(target: super::LOG, "the URI's parameter {name:?} means nothing here");
        }
        let host = uri.host.as_deref().unwrap_or("localhost");
        let port = uri.port.unwrap_or(PORT);
        let mechanisms = match uri.mechanisms.is_empty() {
            true => vec![Mechanism::Plain, Mechanism::AmqPlain],
            false => uri.mechanisms,
        };
        Ok(Options {
            endpoints: vec![(host, port).into_endpoint()?],
            username: uri.username.unwrap_or_else(|| "guest".into()),
            password: uri.password.unwrap_or_else(|| "guest".into()),
            vhost: uri.vhost.unwrap_or_else(|| "/".into()),
            mechanisms,
            heartbeat: uri.heartbeat,
            connection_timeout: uri.connection_timeout.unwrap_or(CONNECTION_TIMEOUT),
            close_timeout: CLOSE_TIMEOUT,
            channel_max: uri.channel_max.unwrap_or(0),
            frame_max: uri.frame_max.unwrap_or(FRAME_MAX_DEFAULT).max(FRAME_MIN_SIZE),
            max_message_size: MAX_BODY_SIZE,
            output_limit: OUTPUT_LIMIT,
            deliveries_limit: DELIVERIES_LIMIT,
            properties: TableBuf::new(),
            reconnect: Some(Reconnect::default()),
        })
    }

    /// Where to connect, instead of what the URI says: also a Unix socket.
    ///
    /// # Errors
    /// [`Error::Reactor`] if it is no address.
    pub fn endpoint(mut self, endpoint: impl IntoEndpoint) -> Result<Options, Error> {
        self.endpoints = vec![endpoint.into_endpoint()?];
        Ok(self)
    }

    /// Another address of the same service: each attempt goes to the next one in turn.
    ///
    /// # Errors
    /// [`Error::Reactor`] if it is no address.
    pub fn or_endpoint(mut self, endpoint: &str) -> Result<Options, Error> {
        self.endpoints.push(endpoint.parse()?);
        Ok(self)
    }

    /// The user name and the password.
    #[must_use]
    pub fn credentials(mut self, username: &str, password: &str) -> Options {
        self.username = username.into();
        self.password = password.into();
        self
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(mut self, vhost: &str) -> Options {
        self.vhost = vhost.into();
        self
    }

    /// The name under which an operator sees the connection.
    #[must_use]
    pub fn connection_name(self, name: &str) -> Options {
        self.client_property("connection_name", name)
    }

    /// A property of the client's own, sent with the login.
    #[must_use]
    pub fn client_property(mut self, name: &str, value: &str) -> Options {
        if self.properties.insert(name, value).is_err() {
            log::warn!(target: super::LOG, "the client property {name:?} does not fit");
        }
        self
    }

    /// The interval of heartbeats in seconds, instead of the server's; 0 for none. A server that
    /// is silent for two of them counts as lost.
    #[must_use]
    pub fn heartbeat(mut self, seconds: u16) -> Options {
        self.heartbeat = Some(seconds);
        self
    }

    /// How long connecting may take, to the end of the greeting (30 s).
    #[must_use]
    pub fn connection_timeout(mut self, timeout: Duration) -> Options {
        self.connection_timeout = timeout;
        self
    }

    /// How long the server may take to answer a close (10 s).
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Options {
        self.close_timeout = timeout;
        self
    }

    /// The most channels; 0 for as many as the server allows (0).
    #[must_use]
    pub fn channel_max(mut self, channels: u16) -> Options {
        self.channel_max = channels;
        self
    }

    /// The largest frame in octets (131,072), at least 4096; the server may want less.
    #[must_use]
    pub fn frame_max(mut self, octets: u32) -> Options {
        self.frame_max = octets.max(FRAME_MIN_SIZE);
        self
    }

    /// The largest body that is taken (128 MiB); a larger one closes its channel.
    #[must_use]
    pub fn max_message_size(mut self, octets: u64) -> Options {
        self.max_message_size = octets;
        self
    }

    /// Octets that may wait for the network (16 MiB): above it, publishing is refused with
    /// [`Error::OutputFull`]. One message may go over it.
    #[must_use]
    pub fn output_limit(mut self, octets: usize) -> Options {
        self.output_limit = octets;
        self
    }

    /// Octets of deliveries that may wait for slow consumers (16 MiB): above it the socket is not
    /// read until half of them are taken; but while an answer is awaited, up to four times this.
    ///
    /// A prefetch ([`Channel::qos`](super::Channel::qos)) is the better limit: this one holds
    /// everything on the connection.
    #[must_use]
    pub fn deliveries_limit(mut self, octets: usize) -> Options {
        self.deliveries_limit = octets;
        self
    }

    /// What to do when the connection is lost; `None` to leave it at that (the default
    /// [`Reconnect`]).
    #[must_use]
    pub fn reconnect(mut self, reconnect: impl Into<Option<Reconnect>>) -> Options {
        self.reconnect = reconnect.into();
        self
    }
}

impl TryFrom<&str> for Options {
    type Error = Error;

    fn try_from(uri: &str) -> Result<Options, Error> {
        Options::from_uri(uri)
    }
}

impl TryFrom<&String> for Options {
    type Error = Error;

    fn try_from(uri: &String) -> Result<Options, Error> {
        Options::from_uri(uri)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("endpoints", &self.endpoints)
            .field("username", &self.username)
            .field("vhost", &self.vhost)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_uri_leaves_out_has_the_usual_defaults() {
        let options = Options::from_uri("amqp://").expect("a good URI");
        assert_eq!(options.endpoints[0].to_string(), "tcp://localhost:5672");
        assert_eq!(
            (&*options.username, &*options.password, &*options.vhost),
            ("guest", "guest", "/")
        );
        let options = Options::from_uri("amqp://:@[::1]:1/?heartbeat=0").expect("a good URI");
        assert_eq!(options.endpoints[0].to_string(), "tcp://[::1]:1");
        assert_eq!((&*options.username, &*options.password, &*options.vhost), ("", "", ""));
        assert_eq!(options.heartbeat, Some(0));
        let options = options.endpoint("unix:/run/x.sock").expect("a path");
        assert_eq!(options.endpoints.len(), 1);
        assert_eq!(options.endpoints[0].to_string(), "unix:/run/x.sock");
        let options = Options::from_uri("amqp://unix").expect("a host of that name");
        assert_eq!(options.endpoints[0].to_string(), "tcp://unix:5672");
    }

    #[test]
    fn delays_double_up_to_the_maximum_and_do_not_overflow() {
        let reconnect = Reconnect::default();
        let seconds = |attempt| reconnect.ceiling(attempt).as_secs_f64();
        assert_eq!(
            [0, 1, 2, 5, 6, 31, 32, u32::MAX].map(seconds),
            [0.5, 1.0, 2.0, 16.0, 30.0, 30.0, 30.0, 30.0]
        );
    }
}
