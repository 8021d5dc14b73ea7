//! What differs from RabbitMQ on purpose: each with the reason, and a script that shows it. The
//! scripts that a seed makes keep clear of these.

use ropewalk_amqp::codec::ShortStr;
use ropewalk_amqp::codec::method::exchange;

use crate::script::{Script, Step, Then};
use crate::wire::encode;

pub(crate) struct Difference {
    /// What a client does.
    pub(crate) what: &'static str,
    pub(crate) why: &'static str,
    /// What RabbitMQ 3.10.8 answers.
    pub(crate) rabbitmq: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) steps: fn() -> Script,
}

pub(crate) const DIFFERENCES: &[Difference] = &[Difference {
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
}];

/// A script of one step.
fn one(octets: &[u8]) -> Script {
    let step = Step {
        connection: 0,
        channel: 1,
        text: String::new(),
        octets: octets.to_vec(),
        then: Then::Ping,
    };
    Script {
        prefix: "known.".to_owned(),
        queues: Vec::new(),
        exchanges: Vec::new(),
        steps: vec![step],
    }
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
