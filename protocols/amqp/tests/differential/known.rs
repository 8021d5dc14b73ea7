//! What differs from RabbitMQ on purpose: each with the reason, and a script that shows it. The
//! scripts that a seed makes keep clear of these.

use ropewalk_amqp::codec::method::{basic, connection, exchange, queue, tx};
use ropewalk_amqp::codec::{BasicProperties, EncodeMethod, Secret, ShortStr, TableBuf};

use crate::message::reply_of;
use crate::script::{Script, Sent, Step, Then, short};
use crate::wire::encode;
use crate::wrong::{frame, publish_raw};

pub(crate) struct Difference {
    /// What a client does.
    pub(crate) what: &'static str,
    pub(crate) why: &'static str,
    /// A part of what RabbitMQ 3.10.8 answers to the last step; nothing at all if it is empty.
    pub(crate) rabbitmq: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) steps: fn() -> Script,
}

const Q: &str = "known.q";
const DEAD: &str = "known.dead";
const THIRD: &str = "known.third";
const LAST: &str = "known.last";
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

pub(crate) const DIFFERENCES: &[Difference] = &[
    // Errors.
    Difference {
        what: "declares an exchange of a type that there is not",
        why: "RabbitMQ 4 closes the channel, as we do; 3.10 the connection, and with it every \
              channel",
        rabbitmq: "Close { reply_code: 503, reply_text: \"COMMAND_INVALID - unknown exchange type \
                   'no-such-type'\", class_id: 40, method_id: 10 }; gone",
        ours: "Close { reply_code: 406, reply_text: \"PRECONDITION_FAILED - unknown exchange type \
               'no-such-type'\", class_id: 40, method_id: 10 }",
        steps: || {
            script(vec![on(
                1,
                &exchange::Declare {
                    exchange: ShortStr::literal("known.x"),
                    exchange_type: ShortStr::literal("no-such-type"),
                    ..Default::default()
                },
            )])
        },
    },
    Difference {
        what: "sends more of a body than it announced",
        why: "RabbitMQ 4 refuses it, as we do; 3.10 waits for a body that cannot end, and blames \
              the next frame",
        rabbitmq: "Close { reply_code: 505, reply_text: \"UNEXPECTED_FRAME - expected content \
                   body, got non content body frame instead\"",
        ours: "Close { reply_code: 501, reply_text: \"FRAME_ERROR - content body frame exceeds \
               remaining content size\"",
        steps: || script(vec![raw(publish_raw(1, Q, &[0, 0], 1, b"more"), Then::Ping)]),
    },
    Difference {
        what: "calls a method that AMQP does not have",
        why: "a client learns more from a close than from a connection that is cut",
        rabbitmq: "gone",
        ours: "Close { reply_code: 540, reply_text: \"NOT_IMPLEMENTED - unknown method {99,1}\"",
        steps: || script(vec![raw(frame(1, 1, &[0, 99, 0, 1]), Then::ConnectionEnds)]),
    },
    Difference {
        what: "sends a table with a value of an unknown type",
        why: "a client learns more from a close than from a connection that is cut",
        rabbitmq: "gone",
        ours: "Close { reply_code: 502, reply_text: \"SYNTAX_ERROR - unknown field type '?'\"",
        steps: || {
            let declare = encode(1, &queue::Declare { queue: short(Q), ..Default::default() });
            let mut payload = declare[7..declare.len() - 5].to_vec();
            payload.extend(b"\0\0\0\x04\x01a?\0");
            script(vec![raw(frame(1, 1, &payload), Then::ConnectionEnds)])
        },
    },
    Difference {
        what: "publishes with properties that cannot be decoded",
        why: "the code is the same; the text says what is wrong",
        rabbitmq: "Close { reply_code: 541, reply_text: \"INTERNAL_ERROR\"",
        ours: "Close { reply_code: 541, reply_text: \"INTERNAL_ERROR - cannot decode the content's properties\"",
        steps: || script(vec![raw(publish_raw(1, Q, &[0x80, 0, 9, b'x'], 1, b"x"), Then::Ping)]),
    },
    Difference {
        what: "declares a queue without a name and of a type that there is not",
        why: "it is no internal error, and a name makes no difference to it",
        rabbitmq: "Close { reply_code: 541, reply_text: \"INTERNAL_ERROR\"",
        ours: "Close { reply_code: 406, reply_text: \"PRECONDITION_FAILED - invalid arg \
               'x-queue-type' for queue 'amq.gen-#1' in vhost '/': \\\"unsupported queue type \
               'heap'\\\"\"",
        steps: || {
            let heap = TableBuf::new().with("x-queue-type", "heap");
            script(vec![on(
                1,
                &queue::Declare { arguments: heap.as_table(), ..Default::default() },
            )])
        },
    },
    Difference {
        what: "is told of an error with a long term of Erlang in it",
        why: "RabbitMQ breaks its texts into lines of 80 columns; ours stay on one",
        rabbitmq: "<<0,1,119,104,97,116,32,105,115,32,116,104,105,115,\\n",
        ours: "<<0,1,119,104,97,116,32,105,115,32,116,104,105,115,44,32>>: unknown_frame",
        steps: || {
            let unknown = frame(9, 0, b"\0\x01what is this, please");
            script(vec![raw(unknown, Then::ConnectionEnds)])
        },
    },
    Difference {
        what: "binds the pseudo-queue of direct replies",
        why: "RabbitMQ 4 says so",
        rabbitmq: "Close { reply_code: 404, reply_text: \"NOT_FOUND - no queue \
                   'amq.rabbitmq.reply-to' in vhost '/'\", class_id: 50, method_id: 20 }",
        ours: "Close { reply_code: 403, reply_text: \"ACCESS_REFUSED - cannot bind or unbind to a \
               volatile (direct reply-to) queue\", class_id: 50, method_id: 20 }",
        steps: || {
            let (queue, exchange) = (short(REPLY_TO), ShortStr::literal("amq.fanout"));
            script(vec![on(1, &queue::Bind { queue, exchange, ..Default::default() })])
        },
    },
    Difference {
        what: "renews its secret with one that is wrong",
        why: "its next login would fail, and nobody would know why",
        rabbitmq: "ConnectionUpdateSecretOk(UpdateSecretOk)",
        ours: "Close { reply_code: 530, reply_text: \"NOT_ALLOWED - New secret was refused by one of \
               the backends\", class_id: 10, method_id: 70 }; gone",
        steps: || {
            let new_secret = Secret(b"wrong");
            let update = connection::UpdateSecret { new_secret, ..Default::default() };
            script(vec![on(0, &update)])
        },
    },
    // Leniency.
    Difference {
        what: "answers a `basic.cancel`, or pretends to",
        why: "RabbitMQ 4 takes it, as we do: the specification knows the answer",
        rabbitmq: "Close { reply_code: 503, reply_text: \"COMMAND_INVALID - unimplemented \
                   method\", class_id: 60, method_id: 31 }",
        ours: "",
        steps: || script(vec![on(1, &basic::CancelOk::default())]),
    },
    Difference {
        what: "publishes with a delivery mode that is neither 1 nor 2",
        why: "RabbitMQ 4 takes it, as we do, for a transient message",
        rabbitmq: "Close { reply_code: 406, reply_text: \"PRECONDITION_FAILED - invalid message: \
                   {delivery_mode_unknown,3}\"",
        ours: "",
        steps: || {
            let properties = BasicProperties { delivery_mode: Some(3), ..Default::default() };
            let octets = publish_raw(1, Q, &properties.to_vec(), 1, b"x");
            script(vec![raw(octets, Then::Ping)])
        },
    },
    Difference {
        what: "sends a method behind a `tx.commit` without waiting for its answer",
        why: "here a commit is done before the next method is looked at",
        rabbitmq: "Close { reply_code: 504, reply_text: \"CHANNEL_ERROR - unexpected command \
                   while processing 'tx.commit'\"",
        ours: "TxCommitOk(CommitOk)",
        steps: || {
            let octets = [encode(1, &tx::Commit {}), encode(1, &basic::Qos::default())];
            script(vec![
                on(1, &queue::Declare { queue: short(Q), durable: true, ..Default::default() }),
                on(1, &tx::Select {}),
                raw(publish_raw(1, Q, &[0x10, 0, 2], 1, b"x"), Then::Ping),
                raw(octets.concat(), Then::Answer),
            ])
        },
    },
    Difference {
        what: "speaks AMQP 0-8",
        why: "RabbitMQ 4 does not either; whoever asks is told that it is 0-9-1",
        rabbitmq: "Start",
        ours: "[0, 0, 9, 1]",
        steps: || script(vec![greeting(b"AMQP\x01\x01\x08\x00".to_vec())]),
    },
    Difference {
        what: "declares a stream",
        why: "there are none here",
        rabbitmq: "QueueDeclareOk",
        ours: "Close { reply_code: 406, reply_text: \"PRECONDITION_FAILED - invalid arg \
               'x-queue-type' for queue 'q' in vhost '/': \\\"unsupported queue type \
               'stream'\\\"\"",
        steps: || script(vec![declare(&TableBuf::new().with("x-queue-type", "stream"))]),
    },
    // Messages.
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
                on(1, &queue::Declare { queue: short(DEAD), ..Default::default() }),
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
    // Quorum queues.
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

// The parts of scripts, all on connection 0 and channel 1.

fn script(steps: Vec<Step>) -> Script {
    Script {
        prefix: "known.".to_owned(),
        queues: [Q, DEAD, THIRD, LAST].map(str::to_owned).to_vec(),
        exchanges: Vec::new(),
        steps,
    }
}

fn step(sent: Sent, then: Then) -> Step {
    Step { connection: 0, channel: 1, text: String::new(), sent, then }
}

fn raw(octets: Vec<u8>, then: Then) -> Step {
    step(Sent::Octets(octets), then)
}

fn on(channel: u16, method: &impl EncodeMethod) -> Step {
    raw(encode(channel, method), Then::Ping)
}

fn greeting(octets: Vec<u8>) -> Step {
    step(Sent::Greeting(octets), Then::ConnectionEnds)
}

fn declare(arguments: &TableBuf) -> Step {
    declare_as(Q, arguments)
}

fn declare_as(queue: &str, arguments: &TableBuf) -> Step {
    let durable = arguments.as_table().get("x-queue-type").is_some();
    let (queue, arguments) = (short(queue), arguments.as_table());
    on(1, &queue::Declare { queue, durable, arguments, ..Default::default() })
}

fn declare_quorum() -> Step {
    declare(&TableBuf::new().with("x-queue-type", "quorum"))
}

fn passive() -> Step {
    on(1, &queue::Declare { queue: short(Q), passive: true, ..Default::default() })
}

fn publish(body: &[u8]) -> Step {
    raw(publish_raw(1, Q, &[0, 0], body.len() as u64, body), Then::Ping)
}

fn get(queue: &str, no_ack: bool) -> Step {
    on(1, &basic::Get { queue: short(queue), no_ack, ..Default::default() })
}

fn consume(queue: &str, tag: &str, no_ack: bool) -> Step {
    let (queue, consumer_tag) = (short(queue), short(tag));
    on(1, &basic::Consume { queue, consumer_tag, no_ack, ..Default::default() })
}

/// Somebody has asked for direct replies, had one message, and seen the address.
fn asked() -> Vec<Step> {
    let properties = BasicProperties { reply_to: Some(short(REPLY_TO)), ..Default::default() };
    vec![
        declare(&TableBuf::new()),
        consume(REPLY_TO, "t", true),
        raw(publish_raw(1, Q, &properties.to_vec(), 1, b"x"), Then::Ping),
        get(Q, true),
    ]
}

fn reply(mandatory: bool) -> Step {
    let make: fn(u16, &str) -> Vec<u8> = match mandatory {
        true => |n, address| reply_of(n, "", address, true),
        false => |n, address| reply_of(n, "", address, false),
    };
    step(Sent::ToAddress(make), Then::Ping)
}

/// The page for users tells each of them.
#[test]
fn the_docs_tell_every_difference() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/differences-from-rabbitmq.md")).unwrap();
    let page = page.replace('\n', " ");
    for difference in DIFFERENCES {
        for text in [difference.what, difference.why] {
            assert!(page.contains(text), "docs/differences-from-rabbitmq.md lacks: {text}");
        }
    }
}
