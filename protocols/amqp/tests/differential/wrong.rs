//! Steps that no good client makes, and some that only odd ones make.

use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, exchange, queue};
use ropewalk_amqp::codec::{
    BasicProperties, ContentHeader, EncodeMethod, MethodId, PROTOCOL_HEADER, Secret, ShortStr,
    TableBuf,
};

use crate::script::{Maker, Sent, Step, Then, short};
use crate::wire::encode;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(0xce);
    frame
}

/// A content header of the class `basic`.
fn header(body_size: u64, properties: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    ContentHeader { class_id: 60, weight: 0, body_size, properties }.encode(&mut payload);
    payload
}

impl Maker {
    /// A method in the wrong place.
    pub(crate) fn wrong_method(&mut self, c: usize, n: u16) {
        match self.chance.below(12) {
            0 => self.method(c, n, &channel::Open::default()),
            1 => self.method(c, n, &channel::Flow { active: false }),
            2 => self.method(c, n, &queue::DeclareOk::default()),
            3 => self.method(c, n, &connection::Open::default()),
            4 => self.method(c, n, &basic::Publish::default()),
            5 => self.method(c, n, &basic::ConsumeOk::default()),
            6 => {
                let octets = encode(n, &channel::CloseOk {});
                self.raw(c, n, "channel.close-ok", &octets, Then::ConnectionEnds);
            }
            7 => self.method(c, n, &basic::GetEmpty::default()),
            8 => self.method(c, n, &connection::CloseOk {}),
            9 => self.on_channel_0(c, n, &queue::Declare::default()),
            10 => self.on_channel_0(c, n, &connection::Open::default()),
            _ => self.on_channel_0(c, n, &channel::Open::default()),
        }
    }

    fn on_channel_0(&mut self, c: usize, n: u16, method: &(impl EncodeMethod + std::fmt::Debug)) {
        let text = format!("on channel 0: {method:?}");
        self.send(c, n, text, Then::ConnectionEnds, |frames| frames.method(0, method));
    }

    /// A frame that is wrong as a frame.
    pub(crate) fn wrong_frame(&mut self, c: usize, n: u16) {
        let ends = Then::ConnectionEnds;
        let declare = encode(n, &queue::Declare { passive: true, ..Default::default() });
        match self.chance.below(13) {
            0 => self.raw(c, n, "a body alone", &frame(BODY, n, &[7]), ends),
            1 => self.raw(c, n, "a header alone", &frame(HEADER, n, &header(1, &[0, 0])), ends),
            2 => {
                let mut octets = declare;
                *octets.last_mut().expect("a frame has an end") = self.chance.of(&[0, 0xcd, 0xff]);
                self.raw(c, n, "a frame with a wrong end", &octets, ends);
            }
            3 => {
                let kind = self.chance.of(&[0, 4, 5, 7, 9, 255]);
                let on = self.chance.of(&[0, n]);
                let text = format!("a frame of type {kind} on channel {on}");
                self.raw(c, n, &text, &frame(kind, on, b"\0\x01what is this, please"), ends);
            }
            4 => self.raw(c, n, "a heartbeat on a channel", &frame(HEARTBEAT, n, b""), ends),
            5 => self.raw(c, n, "a heartbeat that says something", &frame(8, 0, b"x"), ends),
            6 => {
                let size = 131_065 + self.chance.below(100_000) as u32;
                let mut octets = vec![self.chance.of(&[METHOD, BODY])];
                octets.extend(n.to_be_bytes());
                octets.extend(size.to_be_bytes());
                self.raw(c, n, "the head of a frame that is too large", &octets, ends);
            }
            7 => self.raw(c, n, "a header on channel 0", &frame(HEADER, 0, &header(1, b"")), ends),
            8 => self.raw(c, n, "a body on channel 0", &frame(BODY, 0, b"x"), ends),
            9 => {
                let cut = 12 + self.chance.below(declare.len() - 14);
                let payload = &declare[7..cut];
                self.raw(c, n, "a method cut short", &frame(METHOD, n, payload), ends);
            }
            10 => {
                let length = self.chance.below(4);
                self.raw(
                    c,
                    n,
                    "half a method's number",
                    &frame(METHOD, n, &[0; 3][..length]),
                    ends,
                );
            }
            11 => self.raw(c, n, "a heartbeat", &frame(HEARTBEAT, 0, b""), Then::Ping),
            _ => {
                let mut payload = declare[7..declare.len() - 1].to_vec();
                payload.push(0);
                self.raw(c, n, "a method with an octet more", &frame(METHOD, n, &payload), ends);
            }
        }
    }

    /// A content that is none.
    pub(crate) fn wrong_content(&mut self, c: usize, n: u16) {
        let ends = Then::ConnectionEnds;
        let queue = self.own_queue(c, n);
        let mut octets =
            encode(n, &basic::Publish { routing_key: short(&queue), ..Default::default() });
        let text = match self.chance.below(9) {
            0 => {
                let mut wrong = header(1, &[0, 0]);
                wrong[1] = self.chance.of(&[10, 50, 61]);
                octets.extend(frame(HEADER, n, &wrong));
                "a header of another class"
            }
            1 => {
                let mut wrong = header(1, &[0, 0]);
                wrong[3] = 1;
                octets.extend(frame(HEADER, n, &wrong));
                "a header with a weight"
            }
            2 => {
                octets.extend(frame(BODY, n, b"x"));
                "a body without a header"
            }
            3 => {
                octets.extend(encode(n, &channel::Flow { active: true }));
                "a method instead of a header"
            }
            4 => {
                octets.extend(frame(HEADER, n, &header(9, &[0, 0])));
                octets.extend(encode(n, &channel::Flow { active: true }));
                "a method instead of a body"
            }
            5 => {
                octets.extend(frame(HEADER, n, &header(9, &[0, 0])));
                octets.extend(frame(HEADER, n, &header(9, &[0, 0])));
                "two headers"
            }
            6 => {
                octets.extend(frame(HEADER, n, &header(0, &[0, 0])));
                octets.extend(frame(BODY, n, b"more"));
                "a body for a content without one"
            }
            7 => {
                octets.extend(frame(HEADER, n, &header(1, &[0, 0])[..10]));
                "half a header"
            }
            _ => {
                octets.extend(frame(HEADER, n, &header(9, &[0, 0])));
                octets.extend(frame(HEARTBEAT, n, b""));
                "a heartbeat on the channel, in a content"
            }
        };
        self.raw(c, n, &format!("publishes: {text}"), &octets, ends);
    }

    /// An error of a method that would not be answered.
    pub(crate) fn nowait_error(&mut self, c: usize, n: u16) {
        let none = format!("{}none", self.script.prefix);
        let (queue, exchange) = (short(&none), short(&none));
        match self.chance.below(5) {
            0 => {
                let bind = queue::Bind { queue, exchange, nowait: true, ..Default::default() };
                self.method(c, n, &bind);
            }
            1 => self.method(c, n, &queue::Purge { queue, nowait: true, ..Default::default() }),
            2 => self.method(
                c,
                n,
                &queue::Declare { queue, passive: true, nowait: true, ..Default::default() },
            ),
            3 => self.method(
                c,
                n,
                &exchange::Declare { exchange, passive: true, nowait: true, ..Default::default() },
            ),
            _ => self.method(
                c,
                n,
                &basic::Consume {
                    queue,
                    consumer_tag: ShortStr::literal("t"),
                    nowait: true,
                    ..Default::default()
                },
            ),
        }
    }

    /// A message whose body comes in pieces, some of them empty.
    pub(crate) fn publish_in_pieces(&mut self, c: usize, n: u16) {
        let queue = self.own_queue(c, n);
        let publish = basic::Publish { routing_key: short(&queue), ..Default::default() };
        let mut octets = encode(n, &publish);
        let pieces: Vec<&[u8]> = (0..1 + self.chance.below(4))
            .map(|_| self.chance.of(&[&b""[..], b"x", b"yz"]))
            .collect();
        let size = pieces.iter().map(|piece| piece.len() as u64).sum();
        octets.extend(frame(HEADER, n, &header(size, &[0, 0])));
        if size > 0 {
            let last = pieces.iter().rposition(|piece| !piece.is_empty()).unwrap_or(0);
            pieces[..=last].iter().for_each(|piece| octets.extend(frame(BODY, n, piece)));
        }
        self.raw(c, n, &format!("publishes in pieces: {pieces:?}"), &octets, Then::Ping);
    }

    /// A message, and between its frames a channel that is opened and closed again.
    pub(crate) fn interleave(&mut self, c: usize, n: u16) {
        let queue = self.own_queue(c, n);
        let close = channel::Close { reply_code: 200, ..Default::default() };
        let octets = [
            encode(n, &basic::Publish { routing_key: short(&queue), ..Default::default() }),
            encode(9, &channel::Open::default()),
            frame(HEADER, n, &header(2, &[0, 0])),
            encode(9, &confirm::Select { nowait: true }),
            frame(HEARTBEAT, 0, b""),
            encode(9, &close),
            frame(BODY, n, b"ab"),
        ];
        let text = "publishes, and opens and closes channel 9 between the frames";
        self.raw(c, n, text, &octets.concat(), Then::Ping);
    }

    /// A handshake that fails.
    pub(crate) fn wrong_greeting(&mut self, c: usize, n: u16) {
        let mut octets = PROTOCOL_HEADER.as_ref().to_vec();
        let text = match self.chance.below(5) {
            0 => {
                octets = self.chance.of(&[b"AMQP\x02\x00\x00\x00", b"AMQP\x00\x00\x09\x02"]).into();
                "an unknown version"
            }
            1 => {
                octets.extend(start_ok());
                octets.extend(tune_ok(0x7ff, 131_072));
                let nowhere = ShortStr::literal("nowhere");
                octets.extend(encode(
                    0,
                    &connection::Open { virtual_host: nowhere, ..Default::default() },
                ));
                "a virtual host that there is not"
            }
            2 => {
                octets.extend(start_ok());
                octets.extend(tune_ok(1, 131_072));
                octets.extend(encode(0, &connection::Open::default()));
                octets.extend(encode(7, &channel::Open::default()));
                octets.extend(encode(3, &channel::Open::default()));
                "a channel more than was agreed"
            }
            3 => {
                octets.extend(start_ok());
                octets.extend(tune_ok(9, 4096));
                octets.extend(encode(0, &connection::Open::default()));
                octets.extend(encode(1, &channel::Open::default()));
                octets.extend([METHOD, 0, 1, 0, 0, 16, 1]);
                "a frame larger than was agreed"
            }
            _ => {
                octets.extend(start_ok());
                octets.extend(tune_ok(9, 4096));
                octets.extend(encode(0, &connection::Open::default()));
                octets.extend(encode(0, &connection::Open::default()));
                "opens twice"
            }
        };
        self.push(Step {
            connection: c,
            channel: n,
            text: format!("a connection of its own: {text}"),
            sent: Sent::Greeting(octets),
            then: Then::ConnectionEnds,
        });
    }
}

pub(crate) fn start_ok() -> Vec<u8> {
    let capabilities = TableBuf::new().with("authentication_failure_close", true);
    let properties = TableBuf::new().with("capabilities", &capabilities);
    encode(
        0,
        &connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: ShortStr::literal("PLAIN"),
            response: Secret(b"\0guest\0guest"),
            ..Default::default()
        },
    )
}

pub(crate) fn tune_ok(channel_max: u16, frame_max: u32) -> Vec<u8> {
    encode(0, &connection::TuneOk { channel_max, frame_max, heartbeat: 0 })
}

/// A message with these octets as its properties.
pub(crate) fn publish_raw(n: u16, key: &str, properties: &[u8], size: u64, body: &[u8]) -> Vec<u8> {
    let mut octets = encode(n, &basic::Publish { routing_key: short(key), ..Default::default() });
    octets.extend(frame(HEADER, n, &header(size, properties)));
    octets.extend(frame(BODY, n, body));
    octets
}

#[test]
fn an_empty_content_header_is_what_the_codec_writes() {
    assert_eq!(BasicProperties::default().to_vec(), [0, 0]);
    assert_eq!(MethodId { class_id: 60, method_id: 40 }, basic::Publish::default().id());
}
