//! Properties of the codec, on random input: what is read is what was written, and nothing that
//! a peer may send does harm.

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*, sample::Index, strategy::Union};
use ropewalk_amqp::codec::{
    Array, ArrayBuf, Assembler, BasicProperties, ContentHeader, EncodeMethod, Encoder, Frames,
    LongStr, Method, SHARED_INPUT_MIN, ShortStr, Table, TableBuf, Value, method::basic,
};

/// A value that owns what it holds.
#[derive(Clone, Debug)]
enum Owned {
    Scalar(Value<'static>),
    Text(Vec<u8>),
    Octets(Vec<u8>),
    Array(Vec<Owned>),
    Table(Vec<(Vec<u8>, Owned)>),
}

impl Owned {
    fn with<R>(&self, use_it: impl FnOnce(Value<'_>) -> R) -> R {
        match self {
            Self::Scalar(value) => use_it(*value),
            Self::Text(text) => use_it(Value::LongStr(LongStr(text))),
            Self::Octets(octets) => use_it(Value::ByteArray(octets)),
            Self::Array(elements) => use_it((&array(elements)).into()),
            Self::Table(fields) => use_it((&table(fields)).into()),
        }
    }

    fn is(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Array(elements), Value::Array(array)) => {
                let mut values = array.iter();
                elements.iter().all(|element| values.next().is_some_and(|value| element.is(value)))
                    && values.next().is_none()
            }
            (Self::Table(fields), Value::Table(table)) => is_table(fields, table),
            // NaN is not itself, but its octets are.
            (Self::Scalar(Value::Float(mine)), Value::Float(value)) => {
                mine.to_bits() == value.to_bits()
            }
            (Self::Scalar(Value::Double(mine)), Value::Double(value)) => {
                mine.to_bits() == value.to_bits()
            }
            _ => self.with(|mine| mine == value),
        }
    }
}

fn is_table(fields: &[(Vec<u8>, Owned)], table: Table<'_>) -> bool {
    let mut read = table.iter();
    fields.iter().all(|(name, mine)| {
        read.next().is_some_and(|(found, value)| *name == found.as_bytes() && mine.is(value))
    }) && read.next().is_none()
}

fn array(elements: &[Owned]) -> ArrayBuf {
    let mut array = ArrayBuf::new();
    for element in elements {
        element.with(|value| array.push(value)).expect("not too deep");
    }
    array
}

fn table(fields: &[(Vec<u8>, Owned)]) -> TableBuf {
    let mut table = TableBuf::new();
    for (name, element) in fields {
        element.with(|value| table.insert(name, value)).expect("not too deep");
    }
    table
}

fn scalars() -> impl Strategy<Value = Owned> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::ShortShortInt),
        any::<u8>().prop_map(Value::ShortShortUint),
        any::<i16>().prop_map(Value::ShortInt),
        any::<u16>().prop_map(Value::ShortUint),
        any::<i32>().prop_map(Value::LongInt),
        any::<u32>().prop_map(Value::LongUint),
        any::<i64>().prop_map(Value::LongLongInt),
        any::<i64>().prop_map(Value::LongLongIntUpper),
        any::<u32>().prop_map(|bits| Value::Float(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| Value::Double(f64::from_bits(bits))),
        any::<(u8, u32)>().prop_map(|(scale, value)| Value::Decimal { scale, value }),
        any::<u64>().prop_map(Value::Timestamp),
        Just(Value::Void),
    ]
    .prop_map(Owned::Scalar)
}

fn values() -> impl Strategy<Value = Owned> {
    let leaves = prop_oneof![
        4 => scalars(),
        1 => vec(any::<u8>(), 0..300).prop_map(Owned::Text),
        1 => vec(any::<u8>(), 0..20).prop_map(Owned::Octets),
    ];
    leaves.prop_recursive(8, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Owned::Array),
            fields_of(inner).prop_map(Owned::Table),
        ]
    })
}

/// Fields with names that differ.
fn fields_of(values: impl Strategy<Value = Owned>) -> impl Strategy<Value = Vec<(Vec<u8>, Owned)>> {
    vec((vec(any::<u8>(), 0..20), values), 0..6).prop_map(|mut fields| {
        let mut seen = Vec::new();
        fields.retain(|(name, _)| !seen.contains(name) && (seen.push(name.clone()), true).1);
        fields
    })
}

fn tables() -> impl Strategy<Value = Vec<(Vec<u8>, Owned)>> {
    fields_of(values())
}

/// The signatures of all methods, as other implementations have them.
fn signatures() -> Vec<(u16, u16, &'static str, &'static str, Vec<&'static str>)> {
    let lines = include_str!("data/vectors.txt").lines();
    lines
        .filter_map(|line| line.strip_prefix("method "))
        .map(|line| {
            let mut words = line.split(' ');
            let mut word = || words.next().expect("a word");
            let number = |word: &str| word.parse().expect("a number");
            let (class_id, method_id) = (number(word()), number(word()));
            let (name, shape) = (word(), word());
            (class_id, method_id, name, shape, words.collect())
        })
        .collect()
}

/// The encoding of an argument of this type, but for bits.
fn argument(kind: &str) -> BoxedStrategy<Vec<u8>> {
    match kind {
        "octet" => vec(any::<u8>(), 1).boxed(),
        "short" => vec(any::<u8>(), 2).boxed(),
        "long" => vec(any::<u8>(), 4).boxed(),
        "longlong" => vec(any::<u8>(), 8).boxed(),
        "shortstr" => {
            "[a-zé]{0,100}".prop_map(|text| [&[text.len() as u8], text.as_bytes()].concat()).boxed()
        }
        "longstr" => vec(any::<u8>(), 0..300)
            .prop_map(|text| [&(text.len() as u32).to_be_bytes(), &text[..]].concat())
            .boxed(),
        "table" => tables()
            .prop_map(|fields| {
                let table = table(&fields);
                let fields = table.as_table().as_bytes();
                [&(fields.len() as u32).to_be_bytes(), fields].concat()
            })
            .boxed(),
        other => panic!("no such type: {other}"),
    }
}

/// The payload of any method, with its name and shape.
fn methods() -> impl Strategy<Value = (&'static str, &'static str, Vec<u8>)> {
    let each = signatures().into_iter().map(|(class_id, method_id, name, shape, kinds)| {
        let mut parts = Vec::new();
        let mut rest = &kinds[..];
        while let Some(kind) = rest.first() {
            let bits = rest.iter().take_while(|kind| **kind == "bit").count();
            if bits > 0 {
                parts.push((0..1u8 << bits).prop_map(|octet| vec![octet]).boxed());
                rest = &rest[bits..];
            } else {
                parts.push(argument(kind));
                rest = &rest[1..];
            }
        }
        let payload = parts.prop_map(move |parts| {
            let id = [class_id.to_be_bytes(), method_id.to_be_bytes()].concat();
            [id, parts.concat()].concat()
        });
        payload.prop_map(move |payload| (name, shape, payload)).boxed()
    });
    Union::new(each)
}

/// A shortstr's octets.
fn short() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=255)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_table_reads_as_it_was_built_and_keeps_its_octets(fields in tables()) {
        let built = table(&fields);
        let read = Table::new(built.as_table().as_bytes()).expect("what we build is legal");
        prop_assert!(is_table(&fields, read), "{:?}", read);
        for (name, value) in &fields {
            prop_assert!(value.is(read.get(name).expect("a field of this name")));
        }
        let mut again = TableBuf::new();
        for (name, value) in read {
            again.insert(name, value).expect("not too deep");
        }
        prop_assert_eq!(again, built);
    }

    #[test]
    fn any_octets_are_a_table_that_can_be_read_to_the_end_or_an_error(
        octets in vec(prop_oneof![any::<u8>(), 0..4u8, Just(b'A'), Just(b'F'), Just(b'V')], 0..80)
    ) {
        fn count(value: Value<'_>) -> usize {
            1 + match value {
                Value::Table(table) => table.iter().map(|(_, value)| count(value)).sum(),
                Value::Array(array) => array.iter().map(count).sum(),
                _ => 0,
            }
        }
        if let Ok(table) = Table::new(&octets) {
            let mut rebuilt = Vec::new();
            for (name, value) in table {
                count(value);
                let one = Table::new(&octets[rebuilt.len()..]).expect("the end of a legal one");
                prop_assert_eq!(one.iter().next().map(|(name, _)| name), Some(name));
                let mut field = ArrayBuf::new();
                field.push(value).expect("not too deep");
                rebuilt.push(name.len() as u8);
                rebuilt.extend_from_slice(&name);
                rebuilt.extend_from_slice(field.as_array().as_bytes());
            }
            prop_assert_eq!(rebuilt.len(), octets.len());
        }
        if let Ok(array) = Array::new(&octets) {
            array.iter().for_each(|value| { count(value); });
        }
    }

    #[test]
    fn every_method_is_written_as_it_was_read((name, shape, payload) in methods()) {
        let method = Method::decode(&payload).expect("a legal method");
        prop_assert_eq!(method.name(), name);
        let expected = match shape {
            "sync" => (true, false),
            "content" => (false, true),
            _ => (false, false),
        };
        prop_assert_eq!((method.is_synchronous(), method.carries_content()), expected);
        let mut out = payload[..4].to_vec();
        method.encode_arguments(&mut out);
        prop_assert_eq!(&out, &payload);
        let id = method.id();
        prop_assert_eq!([id.class_id.to_be_bytes(), id.method_id.to_be_bytes()].concat(), &out[..4]);
        for len in 0..payload.len() {
            prop_assert!(Method::decode(&payload[..len]).is_err());
        }
    }

    #[test]
    fn properties_are_read_as_they_were_written(
        strings in vec(proptest::option::of(short()), 10),
        headers in proptest::option::of(tables()),
        (delivery_mode, priority, timestamp) in any::<(Option<u8>, Option<u8>, Option<u64>)>(),
    ) {
        let headers = headers.map(|fields| table(&fields));
        let string = |at: usize| strings[at].as_ref().map(ShortStr::cut);
        let written = BasicProperties {
            content_type: string(0),
            content_encoding: string(1),
            headers: headers.as_ref().map(TableBuf::as_table),
            delivery_mode,
            priority,
            correlation_id: string(2),
            reply_to: string(3),
            expiration: string(4),
            message_id: string(5),
            timestamp,
            message_type: string(6),
            user_id: string(7),
            app_id: string(8),
            cluster_id: string(9),
        };
        let encoded = written.to_vec();
        let read = BasicProperties::decode(&encoded);
        prop_assert_eq!(&read, &Ok(written));
        prop_assert_eq!(read.expect("just seen").to_vec(), encoded);
    }

    #[test]
    fn contents_survive_the_wire_however_it_is_cut(
        bodies in vec(prop_oneof![4 => 0..40usize, 1 => 0..3 * SHARED_INPUT_MIN], 1..6),
        frame_max in 4096..10_000u32,
        cuts in vec(any::<Index>(), 0..20),
        one_by_one in any::<bool>(),
    ) {
        let properties = BasicProperties { priority: Some(7), ..Default::default() }.to_vec();
        let body_of = |len: usize| Bytes::from((0..len).map(|at| at as u8).collect::<Vec<u8>>());
        let mut wire = Vec::new();
        let mut encoder = Encoder::new();
        let mut frames = encoder.frames_to(&mut wire, frame_max);
        for (tag, &len) in bodies.iter().enumerate() {
            let delivery_tag = tag as u64;
            let deliver = basic::Deliver { delivery_tag, ..Default::default() };
            frames.content(1, &deliver, &properties, &body_of(len));
            frames.heartbeat();
        }
        drop(frames);

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        if one_by_one {
            cuts = (0..wire.len()).collect();
        }
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let mut data = BytesMut::new();
        let mut assembler = Assembler::default();
        let mut seen = 0;
        for piece in cuts.windows(2) {
            data.extend_from_slice(&wire[piece[0]..piece[1]]);
            let mut frames = Frames::new(&mut data, frame_max);
            while let Some(frame) = frames.next_frame().expect("legal frames") {
                if frame.channel == 0 {
                    continue;
                }
                let Some(command) = assembler.push(frame).expect("legal contents") else {
                    continue;
                };
                let Method::BasicDeliver(deliver) = command.method else {
                    panic!("{command:?}");
                };
                let content = command.content.expect("a content");
                prop_assert_eq!(deliver.delivery_tag, seen as u64);
                prop_assert_eq!(&content.properties[..], &properties[..]);
                prop_assert_eq!(content.body.into_bytes(), body_of(bodies[seen]));
                seen += 1;
            }
        }
        prop_assert!(data.is_empty());
        prop_assert_eq!(seen, bodies.len());
    }

    #[test]
    fn a_message_seen_at_once_is_the_one_that_its_frames_make(
        body in vec(any::<u8>(), 0..40),
        names in (short(), short(), any::<bool>()),
        changes in vec((any::<Index>(), prop_oneof![any::<u8>(), 0..4u8, Just(0xCE)]), 0..3),
    ) {
        let publish = basic::Publish {
            exchange: ShortStr::cut(&names.0),
            routing_key: ShortStr::cut(&names.1),
            mandatory: names.2,
            ..Default::default()
        };
        let mut wire = Vec::new();
        Encoder::frames_in(&mut wire, 4096).content_copied(1, &publish, &[0, 0], &body);
        let is_changed = !changes.is_empty();
        for (at, octet) in changes {
            let at = at.index(wire.len());
            wire[at] = octet;
        }
        let mut data = BytesMut::from(&wire[..]);
        let frames = Frames::new(&mut data, 4096);
        let seen = frames.whole_publish();
        prop_assert!(seen.is_some() || is_changed);
        if let Some(seen) = seen {
            let mut same = BytesMut::from(&wire[..seen.len]);
            let mut frames = Frames::new(&mut same, 4096);
            let mut assembler = Assembler::default();
            while let Some(frame) = frames.next_frame().expect("legal frames") {
                prop_assert_eq!(frame.channel, seen.channel);
                if let Some(made) = assembler.push(frame).expect("a legal message") {
                    prop_assert_eq!(made.method, Method::BasicPublish(seen.publish));
                    let content = made.content.expect("a content");
                    prop_assert_eq!(&content.properties[..], seen.properties);
                    prop_assert_eq!(&content.body[..], seen.body);
                }
            }
            prop_assert!(assembler.is_between_commands());
            drop(frames);
            prop_assert!(same.is_empty());
        }
    }

    #[test]
    fn any_octets_are_refused_or_read_and_never_kept_beyond_the_limit(
        octets in vec(prop_oneof![any::<u8>(), 0..9u8, Just(0xCE), Just(60), Just(40)], 0..200)
    ) {
        let mut data = BytesMut::from(&octets[..]);
        let mut assembler = Assembler::new(100);
        let mut frames = Frames::new(&mut data, 4096);
        while let Ok(Some(frame)) = frames.next_frame() {
            let _ = assembler.push(frame);
            prop_assert!(assembler.buffered() <= octets.len());
        }
        let _ = Method::decode(&octets);
        let _ = BasicProperties::decode(&octets);
        let _ = ContentHeader::decode(&octets);
    }
}
