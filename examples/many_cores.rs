//! Echo on several cores: says on which one a caller came, and sends back whatever it receives.
//!
//! ```text
//! cargo run --example many_cores
//! nc 127.0.0.1 7015        # and again
//! ```

use bytes::BytesMut;
use ropewalk::{Cores, Protocol, Result, Transport};

struct Echo(usize);

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.write(format!("core {}\r\n", self.0).as_bytes());
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        transport.write(data);
        data.clear();
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7015".to_owned());

    let mut cores = Cores::new(Cores::available());
    cores.stop_on_signals()?;
    let shared = cores.listen(&address)?;
    println!("listening on {}", shared.address());
    cores.run(|reactor, number| {
        reactor.listen_shared(&shared, move |_| Echo(number))?;
        Ok(())
    })?;
    Ok(())
}
