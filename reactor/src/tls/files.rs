//! TLS as a `tls://` address names it: by its files.

use crate::core::Core;
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

impl Core {
    /// The client for a `tls://` address. Without files it is one for all: the system's authorities
    /// are many to read for each connection, and sessions can be resumed.
    pub(crate) fn tls_client(&mut self, files: &TlsFiles) -> Result<TlsClient, Error> {
        if *files != TlsFiles::default() {
            return files.client();
        }
        let client = match self.tls_client.take() {
            Some(client) => client,
            None => files.client()?,
        };
        Ok(self.tls_client.insert(client).clone())
    }
}

fn unfit(problem: &str) -> Error {
    Error::Tls { subject: "a tls:// address".to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Simulation;

    #[test]
    fn addresses_without_files_share_one_client_of_their_reactor() {
        let mut simulation = Simulation::calm();
        let core = simulation.reactor().core_mut();
        let mut client = || {
            let made = core.tls_client(&TlsFiles::default());
            made.expect("authorities: apt-get install ca-certificates")
        };
        assert_eq!(client(), client());
        let unfit = TlsFiles { client_ca: Some("ca.pem".into()), ..TlsFiles::default() };
        let error = core.tls_client(&unfit).expect_err("it connects");
        assert!(error.to_string().contains("client-ca is for those who listen"), "{error}");
    }
}
