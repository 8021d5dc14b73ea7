//! Says a line in the open, asks for TLS, says another one in secret, and prints what it hears.
//!
//! ```text
//! cargo run --example starttls_server
//! cargo run --example starttls_client 127.0.0.1:8000 cert.pem
//! ```

use ropewalk::line::{LineProtocol, LineTransport, Lines};
use ropewalk::tls::TlsClient;
use ropewalk::{Reactor, Reason, Result, Transport};

struct Client {
    tls: TlsClient,
}

impl LineProtocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.send_line("in the open");
        transport.send_line("STARTTLS");
        Ok(())
    }

    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
        let way = if transport.tls().is_some() { "in secret" } else { "in the open" };
        println!("heard {way}: {}", String::from_utf8_lossy(line));
        if line == b"READY" {
            transport.start_tls(self.tls.to("localhost")?)?;
            transport.send_line("in secret"); // it goes out when the handshake is done
        } else if line == b"in secret" {
            transport.lose_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        if !reason.is_orderly() {
            eprintln!("{reason}");
        }
        transport.stop();
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8000".to_owned());
    let authorities = std::env::args().nth(2).unwrap_or("cert.pem".to_owned());

    let tls = TlsClient::builder().authorities(authorities).build()?;
    let mut reactor = Reactor::new()?;
    let client = move |_| Lines::new(Client { tls: tls.clone() });
    reactor.connect(&address, client).forget();
    reactor.run()?;
    Ok(())
}
