//! The connection without a transport: one request, and answers in pieces of any size.

use proptest::prelude::*;

use super::*;
use crate::client::{RequestBody, RequestHead};
use crate::codec::{ResponseHead, write_chunk, write_last_chunk};
use crate::{Error, Status};

/// What a connection made of an answer.
#[derive(Debug, PartialEq, Eq, Default)]
struct Story {
    informational: Vec<u16>,
    status: Option<u16>,
    body: Vec<u8>,
    trailers: usize,
    ended: bool,
    ready: bool,
    error: Option<Error>,
    /// Bytes behind the answer.
    left: usize,
}

fn request(method: Method) -> RequestHead {
    let target = if method == Method::Connect { "a:1" } else { "/" };
    RequestHead::new(method, "a", target).expect("valid")
}

fn sent(connection: &mut ClientConnection, head: &RequestHead, body: &RequestBody) -> String {
    assert!(connection.send(head, body));
    written(connection)
}

fn written(connection: &mut ClientConnection) -> String {
    let mut out = Vec::new();
    connection.output.drain(&mut out);
    String::from_utf8(out).expect("ASCII")
}

fn connection() -> ClientConnection {
    ClientConnection::new(Arc::new(ConnectionConfig::new().max_informational(3)))
}

fn feed(connection: &mut ClientConnection, input: &[u8], story: &mut Story) -> usize {
    let (mut at, mut head) = (0, ResponseHead::default());
    loop {
        let (used, event) = match connection.receive(&input[at..], &mut head) {
            Ok(step) => step,
            Err(error) => {
                story.error = Some(error);
                return input.len();
            }
        };
        at += used;
        match event {
            Event::InformationalReceived => story.informational.push(head.status().code()),
            Event::HeadReceived => story.status = Some(head.status().code()),
            Event::BodyReceived(data) => story.body.extend_from_slice(data),
            Event::BodyEnded => {
                story.ended = true;
                story.trailers = connection.trailers().len();
            }
            Event::NeedMore | Event::Blocked | Event::Over => return at,
        }
        if story.ended {
            return at;
        }
    }
}

fn talk(head: &RequestHead, wire: &[u8], step: usize, end: bool) -> Story {
    let mut connection = connection();
    sent(&mut connection, head, &RequestBody::Empty);
    let (mut story, mut pending) = (Story::default(), Vec::new());
    for piece in wire.chunks(step.max(1)) {
        pending.extend_from_slice(piece);
        if !story.ended && story.error.is_none() {
            let used = feed(&mut connection, &pending, &mut story);
            pending.drain(..used);
        }
    }
    if end && !story.ended && story.error.is_none() {
        connection.end_input();
        let used = feed(&mut connection, &pending, &mut story);
        pending.drain(..used);
    }
    story.left = if story.error.is_some() { 0 } else { pending.len() };
    story.ready = connection.is_ready();
    story
}

/// The story of `wire`, which must be the same whole, byte by byte and in other pieces.
fn same_story(head: &RequestHead, wire: &str, end: bool) -> Story {
    let whole = talk(head, wire.as_bytes(), wire.len(), end);
    for step in [1, 2, 3, 7, 16] {
        assert_eq!(talk(head, wire.as_bytes(), step, end), whole, "{wire:?} by {step}");
    }
    whole
}

fn get(wire: &str, end: bool) -> Story {
    same_story(&request(Method::Get), wire, end)
}

#[test]
fn a_request_is_written_with_the_framing_of_its_body() {
    let post = request(Method::Post).header("A", "b");
    for (head, body, expected) in [
        (request(Method::Get), RequestBody::Empty, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            post.clone(),
            RequestBody::Empty,
            "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            post.clone(),
            RequestBody::Whole("hello".into()),
            "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            post.clone().close(),
            RequestBody::Exact(3),
            "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
        ),
        (
            post,
            RequestBody::Chunked,
            "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            request(Method::Get).header("Upgrade", "x"),
            RequestBody::Empty,
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        ),
    ] {
        let mut connection = connection();
        assert_eq!(sent(&mut connection, &head, &body), expected);
        assert!(!connection.send(&head, &body), "one at a time");
    }
}

#[test]
fn a_streamed_body_is_never_longer_than_it_was_said_to_be() {
    let mut connection = connection();
    sent(&mut connection, &request(Method::Put), &RequestBody::Exact(5));
    connection.write_body(b"abc");
    assert!(!connection.finish(&Headers::new()), "two are missing");
    connection.write_body_bytes("defgh".into());
    connection.write_body(b"more");
    assert_eq!(written(&mut connection), "abcde");
    assert!(connection.finish(&Headers::new()));
}

#[test]
fn a_chunked_body_ends_with_its_trailers() {
    let mut connection = connection();
    sent(&mut connection, &request(Method::Put), &RequestBody::Chunked);
    connection.write_body(b"abc");
    connection.write_body(b"");
    connection.write_body_bytes("de".into());
    let mut trailers = Headers::new();
    assert!(trailers.append("Sum", "x"));
    assert!(connection.finish(&trailers));
    connection.write_body(b"more");
    assert_eq!(written(&mut connection), "3\r\nabc\r\n2\r\nde\r\n0\r\nSum: x\r\n\r\n");
}

#[test]
fn an_answer_ends_where_its_framing_says() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for (wire, body, ready) in [
        (format!("{ok}Content-Length: 5\r\n\r\nhello"), "hello", true),
        (format!("{ok}Content-Length: 0\r\n\r\n"), "", true),
        (format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "hello", true),
        (format!("{ok}Connection: close\r\nContent-Length: 2\r\n\r\nhi"), "hi", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi".into(), "hi", false),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), "", true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".into(), "", true),
    ] {
        let story = get(&wire, false);
        assert!(story.ended && story.left == 0 && story.error.is_none(), "{wire:?}: {story:?}");
        assert_eq!((story.body.as_slice(), story.ready), (body.as_bytes(), ready), "{wire:?}");
        for cut in 0..wire.len() {
            let story = get(&wire[..cut], true);
            assert_eq!(story.error, Some(Error::Truncated), "{wire:?} cut at {cut}");
            assert!(!story.ended && !story.ready);
        }
        // Bytes behind it are none of its own.
        assert_eq!(get(&format!("{wire}HTTP"), false).left, 4, "{wire:?}");
    }
    let head =
        same_story(&request(Method::Head), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false);
    assert!(head.ended && head.ready && head.body.is_empty());
}

#[test]
fn a_body_without_a_length_ends_with_the_connection_alone() {
    let wire = "HTTP/1.1 200 OK\r\n\r\nhello HTTP/1.1 200 OK";
    let story = get(wire, false);
    assert!(!story.ended && story.left == 0);
    let story = get(wire, true);
    assert!(story.ended && !story.ready && story.error.is_none());
    assert_eq!(story.body, b"hello HTTP/1.1 200 OK");
}

#[test]
fn informational_answers_come_first_and_are_few() {
    let wire = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let story = get(wire, false);
    assert_eq!(story.informational, [103, 102]);
    assert_eq!((story.status, story.body.as_slice()), (Some(200), &b"hi"[..]));
    assert!(story.ended && story.ready);
    let story = get(&"HTTP/1.1 103 Hints\r\n\r\n".repeat(4), false);
    assert_eq!(story.error, Some(Error::TooManyInformational));
}

#[test]
fn a_tunnel_is_only_what_was_asked_for() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw";
    assert_eq!(get(switch, false).error, Some(Error::UnaskedUpgrade));
    let asking = request(Method::Get).header("Upgrade", "x");
    let story = same_story(&asking, switch, true);
    assert_eq!((story.status, story.body.as_slice()), (Some(101), &b"raw"[..]));
    assert!(story.ended && !story.ready);
    let wire = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nraw";
    let story = same_story(&request(Method::Connect), wire, true);
    assert_eq!(story.body, b"raw", "a length means nothing here");
    // An upgrade that was not taken up is an answer as any other.
    let story = same_story(&asking, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", false);
    assert!(story.ended && story.ready);
    assert_eq!(story.body, b"no");
}

#[test]
fn an_answer_to_half_a_request_ends_the_connection() {
    let answer = b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n";
    for (written, ready) in [(2, false), (5, true)] {
        let mut connection = connection();
        sent(&mut connection, &request(Method::Post), &RequestBody::Exact(5));
        connection.write_body(&b"hello"[..written]);
        let mut story = Story::default();
        feed(&mut connection, answer, &mut story);
        assert!(story.ended);
        assert_eq!(connection.is_ready(), ready, "{written} of 5 were written");
        assert!(!connection.takes_body() || ready);
    }
}

#[test]
fn a_body_that_waits_for_a_100_is_not_sent_behind_another_answer() {
    let asking = request(Method::Post).header("Expect", "100-continue");
    let mut connection = connection();
    sent(&mut connection, &asking, &RequestBody::Exact(5));
    assert!(connection.awaits_continue() && connection.takes_body());
    let mut story = Story::default();
    feed(&mut connection, b"HTTP/1.1 100 Continue\r\n\r\n", &mut story);
    assert!(!connection.awaits_continue() && connection.takes_body());

    let mut connection = self::connection();
    sent(&mut connection, &asking, &RequestBody::Exact(5));
    feed(&mut connection, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", &mut Story::default());
    assert!(!connection.takes_body() && !connection.is_ready());
}

#[test]
fn a_paused_body_waits_and_its_end_with_it() {
    let mut connection = connection();
    sent(&mut connection, &request(Method::Get), &RequestBody::Empty);
    let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab";
    let mut story = Story::default();
    assert_eq!(feed(&mut connection, wire, &mut story), wire.len());
    connection.pause_body();
    assert_eq!(feed(&mut connection, b"cd", &mut story), 0);
    assert_eq!(connection.waiting(), Waiting::Nothing);
    connection.resume_body();
    let mut head = ResponseHead::default();
    let step = connection.receive(b"cd", &mut head);
    assert_eq!(step, Ok((2, Event::BodyReceived(b"cd"))));
    connection.pause_body();
    assert_eq!(connection.receive(b"", &mut head), Ok((0, Event::Blocked)));
    connection.resume_body();
    assert!(connection.goes_on_alone());
    assert_eq!(connection.receive(b"", &mut head), Ok((0, Event::BodyEnded)));
    assert!(connection.is_ready());
}

#[test]
fn what_nobody_asked_for_is_not_consumed() {
    let mut connection = connection();
    let wire = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
    let step = connection.receive(wire, &mut ResponseHead::default());
    assert_eq!(step, Ok((0, Event::Over)));
}

/// An answer that is valid, and its body.
fn answer() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, bool)> {
    let chunks = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 0..5);
    (0..3usize, any::<bool>(), chunks, 200..600u16).prop_map(|(hints, chunked, chunks, code)| {
        let code = if code == 204 || code == 304 { 200 } else { code };
        let mut wire = "HTTP/1.1 103 \r\nLink: x\r\n\r\n".repeat(hints).into_bytes();
        wire.extend_from_slice(format!("HTTP/1.1 {code} x\r\n").as_bytes());
        let body = chunks.concat();
        if chunked {
            wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            chunks.iter().for_each(|chunk| write_chunk(&mut wire, chunk));
            write_last_chunk(&mut wire, &Headers::new());
        } else {
            wire.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            wire.extend_from_slice(&body);
        }
        (wire, body, chunked)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_valid_answer_is_read_however_it_is_cut_and_never_before_its_end(
        (wire, body, _) in answer(),
        step in 1usize..200,
        behind in prop::collection::vec(any::<u8>(), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let head = request(Method::Get);
        let all = [&wire[..], &behind[..]].concat();
        let story = talk(&head, &all, step, false);
        prop_assert!(story.ended && story.ready && story.error.is_none(), "{:?}", story);
        prop_assert_eq!(&story.body, &body);
        prop_assert_eq!(story.left, behind.len());
        let cut = cut.index(wire.len());
        let story = talk(&head, &wire[..cut], step, true);
        prop_assert!(!story.ended && !story.ready);
        prop_assert_eq!(story.error, Some(Error::Truncated));
        prop_assert!(body.starts_with(&story.body));
    }

    #[test]
    fn whatever_comes_is_understood_the_same_in_any_pieces(
        beginning in prop_oneof![
            Just("HTTP/1.1 200 OK\r\n"), Just("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"),
            Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Just("HTTP/1."),
        ],
        rest in "[0-3a:;x \r\n]{0,40}",
        step in 1usize..8,
    ) {
        let wire = format!("{beginning}{rest}");
        let head = request(Method::Get);
        let whole = talk(&head, wire.as_bytes(), wire.len(), true);
        let cut = talk(&head, wire.as_bytes(), step, true);
        // In pieces, another of its faults may be seen first.
        prop_assert_eq!(whole.error.is_some(), cut.error.is_some());
        if whole.error.is_none() {
            prop_assert_eq!(whole, cut);
        }
    }
}

#[test]
fn the_status_of_an_answer_is_any_of_three_digits() {
    let story = get("HTTP/1.1 999 Strange\r\nContent-Length: 0\r\n\r\n", false);
    assert_eq!(story.status.and_then(Status::from_code).map(Status::code), Some(999));
}
