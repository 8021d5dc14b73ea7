//! Importing and exporting definitions: all or nothing, and the same again.

mod common;

use common::House;
use proptest::prelude::*;
use ropewalk_broker::*;

fn queue(vhost: &str, name: &str) -> QueueDefinition {
    QueueDefinition { vhost: vhost.into(), name: name.into(), durable: true, ..Default::default() }
}

fn exchange(vhost: &str, name: &str, kind: &str) -> ExchangeDefinition {
    let (vhost, name, kind) = (vhost.into(), name.into(), kind.into());
    ExchangeDefinition { vhost, name, kind, durable: true, ..Default::default() }
}

fn binding(vhost: &str, source: &str, destination: &str) -> BindingDefinition {
    let (vhost, source, destination) = (vhost.into(), source.into(), destination.into());
    BindingDefinition { vhost, source, destination, to_queue: true, ..Default::default() }
}

fn vhost(name: &str) -> VhostDefinition {
    VhostDefinition { name: name.into(), ..Default::default() }
}

fn user(name: &str) -> UserDefinition {
    UserDefinition { name: name.into(), ..Default::default() }
}

fn permission(user: &str, vhost: &str, configure: &str) -> PermissionDefinition {
    let (user, vhost, configure) = (user.into(), vhost.into(), configure.into());
    PermissionDefinition { user, vhost, configure, ..Default::default() }
}

#[test]
fn what_is_imported_works() {
    let mut house = House::new();
    let definitions = Definitions {
        vhosts: vec![vhost("v")],
        exchanges: vec![exchange("v", "x", "fanout")],
        queues: vec![queue("v", "q")],
        bindings: vec![binding("v", "x", "q"), binding("v", "amq.topic", "q")],
        ..Default::default()
    };
    assert_eq!(house.broker.import_definitions(&definitions), Ok(vec![]));
    let open = OpenConnection { vhost: b"v", user: b"g", key: 1, cancel_notify: true };
    let connection = house.broker.open_connection(&open).expect("the virtual host is there");
    let channel = house.broker.open_channel(connection, 1).expect("fresh");
    house.broker.publish(channel, &Publish::new(b"x", b"", b"hello")).expect("published");
    assert_eq!(house.counts(channel, "q"), (1, 0));
    // Again, and nothing changes; the message stays.
    assert_eq!(house.broker.import_definitions(&definitions), Ok(vec![]));
    assert_eq!(house.counts(channel, "q"), (1, 0));
}

#[test]
fn one_mistake_and_nothing_is_imported() {
    let good = || Definitions {
        vhosts: vec![vhost("v")],
        users: vec![user("u")],
        permissions: vec![permission("u", "v", ".*")],
        exchanges: vec![exchange("v", "x", "headers")],
        queues: vec![queue("v", "q")],
        bindings: vec![binding("v", "x", "q")],
        ..Default::default()
    };
    type Spoil = fn(&mut Definitions);
    let cases: [(Spoil, &str); 11] = [
        (|d| d.vhosts.push(vhost("")), "vhosts[1]: its name is empty"),
        (|d| d.users.push(user(&"u".repeat(256))), "users[1]: its name is longer than 255 bytes"),
        (
            |d| d.permissions.push(permission("nobody", "v", "")),
            "permissions[1]: there is no user 'nobody'",
        ),
        (
            |d| d.permissions.push(permission("u", "nope", "")),
            "permissions[1]: there is no virtual host 'nope'",
        ),
        (
            |d| d.permissions.push(permission("u", "v", "(")),
            "permissions[1]: configure: the pattern '(' cannot be used: unclosed group",
        ),
        (
            |d| d.exchanges.push(exchange("v", "y", "x-custom")),
            "exchanges[1]: unknown exchange type 'x-custom'",
        ),
        (|d| d.queues.push(queue("w", "q")), "queues[1]: there is no virtual host 'w'"),
        (
            |d| d.queues[0].arguments.set("x-max-length", Value::I64(-1)),
            "queues[0]: invalid arg 'x-max-length' for queue 'q' in vhost 'v': {value_negative,-1}",
        ),
        (
            |d| d.queues[0].arguments.set("x-queue-type", Value::text("stream")),
            "queues[0]: invalid arg 'x-queue-type' for queue 'q' in vhost 'v': \"unsupported queue type 'stream'\"",
        ),
        (
            |d| d.exchanges[0].arguments.set("alternate-exchange", Value::I64(1)),
            "exchanges[0]: invalid type 'long' for arg 'alternate-exchange' in exchange 'x' in \
             vhost 'v'",
        ),
        (
            |d| d.bindings[0].routing_key = "k".repeat(256),
            "bindings[0]: routing_key is longer than 255 bytes",
        ),
    ];
    for (spoil, expected) in cases {
        let mut house = House::new();
        let before = house.broker.export_definitions();
        let mut definitions = good();
        spoil(&mut definitions);
        let told = house.broker.import_definitions(&definitions).expect_err(expected);
        assert_eq!(told.to_string(), expected);
        assert_eq!(house.broker.export_definitions(), before, "{expected}");
    }
    let mut definitions = good();
    definitions.bindings[0].arguments.set("x-match", Value::text("some"));
    assert!(House::new().broker.import_definitions(&definitions).is_err());
    assert_eq!(House::new().broker.import_definitions(&good()), Ok(vec![]));
}

#[test]
fn a_binding_without_both_ends_is_left_out_and_told() {
    let mut house = House::new();
    let mut to_exchange = binding("/", "amq.fanout", "gone");
    to_exchange.to_queue = false;
    let definitions = Definitions {
        bindings: vec![
            binding("/", "amq.fanout", "gone"),
            to_exchange,
            binding("/", "nope", "gone"),
            binding("/", "", "gone"),
        ],
        ..Default::default()
    };
    let told = house.broker.import_definitions(&definitions).expect("imported");
    assert_eq!(
        told,
        [
            "bindings[0]: left out, there is no queue 'gone' in vhost '/'",
            "bindings[1]: left out, there is no exchange 'gone' in vhost '/'",
            "bindings[2]: left out, there is no exchange 'nope' in vhost '/'",
        ]
    );
    assert_eq!(house.broker.totals().bindings, 0);
}

#[test]
fn what_is_there_and_differs_stays_and_is_told() {
    let mut house = House::new();
    let channel = house.channel(1);
    house.declare(channel, "q");
    let mut same = queue("/", "q");
    same.durable = false;
    let definitions = Definitions {
        exchanges: vec![
            exchange("/", "amq.direct", "direct"),
            exchange("/", "amq.topic", "fanout"),
        ],
        queues: vec![same, queue("/", "q")],
        ..Default::default()
    };
    let told = house.broker.import_definitions(&definitions).expect("imported");
    assert_eq!(
        told,
        [
            "exchanges[1]: exchange 'amq.topic' in vhost '/' is there already and differs: it \
             stays as it is",
            "queues[1]: queue 'q' in vhost '/' is there already and differs: it stays as it is",
        ]
    );
    assert_eq!(house.broker.totals().queues, 1);
}

#[test]
fn what_belongs_to_a_connection_or_has_no_name_in_utf_8_is_not_exported() {
    let mut house = House::new();
    let channel = house.channel(1);
    let none = Table::new();
    house.declare_with(channel, "mine", "exclusive", &none).expect("declared");
    let bind =
        Bind { source: b"amq.fanout", destination: b"mine", routing_key: b"", arguments: &none };
    house.broker.bind_queue(channel, &bind).expect("bound");
    let declare = QueueDeclare {
        name: b"\xff",
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: &none,
    };
    house.broker.declare_queue(channel, &declare).expect("names are bytes");
    let (definitions, left_out) = house.broker.export_definitions();
    assert!(definitions.queues.is_empty() && definitions.bindings.is_empty());
    assert_eq!(left_out, ["queue '\\xff', whose name is not UTF-8"]);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), "[a-zäß.]{1,5}"]
}

fn arguments() -> impl Strategy<Value = Table> {
    prop_oneof![
        Just(Table::new()),
        (0_i64..100).prop_map(|n| Table::from([("x-max-length", Value::I64(n))])),
        any::<bool>().prop_map(|b| Table::from([("x-mine", Value::Bool(b))])),
    ]
}

prop_compose! {
    /// Vhosts, users, queues, exchanges with names of a few letters, so that they meet; everything
    /// in the virtual hosts `/` and `v`.
    fn definitions()(
        users in prop::collection::vec((name(), any::<[u8; 4]>(), "[a-z]{0,4}"), 1..4),
        grants in prop::collection::vec((any::<prop::sample::Index>(), 0..2_usize, "[a-z.^$]{0,4}"), 0..4),
        queues in prop::collection::vec((0..2_usize, name(), any::<bool>(), arguments()), 0..6),
        exchanges in prop::collection::vec((0..2_usize, name(), 0..4_usize), 0..6),
        bindings in prop::collection::vec((0..2_usize, name(), name(), any::<bool>(), name()), 0..12),
        limit in prop::option::of(0..10_usize),
    ) -> Definitions {
        let vhosts = ["/", "v"];
        let kinds = ["direct", "fanout", "topic", "headers"];
        Definitions {
            vhosts: vec![VhostDefinition {
                name: "v".into(),
                description: "a world".into(),
                tags: vec!["t".into()],
                limits: VhostLimits { max_queues: limit, max_connections: None },
            }],
            permissions: grants.iter().map(|(user, vhost, text)| {
                permission(&user.get(&users).0, vhosts[*vhost], text)
            }).collect(),
            topic_permissions: grants.iter().map(|(user, vhost, text)| TopicPermissionDefinition {
                user: user.get(&users).0.clone(),
                vhost: vhosts[*vhost].into(),
                exchange: "x".into(),
                write: format!("^{{username}}.{text}"),
                read: text.clone(),
            }).collect(),
            users: users.iter().map(|(name, salt, password)| UserDefinition {
                name: name.clone(),
                password: (!password.is_empty()).then(|| PasswordHash::new(password.as_bytes(), *salt)),
                tags: vec!["management".into()],
                limits: UserLimits { max_channels: limit, max_connections: None },
            }).collect(),
            queues: queues.into_iter().map(|(at, name, durable, arguments)| QueueDefinition {
                durable, arguments, ..queue(vhosts[at], &name)
            }).collect(),
            exchanges: exchanges.iter().map(|(at, name, kind)| {
                exchange(vhosts[*at], name, kinds[*kind])
            }).collect(),
            bindings: bindings.into_iter().map(|(at, source, destination, to_queue, key)| {
                BindingDefinition { to_queue, routing_key: key, ..binding(vhosts[at], &source, &destination) }
            }).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_exported_imports_as_the_same(definitions in definitions()) {
        let mut first = House::new();
        first.broker.import_definitions(&definitions).expect("all of it is good");
        let exported = first.broker.export_definitions();
        prop_assert!(exported.1.is_empty());
        let mut second = House::new();
        prop_assert_eq!(second.broker.import_definitions(&exported.0), Ok(vec![]));
        prop_assert_eq!(second.broker.export_definitions(), exported);
    }
}
