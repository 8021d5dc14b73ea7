//! Sends back whatever it receives, but not for ever, not fast, and not for everybody at once.
//!
//! ```text
//! cargo run --example policies
//! nc 127.0.0.1 7010
//! ```

use std::time::Duration;

use bytes::BytesMut;
use ropewalk::{ListenOptions, Policy, Protocol, Rate, Reactor, Result, Transport};

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        transport.write(data);
        data.clear();
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7010".to_owned());

    let policy = Policy::new()
        .idle_timeout(Duration::from_secs(5))
        .rate_in(Rate::per_second(1000).burst(100))
        .total_rate_out(1 << 20)
        .max_connections(100)
        .max_connections_per_peer(2);

    let mut reactor = Reactor::new()?;
    let options = ListenOptions::default().policy(policy.clone());
    let listener = reactor.listen_with(options, &address, |_| Echo)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.call_repeatedly(Duration::from_secs(1), move |_| {
        let counts = policy.counts();
        println!("{} connections, {} refused", counts.connections, counts.refused);
    });
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
