//! Receives an open file over a Unix socket, and prints what is in it.
//!
//! ```text
//! cargo run --example descriptor_server unix:/tmp/files.sock Cargo.toml
//! cargo run --example descriptor_client unix:/tmp/files.sock
//! ```

use std::fs::File;
use std::os::fd::OwnedFd;

use bytes::BytesMut;
use ropewalk::{Protocol, Reactor, Reason, Result, Transport};

#[derive(Default)]
struct Reader {
    file: Option<File>,
}

impl Protocol for Reader {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.receive_descriptors(1)?; // unless it is asked for, none is taken
        Ok(())
    }

    fn descriptor_received(&mut self, _: &mut Transport<'_>, descriptor: OwnedFd) -> Result {
        self.file = Some(descriptor.into());
        Ok(())
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let mut file = self.file.take().ok_or("a name came without its file")?;
        println!("{}:", String::from_utf8_lossy(&data.split()));
        std::io::copy(&mut file, &mut std::io::stdout())?;
        Ok(())
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        transport.stop();
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("unix:/tmp/files.sock".to_owned());

    let mut reactor = Reactor::new()?;
    reactor.connect(&address, |_| Reader::default()).then(|reactor, result| {
        if let Err(error) = result {
            eprintln!("{error}");
            reactor.stop();
        }
    });
    reactor.run()?;
    Ok(())
}
