//! A client: the opening handshake from the side that begins (RFC 6455 §4.1), then the same
//! [`WebSocketProtocol`] as a server's.

mod opening;
mod response;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::{
    Address, ConnectOptions, ConnectionId, Deferred, Endpoint, Error, Factory, IntoEndpoint,
    Promise, Reactor,
};

use self::opening::Opening;
use super::deflate::Offer;
use super::handshake::VERSION;
use super::url::Url;
use super::{Config, Deflate, WebSocketHandler};
use crate::headers::is_token;
use crate::{Headers, LOG, Status};

/// As for the TCP connection before it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to a server of WebSockets, at `ws://` or `wss://` (TLS).
///
/// ```no_run
/// use ropewalk_http::websocket::{Message, WebSocket, WebSocketClient};
/// use ropewalk_reactor::Reactor;
///
/// # fn main() -> ropewalk_reactor::Result {
/// let mut reactor = Reactor::new()?;
/// let print = |_: &mut WebSocket<'_>, message: Message<'_>| {
///     println!("{message:?}");
///     Ok(())
/// };
/// let opened = WebSocketClient::new("ws://127.0.0.1:8080/news")?.connect(&mut reactor, print);
/// opened.forget(); // an error is logged
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WebSocketClient {
    url: Url,
    config: Arc<Config>,
    options: ConnectOptions,
    subprotocols: Vec<String>,
    pub(super) headers: Headers,
    handshake_timeout: Duration,
}

impl WebSocketClient {
    /// A client of this URL; nothing happens until it connects.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub fn new(url: &str) -> Result<Self, Error> {
        let url = Url::parse(url)?;
        let client = Self {
            url,
            config: Arc::default(),
            options: ConnectOptions::default(),
            subprotocols: Vec::new(),
            headers: Headers::new(),
            handshake_timeout: HANDSHAKE_TIMEOUT,
        };
        client.endpoint()?;
        Ok(client)
    }

    /// Limits, timeouts and compression.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Offers to compress messages; see [`Config::deflate`].
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        Arc::make_mut(&mut self.config).deflate = Some(deflate);
        self
    }

    /// How to connect: timeouts, marks, a TLS client of your own for `wss://`.
    #[must_use]
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// Subprotocols to offer, the best first. One that is no token is left out.
    #[must_use]
    pub fn subprotocols<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        let names = names.into_iter().map(Into::into);
        self.subprotocols = names.filter(|name: &String| is_token(name.as_bytes())).collect();
        self
    }

    /// Adds a field to the request: Origin, Authorization, Cookie. One that is not valid is dropped
    /// with a warning in the log, and so are those of the handshake itself, which are this client's
    /// business.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let lower = name.to_ascii_lowercase();
        let is_ours = ["host", "upgrade", "connection", "content-length", "transfer-encoding"];
        let is_ours = is_ours.contains(&&*lower) || lower.starts_with("sec-websocket-");
        if is_ours || !self.headers.append(name, value) {
            log::warn!(target: LOG, "a header field was dropped from a handshake: {name:?}");
        }
        self
    }

    /// How long the server may take to answer the request (30 s).
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Connects. The deferred fires when the WebSocket is open, after the handler's `opened`; it
    /// fails with what [`Reactor::connect`] fails with, or with a [`HandshakeError`] in
    /// [`Error::Other`]. Dropping it before that gives up.
    pub fn connect(
        self,
        reactor: &mut Reactor,
        handler: impl WebSocketHandler,
    ) -> Deferred<ConnectionId> {
        let (promise, deferred) = reactor.deferred();
        let promise = Rc::new(RefCell::new(Some(promise)));
        let shared = promise.clone();
        let mut once = Some(handler);
        let factory = self.opening(move || once.take(), Some(promise));
        let options = self.options.clone();
        let connecting = match self.endpoint() {
            Ok(endpoint) => reactor.connect_with(options, endpoint, factory),
            Err(error) => {
                fire(&shared, Err(error));
                return deferred;
            }
        };
        connecting.then(move |_, connected| {
            if let Err(error) = connected {
                fire(&shared, Err(error));
            }
        });
        deferred
    }

    /// A factory of this client's connections, each with a handler from `make`: for
    /// [`ReconnectingClient`](ropewalk_reactor::ReconnectingClient), with
    /// [`endpoint`](Self::endpoint). A handshake that fails is logged.
    pub fn factory<H, F>(&self, mut make: F) -> impl Factory + use<H, F>
    where
        H: WebSocketHandler,
        F: FnMut() -> H + 'static,
    {
        self.opening(move || Some(make()), None)
    }

    /// Where it connects to.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub fn endpoint(&self) -> Result<Endpoint, Error> {
        let scheme = if self.url.is_secure { "tls" } else { "tcp" };
        format!("{scheme}://{}", self.url.address).into_endpoint()
    }

    fn opening<H, F>(&self, mut make: F, promise: Option<Shared>) -> impl Factory + use<H, F>
    where
        H: WebSocketHandler,
        F: FnMut() -> Option<H> + 'static,
    {
        let client = Rc::new(self.clone());
        move |_: Address| {
            make().map(|handler| Opening::new(client.clone(), Box::new(handler), promise.clone()))
        }
    }

    /// The request, with this key.
    pub(super) fn request(&self, key: &str) -> String {
        let mut text = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {VERSION}\r\n",
            self.url.target, self.url.authority,
        );
        if !self.subprotocols.is_empty() {
            text += &format!("Sec-WebSocket-Protocol: {}\r\n", self.subprotocols.join(", "));
        }
        if let Some(deflate) = &self.config.deflate {
            text += &format!("Sec-WebSocket-Extensions: {}\r\n", Offer::of(deflate).write());
        }
        text
    }
}

/// Whoever waits for the WebSocket to open; taken by the first who has a result.
type Shared = Rc<RefCell<Option<Promise<ConnectionId>>>>;

fn fire(shared: &Shared, result: Result<ConnectionId, Error>) {
    if let Some(promise) = shared.take() {
        promise.fire(result);
    }
}

/// Why a server's answer opened no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server answered something else than 101: that it wants authorization, or that nothing is
    /// there. Redirections are not followed.
    Refused {
        /// What it answered.
        status: Status,
        /// Its fields.
        headers: Headers,
    },
    /// The answer is no response of HTTP/1.1, or has too long a head.
    Malformed,
    /// The answer does not say `Upgrade: websocket` and `Connection: Upgrade`.
    NotUpgraded,
    /// Sec-WebSocket-Accept does not answer the key: the server did not understand, or what answered
    /// was a cache.
    Accept,
    /// A subprotocol that was not offered.
    Subprotocol,
    /// An extension that was not offered, or not so.
    Extensions,
    /// The answer did not come in time.
    TimedOut,
    /// The server closed before it had answered.
    Closed,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no WebSocket was opened: ")?;
        match self {
            Self::Refused { status, .. } => write!(f, "the server answered {status}"),
            Self::Malformed => f.write_str("the answer is no HTTP"),
            Self::NotUpgraded => f.write_str("the server upgraded to something else"),
            Self::Accept => f.write_str("Sec-WebSocket-Accept does not answer the key"),
            Self::Subprotocol => f.write_str("the server chose a subprotocol that was not offered"),
            Self::Extensions => f.write_str("the server chose an extension that was not offered"),
            Self::TimedOut => f.write_str("the server did not answer in time"),
            Self::Closed => f.write_str("the server closed the connection"),
        }
    }
}

impl std::error::Error for HandshakeError {}
