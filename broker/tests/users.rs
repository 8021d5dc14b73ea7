//! Users and what they may do: RabbitMQ's permissions, topic permissions and limits.

mod common;

use common::House;
use ropewalk_broker::*;

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).expect(text)
}

/// A house with a user `u`, who may do in `/` what the patterns say.
fn house(configure: &str, write: &str, read: &str) -> House {
    let mut house = House::new();
    house.broker.put_user(b"u", User::new(Some(PasswordHash::new(b"secret", [1, 2, 3, 4]))));
    let permission =
        Permission { configure: pattern(configure), write: pattern(write), read: pattern(read) };
    assert!(house.broker.set_user_permission(b"u", b"/", Some(permission)));
    house
}

fn open(house: &mut House, vhost: &str, key: u64) -> Result<ConnectionId> {
    let open = OpenConnection { vhost: vhost.as_bytes(), user: b"u", key, cancel_notify: true };
    house.broker.open_connection_as_user(&open)
}

fn channel(house: &mut House) -> ChannelId {
    let connection = open(house, "/", 1).expect("granted");
    house.broker.open_channel(connection, 1).expect("fresh")
}

fn bind<'a>(source: &'a str, destination: &'a str, key: &'a str, none: &'a Table) -> Bind<'a> {
    Bind {
        source: source.as_bytes(),
        destination: destination.as_bytes(),
        routing_key: key.as_bytes(),
        arguments: none,
    }
}

fn told<T>(result: Result<T>) -> String {
    result.err().expect("refused").to_string()
}

#[test]
fn a_password_is_verified_and_an_empty_one_never_is() {
    let mut house = house("", "", "");
    assert!(house.broker.verify_password(b"u", b"secret"));
    for wrong in [&b""[..], b"Secret", b"secret2"] {
        assert!(!house.broker.verify_password(b"u", wrong));
    }
    assert!(!house.broker.verify_password(b"nobody", b"secret"));
    house.broker.put_user(b"blank", User::new(Some(PasswordHash::new(b"", [1; 4]))));
    assert!(!house.broker.verify_password(b"blank", b""));
    house.broker.put_user(b"none", User::new(None));
    assert!(!house.broker.verify_password(b"none", b""));
}

#[test]
fn a_new_password_leaves_the_permissions_as_they_were() {
    let mut house = house(".*", ".*", ".*");
    house.broker.put_user(b"u", User::new(Some(PasswordHash::new(b"other", [9; 4]))));
    assert!(house.broker.verify_password(b"u", b"other"));
    assert!(open(&mut house, "/", 1).is_ok());
}

#[test]
fn who_was_granted_nothing_in_a_virtual_host_may_not_enter() {
    let mut house = house("", "", "");
    house.broker.add_vhost(b"other");
    let refused = |vhost| format!("NOT_ALLOWED - access to vhost '{vhost}' refused for user 'u'");
    assert_eq!(told(open(&mut house, "other", 1)), refused("other"));
    assert_eq!(told(open(&mut house, "nope", 1)), "NOT_ALLOWED - vhost nope not found");
    assert!(open(&mut house, "/", 1).is_ok());
    house.broker.set_user_permission(b"u", b"/", None);
    assert_eq!(told(open(&mut house, "/", 1)), refused("/"));
}

#[test]
fn the_patterns_decide_what_may_be_declared_written_and_read() {
    let mut house = house("^c", "^w|^amq\\.direct$", "^r|^amq\\.direct$");
    let guest = house.channel(9);
    for name in ["c", "w", "r", "wr"] {
        house.declare(guest, name);
    }
    let channel = channel(&mut house);
    let none = Table::new();
    let refused =
        |what| format!("ACCESS_REFUSED - access to {what} in vhost '/' refused for user 'u'");
    house.declare(channel, "c2");
    assert!(house.declare_with(channel, "w", "passive", &none).is_ok());
    assert_eq!(told(house.declare_with(channel, "w", "", &none)), refused("queue 'w'"));
    let delete = |house: &mut House, name: &str| {
        house.broker.delete_queue(channel, name.as_bytes(), false, false)
    };
    assert_eq!(told(delete(&mut house, "missing")), refused("queue 'missing'"));
    assert_eq!(told(house.broker.get(channel, b"w", true).map(|_| ())), refused("queue 'w'"));
    assert!(house.broker.get(channel, b"r", true).is_ok());
    let publish = |house: &mut House, exchange: &str| {
        house.broker.publish(channel, &Publish::new(exchange.as_bytes(), b"c", b"x"))
    };
    assert_eq!(told(publish(&mut house, "")), refused("exchange 'amq.default'"));
    assert_eq!(told(publish(&mut house, "amq.fanout")), refused("exchange 'amq.fanout'"));
    assert!(publish(&mut house, "amq.direct").is_ok());
    assert!(house.broker.bind_queue(channel, &bind("amq.direct", "wr", "k", &none)).is_ok());
    let bound = house.broker.bind_queue(channel, &bind("amq.direct", "r", "k", &none));
    assert_eq!(told(bound), refused("queue 'r'"));
    let bound = house.broker.bind_queue(channel, &bind("amq.topic", "w", "k", &none));
    assert_eq!(told(bound), refused("exchange 'amq.topic'"));
}

#[test]
fn routing_keys_of_a_topic_exchange_can_be_limited() {
    let mut house = house(".*", ".*", ".*");
    let topic = TopicPermission::new("^w\\.{username}$", "^r\\.", b"u", b"/").expect("good");
    assert!(house.broker.set_topic_permission(b"u", b"/", b"amq.topic", Some(topic)));
    let channel = channel(&mut house);
    let none = Table::new();
    house.declare(channel, "q");
    let refused = |key| {
        format!(
            "ACCESS_REFUSED - access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused \
             for user 'u'"
        )
    };
    let publish = |house: &mut House, exchange: &str, key: &str| {
        house.broker.publish(channel, &Publish::new(exchange.as_bytes(), key.as_bytes(), b"x"))
    };
    assert!(publish(&mut house, "amq.topic", "w.u").is_ok());
    assert_eq!(told(publish(&mut house, "amq.topic", "w.v")), refused("w.v"));
    assert!(publish(&mut house, "amq.direct", "w.v").is_ok());
    assert!(house.broker.bind_queue(channel, &bind("amq.topic", "q", "r.1", &none)).is_ok());
    let bound = house.broker.bind_queue(channel, &bind("amq.topic", "q", "w.1", &none));
    assert_eq!(told(bound), refused("w.1"));
    let unbound = house.broker.unbind_queue(channel, &bind("amq.topic", "q", "w.1", &none));
    assert_eq!(told(unbound), refused("w.1"));
    let bound = house.broker.bind_exchange(channel, &bind("amq.topic", "amq.fanout", "w", &none));
    assert_eq!(told(bound), refused("w"));
    // A copy goes where its key leads, and needs the same right.
    let headers = Table::from([("CC", Value::Array(vec![Value::text("w.v")]))]);
    let raw = house.codec.encode(common::Props { headers: Some(headers), ..Default::default() });
    let mut copied = Publish::new(b"amq.topic", b"w.u", b"x");
    copied.properties.raw = &raw;
    copied.properties.has_headers = true;
    assert_eq!(told(house.broker.publish(channel, &copied)), refused("w.v"));
    assert!(house.broker.set_topic_permission(b"u", b"/", b"amq.topic", None));
    assert!(publish(&mut house, "amq.topic", "w.v").is_ok());
}

#[test]
fn permissions_that_change_hold_at_once_on_connections_that_are_open() {
    let mut house = house(".*", ".*", ".*");
    let channel = channel(&mut house);
    house.declare(channel, "a");
    let all = Permission { configure: pattern("^b"), ..Permission::everything() };
    house.broker.set_user_permission(b"u", b"/", Some(all));
    assert!(house.declare_with(channel, "b", "", &Table::new()).is_ok());
    assert!(house.declare_with(channel, "a", "", &Table::new()).is_err());
    assert!(house.broker.delete_user(b"u"));
    assert!(house.declare_with(channel, "b", "", &Table::new()).is_err());
    assert!(!house.broker.delete_user(b"u"));
}

#[test]
fn limits_are_told_as_rabbitmq_tells_them() {
    let mut house = house(".*", ".*", ".*");
    let vhost = house.broker.vhost(b"/").expect("always there");
    let limits = VhostLimits { max_connections: Some(1), max_queues: Some(2) };
    house.broker.set_vhost_limits(vhost, limits);
    let first = open(&mut house, "/", 1).expect("the first");
    assert_eq!(
        told(open(&mut house, "/", 2)),
        "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (1) is reached"
    );
    let channel = house.broker.open_channel(first, 1).expect("fresh");
    house.declare(channel, "q1");
    house.declare(channel, "q2");
    assert_eq!(
        told(house.declare_with(channel, "q3", "", &Table::new())),
        "PRECONDITION_FAILED - cannot declare queue 'q3': queue limit in vhost '/' (2) is reached"
    );
    house.declare(channel, "q1");
    house.broker.close_connection(first);
    let again = open(&mut house, "/", 1).expect("who has left makes room");
    house.broker.close_connection(again);
    house.broker.set_vhost_limits(vhost, VhostLimits::default());
    let mut user = User::new(None);
    user.limits = UserLimits { max_connections: Some(2), max_channels: Some(1) };
    house.broker.put_user(b"u", user);
    let first = open(&mut house, "/", 1).expect("the first");
    let second = open(&mut house, "/", 2).expect("the second");
    assert_eq!(
        told(open(&mut house, "/", 3)),
        "NOT_ALLOWED - connection refused for user 'u': user connection limit (2) is reached"
    );
    let one = house.broker.open_channel(first, 1).expect("the first channel");
    assert_eq!(
        told(house.broker.open_channel(second, 1)),
        "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user \
         limit of (1)"
    );
    house.broker.close_channel(one);
    assert!(house.broker.open_channel(second, 1).is_ok());
}

#[test]
fn the_brokers_own_limits_hold_for_all() {
    let mut config = Config::default();
    config.max_connections = Some(1);
    config.max_queues = Some(0);
    let mut house = House::with(config);
    let channel = house.channel(1);
    assert_eq!(
        told(house.declare_with(channel, "q", "", &Table::new())),
        "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost '/' (0) is reached"
    );
    let open = OpenConnection { vhost: b"/", user: b"g", key: 2, cancel_notify: true };
    assert_eq!(
        told(house.broker.open_connection(&open)),
        "NOT_ALLOWED - connection refused: node connection limit (1) is reached"
    );
}

#[test]
fn asking_whether_something_is_there_takes_any_permission_on_it() {
    let mut house = house("^c", "^w", "^r");
    let guest = house.channel(9);
    let channel = channel(&mut house);
    let none = Table::new();
    for name in ["c", "w", "r", "n"] {
        house.declare(guest, name);
        house.exchange(guest, name, "fanout");
    }
    for name in ["c", "w", "r"] {
        assert!(house.declare_with(channel, name, "passive", &none).is_ok(), "{name}");
        assert!(house.exchange_with(channel, name, "fanout", "passive", &none).is_ok(), "{name}");
    }
    let refused =
        |what: &str| format!("ACCESS_REFUSED - access to {what} in vhost '/' refused for user 'u'");
    for name in ["n", "missing"] {
        let queue = house.declare_with(channel, name, "passive", &none);
        assert_eq!(told(queue), refused(&format!("queue '{name}'")));
        let exchange = house.exchange_with(channel, name, "fanout", "passive", &none);
        assert_eq!(told(exchange), refused(&format!("exchange '{name}'")));
    }
}

#[test]
fn only_an_impersonator_may_publish_in_the_name_of_another() {
    let mut house = house(".*", ".*", ".*");
    let channel = channel(&mut house);
    let mut publish = Publish::new(b"", b"q", b"x");
    publish.properties.user_id = Some(b"u");
    assert!(house.broker.publish(channel, &publish).is_ok());
    publish.properties.user_id = Some(b"bob");
    let text = "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'u'";
    for tags in [&["administrator"][..], &["administrator", "impersonator"]] {
        let mut user = User::new(None);
        user.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        house.broker.put_user(b"u", user);
        let published = house.broker.publish(channel, &publish);
        match tags.contains(&"impersonator") {
            true => assert_eq!(published, Ok(())),
            false => assert_eq!(told(published), text),
        }
    }
}

#[test]
fn rechecking_cancels_the_consumers_of_queues_that_may_not_be_read_any_more() {
    let mut house = house(".*", ".*", ".*");
    let connection = open(&mut house, "/", 1).expect("granted");
    let channel = house.broker.open_channel(connection, 1).expect("fresh");
    house.declare(channel, "a");
    house.declare_with(channel, "b", "auto-delete", &Table::new()).expect("declared");
    house.consume(channel, "a", "stays");
    house.consume(channel, "b", "goes");
    let permission = Permission { read: pattern("^a$"), ..Permission::everything() };
    house.broker.set_user_permission(b"u", b"/", Some(permission));
    house.publish(channel, "", "b", "1");
    assert_eq!(house.drain(), ["c1/1 deliver goes 1 1"], "a consumer that is there goes on");
    house.broker.recheck_consumers(connection);
    house.publish(channel, "", "a", "2");
    assert_eq!(house.drain(), ["c1/1 cancel goes", "c1/1 deliver stays 2 2"]);
    assert_eq!(house.broker.totals().queues, 1, "that was the last consumer of b");
    house.broker.ack(channel, 1, false).expect("what it held is the channel's still");
}

#[test]
fn who_has_lost_a_virtual_host_may_not_stay_in_it() {
    let mut house = house("", "", "");
    assert_eq!(house.broker.check_entry(b"u", b"/"), Ok(()));
    house.broker.set_user_permission(b"u", b"/", None);
    let refused = |user| format!("NOT_ALLOWED - access to vhost '/' refused for user '{user}'");
    assert_eq!(told(house.broker.check_entry(b"u", b"/")), refused("u"));
    assert_eq!(told(house.broker.check_entry(b"nobody", b"/")), refused("nobody"));
}
