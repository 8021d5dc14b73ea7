//! What differs on purpose in what becomes of messages, and in quorum queues.

use ropewalk_amqp::codec::method::basic;
use ropewalk_amqp::codec::{BasicProperties, ShortStr, TableBuf};

use crate::known::Difference;
use crate::probe::*;
use crate::script::{Then, short};
use crate::wrong::publish_raw;

/// Where a message goes, and what it carries.
pub(crate) const MESSAGES: &[Difference] = &[
    Difference {
        what: "gets a dead-lettered message",
        why: "RabbitMQ 4 tells its last death, too, in `x-last-death-queue`, `-reason` and \
              `-exchange`",
        rabbitmq: "\"x-first-death-reason\": LongStr(\"rejected\")}",
        ours: "\"x-last-death-reason\": LongStr(\"rejected\")}",
        steps: || {
            let letters = TableBuf::new()
                .with("x-dead-letter-exchange", "")
                .with("x-dead-letter-routing-key", DEAD);
            script(vec![
                declare_as(DEAD, &TableBuf::new()),
                declare(&letters),
                publish(b"x"),
                get(Q, false),
                on(1, &basic::Reject { delivery_tag: 1, requeue: false }),
                get(DEAD, true),
            ])
        },
    },
    Difference {
        what: "gets a message that has died in three queues",
        why: "the newest death comes first, as RabbitMQ says; 3.10 turns the older ones around, \
              and takes some chains for cycles. RabbitMQ 4 does not",
        rabbitmq: "LongStr(\"rejected\"), \"routing-keys\": [LongStr(\"third\")], \"time\": \
                   Timestamp(now)}, {\"count\": LongLongInt(1), \"exchange\": LongStr(\"\"), \
                   \"queue\": LongStr(\"q\")",
        ours: "LongStr(\"rejected\"), \"routing-keys\": [LongStr(\"third\")], \"time\": \
               Timestamp(now)}, {\"count\": LongLongInt(1), \"exchange\": LongStr(\"\"), \
               \"queue\": LongStr(\"dead\")",
        steps: || {
            let to = |queue: &str| {
                TableBuf::new()
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", queue)
            };
            let reject = |tag| on(1, &basic::Reject { delivery_tag: tag, requeue: false });
            script(vec![
                declare(&to(DEAD)),
                declare_as(DEAD, &to(THIRD)),
                declare_as(THIRD, &to(LAST)),
                declare_as(LAST, &TableBuf::new()),
                publish(b"x"),
                get(Q, false),
                reject(1),
                get(DEAD, false),
                reject(2),
                get(THIRD, false),
                reject(3),
                get(LAST, true),
            ])
        },
    },
    Difference {
        what: "gets a dead-lettered message whose expiration was written with a sign",
        why: "it is the same time; the broker keeps the number",
        rabbitmq: "\"original-expiration\": LongStr(\"+0\")",
        ours: "\"original-expiration\": LongStr(\"0\")",
        steps: || {
            let letters = TableBuf::new()
                .with("x-dead-letter-exchange", "")
                .with("x-dead-letter-routing-key", DEAD);
            let expiration = Some(ShortStr::literal("+0"));
            let properties = BasicProperties { expiration, ..Default::default() }.to_vec();
            script(vec![
                declare_as(DEAD, &TableBuf::new()),
                declare(&letters),
                raw(publish_raw(1, Q, &properties, 1, b"x"), Then::Ping),
                get(DEAD, true),
            ])
        },
    },
    Difference {
        what: "publishes to a priority queue that holds others a message of a higher priority \
               that expires at once",
        why: "what has expired is nobody's any more; RabbitMQ counts it, and delivers it",
        rabbitmq: "message_count: 2",
        ours: "message_count: 1",
        steps: || {
            let properties = BasicProperties {
                priority: Some(1),
                expiration: Some(ShortStr::literal("0")),
                ..Default::default()
            };
            script(vec![
                declare(&TableBuf::new().with("x-max-priority", 5)),
                publish(b"low"),
                raw(publish_raw(1, Q, &properties.to_vec(), 1, b"x"), Then::Ping),
                passive(),
            ])
        },
    },
    Difference {
        what: "gives messages of several consumers of one queue back at once",
        why: "they go back to their places before any goes out again, so their order stays; \
              RabbitMQ does so consumer by consumer",
        rabbitmq: "delivery_tag: 3, redelivered: true, exchange: \"\", routing_key: \"q\" }) \
                   BasicProperties { ,  } \"2\"",
        ours: "delivery_tag: 3, redelivered: true, exchange: \"\", routing_key: \"q\" }) \
               BasicProperties { ,  } \"1\"",
        steps: || {
            script(vec![
                declare(&TableBuf::new()),
                consume(Q, "b", false),
                consume(Q, "a", false),
                publish(b"1"),
                publish(b"2"),
                on(1, &basic::Recover { requeue: true }),
            ])
        },
    },
    Difference {
        what: "consumes without acknowledgements while its channel's shared prefetch is used up",
        why: "AMQP says that the prefetch is ignored then, and such a consumer takes no part of it",
        rabbitmq: "",
        ours: "BasicDeliver(Deliver { consumer_tag: \"free\", delivery_tag: 2",
        steps: || {
            script(vec![
                declare(&TableBuf::new()),
                on(1, &basic::Qos { prefetch_count: 1, global: true, ..Default::default() }),
                publish(b"1"),
                consume(Q, "counted", false),
                consume(Q, "free", true),
                publish(b"2"),
            ])
        },
    },
    Difference {
        what: "gets a message and then limits the prefetch of the whole channel",
        why: "what was fetched is not counted, then or later; RabbitMQ counts it for good, even \
              once it is acknowledged",
        rabbitmq: "",
        ours: "BasicDeliver(Deliver { consumer_tag: \"t\", delivery_tag: 2",
        steps: || {
            script(vec![
                declare(&TableBuf::new()),
                publish(b"1"),
                get(Q, false),
                on(1, &basic::Qos { prefetch_count: 1, global: true, ..Default::default() }),
                on(1, &basic::Ack { delivery_tag: 1, multiple: false }),
                consume(Q, "t", false),
                publish(b"2"),
            ])
        },
    },
    Difference {
        what: "gets direct replies",
        why: "delivery tags are never given twice on a channel: replies count; in RabbitMQ a \
              reply has the tag of the delivery that follows it",
        rabbitmq: "BasicDeliver(Deliver { consumer_tag: \"t\", delivery_tag: 2,",
        ours: "BasicDeliver(Deliver { consumer_tag: \"t\", delivery_tag: 3,",
        steps: || script([asked(), vec![reply(false), reply(false)]].concat()),
    },
    Difference {
        what: "sends a mandatory direct reply that arrives",
        why: "RabbitMQ delivers it and returns it; since 4.2 it does only the first, as we do",
        rabbitmq: "BasicReturn(Return { reply_code: 312",
        ours: "BasicDeliver(Deliver { consumer_tag: \"t\"",
        steps: || script([asked(), vec![reply(true)]].concat()),
    },
];

/// Queues declared with `x-queue-type=quorum`.
pub(crate) const QUORUM: &[Difference] = &[
    Difference {
        what: "declares a quorum queue with an `x-delivery-limit` that is no number, or below 0",
        why: "a limit that cannot be meant is an error; RabbitMQ ignores one that is no number, and \
              gives messages up at their first return if it is negative",
        rabbitmq: "QueueDeclareOk",
        ours: "Close { reply_code: 406, reply_text: \"PRECONDITION_FAILED - invalid arg \
               'x-delivery-limit' for queue",
        steps: || {
            let arguments =
                TableBuf::new().with("x-queue-type", "quorum").with("x-delivery-limit", -1);
            script(vec![declare(&arguments)])
        },
    },
    Difference {
        what: "publishes to a quorum queue that is full and has `x-overflow=reject-publish`",
        why: "the limit is the limit; RabbitMQ looks at it when it has taken the message",
        rabbitmq: "\"y\" 1 octets",
        ours: "BasicGetEmpty",
        steps: || {
            let arguments = TableBuf::new()
                .with("x-queue-type", "quorum")
                .with("x-overflow", "reject-publish")
                .with("x-max-length", 1);
            script(vec![
                declare(&arguments),
                publish(b"x"),
                publish(b"y"),
                get(Q, true),
                get(Q, true),
            ])
        },
    },
    Difference {
        what: "gets a message from a quorum queue and has not acknowledged it yet",
        why: "who fetches is no consumer, and does not keep a queue in use",
        rabbitmq: "consumer_count: 1",
        ours: "consumer_count: 0",
        steps: || script(vec![declare_quorum(), publish(b"1"), get(Q, false), passive()]),
    },
    Difference {
        what: "gives a message back to a quorum queue without `x-delivery-limit`",
        why: "it goes back to its place; so it does, nearly, in RabbitMQ 4, where every quorum \
              queue has a limit. In 3.10 it goes to the tail",
        rabbitmq: "\"2\" 1 octets",
        ours: "\"1\" 1 octets",
        steps: || {
            script(vec![
                declare_quorum(),
                publish(b"1"),
                publish(b"2"),
                get(Q, false),
                on(1, &basic::Reject { delivery_tag: 1, requeue: true }),
                get(Q, true),
            ])
        },
    },
    Difference {
        what: "cancels a consumer of a quorum queue that has not acknowledged everything",
        why: "it is a consumer no more, as with any queue",
        rabbitmq: "consumer_count: 1",
        ours: "consumer_count: 0",
        steps: || {
            let consumer_tag = short("t");
            script(vec![
                declare_quorum(),
                publish(b"1"),
                consume(Q, "t", false),
                on(1, &basic::Cancel { consumer_tag, nowait: false }),
                passive(),
            ])
        },
    },
    Difference {
        what: "gives two messages back to a quorum queue, the later one first",
        why: "each goes back to its place; RabbitMQ delivers them in the order in which they came \
              back",
        rabbitmq: "\"2\" 1 octets",
        ours: "\"1\" 1 octets",
        steps: || {
            let limit = TableBuf::new().with("x-queue-type", "quorum").with("x-delivery-limit", 9);
            script(vec![
                declare(&limit),
                publish(b"1"),
                publish(b"2"),
                get(Q, false),
                get(Q, false),
                on(1, &basic::Reject { delivery_tag: 2, requeue: true }),
                on(1, &basic::Reject { delivery_tag: 1, requeue: true }),
                get(Q, true),
            ])
        },
    },
];
