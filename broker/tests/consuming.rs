//! What a prefetch that consumers share means, and what marks and numbers a delivery.

mod common;

use common::{House, refused};
use ropewalk_broker::*;

#[test]
fn a_quorum_queue_does_not_support_a_prefetch_that_consumers_share() {
    let mut house = House::new();
    let channel = house.channel(1);
    let quorum = Table::from([("x-queue-type", Value::text("quorum"))]);
    house.declare_with(channel, "q", "durable", &quorum).expect("declared");
    house.declare(channel, "classic");
    house.qos(channel, 5, true);
    for flags in ["", "no-ack"] {
        let result = house.consume_with(channel, "q", "t", flags, &Table::new());
        assert_eq!(result.as_ref().map_err(Error::level), Err(Level::Connection));
        let text = "NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos";
        refused(result, text);
    }
    house.consume(channel, "classic", "t");
    house.qos(channel, 0, true);
    house.consume(channel, "q", "u");
}

#[test]
fn each_way_back_into_the_queue_marks_a_message_redelivered() {
    type Way = fn(&mut House, ConnectionId, ChannelId);
    let ways: [(&str, Way); 6] = [
        ("reject", |house, _, channel| house.broker.reject(channel, 1, true).expect("it is out")),
        ("nack", |house, _, channel| {
            house.broker.nack(channel, 1, false, true).expect("it is out")
        }),
        ("nack all", |house, _, channel| {
            house.broker.nack(channel, 0, true, true).expect("it is out");
        }),
        ("recover", |house, _, channel| house.broker.recover(channel, true).expect("recovered")),
        ("close", |house, _, channel| house.broker.close_channel(channel)),
        ("loss", |house, connection, _| house.broker.close_connection(connection)),
    ];
    for (way, back) in ways {
        let mut house = House::new();
        let connection = house.connection(1);
        let channel = house.broker.open_channel(connection, 1).expect("fresh");
        let other = house.channel(2);
        house.declare(other, "q");
        house.fill(other, "q", 0..2);
        assert_eq!(house.get(channel, "q"), Some((1, "0".into(), false, 1)), "{way}");
        back(&mut house, connection, channel);
        assert_eq!(house.get(other, "q"), Some((1, "0".into(), true, 1)), "{way}");
        assert_eq!(house.get(other, "q"), Some((2, "1".into(), false, 0)), "{way}: it never left");
    }
}

#[test]
fn tags_go_on_after_acknowledgements_and_are_never_given_again() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..2);
    for tag in 1..=2 {
        assert_eq!(house.get(channel, "q").map(|it| it.0), Some(tag));
        house.ack(channel, tag);
    }
    house.fill(channel, "q", 0..1);
    let fetched = house.broker.get(channel, b"q", true).expect("exists");
    assert!(fetched.message().is_some(), "without acknowledgement");
    house.fill(channel, "q", 0..1);
    assert_eq!(house.get(channel, "q").map(|it| it.0), Some(4));
    let unknown = "PRECONDITION_FAILED - unknown delivery tag 3";
    refused(house.broker.ack(channel, 3, false), unknown);
}

#[test]
fn a_consumer_without_acknowledgements_is_fed_though_the_shared_prefetch_is_used_up() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "p");
    house.declare(channel, "q");
    house.qos(channel, 1, true);
    house.consume(channel, "p", "counted");
    house.fill(channel, "p", 0..2);
    assert_eq!(house.drain(), ["c1/1 deliver counted 1 0"]);
    house.consume_with(channel, "q", "free", "no-ack", &Table::new()).expect("consuming");
    house.fill(channel, "q", 5..7);
    assert_eq!(house.drain(), ["c1/1 deliver free 2 5", "c1/1 deliver free 3 6"]);
    house.ack(channel, 1);
    assert_eq!(house.drain(), ["c1/1 deliver counted 4 1"], "they took no part of it");
}
