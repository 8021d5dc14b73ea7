//! What content may look like on the wire, and what becomes of it.

use ropewalk_amqp::codec::method::{basic, confirm, connection, queue};
use ropewalk_amqp::codec::{ArrayBuf, BasicProperties, ShortStr, TableBuf, Value};

use crate::wire::*;

const Q: ShortStr<'static> = ShortStr::literal("q");

fn with_q() -> (World, Client) {
    let mut world = World::new();
    let mut client = world.open();
    client.declare(&mut world, "q");
    (world, client)
}

#[test]
fn a_message_without_a_body_has_no_body_frame() {
    let (mut world, mut client) = with_q();
    client.consume(&mut world, "q", "c", true);
    client.raw(&mut world, &[publish(1, "q", b""), publish(1, "q", b"x")].concat());
    for size in [0, 1] {
        assert!(matches!(client.next(&mut world), Some(Seen::Method(1, "basic.deliver", _))));
        assert!(
            matches!(client.next(&mut world), Some(Seen::Header(1, found, _)) if found == size)
        );
    }
    assert_eq!(client.next(&mut world), Some(Seen::Body(1, b"x".to_vec())));
    client.expect_nothing(&mut world);
}

#[test]
fn a_body_goes_out_in_frames_as_full_as_may_be() {
    let (mut world, mut client) = with_q();
    client.consume(&mut world, "q", "c", true);
    client.raw(&mut world, &publish(1, "q", &[7; 300_000]));
    assert!(matches!(client.next(&mut world), Some(Seen::Method(1, "basic.deliver", _))));
    assert!(matches!(client.next(&mut world), Some(Seen::Header(1, 300_000, _))));
    for size in [131_064, 131_064, 37_872] {
        assert!(
            matches!(client.next(&mut world), Some(Seen::Body(1, piece)) if piece.len() == size)
        );
    }
    client.expect_nothing(&mut world);
}

#[test]
fn a_frame_may_be_eight_octets_over_what_was_agreed() {
    let (mut world, mut client) = with_q();
    client.consume(&mut world, "q", "c", true);
    let mut octets = method(1, &to("q"));
    octets.extend(frame(2, 1, &header(131_072, b"\0\0")));
    octets.extend(frame(3, 1, &[7; 131_072]));
    client.raw(&mut world, &octets);
    assert_eq!(client.delivery(&mut world).map(|it| it.body.len()), Some(131_072));
    client.raw(&mut world, &[3, 0, 1, 0, 2, 0, 1]);
    let text = "501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}";
    client.expect_close(&mut world, text, (0, 0));
}

/// Headers of every type that RabbitMQ knows.
fn headers_of_all_types() -> TableBuf {
    let inner = TableBuf::new().with("x", 1i8);
    let list = ArrayBuf::new().with("a").with(2i64).with(&inner).with(Value::Void);
    TableBuf::new()
        .with("t", true)
        .with("b", -1i8)
        .with("B", 200u8)
        .with("s", -300i16)
        .with("u", 60_000u16)
        .with("I", -70_000i32)
        .with("i", 4_000_000_000u32)
        .with("l", i64::MIN)
        .with("L", Value::LongLongIntUpper(7))
        .with("f", Value::Float(0.5))
        .with("d", Value::Double(0.25))
        .with("D", Value::Decimal { scale: 2, value: 314 })
        .with("S", "text")
        .with("x", Value::ByteArray(b"\0\xff"))
        .with("T", Value::Timestamp(1_700_000_000))
        .with("A", &list)
        .with("F", &inner)
        .with("V", Value::Void)
}

#[test]
fn properties_arrive_octet_for_octet_and_an_empty_one_is_not_an_absent_one() {
    let (mut world, mut client) = with_q();
    client.consume(&mut world, "q", "c", true);
    let headers = headers_of_all_types();
    let empty = TableBuf::new();
    let full = BasicProperties {
        content_type: Some(ShortStr::literal("text/plain")),
        content_encoding: Some(ShortStr::literal("gzip")),
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: Some(ShortStr::literal("7")),
        reply_to: Some(ShortStr::literal("me")),
        expiration: Some(ShortStr::literal("60000")),
        message_id: Some(ShortStr::literal("m")),
        timestamp: Some(1),
        message_type: Some(ShortStr::literal("t")),
        user_id: Some(ShortStr::literal("guest")),
        app_id: Some(ShortStr::literal("a")),
        cluster_id: Some(ShortStr::literal("c")),
    };
    let hollow = BasicProperties {
        content_type: Some(ShortStr::EMPTY),
        headers: Some(empty.as_table()),
        delivery_mode: Some(0),
        reply_to: Some(ShortStr::EMPTY),
        ..Default::default()
    };
    for properties in [full, hollow, BasicProperties::default()] {
        client.raw(&mut world, &publish_with(1, &to("q"), &properties, b"x"));
        let delivered = client.delivery(&mut world).expect("a delivery");
        assert_eq!(delivered.properties, properties.to_vec());
    }
}

#[test]
fn the_headers_of_a_dead_letter_keep_their_types() {
    let (mut world, mut client) = with_q();
    let arguments =
        TableBuf::new().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "q");
    let queue = ShortStr::literal("source");
    let declare = queue::Declare { queue, arguments: arguments.as_table(), ..Default::default() };
    client.call(&mut world, 1, &declare, queue::DeclareOk { queue, ..Default::default() });
    let headers = headers_of_all_types();
    let content_type = Some(ShortStr::EMPTY);
    let properties =
        BasicProperties { content_type, headers: Some(headers.as_table()), ..Default::default() };
    client.raw(&mut world, &publish_with(1, &to("source"), &properties, b"x"));
    client.consume(&mut world, "source", "c", false);
    assert!(client.delivery(&mut world).is_some());
    client.send(&mut world, 1, &basic::Reject { delivery_tag: 1, requeue: false });
    client.consume(&mut world, "q", "d", true);
    let letter = client.delivery(&mut world).expect("the dead letter");
    let letter = BasicProperties::decode(&letter.properties).expect("properties");
    assert_eq!(letter.content_type, content_type);
    let found = letter.headers.expect("headers");
    for (name, value) in headers.as_table().iter() {
        // Both letters for 64 bits mean the same, and RabbitMQ writes the small one.
        let expected = match value {
            Value::LongLongIntUpper(number) => Value::LongLongInt(number),
            value => value,
        };
        assert_eq!(found.get(name.as_bytes()), Some(expected), "{name}");
    }
}

#[test]
fn a_publish_that_ends_its_channel_is_not_confirmed_and_those_before_it_are() {
    let (mut world, mut client) = with_q();
    client.call(&mut world, 1, &confirm::Select::default(), confirm::SelectOk {});
    let nowhere = basic::Publish { exchange: ShortStr::literal("nope"), ..to("q") };
    let mut octets = publish(1, "q", b"1");
    octets.extend(publish(1, "q", b"2"));
    octets.extend(publish_with(1, &nowhere, &BasicProperties::default(), b"3"));
    octets.extend(publish(1, "q", b"after the end"));
    client.raw(&mut world, &octets);
    client.expect(&mut world, 1, basic::Ack { delivery_tag: 2, multiple: true });
    let text = "404 NOT_FOUND - no exchange 'nope' in vhost '/'";
    client.expect_channel_close(&mut world, 1, text, (60, 40));
    client.expect_nothing(&mut world);
    assert_eq!(world.messages(), 2);
}

#[test]
fn nothing_but_its_content_may_follow_a_publish_on_its_channel() {
    let (publish, head) = (method(1, &to("q")), frame(2, 1, &header(2, b"\0\0")));
    let (ack, beat) =
        (method(1, &basic::Ack { delivery_tag: 0, multiple: true }), frame(8, 1, b""));
    let no_header = "505 UNEXPECTED_FRAME - expected content header for class 60, got non content \
                     header frame instead";
    let no_body =
        "505 UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    let misplaced = "505 UNEXPECTED_FRAME - type 8, all octets = <<>>";
    let cases = [
        (vec![&publish, &ack], no_header, (60, 40)),
        (vec![&publish, &publish], no_header, (60, 40)),
        (vec![&publish, &head, &ack], no_body, (60, 40)),
        (vec![&publish, &head, &head], no_body, (60, 40)),
        (vec![&publish, &beat], misplaced, (0, 0)),
        (vec![&publish, &head, &beat], misplaced, (0, 0)),
    ];
    for (frames, text, failing) in cases {
        let (mut world, mut client) = with_q();
        let octets: Vec<u8> = frames.into_iter().flatten().copied().collect();
        client.raw(&mut world, &octets);
        client.expect_close(&mut world, text, failing);
    }
}

#[test]
fn signs_of_life_and_other_channels_may_come_between() {
    let (mut world, mut client) = with_q();
    client.open_channel(&mut world, 2);
    client.consume(&mut world, "q", "c", true);
    let mut octets = method(1, &to("q"));
    octets.extend(frame(8, 0, b""));
    octets.extend(method(2, &queue::Purge { queue: Q, ..Default::default() }));
    octets.extend(frame(2, 1, &header(2, b"\0\0")));
    octets.extend(method(
        0,
        &connection::UpdateSecret {
            new_secret: ropewalk_amqp::codec::Secret(b"guest"),
            ..Default::default()
        },
    ));
    octets.extend(frame(3, 1, b"o"));
    octets.extend(publish(2, "q", b"first"));
    octets.extend(frame(3, 1, b"k"));
    client.raw(&mut world, &octets);
    client.expect(&mut world, 2, queue::PurgeOk { message_count: 0 });
    client.expect(&mut world, 0, connection::UpdateSecretOk {});
    assert_eq!(client.bodies(&mut world), ["first", "ok"]);
}

#[test]
fn a_consumer_gets_what_its_own_connection_published_whatever_it_asked_for() {
    let (mut world, mut client) = with_q();
    let consumer_tag = ShortStr::literal("c");
    let consume = basic::Consume { queue: Q, consumer_tag, no_local: true, ..Default::default() };
    client.call(&mut world, 1, &consume, basic::ConsumeOk { consumer_tag });
    client.publish(&mut world, "q", "my own");
    assert_eq!(client.bodies(&mut world), ["my own"]);
}

#[test]
fn what_is_fetched_from_a_quorum_queue_says_how_often_it_came_back() {
    let mut world = World::new();
    let mut client = world.open();
    let quorum = TableBuf::new().with("x-queue-type", "quorum");
    let arguments = quorum.as_table();
    let declare = queue::Declare { queue: Q, durable: true, arguments, ..Default::default() };
    client.call(&mut world, 1, &declare, queue::DeclareOk { queue: Q, ..Default::default() });
    client.publish(&mut world, "q", "x");
    for count in 0..2 {
        client.send(&mut world, 1, &basic::Get { queue: Q, ..Default::default() });
        assert!(matches!(client.next(&mut world), Some(Seen::Method(1, "basic.get-ok", _))));
        let (properties, _) = client.expect_content(1);
        let properties = BasicProperties::decode(&properties).expect("properties");
        let headers = properties.headers.expect("headers");
        assert_eq!(headers.get_integer("x-delivery-count"), Some(count));
        let delivery_tag = count as u64 + 1;
        client.send(&mut world, 1, &basic::Reject { delivery_tag, requeue: true });
    }
}
