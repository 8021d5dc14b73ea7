//! Every program in `examples/`, run as its head comment says and talked to over real sockets.

#[path = "support/certificate.rs"]
mod certificate;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use certificate::Certificate;

/// How long anything in here may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cargo puts the examples next to the directory of the tests' own binaries.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows where it is");
    let target = own.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST");
    let binary = target.join("examples").join(name);
    assert!(binary.exists(), "{}: cargo build --examples makes it", binary.display());
    binary
}

/// An example that listens. Dropping it kills it.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(name: &str) -> Self {
        Self::start_on_a_port(name, &[])
    }

    fn start_on_a_port(name: &str, more: &[&str]) -> Self {
        let mut server = Self::start_with(name, &[&["127.0.0.1:0"], more].concat());
        let port = server.address.strip_prefix("tcp://").map(str::to_owned);
        server.address = port.expect("a TCP address");
        server
    }

    fn start_with(name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        output.read_line(&mut line).expect("text");
        let address = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        Self { child, address: address.expect(&line) }
    }

    fn call(&self) -> Caller {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Caller(BufReader::new(stream))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody with `nc`.
struct Caller(BufReader<TcpStream>);

impl Caller {
    fn send(&mut self, data: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(data.as_ref()).expect("it takes what is sent");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        line
    }

    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("the end in time");
        rest
    }

    fn finish(mut self) -> String {
        self.0.get_mut().shutdown(Shutdown::Write).expect("still open");
        self.rest()
    }
}

fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(binary(name)).args(arguments).stdin(Stdio::null()).output().expect("it was built")
}

fn said(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).expect("text")
}

#[test]
fn echo_sends_back_whatever_it_receives() {
    let server = Server::start("echo");
    let mut caller = server.call();
    caller.send("hello\n");
    assert_eq!(caller.line(), "hello\n");
    caller.send("no line");
    assert_eq!(caller.finish(), "no line");
}

#[test]
fn echo_udp_sends_back_each_datagram() {
    let server = Server::start_with("echo_udp", &["udp://127.0.0.1:0"]);
    let address = server.address.strip_prefix("udp://").expect("a UDP address");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(address).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    for data in [&b"hello"[..], b"again"] {
        socket.send(data).expect("room");
        let mut buffer = [0; 100];
        let count = socket.recv(&mut buffer).expect("the echo in time");
        assert_eq!(&buffer[..count], data);
    }
}

#[test]
fn redis_server_carries_what_redis_publish_says_to_redis_subscribe() {
    let server = Server::start("redis_server");
    let nobody = run("redis_publish", &[&server.address, "news.art", "too early"]);
    assert_eq!(said(&nobody), "too early: heard by 0\n");
    let mut subscriber = Command::new(binary("redis_subscribe"))
        .args([&server.address, "news.*"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut lines = BufReader::new(subscriber.stdout.take().expect("it is piped")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    assert_eq!(line(), "listening to news.*");
    let published = run("redis_publish", &[&server.address, "news.art", "hello", "again"]);
    assert_eq!(said(&published), "hello: heard by 1\nagain: heard by 1\n");
    assert_eq!([line(), line()], ["news.art: hello", "news.art: again"]);
    // Whatever speaks RESP is served.
    let mut caller = server.call();
    caller.send("PUBLISH news.sport goal\r\n");
    assert_eq!(caller.line(), ":1\r\n");
    assert_eq!(line(), "news.sport: goal");
    let _ = subscriber.kill();
    let _ = subscriber.wait();
}

#[test]
fn client_udp_prints_the_answer_or_says_that_there_is_none() {
    let server = Server::start_with("echo_udp", &["udp://127.0.0.1:0"]);
    assert_eq!(said(&run("client_udp", &[&server.address, "hello"])), "hello\n");
    // A socket that hears and says nothing.
    let deaf = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = format!("udp://{}", deaf.local_addr().expect("it is bound"));
    let output = run("client_udp", &[&address, "hello"]);
    assert_eq!((said(&output), &*output.stderr), ("", &b"no answer\n"[..]));
}

#[test]
fn a_datagram_socket_that_systemd_passed_is_taken_over() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let bound = socket.local_addr().expect("it is bound");
    // As systemd starts it: the socket is descriptor 3, and the environment says so.
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" systemd:0";
    let mut server = Command::new("sh")
        .args(["-c", script])
        .arg(binary("echo_udp"))
        .stdin(std::os::fd::OwnedFd::from(socket))
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh is everywhere");
    let mut line = String::new();
    let mut said = BufReader::new(server.stdout.take().expect("it is piped"));
    said.read_line(&mut line).expect("text");
    assert_eq!(line, format!("listening on udp://{bound}\n"));
    let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    client.set_read_timeout(Some(PATIENCE)).expect("not zero");
    client.send_to(b"hello", bound).expect("room");
    let mut buffer = [0; 100];
    assert_eq!(client.recv(&mut buffer).expect("the echo in time"), 5);
    server.kill().expect("it still runs");
    server.wait().expect("it was killed");
}

#[test]
fn line_echo_answers_line_by_line_until_it_is_told_to_quit() {
    let server = Server::start("line_echo");
    let mut caller = server.call();
    caller.send("one\ntwo\r\nthr");
    assert_eq!((caller.line(), caller.line()), ("one\r\n".into(), "two\r\n".into()));
    caller.send("ee\nquit\nnever\n");
    assert_eq!(caller.rest(), "three\r\ngoodbye\r\n");
}

#[test]
fn async_line_echo_does_as_its_twin_and_drops_who_sends_too_long_a_line() {
    let server = Server::start("async_line_echo");
    let mut caller = server.call();
    caller.send("one\ntwo\r\nthr");
    assert_eq!((caller.line(), caller.line()), ("one\r\n".into(), "two\r\n".into()));
    caller.send("ee\nquit\nnever\n");
    assert_eq!(caller.rest(), "three\r\ngoodbye\r\n");
    let mut caller = server.call();
    caller.send("x".repeat(20_000));
    assert_eq!(caller.rest(), "");
}

#[test]
fn async_client_prints_the_first_answer_or_all_that_went_wrong() {
    let server = Server::start("line_echo");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let nobody = nobody.expect("a port").to_string();
    let output = run("async_client", &["hello", &nobody, &server.address]);
    assert_eq!(said(&output), format!("{} says hello\n", server.address));
    let output = run("async_client", &["hello", &nobody, "nonsense"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("AllFailed") && said.contains("nonsense"), "{said}");
}

#[test]
fn a_tokio_task_answers_the_reactor_and_asks_it() {
    let server = Server::start("tokio_bridge");
    let (mut one, _other) = (server.call(), server.call());
    one.send("hello\n");
    let line = one.line();
    // (The other one may not have been accepted yet.)
    assert!(["1", "2"].map(|n| format!("HELLO (to one of {n})\r\n")).contains(&line), "{line}");
}

#[test]
fn many_cores_answer_on_one_port() {
    let server = Server::start("many_cores");
    let mut caller = server.call();
    assert!(caller.line().starts_with("core "));
    caller.send("hello\n");
    assert_eq!(caller.line(), "hello\n");
}

#[test]
fn in_the_chat_everybody_hears_everybody() {
    let server = Server::start("chat");
    let mut anna = server.call();
    anna.send("Anna\nalone\n");
    let mut bert = server.call();
    bert.send("Bert\n");
    assert_eq!(anna.line(), "Bert comes in\r\n");
    anna.send("hello\n");
    assert_eq!(bert.line(), "Anna: hello\r\n");
    bert.send("\x1b[31mred\n");
    assert_eq!(anna.line(), "Bert: [31mred\r\n");
    drop(bert);
    assert_eq!(anna.line(), "Bert has left\r\n");
}

#[test]
fn in_the_chat_who_does_not_read_loses_the_connection_and_not_the_room() {
    let server = Server::start("chat");
    let mut anna = server.call();
    anna.send("Anna\n");
    let mut silent = server.call();
    silent.send("Silent\n");
    assert_eq!(anna.line(), "Silent comes in\r\n");
    // More than any kernel holds for a reader that never reads: Linux grows a receive buffer
    // to tcp_rmem's third figure and a send buffer to tcp_wmem's: 6 and 4 MiB, here and there 32. And
    // less than the 64 MiB that the reactor itself allows a connection.
    let talk = format!("{}\n", "x".repeat(10_000));
    for _ in 0..5_000 {
        anna.send(&talk);
        anna.0.get_mut().set_nonblocking(true).expect("a socket");
        let heard = anna.0.fill_buf().map(<[u8]>::to_vec);
        anna.0.get_mut().set_nonblocking(false).expect("a socket");
        match heard {
            Ok(_) => return assert_eq!(anna.line(), "Silent has left\r\n"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert_eq!(anna.line(), "Silent has left\r\n");
}

#[test]
fn netstrings_come_back_in_capitals_and_a_long_one_is_refused_from_its_length() {
    let server = Server::start("netstring_server");
    let mut caller = server.call();
    caller.send("5:hello,3:a\n");
    caller.send("b,");
    assert_eq!(caller.finish(), "5:HELLO,3:A\nB,");
    let mut caller = server.call();
    caller.send("1001:");
    assert_eq!(caller.rest(), "41:sorry: a string is longer than 1000 bytes,");
}

#[test]
fn the_netstring_client_prints_an_answer_for_each_argument() {
    let server = Server::start("netstring_server");
    let output = run("netstring_client", &[&server.address, "hello", "world"]);
    assert_eq!(said(&output), "HELLO\nWORLD\n");
}

#[test]
fn the_client_prints_all_that_comes_back() {
    let server = Server::start("echo");
    assert_eq!(said(&run("client", &[&server.address, "a line"])), "a line\r\n");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let nobody = port.expect("a free port").to_string();
    let output = run("client", &[&nobody]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with(&format!("cannot connect to tcp://{nobody}: ")), "{said}");
}

#[test]
fn an_open_file_travels_over_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("ropewalk-files-{}", std::process::id()));
    let socket = format!("unix:{}", path.display());
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rustfmt.toml");
    let name = file.to_str().expect("a path of text");
    let server = Server::start_with("descriptor_server", &[&socket, name]);
    assert_eq!(server.address, socket);
    let expected = std::fs::read_to_string(&file).expect("it is in the repository");
    for _ in 0..2 {
        let output = run("descriptor_client", &[&socket]);
        assert_eq!(said(&output), format!("{name}:\n{expected}"));
    }
    drop(server);
    std::fs::remove_file(path).expect("a server that is killed leaves it");
}

#[test]
fn policies_keep_connections_few_and_lose_nothing() {
    let server = Server::start("policies");
    let (mut one, mut other) = (server.call(), server.call());
    one.send("a\n");
    other.send("b\n");
    assert_eq!((one.line(), other.line()), ("a\n".into(), "b\n".into()));
    assert_eq!(server.call().rest(), "", "the third of one peer");
    // More than may pass at once; how long that takes is told on virtual time, elsewhere.
    one.send(vec![b'x'; 600]);
    assert_eq!(one.finish().len(), 600);
}

#[test]
fn the_ticker_tells_everybody_the_time() {
    let server = Server::start("ticker");
    let (mut one, mut other) = (server.call(), server.call());
    assert_eq!((one.line(), other.line()), ("1 s\r\n".into(), "1 s\r\n".into()));
    assert_eq!(one.line(), "2 s\r\n");
}

#[test]
fn the_reconnecting_client_finds_a_server_that_comes_back() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = port.expect("a free port").to_string();
    let mut client = Command::new(binary("reconnecting"))
        .arg(&address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut said = BufReader::new(client.stdout.take().expect("it is piped"));
    let mut complaints = BufReader::new(client.stderr.take().expect("it is piped"));
    // Nobody is there; then somebody is, goes away, and comes back.
    let mut complaint = String::new();
    complaints.read_line(&mut complaint).expect("a line of the log");
    assert!(complaint.contains("connecting again in"), "{complaint}");
    for _ in 0..2 {
        let server = Server::start_with("ticker", &[&address]);
        let mut line = String::new();
        said.read_line(&mut line).expect("a line in time");
        assert!(line.ends_with(" s\n"), "{line:?}");
        drop(server);
    }
    client.kill().expect("it still runs");
    client.wait().expect("it was killed");
}

#[test]
fn the_countdown_counts_for_each_caller() {
    let server = Server::start("countdown");
    let (one, other) = (server.call(), server.call());
    assert_eq!(one.rest(), "3\r\n2\r\n1\r\nlift-off\r\n");
    assert_eq!(other.rest(), "3\r\n2\r\n1\r\nlift-off\r\n");
}

#[test]
fn factors_are_found_on_other_threads() {
    let server = Server::start("factors");
    let mut caller = server.call();
    caller.send("91\nseven\n7\n");
    let mut lines = [caller.line(), caller.line(), caller.line()];
    lines.sort();
    assert_eq!(lines, ["7: 7\r\n", "91: 7\r\n", "a number, please\r\n"]);
}

#[test]
fn sqlite_words_are_there_again_after_a_restart() {
    let file = std::env::temp_dir().join(format!("ropewalk-words-{}.db", std::process::id()));
    let path = file.to_str().expect("UTF-8");
    let server = Server::start_on_a_port("sqlite_words", &[path]);
    let mut caller = server.call();
    caller.send("ropewalk\nropewalk = a long hall\nropewalk\nx'; DROP TABLE words; --\n");
    assert_eq!(caller.line(), "never heard of it\r\n");
    assert_eq!(caller.line(), "stored\r\n");
    assert_eq!(caller.line(), "a long hall\r\n");
    assert_eq!(caller.line(), "never heard of it\r\n");
    drop(server);
    let server = Server::start_on_a_port("sqlite_words", &[path]);
    let mut caller = server.call();
    caller.send("ropewalk\n");
    assert_eq!(caller.line(), "a long hall\r\n");
    drop(server);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{path}{suffix}"));
    }
}

#[test]
fn http_hello_greets_and_answers_later() {
    let server = Server::start("http_hello");
    let ask = |request: &str| {
        let mut caller = server.call();
        caller.send(format!("{request}\r\nHost: here\r\nConnection: close\r\n"));
        caller
    };
    let mut caller = ask("GET /world HTTP/1.1");
    caller.send("\r\n");
    let answer = caller.rest();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nHello, world!\n"), "{answer}");
    let mut caller = ask("POST / HTTP/1.1");
    caller.send("Content-Length: 2\r\n\r\nhi");
    assert!(caller.rest().ends_with("\r\n\r\nYou sent 2 bytes.\n"));
    let mut caller = ask("GET /later HTTP/1.1");
    caller.send("\r\n");
    assert!(caller.rest().ends_with("\r\n\r\nSorry for the delay.\n"));
}

#[test]
fn http_get_prints_the_answer_or_what_went_wrong() {
    let server = Server::start("http_hello");
    let output = run("http_get", &[&format!("http://{}/world", server.address)]);
    assert_eq!(said(&output), "Hello, world!\n");
    let output = run("http_get", &["http://127.0.0.1:1/"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("http://127.0.0.1:1/"), "{said}");
}

#[test]
fn async_http_get_prints_the_first_answer_or_all_that_went_wrong() {
    let server = Server::start("http_hello");
    let good = format!("http://{}/world", server.address);
    let output = run("async_http_get", &["http://127.0.0.1:1/", &good, "nonsense"]);
    assert_eq!(said(&output), format!("{good} says Hello, world!\n"));
    let output = run("async_http_get", &["http://127.0.0.1:1/", "nonsense"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("AllFailed") && said.contains("nonsense"), "{said}");
}

#[test]
fn http_echo_answers_with_the_body() {
    let server = Server::start("http_echo");
    let mut caller = server.call();
    caller.send("POST /path HTTP/1.1\r\nHost: here\r\nConnection: close\r\n");
    caller.send("Content-Length: 6\r\n\r\na ");
    caller.send("body");
    let answer = caller.rest();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("a body"), "{answer}");
}

#[test]
fn http_routes_keep_notes_and_ask_for_a_password() {
    let server = Server::start("http_routes");
    let ask = |request: &str, more: &str| {
        let mut caller = server.call();
        caller.send(format!("{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{more}"));
        caller.rest()
    };
    let answer = ask("POST /notes", "Content-Length: 8\r\n\r\nbuy rope");
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(answer.contains("\r\nLocation: /notes/1\r\n"), "{answer}");
    assert!(ask("GET /notes/1", "\r\n").ends_with("\r\n\r\nbuy rope"));
    assert!(ask("GET /notes/2", "\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("GET /notes", "\r\n").starts_with("HTTP/1.1 405 "));
    assert!(ask("DELETE /admin/notes", "\r\n").starts_with("HTTP/1.1 401 "));
    let alice = "Authorization: Basic YWxpY2U6c3dvcmRmaXNo\r\n\r\n";
    assert!(ask("DELETE /admin/notes", alice).starts_with("HTTP/1.1 204 "));
    assert!(ask("GET /notes/1", "\r\n").starts_with("HTTP/1.1 404 "));
}

#[test]
fn http_page_has_a_form_a_stream_and_a_socket() {
    let server = Server::start("http_page");
    let ask = |head: &str| {
        let mut caller = server.call();
        caller.send(format!("{head}\r\nHost: here\r\n"));
        caller
    };
    let mut page = ask("GET / HTTP/1.1\r\nConnection: close");
    page.send("\r\n");
    let page = page.rest();
    assert!(page.contains("new EventSource") && page.contains("new WebSocket"), "{page}");
    let mut events = ask("GET /events HTTP/1.1");
    events.send("\r\n");
    assert_eq!(events.line(), "HTTP/1.1 200 OK\r\n");
    let mut form = ask("POST /form HTTP/1.1\r\nConnection: close");
    form.send("Content-Type: application/x-www-form-urlencoded\r\n");
    form.send("Content-Length: 13\r\n\r\nwords=a+rope!");
    assert!(form.rest().ends_with("You said: a rope!"));
    while !events.line().contains("data: a rope!") {}
    let mut socket = ask("GET /socket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade");
    socket.send("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(socket.line(), "HTTP/1.1 101 Switching Protocols\r\n");
}

#[test]
fn http_proxy_has_another_server_answer() {
    let origin = Server::start("http_echo");
    let proxy = Server::start_on_a_port("http_proxy", &[&format!("http://{}", origin.address)]);
    let mut caller = proxy.call();
    caller.send("GET /app/path?q HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    let answer = caller.rest();
    assert!(answer.contains("\r\n\r\nGET /path?q HTTP/1.1\r\n"), "{answer}");
    assert!(answer.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{answer}");
    let mut caller = proxy.call();
    caller.send("GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    assert!(caller.rest().ends_with("This is the proxy. The rest is below /app.\n"));
}

#[test]
fn websocket_echo_answers_websocket_client() {
    let server = Server::start("websocket_echo");
    let url = format!("ws://{}/", server.address);
    let long = "long ".repeat(1000);
    let output = run("websocket_client", &[&url, "hello", &long, "k\u{e4}se"]);
    assert_eq!(said(&output), format!("hello\n{long}\nk\u{e4}se\nclosed: 1000 normal\n"));
    let output = run("websocket_client", &[&url.replace("ws://", "http://"), "hello"]);
    assert!(!output.status.success());
}

#[test]
fn in_the_websocket_chat_everybody_hears_everybody() {
    let server = Server::start("websocket_chat");
    let mut browser = server.call();
    browser.send("GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    let page = browser.rest();
    assert!(page.contains("Content-Type: text/html\r\n"), "{page}");
    assert!(page.contains("new WebSocket"), "{page}");

    let join = || {
        let mut guest = server.call();
        guest.send("GET /chat HTTP/1.1\r\nHost: here\r\nOrigin: http://here\r\n");
        guest.send("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
        guest.send("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        assert_eq!(guest.line(), "HTTP/1.1 101 Switching Protocols\r\n");
        while guest.line() != "\r\n" {}
        guest
    };
    let (mut anna, mut ben) = (join(), join());
    anna.send(b"\x81\x85\0\0\0\0hello"); // masked with zeros
    for guest in [&mut anna, &mut ben] {
        let mut heard = [0; 7];
        guest.0.read_exact(&mut heard).expect("a frame in time");
        assert_eq!(&heard, b"\x81\x05hello");
    }
}

#[test]
fn http_form_takes_a_title_and_keeps_a_photograph() {
    let home = std::env::temp_dir().join(format!("ropewalk-http-form-{}", std::process::id()));
    std::fs::create_dir_all(&home).expect("the temporary directory is writable");
    let directory = home.to_str().expect("a path of ours");
    let server = Server::start_on_a_port("http_form", &[directory]);
    let post = |kind: &str, body: &str| {
        let mut caller = server.call();
        caller.send(format!(
            "POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        caller.rest()
    };
    let answer = post("application/x-www-form-urlencoded", "title=Boats");
    assert!(answer.ends_with("\r\n\r\nBoats: no photograph\n"), "{answer}");
    let part = "--x\r\nContent-Disposition: form-data; name=photo; filename=a.jpg\r\n\r\nJPEG";
    let answer = post("multipart/form-data; boundary=x", &format!("{part}\r\n--x--\r\n"));
    assert!(answer.ends_with("\r\n\r\nUntitled: \"a.jpg\", 4 bytes\n"), "{answer}");
    let mut kept = std::fs::read_dir(&home).expect("it is there").map(|entry| {
        let path = entry.expect("an entry").path();
        assert!(path.extension().is_some_and(|extension| extension == "photo"), "{path:?}");
        std::fs::read(path).expect("it is whole")
    });
    assert_eq!((kept.next(), kept.next()), (Some(b"JPEG".to_vec()), None));
    drop(server);
    std::fs::remove_dir_all(home).expect("it is ours");
}

#[test]
fn http_events_tells_every_page_what_is_said() {
    let server = Server::start("http_events");
    let listen = |last: &str| {
        let mut caller = server.call();
        caller.send(format!("GET /events HTTP/1.0\r\nLast-Event-ID: {last}\r\n\r\n"));
        while caller.line() != "\r\n" {}
        caller
    };
    let mut page = listen("");
    let mut caller = server.call();
    caller.send("POST /say HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
    assert!(caller.rest().ends_with("\r\n\r\n1 hear that\n"));
    for page in [&mut page, &mut listen("0")] {
        let lines: Vec<_> = (0..3).map(|_| page.line()).collect();
        assert_eq!(lines, ["id: 1\n", "data: hello\n", "\n"]);
    }
}

#[test]
fn http_files_serves_a_directory_with_ranges() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let server = Server::start_on_a_port("http_files", &[docs]);
    let ask = |head: &str| {
        let mut caller = server.call();
        caller.send(format!("{head}\r\nHost: here\r\nConnection: close\r\n\r\n"));
        caller.rest()
    };
    let answer = ask("GET /static/1-echo.md HTTP/1.1\r\nRange: bytes=0-6");
    assert!(answer.starts_with("HTTP/1.1 206 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n# 1. Ec"), "{answer}");
    let answer = ask("GET /static/ HTTP/1.1");
    assert!(answer.contains("./1-echo.md"), "{answer}");
    assert!(ask("GET /static/../Cargo.toml HTTP/1.1").starts_with("HTTP/1.1 404 "));
}

#[test]
fn the_broker_answers_the_protocol_header_with_connection_start() {
    let server = Server::start("amqp_broker");
    let mut caller = server.call();
    caller.send(b"AMQP\x00\x00\x09\x01");
    let mut start = [0; 11];
    caller.0.read_exact(&mut start).expect("a frame in time");
    assert_eq!(start[..3], [1, 0, 0], "a method frame on channel 0");
    assert_eq!(start[7..], [0, 10, 0, 10], "connection.start");
}

#[test]
fn the_publisher_tells_what_became_of_each_message() {
    let server = Server::start("amqp_broker");
    let mut publisher = Command::new(binary("reliable_publisher"));
    publisher.args(["orders", "apples", "pears"]);
    publisher.env("AMQP_URL", format!("amqp://guest:guest@{}/%2f", server.address));
    let output = publisher.output().expect("it was built");
    let expected = "apples: taken\npears: taken\nstray: sent back: no queue wants it\n";
    assert_eq!(said(&output), expected);
}

#[test]
fn the_generator_goes_on_for_as_long_as_somebody_reads() {
    let server = Server::start("chargen");
    let idle = server.call();
    let mut caller = server.call();
    let first: String = (' '..='~').take(72).collect();
    assert_eq!(caller.line(), format!("{first}\r\n"));
    let mut much = vec![0; 32 << 20];
    caller.0.read_exact(&mut much).expect("more in time");
    // After 94 more lines of 74 bytes comes the first one again.
    assert_eq!(much[94 * 74..95 * 74], *format!("{first}\r\n").as_bytes());
    drop((idle, caller));
    assert!(server.call().line().starts_with(&first), "it lives on");
}

#[test]
fn the_planted_bug_is_found_and_the_mended_protocol_passes() {
    let output = run("testing_a_protocol", &[]);
    let lines: Vec<_> = said(&output).lines().collect();
    assert!(lines[0].starts_with("Hasty, seed "), "{lines:?}");
    assert_eq!(lines[1], "Patient: right on 1000 networks");
}

#[test]
fn the_bug_that_a_lost_answer_shows_is_found_told_and_mended() {
    let output = run("simulation_bug", &[]);
    let told = said(&output);
    for part in [
        "bank is killed",
        "bank starts again",
        "10 coins came in, and 11 are there",
        "ROPEWALK_SEED=",
        "The careful bank is right with 1000 seeds.",
    ] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    assert!(!told.contains("did not fail in this way again"), "{told}");
}

/// For this example.
fn certificate(name: &str) -> Certificate {
    let name = format!("ropewalk-{name}-{}", std::process::id());
    Certificate::new(std::env::temp_dir().join(name))
}

#[test]
fn tls_echo_and_its_client_speak_in_secret_and_only_to_whom_they_trust() {
    let files = certificate("tls_echo");
    let server = Server::start_on_a_port("tls_echo", &[&files.certificate, &files.key]);
    let client = |trusted: &str| run("tls_client", &[&server.address, "hello", trusted]);
    assert_eq!(said(&client(&files.certificate)), "over TLSv1.3: hello\r\n");
    let stranger = certificate("tls_echo_stranger");
    let output = client(&stranger.certificate);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.starts_with("the TLS handshake failed: "), "{complaint}");
}

#[test]
fn https_hello_listens() {
    // Who it greets, and how, is curl's business: tests/debian/run.
    let files = certificate("https_hello");
    let server = Server::start_on_a_port("https_hello", &[&files.certificate, &files.key]);
    let mut caller = server.call();
    caller.send("GET / HTTP/1.1\r\n\r\n");
    let mut alert = [0; 7];
    caller.0.read_exact(&mut alert).expect("an alert in time");
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 50], "fatal, decode_error: that was no TLS");
}

#[test]
fn starttls_server_and_client_turn_to_tls_in_mid_stream() {
    let files = certificate("starttls");
    let server = Server::start_on_a_port("starttls_server", &[&files.certificate, &files.key]);
    let output = run("starttls_client", &[&server.address, &files.certificate]);
    let expected = "heard in the open: in the open\nheard in the open: READY\n\
                    heard in secret: in secret\n";
    assert_eq!(said(&output), expected);
    // A line behind the command, in the same segment, is never heard: it is no handshake.
    let mut caller = server.call();
    caller.send("STARTTLS\r\ninjected\r\n");
    let mut answer = Vec::new();
    caller.0.read_to_end(&mut answer).expect("the end in time");
    assert_eq!(answer[..7], *b"READY\r\n");
    assert_eq!(answer[7..12], [21, 3, 3, 0, 2], "an alert, and nothing else");
    assert_eq!(answer.len(), 14);
    // Whoever never asks for TLS goes on without.
    let mut caller = server.call();
    caller.send("hello\n");
    assert_eq!(caller.line(), "hello\r\n");
}

#[test]
fn process_wc_has_a_child_count() {
    let output = run("process_wc", &["twist two strands", "into one rope"]);
    assert_eq!(said(&output), "2 lines, 6 words, 32 bytes\n");
}

#[test]
fn process_date_asks_a_program_for_the_time() {
    let server = Server::start_on_a_port("process_date", &[]);
    let date = server.call().rest();
    assert!(date.len() == "2026-01-01 00:00:00\n".len() && date.starts_with('2'), "{date:?}");
}

#[test]
fn stdio_client_joins_pipes_to_a_connection() {
    let server = Server::start("echo");
    let mut child = Command::new(binary("stdio_client"))
        .arg(&server.address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut input = child.stdin.take().expect("it is piped");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    input.write_all(b"hello\n").expect("room");
    let mut line = String::new();
    output.read_line(&mut line).expect("text");
    assert_eq!(line, "hello\n");
    input.write_all(b"and good bye").expect("room");
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "and good bye");
    assert!(child.wait().expect("a child").success());
    // Nobody there.
    drop(server);
    let output = run("stdio_client", &["127.0.0.1:1"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot connect"), "{output:?}");
}

/// The rule for examples, which this file and the guide rely on.
#[test]
fn every_example_is_short_says_how_to_run_it_and_is_run_here() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let here = std::fs::read_to_string(root.join("tests/examples.rs")).expect("this file");
    for entry in std::fs::read_dir(root.join("examples")).expect("the directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue; // RabbitMQ's tutorials have tests/amqp_tutorials.rs, files have tests/docs.rs
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(text.lines().count() < 60, "{name} has 60 lines or more");
        assert!(text.contains(&format!("--example {name}")), "{name} has no command");
        let run = ["start", "start_with", "start_on_a_port", "run", "binary"]
            .map(|call| format!("{call}(\"{name}\""));
        assert!(run.iter().any(|run| here.contains(run)), "{name} is not run");
    }
}

#[test]
fn services() {
    let server = Server::start_on_a_port("services", &[]);
    let mut said = String::new();
    server.call().0.read_to_string(&mut said).expect("text, then the end");
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    assert_eq!(said, format!("this is {}\n", name.trim()));
}
