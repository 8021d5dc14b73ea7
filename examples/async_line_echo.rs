//! `line_echo` as an async function: answers each line with the same line, until it is told to quit.
//!
//! ```text
//! cargo run --example async_line_echo
//! nc 127.0.0.1 7013
//! ```

use ropewalk::{AsyncStream, Reactor, Result, async_protocol};

const MAX_LENGTH: usize = 16 * 1024;

async fn line_echo(mut stream: AsyncStream) -> Result {
    while let Some(line) = stream.read_line(MAX_LENGTH).await? {
        if &line[..] == b"quit" {
            stream.write("goodbye\r\n");
            break;
        }
        stream.write([&line[..], b"\r\n"].concat());
        stream.drain().await?; // no further than the caller reads
    }
    Ok(())
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7013".to_owned());

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen(&address, async_protocol(line_echo))?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
