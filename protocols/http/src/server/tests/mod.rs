//! The server on the simulated network: stories in the wire's own words, on virtual time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ropewalk_reactor::testing::Harness;
use ropewalk_reactor::{ConnectionOptions, Protocol, Reason, Simulation};

use super::*;
use crate::{Echo, Headers, Reply, with_exchange};

mod bodies;
mod compression;
mod filters;
mod network;
mod sites;
mod time;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn harness(handler: impl Handler) -> Harness<HttpServer> {
    Harness::new(HttpServer::with_config(Arc::new(Config::new().date(false)), handler))
}

fn hello() -> Harness<HttpServer> {
    harness(|request: &Request| format!("{} {}", request.path(), request.body().len()))
}

/// The response to a request for `path`, with `extra` between its fields and the empty line.
fn ok(text: &str, extra: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         {extra}\r\n{text}",
        text.len()
    )
}

fn written(harness: &mut Harness<HttpServer>) -> String {
    String::from_utf8_lossy(&harness.written()).into_owned()
}

/// Whether the server keeps nothing for this connection but itself.
fn holds_no_buffers(harness: &mut Harness<HttpServer>) -> bool {
    harness.with(|server, _| {
        server.request.is_none()
            && server.flow.current.is_none()
            && server.connection.output.capacity() == 0
    })
}

/// Counts the pieces that were asked for.
fn pieces(count: usize, asked: &Rc<Cell<usize>>) -> impl Iterator<Item = Bytes> + 'static {
    let asked = asked.clone();
    (0..count).map(move |at| {
        asked.set(asked.get() + 1);
        Bytes::from(vec![b'a' + (at % 26) as u8; 1000])
    })
}

#[test]
fn a_connection_is_kept_alive_and_holds_no_buffers_between_requests() {
    let mut harness = hello();
    for _ in 0..3 {
        harness.feed(GET);
        assert_eq!(written(&mut harness), ok("/ 0", ""));
        assert!(holds_no_buffers(&mut harness));
    }
    harness.feed_bytewise(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(written(&mut harness), ok("/p 3", ""));
    assert!(holds_no_buffers(&mut harness));
    harness.feed(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(written(&mut harness), ok("/ 0", "Connection: close\r\n"));
    assert!(harness.is_closed());
}

#[test]
fn an_answer_that_comes_later_holds_up_the_pipelined_requests_behind_it() {
    let mut harness = harness(with_exchange(|request, exchange| {
        let path = request.path().to_owned();
        if path != "/slow" {
            return Ok(path.into());
        }
        exchange.call_later(Duration::from_secs(5), |exchange| {
            assert_eq!(exchange.request().path(), "/slow");
            exchange.respond(Response::text("slow"));
            exchange.respond(Response::text("twice"));
        });
        Ok(Reply::Later)
    }));
    let wire = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n\
                 GET /3 HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n\
                 GET /5 HTTP/1.1\r\nHost: a\r\n\r\n";
    for bytewise in [false, true] {
        if bytewise {
            harness.feed_bytewise(wire)
        } else {
            harness.feed(wire)
        }
        assert_eq!(written(&mut harness), ok("/1", ""));
        harness.advance(Duration::from_secs(6));
        assert_eq!(written(&mut harness), [ok("slow", ""), ok("/3", "")].concat());
        harness.advance(Duration::from_secs(6));
        assert_eq!(written(&mut harness), [ok("slow", ""), ok("/5", "")].concat());
        assert!(holds_no_buffers(&mut harness));
    }
}

#[test]
fn an_exchange_is_answered_from_outside_by_its_name_and_only_while_it_lasts() {
    let waiting = Rc::new(Cell::new(None));
    let name = waiting.clone();
    let mut harness = harness(with_exchange(move |_, exchange| {
        name.set(Some(exchange.id()));
        Ok(Reply::Later)
    }));
    harness.feed(GET);
    let id = waiting.get().expect("the request was received");
    let answer = |harness: &mut Harness<HttpServer>| {
        let answered =
            harness.reactor().with_protocol::<HttpServer, _>(id.connection(), |server, t| {
                server.with_exchange(t, id, |exchange| exchange.respond("at last".into())).is_some()
            });
        harness.advance(Duration::ZERO);
        answered
    };
    assert_eq!(answer(&mut harness), Some(true));
    assert_eq!(written(&mut harness), ok("at last", ""));
    harness.feed(GET);
    assert_eq!(answer(&mut harness), Some(false), "a later request has another name");
    assert_eq!(written(&mut harness), "");
}

#[test]
fn the_requests_before_a_half_close_are_answered_then_the_connection_ends() {
    for count in [1, 2] {
        let mut harness = harness(with_exchange(|request, exchange| {
            let path = request.path().to_owned();
            exchange.call_later(Duration::from_secs(1), |exchange| exchange.respond(path.into()));
            Ok(Reply::Later)
        }));
        harness.feed(&GET.repeat(count));
        if count == 2 {
            harness.feed(b"GET /3 HT");
        }
        harness.close();
        assert_eq!(written(&mut harness), "");
        harness.advance(Duration::from_secs(3));
        assert_eq!(written(&mut harness), ok("/", "").repeat(count));
        assert!(harness.is_closed() && harness.is_lost());
        assert!(matches!(harness.reason(), Some(Reason::Done)), "{:?}", harness.reason());
    }
}

#[test]
fn an_idle_connection_is_simply_closed_when_its_peer_leaves() {
    let mut harness = hello();
    harness.feed(GET);
    harness.close();
    assert_eq!(written(&mut harness), ok("/ 0", ""));
    assert!(harness.is_lost());
}

#[test]
fn a_refused_request_is_told_why_and_the_connection_ends_with_the_error() {
    let mut harness = hello();
    harness.feed(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n");
    let text = written(&mut harness);
    let refusal = text.strip_prefix(&ok("/1 0", "")).expect("the first answer");
    assert!(refusal.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{refusal}");
    assert!(refusal.ends_with("\r\n\r\n400 Bad Request: no Host header field\n"), "{refusal}");
    assert!(refusal.contains("\r\nConnection: close\r\n"));
    assert!(harness.is_closed());
    harness.close();
    let reason = harness.reason().expect("lost");
    assert_eq!(reason.error::<Error>(), Some(&Error::HostMissing));
}

/// Says what it got, in brackets.
struct Brackets;

impl Protocol for Brackets {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.write(b"<made>");
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        transport.write(b"<");
        transport.write(&data.split());
        transport.write(b">");
        Ok(())
    }
}

#[test]
fn an_upgrade_hands_the_connection_over_with_the_bytes_that_follow() {
    for later in [false, true] {
        let mut harness = harness(with_exchange(move |_, exchange| {
            let response = Response::new(Status::SWITCHING_PROTOCOLS).header("Upgrade", "brackets");
            if !later {
                return Ok(Reply::Upgrade(response, Box::new(Brackets)));
            }
            exchange.call_later(Duration::from_secs(1), move |exchange| {
                exchange.upgrade(&response, Box::new(Brackets));
            });
            Ok(Reply::Later)
        }));
        harness.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\nGET / early");
        if later {
            assert_eq!(written(&mut harness), "");
        }
        harness.advance(Duration::from_secs(1000)); // HTTP's timeouts are over with
        harness.feed(b"more");
        assert_eq!(
            written(&mut harness),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: brackets\r\nConnection: Upgrade\r\n\r\n\
             <made><GET / early><more>"
        );
        let id = harness.id();
        let layer = harness.reactor().with_protocol::<Brackets, _>(id, |_, _| ());
        assert!(layer.is_some(), "the protocol inside can be found");
        harness.close();
        assert!(harness.is_lost());
    }
}

#[test]
fn responses_carry_the_reactors_date() {
    let mut harness = Harness::new(HttpServer::new(|_: &Request| "x"));
    harness.feed(GET);
    assert!(written(&mut harness).contains("\r\nDate: Wed, 01 Jan 2020 00:00:00 GMT\r\n"));
    harness.advance(Duration::from_secs(61));
    harness.feed(GET);
    assert!(written(&mut harness).contains("\r\nDate: Wed, 01 Jan 2020 00:01:01 GMT\r\n"));
}

#[test]
fn a_field_that_would_split_the_response_is_left_out() {
    let mut harness = harness(|request: &Request| {
        let name = request.query().unwrap_or_default().replace("%0d%0a", "\r\n");
        Response::text("x").header("X-Name", name).header("Content-Length", "99")
    });
    harness.feed(b"GET /?a%0d%0aX-Evil:1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(written(&mut harness), ok("x", ""));
}
