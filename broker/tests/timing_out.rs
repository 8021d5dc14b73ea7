//! Consumers that never acknowledge: their channels are told of, and nobody else's.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::House;
use ropewalk_broker::*;

/// A timeout of 60 s, looked for every two.
fn house() -> House {
    with_timeout(Some(Duration::from_secs(60)))
}

fn with_timeout(timeout: Option<Duration>) -> House {
    let mut config = Config::default();
    config.consumer_timeout = timeout;
    House::with(config)
}

/// Lets so many seconds pass, one by one, and tells who timed out, each once: `c1/1`.
fn wait(house: &mut House, seconds: u64) -> Vec<String> {
    let mut told = BTreeSet::new();
    for _ in 0..seconds {
        house.advance(1000);
        while let Some(event) = house.broker.next_event() {
            if let Event::ConsumerTimedOut { to, timeout } = event {
                assert_eq!(timeout, Duration::from_secs(60));
                told.insert(format!("c{}/{}", to.key, to.channel));
            }
        }
    }
    told.into_iter().collect()
}

/// A channel that holds a delivery, and one that publishes.
fn holding(house: &mut House) -> (ChannelId, ChannelId) {
    let (publisher, consumer) = (house.channel(1), house.channel(2));
    house.declare(publisher, "q");
    house.consume(consumer, "q", "t");
    house.publish(publisher, "", "q", "m");
    assert_eq!(house.drain(), ["c2/1 deliver t 1 m"]);
    (publisher, consumer)
}

#[test]
fn a_channel_that_holds_a_delivery_for_too_long_is_told_of_until_it_closes() {
    let mut house = house();
    let (publisher, consumer) = holding(&mut house);
    assert_eq!(wait(&mut house, 59), [""; 0]);
    assert_eq!(wait(&mut house, 5), ["c2/1"]);
    assert_eq!(wait(&mut house, 2), ["c2/1"]);
    house.broker.close_channel(consumer);
    assert_eq!(wait(&mut house, 120), [""; 0]);
    assert_eq!(house.bodies(publisher, "q"), ["m"]);
}

#[test]
fn a_delivery_that_was_fetched_or_whose_consumer_is_cancelled_counts_too() {
    let mut house = house();
    let (publisher, consumer) = holding(&mut house);
    house.broker.cancel(consumer, b"t").expect("open");
    house.publish(publisher, "", "q", "n");
    let fetched = house.broker.get(publisher, b"q", false).expect("exists").message();
    assert!(fetched.is_some());
    assert_eq!(wait(&mut house, 64), ["c1/1", "c2/1"]);
}

#[test]
fn what_is_acknowledged_in_time_never_times_out_however_much_follows() {
    let mut house = house();
    let (publisher, consumer) = holding(&mut house);
    for tag in 1..100 {
        assert_eq!(wait(&mut house, 14), [""; 0]);
        house.publish(publisher, "", "q", "m");
        assert_eq!(house.drain().len(), 1, "there are always one or two");
        assert_eq!(wait(&mut house, 14), [""; 0]);
        house.ack(consumer, tag);
    }
}

#[test]
fn one_delivery_among_many_that_are_acknowledged_is_found() {
    let mut house = house();
    let (publisher, consumer) = holding(&mut house);
    let mut told = Vec::new();
    for tag in 2..66 {
        house.publish(publisher, "", "q", "m");
        assert_eq!(house.drain().len(), 1);
        house.ack(consumer, tag);
        told.extend(wait(&mut house, 1));
    }
    assert!(told.contains(&"c2/1".to_owned()), "{told:?}");
}

#[test]
fn who_acknowledges_just_before_the_channel_is_told_of_is_left_alone() {
    let mut house = house();
    let (publisher, consumer) = holding(&mut house);
    house.advance(2000);
    // It holds another one, but not for long.
    house.publish(publisher, "", "q", "n");
    assert_eq!(house.drain(), ["c2/1 deliver t 2 n"]);
    house.advance(64_000);
    house.ack(consumer, 1);
    assert_eq!(house.drain(), [""; 0]);
}

#[test]
fn deliveries_that_need_no_acknowledgement_and_messages_that_wait_never_time_out() {
    let mut house = house();
    let (publisher, consumer) = (house.channel(1), house.channel(2));
    house.declare(publisher, "q");
    house.consume_with(consumer, "q", "t", "no-ack", &Table::new()).expect("consuming");
    house.publish(publisher, "", "q", "m");
    house.declare(publisher, "idle");
    house.publish(publisher, "", "idle", "m");
    assert_eq!(house.drain().len(), 1);
    assert_eq!(wait(&mut house, 200), [""; 0]);
}

#[test]
fn without_a_timeout_and_without_channels_there_is_nothing_to_wait_for() {
    let mut house = with_timeout(None);
    holding(&mut house);
    assert_eq!(house.broker.next_deadline(), None);
    assert_eq!(wait(&mut house, 100), [""; 0]);

    let mut house = self::house();
    assert_eq!(house.broker.next_deadline(), None);
    let channel = house.channel(1);
    assert_eq!(house.broker.next_deadline(), Some(Duration::from_secs(2)));
    house.broker.close_channel(channel);
    wait(&mut house, 3);
    assert_eq!(house.broker.next_deadline(), None);
}
