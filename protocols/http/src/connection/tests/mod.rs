//! The connection without a reactor: a driver that answers every request with what it saw, fed in
//! pieces of any size.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Headers, Response, Status};

pub(crate) mod malformed;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777)
}

/// What a connection made of its input.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Story {
    /// `METHOD target body`, a request each.
    pub(crate) requests: Vec<String>,
    output: String,
    over: bool,
    pub(crate) error: Option<Error>,
    left: usize,
}

impl Story {
    /// The status of each response.
    fn statuses(&self) -> Vec<u16> {
        self.output
            .match_indices("HTTP/1.1 ")
            .filter_map(|(at, _)| self.output.get(at + 9..at + 12)?.parse().ok())
            .collect()
    }
}

struct Driver {
    connection: Connection,
    request: Request,
    body: Vec<u8>,
    story: Story,
}

impl Driver {
    fn new(config: Config) -> Self {
        Self {
            connection: Connection::new(Arc::new(config)),
            request: Request::default(),
            body: Vec::new(),
            story: Story::default(),
        }
    }

    /// Feeds all of `input`, and answers; how much was consumed.
    fn feed(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let (used, event) = match self.connection.receive(&input[at..], &mut self.request) {
                Ok(step) => step,
                Err(error) => {
                    self.story.error = Some(error);
                    self.connection.refuse(error, now());
                    return input.len();
                }
            };
            at += used;
            match event {
                Event::RequestReceived if self.connection.expects_body() => {
                    self.connection.accept_body();
                }
                Event::RequestReceived | Event::BodyEnded => {
                    let body =
                        String::from_utf8_lossy(&std::mem::take(&mut self.body)).into_owned();
                    let (method, target) = (self.request.method(), self.request.target());
                    let seen = format!("{method} {target} {body}").trim_end().to_owned();
                    let body = Bytes::from(seen.clone());
                    self.connection.respond(&Response::new(Status::OK), body, now());
                    self.story.requests.push(seen);
                }
                Event::BodyReceived(data) => self.body.extend_from_slice(data),
                Event::NeedMore | Event::Blocked | Event::Over => return at,
            }
        }
    }

    fn story(mut self) -> Story {
        let mut output = Vec::new();
        self.connection.output.drain(&mut output);
        self.story.output = String::from_utf8(output).expect("an ASCII response");
        self.story.over = self.connection.is_over();
        self.story
    }
}

/// Feeds `wire` in pieces of `step` bytes, with what was not consumed before each.
fn talk_with(config: Config, wire: &[u8], step: usize, end: bool) -> Story {
    let mut driver = Driver::new(config);
    let mut pending = Vec::new();
    for piece in wire.chunks(step.max(1)) {
        pending.extend_from_slice(piece);
        let used = driver.feed(&pending);
        pending.drain(..used);
    }
    if end {
        driver.connection.end_input();
        let used = driver.feed(&pending);
        pending.drain(..used);
    }
    let left = pending.len();
    Story { left, ..driver.story() }
}

pub(crate) fn talk(wire: &[u8], step: usize) -> Story {
    talk_with(Config::new().date(false), wire, step, false)
}

/// The story of `wire`, which must be the same whole, byte by byte and in other pieces.
fn talk_in_all_ways(wire: &[u8]) -> Story {
    let whole = talk(wire, wire.len());
    for step in [1, 2, 3, 5, 7, 64] {
        assert_eq!(talk(wire, step), whole, "in steps of {step}: {:?}", wire.escape_ascii());
    }
    whole
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let story = talk_in_all_ways(
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\
          hello\r\n\r\nPUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
          3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nhost:a\r\nConnection: x, Close\r\n\r\n\
          GET /5 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(story.requests, ["GET /1", "POST /2 hello", "PUT /3 abcde", "GET /4"]);
    assert!(story.over, "close was asked for");
    assert_eq!(
        story.output,
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nGET /1\
         HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nPOST /2 hello\
         HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nPUT /3 abcde\
         HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nGET /4"
    );
}

#[test]
fn persistence_follows_the_version_and_the_connection_field() {
    for (version, connection, stays) in [
        ("1.1", "", true),
        ("1.1", "close", false),
        ("1.1", "keep-alive", true),
        ("1.1", "keep-alive, CLOSE", false),
        ("1.1", "closed", true),
        ("1.0", "", false),
        ("1.0", "Keep-Alive", true),
        ("1.0", "close", false),
        ("1.2", "", true),
        ("1.9", "", true),
    ] {
        let wire = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n");
        let story = talk_in_all_ways(wire.as_bytes());
        assert_eq!(story.statuses(), [200], "{version} {connection}");
        assert_eq!(story.over, !stays, "{version} {connection}");
        assert_eq!(story.output.contains("Connection: close"), !stays);
        let opted_in = version == "1.0" && stays;
        assert_eq!(story.output.contains("Connection: keep-alive"), opted_in);
    }
}

#[test]
fn a_client_that_expects_100_is_told_to_continue_once_and_only_if_it_waits() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n";
    let story = talk(format!("{head}ab{head}cd").as_bytes(), 1);
    assert_eq!(story.statuses(), [100, 200, 100, 200]);
    assert!(story.output.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
    let none = "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(talk(none.as_bytes(), 1).statuses(), [200], "there is no body to wait for");
    let old = head.replace("1.1", "1.0") + "ab";
    assert_eq!(talk(old.as_bytes(), 1).statuses(), [200], "1.0 knows no 100");
}

#[test]
fn every_limit_has_its_status_whole_and_byte_by_byte() {
    let config = || Config::new().max_head(500).max_target(100).max_headers(5);
    let long = |n: usize| "x".repeat(n);
    for (wire, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(99)), 200),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(100)), 414),
        (format!("GET /{}", long(10_000)), 414),
        (long(10_000), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(468)), 200),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(469)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", long(10_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(4)), 200),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(5)), 431),
    ] {
        for step in [1, 7, wire.len()] {
            let story = talk_with(config(), wire.as_bytes(), step, false);
            assert_eq!(story.statuses(), [status], "{wire:?} in steps of {step}");
            assert_eq!(story.over, status != 200, "{wire:?}");
        }
    }
}

#[test]
fn a_truncated_request_is_never_answered_as_a_whole_one() {
    let wires: [&[u8]; 2] = [
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    ];
    for wire in wires {
        for end in 0..wire.len() {
            for step in [1, wire.len()] {
                let config = || Config::new().date(false);
                let open = talk_with(config(), &wire[..end], step, false);
                assert!(open.requests.is_empty() && !open.over, "cut at {end}");
                assert_eq!(open.output, "", "cut at {end}");
                let closed = talk_with(config(), &wire[..end], step, true);
                assert!(closed.requests.is_empty() && closed.over, "ended at {end}");
                let in_body = closed.error == Some(Error::Truncated);
                assert_eq!(closed.statuses(), if in_body { vec![400] } else { vec![] });
            }
        }
        assert_eq!(talk_with(Config::new(), wire, 1, true).requests, ["POST /a hello"]);
    }
}

#[test]
fn an_early_answer_drains_a_small_body_and_closes_over_a_large_one() {
    let respond_at_head = |head: &str| {
        let mut connection = Connection::new(Arc::new(Config::new().date(false)));
        let mut request = Request::default();
        let (used, event) =
            connection.receive(head.as_bytes(), &mut request).expect("a valid head");
        assert_eq!(event, Event::RequestReceived);
        assert_eq!(used, head.len());
        connection.respond(&Response::new(Status::NOT_FOUND), Bytes::new(), now());
        (connection, request)
    };
    let small = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    let (mut connection, mut request) = respond_at_head(small);
    let rest = b"abcGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let step = connection.receive(rest, &mut request).expect("valid");
    assert_eq!(step, (rest.len(), Event::RequestReceived), "the body was skipped");

    let large = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n";
    let (connection, _) = respond_at_head(large);
    assert!(connection.is_over());
    let mut out = Vec::new();
    let mut connection = connection;
    connection.output.drain(&mut out);
    assert!(String::from_utf8_lossy(&out).contains("Connection: close"));

    let waiting = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let (connection, _) = respond_at_head(waiting);
    assert!(connection.is_over(), "nobody knows whether the body comes");

    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut connection, mut request) = respond_at_head(chunked);
    assert!(!connection.is_over());
    let mut wire = Vec::new();
    for _ in 0..70 {
        crate::codec::write_chunk(&mut wire, &[b'x'; 1000]);
    }
    let (_, event) = connection.receive(&wire, &mut request).expect("valid");
    assert_eq!(event, Event::Over, "more than the drain limit came");
}

#[test]
fn streamed_responses_are_framed_by_version_method_and_status() {
    let stream = |method: &str, version: &str, status: Status, length: Option<u64>| {
        let mut connection = Connection::new(Arc::new(Config::new().date(false)));
        let mut request = Request::default();
        let head =
            format!("{method} / HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        connection.receive(head.as_bytes(), &mut request).expect("a valid head");
        assert!(connection.start(&Response::new(status), length, now()));
        connection.write_body(b"");
        connection.write_body(b"hello, ");
        connection.write_body_bytes(Bytes::from_static(b"world"));
        let mut trailers = Headers::new();
        assert!(trailers.append("Sum", "12"));
        connection.finish(&trailers);
        connection.finish(&trailers); // twice is once
        connection.write_body(b"late");
        let mut out = Vec::new();
        connection.output.drain(&mut out);
        (String::from_utf8(out).expect("ASCII"), connection.is_over())
    };
    let (out, over) = stream("GET", "1.1", Status::OK, None);
    assert_eq!(
        out,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nhello, \r\n5\r\nworld\r\n0\r\n\
         Sum: 12\r\n\r\n"
    );
    assert!(!over);
    let (out, over) = stream("GET", "1.1", Status::OK, Some(12));
    assert_eq!(out, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world");
    assert!(!over);
    let (out, over) = stream("GET", "1.1", Status::OK, Some(9));
    assert_eq!(
        out, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello, wo",
        "the excess is dropped"
    );
    assert!(!over);
    let (_, over) = stream("GET", "1.1", Status::OK, Some(13));
    assert!(over, "a short body must end the connection");
    let (out, over) = stream("GET", "1.0", Status::OK, None);
    assert_eq!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello, world");
    assert!(over);
    let (out, over) = stream("HEAD", "1.1", Status::OK, None);
    assert_eq!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(!over);
    let (out, over) = stream("HEAD", "1.1", Status::OK, Some(12));
    assert_eq!(out, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
    assert!(!over);
    let (out, over) = stream("GET", "1.1", Status::NO_CONTENT, Some(12));
    assert_eq!(out, "HTTP/1.1 204 No Content\r\n\r\n");
    assert!(!over);
    let (out, over) = stream("GET", "1.1", Status::NOT_MODIFIED, None);
    assert_eq!(out, "HTTP/1.1 304 Not Modified\r\n\r\n");
    assert!(!over);
}

#[test]
fn a_response_carries_the_date_and_the_servers_name_unless_it_has_its_own() {
    let config = Config::new().server("Ropewalk");
    let story = talk_with(config, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 100, false);
    assert!(story.output.starts_with(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: Ropewalk\r\n"
    ));
}

#[test]
fn a_megabyte_of_noise_never_panics_and_always_ends() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(1 << 20)
    .collect();
    for prefix in [
        &b""[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ] {
        let wire = [prefix, &noise].concat();
        for step in [1000, 1 << 21] {
            let story = talk(&wire, step);
            assert!(story.over && story.requests.is_empty());
            assert_eq!(story.statuses().len(), 1);
        }
    }
}

/// One valid request, and what the driver says about it.
fn valid_request() -> impl Strategy<Value = (Vec<u8>, String)> {
    let field = ("[A-Za-z][A-Za-z0-9-]{0,10}", "[ -~]{0,30}");
    (
        prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]),
        "/[a-z0-9/%?&=.-]{0,40}",
        prop::collection::vec(field, 0..6),
        prop::option::of((any::<bool>(), "[ -~]{0,80}")),
    )
        .prop_map(|(method, target, fields, body)| {
            let mut wire = format!("{method} {target} HTTP/1.1\r\nHost: example:80\r\n");
            for (name, value) in fields {
                wire += &format!("X-{name}: {value}\r\n");
            }
            let text = match body {
                None => {
                    wire += "\r\n";
                    String::new()
                }
                Some((false, body)) => {
                    wire += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
                    body
                }
                Some((true, body)) => {
                    wire += "Transfer-Encoding: chunked\r\n\r\n";
                    for chunk in body.as_bytes().chunks(17) {
                        wire += &format!("{:x};e=1\r\n", chunk.len());
                        wire += &String::from_utf8_lossy(chunk);
                        wire += "\r\n";
                    }
                    wire += "0\r\n\r\n";
                    body
                }
            };
            (wire.into_bytes(), format!("{method} {target} {text}").trim_end().to_owned())
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn valid_requests_are_the_same_however_they_are_split(
        requests in prop::collection::vec(valid_request(), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let wire = requests.iter().flat_map(|(wire, _)| wire.clone()).collect::<Vec<_>>();
        let seen = requests.into_iter().map(|(_, seen)| seen).collect::<Vec<_>>();
        let whole = talk(&wire, wire.len());
        prop_assert_eq!(&whole.requests, &seen);
        prop_assert_eq!(whole.error, None);
        prop_assert_eq!(whole.left, 0);

        let mut cuts = cuts.into_iter().map(|cut| cut.index(wire.len())).collect::<Vec<_>>();
        cuts.push(wire.len());
        cuts.sort_unstable();
        let mut driver = Driver::new(Config::new().date(false));
        let (mut from, mut pending) = (0, Vec::new());
        for to in cuts {
            pending.extend_from_slice(&wire[from..to]);
            let used = driver.feed(&pending);
            pending.drain(..used);
            from = to;
        }
        let split = driver.story();
        prop_assert_eq!(split.output, whole.output);
        prop_assert_eq!(split.requests, seen);
    }

    #[test]
    fn nearly_valid_requests_never_panic(
        (wire, _) in valid_request(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        step in 1usize..50,
    ) {
        let mut wire = wire;
        for (at, byte) in edits {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let whole = talk(&wire, wire.len());
        let split = talk(&wire, step);
        // Split or not, the same requests are seen. An error may come later in pieces: a head
        // that drips in is only looked at again when it may be whole.
        prop_assert_eq!(whole.requests, split.requests);
        prop_assert!(split.error.is_none() || whole.error.is_some());
    }
}
