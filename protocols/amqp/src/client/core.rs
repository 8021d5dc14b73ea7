//! The client's side of a connection as a state machine: octets in, octets and events out.
//!
//! It has no transport, no clock and no timer, and calls nobody: what users are to hear waits in
//! `events` until the hub tells them. The one rule: `Phase` changes in this file alone.

mod lanes;

use std::any::Any;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

use bytes::BytesMut;
use ropewalk_reactor::Promise;

use super::channel::ChannelShared;
use super::connection::Notice;
use super::consumer::Subscription;
use super::error::{Close, fail};
use super::handshake::Limits;
use super::lane::{CloseCallback, Lane, Stage};
use super::message::{Delivery, Returned};
use super::outbox::Outbox;
use super::recovery::Recovery;
use super::requests::Request;
use super::topology::Topology;
use super::{Error, LOG, Options, Result};
use crate::codec::method::{basic, connection};
use crate::codec::{
    Assembler, EncodeMethod, Encoder, Frame, FrameKind, Frames, Method, MethodId, PROTOCOL_HEADER,
    ReplyCode, ShortStr, Sink, TableBuf,
};

/// Where the connection is in its life.
pub(super) enum Phase {
    /// There is none: the hub waits, or connects.
    Down,
    /// The protocol header is sent.
    AwaitingStart,
    /// `connection.start-ok` is sent.
    AwaitingTune,
    /// `connection.tune-ok` and `connection.open` are sent.
    AwaitingOpen,
    /// It is open again, and what was there before is being brought back.
    Recovering(Recovery),
    Open,
    /// `connection.close` is sent: all else that comes is ignored.
    Closing,
    /// It ended for this reason, and there will be no other.
    Over(Error),
}

/// What users are to hear, in this order.
pub(super) enum Event {
    Delivery(Rc<Subscription>, Delivery),
    ConsumerEnd(Rc<Subscription>, Result),
    /// The server has cancelled a consumer of this name.
    Cancelled(Rc<ChannelShared>, Rc<str>),
    Returned(Rc<ChannelShared>, Returned),
    ChannelClosed(CloseCallback, Error),
    Notice(Notice),
}

/// How a delivery is settled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settle {
    Ack { multiple: bool },
    Reject { requeue: bool },
    Nack { multiple: bool, requeue: bool },
}

/// Whether there may be more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    On,
    /// Too much waits for slow consumers.
    Paused,
}

pub(super) struct Core {
    pub(super) options: Options,
    phase: Phase,
    /// There has been an open connection.
    was_open: bool,
    /// How many connections have been lost: what belongs to one of them is stale.
    pub(super) epoch: u64,
    pub(super) limits: Limits,
    pub(super) outbox: Outbox,
    encoder: Encoder,
    /// By channel number, less one.
    pub(super) lanes: Vec<Option<Box<Lane>>>,
    pub(super) topology: Topology,
    pub(super) events: VecDeque<Event>,
    /// What the deliveries cost that users have not taken.
    pub(super) held: usize,
    /// Why the server takes no messages, while it does not.
    pub(super) blocked: Option<String>,
    pub(super) server_properties: TableBuf,
    /// Who waits for `connection.update-secret-ok`.
    pub(super) secrets: VecDeque<Promise<()>>,
    /// Users' values that must not be dropped while this is borrowed.
    pub(super) garbage: Vec<Box<dyn Any>>,
    /// For encoding properties.
    pub(super) scratch: Vec<u8>,
}

impl Core {
    pub(super) fn new(options: Options) -> Core {
        let limits = Limits::before_tuning(&options);
        Core {
            options,
            phase: Phase::Down,
            was_open: false,
            epoch: 0,
            limits,
            outbox: Outbox::default(),
            encoder: Encoder::new(),
            lanes: Vec::new(),
            topology: Topology::default(),
            events: VecDeque::new(),
            held: 0,
            blocked: None,
            server_properties: TableBuf::new(),
            secrets: VecDeque::new(),
            garbage: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// `Ok` if requests can be made now, or else why not.
    pub(super) fn usable(&self) -> Result {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Closing => Err(Error::Closed),
            Phase::Over(error) => Err(error.clone()),
            _ => Err(Error::Reconnecting),
        }
    }

    /// Whether channels can be used on the wire, if not by users.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Recovering(_))
    }

    /// Whether the greeting is under way, and so has a deadline.
    pub(super) fn is_greeting(&self) -> bool {
        matches!(self.phase, Phase::AwaitingStart | Phase::AwaitingTune | Phase::AwaitingOpen)
    }

    // What happens to the connection.

    /// There is a transport: greets.
    pub(super) fn connected(&mut self) {
        self.phase = Phase::AwaitingStart;
        self.limits = Limits::before_tuning(&self.options);
        self.outbox.clear();
        self.outbox.put_slice(&PROTOCOL_HEADER);
    }

    /// Takes what is whole in `data`. An error ends the connection, once the outbox is flushed.
    pub(super) fn received(&mut self, data: &mut BytesMut) -> Result<Reading> {
        if matches!(self.phase, Phase::AwaitingStart) && data.starts_with(b"A") {
            // A frame begins with its type, which is a small number: this is a protocol header.
            let Some(header) = data.first_chunk() else { return Ok(Reading::On) };
            return Err(Error::ProtocolMismatch(*header));
        }
        let mut frames = Frames::new(data, self.limits.frame_max);
        loop {
            let taken = match frames.next_frame() {
                Ok(None) => return Ok(Reading::On),
                Ok(Some(frame)) => self.frame(frame),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = taken {
                return Err(self.give_up(error));
            }
            frames.set_frame_max(self.limits.frame_max);
            if self.held > self.options.deliveries_limit && self.should_pause() {
                log::warn!(
                    target: LOG,
                    "{} octets of deliveries wait to be taken: nothing more is read until they \
                     are, not even the answer to a request; a prefetch is the better limit",
                    self.held,
                );
                return Ok(Reading::Paused);
            }
        }
    }

    /// Closes from here, in order.
    pub(super) fn close(&mut self) {
        let goodbye = connection::Close {
            reply_code: ReplyCode::ReplySuccess.number(),
            reply_text: ShortStr::literal("Goodbye"),
            ..Default::default()
        };
        self.send(0, &goodbye);
        self.phase = Phase::Closing;
    }

    /// The transport has gone. Everything that waits for the server fails with `cause`; what can
    /// be brought back on another connection is kept.
    pub(super) fn lost(&mut self, cause: &Error) {
        self.phase = Phase::Down;
        self.epoch += 1;
        self.outbox.clear();
        self.blocked = None;
        for promise in self.secrets.drain(..) {
            fail(promise, cause);
        }
        let max_message_size = self.options.max_message_size;
        for number in 1..=self.lanes.len() as u16 {
            let Some(lane) = self.lane_mut(number) else { continue };
            let is_unborn = matches!(lane.pending.front(), Some(Request::OpenChannel(_)));
            match &mut lane.stage {
                Stage::Closing(_) => self.end_lane(number, &Error::Closed),
                _ if is_unborn || lane.shared.is_none() => self.end_lane(number, cause),
                _ => {
                    self.finish_cancels(number);
                    let Some(lane) = self.lane_mut(number) else { continue };
                    lane.fail_requests(cause);
                    lane.assembler = Assembler::new(max_message_size);
                    self.end_unstarted_consumers(number);
                }
            }
        }
        // What was delivered and has not been taken comes again, unless it counted as taken.
        let mut freed = 0;
        self.events.retain(|event| match event {
            Event::Delivery(_, delivery) if !delivery.is_settled() => {
                freed += delivery.cost();
                false
            }
            _ => true,
        });
        for lane in self.lanes.iter().flatten() {
            freed += lane.consumers.iter().map(|it| it.subscription.forget_stale()).sum::<usize>();
        }
        self.held = self.held.saturating_sub(freed);
    }

    /// There will be no further connection.
    pub(super) fn end(&mut self, reason: Error) {
        for number in 1..=self.lanes.len() as u16 {
            self.end_lane(number, &reason);
        }
        self.lanes.clear();
        self.events.push_back(Event::Notice(Notice::Closed(reason.clone())));
        self.phase = Phase::Over(reason);
    }

    // Writing.

    /// Sends a method that no content follows.
    pub(super) fn send(&mut self, channel: u16, method: &impl EncodeMethod) {
        self.encoder.frames_to(&mut self.outbox, self.limits.frame_max).method(channel, method);
    }

    /// Sends a message; its encoded properties are in `scratch`.
    pub(super) fn send_message(
        &mut self,
        channel: u16,
        method: &basic::Publish<'_>,
        body: &bytes::Bytes,
    ) {
        self.encoder.frames_to(&mut self.outbox, self.limits.frame_max).content(
            channel,
            method,
            &self.scratch,
            body,
        );
    }

    pub(super) fn send_heartbeat(&mut self) {
        self.encoder.frames_to(&mut self.outbox, self.limits.frame_max).heartbeat();
    }

    /// Sends a method, and keeps the request until it is answered.
    pub(super) fn request(&mut self, channel: u16, method: &impl EncodeMethod, request: Request) {
        debug_assert_eq!(method.id(), request.id());
        let Some(lane) = self.lane_mut(channel) else { return request.fail(&Error::Closed) };
        lane.pending.push_back(request);
        self.send(channel, method);
    }

    // Frames.

    fn frame(&mut self, frame: Frame<'_>) -> Result {
        let number = frame.channel;
        if number == 0 {
            return match frame.kind {
                FrameKind::Method => self.connection_method(Method::decode(&frame.payload)?),
                _ => Ok(()), // a heartbeat: whatever comes is a sign of life
            };
        }
        if matches!(self.phase, Phase::Closing) {
            return Ok(());
        }
        let Some(lane) = self.lane_mut(number) else {
            return Err(Error::Unexpected("frame on a channel that is not open"));
        };
        if let Stage::Closing(_) = lane.stage {
            return match frame.kind {
                FrameKind::Method => self.closing_method(number, &frame.payload),
                _ => Ok(()),
            };
        }
        // The command borrows from the assembler while it changes the rest.
        let mut assembler = mem::take(&mut lane.assembler);
        let result = match assembler.push(frame) {
            Ok(None) => Ok(()),
            Ok(Some(command)) => self.command(number, command),
            Err(error) if !error.reply_code().is_hard() => {
                log::warn!(target: LOG, "channel {number} is closed: {error}");
                self.close_lane(number, error.reply_code(), &error.reply_text());
                self.refused_by_us(number, error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        };
        if let Some(lane) = self.lane_mut(number) {
            lane.assembler = assembler;
        }
        result
    }

    /// A channel is being closed from here because of what came on it.
    fn refused_by_us(&mut self, number: u16, error: crate::codec::Error) {
        let Some(lane) = self.lane_mut(number) else { return };
        let error = Error::Codec(error);
        lane.fail_requests(&error);
        if let Some(shared) = &lane.shared {
            *shared.end.borrow_mut() = Some(error.clone());
        }
        let on_close = lane.on_close.take();
        if let Some(callback) = on_close {
            self.events.push_back(Event::ChannelClosed(callback, error));
        }
    }

    fn connection_method(&mut self, method: Method<'_>) -> Result {
        if let Method::ConnectionClose(close) = method {
            self.send(0, &connection::CloseOk {});
            return Err(match self.phase {
                Phase::Closing => Error::Closed,
                _ => Error::ConnectionClosed(closed(
                    close.reply_code,
                    close.reply_text,
                    close.class_id,
                    close.method_id,
                )),
            });
        }
        match (&mut self.phase, method) {
            (Phase::AwaitingStart, Method::ConnectionStart(start)) => {
                self.start(&start)?;
                self.phase = Phase::AwaitingTune;
            }
            (Phase::AwaitingTune, Method::ConnectionTune(tune)) => {
                self.tune(tune)?;
                self.phase = Phase::AwaitingOpen;
            }
            (Phase::AwaitingOpen, Method::ConnectionOpenOk(_)) if !self.was_open => {
                self.was_open = true;
                self.phase = Phase::Open;
            }
            (Phase::AwaitingOpen, Method::ConnectionOpenOk(_)) => {
                let recovery = self.begin_recovery();
                self.phase = Phase::Recovering(recovery);
                self.recover();
            }
            (Phase::Closing, Method::ConnectionCloseOk(_)) => return Err(Error::Closed),
            (Phase::Closing, _) => {}
            (Phase::Open | Phase::Recovering(_), Method::ConnectionBlocked(blocked)) => {
                let reason = blocked.reason.to_string();
                self.blocked = Some(reason.clone());
                self.events.push_back(Event::Notice(Notice::Blocked(reason)));
            }
            (Phase::Open | Phase::Recovering(_), Method::ConnectionUnblocked(_)) => {
                self.blocked = None;
                self.events.push_back(Event::Notice(Notice::Unblocked));
            }
            (Phase::Open, Method::ConnectionUpdateSecretOk(_)) if !self.secrets.is_empty() => {
                if let Some(promise) = self.secrets.pop_front() {
                    promise.succeed(());
                }
            }
            (_, method) => return Err(Error::Unexpected(method.name())),
        }
        Ok(())
    }

    /// Goes on with bringing back what was there, if that is what is being done.
    pub(super) fn recover(&mut self) {
        let Phase::Recovering(mut recovery) = mem::replace(&mut self.phase, Phase::Open) else {
            return;
        };
        if self.advance(&mut recovery) {
            self.events.push_back(Event::Notice(Notice::Recovered));
        } else {
            self.phase = Phase::Recovering(recovery);
        }
    }

    pub(super) fn recovery_mut(&mut self) -> Option<&mut Recovery> {
        match &mut self.phase {
            Phase::Recovering(recovery) => Some(recovery),
            _ => None,
        }
    }

    /// What came cannot be dealt with: tells the server so, if it would understand.
    fn give_up(&mut self, error: Error) -> Error {
        let (code, text, method) = match &error {
            Error::Codec(error) => (error.reply_code(), error.reply_text(), error.method_id()),
            Error::Unexpected(what) => {
                let code = ReplyCode::CommandInvalid;
                (code, code.text(format_args!("unexpected {what}")), MethodId::NONE)
            }
            _ => return error,
        };
        if matches!(self.phase, Phase::Open | Phase::Recovering(_)) {
            let close = connection::Close {
                reply_code: code.number(),
                reply_text: ShortStr::cut_text(&text),
                class_id: method.class_id,
                method_id: method.method_id,
            };
            self.send(0, &close);
        }
        error
    }
}

/// What the server said.
pub(super) fn closed(code: u16, text: ShortStr<'_>, class_id: u16, method_id: u16) -> Close {
    Close { code, text: text.to_string(), method: MethodId { class_id, method_id } }
}
