//! The parts of the scripts that show what differs, all on connection 0 and channel 1.

use ropewalk_amqp::codec::method::{basic, queue};
use ropewalk_amqp::codec::{BasicProperties, EncodeMethod, TableBuf};

use crate::message::reply_of;
use crate::script::{Script, Sent, Step, Then, short};
use crate::wire::encode;
use crate::wrong::publish_raw;

pub(crate) const Q: &str = "known.q";
pub(crate) const DEAD: &str = "known.dead";
pub(crate) const THIRD: &str = "known.third";
pub(crate) const LAST: &str = "known.last";
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

pub(crate) fn script(steps: Vec<Step>) -> Script {
    Script {
        prefix: "known.".to_owned(),
        queues: [Q, DEAD, THIRD, LAST].map(str::to_owned).to_vec(),
        exchanges: Vec::new(),
        steps,
    }
}

pub(crate) fn step(sent: Sent, then: Then) -> Step {
    Step { connection: 0, channel: 1, text: String::new(), sent, then }
}

pub(crate) fn raw(octets: Vec<u8>, then: Then) -> Step {
    step(Sent::Octets(octets), then)
}

pub(crate) fn on(channel: u16, method: &impl EncodeMethod) -> Step {
    raw(encode(channel, method), Then::Ping)
}

pub(crate) fn greeting(octets: Vec<u8>) -> Step {
    step(Sent::Greeting(octets), Then::ConnectionEnds)
}

pub(crate) fn declare(arguments: &TableBuf) -> Step {
    declare_as(Q, arguments)
}

pub(crate) fn declare_as(queue: &str, arguments: &TableBuf) -> Step {
    let durable = arguments.as_table().get("x-queue-type").is_some();
    let (queue, arguments) = (short(queue), arguments.as_table());
    on(1, &queue::Declare { queue, durable, arguments, ..Default::default() })
}

pub(crate) fn declare_quorum() -> Step {
    declare(&TableBuf::new().with("x-queue-type", "quorum"))
}

pub(crate) fn passive() -> Step {
    on(1, &queue::Declare { queue: short(Q), passive: true, ..Default::default() })
}

pub(crate) fn publish(body: &[u8]) -> Step {
    raw(publish_raw(1, Q, &[0, 0], body.len() as u64, body), Then::Ping)
}

pub(crate) fn get(queue: &str, no_ack: bool) -> Step {
    on(1, &basic::Get { queue: short(queue), no_ack, ..Default::default() })
}

pub(crate) fn consume(queue: &str, tag: &str, no_ack: bool) -> Step {
    let (queue, consumer_tag) = (short(queue), short(tag));
    on(1, &basic::Consume { queue, consumer_tag, no_ack, ..Default::default() })
}

/// Somebody has asked for direct replies, had one message, and seen the address.
pub(crate) fn asked() -> Vec<Step> {
    let properties = BasicProperties { reply_to: Some(short(REPLY_TO)), ..Default::default() };
    vec![
        declare(&TableBuf::new()),
        consume(REPLY_TO, "t", true),
        raw(publish_raw(1, Q, &properties.to_vec(), 1, b"x"), Then::Ping),
        get(Q, true),
    ]
}

pub(crate) fn reply(mandatory: bool) -> Step {
    let make: fn(u16, &str) -> Vec<u8> = match mandatory {
        true => |n, address| reply_of(n, "", address, true),
        false => |n, address| reply_of(n, "", address, false),
    };
    step(Sent::ToAddress(make), Then::Ping)
}
