//! The opening handshake, from both sides.

use std::time::Duration;

use ropewalk_reactor::{Error, Simulation};

use super::*;
use crate::{Config as HttpConfig, Exchange, with_exchange};

/// What a server with `upgrade` answers to `request`.
fn answer(upgrade: &WebSocketUpgrade, request: &str) -> String {
    let upgrade = upgrade.clone();
    let config = std::sync::Arc::new(HttpConfig::new().date(false));
    let server = HttpServer::with_config(config, move |request: &Request| {
        upgrade.accept(request, told(&Log::default()))
    });
    let mut harness = Harness::new(server);
    harness.feed(request.as_bytes());
    String::from_utf8_lossy(&harness.written()).into_owned()
}

/// Its first line.
fn status(upgrade: &WebSocketUpgrade, request: &str) -> String {
    answer(upgrade, request).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_handshake_of_the_rfc_is_answered() {
    let upgrade = WebSocketUpgrade::new().subprotocols(["superchat", "chat"]);
    let extra = "Origin: http://server.example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n";
    assert_eq!(
        answer(&upgrade, &request(extra)),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: superchat\r\nConnection: Upgrade\r\n\r\n"
    );
    // None in common is no reason to refuse.
    let none = answer(&upgrade, &request("Sec-WebSocket-Protocol: mqtt\r\n"));
    assert!(none.starts_with("HTTP/1.1 101") && !none.contains("Protocol:"), "{none}");
}

#[test]
fn what_is_no_handshake_gets_the_status_that_says_why() {
    let upgrade = WebSocketUpgrade::new().deflate(Deflate::new());
    let good = request("");
    for (bad, expected) in [
        (good.replace("GET", "POST"), "405 Method Not Allowed"),
        (good.replace("HTTP/1.1", "HTTP/1.0"), "426 Upgrade Required"),
        (good.replace("Upgrade: websocket", "Upgrade: h2c"), "426 Upgrade Required"),
        (good.replace("Connection: Upgrade", "Connection: x"), "426 Upgrade Required"),
        (good.replace("Version: 13", "Version: 8"), "426 Upgrade Required"),
        (good.replace("bXBsZSBub25jZQ", "bXBsZSBub25"), "400 Bad Request"),
        (request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "400 Bad Request"),
        (request("Sec-WebSocket-Extensions: a b\r\n"), "400 Bad Request"),
        (request("Origin: http://evil.example\r\n"), "403 Forbidden"),
        (request(""), "101 Switching Protocols"),
        (good.replace("Upgrade: websocket", "upgrade: WebSocket"), "101 Switching Protocols"),
        (
            good.replace("Connection: Upgrade", "connection: keep-alive, upgrade"),
            "101 Switching Protocols",
        ),
    ] {
        assert_eq!(status(&upgrade, &bad), format!("HTTP/1.1 {expected}"), "{bad}");
    }
    let old = answer(&upgrade, &good.replace("Version: 13", "Version: 8"));
    for field in [
        "\r\nUpgrade: websocket\r\n",
        "\r\nSec-WebSocket-Version: 13\r\n",
        "\r\nConnection: Upgrade\r\n",
    ] {
        assert!(old.contains(field), "{old}");
    }
    assert!(answer(&upgrade, &good.replace("GET", "POST")).contains("\r\nAllow: GET\r\n"));
}

#[test]
fn pages_of_other_origins_are_refused_unless_they_are_named() {
    let same = WebSocketUpgrade::new();
    let these = same.clone().origins(["https://friend.example"]);
    let any = same.clone().any_origin();
    for (origin, by_same, by_these) in [
        ("http://server.example.com", true, true),
        ("https://SERVER.example.com", true, true),
        ("http://server.example.com:8080", false, false),
        ("http://server.example.com.evil.example", false, false),
        ("https://friend.example", false, true),
        ("http://friend.example", false, false),
        ("null", false, false),
        ("", false, false),
    ] {
        let request = request(&format!("Origin: {origin}\r\n"));
        let accepts = |upgrade| status(upgrade, &request).contains(" 101 ");
        assert_eq!((accepts(&same), accepts(&these)), (by_same, by_these), "{origin}");
        assert!(accepts(&any), "{origin}");
    }
    let two = request("Origin: http://server.example.com\r\nOrigin: http://evil.example\r\n");
    assert!(status(&same, &two).contains(" 403 "));
}

#[test]
fn compression_is_agreed_on_in_the_answer() {
    let upgrade = WebSocketUpgrade::new()
        .deflate(Deflate::new().server_context_takeover(true).client_context_takeover(true));
    let extra = "Sec-WebSocket-Extensions: foo, permessage-deflate; client_max_window_bits; \
                 server_max_window_bits=10\r\n";
    let answered = answer(&upgrade, &request(extra));
    let expected =
        "\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n";
    assert!(answered.contains(expected), "{answered}");
    assert!(!answer(&WebSocketUpgrade::new(), &request(extra)).contains("Extensions"));
}

#[test]
fn what_follows_the_request_at_once_is_received() {
    let log = Log::default();
    let told_log = log.clone();
    let server = HttpServer::new(move |request: &Request| {
        WebSocketUpgrade::new().accept(request, told(&told_log))
    });
    let mut harness = Harness::new(server);
    harness.feed(&[request("").as_bytes(), &frame(0x81, "early"), &frame(0x81, "bird")].concat());
    let written = harness.written();
    assert!(written.ends_with(b"\r\n\r\n\x81\x05early\x81\x04bird"), "{written:?}");
    assert_eq!(log.take(), ["opened none", "Text(\"early\")", "Text(\"bird\")"]);
}

/// A server that has to ask somebody first opens the WebSocket when it has the answer, and not with the
/// client's first message.
#[test]
fn a_handler_may_upgrade_later() {
    let log = Log::default();
    let told_log = log.clone();
    let server = HttpServer::new(with_exchange(move |_: &Request, exchange: &mut Exchange<'_>| {
        let log = told_log.clone();
        exchange.call_later(Duration::from_secs(1), move |exchange| {
            let reply = WebSocketUpgrade::new().accept(exchange.request(), told(&log));
            if let Reply::Upgrade(response, protocol) = reply {
                exchange.upgrade(&response, protocol);
            }
        });
        Ok(Reply::Later)
    }));
    let mut harness = Harness::new(server);
    harness.feed(request("").as_bytes());
    assert_eq!(harness.written(), "");
    harness.advance(Duration::from_secs(1));
    assert!(harness.written().starts_with(b"HTTP/1.1 101 "));
    assert_eq!(log.take(), ["opened none"]);
}

/// What a client makes of `answer`, where `ACCEPT` stands for the right one.
fn outcome(client: WebSocketClient, answer: &str, log: &Log) -> Result<(), String> {
    let mut simulation = Simulation::calm();
    let answer = answer.to_owned();
    let listening =
        simulation.reactor().listen("10.0.0.1:80", move |_| Scripted { answer: answer.clone() });
    listening.expect("a free address");
    let result = Rc::new(RefCell::new(None));
    let heard = result.clone();
    client.connect(simulation.reactor(), told(log)).then(move |_, opened| {
        *heard.borrow_mut() = Some(opened.map(drop).map_err(|error| match error {
            Error::Other(inner) => inner.to_string(),
            other => other.to_string(),
        }));
    });
    simulation.settle();
    let result = result.take();
    result.expect("it has one")
}

/// Answers a request with a text.
struct Scripted {
    answer: String,
}

impl ropewalk_reactor::Protocol for Scripted {
    fn data_received(
        &mut self,
        transport: &mut Transport<'_>,
        data: &mut bytes::BytesMut,
    ) -> Result {
        let text = String::from_utf8_lossy(data).into_owned();
        if !self.answer.is_empty() && text.ends_with("\r\n\r\n") {
            data.clear();
            let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let accept = super::super::handshake::accept(key.expect("it has one").as_bytes());
            let answer = std::mem::take(&mut self.answer).replace("ACCEPT", &accept);
            transport.write(answer.as_bytes());
            if answer.ends_with("bye") {
                transport.lose_connection();
            }
        }
        Ok(())
    }
}

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
                    Connection: upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n";

#[test]
fn a_client_opens_if_the_answer_is_right_and_fails_once_if_it_is_not() {
    let client =
        || WebSocketClient::new("ws://10.0.0.1/chat").expect("a good URL").subprotocols(["a", "b"]);
    let with = |extra: &str| GOOD.replace("\r\n\r\n", &format!("\r\n{extra}\r\n\r\n"));
    for (answer, expected) in [
        (GOOD.to_owned(), Ok(())),
        (
            format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: </a>\r\n\r\n{GOOD}"),
            Ok(()),
        ),
        (with("Sec-WebSocket-Protocol: b"), Ok(())),
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Err("the server answered 401 Unauthorized"),
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), Err("the answer is no HTTP")),
        (GOOD.replace("WebSocket\r", "h2c\r"), Err("upgraded to something else")),
        (GOOD.replace("Connection: upgrade\r\n", ""), Err("upgraded to something else")),
        (GOOD.replace("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), Err("does not answer the key")),
        (GOOD.replace("Sec-WebSocket-Accept: ACCEPT\r\n", ""), Err("does not answer the key")),
        (with("Sec-WebSocket-Protocol: c"), Err("a subprotocol that was not offered")),
        (
            with("Sec-WebSocket-Extensions: permessage-deflate"),
            Err("an extension that was not offered"),
        ),
        ("HTTP/1.1 101 Switch".to_owned() + "bye", Err("the server closed the connection")),
        (String::new(), Err("did not answer in time")),
        ("HTTP/1.1 101 S\r\nX: ".to_owned() + &"x".repeat(40_000), Err("the answer is no HTTP")),
    ] {
        let log = Log::default();
        let outcome = outcome(client(), &answer, &log);
        let text = outcome.as_ref().err();
        match expected {
            Ok(()) => assert!(outcome.is_ok(), "{outcome:?}"),
            Err(expected) => assert!(text.is_some_and(|t| t.contains(expected)), "{outcome:?}"),
        }
        assert_eq!(log.take().is_empty(), outcome.is_err(), "a handshake that failed has no story");
    }
    assert!(
        outcome(WebSocketClient::new("ws://10.0.0.9/").expect("good"), "", &Log::default())
            .is_err(),
        "nobody is there"
    );
}

#[test]
fn a_client_says_what_it_wants() {
    let client = WebSocketClient::new("ws://[2001:db8::1]:8080/a?b").expect("a good URL");
    let client = client.subprotocols(["a", "no token"]).deflate(Deflate::new());
    let client = client.header("Origin", "http://h").header("X", "split\r\nme");
    let client = client.header("Sec-WebSocket-Key", "mine");
    assert_eq!(
        client.request("KEY"),
        "GET /a?b HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Extensions: permessage-deflate; \
         server_no_context_takeover; client_no_context_takeover; client_max_window_bits\r\n"
    );
    assert_eq!(client.headers.len(), 1);
    assert_eq!(client.endpoint().expect("good").to_string(), "tcp://[2001:db8::1]:8080");
    let secure = WebSocketClient::new("wss://example.org").expect("a good URL");
    assert_eq!(secure.endpoint().expect("good").to_string(), "tls://example.org:443");
}

#[test]
fn a_client_that_nobody_waits_for_gives_up() {
    let mut simulation = Simulation::calm();
    let log = Log::default();
    let told_log = log.clone();
    let listening = simulation.reactor().listen("10.0.0.1:80", move |_| {
        let log = told_log.clone();
        HttpServer::new(move |request: &Request| {
            WebSocketUpgrade::new().accept(request, told(&log))
        })
    });
    listening.expect("a free address");
    let client = WebSocketClient::new("ws://10.0.0.1/").expect("a good URL");
    let own = Log::default();
    drop(client.connect(simulation.reactor(), told(&own)));
    simulation.settle();
    assert_eq!(simulation.reactor().connection_count(), 0);
    assert_eq!((log.take(), own.take()), (vec![], vec![]));
}
