//! Answers each line with the same line, and `STARTTLS` with `READY` and TLS.
//!
//! ```text
//! cargo run --example starttls_server 127.0.0.1:8000 cert.pem key.pem
//! nc 127.0.0.1 8000
//! cargo run --example starttls_client 127.0.0.1:8000 cert.pem
//! ```

use ropewalk::line::{Delimiter, LineProtocol, LineTransport, Lines};
use ropewalk::tls::TlsServer;
use ropewalk::{Reactor, Result, Transport};

struct Server {
    tls: TlsServer,
}

impl LineProtocol for Server {
    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
        if line == b"STARTTLS" {
            transport.send_line("READY"); // in the open: TLS begins behind it
            transport.start_tls(&self.tls)?;
        } else {
            transport.send_line(line);
        }
        Ok(())
    }

    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        eprintln!("{}: {:?}", transport.peer(), transport.tls());
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8000".to_owned());
    let certificate = arguments.next().unwrap_or("cert.pem".to_owned());
    let key = arguments.next().unwrap_or("key.pem".to_owned());

    let mut reactor = Reactor::new()?;
    let tls = TlsServer::new(certificate, key)?;
    let server = move |_| Lines::new(Server { tls: tls.clone() }).delimiter(Delimiter::LfOrCrLf);
    let listener = reactor.listen(&address, server)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
