//! Answers each netstring with the same one in capitals. A string's length is known before it
//! comes, so a string may hold anything, and one that is too long is refused at once.
//!
//! ```text
//! cargo run --example netstring_server
//! printf 5:hello, | nc -N 127.0.0.1 7003
//! ```

use ropewalk::line::{Error, LineTransport, StringProtocol, Strings};
use ropewalk::{Reactor, Result, Transport};

struct Capitals;

impl StringProtocol for Capitals {
    fn string_received(&mut self, transport: &mut Transport<'_>, string: &[u8]) -> Result {
        transport.send_netstring(string.to_ascii_uppercase());
        Ok(())
    }

    fn framing_failed(&mut self, transport: &mut Transport<'_>, error: &Error) {
        transport.send_netstring(format!("sorry: {error}"));
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7003".to_owned());

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, |_| Strings::netstrings(Capitals).max_length(1000))?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
