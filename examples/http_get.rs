//! Asks for a URL and prints the answer, as curl does: with callbacks, and the body as it comes.
//! The second argument is a file of authorities to trust in place of the system's.
//!
//! ```text
//! cargo run --example http_hello &
//! cargo run --example http_get http://127.0.0.1:8080/world
//! ```

use std::io::Write;
use std::time::Duration;

use ropewalk::http::client::{Client, Request, StreamedResponse};
use ropewalk::tls::TlsClient;
use ropewalk::{Error, Reactor, Result};

fn main() -> Result {
    env_logger::init();
    let url = std::env::args().nth(1).unwrap_or("http://127.0.0.1:8080/".to_owned());

    let mut reactor = Reactor::new()?;
    let mut builder =
        Client::builder().timeout(Duration::from_secs(30)).proxies_from_environment()?;
    if let Some(file) = std::env::args().nth(2) {
        builder = builder.tls(TlsClient::builder().authorities(file).build()?);
    }
    let client = builder.build(reactor.local());
    client.stream(Request::get(url)).then(answered);
    Ok(reactor.run()?)
}

fn answered(reactor: &mut Reactor, answer: Result<StreamedResponse, Error>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return reactor.fail(error), // what happened, to which URL, what to do
    };
    eprintln!("{} from {}", answer.status(), answer.url());
    let all = answer.into_body().for_each(|reactor, piece| {
        if let Err(error) = std::io::stdout().write_all(&piece) {
            reactor.fail(error);
        }
    });
    all.then(|reactor, result| match result {
        Ok(_trailers) => reactor.stop(),
        Err(error) => reactor.fail(error),
    });
}
