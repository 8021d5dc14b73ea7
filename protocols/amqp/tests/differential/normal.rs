//! What a broker chooses by chance or by the clock, replaced by what it stands for: the first
//! server-named queue that a script sees is `amq.gen-#1` on both.

use std::collections::BTreeMap;

use ropewalk_amqp::codec::{Table, Value};

/// The names that a broker made, in the order in which they were seen.
#[derive(Default)]
pub(crate) struct Names {
    seen: BTreeMap<String, usize>,
    /// Whether what is known to differ in every text stays.
    pub(crate) keep_known: bool,
}

/// What the names begin with that a broker makes.
const MADE: [&str; 3] = ["amq.gen-", "amq.ctag-", "amq.rabbitmq.reply-to."];

impl Names {
    pub(crate) fn normalise(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for prefix in MADE {
            let mut from = 0;
            while let Some(at) = text[from..].find(prefix) {
                let start = from + at;
                let chance = &text[start + prefix.len()..];
                let end = chance.find(['\'', '"', '\\', ' ']).unwrap_or(chance.len());
                let end = start + prefix.len() + end;
                let name = text[start..end].to_owned();
                let count = self.seen.len() + 1;
                let number = *self.seen.entry(name).or_insert(count);
                let short = format!("{prefix}#{number}");
                text.replace_range(start..end, &short);
                from = start + short.len();
            }
        }
        if !self.keep_known {
            text = without_tag_of_reply(without_last_deaths(on_one_line(text)));
        }
        without_times(text)
    }
}

/// A text without the line ends that RabbitMQ puts into long terms of Erlang, where they do not
/// fit into 80 columns: they are known to be its alone.
fn on_one_line(mut text: String) -> String {
    while let Some(at) = text.find("\\n  ") {
        let end = text[at + 2..].find(|letter| letter != ' ').map_or(text.len(), |it| at + 2 + it);
        text.replace_range(at..end, "");
    }
    text
}

/// A table that `in_order` wrote, without `x-last-death-…`, which is known to be ours alone.
fn without_last_deaths(mut text: String) -> String {
    while let Some(at) = text.find("\"x-last-death-") {
        let start = text[..at].strip_suffix(", ").map_or(at, str::len);
        let value = text[at..].find("(\"").map_or(text.len(), |it| at + it + 2);
        let end = text[value..].find("\")").map_or(text.len(), |it| value + it + 2);
        text.replace_range(start..end, "");
    }
    text
}

/// A direct reply without its tag, which in RabbitMQ is that of the delivery that follows it.
fn without_tag_of_reply(mut text: String) -> String {
    const TAG: &str = "delivery_tag: ";
    if text.contains("exchange: \"\", routing_key: \"amq.rabbitmq.reply-to.")
        && let Some(at) = text.find(TAG)
        && let Some(length) = text[at + TAG.len()..].find(',')
    {
        text.replace_range(at + TAG.len()..at + TAG.len() + length, "any");
    }
    text
}

/// A table in the order of its names, which is nobody's business: RabbitMQ sorts some tables that
/// it changes.
pub(crate) fn in_order(table: Table<'_>) -> String {
    let mut fields: Vec<String> =
        table.iter().map(|(name, value)| format!("{name:?}: {}", value_in_order(value))).collect();
    fields.sort_unstable();
    format!("{{{}}}", fields.join(", "))
}

fn value_in_order(value: Value<'_>) -> String {
    match value {
        Value::Table(table) => in_order(table),
        Value::Array(array) => {
            let values: Vec<String> = array.iter().map(value_in_order).collect();
            format!("[{}]", values.join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// The seconds in `x-death`.
fn without_times(mut text: String) -> String {
    let mut from = 0;
    while let Some(at) = text[from..].find("Timestamp(") {
        let start = from + at + "Timestamp(".len();
        let end = start + text[start..].find(')').unwrap_or(0);
        // Of the present: the scripts' own are small.
        if end - start >= 10 {
            text.replace_range(start..end, "now");
        }
        from = start;
    }
    text
}

#[test]
fn a_made_name_has_the_same_number_wherever_it_is_seen() {
    let mut names = Names::default();
    let one = "queue 'amq.gen-abcdefghijklmnopqrstuv'";
    assert_eq!(names.normalise(one), "queue 'amq.gen-#1'");
    assert_eq!(names.normalise("amq.ctag-abcdefghijklmnopqrstuv"), "amq.ctag-#2");
    assert_eq!(names.normalise(one), "queue 'amq.gen-#1'");
    assert_eq!(names.normalise("{\"time\": Timestamp(1700000000)}"), "{\"time\": Timestamp(now)}");
    assert_eq!(names.normalise("Timestamp(7)"), "Timestamp(7)");
    let dead = "{\"a\": Void, \"x-last-death-queue\": LongStr(\"q\"), \"z\": Void}";
    assert_eq!(names.normalise(dead), "{\"a\": Void, \"z\": Void}");
    assert_eq!(names.normalise("<<1,\\n     2>>"), "<<1,2>>");
}
