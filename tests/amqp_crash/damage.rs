//! Directories that are damaged, in use, or of another version: named, and what is left served.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{Client, Told};
use crate::ends::{begun, crc32c};
use crate::support::{self, Server, scratch};
use crate::{run, said, segments, start};

/// A directory with some files' worth of messages in a queue, and how many.
fn filled() -> (PathBuf, u32) {
    let directory = scratch("damage");
    let mut server = start(&directory);
    let mut client = Client::connect(server.address()).expect("it listens");
    client.declare("classic", false).expect("it is alive");
    let count = 80;
    for number in 0..count {
        let mut body = format!("{number} ").into_bytes();
        body.resize(500_000, number as u8);
        client.make_safe("classic", &body).expect("it is alive");
    }
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(segments(&directory).len() > 2, "{:?}", segments(&directory));
    (directory, count)
}

/// Starts on a damaged directory: what is left comes in order and unchanged. Returns how many.
fn left(directory: &Path, file: &str) -> u32 {
    let server = start(directory);
    let mut client = Client::connect(server.address()).expect("it listens");
    let count = client.declare("classic", false).expect("it is alive");
    client.consume("classic", 0).expect("it is alive");
    let (mut left, mut last) = (0, None);
    client.socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket");
    while let Ok(Told::Delivered { body, .. }) = client.read() {
        let text = String::from_utf8_lossy(&body[..4]).into_owned();
        let number: u32 = text.split(' ').next().and_then(|it| it.parse().ok()).expect("a number");
        assert!(body[4..].iter().all(|&octet| octet == number as u8), "{number} has changed");
        assert!(last.is_none_or(|last| last < number), "{number} after {last:?}");
        (left, last) = (left + 1, Some(number));
    }
    assert!(left <= count, "{left} came of {count}");
    let said = server.said();
    assert!(said.contains(file), "it does not name {file}:\n{said}");
    left
}

/// Does harm to the oldest file: it is named, by the check and at the next start, and what is left is
/// served.
fn is_named_and_the_rest_served(harm: impl FnOnce(&Path)) {
    let (directory, count) = filled();
    let victim = segments(&directory)[0].clone();
    let file = victim.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
    harm(&victim);
    let path = directory.to_str().expect("UTF-8");
    let told = said(&run(&["amqp", "check", path]));
    assert!(told.contains(&file), "{told}");
    let left = left(&directory, &file);
    assert!((count / 2..count).contains(&left), "{left} of {count} are left");
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn a_damaged_file_is_named_and_the_rest_is_served() {
    is_named_and_the_rest_served(|victim| {
        let mut octets = fs::read(victim).expect("it is there");
        let middle = octets.len() / 2;
        octets[middle] ^= 0x10;
        fs::write(victim, &octets).expect("it can be written");
    });
}

#[test]
fn a_file_that_is_cut_off_is_named_and_the_rest_is_served() {
    is_named_and_the_rest_served(|victim| {
        let opened = fs::OpenOptions::new().write(true).open(victim).expect("it is there");
        let length = opened.metadata().expect("it is there").len();
        opened.set_len(length / 2).expect("it can be cut");
    });
}

#[test]
fn a_second_broker_on_the_same_directory_is_refused() {
    let directory = scratch("twice");
    let _first = start(&directory);
    let path = directory.to_str().expect("UTF-8");
    let second = run(&["amqp", "--listen", "127.0.0.1:0", "--data", path]);
    assert!(!second.status.success());
    assert!(said(&second).contains("is in use by another process"), "{}", said(&second));
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn a_directory_of_a_newer_version_is_refused_by_the_name_of_its_file() {
    let directory = scratch("newer");
    let mut server = start(&directory);
    server.signal("TERM");
    assert!(server.wait().success());
    // The newest that was begun: one more is prepared.
    let newest = begun(&directory).pop_last().expect("a segment");
    let mut octets = fs::read(&newest).expect("it is there");
    octets[8] += 1; // the version follows eight octets of what kind of file it is
    let checksum = crc32c(octets[..12].iter().chain(&octets[16..64]));
    octets[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&newest, octets).expect("it can be written");
    let path = directory.to_str().expect("UTF-8");
    let refused = run(&["amqp", "--listen", "127.0.0.1:0", "--data", path]);
    let said = said(&refused);
    assert!(!refused.status.success(), "{said}");
    let file = newest.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    assert!(said.contains("newer version") && said.contains(file), "{said}");
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn the_definitions_of_a_directory_can_be_imported_again() {
    let (one, other) = (scratch("definitions"), scratch("definitions"));
    let given = support::root().join("protocols/amqp/tests/data/rabbitmq-3.10-definitions.json");
    let mut printed = Vec::new();
    let mut import = given;
    for directory in [&one, &other] {
        let path = directory.to_str().expect("UTF-8");
        let import_path = import.to_str().expect("UTF-8");
        let data = ["amqp", "--listen", "127.0.0.1:0", "--data", path];
        let mut server = Server::start(&[&data[..], &["--definitions", import_path]].concat(), 1);
        server.signal("TERM");
        assert!(server.wait().success());
        let output = run(&["amqp", "definitions", path]);
        assert!(output.status.success(), "{}", said(&output));
        printed.push(String::from_utf8(output.stdout).expect("UTF-8"));
        import = one.join("printed.json");
        fs::write(&import, &printed[0]).expect("it can be written");
    }
    assert!(printed[0].contains("\"queues\"") && printed[0].len() > 1000, "{}", printed[0]);
    assert_eq!(printed[0], printed[1]);
    let _ = fs::remove_dir_all(one);
    let _ = fs::remove_dir_all(other);
}
