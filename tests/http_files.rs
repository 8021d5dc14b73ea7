//! Files over HTTP as operators serve them: attacks on a real directory, slow readers, an access log
//! that is put aside, and an end that cuts nothing.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{PATIENCE, Server, scratch};

const MEBIBYTE: u64 = 1 << 20;

/// What came back: the status, the fields, and the body.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> &str {
        &self.head[9..12]
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn of(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, target: &str, fields: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).expect("it takes it");
    }

    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).expect("a head in time") > 0, "closed: {head}");
        }
        head
    }

    fn get(&mut self, target: &str) -> Answer {
        self.send(target, "");
        let head = self.head();
        let mut body = vec![0; length(&head) as usize];
        self.0.read_exact(&mut body).expect("the whole body");
        Answer { head, body }
    }
}

fn length(head: &str) -> u64 {
    let value = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    value.map_or(0, |value| value.parse().expect("a number"))
}

/// A directory of a test's own, gone at its end.
struct Tree(PathBuf);

impl Tree {
    fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A root with a file in it, and a secret beside it.
fn tree(name: &str) -> Tree {
    let directory = Tree(scratch(name));
    fs::create_dir_all(directory.join("root/sub")).expect("a directory of ours");
    for (path, text) in
        [("root/file.txt", "inside"), ("root/sub/index.html", "index"), ("secret", "secret")]
    {
        fs::write(directory.join(path), text).expect("a file of ours");
    }
    directory
}

fn serve(tree: &Tree, options: &[&str]) -> Server {
    let root = tree.join("root");
    let root = root.to_str().expect("a plain path");
    Server::start(&[&["http", "--listen", "127.0.0.1:0", "--root", root], options].concat(), 1)
}

#[test]
fn nothing_beside_the_root_is_served_and_nothing_is_waited_for() {
    let directory = tree("http-attacks");
    let root = directory.join("root");
    for (name, target) in [
        ("in", "file.txt"),
        ("out", "../secret"),
        ("out-directory", ".."),
        ("etc", "/etc"),
        ("magic", "/proc/self/root/etc/passwd"),
        ("loop", "loop"),
    ] {
        symlink(target, root.join(name)).expect("a link of ours");
    }
    fs::write(root.join(".hidden"), "secret").expect("a file of ours");
    let made = Command::new("mkfifo").arg(root.join("fifo")).status().expect("mkfifo is there");
    assert!(made.success());
    let server = serve(&directory, &["--listing"]);
    let mut client = Client::of(&server);
    for target in [
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/sub/../../secret",
        "/sub/%2E%2E/%2E%2E/secret",
        "/..\\secret",
        "/..%5csecret",
        "/%252e%252e/secret",
        "//secret",
        "/sub//../../secret",
        "/file.txt%00",
        "/file.txt/",
        "/file.txt/../../secret",
        "http://a/../secret",
        "/out",
        "/out-directory/secret",
        "/out-directory/",
        "/etc/passwd",
        "/etc/",
        "/magic",
        "/loop",
        "/fifo",
        "/.hidden",
        "/%2ehidden",
        "/proc/self/environ",
    ] {
        let answer = client.get(target);
        assert_eq!(answer.status(), "404", "{target}: {}", answer.head);
        assert_eq!(answer.body, b"404 Not Found\n", "{target}");
    }
    assert_eq!(client.get("/in").body, b"inside");
    assert_eq!(client.get("/file.txt").body, b"inside");
    assert_eq!(client.get("/sub/").body, b"index");
    let listing = String::from_utf8(client.get("/").body).expect("it is text");
    assert!(listing.contains("file.txt") && !listing.contains("hidden"), "{listing}");
}

#[test]
fn a_gibibyte_for_a_hundred_slow_readers_takes_little_memory_and_stops_nobody() {
    let directory = tree("http-slow");
    let file = fs::File::create(directory.join("root/large")).expect("a file of ours");
    file.set_len(1024 * MEBIBYTE).expect("a sparse file"); // of which nothing is on the disk
    file.write_all_at(b"end", 1024 * MEBIBYTE - 3).expect("room");
    let server = serve(&directory, &[]);
    assert_eq!(Client::of(&server).get("/file.txt").body, b"inside");
    let before = server.peak_memory();
    let mut slow: Vec<_> = (0..100).map(|_| Client::of(&server)).collect();
    for client in &mut slow {
        client.send("/large", "");
        assert_eq!(length(&client.head()), 1024 * MEBIBYTE);
    }
    // They read a little, again and again.
    let mut piece = vec![1; 64 * 1024];
    for _ in 0..20 {
        for client in &mut slow {
            client.0.read_exact(&mut piece).expect("more of it");
            assert!(piece.iter().all(|&byte| byte == 0));
        }
    }
    assert_eq!(Client::of(&server).get("/file.txt").body, b"inside", "the loop is free");
    if let (Some(before), Some(after)) = (before, server.peak_memory()) {
        let grown = after - before;
        assert!(grown < 64 * MEBIBYTE, "it took {} MiB", grown / MEBIBYTE);
    }
    drop(slow);
    // And one who reads it to its end.
    let mut client = Client::of(&server);
    client.send("/large", "Range: bytes=-10000000\r\n");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
    let mut body = vec![0; 10_000_000];
    client.0.read_exact(&mut body).expect("all of it");
    assert!(body.ends_with(b"\0end"));
}

#[test]
fn a_file_that_is_truncated_cuts_the_connection_and_the_log_says_so() {
    let directory = tree("http-truncated");
    let path = directory.join("root/large");
    fs::write(&path, vec![b'x'; 64 * MEBIBYTE as usize]).expect("a file of ours");
    let server = serve(&directory, &[]);
    let mut client = Client::of(&server);
    client.send("/large", "");
    assert_eq!(length(&client.head()), 64 * MEBIBYTE);
    let file = fs::OpenOptions::new().write(true).open(&path).expect("it is ours");
    file.set_len(MEBIBYTE).expect("it is shorter");
    let mut body = Vec::new();
    let _ = client.0.read_to_end(&mut body); // the end, or a reset
    assert!((body.len() as u64) < 64 * MEBIBYTE, "{} bytes came", body.len());
    server.said_until("became shorter while it was sent");
    assert_eq!(Client::of(&server).get("/file.txt").body, b"inside");
}

#[test]
fn the_access_log_has_a_line_for_each_request_and_is_opened_anew() {
    let directory = tree("http-log");
    let log = directory.join("access.log");
    for options in [&[][..], &["--threads", "2"]] {
        let _ = fs::remove_file(&log);
        let log_option = ["--access-log", log.to_str().expect("a plain path")];
        let server = serve(&directory, &[&log_option[..], options].concat());
        let mut client = Client::of(&server);
        client.get("/file.txt?before");
        let aside = directory.join("access.log.1");
        let before = lines_in(&log, 1);
        assert!(before[0].contains("\"GET /file.txt?before HTTP/1.1\" 200 6 "), "{before:?}");
        fs::rename(&log, &aside).expect("it is ours");
        server.signal("HUP");
        server.said_until("reloaded");
        client.get("/missing");
        let after = lines_in(&log, 1);
        assert!(after[0].contains("\"GET /missing HTTP/1.1\" 404 14 "), "{after:?}");
        assert_eq!(fs::read_to_string(&aside).expect("it is ours").lines().count(), 1);
    }
}

/// The lines of a file, once there are as many.
fn lines_in(path: &Path, count: usize) -> Vec<String> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(std::time::Instant::now() < deadline, "{}: {lines:?}", path.display());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn an_end_lets_a_response_be_read_to_its_last_byte() {
    let directory = tree("http-drain");
    let size = 16 * MEBIBYTE;
    fs::write(directory.join("root/large"), vec![b'x'; size as usize]).expect("a file of ours");
    for options in [&[][..], &["--threads", "2"]] {
        let mut server = serve(&directory, options);
        let mut idle = Client::of(&server);
        idle.get("/file.txt");
        let mut busy = Client::of(&server);
        busy.send("/large", "");
        let head = busy.head();
        assert_eq!(length(&head), size);
        server.signal("TERM");
        let mut rest = Vec::new();
        idle.0.read_to_end(&mut rest).expect("an end in order");
        assert!(rest.is_empty(), "an idle connection is closed at once");
        let mut body = vec![0; size as usize];
        busy.0.read_exact(&mut body).expect("every byte");
        drop((idle, busy)); // it would wait for their ends
        assert!(server.wait().success());
        assert!(TcpStream::connect(server.address()).is_err());
    }
}

#[test]
fn an_end_tells_websockets_that_it_is_one() {
    let mut server = Server::start(&["http", "--listen", "127.0.0.1:0"], 1);
    let mut client = Client::of(&server);
    client.send(
        "/",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    );
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    server.signal("TERM");
    let mut frame = [0; 4];
    client.0.read_exact(&mut frame).expect("a frame in time");
    assert_eq!(frame, *b"\x88\x02\x03\xe9", "1001, going away");
    drop(client);
    assert!(server.wait().success());
}

#[test]
fn options_that_do_not_fit_are_told() {
    let directory = tree("http-options");
    let file = directory.join("secret");
    let file = file.to_str().expect("a plain path");
    for (options, told) in [
        (&["--root", "/nowhere/at/all"][..], "http: /nowhere/at/all: "),
        (&["--root", file], "it is no directory"),
        (&["--listing"], "--root"),
        (&["--root", "/", "--index", "a/b"], "an index is a name"),
        (&["--access-log", "/nowhere/at/all"], "cannot open the access log"),
        (&["--root", "/nowhere/at/all", "--threads", "2"], "http: /nowhere/at/all: "),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        let output = command.args(["http", "--listen", "127.0.0.1:0"]).args(options).output();
        let output = output.expect("it runs");
        assert!(!output.status.success(), "{options:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(told), "{options:?}: {said}");
    }
}

#[test]
fn a_file_lists_sites_and_a_reload_changes_what_new_connections_see() {
    let directory = tree("http-config");
    let config = directory.join("ropewalk.toml");
    let root = directory.join("root");
    let service = |more: &str| {
        format!(
            "[[service]]\nkind = \"http\"\nlisten = [\"127.0.0.1:0\"]\nroot = {:?}\n{more}",
            root.to_str().expect("a plain path")
        )
    };
    fs::write(&config, service("")).expect("a file of ours");
    let server = Server::start(&["serve", "--config", config.to_str().expect("plain")], 1);
    let mut before = Client::of(&server);
    assert_eq!(before.get("/").status(), "403");
    fs::write(&config, service("listing = true\ncompress = true\n")).expect("a file of ours");
    server.signal("HUP");
    server.said_until("reloaded");
    assert_eq!(before.get("/").status(), "403", "a connection goes on as it is");
    assert_eq!(Client::of(&server).get("/").status(), "200");
    fs::write(&config, "[[service]]\nkind = \"http\"\nlisting = true\n").expect("a file of ours");
    server.signal("HUP");
    let said = server.said_until("nothing has changed");
    assert!(said.contains("`listing` goes with a `root`"), "{said}");
}
