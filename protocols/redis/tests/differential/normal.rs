//! What is compared of an answer: all but what Redis itself leaves to chance, the order of patterns
//! and of what ends when all subscriptions are ended at once.

use ropewalk_redis::codec::{ReplyDecoder, Value};

/// An answer, value by value; runs of those that may come in any order are sorted.
pub(crate) fn normal(answer: &[u8]) -> Vec<String> {
    let (mut decoder, mut rest, mut values) = (ReplyDecoder::default(), answer, Vec::new());
    while let Ok((used, Some(value))) = decoder.decode(rest) {
        values.push(without_number(value));
        rest = &rest[used..];
    }
    let mut texts = Vec::new();
    let mut at = 0;
    while at < values.len() {
        let kind = kind(&values[at]);
        let run = values[at..].iter().take_while(|value| self::kind(value) == kind).count();
        let mut part: Vec<_> = values[at..at + run].iter().map(|it| format!("{it:?}")).collect();
        match kind {
            Some("unsubscribe" | "punsubscribe" | "sunsubscribe") => {
                // Names in any order, and the counts belong to their places.
                let items = values[at..at + run].iter().filter_map(Value::as_items);
                let counts: Vec<_> = items.clone().map(|it| format!("{:?}", it[2])).collect();
                part = items.map(|it| format!("{:?}", &it[..2])).collect();
                part.sort();
                part.extend(counts);
            }
            Some("pmessage") => part.sort(),
            _ => {}
        }
        texts.extend(part);
        at += run;
    }
    texts.push(String::from_utf8_lossy(rest).into_owned());
    texts
}

/// What `HELLO` answers, without the client's number: Redis counts some connections of its own.
fn without_number(mut value: Value) -> Value {
    if value.get(b"proto").is_some() {
        match &mut value {
            Value::Map(pairs) => {
                pairs.retain(|(key, _)| key.as_bytes().is_none_or(|it| it != "id"))
            }
            Value::Array(items) => items.truncate(6),
            _ => {}
        }
    }
    value
}

fn kind(value: &Value) -> Option<&'static str> {
    let word = value.as_items()?.first()?.as_bytes()?;
    ["unsubscribe", "punsubscribe", "sunsubscribe", "pmessage"]
        .into_iter()
        .find(|it| word == it.as_bytes())
}
