//! Octets from a client, given to a WebSocket server whose handshake is done.
//!
//! Beyond not crashing: how the input is cut does not change which messages are whole; what the server
//! sends are unmasked frames that can be read, the last of them a Close frame if anything was wrong; and
//! no message is longer than the limit.

#![no_main]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ropewalk_http::websocket::codec::{FrameHead, Opcode};
use ropewalk_http::websocket::{
    Deflate, Intake, Kind, Message, WebSocket, WebSocketHandler, WebSocketUpgrade,
};
use ropewalk_http::{HttpServer, Reply, Request};
use ropewalk_reactor::testing::Harness;
use ropewalk_reactor::{Reason, Result};

const LIMIT: usize = 5000;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some((&[step, ways], octets)) = input.split_first_chunk() else { return };
    let (streams, compresses) = (ways & 1 != 0, ways & 2 != 0);
    let whole = talk(octets, octets.len().max(1), streams, compresses);
    let cut = talk(octets, usize::from(step).max(1), streams, compresses);
    assert_eq!(whole, cut, "cutting the input changed the messages");
});

/// Remembers whole messages, gathered here if they are not by the server.
struct Listener {
    seen: Rc<RefCell<Vec<(Kind, Vec<u8>)>>>,
    streams: bool,
    piece: Vec<u8>,
    kind: Kind,
}

impl WebSocketHandler for Listener {
    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        assert!(message.as_bytes().len() <= LIMIT, "a message beyond the limit");
        socket.send(message);
        self.seen.borrow_mut().push((message.kind(), message.as_bytes().to_vec()));
        Ok(())
    }

    fn message_started(&mut self, _: &mut WebSocket<'_>, kind: Kind) -> Result<Intake> {
        self.kind = kind;
        self.piece.clear();
        Ok(if self.streams { Intake::Stream } else { Intake::Gather })
    }

    fn piece_received(&mut self, socket: &mut WebSocket<'_>, piece: Message<'_>) -> Result {
        assert!(!piece.as_bytes().is_empty() && piece.kind() == self.kind);
        self.piece.extend_from_slice(piece.as_bytes());
        if self.piece.len() > 1 << 20 {
            return Err("enough".into());
        }
        socket.send_fragment(piece, false);
        Ok(())
    }

    fn message_ended(&mut self, socket: &mut WebSocket<'_>) -> Result {
        let last = if self.kind == Kind::Text { Message::Text("") } else { Message::Binary(b"") };
        socket.send_fragment(last, true);
        self.seen.borrow_mut().push((self.kind, std::mem::take(&mut self.piece)));
        Ok(())
    }
}

fn talk(octets: &[u8], step: usize, streams: bool, compresses: bool) -> Vec<(Kind, Vec<u8>)> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut upgrade = WebSocketUpgrade::new().max_message(LIMIT);
    if compresses {
        let deflate = Deflate::new().server_context_takeover(true).client_context_takeover(true);
        upgrade = upgrade.deflate(deflate.min_size(10));
    }
    let see = seen.clone();
    let server = HttpServer::new(move |request: &Request| -> Reply {
        let (seen, kind) = (see.clone(), Kind::Text);
        upgrade.accept(request, Listener { seen, streams, piece: Vec::new(), kind })
    });
    let mut harness = Harness::new(server);
    harness.feed(REQUEST);
    assert!(harness.written().starts_with(b"HTTP/1.1 101 "));
    for piece in octets.chunks(step) {
        harness.feed(piece);
    }
    harness.close();
    harness.advance(Duration::from_secs(200));
    assert!(harness.is_lost(), "the connection stayed");
    assert!(!matches!(harness.reason(), Some(Reason::Panic(_))), "{:?}", harness.reason());
    check(&harness.written(), harness.reason().is_some_and(|reason| !reason.is_orderly()));
    seen.take()
}

/// What a server sends: frames, and a Close frame at the end of what went wrong.
fn check(mut sent: &[u8], went_wrong: bool) {
    let mut last = None;
    while !sent.is_empty() {
        let head = FrameHead::parse(sent).expect("a frame of ours is right");
        let (head, size) = head.expect("and whole");
        assert_eq!(head.mask, None);
        assert_ne!(last, Some(Opcode::Close), "something behind the Close frame");
        sent = &sent[size + usize::try_from(head.length).expect("it is here")..];
        last = Some(head.opcode);
    }
    assert!(!went_wrong || last == Some(Opcode::Close), "nobody was told");
}
