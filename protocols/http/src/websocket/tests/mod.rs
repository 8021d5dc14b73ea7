//! WebSockets on the simulated network: the handshake in the wire's own words, and stories on
//! virtual time.

mod handshake;
mod network;
mod time;

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk_reactor::testing::Harness;
use ropewalk_reactor::{Reason, Result, Transport};

use super::codec::{FrameHead, MAX_HEAD, Opcode};
use super::*;
use crate::{HttpServer, Reply, Request};

/// The request of RFC 6455 §1.2, with `extra` fields.
fn request(extra: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
}

/// A frame of a client, masked with a key of zeros and so in plain sight.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let head = FrameHead {
        is_final: first & 0x80 != 0,
        is_compressed: first & 0x40 != 0,
        opcode: match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            _ => Opcode::Pong,
        },
        mask: Some([0; 4]),
        length: payload.len() as u64,
    };
    let mut out = [0; MAX_HEAD];
    let size = head.write(&mut out);
    [&out[..size], payload].concat()
}

/// What a handler was told, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Writes down what it is told, and does as the text says.
struct Told {
    log: Log,
    streams: bool,
}

fn told(log: &Log) -> Told {
    Told { log: log.clone(), streams: false }
}

impl WebSocketHandler for Told {
    fn opened(&mut self, socket: &mut WebSocket<'_>) -> Result {
        let subprotocol = socket.subprotocol().unwrap_or("none").to_owned();
        self.log.add(format!("opened {subprotocol}"));
        Ok(())
    }

    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        match message.text() {
            Some("close") => socket.close(CloseCode::GOING_AWAY, "as you wish"),
            Some("fail") => return Err("as you wish".into()),
            Some("pause") => socket.pause_reading(),
            _ => {
                socket.send(message);
            }
        }
        self.log.add(format!("{message:?}"));
        Ok(())
    }

    fn message_started(&mut self, _: &mut WebSocket<'_>, _: Kind) -> Result<Intake> {
        Ok(if self.streams { Intake::Stream } else { Intake::Gather })
    }

    fn piece_received(&mut self, socket: &mut WebSocket<'_>, piece: Message<'_>) -> Result {
        self.log.add(format!("piece of {}", piece.as_bytes().len()));
        if piece.as_bytes().starts_with(b"pause") {
            socket.pause_reading();
        }
        Ok(())
    }

    fn message_ended(&mut self, _: &mut WebSocket<'_>) -> Result {
        self.log.add("ended");
        Ok(())
    }

    fn ping_received(&mut self, _: &mut WebSocket<'_>, data: &[u8]) -> Result {
        self.log.add(format!("ping {}", String::from_utf8_lossy(data)));
        Ok(())
    }

    fn pong_received(&mut self, _: &mut WebSocket<'_>, data: &[u8]) -> Result {
        self.log.add(format!("pong {}", String::from_utf8_lossy(data)));
        Ok(())
    }

    fn close_received(&mut self, socket: &mut WebSocket<'_>, close: &Close) -> Result {
        self.log.add(format!("close received {} {}", close.code.number(), close.reason));
        socket.send_text("last words");
        Ok(())
    }

    fn pause_producing(&mut self, _: &mut WebSocket<'_>) {
        self.log.add("pause");
    }

    fn resume_producing(&mut self, _: &mut WebSocket<'_>) {
        self.log.add("resume");
    }

    fn closed(&mut self, _: &mut Transport<'_>, close: &Close, lost: &Reason) {
        self.log.add(format!(
            "closed {} {} {}",
            close.code.number(),
            if close.is_clean { "clean" } else { "unclean" },
            lost
        ));
    }
}

/// A server with `upgrade` in a harness, whose handshake is done.
fn upgraded(upgrade: WebSocketUpgrade, extra: &str, log: &Log) -> Harness<HttpServer> {
    let log = log.clone();
    let server =
        HttpServer::new(move |request: &Request| -> Reply { upgrade.accept(request, told(&log)) });
    let mut harness = Harness::new(server);
    harness.feed(request(extra).as_bytes());
    let answer = harness.written();
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{answer:?}");
    harness
}

fn open(log: &Log) -> Harness<HttpServer> {
    upgraded(WebSocketUpgrade::new(), "", log)
}
