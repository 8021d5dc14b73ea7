//! Bodies that are gathered, streamed, paused, pulled, refused and cut.

use super::*;

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
