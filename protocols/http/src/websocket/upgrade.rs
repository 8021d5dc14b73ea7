//! The server's side of the opening handshake: an HTTP request becomes a WebSocket, or is refused
//! (RFC 6455 §4.2).

use std::rc::Rc;
use std::sync::Arc;

use super::deflate::{Offer, parse_extensions};
use super::handshake::{VERSION, accept, is_key};
use super::{Config, Deflate, WebSocketHandler, WebSocketProtocol};
use crate::headers::elements;
use crate::{Method, Reply, Request, Response, Status, Version};

/// Accepts WebSockets where a [`Handler`](crate::Handler) is asked for a [`Reply`]:
///
/// ```
/// use ropewalk_http::websocket::{Message, WebSocket, WebSocketUpgrade};
/// use ropewalk_http::{HttpServer, Request};
///
/// let upgrade = WebSocketUpgrade::new().subprotocols(["chat"]).max_message(64 * 1024);
/// let server = HttpServer::new(move |request: &Request| {
///     upgrade.accept(request, |socket: &mut WebSocket<'_>, message: Message<'_>| {
///         socket.send(message);
///         Ok(())
///     })
/// });
/// # let _ = server;
/// ```
///
/// A browser sends the user's cookies with every WebSocket, whichever page has opened it, and lets
/// that page read the answers. So a request that names an Origin has to come from the server's own
/// host, unless [`origins`](Self::origins) or [`any_origin`](Self::any_origin) says otherwise.
/// Programs other than browsers name none, and are not refused for it.
#[derive(Debug, Clone, Default)]
pub struct WebSocketUpgrade {
    config: Arc<Config>,
    subprotocols: Rc<[String]>,
    origins: Origins,
}

/// Whose pages may connect.
#[derive(Debug, Clone, Default)]
enum Origins {
    /// Those of the host that the request is for.
    #[default]
    Same,
    /// Those, and these.
    These(Rc<[String]>),
    Any,
}

impl WebSocketUpgrade {
    /// Accepts pages of the same origin, without subprotocols or compression.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits, timeouts and compression.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Bytes in a message that is gathered; see [`Config::max_message`].
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.config).max_message = bytes;
        self
    }

    /// Compresses messages, if the client does too; see [`Config::deflate`].
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        Arc::make_mut(&mut self.config).deflate = Some(deflate);
        self
    }

    /// The subprotocols that are spoken here, the best first: the first of them that the client
    /// offers is agreed on ([`WebSocket::subprotocol`](super::WebSocket::subprotocol)). A client
    /// that offers none of them is accepted without one.
    #[must_use]
    pub fn subprotocols<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts pages of these origins besides those of the server's own host:
    /// `https://example.org`, with a port if it is not the usual.
    #[must_use]
    pub fn origins<T: Into<String>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        self.origins = Origins::These(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Accepts every page: for servers that know their users by something else than cookies, or
    /// not at all.
    #[must_use]
    pub fn any_origin(mut self) -> Self {
        self.origins = Origins::Any;
        self
    }

    /// Whether a request asks for a WebSocket at all: for addresses that answer others as well.
    pub fn is_requested(request: &Request) -> bool {
        request.version() >= Version::Http11
            && request.headers().has_token("upgrade", "websocket")
            && request.headers().has_token("connection", "upgrade")
    }

    /// Answers the request: with `101 Switching Protocols`, then `handler` follows the WebSocket; or
    /// with a refusal. That is 405 for another method than GET, 426 to a request for something else
    /// or for another version of the protocol, 400 to a malformed one, and 403 to a page of
    /// another origin.
    pub fn accept(&self, request: &Request, handler: impl WebSocketHandler) -> Reply {
        match self.negotiate(request) {
            Ok((response, agreed, subprotocol)) => {
                let config = self.config.clone();
                let handler = Box::new(handler);
                let protocol =
                    WebSocketProtocol::agreed_server(config, agreed, subprotocol, handler);
                Reply::Upgrade(response, Box::new(protocol))
            }
            Err(refusal) => Reply::Now(refusal),
        }
    }

    fn negotiate(
        &self,
        request: &Request,
    ) -> Result<(Response, Option<super::deflate::Agreed>, Option<String>), Response> {
        let headers = request.headers();
        if request.method() != Method::Get {
            return Err(refusal(Status::METHOD_NOT_ALLOWED, "a WebSocket begins with GET")
                .header("Allow", "GET"));
        }
        if !Self::is_requested(request) {
            let text = "this is an address for WebSockets";
            return Err(refusal(Status::UPGRADE_REQUIRED, text).header("Upgrade", "websocket"));
        }
        if headers.get_str("sec-websocket-version") != Some(VERSION) {
            let text = "this server speaks version 13 of the WebSocket protocol";
            return Err(refusal(Status::UPGRADE_REQUIRED, text)
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", VERSION));
        }
        let mut keys = headers.get_all("sec-websocket-key");
        let key = match (keys.next(), keys.next()) {
            (Some(key), None) if is_key(key) => key,
            _ => return Err(refusal(Status::BAD_REQUEST, "malformed Sec-WebSocket-Key")),
        };
        if !self.allows_origin(request) {
            let text = "pages of this origin may not connect";
            return Err(refusal(Status::FORBIDDEN, text));
        }
        let offers = parse_extensions(headers.get_all("sec-websocket-extensions"))
            .ok_or_else(|| refusal(Status::BAD_REQUEST, "malformed Sec-WebSocket-Extensions"))?;
        let mut response = Response::new(Status::SWITCHING_PROTOCOLS)
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Accept", accept(key));
        let subprotocol = self.choose_subprotocol(request);
        if let Some(name) = &subprotocol {
            response = response.header("Sec-WebSocket-Protocol", name);
        }
        let agreed = match self.config.deflate.as_ref().and_then(|own| Offer::answer(&offers, own))
        {
            Some((answer, agreed)) => {
                response = response.header("Sec-WebSocket-Extensions", answer.write());
                Some(agreed)
            }
            None => None,
        };
        Ok((response, agreed, subprotocol))
    }

    fn choose_subprotocol(&self, request: &Request) -> Option<String> {
        let is_offered = |name: &&String| {
            let mut values = request.headers().get_all("sec-websocket-protocol");
            values.any(|value| elements(value).any(|offered| offered == name.as_bytes()))
        };
        self.subprotocols.iter().find(is_offered).cloned()
    }

    fn allows_origin(&self, request: &Request) -> bool {
        let mut origins = request.headers().get_all("origin");
        let (origin, another) = (origins.next(), origins.next());
        let (origin, these) = match (origin, &self.origins) {
            (_, Origins::Any) | (None, _) => return true,
            _ if another.is_some() => return false,
            (Some(origin), Origins::Same) => (origin, &[][..]),
            (Some(origin), Origins::These(these)) => (origin, &these[..]),
        };
        let Ok(origin) = str::from_utf8(origin) else { return false };
        // A browser leaves the usual port out of both, so that they are the same as text.
        let is_same = || match (origin.split_once("://"), request.host()) {
            (Some((_, authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
            _ => false,
        };
        these.iter().any(|one| one.eq_ignore_ascii_case(origin)) || is_same()
    }
}

fn refusal(status: Status, text: &str) -> Response {
    let mut response = Response::text(format!("{text}\n"));
    response.status = status;
    response
}
