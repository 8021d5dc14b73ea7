//! Sends each datagram back to whoever sent it (RFC 862).
//!
//! ```text
//! cargo run --example echo_udp udp://127.0.0.1:8000
//! nc -u 127.0.0.1 8000
//! ```

use ropewalk::{Address, DatagramProtocol, DatagramTransport, Reactor, Result};

struct Echo;

impl DatagramProtocol for Echo {
    fn datagram_received(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        data: &[u8],
        from: Address,
    ) -> Result {
        transport.send_to(data, &from);
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("udp://127.0.0.1:8000".to_owned());

    let mut reactor = Reactor::new()?;
    let socket = reactor.listen_datagram(&address, Echo)?;
    if let Some(address) = reactor.datagram_address(socket) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
