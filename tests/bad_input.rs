//! Bad input, thrown at the real binary: each protocol answers with its own error and closes that
//! connection; a bystander on another one notices nothing, and the process lives.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use support::{PATIENCE, Server};

const MEBIBYTE: usize = 1 << 20;

/// A sequence of bytes that a seed decides (SplitMix64).
fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

/// Sends all of `sent` as far as the peer takes it, ends, and answers what came back until the
/// peer closed. A reset counts as a close: the peer need not read on after its error.
fn exchange(address: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let stream = connect(address);
    let mut writer = stream.try_clone().expect("a second handle");
    let mut reader = stream;
    let sent = sent.to_vec();
    let writing = thread::spawn(move || {
        let _ = writer.write_all(&sent);
        let _ = writer.shutdown(Shutdown::Write);
    });
    let mut received = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => received.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset) => break,
            Err(error) => panic!("the connection was not closed: {error}"),
        }
    }
    writing.join().expect("it only writes");
    received
}

/// A connection that was there before and is asked again afterwards.
struct Bystander {
    stream: TcpStream,
    question: &'static [u8],
    answer: Vec<u8>,
}

impl Bystander {
    fn new(address: SocketAddr, question: &'static [u8], length: usize) -> Self {
        let mut bystander = Self { stream: connect(address), question, answer: vec![0; length] };
        bystander.stream.write_all(question).expect("it is open");
        bystander.stream.read_exact(&mut bystander.answer).expect("an answer");
        bystander
    }

    fn is_undisturbed(&mut self) {
        let mut answer = vec![0; self.answer.len()];
        self.stream.write_all(self.question).expect("it is still open");
        self.stream.read_exact(&mut answer).expect("still an answer");
        assert_eq!(answer, self.answer);
    }
}

#[test]
fn lines_over_the_limit_close_their_connection_and_no_other() {
    let arguments = ["line", "--listen", "127.0.0.1:0", "--max-length", "1000"];
    let mut server = Server::start(&arguments, 1);
    let address = server.address();
    let mut bystander = Bystander::new(address, b"hello\r\n", 7);
    for seed in 0..8 {
        exchange(address, &random(seed, MEBIBYTE));
        bystander.is_undisturbed();
    }
    let session = b"one\r\ntwo\r\n";
    for cut in 0..=session.len() {
        let whole = session[..cut].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let echoed = exchange(address, &session[..cut]);
        assert_eq!(echoed.len(), whole, "cut at {cut}: {echoed:?}");
    }
    exchange(address, &[b'x'; 2000]);
    bystander.is_undisturbed();
    assert!(server.is_alive());
    let said = server.said();
    assert!(said.contains("line"), "the log says why: {said}");
}

#[test]
fn bad_requests_are_answered_by_an_http_error_and_closed() {
    let mut server = Server::start(&["http", "--listen", "127.0.0.1:0"], 1);
    let address = server.address();
    let request = b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
    let whole = {
        let mut once = request.to_vec();
        once.truncate(request.len() - 2);
        once.extend_from_slice(b"Connection: close\r\n\r\n");
        exchange(address, &once)
    };
    assert!(whole.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&whole));
    let mut stream = connect(address);
    for seed in 0..8 {
        let answer = exchange(address, &random(seed, MEBIBYTE));
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 4"), "seed {seed}: {text}");
    }
    for cut in 0..request.len() {
        let answer = exchange(address, &request[..cut]);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "cut at {cut}: {text}");
    }
    let mut long = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    long.resize(MEBIBYTE, b'x');
    let answer = exchange(address, &long);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    stream.write_all(request).expect("the bystander is open");
    let mut start = [0; 13];
    stream.read_exact(&mut start).expect("the bystander is answered");
    assert_eq!(&start, b"HTTP/1.1 200 ");
    assert!(server.is_alive());
}

/// The beginning of a client's session: header, start-ok (PLAIN, guest), tune-ok, open of `/`,
/// channel 1, and a passive declaration of nothing that exists.
fn amqp_session() -> Vec<u8> {
    fn method(channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![1];
        frame.extend_from_slice(&channel.to_be_bytes());
        frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        frame.extend_from_slice(payload);
        frame.push(0xce);
        frame
    }
    let mut session = b"AMQP\x00\x00\x09\x01".to_vec();
    let mut start_ok = vec![0, 10, 0, 11, 0, 0, 0, 0];
    start_ok.extend_from_slice(b"\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US");
    session.extend(method(0, &start_ok));
    session.extend(method(0, &[0, 10, 0, 31, 0x07, 0xff, 0, 2, 0, 0, 0, 0]));
    session.extend(method(0, &[0, 10, 0, 40, 1, b'/', 0, 0]));
    session.extend(method(1, &[0, 20, 0, 10, 0]));
    session.extend(method(1, b"\x00\x32\x00\x0a\x00\x00\x01q\x00\x00\x00\x00\x00"));
    session
}

#[test]
fn bad_frames_are_answered_by_amqp_errors_and_closed() {
    let mut server = Server::start(&["amqp", "--listen", "127.0.0.1:0"], 1);
    let address = server.address();
    let session = amqp_session();
    let mut bystander = connect(address);
    bystander.write_all(&session).expect("it is open");
    // What is no AMQP at all is answered by the header of what is.
    for seed in 0..8 {
        let answer = exchange(address, &random(seed, MEBIBYTE));
        assert_eq!(answer, b"AMQP\x00\x00\x09\x01", "seed {seed}");
    }
    // Garbage behind a good handshake is a frame error, 501.
    for seed in 0..8 {
        let mut sent = session.clone();
        sent.extend(random(seed, MEBIBYTE));
        let answer = exchange(address, &sent);
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.contains("FRAME_ERROR"), "seed {seed}: {text}");
    }
    for cut in 0..session.len() {
        exchange(address, &session[..cut]);
    }
    // A frame over frame_max is refused from its header.
    let mut sent = session.clone();
    sent.extend_from_slice(&[1, 0, 1, 0x7f, 0xff, 0xff, 0xff]);
    let answer = exchange(address, &sent);
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.contains("frame_too_large"), "{text}");
    // The bystander's declaration of "q" was answered long ago: declare-ok is 50/11.
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while !heard.windows(4).any(|window| window == [0, 50, 0, 11]) {
        let count = bystander.read(&mut chunk).expect("the bystander is answered");
        assert!(count > 0, "the bystander was closed: {heard:?}");
        heard.extend_from_slice(&chunk[..count]);
    }
    assert!(server.is_alive());
}
