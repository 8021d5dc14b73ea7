//! The server's side of TLS: which certificates it shows, whom it lets in, which protocols it
//! speaks; made once, shared by any number of listeners and reactors, and read again from its
//! files without disturbing anybody.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

use crate::Error;

use super::certificates::{Certificates, Identity, Noted};
use super::pem::Pem;
use super::{HANDSHAKE_TIMEOUT, general, seam};

/// TLS for those who are called. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct TlsServer(Arc<Shared>);

struct Shared {
    /// `None` for a configuration that came from outside.
    recipe: Option<TlsServerBuilder>,
    handshake_timeout: Duration,
    /// What new connections begin with. Read once a connection.
    current: RwLock<Arc<ServerConfig>>,
}

impl TlsServer {
    /// Shows one certificate: `TlsServer::new("cert.pem", "key.pem")`. The first file has the
    /// server's own certificate and then those that lead from it to an authority.
    ///
    /// # Errors
    /// [`Error::Tls`] tells which file is wrong, and in what.
    pub fn new(certificate: impl Into<Pem>, key: impl Into<Pem>) -> Result<Self, Error> {
        Self::builder().certificate(certificate, key).build()
    }

    /// For several certificates, application protocols, client certificates.
    pub fn builder() -> TlsServerBuilder {
        TlsServerBuilder::default()
    }

    /// With a configuration of rustls's own, for what the builder does not offer. It cannot be
    /// reloaded, and a simulation replays only if it is made with [`provider`](super::provider) and
    /// [`time`](super::time).
    pub fn from_rustls(config: Arc<ServerConfig>) -> Self {
        let mut config = Arc::unwrap_or_clone(config);
        config.cert_resolver = Arc::new(Noted(config.cert_resolver));
        Self(Arc::new(Shared {
            recipe: None,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            current: RwLock::new(Arc::new(config)),
        }))
    }

    /// Reads certificates, keys and authorities again. New connections get the new ones; those that
    /// are there, and handshakes under way, keep what they have.
    ///
    /// # Errors
    /// [`Error::Tls`] tells which file is wrong; then nothing changes.
    pub fn reload(&self) -> Result<(), Error> {
        let Some(recipe) = &self.0.recipe else {
            return Err(general("it was not made from files"));
        };
        let mut config = recipe.config()?;
        if recipe.clients == Clients::Anybody {
            // Sessions go on. Not so where clients were verified: a session that is resumed is not
            // verified again, and the authorities may have changed.
            config.ticketer = self.config().ticketer.clone();
        }
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// The files that a reload would read.
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(recipe) = &self.0.recipe else { return Vec::new() };
        let identities = recipe.identities.iter().flat_map(|one| [&one.certificate, &one.key]);
        let authorities = match &recipe.clients {
            Clients::Anybody => None,
            Clients::Asked(pem) | Clients::Verified(pem) => Some(pem),
        };
        identities.chain(authorities).filter_map(|pem| pem.path().map(Into::into)).collect()
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        self.0.handshake_timeout
    }
}

impl PartialEq for TlsServer {
    /// Whether both are clones of one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsServer {}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsServer").field(&self.0.recipe).finish()
    }
}

/// What a [`TlsServer`] is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct TlsServerBuilder {
    identities: Vec<Identity>,
    alpn: Vec<Vec<u8>>,
    clients: Clients,
    versions: Versions,
    handshake_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Clients {
    Anybody,
    /// For a certificate, and let in without one.
    Asked(Pem),
    Verified(Pem),
}

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    Both,
    Only13,
}

impl Versions {
    pub(super) fn list(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        static ONLY_13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Self::Both => rustls::ALL_VERSIONS,
            Self::Only13 => ONLY_13,
        }
    }
}

impl Default for TlsServerBuilder {
    fn default() -> Self {
        Self {
            identities: Vec::new(),
            alpn: Vec::new(),
            clients: Clients::Anybody,
            versions: Versions::Both,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }
}

impl TlsServerBuilder {
    /// Adds a certificate chain and its key. A client is shown the one that has the name which it
    /// asks for (SNI) among its own; or the first, if none has. Two of different kinds (ECDSA and
    /// RSA) may have the same names: the first that the client knows is taken.
    pub fn certificate(mut self, certificate: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        let (certificate, key) = (certificate.into(), key.into());
        self.identities.push(Identity { certificate, key });
        self
    }

    /// The application protocols (ALPN), the preferred one first. A client that speaks ALPN and
    /// none of these is refused; one that does not speak ALPN is let in.
    pub fn alpn<T: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = T>) -> Self {
        self.alpn = protocols.into_iter().map(|name| name.as_ref().to_vec()).collect();
        self
    }

    /// Lets in only clients whose certificate is signed by one of these authorities.
    pub fn require_client_certificate(mut self, authorities: impl Into<Pem>) -> Self {
        self.clients = Clients::Verified(authorities.into());
        self
    }

    /// Asks clients for a certificate of one of these authorities, and lets in those that have none.
    /// [`Info::peer_certificates`](super::Info::peer_certificates) tells who came.
    pub fn request_client_certificate(mut self, authorities: impl Into<Pem>) -> Self {
        self.clients = Clients::Asked(authorities.into());
        self
    }

    /// Refuses TLS 1.2.
    pub fn only_tls_1_3(mut self) -> Self {
        self.versions = Versions::Only13;
        self
    }

    /// How long a handshake may take (10 s); then the connection is aborted, so that callers who
    /// say nothing hold nothing for longer.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Reads all files.
    ///
    /// # Errors
    /// [`Error::Tls`] tells which file is wrong, and in what.
    pub fn build(self) -> Result<TlsServer, Error> {
        let config = Arc::new(self.config()?);
        Ok(TlsServer(Arc::new(Shared {
            handshake_timeout: self.handshake_timeout,
            recipe: Some(self),
            current: RwLock::new(config),
        })))
    }

    fn config(&self) -> Result<ServerConfig, Error> {
        if self.identities.is_empty() {
            return Err(general("a server has to have a certificate and its key"));
        }
        let provider = seam::provider();
        let certificates = Certificates::load(&self.identities)?;
        let verifier = match &self.clients {
            Clients::Anybody => WebPkiClientVerifier::no_client_auth(),
            Clients::Asked(authorities) | Clients::Verified(authorities) => {
                let roots = Arc::new(authorities.authorities()?);
                let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                let builder = match &self.clients {
                    Clients::Asked(_) => builder.allow_unauthenticated(),
                    _ => builder,
                };
                builder.build().map_err(general)?
            }
        };
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(seam::Time))
            .with_protocol_versions(self.versions.list())
            .map_err(general)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols.clone_from(&self.alpn);
        // Tickets, so that sessions cost no memory here, and resume on all reactors alike.
        config.ticketer = seam::Ticketer::new().map_err(general)?;
        Ok(config)
    }
}
