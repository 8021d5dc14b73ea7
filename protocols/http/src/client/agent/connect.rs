//! Making a connection: directly or through a proxy, with TLS or without.

use std::sync::Arc;

#[cfg(feature = "_tls")]
use ropewalk_reactor::tls::TlsClient;
use ropewalk_reactor::{Address, ConnectOptions, ConnectionId, Error, Local};
use url::Url;

use super::Shared;
use super::error::{ClientError, TimedOut, shown};
use super::pool::{Lease, Origin, Permit};
use super::proxy::Proxy;
use crate::client::HttpClient;

impl Shared {
    /// Where a connection for `url` leads.
    pub(super) fn origin(&self, url: &Url) -> Origin {
        let is_secure = url.scheme() == "https";
        let proxy = self.options.proxies.of(url);
        let (host, port) = match proxy {
            Some(_) if !is_secure => (String::new(), 0),
            _ => (host(url), url.port_or_known_default().unwrap_or(0)),
        };
        let proxy = proxy.map(|proxy| (proxy.host.clone(), proxy.port, proxy.credentials.clone()));
        Origin { is_secure, host, port, proxy }
    }

    /// Opens a connection for `url`, within its limit of time.
    pub(super) async fn open(&self, permit: Permit, url: &Url) -> Result<Lease, ClientError> {
        let limit = self.options.connect_timeout;
        let opened = self.local.timeout(limit, self.connect(url)).await;
        match opened {
            Ok(Ok(id)) => Ok(permit.opened(id)),
            Ok(Err(error)) => Err(error),
            Err(Error::TimedOut) => Err(timed_out(url, limit)),
            Err(error) => Err(failed(url, &error)),
        }
    }

    async fn connect(&self, url: &Url) -> Result<ConnectionId, ClientError> {
        let is_secure = url.scheme() == "https";
        let (host, port) = (host(url), url.port_or_known_default().unwrap_or(0));
        match self.options.proxies.of(url) {
            None if is_secure => {
                let options = self.secure(url)?;
                self.connect_to(url, options, host, port).await
            }
            None => self.connect_to(url, self.plain(), host, port).await,
            Some(proxy) => {
                let proxy_host = bare(&proxy.host).to_owned();
                let id = self.connect_to(url, self.plain(), proxy_host, proxy.port).await;
                let id = id.map_err(|error| match error {
                    ClientError::Connect { url, problem } => {
                        ClientError::Connect { url, problem: format!("its proxy: {problem}") }
                    }
                    error => error,
                })?;
                if is_secure {
                    let opening = Opening { local: self.local.clone(), id: Some(id) };
                    self.tunnel(url, proxy, id).await?;
                    opening.done();
                }
                Ok(id)
            }
        }
    }

    async fn connect_to(
        &self,
        url: &Url,
        options: ConnectOptions,
        host: String,
        port: u16,
    ) -> Result<ConnectionId, ClientError> {
        let config = Arc::clone(&self.connection);
        let connecting = self.local.call(move |reactor| {
            let factory = move |_: Address| HttpClient::with_config(Arc::clone(&config));
            reactor.connect_with(options, (host.as_str(), port), factory)
        });
        let connecting = connecting.await.map_err(|error| failed(url, &error))?;
        connecting.await.map_err(|error| match error {
            Error::TimedOut => timed_out(url, self.options.connect_timeout),
            error => failed(url, &error),
        })
    }

    fn plain(&self) -> ConnectOptions {
        self.options.connect.clone().timeout(self.options.connect_timeout)
    }

    #[cfg(feature = "_tls")]
    fn secure(&self, url: &Url) -> Result<ConnectOptions, ClientError> {
        Ok(self.plain().tls(self.tls(url)?))
    }

    #[cfg(not(feature = "_tls"))]
    fn secure(&self, url: &Url) -> Result<ConnectOptions, ClientError> {
        Err(no_tls(url))
    }

    /// Whom to trust: what was set, or the system's authorities, which are read once.
    #[cfg(feature = "_tls")]
    fn tls(&self, url: &Url) -> Result<TlsClient, ClientError> {
        if let Some(tls) = &*self.tls.borrow() {
            return Ok(tls.clone());
        }
        let tls = TlsClient::builder().alpn(["http/1.1"]).build();
        let tls = tls.map_err(|error| failed(url, &error))?;
        *self.tls.borrow_mut() = Some(tls.clone());
        Ok(tls)
    }

    /// Asks the proxy for a way to the server, and speaks TLS through it.
    #[cfg(feature = "_tls")]
    async fn tunnel(&self, url: &Url, proxy: &Proxy, id: ConnectionId) -> Result<(), ClientError> {
        let tls = self.tls(url)?.to(&host(url)).map_err(|error| failed(url, &error))?;
        let opened =
            super::tunnel::open(&self.local, id, self.connect_head(url, proxy)?, tls).await;
        let refused = |status| ClientError::Proxy { url: shown(url), proxy: proxy.shown(), status };
        let handshake = opened.map_err(|error| failed(url, &error))?.map_err(refused)?;
        handshake.await.map_err(|error| failed(url, &error))
    }

    #[cfg(not(feature = "_tls"))]
    async fn tunnel(&self, url: &Url, _: &Proxy, _: ConnectionId) -> Result<(), ClientError> {
        Err(no_tls(url))
    }

    /// The request for a tunnel (RFC 9110 §9.3.6).
    #[cfg(feature = "_tls")]
    fn connect_head(
        &self,
        url: &Url,
        proxy: &Proxy,
    ) -> Result<crate::client::RequestHead, ClientError> {
        let port = url.port_or_known_default().unwrap_or(443);
        let authority = format!("{}:{port}", url.host_str().unwrap_or_default());
        let head = crate::client::RequestHead::new(crate::Method::Connect, &authority, &authority);
        let mut head = head.map_err(|error| ClientError::BadRequest {
            url: shown(url),
            problem: error.text().to_owned(),
        })?;
        if let Some(agent) = self.options.headers.get("user-agent") {
            head = head.header("User-Agent", agent);
        }
        if let Some(credentials) = &proxy.credentials {
            head = head.header("Proxy-Authorization", credentials);
        }
        Ok(head)
    }
}

/// A connection that is not ready yet: given up when this is dropped.
struct Opening {
    local: Local,
    id: Option<ConnectionId>,
}

impl Opening {
    fn done(mut self) {
        self.id = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.local.call_soon(move |reactor| {
                if let Some(mut transport) = reactor.connection(id) {
                    transport.abort_connection();
                }
            });
        }
    }
}

/// A URL's host, an IPv6 address without its brackets.
pub(super) fn host(url: &Url) -> String {
    bare(url.host_str().unwrap_or_default()).to_owned()
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn failed(url: &Url, error: &Error) -> ClientError {
    ClientError::Connect { url: shown(url), problem: error.to_string() }
}

fn timed_out(url: &Url, limit: std::time::Duration) -> ClientError {
    ClientError::TimedOut { url: shown(url), phase: TimedOut::Connect, limit }
}

#[cfg(not(feature = "_tls"))]
fn no_tls(url: &Url) -> ClientError {
    let problem = "this program was built without TLS; build it with the feature `tls`".to_owned();
    ClientError::Connect { url: shown(url), problem }
}
