//! What can be set on a client: every limit and timeout, its default, and the reason for it.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "_tls")]
use ropewalk_reactor::tls::TlsClient;
use ropewalk_reactor::{ConnectOptions, Local};

use super::pool::Limits;
use super::proxy::{Proxies, Proxy, exceptions};
use super::{Client, ClientError, CookieJar};
use crate::client::ConnectionConfig;
use crate::{Headers, LOG};

/// What Go's and curl's clients wait for at most, twice over: resolving and TLS count, too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Answers that are held in memory as a whole: more is worth streaming.
const MAX_BODY: u64 = 16 * 1024 * 1024;
/// As many as browsers open.
const MAX_CONNECTIONS_PER_ORIGIN: usize = 6;
/// As many as Go keeps in all.
const MAX_IDLE_CONNECTIONS: usize = 100;
/// Below what most servers wait for the next request (nginx 75 s, Node 5 s: a retry covers that).
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Each waits with some hundred bytes.
const MAX_WAITING: usize = 1024;
/// What Go follows; browsers follow 20.
const MAX_REDIRECTS: usize = 10;
/// As a server of ours would be called, so that operators see whom to ask.
const USER_AGENT: &str = concat!("Ropewalk/", env!("CARGO_PKG_VERSION"));

/// What a [`Client`] is made of.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_http::client::Client;
/// # use ropewalk_reactor::Reactor;
///
/// # fn main() -> ropewalk_reactor::Result {
/// # let reactor = Reactor::new()?;
/// let client = Client::builder()
///     .timeout(Duration::from_secs(20))
///     .max_body(1024 * 1024)
///     .proxy("http://proxy.example:3128")?
///     .no_proxy("localhost, 10.0.0.0/8")
///     .build(reactor.local());
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
#[must_use = "it makes a client when it is built"]
pub struct ClientBuilder {
    pub(super) connection: ConnectionConfig,
    pub(super) connect: ConnectOptions,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Option<Duration>,
    pub(super) max_body: u64,
    pub(super) max_connections_per_origin: usize,
    pub(super) max_idle_connections: usize,
    pub(super) idle_timeout: Duration,
    pub(super) max_waiting: usize,
    pub(super) max_redirects: usize,
    pub(super) decode: bool,
    pub(super) headers: Headers,
    pub(super) proxies: Proxies,
    pub(super) cookies: Option<CookieJar>,
    #[cfg(feature = "_tls")]
    pub(super) tls: Option<TlsClient>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        let builder = Self {
            connection: ConnectionConfig::default(),
            connect: ConnectOptions::default(),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: None,
            max_body: MAX_BODY,
            max_connections_per_origin: MAX_CONNECTIONS_PER_ORIGIN,
            max_idle_connections: MAX_IDLE_CONNECTIONS,
            idle_timeout: IDLE_TIMEOUT,
            max_waiting: MAX_WAITING,
            max_redirects: MAX_REDIRECTS,
            decode: true,
            headers: Headers::new(),
            proxies: Proxies::default(),
            cookies: None,
            #[cfg(feature = "_tls")]
            tls: None,
        };
        builder.header("User-Agent", USER_AGENT)
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        })*
    };
}

impl ClientBuilder {
    setters! {
        /// Limits and timeouts of each connection: how large heads may be, how long an answer's head
        /// and the pieces of its body may take.
        connection: ConnectionConfig;
        /// How connections are made: buffers, the local address, policies. (Not TLS and the timeout,
        /// which are set here.)
        connect: ConnectOptions;
        /// How long it may take until there is a connection: the name's resolution, connecting, a
        /// proxy's tunnel and the TLS handshake (30 s).
        connect_timeout: Duration;
        /// The most bytes that the gathered body of an answer may have, decoded (16 MiB).
        max_body: u64;
        /// How many connections to one server may be open (6; at least 1); further requests wait for
        /// one.
        max_connections_per_origin: usize;
        /// How many connections without a request are kept, to all servers (100).
        max_idle_connections: usize;
        /// For how long such a connection is kept (30 s).
        idle_timeout: Duration;
        /// How many requests may wait for a connection, to all servers (1024); one more fails.
        max_waiting: usize;
        /// How many redirections are followed (10).
        max_redirects: usize;
        /// Whether gzip and deflate are asked for and decoded (yes).
        decode: bool;
    }

    /// How long a request may take in all, redirections and the answer's body included (no limit but
    /// those of its parts). It covers the time in which it waits for a connection, too.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sets a field that requests have unless they have one of that name themselves (User-Agent is
    /// `Ropewalk/VERSION`). An empty value takes it away.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let mut headers = Headers::new();
        let others = self.headers.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(name));
        for (other, value) in others {
            let _ = headers.append(other, value); // it was valid
        }
        if !value.is_empty() && !headers.append(name, value) {
            log::warn!(target: LOG, "a header field that could split requests was dropped: {name:?}");
        }
        self.headers = headers;
        self
    }

    /// Keeps cookies, and sends them: those of this jar.
    pub fn cookies(mut self, jar: CookieJar) -> Self {
        self.cookies = Some(jar);
        self
    }

    /// Asks through this proxy, `http://user:password@host:port`: for http it is given the whole URL,
    /// for https it is asked for a tunnel.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`], if it is no such URL.
    pub fn proxy(self, url: &str) -> Result<Self, ClientError> {
        self.http_proxy(url)?.https_proxy(url)
    }

    /// The proxy for http alone.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`].
    pub fn http_proxy(mut self, url: &str) -> Result<Self, ClientError> {
        self.proxies.http = Some(Proxy::parse(url)?);
        Ok(self)
    }

    /// The proxy for https alone.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`].
    pub fn https_proxy(mut self, url: &str) -> Result<Self, ClientError> {
        self.proxies.https = Some(Proxy::parse(url)?);
        Ok(self)
    }

    /// What is asked without a proxy: hosts (and all below them, on all ports or on one), addresses,
    /// networks, or `*`; with commas or spaces between.
    pub fn no_proxy(mut self, list: &str) -> Self {
        self.proxies.exceptions = exceptions(list);
        self
    }

    /// Takes the proxies from the environment, as curl does: `http_proxy`, `https_proxy`, `all_proxy`
    /// and `no_proxy`, or these in capitals (but for `HTTP_PROXY`, which a CGI program's caller can
    /// set). They are not looked at otherwise.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`].
    pub fn proxies_from_environment(mut self) -> Result<Self, ClientError> {
        self.proxies = Proxies::from_environment(|name| std::env::var(name).ok())?;
        Ok(self)
    }

    /// Whom to trust, and what to show, where https is asked (the authorities that this system trusts,
    /// read at the first https request).
    #[cfg(feature = "_tls")]
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.tls = Some(tls);
        self
    }

    /// A client on the reactor of this thread.
    pub fn build(self, local: Local) -> Client {
        Client::assemble(self, local)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            per_origin: self.max_connections_per_origin.max(1),
            idle: self.max_idle_connections,
            waiting: self.max_waiting,
        }
    }

    pub(super) fn connection_config(&self) -> Arc<ConnectionConfig> {
        Arc::new(self.connection.clone().idle_timeout(Some(self.idle_timeout)))
    }
}
