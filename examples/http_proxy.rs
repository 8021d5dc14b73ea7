//! Has another server answer what is below `/app`, and answers the rest itself.
//!
//! ```text
//! cargo run --example http_proxy 127.0.0.1:8086 http://127.0.0.1:8081
//! cargo run --example http_echo
//! curl -i http://127.0.0.1:8086/app/path
//! ```

use ropewalk::http::{Request, ReverseProxy, Routes, Site};
use ropewalk::{Reactor, Result};

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8086".to_owned());
    let server = arguments.next().unwrap_or("http://127.0.0.1:8081".to_owned());

    let routes = Routes::new()
        .get("/", |_: &Request| "This is the proxy. The rest is below /app.\n")
        .mount("/app", ReverseProxy::to(&server)?);
    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, Site::new(routes))?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
