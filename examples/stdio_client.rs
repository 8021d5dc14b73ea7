//! Joins standard input and output to a connection, as `nc` does.
//!
//! ```text
//! cargo run --example echo
//! cargo run --example stdio_client 127.0.0.1:7007
//! ```

use bytes::BytesMut;
use ropewalk::{ConnectionId, Protocol, Reactor, Reason, Result, Transport, Written};

/// One of the two sides: what it receives goes to the other.
struct Side(Option<ConnectionId>);

impl Protocol for Side {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        if self.0.is_none() {
            let user = transport.standard_io(Side(Some(transport.id())));
            transport.when(user, |side: &mut Self, transport, user| {
                side.0 = user.inspect_err(|error| eprintln!("{error}")).ok();
                transport.resume_reading();
            });
        }
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let other = self.0.and_then(|other| transport.connection(other));
        if other.map(|mut other| other.write(&data.split())) != Some(Written::Taken) {
            transport.pause_reading(); // the other one is slow, or not there yet
        }
        Ok(())
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        let other = self.0.and_then(|other| transport.connection(other));
        other.into_iter().for_each(|mut other| other.resume_reading());
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        let other = self.0.and_then(|other| transport.connection(other));
        other.into_iter().for_each(|mut other| other.lose_write_connection());
        Ok(())
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        transport.stop(); // which flushes what the other one has to say
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let mut reactor = Reactor::new()?;
    reactor.connect(&address, |_| Side(None)).then(|reactor, result| {
        result.inspect_err(|error| eprintln!("{error}")).map_or_else(|_| reactor.stop(), drop);
    });
    reactor.run()?;
    Ok(())
}
