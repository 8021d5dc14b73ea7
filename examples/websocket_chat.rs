//! A room for browsers, in which everybody hears everybody: the page, and the WebSocket behind it.
//!
//! ```text
//! cargo run --example websocket_chat
//! open http://127.0.0.1:8083/                         # in several windows
//! ```

use ropewalk::http::websocket::{
    Close, Message, Prepared, WebSocket, WebSocketHandler, WebSocketUpgrade,
};
use ropewalk::http::{HttpServer, Reply, Request, Response, Status};
use ropewalk::{ConnectionId, Reactor, Reason, Result, Transport};
use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

const PAGE: &str = "<!doctype html><title>Chat</title><ul id=said></ul><input id=say autofocus>
<script>const socket = new WebSocket(location.href.replace(/^http/, 'ws') + 'chat')
socket.onmessage = event => said.appendChild(document.createElement('li')).innerText = event.data
say.onchange = () => { socket.send(say.value); say.value = '' }</script>";

/// All guests share the list of who is there.
#[derive(Clone, Default)]
struct Guest(Rc<RefCell<BTreeSet<ConnectionId>>>);

impl WebSocketHandler for Guest {
    fn opened(&mut self, socket: &mut WebSocket<'_>) -> Result {
        self.0.borrow_mut().insert(socket.id());
        Ok(())
    }

    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        let everybody: Vec<_> = self.0.borrow().iter().copied().collect();
        Prepared::new(message).broadcast(socket.transport(), &everybody);
        Ok(())
    }

    fn closed(&mut self, transport: &mut Transport<'_>, _: &Close, _: &Reason) {
        self.0.borrow_mut().remove(&transport.id());
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8083".to_owned());
    let (guest, upgrade) = (Guest::default(), WebSocketUpgrade::new().max_message(4096));
    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, move |_| {
        let (guest, upgrade) = (guest.clone(), upgrade.clone());
        HttpServer::new(move |request: &Request| -> Reply {
            match request.path() {
                "/" => Response::text(PAGE).header("Content-Type", "text/html").into(),
                "/chat" => upgrade.accept(request, guest.clone()),
                _ => Status::NOT_FOUND.into(),
            }
        })
    })?;
    println!("listening on {}", reactor.address(listener).ok_or("it is closed")?);
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
