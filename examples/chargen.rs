//! Sends characters for as long as somebody takes them (RFC 864), and never faster.
//!
//! ```text
//! cargo run --release --example chargen
//! nc 127.0.0.1 7008 | head -c 1000000000 | wc -c
//! ```

use bytes::BytesMut;
use ropewalk::{Protocol, Reactor, Result, Transport, Written};

/// Where it stands in the line of 95 printable characters.
#[derive(Default)]
struct Generator(usize);

impl Generator {
    /// Fills the buffer up to the high-water mark; `resume_producing` tells when to go on.
    fn produce(&mut self, transport: &mut Transport<'_>) {
        loop {
            let mut line: Vec<u8> = (0..72).map(|at| b' ' + ((self.0 + at) % 95) as u8).collect();
            line.extend_from_slice(b"\r\n");
            self.0 = (self.0 + 1) % 95;
            if transport.write(&line) != Written::Taken {
                return;
            }
        }
    }
}

impl Protocol for Generator {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        self.produce(transport);
        Ok(())
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.produce(transport);
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7008".to_owned());

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, |_| Generator::default())?;
    println!("listening on {}", reactor.address(listener).ok_or("it is closed")?);
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
