//! Greets over HTTPS.
//!
//! ```text
//! cargo run --example https_hello 127.0.0.1:8444 cert.pem key.pem
//! curl --cacert cert.pem https://localhost:8444/world
//! ```

use ropewalk::http::{HttpServer, Request};
use ropewalk::tls::TlsServer;
use ropewalk::{ListenOptions, Reactor, Result};

fn answer(request: &Request) -> String {
    format!("Hello, {}!\n", request.path().trim_start_matches('/'))
}

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8444".to_owned());
    let certificate = arguments.next().unwrap_or("cert.pem".to_owned());
    let key = arguments.next().unwrap_or("key.pem".to_owned());

    let mut reactor = Reactor::new()?;
    let tls = TlsServer::builder().certificate(certificate, key).alpn(["http/1.1"]).build()?;
    let server = |_| HttpServer::new(answer);
    let listener = reactor.listen_with(ListenOptions::default().tls(tls), &address, server)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
