//! A client in the hands of a test: it sends methods and expects frames.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ropewalk_amqp::codec::method::{basic, channel, connection, queue};
use ropewalk_amqp::codec::{
    BasicProperties, ContentHeader, EncodeMethod, Encoder, FrameKind, Frames, LongStr, Method,
    PROTOCOL_HEADER, Secret, ShortStr, TableBuf,
};
use ropewalk_amqp::server::{Config, Server};
use ropewalk_reactor::Simulation;
use ropewalk_reactor::simulation::Peer;

pub(crate) const HERE: &str = "127.0.0.1:5672";

/// A server on a simulated network.
pub(crate) struct World {
    pub(crate) simulation: Simulation,
    pub(crate) server: Server,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> World {
        World::on(Simulation::calm(), config)
    }

    pub(crate) fn on(mut simulation: Simulation, config: Config) -> World {
        let server = Server::new(config);
        simulation.reactor().listen(HERE, server.clone()).expect("a free address");
        World { simulation, server }
    }

    /// Lets everything happen that happens without waiting.
    pub(crate) fn run(&mut self) {
        self.simulation.run_for(Duration::from_millis(5));
    }

    /// A client that has said nothing yet.
    pub(crate) fn dial(&mut self) -> Client {
        let peer = self.simulation.dial(HERE).expect("a good address");
        self.run();
        Client { peer, received: BytesMut::new(), frames: VecDeque::new() }
    }

    /// A client whose connection is open.
    pub(crate) fn connect(&mut self) -> Client {
        let mut client = self.dial();
        client.peer.write(&opening(&Opening::default()));
        self.run();
        assert!(
            matches!(client.next(self), Some(Seen::Method(0, name, _)) if name == "connection.start")
        );
        assert!(
            matches!(client.next(self), Some(Seen::Method(0, name, _)) if name == "connection.tune")
        );
        client.expect(self, 0, connection::OpenOk::default());
        client
    }

    /// A client whose connection and channel 1 are open, opened in this way.
    pub(crate) fn open_as(&mut self, opened: &Opening<'_>) -> Client {
        let mut client = self.dial();
        client.raw(self, &opening(opened));
        for method in ["connection.start", "connection.tune", "connection.open-ok"] {
            let seen = client.next(self);
            assert!(matches!(seen, Some(Seen::Method(0, name, _)) if name == method), "{seen:?}");
        }
        client.open_channel(self, 1);
        client
    }

    /// A client whose connection and channel 1 are open.
    pub(crate) fn open(&mut self) -> Client {
        let mut client = self.connect();
        client.open_channel(self, 1);
        client
    }

    /// What the broker holds: messages stored.
    pub(crate) fn messages(&self) -> usize {
        self.server.with_broker(|broker| broker.totals().messages).unwrap_or(0)
    }

    /// What the broker holds: open connections.
    pub(crate) fn connections(&self) -> usize {
        self.server.with_broker(|broker| broker.totals().connections).unwrap_or(0)
    }
}

/// What a client says to open its connection.
pub(crate) struct Opening<'a> {
    pub(crate) capabilities: &'a [&'a str],
    pub(crate) mechanism: &'static str,
    pub(crate) response: &'a [u8],
    pub(crate) tune_ok: connection::TuneOk,
    pub(crate) vhost: &'static str,
}

impl Default for Opening<'_> {
    fn default() -> Self {
        Opening {
            capabilities: &["consumer_cancel_notify", "authentication_failure_close"],
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            tune_ok: connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 },
            vhost: "/",
        }
    }
}

/// All octets of a handshake, as a client in a hurry sends them.
pub(crate) fn opening(opening: &Opening<'_>) -> Vec<u8> {
    let mut octets = PROTOCOL_HEADER.to_vec();
    octets.extend(start_ok(opening));
    octets.extend(method(0, &opening.tune_ok));
    octets.extend(method(0, &open(opening.vhost)));
    octets
}

pub(crate) fn start_ok(opening: &Opening<'_>) -> Vec<u8> {
    let capabilities =
        opening.capabilities.iter().fold(TableBuf::new(), |table, name| table.with(name, true));
    let properties = TableBuf::new().with("product", "tests").with("capabilities", &capabilities);
    let start_ok = connection::StartOk {
        client_properties: properties.as_table(),
        mechanism: ShortStr::literal(opening.mechanism),
        response: Secret(opening.response),
        ..Default::default()
    };
    method(0, &start_ok)
}

pub(crate) fn open(vhost: &'static str) -> connection::Open<'static> {
    connection::Open { virtual_host: ShortStr::literal(vhost), ..Default::default() }
}

/// The octets of a method frame.
pub(crate) fn method(channel: u16, method: &impl EncodeMethod) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().frames_to(&mut out, 0).method(channel, method);
    out
}

/// The octets of any frame.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(0xCE);
    out
}

/// The payload of a content header.
pub(crate) fn header(body_size: u64, properties: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ContentHeader { class_id: 60, weight: 0, body_size, properties }.encode(&mut out);
    out
}

/// The octets of a `basic.publish` to a queue, with its content.
pub(crate) fn publish(channel: u16, queue: &str, body: &[u8]) -> Vec<u8> {
    publish_with(channel, &to(queue), &BasicProperties::default(), body)
}

pub(crate) fn publish_with(
    channel: u16,
    publish: &basic::Publish<'_>,
    properties: &BasicProperties<'_>,
    body: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    let properties = properties.to_vec();
    Encoder::new().frames_to(&mut out, 131_072).content_copied(channel, publish, &properties, body);
    out
}

/// A publish to a queue by the default exchange.
pub(crate) fn to(queue: &str) -> basic::Publish<'_> {
    basic::Publish { routing_key: ShortStr::cut(queue), ..Default::default() }
}

/// A frame as the client saw it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// Channel, name, and the octets of the payload.
    Method(u16, &'static str, Vec<u8>),
    /// Channel, size of the body, properties.
    Header(u16, u64, Vec<u8>),
    Body(u16, Vec<u8>),
    Heartbeat,
}

/// A message that came with `basic.deliver`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delivered {
    pub(crate) channel: u16,
    pub(crate) consumer_tag: String,
    pub(crate) delivery_tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) routing_key: String,
    pub(crate) properties: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Client {
    pub(crate) peer: Peer,
    received: BytesMut,
    frames: VecDeque<Seen>,
}

impl Client {
    /// Sends a method and lets the server deal with it.
    pub(crate) fn send(&mut self, world: &mut World, channel: u16, sent: &impl EncodeMethod) {
        self.raw(world, &method(channel, sent));
    }

    pub(crate) fn raw(&mut self, world: &mut World, octets: &[u8]) {
        self.peer.write(octets);
        world.run();
    }

    /// Sends a method and expects its answer, and nothing else.
    #[track_caller]
    pub(crate) fn call<'a>(
        &mut self,
        world: &mut World,
        channel: u16,
        sent: &impl EncodeMethod,
        answer: impl Into<Method<'a>>,
    ) {
        self.send(world, channel, sent);
        self.expect(world, channel, answer);
    }

    #[track_caller]
    pub(crate) fn open_channel(&mut self, world: &mut World, channel: u16) {
        self.call(world, channel, &channel::Open::default(), channel::OpenOk::default());
    }

    #[track_caller]
    pub(crate) fn declare(&mut self, world: &mut World, name: &str) {
        let queue = ShortStr::cut(name);
        let declare = queue::Declare { queue, ..Default::default() };
        let declare_ok = queue::DeclareOk { queue, ..Default::default() };
        self.call(world, 1, &declare, declare_ok);
    }

    #[track_caller]
    pub(crate) fn consume(&mut self, world: &mut World, queue: &str, tag: &str, no_ack: bool) {
        let consumer_tag = ShortStr::cut(tag);
        let consume = basic::Consume {
            queue: ShortStr::cut(queue),
            consumer_tag,
            no_ack,
            ..Default::default()
        };
        self.call(world, 1, &consume, basic::ConsumeOk { consumer_tag });
    }

    #[track_caller]
    pub(crate) fn qos(&mut self, world: &mut World, prefetch_count: u16) {
        let qos = basic::Qos { prefetch_count, ..Default::default() };
        self.call(world, 1, &qos, basic::QosOk {});
    }

    pub(crate) fn publish(&mut self, world: &mut World, queue: &str, body: impl AsRef<[u8]>) {
        self.raw(world, &publish(1, queue, body.as_ref()));
    }

    pub(crate) fn ack(&mut self, world: &mut World, delivery_tag: u64) {
        self.send(world, 1, &basic::Ack { delivery_tag, multiple: false });
    }

    fn parse(&mut self) {
        self.received.extend_from_slice(&self.peer.read());
        let mut frames = Frames::new(&mut self.received, 0);
        while let Some(frame) = frames.next_frame().expect("the server's frames are legal") {
            let (channel, payload) = (frame.channel, frame.payload.to_vec());
            self.frames.push_back(match frame.kind {
                FrameKind::Method => {
                    let name = Method::decode(&payload).expect("a legal method").name();
                    Seen::Method(channel, name, payload)
                }
                FrameKind::Header => {
                    let header = ContentHeader::decode(&payload).expect("a legal header");
                    Seen::Header(channel, header.body_size, header.properties.to_vec())
                }
                FrameKind::Body => Seen::Body(channel, payload),
                FrameKind::Heartbeat => Seen::Heartbeat,
            });
        }
    }

    /// Checks that all that came are whole, legal frames, and forgets them.
    pub(crate) fn parse_all(&mut self) {
        self.parse();
        self.frames.clear();
    }

    /// The next frame that came, if there is one.
    pub(crate) fn next(&mut self, world: &mut World) -> Option<Seen> {
        world.run();
        self.next_now()
    }

    pub(crate) fn next_now(&mut self) -> Option<Seen> {
        self.parse();
        self.frames.pop_front()
    }

    /// All octets that came and were not yet looked at.
    pub(crate) fn octets(&mut self, world: &mut World) -> Bytes {
        world.run();
        self.received.extend_from_slice(&self.peer.read());
        self.received.split().freeze()
    }

    #[track_caller]
    pub(crate) fn expect<'a>(
        &mut self,
        world: &mut World,
        channel: u16,
        expected: impl Into<Method<'a>>,
    ) {
        let expected = expected.into();
        match self.next(world) {
            Some(Seen::Method(number, _, payload)) => {
                let found = Method::decode(&payload).expect("a legal method");
                assert_eq!((number, found), (channel, expected));
            }
            other => panic!("expected {expected:?}, found {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn expect_nothing(&mut self, world: &mut World) {
        assert_eq!(self.next(world), None);
    }

    /// Expects content after a method: its properties and its body.
    #[track_caller]
    pub(crate) fn expect_content(&mut self, channel: u16) -> (Vec<u8>, Vec<u8>) {
        let Some(Seen::Header(number, size, properties)) = self.next_now() else {
            panic!("expected a content header")
        };
        assert_eq!(number, channel);
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            let Some(Seen::Body(number, piece)) = self.next_now() else {
                panic!("expected a body frame after {} octets of {size}", body.len())
            };
            assert_eq!(number, channel);
            body.extend_from_slice(&piece);
        }
        assert_eq!(body.len() as u64, size);
        (properties, body)
    }

    /// The next message delivered, if the next frame is one.
    #[track_caller]
    pub(crate) fn delivery(&mut self, world: &mut World) -> Option<Delivered> {
        world.run();
        self.delivery_now()
    }

    #[track_caller]
    pub(crate) fn delivery_now(&mut self) -> Option<Delivered> {
        let (channel, payload) = match self.next_now()? {
            Seen::Method(channel, "basic.deliver", payload) => (channel, payload),
            other => panic!("expected a delivery, found {other:?}"),
        };
        let Ok(Method::BasicDeliver(deliver)) = Method::decode(&payload) else { unreachable!() };
        let (properties, body) = self.expect_content(channel);
        Some(Delivered {
            channel,
            consumer_tag: deliver.consumer_tag.to_string(),
            delivery_tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
            routing_key: deliver.routing_key.to_string(),
            properties,
            body,
        })
    }

    /// The bodies of all deliveries that have come.
    #[track_caller]
    pub(crate) fn bodies(&mut self, world: &mut World) -> Vec<String> {
        world.run();
        std::iter::from_fn(|| self.delivery_now())
            .map(|delivered| String::from_utf8(delivered.body).expect("text"))
            .collect()
    }

    /// Expects the connection to be closed by the server, with this text and failing method.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, world: &mut World, text: &str, failing: (u16, u16)) {
        let (code, text) = split(text);
        self.expect(
            world,
            0,
            connection::Close {
                reply_code: code,
                reply_text: ShortStr::cut_text(text),
                class_id: failing.0,
                method_id: failing.1,
            },
        );
    }

    /// Expects a channel to be closed by the server, with this text and failing method.
    #[track_caller]
    pub(crate) fn expect_channel_close(
        &mut self,
        world: &mut World,
        channel: u16,
        text: &str,
        failing: (u16, u16),
    ) {
        let (code, text) = split(text);
        self.expect(
            world,
            channel,
            channel::Close {
                reply_code: code,
                reply_text: ShortStr::cut_text(text),
                class_id: failing.0,
                method_id: failing.1,
            },
        );
    }

    /// Whether the server has closed its sending half.
    pub(crate) fn is_ended(&mut self, world: &mut World) -> bool {
        world.run();
        self.parse();
        self.peer.is_ended()
    }
}

/// `404 NOT_FOUND - …` as the code and the text.
fn split(text: &str) -> (u16, &str) {
    let (code, text) = text.split_once(' ').expect("a code and a text");
    (code.parse().expect("a number"), text)
}

/// A table with one field.
pub(crate) fn argument(name: &str, value: impl Into<i64>) -> TableBuf {
    TableBuf::new().with(name, value.into())
}

pub(crate) fn text(octets: &'static str) -> LongStr<'static> {
    LongStr(octets.as_bytes())
}
