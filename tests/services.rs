//! `ropewalk serve --config`, as an operator lives with it: names, reloads, and what systemd is told.

#[path = "support/certificate.rs"]
mod certificate;
#[path = "support/configuration.rs"]
mod configuration;
mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use configuration::File;
use support::{PATIENCE, Server, python, root};

impl File {
    /// A path beside it.
    fn beside(&self, name: &str) -> String {
        self.directory.join(name).to_str().expect("text").to_owned()
    }

    fn serve(&self, listeners: usize) -> Server {
        Server::start(&["serve", "--config", &self.path], listeners)
    }

    fn check(&self) -> Output {
        ropewalk(&["serve", "--check", "--config", &self.path])
    }
}

fn ropewalk(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.args(arguments).env_remove("RUST_LOG").output().expect("it was built for this test")
}

fn dial(address: &str) -> TcpStream {
    let address = address.strip_prefix("tcp://").unwrap_or(address);
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Sends bytes, and receives as many as that.
fn echo(stream: &mut TcpStream, sent: &[u8]) -> Vec<u8> {
    stream.write_all(sent).expect("it is open");
    let mut received = vec![0; sent.len()];
    stream.read_exact(&mut received).expect("an answer");
    received
}

#[test]
fn a_reload_opens_what_is_new_closes_what_has_gone_and_disturbs_no_connection() {
    let stays = "[[service]]\nkind = 'echo'\nname = 'stays'\nlisten = ['127.0.0.1:0']\n";
    let goes = "[[service]]\nkind = 'line'\nname = 'goes'\nlisten = ['127.0.0.1:0']\n";
    let comes = "[[service]]\nkind = 'http'\nname = 'comes'\nlisten = ['127.0.0.1:0']\n";
    // The same address twice: one of them goes.
    let twice = "[[service]]\nkind = 'echo'\nname = 'twice'\nlisten = ['127.0.0.1:0']\n";
    let file = File::new(&format!("{stays}{goes}{twice}"));
    let mut server = file.serve(3);
    let addresses: Vec<_> = server.listening.iter().map(|(_, address)| address.clone()).collect();
    let mut streams: Vec<_> = addresses.iter().map(|address| dial(address)).collect();
    for stream in &mut streams {
        assert_eq!(echo(stream, b"a\r\n"), b"a\r\n");
    }
    file.write(&format!("{comes}{stays}"));
    server.signal("HUP");
    let (kind, address) = server.listens_again();
    assert_eq!(kind, "http");
    let said = server.said_until("INFO  ropewalk::reload] reloaded");
    for line in [
        format!("goes: {} is no longer listened on; its connections go on", addresses[1]),
        format!("twice: {} is no longer listened on", addresses[2]),
        format!("comes: {address} is listened on"),
    ] {
        assert!(said.contains(&line), "{line}\n{said}");
    }
    assert!(!said.contains("stays: "), "{said}");
    for stream in &mut streams {
        assert_eq!(echo(stream, b"b\r\n"), b"b\r\n");
    }
    assert_eq!(echo(&mut dial(&addresses[0]), b"c\r\n"), b"c\r\n");
    for gone in &addresses[1..] {
        let refused = TcpStream::connect(gone.strip_prefix("tcp://").expect("TCP"));
        assert_eq!(refused.expect_err("closed").kind(), ErrorKind::ConnectionRefused);
    }
    let mut client = dial(&address);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it is open");
    let mut response = String::new();
    client.read_to_string(&mut response).expect("text");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_limit_that_stays_counts_the_connections_from_before_a_reload() {
    let text = |most: u32, length: u32| {
        format!(
            "[[service]]\nkind = 'line'\nlisten = ['127.0.0.1:0']\nmax-connections = {most}\n\
             max-length = {length}\n"
        )
    };
    let file = File::new(&text(1, 10));
    let server = file.serve(1);
    let address = &server.listening[0].1;
    let mut first = dial(address);
    assert_eq!(echo(&mut first, b"a\r\n"), b"a\r\n");
    file.write(&text(1, 20));
    server.signal("HUP");
    server.said_until("reloaded");
    let refused = dial(address).read(&mut [0; 1]);
    assert!(!refused.is_ok_and(|count| count > 0), "there is one already");
    assert_eq!(echo(&mut first, b"b\r\n"), b"b\r\n");
    // Another number begins to count with the next connection.
    file.write(&text(2, 20));
    server.signal("HUP");
    server.said_until("reloaded");
    let mut second = dial(address);
    assert_eq!(echo(&mut second, b"c\r\n"), b"c\r\n");
}

#[test]
fn changed_options_are_for_new_connections_and_a_socket_changes_hands_without_being_closed() {
    // Not port 0, which would be another one for another service.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("it is bound").to_string();
    drop(free);
    let line = |length: u32| {
        format!("[[service]]\nkind = 'line'\nmax-length = {length}\nlisten = ['{address}']\n")
    };
    let file = File::new(&line(10));
    let server = file.serve(1);
    let mut old = dial(&address);
    assert_eq!(echo(&mut old, b"short\r\n"), b"short\r\n");
    file.write(&line(100));
    server.signal("HUP");
    server.said_until("reloaded");
    let long = b"a line of more than ten bytes\r\n";
    assert_eq!(echo(&mut dial(&address), long), long);
    old.write_all(long).expect("it is open");
    assert!(!old.read(&mut [0; 1]).is_ok_and(|count| count > 0), "it goes on as it began");
    // The address belongs to another service now.
    file.write(&format!("[[service]]\nkind = 'echo'\nname = 'heir'\nlisten = ['{address}']\n"));
    server.signal("HUP");
    server.said_until("reloaded");
    assert_eq!(echo(&mut dial(&address), b"no end of line"), b"no end of line");
    // And begins with a header.
    file.write(&format!("[[service]]\nkind = 'echo'\nlisten = ['{address}?proxy=true']\n"));
    server.signal("HUP");
    server.said_until("reloaded");
    let mut proxied = dial(&address);
    proxied.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").expect("it is open");
    assert_eq!(echo(&mut proxied, b"behind it"), b"behind it");
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_says_so() {
    let good = "[[service]]\nkind = 'echo'\nname = 'good'\nlisten = ['127.0.0.1:0']\n";
    let file = File::new(good);
    let server = file.serve(1);
    let address = server.listening[0].1.clone();
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let held = holder.local_addr().expect("it is bound");
    let wrong = file.beside("missing.pem");
    for (text, problem) in [
        ("[[service]]\nkind = 'gopher'\n".to_owned(), "line 2: unknown kind `gopher`".to_owned()),
        ("[[service]\n".to_owned(), "ropewalk.toml, line 1: ".to_owned()),
        (
            // One that can be opened comes first.
            format!(
                "[[service]]\nkind = 'line'\nlisten = ['127.0.0.1:0']\n\
                 [[service]]\nkind = 'http'\nname = 'late'\nlisten = ['{held}']\n"
            ),
            format!("late: cannot listen on tcp://{held}"),
        ),
        (
            format!(
                "[[service]]\nkind = 'echo'\nlisten = ['tls://127.0.0.1:0?cert={wrong}&key={wrong}']\n"
            ),
            "missing.pem".to_owned(),
        ),
    ] {
        file.write(&text);
        server.signal("HUP");
        let said = server.said_until("; nothing has changed");
        assert!(said.contains(&problem), "{problem}\n{said}");
        assert_eq!(echo(&mut dial(&address), b"still there"), b"still there");
    }
    fs::remove_file(&file.path).expect("it is there");
    server.signal("HUP");
    server.said_until("No such file");
    file.write(&format!("{good}[[service]]\nkind = 'line'\nlisten = ['127.0.0.1:0']\n"));
    server.signal("HUP");
    assert_eq!(server.listens_again().0, "line");
}

#[test]
fn what_cannot_change_while_it_runs_is_told_by_its_line_and_stays() {
    let text = |heartbeat: u32, rest: &str| {
        format!(
            "{rest}[[service]]\nkind = 'amqp'\nname = 'orders'\nmemory = true\n\
             heartbeat = {heartbeat}\nlisten = ['127.0.0.1:0']\n"
        )
    };
    let file = File::new(&text(7, ""));
    let server = file.serve(1);
    let address = server.listening[0].1.clone();
    file.write(&text(9, "shutdown-timeout = 5\n"));
    for _ in 0..2 {
        // And told each time.
        server.signal("HUP");
        let said = server.said_until("reloaded");
        for (line, what) in [(1, "`shutdown-timeout`"), (6, "orders: `heartbeat`")] {
            let told = format!("line {line}: {what} needs a restart, and stays as it was");
            assert!(said.contains(&told), "{told}\n{said}");
        }
    }
    // connection.tune ends with the heartbeat that the server proposes.
    let mut client = dial(&address);
    client.write_all(b"AMQP\0\0\x09\x01").expect("it is open");
    let frame = |client: &mut TcpStream| {
        let mut head = [0; 7];
        client.read_exact(&mut head).expect("a frame");
        let size = u32::from_be_bytes(head[3..].try_into().expect("four bytes"));
        let mut body = vec![0; size as usize + 1];
        client.read_exact(&mut body).expect("its payload");
        body
    };
    frame(&mut client);
    let start_ok = b"\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
    let mut method = vec![1, 0, 0];
    method.extend_from_slice(&(start_ok.len() as u32).to_be_bytes());
    method.extend_from_slice(start_ok);
    method.push(0xCE);
    client.write_all(&method).expect("it is open");
    let tune = frame(&mut client);
    assert_eq!(tune[tune.len() - 3..], [0, 7, 0xCE], "{tune:?}");
    // An option of the socket itself.
    file.write(&text(7, "").replace("127.0.0.1:0", "127.0.0.1:0?backlog=9"));
    server.signal("HUP");
    let said = server.said_until("reloaded");
    assert!(said.contains("line 6: orders: what tcp://127.0.0.1:0?backlog=9 says"), "{said}");
    drop(client);
    assert!(TcpStream::connect(address.strip_prefix("tcp://").expect("TCP")).is_ok());
}

#[test]
fn a_message_queue_that_leaves_the_file_and_comes_back_is_the_same_one() {
    let echo = "[[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:0']\n";
    let file = File::new("");
    let queue = |name: &str, data: &str| {
        format!(
            "[[service]]\nkind = 'amqp'\nname = '{name}'\ndata = '{}'\nlisten = ['127.0.0.1:0']\n",
            file.beside(data)
        )
    };
    file.write(&format!("{echo}{}{}", queue("one", "1"), queue("two", "2")));
    let mut server = file.serve(3);
    file.write(echo);
    server.signal("HUP");
    server.said_until("reloaded");
    // Its directory is in use: opening it again would fail.
    file.write(&format!("{echo}{}{}", queue("one-again", "1"), queue("three", "3")));
    server.signal("HUP");
    assert_eq!(server.listens_again().0, "amqp");
    assert_eq!(server.listens_again().0, "amqp");
    server.said_until("reloaded");
    file.write(&format!("{echo}{}{}", queue("one", "1"), queue("two", "1")));
    server.signal("HUP");
    let said = server.said_until("nothing has changed");
    assert!(said.contains("two: another message queue has its data in"), "{said}");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    for data in ["1", "2", "3"] {
        let output = ropewalk(&["amqp", "check", &file.beside(data)]);
        assert!(output.status.success(), "{data}: {output:?}");
    }
}

/// A new certificate for localhost in these files, in PEM.
fn certify(at: &str, key: &str) -> String {
    let (made, made_key) = certificate::certify(&["localhost"]);
    fs::write(at, &made).expect("it is writable");
    fs::write(key, made_key).expect("it is writable");
    bare(&made)
}

/// A certificate without what may be written differently.
fn bare(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// What a TLS client is shown.
fn shown(address: &str) -> String {
    let (host, port) = address.trim_start_matches("tcp://").rsplit_once(':').expect("a port");
    let script =
        "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2]))))";
    let output = Command::new(python()).args(["-c", script, host, port]).output().expect("Python");
    assert!(output.status.success(), "{output:?}");
    bare(&String::from_utf8_lossy(&output.stdout))
}

#[test]
fn certificates_are_read_again_at_once_and_a_wrong_one_changes_nothing() {
    let file = File::new("");
    let (certificate, key) = (file.beside("cert.pem"), file.beside("key.pem"));
    let listen = format!("tls://127.0.0.1:0?cert={certificate}&key={key}");
    file.write(&format!("[[service]]\nkind = 'echo'\nlisten = ['{listen}']\n"));
    for configured in [true, false] {
        let first = certify(&certificate, &key);
        let server = match configured {
            true => file.serve(1),
            false => Server::start(&["echo", "--listen", &listen], 1),
        };
        let address = &server.listening[0].1;
        assert_eq!(shown(address), first);
        let second = certify(&certificate, &key);
        server.signal("HUP");
        server.said_until("reloaded");
        assert_eq!(shown(address), second, "with a file: {configured}");
        fs::write(&key, "no key\n").expect("it is writable");
        server.signal("HUP");
        server.said_until("key.pem");
        assert_eq!(shown(address), second);
    }
}

/// systemd's end of `$NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new(file: &File) -> Self {
        let path = file.beside("notify");
        let socket = UnixDatagram::bind(&path).expect("a free path");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        Self { socket, path }
    }

    /// What it is told next, but for signs of life.
    fn heard(&self) -> String {
        loop {
            let mut buffer = [0; 1000];
            let count = self.socket.recv(&mut buffer).expect("a message");
            let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    fn heard_sign_of_life(&self) {
        let mut buffer = [0; 1000];
        loop {
            let count = self.socket.recv(&mut buffer).expect("a message");
            if &buffer[..count] == b"WATCHDOG=1" {
                return;
            }
        }
    }
}

#[test]
fn systemd_is_told_when_it_is_ready_reloading_alive_and_stopping_with_a_socket_of_its_own() {
    let file = File::new(
        "[[service]]\nkind = 'echo'\nlisten = ['systemd:web']\n\
         [[service]]\nkind = 'amqp'\nlisten = ['127.0.0.1:0']\n",
    );
    let manager = Manager::new(&file);
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let bound = socket.local_addr().expect("it is bound").to_string();
    // Whoever calls before it is started waits in the socket's queue.
    let mut early = dial(&bound);
    early.write_all(b"early").expect("room");
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ WATCHDOG_PID=$$ exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_ropewalk"), "serve", "--config", &file.path]);
    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "web");
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "200000");
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)));
    let mut server = Server::start_with(command, 2);
    assert_eq!(manager.heard(), "STATUS=Listening on 2 addresses");
    assert_eq!(manager.heard(), "READY=1");
    manager.heard_sign_of_life();
    manager.heard_sign_of_life();
    let mut received = [0; 5];
    early.read_exact(&mut received).expect("the echo");
    // The socket that systemd opened stays through a reload; its name is not needed twice.
    file.write("[[service]]\nkind = 'echo'\nlisten = ['systemd:web', '127.0.0.1:0']\n");
    server.signal("HUP");
    let reloading = manager.heard();
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{reloading}");
    assert_eq!(manager.heard(), "STATUS=Listening on 2 addresses");
    assert_eq!(manager.heard(), "READY=1");
    assert_eq!(echo(&mut early, b"still"), b"still");
    assert_eq!(echo(&mut dial(&bound), b"new"), b"new");
    file.write("nonsense\n");
    server.signal("HUP");
    assert!(manager.heard().starts_with("RELOADING=1\n"));
    assert!(manager.heard().contains("the last reload failed"));
    assert_eq!(manager.heard(), "READY=1");
    server.signal("TERM");
    assert_eq!(manager.heard(), "STOPPING=1");
    drop(early);
    assert_eq!(server.wait().code(), Some(0));
}

/// The server as systemd's child, with a watchdog.
fn managed(manager: &Manager, arguments: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.args(arguments).env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "200000");
    Server::start_with(command, 1)
}

#[test]
fn systemd_is_told_of_a_service_on_several_threads_too() {
    let file = File::new("");
    let (certificate, key) = (file.beside("cert.pem"), file.beside("key.pem"));
    certify(&certificate, &key);
    let manager = Manager::new(&file);
    let listen = format!("tls://127.0.0.1:0?cert={certificate}&key={key}");
    let mut server = managed(&manager, &["echo", "--threads", "2", "--listen", &listen]);
    // A signal at once finds somebody who hears it.
    server.signal("HUP");
    assert_eq!(manager.heard(), "STATUS=Listening on 1 address");
    assert_eq!(manager.heard(), "READY=1");
    assert!(manager.heard().starts_with("RELOADING=1\n"));
    assert_eq!(manager.heard(), "STATUS=Listening on 1 address");
    assert_eq!(manager.heard(), "READY=1");
    manager.heard_sign_of_life();
    manager.heard_sign_of_life();
    fs::write(&key, "no key\n").expect("it is writable");
    server.signal("HUP");
    assert!(manager.heard().starts_with("RELOADING=1\n"));
    assert!(manager.heard().contains("the last reload failed"));
    assert_eq!(manager.heard(), "READY=1");
    server.signal("TERM");
    assert_eq!(manager.heard(), "STOPPING=1");
    assert_eq!(server.wait().code(), Some(0));
}

/// A pipe by name, which takes the place of a file: whoever reads that waits for `write`.
fn pipe(path: &str) {
    let _ = fs::remove_file(path);
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo is everywhere").success());
}

#[test]
fn files_are_read_off_the_loop_and_a_reload_that_is_asked_for_meanwhile_is_told_and_done() {
    let file = File::new("");
    let (password, users) = (file.beside("password"), file.beside("users"));
    let before = format!(
        "[[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:0']\n\
         [[service]]\nkind = 'redis'\nlisten = ['127.0.0.1:0']\npassword-file = '{password}'\n"
    );
    let queue = format!(
        "[[service]]\nkind = 'amqp'\nmemory = true\nlisten = ['127.0.0.1:0']\n\
         user-file = '{users}'\n"
    );
    fs::write(&password, "secret\n").expect("it is writable");
    file.write(&before);
    let manager = Manager::new(&file);
    let server = managed(&manager, &["serve", "--config", &file.path]);
    let mut client = dial(&server.listening[0].1);
    assert_eq!(manager.heard(), "STATUS=Listening on 2 addresses");
    assert_eq!(manager.heard(), "READY=1");
    file.write(&format!("{before}{queue}"));
    for path in [&password, &users] {
        pipe(path);
    }
    server.signal("HUP");
    assert!(manager.heard().starts_with("RELOADING=1\n"));
    for (path, text) in [(&password, "secret\n"), (&users, "shop:secret\n")] {
        // Opened as soon as it is being read.
        let mut written = fs::OpenOptions::new().write(true).open(path).expect("a reader");
        assert_eq!(echo(&mut client, b"hello"), b"hello");
        if path == &users {
            server.signal("HUP");
            assert_eq!(echo(&mut client, b"heard"), b"heard");
            for path in [&password, &users] {
                fs::remove_file(path).expect("it is there");
                fs::write(path, "shop:secret\n").expect("a free name");
            }
        }
        written.write_all(text.as_bytes()).expect("a reader");
    }
    server.said_until("] reloaded");
    server.said_until("] reloaded");
    assert!(manager.heard().starts_with("RELOADING=1\n"), "the second one");
    assert_eq!(manager.heard(), "STATUS=Listening on 3 addresses");
    assert_eq!(manager.heard(), "READY=1");
}

#[test]
fn a_traffic_log_stays_the_one_that_it_is_through_a_reload() {
    let file = File::new("");
    let log = file.beside("traffic");
    let text = |name: &str, size: &str| {
        format!(
            "[[service]]\nkind = 'echo'\nname = '{name}'\nlisten = ['127.0.0.1:0']\n\
             max-connections = 1\ntraffic-log = '{log}'\ntraffic-log-size = '{size}'\n"
        )
    };
    file.write(&text("one", "1MiB"));
    let server = file.serve(1);
    let address = &server.listening[0].1;
    let mut client = dial(address);
    assert_eq!(echo(&mut client, b"first"), b"first");
    for _ in 0..2 {
        file.write(&text("one", "2MiB"));
        server.signal("HUP");
        let said = server.said_until("reloaded");
        let told = "line 7: one: `traffic-log-size` needs a restart, and stays as it was";
        assert!(said.contains(told), "{said}");
    }
    let refused = dial(address).read(&mut [0; 1]);
    assert!(!refused.is_ok_and(|count| count > 0), "its other limits were not changed");
}

#[test]
fn without_a_manager_that_listens_it_runs_and_a_bad_name_of_one_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.args(["echo", "--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", "/nonexistent/notify");
    let server = Server::start_with(command, 1);
    server.said_until("the service manager was not told");
    assert_eq!(echo(&mut dial(&server.listening[0].1), b"hello"), b"hello");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    let output =
        command.args(["echo", "--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", "x").output();
    let output = output.expect("it was built for this test");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("NOTIFY_SOCKET=x"), "{output:?}");
}

#[test]
fn check_reads_what_a_start_would_read_and_starts_nothing() {
    let file = File::new("[[service]]\nkind = 'amqp'\n[[service]]\nkind = 'echo'\n");
    let output = file.check();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, format!("{}: fine, 2 services on 2 addresses\n", file.path));
    let wrong = file.beside("wrong.json");
    fs::write(&wrong, "{]").expect("it is writable");
    for (text, problem) in [
        ("[[service]]\nkind = 'x'\n".to_owned(), "line 2: unknown kind"),
        (
            "[[service]]\nkind = 'amqp'\nmemory = true\ndata = 'x'\n".to_owned(),
            "amqp: choose one of `data` and `memory`",
        ),
        (
            "[[service]]\nkind = 'amqp'\n[[service]]\nkind = 'amqp'\n".to_owned(),
            "amqp-2: another message queue has its data in ",
        ),
        ("user = 'no-such-user'\n[[service]]\nkind = 'echo'\n".to_owned(), "there is no user"),
        (
            format!("[[service]]\nkind = 'amqp'\nname = 'orders'\ndefinitions = '{wrong}'\n"),
            "orders: ",
        ),
        (
            format!("[[service]]\nkind = 'amqp'\nname = 'orders'\nuser-file = '{wrong}'\n"),
            "line 1: write NAME:PASSWORD",
        ),
        (
            format!(
                "[[service]]\nkind = 'echo'\nlisten = ['tls://[::1]:0?cert={wrong}&key={wrong}']"
            ),
            "wrong.json",
        ),
    ] {
        file.write(&text);
        let output = file.check();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(output.stdout, b"", "{text}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(problem) && said.lines().count() == 1, "{problem}\n{said}");
    }
    file.write("[[service]]\nkind = 'amqp'\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.args(["serve", "--check", "--config", &file.path]);
    let output = command.env_remove("HOME").env_remove("XDG_DATA_HOME").output();
    let output = output.expect("it was built for this test");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("amqp: there is no home directory for its data"), "{said}");
}

#[test]
fn the_example_file_is_right_and_starts() {
    let example = root().join("examples/ropewalk.toml");
    let text = fs::read_to_string(&example).expect("it is there");
    // As it stands, it is for a machine that has its user and its certificate.
    let file = File::new("");
    let (certificate, key) = (file.beside("cert.pem"), file.beside("key.pem"));
    certify(&certificate, &key);
    let here: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("user") && !line.starts_with("pid-file"))
        .map(|line| {
            let line = line.replace("/etc/ropewalk/cert.pem", &certificate);
            let line = line.replace("/etc/ropewalk/key.pem", &key);
            let line = line.replace("/etc/ropewalk/users.txt", &file.beside("users.txt"));
            let line = line.replace("/var/lib/ropewalk", &file.beside("data"));
            let line = line.replace("/run/ropewalk", &file.directory.display().to_string());
            let ports = [":5672", ":5671", ":8080", ":8443", ":7000", ":7007"];
            ports.iter().fold(line, |line, port| line.replace(port, ":0"))
        })
        .collect();
    fs::write(file.beside("users.txt"), "shop:secret\n").expect("it is writable");
    file.write(&here.join("\n"));
    let output = file.check();
    assert!(output.status.success(), "{output:?}\n{}", here.join("\n"));
    let listeners = here
        .iter()
        .flat_map(|line| line.split('"'))
        .filter(|word| word.contains(":0") || word.starts_with("unix:"))
        .count();
    let mut server = file.serve(listeners);
    server.signal("HUP");
    server.said_until("reloaded");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_process_has_its_number_in_a_file_and_logs_what_the_file_says() {
    let file = File::new("");
    let number = file.beside("pid");
    let text = |level: &str| {
        format!(
            "log = '{level}'\npid-file = '{number}'\n\
             [[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:0']\n"
        )
    };
    file.write(&text("warn"));
    // Without RUST_LOG, which would go before it.
    let mut command = Command::new("env");
    command.args([
        "-u",
        "RUST_LOG",
        env!("CARGO_BIN_EXE_ropewalk"),
        "serve",
        "--config",
        &file.path,
    ]);
    let mut server = Server::start_with(command, 1);
    let written = fs::read_to_string(&number).expect("it was written before");
    assert_eq!(written, format!("{}\n", server.process()));
    file.write(&text("info"));
    server.signal("HUP");
    let said = server.said_until("reloaded");
    assert!(!said.contains("SIGHUP"), "it was not for the log then\n{said}");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!Path::new(&number).exists());
}
