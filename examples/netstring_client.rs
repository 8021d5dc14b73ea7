//! Sends its arguments as netstrings, and prints as many answers.
//!
//! ```text
//! cargo run --example netstring_server
//! cargo run --example netstring_client 127.0.0.1:7003 hello world
//! ```

use ropewalk::line::{LineTransport, StringProtocol, Strings};
use ropewalk::{Reactor, Reason, Result, Transport};

struct Asker(Vec<String>);

impl StringProtocol for Asker {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        for question in &self.0 {
            transport.send_netstring(question);
        }
        Ok(())
    }

    fn string_received(&mut self, transport: &mut Transport<'_>, string: &[u8]) -> Result {
        println!("{}", String::from_utf8_lossy(string));
        self.0.pop();
        if self.0.is_empty() {
            transport.lose_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        transport.stop();
    }
}

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:7003".to_owned());
    let mut asker = Some(Asker(arguments.collect()));

    let mut reactor = Reactor::new()?;
    let connecting = reactor.connect(&address, move |_| asker.take().map(Strings::netstrings));
    connecting.then(|reactor, result| {
        if let Err(error) = result {
            eprintln!("{error}");
            reactor.stop();
        }
    });
    reactor.run()?;
    Ok(())
}
