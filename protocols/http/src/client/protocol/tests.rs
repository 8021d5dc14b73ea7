//! One connection on the simulated network: what a handler is told, and when.

use std::cell::RefCell;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ropewalk_reactor::testing::Harness;
use ropewalk_reactor::{Protocol, Written};

use super::*;
use crate::{Headers, Method};

mod bodies;

/// What a handler was told, in order.
type Told = Rc<RefCell<Vec<String>>>;

#[derive(Default)]
struct Tell {
    told: Told,
    /// Pieces of a body to produce.
    pieces: Vec<Bytes>,
    refuses: &'static str,
    pauses: bool,
    heir: Option<Box<dyn Protocol>>,
}

impl Tell {
    fn tell(&mut self, what: &'static str, more: impl std::fmt::Display) -> Result {
        self.told.borrow_mut().push(format!("{what} {more}").trim_end().to_owned());
        if self.refuses == what { Err("no".into()) } else { Ok(()) }
    }
}

impl ResponseHandler for Tell {
    fn informational_received(&mut self, _: &mut Exchange<'_>, head: &ResponseHead) -> Result {
        self.tell("informational", head.status().code())
    }

    fn head_received(&mut self, exchange: &mut Exchange<'_>, head: &ResponseHead) -> Result {
        if let Some(heir) = self.heir.take() {
            assert!(exchange.hand_over(heir));
        }
        self.tell("head", head.status().code())
    }

    fn body_received(&mut self, exchange: &mut Exchange<'_>, data: &[u8]) -> Result {
        if self.pauses {
            exchange.pause_reading();
        }
        self.tell("body", String::from_utf8_lossy(data))
    }

    fn body_ended(&mut self, exchange: &mut Exchange<'_>, trailers: &Headers) -> Result {
        let more = if exchange.is_reusable() { "reusable" } else { "closing" };
        self.tell("end", format!("{more} {trailers:?}").replace(" {}", ""))
    }

    fn exchange_lost(&mut self, failure: &Failure) {
        drop(self.tell("lost", failure));
    }

    fn pause_producing(&mut self, _: &mut Exchange<'_>) {
        drop(self.tell("pause", ""));
    }

    fn resume_producing(&mut self, exchange: &mut Exchange<'_>) -> Result {
        self.tell("resume", "")?;
        while !self.pieces.is_empty() {
            if exchange.write_bytes(self.pieces.remove(0)) != Written::Taken {
                return Ok(());
            }
        }
        exchange.finish();
        Ok(())
    }
}

fn head(method: Method) -> RequestHead {
    RequestHead::new(method, "a", "/").expect("valid")
}

fn harness() -> Harness<HttpClient> {
    Harness::new(HttpClient::new())
}

/// Sends a request, and answers what its handler will have been told.
fn send(
    harness: &mut Harness<HttpClient>,
    head: &RequestHead,
    body: RequestBody,
    mut handler: Tell,
) -> (Option<ExchangeId>, Told) {
    let told = Told::default();
    handler.told = told.clone();
    let sent = harness.with(|client, transport| {
        let sent = client.send(transport, head, body, Box::new(handler)).ok();
        assert!(told.borrow().is_empty(), "nothing is told from inside");
        sent
    });
    (sent, told)
}

fn get(harness: &mut Harness<HttpClient>) -> Told {
    let (sent, told) = send(harness, &head(Method::Get), RequestBody::Empty, Tell::default());
    assert!(sent.is_some());
    assert_eq!(written(harness), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    told
}

fn written(harness: &mut Harness<HttpClient>) -> String {
    String::from_utf8_lossy(&harness.written()).into_owned()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HI: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn one_exchange_follows_the_other_on_a_connection_that_stays() {
    let mut harness = harness();
    for _ in 0..3 {
        let told = get(&mut harness);
        harness.feed(HI);
        assert_eq!(*told.borrow(), ["head 200", "body hi", "end reusable"]);
        assert_eq!(harness.with(|client, _| client.connection.output.capacity()), 0);
    }
    let told = get(&mut harness);
    harness.feed_bytewise(HI);
    assert_eq!(*told.borrow(), ["head 200", "body h", "body i", "end reusable"]);
    harness.advance(seconds(1000));
    assert!(!harness.is_lost(), "an idle connection has no deadline");
    harness.close();
    assert!(harness.is_lost());
}

#[test]
fn a_second_request_at_once_is_handed_back() {
    let mut harness = harness();
    let told = get(&mut harness);
    let (sent, second) =
        send(&mut harness, &head(Method::Get), RequestBody::Empty, Tell::default());
    assert!(sent.is_none());
    harness.feed(HI);
    assert_eq!(told.borrow().len(), 3);
    assert!(second.borrow().is_empty());
}

#[test]
fn a_connection_that_brings_more_than_was_asked_for_is_not_used_again() {
    let mut harness = harness();
    let told = get(&mut harness);
    harness.feed(&[HI, HI].concat());
    assert_eq!(*told.borrow(), ["head 200", "body hi", "end closing"]);
    assert!(harness.is_closed());
    // And when it comes later, with no request under way.
    let mut harness = self::harness();
    let told = get(&mut harness);
    harness.feed(HI);
    assert_eq!(told.borrow()[2], "end reusable");
    harness.feed(b"\r\n");
    assert!(harness.is_closed());
    let (sent, _) = send(&mut harness, &head(Method::Get), RequestBody::Empty, Tell::default());
    assert!(sent.is_none());
}

#[test]
fn an_answer_that_says_close_is_the_last() {
    let mut harness = harness();
    let told = get(&mut harness);
    harness.feed(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(*told.borrow(), ["head 200", "end closing"]);
    assert!(harness.is_closed());
    let mut harness = self::harness();
    let told = get(&mut harness);
    harness.feed(b"HTTP/1.1 200 OK\r\n\r\nto the end");
    harness.close();
    assert_eq!(*told.borrow(), ["head 200", "body to the end", "end closing"]);
    assert!(harness.is_lost());
}

#[test]
fn a_lost_connection_says_whether_the_answer_had_begun() {
    for (wire, expected) in [
        (&b""[..], "lost the connection was lost before an answer came: closed by the peer"),
        (b"H", "lost the server closed in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\n", "lost the server closed in the middle of its answer"),
        (&HI[..HI.len() - 1], "lost the server closed in the middle of its answer"),
    ] {
        let mut harness = harness();
        let told = get(&mut harness);
        harness.feed(wire);
        harness.close();
        assert!(harness.is_lost());
        assert_eq!(told.borrow().last().map(String::as_str), Some(expected));
        let mut harness = self::harness();
        let told = get(&mut harness);
        harness.feed(wire);
        harness.reset();
        let last = told.borrow().last().cloned().unwrap_or_default();
        let begins = if wire.is_empty() {
            "lost the connection was lost before"
        } else {
            "lost the connection was lost in the middle"
        };
        assert!(last.starts_with(begins), "{last}");
        assert!(last.contains("reset"), "{last}");
    }
}

#[test]
fn a_malformed_answer_ends_the_connection_at_once() {
    for (wire, what) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "both Transfer-Encoding and Content-Length",
        ),
        ("SSH-2.0-OpenSSH\r\n", "malformed status line"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "malformed chunk size"),
    ] {
        let mut harness = harness();
        let told = get(&mut harness);
        harness.feed(wire.as_bytes());
        assert!(harness.is_lost());
        let last = told.borrow().last().cloned().unwrap_or_default();
        assert_eq!(last, format!("lost the server's answer is no valid HTTP/1.1: {what}"));
    }
}

#[test]
fn each_phase_has_its_timeout() {
    let mut harness = harness();
    let told = get(&mut harness);
    harness.advance(seconds(59));
    harness.feed(b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 20");
    harness.advance(seconds(59));
    assert!(!harness.is_lost());
    harness.feed(b"0");
    harness.advance(seconds(2));
    assert!(harness.is_lost(), "the head as a whole, not its bytes");
    assert_eq!(told.borrow().last().map(String::as_str), Some("lost no answer came within 60s"));

    let mut harness = self::harness();
    let told = get(&mut harness);
    harness.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
    harness.advance(seconds(50));
    harness.feed(b"a");
    harness.advance(seconds(50));
    harness.feed(b"b");
    harness.advance(seconds(61));
    assert!(harness.is_lost());
    let last = told.borrow().last().cloned().unwrap_or_default();
    assert_eq!(last, "lost nothing more of the answer came for 60s");
}

#[test]
fn an_error_of_the_handlers_gives_the_exchange_up() {
    for refuses in ["informational", "head", "body", "end"] {
        let mut harness = harness();
        let handler = Tell { refuses, ..Tell::default() };
        let (_, told) = send(&mut harness, &head(Method::Get), RequestBody::Empty, handler);
        harness.feed(&[b"HTTP/1.1 103 Hints\r\n\r\n", HI].concat());
        assert!(harness.is_lost());
        let told = told.borrow();
        let expected =
            if refuses == "end" { "end reusable" } else { "lost the answer was refused here: no" };
        assert_eq!(told.last().map(String::as_str), Some(expected));
        assert_eq!(
            told.iter().filter(|told| told.starts_with("end") || told.starts_with("lost")).count(),
            1
        );
    }
}

#[test]
fn an_exchange_that_is_given_up_says_so_once() {
    let mut harness = harness();
    let (id, told) = send(&mut harness, &head(Method::Get), RequestBody::Empty, Tell::default());
    let id = id.expect("sent");
    harness.with(|client, transport| {
        assert!(client.with_exchange(transport, id, |exchange| exchange.abort()).is_some());
        assert!(told.borrow().is_empty(), "not from inside");
    });
    assert!(harness.is_lost());
    assert_eq!(*told.borrow(), ["lost it was given up here"]);
}

/// Says what it got, in brackets.
struct Brackets;

impl Protocol for Brackets {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.write(b"<made>");
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        transport.write(&[b"<", &data.split()[..], b">"].concat());
        Ok(())
    }
}

#[test]
fn a_tunnel_is_handed_over_with_the_bytes_that_follow() {
    let mut harness = harness();
    let asking = head(Method::Get).header("Upgrade", "brackets");
    let handler = Tell { heir: Some(Box::new(Brackets)), ..Tell::default() };
    let (_, told) = send(&mut harness, &asking, RequestBody::Empty, handler);
    written(&mut harness);
    harness.feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: brackets\r\n\r\nearly");
    harness.advance(seconds(1000)); // HTTP's timeouts are over with
    harness.feed(b"more");
    assert_eq!(written(&mut harness), "<made><early><more>");
    assert_eq!(*told.borrow(), ["head 101"]);
    let id = harness.id();
    assert!(harness.reactor().with_protocol::<Brackets, _>(id, |_, _| ()).is_some());
    harness.close();
    assert!(harness.is_lost());
}

#[test]
fn a_tunnel_that_is_kept_carries_bytes_both_ways() {
    let mut harness = harness();
    let asking = RequestHead::new(Method::Connect, "b:1", "b:1").expect("valid");
    let (id, told) = send(&mut harness, &asking, RequestBody::Empty, Tell::default());
    assert_eq!(written(&mut harness), "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n");
    harness.feed(b"HTTP/1.1 200 OK\r\n\r\nraw");
    harness.advance(seconds(1000));
    let id = id.expect("sent");
    harness.with(|client, transport| {
        client.with_exchange(transport, id, |exchange| exchange.write(b"as it is"))
    });
    assert_eq!(written(&mut harness), "as it is");
    harness.close();
    assert_eq!(*told.borrow(), ["head 200", "body raw", "end closing"]);
    assert!(harness.is_lost());
}
