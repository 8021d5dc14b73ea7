//! Prints what is published on all channels that match a pattern, and comes back when the server has
//! been away.
//!
//! ```text
//! cargo run --example redis_subscribe 127.0.0.1:6380 'news*'
//! ```

use ropewalk::redis::client::Client;
use ropewalk::{Reactor, Result};

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:6380".to_owned());
    let pattern = std::env::args().nth(2).unwrap_or("*".to_owned());

    let mut reactor = Reactor::new()?;
    let client = Client::new(&reactor, &address)?;
    let subscription = client.psubscribe(&pattern, |_, message| {
        let channel = String::from_utf8_lossy(&message.channel);
        println!("{channel}: {}", String::from_utf8_lossy(&message.payload));
    });
    subscription.confirmed().then(move |_, confirmed| match confirmed {
        Ok(()) => println!("listening to {pattern}"),
        Err(error) => eprintln!("{error}"),
    });
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
