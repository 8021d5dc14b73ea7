//! Sends back whatever it receives (RFC 862).
//!
//! ```text
//! cargo run --example echo
//! nc 127.0.0.1 7007
//! ```

use bytes::BytesMut;
use ropewalk::{Protocol, Reactor, Result, Transport};

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
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, |_| Echo)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
