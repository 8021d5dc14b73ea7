//! What the journal hears, and how deliveries wait for leases.

mod common;

use common::stories::{durable, heard, persistent, send, small, take_all};
use common::{House, Props};
use ropewalk_broker::*;

#[test]
fn a_message_is_journaled_once_with_all_its_durable_queues_and_each_end_is() {
    let mut house = House::with_store(Config::default());
    let channel = house.channel(1);
    durable(&mut house, channel, "a", &[]);
    durable(&mut house, channel, "b", &[]);
    house.declare(channel, "transient");
    for queue in ["a", "b", "transient"] {
        house.bind(channel, "amq.fanout", queue, "");
    }
    let from = house.journaled();
    let to_all = ("amq.fanout", "", "m");
    house.publish_with(channel, to_all, Props::default(), persistent).expect("published");
    house.publish(channel, "amq.fanout", "", "nobody will miss it");
    assert_eq!(heard(&mut house, from), ["message 0@0 1@0"]);

    let from = house.journaled();
    assert_eq!(take_all(&mut house, channel, "transient").len(), 2);
    assert_eq!(heard(&mut house, from), [""; 0]);
    house.consume(channel, "a", "t");
    house.settle();
    house.ack(channel, 4);
    house.ack(channel, 3);
    assert_eq!(heard(&mut house, from), ["lease 0@257", "end 0@0"]);
    let from = house.journaled();
    house.broker.purge_queue(channel, b"b").expect("purged");
    assert_eq!(heard(&mut house, from), ["end 1@0"]);
}

#[test]
fn what_a_consumer_without_acknowledgements_has_at_once_is_never_stored() {
    let mut house = House::with_store(Config::default());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[]);
    house.consume_with(channel, "q", "t", "no-ack", &Table::new()).expect("consuming");
    house.broker.select_confirm(channel).expect("a plain channel");
    let from = house.journaled();
    send(&mut house, channel, "q", "m");
    assert_eq!(house.drain(), ["c1/1 deliver t 1 m", "c1/1 ack 1"]);
    assert_eq!(heard(&mut house, from), [""; 0]);
}

/// A channel with confirms, and a consumer on another channel for each of the durable queues, which
/// get what is published to `amq.fanout`.
fn confirming(queues: &[&str]) -> (House, ChannelId, ChannelId) {
    let mut house = House::with_store(Config::default());
    let (publisher, consumer) = (house.channel(1), house.channel(2));
    house.broker.select_confirm(publisher).expect("a plain channel");
    for queue in queues {
        durable(&mut house, publisher, queue, &[("x-dead-letter-exchange", Value::text("x"))]);
        house.bind(publisher, "amq.fanout", queue, "");
        house.consume(consumer, queue, queue);
    }
    house.settle();
    (house, publisher, consumer)
}

#[test]
fn a_confirm_need_not_wait_for_the_store_once_consumers_are_done_with_the_message_everywhere() {
    let (mut house, publisher, consumer) = confirming(&["a", "b"]);
    house.declare(publisher, "transient");
    house.bind(publisher, "amq.fanout", "transient", "");
    let from = house.journaled();
    for body in ["1", "2"] {
        let to_all = ("amq.fanout", "", body);
        house.publish_with(publisher, to_all, Props::default(), persistent).expect("published");
    }
    let delivered = ["deliver a 1 1", "deliver b 2 1", "deliver a 3 2", "deliver b 4 2"];
    assert_eq!(house.drain(), delivered.map(|it| format!("c2/1 {it}")));
    for tag in [1, 3, 4] {
        house.ack(consumer, tag);
        assert_eq!(house.drain(), [""; 0], "the first is not done with, and the second behind it");
    }
    house.ack(consumer, 2);
    assert_eq!(house.drain(), ["c1/1 ack 2 multiple"], "nothing has been stored");
    // All of it is stored in its order, and confirmed but once.
    let heard = heard(&mut house, from);
    let expected = ["lease 0@257", "lease 1@257", "message 0@0 1@0", "message 0@1 1@1"];
    assert_eq!(heard[..4], expected);
    assert_eq!(house.settle(), [""; 0]);
}

#[test]
fn what_a_consumer_takes_for_good_is_done_with() {
    let (mut house, publisher, _) = confirming(&[]);
    let connection = house.connection(3);
    let consumer = house.broker.open_channel(connection, 1).expect("not open");
    durable(&mut house, publisher, "q", &[]);
    send(&mut house, publisher, "q", "1");
    house.consume_with(consumer, "q", "t", "no-ack", &Table::new()).expect("consuming");
    assert_eq!(house.settle(), ["c1/1 ack 1", "c3/1 deliver t 1 1"]);
    // What follows is within the lease of the first, and has to wait until there is room.
    house.broker.set_flow(connection, false);
    send(&mut house, publisher, "q", "2");
    assert_eq!(house.drain(), [""; 0]);
    house.broker.set_flow(connection, true);
    assert_eq!(house.drain(), ["c3/1 deliver t 2 2", "c1/1 ack 2"]);
}

#[test]
fn the_confirm_of_a_message_that_was_given_back_rejected_or_purged_waits() {
    let (mut house, publisher, consumer) = confirming(&["q"]);
    send(&mut house, publisher, "q", "1");
    assert_eq!(house.drain(), ["c2/1 deliver q 1 1"]);
    house.broker.reject(consumer, 1, true).expect("outstanding");
    assert_eq!(house.drain(), ["c2/1 deliver q 2 1 again"]);
    house.broker.reject(consumer, 2, false).expect("outstanding");
    house.broker.cancel(consumer, b"q").expect("consuming");
    send(&mut house, publisher, "q", "2");
    house.broker.purge_queue(publisher, b"q").expect("purged");
    assert_eq!(house.drain(), [""; 0]);
    assert_eq!(house.settle(), ["c1/1 ack 2 multiple"]);
}

#[test]
fn what_is_dropped_before_it_was_journaled_never_is() {
    let mut house = House::with_store(Config::default());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[("x-max-length", Value::I32(0))]);
    durable(&mut house, channel, "r", &[("x-message-ttl", Value::I32(0))]);
    durable(&mut house, channel, "kept", &[]);
    house.bind(channel, "amq.fanout", "q", "");
    house.bind(channel, "amq.fanout", "kept", "");
    house.broker.select_confirm(channel).expect("a plain channel");
    let from = house.journaled();
    send(&mut house, channel, "q", "m");
    send(&mut house, channel, "r", "m");
    assert_eq!(house.drain(), ["c1/1 ack 2 multiple"]);
    let to_all = ("amq.fanout", "", "m");
    house.publish_with(channel, to_all, Props::default(), persistent).expect("published");
    assert_eq!(heard(&mut house, from), ["message 2@0"]);
}

#[test]
fn a_dead_letter_ends_after_its_copy() {
    let mut house = House::with_store(Config::default());
    let channel = house.channel(1);
    let arguments = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
        ("x-max-length", Value::I32(1)),
    ];
    durable(&mut house, channel, "q", &arguments);
    durable(&mut house, channel, "dead", &[]);
    let from = house.journaled();
    send(&mut house, channel, "q", "1");
    send(&mut house, channel, "q", "2");
    house.get(channel, "q");
    house.settle();
    house.get(channel, "q");
    house.broker.reject(channel, 1, false).expect("outstanding");
    let expected = [
        "message 0@0",
        "message 0@1",
        "message 1@0",
        "end 0@0",
        "lease 0@258",
        "message 1@1",
        "end 0@1",
    ];
    assert_eq!(heard(&mut house, from), expected);
}

/// A queue `q` whose dead go to `dead`, which has these arguments and a consumer who waits; `q` has
/// messages 1 to 3 in the hands of the channel given first.
fn dying(arguments: &[(&str, Value)]) -> (House, ChannelId, ChannelId) {
    let mut house = House::with_store(Config::default());
    let (channel, consumer) = (house.channel(1), house.channel(2));
    let dead_letters = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    durable(&mut house, channel, "q", &dead_letters);
    durable(&mut house, channel, "dead", arguments);
    house.consume(consumer, "dead", "t");
    house.consume(channel, "q", "q");
    (1..=3).for_each(|body| send(&mut house, channel, "q", &body.to_string()));
    assert_eq!(house.settle().len(), 3);
    (house, channel, consumer)
}

#[test]
fn a_dead_letter_goes_out_once_it_is_stored_and_so_the_end_of_what_died() {
    let (mut house, channel, _) = dying(&[]);
    let from = house.journaled();
    house.broker.reject(channel, 1, false).expect("outstanding");
    assert_eq!(house.drain(), [""; 0], "after a power cut it would die anew");
    assert_eq!(heard(&mut house, from), ["message 1@0", "end 0@0", "lease 1@257"]);
    let first = house.broker.last_ticket();
    // The lease reaches far enough for the next one, too; but that is not stored with it.
    house.broker.reject(channel, 2, false).expect("outstanding");
    send(&mut house, channel, "dead", "a new one, in its turn");
    house.broker.stored(first);
    assert_eq!(house.drain(), ["c2/1 deliver t 1 1"]);
    let second = house.broker.last_ticket();
    assert!(second > first);
    // On a full disk leases go before messages, and say nothing of them.
    house.broker.leases_stored(second);
    assert_eq!(house.drain(), [""; 0]);
    house.broker.stored(second);
    assert_eq!(house.drain(), ["c2/1 deliver t 2 2", "c2/1 deliver t 3 a new one, in its turn"]);
    send(&mut house, channel, "dead", "nothing is held any more");
    assert_eq!(house.drain().len(), 1);
}

#[test]
fn a_dead_letter_that_was_stored_while_nobody_waited_takes_one_lease_more() {
    let (mut house, channel, consumer) = dying(&[]);
    house.broker.cancel(consumer, b"t").expect("consuming");
    house.broker.nack(channel, 3, true, false).expect("outstanding");
    house.settle();
    let from = house.journaled();
    house.consume(consumer, "dead", "t");
    assert_eq!(house.drain(), [""; 0]);
    assert_eq!(heard(&mut house, from), ["lease 1@257"]);
    assert_eq!(house.settle().len(), 3);
}

#[test]
fn a_queue_with_a_limit_hands_a_dead_letter_out_at_once() {
    for limit in ["x-max-length", "x-max-length-bytes", "x-message-ttl"] {
        let (mut house, channel, _) = dying(&[(limit, Value::I32(0))]);
        house.broker.nack(channel, 3, true, false).expect("outstanding");
        assert_eq!(house.drain().len(), 3, "{limit}: what would wait would be dropped");
    }
}

#[test]
fn a_stored_message_goes_out_below_a_stored_lease_and_a_new_one_at_once() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[]);
    let from = house.journaled();
    send(&mut house, channel, "q", "1");
    house.consume(channel, "q", "t");
    assert_eq!(house.drain(), [""; 0], "the lease is not stored");
    let ticket = house.broker.last_ticket();
    house.broker.stored(ticket);
    assert_eq!(house.drain(), ["c1/1 deliver t 1 1"]);
    (2..=5).for_each(|body| send(&mut house, channel, "q", &body.to_string()));
    assert_eq!(house.drain().len(), 4, "their lease comes before them");
    send(&mut house, channel, "q", "6");
    assert_eq!(house.drain(), ["c1/1 deliver t 6 6"]);
    let expected = [
        "message 0@0",
        "lease 0@5",
        "message 0@1",
        "message 0@2",
        "message 0@3",
        "message 0@4",
        "lease 0@10",
        "message 0@5",
    ];
    assert_eq!(heard(&mut house, from), expected);
}

#[test]
fn fetching_waits_for_the_lease_as_well() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[]);
    send(&mut house, channel, "q", "1");
    let fetch = |house: &mut House| match house.broker.get(channel, b"q", false) {
        Ok(Fetch::Message(it)) => String::from_utf8_lossy(it.message.body()).into_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(fetch(&mut house), "Ok(Loading)");
    assert_eq!(fetch(&mut house), "Ok(Loading)");
    house.broker.stored(house.broker.last_ticket());
    assert_eq!(fetch(&mut house), "1");
    assert_eq!(fetch(&mut house), "Ok(Empty)");
}

#[test]
fn a_transactions_publishes_and_acknowledgements_are_journaled_at_its_commit() {
    let mut house = House::with_store(Config::default());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[]);
    send(&mut house, channel, "q", "1");
    house.get(channel, "q");
    house.settle();
    assert_eq!(house.get(channel, "q").map(|it| it.1), Some("1".to_owned()));
    house.broker.select_transaction(channel).expect("a plain channel");
    let from = house.journaled();
    send(&mut house, channel, "q", "2");
    house.ack(channel, 1);
    assert_eq!(heard(&mut house, from), [""; 0]);
    house.broker.commit(channel).expect("committed");
    assert_eq!(heard(&mut house, from), ["message 0@1", "end 0@0"]);
}

#[test]
fn a_queue_that_goes_is_told_with_its_bindings_before_it() {
    let mut house = House::with_store(Config::default());
    let channel = house.channel(1);
    let from = house.journaled();
    durable(&mut house, channel, "q", &[]);
    house.declare(channel, "transient");
    house.exchange_with(channel, "x", "topic", "durable auto-delete", &Table::new()).expect("x");
    house.exchange(channel, "y", "topic");
    house.bind(channel, "x", "q", "a");
    house.bind(channel, "x", "transient", "a");
    house.bind(channel, "y", "q", "a");
    house.unbind(channel, "x", "transient", "a");
    send(&mut house, channel, "q", "m");
    house.broker.delete_queue(channel, b"q", false, false).expect("deleted");
    house.broker.delete_queue(channel, b"transient", false, false).expect("deleted");
    // The queue, the exchange and their binding; then the binding, the exchange that lived by it,
    // and the queue.
    let expected =
        ["define", "define", "define", "message 0@0", "undefine", "undefine", "undefine", "gone 0"];
    assert_eq!(heard(&mut house, from), expected);
    assert!(house.store().state.definitions.is_empty());
}
