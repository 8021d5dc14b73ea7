//! Sends every WebSocket message back, compressed where the client can.
//!
//! ```text
//! cargo run --example websocket_echo
//! cargo run --example websocket_client ws://127.0.0.1:8082/ hello
//! python3 -m websockets ws://127.0.0.1:8082/          # pip install websockets
//! ```

use ropewalk::http::websocket::{Deflate, Message, WebSocket, WebSocketUpgrade};
use ropewalk::http::{HttpServer, Request};
use ropewalk::{Reactor, Result};

fn echo(socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
    socket.send(message);
    Ok(())
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8082".to_owned());
    let mut reactor = Reactor::new()?;
    let upgrade = WebSocketUpgrade::new().deflate(Deflate::new());
    let listener = reactor.listen(&address, move |_| {
        let upgrade = upgrade.clone();
        HttpServer::new(move |request: &Request| upgrade.accept(request, echo))
    })?;
    println!("listening on {}", reactor.address(listener).ok_or("it is closed")?);
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
