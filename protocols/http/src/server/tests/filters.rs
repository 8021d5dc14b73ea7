//! Filters and middlewares: what they see, how often, and in which order.

use super::*;
use crate::{HandlerExt, Middleware, ResponseFilter, Rewrite};

/// Puts its mark before each piece and behind the body, and names itself in the head.
struct Mark(&'static str);

impl ResponseFilter for Mark {
    fn response_started(
        &mut self,
        _: &Request,
        response: &mut Response,
        _: Option<u64>,
    ) -> Rewrite {
        response.add_header("X-Mark", self.0);
        Rewrite::Body
    }

    fn body_written(&mut self, data: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
        out.extend_from_slice(data);
    }

    fn body_finished(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.to_uppercase().as_bytes());
    }
}

/// Changes the head alone.
struct Label;

impl ResponseFilter for Label {
    fn response_started(
        &mut self,
        request: &Request,
        response: &mut Response,
        length: Option<u64>,
    ) -> Rewrite {
        response.add_header("X-Label", format!("{} {length:?}", request.path()));
        Rewrite::Nothing
    }
}

fn marked(_: &Request, exchange: &mut Exchange<'_>) -> Option<Response> {
    exchange.filter(Mark("a"));
    exchange.filter(Label);
    exchange.filter(Mark("b"));
    None
}

#[test]
fn filters_change_a_whole_response_in_their_order_and_its_length_is_told() {
    let mut harness = harness((|_: &Request| "x").with(marked));
    harness.feed(GET);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nX-Mark: a\r\n\
                X-Label: / None\r\nX-Mark: b\r\nContent-Length: 6\r\n\r\n";
    // The first sees `x`, and ends with `A`; the second sees `ax`, then `A`.
    assert_eq!(written(&mut harness), format!("{head}baxbAB"));
    assert!(holds_no_buffers(&mut harness));
    harness.feed(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(written(&mut harness), head, "HEAD has the length of GET");
}

#[test]
fn filters_change_a_streamed_body_which_loses_its_length() {
    let handler = with_exchange(|_, exchange| {
        exchange.start(Response::new(Status::OK), Some(4));
        exchange.write(b"12");
        exchange.write_bytes(Bytes::from_static(b"34"));
        exchange.finish();
        Ok(Reply::Later)
    });
    let mut harness = harness(handler.with(|_: &Request, exchange: &mut Exchange<'_>| {
        exchange.filter(Mark("a"));
        None
    }));
    harness.feed(GET);
    assert_eq!(
        written(&mut harness),
        "HTTP/1.1 200 OK\r\nX-Mark: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\na12\r\n3\r\na34\r\n1\r\nA\r\n0\r\n\r\n"
    );
}

#[test]
fn a_pulled_body_goes_through_the_filters_and_the_next_exchange_has_none() {
    let asked = Rc::default();
    let handler = move |request: &Request| match request.path() {
        "/pulled" => Response::new(Status::OK).pulled(Some(2000), pieces(2, &asked)),
        _ => Response::text("plain"),
    };
    let mut harness = harness(handler.with(|request: &Request, exchange: &mut Exchange<'_>| {
        if request.path() == "/pulled" {
            exchange.filter(Mark("m"));
        }
        None
    }));
    harness.feed(b"GET /pulled HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let text = written(&mut harness);
    assert!(text.contains("3e9\r\nmaaa"), "{text}");
    assert!(text.contains("3e9\r\nmbbb"), "{text}");
    assert!(text.ends_with(&["1\r\nM\r\n0\r\n\r\n", &ok("plain", "")].concat()), "{text}");
}

/// Counts what it sees, and stops what asks for it.
struct Guard(Rc<Cell<u32>>);

impl Middleware for Guard {
    fn request_started(
        &mut self,
        request: &Request,
        _: &mut Exchange<'_>,
    ) -> Result<Option<Response>> {
        self.0.set(self.0.get() + 1);
        Ok((request.path() == "/secret").then(|| Response::text("no")))
    }
}

/// Passes on less than it should: bodies are gathered, whatever the handler behind would say.
struct Narrow<H>(H);

impl<H: Handler> Handler for Narrow<H> {
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        self.0.request_received(request, exchange)
    }
}

#[test]
fn a_middleware_sees_each_request_once_and_its_answer_keeps_the_handler_from_it() {
    let seen = Rc::new(Cell::new(0));
    let handled = Rc::new(Cell::new(0));
    let count = handled.clone();
    let handler = move |request: &Request| {
        count.set(count.get() + 1);
        format!("{} {}", request.path(), request.body().len())
    };
    let post = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").into_bytes()
    };
    let mut harness = harness(handler.with(Guard(seen.clone())));
    harness.feed(&post("/p"));
    assert_eq!(written(&mut harness), ok("/p 3", ""));
    assert_eq!(seen.get(), 1, "the head and the body are one request");
    harness.feed_bytewise(&post("/secret"));
    assert_eq!(written(&mut harness), ok("no", ""));
    harness.feed(b"GET /secret HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(written(&mut harness), ok("no", ""));
    assert_eq!((seen.get(), handled.get()), (3, 1));
}

#[test]
fn a_handler_that_passes_little_on_opens_no_way_around_a_middleware() {
    let seen = Rc::new(Cell::new(0));
    let mut harness = harness(Narrow((|_: &Request| "yes").with(Guard(seen.clone()))));
    harness.feed(b"POST /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(written(&mut harness), ok("no", ""));
    assert_eq!(seen.get(), 1);
}

#[test]
fn early_hints_go_out_before_the_response_and_not_to_http_1_0() {
    let mut harness = harness(with_exchange(|_, exchange| {
        let hints = Response::new(Status::EARLY_HINTS).header("Link", "</a.css>; rel=preload");
        exchange.send_informational(&hints);
        exchange.send_informational(&Response::new(Status::OK)); // is none
        Ok("here".into())
    }));
    harness.feed(GET);
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    assert_eq!(written(&mut harness), [hints, &ok("here", "")].concat());
    harness.feed(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(written(&mut harness), ok("here", "Connection: close\r\n"));
}
