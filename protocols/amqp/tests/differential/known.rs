//! What differs from RabbitMQ on purpose: each with the reason, and a script that shows it. The
//! scripts that a seed makes keep clear of these.

use ropewalk_amqp::codec::method::{basic, connection, exchange, queue};
use ropewalk_amqp::codec::{BasicProperties, Encoder, Secret, ShortStr};

use crate::script::{Script, Step, Then};
use crate::wire::{FRAME_MAX, encode};

pub(crate) struct Difference {
    /// What a client does.
    pub(crate) what: &'static str,
    pub(crate) why: &'static str,
    /// What RabbitMQ 3.10.8 answers.
    pub(crate) rabbitmq: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) steps: fn() -> Script,
}

const Q: ShortStr<'static> = ShortStr::literal("known.q");

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "declares an exchange of a type that there is not",
        why: "RabbitMQ 4 closes the channel, as we do; 3.10 the connection, and with it every channel",
        rabbitmq: "Close { reply_code: 503, reply_text: \"COMMAND_INVALID - unknown exchange type \
               'no-such-type'\", class_id: 40, method_id: 10 }; gone",
        ours: "Close { reply_code: 406, reply_text: \"PRECONDITION_FAILED - unknown exchange type \
           'no-such-type'\", class_id: 40, method_id: 10 }",
        steps: || {
            one(&encode(
                1,
                &exchange::Declare {
                    exchange: ShortStr::literal("known.x"),
                    exchange_type: ShortStr::literal("no-such-type"),
                    ..Default::default()
                },
            ))
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
            one(&encode(
                1,
                &queue::Bind {
                    queue: ShortStr::literal("amq.rabbitmq.reply-to"),
                    exchange: ShortStr::literal("amq.fanout"),
                    ..Default::default()
                },
            ))
        },
    },
    Difference {
        what: "publishes with a delivery mode that is neither 1 nor 2",
        why: "RabbitMQ 4 takes it, too, as transient",
        rabbitmq: "Close { reply_code: 406, reply_text: \"PRECONDITION_FAILED - invalid message: \
               {delivery_mode_unknown,0}\", class_id: 60, method_id: 40 }",
        ours: "",
        steps: || one(&publish(BasicProperties { delivery_mode: Some(0), ..Default::default() })),
    },
    Difference {
        what: "sends a method that there is not",
        why: "a client under development learns what was wrong",
        rabbitmq: "gone",
        ours: "Close { reply_code: 540, reply_text: \"NOT_IMPLEMENTED - unknown method {60,99}\", \
           class_id: 60, method_id: 99 }; gone",
        steps: || one(&[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 99, 0xce]),
    },
    Difference {
        what: "renews its secret with one that is wrong",
        why: "its next login would fail, and nobody would know why",
        rabbitmq: "ConnectionUpdateSecretOk(UpdateSecretOk)",
        ours: "Close { reply_code: 530, reply_text: \"NOT_ALLOWED - New secret was refused by one of \
           the backends\", class_id: 10, method_id: 70 }; gone",
        steps: || {
            let update =
                connection::UpdateSecret { new_secret: Secret(b"wrong"), ..Default::default() };
            one(&encode(0, &update))
        },
    },
    Difference {
        what: "consumes without acknowledgements while its channel's shared prefetch is used up",
        why: "AMQP says that the prefetch is ignored then, and such a consumer takes no part of it",
        rabbitmq: "",
        ours: "BasicDeliver(Deliver { consumer_tag: \"free\", delivery_tag: 2, redelivered: false, \
           exchange: \"\", routing_key: \"q\" }) BasicProperties { ,  } \"x\" 1 octets, 00000078",
        steps: || {
            let qos = basic::Qos { prefetch_size: 0, prefetch_count: 1, global: true };
            let consume = basic::Consume { queue: Q, nowait: true, ..Default::default() };
            let counted = basic::Consume { consumer_tag: ShortStr::literal("counted"), ..consume };
            let free =
                basic::Consume { consumer_tag: ShortStr::literal("free"), no_ack: true, ..consume };
            let declare = queue::Declare { queue: Q, ..Default::default() };
            let message = publish(BasicProperties::default());
            let mut script = one(&encode(1, &declare));
            for octets in
                [encode(1, &qos), message.clone(), encode(1, &counted), encode(1, &free), message]
            {
                script.steps.push(step(&octets));
            }
            script.queues.push(Q.to_string());
            script
        },
    },
];

/// A script of one step.
fn one(octets: &[u8]) -> Script {
    Script {
        prefix: "known.".to_owned(),
        queues: Vec::new(),
        exchanges: Vec::new(),
        steps: vec![step(octets)],
    }
}

fn step(octets: &[u8]) -> Step {
    Step {
        connection: 0,
        channel: 1,
        text: String::new(),
        octets: octets.to_vec(),
        then: Then::Ping,
    }
}

/// A publish to the queue, on channel 1.
fn publish(properties: BasicProperties<'_>) -> Vec<u8> {
    let publish = basic::Publish { routing_key: Q, ..Default::default() };
    let mut octets = Vec::new();
    Encoder::frames_in(&mut octets, FRAME_MAX).content_copied(
        1,
        &publish,
        &properties.to_vec(),
        b"x",
    );
    octets
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
