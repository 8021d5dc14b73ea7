//! A connection that a script drives by hand: blocking, one frame at a time.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use ropewalk_amqp::codec::method::{channel, connection};
use ropewalk_amqp::codec::{
    Assembler, BasicProperties, EncodeMethod, Encoder, FrameKind, Frames, Method, PROTOCOL_HEADER,
    Secret, ShortStr, TableBuf,
};

use crate::normal::in_order;

/// What both agree on in the handshake.
pub(crate) const FRAME_MAX: u32 = 131_072;
/// Nothing here takes RabbitMQ as long as this: whoever is silent for it says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A method that answers, and what belongs to it.
    Answer(String),
    /// A message that was delivered or returned, or a consumer cancelled.
    Event(String),
    /// A confirm: its tag, whether for all before it too, and whether it is a good one.
    Confirm(u64, bool, bool),
    /// The answer to a ping.
    Pong,
    /// The channel, or with it the connection, was closed, or has agreed to be.
    Closed(String),
    /// The other side hung up.
    Gone,
}

pub(crate) struct Wire {
    stream: TcpStream,
    received: BytesMut,
    assemblers: BTreeMap<u16, Assembler>,
    /// The channels that are open.
    pub(crate) open: Vec<u16>,
    pub(crate) is_open: bool,
}

pub(crate) fn encode(channel: u16, method: &impl EncodeMethod) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::frames_in(&mut out, FRAME_MAX).method(channel, method);
    out
}

impl Wire {
    /// A connection that has not been greeted yet.
    pub(crate) fn bare(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire {
            stream,
            received: BytesMut::new(),
            assemblers: BTreeMap::new(),
            open: Vec::new(),
            is_open: true,
        }
    }

    /// A connection to `/` that is open.
    pub(crate) fn connect(address: SocketAddr) -> Wire {
        let mut wire = Wire::bare(address);
        let capabilities = TableBuf::new()
            .with("consumer_cancel_notify", true)
            .with("basic.nack", true)
            .with("publisher_confirms", true);
        let properties = TableBuf::new().with("capabilities", &capabilities);
        let start_ok = connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: ShortStr::literal("PLAIN"),
            response: Secret(b"\0guest\0guest"),
            ..Default::default()
        };
        wire.send(PROTOCOL_HEADER.as_ref());
        wire.receive();
        wire.send(&encode(0, &start_ok));
        wire.receive();
        wire.send(&encode(
            0,
            &connection::TuneOk { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 0 },
        ));
        wire.send(&encode(0, &connection::Open::default()));
        let (_, opened) = wire.receive();
        assert!(matches!(&opened, Seen::Answer(text) if text.contains("OpenOk")), "{opened:?}");
        wire
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        // What is closed already says so when it is read.
        let _ = self.stream.write_all(octets);
    }

    pub(crate) fn open_channel(&mut self, number: u16) {
        self.send(&encode(number, &channel::Open::default()));
        loop {
            match self.receive_on(number).1 {
                Seen::Answer(text) if text.contains("OpenOk") => break,
                // RabbitMQ may send something to a channel that it has just closed.
                Seen::Event(_) | Seen::Confirm(..) => {}
                other => panic!("no channel: {other:?}"),
            }
        }
    }

    pub(crate) fn ping(&mut self, number: u16) {
        self.send(&encode(number, &channel::Flow { active: true }));
    }

    /// The next thing on this channel, or the connection's end.
    fn receive_on(&mut self, number: u16) -> (u16, Seen) {
        loop {
            let (channel, seen) = self.receive();
            if channel == number || seen == Seen::Gone || channel == 0 {
                return (channel, seen);
            }
        }
    }

    /// The next whole method, with its content. Answers the closing of a channel or connection.
    pub(crate) fn receive(&mut self) -> (u16, Seen) {
        loop {
            if let Some((channel, seen)) = self.parse() {
                if let Seen::Closed(text) = &seen {
                    self.closed(channel, text.starts_with("Close "));
                }
                return (channel, seen);
            }
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => return (0, Seen::Answer(format!("silence: {}", error.kind()))),
            }
        }
        self.is_open = false;
        self.open.clear();
        (0, Seen::Gone)
    }

    /// By the other side, which then has to be answered, or as it was asked to.
    fn closed(&mut self, channel: u16, by_other: bool) {
        match (channel, by_other) {
            (0, true) => self.send(&encode(0, &connection::CloseOk {})),
            (0, false) => {}
            (_, true) => self.send(&encode(channel, &channel::CloseOk {})),
            (_, false) => {}
        }
        self.open.retain(|&open| channel != 0 && open != channel);
        self.assemblers.remove(&channel);
        self.is_open &= channel != 0;
    }

    fn parse(&mut self) -> Option<(u16, Seen)> {
        if self.received.len() == PROTOCOL_HEADER.as_ref().len()
            && self.received.starts_with(b"AMQP")
        {
            let version = self.received.split();
            return Some((0, Seen::Answer(format!("{:?}", &version[4..]))));
        }
        let mut frames = Frames::new(&mut self.received, 0);
        while let Some(frame) = frames.next_frame().expect("good frames") {
            if frame.kind == FrameKind::Heartbeat {
                continue;
            }
            let channel = frame.channel;
            let assembler =
                self.assemblers.entry(channel).or_insert_with(|| Assembler::new(u64::MAX));
            let Some(command) = assembler.push(frame).expect("good commands") else { continue };
            let mut text = match &command.method {
                Method::ChannelFlowOk(_) => return Some((channel, Seen::Pong)),
                Method::BasicAck(ack) => {
                    return Some((channel, Seen::Confirm(ack.delivery_tag, ack.multiple, true)));
                }
                Method::BasicNack(nack) => {
                    return Some((channel, Seen::Confirm(nack.delivery_tag, nack.multiple, false)));
                }
                Method::ConnectionClose(close) => {
                    return Some((channel, Seen::Closed(format!("{close:?}"))));
                }
                Method::ChannelClose(close) => {
                    return Some((channel, Seen::Closed(format!("{close:?}"))));
                }
                Method::ChannelCloseOk(_) | Method::ConnectionCloseOk(_) => {
                    return Some((channel, Seen::Closed("as asked".to_owned())));
                }
                // It tells of the broker itself.
                Method::ConnectionStart(_) => "Start".to_owned(),
                method => format!("{method:?}"),
            };
            if matches!(command.method, Method::ChannelOpenOk(_)) && !self.open.contains(&channel) {
                self.open.push(channel);
            }
            if let Some(content) = &command.content {
                let properties = BasicProperties::decode(&content.properties).expect("good ones");
                text += &format!(" {} {}", present(&properties), digest(&content.body));
            }
            let is_event = matches!(
                command.method,
                Method::BasicDeliver(_) | Method::BasicReturn(_) | Method::BasicCancel(_)
            );
            return Some((channel, if is_event { Seen::Event(text) } else { Seen::Answer(text) }));
        }
        None
    }
}

/// The properties that are there.
fn present(properties: &BasicProperties<'_>) -> String {
    let headers = properties.headers.map(|headers| format!(" headers {}", in_order(headers)));
    let text = format!("{:?}", BasicProperties { headers: None, ..*properties });
    let absent: &[&str] = &[
        "content_type",
        "content_encoding",
        "headers",
        "delivery_mode",
        "priority",
        "correlation_id",
        "reply_to",
        "expiration",
        "message_id",
        "timestamp",
        "message_type",
        "user_id",
        "app_id",
        "cluster_id",
    ];
    let mut text =
        absent.iter().fold(text, |text, name| text.replace(&format!("{name}: None"), ""));
    while text.contains(", , ") {
        text = text.replace(", , ", ", ");
    }
    text + &headers.unwrap_or_default()
}

fn digest(body: &[u8]) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(24)]);
    let sum =
        body.iter().fold(0_u32, |sum, &octet| sum.wrapping_mul(31).wrapping_add(octet.into()));
    format!("{start:?} {} octets, {sum:08x}", body.len())
}
