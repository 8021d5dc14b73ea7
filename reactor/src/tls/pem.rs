//! Certificates and keys as PEM (RFC 7468), and what is wrong with those that cannot be used: most
//! people meet TLS first as a file that does not work.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// PEM: certificates, a key, or both, in a file or as text. A path makes one, so `"cert.pem"` will
/// do. Only files can be read again by a reload.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Source);

#[derive(Clone, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Text(Arc<[u8]>),
}

impl Pem {
    /// What is in a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// What is in a text.
    pub fn text(pem: impl AsRef<[u8]>) -> Self {
        Self(Source::Text(pem.as_ref().into()))
    }

    /// Where it is, if it is in a file.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Source::File(path) => Some(path),
            Source::Text(_) => None,
        }
    }

    fn wrong(&self, what: &str, problem: impl Into<String>) -> Error {
        Error::Tls { subject: format!("{what} {self}"), problem: problem.into() }
    }

    fn read(&self, what: &str) -> Result<Vec<u8>, Error> {
        let bytes = match &self.0 {
            Source::Text(text) => text.to_vec(),
            Source::File(path) => {
                std::fs::read(path).map_err(|error| self.wrong(what, error.to_string()))?
            }
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(self.wrong(what, "there is nothing in it"));
        }
        Ok(bytes)
    }

    /// All its sections, in order.
    fn sections(&self, what: &str, bytes: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, Error> {
        if !contains(bytes, b"-----BEGIN ") {
            let problem = match bytes.first() {
                Some(0x30) => format!(
                    "it is DER, and has to be PEM; `openssl {}` converts it",
                    if what == KEY { "pkey -inform DER" } else { "x509 -inform DER" }
                ),
                _ => "it is not PEM: there is no line `-----BEGIN …-----` in it".to_owned(),
            };
            return Err(self.wrong(what, problem));
        }
        <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| self.wrong(what, format!("it is damaged PEM: {error}")))
    }

    /// The certificates in it, in order; at least one.
    pub(super) fn certificates(&self, what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
        let bytes = self.read(what)?;
        let sections = self.sections(what, &bytes)?;
        let has = |kind| sections.iter().any(|(found, _)| *found == kind);
        let problem = match () {
            () if has(SectionKind::Certificate) => None,
            () if has(SectionKind::Csr) => {
                Some("it is a request for a certificate, which an authority has yet to sign")
            }
            () if is_key(&bytes) => Some("it is a key, not a certificate: are the two swapped?"),
            () => Some("there is no certificate in it"),
        };
        if let Some(problem) = problem {
            return Err(self.wrong(what, problem));
        }
        let certificates =
            sections.into_iter().filter(|(kind, _)| *kind == SectionKind::Certificate);
        let certificates: Vec<_> = certificates.map(|(_, der)| CertificateDer::from(der)).collect();
        for (index, certificate) in certificates.iter().enumerate() {
            if let Err(error) = webpki::anchor_from_trusted_cert(certificate) {
                let number = index + 1;
                return Err(self.wrong(what, format!("certificate {number} is damaged: {error:?}")));
            }
        }
        Ok(certificates)
    }

    /// The first private key in it.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let bytes = self.read(KEY)?;
        if contains(&bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || contains(&bytes, b"Proc-Type: 4,ENCRYPTED")
        {
            let problem = "it is encrypted, and nobody is there to type the password; `openssl pkey` \
                           decrypts it, and then only the server's user may read the file";
            return Err(self.wrong(KEY, problem));
        }
        let sections = self.sections(KEY, &bytes)?;
        let certificate = sections.iter().any(|(kind, _)| *kind == SectionKind::Certificate);
        let key = sections.into_iter().find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
        key.ok_or_else(|| match certificate {
            true => self.wrong(KEY, "it is a certificate, not a key: are the two swapped?"),
            false => self.wrong(KEY, "there is no private key in it"),
        })
    }

    /// The authorities in it.
    pub(super) fn authorities(&self) -> Result<RootCertStore, Error> {
        const WHAT: &str = "the authorities";
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(WHAT)? {
            roots.add(certificate).map_err(|error| self.wrong(WHAT, error.to_string()))?;
        }
        Ok(roots)
    }

    /// An error about the key in it.
    pub(super) fn wrong_key(&self, problem: impl Into<String>) -> Error {
        self.wrong(KEY, problem)
    }
}

const KEY: &str = "the key";

fn is_key(bytes: &[u8]) -> bool {
    contains(bytes, b"PRIVATE KEY-----")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

impl<P: Into<PathBuf>> From<P> for Pem {
    fn from(path: P) -> Self {
        Self::file(path)
    }
}

impl fmt::Display for Pem {
    /// Where it is: `in cert.pem`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => write!(f, "in {}", path.display()),
            Source::Text(_) => f.write_str("that was given as text"),
        }
    }
}

impl fmt::Debug for Pem {
    /// Never what is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({self})")
    }
}
