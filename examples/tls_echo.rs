//! Sends back whatever it receives, over TLS, and reads its certificate again when the file changes.
//!
//! ```text
//! openssl req -x509 -newkey ed25519 -nodes -keyout key.pem -out cert.pem -subj /CN=localhost \
//!     -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE
//! cargo run --example tls_echo 127.0.0.1:8443 cert.pem key.pem
//! openssl s_client -connect localhost:8443 -CAfile cert.pem -quiet
//! ```

use std::time::Duration;

use bytes::BytesMut;
use ropewalk::tls::TlsServer;
use ropewalk::{ListenOptions, Protocol, Reactor, Result, Transport};

struct Echo;

impl Protocol for Echo {
    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        eprintln!("{}: {:?}", transport.peer(), transport.tls());
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        transport.write(data);
        data.clear();
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8443".to_owned());
    let certificate = arguments.next().unwrap_or("cert.pem".to_owned());
    let key = arguments.next().unwrap_or("key.pem".to_owned());

    let mut reactor = Reactor::new()?;
    let tls = TlsServer::new(certificate, key)?;
    tls.watch(&mut reactor, Duration::from_secs(60));
    let listener = reactor.listen_with(ListenOptions::default().tls(tls), &address, |_| Echo)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
