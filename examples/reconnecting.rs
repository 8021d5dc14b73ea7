//! Prints what a server says, line by line, and comes back when the server has been away.
//!
//! ```text
//! cargo run --example ticker 127.0.0.1:7004
//! cargo run --example reconnecting 127.0.0.1:7004     # then stop the ticker, and start it again
//! ```

use std::time::Duration;

use ropewalk::line::{LineProtocol, Lines};
use ropewalk::{Reactor, ReconnectingClient, Result, Transport};

struct Printer;

impl LineProtocol for Printer {
    fn line_received(&mut self, _: &mut Transport<'_>, line: &[u8]) -> Result {
        println!("{}", String::from_utf8_lossy(line));
        Ok(())
    }
}

fn main() -> Result {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7004".to_owned());

    let mut reactor = Reactor::new()?;
    // At first it waits for half a second to a second, and for ten seconds at most.
    let client = ReconnectingClient::new(&address)?.max_delay(Duration::from_secs(10));
    client.start(&mut reactor, |_| Lines::new(Printer)).forget();
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
