//! What a TLS session has agreed on, for its protocol to read.

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};

/// What both sides of a TLS session have agreed on.
#[derive(Clone, Copy)]
pub struct Info<'a> {
    session: &'a CommonState,
    server_name: Option<&'a str>,
}

impl<'a> Info<'a> {
    pub(super) fn new(session: &'a CommonState, server_name: Option<&'a str>) -> Self {
        Self { session, server_name }
    }

    /// `TLSv1.2` or `TLSv1.3`, as OpenSSL writes them.
    pub fn version(&self) -> &'static str {
        match self.session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        }
    }

    /// The cipher suite by its registered name, `TLS_AES_128_GCM_SHA256` say.
    pub fn cipher_suite(&self) -> &'static str {
        let suite = self.session.negotiated_cipher_suite().map(|suite| suite.suite());
        match suite {
            Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
            Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
            Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
            Some(suite) => suite.as_str().unwrap_or("unknown"),
            None => "unknown",
        }
    }

    /// The application protocol that was agreed on (ALPN, RFC 7301), `h2` say; `None` if there was
    /// nothing to agree on.
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.session.alpn_protocol()
    }

    /// The host name that the client asked for (SNI, RFC 6066 §3), in lower case; `None` if it
    /// asked for none, as it does when it knows only an address.
    pub fn server_name(&self) -> Option<&'a str> {
        self.server_name
    }

    /// The peer's certificate chain, its own certificate first, in DER: what it has proved to be.
    /// Empty if it showed none, as clients do unless they are asked.
    pub fn peer_certificates(&self) -> &'a [CertificateDer<'static>] {
        self.session.peer_certificates().unwrap_or_default()
    }

    /// Whether it continues an earlier session, which saves the certificates and half of the
    /// computation. The peer's certificates are those of the earlier one.
    pub fn is_resumed(&self) -> bool {
        self.session.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

impl std::fmt::Debug for Info<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Info")
            .field("version", &self.version())
            .field("cipher_suite", &self.cipher_suite())
            .field("alpn", &self.alpn().map(String::from_utf8_lossy))
            .field("server_name", &self.server_name)
            .field("peer_certificates", &self.peer_certificates().len())
            .field("is_resumed", &self.is_resumed())
            .finish()
    }
}
