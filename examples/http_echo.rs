//! Answers each HTTP request with the request itself; a large body comes back while it arrives.
//!
//! ```text
//! cargo run --release --example http_echo
//! curl -i -d 'a body' 'http://127.0.0.1:8081/path?query'
//! head -c 1G /dev/zero | curl -s -T - http://127.0.0.1:8081/ --limit-rate 200M | wc -c
//! curl -i http://127.0.0.1:8081/plaintext
//! ```

use std::sync::Arc;

use ropewalk::http::{Config, Echo, HttpServer};
use ropewalk::{Reactor, Result};

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".into());
    let config = Arc::new(Config::new());
    let mut reactor = Reactor::new()?;
    let http = move |_| HttpServer::with_config(config.clone(), Echo);
    let listener = reactor.listen(&address, http)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
