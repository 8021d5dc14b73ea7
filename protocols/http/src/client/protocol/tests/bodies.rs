//! Bodies that are streamed, either way: back-pressure, `100 Continue`, and answers that come early.

use super::*;

fn pieces(count: usize) -> Vec<Bytes> {
    (0..count).map(|at| Bytes::from(vec![b'a' + (at % 26) as u8; 1000])).collect()
}

fn put(harness: &mut Harness<HttpClient>, body: RequestBody, handler: Tell) -> Told {
    let (sent, told) = send(harness, &head(Method::Put), body, handler);
    assert!(sent.is_some());
    told
}

#[test]
fn a_body_is_produced_only_as_the_server_takes_it() {
    let mut harness = harness();
    harness.stop_reading();
    harness.room(10_000);
    let handler = Tell { pieces: pieces(1000), ..Tell::default() };
    let told = put(&mut harness, RequestBody::Chunked, handler);
    let buffered = harness.with(|_, transport| transport.buffered());
    assert!(buffered > 50_000 && buffered < 90_000, "{buffered} bytes wait");
    assert_eq!(told.borrow()[0], "resume");
    harness.resume_reading();
    let mut all = harness.written().to_vec();
    all.extend_from_slice(&harness.written());
    assert!(all.len() > 1_000_000 && all.ends_with(b"\r\n0\r\n\r\n"));
    harness.feed(HI);
    assert_eq!(told.borrow().last().map(String::as_str), Some("end reusable"));
}

#[test]
fn a_server_that_takes_nothing_is_given_up() {
    let mut harness = harness();
    harness.stop_reading();
    harness.room(10_000);
    let handler = Tell { pieces: pieces(1000), ..Tell::default() };
    let told = put(&mut harness, RequestBody::Exact(1_000_000), handler);
    harness.advance(seconds(59));
    assert!(!harness.is_lost());
    // It took the first few thousand bytes: the wait began anew when that was noticed.
    harness.advance(seconds(62));
    assert!(harness.is_lost());
    let last = told.borrow().last().cloned().unwrap_or_default();
    assert_eq!(last, "lost the server took nothing of the request for 60s");
}

#[test]
fn a_body_waits_for_the_servers_word_but_not_for_ever() {
    let asking = head(Method::Put).header("Expect", "100-continue");
    let handler = || Tell { pieces: vec!["abc".into()], ..Tell::default() };
    let mut harness = harness();
    let (_, told) = send(&mut harness, &asking, RequestBody::Exact(3), handler());
    assert!(written(&mut harness).ends_with("\r\n\r\n"));
    harness.feed(b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(written(&mut harness), "abc");
    harness.advance(seconds(2));
    assert_eq!(*told.borrow(), ["informational 100", "resume"], "once");

    let mut harness = self::harness();
    let (_, told) = send(&mut harness, &asking, RequestBody::Exact(3), handler());
    harness.advance(Duration::from_millis(900));
    assert!(told.borrow().is_empty());
    harness.advance(Duration::from_millis(200));
    assert!(written(&mut harness).ends_with("\r\n\r\nabc"));

    let mut harness = self::harness();
    let (_, told) = send(&mut harness, &asking, RequestBody::Exact(3), handler());
    harness.feed(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    harness.advance(seconds(2));
    assert_eq!(*told.borrow(), ["head 401", "end closing"]);
    assert!(written(&mut harness).ends_with("\r\n\r\n"), "the body was not sent");
    assert!(harness.is_closed());
}

#[test]
fn an_early_answer_ends_the_exchange_and_what_is_left_of_the_body_is_not_sent() {
    let mut harness = harness();
    harness.stop_reading();
    harness.room(10_000);
    let handler = Tell { pieces: pieces(1000), ..Tell::default() };
    let told = put(&mut harness, RequestBody::Exact(1_000_000), handler);
    harness.feed(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(told.borrow().last().map(String::as_str), Some("end closing"));
    harness.resume_reading();
    assert!(harness.written().len() < 100_000);
    assert!(harness.is_closed());
}

#[test]
fn a_body_that_falls_short_gives_the_exchange_up() {
    let mut harness = harness();
    let handler = Tell { pieces: vec!["abc".into()], ..Tell::default() };
    let told = put(&mut harness, RequestBody::Exact(5), handler);
    assert!(harness.is_lost());
    assert_eq!(*told.borrow(), ["resume", "lost it was given up here"]);
}

#[test]
fn a_body_is_written_from_outside_by_its_name() {
    let mut harness = harness();
    let (id, told) = send(
        &mut harness,
        &head(Method::Put),
        RequestBody::Chunked,
        Tell { pauses: true, ..Tell::default() },
    );
    let id = id.expect("sent");
    harness.feed(HI);
    assert_eq!(told.borrow().last().map(String::as_str), Some("body hi"));
    assert!(harness.with(|_, transport| transport.is_reading_paused()));
    harness.with(|client, transport| {
        client.with_exchange(transport, id, |exchange| exchange.resume_reading());
    });
    assert_eq!(told.borrow().last().map(String::as_str), Some("end reusable"));
    let stale = harness.with(|client, transport| client.with_exchange(transport, id, |_| ()));
    assert!(stale.is_none(), "it is over");
}

#[test]
fn a_paused_body_slows_the_server_down_and_has_no_deadline() {
    let mut harness = harness();
    let handler = Tell { pauses: true, ..Tell::default() };
    let (id, told) = send(&mut harness, &head(Method::Get), RequestBody::Empty, handler);
    let id = id.expect("sent");
    harness.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab");
    harness.feed(b"cd");
    harness.advance(seconds(1000));
    assert_eq!(*told.borrow(), ["head 200", "body ab"]);
    let resume = |harness: &mut Harness<HttpClient>| {
        harness.with(|client, transport| {
            client.with_exchange(transport, id, |exchange| exchange.resume_reading());
        });
    };
    resume(&mut harness);
    assert_eq!(told.borrow().last().map(String::as_str), Some("body cd"));
    harness.feed(b"ef");
    harness.close();
    resume(&mut harness);
    assert_eq!(told.borrow().last().map(String::as_str), Some("body ef"));
    resume(&mut harness);
    let last = told.borrow().last().cloned().unwrap_or_default();
    assert!(last.starts_with("end"), "{last}");
}
