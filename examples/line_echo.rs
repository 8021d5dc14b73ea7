//! Answers each line with the same line, until it is told to quit.
//!
//! ```text
//! cargo run --example line_echo
//! nc 127.0.0.1 7001
//! ```

use ropewalk::line::{Delimiter, LineProtocol, LineTransport, Lines};
use ropewalk::{Reactor, Result, Transport};

struct LineEcho;

impl LineProtocol for LineEcho {
    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
        if line == b"quit" {
            transport.send_line("goodbye");
            transport.lose_connection();
        } else {
            transport.send_line(line);
        }
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7001".to_owned());

    let mut reactor = Reactor::new()?;
    let listener =
        reactor.listen(&address, |_| Lines::new(LineEcho).delimiter(Delimiter::LfOrCrLf))?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
