//! Octets from a peer, as the server and the client take them: frames, commands, properties.
//!
//! Beyond not crashing: what is read can be written and read again, and comes out the same; how
//! the input is cut does not matter; nothing is kept that has not been sent.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use ropewalk_amqp::codec::{
    Array, Assembler, BasicProperties, ContentHeader, EncodeMethod, Encoder, Error, Frames, Method,
    ProtocolHeader, Table, Value,
};

const FRAME_MAX: u32 = 8192;
const MAX_BODY: u64 = 10_000;

fuzz_target!(|input: &[u8]| {
    let Some((&step, octets)) = input.split_first() else {
        return;
    };
    if let Some(header) = ProtocolHeader::decode(octets) {
        let _ = header.to_string();
    }
    parts(octets);
    let whole = stream(octets, octets.len().max(1), false);
    let cut = stream(octets, usize::from(step).max(1), false);
    assert_eq!(whole, cut, "cutting the input changed its meaning");
    let at_once = stream(octets, octets.len().max(1), true);
    assert_eq!(whole, at_once, "a message seen at once is another");
});

/// Takes the octets for each of the things that stand in frames.
fn parts(octets: &[u8]) {
    if let Ok(table) = Table::new(octets) {
        let fields = table.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>();
        assert_eq!(fields, octets.len());
    }
    if let Ok(array) = Array::new(octets) {
        assert_eq!(array.iter().map(size).sum::<usize>(), octets.len());
    }
    method(octets);
    properties(octets);
    if let Ok(header) = ContentHeader::decode(octets) {
        let mut again = Vec::new();
        header.encode(&mut again);
        assert_eq!(again, octets);
    }
}

/// The octets of an encoded value, counted by walking through it.
fn size(value: Value<'_>) -> usize {
    let _ = (value.as_integer(), value.as_str(), value.type_name());
    1 + match value {
        Value::Void => 0,
        Value::Bool(_) | Value::ShortShortInt(_) | Value::ShortShortUint(_) => 1,
        Value::ShortInt(_) | Value::ShortUint(_) => 2,
        Value::LongInt(_) | Value::LongUint(_) | Value::Float(_) => 4,
        Value::Decimal { .. } => 5,
        Value::LongLongInt(_)
        | Value::LongLongIntUpper(_)
        | Value::Double(_)
        | Value::Timestamp(_) => 8,
        Value::LongStr(text) => 4 + text.len(),
        Value::ByteArray(octets) => 4 + octets.len(),
        Value::Array(array) => 4 + array.iter().map(size).sum::<usize>(),
        Value::Table(table) => {
            4 + table.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>()
        }
        other => panic!("a type that this does not know: {other:?}"),
    }
}

fn method(payload: &[u8]) {
    match Method::decode(payload) {
        Ok(method) => {
            let _ = format!("{} {method:?}", method.name());
            let mut again = payload[..4].to_vec();
            method.encode_arguments(&mut again);
            assert_eq!(again.len(), payload.len());
            // Bits that no field uses are not kept; everything else is.
            assert_eq!(Method::decode(&again).as_ref(), Ok(&method));
        }
        Err(error) => check(&error),
    }
}

fn properties(encoded: &[u8]) {
    match BasicProperties::decode(encoded) {
        Ok(properties) => assert_eq!(properties.to_vec(), encoded),
        Err(error) => check(&error),
    }
}

fn check(error: &Error) {
    assert!(error.reply_text().len() <= 255);
    assert!(error.reply_text().starts_with(error.reply_code().name()));
}

/// Reads the octets as a connection's, so many at a time, and messages that lie there whole at
/// once if told so; says what came of them, up to the first error.
fn stream(octets: &[u8], step: usize, at_once: bool) -> (Vec<u8>, Option<Error>) {
    let mut data = BytesMut::new();
    let mut channels = [Assembler::new(MAX_BODY), Assembler::new(MAX_BODY)];
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    for piece in octets.chunks(step) {
        data.extend_from_slice(piece);
        let mut frames = Frames::new(&mut data, FRAME_MAX);
        loop {
            if let Some(seen) = frames.whole_publish().filter(|_| at_once)
                && channels[usize::from(seen.channel % 2)].is_between_commands()
            {
                properties(seen.properties);
                let mut writer = encoder.frames_to(&mut out, FRAME_MAX);
                let body = Bytes::copy_from_slice(seen.body);
                writer.content(seen.channel, &seen.publish, seen.properties, &body);
                drop(writer);
                let len = seen.len;
                frames.skip(len);
                continue;
            }
            let frame = match frames.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    check(&error);
                    return (out, Some(error));
                }
            };
            let channel = frame.channel;
            let assembler = &mut channels[usize::from(channel % 2)];
            let command = match assembler.push(frame) {
                Ok(Some(command)) => command,
                Ok(None) => {
                    assert!(assembler.buffered() <= octets.len());
                    continue;
                }
                Err(error) => {
                    check(&error);
                    return (out, Some(error));
                }
            };
            assert_eq!(command.method.carries_content(), command.content.is_some());
            let mut writer = encoder.frames_to(&mut out, FRAME_MAX);
            match command.content {
                None => writer.method(channel, &command.method),
                Some(content) => {
                    properties(&content.properties);
                    assert!(content.body.len() as u64 <= MAX_BODY);
                    let body = content.body.into_bytes();
                    writer.content(channel, &command.method, &content.properties, &body);
                }
            }
        }
    }
    (out, None)
}
