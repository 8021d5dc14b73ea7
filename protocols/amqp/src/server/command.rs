//! A channel's commands: from a method to a call of the broker, and from what it returns to the
//! answer.
//!
//! The one rule, the broker's: what it said before a method that has an answer goes out before
//! that answer, and what the method makes it say, after.

use ropewalk_broker::ChannelId;

use crate::codec::method::basic::{Ack, Publish};
use crate::codec::method::{access, channel, confirm, tx};
use crate::codec::{DecodeMethod, EncodeMethod, Method, MethodId, RawCommand, ReplyCode};

use super::connection::Context;
use super::fault::Fault;
use super::store::stall::is_kept;
use super::{basic, declare};

/// The channel that a command came on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) number: u16,
    pub(crate) id: ChannelId,
    pub(crate) frame_max: u32,
}

/// What has become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Served,
    /// It closed its channel.
    Closed,
}

/// Serves one command.
#[inline]
pub(crate) fn run(
    context: &mut Context<'_, '_>,
    place: Place,
    command: RawCommand<'_>,
) -> Result<Done, Fault> {
    let RawCommand { method, content } = command;
    // These two come a million times a second.
    if let Some(content) = content
        && let Some(publish) = Publish::of(method)
    {
        let publish = publish.map_err(|error| Fault::of_codec(&error))?;
        basic::publish(context, place, &publish, content)?;
    } else if let Some(ack) = Ack::of(method) {
        let ack = ack.map_err(|error| Fault::of_codec(&error))?;
        basic::ack(context, place, &ack)?;
    } else {
        let method = Method::decode(method).map_err(|error| Fault::of_codec(&error))?;
        return run_rarer(context, place, &method);
    }
    Ok(Done::Served)
}

#[inline(never)]
fn run_rarer(
    context: &mut Context<'_, '_>,
    place: Place,
    method: &Method<'_>,
) -> Result<Done, Fault> {
    match method {
        Method::BasicNack(nack) => basic::nack(context, place, nack)?,
        Method::BasicReject(reject) => basic::reject(context, place, reject)?,
        // An answer to the server's `basic.cancel`, which asks for none.
        Method::BasicCancelOk(_) => {}
        method => {
            context.prepare(method.id())?;
            if !is_kept(method) {
                return run_synchronous(context, place, method);
            }
            let before = context.hold_answer();
            let done = run_synchronous(context, place, method);
            context.release_answer(before);
            return done;
        }
    }
    Ok(Done::Served)
}

/// Methods that have an answer, unless they say `nowait`.
fn run_synchronous(
    context: &mut Context<'_, '_>,
    place: Place,
    method: &Method<'_>,
) -> Result<Done, Fault> {
    match method {
        Method::ChannelOpen(open) => {
            let text = "second 'channel.open' seen";
            return Err(Fault::new(ReplyCode::ChannelError, open.id(), text));
        }
        Method::ChannelFlow(flow) if flow.active => {
            context.answer(place, false, &channel::FlowOk { active: true });
        }
        Method::ChannelFlow(flow) => {
            return Err(Fault::new(ReplyCode::NotImplemented, flow.id(), "active=false"));
        }
        Method::ChannelClose(_) => {
            context.hub.broker.close_channel(place.id);
            context.answer(place, false, &channel::CloseOk {});
            return Ok(Done::Closed);
        }
        Method::AccessRequest(_) => {
            context.answer(place, false, &access::RequestOk::default());
        }
        Method::ConfirmSelect(select) => {
            let selected = context.hub.broker.select_confirm(place.id);
            selected.map_err(|error| Fault::of_broker(&error, select.id()))?;
            context.answer(place, select.nowait, &confirm::SelectOk {});
        }

        Method::ExchangeDeclare(declare) => declare::exchange(context, place, declare)?,
        Method::ExchangeDelete(delete) => declare::delete_exchange(context, place, delete)?,
        Method::ExchangeBind(bind) => declare::bind_exchange(context, place, bind)?,
        Method::ExchangeUnbind(unbind) => declare::unbind_exchange(context, place, unbind)?,
        Method::QueueDeclare(declare) => declare::queue(context, place, declare)?,
        Method::QueueBind(bind) => declare::bind_queue(context, place, bind)?,
        Method::QueueUnbind(unbind) => declare::unbind_queue(context, place, unbind)?,
        Method::QueuePurge(purge) => declare::purge_queue(context, place, purge)?,
        Method::QueueDelete(delete) => declare::delete_queue(context, place, delete)?,

        Method::BasicQos(qos) => basic::qos(context, place, qos)?,
        Method::BasicConsume(consume) => basic::consume(context, place, consume)?,
        Method::BasicCancel(cancel) => basic::cancel(context, place, cancel)?,
        Method::BasicGet(get) => basic::get(context, place, get)?,
        Method::BasicRecover(recover) => basic::recover(context, place, recover)?,
        Method::BasicRecoverAsync(recover) => basic::recover_async(context, place, recover)?,

        Method::TxSelect(select) => {
            let selected = context.hub.broker.select_transaction(place.id);
            selected.map_err(|error| Fault::of_broker(&error, select.id()))?;
            context.answer(place, false, &tx::SelectOk {});
        }
        Method::TxCommit(commit) => {
            let committed = context.hub.broker.commit(place.id);
            committed.map_err(|error| Fault::of_broker(&error, commit.id()))?;
            context.answer(place, false, &tx::CommitOk {});
        }
        Method::TxRollback(rollback) => {
            let rolled_back = context.hub.broker.rollback(place.id);
            rolled_back.map_err(|error| Fault::of_broker(&error, rollback.id()))?;
            context.answer(place, false, &tx::RollbackOk {});
        }

        // The connection's methods, and what only a server may say.
        method => {
            let text = "unimplemented method";
            return Err(Fault::new(ReplyCode::CommandInvalid, method.id(), text));
        }
    }
    Ok(Done::Served)
}

impl Context<'_, '_> {
    /// Before a call of the broker that has an answer: sends what must not come after it, and
    /// sees to it that the broker finds randomness for a name.
    fn prepare(&mut self, method: MethodId) -> Result<(), Fault> {
        self.hub.drain(self.transport);
        self.hub.entropy.refill(self.transport).map_err(|error| {
            let text = format!("the system has no randomness: {error}");
            Fault::new(ReplyCode::InternalError, method, text)
        })
    }

    /// Answers a method on its channel, unless `nowait`.
    pub(super) fn answer(&mut self, place: Place, nowait: bool, method: &impl EncodeMethod) {
        if !nowait {
            self.send(place.number, place.frame_max, method);
        }
    }
}
