//! The state machine without a network: frames in, events out, and the other way.

mod properties;

use super::*;
use crate::websocket::codec::{MAX_HEAD, Opcode, mask};
use crate::websocket::{CloseCode, Deflate, Error, Message};
use bytes::Bytes;
use ropewalk_reactor::Written;

/// A wire that takes everything, or has no room.
struct Tape {
    octets: Vec<u8>,
    answer: Written,
    random: u8,
}

impl Default for Tape {
    fn default() -> Self {
        Self { octets: Vec::new(), answer: Written::Taken, random: 0 }
    }
}

impl Wire for Tape {
    fn write(&mut self, data: &[u8]) -> Written {
        self.octets.extend_from_slice(data);
        self.answer
    }

    fn write_bytes(&mut self, data: Bytes) -> Written {
        self.write(&data)
    }

    fn writability(&self) -> Written {
        self.answer
    }

    fn output_limit(&self) -> usize {
        1000
    }

    fn random(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        for byte in bytes {
            self.random = self.random.wrapping_mul(5).wrapping_add(17);
            *byte = self.random;
        }
        Ok(())
    }

    fn abort(&mut self) {
        self.answer = Written::Gone;
    }
}

/// What an event was, for comparing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    /// All pieces of a streamed message, together.
    Streamed(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(CloseCode, String),
    Failed(Error),
}

fn seen(message: Message<'_>) -> Seen {
    match message {
        Message::Text(text) => Seen::Text(text.to_owned()),
        Message::Binary(data) => Seen::Binary(data.to_vec()),
    }
}

/// Gives `wire` to a connection, `step` octets at a time, as a transport would.
fn receive(connection: &mut Connection, wire: &[u8], step: usize, streams: bool) -> Vec<Seen> {
    let mut events = Vec::new();
    let mut pending = Vec::new();
    let mut piece: Option<(Kind, Vec<u8>)> = None;
    for part in wire.chunks(step.max(1)) {
        pending.extend_from_slice(part);
        let mut at = 0;
        loop {
            let (used, event) = match connection.receive(&mut pending[at..]) {
                Ok(step) => step,
                Err(error) => {
                    events.push(Seen::Failed(error));
                    return events;
                }
            };
            at += used;
            match event {
                Event::NeedMore | Event::Over => break,
                Event::Nothing => {}
                Event::MessageStarted(kind) if streams => {
                    connection.stream_message();
                    piece = Some((kind, Vec::new()));
                }
                Event::MessageStarted(_) => {}
                Event::MessageReceived(payload) => events.push(seen(payload.message())),
                Event::PieceReceived(payload) => {
                    let message = payload.message();
                    let (kind, all) = piece.as_mut().expect("it has started");
                    assert_eq!(*kind, message.kind());
                    assert!(!message.as_bytes().is_empty());
                    all.extend_from_slice(message.as_bytes());
                }
                Event::MessageEnded => {
                    let (kind, all) = piece.take().expect("it has started");
                    events.push(Seen::Streamed(kind, all));
                }
                Event::PingReceived(data) => events.push(Seen::Ping(data.to_vec())),
                Event::PongReceived(data) => events.push(Seen::Pong(data.to_vec())),
                Event::CloseReceived => {
                    let close = connection.close_received().expect("it is there").clone();
                    events.push(Seen::Close(close.code, close.reason));
                }
            }
        }
        pending.drain(..at);
    }
    events
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = FrameHead {
        is_final: first & 0x80 != 0,
        is_compressed: first & 0x40 != 0,
        opcode: match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            _ => Opcode::Pong,
        },
        mask: Some([1, 2, 3, 4]),
        length: payload.len() as u64,
    };
    let mut out = [0; MAX_HEAD];
    let size = head.write(&mut out);
    let mut masked = payload.to_vec();
    mask(&mut masked, [1, 2, 3, 4], 0);
    [&out[..size], &masked].concat()
}

fn server() -> Connection {
    Connection::server(Arc::new(Config::new().max_message(100)), None)
}

/// As a server without compression sees it, whole and one octet at a time.
fn by_server(wire: &[u8]) -> Vec<Seen> {
    let whole = receive(&mut server(), wire, wire.len(), false);
    let cut = receive(&mut server(), wire, 1, false);
    assert_eq!(whole, cut, "cutting the input changed what it is");
    whole
}

fn agreed(is_alone: bool, bits: u8) -> Agreed {
    Agreed { is_own_alone: is_alone, own_bits: bits, is_peers_alone: is_alone, peers_bits: bits }
}

#[test]
fn messages_are_whole_or_in_fragments_with_control_frames_between() {
    let wire = [
        frame(0x81, b"whole"),
        frame(0x01, "k\u{3ba}".as_bytes().split_at(2).0),
        frame(0x89, b"ping"),
        frame(0x00, "k\u{3ba}".as_bytes().split_at(2).1),
        frame(0x8a, b""),
        frame(0x80, b"!"),
        frame(0x82, &[0; 100]),
        frame(0x81, b""),
        frame(0x88, b"\x03\xe8bye"),
        frame(0x81, b"never"),
    ]
    .concat();
    let expected = [
        Seen::Text("whole".to_owned()),
        Seen::Ping(b"ping".to_vec()),
        Seen::Pong(vec![]),
        Seen::Text("k\u{3ba}!".to_owned()),
        Seen::Binary(vec![0; 100]),
        Seen::Text(String::new()),
        Seen::Close(CloseCode::NORMAL, "bye".to_owned()),
    ];
    assert_eq!(by_server(&wire), expected);
}

#[test]
fn what_breaks_the_rules_fails_for_its_own_reason() {
    let mut unmasked = frame(0x81, b"hi");
    unmasked[1] &= 0x7f;
    for (wire, error) in [
        (unmasked, Error::Unmasked),
        (frame(0xc1, b"hi"), Error::ReservedBits), // compression was not agreed on
        (frame(0x80, b"hi"), Error::ContinuationUnexpected),
        ([frame(0x01, b"hi"), frame(0x81, b"hi")].concat(), Error::ContinuationMissing),
        (frame(0x81, b"\xc3\x28"), Error::Utf8),
        (frame(0x81, b"\xc3"), Error::Utf8),
        ([frame(0x01, b"\xc3"), frame(0x80, b"")].concat(), Error::Utf8),
        (frame(0x88, b"\x03"), Error::ClosePayload),
        (frame(0x88, &1005u16.to_be_bytes()), Error::CloseCode),
        (frame(0x88, b"\x03\xe8\xff"), Error::Utf8),
        (frame(0x82, &[0; 101]), Error::MessageTooLarge),
        ([frame(0x02, &[0; 60]), frame(0x80, &[0; 41])].concat(), Error::MessageTooLarge),
    ] {
        assert_eq!(by_server(&wire).last(), Some(&Seen::Failed(error)), "{wire:?}");
    }
    let mut client = Connection::client(Arc::default(), None);
    let events = receive(&mut client, &frame(0x81, b"hi"), 1, false);
    assert_eq!(events, [Seen::Failed(Error::Masked)]);
}

#[test]
fn what_is_too_long_is_refused_before_it_comes() {
    let config = Arc::new(Config::new().max_message(100).max_frame(1000));
    for (length, streams, expected) in [
        (101u16, false, Some(Error::MessageTooLarge)),
        (1000, true, None), // nothing of it is kept
        (1001, true, Some(Error::FrameTooLarge)),
    ] {
        let mut connection = Connection::server(config.clone(), None);
        let mut head = frame(0x82, &vec![0; usize::from(length)]);
        head.truncate(8);
        let events = receive(&mut connection, &head, 8, streams);
        assert_eq!(events.last().cloned(), expected.map(Seen::Failed), "{length}");
    }
}

#[test]
fn text_fails_with_the_octet_that_makes_it_invalid() {
    // The frame's end, and most of it, has not come.
    let mut wire = frame(0x81, b"abc\xf4\x90zzzzzzzz");
    wire.truncate(6 + 5);
    assert_eq!(by_server(&wire), [Seen::Failed(Error::Utf8)]);
    wire.truncate(6 + 4);
    assert_eq!(by_server(&wire), []);
}

#[test]
fn what_inflates_to_too_much_is_refused_while_it_inflates() {
    let agreed = agreed(false, 15);
    let deflate = Deflate::new().min_size(0);
    let config = Config::new().deflate(deflate);
    let mut client = Connection::client(Arc::new(config.clone()), Some(agreed));
    let mut tape = Tape::default();
    let bomb = vec![b'x'; 64 * 1024 * 1024];
    client.send(Message::Binary(&bomb), &mut tape);
    assert!(tape.octets.len() < 100_000, "it is small on the wire: {}", tape.octets.len());

    let limit = 1024 * 1024;
    let config = Arc::new(config.max_message(limit));
    let mut server = Connection::server(config, Some(agreed));
    let mut at = 0;
    let error = loop {
        match server.receive(&mut tape.octets[at..]) {
            Ok((used, _)) => at += used,
            Err(error) => break error,
        }
        let held = server.incoming.as_ref().map_or(0, |incoming| incoming.gathered());
        assert!(held <= limit, "{held} bytes are held");
    };
    assert_eq!(error, Error::MessageTooLarge);
    assert!(at < tape.octets.len() / 10, "most of it was never looked at");
}

#[test]
fn what_is_compressed_may_say_so_in_its_first_frame_only() {
    let config = Arc::new(Config::new().deflate(Deflate::new()));
    for (wire, error) in [
        ([frame(0x42, b"\x00"), frame(0xc0, b"\x00")].concat(), Error::ReservedBits),
        (frame(0xc2, b"\xff\xff\xff"), Error::Inflate),
        (frame(0xc1, b"\xba\x05\x00\x00"), Error::Utf8), // an octet of 0x80 and more
    ] {
        for step in [1, wire.len()] {
            let mut server = Connection::server(config.clone(), Some(agreed(true, 15)));
            let events = receive(&mut server, &wire, step, false);
            assert!(
                matches!(events.last(), Some(Seen::Failed(found)) if *found == error
                    || (error == Error::Utf8 && *found == Error::Inflate)),
                "{wire:?}: {events:?}"
            );
        }
    }
}

#[test]
fn an_empty_compressed_message_is_one_octet() {
    let config = Arc::new(Config::new().deflate(Deflate::new().min_size(0)));
    let mut server = Connection::server(config.clone(), Some(agreed(false, 15)));
    for (wire, expected) in [
        ([0xc1, 0x81, 0, 0, 0, 0, 0x00], ""),
        // "a", with BFINAL, and no tail behind it.
        ([0xc1, 0x83, 0, 0, 0, 0, 0x4b], "a"),
    ] {
        let mut wire = wire.to_vec();
        if expected == "a" {
            wire.extend_from_slice(&[0x04, 0x00]);
        }
        assert_eq!(receive(&mut server, &wire, 1, false), [Seen::Text(expected.to_owned())]);
    }
    let mut tape = Tape::default();
    server.send_fragment(Message::Text("ab"), false, &mut tape);
    server.send_fragment(Message::Text(""), true, &mut tape);
    let mut client = Connection::client(config, Some(agreed(false, 15)));
    assert_eq!(receive(&mut client, &tape.octets, 1, false), [Seen::Text("ab".to_owned())]);
}

#[test]
fn whole_messages_wait_for_the_end_of_one_in_fragments() {
    let (mut server, mut tape) = (server(), Tape::default());
    server.send_fragment(Message::Text("on"), false, &mut tape);
    server.send(Message::Text("two"), &mut tape);
    server.ping(b"between", &mut tape);
    server.send_fragment(Message::Binary(b"of another kind"), true, &mut tape);
    assert_eq!(server.held(), 5);
    server.send_fragment(Message::Text("e"), true, &mut tape);
    assert_eq!(server.held(), 0);
    let mut client = Connection::client(Arc::default(), None);
    let expected = [
        Seen::Ping(b"between".to_vec()),
        Seen::Text("one".to_owned()),
        Seen::Text("two".to_owned()),
    ];
    assert_eq!(receive(&mut client, &tape.octets, 1, false), expected);
    // And no more than the wire allows.
    server.send_fragment(Message::Text("on"), false, &mut tape);
    assert_eq!(server.send(Message::Binary(&[0; 998]), &mut tape), Written::Gone);
    assert_eq!(tape.answer, Written::Gone);
}

#[test]
fn a_peer_that_pings_and_does_not_read_is_owed_one_pong() {
    let (mut server, mut tape) = (server(), Tape::default());
    server.answer_ping(b"1", &mut tape);
    tape.answer = Written::AboveHighWater;
    for ping in [b"2", b"3", b"4"] {
        server.answer_ping(ping, &mut tape);
    }
    tape.answer = Written::Taken;
    server.resume(&mut tape);
    server.resume(&mut tape);
    assert_eq!(tape.octets, b"\x8a\x011\x8a\x014");
}

#[test]
fn nothing_follows_the_close_frame_and_only_the_peers_is_awaited() {
    let (mut server, mut tape) = (server(), Tape::default());
    server.send_fragment(Message::Text("cut"), false, &mut tape);
    tape.octets.clear();
    server.close(CloseCode::GOING_AWAY, "lunch", &mut tape);
    server.close(CloseCode::NORMAL, "", &mut tape);
    assert_eq!(server.send(Message::Text("late"), &mut tape), Written::Gone);
    server.answer_ping(b"late", &mut tape);
    assert_eq!(tape.octets, b"\x88\x07\x03\xe9lunch");
    // A message that comes late is skipped, however long; and however wrong.
    let wire = [frame(0x82, &[0; 5000]), frame(0x81, b"\xff"), frame(0x88, &1001u16.to_be_bytes())]
        .concat();
    let events = receive(&mut server, &wire, 7, false);
    assert_eq!(events, [Seen::Close(CloseCode::GOING_AWAY, String::new())]);
    assert!(server.is_closed());
    assert!(server.take_close().is_clean);
}
