//! What the journal hears, how long queues page, how deliveries wait for leases, and what a
//! broker restored from a store is like.

mod common;

use common::store::{Kept, Record, Store};
use common::{House, Props};
use ropewalk_broker::*;

/// A small house: two messages of a queue in memory, leases of four.
fn small() -> Config {
    let mut config = Config::default();
    (config.page_messages, config.lease, config.max_lease) = (2, 4, 8);
    config
}

fn persistent(publish: &mut Publish<'_>) {
    publish.properties.persistent = true;
}

fn send(house: &mut House, channel: ChannelId, key: &str, body: &str) {
    house.publish_with(channel, ("", key, body), Props::default(), persistent).expect("published");
}

fn durable(house: &mut House, channel: ChannelId, name: &str, arguments: &[(&str, Value)]) {
    let table = arguments.iter().map(|(name, value)| (*name, value.clone())).collect();
    house.declare_with(channel, name, "durable", &table).expect("declared");
}

/// The records since `from` in a word or two each: `message 0@3 1@0`, `end 0@3..4`, `lease 0@5`,
/// `return 0@3`, `gone 0`, `define`, `undefine`.
fn heard(house: &mut House, from: usize) -> Vec<String> {
    let records = &house.store().records[from..];
    let say = |record: &Record| match record {
        Record::Defined(..) => "define".to_owned(),
        Record::Undefined(_) => "undefine".to_owned(),
        Record::Message { references, persistent, .. } => {
            let kind = if *persistent { "message" } else { "passing" };
            let show = |it: &Reference| format!(" {}@{}", it.queue, it.position);
            kind.to_owned() + &references.iter().map(show).collect::<String>()
        }
        Record::Acknowledged(queue, first, last) if first == last => format!("end {queue}@{first}"),
        Record::Acknowledged(queue, first, last) => format!("end {queue}@{first}..{last}"),
        Record::Leased(queue, end) => format!("lease {queue}@{end}"),
        Record::Returned(queue, position, _) => format!("return {queue}@{position}"),
        Record::Removed(queue) => format!("gone {queue}"),
        Record::Restart => "restart".to_owned(),
    };
    records.iter().map(say).collect()
}

/// All the messages of a queue, taken; an asterisk for those that are redelivered.
fn take_all(house: &mut House, channel: ChannelId, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        match house.broker.get(channel, queue.as_bytes(), true).expect("exists") {
            Fetch::Message(it) => {
                let again = if it.redelivered { "*" } else { "" };
                bodies.push(format!("{}{again}", String::from_utf8_lossy(it.message.body())));
            }
            Fetch::Loading => drop(house.settle()),
            Fetch::Empty => return bodies,
        }
    }
}

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

fn take(house: &mut House, channel: ChannelId) -> String {
    let fetch = house.broker.get(channel, b"q", true).expect("exists");
    let fetched = fetch.message().expect("it is in memory");
    String::from_utf8_lossy(fetched.message.body()).into_owned()
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

#[test]
fn a_restored_queue_with_priorities_gives_nothing_before_it_has_all() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[("x-max-priority", Value::I32(9))]);
    for (body, priority) in [("1", 0), ("2", 3), ("3", 9), ("4", 3), ("5", 0)] {
        let change = |publish: &mut Publish<'_>| {
            persistent(publish);
            publish.properties.priority = priority;
        };
        house.publish_with(channel, ("", "q", body), Props::default(), change).expect("published");
    }
    assert_eq!(house.broker.totals().messages, 5, "such a queue never pages");
    let mut house = house.restored_all(small());
    let channel = house.channel(1);
    house.consume(channel, "q", "t");
    let load = house.broker.next_load().expect("it wants all");
    let messages = house.store().load(&load);
    house.broker.loaded(&load, messages);
    assert_eq!(house.drain(), [""; 0]);
    let bodies: Vec<String> = house.settle().iter().map(|it| it[15..].to_owned()).collect();
    assert_eq!(bodies, ["1 3", "2 2", "3 4", "4 1", "5 5"]);
}

#[test]
fn after_a_crash_what_was_handed_out_is_marked_and_after_an_orderly_end_nothing_else_is() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[]);
    (1..=9).for_each(|body| send(&mut house, channel, "q", &body.to_string()));
    house.qos(channel, 2, false);
    house.consume(channel, "q", "t");
    house.settle();
    let mut crashed = house.restored_all(small());
    let other = crashed.channel(1);
    let all = take_all(&mut crashed, other, "q");
    assert_eq!(all, ["1*", "2*", "3*", "4*", "5*", "6", "7", "8", "9"], "the lease was five long");

    house.broker.close_channel(channel);
    house.settle();
    house.broker.release_leases();
    let mut house = house.restored_all(small());
    let channel = house.channel(1);
    send(&mut house, channel, "q", "10");
    let all = take_all(&mut house, channel, "q");
    assert_eq!(all, ["1*", "2*", "3", "4", "5", "6", "7", "8", "9", "10"]);
}

#[test]
fn what_came_after_a_crash_is_not_marked_by_a_lease_from_before_it() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[]);
    send(&mut house, channel, "q", "1");
    house.consume(channel, "q", "t");
    house.settle();
    let mut house = house.restored_all(small());
    let channel = house.channel(1);
    send(&mut house, channel, "q", "2");
    let mut house = house.restored_all(small());
    let channel = house.channel(1);
    assert_eq!(take_all(&mut house, channel, "q"), ["1*", "2"]);
}

#[test]
fn deliveries_of_a_quorum_queue_are_counted_across_a_crash() {
    let mut house = House::with_store(small());
    let channel = house.channel(1);
    let arguments = [("x-queue-type", Value::text("quorum")), ("x-delivery-limit", Value::I32(2))];
    durable(&mut house, channel, "q", &arguments);
    send(&mut house, channel, "q", "m");
    let fetch = |house: &mut House, channel: ChannelId| {
        house.settle();
        let fetch = house.broker.get(channel, b"q", false).expect("exists").message();
        fetch.and_then(|it| it.delivery_count)
    };
    assert_eq!(house.broker.get(channel, b"q", false).expect("exists").message().is_none(), true);
    for count in [0, 1] {
        assert_eq!(fetch(&mut house, channel), Some(count));
        house.broker.nack(channel, u64::from(count) + 1, false, true).expect("outstanding");
    }
    let mut house = house.restored_all(small());
    let channel = house.channel(1);
    assert!(house.broker.get(channel, b"q", false).expect("exists").message().is_none());
    assert_eq!(fetch(&mut house, channel), Some(2));
    house.broker.nack(channel, 1, false, true).expect("outstanding");
    assert_eq!(fetch(&mut house, channel), None, "it is over its limit");
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

#[test]
fn definitions_are_restored_whatever_their_names_and_nothing_twice() {
    let mut house = House::with_store(Config::default());
    let broker = &mut house.broker;
    let odd = &b"\xff\x00 odd"[..];
    let vhost = broker.add_vhost(odd);
    let limits = VhostLimits { max_connections: Some(3), max_queues: None };
    broker.set_vhost_limits(vhost, limits);
    broker.set_vhost_limits(broker.vhost(b"/").expect("there"), limits);
    let mut user = User::new(Some(PasswordHash::new(b"secret", [1, 2, 3, 4])));
    user.tags = vec!["monitoring".to_owned()];
    user.limits.max_channels = Some(7);
    broker.put_user(odd, user);
    broker.put_user(b"gone", User::new(None));
    broker.set_user_permission(odd, odd, Some(Permission::everything()));
    broker.set_user_permission(b"gone", odd, Some(Permission::everything()));
    let topic = TopicPermission::new("^{username}", "", odd, odd).expect("compiles");
    broker.set_topic_permission(odd, odd, b"amq.topic", Some(topic.clone()));
    broker.set_topic_permission(b"gone", odd, b"amq.topic", Some(topic));
    assert!(broker.delete_user(b"gone"));
    let open = OpenConnection { vhost: odd, user: odd, key: 1, cancel_notify: true };
    let connection = broker.open_connection(&open).expect("it exists");
    let channel = broker.open_channel(connection, 1).expect("fresh");
    let none = Table::new();
    let arguments = Table::from([("x-max-length", Value::I16(5)), ("x-unknown", Value::Void)]);
    for (name, durable, exclusive) in
        [(odd, true, false), (b"mine", true, true), (b"transient", false, false)]
    {
        let declare = QueueDeclare {
            name,
            passive: false,
            durable,
            exclusive,
            auto_delete: false,
            arguments: &arguments,
        };
        broker.declare_queue(channel, &declare).expect("declared");
        for source in [&b"amq.direct"[..], b"amq.headers"] {
            let bind = Bind { source, destination: name, routing_key: odd, arguments: &none };
            broker.bind_queue(channel, &bind).expect("bound");
        }
    }
    for (name, durable) in [(odd, true), (b"brief", false)] {
        let declare = ExchangeDeclare {
            name,
            kind: b"topic",
            passive: false,
            durable,
            auto_delete: true,
            internal: true,
            arguments: &Table::from([("alternate-exchange", Value::text("amq.fanout"))]),
        };
        broker.declare_exchange(channel, &declare).expect("declared");
        let bind =
            Bind { source: b"amq.topic", destination: name, routing_key: b"#", arguments: &none };
        broker.bind_exchange(channel, &bind).expect("bound");
    }

    let mut restored = house.restored_all(Config::default());
    assert_eq!(restored.store().state.definitions, house.store().state.definitions);
    assert_eq!(restored.journaled(), house.journaled() + 1, "restoring is not journaled");
    let (old, new) = (&house.broker, &restored.broker);
    assert_eq!(new.vhosts().count(), 2);
    let vhost = new.vhost(odd).expect("restored");
    assert_eq!(new.exchanges(vhost).count(), 8, "seven predeclared and one durable");
    assert_eq!((new.queues(vhost).count(), new.bindings(vhost).count()), (1, 3));
    let (old, new) = (old.user(odd).expect("there"), new.user(odd).expect("restored"));
    assert_eq!((&new.password, &new.tags, new.limits), (&old.password, &old.tags, old.limits));
    assert_eq!((new.permissions().count(), new.topic_permissions().count()), (1, 1));
    assert!(restored.broker.verify_password(odd, b"secret"));
    assert_eq!(restored.broker.users().count(), 1);

    // All of it goes with its virtual host but the user.
    for mut house in [house, restored] {
        assert!(house.broker.delete_vhost(odd));
        assert!(!house.broker.delete_vhost(odd));
        let left: Vec<&Kept> = house.store().state.definitions.values().collect();
        assert!(matches!(left[..], [Kept::Vhost(..), Kept::User(..)]), "{left:?}");
        assert!(house.store().state.queues.is_empty());
        let totals = house.broker.totals();
        assert_eq!((totals.exchanges, totals.queues, totals.bindings), (7, 0, 0));
        assert_eq!((totals.connections, totals.channels), (0, 0));
        assert!(house.broker.vhost(odd).is_err());
    }
}

#[test]
fn definitions_that_cannot_be_restored_say_why() {
    let mut house = House::new();
    let none = Table::new();
    let broker = &mut house.broker;
    let mut refused = |definition: Definition<'_>| {
        broker.restore_definition(&definition).expect_err("it cannot be")
    };
    let (vhost, name, arguments) = (&b"/"[..], &b"q"[..], &none);
    let queue = |vhost, number, arguments| Definition::Queue {
        vhost,
        name,
        number,
        auto_delete: false,
        arguments,
    };
    assert_eq!(refused(queue(b"nowhere", 1, arguments)), "there is no virtual host 'nowhere'");
    let wrong = Table::from([("x-max-length", Value::text("many"))]);
    assert!(refused(queue(vhost, 1, &wrong)).contains("x-max-length"));
    let permission =
        |configure, user| Definition::Permission { user, vhost, configure, write: "", read: "" };
    assert!(refused(permission("(", b"u")).contains("cannot be used"));
    assert_eq!(refused(permission("", b"u")), "there is no user 'u'");
    let exchange = |name| Definition::Exchange {
        vhost,
        name,
        kind: ExchangeType::Fanout,
        auto_delete: false,
        internal: false,
        arguments,
    };
    assert_eq!(refused(exchange(b"amq.fanout")), "it is there already");
    assert_eq!(refused(exchange(b"")), "its name has 0 bytes");
    let binding = |source, destination| Definition::Binding {
        vhost,
        source,
        destination,
        to_queue: true,
        routing_key: b"",
        arguments,
    };
    assert_eq!(refused(binding(b"amq.fanout", b"q")), "no queue 'q' in vhost '/'");
    assert_eq!(refused(binding(b"", b"q")), "no client can have made it");
    broker.restore_definition(&queue(vhost, 1, arguments)).expect("restored");
    let found = RestoredQueue { number: 2, next_position: 9, leased: 0, messages: 3, bytes: 30 };
    assert!(!broker.restore_messages(&found), "nobody's");
    assert!(broker.restore_messages(&RestoredQueue { number: 1, ..found }));
    broker.set_journal(Box::new(Store::default()), 3);
    let channel = house.channel(1);
    assert_eq!(house.counts(channel, "q"), (3, 0));
}
