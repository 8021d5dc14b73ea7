//! The client of whole requests: URLs, connections that are kept, redirections, proxies, cookies,
//! compressed answers. It is a user of [`HttpClient`](super::HttpClient), and knows no framing.
//!
//! `run` is the story of one request, a future; `pool` and `connect` give it a connection, `incoming`
//! and `upload` stand between that and it. The one rule: whatever is dropped (a deferred, an answer, a
//! body) gives up what it waited for, and takes no connection with it.

mod builder;
mod connect;
mod cookies;
mod decode;
mod error;
mod incoming;
mod pool;
mod proxy;
mod redirect;
mod request;
mod response;
mod run;
#[cfg(test)]
mod tests;
#[cfg(feature = "_tls")]
mod tunnel;
mod upload;

#[cfg(any(test, feature = "_tls"))]
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
#[cfg(feature = "_tls")]
use ropewalk_reactor::tls::TlsClient;
use ropewalk_reactor::{Deferred, Local, Reactor};

pub use builder::ClientBuilder;
pub use cookies::{Cookie, CookieJar};
pub use error::{ClientError, TimedOut};
pub use request::Request;
pub use response::{Response, ResponseBody, StreamedResponse};

use self::pool::Pool;
use super::ConnectionConfig;

/// Asks HTTP and HTTPS servers. Clones are the same client, with the same connections; what is idle of
/// these is closed with the last clone.
///
/// What it answers are deferreds: give them a callback, or await them in a future on the same reactor.
/// Dropping one gives its request up. Errors are [`ClientError`]s, inside of
/// [`Error::Other`](ropewalk_reactor::Error::Other).
///
/// ```
/// use ropewalk_http::client::Client;
/// use ropewalk_reactor::Reactor;
///
/// # fn main() -> ropewalk_reactor::Result {
/// let mut reactor = Reactor::new()?;
/// let client = Client::new(&reactor);
/// client.get("http://127.0.0.1:8080/").then(|reactor, answer| {
///     match answer {
///         Ok(answer) => println!("{}: {}", answer.status(), answer.text()),
///         Err(error) => println!("{error}"),
///     }
///     reactor.stop();
/// });
/// # reactor.stop();
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Agent")]
#[derive(Clone)]
pub struct Client {
    owner: Rc<Owner>,
}

/// What the clones of a client share, and nobody else: with it, what is idle ends.
struct Owner {
    shared: Rc<Shared>,
}

/// What requests need of their client, and keep alive.
struct Shared {
    local: Local,
    options: ClientBuilder,
    connection: Arc<ConnectionConfig>,
    pool: Pool,
    #[cfg(feature = "_tls")]
    tls: RefCell<Option<TlsClient>>,
}

impl Client {
    /// A client with the usual limits, which asks directly.
    pub fn new(reactor: &Reactor) -> Self {
        Self::builder().build(reactor.local())
    }

    /// For other limits, proxies, cookies, authorities.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    fn assemble(options: ClientBuilder, local: Local) -> Self {
        let shared = Shared {
            pool: Pool::new(local.clone(), options.limits()),
            connection: options.connection_config(),
            #[cfg(feature = "_tls")]
            tls: RefCell::new(options.tls.clone()),
            local,
            options,
        };
        Self { owner: Rc::new(Owner { shared: Rc::new(shared) }) }
    }

    /// Asks for `url` with GET, and gathers the answer.
    ///
    /// # Errors
    /// A [`ClientError`]. A status of 400 and above is an answer, and no error.
    pub fn get(&self, url: impl AsRef<str>) -> Deferred<Response> {
        self.request(Request::get(url))
    }

    /// Sends `body` to `url` with POST, and gathers the answer.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn post(&self, url: impl AsRef<str>, body: impl Into<Bytes>) -> Deferred<Response> {
        self.request(Request::post(url).body(body))
    }

    /// Sends a request, and gathers the answer.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[doc(alias = "fetch")]
    pub fn request(&self, request: Request) -> Deferred<Response> {
        let shared = Rc::clone(&self.owner.shared);
        let limit = request.max_body.unwrap_or(shared.options.max_body);
        let local = shared.local.clone();
        local.spawn_result(async move { shared.run(request).await?.gather(limit).await })
    }

    /// Sends a request, and answers when the head of the answer is here; the body is read as it comes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn stream(&self, request: Request) -> Deferred<StreamedResponse> {
        let shared = Rc::clone(&self.owner.shared);
        let local = shared.local.clone();
        local.spawn_result(async move { Ok(shared.run(request).await?) })
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.owner.shared.pool.counts().0
    }

    /// How many of these have no request.
    pub fn idle_connections(&self) -> usize {
        self.owner.shared.pool.counts().1
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.pool.close_idle();
    }
}
