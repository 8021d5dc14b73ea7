//! A publish/subscribe server that every Redis client speaks to.
//!
//! ```text
//! cargo run --example redis_server
//! redis-cli -p 6380 SUBSCRIBE news
//! redis-cli -p 6380 PUBLISH news hello
//! ```

use ropewalk::redis::server::{Config, Server};
use ropewalk::{Reactor, Result};

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:6380".to_owned());

    let mut reactor = Reactor::new()?;
    let config = Config::default().hard_limit(8 << 20); // bytes that wait for one subscriber
    let listener = reactor.listen(&address, Server::new(config))?;
    println!("listening on {}", reactor.address(listener).ok_or("it is closed")?);
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
