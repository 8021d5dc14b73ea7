//! TLS as a `tls://` address names it: by its files.

use crate::{Error, TlsFiles};

use super::{TlsClient, TlsServer};

impl TlsFiles {
    /// A server with this certificate; with `client_ca`, for clients that show one of theirs. It can be
    /// [watched](TlsServer::watch).
    ///
    /// # Errors
    /// [`Error::Tls`] tells which file cannot be used and why, or that the address names none.
    pub fn server(&self) -> Result<TlsServer, Error> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            return Err(unfit("a server needs a certificate: tls://host:port?cert=FILE&key=FILE"));
        };
        let builder = TlsServer::builder().certificate(&**certificate, &**key);
        match &self.client_ca {
            Some(authorities) => builder.require_client_certificate(&**authorities).build(),
            None => builder.build(),
        }
    }

    /// A client that trusts whom the system trusts, and shows this certificate if there is one. To
    /// trust others, connect to a `tcp://` address with a [`TlsClient`] of your own.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    pub fn client(&self) -> Result<TlsClient, Error> {
        if self.client_ca.is_some() {
            return Err(unfit("client-ca is for those who listen: leave it out"));
        }
        let builder = TlsClient::builder();
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder.certificate(&**certificate, &**key).build(),
            _ => builder.build(),
        }
    }
}

fn unfit(problem: &str) -> Error {
    Error::Tls { subject: "a tls:// address".to_owned(), problem: problem.to_owned() }
}
