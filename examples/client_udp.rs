//! Sends one datagram, again each second until somebody answers, and prints the answer.
//!
//! ```text
//! cargo run --example echo_udp udp://127.0.0.1:8000
//! cargo run --example client_udp udp://127.0.0.1:8000 hello
//! ```

use std::time::Duration;

use ropewalk::{Address, DatagramProtocol, DatagramTransport, Reactor, Result};

const ATTEMPTS: u32 = 5;

struct Client {
    text: String,
    attempts: u32,
}

impl Client {
    fn ask(&mut self, transport: &mut DatagramTransport<'_>) {
        if self.attempts == ATTEMPTS {
            eprintln!("no answer"); // datagrams are lost, and so may theirs have been
            return transport.stop();
        }
        self.attempts += 1;
        transport.send(self.text.as_bytes());
        transport.call_later(Duration::from_secs(1), Client::ask);
    }
}

impl DatagramProtocol for Client {
    fn started(&mut self, transport: &mut DatagramTransport<'_>) -> Result {
        self.ask(transport);
        Ok(())
    }

    fn datagram_received(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        data: &[u8],
        _: Address,
    ) -> Result {
        println!("{}", String::from_utf8_lossy(data));
        transport.stop();
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("udp://127.0.0.1:8000".to_owned());
    let text = std::env::args().nth(2).unwrap_or("hello".to_owned());

    let mut reactor = Reactor::new()?;
    reactor.connect_datagram(&address, Client { text, attempts: 0 }).forget();
    reactor.run()?;
    Ok(())
}
