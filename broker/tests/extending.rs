//! Transactions, direct reply-to, single active consumer, quorum counts and permissions.

mod common;

use common::{House, Props, refused};
use ropewalk_broker::*;

fn table(entries: &[(&str, Value)]) -> Table {
    entries.iter().map(|(name, value)| (*name, value.clone())).collect()
}

fn consume_replies(house: &mut House, channel: ChannelId, tag: &str) -> Result<String> {
    house.consume_with(channel, "amq.rabbitmq.reply-to", tag, "no-ack", &Table::new())
}

/// Publishes a request to `q` that asks for direct replies, and returns the address it carries.
fn request(house: &mut House, channel: ChannelId) -> String {
    let props = Props { reply_to: Some(b"amq.rabbitmq.reply-to".to_vec()), ..Props::default() };
    house.publish_with(channel, ("", "q", "request"), props, |_| {}).expect("published");
    let fetched = house.broker.get(channel, b"q", true).expect("exists").message().expect("there");
    let raw = fetched.message.properties().to_vec();
    String::from_utf8(house.codec.decode(&raw).reply_to.expect("reply-to")).expect("text")
}

#[test]
fn the_effects_of_a_transaction_are_invisible_until_its_commit() {
    let mut house = House::new();
    let (channel, other) = (house.channel(1), house.channel(2));
    house.declare(channel, "q");
    house.fill(channel, "q", 0..1);
    house.get(channel, "q");
    house.broker.select_transaction(channel).expect("transactional");
    house.broker.select_transaction(channel).expect("again is no error");
    house.fill(channel, "q", 1..3);
    house.publish_mandatory(channel, "", "nobody", "lost");
    house.ack(channel, 1);
    assert_eq!(house.counts(other, "q"), (0, 0));
    assert_eq!(house.drain(), [""; 0]);
    house.broker.commit(channel).expect("committed");
    assert_eq!(house.counts(other, "q"), (2, 0));
    assert_eq!(house.drain(), ["c1/1 return nobody lost"]);
    assert_eq!(house.broker.totals().messages, 2, "the acknowledged one has gone");
}

#[test]
fn a_rollback_drops_publishes_and_gives_acknowledgements_back() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..3);
    (0..3).for_each(|_| drop(house.get(channel, "q")));
    house.broker.select_transaction(channel).expect("transactional");
    house.fill(channel, "q", 3..6);
    house.ack(channel, 2);
    refused(house.broker.ack(channel, 2, false), "PRECONDITION_FAILED - unknown delivery tag 2");
    house.broker.nack(channel, 1, false, true).expect("outstanding");
    house.broker.rollback(channel).expect("rolled back");
    assert_eq!(house.counts(channel, "q"), (0, 0));
    assert_eq!(house.broker.totals().messages, 3);
    house.broker.ack(channel, 3, true).expect("all three are outstanding again");
    house.broker.commit(channel).expect("committed");
    house.drain();
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn a_requeue_in_a_transaction_happens_at_the_commit() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..3);
    (0..2).for_each(|_| drop(house.get(channel, "q")));
    house.broker.select_transaction(channel).expect("transactional");
    house.broker.nack(channel, 2, true, true).expect("outstanding");
    assert_eq!(house.counts(channel, "q"), (1, 0));
    house.broker.commit(channel).expect("committed");
    assert_eq!(house.bodies(channel, "q"), ["0", "1", "2"]);
}

#[test]
fn closing_a_channel_undoes_its_transaction() {
    let mut house = House::new();
    let (channel, other) = (house.channel(1), house.channel(2));
    house.declare(other, "q");
    house.fill(other, "q", 0..2);
    house.get(channel, "q");
    house.broker.select_transaction(channel).expect("transactional");
    house.ack(channel, 1);
    house.fill(channel, "q", 2..3);
    house.broker.close_channel(channel);
    assert_eq!(house.bodies(other, "q"), ["0", "1"]);
    house.drain();
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn a_publish_to_a_missing_exchange_fails_at_once_in_a_transaction() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.broker.select_transaction(channel).expect("transactional");
    refused(
        house.broker.publish(channel, &Publish::new(b"nowhere", b"", b"")),
        "NOT_FOUND - no exchange 'nowhere' in vhost '/'",
    );
}

#[test]
fn confirms_and_transactions_exclude_each_other() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    let failed = |text: &str| format!("PRECONDITION_FAILED - {text}");
    refused(house.broker.commit(one), &failed("channel is not transactional"));
    refused(house.broker.rollback(one), &failed("channel is not transactional"));
    house.broker.select_confirm(one).expect("confirms");
    refused(house.broker.select_transaction(one), &failed("cannot switch from confirm to tx mode"));
    house.broker.select_transaction(two).expect("transactional");
    refused(house.broker.select_confirm(two), &failed("cannot switch from tx to confirm mode"));
}

#[test]
fn a_message_refused_at_the_commit_is_a_partial_completion() {
    let mut house = House::new();
    let channel = house.channel(1);
    let arguments =
        table(&[("x-max-length", Value::I32(1)), ("x-overflow", Value::text("reject-publish"))]);
    house.declare_with(channel, "q", "", &arguments).expect("declared");
    house.broker.select_transaction(channel).expect("transactional");
    house.fill(channel, "q", 0..2);
    let result = house.broker.commit(channel);
    refused(result, "PRECONDITION_FAILED - partial tx completion");
    assert_eq!(house.bodies(channel, "q"), ["0"]);
}

#[test]
fn a_queue_deleted_before_the_commit_gets_nothing() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.broker.select_transaction(channel).expect("transactional");
    house.fill(channel, "q", 0..2);
    house.broker.delete_queue(channel, b"q", false, false).expect("deleted");
    house.broker.commit(channel).expect("committed");
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn a_direct_reply_reaches_the_channel_that_asked() {
    let mut house = House::new();
    let (client, server) = (house.channel(1), house.channel(2));
    house.declare(client, "q");
    assert_eq!(consume_replies(&mut house, client, "t").as_deref(), Ok("t"));
    let address = request(&mut house, client);
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    house.publish(server, "", &address, "reply");
    let Some(Event::Delivered(reply)) = house.broker.next_event() else { panic!("a delivery") };
    assert_eq!((reply.to.key, reply.consumer_tag, reply.delivery_tag), (1, &b"t"[..], 2));
    assert_eq!(reply.message.routing_key(), address.as_bytes());
    assert_eq!(reply.message.body(), b"reply");
    assert_eq!(house.drain(), [""; 0]);
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn a_reply_to_a_channel_that_has_gone_reaches_nobody() {
    let mut house = House::new();
    let (client, server) = (house.channel(1), house.channel(2));
    house.declare(client, "q");
    consume_replies(&mut house, client, "t").expect("consuming");
    let address = request(&mut house, client);
    let none = Table::new();
    let declared = house.declare_with(server, &address, "passive", &none);
    assert_eq!(declared, Ok((address.clone(), 0, 1)), "it is there");
    house.broker.close_channel(client);
    refused(
        house.declare_with(server, &address, "passive", &none),
        &format!("NOT_FOUND - no queue '{address}' in vhost '/'"),
    );
    house.publish_mandatory(server, "", &address, "late");
    assert_eq!(house.drain(), [format!("c2/1 return {address} late")]);
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn the_reply_consumer_is_checked_as_rabbitmq_does() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    refused(
        house.consume_with(channel, "amq.rabbitmq.reply-to", "t", "", &none),
        "PRECONDITION_FAILED - reply consumer cannot acknowledge",
    );
    let props = Props { reply_to: Some(b"amq.rabbitmq.reply-to".to_vec()), ..Props::default() };
    refused(
        house.publish_with(channel, ("", "q", ""), props, |_| {}),
        "PRECONDITION_FAILED - fast reply consumer does not exist",
    );
    consume_replies(&mut house, channel, "t").expect("consuming");
    refused(
        consume_replies(&mut house, channel, "u"),
        "PRECONDITION_FAILED - reply consumer already set",
    );
    house.declare(channel, "q");
    house.consume_with(channel, "q", "t", "", &none).expect("its tag is in nobody's way");
    house.broker.cancel(channel, b"t").expect("cancelled");
    assert_eq!(house.counts(channel, "q"), (0, 1), "the consumer of replies went first");
    refused(
        consume_replies(&mut house, channel, "t"),
        "NOT_ALLOWED - attempt to reuse consumer tag 't'",
    );
    consume_replies(&mut house, channel, "u").expect("free again");
}

#[test]
fn a_single_active_consumer_is_fed_until_it_ends_and_keeps_what_it_has() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    let single = table(&[("x-single-active-consumer", Value::Bool(true))]);
    house.declare_with(one, "q", "", &single).expect("declared");
    house.qos(one, 2, false);
    house.consume(one, "q", "a");
    house.consume(two, "q", "b");
    house.fill(one, "q", 0..4);
    assert_eq!(house.drain(), ["c1/1 deliver a 1 0", "c1/1 deliver a 2 1"], "b waits");
    house.ack(one, 1);
    assert_eq!(house.drain(), ["c1/1 deliver a 3 2"]);
    house.broker.cancel(one, b"a").expect("cancelled");
    assert_eq!(house.drain(), ["c2/1 deliver b 1 3"]);
    house.ack(one, 2);
    house.broker.close_channel(one);
    assert_eq!(house.drain(), ["c2/1 deliver b 2 2 again"]);
    refused(
        house.consume_with(two, "q", "c", "exclusive", &Table::new()),
        "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use",
    );
}

#[test]
fn messages_of_a_quorum_queue_say_how_often_they_came_back() {
    let mut house = House::new();
    let channel = house.channel(1);
    let quorum = table(&[("x-queue-type", Value::text("quorum"))]);
    house.declare_with(channel, "q", "durable", &quorum).expect("declared");
    house.declare(channel, "classic");
    house.fill(channel, "q", 0..1);
    house.fill(channel, "classic", 0..1);
    let mut count = |queue: &str| {
        let fetched = house.broker.get(channel, queue.as_bytes(), false).expect("exists").message();
        let fetched = fetched.expect("there");
        let (tag, count) = (fetched.delivery_tag, fetched.delivery_count);
        house.broker.reject(channel, tag, true).expect("outstanding");
        count
    };
    assert_eq!((count("q"), count("q"), count("q")), (Some(0), Some(1), Some(2)));
    assert_eq!(count("classic"), None);
}

#[test]
fn a_delivery_from_a_quorum_queue_says_how_often_it_came_back_once_it_did() {
    let mut house = House::new();
    let channel = house.channel(1);
    let quorum = table(&[("x-queue-type", Value::text("quorum"))]);
    house.declare_with(channel, "q", "durable", &quorum).expect("declared");
    house.consume(channel, "q", "c");
    house.fill(channel, "q", 0..1);
    let mut counts = Vec::new();
    for tag in 1..=3 {
        let Some(Event::Delivered(delivery)) = house.broker.next_event() else {
            panic!("no delivery {tag}");
        };
        counts.push((delivery.redelivered, delivery.delivery_count));
        house.broker.reject(channel, tag, true).expect("outstanding");
    }
    assert_eq!(counts, [(false, None), (true, Some(1)), (true, Some(2))]);
}

#[test]
fn a_quorum_queue_knows_no_exclusive_consumer_no_shared_prefetch_and_feeds_no_get_beside_one() {
    let mut house = House::new();
    let (channel, other) = (house.channel(1), house.channel(2));
    let none = Table::new();
    let quorum = ("x-queue-type", Value::text("quorum"));
    house
        .declare_with(channel, "q", "durable", &table(std::slice::from_ref(&quorum)))
        .expect("declared");
    house.consume_with(channel, "q", "a", "exclusive", &none).expect("consuming");
    house.consume_with(other, "q", "b", "exclusive", &none).expect("beside it");
    house.broker.qos(channel, 0, 5, true).expect("set");
    refused(
        house.consume_with(channel, "q", "c", "", &none),
        "NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos",
    );
    let single = ("x-single-active-consumer", Value::Bool(true));
    house.declare_with(channel, "one", "durable", &table(&[quorum, single])).expect("declared");
    refused(
        house.broker.get(channel, b"one", true),
        "RESOURCE_LOCKED - cannot obtain access to locked queue 'one' in vhost '/'. basic.get \
         operations are not supported by quorum queues with single active consumer",
    );
}

#[test]
fn what_a_user_may_not_do_is_refused_by_name() {
    let mut house = House::new();
    let admin = house.channel(1);
    house.declare(admin, "q");
    house.exchange(admin, "x", "fanout");
    let connection = house.connection(2);
    let channel = house.broker.open_channel(connection, 1).expect("opened");
    let none = Table::new();
    house.broker.set_permissions(connection, |_: Access, name: &[u8]| name.starts_with(b"mine"));
    let queue = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'guest'";
    let exchange = "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'guest'";
    refused(house.declare_with(channel, "q", "", &none), queue);
    refused(house.broker.delete_queue(channel, b"q", false, false), queue);
    refused(house.broker.purge_queue(channel, b"q"), queue);
    refused(house.broker.get(channel, b"q", true).map(drop), queue);
    refused(house.consume_with(channel, "q", "t", "", &none), queue);
    refused(house.bind_with(channel, "x", "q", "", &none), queue);
    refused(house.exchange_with(channel, "x", "fanout", "", &none), exchange);
    refused(house.broker.delete_exchange(channel, b"x", false), exchange);
    refused(house.broker.publish(channel, &Publish::new(b"x", b"", b"")), exchange);
    refused(
        house.broker.publish(channel, &Publish::new(b"", b"q", b"")),
        "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'guest'",
    );
    house.declare_with(channel, "mine", "", &none).expect("allowed");
    refused(house.bind_with(channel, "x", "mine", "", &none), exchange);
    let letters = table(&[("x-dead-letter-exchange", Value::text("x"))]);
    refused(house.declare_with(channel, "mine.too", "", &letters), exchange);
    assert!(house.declare_with(channel, "", "", &none).is_err(), "made-up names are checked too");
}
