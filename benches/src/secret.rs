//! TLS for the load generator and for the servers that are measured: one version and one cipher, and
//! a certificate that each server makes for itself, since who signed it costs the server nothing.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, Stream,
};

use crate::sys;

/// A certificate with its key, both in PEM.
pub(crate) fn identity() -> io::Result<(String, String)> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.map_err(io::Error::other)?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// What every server is offered, and nothing else: TLS 1.3 with AES-128-GCM.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider
}

fn config() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
        .with_no_client_auth();
    // Every handshake is a full one.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

/// The client's side of one session.
pub(crate) struct Session(Box<ClientConnection>);

impl Session {
    pub(crate) fn new() -> io::Result<Self> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let session = ClientConnection::new(config()?, name).map_err(io::Error::other)?;
        Ok(Self(Box::new(session)))
    }

    /// The stream through the session, blocking as the stream itself is.
    pub(crate) fn over<'a>(
        &'a mut self,
        stream: &'a mut TcpStream,
    ) -> Stream<'a, ClientConnection, TcpStream> {
        Stream::new(&mut self.0, stream)
    }

    /// Seals `data` into as few records as it takes, and sends what the socket takes of them.
    pub(crate) fn send(&mut self, stream: &TcpStream, data: &[u8]) -> io::Result<usize> {
        self.0.writer().write_all(data)?;
        self.flush(stream)?;
        Ok(data.len())
    }

    pub(crate) fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut Bare(stream)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                written => written?,
            };
        }
        Ok(())
    }

    pub(crate) fn recv(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read_tls(&mut Bare(stream))? {
            0 => return Ok(0),
            _ => self.0.process_new_packets().map_err(io::Error::other)?,
        };
        self.0.reader().read(buffer)
    }
}

/// A socket by its bare calls.
struct Bare<'a>(&'a TcpStream);

impl Read for Bare<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::recv(self.0.as_raw_fd(), buffer)
    }
}

impl Write for Bare<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        sys::send(self.0.as_raw_fd(), data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes any certificate: the server that we started is the one that answers.
#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is measured".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
