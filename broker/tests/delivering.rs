//! Consuming, prefetching, acknowledging, giving back and closing.

mod common;

use common::{House, refused};
use ropewalk_broker::*;

#[test]
fn publishing_to_the_default_exchange_delivers_to_the_queue_of_that_name() {
    let mut house = House::new();
    let (publisher, consumer) = (house.channel(1), house.channel(2));
    house.declare(publisher, "q");
    house.consume(consumer, "q", "t");
    house.publish(publisher, "", "q", "hello");
    assert_eq!(house.drain(), ["c2/1 deliver t 1 hello"]);
    house.publish(publisher, "", "nobody", "lost");
    assert_eq!(house.drain(), [""; 0]);
    assert_eq!(house.broker.totals().messages, 1, "only the unacknowledged one is kept");
    house.ack(consumer, 1);
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn the_backlog_is_delivered_in_order_and_before_what_comes_later() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..3);
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 3..5);
    let expected: Vec<_> = (0..5).map(|at| format!("c1/1 deliver t {} {at}", at + 1)).collect();
    assert_eq!(house.drain(), expected);
}

#[test]
fn requeued_messages_go_back_to_their_original_position() {
    let mut house = House::new();
    let (first, second) = (house.channel(1), house.channel(2));
    house.declare(second, "q");
    house.qos(first, 3, false);
    house.consume(first, "q", "a");
    house.fill(second, "q", 0..6);
    assert_eq!(house.drain().len(), 3);
    house.broker.close_channel(first);
    assert_eq!(house.bodies(second, "q"), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn a_refused_message_comes_again_first_under_a_new_tag() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.qos(channel, 3, false);
    house.fill(channel, "q", 1..6);
    house.consume(channel, "q", "t");
    assert_eq!(house.drain().len(), 3);
    house.broker.nack(channel, 2, false, true).expect("outstanding");
    assert_eq!(house.drain(), ["c1/1 deliver t 4 2 again"]);
}

#[test]
fn a_message_never_handed_out_is_not_marked_redelivered_and_any_requeue_marks_it() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..1);
    assert_eq!(house.get(channel, "q"), Some((1, "0".into(), false, 0)));
    house.broker.reject(channel, 1, true).expect("outstanding");
    assert_eq!(house.get(channel, "q"), Some((2, "0".into(), true, 0)));
    house.broker.recover(channel, true).expect("recovered");
    assert_eq!(house.get(channel, "q"), Some((3, "0".into(), true, 0)));
    house.broker.close_channel(channel);
    let other = house.channel(2);
    assert_eq!(house.get(other, "q"), Some((1, "0".into(), true, 0)));
}

#[test]
fn delivery_tags_are_per_channel_and_shared_by_get_and_deliver() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    house.declare(one, "q");
    house.declare(one, "p");
    house.fill(one, "q", 0..2);
    assert_eq!(house.get(one, "q").map(|it| it.0), Some(1));
    house.consume(one, "p", "t");
    house.fill(one, "p", 7..8);
    assert_eq!(house.drain(), ["c1/1 deliver t 2 7"]);
    assert_eq!(house.get(one, "q").map(|it| it.0), Some(3));
    house.fill(two, "q", 9..10);
    assert_eq!(house.get(two, "q").map(|it| it.0), Some(1));
}

#[test]
fn acknowledging_twice_an_unknown_tag_or_anothers_is_refused() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    house.declare(one, "q");
    house.fill(one, "q", 0..1);
    house.get(one, "q");
    let unknown = "PRECONDITION_FAILED - unknown delivery tag 1";
    refused(house.broker.ack(two, 1, false), unknown);
    house.ack(one, 1);
    refused(house.broker.ack(one, 1, false), unknown);
    refused(house.broker.nack(one, 5, false, true), "PRECONDITION_FAILED - unknown delivery tag 5");
}

#[test]
fn tag_0_with_multiple_is_all_and_silent_when_there_is_nothing() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.broker.ack(channel, 0, true).expect("silent");
    refused(house.broker.ack(channel, 0, false), "PRECONDITION_FAILED - unknown delivery tag 0");
    refused(house.broker.ack(channel, 99, true), "PRECONDITION_FAILED - unknown delivery tag 99");
    house.fill(channel, "q", 0..3);
    (0..3).for_each(|_| drop(house.get(channel, "q")));
    house.broker.ack(channel, 0, true).expect("all");
    refused(house.broker.ack(channel, 3, false), "PRECONDITION_FAILED - unknown delivery tag 3");
}

#[test]
fn multiple_covers_gets_and_deliveries_of_all_consumers_of_the_channel() {
    let mut house = House::new();
    let channel = house.channel(1);
    for queue in ["p", "q", "r"] {
        house.declare(channel, queue);
        house.fill(channel, queue, 0..1);
    }
    house.consume(channel, "p", "a");
    house.get(channel, "r");
    house.consume(channel, "q", "b");
    assert_eq!(house.drain().len(), 2);
    house.broker.ack(channel, 3, true).expect("all three");
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn acknowledging_works_after_the_consumer_was_cancelled_and_after_the_queue_was_deleted() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..2);
    house.consume(channel, "q", "t");
    assert_eq!(house.drain().len(), 2);
    house.broker.cancel(channel, b"t").expect("cancelled");
    house.ack(channel, 1);
    house.broker.delete_queue(channel, b"q", false, false).expect("deleted");
    house.ack(channel, 2);
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn cancelling_does_not_requeue_but_closing_the_channel_does() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    house.declare(two, "q");
    house.fill(two, "q", 0..2);
    house.consume(one, "q", "t");
    house.drain();
    house.broker.cancel(one, b"t").expect("cancelled");
    assert_eq!(house.counts(two, "q"), (0, 0));
    house.broker.close_channel(one);
    assert_eq!(house.counts(two, "q"), (2, 0));
}

#[test]
fn cancelling_an_unknown_tag_is_no_error() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.broker.cancel(channel, b"nobody").expect("no error");
}

#[test]
fn prefetch_is_per_new_consumer_and_global_is_shared() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    house.declare(one, "q");
    house.fill(one, "q", 0..10);
    house.qos(one, 2, false);
    house.consume(one, "q", "a");
    house.consume(one, "q", "b");
    assert_eq!(house.drain().len(), 4);
    house.broker.close_channel(one);
    house.qos(two, 2, true);
    house.consume(two, "q", "a");
    house.consume(two, "q", "b");
    assert_eq!(house.drain().len(), 2);
}

#[test]
fn if_both_prefetches_are_set_both_hold() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..10);
    house.qos(channel, 2, false);
    house.qos(channel, 3, true);
    house.consume(channel, "q", "a");
    assert_eq!(house.drain().len(), 2);
    house.consume(channel, "q", "b");
    assert_eq!(house.drain().len(), 1);
    house.ack(channel, 1);
    assert_eq!(house.drain().len(), 1);
    house.qos(channel, 5, false);
    assert_eq!(house.drain().len(), 1, "that of the channel is over, the first consumer's stays");
    assert_eq!(house.counts(channel, "q"), (5, 2));
}

#[test]
fn changing_the_prefetch_does_not_touch_existing_consumers() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.qos(channel, 1, false);
    house.consume(channel, "q", "t");
    house.qos(channel, 5, false);
    house.fill(channel, "q", 0..5);
    assert_eq!(house.drain().len(), 1);
}

#[test]
fn raising_the_shared_prefetch_feeds_consumers_that_waited_for_it() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.qos(channel, 1, true);
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 0..5);
    assert_eq!(house.drain().len(), 1);
    house.qos(channel, 3, true);
    assert_eq!(house.drain().len(), 2);
    house.qos(channel, 0, true);
    assert_eq!(house.drain().len(), 2);
}

#[test]
fn prefetch_0_is_unlimited_and_no_ack_consumers_and_gets_ignore_prefetch() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    house.declare(one, "q");
    house.consume(one, "q", "t");
    house.fill(one, "q", 0..100);
    assert_eq!(house.drain().len(), 100);
    house.broker.cancel(one, b"t").expect("cancelled");
    house.qos(two, 1, false);
    house.qos(two, 1, true);
    house.consume_with(two, "q", "u", "no-ack", &Table::new()).expect("consuming");
    house.fill(one, "q", 0..10);
    assert_eq!(house.drain().len(), 10);
    house.broker.cancel(two, b"u").expect("cancelled");
    house.fill(one, "q", 0..3);
    assert_eq!((0..3).filter_map(|_| house.get(two, "q")).count(), 3);
}

#[test]
fn acknowledging_makes_room_for_the_next() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.qos(channel, 1, false);
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 0..3);
    assert_eq!(house.drain(), ["c1/1 deliver t 1 0"]);
    house.ack(channel, 1);
    assert_eq!(house.drain(), ["c1/1 deliver t 2 1"]);
    house.broker.reject(channel, 2, false).expect("outstanding");
    assert_eq!(house.drain(), ["c1/1 deliver t 3 2"]);
}

#[test]
fn consumers_with_room_take_turns() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    for tag in ["a", "b", "c"] {
        house.consume(channel, "q", tag);
    }
    house.fill(channel, "q", 0..6);
    let order: Vec<_> = house.drain().iter().map(|it| it.as_bytes()[13] as char).collect();
    assert_eq!(order, ['a', 'b', 'c', 'a', 'b', 'c']);
}

#[test]
fn the_higher_priority_is_served_until_its_prefetch_is_full() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.qos(channel, 2, false);
    let high = Table::from([("x-priority", Value::I32(5))]);
    house.consume(channel, "q", "low");
    house.consume_with(channel, "q", "high", "", &high).expect("consuming");
    house.fill(channel, "q", 0..3);
    let expected = ["c1/1 deliver high 1 0", "c1/1 deliver high 2 1", "c1/1 deliver low 3 2"];
    assert_eq!(house.drain(), expected);
    house.ack(channel, 1);
    house.fill(channel, "q", 3..4);
    assert_eq!(house.drain(), ["c1/1 deliver high 4 3"]);
}

#[test]
fn a_tag_in_use_is_refused_on_the_connection_and_an_empty_one_is_made_up() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.consume(channel, "q", "t");
    let none = Table::new();
    let again = house.consume_with(channel, "q", "t", "", &none);
    assert_eq!(again.as_ref().map_err(Error::level), Err(Level::Connection));
    refused(again, "NOT_ALLOWED - attempt to reuse consumer tag 't'");
    let nowhere = house.connection(2);
    let nowhere = house.broker.open_channel(nowhere, 1).expect("opened");
    house.consume(nowhere, "q", "t");
    refused(
        house.consume_with(nowhere, "", "t", "", &none),
        "NOT_FOUND - no previously declared queue",
    );
    house.broker.close_channel(nowhere);
    let made = house.consume_with(channel, "q", "", "", &none).expect("consuming");
    assert!(made.starts_with("amq.ctag-") && made.len() == 31, "{made}");
    assert_eq!(house.counts(channel, "q"), (0, 2));
}

#[test]
fn an_exclusive_consumer_shares_with_no_other() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    house.declare(one, "q");
    let none = Table::new();
    let text = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";
    house.consume_with(one, "q", "a", "exclusive", &none).expect("alone");
    refused(house.consume_with(two, "q", "b", "", &none), text);
    house.broker.cancel(one, b"a").expect("cancelled");
    house.consume(two, "q", "b");
    refused(house.consume_with(one, "q", "a", "exclusive", &none), text);
}

#[test]
fn the_arguments_of_a_consumer_are_checked_as_rabbitmq_does() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    let cases = [
        ("x-priority", Value::text("5"), ": \"expected integer, got longstr\""),
        ("x-cancel-on-ha-failover", Value::I32(1), ": {unacceptable_type,signedint}"),
        ("x-stream-offset", Value::text("first"), " of queue type rabbit_classic_queue"),
    ];
    for (name, value, reason) in cases {
        refused(
            house.consume_with(channel, "q", "c", "", &Table::from([(name, value)])),
            &format!(
                "PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/'{reason}"
            ),
        );
    }
    assert_eq!(house.counts(channel, "q"), (0, 0));
}

#[test]
fn get_tells_how_many_are_left_and_none_when_empty() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    assert_eq!(house.get(channel, "q"), None);
    house.fill(channel, "q", 0..3);
    assert_eq!(house.get(channel, "q"), Some((1, "0".into(), false, 2)));
    assert_eq!(house.get(channel, "q"), Some((2, "1".into(), false, 1)));
    refused(
        house.broker.get(channel, b"p", false).map(drop),
        "NOT_FOUND - no queue 'p' in vhost '/'",
    );
}

#[test]
fn recovering_requeues_all_and_they_come_again_with_new_tags() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 0..2);
    house.drain();
    house.broker.recover(channel, true).expect("recovered");
    assert_eq!(house.drain(), ["c1/1 deliver t 3 0 again", "c1/1 deliver t 4 1 again"]);
    refused(house.broker.recover(channel, false), "NOT_IMPLEMENTED - requeue=false");
}

#[test]
fn a_prefetch_size_is_not_implemented() {
    let mut house = House::new();
    let channel = house.channel(1);
    refused(house.broker.qos(channel, 10, 0, false), "NOT_IMPLEMENTED - prefetch_size!=0 (10)");
}

#[test]
fn a_consumer_is_passed_over_while_its_connection_is_not_writable() {
    let mut house = House::new();
    let (slow, quick) = (house.connection(1), house.channel(2));
    let channel = house.broker.open_channel(slow, 1).expect("opened");
    house.declare(quick, "q");
    house.consume(channel, "q", "slow");
    house.consume(quick, "q", "quick");
    house.broker.set_flow(slow, false);
    house.fill(quick, "q", 0..2);
    assert_eq!(house.drain(), ["c2/1 deliver quick 1 0", "c2/1 deliver quick 2 1"]);
    house.broker.cancel(quick, b"quick").expect("cancelled");
    house.fill(quick, "q", 2..4);
    assert_eq!(house.drain(), [""; 0]);
    assert_eq!(house.counts(quick, "q"), (2, 1));
    house.broker.set_flow(slow, true);
    assert_eq!(house.drain(), ["c1/1 deliver slow 1 2", "c1/1 deliver slow 2 3"]);
}

#[test]
fn acknowledgements_while_the_connection_is_not_writable_change_nothing_twice() {
    let mut house = House::new();
    let connection = house.connection(1);
    let channel = house.broker.open_channel(connection, 1).expect("opened");
    house.declare(channel, "q");
    house.qos(channel, 2, false);
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 0..6);
    assert_eq!(house.drain().len(), 2);
    house.broker.set_flow(connection, false);
    house.ack(channel, 1);
    house.ack(channel, 2);
    assert_eq!(house.drain(), [""; 0]);
    house.broker.set_flow(connection, true);
    assert_eq!(house.drain(), ["c1/1 deliver t 3 2", "c1/1 deliver t 4 3"]);
}

#[test]
fn a_pass_stops_when_the_outbox_is_full_and_goes_on_when_it_is_drained() {
    let mut config = Config::default();
    config.pass_deliveries = 10;
    let mut house = House::with(config);
    let connection = house.connection(1);
    let channel = house.broker.open_channel(connection, 1).expect("opened");
    house.declare(channel, "q");
    house.fill(channel, "q", 0..100);
    house.consume(channel, "q", "t");
    assert_eq!(house.counts(channel, "q"), (90, 1));
    house.broker.set_flow(connection, false);
    assert_eq!(house.drain().len(), 10, "what was in the outbox, and no more");
    house.broker.set_flow(connection, true);
    assert_eq!(house.drain().len(), 90);
}

#[test]
fn closing_a_channel_drops_its_events_and_its_number_is_free_again() {
    let mut house = House::new();
    let connection = house.connection(1);
    let channel = house.broker.open_channel(connection, 7).expect("opened");
    let twice = house.broker.open_channel(connection, 7);
    refused(twice, "CHANNEL_ERROR - second 'channel.open' seen");
    house.declare(channel, "q");
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 0..1);
    house.broker.close_channel(channel);
    assert_eq!(house.drain(), [""; 0]);
    refused(house.broker.ack(channel, 1, false), "CHANNEL_ERROR - expected 'channel.open'");
    let again = house.broker.open_channel(connection, 7).expect("free");
    assert_eq!(house.get(again, "q"), Some((1, "0".into(), true, 0)));
}

#[test]
fn closing_a_connection_requeues_what_its_channels_held_for_others_to_have() {
    let mut house = House::new();
    let connection = house.connection(1);
    let one = house.broker.open_channel(connection, 1).expect("opened");
    let two = house.broker.open_channel(connection, 2).expect("opened");
    let other = house.channel(2);
    house.declare(other, "q");
    house.qos(one, 2, false);
    house.qos(two, 2, false);
    house.consume(one, "q", "a");
    house.consume(two, "q", "b");
    house.fill(other, "q", 0..6);
    assert_eq!(house.drain().len(), 4);
    house.consume(other, "q", "c");
    assert_eq!(house.drain(), ["c2/1 deliver c 1 4", "c2/1 deliver c 2 5"]);
    house.broker.close_connection(connection);
    let again: Vec<_> = (0..4).map(|at| format!("c2/1 deliver c {} {at} again", at + 3)).collect();
    assert_eq!(house.drain(), again);
    house.broker.close_connection(connection);
    assert_eq!(house.broker.totals().connections, 1);
}

#[test]
fn priorities_of_consumers_may_be_negative() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.qos(channel, 1, false);
    for (tag, priority) in [("low", -1), ("plain", 0), ("high", 1), ("higher", 2)] {
        let arguments = Table::from([("x-priority", Value::I32(priority))]);
        house.consume_with(channel, "q", tag, "", &arguments).expect("consuming");
    }
    house.fill(channel, "q", 0..5);
    let expected = [
        "c1/1 deliver higher 1 0",
        "c1/1 deliver high 2 1",
        "c1/1 deliver plain 3 2",
        "c1/1 deliver low 4 3",
    ];
    assert_eq!(house.drain(), expected);
    house.broker.cancel(channel, b"high").expect("cancelled");
    house.ack(channel, 4);
    assert_eq!(house.drain(), ["c1/1 deliver low 5 4"]);
}
