//! A reactor beside tokio: a protocol asks a tokio task, and the task asks the reactor.
//!
//! ```text
//! cargo run --example tokio_bridge
//! nc 127.0.0.1 7014
//! ```

use std::time::Duration;

use ropewalk::line::{Delimiter, LineProtocol, LineTransport, Lines};
use ropewalk::{Handle, Reactor, Result, Transport};

/// Runs on tokio, and may use whatever needs tokio. A `Handle` asks the reactor and awaits the answer.
async fn work(line: String, reactor: Handle) -> Result<String> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    let callers = reactor.call(|reactor| reactor.connection_count()).await?;
    Ok(format!("{} (to one of {callers})", line.to_uppercase()))
}

/// Lives on the reactor.
struct Asking(tokio::runtime::Handle);

impl LineProtocol for Asking {
    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
        let line = String::from_utf8_lossy(line).into_owned();
        let task = self.0.spawn(work(line, transport.handle()));
        // What tokio's task gives can be awaited anywhere.
        let answer = transport.spawn(async move { task.await? });
        transport.when(answer, |_: &mut Self, transport, answer| match answer {
            Ok(Ok(answer)) => drop(transport.send_line(answer)),
            failed => drop(transport.send_line(format!("sorry: {failed:?}"))),
        });
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7014".to_owned());
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;

    let mut reactor = Reactor::new()?;
    let handle = tokio.handle().clone();
    let asking = move |_| Lines::new(Asking(handle.clone())).delimiter(Delimiter::LfOrCrLf);
    let listener = reactor.listen(&address, asking)?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
