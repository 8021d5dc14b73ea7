//! Certificates with their keys, and which of them a client is shown: the one whose names have the
//! name that it asks for, or else the first.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureScheme};

use crate::Error;

use super::pem::Pem;
use super::seam;

/// A certificate chain and its key, wherever they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) certificate: Pem,
    pub(super) key: Pem,
}

impl Identity {
    /// Reads both, and sees to it that they belong together.
    pub(super) fn load(&self) -> Result<Arc<CertifiedKey>, Error> {
        let chain = self.certificate.certificates("the certificate")?;
        let key =
            seam::provider().key_provider.load_private_key(self.key.key()?).map_err(|_| {
                self.key.wrong_key(
                "it is of no kind that is known here: RSA with 2048 to 8192 bits, ECDSA on P-256, \
                 P-384 or P-521, Ed25519",
            )
            })?;
        let identity = CertifiedKey::new(chain, key);
        match identity.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Arc::new(identity))
            }
            Err(_) => Err(self.key.wrong_key(self.mismatch(&identity))),
        }
    }

    fn mismatch(&self, identity: &CertifiedKey) -> String {
        let elsewhere = identity.cert.iter().skip(1).any(|certificate| {
            let alone = CertifiedKey::new(vec![certificate.clone()], identity.key.clone());
            alone.keys_match().is_ok()
        });
        let certificate = &self.certificate;
        match elsewhere {
            true => format!(
                "its certificate is not the first one {certificate}: the server's own comes first, \
                 then the one that signed it"
            ),
            false => format!("it does not belong to the certificate {certificate}"),
        }
    }
}

/// What a server has to show.
#[derive(Debug)]
pub(super) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// By name, in lower case; a wildcard without its star. Several for a name are of several kinds.
    names: BTreeMap<String, Vec<usize>>,
}

impl Certificates {
    pub(super) fn load(identities: &[Identity]) -> Result<Self, Error> {
        let all: Vec<_> = identities.iter().map(Identity::load).collect::<Result<_, _>>()?;
        let mut names: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, identity) in all.iter().enumerate() {
            let Some(Ok(own)) = identity.cert.first().map(webpki::EndEntityCert::try_from) else {
                continue;
            };
            for name in own.valid_dns_names() {
                let name = name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase();
                names.entry(name).or_default().push(index);
            }
        }
        Ok(Self { all, names })
    }

    /// The first that fits the name, or else the first of all; and of a kind that the client knows,
    /// if one is.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let parent = name.find('.').map(|dot| &name[dot..]);
            self.names.get(&name).or_else(|| self.names.get(parent?))
        });
        let known = |identity: &&Arc<CertifiedKey>| identity.key.choose_scheme(schemes).is_some();
        let mut fitting = named.into_iter().flatten().map(|&index| &self.all[index]);
        let first = named.and_then(|named| self.all.get(*named.first()?));
        let chosen = fitting.find(known).or(first);
        chosen.or_else(|| self.all.iter().find(known)).or_else(|| self.all.first()).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        remember(&hello);
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

/// Somebody else's choice, with a note of the name.
#[derive(Debug)]
pub(super) struct Noted(pub(super) Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Noted {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        remember(&hello);
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

thread_local! {
    /// The name that the client of the session at work has asked for: rustls tells it to whoever
    /// chooses the certificate, and does not keep it where its unbuffered sessions show it.
    static ASKED_FOR: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

fn remember(hello: &ClientHello<'_>) {
    ASKED_FOR.set(hello.server_name().map(|name| name.to_ascii_lowercase().into()));
}

/// The name that the session that was just at work was asked for, if it was.
pub(super) fn asked_for() -> Option<Box<str>> {
    ASKED_FOR.take()
}

/// The one certificate of a client.
#[derive(Debug)]
pub(super) struct Own(pub(super) Arc<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
