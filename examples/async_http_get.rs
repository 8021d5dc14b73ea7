//! Asks several servers at once, and prints the first good answer; the other requests are given up.
//!
//! ```text
//! cargo run --example http_hello &
//! cargo run --example async_http_get http://127.0.0.1:8080/a http://10.255.255.1/b
//! ```

use std::time::Duration;

use ropewalk::http::client::Client;
use ropewalk::{Error, Reactor, Result, race};

async fn ask(client: Client, url: String) -> Result<String, Error> {
    let answer = client.get(&url).await?;
    if !answer.status().is_success() {
        return Err(Error::Other(format!("{url} says {}", answer.status()).into()));
    }
    Ok(format!("{url} says {}", answer.text()))
}

async fn ask_all(client: Client, urls: Vec<String>) -> Result<String, Error> {
    let asked = urls.into_iter().map(|url| ask(client.clone(), url));
    let (_, first) = race(asked).await.map_err(Error::AllFailed)?;
    Ok(first)
}

fn main() -> Result {
    env_logger::init();
    let urls = std::env::args().skip(1).collect();

    let mut reactor = Reactor::new()?;
    let client = Client::builder().timeout(Duration::from_secs(5)).build(reactor.local());
    reactor.spawn(ask_all(client, urls)).then(|reactor, answer| {
        match answer.and_then(|first| first) {
            Ok(answer) => {
                print!("{answer}");
                reactor.stop();
            }
            Err(error) => reactor.fail(error),
        }
    });
    Ok(reactor.run()?)
}
