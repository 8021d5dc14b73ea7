//! A small web service: routes with parameters, a password before a part of it, a log line for each
//! request, and an end that cuts no response.
//!
//! ```text
//! cargo run --example http_routes
//! curl -i -d 'buy rope' http://127.0.0.1:8085/notes
//! curl -i http://127.0.0.1:8085/notes/1
//! curl -i -u alice:swordfish -X DELETE http://127.0.0.1:8085/admin/notes
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk::http::{AccessLog, BasicAuth, HandlerExt, Request, Response, Routes, Site, Status};
use ropewalk::{Reactor, Result};

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8085".to_owned());
    let notes = Rc::new(RefCell::new(Vec::<String>::new()));

    let (adding, reading, clearing) = (notes.clone(), notes.clone(), notes);
    let admin = Routes::new().delete("/notes", move |_: &Request| {
        clearing.borrow_mut().clear();
        Status::NO_CONTENT
    });
    let routes = Routes::new()
        .post("/notes", move |request: &Request| {
            let mut notes = adding.borrow_mut();
            notes.push(String::from_utf8_lossy(request.body()).into_owned());
            let location = format!("/notes/{}", notes.len());
            Response::status(Status::CREATED).header("Location", location)
        })
        .get("/notes/{number}", move |request: &Request| {
            let number = request.parameter("number").and_then(|number| number.parse().ok());
            let index = number.and_then(|number: usize| number.checked_sub(1));
            match index.and_then(|index| reading.borrow().get(index).cloned()) {
                Some(note) => Response::text(note),
                None => Status::NOT_FOUND.into(),
            }
        })
        .mount("/admin", admin.with(BasicAuth::users("notes", [("alice", "swordfish")])));
    let site = Site::new(routes).access_log(AccessLog::to(std::io::stderr()));

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, site.clone())?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.before_shutdown(move |reactor| site.drain(reactor));
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
