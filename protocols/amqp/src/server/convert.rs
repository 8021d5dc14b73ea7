//! Tables of the wire as tables of the broker and back, and the broker's view of properties.

use bytes::Bytes;
use ropewalk_broker::{PropertyCodec, PropertyEdit, Table, Value};

use crate::codec::{
    ArrayBuf, BasicProperties, LongStr, ShortStr, Table as WireTable, TableBuf, Value as WireValue,
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

/// A table of the broker's for the wire. What the wire cannot say (too deep, too long) is left out:
/// the broker has its tables from the wire, and adds little to them.
pub(crate) fn wire_table(table: &Table) -> TableBuf {
    let mut wire = TableBuf::new();
    for (name, value) in table.iter() {
        let refused = with_wire_value(value, |value| wire.insert(name, value));
        if let Err(error) = refused {
            let name = name.escape_ascii();
            log::warn!(target: super::LOG, "the header '{name}' was left out: {error}");
        }
    }
    wire
}

fn wire_array(values: &[Value]) -> ArrayBuf {
    let mut wire = ArrayBuf::new();
    for value in values {
        if let Err(error) = with_wire_value(value, |value| wire.push(value)) {
            log::warn!(target: super::LOG, "an element of a header was left out: {error}");
        }
    }
    wire
}

/// Calls `call` with a value as the wire has it, which may borrow from a table made for it.
fn with_wire_value<R>(value: &Value, call: impl FnOnce(WireValue<'_>) -> R) -> R {
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
        Value::Array(values) => call(WireValue::Array(wire_array(values).as_array())),
        Value::Table(table) => call(WireValue::Table(wire_table(table).as_table())),
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
        let headers = edit.headers.map(wire_table);
        if let Some(headers) = &headers {
            properties.headers = Some(headers.as_table());
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
        assert_eq!(wire_table(&there).as_table().as_bytes(), wire.as_table().as_bytes());
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
