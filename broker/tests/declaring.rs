//! Declaring, checking and deleting queues and exchanges, with RabbitMQ's texts.

mod common;

use common::{House, refused};
use ropewalk_broker::*;

fn int(name: &str, value: i32) -> Table {
    Table::from([(name, Value::I32(value))])
}

#[test]
fn a_queue_without_a_name_gets_one_and_an_empty_name_means_it_from_then_on() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    refused(
        house.broker.get(channel, b"", true).map(drop),
        "NOT_FOUND - no previously declared queue",
    );
    let (name, ..) = house.declare_with(channel, "", "", &none).expect("declared");
    let random = name.strip_prefix("amq.gen-").expect("the prefix");
    assert_eq!(random.len(), 22);
    assert!(random.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it)), "{name}");
    house.publish(channel, "", &name, "hello");
    assert_eq!(house.bodies(channel, ""), ["hello"]);
    house.exchange(channel, "x", "direct");
    house.bind(channel, "x", "", "");
    house.publish(channel, "x", &name, "by its name");
    assert_eq!(house.bodies(channel, ""), ["by its name"]);
    let (other, ..) = house.declare_with(channel, "", "", &none).expect("declared");
    assert_ne!(name, other);
}

#[test]
fn declaring_tells_ready_messages_and_all_consumers() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..5);
    house.get(channel, "q");
    assert_eq!(house.counts(channel, "q"), (4, 0));
    house.qos(channel, 1, false);
    house.consume(channel, "q", "a");
    house.consume(channel, "q", "b");
    assert_eq!(house.counts(channel, "q"), (2, 2));
}

#[test]
fn a_passive_declare_only_asks_whether_it_exists() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    refused(
        house.declare_with(channel, "q", "passive", &none),
        "NOT_FOUND - no queue 'q' in vhost '/'",
    );
    refused(
        house.exchange_with(channel, "x", "direct", "passive", &none),
        "NOT_FOUND - no exchange 'x' in vhost '/'",
    );
    house.declare_with(channel, "q", "durable", &int("x-max-length", 3)).expect("declared");
    house.declare_with(channel, "q", "passive", &none).expect("whatever else it says");
    house.exchange(channel, "x", "fanout");
    house.exchange_with(channel, "x", "direct", "passive durable", &none).expect("exists");
}

#[test]
fn declaring_again_compares_durable_auto_delete_and_the_known_arguments() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    let inequivalent = |what: &str| {
        format!("PRECONDITION_FAILED - inequivalent arg {what}")
            .replace('Q', "queue 'q' in vhost '/'")
    };
    house.declare(channel, "q");
    house.declare(channel, "q");
    refused(
        house.declare_with(channel, "q", "durable", &none),
        &inequivalent("'durable' for Q: received 'true' but current is 'false'"),
    );
    refused(
        house.declare_with(channel, "q", "auto-delete", &none),
        &inequivalent("'auto_delete' for Q: received 'true' but current is 'false'"),
    );
    let short = Table::from([("x-message-ttl", Value::I16(1000))]);
    refused(
        house.declare_with(channel, "q", "", &short),
        &inequivalent(
            "'x-message-ttl' for Q: received the value '1000' of type 'short' but current is none",
        ),
    );
    house.broker.delete_queue(channel, b"q", false, false).expect("deleted");
    house.declare_with(channel, "q", "", &short).expect("declared");
    house.declare_with(channel, "q", "", &int("x-message-ttl", 1000)).expect("the same number");
    refused(
        house.declare_with(channel, "q", "", &int("x-message-ttl", 2000)),
        &inequivalent("'x-message-ttl' for Q: received '2000' but current is '1000'"),
    );
    refused(
        house.declare_with(channel, "q", "", &none),
        &inequivalent(
            "'x-message-ttl' for Q: received none but current is the value '1000' of type 'short'",
        ),
    );
    let mut unknown = short.clone();
    unknown.set("x-colour", Value::text("blue"));
    house.declare_with(channel, "q", "", &unknown).expect("unknown arguments are not compared");
}

#[test]
fn invalid_arguments_are_refused_as_rabbitmq_does() {
    let mut house = House::new();
    let channel = house.channel(1);
    let cases = [
        ("x-max-length", Value::I32(-1), "{value_negative,-1}"),
        ("x-max-length-bytes", Value::I64(-5), "{value_negative,-5}"),
        ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
        ("x-message-ttl", Value::I64(1 << 40), "{value_too_large,1099511627776}"),
        ("x-expires", Value::I32(0), "{value_zero,0}"),
        ("x-max-priority", Value::I32(300), "{max_value_exceeded,300}"),
        ("x-overflow", Value::text("wrap"), "invalid_overflow"),
        ("x-max-length", Value::text("5"), "\"expected integer, got longstr\""),
        ("x-dead-letter-routing-key", Value::text("k"), "routing_key_but_no_dlx_defined"),
        ("x-single-active-consumer", Value::I32(1), "{unacceptable_type,signedint}"),
        ("x-queue-type", Value::text("heap"), "\"unsupported queue type 'heap'\""),
        ("x-queue-mode", Value::text("swift"), "\"unsupported queue mode 'swift'\""),
        ("x-queue-version", Value::I32(3), "\"unsupported queue version '3'\""),
    ];
    for (name, value, reason) in cases {
        let arguments = Table::from([(name, value)]);
        refused(
            house.declare_with(channel, "q", "", &arguments),
            &format!(
                "PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/': {reason}"
            ),
        );
    }
    refused(
        house.declare_with(channel, "q", "", &int("x-dead-letter-exchange", 1)),
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in \
         queue 'q' in vhost '/'",
    );
    house.declare_with(channel, "q", "", &int("x-colour", -1)).expect("unknown ones are accepted");
}

#[test]
fn an_argument_of_another_type_of_queue_is_refused_whatever_its_value_is() {
    let mut house = House::new();
    let channel = house.channel(1);
    let declare = |house: &mut House, arguments: &[(&str, Value)]| {
        let arguments = arguments.iter().map(|(name, value)| (*name, value.clone())).collect();
        house.declare_with(channel, "q", "durable", &arguments)
    };
    let refusal = |name: &str, kind: &str| {
        format!(
            "PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/' of queue type \
             rabbit_{kind}_queue"
        )
    };
    let limit = ("x-delivery-limit", Value::text("none"));
    let age = ("x-max-age", Value::text("1D"));
    refused(
        declare(&mut house, &[limit.clone(), age.clone()]),
        &refusal("x-delivery-limit", "classic"),
    );
    refused(declare(&mut house, &[age, limit]), &refusal("x-max-age", "classic"));
    let quorum = ("x-queue-type", Value::text("quorum"));
    refused(
        declare(&mut house, &[quorum, ("x-max-priority", Value::I32(300))]),
        &refusal("x-max-priority", "quorum"),
    );
}

#[test]
fn a_queue_without_a_type_is_a_classic_one() {
    let mut house = House::new();
    let channel = house.channel(1);
    let (none, classic) = (Table::new(), Table::from([("x-queue-type", Value::text("classic"))]));
    house.declare_with(channel, "q", "", &none).expect("declared");
    house.declare_with(channel, "q", "", &classic).expect("the same");
    house.declare_with(channel, "c", "", &classic).expect("declared");
    house.declare_with(channel, "c", "", &none).expect("the same");
    let quorum = Table::from([("x-queue-type", Value::text("quorum"))]);
    refused(
        house.declare_with(channel, "q", "", &quorum),
        "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': \
         received the value 'quorum' of type 'longstr' but current is none",
    );
}

#[test]
fn a_quorum_queue_is_not_deleted_on_conditions() {
    let mut house = House::new();
    let channel = house.channel(1);
    let quorum = Table::from([("x-queue-type", Value::text("quorum"))]);
    house.declare_with(channel, "q", "durable", &quorum).expect("declared");
    for (if_unused, if_empty, flag) in
        [(true, false, "if-unused"), (true, true, "if-unused"), (false, true, "if-empty")]
    {
        refused(
            house.broker.delete_queue(channel, b"q", if_unused, if_empty),
            &format!(
                "NOT_IMPLEMENTED - cannot delete queue 'q' in vhost '/'. queue.delete operations \
                 with {flag} flag set are not supported by quorum queues"
            ),
        );
    }
    house.broker.delete_queue(channel, b"q", false, false).expect("deleted");
}

#[test]
fn a_quorum_queue_must_be_durable_and_shared() {
    let mut house = House::new();
    let channel = house.channel(1);
    let quorum = Table::from([("x-queue-type", Value::text("quorum"))]);
    refused(
        house.declare_with(channel, "q", "", &quorum),
        "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'q' in vhost '/'",
    );
    refused(
        house.declare_with(channel, "q", "durable exclusive", &quorum),
        "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'q' in vhost '/'",
    );
    house.declare_with(channel, "q", "durable", &quorum).expect("declared");
    let classic = Table::from([("x-queue-type", Value::text("classic"))]);
    house.declare_with(channel, "c", "", &classic).expect("declared");
}

#[test]
fn the_reserved_prefix_is_refused_only_when_something_would_be_created() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    refused(
        house.declare_with(channel, "amq.q", "", &none),
        "ACCESS_REFUSED - queue name 'amq.q' contains reserved prefix 'amq.*'",
    );
    refused(
        house.exchange_with(channel, "amq.foo", "direct", "", &none),
        "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'",
    );
    house.exchange_with(channel, "amq.direct", "direct", "durable", &none).expect("as it is");
    refused(
        house.broker.delete_exchange(channel, b"amq.direct", false),
        "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    );
}

#[test]
fn every_virtual_host_has_the_predeclared_exchanges() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    for (name, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ] {
        house.exchange_with(channel, name, kind, "durable", &none).expect(name);
    }
    house
        .exchange_with(channel, "amq.rabbitmq.trace", "topic", "durable internal", &none)
        .expect("the trace exchange is internal");
}

#[test]
fn declaring_an_exchange_again_compares_everything() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    let alternate = Table::from([("alternate-exchange", Value::text("other"))]);
    house.exchange(channel, "x", "direct");
    let cases: [(&str, &str, &Table, &str); 5] = [
        ("fanout", "", &none, "'type' for X: received 'fanout' but current is 'direct'"),
        ("direct", "durable", &none, "'durable' for X: received 'true' but current is 'false'"),
        (
            "direct",
            "auto-delete",
            &none,
            "'auto_delete' for X: received 'true' but current is 'false'",
        ),
        ("direct", "internal", &none, "'internal' for X: received 'true' but current is 'false'"),
        (
            "direct",
            "",
            &alternate,
            "'alternate-exchange' for X: received the value 'other' of type 'longstr' but current \
             is none",
        ),
    ];
    for (kind, flags, arguments, text) in cases {
        let text = format!("PRECONDITION_FAILED - inequivalent arg {text}");
        let text = text.replace('X', "exchange 'x' in vhost '/'");
        refused(house.exchange_with(channel, "x", kind, flags, arguments), &text);
    }
    refused(
        house.exchange_with(channel, "y", "x-unheard-of", "", &none),
        "PRECONDITION_FAILED - unknown exchange type 'x-unheard-of'",
    );
}

#[test]
fn nothing_but_publishing_is_permitted_on_the_default_exchange() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    let text = "ACCESS_REFUSED - operation not permitted on the default exchange";
    house.declare(channel, "q");
    house.exchange(channel, "x", "fanout");
    refused(house.exchange_with(channel, "", "direct", "", &none), text);
    refused(house.exchange_with(channel, "", "direct", "passive", &none), text);
    refused(house.broker.delete_exchange(channel, b"", false), text);
    refused(house.bind_with(channel, "", "q", "k", &none), text);
    refused(house.broker.unbind_queue(channel, &common::bind("", "q", "k", &none)), text);
    refused(house.broker.bind_exchange(channel, &common::bind("", "x", "k", &none)), text);
    refused(house.broker.bind_exchange(channel, &common::bind("x", "", "k", &none)), text);
}

#[test]
fn an_exclusive_queue_is_locked_to_other_connections_but_may_be_published_to() {
    let mut house = House::new();
    let owner = house.connection(1);
    let one = house.broker.open_channel(owner, 1).expect("opened");
    let two = house.broker.open_channel(owner, 2).expect("opened");
    let other = house.channel(2);
    let none = Table::new();
    let locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost \
                  '/'. It could be originally declared on another connection or the exclusive \
                  property value does not match that of the original declaration.";
    house.declare_with(one, "q", "exclusive", &none).expect("declared");
    refused(house.declare_with(other, "q", "exclusive", &none), locked);
    refused(house.declare_with(other, "q", "passive", &none), locked);
    refused(house.consume_with(other, "q", "t", "", &none), locked);
    refused(house.broker.get(other, b"q", true).map(drop), locked);
    refused(house.broker.delete_queue(other, b"q", false, false), locked);
    refused(house.broker.purge_queue(other, b"q"), locked);
    refused(house.bind_with(other, "amq.direct", "q", "k", &none), locked);
    house.publish(other, "", "q", "hello");
    assert_eq!(house.bodies(two, "q"), ["hello"], "another channel of the owner may");
    refused(house.declare_with(two, "q", "", &none), locked);
    house.declare(other, "shared");
    let shared = locked.replace("'q'", "'shared'");
    refused(house.declare_with(other, "shared", "exclusive", &none), &shared);
}

#[test]
fn exclusive_queues_go_with_their_connection_even_if_durable() {
    let mut house = House::new();
    let owner = house.connection(1);
    let channel = house.broker.open_channel(owner, 1).expect("opened");
    let other = house.channel(2);
    house.declare_with(channel, "q", "durable exclusive", &Table::new()).expect("declared");
    house.fill(other, "q", 0..3);
    house.broker.close_channel(channel);
    assert_eq!(house.broker.totals().queues, 1);
    house.broker.close_connection(owner);
    assert_eq!((house.broker.totals().queues, house.broker.totals().messages), (0, 0));
    house.declare(other, "q");
}

#[test]
fn an_auto_delete_queue_goes_with_the_last_of_its_consumers_and_not_before_it_had_one() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    house.declare_with(one, "q", "auto-delete", &Table::new()).expect("declared");
    house.fill(one, "q", 0..1);
    house.get(two, "q");
    house.broker.close_channel(two);
    assert_eq!(house.counts(one, "q"), (1, 0), "getting does not count");
    let three = house.channel(3);
    house.consume(one, "q", "a");
    house.consume(three, "q", "b");
    assert_eq!(house.drain(), ["c1/1 deliver a 1 0 again"]);
    house.broker.cancel(one, b"a").expect("cancelled");
    assert_eq!(house.broker.totals().queues, 1);
    house.broker.close_channel(three);
    assert_eq!((house.broker.totals().queues, house.broker.totals().messages), (0, 1));
    house.ack(one, 1);
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn an_auto_delete_exchange_goes_with_the_last_of_its_bindings() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    let gone = |house: &mut House, name: &str| {
        house.exchange_with(channel, name, "direct", "passive", &none).is_err()
    };
    house.exchange_with(channel, "x", "fanout", "auto-delete", &none).expect("declared");
    house.exchange_with(channel, "y", "fanout", "auto-delete", &none).expect("declared");
    assert!(!gone(&mut house, "x"), "it never had one");
    house.declare(channel, "q");
    house.bind(channel, "x", "q", "a");
    house.bind(channel, "x", "q", "b");
    house.unbind(channel, "x", "q", "a");
    assert!(!gone(&mut house, "x"));
    house.bind_exchange(channel, "y", "x", "");
    house.unbind(channel, "x", "q", "b");
    assert!(gone(&mut house, "x") && gone(&mut house, "y"), "and y lost its binding to x");
    assert_eq!(house.broker.totals().bindings, 0);
}

#[test]
fn deleting_and_unbinding_what_is_not_there_succeeds() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.broker.delete_exchange(channel, b"x", false).expect("no error");
    assert_eq!(house.broker.delete_queue(channel, b"q", true, true), Ok(0));
    house.unbind(channel, "x", "q", "k");
    house.declare(channel, "q");
    house.unbind(channel, "x", "q", "k");
    house.unbind(channel, "amq.direct", "q", "k");
    let none = Table::new();
    house.broker.unbind_exchange(channel, &common::bind("x", "y", "k", &none)).expect("no error");
}

#[test]
fn deleting_returns_the_ready_count_and_tells_the_consumers() {
    let mut house = House::new();
    let (one, two) = (house.channel(1), house.channel(2));
    house.declare(one, "q");
    house.qos(two, 1, false);
    house.consume(two, "q", "far");
    house.fill(one, "q", 0..4);
    house.drain();
    refused(
        house.broker.delete_queue(one, b"q", true, false),
        "PRECONDITION_FAILED - queue 'q' in vhost '/' in use",
    );
    refused(
        house.broker.delete_queue(one, b"q", false, true),
        "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
    );
    assert_eq!(house.broker.delete_queue(one, b"q", false, false), Ok(3));
    assert_eq!(house.drain(), ["c2/1 cancel far"]);
    house.declare(one, "q");
    house.consume(two, "q", "far");
}

#[test]
fn a_queue_that_is_neither_empty_nor_unused_is_refused_for_what_it_holds() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.qos(channel, 1, false);
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 0..2);
    for (if_unused, if_empty, why) in [(true, true, "not empty"), (true, false, "in use")] {
        refused(
            house.broker.delete_queue(channel, b"q", if_unused, if_empty),
            &format!("PRECONDITION_FAILED - queue 'q' in vhost '/' {why}"),
        );
    }
}

#[test]
fn a_client_that_does_not_know_cancellation_is_not_told() {
    let mut house = House::new();
    let open = OpenConnection { vhost: b"/", user: b"guest", key: 9, cancel_notify: false };
    let old = house.broker.open_connection(&open).expect("opened");
    let channel = house.broker.open_channel(old, 1).expect("opened");
    house.declare(channel, "q");
    house.consume(channel, "q", "t");
    house.broker.delete_queue(channel, b"q", false, false).expect("deleted");
    assert_eq!(house.drain(), [""; 0]);
}

#[test]
fn what_was_delivered_before_the_queue_went_still_arrives_before_the_cancellation() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 0..1);
    house.broker.delete_queue(channel, b"q", false, false).expect("deleted");
    assert_eq!(house.drain(), ["c1/1 deliver t 1 0", "c1/1 cancel t"]);
    house.ack(channel, 1);
}

#[test]
fn purging_leaves_what_is_unacknowledged_which_may_come_back() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..5);
    house.get(channel, "q");
    assert_eq!(house.broker.purge_queue(channel, b"q"), Ok(4));
    assert_eq!(house.counts(channel, "q"), (0, 0));
    house.broker.reject(channel, 1, true).expect("outstanding");
    assert_eq!(house.bodies(channel, "q"), ["0"]);
    refused(house.broker.purge_queue(channel, b"p"), "NOT_FOUND - no queue 'p' in vhost '/'");
}

#[test]
fn an_exchange_in_use_is_not_deleted_if_unused_is_asked() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.exchange(channel, "x", "direct");
    house.declare(channel, "q");
    house.bind(channel, "x", "q", "k");
    refused(
        house.broker.delete_exchange(channel, b"x", true),
        "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use",
    );
    house.broker.delete_exchange(channel, b"x", false).expect("deleted");
    assert_eq!(house.broker.totals().bindings, 0);
}

#[test]
fn line_ends_are_stripped_from_names() {
    let mut house = House::new();
    let channel = house.channel(1);
    let (name, ..) = house.declare_with(channel, "a\r\nb", "", &Table::new()).expect("declared");
    assert_eq!(name, "ab");
    house.exchange(channel, "x\n", "direct");
    house.bind(channel, "x", "a\nb", "k");
    house.publish(channel, "x", "k", "hello");
    assert_eq!(house.bodies(channel, "ab"), ["hello"]);
}

#[test]
fn virtual_hosts_do_not_see_each_other() {
    let mut house = House::new();
    house.broker.add_vhost(b"other");
    let here = house.channel(1);
    let open = OpenConnection { vhost: b"other", user: b"guest", key: 2, cancel_notify: true };
    let connection = house.broker.open_connection(&open).expect("opened");
    let there = house.broker.open_channel(connection, 1).expect("opened");
    house.declare(here, "q");
    refused(
        house.declare_with(there, "q", "passive", &Table::new()),
        "NOT_FOUND - no queue 'q' in vhost 'other'",
    );
    let open = OpenConnection { vhost: b"nope", ..open };
    refused(house.broker.open_connection(&open), "NOT_ALLOWED - vhost nope not found");
}

#[test]
fn queues_exchanges_and_bindings_can_be_listed() {
    let mut house = House::new();
    let vhost = house.broker.add_vhost(b"/");
    let channel = house.channel(1);
    let arguments = int("x-max-length", 9);
    house.declare_with(channel, "q", "durable", &arguments).expect("declared");
    house.fill(channel, "q", 0..3);
    house.get(channel, "q");
    house.exchange(channel, "x", "topic");
    house.bind(channel, "x", "q", "a.#");
    house.bind_exchange(channel, "amq.direct", "x", "b");
    let queue = house.broker.queues(vhost).next().expect("one queue");
    assert_eq!((queue.name, queue.durable, queue.exclusive), (&b"q"[..], true, false));
    assert_eq!((queue.messages_ready, queue.bytes_ready), (2, 2));
    assert_eq!((queue.messages_unacknowledged, queue.consumers), (1, 0));
    assert_eq!(queue.arguments, &arguments);
    let exchanges: Vec<_> =
        house.broker.exchanges(vhost).map(|it| (it.name, it.kind.name(), it.internal)).collect();
    assert_eq!(exchanges.len(), 8);
    assert_eq!(exchanges[0], (&b""[..], "direct", false));
    assert_eq!(exchanges[7], (&b"x"[..], "topic", false));
    let bindings: Vec<_> = house
        .broker
        .bindings(vhost)
        .map(|it| (it.source, it.destination, it.to_queue, it.routing_key))
        .collect();
    let expected = [
        (&b"x"[..], &b"q"[..], true, &b"a.#"[..]),
        (&b"amq.direct"[..], &b"x"[..], false, &b"b"[..]),
    ];
    assert_eq!(bindings, expected);
    let other = house.broker.add_vhost(b"other");
    assert_eq!(house.broker.queues(other).count() + house.broker.bindings(other).count(), 0);
}
