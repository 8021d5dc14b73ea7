//! Limits of any service's connections, as an operator sets them on the command line and in the file.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use support::Server;

fn call(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(support::PATIENCE)).expect("a limit");
    stream
}

/// Whether the server closes without a word.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"x\n").expect("it is open");
    stream.read_exact(&mut [0; 2]).expect("an echo");
}

#[test]
fn an_idle_connection_of_any_service_is_closed() {
    for service in ["echo", "line", "http"] {
        let server =
            Server::start(&[service, "--listen", "127.0.0.1:0", "--idle-timeout", "100ms"], 1);
        assert!(is_closed(&mut call(&server)), "{service}");
    }
    let server = Server::start(
        &["amqp", "--memory", "--listen", "127.0.0.1:0", "--max-lifetime", "200ms"],
        1,
    );
    assert!(is_closed(&mut call(&server)));
}

#[test]
fn whoever_is_one_too_many_is_closed_and_the_log_says_so_once() {
    let server = Server::start(
        &["echo", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--max-connections", "2"],
        2,
    );
    let (mut one, mut other) = (call(&server), call(&server));
    echoes(&mut one);
    echoes(&mut other);
    for _ in 0..3 {
        assert!(is_closed(&mut call(&server)));
    }
    server.said_until("closed, since there are 2 connections, which is the limit");
    drop(one);
    let began = Instant::now();
    // The server learns of it a moment later.
    loop {
        let mut next = call(&server);
        if next.write_all(b"x\n").is_ok() && next.read_exact(&mut [0; 2]).is_ok() {
            break;
        }
        assert!(began.elapsed() < support::PATIENCE, "there is room for one");
    }
    echoes(&mut other);
}

#[test]
fn of_one_peer_there_are_no_more_connections_than_told() {
    let server =
        Server::start(&["line", "--listen", "127.0.0.1:0", "--max-connections-per-peer", "1"], 1);
    let mut one = call(&server);
    echoes(&mut one);
    assert!(is_closed(&mut call(&server)));
    echoes(&mut one);
}

#[test]
fn rates_of_a_service_slow_it_down() {
    for option in ["--rate-in", "--rate-out", "--total-rate-in", "--total-rate-out"] {
        let server = Server::start(&["echo", "--listen", "127.0.0.1:0", option, "100kB/s"], 1);
        let mut stream = call(&server);
        let began = Instant::now();
        stream.write_all(&[7; 150_000]).expect("it is open");
        stream.read_exact(&mut [0; 150_000]).expect("the echo");
        // A second's worth passes at once.
        assert!(began.elapsed() >= Duration::from_millis(499), "{option}: {:?}", began.elapsed());
    }
}

#[test]
fn a_file_sets_limits_for_all_services_and_for_one() {
    let directory = support::scratch("policies");
    std::fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("services.toml");
    let text = "[policy]\nidle-timeout = '100ms'\n\
                [[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:0']\n\
                [[service]]\nkind = 'line'\nlisten = ['127.0.0.1:0']\nidle-timeout = '1h'\n";
    std::fs::write(&file, text).expect("a file");
    let server = Server::start(&["serve", "--config", file.to_str().expect("UTF-8")], 2);
    let addresses: Vec<_> = server
        .listening
        .iter()
        .map(|(kind, address)| {
            (kind.clone(), address.strip_prefix("tcp://").expect("TCP").to_owned())
        })
        .collect();
    assert_eq!((&*addresses[0].0, &*addresses[1].0), ("echo", "line"));
    let mut lines = TcpStream::connect(&addresses[1].1).expect("it listens");
    let mut echo = TcpStream::connect(&addresses[0].1).expect("it listens");
    echo.set_read_timeout(Some(support::PATIENCE)).expect("a limit");
    assert!(is_closed(&mut echo));
    echoes(&mut lines);
    let _ = std::fs::remove_dir_all(directory);
}

#[test]
fn a_traffic_log_tells_what_was_said() {
    let directory = support::scratch("traffic");
    std::fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("traffic");
    let path = file.to_str().expect("UTF-8");
    let mut server = Server::start(&["line", "--listen", "127.0.0.1:0", "--traffic-log", path], 1);
    let mut stream = call(&server);
    stream.write_all(b"hello\n").expect("it is open");
    stream.read_exact(&mut [0; 7]).expect("an echo");
    drop(stream);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let text = std::fs::read_to_string(&file).expect("it was written");
    let _ = std::fs::remove_dir_all(&directory);
    let words: Vec<_> = text.lines().filter_map(|line| line.split(' ').nth(3)).collect();
    assert_eq!((words[0], text.matches(" in 6\n").count()), ("made", 1), "{text}");
    assert!(text.contains(" out 5\n") && text.contains("|hello|\n"), "{text}");
    assert!(text.contains(" lost: "), "{text}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--traffic-log", "/nowhere/x"];
    let output = command.args(arguments).output().expect("it was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("echo: cannot open the traffic log /nowhere/x: "), "{said}");
}

#[test]
fn a_wrong_limit_is_told_with_a_right_one() {
    for (option, value, problem) in [
        ("--idle-timeout", "soon", "a time as 500ms, 90s, 5m"),
        ("--max-lifetime", "0", "leave it out for no limit"),
        ("--rate-in", "fast", "a size as 512MiB"),
        ("--total-rate-out", "0", "leave it out for no limit"),
        ("--max-connections", "0", "invalid value '0'"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        let output = command.args(["echo", option, value]).output().expect("it was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(problem), "{said}");
    }
}
