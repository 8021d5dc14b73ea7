//! Counts down for each caller, as a future that waits between the numbers.
//!
//! ```text
//! cargo run --example countdown
//! nc 127.0.0.1 7005
//! ```

use std::time::Duration;

use bytes::BytesMut;
use ropewalk::line::LineTransport;
use ropewalk::{ConnectionId, Error, Local, Protocol, Reactor, Result, Transport};

struct Countdown;

impl Protocol for Countdown {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.spawn(count_down(transport.local(), transport.id())).forget();
        Ok(())
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

/// A future never holds a transport: it asks the loop for a call, and awaits the answer.
async fn count_down(local: Local, id: ConnectionId) -> Result<(), Error> {
    for number in (1..=3).rev() {
        let said = local.call(move |reactor| {
            reactor.connection(id).map(|mut transport| transport.send_line(number.to_string()))
        });
        if said.await?.is_none() {
            return Ok(()); // the caller has gone
        }
        local.sleep(Duration::from_millis(200)).await?;
    }
    local.call_soon(move |reactor| {
        if let Some(mut transport) = reactor.connection(id) {
            transport.send_line("lift-off");
            transport.lose_connection();
        }
    });
    Ok(())
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7005".to_owned());

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, |_| Countdown)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
