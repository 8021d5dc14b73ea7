//! What a broker restored from a store is like: messages, marks, definitions.

mod common;

use common::store::{Kept, Store};
use common::stories::{durable, persistent, send, small, take_all};
use common::{House, Props};
use ropewalk_broker::*;

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
fn while_a_queue_with_priorities_is_restored_nothing_expires_that_is_not_its_head() {
    let mut house = House::with_store(small());
    house.advance(1);
    let channel = house.channel(1);
    durable(&mut house, channel, "q", &[("x-max-priority", Value::I32(9))]);
    for (body, priority, expiration) in [("1", 0, Some(10)), ("2", 0, None), ("3", 9, None)] {
        let expiration = expiration.map(|it: u32| it.to_string());
        let props = Props { expiration, ..Props::default() };
        let change = |publish: &mut Publish<'_>| {
            persistent(publish);
            publish.properties.priority = priority;
        };
        house.publish_with(channel, ("", "q", body), props, change).expect("published");
    }
    house.advance(10);
    assert_eq!(house.counts(channel, "q"), (3, 0), "it is behind one that lives");
    let mut house = house.restored_all(small());
    let channel = house.channel(1);
    house.settle();
    house.advance(10);
    assert_eq!(house.counts(channel, "q"), (3, 0), "it still is");
    assert_eq!(take_all(&mut house, channel, "q"), ["3", "2"]);
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
    assert!(house.broker.get(channel, b"q", false).expect("exists").message().is_none());
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
