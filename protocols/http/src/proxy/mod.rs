//! A reverse proxy: a handler that has another server answer (RFC 9110 §3.7, §7.6).
//!
//! `heads` says what a request and a response become on their way, `upstream` keeps connections to
//! the other server, `relay` moves one exchange between the two connections, `tunnel` what follows an
//! upgrade. The one rule: what goes on is written anew from what was understood, never copied as it
//! came; so the two servers cannot understand it differently.

mod heads;
mod relay;
#[cfg(test)]
mod tests;
mod tunnel;
mod upstream;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_reactor::{ConnectOptions, Endpoint, Error, IntoEndpoint, Result};

use self::heads::{Forwarding, Refusal};
use self::relay::Relay;
use self::upstream::Upstream;
use crate::client::{ConnectionConfig, RequestBody};
use crate::codec::is_authority;
use crate::request::split_absolute;
use crate::{Exchange, Handler, Intake, Reply, Request};

/// Between two requests, a connection to the other server is kept for so long: shorter than most
/// servers keep it, so that seldom one is asked that is about to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that are kept; nginx's documentation suggests 16 to 32 a worker.
const MAX_IDLE: usize = 32;
/// nginx's `proxy_connect_timeout` is 60 s, which no user waits for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Has another server answer, and streams both bodies: neither is gathered, and a side that is slow
/// slows the other down. A handler.
///
/// ```no_run
/// use ropewalk_http::{ReverseProxy, Routes, Site};
///
/// # fn main() -> ropewalk_reactor::Result {
/// let site = Site::new(Routes::new().mount("/app", ReverseProxy::to("http://127.0.0.1:9000")?));
/// # let _ = site;
/// # Ok(())
/// # }
/// ```
///
/// The other server sees the path that is left below the proxy's own place
/// ([`Request::remaining_path`]), and in X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and
/// Forwarded (RFC 7239) who asked, how, and for which host. What a client says in these fields is
/// dropped, unless [`trust_forwarded`](Self::trust_forwarded) was called. Fields that belong to one
/// connection alone (RFC 9110 §7.6.1) do not go on, nor do fields with `_` in their name, which some
/// servers take for one with `-`; nor does a trailer that would mean something in a head. An Upgrade to
/// WebSocket goes on, and both connections become a tunnel.
///
/// When the other server cannot be reached or does not speak HTTP/1.1, the answer is 502; when it takes
/// too long, 504. A response that is cut is cut for the client, too. A request without a body whose
/// method is idempotent is repeated on a new connection if one that was kept turns out to be closed
/// (RFC 9112 §9.3.1). CONNECT is answered with 405, and a path with `..` or `.` in it (encoded or not),
/// which could lead out of the place that it was written for, with 400.
pub struct ReverseProxy {
    upstream: Upstream,
    forwarding: Forwarding,
    idle: usize,
    max_body: Option<u64>,
}

impl ReverseProxy {
    /// A proxy for the server at `url`: `http://host:port`, or with a path that is put before each
    /// request's own. `https://` speaks TLS with the system's authorities
    /// ([`tls`](Self::tls) for others), where the crate is built with TLS.
    ///
    /// # Errors
    /// [`Error::BadAddress`] if it is no such URL; the TLS client's own.
    pub fn to(url: &str) -> Result<Self, Error> {
        let bad = |problem: &str| bad_address(url, problem, "http://127.0.0.1:9000");
        let (authority, base) = split_absolute(url)
            .ok_or_else(|| bad("it begins with neither http:// nor https://"))?;
        if authority.is_empty() || !is_authority(authority.as_bytes(), false) {
            return Err(bad("its host is no host with an optional port"));
        }
        if base.contains(['?', '#']) || !base.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("its path has a query, a fragment or a space"));
        }
        let is_tls = url.as_bytes().get(..8).is_some_and(|it| it.eq_ignore_ascii_case(b"https://"));
        let port = if is_tls { 443 } else { 80 };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit())
        });
        let endpoint = match has_port {
            true => authority.into_endpoint()?,
            false => format!("{}:{port}", authority.trim_end_matches(':')).into_endpoint()?,
        };
        let proxy = Self::at(endpoint, authority, base);
        if is_tls { proxy.with_system_tls() } else { Ok(proxy) }
    }

    /// A proxy for the server at any endpoint, a Unix socket say; `host` is what it is told in Host.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub fn to_endpoint(endpoint: impl IntoEndpoint, host: &str) -> Result<Self, Error> {
        if !is_authority(host.as_bytes(), false) {
            return Err(bad_address(host, "it is no host with an optional port", "example.org"));
        }
        Ok(Self::at(endpoint.into_endpoint()?, host, ""))
    }

    fn at(endpoint: Endpoint, host: &str, base: &str) -> Self {
        let options = ConnectOptions::default().timeout(CONNECT_TIMEOUT);
        let config = ConnectionConfig::new().idle_timeout(Some(IDLE_TIMEOUT));
        Self {
            upstream: Upstream::new(endpoint, options, Arc::new(config)),
            forwarding: Forwarding::new(host, base.trim_end_matches('/')),
            idle: MAX_IDLE,
            max_body: None,
        }
    }

    #[cfg(feature = "_tls")]
    fn with_system_tls(self) -> Result<Self, Error> {
        Ok(self.tls(ropewalk_reactor::tls::TlsClient::new()?))
    }

    #[cfg(not(feature = "_tls"))]
    fn with_system_tls(self) -> Result<Self, Error> {
        let problem = "this program was built without TLS";
        Err(bad_address("https://", problem, "http://127.0.0.1:9000"))
    }

    /// Speaks TLS to the other server, as this client does.
    #[cfg(feature = "_tls")]
    #[must_use]
    pub fn tls(mut self, client: ropewalk_reactor::tls::TlsClient) -> Self {
        self.upstream.set_options(|options| options.tls(client));
        self
    }

    /// How long connecting may take (10 s); then 504.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.upstream.set_options(|options| options.timeout(limit));
        self
    }

    /// Limits and timeouts of the connections to the other server; what is kept between requests is
    /// kept for its `idle_timeout` (30 s).
    #[must_use]
    pub fn connections(mut self, config: ConnectionConfig) -> Self {
        self.upstream.set_config(config);
        self
    }

    /// How many connections are kept between requests (32).
    #[must_use]
    pub fn max_idle(mut self, max_idle: usize) -> Self {
        self.idle = max_idle;
        self
    }

    /// The largest body of a request (no limit); a longer one is answered with 413.
    #[must_use]
    pub fn max_body(mut self, max_body: u64) -> Self {
        self.max_body = Some(max_body);
        self
    }

    /// The other server is told the host that the client asked for, not its own.
    #[must_use]
    pub fn preserve_host(mut self) -> Self {
        self.forwarding.preserves_host = true;
        self
    }

    /// Lets connections go on with this protocol, too, when a client and the other server agree on it
    /// (`websocket` alone): they become a tunnel. What is in it, nobody here looks at: with `h2c` it would
    /// be any number of requests for any path.
    #[must_use]
    pub fn upgrade_to(mut self, protocol: impl Into<String>) -> Self {
        self.forwarding.upgrades.push(protocol.into());
        self
    }

    /// The client is a proxy of one's own, whose X-Forwarded-For and Forwarded are true: this one adds
    /// itself behind them.
    #[must_use]
    pub fn trust_forwarded(mut self) -> Self {
        self.forwarding.trusts_forwarded = true;
        self
    }

    /// Begins to have the other server answer.
    fn forward(
        &mut self,
        request: &Request,
        body: RequestBody,
        exchange: &mut Exchange<'_>,
    ) -> Result<Rc<Relay>, Refusal> {
        self.upstream.keep(self.idle);
        let has_body = body != RequestBody::Empty;
        let peer = exchange.transport().peer();
        #[cfg(feature = "_tls")]
        let is_tls = exchange.transport().tls().is_some();
        #[cfg(not(feature = "_tls"))]
        let is_tls = false;
        let head = self.forwarding.request(request, has_body, &peer, is_tls)?;
        let may_repeat = !has_body && request.method().is_idempotent();
        if let Some(limit) = self.max_body
            && !exchange.limit_body(limit)
        {
            return Err(Refusal::TOO_LARGE);
        }
        let local = exchange.transport().local();
        let relay =
            Relay::new(exchange.id(), peer, head, body, may_repeat, self.upstream.clone(), local);
        relay.begin();
        Ok(relay)
    }
}

fn bad_address(given: &str, problem: &str, like: &'static str) -> Error {
    Error::BadAddress { given: given.to_owned(), problem: problem.to_owned(), like }
}

impl Handler for ReverseProxy {
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        // Somebody who stands before this may have had it gathered.
        let body = match request.body() {
            [] => RequestBody::Empty,
            body => RequestBody::Whole(Bytes::copy_from_slice(body)),
        };
        Ok(match self.forward(request, body, exchange) {
            Ok(relay) => Reply::Stream(Box::new(relay::Downstream(relay))),
            Err(refusal) => refusal.response().into(),
        })
    }

    fn body_expected(&mut self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Intake> {
        let body = heads::body(exchange.body_length());
        Ok(match self.forward(request, body, exchange) {
            Ok(relay) => Intake::Stream(Box::new(relay::Downstream(relay))),
            Err(refusal) => Intake::Refuse(refusal.response()),
        })
    }
}
