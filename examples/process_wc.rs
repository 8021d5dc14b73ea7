//! Lets `wc` count the lines, words and bytes of a text, as a child process.
//!
//! ```text
//! cargo run --example process_wc "twist two strands" "into one rope"
//! ```

use bytes::BytesMut;
use ropewalk::{
    ProcessProtocol, ProcessStatus, ProcessTransport, Program, Reactor, Result, Wiring,
};

struct WordCount {
    text: String,
    counts: String,
}

impl ProcessProtocol for WordCount {
    fn process_started(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        transport.write(self.text.as_bytes());
        transport.close_stdin(); // once it is written; `wc` counts until then
        Ok(())
    }

    fn out_received(&mut self, _: &mut ProcessTransport<'_>, data: &mut BytesMut) -> Result {
        self.counts.push_str(std::str::from_utf8(&data.split())?);
        Ok(())
    }

    fn process_ended(&mut self, transport: &mut ProcessTransport<'_>, status: ProcessStatus) {
        let counts: Vec<_> = self.counts.split_whitespace().collect();
        match counts[..] {
            [lines, words, bytes] => println!("{lines} lines, {words} words, {bytes} bytes"),
            _ => eprintln!("wc {status}"),
        }
        transport.stop();
    }
}

fn main() -> Result {
    env_logger::init();
    let lines = std::env::args().skip(1).map(|line| line + "\n");
    let wc = WordCount { text: lines.collect(), counts: String::new() };

    let mut reactor = Reactor::new()?;
    reactor.spawn_process(Program::new("wc").stderr(Wiring::Inherit), wc)?;
    reactor.run()?;
    Ok(())
}
