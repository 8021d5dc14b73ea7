//! The class `basic`: messages in, messages out, and what becomes of them.

use ropewalk_broker::{Body, Consume, Fetch, Properties, Publish};

use crate::codec::method::basic;
use crate::codec::{BasicProperties, Content, EncodeMethod, Payload, ShortStr};

use super::command::Place;
use super::connection::Context;
use super::convert::table;
use super::declare::count;
use super::fault::Fault;
use super::hub::write_content;
use super::sink::TransportSink;
use super::store::stall;

type Served = Result<(), Fault>;

#[inline]
pub(crate) fn publish(
    context: &mut Context<'_, '_>,
    place: Place,
    publish: &basic::Publish<'_>,
    content: Content<'_>,
) -> Served {
    let raw = &*content.properties;
    let found = BasicProperties::decode(raw).map_err(|error| Fault::of_codec(&error))?;
    let body = match content.body {
        Payload::Borrowed(body) => Body::Borrowed(body),
        Payload::Shared(body) => Body::Shared(body),
    };
    let message = Publish {
        exchange: publish.exchange.as_bytes(),
        routing_key: publish.routing_key.as_bytes(),
        mandatory: publish.mandatory,
        immediate: publish.immediate,
        properties: Properties {
            raw,
            persistent: found.is_persistent(),
            priority: found.priority.unwrap_or(0),
            expiration: found.expiration.map(ShortStr::as_bytes),
            user_id: found.user_id.map(ShortStr::as_bytes),
            reply_to: found.reply_to.map(ShortStr::as_bytes),
            has_headers: found.headers.is_some(),
        },
        body,
    };
    let published = context.hub.broker.publish(place.id, &message);
    published.map_err(|error| Fault::of_broker(&error, publish.id()))
}

#[inline]
pub(crate) fn ack(context: &mut Context<'_, '_>, place: Place, ack: &basic::Ack) -> Served {
    let acked = context.hub.broker.ack(place.id, ack.delivery_tag, ack.multiple);
    acked.map_err(|error| Fault::of_broker(&error, ack.id()))
}

pub(crate) fn nack(context: &mut Context<'_, '_>, place: Place, nack: &basic::Nack) -> Served {
    let basic::Nack { delivery_tag, multiple, requeue } = *nack;
    let nacked = context.hub.broker.nack(place.id, delivery_tag, multiple, requeue);
    nacked.map_err(|error| Fault::of_broker(&error, nack.id()))
}

pub(crate) fn reject(
    context: &mut Context<'_, '_>,
    place: Place,
    reject: &basic::Reject,
) -> Served {
    let rejected = context.hub.broker.reject(place.id, reject.delivery_tag, reject.requeue);
    rejected.map_err(|error| Fault::of_broker(&error, reject.id()))
}

pub(crate) fn qos(context: &mut Context<'_, '_>, place: Place, qos: &basic::Qos) -> Served {
    let basic::Qos { prefetch_size, prefetch_count, global } = *qos;
    let set = context.hub.broker.qos(place.id, prefetch_size, prefetch_count, global);
    set.map_err(|error| Fault::of_broker(&error, qos.id()))?;
    context.answer(place, false, &basic::QosOk {});
    Ok(())
}

pub(crate) fn consume(
    context: &mut Context<'_, '_>,
    place: Place,
    consume: &basic::Consume<'_>,
) -> Served {
    let arguments = table(consume.arguments);
    let hub = &mut *context.hub;
    let started = hub.broker.consume(
        place.id,
        &Consume {
            queue: &consume.queue,
            consumer_tag: &consume.consumer_tag,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            arguments: &arguments,
        },
    );
    let tag = started.map_err(|error| Fault::of_broker(&error, consume.id()))?;
    if !consume.nowait {
        let consume_ok = basic::ConsumeOk { consumer_tag: ShortStr::cut(tag) };
        let mut sink = TransportSink(context.transport);
        hub.encoder.frames_to(&mut sink, place.frame_max).method(place.number, &consume_ok);
    }
    Ok(())
}

pub(crate) fn cancel(
    context: &mut Context<'_, '_>,
    place: Place,
    cancel: &basic::Cancel<'_>,
) -> Served {
    let cancelled = context.hub.broker.cancel(place.id, &cancel.consumer_tag);
    cancelled.map_err(|error| Fault::of_broker(&error, cancel.id()))?;
    let consumer_tag = cancel.consumer_tag;
    context.answer(place, cancel.nowait, &basic::CancelOk { consumer_tag });
    Ok(())
}

pub(crate) fn get(context: &mut Context<'_, '_>, place: Place, get: &basic::Get<'_>) -> Served {
    let hub = &mut *context.hub;
    let fetched = hub.broker.get(place.id, &get.queue, get.no_ack);
    let fetched = fetched.map_err(|error| Fault::of_broker(&error, get.id()))?;
    let mut sink = TransportSink(context.transport);
    let mut frames = hub.encoder.frames_to(&mut sink, place.frame_max);
    let fetched = match fetched {
        Fetch::Message(fetched) => fetched,
        Fetch::Empty => {
            frames.method(place.number, &basic::GetEmpty::default());
            return Ok(());
        }
        Fetch::Loading => {
            context.stall = Some(stall::later(place, get));
            return Ok(());
        }
    };
    let message = fetched.message;
    let get_ok = basic::GetOk {
        delivery_tag: fetched.delivery_tag,
        redelivered: fetched.redelivered,
        exchange: ShortStr::cut(message.exchange()),
        routing_key: ShortStr::cut(message.routing_key()),
        message_count: count(fetched.message_count),
    };
    write_content(&mut frames, place.number, &get_ok, message, fetched.delivery_count);
    Ok(())
}

pub(crate) fn recover(
    context: &mut Context<'_, '_>,
    place: Place,
    recover: &basic::Recover,
) -> Served {
    let recovered = context.hub.broker.recover(place.id, recover.requeue);
    recovered.map_err(|error| Fault::of_broker(&error, recover.id()))?;
    context.answer(place, false, &basic::RecoverOk {});
    Ok(())
}

pub(crate) fn recover_async(
    context: &mut Context<'_, '_>,
    place: Place,
    recover: &basic::RecoverAsync,
) -> Served {
    let recovered = context.hub.broker.recover(place.id, recover.requeue);
    recovered.map_err(|error| Fault::of_broker(&error, recover.id()))
}
