//! An authority of the tests' own, certificates that it signed, and TLS made of them.

use std::sync::OnceLock;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519, SanType};
use ropewalk_reactor::tls::{Pem, TlsClient, TlsClientBuilder, TlsServer, TlsServerBuilder};

/// The name in the server's certificate, beside its addresses.
pub const NAME: &str = "server.test";

/// Longer than any handshake on the slowest of the simulated networks.
pub const PATIENT: Duration = Duration::from_secs(100_000);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Identity {
    pub fn certificate(&self) -> Pem {
        Pem::text(&self.certificate)
    }

    pub fn key(&self) -> Pem {
        Pem::text(&self.key)
    }
}

/// Signs what it is asked to. Its keys are of Ed25519, whose signatures have one length: others vary,
/// and a simulation would not replay.
pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for host names and addresses.
    pub fn sign(&self, names: &[&str]) -> Identity {
        self.sign_with(names, &rcgen::PKCS_ED25519)
    }

    pub fn sign_with(&self, names: &[&str], kind: &'static rcgen::SignatureAlgorithm) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().expect("ASCII")),
            })
            .collect();
        params.distinguished_name.push(rcgen::DnType::CommonName, names[0]);
        let key = KeyPair::generate_for(kind).expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    pub fn pem(&self) -> Pem {
        Pem::text(&self.certificate)
    }
}

/// The authority that everybody here trusts, and the certificate that it gave to [`NAME`].
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new("an authority"))
}

pub fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| authority().sign(&[NAME, "10.0.0.1", "127.0.0.1"]))
}

pub fn server() -> TlsServer {
    server_builder().build().expect("good certificates")
}

pub fn server_builder() -> TlsServerBuilder {
    TlsServer::builder()
        .certificate(identity().certificate(), identity().key())
        .handshake_timeout(PATIENT)
}

pub fn client() -> TlsClient {
    client_builder().build().expect("a good certificate")
}

pub fn client_builder() -> TlsClientBuilder {
    TlsClient::builder().authorities(authority().pem()).handshake_timeout(PATIENT)
}
