//! How long queues, exchanges and the names that mean them last, and what declaring them again
//! compares.

mod common;

use common::{House, bind, refused};
use ropewalk_broker::*;

fn exists(house: &mut House, channel: ChannelId, exchange: &str) -> bool {
    house.exchange_with(channel, exchange, "fanout", "passive", &Table::new()).is_ok()
}

#[test]
fn declaring_again_compares_each_argument_that_is_known() {
    let integer = Value::I32(5);
    let both = [
        ("x-expires", integer.clone(), "signedint"),
        ("x-message-ttl", integer.clone(), "signedint"),
        ("x-dead-letter-exchange", Value::text("5"), "longstr"),
        ("x-max-length", integer.clone(), "signedint"),
        ("x-max-length-bytes", integer.clone(), "signedint"),
        ("x-single-active-consumer", Value::Bool(true), "bool"),
    ];
    let classic = [
        ("x-max-priority", integer.clone(), "signedint"),
        ("x-overflow", Value::text("reject-publish-dlx"), "longstr"),
        ("x-queue-mode", Value::text("lazy"), "longstr"),
    ];
    let quorum = [
        ("x-overflow", Value::text("reject-publish"), "longstr"),
        ("x-delivery-limit", integer.clone(), "signedint"),
        ("x-dead-letter-strategy", Value::text("at-most-once"), "longstr"),
        ("x-max-in-memory-length", integer, "signedint"),
    ];
    let cases =
        [("classic", [&both[..], &classic].concat()), ("quorum", [&both[..], &quorum].concat())];
    for (queue_type, arguments) in cases {
        for (name, value, type_name) in arguments {
            let mut house = House::new();
            let channel = house.channel(1);
            let plain = Table::from([("x-queue-type", Value::text(queue_type))]);
            let mut with = plain.clone();
            with.set(name, value.clone());
            house.declare_with(channel, "q", "durable", &with).expect(name);
            house.declare_with(channel, "q", "durable", &with).expect(name);
            refused(
                house.declare_with(channel, "q", "durable", &plain),
                &format!(
                    "PRECONDITION_FAILED - inequivalent arg '{name}' for queue 'q' in vhost '/': \
                     received none but current is the value '{value}' of type '{type_name}'"
                ),
            );
        }
    }
}

#[test]
fn the_key_of_dead_letters_and_the_type_of_a_queue_are_compared_too() {
    let mut house = House::new();
    let channel = house.channel(1);
    let text = |what: &str| {
        format!("PRECONDITION_FAILED - inequivalent arg {what}")
            .replace('Q', "queue 'q' in vhost '/'")
    };
    let mut letters = Table::from([("x-dead-letter-exchange", Value::text("x"))]);
    let without = letters.clone();
    letters.set("x-dead-letter-routing-key", Value::text("k"));
    house.declare_with(channel, "q", "durable", &letters).expect("declared");
    refused(
        house.declare_with(channel, "q", "durable", &without),
        &text(
            "'x-dead-letter-routing-key' for Q: received none but current is the value 'k' of \
             type 'longstr'",
        ),
    );
    letters.set("x-queue-type", Value::text("quorum"));
    refused(
        house.declare_with(channel, "q", "durable", &letters),
        &text(
            "'x-queue-type' for Q: received the value 'quorum' of type 'longstr' but current is \
             none",
        ),
    );
}

#[test]
fn a_name_that_the_broker_made_may_be_declared_again_though_it_is_reserved() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    let (name, ..) = house.declare_with(channel, "", "", &none).expect("declared");
    house.fill(channel, &name, 0..2);
    assert_eq!(house.declare_with(channel, &name, "", &none), Ok((name.clone(), 2, 0)));
    house.broker.delete_queue(channel, name.as_bytes(), false, false).expect("deleted");
    refused(
        house.declare_with(channel, &name, "", &none),
        &format!("ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*'"),
    );
}

#[test]
fn an_empty_name_means_the_last_queue_also_when_that_has_gone() {
    let mut house = House::new();
    let (channel, other) = (house.channel(1), house.channel(2));
    house.declare(channel, "p");
    house.declare(channel, "q");
    house.declare(other, "p");
    house.fill(channel, "q", 0..2);
    assert_eq!(house.broker.purge_queue(channel, b""), Ok(2));
    house.consume(channel, "", "t");
    house.fill(channel, "q", 2..3);
    assert_eq!(house.drain(), ["c1/1 deliver t 1 2"]);
    assert_eq!(house.broker.delete_queue(channel, b"", false, false), Ok(0));
    refused(
        house.broker.get(channel, b"", true).map(drop),
        "NOT_FOUND - no queue 'q' in vhost '/'",
    );
    assert!(house.bodies(other, "").is_empty(), "another channel remembers another queue");
    refused(
        house.declare_with(channel, "", "passive", &Table::new()),
        "NOT_FOUND - no queue '' in vhost '/'",
    );
}

#[test]
fn an_auto_delete_queue_goes_with_the_connection_of_its_last_consumer() {
    let mut house = House::new();
    let connection = house.connection(1);
    let channel = house.broker.open_channel(connection, 1).expect("fresh");
    house.declare_with(channel, "q", "auto-delete", &Table::new()).expect("declared");
    house.declare_with(channel, "unused", "auto-delete", &Table::new()).expect("declared");
    house.fill(channel, "q", 0..3);
    house.consume(channel, "q", "t");
    house.broker.close_connection(connection);
    assert_eq!(house.drain(), [""; 0]);
    assert_eq!(house.broker.totals().queues, 1, "one that never had a consumer stays");
    assert_eq!(house.broker.totals().messages, 0);
    let other = house.channel(2);
    assert_eq!(house.counts(other, "unused"), (0, 0));
}

#[test]
fn an_auto_delete_exchange_goes_with_the_last_queue_that_was_bound_to_it() {
    let mut house = House::new();
    let owner = house.connection(1);
    let channel = house.broker.open_channel(owner, 1).expect("fresh");
    let other = house.channel(2);
    let none = Table::new();
    house.exchange_with(other, "x", "fanout", "auto-delete", &none).expect("declared");
    house.declare_with(channel, "mine", "exclusive", &none).expect("declared");
    house.declare(other, "q");
    house.bind(channel, "x", "mine", "");
    house.bind(other, "x", "q", "");
    house.broker.delete_queue(other, b"q", false, false).expect("deleted");
    assert!(exists(&mut house, other, "x"));
    house.broker.close_connection(owner);
    assert!(!exists(&mut house, other, "x"), "the exclusive queue took it along");
}

#[test]
fn an_auto_delete_exchange_does_not_live_by_what_is_bound_from_elsewhere() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    house.exchange_with(channel, "x", "fanout", "auto-delete", &none).expect("declared");
    house.exchange(channel, "y", "fanout");
    house.bind_exchange(channel, "y", "x", "");
    house.broker.unbind_exchange(channel, &bind("y", "x", "", &none)).expect("unbound");
    assert!(exists(&mut house, channel, "x"), "it was only ever a destination");
    house.bind_exchange(channel, "x", "y", "");
    house.broker.unbind_exchange(channel, &bind("x", "y", "", &none)).expect("unbound");
    assert!(!exists(&mut house, channel, "x"));
}

#[test]
fn unbinding_what_is_reserved_or_anothers_is_refused() {
    let mut house = House::new();
    let (owner, other) = (house.channel(1), house.channel(2));
    let none = Table::new();
    house.exchange(owner, "x", "fanout");
    let default = "ACCESS_REFUSED - operation not permitted on the default exchange";
    refused(house.broker.unbind_exchange(owner, &bind("", "x", "", &none)), default);
    refused(house.broker.unbind_exchange(owner, &bind("x", "", "", &none)), default);
    house.declare_with(owner, "q", "exclusive", &none).expect("declared");
    house.bind(owner, "x", "q", "k");
    let locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost \
                  '/'. It could be originally declared on another connection or the exclusive \
                  property value does not match that of the original declaration.";
    refused(house.broker.unbind_queue(other, &bind("x", "q", "k", &none)), locked);
    house.unbind(other, "x", "q", "not bound, so nobody's");
    house.publish(other, "x", "", "still bound");
    assert_eq!(house.bodies(owner, "q"), ["still bound"]);
}

#[test]
fn the_pseudo_queue_of_direct_replies_cannot_be_bound_or_used_as_a_queue() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    let text = "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue";
    for name in ["amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.somebody"] {
        refused(house.bind_with(channel, "amq.direct", name, "k", &none), text);
        refused(house.broker.unbind_queue(channel, &bind("amq.direct", name, "k", &none)), text);
        let missing = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
        refused(house.broker.get(channel, name.as_bytes(), true).map(drop), &missing);
        refused(house.broker.purge_queue(channel, name.as_bytes()), &missing);
        assert_eq!(house.broker.delete_queue(channel, name.as_bytes(), false, false), Ok(0));
    }
    let name = "amq.rabbitmq.reply-to";
    assert_eq!(house.declare_with(channel, name, "", &none), Ok((name.into(), 0, 1)));
}

#[test]
fn a_quorum_queue_does_not_delete_itself() {
    let mut house = House::new();
    let channel = house.channel(1);
    let quorum = Table::from([("x-queue-type", Value::text("quorum"))]);
    refused(
        house.declare_with(channel, "q", "durable auto-delete", &quorum),
        "PRECONDITION_FAILED - invalid property 'auto-delete' for queue 'q' in vhost '/'",
    );
}
