//! Publishes its arguments on a channel, and tells how many heard each.
//!
//! ```text
//! cargo run --example redis_publish 127.0.0.1:6380 news hello again
//! ```

use ropewalk::redis::client::Client;
use ropewalk::{Reactor, Result};

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:6380".to_owned());
    let channel = arguments.next().unwrap_or("news".to_owned());

    let mut reactor = Reactor::new()?;
    let client = Client::new(&reactor, &address)?;
    let work = async move {
        for text in arguments {
            let heard = client.publish(&channel, &text).await?;
            println!("{text}: heard by {heard}");
        }
        Ok::<_, ropewalk::Error>(())
    };
    reactor.spawn(work).then(|reactor, result| {
        if let Ok(Err(error)) = result {
            eprintln!("{error}");
        }
        reactor.stop();
    });
    Ok(reactor.run()?)
}
