//! A broker of a few hundred lines to hold the client against: it greets, declares, routes by
//! queue name, binding key or to all, delivers, confirms, and remembers what it was told.
//!
//! It checks what RabbitMQ would close a connection or a channel for (unknown delivery tags,
//! channels that are not open, names in use), and a test can have it refuse, or hold, any method.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, exchange, queue, tx};
use ropewalk_amqp::codec::{
    Assembler, Command, EncodeMethod, Encoder, Frame, FrameKind, Frames, LongStr, Method,
    PROTOCOL_HEADER, ShortStr, TableBuf,
};
use ropewalk_reactor::{ConnectionId, Protocol, Reason, Result, Simulation, Transport};

pub(crate) const ADDRESS: &str = "10.0.0.1:5672";
pub(crate) const URI: &str = "amqp://guest:guest@10.0.0.1:5672/%2f";

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub exchange: String,
    pub routing_key: String,
    pub properties: Vec<u8>,
    pub body: Bytes,
    pub redelivered: bool,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub ready: VecDeque<Message>,
    /// Exclusive to this connection.
    pub owner: Option<ConnectionId>,
}

/// What the broker knows; the test's to read and to change.
pub(crate) struct State {
    /// `channel method`, with what matters of the arguments, as it came.
    pub heard: Vec<String>,
    /// Methods that are answered with `channel.close` of this code and text, so many times.
    pub refused: BTreeMap<&'static str, (u16, &'static str, usize)>,
    /// Methods that are not answered.
    pub held: BTreeSet<&'static str>,
    pub queues: BTreeMap<String, Queue>,
    pub exchanges: BTreeMap<String, String>,
    /// Exchange, key, destination.
    pub bindings: BTreeSet<(String, String, String)>,
    pub links: Vec<ConnectionId>,
    pub tune: (u16, u32, u16),
    pub mechanisms: &'static str,
    /// What was acknowledged.
    pub acked: Vec<Message>,
    pub confirms: bool,
    /// What the client did that a broker would close the connection for.
    pub panicked: Option<String>,
    named: u32,
    sessions: BTreeMap<u64, Session>,
    next_session: u64,
}

struct Session {
    id: ConnectionId,
    channels: BTreeMap<u16, Channel>,
}

#[derive(Default)]
struct Channel {
    assembler: Assembler,
    consumers: Vec<Consumer>,
    unacked: BTreeMap<u64, (String, Message, String)>,
    delivered: u64,
    published: Option<u64>,
    prefetch: usize,
    last_queue: String,
    is_closing: bool,
}

struct Consumer {
    tag: String,
    queue: String,
    no_ack: bool,
}

pub(crate) type Shared = Rc<RefCell<State>>;

/// Starts the broker on the simulation's reactor `index`.
pub(crate) fn start(simulation: &mut Simulation, index: usize) -> Shared {
    let state = Rc::new(RefCell::new(State {
        heard: Vec::new(),
        refused: BTreeMap::new(),
        held: BTreeSet::new(),
        queues: BTreeMap::new(),
        exchanges: BTreeMap::from([("amq.fanout".to_owned(), "fanout".to_owned())]),
        bindings: BTreeSet::new(),
        links: Vec::new(),
        tune: (2047, 131_072, 60),
        mechanisms: "PLAIN AMQPLAIN",
        acked: Vec::new(),
        confirms: true,
        panicked: None,
        named: 0,
        sessions: BTreeMap::new(),
        next_session: 0,
    }));
    let shared = state.clone();
    simulation
        .reactor_at(index)
        .listen(ADDRESS, move |_| Peer { state: shared.clone(), session: 0, has_greeted: false })
        .expect("a free address");
    state
}

/// Sends frames to the client on the newest connection.
pub(crate) fn say(simulation: &mut Simulation, index: usize, state: &Shared, frames: &[u8]) {
    let id = *state.borrow().links.last().expect("a connection");
    let mut transport = simulation.reactor_at(index).connection(id).expect("it lives");
    transport.write(frames);
}

pub(crate) fn method(channel: u16, method: &impl EncodeMethod) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().frames_to(&mut out, 0).method(channel, method);
    out
}

/// One connection to the broker.
pub(crate) struct Peer {
    state: Shared,
    session: u64,
    has_greeted: bool,
}

type Out = Vec<(ConnectionId, Vec<u8>)>;

impl Protocol for Peer {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let mut state = self.state.borrow_mut();
        state.links.push(transport.id());
        state.next_session += 1;
        self.session = state.next_session;
        let session = Session { id: transport.id(), channels: BTreeMap::new() };
        state.sessions.insert(self.session, session);
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        if !self.has_greeted {
            if data.len() < PROTOCOL_HEADER.len() {
                return Ok(());
            }
            assert_eq!(data.split_to(PROTOCOL_HEADER.len())[..], PROTOCOL_HEADER);
            self.has_greeted = true;
            let state = self.state.borrow();
            if state.held.contains("connection.start") {
                return Ok(());
            }
            let properties = TableBuf::new().with("product", "Peer");
            let start = connection::Start {
                server_properties: properties.as_table(),
                mechanisms: LongStr(state.mechanisms.as_bytes()),
                ..Default::default()
            };
            transport.write(&method(0, &start));
        }
        let mut out = Out::new();
        let mut frames = Frames::new(data, 0);
        while let Some(frame) = frames.next_frame()? {
            let mut state = self.state.borrow_mut();
            let earlier = state.panicked.take();
            // A panic stops at the reactor, but this stays.
            state.panicked = Some(format!("at channel {}'s {:?}", frame.channel, frame.kind));
            state.frame(self.session, frame, &mut out);
            state.deliver(&mut out);
            state.panicked = earlier;
        }
        drop(frames);
        for (id, octets) in out {
            if octets.is_empty() {
                transport.lose_connection();
            } else if let Some(mut transport) = transport.connection(id) {
                transport.write(&octets);
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _reason: &Reason) {
        let mut state = self.state.borrow_mut();
        let session = state.sessions.remove(&self.session).expect("it was made");
        for (_, channel) in session.channels {
            state.requeue(channel);
        }
        state.queues.retain(|_, queue| queue.owner != Some(session.id));
        let State { queues, bindings, exchanges, .. } = &mut *state;
        bindings.retain(|(_, _, to)| queues.contains_key(to) || exchanges.contains_key(to));
        let mut out = Out::new();
        state.deliver(&mut out);
        for (id, octets) in out {
            if let Some(mut transport) = transport.connection(id) {
                transport.write(&octets);
            }
        }
    }
}

impl State {
    /// What was heard since the last call, without the greeting.
    pub(crate) fn take_heard(&mut self) -> Vec<String> {
        let heard = std::mem::take(&mut self.heard);
        heard.into_iter().filter(|line| !line.starts_with("0 connection.")).collect()
    }

    fn requeue(&mut self, channel: Channel) {
        for (_, (queue, mut message, _)) in channel.unacked.into_iter().rev() {
            message.redelivered = true;
            if let Some(queue) = self.queues.get_mut(&queue) {
                queue.ready.push_front(message);
            }
        }
    }

    fn frame(&mut self, session: u64, frame: Frame<'_>, out: &mut Out) {
        let number = frame.channel;
        if frame.kind == FrameKind::Heartbeat {
            self.heard.push("0 heartbeat".into());
            return;
        }
        if number == 0 {
            let method = Method::decode(&frame.payload).expect("a legal method");
            return self.connection_method(session, method, out);
        }
        let is_open =
            matches!(frame.kind, FrameKind::Method if frame.payload[..4] == [0, 20, 0, 10]);
        let Session { id, channels } = self.sessions.get_mut(&session).expect("it lives");
        let id = *id;
        if is_open {
            let earlier = channels.insert(number, Channel::default());
            assert!(earlier.is_none(), "a second channel.open");
        }
        let channel = channels.get_mut(&number).expect("504 CHANNEL_ERROR");
        if channel.is_closing {
            match (frame.kind, frame.payload.get(..4)) {
                (FrameKind::Method, Some([0, 20, 0, 41])) => drop(channels.remove(&number)),
                // Both at once: each answers the other.
                (FrameKind::Method, Some([0, 20, 0, 40])) => {
                    out.push((id, method(number, &channel::CloseOk {})));
                }
                _ => {}
            }
            return;
        }
        let mut assembler = std::mem::take(&mut channel.assembler);
        if let Some(command) = assembler.push(frame).expect("legal frames") {
            self.command(session, number, command, out);
        }
        let session = self.sessions.get_mut(&session).expect("it lives");
        if let Some(channel) = session.channels.get_mut(&number) {
            channel.assembler = assembler;
        }
    }

    fn connection_method(&mut self, session: u64, received: Method<'_>, out: &mut Out) {
        let name = received.name();
        let id = self.sessions[&session].id;
        self.heard.push(match received {
            Method::ConnectionStartOk(ok) => format!("0 {name} {}", ok.mechanism),
            Method::ConnectionTuneOk(ok) => {
                format!("0 {name} {} {} {}", ok.channel_max, ok.frame_max, ok.heartbeat)
            }
            Method::ConnectionOpen(open) => format!("0 {name} {}", open.virtual_host),
            Method::ConnectionClose(close) => format!("0 {name} {}", close.reply_code),
            _ => format!("0 {name}"),
        });
        if self.held.contains(name) {
            return;
        }
        let answer = match received {
            Method::ConnectionStartOk(_) => {
                let (channel_max, frame_max, heartbeat) = self.tune;
                method(0, &connection::Tune { channel_max, frame_max, heartbeat })
            }
            Method::ConnectionOpen(_) => method(0, &connection::OpenOk::default()),
            Method::ConnectionUpdateSecret(_) => method(0, &connection::UpdateSecretOk {}),
            Method::ConnectionClose(_) => {
                out.push((id, method(0, &connection::CloseOk {})));
                out.push((id, Vec::new()));
                return;
            }
            _ => return,
        };
        out.push((id, answer));
    }

    #[allow(clippy::too_many_lines, reason = "a broker's methods, one after the other")]
    fn command(&mut self, session: u64, number: u16, command: Command<'_>, out: &mut Out) {
        let Command { method: received, content } = command;
        let name = received.name();
        self.heard.push(format!("{number} {}", shown(&received)));
        if self.held.contains(name) {
            return;
        }
        let id = self.sessions[&session].id;
        if let Some((code, text, times)) = self.refused.get_mut(name)
            && *times > 0
        {
            *times -= 1;
            let (code, text) = (*code, *text);
            return self.close(session, number, received.id(), code, text, out);
        }
        let channel = self
            .sessions
            .get_mut(&session)
            .and_then(|it| it.channels.get_mut(&number))
            .expect("open");
        let mut answer = |octets: Vec<u8>| out.push((id, octets));
        match received {
            Method::ChannelOpen(_) => answer(method(number, &channel::OpenOk::default())),
            Method::ChannelClose(_) => {
                answer(method(number, &channel::CloseOk {}));
                let session = self.sessions.get_mut(&session).expect("it lives");
                if let Some(channel) = session.channels.remove(&number) {
                    self.requeue(channel);
                }
            }
            Method::ExchangeDeclare(it) => {
                self.exchanges.insert(it.exchange.to_string(), it.exchange_type.to_string());
                answer(method(number, &exchange::DeclareOk {}));
            }
            Method::ExchangeDelete(it) => {
                self.exchanges.remove(&it.exchange.to_string());
                answer(method(number, &exchange::DeleteOk {}));
            }
            Method::ExchangeBind(it) => {
                let (from, key, to) = (it.source, it.routing_key, it.destination);
                self.bindings.insert((from.to_string(), key.to_string(), to.to_string()));
                answer(method(number, &exchange::BindOk {}));
            }
            Method::QueueDeclare(it) => {
                let mut queue = it.queue.to_string();
                if queue.is_empty() {
                    self.named += 1;
                    queue = format!("amq.gen-{}", self.named);
                }
                let owner = it.exclusive.then_some(id);
                self.queues.entry(queue.clone()).or_default().owner = owner;
                channel.last_queue.clone_from(&queue);
                let ready = self.queues[&queue].ready.len() as u32;
                answer(method(
                    number,
                    &queue::DeclareOk {
                        queue: ShortStr::cut(&queue),
                        message_count: ready,
                        consumer_count: 0,
                    },
                ));
            }
            Method::QueueBind(it) => {
                let to = match it.queue.is_empty() {
                    true => channel.last_queue.clone(),
                    false => it.queue.to_string(),
                };
                if !self.queues.contains_key(&to)
                    || !self.exchanges.contains_key(&it.exchange.to_string())
                {
                    return self.close(
                        session,
                        number,
                        received.id(),
                        404,
                        "NOT_FOUND - no Q or X",
                        out,
                    );
                }
                self.bindings.insert((it.exchange.to_string(), it.routing_key.to_string(), to));
                answer(method(number, &queue::BindOk {}));
            }
            Method::QueueUnbind(it) => {
                let (from, key, to) = (it.exchange, it.routing_key, it.queue);
                self.bindings.remove(&(from.to_string(), key.to_string(), to.to_string()));
                answer(method(number, &queue::UnbindOk {}));
            }
            Method::QueueDelete(it) => {
                let gone = self.queues.remove(&it.queue.to_string());
                let message_count = gone.map_or(0, |queue| queue.ready.len() as u32);
                answer(method(number, &queue::DeleteOk { message_count }));
            }
            Method::QueuePurge(it) => {
                let queue = self.queues.get_mut(&it.queue.to_string()).expect("a queue");
                let message_count = queue.ready.len() as u32;
                queue.ready.clear();
                answer(method(number, &queue::PurgeOk { message_count }));
            }
            Method::BasicQos(it) => {
                channel.prefetch = it.prefetch_count.into();
                answer(method(number, &basic::QosOk {}));
            }
            Method::BasicConsume(it) => {
                let queue = match it.queue.is_empty() {
                    true => channel.last_queue.clone(),
                    false => it.queue.to_string(),
                };
                if !self.queues.contains_key(&queue) {
                    let text = "NOT_FOUND - no queue in vhost '/'";
                    return self.close(session, number, received.id(), 404, text, out);
                }
                let tag = it.consumer_tag.to_string();
                assert!(channel.consumers.iter().all(|other| other.tag != tag), "530: {tag}");
                channel.consumers.push(Consumer { tag, queue, no_ack: it.no_ack });
                answer(method(number, &basic::ConsumeOk { consumer_tag: it.consumer_tag }));
            }
            Method::BasicCancel(it) => {
                channel.consumers.retain(|consumer| it.consumer_tag != *consumer.tag);
                answer(method(number, &basic::CancelOk { consumer_tag: it.consumer_tag }));
            }
            Method::BasicPublish(it) => {
                let content = content.expect("it has content");
                let message = Message {
                    exchange: it.exchange.to_string(),
                    routing_key: it.routing_key.to_string(),
                    properties: content.properties.to_vec(),
                    body: content.body.into_bytes(),
                    redelivered: false,
                };
                let confirmed = channel.published.as_mut().map(|number| {
                    *number += 1;
                    *number
                });
                let is_routed = self.route(message.clone());
                if it.mandatory && !is_routed {
                    let returned = basic::Return {
                        reply_code: 312,
                        reply_text: ShortStr::literal("NO_ROUTE"),
                        exchange: it.exchange,
                        routing_key: it.routing_key,
                    };
                    let mut octets = Vec::new();
                    Encoder::new().frames_to(&mut octets, self.tune.1).content(
                        number,
                        &returned,
                        &message.properties,
                        &message.body,
                    );
                    out.push((id, octets));
                }
                if let Some(delivery_tag) = confirmed
                    && self.confirms
                {
                    out.push((id, method(number, &basic::Ack { delivery_tag, multiple: false })));
                }
            }
            Method::BasicGet(it) => {
                let Some(queue) = self.queues.get_mut(&it.queue.to_string()) else {
                    return self.close(
                        session,
                        number,
                        received.id(),
                        404,
                        "NOT_FOUND - no Q",
                        out,
                    );
                };
                let Some(message) = queue.ready.pop_front() else {
                    return answer(method(number, &basic::GetEmpty::default()));
                };
                channel.delivered += 1;
                let got = basic::GetOk {
                    delivery_tag: channel.delivered,
                    redelivered: message.redelivered,
                    exchange: ShortStr::cut(&message.exchange),
                    routing_key: ShortStr::cut(&message.routing_key),
                    message_count: queue.ready.len() as u32,
                };
                let mut octets = Vec::new();
                Encoder::new().frames_to(&mut octets, self.tune.1).content(
                    number,
                    &got,
                    &message.properties,
                    &message.body,
                );
                if !it.no_ack {
                    let queue = it.queue.to_string();
                    channel
                        .unacked
                        .insert(channel.delivered, (queue, message.clone(), String::new()));
                }
                answer(octets);
            }
            Method::BasicAck(it) => {
                let tags: Vec<u64> = match it.multiple {
                    true => {
                        channel.unacked.range(..=it.delivery_tag).map(|(tag, _)| *tag).collect()
                    }
                    false => vec![it.delivery_tag],
                };
                for tag in tags {
                    let Some((_, message, _)) = channel.unacked.remove(&tag) else {
                        let text = "PRECONDITION_FAILED - unknown delivery tag";
                        return self.close(session, number, received.id(), 406, text, out);
                    };
                    self.acked.push(message);
                }
            }
            Method::BasicReject(basic::Reject { delivery_tag, requeue })
            | Method::BasicNack(basic::Nack { delivery_tag, requeue, .. }) => {
                let Some((queue, mut message, _)) = channel.unacked.remove(&delivery_tag) else {
                    let text = "PRECONDITION_FAILED - unknown delivery tag";
                    return self.close(session, number, received.id(), 406, text, out);
                };
                message.redelivered = true;
                if let (true, Some(queue)) = (requeue, self.queues.get_mut(&queue)) {
                    queue.ready.push_front(message);
                }
            }
            Method::ConfirmSelect(_) => {
                channel.published.get_or_insert(0);
                answer(method(number, &confirm::SelectOk {}));
            }
            Method::TxSelect(_) => answer(method(number, &tx::SelectOk {})),
            Method::TxCommit(_) => answer(method(number, &tx::CommitOk {})),
            Method::TxRollback(_) => answer(method(number, &tx::RollbackOk {})),
            other => panic!("the peer does not know {}", other.name()),
        }
    }

    fn close(
        &mut self,
        session: u64,
        number: u16,
        method_id: ropewalk_amqp::codec::MethodId,
        reply_code: u16,
        text: &str,
        out: &mut Out,
    ) {
        let session = self.sessions.get_mut(&session).expect("it lives");
        let mut closing = Channel { is_closing: true, ..Channel::default() };
        std::mem::swap(session.channels.get_mut(&number).expect("open"), &mut closing);
        let close = channel::Close {
            reply_code,
            reply_text: ShortStr::cut_text(text),
            class_id: method_id.class_id,
            method_id: method_id.method_id,
        };
        out.push((session.id, method(number, &close)));
        self.requeue(closing);
    }

    /// Puts a message into the queues that it belongs to; whether there was any.
    pub(crate) fn route(&mut self, message: Message) -> bool {
        let mut to: BTreeSet<String> = BTreeSet::new();
        if message.exchange.is_empty() {
            to.insert(message.routing_key.clone());
        }
        let is_fanout = self.exchanges.get(&message.exchange).is_some_and(|kind| kind == "fanout");
        for (from, key, destination) in &self.bindings {
            if *from == message.exchange && (is_fanout || *key == message.routing_key) {
                to.insert(destination.clone());
            }
        }
        let mut routed = false;
        for queue in to {
            if let Some(queue) = self.queues.get_mut(&queue) {
                queue.ready.push_back(message.clone());
                routed = true;
            }
        }
        routed
    }

    /// Gives every consumer what it may have.
    fn deliver(&mut self, out: &mut Out) {
        let frame_max = self.tune.1;
        for session in self.sessions.values_mut() {
            for (&number, channel) in &mut session.channels {
                for consumer in &channel.consumers {
                    let Some(queue) = self.queues.get_mut(&consumer.queue) else { continue };
                    loop {
                        let held = channel.unacked.values();
                        let held = held.filter(|(_, _, tag)| *tag == consumer.tag).count();
                        if channel.prefetch != 0 && !consumer.no_ack && held >= channel.prefetch {
                            break;
                        }
                        let Some(message) = queue.ready.pop_front() else { break };
                        channel.delivered += 1;
                        let deliver = basic::Deliver {
                            consumer_tag: ShortStr::cut(&consumer.tag),
                            delivery_tag: channel.delivered,
                            redelivered: message.redelivered,
                            exchange: ShortStr::cut(&message.exchange),
                            routing_key: ShortStr::cut(&message.routing_key),
                        };
                        let mut octets = Vec::new();
                        Encoder::new().frames_to(&mut octets, frame_max).content(
                            number,
                            &deliver,
                            &message.properties,
                            &message.body,
                        );
                        out.push((session.id, octets));
                        if !consumer.no_ack {
                            let unacked = (consumer.queue.clone(), message, consumer.tag.clone());
                            channel.unacked.insert(channel.delivered, unacked);
                        }
                    }
                }
            }
        }
    }
}

/// A method with what matters of its arguments.
fn shown(method: &Method<'_>) -> String {
    let name = method.name();
    match method {
        Method::ExchangeDeclare(it) => format!("{name} {} {}", it.exchange, it.exchange_type),
        Method::ExchangeBind(it) => format!("{name} {} {}", it.destination, it.source),
        Method::QueueDeclare(it) => format!("{name} {:?}", it.queue.to_string()),
        Method::QueueBind(it) => {
            format!(
                "{name} {:?} {} {:?}",
                it.queue.to_string(),
                it.exchange,
                it.routing_key.to_string()
            )
        }
        Method::QueueDelete(it) => format!("{name} {}", it.queue),
        Method::BasicQos(it) => format!("{name} {} {}", it.prefetch_count, it.global),
        Method::BasicConsume(it) => {
            format!("{name} {:?} {}", it.queue.to_string(), it.consumer_tag)
        }
        Method::BasicCancel(it) => format!("{name} {}", it.consumer_tag),
        Method::BasicPublish(it) => {
            format!("{name} {:?} {:?}", it.exchange.to_string(), it.routing_key.to_string())
        }
        Method::BasicAck(it) => format!("{name} {} {}", it.delivery_tag, it.multiple),
        Method::BasicReject(it) => format!("{name} {} {}", it.delivery_tag, it.requeue),
        Method::BasicNack(it) => format!("{name} {} {}", it.delivery_tag, it.requeue),
        Method::ChannelClose(it) => format!("{name} {}", it.reply_code),
        _ => name.to_owned(),
    }
}
