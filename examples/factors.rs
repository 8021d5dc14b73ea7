//! Finds the smallest factor of each number, on the thread pool: the loop goes on meanwhile.
//!
//! ```text
//! cargo run --example factors
//! nc 127.0.0.1 7006        # try 1000000016000000063, and something small at the same time
//! ```

use ropewalk::line::{Delimiter, LineProtocol, LineTransport, Lines};
use ropewalk::{Reactor, Result, Transport};

struct Factors;

fn smallest_factor(number: u64) -> u64 {
    (2..)
        .take_while(|factor| *factor <= number / factor)
        .find(|f| number.is_multiple_of(*f))
        .unwrap_or(number)
}

impl LineProtocol for Factors {
    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
        let Ok(number) = String::from_utf8_lossy(line).trim().parse::<u64>() else {
            transport.send_line("a number, please");
            return Ok(());
        };
        let job = transport.defer_to_thread(move || smallest_factor(number));
        transport.when(job, move |_: &mut Self, transport, factor| match factor {
            Ok(factor) => drop(transport.send_line(format!("{number}: {factor}"))),
            Err(error) => drop(transport.send_line(format!("{number}: {error}"))),
        });
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7006".to_owned());

    let mut reactor = Reactor::new()?;
    let listener =
        reactor.listen(&address, |_| Lines::new(Factors).delimiter(Delimiter::LfOrCrLf))?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
