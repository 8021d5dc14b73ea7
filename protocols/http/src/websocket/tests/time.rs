//! Stories of one connection on virtual time: closing, keeping alive, slow readers.

use std::time::Duration;

use ropewalk_reactor::{ConnectionOptions, Protocol};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_peers_close_frame_is_answered_and_the_server_closes() {
    let log = Log::default();
    let mut harness = open(&log);
    harness.feed(&frame(0x88, b"\x03\xe8bye"));
    assert_eq!(harness.written(), &b"\x81\x0alast words\x88\x02\x03\xe8"[..]);
    assert!(harness.is_closed());
    harness.close();
    assert_eq!(
        log.take(),
        ["opened none", "close received 1000 bye", "closed 1000 clean closed here"]
    );
}

#[test]
fn a_close_frame_of_ours_waits_for_the_peers_but_not_for_ever() {
    let log = Log::default();
    let mut harness = open(&log);
    harness.feed(&frame(0x81, "close"));
    assert_eq!(harness.written(), &b"\x88\x0d\x03\xe9as you wish"[..]);
    harness.advance(9 * SECOND);
    harness.feed(&frame(0x81, "is not heard any more"));
    assert!(!harness.is_closed());
    harness.feed(&frame(0x88, b"\x03\xe9"));
    assert!(harness.is_closed());
    harness.close();
    assert_eq!(log.take(), ["opened none", "Text(\"close\")", "closed 1001 clean closed here"]);

    let mut harness = open(&log);
    harness.feed(&frame(0x81, "close"));
    harness.advance(11 * SECOND);
    assert!(harness.is_closed());
    harness.close();
    let told = log.take();
    assert_eq!(told[2], "closed 1006 unclean closed on an error: the Close frame was not answered");
}

#[test]
fn whoever_breaks_the_rules_is_told_and_closed() {
    for (wire, expected) in [
        (frame(0x81, b"\xff"), &b"\x88\x18\x03\xefthe text is not UTF-8"[..]),
        (vec![0x81, 0x02, b'h', b'i'], b"\x88\x24\x03\xeaa client has to mask its frames"),
    ] {
        let log = Log::default();
        let mut harness = open(&log);
        harness.feed(&wire);
        let written = harness.written();
        assert_eq!(&written[2..4], &expected[2..4], "{written:?}");
        assert_eq!(&written[4..], &expected[4..], "{written:?}");
        harness.close();
        let told = log.take();
        assert!(told[1].starts_with("closed 1006 unclean"), "{told:?}");
    }
}

#[test]
fn an_error_of_the_handler_closes_with_1011() {
    let log = Log::default();
    let mut harness = open(&log);
    harness.feed(&[frame(0x81, "fail"), frame(0x81, "never")].concat());
    assert_eq!(harness.written(), &b"\x88\x02\x03\xf3"[..]);
    harness.close();
    let told = log.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("as you wish"), "{told:?}");
}

#[test]
fn a_connection_that_is_cut_says_so() {
    let log = Log::default();
    let mut harness = open(&log);
    harness.feed(&frame(0x01, "half a message"));
    harness.close();
    assert_eq!(log.take(), ["opened none", "closed 1006 unclean closed by the peer"]);
    let mut harness = open(&log);
    harness.reset();
    assert!(log.take()[1].starts_with("closed 1006 unclean reset by the peer"));
}

#[test]
fn a_silent_peer_is_pinged_and_given_up() {
    let log = Log::default();
    let mut harness = open(&log);
    harness.advance(29 * SECOND);
    assert_eq!(harness.written(), "");
    harness.advance(2 * SECOND);
    assert_eq!(harness.written(), &b"\x89\x00"[..]);
    // Any sign of life will do.
    harness.advance(20 * SECOND);
    harness.feed(&frame(0x8a, ""));
    harness.advance(29 * SECOND);
    assert_eq!(harness.written(), "");
    harness.advance(2 * SECOND);
    assert_eq!(harness.written(), &b"\x89\x00"[..]);
    harness.advance(31 * SECOND);
    assert!(harness.written().starts_with(b"\x88"));
    assert!(harness.is_closed());
    harness.close();
    let told = log.take();
    assert_eq!(told[2], "closed 1006 unclean closed on an error: a ping was not answered");
}

#[test]
fn whoever_has_paused_reading_misses_no_pong() {
    let log = Log::default();
    let mut harness = open(&log);
    harness.feed(&[frame(0x81, "pause"), frame(0x81, "later")].concat());
    harness.advance(300 * SECOND);
    assert_eq!(harness.written(), "");
    assert!(!harness.is_lost());
    let id = harness.id();
    with_websocket(harness.reactor(), id, |socket| socket.resume_reading());
    harness.advance(SECOND);
    assert_eq!(harness.written(), &b"\x81\x05later"[..]);
}

#[test]
fn a_reader_that_is_too_slow_is_paused_for_and_then_given_up() {
    let log = Log::default();
    let options = ConnectionOptions::default().high_water_mark(1000).low_water_mark(100);
    let protocol = WebSocketProtocol::server(Default::default(), told(&log));
    let mut harness = Harness::with_options(protocol, options);
    harness.room(5000);
    harness.stop_reading();
    harness.feed(&frame(0x82, [0; 8000]));
    assert_eq!(log.take().last().map(String::as_str), Some("pause"));
    for _ in 0..3 {
        harness.feed(&frame(0x89, "not while it is full"));
    }
    harness.resume_reading();
    assert_eq!(log.take().last().map(String::as_str), Some("resume"));
    let written = harness.written();
    assert_eq!(written.len(), 4 + 8000 + 2 + 20, "one pong for all");

    harness.stop_reading();
    harness.feed(&frame(0x82, [0; 8000]));
    harness.advance(61 * SECOND);
    assert!(harness.is_lost());
    let told = log.take();
    assert_eq!(
        told.last().map(String::as_str),
        Some("closed 1006 unclean closed on an error: the peer reads nothing")
    );
}

#[test]
fn a_stream_stops_where_it_is_paused_even_within_what_has_come() {
    // Two megabytes of one letter, in two kilobytes on the wire.
    let deflate = Deflate::new().server_context_takeover(true).client_context_takeover(true);
    let log = Log::default();
    let mut handler = told(&log);
    handler.streams = true;
    let mut once = Some(handler);
    let upgrade = WebSocketUpgrade::new().deflate(deflate.clone());
    let server = HttpServer::new(move |request: &Request| -> Reply {
        upgrade.accept(request, once.take().expect("one request"))
    });
    let mut harness = Harness::new(server);
    harness.feed(request("Sec-WebSocket-Extensions: permessage-deflate\r\n").as_bytes());
    let mut text = b"pause".to_vec();
    text.resize(2_000_000, b'x');
    let mut wire = Vec::new();
    let agreed = super::super::deflate::Agreed {
        is_own_alone: false,
        own_bits: 15,
        is_peers_alone: false,
        peers_bits: 15,
    };
    let mut deflater =
        super::super::deflate::Deflater::new(agreed, &deflate).expect("a usual window");
    deflater.deflate(&text, true, &mut wire);
    harness.feed(&[frame(0xc1, &wire), frame(0x89, "behind")].concat());
    let told = log.take();
    assert_eq!(told.len(), 2, "{told:?}");
    let id = harness.id();
    with_websocket(harness.reactor(), id, |socket| socket.resume_reading());
    harness.advance(SECOND);
    let told = log.take();
    let pieces = told.iter().filter(|line| line.starts_with("piece")).count();
    assert_eq!(&told[pieces..], ["ended", "ping behind"]);
    assert!(pieces > 100, "in small pieces");
}

#[test]
fn an_idle_connection_holds_nothing_but_itself() {
    let log = Log::default();
    let upgrade = WebSocketUpgrade::new().deflate(Deflate::new().min_size(0));
    let mut harness = upgraded(upgrade, "Sec-WebSocket-Extensions: permessage-deflate\r\n", &log);
    harness.feed(&frame(0xc1, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]));
    harness.feed(&frame(0x01, "in two "));
    harness.feed(&frame(0x80, "pieces"));
    let told = log.take();
    assert_eq!(told[1..], ["Text(\"Hello\")", "Text(\"in two pieces\")"]);
    harness.with(|server, _| {
        let layer = server.layer(std::any::TypeId::of::<WebSocketProtocol>()).expect("upgraded");
        let protocol = layer.downcast_mut::<WebSocketProtocol>().expect("of this type");
        assert!(protocol.holds_nothing());
    });
}
