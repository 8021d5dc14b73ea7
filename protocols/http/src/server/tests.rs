//! The server on the simulated network: stories in the wire's own words, on virtual time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_reactor::testing::Harness;
use ropewalk_reactor::{ConnectionOptions, ListenOptions, Simulation};

use super::*;
use crate::{Echo, Headers, with_exchange};

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

#[test]
fn a_body_over_the_limit_is_refused_from_its_length_and_from_its_chunks() {
    let server = || {
        let config = Config::new().date(false).max_body(10);
        let handler = |request: &Request| format!("{}", request.body().len());
        Harness::new(HttpServer::with_config(Arc::new(config), handler))
    };
    let mut harness = server();
    harness.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789");
    assert_eq!(written(&mut harness), ok("10", ""));
    harness
        .feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    assert!(written(&mut harness).starts_with("HTTP/1.1 413 Content Too Large\r\n"));
    assert!(harness.is_closed());
    let mut harness = server();
    harness.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    harness.feed(b"a\r\n0123456789\r\n");
    assert_eq!(written(&mut harness), "");
    harness.feed(b"1\r\na\r\n");
    assert!(written(&mut harness).starts_with("HTTP/1.1 413 Content Too Large\r\n"));
    assert!(harness.is_closed());
}

/// Refuses uploads to `/no`, gathers up to five bytes of others.
struct Picky;

impl Handler for Picky {
    fn body_expected(&mut self, request: &Request, _: &mut Exchange<'_>) -> Result<Intake> {
        Ok(match request.path() {
            "/no" => Intake::Refuse(Status::UNAUTHORIZED.into()),
            _ => Intake::GatherUpTo(5),
        })
    }

    fn request_received(&mut self, request: &Request, _: &mut Exchange<'_>) -> Result<Reply> {
        if request.path() == "/bad" {
            return Err("the handler's own".into());
        }
        Ok(String::from_utf8_lossy(request.body()).into_owned().into())
    }
}

#[test]
fn a_body_is_asked_for_only_if_the_handler_takes_it() {
    let mut harness = harness(Picky);
    let expecting = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\n\r\n"
        )
    };
    harness.feed(expecting("/", 5).as_bytes());
    assert_eq!(written(&mut harness), "HTTP/1.1 100 Continue\r\n\r\n");
    harness.feed(b"hello");
    assert_eq!(written(&mut harness), ok("hello", ""));
    harness.feed(expecting("/no", 5).as_bytes());
    let text = written(&mut harness);
    assert!(text.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{text}");
    assert!(text.contains("\r\nConnection: close\r\n") && harness.is_closed());
}

#[test]
fn a_handlers_error_is_answered_with_500_and_ends_its_connection() {
    let mut harness = harness(Picky);
    harness.feed(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n");
    let text = written(&mut harness);
    assert!(text.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{text}");
    assert!(!text.contains("own"), "what went wrong is nobody else's business");
    assert!(harness.is_closed());
    harness.close();
    assert!(matches!(harness.reason(), Some(Reason::Error(_))));
}

/// Takes uploads ten bytes at a time: pauses at each piece, resumes a second later.
#[derive(Default)]
struct Slow {
    seen: Rc<RefCell<Vec<u8>>>,
    lost: Rc<Cell<bool>>,
}

impl Handler for Slow {
    fn body_expected(&mut self, _: &Request, _: &mut Exchange<'_>) -> Result<Intake> {
        let (seen, lost) = (self.seen.clone(), self.lost.clone());
        Ok(Intake::Stream(Box::new(Slow { seen, lost })))
    }

    fn request_received(&mut self, _: &Request, _: &mut Exchange<'_>) -> Result<Reply> {
        Ok("no body".into())
    }
}

impl ExchangeHandler for Slow {
    fn body_received(&mut self, exchange: &mut Exchange<'_>, data: &[u8]) -> Result {
        self.seen.borrow_mut().extend_from_slice(data);
        exchange.pause_reading();
        exchange.call_later(Duration::from_secs(1), |exchange| exchange.resume_reading());
        Ok(())
    }

    fn body_ended(&mut self, exchange: &mut Exchange<'_>, trailers: &Headers) -> Result {
        let text = format!("{} {:?}", self.seen.borrow().len(), trailers.get_str("sum"));
        exchange.respond(Response::text(text));
        Ok(())
    }

    fn exchange_lost(&mut self, _: &Reason) {
        self.lost.set(true);
    }
}

#[test]
fn a_handler_that_pauses_its_body_is_given_no_more_until_it_resumes() {
    let slow = Slow::default();
    let seen = slow.seen.clone();
    let mut harness = harness(slow);
    harness.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    harness.feed(b"2\r\nab\r\n2\r\ncd\r\n0\r\nSum: x\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(*seen.borrow(), b"ab");
    assert!(harness.with(|_, transport| transport.is_reading_paused()));
    harness.advance(Duration::from_millis(1100));
    assert_eq!(*seen.borrow(), b"abcd");
    assert_eq!(written(&mut harness), "");
    harness.advance(Duration::from_millis(1100));
    assert_eq!(written(&mut harness), [ok("4 Some(\"x\")", ""), ok("no body", "")].concat());
    assert!(!harness.with(|_, transport| transport.is_reading_paused()));
    assert!(holds_no_buffers(&mut harness));
}

#[test]
fn a_body_that_is_paused_at_its_last_byte_ends_when_it_is_resumed() {
    let mut harness = harness(Slow::default());
    harness.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd");
    assert_eq!(written(&mut harness), "");
    harness.advance(Duration::from_millis(1100));
    assert_eq!(written(&mut harness), ok("4 None", ""));
    harness.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(written(&mut harness), ok("no body", ""));
}

#[test]
fn a_lost_connection_is_told_to_whoever_followed_the_exchange() {
    let slow = Slow::default();
    let lost = slow.lost.clone();
    let mut harness = harness(slow);
    harness.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    harness.advance(Duration::from_secs(2));
    assert!(!lost.get());
    harness.reset();
    assert!(lost.get());
}

#[test]
fn a_request_that_is_cut_by_the_peer_is_never_whole() {
    let slow = Slow::default();
    let lost = slow.lost.clone();
    let mut harness = harness(slow);
    harness.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    harness.advance(Duration::from_secs(2));
    harness.close();
    assert!(written(&mut harness).starts_with("HTTP/1.1 400 Bad Request\r\n"));
    assert!(harness.is_lost() && lost.get());
    let reason = harness.reason().expect("lost");
    assert_eq!(reason.error::<Error>(), Some(&Error::Truncated));
}

#[test]
fn an_idle_connection_is_closed_in_silence_and_each_request_begins_the_wait_anew() {
    let mut harness = hello();
    harness.advance(Duration::from_secs(70));
    harness.feed(GET);
    harness.advance(Duration::from_secs(70));
    assert!(!harness.is_closed());
    assert_eq!(written(&mut harness), ok("/ 0", ""));
    harness.feed(b"\r\n"); // is no request
    harness.advance(Duration::from_secs(6));
    assert!(!harness.is_closed(), "whatever came is a sign of life");
    harness.advance(Duration::from_secs(75));
    assert_eq!(written(&mut harness), "");
    assert!(harness.is_closed());
}

#[test]
fn a_head_that_drips_in_is_given_up_after_its_time_from_the_first_byte() {
    let mut harness = hello();
    harness.advance(Duration::from_secs(10));
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\n".iter().cycle().take(29) {
        harness.feed(&[*byte]);
        harness.advance(Duration::from_secs(1));
    }
    assert!(!harness.is_closed());
    harness.advance(Duration::from_secs(2));
    assert!(written(&mut harness).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(harness.is_closed());
}

#[test]
fn a_body_may_stall_for_its_time_and_must_keep_a_rate() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let mut harness = hello();
    harness.feed(head);
    harness.advance(Duration::from_secs(25));
    harness.feed(&[b'x'; 20_000]); // forty seconds' worth
    for _ in 0..2 {
        harness.advance(Duration::from_secs(20));
        harness.feed(b"x");
    }
    assert!(!harness.is_closed(), "65 s are over, 70 s are earned");
    harness.advance(Duration::from_secs(10));
    assert!(written(&mut harness).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(harness.is_closed());

    let mut harness = hello();
    harness.feed(head);
    harness.feed(&[b'x'; 90_000]);
    harness.advance(Duration::from_secs(29));
    assert!(!harness.is_closed());
    harness.advance(Duration::from_secs(2));
    assert!(written(&mut harness).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
}

#[test]
fn a_body_that_the_handler_has_paused_does_not_time_out() {
    struct Never;
    impl Handler for Never {
        fn body_expected(&mut self, _: &Request, _: &mut Exchange<'_>) -> Result<Intake> {
            Ok(Intake::Stream(Box::new(Never)))
        }
        fn request_received(&mut self, _: &Request, _: &mut Exchange<'_>) -> Result<Reply> {
            Ok(Reply::Later)
        }
    }
    impl ExchangeHandler for Never {
        fn body_received(&mut self, exchange: &mut Exchange<'_>, _: &[u8]) -> Result {
            exchange.pause_reading();
            Ok(())
        }
    }
    let mut harness = harness(Never);
    harness.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    harness.advance(Duration::from_secs(1000));
    assert!(!harness.is_closed() && !harness.is_lost());
    assert_eq!(written(&mut harness), "");
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
fn a_pulled_body_is_produced_only_as_the_peer_reads_it() {
    let asked = Rc::new(Cell::new(0));
    let ask = asked.clone();
    let mut harness = harness(move |_: &Request| {
        Response::new(Status::OK).pulled(Some(10_000_000), pieces(10_000, &ask))
    });
    harness.stop_reading();
    harness.room(10_000);
    harness.feed(GET);
    harness.feed(GET);
    assert!(asked.get() > 60, "up to the high-water mark");
    let buffered =
        harness.with(|server, transport| transport.buffered() + server.connection.output.len());
    assert!(buffered <= 64 * 1024 + FLUSH_AT + 1000, "{buffered} bytes are held");
    assert!(asked.get() < 120, "{} pieces", asked.get());
    harness.resume_reading();
    let mut all = harness.written().to_vec();
    all.extend_from_slice(&harness.written());
    let one = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n".len() + 10_000_000;
    assert_eq!(all.len(), 2 * one);
    assert_eq!(asked.get(), 20_000);
    assert!(all[one..].starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(holds_no_buffers(&mut harness));
}

#[test]
fn a_pulled_body_goes_on_when_the_kernel_takes_it_all_at_once() {
    let asked = Rc::new(Cell::new(0));
    let ask = asked.clone();
    let mut harness =
        harness(move |_: &Request| Response::new(Status::OK).pulled(None, pieces(1000, &ask)));
    harness.feed(GET); // the simulated socket has room for 16 MiB: no pause, no resume
    assert_eq!(asked.get(), 1000);
    assert!(harness.written().ends_with(b"\r\n0\r\n\r\n"));
}

#[test]
fn a_head_request_produces_nothing() {
    let asked = Rc::new(Cell::new(0));
    let ask = asked.clone();
    let mut harness =
        harness(move |_: &Request| Response::new(Status::OK).pulled(Some(3000), pieces(3, &ask)));
    harness.feed(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n";
    let text = written(&mut harness);
    assert!(text.starts_with(&[head, head].concat()));
    assert_eq!(text.len(), 2 * head.len() + 3000);
    assert_eq!(asked.get(), 3);
}

#[test]
fn a_peer_that_pipelines_without_reading_is_served_no_further() {
    let served = Rc::new(Cell::new(0));
    let serve = served.clone();
    let mut harness = harness(move |_: &Request| {
        serve.set(serve.get() + 1);
        Response::text(vec![b'x'; 10_000])
    });
    harness.stop_reading();
    harness.room(1000);
    for _ in 0..50 {
        harness.feed(&GET.repeat(2));
    }
    assert!(served.get() < 12, "{} were served", served.get());
    harness.resume_reading();
    let all = harness.written();
    assert_eq!(served.get(), 100);
    assert_eq!(all.len(), 100 * ok(&"x".repeat(10_000), "").len());
}

#[test]
fn a_peer_that_takes_nothing_of_a_response_is_given_up() {
    let asked = Rc::new(Cell::new(0));
    let mut harness =
        harness(move |_: &Request| Response::new(Status::OK).pulled(None, pieces(10_000, &asked)));
    harness.stop_reading();
    harness.room(10_000);
    harness.feed(GET);
    harness.advance(Duration::from_secs(59));
    assert!(!harness.is_lost());
    harness.advance(Duration::from_secs(2));
    assert!(harness.is_lost());
    assert!(matches!(harness.reason(), Some(Reason::Aborted)));
}

#[test]
fn a_response_that_cannot_be_completed_is_seen_to_be_cut() {
    struct Broken;
    impl ExchangeHandler for Broken {
        fn resume_producing(&mut self, exchange: &mut Exchange<'_>) -> Result {
            exchange.start(Response::new(Status::OK), None);
            exchange.write(b"half");
            Err("the file has gone".into())
        }
    }
    let serve = || harness(with_exchange(|_, _| Ok(Reply::Stream(Box::new(Broken)))));
    let mut harness = serve();
    harness.feed(GET);
    assert!(written(&mut harness).ends_with("\r\n\r\n4\r\nhalf\r\n"), "no last chunk");
    assert!(harness.is_closed());
    let mut harness = serve();
    harness.feed(b"GET / HTTP/1.0\r\n\r\n");
    assert!(harness.is_lost(), "only a reset tells");
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

#[test]
fn the_echo_answers_with_the_request() {
    let mut harness = harness(Echo);
    harness.feed(b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(written(&mut harness), ok("Hello, World!", ""));
    harness.feed(b"PUT /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\ncontent-length: 2\r\n\r\nhi");
    let nosniff = "X-Content-Type-Options: nosniff\r\n";
    let text = "PUT /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\ncontent-length: 2\r\n\r\nhi";
    let answer = ok(text, "").replacen("Content-Length", &format!("{nosniff}Content-Length"), 1);
    assert_eq!(written(&mut harness), answer);
    harness.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(written(&mut harness), "", "it may wait for a 100");
    harness.feed(b"3\r\nabc\r\n");
    assert!(written(&mut harness).ends_with("\r\n3\r\nabc\r\n"), "it comes back at once");
    harness.feed(b"0\r\nSum: x\r\n\r\n");
    assert_eq!(written(&mut harness), "0\r\nSum: x\r\n\r\n");
}

#[test]
fn a_large_echo_to_a_slow_reader_is_bounded_and_whole() {
    let options = ConnectionOptions::default().high_water_mark(8000).low_water_mark(2000);
    let server = HttpServer::with_config(Arc::new(Config::new().date(false)), Echo);
    let mut harness = Harness::with_options(server, options);
    let body: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    harness.stop_reading();
    harness.room(5000);
    let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    harness.feed(head.as_bytes());
    harness.feed(&body);
    let held =
        harness.with(|server, transport| transport.buffered() + server.connection.output.len());
    assert!(held < 8000 + 2 * 70_000, "{held} bytes are held: more than a mark and a read");
    assert!(harness.with(|_, transport| transport.is_reading_paused()));
    harness.resume_reading();
    let answer = harness.written();
    assert!(answer.ends_with(&body));
    assert!(harness.is_closed());
}

/// What a calm network shows for these requests is what every network must show.
#[test]
fn any_network_carries_the_same_conversation() {
    let mut wire = Vec::new();
    for at in 0..12u32 {
        let body = vec![b'a' + at as u8; (at * at * 97) as usize];
        wire.extend_from_slice(match at % 4 {
            0 => b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
            1 => b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            2 => b"HEAD /2?q HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
            _ => b"\r\nPUT /3 HTTP/1.1\r\nHost: a\r\n",
        });
        match at % 4 {
            1 => {
                for chunk in body.chunks(1 + at as usize * 13) {
                    crate::codec::write_chunk(&mut wire, chunk);
                }
                crate::codec::write_last_chunk(&mut wire, &Headers::new());
            }
            3 => {
                let length = format!("Content-Length: {}\r\n\r\n", body.len());
                wire.extend_from_slice(length.as_bytes());
                wire.extend_from_slice(&body);
            }
            _ => {}
        }
    }
    let mut last = wire.clone();
    last.extend_from_slice(b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

    let mut calm = harness(Echo);
    calm.feed(&last);
    let expected = dechunked(&calm.written());
    assert!(calm.is_closed());

    for seed in 0..300 {
        let mut simulation = Simulation::new(seed);
        // Some of these networks carry four bytes a second.
        let hours = Duration::from_secs(100_000);
        let config =
            Config::new().date(false).head_timeout(hours).body_timeout(hours).send_timeout(hours);
        let config = Arc::new(config);
        let options = ConnectionOptions::default().flush_timeout(hours);
        let listening = simulation.reactor().listen_with(
            ListenOptions::default().connection(options),
            "10.0.0.1:80",
            move |_| HttpServer::with_config(config.clone(), Echo),
        );
        assert!(listening.is_ok());
        let mut peer = simulation.dial("10.0.0.1:80").expect("a good address");
        peer.write(&last);
        let mut seen = Vec::new();
        for _ in 0..100_000 {
            simulation.run_for(Duration::from_secs(1));
            seen.extend_from_slice(&peer.read());
            if peer.is_ended() {
                break;
            }
        }
        assert!(peer.is_ended(), "seed {seed}: the server has not closed");
        assert!(dechunked(&seen) == expected, "seed {seed}: another conversation");
    }
}

/// The conversation without the borders of chunks, which follow those of the segments.
fn dechunked(mut wire: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while !wire.is_empty() {
        let end = wire.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let (head, rest) = wire.split_at(end);
        all.extend_from_slice(head);
        wire = rest;
        if head.windows(7).any(|seven| seven == b"chunked") {
            let (config, mut trailers) = (Config::new(), Headers::new());
            let mut decoder = crate::codec::ChunkedDecoder::new();
            loop {
                let (used, piece) =
                    decoder.decode(wire, &config, &mut trailers).expect("a valid body");
                wire = &wire[used..];
                match piece {
                    crate::codec::Piece::Data(data) => all.extend_from_slice(data),
                    crate::codec::Piece::Ended => break,
                    crate::codec::Piece::NeedMore => {
                        panic!("a cut body: {:?}", String::from_utf8_lossy(head))
                    }
                }
            }
        } else {
            let text = String::from_utf8_lossy(head).into_owned();
            let length = text.split("Content-Length: ").nth(1).and_then(|rest| {
                rest.split("\r\n").next().and_then(|number| number.parse::<usize>().ok())
            });
            // The only response without a body is HEAD's, and its text begins with `HEAD`.
            let length = if rest.starts_with(b"HTTP/1.1") { 0 } else { length.unwrap_or(0) };
            let (body, rest) = wire.split_at(length);
            all.extend_from_slice(body);
            wire = rest;
        }
    }
    all
}
