//! Opens a file for everybody who connects, and sends the open file itself: its descriptor.
//!
//! ```text
//! cargo run --example descriptor_server unix:/tmp/files.sock Cargo.toml
//! cargo run --example descriptor_client unix:/tmp/files.sock
//! ```

use std::fs::File;

use bytes::BytesMut;
use log::info;
use ropewalk::{Protocol, Reactor, Result, Transport};

struct Opener {
    path: String,
}

impl Protocol for Opener {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let caller = transport.peer_credentials()?;
        info!("user {} may read {}", caller.user, self.path);
        // A descriptor travels with at least one byte. It is closed here once it is sent.
        let file = File::open(&self.path)?;
        transport.write_with_descriptors(self.path.as_bytes(), [file.into()])?;
        transport.lose_connection();
        Ok(())
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &mut BytesMut) -> Result {
        Err("nothing was asked for".into())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("unix:/tmp/files.sock".to_owned());
    let path = std::env::args().nth(2).unwrap_or("Cargo.toml".to_owned());

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, move |_| Opener { path: path.clone() })?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
