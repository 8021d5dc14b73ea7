//! The binary `ropewalk` as an operator meets it.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use support::Server;

fn ropewalk(arguments: &[&str]) -> std::process::Output {
    let home = support::scratch("home");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.args(arguments).env("XDG_DATA_HOME", &home);
    let output = command.output().expect("the binary was built for this test");
    let _ = std::fs::remove_dir_all(home);
    output
}

fn roundtrip(server: &Server, sent: &[u8], length: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(support::PATIENCE)).expect("a limit");
    stream.write_all(sent).expect("it is open");
    let mut received = vec![0; length];
    stream.read_exact(&mut received).expect("an answer");
    received
}

#[test]
fn echo_sends_bytes_back_and_sigterm_stops_it_with_status_0() {
    let mut server = Server::start(&["echo", "--listen", "127.0.0.1:0"], 1);
    assert_eq!(server.listening[0].0, "echo");
    assert_eq!(roundtrip(&server, b"no newline", 10), b"no newline");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn services_that_share_nothing_run_on_several_threads_and_the_message_queue_says_why_not() {
    for kind in ["echo", "line", "http"] {
        let arguments = [kind, "--threads", "3", "--listen", "127.0.0.1:0"];
        let mut server = Server::start(&arguments, 1);
        for _ in 0..20 {
            match kind {
                "http" => {
                    let request = b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n";
                    assert_eq!(roundtrip(&server, request, 15), b"HTTP/1.1 200 OK");
                }
                "line" => assert_eq!(roundtrip(&server, b"one\r\n", 5), b"one\r\n"),
                _ => assert_eq!(roundtrip(&server, b"one", 3), b"one"),
            }
        }
        if std::path::Path::new("/proc/self/task").exists() {
            let tasks =
                std::fs::read_dir(format!("/proc/{}/task", server.process())).expect("it runs");
            assert_eq!(tasks.count(), 4, "three, and the one that waits for them");
        }
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
    }
    let output = ropewalk(&["amqp", "--threads", "2"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a message queue runs on one thread"), "{said}");
    let output = ropewalk(&["redis", "--threads", "2"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a publish/subscribe server runs on one thread"), "{said}");
    let taken = TcpListener::bind("127.0.0.1:0").and_then(|taken| Ok((taken.local_addr()?, taken)));
    let (address, _taken) = taken.expect("a port");
    let output = ropewalk(&["echo", "--threads", "2", "--listen", &address.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("stop what listens there"), "{said}");
    let output = ropewalk(&["echo", "--threads", "2", "--listen", "udp://127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn echo_sends_datagrams_back_from_addresses_of_udp_and_the_others_say_that_they_cannot() {
    let server =
        Server::start(&["echo", "--listen", "udp://127.0.0.1:0", "--listen", "127.0.0.1:0"], 2);
    let mut addresses: Vec<_> = server.listening.iter().map(|(_, address)| &**address).collect();
    addresses.sort_unstable();
    assert!(addresses[0].starts_with("tcp://"), "{addresses:?}");
    let address = addresses[1].strip_prefix("udp://").expect("the other one");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(address).expect("an address");
    socket.set_read_timeout(Some(support::PATIENCE)).expect("a limit");
    for data in [&b"hello"[..], b"", b"hello again"] {
        socket.send(data).expect("room");
        let mut buffer = [0; 100];
        let count = socket.recv(&mut buffer).expect("the echo");
        assert_eq!(&buffer[..count], data);
    }
    let output = ropewalk(&["line", "--listen", "udp://127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("udp:// carries datagrams, and this is for connections"), "{said}");
}

#[test]
fn line_sends_lines_back_and_ctrl_c_stops_it_with_status_0() {
    let mut server = Server::start(&["line", "--listen", "tcp://127.0.0.1:0"], 1);
    assert_eq!(server.listening[0].0, "line");
    assert_eq!(roundtrip(&server, b"a line\nanother\r\n", 17), b"a line\r\nanother\r\n");
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn listen_can_be_repeated_and_each_listener_has_its_line() {
    let server = Server::start(&["echo", "--listen", "127.0.0.1:0", "--listen", "[::1]:0"], 2);
    assert!(server.listening[0].1.starts_with("tcp://127.0.0.1:"));
    assert!(server.listening[1].1.starts_with("tcp://[::1]:"));
}

#[test]
fn behind_a_proxy_the_header_is_taken_off_and_whoever_has_none_is_closed() {
    let server = Server::start(&["echo", "--listen", "127.0.0.1:0?proxy=true"], 1);
    let mut sent = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec();
    sent.extend_from_slice(b"hello");
    assert_eq!(roundtrip(&server, &sent, 5), b"hello");
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(support::PATIENCE)).expect("a limit");
    stream.write_all(b"hello").expect("it is open");
    assert!(!stream.read(&mut [0; 1]).is_ok_and(|count| count > 0));
    server.said_until("its PROXY header is wrong: it begins with something else");
}

#[test]
fn a_unix_socket_is_served_with_its_mode_and_removed_at_the_end() {
    let folder = support::short_scratch();
    let path = folder.join("s");
    let address = format!("unix:{}?mode=600", path.display());
    for way in ["KILL", "TERM"] {
        // The second one finds what the first has left.
        let mut server = Server::start(&["echo", "--listen", &address], 1);
        assert_eq!(server.listening[0].1, format!("unix:{}", path.display()));
        let found = std::fs::symlink_metadata(&path).expect("it is there");
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        let mut stream = UnixStream::connect(&path).expect("it listens");
        stream.set_read_timeout(Some(support::PATIENCE)).expect("a limit");
        stream.write_all(b"hello").expect("it is open");
        stream.read_exact(&mut [0; 5]).expect("the echo");
        drop(stream);
        if way == "KILL" {
            server.kill();
            assert!(path.exists());
            continue;
        }
        let output = ropewalk(&["echo", "--listen", &address]);
        assert_eq!(output.status.code(), Some(1), "one is alive");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("another process listens there already"), "{said}");
        server.signal(way);
        assert_eq!(server.wait().code(), Some(0));
        assert!(!path.exists());
    }
    std::fs::remove_dir_all(folder).expect("it is ours");
}

/// As systemd starts it: the socket is descriptor 3, and the environment says so.
fn activated(socket: impl Into<OwnedFd>, names: &str, address: &str) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_ropewalk"), "echo", "--listen", address]);
    command.env("LISTEN_FDNAMES", names).stdin(socket.into());
    command
}

#[test]
fn a_socket_that_systemd_passed_is_listened_on_by_its_place_or_its_name() {
    for address in ["systemd:0", "systemd:web"] {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let bound = socket.local_addr().expect("it is bound");
        let server = Server::start_with(activated(socket, "web", address), 1);
        assert_eq!(server.address(), bound);
        assert_eq!(roundtrip(&server, b"hello", 5), b"hello");
    }
    let folder = support::short_scratch();
    let path = folder.join("s");
    let socket = UnixListener::bind(&path).expect("a free path");
    let mut server = Server::start_with(activated(socket, "web", "systemd:web"), 1);
    assert_eq!(server.listening[0].1, format!("unix:{}", path.display()));
    assert!(UnixStream::connect(&path).is_ok());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(path.exists(), "it is not ours");
    std::fs::remove_dir_all(folder).expect("it is ours");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let output = activated(socket, "web", "systemd:mail").output().expect("sh is everywhere");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("systemd:mail: systemd passed 1 socket, systemd:0 (\"web\")"), "{said}");
}

#[test]
fn a_port_in_use_is_one_plain_line_and_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = ropewalk(&["echo", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[test]
fn a_bad_address_is_refused_with_a_right_one() {
    let output = ropewalk(&["echo", "--listen", "7007"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the port is missing") && said.contains("127.0.0.1:"), "{said}");
    let output = ropewalk(&["echo", "--listen", "127.0.0.1:99999"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let right = "port 99999 is over 65535; write it like tcp://127.0.0.1:8080";
    assert!(said.contains(right), "{said}");
}

#[test]
fn serve_reads_its_services_from_a_file_and_names_the_line_of_a_mistake() {
    let file = std::env::temp_dir().join(format!("ropewalk-{}.toml", std::process::id()));
    let path = file.to_str().expect("a temporary path");
    std::fs::write(
        &file,
        "[[service]]\nkind = \"echo\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\n\
         [[service]]\nkind = \"line\"\nlisten = [\"127.0.0.1:0\"]\nmax-length = 80\n",
    )
    .expect("a temporary file");
    let server = Server::start(&["serve", "--config", path], 2);
    let kinds: Vec<_> = server.listening.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["echo", "line"]);

    std::fs::write(&file, "[[service]]\nkind = \"echo\"\nlistne = []\n").expect("a file");
    let output = ropewalk(&["serve", "--config", path]);
    std::fs::remove_file(&file).expect("it was written");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("line 3") && said.contains("listne"), "{said}");
}

#[test]
fn help_is_enough_to_use_it() {
    let output = ropewalk(&["--help"]);
    let said = String::from_utf8_lossy(&output.stdout);
    for word in ["serve", "amqp", "http", "line", "echo", "RUST_LOG"] {
        assert!(said.contains(word), "{said}");
    }
    for service in ["amqp", "http", "line", "echo"] {
        let output = ropewalk(&[service, "--help"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("An ADDRESS is one of"), "{said}");
    }
    let output = ropewalk(&["serve", "--help"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("[[service]]"));
}
