//! Echo over TLS on Ropewalk: the echo of its README, listened for with a certificate.

use std::io;

use ropewalk_reactor::tls::{Pem, TlsServer};
use ropewalk_reactor::{ListenOptions, Reactor};

use super::announce_reactor;
use super::echo_ropewalk::Echo;
use crate::secret;

pub(super) fn run() -> io::Result<()> {
    let (certificate, key) = secret::identity()?;
    let tls = TlsServer::new(Pem::text(certificate), Pem::text(key)).map_err(io::Error::other)?;
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let options = ListenOptions::default().tls(tls);
    let listener =
        reactor.listen_with(options, "127.0.0.1:0", |_| Echo).map_err(io::Error::other)?;
    announce_reactor(&mut reactor, listener)?;
    reactor.run().map_err(io::Error::other)
}
