//! Greets over HTTP/1.1: whole requests, and one answer that comes a second later.
//!
//! ```text
//! cargo run --example http_hello
//! curl -i http://127.0.0.1:8080/world
//! curl -i -d hi http://127.0.0.1:8080/
//! curl -i http://127.0.0.1:8080/later http://127.0.0.1:8080/at-once
//! ```

use std::time::Duration;

use ropewalk::http::{Exchange, HttpServer, Reply, Request, Response, Status, with_exchange};
use ropewalk::{Reactor, Result};

fn answer(request: &Request, exchange: &mut Exchange<'_>) -> Result<Reply> {
    match request.path() {
        "/later" => {
            exchange.call_later(Duration::from_secs(1), |exchange| {
                exchange.respond(Response::text("Sorry for the delay.\n"));
            });
            Ok(Reply::Later)
        }
        "/" if request.body().is_empty() => Ok("Hello, world!\n".into()),
        "/" => Ok(format!("You sent {} bytes.\n", request.body().len()).into()),
        path if path.len() > 40 => Ok(Status::NOT_FOUND.into()),
        path => Ok(format!("Hello, {}!\n", &path[1..]).into()),
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, |_| HttpServer::new(with_exchange(answer)))?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
