//! Tells the time to whoever connects: each time it asks a program for it.
//!
//! ```text
//! cargo run --example process_date 127.0.0.1:7012
//! nc 127.0.0.1 7012
//! ```

use std::time::Duration;

use bytes::BytesMut;
use ropewalk::{Program, Protocol, Reactor, Result, Transport};

struct Date;

impl Protocol for Date {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let date = Program::new("date").arg("+%F %T").timeout(Duration::from_secs(5));
        let running = transport.run_process(date);
        transport.when(running, |_: &mut Self, transport, result| {
            match result {
                Ok(output) if output.status.is_success() => transport.write(&output.out),
                Ok(output) => transport.write(format!("date {}\n", output.status).as_bytes()),
                Err(error) => transport.write(format!("{error}\n").as_bytes()),
            };
            transport.lose_connection();
        });
        Ok(())
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7012".to_owned());

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, |_| Date)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
