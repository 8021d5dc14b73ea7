//! Queues that are longer than memory: how they page, and what they do when the store is late,
//! damaged, or has only what they must drop.

mod common;

use common::stories::{durable, persistent, send, small, take_all};
use common::{House, Props};
use ropewalk_broker::*;

#[test]
fn a_long_queue_holds_only_its_head_in_memory() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[]);
    house.declare(channel, "transient");
    for body in 1..=1000 {
        send(&mut house, channel, "q", &body.to_string());
        house.publish(channel, "", "transient", &body.to_string());
    }
    assert_eq!(house.broker.totals().messages, 4);
    assert_eq!(house.broker.next_load(), None, "nobody reads them");
    assert_eq!(
        (house.counts(channel, "q"), house.counts(channel, "transient")),
        ((1000, 0), (1000, 0))
    );
    for queue in ["q", "transient"] {
        let numbers: Vec<String> = (1..=1000).map(|it| it.to_string()).collect();
        assert_eq!(take_all(&mut house, channel, queue), numbers);
    }
    house.drain();
    assert_eq!(house.broker.totals().messages, 0);
    let stored: usize = house.store().state.queues.values().map(|it| it.messages.len()).sum();
    assert_eq!(stored, 0);
}

#[test]
fn a_body_larger_than_what_memory_may_hold_passes_all_the_same() {
    let mut config = small();
    config.page_bytes = 10;
    let mut house = House::with_store(config);
    let channel = house.channel(1);
    house.declare(channel, "q");
    for letter in ["a", "b", "c"] {
        house.publish(channel, "", "q", &letter.repeat(10_000));
    }
    assert_eq!(house.broker.totals().messages, 1);
    house.consume(channel, "q", "t");
    let letters: Vec<String> = house.settle().iter().map(|it| it[..20].to_owned()).collect();
    assert_eq!(letters, ["c1/1 deliver t 1 aaa", "c1/1 deliver t 2 bbb", "c1/1 deliver t 3 ccc"]);
}

#[test]
fn an_answer_that_comes_after_a_purge_is_ignored() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 1..10);
    assert_eq!(take(&mut house, channel), "1");
    assert_eq!(take(&mut house, channel), "2");
    let load = house.broker.next_load().expect("the head is short");
    let messages = house.store().load(&load);
    assert_eq!(house.broker.purge_queue(channel, b"q"), Ok(7));
    house.fill(channel, "q", 10..20);
    house.broker.loaded(&load, messages);
    assert_eq!(house.counts(channel, "q"), (10, 0));
    assert_eq!(take(&mut house, channel), "10");
    assert_eq!(take_all(&mut house, channel, "q").len(), 9);
    house.broker.loaded(&load, []);
    assert_eq!(house.counts(channel, "q"), (0, 0));
}

#[test]
fn what_the_store_has_lost_or_cannot_be_read_is_given_up_and_told() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    house.declare(channel, "q");
    house.fill(channel, "q", 1..8);
    house.consume(channel, "q", "t");
    house.drain();
    let load = house.broker.next_load().expect("the head is short");
    let mut messages = house.store().load(&load);
    assert_eq!(messages.len(), 2);
    messages[0].payload = messages[0].payload.slice(..5);
    house.publish(channel, "", "q", "8");
    assert_eq!(house.broker.loaded(&load, messages), 1);
    assert_eq!(house.drain(), ["c1/1 deliver t 3 4"]);
    assert_eq!(house.counts(channel, "q"), (4, 1));
    // Of these the store has nothing any more; a later one it will have.
    let load = house.broker.next_load().expect("the head is short");
    house.publish(channel, "", "q", "9");
    house.broker.loaded(&load, []);
    assert_eq!(house.counts(channel, "q"), (1, 1));
    assert_eq!(house.settle(), ["c1/1 deliver t 4 9"]);
    // An answer that makes no way is no answer.
    house.broker.cancel(channel, b"t").expect("cancelled");
    house.fill(channel, "q", 10..15);
    house.consume(channel, "q", "t");
    house.drain();
    let load = house.broker.next_load().expect("the head is short");
    let stale = LoadedMessage {
        position: 0,
        expires: u64::MAX,
        redelivered: false,
        returns: 0,
        payload: bytes::Bytes::from_static(b"nothing of ours"),
    };
    assert_eq!(house.broker.loaded(&load, [stale]), 1);
    assert_eq!(house.broker.next_load(), None);
    assert_eq!(house.counts(channel, "q"), (0, 1));
}

#[test]
fn a_full_queue_drops_its_oldest_even_if_that_is_in_the_store() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[("x-max-length", Value::I32(5))]);
    (1..=6).for_each(|body| send(&mut house, channel, "q", &body.to_string()));
    assert_eq!(house.counts(channel, "q"), (5, 0));
    (7..=20).for_each(|body| send(&mut house, channel, "q", &body.to_string()));
    house.settle();
    assert_eq!(house.counts(channel, "q"), (5, 0));
    assert_eq!(take_all(&mut house, channel, "q"), ["16", "17", "18", "19", "20"]);
}

#[test]
fn paged_messages_expire_and_leave_their_letters_after_a_restart_too() {
    let mut house = House::with_store(small());
    house.advance(1);
    let channel = house.channel(1);
    let letters = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    durable(&mut house, channel, "q", &letters);
    durable(&mut house, channel, "dead", &[]);
    for body in 1..=6 {
        let props = Props { expiration: Some((body * 10).to_string()), ..Props::default() };
        let body = body.to_string();
        house.publish_with(channel, ("", "q", &body), props, persistent).expect("published");
    }
    house.advance(30);
    house.settle();
    assert_eq!((house.counts(channel, "q").0, house.counts(channel, "dead").0), (3, 3));
    let mut house = house.restored_all(small());
    let channel = house.channel(1);
    house.settle();
    assert_eq!(house.broker.next_deadline(), Some(std::time::Duration::from_millis(41)));
    house.advance(20);
    house.settle();
    assert_eq!((house.counts(channel, "q").0, house.counts(channel, "dead").0), (1, 5));
    assert_eq!(take_all(&mut house, channel, "dead"), ["1", "2", "3", "4", "5"]);
}

fn take(house: &mut House, channel: ChannelId) -> String {
    let fetch = house.broker.get(channel, b"q", true).expect("exists");
    let fetched = fetch.message().expect("it is in memory");
    String::from_utf8_lossy(fetched.message.body()).into_owned()
}
