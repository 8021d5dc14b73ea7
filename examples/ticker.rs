//! Tells everybody who is connected how many seconds it has been running.
//!
//! ```text
//! cargo run --example ticker
//! nc 127.0.0.1 7004
//! ```

use std::time::Duration;

use bytes::BytesMut;
use ropewalk::line::LineTransport;
use ropewalk::{Protocol, Reactor, Result, Transport};

struct Listener;

impl Protocol for Listener {
    fn data_received(&mut self, _: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7004".to_owned());

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, |_| Listener)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    let began = reactor.now();
    reactor.call_repeatedly(Duration::from_secs(1), move |reactor| {
        let seconds = (reactor.now() - began).as_secs();
        for id in reactor.connections() {
            if let Some(mut transport) = reactor.connection(id) {
                transport.send_line(format!("{seconds} s"));
            }
        }
    });
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
