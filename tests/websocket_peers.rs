//! WebSockets with those whom we did not write: the Autobahn test suite on either side (run by kosoku,
//! which brings its cases), and Python's `websockets` as a client and as a server. With ourselves over
//! TLS, too.
//!
//! Their programs are in `tests/python/websocket`. `AUTOBAHN=short` leaves the compression cases with
//! large messages out, which take minutes.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

#[path = "support/suites.rs"]
mod suites;
mod support;

use std::cell::RefCell;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use ropewalk::http::websocket::{
    Close, CloseCode, Config, Deflate, Message, WebSocket, WebSocketClient, WebSocketHandler,
    WebSocketUpgrade,
};
use ropewalk::http::{HttpServer, Request};
use ropewalk::tls::{Pem, TlsClient, TlsServer};
use ropewalk::{
    ConnectOptions, Handle, ListenOptions, Local, Promise, Reactor, Reason, Result, Transport,
};
use suites::run;
use support::{Server, python, root};

/// All but compression.
const PLAIN: [&str; 3] = ["*", "-12.*", "-13.*"];
/// As many as there are, and those of them that only show how a peer does it.
const PLAIN_RESULT: &str = "INFORMATIONAL=3 OK=298";
/// Cases 12 send five kinds of data, and 13 one with seven ways to compress it; each a thousand
/// messages of eighteen sizes.
const COMPRESSED: [&str; 2] = ["12.*", "13.*"];

/// The compression cases, and how many of them there are.
fn compressed() -> (Vec<String>, usize) {
    let mut cases: Vec<String> = COMPRESSED.iter().map(|&case| case.to_owned()).collect();
    if !std::env::var("AUTOBAHN").is_ok_and(|which| which == "short") {
        return (cases, 12 * 18);
    }
    // Messages of up to 8 KiB, whole and in fragments, with every kind of data and of compression.
    let large = (7..=10).chain(12..=18);
    let kinds = (1..=5).map(|kind| (12, kind)).chain((1..=7).map(|way| (13, way)));
    for (group, kind) in kinds {
        cases.extend(large.clone().map(|size| format!("-{group}.{kind}.{size}")));
    }
    (cases, 12 * 7)
}

fn program(name: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(root().join("tests/python/websocket").join(name));
    command
}

fn last_line(said: &str) -> &str {
    said.lines().last().unwrap_or_default()
}

/// Everything that a peer may compress with, from the first octet on.
fn deflate() -> Deflate {
    // (The suite takes a binary message that comes back uncompressed for text, and fails over that.)
    Deflate::new().server_context_takeover(true).client_context_takeover(true).min_size(0)
}

const MAX_MESSAGE: usize = 16 * 1024 * 1024;

fn echo(socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
    socket.send(message);
    Ok(())
}

/// A server that echoes, in a thread of its own.
struct Echo {
    address: String,
    handle: Handle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Echo {
    fn start(deflate: Deflate) -> Self {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut reactor = Reactor::new().expect("a poller");
            let upgrade =
                WebSocketUpgrade::new().any_origin().max_message(MAX_MESSAGE).deflate(deflate);
            let listener = reactor.listen("127.0.0.1:0", move |_| {
                let upgrade = upgrade.clone();
                HttpServer::new(move |request: &Request| upgrade.accept(request, echo))
            });
            let listener = listener.expect("a free port");
            let address = reactor.address(listener).expect("it listens").to_string();
            sender.send((address, reactor.handle())).expect("the test waits");
            reactor.run().expect("it runs to its end");
        });
        let (address, handle) = receiver.recv().expect("it starts");
        Self { address: address.replace("tcp://", "ws://"), handle, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.handle.call_from_thread(|reactor| reactor.stop());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn the_server_passes_every_case_of_autobahn() {
    let server = Server::start(&["http", "--listen", "127.0.0.1:0"], 1);
    let url = format!("ws://{}", server.address());
    let said = run("autobahn-server", program("autobahn.py").args(["server", &url]).args(PLAIN));
    assert_eq!(last_line(&said), PLAIN_RESULT, "{said}");
}

#[test]
fn the_server_passes_the_cases_of_compression() {
    let server = Echo::start(deflate());
    let (cases, count) = compressed();
    let mut suite = program("autobahn.py");
    let said = run("autobahn-deflate", suite.args(["server", &server.address]).args(cases));
    assert_eq!(last_line(&said), format!("OK={count}"), "{said}");
}

#[test]
fn the_client_passes_every_case_of_autobahn() {
    let said = run_client(&PLAIN.map(str::to_owned), Config::new());
    assert_eq!(last_line(&said), PLAIN_RESULT, "{said}");
}

#[test]
fn the_client_passes_the_cases_of_compression() {
    let (cases, count) = compressed();
    // Some cases are only for clients that say of themselves that they remember nothing.
    let deflate = deflate().client_context_takeover(false);
    let said = run_client(&cases, Config::new().deflate(deflate));
    assert_eq!(last_line(&said), format!("OK={count}"), "{said}");
}

/// Another program, which is killed at the end, and what it says.
struct Peer {
    child: Child,
    lines: mpsc::Receiver<String>,
    port: String,
}

impl Peer {
    fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("python runs");
        let lines = support::lines(child.stdout.take().expect("it is piped"));
        let line = lines.recv_timeout(support::PATIENCE).expect("it says where it listens");
        let port = line.strip_prefix("listening ").expect("it says so").to_owned();
        Self { child, lines, port }
    }

    fn url(&self, path: &str) -> String {
        format!("ws://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Follows one connection to its end, and tells how it was closed and what came last.
struct Follower {
    echoes: bool,
    last: String,
    done: Option<Promise<(String, Close)>>,
}

impl WebSocketHandler for Follower {
    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        if self.echoes {
            socket.send(message);
        } else {
            self.last = message.text().unwrap_or_default().to_owned();
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut Transport<'_>, close: &Close, _: &Reason) {
        if let Some(done) = self.done.take() {
            done.succeed((std::mem::take(&mut self.last), close.clone()));
        }
    }
}

/// Connects to `url` and follows it to its end.
async fn follow(
    local: &Local,
    url: String,
    config: &Config,
    echoes: bool,
) -> Result<(String, Close)> {
    let (promise, done) = local.deferred();
    let client = WebSocketClient::new(&url)?.config(config.clone().max_message(MAX_MESSAGE));
    let follower = Follower { echoes, last: String::new(), done: Some(promise) };
    let opened = local.call(move |reactor| client.connect(reactor, follower)).await?;
    opened.await?;
    Ok(done.await?)
}

/// Runs our client through the cases; what the suite says of it.
fn run_client(cases: &[String], config: Config) -> String {
    let mut command = program("autobahn.py");
    command.arg("client").args(cases);
    let mut suite = Peer::start(command);
    let (count_url, report_url) =
        (suite.url("getCaseCount"), suite.url("updateReports?agent=ropewalk"));
    let case_url = suite.url("runCase?agent=ropewalk&case=");
    on_a_reactor(move |local| async move {
        let (count, _) = follow(&local, count_url, &config, false).await?;
        for number in 1..=count.parse::<u32>()? {
            follow(&local, format!("{case_url}{number}"), &config, true).await?;
        }
        follow(&local, report_url, &config, false).await?;
        Ok(())
    });
    let status = support::wait_within(&mut suite.child, suites::SUITE_LIMIT);
    let said: Vec<_> = suite.lines.iter().collect();
    let said = said.join("\n");
    assert!(status.success(), "{said}");
    said
}

/// Runs `work` to its end.
fn on_a_reactor<F: Future<Output = Result> + 'static>(work: impl FnOnce(Local) -> F) {
    let mut reactor = Reactor::new().expect("a poller");
    let outcome = Rc::new(RefCell::new(None));
    let (found, working) = (outcome.clone(), work(reactor.local()));
    let working = async move {
        let result = working.await;
        *found.borrow_mut() = Some(result);
    };
    reactor.spawn(working).then(|reactor, _| reactor.stop());
    reactor.run().expect("it runs to its end");
    outcome.take().expect("it has run").expect("it worked");
}

#[test]
fn python_is_echoed_with_every_compression() {
    let remembering = Echo::start(deflate().min_size(100));
    let server = Server::start(&["http", "--listen", "127.0.0.1:0"], 1);
    for url in [remembering.address.clone(), format!("ws://{}", server.address())] {
        let said = run("websockets-client", program("client.py").arg(&url));
        assert_eq!(said.lines().filter(|line| line.ends_with(" works")).count(), 5, "{said}");
    }
}

#[test]
fn a_server_of_pythons_echoes_our_client() {
    let server = Peer::start(program("server.py"));
    let url = server.url("");
    on_a_reactor(move |local| async move {
        for deflate in [None, Some(Deflate::new()), Some(deflate())] {
            let mut client = WebSocketClient::new(&url)?.subprotocols(["other", "echo"]);
            if let Some(deflate) = deflate {
                client = client.deflate(deflate);
            }
            let (promise, done) = local.deferred();
            let talk = Talk { at: 0, done: Some(promise) };
            local.call(move |reactor| client.connect(reactor, talk)).await?.await?;
            let close = done.await?;
            assert_eq!((close.code.number(), &*close.reason), (4000, "as you wish"));
            assert!(close.is_clean);
        }
        Ok(())
    });
}

#[test]
fn wss_is_the_same_over_tls_and_only_with_whom_the_certificate_names() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    on_a_reactor(move |local| async move {
        let certificate = Pem::text(certificate);
        let server = TlsServer::builder().certificate(certificate.clone(), Pem::text(key));
        let server = ListenOptions::default().tls(server.build()?);
        let port = local.call(move |reactor| -> Result<u16> {
            let listener = reactor.listen_with(server, "127.0.0.1:0", |_| {
                HttpServer::new(|request: &Request| WebSocketUpgrade::new().accept(request, echo))
            })?;
            let port = reactor.address(listener).and_then(|address| address.port());
            Ok(port.ok_or("it listens")?)
        });
        let port = port.await??;
        let tls = TlsClient::builder().authorities(certificate).build()?;
        for (host, is_named) in [("localhost", true), ("127.0.0.1", false)] {
            let (promise, done) = local.deferred();
            let greeter = Greeter(Some(promise));
            let client = WebSocketClient::new(&format!("wss://{host}:{port}/"))?
                .options(ConnectOptions::default().tls(tls.clone()));
            let opened = local.call(move |reactor| client.connect(reactor, greeter)).await?.await;
            assert_eq!(opened.is_ok(), is_named, "{opened:?}");
            if is_named {
                assert_eq!(done.await?, "hello, over TLS");
            }
        }
        Ok(())
    });
}

/// Says hello, tells what comes back, and closes.
struct Greeter(Option<Promise<String>>);

impl WebSocketHandler for Greeter {
    fn opened(&mut self, socket: &mut WebSocket<'_>) -> Result {
        assert!(socket.transport().tls().is_some());
        socket.send_text("hello, over TLS");
        Ok(())
    }

    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        if let (Some(told), Some(text)) = (self.0.take(), message.text()) {
            told.succeed(text.to_owned());
        }
        socket.close(CloseCode::NORMAL, "");
        Ok(())
    }
}

/// Says a few things, each when the one before has come back.
struct Talk {
    at: usize,
    done: Option<Promise<Close>>,
}

const SAID: [&str; 4] = ["hello", "", "k\u{e4}se \u{1f9c0}", "close"];

impl WebSocketHandler for Talk {
    fn opened(&mut self, socket: &mut WebSocket<'_>) -> Result {
        assert_eq!(socket.subprotocol(), Some("echo"));
        socket.send_text(&SAID[0].repeat(1000));
        Ok(())
    }

    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        let times = if SAID[self.at] == "close" { 1 } else { 1000 };
        assert_eq!(message.text(), Some(&*SAID[self.at].repeat(times)));
        self.at += 1;
        if let Some(next) = SAID.get(self.at) {
            let times = if *next == "close" { 1 } else { 1000 };
            socket.send_text(&next.repeat(times));
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut Transport<'_>, close: &Close, _: &Reason) {
        assert_ne!(close.code, CloseCode::ABNORMAL);
        if let Some(done) = self.done.take() {
            done.succeed(close.clone());
        }
    }
}
