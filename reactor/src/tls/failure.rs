//! Why a TLS session failed.

use std::fmt;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Why a TLS session failed; the peer was told by an alert, unless it had gone.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// The handshake failed: one side did not accept what the other one is, says or can.
    Handshake(Error),
    /// The peer closed before the handshake was done.
    HandshakeCutOff,
    /// The handshake was not done within this time.
    HandshakeTimedOut(Duration),
    /// Afterwards, a record was not what it should be, or the peer reported an error.
    Stream(Error),
}

impl Failure {
    /// The alert with which the peer gave up, if it was the peer.
    pub fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::Handshake(Error::AlertReceived(alert))
            | Self::Stream(Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::HandshakeCutOff => {
                return f.write_str("the peer closed before the TLS handshake was done");
            }
            Self::HandshakeTimedOut(limit) => {
                return write!(f, "the TLS handshake was not done within {limit:?}");
            }
            Self::Handshake(error) => {
                f.write_str("the TLS handshake failed: ")?;
                error
            }
            Self::Stream(error) => {
                f.write_str("the TLS stream failed: ")?;
                error
            }
        };
        match error {
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                f.write_str("what the peer sent is not TLS")
            }
            Error::AlertReceived(alert) => {
                write!(f, "the peer gave up with the alert {alert:?}")?;
                match alert {
                    AlertDescription::UnknownCA | AlertDescription::BadCertificate => {
                        f.write_str(" (it does not trust the certificate it was shown)")
                    }
                    AlertDescription::CertificateRequired => {
                        f.write_str(" (it wants a client certificate)")
                    }
                    AlertDescription::ProtocolVersion => {
                        f.write_str(" (no version of TLS that both sides speak)")
                    }
                    AlertDescription::NoApplicationProtocol => {
                        f.write_str(" (no application protocol that both sides speak)")
                    }
                    _ => Ok(()),
                }
            }
            Error::NoCertificatesPresented => f.write_str("the peer showed no certificate"),
            Error::NoApplicationProtocol => {
                f.write_str("no application protocol that both sides speak")
            }
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => f.write_str(
                "the peer's certificate is not signed by an authority that is trusted here",
            ),
            // The last is what an offer of TLS 1.1 and below lacks first.
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) => f.write_str("the peer speaks no version of TLS that is spoken here"),
            error => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Handshake(error) | Self::Stream(error) => Some(error),
            Self::HandshakeCutOff | Self::HandshakeTimedOut(_) => None,
        }
    }
}
