//! All that a browser speaks, on one page: a form, a stream of events, and a WebSocket.
//!
//! ```text
//! cargo run --example http_page
//! open http://127.0.0.1:8087/
//! ```

use ropewalk::http::websocket::{Message, WebSocket, WebSocketUpgrade};
use ropewalk::http::{
    Compression, Event, Events, Exchange, Form, Forms, HandlerExt, Reply, Request, Response,
    Routes, Site, Status,
};
use ropewalk::{Reactor, Result};

fn page(_: &Request) -> Response {
    let page = include_str!("http_page.html");
    Response::new(Status::OK).header("Content-Type", "text/html; charset=utf-8").body(page)
}

fn socket(request: &Request) -> Reply {
    let echo = |socket: &mut WebSocket<'_>, message: Message<'_>| {
        socket.send(message);
        Ok(())
    };
    WebSocketUpgrade::new().accept(request, echo)
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8087".to_owned());

    let mut reactor = Reactor::new()?;
    let events = Events::new(&reactor);
    let sender = events.clone();
    let form = move |form: Form, _: &mut Exchange<'_>| -> Result<Reply> {
        let words = form.field("words").unwrap_or_default();
        sender.send(&Event::new(words));
        Ok(format!("You said: {words}").into())
    };
    let routes = Routes::new()
        .get("/", page)
        .post("/form", Forms::new().handler(form))
        .get("/events", events)
        .get("/socket", socket);
    let site = Site::new(routes.with(Compression::new()));
    let listener = reactor.listen(&address, site.clone())?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.before_shutdown(move |reactor| site.drain(reactor));
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
