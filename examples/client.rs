//! Sends one line, closes its half of the connection, and prints all that comes back.
//!
//! ```text
//! cargo run --example echo
//! cargo run --example client 127.0.0.1:7007 hello
//! ```

use std::io::Write;

use bytes::BytesMut;
use ropewalk::{Protocol, Reactor, Reason, Result, Transport};

struct Client {
    line: String,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.write(self.line.as_bytes());
        transport.write(b"\r\n");
        transport.lose_write_connection();
        Ok(())
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        std::io::stdout().write_all(&data.split())?;
        Ok(())
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        if !reason.is_orderly() {
            eprintln!("{reason}");
        }
        transport.stop();
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let line = std::env::args().nth(2).unwrap_or("hello".to_owned());

    let mut reactor = Reactor::new()?;
    let connecting = reactor.connect(&address, move |_| Client { line: line.clone() });
    connecting.then(|reactor, result| {
        if let Err(error) = result {
            eprintln!("{error}"); // refused, no such name, or nobody answered in 30 seconds
            reactor.stop();
        }
    });
    reactor.run()?;
    Ok(())
}
