//! Publishing: which queues get a message, and what comes back of those that none gets.

mod common;

use common::{House, Props, refused};
use ropewalk_broker::*;

fn headers(entries: &[(&str, Value)]) -> Props {
    let table = entries.iter().map(|(name, value)| (*name, value.clone())).collect();
    Props { headers: Some(table), ..Props::default() }
}

#[test]
fn a_direct_exchange_compares_the_key() {
    let mut house = House::new();
    let channel = house.channel(1);
    for queue in ["a", "b", "c"] {
        house.declare(channel, queue);
    }
    house.bind(channel, "amq.direct", "a", "red");
    house.bind(channel, "amq.direct", "b", "red");
    house.bind(channel, "amq.direct", "c", "blue");
    house.publish(channel, "amq.direct", "red", "1");
    house.publish(channel, "amq.direct", "blue", "2");
    house.publish(channel, "amq.direct", "Red", "3");
    assert_eq!(house.bodies(channel, "a"), ["1"]);
    assert_eq!(house.bodies(channel, "b"), ["1"]);
    assert_eq!(house.bodies(channel, "c"), ["2"]);
    house.unbind(channel, "amq.direct", "a", "red");
    house.publish(channel, "amq.direct", "red", "4");
    assert_eq!(house.bodies(channel, "a"), [""; 0]);
    assert_eq!(house.bodies(channel, "b"), ["4"]);
}

#[test]
fn a_fanout_exchange_ignores_the_key_and_stores_the_message_once() {
    let mut house = House::new();
    let channel = house.channel(1);
    for queue in ["a", "b", "c"] {
        house.declare(channel, queue);
        house.bind(channel, "amq.fanout", queue, "whatever");
    }
    house.publish(channel, "amq.fanout", "key", "to all");
    assert_eq!(house.broker.totals().messages, 1);
    for queue in ["a", "b", "c"] {
        assert_eq!(house.bodies(channel, queue), ["to all"]);
    }
    house.drain();
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn a_topic_exchange_matches_words() {
    let mut house = House::new();
    let channel = house.channel(1);
    for (queue, key) in [("orange", "*.orange.*"), ("rabbit", "*.*.rabbit"), ("lazy", "lazy.#")] {
        house.declare(channel, queue);
        house.bind(channel, "amq.topic", queue, key);
    }
    for key in ["quick.orange.rabbit", "lazy.orange.elephant", "quick.brown.fox", "lazy"] {
        house.publish(channel, "amq.topic", key, key);
    }
    assert_eq!(house.bodies(channel, "orange"), ["quick.orange.rabbit", "lazy.orange.elephant"]);
    assert_eq!(house.bodies(channel, "rabbit"), ["quick.orange.rabbit"]);
    assert_eq!(house.bodies(channel, "lazy"), ["lazy.orange.elephant", "lazy"]);
}

#[test]
fn a_queue_bound_several_times_gets_one_copy() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    for key in ["#", "a.*", "*.b", "a.b"] {
        house.bind(channel, "amq.topic", "q", key);
        house.bind(channel, "amq.topic", "q", key);
    }
    house.publish(channel, "amq.topic", "a.b", "once");
    assert_eq!(house.bodies(channel, "q"), ["once"]);
    house.exchange(channel, "x", "fanout");
    house.bind(channel, "x", "q", "");
    house.bind_exchange(channel, "x", "amq.topic", "");
    house.publish(channel, "x", "a.b", "once more");
    assert_eq!(house.bodies(channel, "q"), ["once more"]);
}

#[test]
fn binding_again_changes_nothing_and_one_unbinding_undoes_it() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    for exchange in ["amq.direct", "amq.fanout", "amq.topic", "amq.match"] {
        house.bind(channel, exchange, "q", "k");
        house.bind(channel, exchange, "q", "k");
        assert_eq!(house.broker.totals().bindings, 1, "{exchange}");
        house.unbind(channel, exchange, "q", "k");
        assert_eq!(house.broker.totals().bindings, 0, "{exchange}");
        house.publish(channel, exchange, "k", "nowhere");
    }
    assert_eq!(house.bodies(channel, "q"), [""; 0]);
}

#[test]
fn bindings_that_differ_in_arguments_are_two() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    let argument = Table::from([("a", Value::I32(1))]);
    house.bind(channel, "amq.direct", "q", "k");
    house.bind_with(channel, "amq.direct", "q", "k", &argument).expect("bound");
    assert_eq!(house.broker.totals().bindings, 2);
    house.unbind(channel, "amq.direct", "q", "k");
    house.publish(channel, "amq.direct", "k", "still bound");
    assert_eq!(house.bodies(channel, "q"), ["still bound"]);
}

#[test]
fn binding_needs_both_ends() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    refused(
        house.bind_with(channel, "amq.direct", "q", "k", &none),
        "NOT_FOUND - no queue 'q' in vhost '/'",
    );
    house.declare(channel, "q");
    refused(
        house.bind_with(channel, "x", "q", "k", &none),
        "NOT_FOUND - no exchange 'x' in vhost '/'",
    );
}

#[test]
fn exchanges_bound_in_a_cycle_deliver_once() {
    let mut house = House::new();
    let channel = house.channel(1);
    for exchange in ["x", "y", "z"] {
        house.exchange(channel, exchange, "fanout");
        house.declare(channel, exchange);
        house.bind(channel, exchange, exchange, "");
    }
    for (from, to) in [("x", "y"), ("y", "z"), ("z", "x"), ("x", "x")] {
        house.bind_exchange(channel, from, to, "");
    }
    house.publish(channel, "y", "", "round");
    for queue in ["x", "y", "z"] {
        assert_eq!(house.bodies(channel, queue), ["round"]);
    }
    house.broker.delete_exchange(channel, b"x", false).expect("deleted");
    house.publish(channel, "y", "", "cut");
    assert_eq!(house.bodies(channel, "z"), ["cut"]);
    assert_eq!(house.bodies(channel, "x"), [""; 0]);
}

#[test]
fn a_headers_exchange_compares_headers_with_their_types() {
    let mut house = House::new();
    let channel = house.channel(1);
    let bindings: [(&str, &[(&str, Value)]); 10] = [
        ("all", &[("a", Value::I32(5)), ("b", Value::text("x"))]),
        ("any", &[("x-match", Value::text("any")), ("a", Value::I32(5)), ("b", Value::text("x"))]),
        ("text", &[("a", Value::text("5"))]),
        ("exists", &[("a", Value::Void)]),
        ("empty-all", &[("x-match", Value::text("all"))]),
        ("empty-any", &[("x-match", Value::text("any"))]),
        ("x-ignored", &[("a", Value::I32(5)), ("x-b", Value::I32(1))]),
        (
            "x-counts",
            &[("x-match", Value::text("all-with-x")), ("a", Value::I32(5)), ("x-b", Value::I32(1))],
        ),
        (
            "x-any",
            &[("x-match", Value::text("any-with-x")), ("a", Value::I32(7)), ("x-b", Value::I32(1))],
        ),
        (
            "x-any-not",
            &[("x-match", Value::text("any")), ("a", Value::I32(7)), ("x-b", Value::I32(1))],
        ),
    ];
    for (queue, arguments) in bindings {
        house.declare(channel, queue);
        let arguments = arguments.iter().map(|(name, value)| (*name, value.clone())).collect();
        house.bind_with(channel, "amq.match", queue, "", &arguments).expect("bound");
    }
    let reached = |house: &mut House, props: Props| {
        house.publish_with(channel, ("amq.match", "", "m"), props, |_| {}).expect("published");
        let queues = bindings.iter().map(|(queue, _)| *queue);
        queues.filter(|queue| !house.bodies(channel, queue).is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(reached(&mut house, Props::default()), ["empty-all"]);
    assert_eq!(
        reached(&mut house, headers(&[("a", Value::I64(5))])),
        ["any", "exists", "empty-all", "x-ignored"],
        "sizes of integers do not matter"
    );
    assert_eq!(
        reached(&mut house, headers(&[("a", Value::text("5"))])),
        ["text", "exists", "empty-all"]
    );
    assert_eq!(
        reached(&mut house, headers(&[("a", Value::I32(5)), ("b", Value::text("x"))])),
        ["all", "any", "exists", "empty-all", "x-ignored"]
    );
    assert_eq!(
        reached(&mut house, headers(&[("a", Value::I32(5)), ("x-b", Value::I32(1))])),
        ["any", "exists", "empty-all", "x-ignored", "x-counts", "x-any"]
    );
}

#[test]
fn a_headers_exchange_compares_numbers_as_numbers_and_text_as_bytes() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.exchange(channel, "x", "headers");
    let wanted = [
        ("one", Value::I32(1)),
        ("two", Value::Timestamp(2)),
        ("half", Value::F64(0.5)),
        ("red", Value::text("red")),
        ("list", Value::Array(vec![Value::I32(1)])),
    ];
    let table = wanted.iter().map(|(name, value)| (*name, value.clone())).collect();
    house.bind_with(channel, "x", "q", "", &table).expect("bound");
    let same = [
        ("one", Value::F64(1.0)),
        ("two", Value::I64(2)),
        ("half", Value::F32(0.5)),
        ("red", Value::Binary("red".into())),
        ("list", Value::Array(vec![Value::I32(1)])),
    ];
    house.publish_with(channel, ("x", "", "same"), headers(&same), |_| {}).expect("published");
    let others = [
        ("one", Value::F64(1.5)),
        ("two", Value::text("2")),
        ("half", Value::I32(0)),
        ("red", Value::text("Red")),
        ("list", Value::Array(vec![Value::I64(1)])),
    ];
    for (at, other) in others.into_iter().enumerate() {
        let mut differs = same.clone();
        differs[at] = other;
        house.publish_with(channel, ("x", "", ""), headers(&differs), |_| {}).expect("published");
    }
    assert_eq!(house.bodies(channel, "q"), ["same"]);
}

#[test]
fn an_x_match_that_is_not_one_of_the_four_is_refused() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    for value in [Value::text("some"), Value::I32(1)] {
        let arguments = Table::from([("x-match", value)]);
        let result = house.bind_with(channel, "amq.match", "q", "", &arguments);
        assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::PreconditionFailed));
    }
}

#[test]
fn what_no_binding_takes_goes_to_the_alternate_exchange() {
    let mut house = House::new();
    let channel = house.channel(1);
    let alternate = Table::from([("alternate-exchange", Value::text("spare"))]);
    house.exchange_with(channel, "x", "direct", "", &alternate).expect("declared");
    house.declare(channel, "q");
    house.declare(channel, "spare");
    house.bind(channel, "x", "q", "k");
    house.publish_mandatory(channel, "x", "other", "before there is one");
    assert_eq!(house.drain(), ["c1/1 return other before there is one"]);
    house.exchange(channel, "spare", "fanout");
    house.bind(channel, "spare", "spare", "");
    house.publish_mandatory(channel, "x", "other", "spared");
    house.publish_mandatory(channel, "x", "k", "taken");
    assert_eq!(house.drain(), [""; 0], "the alternate exchange swallows mandatory");
    assert_eq!(house.bodies(channel, "spare"), ["spared"]);
    assert_eq!(house.bodies(channel, "q"), ["taken"]);
}

#[test]
fn the_alternate_exchange_gets_only_what_none_of_a_messages_keys_reaches() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.declare(channel, "lost");
    house.exchange(channel, "ae", "fanout");
    let alternate = Table::from([("alternate-exchange", Value::text("ae"))]);
    house.exchange_with(channel, "x", "direct", "", &alternate).expect("declared");
    house.bind(channel, "ae", "lost", "");
    house.bind(channel, "x", "q", "known");
    let cc = |key: &str| headers(&[("CC", Value::Array(vec![Value::text(key)]))]);
    house.publish_with(channel, ("x", "known", "1"), cc("other"), |_| {}).expect("published");
    house.publish_with(channel, ("x", "other", "2"), cc("known"), |_| {}).expect("published");
    house.publish_with(channel, ("x", "other", "3"), cc("another"), |_| {}).expect("published");
    assert_eq!(house.bodies(channel, "q"), ["1", "2"]);
    assert_eq!(house.bodies(channel, "lost"), ["3"]);
}

#[test]
fn the_default_exchange_as_an_alternate_leads_nowhere() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    let alternate = Table::from([("alternate-exchange", Value::text(""))]);
    house.exchange_with(channel, "x", "direct", "", &alternate).expect("declared");
    house.publish_mandatory(channel, "x", "q", "lost");
    assert_eq!(house.drain(), ["c1/1 return q lost"]);
    assert_eq!(house.counts(channel, "q"), (0, 0));
}

#[test]
fn an_alternate_exchange_of_the_wrong_type_is_refused() {
    let mut house = House::new();
    let channel = house.channel(1);
    let wrong = Table::from([("alternate-exchange", Value::I32(1))]);
    refused(
        house.exchange_with(channel, "x", "direct", "", &wrong),
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange \
         'x' in vhost '/'",
    );
}

#[test]
fn a_mandatory_message_that_reaches_no_queue_comes_back_before_its_confirm() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.broker.select_confirm(channel).expect("confirms");
    house.publish_mandatory(channel, "", "nobody", "lost");
    assert_eq!(house.drain(), ["c1/1 return nobody lost", "c1/1 ack 1"]);
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn confirms_count_from_1_and_coalesce() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.publish(channel, "", "q", "before");
    house.broker.select_confirm(channel).expect("confirms");
    house.broker.select_confirm(channel).expect("again is no error");
    house.publish(channel, "", "q", "1");
    assert_eq!(house.drain(), ["c1/1 ack 1"]);
    house.broker.select_confirm(channel).expect("and does not begin anew");
    (2..=20).for_each(|_| house.publish(channel, "", "nobody", "unroutable is taken, too"));
    assert_eq!(house.drain(), ["c1/1 ack 20 multiple"]);
    assert_eq!(house.drain(), [""; 0]);
}

#[test]
fn a_persistent_message_in_a_durable_queue_is_confirmed_when_it_is_stored() {
    let mut house = House::new();
    house.broker.set_journal(Box::new(common::store::Store::default()), 0);
    let channel = house.channel(1);
    house.declare(channel, "transient");
    house.declare_with(channel, "durable", "durable", &Table::new()).expect("declared");
    house.broker.select_confirm(channel).expect("confirms");
    let publish = |house: &mut House, queue: &str, persistent: bool| {
        let mark = |publish: &mut Publish<'_>| publish.properties.persistent = persistent;
        house.publish_with(channel, ("", queue, ""), Props::default(), mark).expect("published");
    };
    publish(&mut house, "durable", false);
    publish(&mut house, "transient", true);
    assert_eq!(house.drain(), ["c1/1 ack 2 multiple"]);
    publish(&mut house, "durable", true);
    publish(&mut house, "durable", false);
    assert_eq!(house.drain(), [""; 0]);
    let ticket = house.broker.last_ticket();
    publish(&mut house, "durable", true);
    house.broker.stored(ticket);
    assert_eq!(house.drain(), ["c1/1 ack 4 multiple"]);
    house.broker.stored(house.broker.last_ticket());
    assert_eq!(house.drain(), ["c1/1 ack 5"]);
}

#[test]
fn publishes_are_refused_with_rabbitmqs_texts() {
    let mut config = Config::default();
    config.max_message_size = 10;
    let mut house = House::with(config);
    let channel = house.channel(1);
    house.exchange_with(channel, "inside", "fanout", "internal", &Table::new()).expect("declared");
    let mut publish = |target: (&str, &str, &str), change: &dyn Fn(&mut Publish<'_>)| {
        house.publish_with(channel, target, Props::default(), change)
    };
    refused(publish(("x", "", ""), &|_| {}), "NOT_FOUND - no exchange 'x' in vhost '/'");
    refused(
        publish(("inside", "", ""), &|_| {}),
        "ACCESS_REFUSED - cannot publish to internal exchange 'inside' in vhost '/'",
    );
    let result = publish(("", "q", ""), &|it| it.immediate = true);
    assert_eq!(result.as_ref().map_err(Error::level), Err(Level::Connection));
    refused(result, "NOT_IMPLEMENTED - immediate=true");
    refused(
        publish(("", "q", "eleven byte"), &|_| {}),
        "PRECONDITION_FAILED - message size 11 is larger than configured max size 10",
    );
    refused(
        publish(("", "q", ""), &|it| it.properties.user_id = Some(b"bob")),
        "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
    );
    publish(("", "q", ""), &|it| it.properties.user_id = Some(b"guest")).expect("it is");
    let expirations: [(&[u8], &str); 6] = [
        (b"abc", "'abc': no_integer"),
        (b"", "'': no_integer"),
        (b"-1", "'-1': {value_negative,-1}"),
        (b"12abc", "'12abc': {leftover_string,\"abc\"}"),
        (b"315360000001", "'315360000001': {value_too_large,315360000001}"),
        (b"99999999999999999999", "'99999999999999999999': {value_too_large,99999999999999999999}"),
    ];
    for (given, text) in expirations {
        refused(
            publish(("", "q", ""), &|it| it.properties.expiration = Some(given)),
            &format!("PRECONDITION_FAILED - invalid expiration {text}"),
        );
    }
    publish(("", "q", ""), &|it| it.properties.expiration = Some(b"4294967295")).expect("valid");
}

#[test]
fn properties_and_bodies_of_any_size_arrive_as_they_were_given() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    for size in [0, 1, 511, SHARED_BODY - 1, SHARED_BODY, SHARED_BODY + 1, 300_000] {
        for shared in [false, true] {
            let body: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let mut publish = Publish::new(b"", b"q", &body);
            publish.properties.raw = b"properties";
            if shared {
                publish.body = Body::Shared(body.clone().into());
            }
            house.broker.publish(channel, &publish).expect("published");
            let fetched =
                house.broker.get(channel, b"q", true).expect("exists").message().expect("there");
            assert_eq!(fetched.message.body(), body);
            assert_eq!(fetched.message.properties(), b"properties");
            assert_eq!(fetched.message.routing_key(), b"q");
            assert_eq!(fetched.message.exchange(), b"");
            assert_eq!(fetched.message.shared_body().is_some(), size >= SHARED_BODY);
        }
    }
}

#[test]
fn cc_and_bcc_route_further_and_bcc_is_taken_out() {
    let mut house = House::new();
    let channel = house.channel(1);
    for queue in ["q", "carbon", "blind"] {
        house.declare(channel, queue);
    }
    let keys = |key: &str| Value::Array(vec![Value::text(key), Value::I32(1), Value::text("q")]);
    let props = headers(&[("CC", keys("carbon")), ("BCC", keys("blind"))]);
    house.publish_with(channel, ("", "q", "m"), props, |_| {}).expect("published");
    for queue in ["q", "carbon", "blind"] {
        let fetched = house.broker.get(channel, queue.as_bytes(), true).expect("exists").message();
        let message = fetched.expect("one copy").message;
        assert_eq!(message.routing_key(), b"q", "the original key");
        let raw = message.properties().to_vec();
        let carried = house.codec.decode(&raw).headers.expect("headers");
        assert_eq!((carried.get("CC"), carried.get("BCC")), (Some(&keys("carbon")), None));
        assert_eq!(house.bodies(channel, queue), [""; 0]);
    }
    for name in ["CC", "BCC"] {
        let props = headers(&[(name, Value::text("carbon"))]);
        refused(
            house.publish_with(channel, ("", "q", "m"), props, |_| {}),
            &format!(
                "PRECONDITION_FAILED - invalid message: \
                 {{unacceptable_type_in_header,\"{name}\",longstr}}"
            ),
        );
    }
}
