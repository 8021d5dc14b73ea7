//! A handler that shows a client its own request: a mirror for tests, and a model of a handler
//! that gathers small bodies and streams large ones.

use bytes::BytesMut;
use ropewalk_reactor::{Result, Written};

use crate::websocket::{Deflate, Message, WebSocket, WebSocketUpgrade};
use crate::{Exchange, ExchangeHandler, Handler, Headers, Intake, Reply, Request, Response};

/// What `/plaintext` answers, as benchmarks of web frameworks ask for.
const PLAINTEXT: &str = "Hello, World!";

/// The longest WebSocket message that comes back whole: what the usual test suites send.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Answers each request with the request itself, as `text/plain`: request line, header fields, an
/// empty line, and the body; `/plaintext` with `Hello, World!`.
///
/// A body whose length is known and small enough to be gathered comes back with a length; any
/// other is streamed back while it arrives, under back-pressure: a client that sends without
/// reading is paused.
///
/// A request for a WebSocket, at any address and from any page, is accepted: each message comes back,
/// up to 16 MiB, compressed if the client can.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

impl Handler for Echo {
    fn request_received(&mut self, request: &Request, _: &mut Exchange<'_>) -> Result<Reply> {
        if WebSocketUpgrade::is_requested(request) {
            let upgrade = WebSocketUpgrade::new().any_origin().max_message(MAX_MESSAGE);
            return Ok(upgrade.deflate(Deflate::new()).accept(request, send_back));
        }
        if request.path() == "/plaintext" {
            return Ok(PLAINTEXT.into());
        }
        let mut text = describe(request);
        text.extend_from_slice(request.body());
        Ok(mirror().body(text).into())
    }

    fn body_expected(&mut self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Intake> {
        let fits = exchange.body_length().is_some_and(|length| length <= exchange.max_body());
        Ok(if fits || request.path() == "/plaintext" {
            Intake::Gather
        } else {
            Intake::Stream(Box::new(Stream { has_begun: false }))
        })
    }
}

fn send_back(socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
    socket.send(message);
    Ok(())
}

/// One body on its way back.
struct Stream {
    has_begun: bool,
}

impl Stream {
    fn begin(&mut self, exchange: &mut Exchange<'_>) {
        if !self.has_begun {
            self.has_begun = true;
            exchange.start(mirror(), None);
            let head = describe(exchange.request());
            exchange.write(&head);
        }
    }
}

impl ExchangeHandler for Stream {
    fn body_received(&mut self, exchange: &mut Exchange<'_>, data: &[u8]) -> Result {
        self.begin(exchange);
        if exchange.write(data) == Written::AboveHighWater {
            exchange.pause_reading();
        }
        Ok(())
    }

    fn body_ended(&mut self, exchange: &mut Exchange<'_>, trailers: &Headers) -> Result {
        self.begin(exchange);
        exchange.finish_with(trailers);
        Ok(())
    }

    fn resume_producing(&mut self, exchange: &mut Exchange<'_>) -> Result {
        exchange.resume_reading();
        Ok(())
    }
}

/// A response whose text a browser must not take for anything else.
fn mirror() -> Response {
    Response::text("").header("X-Content-Type-Options", "nosniff")
}

fn describe(request: &Request) -> BytesMut {
    let mut text = BytesMut::new();
    let mut line = |parts: &[&[u8]]| {
        for part in parts {
            text.extend_from_slice(part);
        }
        text.extend_from_slice(b"\r\n");
    };
    let method = request.method();
    let version = request.version().as_str().as_bytes();
    line(&[method.as_str().as_bytes(), b" ", request.target().as_bytes(), b" ", version]);
    for (name, value) in request.headers().iter() {
        line(&[name.as_bytes(), b": ", value]);
    }
    line(&[]);
    text
}
