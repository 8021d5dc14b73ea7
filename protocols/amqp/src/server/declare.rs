//! The classes `exchange` and `queue`: what there is, and what leads where.

use ropewalk_broker::{Bind, ExchangeDeclare, QueueDeclare};

use crate::codec::method::{exchange, queue};
use crate::codec::{EncodeMethod, ShortStr};

use super::command::Place;
use super::connection::Context;
use super::convert::table;
use super::fault::Fault;

type Served = Result<(), Fault>;

/// Counts go on the wire as 32 bits.
pub(super) fn count(number: usize) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

pub(crate) fn exchange(
    context: &mut Context<'_, '_>,
    place: Place,
    declare: &exchange::Declare<'_>,
) -> Served {
    let arguments = table(declare.arguments);
    let declared = context.hub.broker.declare_exchange(
        place.id,
        &ExchangeDeclare {
            name: &declare.exchange,
            kind: &declare.exchange_type,
            passive: declare.passive,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: &arguments,
        },
    );
    declared.map_err(|error| Fault::of_broker(&error, declare.id()))?;
    context.answer(place, declare.nowait, &exchange::DeclareOk {});
    Ok(())
}

pub(crate) fn delete_exchange(
    context: &mut Context<'_, '_>,
    place: Place,
    delete: &exchange::Delete<'_>,
) -> Served {
    let broker = &mut context.hub.broker;
    let deleted = broker.delete_exchange(place.id, &delete.exchange, delete.if_unused);
    deleted.map_err(|error| Fault::of_broker(&error, delete.id()))?;
    context.answer(place, delete.nowait, &exchange::DeleteOk {});
    Ok(())
}

pub(crate) fn bind_exchange(
    context: &mut Context<'_, '_>,
    place: Place,
    bind: &exchange::Bind<'_>,
) -> Served {
    let arguments = table(bind.arguments);
    let bound = context.hub.broker.bind_exchange(
        place.id,
        &Bind {
            source: &bind.source,
            destination: &bind.destination,
            routing_key: &bind.routing_key,
            arguments: &arguments,
        },
    );
    bound.map_err(|error| Fault::of_broker(&error, bind.id()))?;
    context.answer(place, bind.nowait, &exchange::BindOk {});
    Ok(())
}

pub(crate) fn unbind_exchange(
    context: &mut Context<'_, '_>,
    place: Place,
    unbind: &exchange::Unbind<'_>,
) -> Served {
    let arguments = table(unbind.arguments);
    let unbound = context.hub.broker.unbind_exchange(
        place.id,
        &Bind {
            source: &unbind.source,
            destination: &unbind.destination,
            routing_key: &unbind.routing_key,
            arguments: &arguments,
        },
    );
    unbound.map_err(|error| Fault::of_broker(&error, unbind.id()))?;
    context.answer(place, unbind.nowait, &exchange::UnbindOk {});
    Ok(())
}

pub(crate) fn queue(
    context: &mut Context<'_, '_>,
    place: Place,
    declare: &queue::Declare<'_>,
) -> Served {
    let arguments = table(declare.arguments);
    let declared = context.hub.broker.declare_queue(
        place.id,
        &QueueDeclare {
            name: &declare.queue,
            passive: declare.passive,
            durable: declare.durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            arguments: &arguments,
        },
    );
    let status = declared.map_err(|error| Fault::of_broker(&error, declare.id()))?;
    let name: Box<[u8]> = status.name.into();
    let declare_ok = queue::DeclareOk {
        queue: ShortStr::cut(&name),
        message_count: count(status.message_count),
        consumer_count: count(status.consumer_count),
    };
    context.answer(place, declare.nowait, &declare_ok);
    Ok(())
}

pub(crate) fn bind_queue(
    context: &mut Context<'_, '_>,
    place: Place,
    bind: &queue::Bind<'_>,
) -> Served {
    let arguments = table(bind.arguments);
    let bound = context.hub.broker.bind_queue(
        place.id,
        &Bind {
            source: &bind.exchange,
            destination: &bind.queue,
            routing_key: &bind.routing_key,
            arguments: &arguments,
        },
    );
    bound.map_err(|error| Fault::of_broker(&error, bind.id()))?;
    context.answer(place, bind.nowait, &queue::BindOk {});
    Ok(())
}

pub(crate) fn unbind_queue(
    context: &mut Context<'_, '_>,
    place: Place,
    unbind: &queue::Unbind<'_>,
) -> Served {
    let arguments = table(unbind.arguments);
    let unbound = context.hub.broker.unbind_queue(
        place.id,
        &Bind {
            source: &unbind.exchange,
            destination: &unbind.queue,
            routing_key: &unbind.routing_key,
            arguments: &arguments,
        },
    );
    unbound.map_err(|error| Fault::of_broker(&error, unbind.id()))?;
    context.answer(place, false, &queue::UnbindOk {});
    Ok(())
}

pub(crate) fn purge_queue(
    context: &mut Context<'_, '_>,
    place: Place,
    purge: &queue::Purge<'_>,
) -> Served {
    let purged = context.hub.broker.purge_queue(place.id, &purge.queue);
    let message_count = count(purged.map_err(|error| Fault::of_broker(&error, purge.id()))?);
    context.answer(place, purge.nowait, &queue::PurgeOk { message_count });
    Ok(())
}

pub(crate) fn delete_queue(
    context: &mut Context<'_, '_>,
    place: Place,
    delete: &queue::Delete<'_>,
) -> Served {
    let broker = &mut context.hub.broker;
    let deleted = broker.delete_queue(place.id, &delete.queue, delete.if_unused, delete.if_empty);
    let message_count = count(deleted.map_err(|error| Fault::of_broker(&error, delete.id()))?);
    context.answer(place, delete.nowait, &queue::DeleteOk { message_count });
    Ok(())
}
