//! A broker and a shorthand for telling stories about it.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod calls;
pub(crate) mod store;
pub(crate) mod stories;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ropewalk_broker::*;

/// Properties as the tests encode them: the number of an entry in a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Props {
    pub(crate) headers: Option<Table>,
    pub(crate) expiration: Option<String>,
    pub(crate) reply_to: Option<Vec<u8>>,
}

#[derive(Clone, Default)]
pub(crate) struct ListCodec(Arc<Mutex<Vec<Props>>>);

impl ListCodec {
    pub(crate) fn encode(&self, props: Props) -> Vec<u8> {
        let mut list = self.0.lock().expect("no test panics inside");
        list.push(props);
        (list.len() as u32 - 1).to_le_bytes().to_vec()
    }

    pub(crate) fn decode(&self, raw: &[u8]) -> Props {
        if raw.is_empty() {
            return Props::default();
        }
        let index = u32::from_le_bytes(raw.try_into().expect("four bytes"));
        self.0.lock().expect("no test panics inside")[index as usize].clone()
    }
}

impl PropertyCodec for ListCodec {
    fn headers(&self, properties: &[u8]) -> Table {
        self.decode(properties).headers.unwrap_or_default()
    }

    fn edit(&self, properties: &[u8], edit: &PropertyEdit<'_>) -> Vec<u8> {
        let mut props = self.decode(properties);
        if let Some(headers) = edit.headers {
            props.headers = Some(headers.clone());
        }
        if edit.remove_expiration {
            props.expiration = None;
        }
        if let Some(reply_to) = edit.reply_to {
            props.reply_to = Some(reply_to.to_vec());
        }
        self.encode(props)
    }
}

/// When the stories begin, for the wall clock.
const EPOCH: Duration = Duration::from_secs(1_600_000_000);

/// A broker, its codec, and the connections opened so far.
pub(crate) struct House {
    pub(crate) broker: Broker,
    pub(crate) codec: ListCodec,
    pub(crate) now: Duration,
}

/// The events of a drain, one string each:
/// `c<connection>/<channel> deliver <consumer> <tag> <body>[ again]`, `… return <key> <body>`,
/// `… ack <number>[ multiple]`, `… nack <number>`, `… cancel <consumer>`.
pub(crate) type Events = Vec<String>;

impl House {
    /// Of a broker that waits for ever for acknowledgements, so that no deadline is there but those
    /// that a test makes.
    pub(crate) fn new() -> House {
        let mut config = Config::default();
        config.consumer_timeout = None;
        House::with(config)
    }

    pub(crate) fn with(config: Config) -> House {
        House::with_codec(config, ListCodec::default())
    }

    pub(crate) fn with_codec(config: Config, codec: ListCodec) -> House {
        let mut seed = 0_u8;
        let entropy = move |bytes: &mut [u8]| {
            for byte in bytes {
                seed = seed.wrapping_mul(5).wrapping_add(1);
                *byte = seed;
            }
        };
        let broker = Broker::new(config, entropy, codec.clone());
        House { broker, codec, now: Duration::ZERO }
    }

    pub(crate) fn connection(&mut self, key: u64) -> ConnectionId {
        let open = OpenConnection { vhost: b"/", user: b"guest", key, cancel_notify: true };
        self.broker.open_connection(&open).expect("the virtual host exists")
    }

    /// Channel 1 of a new connection.
    pub(crate) fn channel(&mut self, key: u64) -> ChannelId {
        let connection = self.connection(key);
        self.broker.open_channel(connection, 1).expect("a fresh connection")
    }

    pub(crate) fn declare(&mut self, channel: ChannelId, name: &str) {
        self.declare_with(channel, name, "", &Table::new()).expect("declared");
    }

    /// `flags`: any of `durable`, `exclusive`, `auto-delete`, `passive`.
    pub(crate) fn declare_with(
        &mut self,
        channel: ChannelId,
        name: &str,
        flags: &str,
        arguments: &Table,
    ) -> Result<(String, usize, usize)> {
        let declare = QueueDeclare {
            name: name.as_bytes(),
            passive: flags.contains("passive"),
            durable: flags.contains("durable"),
            exclusive: flags.contains("exclusive"),
            auto_delete: flags.contains("auto-delete"),
            arguments,
        };
        let status = self.broker.declare_queue(channel, &declare)?;
        Ok((
            String::from_utf8_lossy(status.name).into_owned(),
            status.message_count,
            status.consumer_count,
        ))
    }

    /// The ready messages and the consumers of a queue.
    pub(crate) fn counts(&mut self, channel: ChannelId, name: &str) -> (usize, usize) {
        let (_, messages, consumers) =
            self.declare_with(channel, name, "passive", &Table::new()).expect("exists");
        (messages, consumers)
    }

    pub(crate) fn exchange(&mut self, channel: ChannelId, name: &str, kind: &str) {
        self.exchange_with(channel, name, kind, "", &Table::new()).expect("declared");
    }

    /// `flags`: any of `durable`, `auto-delete`, `internal`, `passive`.
    pub(crate) fn exchange_with(
        &mut self,
        channel: ChannelId,
        name: &str,
        kind: &str,
        flags: &str,
        arguments: &Table,
    ) -> Result<()> {
        let declare = ExchangeDeclare {
            name: name.as_bytes(),
            kind: kind.as_bytes(),
            passive: flags.contains("passive"),
            durable: flags.contains("durable"),
            auto_delete: flags.contains("auto-delete"),
            internal: flags.contains("internal"),
            arguments,
        };
        self.broker.declare_exchange(channel, &declare)
    }

    pub(crate) fn bind(&mut self, channel: ChannelId, source: &str, queue: &str, key: &str) {
        self.bind_with(channel, source, queue, key, &Table::new()).expect("bound");
    }

    pub(crate) fn bind_with(
        &mut self,
        channel: ChannelId,
        source: &str,
        queue: &str,
        key: &str,
        arguments: &Table,
    ) -> Result<()> {
        self.broker.bind_queue(channel, &bind(source, queue, key, arguments))
    }

    pub(crate) fn unbind(&mut self, channel: ChannelId, source: &str, queue: &str, key: &str) {
        let none = Table::new();
        self.broker.unbind_queue(channel, &bind(source, queue, key, &none)).expect("unbound");
    }

    pub(crate) fn bind_exchange(&mut self, channel: ChannelId, source: &str, to: &str, key: &str) {
        let none = Table::new();
        self.broker.bind_exchange(channel, &bind(source, to, key, &none)).expect("bound");
    }

    pub(crate) fn publish(&mut self, channel: ChannelId, exchange: &str, key: &str, body: &str) {
        let publish = Publish::new(exchange.as_bytes(), key.as_bytes(), body.as_bytes());
        self.broker.publish(channel, &publish).expect("published");
    }

    pub(crate) fn publish_mandatory(
        &mut self,
        channel: ChannelId,
        exchange: &str,
        key: &str,
        body: &str,
    ) {
        let mut publish = Publish::new(exchange.as_bytes(), key.as_bytes(), body.as_bytes());
        publish.mandatory = true;
        self.broker.publish(channel, &publish).expect("published");
    }

    /// Publishes with properties; `change` may set the rest.
    pub(crate) fn publish_with(
        &mut self,
        channel: ChannelId,
        (exchange, key, body): (&str, &str, &str),
        props: Props,
        change: impl FnOnce(&mut Publish<'_>),
    ) -> Result<()> {
        let raw = self.codec.encode(props.clone());
        let mut publish = Publish::new(exchange.as_bytes(), key.as_bytes(), body.as_bytes());
        publish.properties.raw = &raw;
        publish.properties.has_headers = props.headers.is_some();
        publish.properties.expiration = props.expiration.as_ref().map(|it| it.as_bytes());
        publish.properties.reply_to = props.reply_to.as_deref();
        change(&mut publish);
        self.broker.publish(channel, &publish)
    }

    /// Publishes bodies `from..to` to a queue through the default exchange.
    pub(crate) fn fill(&mut self, channel: ChannelId, queue: &str, bodies: std::ops::Range<u32>) {
        for body in bodies {
            self.publish(channel, "", queue, &body.to_string());
        }
    }

    pub(crate) fn consume(&mut self, channel: ChannelId, queue: &str, tag: &str) {
        self.consume_with(channel, queue, tag, "", &Table::new()).expect("consuming");
    }

    /// `flags`: any of `no-ack`, `exclusive`.
    pub(crate) fn consume_with(
        &mut self,
        channel: ChannelId,
        queue: &str,
        tag: &str,
        flags: &str,
        arguments: &Table,
    ) -> Result<String> {
        let consume = Consume {
            queue: queue.as_bytes(),
            consumer_tag: tag.as_bytes(),
            no_ack: flags.contains("no-ack"),
            exclusive: flags.contains("exclusive"),
            arguments,
        };
        let tag = self.broker.consume(channel, &consume)?;
        Ok(String::from_utf8_lossy(tag).into_owned())
    }

    /// Fetches one message: tag, body, whether it came before, how many are left.
    pub(crate) fn get(
        &mut self,
        channel: ChannelId,
        queue: &str,
    ) -> Option<(u64, String, bool, usize)> {
        let fetch = self.broker.get(channel, queue.as_bytes(), false).expect("queue exists");
        let fetched = fetch.message()?;
        let body = String::from_utf8_lossy(fetched.message.body()).into_owned();
        Some((fetched.delivery_tag, body, fetched.redelivered, fetched.message_count))
    }

    /// The bodies of all ready messages, taken out.
    pub(crate) fn bodies(&mut self, channel: ChannelId, queue: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        while let Some(fetched) =
            self.broker.get(channel, queue.as_bytes(), true).expect("queue exists").message()
        {
            bodies.push(String::from_utf8_lossy(fetched.message.body()).into_owned());
        }
        bodies
    }

    pub(crate) fn qos(&mut self, channel: ChannelId, count: u16, global: bool) {
        self.broker.qos(channel, 0, count, global).expect("qos");
    }

    pub(crate) fn ack(&mut self, channel: ChannelId, tag: u64) {
        self.broker.ack(channel, tag, false).expect("acknowledged");
    }

    pub(crate) fn advance(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.broker.set_wall_clock(EPOCH + self.now);
        self.broker.tick(self.now);
    }

    pub(crate) fn drain(&mut self) -> Events {
        let mut events = Vec::new();
        while let Some(event) = self.broker.next_event() {
            events.push(show(&event));
        }
        events
    }
}

pub(crate) fn bind<'a>(
    source: &'a str,
    destination: &'a str,
    key: &'a str,
    arguments: &'a Table,
) -> Bind<'a> {
    Bind {
        source: source.as_bytes(),
        destination: destination.as_bytes(),
        routing_key: key.as_bytes(),
        arguments,
    }
}

pub(crate) fn show(event: &Event<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let at = |to: &Destination| format!("c{}/{}", to.key, to.channel);
    match event {
        Event::Delivered(it) => {
            let again = if it.redelivered { " again" } else { "" };
            let (tag, body) = (text(it.consumer_tag), text(it.message.body()));
            format!("{} deliver {tag} {} {body}{again}", at(&it.to), it.delivery_tag)
        }
        Event::Returned { to, message } => {
            let (key, body) = (text(message.routing_key()), text(message.body()));
            format!("{} return {key} {body}", at(to))
        }
        Event::Confirmed { to, delivery_tag, multiple, taken } => {
            let kind = if *taken { "ack" } else { "nack" };
            let multiple = if *multiple { " multiple" } else { "" };
            format!("{} {kind} {delivery_tag}{multiple}", at(to))
        }
        Event::Cancelled { to, consumer_tag } => {
            format!("{} cancel {}", at(to), text(consumer_tag))
        }
        other => format!("{other:?}"),
    }
}

/// Asserts that a call was refused with this reply text.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T>, text: &str) {
    let error = result.expect_err("the call was to be refused");
    assert_eq!(error.to_string(), text);
}
