//! What differs from RabbitMQ on purpose: each with the reason, and a script that shows it. The
//! scripts that a seed makes keep clear of these.

use ropewalk_amqp::codec::method::{basic, connection, exchange, queue, tx};
use ropewalk_amqp::codec::{BasicProperties, PROTOCOL_HEADER, Secret, ShortStr, TableBuf};

use crate::known_messages::{MESSAGES, QUORUM};
use crate::probe::*;
use crate::script::{Script, Then, short};
use crate::wire::encode;
use crate::wrong::{frame, publish_raw, start_ok, tune_ok};

pub(crate) struct Difference {
    /// What a client does.
    pub(crate) what: &'static str,
    pub(crate) why: &'static str,
    /// A part of what RabbitMQ 3.10.8 answers to the last step; nothing at all if it is empty.
    pub(crate) rabbitmq: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) steps: fn() -> Script,
}

pub(crate) fn differences() -> impl Iterator<Item = &'static Difference> {
    [ERRORS, LENIENCY, MESSAGES, QUORUM].into_iter().flatten()
}

/// Other errors.
const ERRORS: &[Difference] = &[
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
        what: "agrees to more channels than it was offered, or to other sizes of frames than there \
               may be",
        why: "RabbitMQ 4 says so, as we do; 3.10 hangs up without a word",
        rabbitmq: "Start; ConnectionTune",
        ours: "Close { reply_code: 530, reply_text: \"NOT_ALLOWED - negotiated channel_max = 2048 is \
               higher than the maximum allowed value (2047)\", class_id: 10, method_id: 30 }",
        steps: || {
            let octets = [PROTOCOL_HEADER.as_ref(), &start_ok(), &tune_ok(2048, 131_072)].concat();
            script(vec![greeting(octets)])
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
];

/// What one takes, and the other does not.
const LENIENCY: &[Difference] = &[
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
    Difference {
        what: "declares a classic queue with `x-queue-leader-locator`",
        why: "it chooses among nodes, and here there is one",
        rabbitmq: "Close { reply_code: 406, reply_text: \"PRECONDITION_FAILED - invalid arg \
                   'x-queue-leader-locator' for queue",
        ours: "QueueDeclareOk",
        steps: || {
            script(vec![declare(&TableBuf::new().with("x-queue-leader-locator", "client-local"))])
        },
    },
];

/// The page for users tells each of them.
#[test]
fn the_docs_tell_every_difference() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/differences-from-rabbitmq.md")).unwrap();
    let page = page.replace('\n', " ");
    for difference in differences() {
        for text in [difference.what, difference.why] {
            assert!(page.contains(text), "docs/differences-from-rabbitmq.md lacks: {text}");
        }
    }
}
