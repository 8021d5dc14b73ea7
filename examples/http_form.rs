//! A page with a form, and what becomes of a file that is sent with it: it goes to disk while it
//! arrives, and is kept under a name of ours.
//!
//! ```text
//! cargo run --example http_form
//! curl http://127.0.0.1:8089/ -F title=Boats -F photo=@boat.jpg    # or a browser
//! curl http://127.0.0.1:8089/ -d title=Boats
//! ```

use ropewalk::http::{Exchange, Form, FormLimits, Forms, Reply, Request, Response};
use ropewalk::http::{Routes, Site, Status};
use ropewalk::{Reactor, Result};

const PAGE: &str = "<!doctype html><title>Photographs</title>
<form method=post enctype=multipart/form-data>
<input name=title placeholder=Title> <input name=photo type=file> <button>Send</button>
</form>";

fn page(_: &Request) -> Response {
    Response::new(Status::OK).header("Content-Type", "text/html; charset=utf-8").body(PAGE)
}

fn form_received(mut form: Form, exchange: &mut Exchange<'_>) -> Result<Reply> {
    let title = form.field("title").unwrap_or("Untitled").to_owned();
    let Some(photo) = form.take_file("photo") else {
        return Ok(format!("{title}: no photograph\n").into());
    };
    let told = format!("{title}: {:?}, {} bytes\n", photo.file_name(), photo.size());
    let kept = photo.path().with_extension("photo");
    exchange.when(photo.persist(kept), move |exchange, result| {
        exchange.respond(match result {
            Ok(()) => Response::text(told),
            Err(_) => Status::INTERNAL_SERVER_ERROR.into(),
        });
    });
    Ok(Reply::Later)
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8089".to_owned());
    let directory = std::env::args_os().nth(2).unwrap_or(std::env::temp_dir().into());

    let forms = Forms::new().uploads_to(directory).limits(FormLimits::new().file(10 << 20));
    let routes = Routes::new().get("/", page).post("/", forms.handler(form_received));
    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, Site::new(routes))?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
