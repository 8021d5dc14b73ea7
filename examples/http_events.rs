//! A page on which everybody sees at once what anybody says: server-sent events.
//!
//! ```text
//! cargo run --example http_events
//! curl -N http://127.0.0.1:8088/events                             # or a browser
//! curl http://127.0.0.1:8088/say -d 'hello, pages'
//! ```

use ropewalk::http::{Event, Events, Request, Response, Routes, Site, Status};
use ropewalk::{Reactor, Result};

const PAGE: &str = "<!doctype html><title>What is said</title>
<form><input name=words autofocus> <button>Say</button></form> <ul></ul>
<script>
new EventSource('/events').onmessage = event =>
    document.querySelector('ul').appendChild(document.createElement('li')).textContent = event.data;
document.forms[0].onsubmit = event => {
    event.preventDefault();
    fetch('/say', {method: 'POST', body: document.forms[0].words.value});
};
</script>";

fn page(_: &Request) -> Response {
    Response::new(Status::OK).header("Content-Type", "text/html; charset=utf-8").body(PAGE)
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8088".to_owned());

    let mut reactor = Reactor::new()?;
    // Whoever was away for a moment is told what it has missed: the last hundred at most.
    let events = Events::new(&reactor).history(100);
    let (sender, mut said) = (events.clone(), 0);
    let say = move |request: &Request| {
        said += 1;
        let words = String::from_utf8_lossy(request.body());
        let heard = sender.send(&Event::new(words).id(&said.to_string()));
        format!("{heard} hear that\n")
    };
    let routes = Routes::new().get("/", page).get("/events", events).post("/say", say);
    let site = Site::new(routes);
    let listener = reactor.listen(&address, site.clone())?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.before_shutdown(move |reactor| {
        reactor.stop_listening(listener);
        site.drain(reactor) // ends the streams
    });
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
