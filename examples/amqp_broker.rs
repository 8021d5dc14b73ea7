//! A message queue that RabbitMQ's clients speak to unchanged (AMQP 0-9-1).
//!
//! ```text
//! cargo run --release --example amqp_broker
//! amqp-publish -r hello -b 'Hello World!'     # from Debian's amqp-tools, or any RabbitMQ tutorial
//! ```
//!
//! Another address: `cargo run --release --example amqp_broker 127.0.0.1:5673`.

use ropewalk::amqp::server::{Config, Server};
use ropewalk::{Reactor, Result};

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5672".to_owned());
    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(address.as_str(), Server::new(Config::default()))?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
