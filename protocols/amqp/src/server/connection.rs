//! A connection of the server: from octets to frames, from frames to its channels, and every
//! change of its state.
//!
//! What the states before `Running` do stands in `handshake`, those after it in `closing`; what a
//! channel's methods do, in `command`. The one rule: nothing of a connection is served once it is told to close.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use ropewalk_broker::{ConnectionId as BrokerConnection, ErrorKind};
use ropewalk_reactor::{Address, Protocol, Reason, Result, TimerId, Transport};

use crate::codec::method::channel;
use crate::codec::{
    Assembler, Content, EncodeMethod, Encoder, Frame, FrameKind, Frames, Method, MethodId, Payload,
    ReplyCode,
};

use super::Shared;
use super::basic;
use super::channel::{Channel, ChannelState, Channels};
use super::command::{self, Done};
use super::fault::Fault;
use super::handshake::Client;
use super::heartbeat::Pulse;
use super::hub::Hub;
use super::sink::TransportSink;
use super::store::stall::Stall;
use super::unfinished;

/// Frames until `connection.tune-ok`: the specification allows 4096 octets, but client properties
/// with a long token need more (RabbitMQ's `initial_frame_max`).
const HANDSHAKE_FRAME_MAX: u32 = 8192;

/// The server's side of one AMQP connection.
pub struct Connection {
    shared: Rc<Shared>,
    session: Session,
}

/// Where a connection stands. Transitions: down this list, one by one; from any to `Closing` by a
/// fault, to `Ended` by the client's `connection.close`.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The protocol header has to come.
    Greeting,
    /// `connection.start` was sent.
    Starting,
    /// `connection.tune` was sent to this user.
    Tuning { user: Box<[u8]> },
    /// `connection.open` has to come.
    Opening { user: Box<[u8]> },
    /// Channels are served.
    Running(Running),
    /// `connection.close` was sent: all but its answer is discarded.
    Closing,
    /// All is said; what still comes is discarded.
    Ended,
}

/// What a connection has while it runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// By this the hub knows it.
    pub(crate) key: usize,
    /// By this the broker knows it.
    pub(crate) id: BrokerConnection,
    pub(crate) user: Box<[u8]>,
    pub(crate) vhost: Box<[u8]>,
}

/// A connection's own state.
pub(crate) struct Session {
    pub(crate) stage: Stage,
    pub(crate) peer: Address,
    pub(crate) channels: Channels,
    /// Octets that the channels hold of messages under way.
    pub(crate) unfinished: u64,
    /// The largest frame, both ways; 0 is no limit.
    pub(crate) frame_max: u32,
    /// The most channels; 0 is no limit.
    pub(crate) channel_max: u16,
    pub(crate) client: Client,
    pub(crate) pulse: Pulse,
    /// For the handshake, and for the answer to `connection.close`.
    pub(crate) deadline: Option<TimerId>,
    /// What waits for the store; nothing else is served meanwhile.
    pub(crate) stall: Option<Stall>,
}

/// What a callback has beside the connection's own state.
pub(crate) struct Context<'a, 't> {
    pub(crate) shared: &'a Rc<Shared>,
    pub(crate) hub: &'a mut Hub,
    pub(crate) transport: &'a mut Transport<'t>,
    /// While it is there, what is sent to the connection goes here instead.
    pub(crate) held: Option<Vec<u8>>,
    /// What has to wait for the store.
    pub(crate) stall: Option<Stall>,
}

impl Connection {
    pub(crate) fn new(shared: Rc<Shared>) -> Connection {
        Connection { shared, session: Session::new() }
    }

    /// Calls `call` with all that a callback needs; then everything that the broker wants sent is
    /// sent. Nothing happens before the connection is made.
    pub(crate) fn with<R>(
        &mut self,
        transport: &mut Transport<'_>,
        call: impl FnOnce(&mut Session, &mut Context<'_, '_>) -> R,
    ) -> Option<R> {
        let hub = &mut *self.shared.hub()?.borrow_mut();
        let mut context = Context { shared: &self.shared, hub, transport, held: None, stall: None };
        let answer = call(&mut self.session, &mut context);
        context.hub.drain(context.transport);
        context.hub.set_timer(&self.shared, context.transport);
        context.hub.unblock(context.transport);
        context.hub.keep(&self.shared, || context.transport.local());
        Some(answer)
    }

    /// A turn after it had enough.
    pub(crate) fn hungry(&mut self, transport: &mut Transport<'_>) {
        self.with(transport, |session, context| {
            if let Stage::Running(Running { key, .. }) = session.stage {
                context.hub.set_hungry(key, context.transport);
            }
        });
    }

    /// Half a heartbeat's interval has passed.
    pub(crate) fn beat(&mut self, transport: &mut Transport<'_>) {
        self.with(transport, |session, context| session.beat(context));
    }

    /// The client took too long over the handshake, or over its answer to `connection.close`.
    pub(crate) fn deadline(&mut self, transport: &mut Transport<'_>) {
        self.with(transport, |session, context| session.deadline_passed(context));
    }

    /// A channel has held a delivery for longer than it may.
    pub(crate) fn consumer_timed_out(
        &mut self,
        channel: u16,
        timeout: Duration,
        transport: &mut Transport<'_>,
    ) {
        self.with(transport, |session, context| {
            session.consumer_timed_out(context, channel, timeout);
        });
    }

    fn set_paused(&mut self, paused: bool, transport: &mut Transport<'_>) {
        self.with(transport, |session, context| {
            if let Stage::Running(Running { key, .. }) = session.stage {
                context.hub.set_paused(key, paused, context.transport);
            }
        });
    }
}

impl Protocol for Connection {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let config = &self.shared.config;
        let mark = config.high_water_mark;
        let options = transport
            .options()
            .high_water_mark(mark)
            .low_water_mark(mark / 8)
            .stop_reading_mark(mark.saturating_mul(16))
            // A whole frame has to fit, and a message of the largest size.
            .receive_limit((config.frame_max as usize).saturating_mul(2).max(1 << 20))
            .output_limit((config.broker.max_message_size as usize).saturating_add(64 << 20));
        transport.set_options(options);
        self.shared.start(transport)?;
        let timeout = config.handshake_timeout;
        self.session.peer = transport.peer();
        self.session.deadline = Some(transport.call_later(timeout, Connection::deadline));
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        self.with(transport, |session, context| {
            session.pulse.heard();
            context.hub.tick(context.transport);
            session.receive(context, data);
        });
        Ok(())
    }

    /// A client that says no more can acknowledge nothing: what it holds goes to others at once.
    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.with(transport, |session, context| session.leave(context));
        transport.lose_connection();
        Ok(())
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        self.set_paused(true, transport);
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.set_paused(false, transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        self.with(transport, |session, context| session.leave(context));
    }
}

impl Session {
    fn new() -> Session {
        Session {
            stage: Stage::Greeting,
            peer: Address::Tcp(([0, 0, 0, 0], 0).into()), // until it is connected
            channels: Channels::default(),
            unfinished: 0,
            frame_max: HANDSHAKE_FRAME_MAX,
            channel_max: 0,
            client: Client::default(),
            pulse: Pulse::default(),
            deadline: None,
            stall: None,
        }
    }

    fn receive(&mut self, context: &mut Context<'_, '_>, data: &mut BytesMut) {
        if matches!(self.stage, Stage::Greeting) && !self.greet(context, data) {
            return;
        }
        if self.stall.is_some() {
            context.transport.pause_reading(); // others may have let it go on
            return;
        }
        let mut frames = Frames::new(data, self.frame_max);
        while !matches!(self.stage, Stage::Ended) {
            let mut is_content = true;
            let handled = match self.whole(context, &mut frames) {
                Some(served) => served,
                None => match frames.next_frame() {
                    Ok(Some(frame)) => {
                        is_content = matches!(frame.kind, FrameKind::Header | FrameKind::Body);
                        self.frame(context, frame)
                    }
                    Ok(None) => return,
                    Err(error) => Err(Fault::of_codec(&error)),
                },
            };
            if let Err(fault) = handled {
                self.fail(context, &fault);
            }
            // What is published now would wait in its queues: work for nothing.
            if !context.hub.broker.has_room() {
                context.hub.gather(context.transport);
            }
            if is_content && context.hub.may_block() && self.block(context)
                || context.stall.is_some() && self.stall(context)
            {
                return; // what is left comes again
            }
            frames.set_frame_max(self.frame_max);
        }
        drop(frames);
        data.clear();
    }

    /// Serves the message that comes next at once, if it lies in the input whole and its channel
    /// waits for one. Under an alarm none is: a publisher is stopped by a message's header.
    #[inline(always)]
    fn whole(
        &mut self,
        context: &mut Context<'_, '_>,
        frames: &mut Frames<'_>,
    ) -> Option<Result<(), Fault>> {
        let whole = frames.whole_publish()?;
        if !matches!(self.stage, Stage::Running(_)) || context.hub.may_block() {
            return None;
        }
        let channel = self.channels.get_mut(whole.channel)?;
        let waits = channel.state == ChannelState::Open && channel.assembler.is_between_commands();
        if !waits || !channel.assembler.allows_body(whole.body.len() as u64) {
            return None;
        }
        let number = whole.channel;
        let place = command::Place { number, id: channel.id, frame_max: self.frame_max };
        let properties = Payload::Borrowed(whole.properties);
        let content = Content { properties, body: Payload::Borrowed(whole.body) };
        let (served, len) = (basic::publish(context, place, &whole.publish, content), whole.len);
        frames.skip(len);
        Some(match served {
            Err(fault) if !fault.is_hard() => {
                self.close_channel(context, place, &fault);
                Ok(())
            }
            served => served,
        })
    }

    // In line with those that are called for every frame, so that a frame stays in registers.
    #[inline(always)]
    fn frame(&mut self, context: &mut Context<'_, '_>, frame: Frame<'_>) -> Result<(), Fault> {
        match &self.stage {
            Stage::Running(running) if frame.channel != 0 => {
                let id = running.id;
                self.channel_frame(context, id, frame)
            }
            Stage::Running(_) => self.method(context, frame),
            Stage::Closing => {
                self.closing_frame(context, &frame);
                Ok(())
            }
            _ => self.handshake(context, frame),
        }
    }

    // Channels.

    #[inline(always)]
    fn channel_frame(
        &mut self,
        context: &mut Context<'_, '_>,
        connection: BrokerConnection,
        frame: Frame<'_>,
    ) -> Result<(), Fault> {
        let number = frame.channel;
        let Some(channel) = self.channels.get_mut(number) else {
            return self.first_frame(context, connection, frame);
        };
        if channel.state == ChannelState::Closing {
            return self.closing_channel_frame(context, &frame);
        }
        let place = command::Place { number, id: channel.id, frame_max: self.frame_max };
        let size = (frame.kind, frame.payload.len());
        let done = match channel.assembler.push_raw(frame) {
            Ok(None) => return unfinished::hold(context.hub, &mut self.unfinished, channel, size),
            Ok(Some(command)) => command::run(context, place, command),
            Err(error) => Err(Fault::of_codec(&error)),
        };
        unfinished::let_go(context.hub, &mut self.unfinished, channel);
        match done {
            Ok(Done::Served) => Ok(()),
            Ok(Done::Closed) => {
                self.channels.remove(number);
                Ok(())
            }
            Err(fault) if fault.is_hard() => Err(fault),
            Err(fault) => {
                self.close_channel(context, place, &fault);
                Ok(())
            }
        }
    }

    /// A frame on a channel that is not there: it has to open it.
    #[inline(never)]
    fn first_frame(
        &mut self,
        context: &mut Context<'_, '_>,
        connection: BrokerConnection,
        frame: Frame<'_>,
    ) -> Result<(), Fault> {
        let (open, max) = (self.channels.count(), usize::from(self.channel_max));
        if max != 0 && open >= max {
            let text = format!(
                "number of channels opened ({open}) has reached the negotiated channel_max ({max})"
            );
            return Err(Fault::new(ReplyCode::NotAllowed, MethodId::NONE, text));
        }
        let number = frame.channel;
        if frame.kind != FrameKind::Method {
            let refused = Assembler::default().push(frame).err();
            let refused = refused.unwrap_or(crate::codec::Error::ExpectedMethod);
            return Err(Fault::of_codec(&refused));
        }
        let method = Method::decode(&frame.payload).map_err(|error| Fault::of_codec(&error))?;
        if !matches!(method, Method::ChannelOpen(_)) {
            let text = "expected 'channel.open'";
            return Err(Fault::new(ReplyCode::ChannelError, method.id(), text));
        }
        let opened = context.hub.broker.open_channel(connection, number);
        let id = opened.map_err(|error| {
            // A limit on channels is one of the connection: no method is to blame.
            let limit = error.kind() == ErrorKind::NotAllowed;
            Fault::of_broker(&error, if limit { MethodId::NONE } else { method.id() })
        })?;
        let assembler = Assembler::new(context.shared.config.broker.max_message_size);
        let state = ChannelState::Open;
        self.channels.insert(number, Channel { id, state, assembler, unfinished: 0 });
        context.send(number, self.frame_max, &channel::OpenOk::default());
        Ok(())
    }

    // The connection's own methods.

    /// A frame on channel 0 while the connection runs.
    fn method(&mut self, context: &mut Context<'_, '_>, frame: Frame<'_>) -> Result<(), Fault> {
        if frame.kind == FrameKind::Heartbeat {
            return Ok(());
        }
        match Method::decode(&frame.payload).map_err(|error| Fault::of_codec(&error))? {
            Method::ConnectionClose(close) => {
                self.closed_by_client(context, &close);
                Ok(())
            }
            Method::ConnectionUpdateSecret(update) => self.update_secret(context, &update),
            method => Err(unexpected(&method, "running")),
        }
    }
}

impl Context<'_, '_> {
    /// Writes a method to this connection.
    pub(crate) fn send(&mut self, number: u16, frame_max: u32, method: &impl EncodeMethod) {
        if let Some(held) = &mut self.held {
            return Encoder::frames_in(held, frame_max).method(number, method);
        }
        let mut sink = TransportSink(self.transport);
        self.hub.encoder.frames_to(&mut sink, frame_max).method(number, method);
    }
}

impl Stage {
    /// As RabbitMQ names it in its texts.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Stage::Greeting => "pre_init",
            Stage::Starting => "starting",
            Stage::Tuning { .. } => "tuning",
            Stage::Opening { .. } => "opening",
            Stage::Running(_) => "running",
            Stage::Closing => "closing",
            Stage::Ended => "closed",
        }
    }
}

/// What a method earns that does not fit a connection's state.
pub(crate) fn unexpected(method: &Method<'_>, state: &str) -> Fault {
    let text = format!("unexpected method in connection state {state}");
    Fault::new(ReplyCode::ChannelError, method.id(), text)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Session { peer, stage, .. } = &self.session;
        f.debug_struct("Connection").field("peer", peer).field("stage", stage).finish()
    }
}
