//! A client that never waits: it sends what it is told to, and reads whatever has come. All that
//! it promises or is promised goes into the record.
//!
//! Its channel 1 has confirms, channel 2 transactions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;
use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, exchange, queue, tx};
use ropewalk_amqp::codec::{
    Assembler, BasicProperties, Command, Content, EncodeMethod, Encoder, FrameKind, Frames, Method,
    PROTOCOL_HEADER, Secret, ShortStr, TableBuf,
};
use ropewalk_reactor::simulation::Peer;

use super::layout::{ALL, DEATH, QUEUES, queue_named};
use super::names::{Names, Wish};
use super::record::{CopyId, Record, Sighting};

/// The channel with confirms, and the one with transactions.
pub(crate) const CONFIRMED: u16 = 1;
pub(crate) const COMMITTED: u16 = 2;

/// What has been asked for and not been answered.
#[derive(Debug)]
enum Asked {
    /// Nothing of consequence.
    This(&'static str),
    Get(usize),
    Commit(usize),
    Count(usize),
    Purge(usize),
    Wish(Wish),
}

pub(crate) struct Client {
    pub(crate) id: u64,
    peer: Peer,
    received: BytesMut,
    assemblers: BTreeMap<u16, Assembler>,
    /// Grows with all that is sent, so that one can say what came before what.
    sent: u64,
    asked: BTreeMap<u16, VecDeque<(u64, Asked)>>,
    /// By their tags: messages without a confirm, and when they were sent.
    unconfirmed: BTreeMap<u64, (u64, usize)>,
    next_tag: u64,
    /// Deliveries that are not acknowledged, by channel and tag.
    held: BTreeMap<(u16, u64), CopyId>,
    /// Acknowledgements on their way, and when they were sent.
    acks: VecDeque<(u64, CopyId)>,
    pub(crate) consuming: BTreeSet<usize>,
    /// The transaction under way: its number, and what is in it.
    transaction: Option<(usize, Vec<usize>, Vec<CopyId>)>,
    /// Messages from each queue, in the order in which they came.
    pub(crate) found: Vec<Vec<CopyId>>,
    /// Ready messages that the server counted, by queue.
    pub(crate) counted: BTreeMap<usize, u32>,
    /// The server may say goodbye.
    pub(crate) may_end: bool,
    pub(crate) is_ended: bool,
    said_goodbye: bool,
}

impl Client {
    /// Takes a connection through its handshake, and opens its channels.
    pub(crate) fn open(id: u64, peer: Peer) -> Client {
        let mut client = Client {
            id,
            peer,
            received: BytesMut::new(),
            assemblers: BTreeMap::new(),
            sent: 0,
            asked: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            next_tag: 1,
            held: BTreeMap::new(),
            acks: VecDeque::new(),
            consuming: BTreeSet::new(),
            transaction: None,
            found: vec![Vec::new(); QUEUES.len()],
            counted: BTreeMap::new(),
            may_end: false,
            is_ended: false,
            said_goodbye: false,
        };
        client.greet();
        for number in [CONFIRMED, COMMITTED] {
            client.ask(number, &channel::Open::default(), Asked::This("channel.open-ok"));
        }
        client.ask(CONFIRMED, &confirm::Select::default(), Asked::This("confirm.select-ok"));
        client.ask(COMMITTED, &tx::Select {}, Asked::This("tx.select-ok"));
        client
    }

    fn greet(&mut self) {
        let known = ["consumer_cancel_notify", "connection.blocked"];
        let known = known.iter().fold(TableBuf::new(), |table, name| table.with(name, true));
        let properties = TableBuf::new().with("capabilities", &known);
        self.peer.write(&PROTOCOL_HEADER);
        let start_ok = connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: ShortStr::literal("PLAIN"),
            response: Secret(b"\0guest\0guest"),
            ..Default::default()
        };
        self.ask(0, &start_ok, Asked::This("connection.start"));
        let tune_ok = connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 };
        self.ask(0, &tune_ok, Asked::This("connection.tune"));
        let open = connection::Open { virtual_host: ShortStr::literal("/"), ..Default::default() };
        self.ask(0, &open, Asked::This("connection.open-ok"));
    }

    // What it sends.

    fn send(&mut self, channel: u16, method: &impl EncodeMethod) {
        let mut octets = Vec::new();
        Encoder::new().frames_to(&mut octets, 131_072).method(channel, method);
        self.peer.write(&octets);
        self.sent += 1;
    }

    fn ask(&mut self, channel: u16, method: &impl EncodeMethod, asked: Asked) {
        self.send(channel, method);
        self.asked.entry(channel).or_default().push_back((self.sent, asked));
    }

    /// Declares the queues, the exchanges, and who gets what.
    pub(crate) fn lay_out(&mut self) {
        for name in [ALL, DEATH] {
            let declare = exchange::Declare {
                exchange: ShortStr::cut(name),
                exchange_type: ShortStr::literal("fanout"),
                durable: true,
                ..Default::default()
            };
            self.ask(CONFIRMED, &declare, Asked::Wish(Wish::Exchange(name)));
        }
        for queue in &QUEUES {
            let arguments = queue.arguments();
            let declare = queue::Declare {
                queue: ShortStr::cut(queue.name),
                durable: queue.durable,
                arguments: arguments.as_table(),
                ..Default::default()
            };
            self.ask(CONFIRMED, &declare, Asked::Wish(Wish::Queue(queue.name, queue.durable)));
            let exchange = match queue.name {
                "dead" => DEATH,
                _ if queue.gets_all => ALL,
                _ => continue,
            };
            let bind = queue::Bind {
                queue: ShortStr::cut(queue.name),
                exchange: ShortStr::cut(exchange),
                ..Default::default()
            };
            let wish = Wish::Binding(exchange, queue.name, queue.durable);
            self.ask(CONFIRMED, &bind, Asked::Wish(wish));
        }
    }

    /// Declares one more queue, as others may at the same time.
    pub(crate) fn declare_common(&mut self, name: &'static str) {
        let queue = ShortStr::cut(name);
        let declare = queue::Declare { queue, durable: true, ..Default::default() };
        self.ask(CONFIRMED, &declare, Asked::Wish(Wish::Queue(name, true)));
    }

    /// Declares a queue, or deletes it, unless somebody else is at it.
    pub(crate) fn change(&mut self, names: &mut Names, name: &'static str, declares: bool) {
        if !names.touch(name, self.id, declares) {
            return;
        }
        if declares {
            return self.declare_common(name);
        }
        let delete = queue::Delete { queue: ShortStr::cut(name), ..Default::default() };
        self.ask(CONFIRMED, &delete, Asked::Wish(Wish::NoQueue(name)));
    }

    /// Publishes to a queue, or with `None` to all.
    pub(crate) fn publish(
        &mut self,
        record: &mut Record,
        queue: Option<usize>,
        persistent: bool,
        size: usize,
    ) {
        let number = self.publish_on(CONFIRMED, record, queue, persistent, size, None);
        self.unconfirmed.insert(self.next_tag, (self.sent, number));
        self.next_tag += 1;
    }

    /// Publishes in a transaction.
    pub(crate) fn publish_later(&mut self, record: &mut Record, queue: Option<usize>, size: usize) {
        let number = self.begin(record).0;
        let message = self.publish_on(COMMITTED, record, queue, true, size, Some(number));
        self.begin(record).1.push(message);
    }

    fn begin(&mut self, record: &mut Record) -> &mut (usize, Vec<usize>, Vec<CopyId>) {
        self.transaction.get_or_insert_with(|| (record.transaction(), Vec::new(), Vec::new()))
    }

    fn publish_on(
        &mut self,
        channel: u16,
        record: &mut Record,
        queue: Option<usize>,
        persistent: bool,
        size: usize,
        transaction: Option<usize>,
    ) -> usize {
        let all = || (0..QUEUES.len()).filter(|&queue| QUEUES[queue].gets_all).collect();
        let queues: Vec<usize> = queue.map_or_else(all, |queue| vec![queue]);
        let stream = self.id << 16 | u64::from(channel);
        let number = record.published(stream, &queues, persistent, size, transaction);
        let (exchange, routing_key) = queue.map_or((ALL, ""), |queue| ("", QUEUES[queue].name));
        let publish = basic::Publish {
            exchange: ShortStr::cut(exchange),
            routing_key: ShortStr::cut(routing_key),
            ..Default::default()
        };
        let properties = BasicProperties {
            delivery_mode: Some(if persistent { 2 } else { 1 }),
            priority: Some((number % 4) as u8),
            ..Default::default()
        };
        let (properties, body) = (properties.to_vec(), record.body(number));
        let mut octets = Vec::new();
        let mut encoder = Encoder::new();
        encoder.frames_to(&mut octets, 131_072).content_copied(
            channel,
            &publish,
            &properties,
            &body,
        );
        self.peer.write(&octets);
        self.sent += 1;
        number
    }

    pub(crate) fn commit(&mut self, record: &mut Record) {
        let Some((number, messages, acked)) = self.transaction.take() else { return };
        self.held.retain(|_, copy| !acked.contains(copy));
        record.commits(number, messages, acked);
        self.ask(COMMITTED, &tx::Commit {}, Asked::Commit(number));
    }

    /// What was acknowledged in the transaction is held again.
    pub(crate) fn roll_back(&mut self) {
        if self.transaction.take().is_none() {
            return;
        }
        self.ask(COMMITTED, &tx::Rollback {}, Asked::This("tx.rollback-ok"));
    }

    pub(crate) fn consume(&mut self, queue: usize) {
        self.consuming.insert(queue);
        let consume = basic::Consume {
            queue: ShortStr::cut(QUEUES[queue].name),
            consumer_tag: ShortStr::cut(QUEUES[queue].name),
            no_ack: QUEUES[queue].no_ack,
            ..Default::default()
        };
        self.ask(CONFIRMED, &consume, Asked::This("basic.consume-ok"));
    }

    pub(crate) fn cancel(&mut self, queue: usize) {
        self.consuming.remove(&queue);
        let cancel =
            basic::Cancel { consumer_tag: ShortStr::cut(QUEUES[queue].name), ..Default::default() };
        self.ask(CONFIRMED, &cancel, Asked::This("basic.cancel-ok"));
    }

    pub(crate) fn qos(&mut self, prefetch_count: u16) {
        let qos = basic::Qos { prefetch_count, ..Default::default() };
        self.ask(CONFIRMED, &qos, Asked::This("basic.qos-ok"));
    }

    pub(crate) fn get(&mut self, channel: u16, queue: usize) {
        let name = ShortStr::cut(QUEUES[queue].name);
        let no_ack = QUEUES[queue].no_ack;
        let get = basic::Get { queue: name, no_ack, ..Default::default() };
        self.ask(channel, &get, Asked::Get(queue));
    }

    /// Asks how many messages are ready.
    pub(crate) fn count(&mut self, queue: usize) {
        let queue_name = ShortStr::cut(QUEUES[queue].name);
        let declare = queue::Declare { queue: queue_name, passive: true, ..Default::default() };
        self.ask(CONFIRMED, &declare, Asked::Count(queue));
    }

    pub(crate) fn purge(&mut self, record: &mut Record, queue: usize) {
        record.purges(queue);
        let purge = queue::Purge { queue: ShortStr::cut(QUEUES[queue].name), ..Default::default() };
        self.ask(CONFIRMED, &purge, Asked::Purge(queue));
    }

    /// Deliveries that are not acknowledged on the channel with confirms.
    pub(crate) fn held(&self, channel: u16) -> Vec<u64> {
        let held = self.held.range((channel, 0)..=(channel, u64::MAX));
        held.map(|(&(_, tag), _)| tag).collect()
    }

    /// What `multiple` covers.
    fn up_to(&self, channel: u16, tag: u64, multiple: bool) -> Vec<(u64, CopyId)> {
        let from = if multiple { 0 } else { tag };
        let held = self.held.range((channel, from)..=(channel, tag));
        held.map(|(&(_, tag), &copy)| (tag, copy)).collect()
    }

    pub(crate) fn ack(&mut self, record: &mut Record, delivery_tag: u64, multiple: bool) {
        self.send(CONFIRMED, &basic::Ack { delivery_tag, multiple });
        for (tag, copy) in self.up_to(CONFIRMED, delivery_tag, multiple) {
            self.held.remove(&(CONFIRMED, tag));
            record.acked(copy, false);
            self.acks.push_back((self.sent, copy));
        }
    }

    pub(crate) fn nack(
        &mut self,
        record: &mut Record,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
    ) {
        match multiple {
            true => self.send(CONFIRMED, &basic::Nack { delivery_tag, multiple, requeue }),
            false => self.send(CONFIRMED, &basic::Reject { delivery_tag, requeue }),
        }
        for (tag, copy) in self.up_to(CONFIRMED, delivery_tag, multiple) {
            self.held.remove(&(CONFIRMED, tag));
            if requeue {
                record.requeued(copy);
            } else {
                if record.acked(copy, true) {
                    self.acks.push_back((self.sent, copy));
                }
            }
        }
    }

    /// Acknowledges in a transaction.
    pub(crate) fn ack_later(&mut self, record: &mut Record, delivery_tag: u64) {
        let Some(&copy) = self.held.get(&(COMMITTED, delivery_tag)) else { return };
        if self.begin(record).2.contains(&copy) {
            return;
        }
        self.begin(record).2.push(copy);
        self.send(COMMITTED, &basic::Ack { delivery_tag, multiple: false });
    }

    /// Goes without a word.
    pub(crate) fn vanish(mut self, record: &mut Record, names: &mut Names) {
        self.peer.reset();
        record.client_gone(self.id);
        names.client_gone(self.id);
    }

    // What it is told.

    /// Whether the server has gone without a last word.
    pub(crate) fn missed_the_end(&self) -> bool {
        !self.said_goodbye
    }

    /// Whether all it has asked for was answered, and all it has published confirmed.
    pub(crate) fn is_content(&self) -> bool {
        self.unconfirmed.is_empty() && self.asked.values().all(VecDeque::is_empty)
    }

    pub(crate) fn wants(&self) -> String {
        format!("{:?}, and confirms of {:?}", self.asked, self.unconfirmed)
    }

    /// Reads what has come.
    pub(crate) fn read(&mut self, record: &mut Record, names: &mut Names) {
        self.received.extend_from_slice(&self.peer.read());
        let mut received = std::mem::take(&mut self.received);
        let mut frames = Frames::new(&mut received, 131_072);
        while let Some(frame) = frames.next_frame().expect("the server's frames are legal") {
            if frame.kind == FrameKind::Heartbeat {
                continue;
            }
            let channel = frame.channel;
            let mut assembler = self.assemblers.remove(&channel).unwrap_or_default();
            if let Some(command) = assembler.push(frame).expect("the server's frames fit") {
                self.told(record, names, channel, command);
            }
            self.assemblers.insert(channel, assembler);
        }
        drop(frames);
        self.received = received;
        self.is_ended |= self.peer.is_ended();
    }

    fn told(&mut self, record: &mut Record, names: &mut Names, channel: u16, told: Command<'_>) {
        let Command { method, content } = told;
        match &method {
            Method::BasicDeliver(deliver) => {
                let queue = queue_named(&deliver.consumer_tag.to_string());
                let tag = (channel, deliver.delivery_tag);
                self.sighted(record, queue, tag, deliver.redelivered, content);
            }
            Method::BasicAck(ack) => {
                let from = if ack.multiple { 0 } else { ack.delivery_tag };
                let confirmed: Vec<u64> =
                    self.unconfirmed.range(from..=ack.delivery_tag).map(|(&tag, _)| tag).collect();
                for tag in confirmed {
                    if let Some((sent, number)) = self.unconfirmed.remove(&tag) {
                        record.confirmed(number);
                        let is_safe = record.was_stored(number);
                        self.acks_came(record, sent, is_safe);
                    }
                }
            }
            Method::ConnectionBlocked(_) => record.counts.blocked += 1,
            Method::ConnectionUnblocked(_) => {}
            Method::ConnectionClose(close) => {
                assert!(self.may_end, "the server ends the connection: {close:?}");
                (self.is_ended, self.said_goodbye) = (true, true);
            }
            answer => {
                let asked = self.asked.get_mut(&channel).and_then(VecDeque::pop_front);
                let (sent, asked) = asked.unwrap_or_else(|| panic!("nobody asked for {answer:?}"));
                self.acks_came(record, sent, false);
                self.answered(record, names, channel, asked, &method, content);
            }
        }
    }

    fn answered(
        &mut self,
        record: &mut Record,
        names: &mut Names,
        channel: u16,
        asked: Asked,
        method: &Method<'_>,
        content: Option<Content<'_>>,
    ) {
        match (asked, method) {
            (Asked::This(name), method) => assert_eq!(method.name(), name),
            (Asked::Get(_), Method::BasicGetEmpty(_)) => {}
            (Asked::Get(queue), Method::BasicGetOk(ok)) => {
                self.sighted(record, queue, (channel, ok.delivery_tag), ok.redelivered, content);
            }
            (Asked::Purge(queue), Method::QueuePurgeOk(_)) => record.purged(queue),
            (Asked::Commit(number), Method::TxCommitOk(_)) => record.committed(number),
            (Asked::Count(queue), Method::QueueDeclareOk(ok)) => {
                self.counted.insert(queue, ok.message_count);
            }
            (
                Asked::Wish(wish),
                Method::QueueDeclareOk(_)
                | Method::QueueBindOk(_)
                | Method::QueueDeleteOk(_)
                | Method::ExchangeDeclareOk(_),
            ) => names.granted(wish),
            (asked, method) => panic!("the answer to {asked:?} is {method:?}"),
        }
    }

    /// What was sent before has come, or was even stored.
    fn acks_came(&mut self, record: &mut Record, before: u64, is_safe: bool) {
        for &(_, copy) in self.acks.iter().take_while(|(sent, _)| *sent < before) {
            match is_safe {
                true => record.safe(copy),
                false => record.heard(copy),
            }
        }
        if is_safe {
            self.acks.retain(|(sent, _)| *sent >= before);
        }
    }

    fn sighted(
        &mut self,
        record: &mut Record,
        queue: usize,
        tag: (u16, u64),
        redelivered: bool,
        content: Option<Content<'_>>,
    ) {
        let Content { properties, body } = content.expect("a content");
        let properties = BasicProperties::decode(&properties).expect("good properties");
        let died_in = properties.headers.and_then(|it| it.get_str("x-first-death-queue"));
        let no_ack = QUEUES[queue].no_ack;
        let copy = record.sighted(&Sighting {
            client: self.id,
            queue,
            body: &body,
            died_in,
            persistent: properties.is_persistent(),
            redelivered,
            no_ack,
        });
        self.found[queue].push(copy);
        if !no_ack {
            self.held.insert(tag, copy);
        }
    }
}
