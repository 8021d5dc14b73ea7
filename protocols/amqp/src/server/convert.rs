//! Tables of the wire as tables of the broker and back, and the broker's view of properties.

use bytes::Bytes;
use ropewalk_broker::{PropertyCodec, PropertyEdit, Table, Value};

use crate::codec::{
    Array, ArrayBuf, BasicProperties, LongStr, ShortStr, Table as WireTable, TableBuf, TableError,
    Value as WireValue,
};

/// The broker's copy of a table.
pub(crate) fn table(wire: WireTable<'_>) -> Table {
    wire.iter().map(|(name, found)| (name.as_bytes(), value(found))).collect()
}

fn value(wire: WireValue<'_>) -> Value {
    match wire {
        WireValue::Bool(value) => Value::Bool(value),
        WireValue::ShortShortInt(value) => Value::I8(value),
        WireValue::ShortShortUint(value) => Value::U8(value),
        WireValue::ShortInt(value) => Value::I16(value),
        WireValue::ShortUint(value) => Value::U16(value),
        WireValue::LongInt(value) => Value::I32(value),
        WireValue::LongUint(value) => Value::U32(value),
        WireValue::LongLongInt(value) | WireValue::LongLongIntUpper(value) => Value::I64(value),
        WireValue::Float(value) => Value::F32(value),
        WireValue::Double(value) => Value::F64(value),
        WireValue::Decimal { scale, value } => Value::Decimal { scale, value },
        WireValue::LongStr(text) => Value::String(Bytes::copy_from_slice(&text)),
        WireValue::ByteArray(octets) => Value::Binary(Bytes::copy_from_slice(octets)),
        WireValue::Timestamp(seconds) => Value::Timestamp(seconds),
        WireValue::Array(array) => Value::Array(array.iter().map(value).collect()),
        WireValue::Table(inner) => Value::Table(table(inner)),
        WireValue::Void => Value::Void,
    }
}

/// The fields of a broker's table as the wire has them, to be read with [`WireTable::new`], which
/// checks them as a whole. What the wire cannot say is left out: the broker has its tables from
/// the wire, and adds little to them.
///
/// Field by field, and not by `TableBuf::insert`, which looks for the name each time: with the
/// 25,000 fields that fit a frame, that took three seconds.
pub(crate) fn fields(table: &Table) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, value) in table.iter() {
        let mut one = TableBuf::new();
        match with_wire_value(value, |value| one.insert(name, value)) {
            Ok(()) => encoded.extend_from_slice(one.as_table().as_bytes()),
            Err(error) => {
                let name = name.escape_ascii();
                log::warn!(target: super::LOG, "the header '{name}' was left out: {error}");
            }
        }
    }
    encoded
}

fn elements(values: &[Value]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for value in values {
        let mut one = ArrayBuf::new();
        match with_wire_value(value, |value| one.push(value)) {
            Ok(()) => encoded.extend_from_slice(one.as_array().as_bytes()),
            Err(error) => {
                log::warn!(target: super::LOG, "an element of a header was left out: {error}");
            }
        }
    }
    encoded
}

/// Calls `call` with a value as the wire has it, which may borrow from a table made for it.
fn with_wire_value(
    value: &Value,
    call: impl FnOnce(WireValue<'_>) -> Result<(), TableError>,
) -> Result<(), TableError> {
    match value {
        Value::Void => call(WireValue::Void),
        Value::Bool(value) => call(WireValue::Bool(*value)),
        Value::I8(value) => call(WireValue::ShortShortInt(*value)),
        Value::U8(value) => call(WireValue::ShortShortUint(*value)),
        Value::I16(value) => call(WireValue::ShortInt(*value)),
        Value::U16(value) => call(WireValue::ShortUint(*value)),
        Value::I32(value) => call(WireValue::LongInt(*value)),
        Value::U32(value) => call(WireValue::LongUint(*value)),
        Value::I64(value) => call(WireValue::LongLongInt(*value)),
        Value::F32(value) => call(WireValue::Float(*value)),
        Value::F64(value) => call(WireValue::Double(*value)),
        Value::Decimal { scale, value } => {
            call(WireValue::Decimal { scale: *scale, value: *value })
        }
        Value::String(text) => call(WireValue::LongStr(LongStr(text))),
        Value::Binary(octets) => call(WireValue::ByteArray(octets)),
        Value::Timestamp(seconds) => call(WireValue::Timestamp(*seconds)),
        Value::Array(values) => call(WireValue::Array(Array::new(&elements(values))?)),
        Value::Table(table) => call(WireValue::Table(WireTable::new(&fields(table))?)),
        // The broker's values may grow; what this does not know has no letter.
        _ => call(WireValue::Void),
    }
}

/// Properties as AMQP encodes them, for the broker. The server checks them when they come in, so
/// that they can be decoded here.
pub(crate) struct BasicCodec;

impl PropertyCodec for BasicCodec {
    fn headers(&self, properties: &[u8]) -> Table {
        match BasicProperties::decode(properties) {
            Ok(BasicProperties { headers: Some(headers), .. }) => table(headers),
            _ => Table::new(),
        }
    }

    fn header(&self, properties: &[u8], name: &[u8]) -> Option<Value> {
        BasicProperties::decode(properties).ok()?.headers?.get(name).map(value)
    }

    fn edit(&self, properties: &[u8], edit: &PropertyEdit<'_>) -> Vec<u8> {
        let Ok(mut properties) = BasicProperties::decode(properties) else {
            return properties.to_vec();
        };
        let headers = edit.headers.map(fields);
        match headers.as_deref().map(WireTable::new) {
            None => {}
            Some(Ok(headers)) => properties.headers = Some(headers),
            Some(Err(error)) => {
                log::warn!(target: super::LOG, "a message keeps its old headers: {error}");
            }
        }
        if edit.remove_expiration {
            properties.expiration = None;
        }
        if let Some(reply_to) = edit.reply_to {
            properties.reply_to = Some(ShortStr::cut(reply_to));
        }
        properties.to_vec()
    }
}

/// The properties with how often the message came back, as RabbitMQ's quorum queues tell it. What
/// cannot take one more header goes out without.
pub(crate) fn with_delivery_count(properties: &[u8], count: u32) -> Vec<u8> {
    let Ok(mut properties) = BasicProperties::decode(properties) else {
        return properties.to_vec();
    };
    let mut headers = properties.headers.map_or_else(TableBuf::new, TableBuf::from);
    let _ = headers.insert("x-delivery-count", i64::from(count));
    properties.headers = Some(headers.as_table());
    properties.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_survives_the_way_to_the_broker_and_back() {
        let inner = TableBuf::new().with("x", 1i8);
        let list = ArrayBuf::new().with("a").with(2i64).with(&inner);
        let wire = TableBuf::new()
            .with("t", true)
            .with("b", -1i8)
            .with("B", 200u8)
            .with("s", -300i16)
            .with("u", 60_000u16)
            .with("I", -70_000i32)
            .with("i", 4_000_000_000u32)
            .with("l", i64::MIN)
            .with("f", WireValue::Float(0.5))
            .with("d", WireValue::Double(0.25))
            .with("D", WireValue::Decimal { scale: 2, value: 314 })
            .with("S", "text")
            .with("x", WireValue::ByteArray(b"\0\xff"))
            .with("T", WireValue::Timestamp(1_700_000_000))
            .with("A", &list)
            .with("F", &inner)
            .with("V", WireValue::Void);
        let there = table(wire.as_table());
        assert_eq!(there.len(), 17);
        assert_eq!(fields(&there), wire.as_table().as_bytes());
    }

    #[test]
    fn names_that_are_there_twice_stay_so() {
        let twice = b"\x01aV\x01bV\x01at\x01";
        let there = table(WireTable::new(twice).expect("a legal table"));
        assert_eq!(fields(&there), twice);
    }

    #[test]
    fn an_edit_changes_what_it_names_and_nothing_else() {
        let headers = TableBuf::new().with("a", "1");
        let before = BasicProperties {
            content_type: Some(ShortStr::literal("text/plain")),
            headers: Some(headers.as_table()),
            expiration: Some(ShortStr::literal("60")),
            reply_to: Some(ShortStr::literal("old")),
            ..Default::default()
        };
        let raw = before.to_vec();
        assert_eq!(BasicCodec.edit(&raw, &PropertyEdit::default()), raw);
        let new_headers = Table::from([("b", Value::I32(2))]);
        let edit = PropertyEdit {
            headers: Some(&new_headers),
            remove_expiration: true,
            reply_to: Some(b"new"),
        };
        let after = BasicCodec.edit(&raw, &edit);
        assert_eq!(BasicCodec.headers(&after), new_headers);
        assert_eq!(BasicCodec.header(&after, b"b"), Some(Value::I32(2)));
        let after = BasicProperties::decode(&after).expect("properties");
        assert_eq!(after.content_type, before.content_type);
        assert_eq!((after.expiration, after.reply_to), (None, Some(ShortStr::literal("new"))));
    }
}
