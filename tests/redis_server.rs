//! The publish/subscribe server as operators run it, over real sockets: subscribers that do not read, a
//! password from a file, and a configuration that is read again.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;

use support::{PATIENCE, Server, scratch};

/// A client that sends inline commands.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("it takes it");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        line.trim_end().to_owned()
    }

    /// What it answers, where that is a line.
    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    fn subscribe(&mut self, channel: &str) {
        self.send(&format!("SUBSCRIBE {channel}"));
        let lines: Vec<_> = (0..6).map(|_| self.line()).collect();
        assert_eq!(lines[5], ":1", "{lines:?}");
    }

    /// The payload of the next message.
    fn hear(&mut self) -> String {
        let mut lines: Vec<_> = (0..7).map(|_| self.line()).collect();
        assert_eq!(lines[2], "message", "{lines:?}");
        lines.pop().expect("there are seven")
    }
}

const MEBIBYTE: usize = 1 << 20;

#[test]
fn a_subscriber_that_stops_reading_is_closed_within_its_limit_and_the_others_lose_nothing() {
    let limit = 8 * MEBIBYTE;
    let limits = ["--subscriber-limit", "8MiB", "--max-message-size", "1MiB"];
    let server = Server::start(&[&["redis", "--listen", "127.0.0.1:0"], &limits[..]].concat(), 1);
    let mut publisher = Client::of(&server);
    assert_eq!(publisher.ask("PING"), "+PONG");
    let before = server.peak_memory();
    let mut slow = Client::of(&server);
    slow.subscribe("news");
    let mut quick = Client::of(&server);
    quick.subscribe("news");

    // Small ones, which each subscriber has a copy of.
    let (size, count) = (10_000, 10_000);
    let heard = thread::spawn(move || {
        for number in 0..count {
            assert_eq!(quick.hear(), format!("{number:0>size$}"));
        }
        quick
    });
    let mut told = Vec::new();
    for number in 0..count {
        told.push(publisher.ask(&format!("PUBLISH news {number:0>size$}")));
    }
    let mut quick = heard.join().expect("it heard them all, in order");
    let closed = told.iter().position(|told| told == ":1").expect("the slow one is closed");
    assert!(told[..closed].iter().all(|told| told == ":2"), "it counts up to then");
    assert!(told[closed..].iter().all(|told| told == ":1"), "and not after that");
    let said = server.said_until("a subscriber that is too slow is closed");
    assert!(said.contains("bytes are waiting for it, and 8388608 may at once"), "{said}");
    // What the kernel held comes out, and then the end.
    let mut rest = Vec::new();
    let _ = slow.0.read_to_end(&mut rest);
    assert!(rest.len() < closed * (size + 100), "{} bytes", rest.len());
    if let (Some(before), Some(after)) = (before, server.peak_memory()) {
        // The other one, and the buffers, may have had some of it as well.
        let most = 3 * limit as u64;
        assert!(after - before < most, "{} bytes", after - before);
    }
    assert_eq!(publisher.ask("PUBLISH news last"), ":1");
    assert_eq!(quick.hear(), "last");
}

#[test]
fn the_password_comes_from_a_file() {
    let home = scratch("redis");
    let path = home.join("password.txt");
    fs::write(&path, "secret\nnot this\n").expect("a new directory");
    let path = path.to_str().expect("a path of ours");
    let server = Server::start(&["redis", "--listen", "127.0.0.1:0", "--password-file", path], 1);
    let mut client = Client::of(&server);
    assert_eq!(client.ask("PING"), "-NOAUTH Authentication required.");
    assert!(client.ask("AUTH not this").starts_with("-WRONGPASS"));
    assert_eq!(client.ask("AUTH secret"), "+OK");
    assert_eq!(client.ask("PING"), "+PONG");
    fs::remove_dir_all(home).expect("it is ours");
}

#[test]
fn subscribers_stay_when_the_configuration_is_read_again() {
    let home = scratch("redis");
    let path = home.join("services.toml");
    let file = |more: &str| {
        let text = format!("[[service]]\nkind = 'redis'\nlisten = ['127.0.0.1:0']\n{more}");
        fs::write(&path, text).expect("a new directory");
    };
    file("");
    let path = path.to_str().expect("a path of ours");
    let server = Server::start(&["serve", "--config", path], 1);
    let mut subscriber = Client::of(&server);
    subscriber.subscribe("news");
    file("max-clients = 2\n");
    server.signal("HUP");
    server.said_until("] reloaded");
    let mut publisher = Client::of(&server);
    assert_eq!(publisher.ask("PUBLISH news hello"), ":1");
    assert_eq!(subscriber.hear(), "hello");
    let mut third = Client::of(&server);
    assert_eq!(third.line(), "-ERR max number of clients reached");
    fs::remove_dir_all(home).expect("it is ours");
}
