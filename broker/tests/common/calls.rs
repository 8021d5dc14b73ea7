//! Random calls with every feature at once.

use ropewalk_broker::*;

use super::{House, Props};

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// What queues and messages are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Transient,
    /// Durable, and every message persistent.
    Durable,
    /// Any of both.
    Mixed,
}

/// Arguments at random; the dead letters of each queue go to some queue.
fn arguments(random: &mut Random, kind: Kind) -> Table {
    let mut table = Table::new();
    if kind != Kind::Transient && random.one_in(4) {
        table.set("x-queue-type", Value::text("quorum"));
        if random.one_in(2) {
            table.set("x-delivery-limit", Value::I64(random.below(4) as i64));
        }
        if random.one_in(2) {
            table.set("x-dead-letter-exchange", Value::text("amq.fanout"));
        }
        return table;
    }
    let mut maybe = |random: &mut Random, name: &str, value: fn(u64) -> Value| {
        if random.one_in(3) {
            table.set(name, value(random.below(6)));
        }
    };
    maybe(random, "x-message-ttl", |it| Value::I64(it as i64 * 5));
    maybe(random, "x-max-length", |it| Value::I64(it as i64));
    maybe(random, "x-max-length-bytes", |it| Value::I64(it as i64 * 4));
    maybe(random, "x-max-priority", |it| Value::I64(it as i64));
    maybe(random, "x-expires", |it| Value::I64(it as i64 * 20 + 20));
    maybe(random, "x-delivery-limit", |it| Value::I64(it as i64));
    maybe(random, "x-single-active-consumer", |it| Value::Bool(it > 2));
    maybe(random, "x-overflow", |it| {
        Value::text(["drop-head", "reject-publish", "reject-publish-dlx"][it as usize % 3])
    });
    if random.one_in(2) {
        table.set(
            "x-dead-letter-exchange",
            Value::text(["", "amq.fanout"][random.below(2) as usize]),
        );
        if random.one_in(2) {
            let queue = format!("q{}", random.below(4));
            table.set("x-dead-letter-routing-key", Value::text(queue));
        }
    }
    table
}

/// One call at random, with whatever feature; errors close the channel now and then.
pub(crate) fn step(
    house: &mut House,
    random: &mut Random,
    channels: &mut [(ConnectionId, ChannelId)],
    kind: Kind,
) {
    let pick = random.below(channels.len() as u64) as usize;
    let channel = channels[pick].1;
    let queue = format!("q{}", random.below(4));
    let tag = format!("t{}", random.below(3));
    let number = random.below(12);
    let flag = random.one_in(2);
    let broker = &mut house.broker;
    let failed = match random.below(20) {
        0 | 1 => {
            let arguments = arguments(random, kind);
            let durable = kind == Kind::Durable || kind == Kind::Mixed && random.one_in(2);
            let flags = match (durable, random.one_in(4)) {
                (true, true) => "durable auto-delete",
                (true, false) => "durable",
                (false, true) => "auto-delete",
                (false, false) => "",
            };
            let declared = house.declare_with(channel, &queue, flags, &arguments).is_ok();
            if declared && flag {
                house.bind(channel, "amq.fanout", &queue, "");
            }
            false
        }
        2..8 => {
            let expiration = flag.then(|| (number * 3).to_string());
            let headers = random.one_in(3).then(|| {
                let copy = Value::Array(vec![Value::text(format!("q{}", number % 4))]);
                Table::from([(if flag { "CC" } else { "BCC" }, copy)])
            });
            let props = Props { headers, expiration, reply_to: None };
            let exchange = if random.one_in(4) { "amq.fanout" } else { "" };
            let priority = random.below(10) as u8;
            let persistent = kind == Kind::Durable || kind == Kind::Mixed && random.one_in(2);
            let body = random.below(1 << 20).to_string();
            let change = |publish: &mut Publish<'_>| {
                publish.mandatory = number == 0;
                publish.properties.persistent = persistent;
                publish.properties.priority = priority;
            };
            house.publish_with(channel, (exchange, &queue, &body), props, change).is_err()
        }
        8 | 9 => {
            let flags = if random.one_in(3) { "no-ack" } else { "" };
            let priority = Table::from([("x-priority", Value::I32(number as i32 - 5))]);
            house.consume_with(channel, &queue, &tag, flags, &priority).is_err()
        }
        10 => broker.cancel(channel, tag.as_bytes()).is_err(),
        11 => broker.ack(channel, number, flag).is_err(),
        12 => broker.nack(channel, number, flag, number.is_multiple_of(2)).is_err(),
        13 => broker.get(channel, queue.as_bytes(), flag).is_err(),
        14 => match number {
            0 => broker.select_transaction(channel).is_err(),
            1 => broker.select_confirm(channel).is_err(),
            2 | 3 => broker.commit(channel).is_err(),
            4 => broker.rollback(channel).is_err(),
            5 => broker.recover(channel, true).is_err(),
            _ => broker.qos(channel, 0, number as u16 % 4, flag).is_err(),
        },
        15 => match number {
            0 => broker.delete_queue(channel, queue.as_bytes(), false, false).is_err(),
            1 => broker.purge_queue(channel, queue.as_bytes()).is_err(),
            _ => number == 2,
        },
        16 => {
            broker.set_flow(channels[pick].0, flag);
            false
        }
        17 => {
            house.advance(number);
            false
        }
        _ => {
            house.drain();
            false
        }
    };
    if failed && random.one_in(3) {
        house.broker.close_channel(channel);
        channels[pick].1 = house.broker.open_channel(channels[pick].0, 1).expect("closed");
    }
    if random.one_in(200) {
        house.broker.close_connection(channels[pick].0);
        let connection = house.connection(pick as u64);
        channels[pick] = (connection, house.broker.open_channel(connection, 1).expect("fresh"));
    }
}
