//! Asks several servers the same question at once, and prints the first answer; the others are let go.
//!
//! ```text
//! cargo run --example line_echo &
//! cargo run --example async_client hello 127.0.0.1:7001 10.255.255.1:7001
//! ```

use std::time::Duration;

use ropewalk::{AsyncStream, Error, Local, Reactor, Result, race};

async fn ask(local: Local, server: String, question: String) -> Result<String, Error> {
    let mut stream = AsyncStream::connect(&local, &server).await?;
    stream.write(format!("{question}\n"));
    let answer = stream.read_line(1_000).await?.ok_or(Error::CutOff)?;
    Ok(format!("{server} says {}", String::from_utf8_lossy(&answer)))
}

async fn ask_all(local: Local, question: String, servers: Vec<String>) -> Result<String> {
    let asked = servers.into_iter().map(|server| ask(local.clone(), server, question.clone()));
    let first = local.timeout(Duration::from_secs(5), race(asked)).await?;
    first.map(|(_, answer)| answer).map_err(|errors| Error::AllFailed(errors).into())
}

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let question = arguments.next().unwrap_or("hello".to_owned());

    let mut reactor = Reactor::new()?;
    let asking = ask_all(reactor.local(), question, arguments.collect());
    reactor.spawn(asking).then(|reactor, answer| match answer {
        Ok(Ok(answer)) => {
            println!("{answer}");
            reactor.stop();
        }
        Ok(Err(error)) => reactor.fail(error),
        Err(error) => reactor.fail(error),
    });
    Ok(reactor.run()?)
}
