//! The client's side of TLS: whom it trusts, and what it shows when it is asked who it is.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use crate::endpoint::Target;
use crate::{Address, Endpoint, Error};

use super::certificates::{Identity, Own};
use super::pem::Pem;
use super::server::Versions;
use super::{HANDSHAKE_TIMEOUT, Side, StartTls, general, seam};

/// TLS for those who call. Cheap to clone; all clones are one, and share the sessions that can be
/// resumed, so make one and keep it.
#[derive(Clone)]
pub struct TlsClient(Arc<Shared>);

struct Shared {
    /// `None` for a configuration that came from outside.
    recipe: Option<TlsClientBuilder>,
    server_name: Option<ServerName<'static>>,
    handshake_timeout: Duration,
    current: RwLock<Arc<ClientConfig>>,
}

impl TlsClient {
    /// Trusts the authorities that this system trusts.
    ///
    /// # Errors
    /// [`Error::Tls`] if the system has none.
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// For other authorities, a certificate of one's own, application protocols.
    pub fn builder() -> TlsClientBuilder {
        TlsClientBuilder::default()
    }

    /// With a configuration of rustls's own, for what the builder does not offer. It cannot be
    /// reloaded, and a simulation replays only if it is made with [`provider`](super::provider) and
    /// [`time`](super::time).
    pub fn from_rustls(config: Arc<ClientConfig>) -> Self {
        Self(Arc::new(Shared {
            recipe: None,
            server_name: None,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            current: RwLock::new(config),
        }))
    }

    /// For [`start_tls`](crate::Transport::start_tls): a session with the server of this name, which
    /// its certificate has to have. An IP address is a name, too.
    ///
    /// # Errors
    /// [`Error::Tls`] if it is no name.
    pub fn to(&self, server_name: &str) -> Result<StartTls, Error> {
        let name = name_of(server_name)?;
        Ok(StartTls(Side::Client { client: self.clone(), name }))
    }

    /// A session with whoever is at `endpoint`.
    pub(crate) fn to_endpoint(&self, endpoint: &Endpoint) -> Result<Side, Error> {
        let name = match (&self.0.server_name, endpoint.target()) {
            (Some(name), _) => name.clone(),
            (None, Target::Name { host, .. }) => name_of(host)?,
            (None, Target::Address(Address::Tcp(address))) => ServerName::from(address.ip()),
            (None, _) => return Err(general("there is no name to verify; set `server_name`")),
        };
        Ok(Side::Client { client: self.clone(), name })
    }

    /// Reads authorities, certificate and key again, for new connections.
    ///
    /// # Errors
    /// [`Error::Tls`] tells which file is wrong; then nothing changes.
    pub fn reload(&self) -> Result<(), Error> {
        let Some(recipe) = &self.0.recipe else {
            return Err(general("it was not made from files"));
        };
        // With no sessions to resume: who was trusted before may not be any more.
        let config = Arc::new(recipe.config()?);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// The files that a reload would read.
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(recipe) = &self.0.recipe else { return Vec::new() };
        let identity = recipe.identity.iter().flat_map(|one| [&one.certificate, &one.key]);
        let all = recipe.authorities.iter().chain(identity);
        all.filter_map(|pem| pem.path().map(Into::into)).collect()
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        self.0.handshake_timeout
    }
}

impl PartialEq for TlsClient {
    /// Whether both are clones of one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsClient {}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsClient").field(&self.0.recipe).finish()
    }
}

fn name_of(text: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(text.to_owned()).map_err(|_| Error::Tls {
        subject: format!("the server's name {text:?}"),
        problem: "it is neither a host name nor an IP address".into(),
    })
}

/// What a [`TlsClient`] is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct TlsClientBuilder {
    authorities: Option<Pem>,
    identity: Option<Identity>,
    alpn: Vec<Vec<u8>>,
    server_name: Option<String>,
    versions: Versions,
    handshake_timeout: Duration,
}

impl Default for TlsClientBuilder {
    fn default() -> Self {
        Self {
            authorities: None,
            identity: None,
            alpn: Vec::new(),
            server_name: None,
            versions: Versions::Both,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }
}

impl TlsClientBuilder {
    /// Trusts these authorities instead of those of the system. A server's certificate that signed
    /// itself is its own authority, as long as it does not say that it may sign others (CA:TRUE).
    pub fn authorities(mut self, pem: impl Into<Pem>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// The certificate chain and key to show to servers that ask for one.
    pub fn certificate(mut self, certificate: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.identity = Some(Identity { certificate: certificate.into(), key: key.into() });
        self
    }

    /// The application protocols (ALPN) to offer, the preferred one first.
    pub fn alpn<T: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = T>) -> Self {
        self.alpn = protocols.into_iter().map(|name| name.as_ref().to_vec()).collect();
        self
    }

    /// The name to ask for and to verify, in place of the one in the address.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Refuses TLS 1.2.
    pub fn only_tls_1_3(mut self) -> Self {
        self.versions = Versions::Only13;
        self
    }

    /// How long a handshake may take (10 s); then the connection is aborted.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Reads all files.
    ///
    /// # Errors
    /// [`Error::Tls`] tells which file is wrong, and in what.
    pub fn build(self) -> Result<TlsClient, Error> {
        let config = Arc::new(self.config()?);
        Ok(TlsClient(Arc::new(Shared {
            server_name: self.server_name.as_deref().map(name_of).transpose()?,
            handshake_timeout: self.handshake_timeout,
            recipe: Some(self),
            current: RwLock::new(config),
        })))
    }

    fn config(&self) -> Result<ClientConfig, Error> {
        let roots = match &self.authorities {
            Some(pem) => pem.authorities()?,
            None => system_authorities()?,
        };
        let builder = ClientConfig::builder_with_details(seam::provider(), Arc::new(seam::Time))
            .with_protocol_versions(self.versions.list())
            .map_err(general)?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(Own(identity.load()?))),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }
}

/// The authorities that this system trusts: what curl and OpenSSL would use, `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` included. Not a list that is compiled in, since that would age; and not the
/// system's own verifier, since that may ask the network, and the loop cannot wait.
fn system_authorities() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    Err(Error::Tls {
        subject: "the authorities that this system trusts".into(),
        problem: format!(
            "there are none{why}; install ca-certificates, set SSL_CERT_FILE, or name some"
        ),
    })
}
