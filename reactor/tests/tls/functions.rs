//! TLS for protocols that are async functions: one call in mid-stream, and what was there before it is
//! never taken for something after it.

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk_reactor::tls::TlsClient;
use ropewalk_reactor::tls::rustls::version::TLS13;
use ropewalk_reactor::{
    AsyncFactory, AsyncStream, Error, Local, Reason, Result, Simulation, async_protocol,
};

use crate::common::seeds;
use crate::support::*;

type Said = Rc<RefCell<Vec<String>>>;

/// Answers each line with the same line; `STARTTLS` with `READY`, and TLS.
fn line_server() -> (AsyncFactory, Said) {
    let said = Said::default();
    let told = said.clone();
    let serve = move |stream| answer_lines(stream, told.clone());
    (async_protocol(serve), said)
}

async fn answer_lines(mut stream: AsyncStream, said: Said) -> Result {
    while let Some(line) = stream.read_line(100).await? {
        said.borrow_mut().push(String::from_utf8_lossy(&line).into_owned());
        if &line[..] == b"STARTTLS" {
            stream.write("READY\n");
            stream.start_tls(&server()).await?;
        } else {
            stream.write(&line);
            stream.write("\n");
        }
    }
    Ok(())
}

/// Says something in the open, turns to TLS, says something in secret; what it heard.
async fn ask(local: Local, tls: TlsClient) -> Result<Vec<String>, Error> {
    let mut stream = AsyncStream::connect(&local, SERVER).await?;
    let mut heard = Vec::new();
    stream.write("in the open\nSTARTTLS\n");
    for _ in 0..2 {
        heard.extend(stream.read_line(100).await?);
    }
    stream.start_tls(tls.to(NAME)?).await?;
    stream.write("a secret\n");
    heard.extend(stream.read_line(100).await?);
    let agreed = stream.with(|transport| transport.tls().map(|tls| tls.version())).await?;
    assert_eq!(agreed, Some("TLSv1.3"));
    Ok(heard.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect())
}

#[test]
fn both_sides_turn_to_tls_with_one_call() {
    for seed in seeds(200) {
        let mut simulation = simulation(seed);
        let (factory, said) = line_server();
        simulation.reactor().listen(SERVER, factory).expect("a free address");
        let heard = Rc::new(RefCell::new(None));
        let told = heard.clone();
        let local = simulation.reactor().local();
        let asking = simulation.reactor().spawn(ask(local, client()));
        asking.then(move |_, result| *told.borrow_mut() = Some(result));
        soon(&mut simulation, || heard.borrow().is_some());
        let heard = heard.take().expect("it ended").expect("it did not panic");
        let heard = heard.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(heard, ["in the open", "READY", "a secret"], "seed {seed}");
        assert_eq!(*said.borrow(), ["in the open", "STARTTLS", "a secret"], "seed {seed}");
    }
}

#[test]
fn what_was_there_unread_before_tls_ends_the_connection() {
    let mut simulation = Simulation::calm();
    let (factory, said) = line_server();
    simulation.reactor().listen(SERVER, factory).expect("a free address");
    let mut peer = simulation.dial(SERVER).expect("a good address");
    peer.write(b"STARTTLS\ninjected\n");
    simulation.settle();
    let mut secret = RawClient::over(peer, raw_config(&[&TLS13]));
    let hello = secret.wire();
    secret.peer.write(&hello);
    simulation.settle();
    assert_eq!(*said.borrow(), ["STARTTLS"]);
    assert_eq!(secret.peer.read(), "READY\n", "and nothing of TLS");
    assert_eq!(simulation.reactor().connection_count(), 0);
}

#[test]
fn a_handshake_that_fails_is_a_loss_with_its_reason() {
    let mut simulation = Simulation::calm();
    let seen = Rc::new(RefCell::new(None));
    let told = seen.clone();
    let serve = move |mut stream: AsyncStream| {
        let told = told.clone();
        async move {
            let failed = stream.start_tls(&server()).await;
            *told.borrow_mut() = Some((failed.map_err(|error| error.to_string()), stream.reason()));
            Ok(())
        }
    };
    simulation.reactor().listen(SERVER, async_protocol(serve)).expect("a free address");
    let mut peer = simulation.dial(SERVER).expect("a good address");
    simulation.settle();
    peer.write(b"this is no client's hello\r\n");
    // It is told what was wrong, and closes.
    simulation.settle();
    assert!(peer.is_ended());
    peer.close();
    simulation.settle();
    let (failed, reason) = seen.take().expect("it ended");
    assert!(failed.is_err());
    assert!(matches!(reason, Some(Reason::Tls(_))), "{reason:?}");
}
