//! Sends one line over TLS, and prints the line that comes back. The third argument is a file of
//! authorities to trust in place of the system's.
//!
//! ```text
//! cargo run --example tls_echo
//! cargo run --example tls_client localhost:8443 hello cert.pem
//! ```

use bytes::BytesMut;
use ropewalk::tls::TlsClient;
use ropewalk::{ConnectOptions, Protocol, Reactor, Reason, Result, Transport};

struct Client {
    line: String,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let line = format!("{}\r\n", self.line);
        transport.write(line.as_bytes()); // it goes out when the handshake is done
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        if data.ends_with(b"\n") {
            let version = transport.tls().map_or("nothing", |tls| tls.version());
            print!("over {version}: {}", String::from_utf8_lossy(data));
            transport.lose_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        if !reason.is_orderly() {
            eprintln!("{reason}"); // not who it should be, or cut off
        }
        transport.stop();
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("localhost:8443".to_owned());
    let line = std::env::args().nth(2).unwrap_or("hello".to_owned());
    let tls = match std::env::args().nth(3) {
        Some(file) => TlsClient::builder().authorities(file).server_name("localhost").build()?,
        None => TlsClient::new()?,
    };
    let mut reactor = Reactor::new()?;
    let options = ConnectOptions::default().tls(tls);
    let client = move |_| Client { line: line.clone() };
    reactor.connect_with(options, &address, client).then(|reactor, made| {
        if let Err(error) = made {
            eprintln!("{error}"); // refused, or no such name
            reactor.stop();
        }
    });
    Ok(reactor.run()?)
}
