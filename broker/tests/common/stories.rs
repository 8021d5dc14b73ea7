//! Shorthand for stories about a broker with a store.

use ropewalk_broker::*;

use super::store::Record;
use super::{House, Props};

/// The seeds of random stories: as many as fit a test run, or as many as `DURABILITY_SEEDS` says,
/// from `DURABILITY_START` on.
pub(crate) fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |variable: &str| {
        std::env::var(variable).ok().map(|text| text.parse::<u64>().expect("a number"))
    };
    let first = number("DURABILITY_START").unwrap_or(0);
    first..first + number("DURABILITY_SEEDS").unwrap_or(usual)
}

/// A small house: two messages of a queue in memory, leases of four.
pub(crate) fn small() -> Config {
    let mut config = Config::default();
    (config.page_messages, config.lease, config.max_lease) = (2, 4, 8);
    config
}

pub(crate) fn persistent(publish: &mut Publish<'_>) {
    publish.properties.persistent = true;
}

pub(crate) fn send(house: &mut House, channel: ChannelId, key: &str, body: &str) {
    house.publish_with(channel, ("", key, body), Props::default(), persistent).expect("published");
}

pub(crate) fn durable(
    house: &mut House,
    channel: ChannelId,
    name: &str,
    arguments: &[(&str, Value)],
) {
    let table = arguments.iter().map(|(name, value)| (*name, value.clone())).collect();
    house.declare_with(channel, name, "durable", &table).expect("declared");
}

/// The records since `from` in a word or two each: `message 0@3 1@0`, `end 0@3..4`, `lease 0@5`,
/// `return 0@3`, `gone 0`, `define`, `undefine`.
pub(crate) fn heard(house: &mut House, from: usize) -> Vec<String> {
    let records = &house.store().records[from..];
    let say = |record: &Record| match record {
        Record::Defined(..) => "define".to_owned(),
        Record::Undefined(_) => "undefine".to_owned(),
        Record::Message { references, persistent, .. } => {
            let kind = if *persistent { "message" } else { "passing" };
            let show = |it: &Reference| format!(" {}@{}", it.queue, it.position);
            kind.to_owned() + &references.iter().map(show).collect::<String>()
        }
        Record::Acknowledged(queue, first, last) if first == last => format!("end {queue}@{first}"),
        Record::Acknowledged(queue, first, last) => format!("end {queue}@{first}..{last}"),
        Record::Leased(queue, end) => format!("lease {queue}@{end}"),
        Record::Returned(queue, position, _) => format!("return {queue}@{position}"),
        Record::Removed(queue) => format!("gone {queue}"),
        Record::Restart => "restart".to_owned(),
    };
    records.iter().map(say).collect()
}

/// All the messages of a queue, taken; an asterisk for those that are redelivered.
pub(crate) fn take_all(house: &mut House, channel: ChannelId, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        match house.broker.get(channel, queue.as_bytes(), true).expect("exists") {
            Fetch::Message(it) => {
                let again = if it.redelivered { "*" } else { "" };
                bodies.push(format!("{}{again}", String::from_utf8_lossy(it.message.body())));
            }
            Fetch::Loading => drop(house.settle()),
            Fetch::Empty => return bodies,
        }
    }
}
