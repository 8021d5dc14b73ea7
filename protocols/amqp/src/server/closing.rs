//! The ends of channels and connections: on a fault, by the client's wish, by a deadline.
//!
//! The one rule: what the broker said to a client before goes out before the `close`.

use std::time::Duration;

use log::{debug, warn};

use crate::codec::method::{channel, connection};
use crate::codec::{Assembler, Frame, FrameKind, Method, MethodId, ReplyCode, ShortStr};

use super::LOG;
use super::channel::ChannelState;
use super::command::Place;
use super::connection::{Connection, Context, Running, Session, Stage};
use super::fault::Fault;

impl Session {
    // Channels.

    /// Closes a channel on a fault. What the broker said to it before goes out first: deliveries
    /// that need no acknowledgement would be lost otherwise.
    pub(crate) fn close_channel(
        &mut self,
        context: &mut Context<'_, '_>,
        place: Place,
        fault: &Fault,
    ) {
        let Place { number, id, frame_max } = place;
        warn!(target: LOG, "{}: channel {number} is closed: {fault}", self.peer);
        context.hub.drain(context.transport);
        context.hub.broker.close_channel(id);
        let close = channel::Close {
            reply_code: fault.code.number(),
            reply_text: ShortStr::cut_text(&fault.text),
            class_id: fault.method.class_id,
            method_id: fault.method.method_id,
        };
        context.send(number, frame_max, &close);
        if let Some(channel) = self.channels.get_mut(number) {
            channel.state = ChannelState::Closing;
            channel.assembler = Assembler::default(); // what it held is needed no more
        }
    }

    /// Closes a channel that has held a delivery for longer than `timeout`, in RabbitMQ's words. A
    /// connection that waits for the store is left alone: the broker will speak of it again.
    pub(crate) fn consumer_timed_out(
        &mut self,
        context: &mut Context<'_, '_>,
        number: u16,
        timeout: Duration,
    ) {
        let channel = self.channels.get_mut(number);
        let id = channel.filter(|it| it.state == ChannelState::Open).map(|it| it.id);
        if let Some(id) = id.filter(|_| self.stall.is_none()) {
            let text = format!(
                "delivery acknowledgement on channel {number} timed out. Timeout value used: {} \
                 ms. This timeout value can be configured, see consumers doc guide to learn more",
                timeout.as_millis()
            );
            let fault = Fault::new(ReplyCode::PreconditionFailed, MethodId::NONE, text);
            let place = Place { number, id, frame_max: self.frame_max };
            self.close_channel(context, place, &fault);
        }
    }

    /// On a channel that the server has closed, only the answer counts. A method that cannot be
    /// decoded is discarded like any other.
    pub(crate) fn closing_channel_frame(
        &mut self,
        context: &mut Context<'_, '_>,
        frame: &Frame<'_>,
    ) -> Result<(), Fault> {
        let number = frame.channel;
        match decode(frame) {
            Some(Method::ChannelCloseOk(_)) => self.channels.remove(number),
            Some(Method::ChannelClose(_)) => {
                context.send(number, self.frame_max, &channel::CloseOk {});
            }
            Some(Method::ChannelOpen(_)) => {
                let text = "second 'channel.open' seen";
                return Err(Fault::new(ReplyCode::ChannelError, channel::Open::ID, text));
            }
            _ => {}
        }
        Ok(())
    }

    // Connections.

    /// The client ends the connection: its exclusive queues are gone before it gets its answer.
    ///
    /// The socket is the client's to close, within the time that it has to answer a `close` of
    /// ours. An end that came right behind the answer could overtake it inside a client with
    /// threads, and each of those may ask (Go's client does): each gets its answer.
    pub(crate) fn closed_by_client(
        &mut self,
        context: &mut Context<'_, '_>,
        close: &connection::Close<'_>,
    ) {
        debug!(target: LOG, "{}: closed: {} {}", self.peer, close.reply_code, close.reply_text);
        self.leave(context);
        context.send(0, self.frame_max, &connection::CloseOk {});
        self.stage = Stage::Closing;
        self.set_deadline(context, Some(context.shared.config.close_timeout));
    }

    /// On a connection that the server has closed, only the answer counts, and a `close` that has
    /// crossed ours on the way.
    pub(crate) fn closing_frame(&mut self, context: &mut Context<'_, '_>, frame: &Frame<'_>) {
        match decode(frame).filter(|_| frame.channel == 0) {
            Some(Method::ConnectionCloseOk(_)) => self.end(context),
            Some(Method::ConnectionClose(_)) => {
                context.send(0, self.frame_max, &connection::CloseOk {});
            }
            _ => {}
        }
    }

    // Ends.

    /// Closes the connection on a fault.
    pub(crate) fn fail(&mut self, context: &mut Context<'_, '_>, fault: &Fault) {
        if !matches!(self.stage, Stage::Closing) {
            warn!(target: LOG, "{}: the connection is closed: {fault}", self.peer);
            self.close(context, fault, context.shared.config.close_timeout);
        }
        if fault.lost_framing {
            self.end(context); // the answer could not be told from the rest
        }
    }

    /// Stops serving, says why, and gives the client `timeout` to answer.
    pub(crate) fn close(
        &mut self,
        context: &mut Context<'_, '_>,
        fault: &Fault,
        timeout: Duration,
    ) {
        self.leave(context);
        let close = connection::Close {
            reply_code: fault.code.number(),
            reply_text: ShortStr::cut_text(&fault.text),
            class_id: fault.method.class_id,
            method_id: fault.method.method_id,
        };
        context.send(0, self.frame_max, &close);
        self.stage = Stage::Closing;
        self.set_deadline(context, Some(timeout));
    }

    /// All is said: what is written is flushed, then the client sees the end.
    pub(crate) fn end(&mut self, context: &mut Context<'_, '_>) {
        self.stage = Stage::Ended;
        context.transport.lose_connection();
    }

    /// Takes the connection out of the broker, if it is there; its channels go with it. What the
    /// broker said to it before goes out first.
    pub(crate) fn leave(&mut self, context: &mut Context<'_, '_>) {
        if let Stage::Running(Running { key, .. }) = self.stage {
            context.hub.drain(context.transport);
            context.hub.leave(key, context.transport);
            self.channels.clear();
            self.let_all_go(context.hub);
        }
        self.stage = Stage::Ended;
    }

    pub(crate) fn set_deadline(
        &mut self,
        context: &mut Context<'_, '_>,
        timeout: Option<Duration>,
    ) {
        if let Some(timer) = self.deadline.take() {
            context.transport.cancel(timer);
        }
        self.deadline =
            timeout.map(|timeout| context.transport.call_later(timeout, Connection::deadline));
    }

    pub(crate) fn deadline_passed(&mut self, context: &mut Context<'_, '_>) {
        self.deadline = None;
        match &self.stage {
            Stage::Running(_) => return,
            Stage::Closing => {
                debug!(target: LOG, "{}: the client does not end its connection", self.peer);
            }
            Stage::Ended => {} // a refusal's delay
            stage => warn!(target: LOG, "{}: the handshake timed out, {}", self.peer, stage.name()),
        }
        self.end(context);
    }
}

/// The method of a frame that may be discarded.
fn decode<'a>(frame: &'a Frame<'_>) -> Option<Method<'a>> {
    match frame.kind {
        FrameKind::Method => Method::decode(&frame.payload).ok(),
        _ => None,
    }
}
