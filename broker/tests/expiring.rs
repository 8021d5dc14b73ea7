//! Time to live, length limits, dead-lettering, priorities and leases.

mod common;

use common::{House, Props};
use ropewalk_broker::*;

fn table(entries: &[(&str, Value)]) -> Table {
    entries.iter().map(|(name, value)| (*name, value.clone())).collect()
}

/// A queue of these arguments, and the queue `dead` behind the dead-letter exchange `dlx`.
fn with_letters(house: &mut House, channel: ChannelId, name: &str, arguments: &[(&str, Value)]) {
    house.exchange(channel, "dlx", "fanout");
    house.declare(channel, "dead");
    house.bind(channel, "dlx", "dead", "");
    let mut arguments = table(arguments);
    arguments.set("x-dead-letter-exchange", Value::text("dlx"));
    house.declare_with(channel, name, "", &arguments).expect("declared");
}

fn expiring(milliseconds: u64) -> Props {
    Props { expiration: Some(milliseconds.to_string()), ..Props::default() }
}

/// The first message of a queue, taken: exchange, routing key and properties.
fn take(house: &mut House, channel: ChannelId, queue: &str) -> (String, String, Props) {
    let fetched = house.broker.get(channel, queue.as_bytes(), true).expect("exists").message();
    let message = fetched.expect("a message").message;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (exchange, key) = (text(message.exchange()), text(message.routing_key()));
    let raw = message.properties().to_vec();
    (exchange, key, house.codec.decode(&raw))
}

/// The newest deaths of a message as `queue reason count`.
fn deaths(props: &Props) -> Vec<String> {
    let headers = props.headers.as_ref().expect("headers");
    let Some(Value::Array(deaths)) = headers.get("x-death") else { panic!("no x-death") };
    let show = |death: &Value| match death {
        Value::Table(it) => {
            let field = |name| it.get(name).expect("there").to_string();
            format!("{} {} {}", field("queue"), field("reason"), field("count"))
        }
        other => panic!("{other}"),
    };
    deaths.iter().map(show).collect()
}

#[test]
fn a_queues_time_to_live_drops_what_waits_too_long() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare_with(channel, "q", "", &table(&[("x-message-ttl", Value::I32(100))])).expect("q");
    house.publish(channel, "", "q", "old");
    house.advance(60);
    house.publish(channel, "", "q", "new");
    assert_eq!(house.broker.next_deadline(), Some(std::time::Duration::from_millis(100)));
    house.advance(39);
    assert_eq!(house.counts(channel, "q"), (2, 0));
    house.advance(1);
    assert_eq!(house.counts(channel, "q"), (1, 0));
    house.advance(60);
    assert_eq!(house.counts(channel, "q"), (0, 0));
    assert_eq!(house.broker.totals().messages, 0);
    assert_eq!(house.broker.next_deadline(), None);
}

#[test]
fn an_expired_message_behind_a_live_head_stays_counted_until_it_reaches_the_head() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    let publish = |house: &mut House, body: &str, props: Props| {
        house.publish_with(channel, ("", "q", body), props, |_| {}).expect("published");
    };
    publish(&mut house, "lasting", Props::default());
    publish(&mut house, "short", expiring(10));
    house.advance(50);
    assert_eq!(house.counts(channel, "q"), (2, 0));
    assert_eq!(house.get(channel, "q").map(|it| it.1), Some("lasting".into()));
    house.advance(0);
    assert_eq!(house.counts(channel, "q"), (0, 0));
    assert_eq!(house.get(channel, "q"), None);
}

#[test]
fn the_shorter_of_both_times_to_live_wins_and_a_requeued_message_keeps_its_instant() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare_with(channel, "q", "", &table(&[("x-message-ttl", Value::I32(100))])).expect("q");
    for milliseconds in [50, 500] {
        let props = expiring(milliseconds);
        house.publish_with(channel, ("", "q", ""), props, |_| {}).expect("published");
    }
    house.advance(50);
    assert_eq!(house.counts(channel, "q"), (1, 0));
    house.get(channel, "q");
    house.advance(49);
    house.broker.reject(channel, 1, true).expect("outstanding");
    assert_eq!(house.counts(channel, "q"), (1, 0));
    house.advance(1);
    assert_eq!(house.counts(channel, "q"), (0, 0));
}

#[test]
fn with_a_time_to_live_of_0_a_message_is_delivered_now_or_dropped() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare_with(channel, "q", "", &table(&[("x-message-ttl", Value::I32(0))])).expect("q");
    house.publish(channel, "", "q", "nobody waits");
    assert_eq!(house.counts(channel, "q"), (0, 0));
    house.consume(channel, "q", "t");
    house.publish(channel, "", "q", "one waits");
    assert_eq!(house.drain(), ["c1/1 deliver t 1 one waits"]);
}

#[test]
fn a_message_that_comes_back_after_its_time_is_dropped_even_if_it_never_waited() {
    let mut house = House::new();
    let channel = house.channel(1);
    let soon = table(&[("x-message-ttl", Value::I32(1000))]);
    house.declare_with(channel, "q", "", &soon).expect("declared");
    house.consume(channel, "q", "t");
    house.publish(channel, "", "q", "1");
    assert_eq!(house.drain(), ["c1/1 deliver t 1 1"]);
    house.advance(1000);
    house.broker.recover(channel, true).expect("recovered");
    assert_eq!(house.drain(), [""; 0]);
    assert_eq!(house.counts(channel, "q"), (0, 1));
}

#[test]
fn a_message_of_a_lower_priority_expires_when_those_above_it_have_gone() {
    let mut house = House::new();
    let channel = house.channel(1);
    let priorities = table(&[("x-max-priority", Value::I32(5))]);
    house.declare_with(channel, "q", "", &priorities).expect("declared");
    house
        .publish_with(channel, ("", "q", "high"), Props::default(), |publish| {
            publish.properties.priority = 5;
        })
        .expect("published");
    house.publish_with(channel, ("", "q", "low"), expiring(0), |_| {}).expect("published");
    house.advance(1);
    assert_eq!(house.counts(channel, "q"), (2, 0));
    assert_eq!(house.bodies(channel, "q"), ["high"]);
    assert_eq!(house.counts(channel, "q"), (0, 0));
}

#[test]
fn the_oldest_makes_room_before_a_new_message_expires() {
    let mut house = House::new();
    let channel = house.channel(1);
    with_letters(&mut house, channel, "q", &[("x-max-length", Value::I32(1))]);
    house.publish(channel, "", "q", "old");
    house.publish_with(channel, ("", "q", "new"), expiring(0), |_| {}).expect("published");
    assert_eq!(house.counts(channel, "q"), (0, 0));
    let ends = [(); 2].map(|()| deaths(&take(&mut house, channel, "dead").2));
    assert_eq!(ends, [["q maxlen 1"], ["q expired 1"]]);
}

#[test]
fn what_comes_back_to_a_full_queue_with_a_consumer_pushes_out_the_oldest_first() {
    let mut house = House::new();
    let (channel, other) = (house.channel(1), house.channel(2));
    house.declare_with(channel, "q", "", &table(&[("x-max-length", Value::I32(1))])).expect("q");
    house.publish(channel, "", "q", "1");
    house.get(channel, "q");
    house.publish(channel, "", "q", "2");
    house.get(channel, "q");
    house.broker.nack(channel, 0, true, true).expect("outstanding");
    assert_eq!(house.bodies(channel, "q"), ["2"]);
    house.publish(channel, "", "q", "3");
    house.get(channel, "q");
    house.publish(channel, "", "q", "4");
    house.get(channel, "q");
    house.consume(other, "q", "t");
    house.broker.close_channel(channel);
    assert_eq!(house.drain(), ["c2/1 deliver t 1 4 again"]);
}

#[test]
fn get_does_not_count_what_has_expired_behind_the_message() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..1);
    house.publish_with(channel, ("", "q", "1"), expiring(0), |_| {}).expect("published");
    house.fill(channel, "q", 2..4);
    assert_eq!(house.counts(channel, "q"), (4, 0));
    let fetched = house.broker.get(channel, b"q", true).expect("exists").message().expect("there");
    assert_eq!((fetched.message.body(), fetched.message_count), (&b"0"[..], 2));
}

#[test]
fn a_full_queue_drops_its_oldest_and_the_publisher_is_confirmed() {
    let mut house = House::new();
    let channel = house.channel(1);
    with_letters(&mut house, channel, "q", &[("x-max-length", Value::I32(2))]);
    house.broker.select_confirm(channel).expect("confirms");
    house.fill(channel, "q", 0..4);
    assert_eq!(house.drain(), ["c1/1 ack 4 multiple"]);
    assert_eq!(house.bodies(channel, "q"), ["2", "3"]);
    assert_eq!(house.bodies(channel, "dead"), ["0", "1"]);
}

#[test]
fn a_full_queue_drops_nothing_that_an_acknowledgement_made_room_for() {
    let mut house = House::new();
    let channel = house.channel(1);
    let arguments = table(&[("x-max-length", Value::I32(1))]);
    house.declare_with(channel, "q", "", &arguments).expect("declared");
    house.qos(channel, 1, false);
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 0..2);
    assert_eq!(house.drain(), ["c1/1 deliver t 1 0"]);
    house.ack(channel, 1);
    house.fill(channel, "q", 2..3);
    assert_eq!(house.drain(), ["c1/1 deliver t 2 1"]);
    assert_eq!(house.counts(channel, "q"), (1, 1), "2 is ready");
}

#[test]
fn a_limit_in_bytes_counts_the_bodies_of_ready_messages() {
    let mut house = House::new();
    let channel = house.channel(1);
    let arguments = table(&[("x-max-length-bytes", Value::I32(10))]);
    house.declare_with(channel, "q", "", &arguments).expect("declared");
    house.publish(channel, "", "q", "1234");
    house.publish(channel, "", "q", "5678");
    house.get(channel, "q");
    house.publish(channel, "", "q", "abcdef");
    assert_eq!(house.counts(channel, "q"), (2, 0));
    house.publish(channel, "", "q", "x");
    assert_eq!(house.bodies(channel, "q"), ["abcdef", "x"]);
    house.publish(channel, "", "q", "far too long a body");
    assert_eq!(house.counts(channel, "q"), (0, 0));
}

#[test]
fn reject_publish_refuses_the_newest() {
    let mut house = House::new();
    let channel = house.channel(1);
    let arguments =
        [("x-max-length", Value::I32(1)), ("x-overflow", Value::text("reject-publish"))];
    with_letters(&mut house, channel, "q", &arguments);
    house.fill(channel, "q", 0..2);
    assert_eq!(house.drain(), [""; 0], "silently without confirms");
    house.broker.select_confirm(channel).expect("confirms");
    house.fill(channel, "q", 2..3);
    assert_eq!(house.drain(), ["c1/1 nack 1"]);
    assert_eq!(house.bodies(channel, "q"), ["0"]);
    assert_eq!(house.bodies(channel, "dead"), [""; 0]);
}

#[test]
fn reject_publish_dlx_dead_letters_the_new_message() {
    let mut house = House::new();
    let channel = house.channel(1);
    let arguments =
        [("x-max-length", Value::I32(1)), ("x-overflow", Value::text("reject-publish-dlx"))];
    with_letters(&mut house, channel, "q", &arguments);
    house.broker.select_confirm(channel).expect("confirms");
    house.fill(channel, "q", 0..2);
    assert_eq!(house.drain(), ["c1/1 ack 1", "c1/1 nack 2"]);
    assert_eq!(house.bodies(channel, "q"), ["0"]);
    let (.., props) = take(&mut house, channel, "dead");
    assert_eq!(deaths(&props), ["q maxlen 1"]);
}

#[test]
fn a_full_queue_that_refuses_refuses_dead_letters_too() {
    let mut house = House::new();
    let channel = house.channel(1);
    let refusing = [("x-max-length", Value::I32(1)), ("x-overflow", Value::text("reject-publish"))];
    house.declare_with(channel, "full", "", &table(&refusing)).expect("declared");
    house.exchange(channel, "dlx", "fanout");
    house.bind(channel, "dlx", "full", "");
    with_letters(&mut house, channel, "q", &[]);
    house.fill(channel, "q", 0..3);
    for _ in 0..3 {
        house.get(channel, "q");
    }
    house.broker.nack(channel, 0, true, false).expect("outstanding");
    assert_eq!(house.bodies(channel, "full"), ["0"]);
    assert_eq!(house.broker.totals().messages, 3, "those in `dead` are left");
}

#[test]
fn a_length_of_0_still_delivers_straight_to_a_waiting_consumer() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare_with(channel, "q", "", &table(&[("x-max-length", Value::I32(0))])).expect("q");
    house.publish(channel, "", "q", "nobody waits");
    house.consume(channel, "q", "t");
    house.publish(channel, "", "q", "one waits");
    assert_eq!(house.drain(), ["c1/1 deliver t 1 one waits"]);
}

#[test]
fn what_is_rejected_without_requeue_goes_to_the_dead_letter_exchange_with_its_history() {
    let mut house = House::new();
    let channel = house.channel(1);
    with_letters(&mut house, channel, "q", &[]);
    house.broker.set_wall_clock(std::time::Duration::from_secs(1_700_000_000));
    let props =
        Props { headers: Some(table(&[("colour", Value::text("red"))])), ..expiring(60_000) };
    house.bind(channel, "amq.direct", "q", "key");
    house.publish_with(channel, ("amq.direct", "key", "m"), props, |_| {}).expect("published");
    house.get(channel, "q");
    house.broker.reject(channel, 1, false).expect("outstanding");
    let (exchange, key, props) = take(&mut house, channel, "dead");
    assert_eq!((&*exchange, &*key, props.expiration), ("dlx", "key", None));
    let headers = props.headers.expect("headers");
    let death = table(&[
        ("count", Value::I64(1)),
        ("reason", Value::text("rejected")),
        ("queue", Value::text("q")),
        ("time", Value::Timestamp(1_700_000_000)),
        ("exchange", Value::text("amq.direct")),
        ("routing-keys", Value::Array(vec![Value::text("key")])),
        ("original-expiration", Value::text("60000")),
    ]);
    let expected = table(&[
        ("colour", Value::text("red")),
        ("x-death", Value::Array(vec![Value::Table(death)])),
        ("x-first-death-reason", Value::text("rejected")),
        ("x-last-death-reason", Value::text("rejected")),
        ("x-first-death-queue", Value::text("q")),
        ("x-last-death-queue", Value::text("q")),
        ("x-first-death-exchange", Value::text("amq.direct")),
        ("x-last-death-exchange", Value::text("amq.direct")),
    ]);
    assert_eq!(headers, expected);
}

#[test]
fn a_second_death_in_the_same_queue_counts_up_and_moves_to_the_front() {
    let mut house = House::new();
    let channel = house.channel(1);
    with_letters(&mut house, channel, "q", &[]);
    let back = table(&[("x-dead-letter-exchange", Value::text(""))]);
    house.declare_with(channel, "retry", "", &back).expect("declared");
    house.bind(channel, "dlx", "retry", "");
    house.broker.delete_queue(channel, b"dead", false, false).expect("deleted");
    house.publish(channel, "", "q", "m");
    for round in 0..2 {
        house.get(channel, "q").expect("it is in q");
        house.broker.nack(channel, round * 2 + 1, false, false).expect("outstanding");
        house.get(channel, "retry").expect("it is in retry");
        house.broker.nack(channel, round * 2 + 2, false, false).expect("outstanding");
    }
    let (exchange, key, props) = take(&mut house, channel, "q");
    assert_eq!((&*exchange, &*key), ("", "q"));
    assert_eq!(deaths(&props), ["retry rejected 2", "q rejected 2"]);
    let headers = props.headers.expect("headers");
    assert_eq!(headers.get("x-first-death-queue"), Some(&Value::text("q")));
    assert_eq!(headers.get("x-last-death-queue"), Some(&Value::text("retry")));
}

#[test]
fn a_dead_letter_routing_key_replaces_the_key_and_drops_cc() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "other");
    house.declare(channel, "copy");
    let arguments = table(&[
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("other")),
    ]);
    house.declare_with(channel, "q", "", &arguments).expect("declared");
    let cc = Value::Array(vec![Value::text("copy")]);
    let props = Props { headers: Some(table(&[("CC", cc)])), ..Props::default() };
    house.publish_with(channel, ("", "q", "m"), props, |_| {}).expect("published");
    assert_eq!(house.bodies(channel, "copy"), ["m"]);
    house.get(channel, "q");
    house.broker.reject(channel, 2, false).expect("outstanding");
    let (exchange, key, props) = take(&mut house, channel, "other");
    assert_eq!((&*exchange, &*key), ("", "other"));
    assert_eq!(props.headers.expect("headers").get("CC"), None);
    assert_eq!(house.bodies(channel, "copy"), [""; 0]);
}

#[test]
fn without_a_dead_letter_routing_key_the_key_and_cc_are_used() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.exchange(channel, "dlx", "direct");
    for queue in ["key", "copy"] {
        house.declare(channel, queue);
        house.bind(channel, "dlx", queue, queue);
    }
    let arguments = table(&[("x-dead-letter-exchange", Value::text("dlx"))]);
    house.declare_with(channel, "q", "", &arguments).expect("declared");
    house.bind(channel, "amq.fanout", "q", "");
    let cc = Value::Array(vec![Value::text("copy")]);
    let props = Props { headers: Some(table(&[("CC", cc)])), ..Props::default() };
    house.publish_with(channel, ("amq.fanout", "key", "m"), props, |_| {}).expect("published");
    house.get(channel, "q");
    house.broker.reject(channel, 1, false).expect("outstanding");
    let (_, key, _) = take(&mut house, channel, "copy");
    assert_eq!(key, "key", "deliveries carry the original key");
    assert_eq!(house.bodies(channel, "key"), ["m"]);
}

#[test]
fn a_dead_letter_exchange_that_is_missing_drops_silently() {
    let mut house = House::new();
    let channel = house.channel(1);
    let arguments = table(&[("x-dead-letter-exchange", Value::text("nowhere"))]);
    house.declare_with(channel, "q", "", &arguments).expect("declared");
    house.publish(channel, "", "q", "m");
    house.get(channel, "q");
    house.broker.reject(channel, 1, false).expect("outstanding");
    house.drain();
    assert_eq!(house.broker.totals().messages, 0);
}

#[test]
fn a_cycle_of_pure_expiry_ends_and_one_with_a_reject_goes_on() {
    let mut house = House::new();
    let channel = house.channel(1);
    let arguments =
        table(&[("x-dead-letter-exchange", Value::text("")), ("x-message-ttl", Value::I32(10))]);
    house.declare_with(channel, "q", "", &arguments).expect("declared");
    house.publish(channel, "", "q", "m");
    house.advance(10);
    assert_eq!(house.counts(channel, "q"), (0, 0), "it would come to q again by expiry alone");
    house.broker.delete_queue(channel, b"q", false, false).expect("deleted");
    let to = |queue: &str| {
        table(&[
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text(queue)),
        ])
    };
    house.declare_with(channel, "q", "", &to("wait")).expect("declared");
    let mut wait = to("q");
    wait.set("x-message-ttl", Value::I32(10));
    house.declare_with(channel, "wait", "", &wait).expect("declared");
    house.publish(channel, "", "q", "m");
    for round in 1..=3 {
        house.get(channel, "q").expect("it is back");
        house.broker.reject(channel, round, false).expect("outstanding");
        house.advance(10);
    }
    let (.., props) = take(&mut house, channel, "q");
    assert_eq!(deaths(&props), ["wait expired 3", "q rejected 3"]);
}

#[test]
fn full_queues_that_dead_letter_to_each_other_come_to_an_end() {
    let mut house = House::new();
    let channel = house.channel(1);
    for (queue, other) in [("a", "b"), ("b", "a")] {
        let arguments = table(&[
            ("x-max-length", Value::I32(1000)),
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text(other)),
        ]);
        house.declare_with(channel, queue, "", &arguments).expect("declared");
    }
    house.fill(channel, "a", 0..5000);
    assert_eq!(house.counts(channel, "a"), (1000, 0));
    assert_eq!(house.counts(channel, "b"), (1000, 0));
}

#[test]
fn requeueing_into_a_full_queue_drops_its_oldest() {
    let mut house = House::new();
    let channel = house.channel(1);
    with_letters(&mut house, channel, "q", &[("x-max-length", Value::I32(3))]);
    house.fill(channel, "q", 0..3);
    (0..2).for_each(|_| drop(house.get(channel, "q")));
    house.fill(channel, "q", 3..5);
    house.broker.nack(channel, 0, true, true).expect("all");
    assert_eq!(house.bodies(channel, "q"), ["2", "3", "4"]);
    assert_eq!(house.bodies(channel, "dead"), ["0", "1"]);
}

#[test]
fn the_higher_priority_goes_first_and_those_above_the_highest_count_as_that() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare_with(channel, "q", "", &table(&[("x-max-priority", Value::I32(5))])).expect("q");
    for (body, priority) in [("a", 0), ("b", 9), ("c", 5), ("d", 1), ("e", 0)] {
        let set = |publish: &mut Publish<'_>| publish.properties.priority = priority;
        house.publish_with(channel, ("", "q", body), Props::default(), set).expect("published");
    }
    assert_eq!(house.bodies(channel, "q"), ["b", "c", "d", "a", "e"]);
}

#[test]
fn a_higher_priority_does_not_overtake_what_there_was_room_for_before_it_came() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare_with(channel, "q", "", &table(&[("x-max-priority", Value::I32(5))])).expect("q");
    house.qos(channel, 1, false);
    house.consume(channel, "q", "t");
    house.fill(channel, "q", 0..2);
    assert_eq!(house.drain(), ["c1/1 deliver t 1 0"]);
    house.ack(channel, 1);
    let set = |publish: &mut Publish<'_>| publish.properties.priority = 5;
    house.publish_with(channel, ("", "q", "urgent"), Props::default(), set).expect("published");
    assert_eq!(house.drain(), ["c1/1 deliver t 2 1"]);
}

#[test]
fn a_requeued_message_keeps_its_priority_and_its_place_in_it() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare_with(channel, "q", "", &table(&[("x-max-priority", Value::I32(5))])).expect("q");
    for (body, priority) in [("low", 0), ("first", 3), ("second", 3)] {
        let set = |publish: &mut Publish<'_>| publish.properties.priority = priority;
        house.publish_with(channel, ("", "q", body), Props::default(), set).expect("published");
    }
    house.get(channel, "q");
    house.broker.reject(channel, 1, true).expect("outstanding");
    assert_eq!(house.bodies(channel, "q"), ["first", "second", "low"]);
}

#[test]
fn without_x_max_priority_a_queue_is_first_in_first_out() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    for (body, priority) in [("a", 0), ("b", 9)] {
        let set = |publish: &mut Publish<'_>| publish.properties.priority = priority;
        house.publish_with(channel, ("", "q", body), Props::default(), set).expect("published");
    }
    assert_eq!(house.bodies(channel, "q"), ["a", "b"]);
}

#[test]
fn a_queue_goes_when_nobody_has_used_it_for_its_lease() {
    let mut house = House::new();
    let channel = house.channel(1);
    let lease = table(&[("x-expires", Value::I32(100))]);
    house.declare_with(channel, "q", "", &lease).expect("declared");
    house.advance(99);
    house.declare_with(channel, "q", "", &lease).expect("declared again");
    house.advance(99);
    house.get(channel, "q");
    house.advance(99);
    house.consume(channel, "q", "t");
    house.advance(1000);
    assert_eq!(house.broker.totals().queues, 1, "a queue with a consumer is in use");
    house.broker.cancel(channel, b"t").expect("cancelled");
    house.fill(channel, "q", 0..3);
    house.advance(99);
    assert_eq!(house.broker.totals().queues, 1);
    house.advance(1);
    assert_eq!((house.broker.totals().queues, house.broker.totals().messages), (0, 0));
    assert_eq!(house.broker.next_deadline(), None);
}

#[test]
fn a_delivery_limit_of_l_allows_l_plus_1_deliveries() {
    let mut house = House::new();
    let channel = house.channel(1);
    with_letters(&mut house, channel, "spare", &[]);
    let arguments = table(&[
        ("x-queue-type", Value::text("quorum")),
        ("x-delivery-limit", Value::I32(2)),
        ("x-dead-letter-exchange", Value::text("dlx")),
    ]);
    house.declare_with(channel, "q", "durable", &arguments).expect("declared");
    house.publish(channel, "", "q", "m");
    for tag in 1..=3 {
        house.get(channel, "q").expect("delivered");
        house.broker.reject(channel, tag, true).expect("outstanding");
    }
    let (.., props) = take(&mut house, channel, "dead");
    assert_eq!(deaths(&props), ["q delivery_limit 1"]);
}

#[test]
fn a_message_that_went_straight_to_a_consumer_expires_when_it_has_come_back() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.consume(channel, "q", "t");
    house.publish_with(channel, ("", "q", "m"), expiring(100), |_| {}).expect("published");
    assert_eq!(house.drain(), ["c1/1 deliver t 1 m"]);
    house.broker.cancel(channel, b"t").expect("cancelled");
    house.broker.nack(channel, 1, false, true).expect("outstanding");
    assert_eq!(house.counts(channel, "q"), (1, 0));
    house.advance(100);
    assert_eq!(house.counts(channel, "q"), (0, 0));
}

#[test]
fn each_end_of_a_message_has_its_reason() {
    let mut house = House::new();
    let channel = house.channel(1);
    with_letters(&mut house, channel, "full", &[("x-max-length", Value::I32(1))]);
    with_letters(&mut house, channel, "wide", &[("x-max-length-bytes", Value::I32(1))]);
    with_letters(&mut house, channel, "short", &[("x-message-ttl", Value::I32(10))]);
    house.fill(channel, "full", 0..2);
    house.publish(channel, "", "wide", "too wide");
    house.publish(channel, "", "short", "m");
    house.advance(10);
    for reason in ["full maxlen 1", "wide maxlen 1", "short expired 1"] {
        let (.., props) = take(&mut house, channel, "dead");
        assert_eq!(deaths(&props), [reason]);
    }
}

#[test]
fn the_history_of_a_message_tells_all_its_routing_keys_and_where_it_died_last() {
    let mut house = House::new();
    let channel = house.channel(1);
    with_letters(&mut house, channel, "q", &[]);
    let cc = Value::Array(vec![Value::text("copy")]);
    let props = Props { headers: Some(table(&[("CC", cc)])), ..Props::default() };
    house.publish_with(channel, ("", "q", "m"), props, |_| {}).expect("published");
    house.get(channel, "q");
    house.broker.reject(channel, 1, false).expect("outstanding");
    let (.., props) = take(&mut house, channel, "dead");
    let headers = props.headers.expect("headers");
    let Some(Value::Array(deaths)) = headers.get("x-death") else { panic!("no x-death") };
    let Some(Value::Table(death)) = deaths.first() else { panic!("no death") };
    let keys = Value::Array(vec![Value::text("q"), Value::text("copy")]);
    assert_eq!(death.get("routing-keys"), Some(&keys));
    assert_eq!(death.get("original-expiration"), None, "it had none");
}

#[test]
fn what_is_rejected_without_a_dead_letter_exchange_is_gone() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 0..2);
    (0..2).for_each(|_| drop(house.get(channel, "q")));
    house.broker.nack(channel, 2, true, false).expect("outstanding");
    house.drain();
    assert_eq!((house.counts(channel, "q"), house.broker.totals().messages), ((0, 0), 0));
}
