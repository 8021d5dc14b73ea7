//! RabbitMQ's definition files: read, imported, written and read again.

use proptest::prelude::*;
use ropewalk_amqp::definitions::{Reading, read, write};
use ropewalk_broker::{
    BindingDefinition, Broker, Config, Definitions, ExchangeDefinition, NoHeaders, PasswordHash,
    PermissionDefinition, QueueDefinition, Table, TopicPermissionDefinition, UserDefinition,
    UserLimits, Value, VhostDefinition, VhostLimits,
};

/// What RabbitMQ 3.10 exported of a broker with a bit of everything.
const EXPORTED: &str = include_str!("data/rabbitmq-3.10-definitions.json");

fn entropy() -> impl FnMut(&mut [u8]) {
    |octets: &mut [u8]| octets.fill(7)
}

fn reading(json: &str) -> Reading {
    read(json.as_bytes(), &mut entropy()).expect(json)
}

fn broker() -> Broker {
    Broker::new(Config::default(), entropy(), NoHeaders)
}

#[test]
fn what_rabbitmq_exported_is_imported() {
    let Reading { definitions, warnings } = reading(EXPORTED);
    assert_eq!(warnings, ["policies: left out, this broker has no policies: ttl"]);
    let mut broker = broker();
    let left_out = broker.import_definitions(&definitions).expect("RabbitMQ made it");
    // RabbitMQ leaves out exclusive queues and internal exchanges, but not their bindings.
    let told = [
        "bindings[0]: left out, there is no queue 'mine' in vhost '/'",
        "bindings[5]: left out, there is no exchange 'unrouted' in vhost '/'",
    ];
    assert_eq!(left_out, told);
    for (user, password) in
        [("guest", "guest"), ("shopper", "ein Geheimnis"), ("quiet", "q"), ("half", "h")]
    {
        assert!(broker.verify_password(user.as_bytes(), password.as_bytes()), "{user}");
        assert!(!broker.verify_password(user.as_bytes(), b"wrong"), "{user}");
    }
    let shopper = broker.user(b"shopper").expect("imported");
    assert_eq!(shopper.tags, ["monitoring", "management"]);
    assert_eq!(shopper.limits.max_channels, Some(1));
    let totals = broker.totals();
    assert_eq!((totals.queues, totals.bindings), (9, 5));
    let full = definitions.vhosts.iter().find(|vhost| vhost.name == "full").expect("there");
    assert_eq!(full.limits, VhostLimits { max_connections: Some(1), max_queues: Some(2) });
    let shop = definitions.vhosts.iter().find(|vhost| vhost.name == "shop").expect("there");
    assert_eq!((&*shop.description, &*shop.tags), ("the shop", &["a".into(), "b".into()][..]));
}

#[test]
fn what_a_broker_exports_is_the_same_after_the_way_through_a_file() {
    let mut first = broker();
    first.import_definitions(&reading(EXPORTED).definitions).expect("RabbitMQ made it");
    let (exported, left_out) = first.export_definitions();
    assert_eq!(left_out, [""; 0]);
    let Reading { definitions, warnings } = reading(&write(&exported));
    assert_eq!(warnings, [""; 0]);
    assert_eq!(definitions, exported);
    let mut second = broker();
    assert_eq!(second.import_definitions(&definitions), Ok(vec![]));
    assert_eq!(second.export_definitions().0, exported);
}

#[test]
fn a_mistake_is_told_with_its_place() {
    let user = |fields: &str| format!(r#"{{"users":[{{"name":"a"}},{{"name":"b",{fields}}}]}}"#);
    let queue = |fields: &str| {
        format!(r#"{{"queues":[{{"vhost":"/","name":"q","durable":true,{fields}}}]}}"#)
    };
    let cases = [
        (
            "{\"users\": [\n{\"name\": }]}".to_owned(),
            "not JSON: expected value at line 2 column 10",
        ),
        ("[]".to_owned(), "not definitions: they are a JSON object"),
        (r#"{"users":{}}"#.to_owned(), "users: expected a list, found an object"),
        (r#"{"users":[1]}"#.to_owned(), "users[0]: expected an object, found a number"),
        (r#"{"users":[{}]}"#.to_owned(), "users[0]: `name` is missing"),
        (user(r#""tags":5"#), "users[1].tags: expected a list of strings, found a number"),
        (user(r#""tags":["x",5]"#), "users[1].tags[1]: expected a string, found a number"),
        (
            user(r#""password_hash":"AAAA""#),
            "users[1].password_hash: not a salted SHA-256 hash: 36 bytes in base64",
        ),
        (
            user(r#""password_hash":"!","hashing_algorithm":"rabbit_password_hashing_sha512""#),
            "users[1].password_hash: not a salted SHA-512 hash: 68 bytes in base64",
        ),
        (
            user(r#""password_hash":"AAAA","hashing_algorithm":"rabbit_password_hashing_md5""#),
            "users[1].hashing_algorithm: 'rabbit_password_hashing_md5' is not served: give this \
             user a new password (SHA-256 and SHA-512 are)",
        ),
        (
            user(r#""limits":{"max-channels":"many"}"#),
            "users[1].limits.max-channels: expected a whole number, found a string",
        ),
        (r#"{"queues":[{"name":"q","durable":true}]}"#.to_owned(), "queues[0]: `vhost` is missing"),
        (
            queue(r#""auto_delete":"no""#),
            "queues[0].auto_delete: expected true or false, found a string",
        ),
        (queue(r#""arguments":[1]"#), "queues[0].arguments: expected an object, found a list"),
        (
            r#"{"bindings":[{"destination_type":"topic"}]}"#.to_owned(),
            "bindings[0].destination_type: 'topic' is neither queue nor exchange",
        ),
        (
            r#"{"parameters":[{"component":"vhost-limits","vhost":"v","name":"limits"}]}"#
                .to_owned(),
            "parameters[0].vhost: there is no virtual host 'v' in this file",
        ),
    ];
    for (json, expected) in cases {
        let told = read(json.as_bytes(), &mut entropy()).expect_err(&json);
        assert_eq!(told.to_string(), expected, "{json}");
    }
    // As deep as it likes: refused, not a stack that overflows.
    let deep = format!("{{\"queues\":{}", "[".repeat(100_000));
    assert!(read(deep.as_bytes(), &mut entropy()).is_err());
}

#[test]
fn what_cannot_be_kept_is_told_and_keys_that_are_not_known_once() {
    let json = r#"{
        "rabbit_version": "4.1.0", "new_section": [],
        "vhosts": [{"name": "/", "default_queue_type": "quorum", "mirror": 1}],
        "users": [{"name": "a", "shoe": 1}, {"name": "b", "shoe": 2, "limits": []}],
        "parameters": [{"component": "shovel", "vhost": "/", "name": "s", "value": {}}],
        "global_parameters": [{"name": "cluster_name", "value": "c"}],
        "policies": [{"name": "p"}, {"name": "q"}],
        "queues": [{"vhost": "/", "name": "q", "durable": true, "type": "quorum", "arguments": []}]
    }"#;
    let Reading { definitions, warnings } = reading(json);
    let expected = [
        "vhosts[0].default_queue_type: left out, queues without a type are classic here, not quorum",
        "parameters[0]: the shovel 's' is left out, this broker has none",
        "policies: left out, this broker has no policies: p, q",
        "global_parameters: left out, this broker has no use for them: cluster_name",
        "keys that nothing is known of: new_section, users[].shoe, vhosts[].mirror",
    ];
    assert_eq!(warnings, expected);
    let quorum = Table::from([("x-queue-type", Value::text("quorum"))]);
    assert_eq!(definitions.queues[0].arguments, quorum);
}

#[test]
fn older_spellings_are_read() {
    let json = r#"{
        "vhosts": [{"name": "/", "limits": [["max-queues", 3], ["max-connections", -1]]}],
        "users": [
            {"name": "a", "password": "plain", "tags": "administrator, monitoring"},
            {"name": "b", "password_hash": "", "tags": ""}
        ]
    }"#;
    let Definitions { users, vhosts, .. } = reading(json).definitions;
    assert_eq!(users[0].tags, ["administrator", "monitoring"]);
    assert_eq!(users[0].password, Some(PasswordHash::new(b"plain", [7; 4])));
    assert_eq!((&users[1].password, users[1].tags.len()), (&None, 0));
    assert_eq!(vhosts[0].limits, VhostLimits { max_queues: Some(3), max_connections: None });
}

fn argument() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Void),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        (-1e6..1e6_f64).prop_map(|value| Value::F64(value.floor() + 0.5)),
        ".{0,5}".prop_map(Value::text),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let named = ("[a-c]{1,2}", inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::Array),
            prop::collection::btree_map(named.0, named.1, 0..3)
                .prop_map(|fields| Value::Table(fields.into_iter().collect())),
        ]
    })
}

fn arguments() -> impl Strategy<Value = Table> {
    let fields = prop::collection::btree_map(".{0,5}", argument(), 0..4);
    fields.prop_map(|fields| fields.into_iter().collect())
}

prop_compose! {
    fn definitions()(
        names in prop::collection::vec(".{0,6}", 4),
        flags in any::<[bool; 4]>(),
        limit in prop::option::of(any::<u32>().prop_map(|limit| limit as usize)),
        tags in prop::collection::vec("[a-z ]{0,3}[a-z]", 0..3),
        arguments in prop::collection::vec(arguments(), 3),
        salt in any::<[u8; 4]>(),
    ) -> Definitions {
        let [a, b, c, d] = [0, 1, 2, 3].map(|index: usize| names[index].clone());
        let [first, second, third] = [0, 1, 2].map(|index: usize| arguments[index].clone());
        Definitions {
            vhosts: vec![VhostDefinition {
                name: a.clone(),
                description: b.clone(),
                tags: tags.clone(),
                limits: VhostLimits { max_connections: limit, max_queues: None },
            }],
            users: vec![UserDefinition {
                name: b.clone(),
                password: flags[0].then(|| PasswordHash::new(c.as_bytes(), salt)),
                tags,
                limits: UserLimits { max_connections: None, max_channels: limit },
            }],
            permissions: vec![PermissionDefinition {
                user: a.clone(), vhost: b.clone(), configure: c.clone(), write: d.clone(), read: a.clone(),
            }],
            topic_permissions: vec![TopicPermissionDefinition {
                user: a.clone(), vhost: b.clone(), exchange: c.clone(), write: d.clone(), read: a.clone(),
            }],
            exchanges: vec![ExchangeDefinition {
                vhost: a.clone(), name: b.clone(), kind: c.clone(), durable: flags[0],
                auto_delete: flags[1], internal: flags[2], arguments: first,
            }],
            queues: vec![QueueDefinition {
                vhost: a.clone(), name: b.clone(), durable: flags[1], auto_delete: flags[2], arguments: second,
            }],
            bindings: vec![BindingDefinition {
                vhost: a, source: b, destination: c, to_queue: flags[3], routing_key: d, arguments: third,
            }],
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_reads_as_the_same(definitions in definitions()) {
        let Reading { definitions: again, warnings } = reading(&write(&definitions));
        prop_assert!(warnings.is_empty());
        prop_assert_eq!(again, definitions);
    }

    #[test]
    fn no_file_makes_it_panic(json in "[\\[\\]{}\",:a-z0-9]{0,60}") {
        let _ = read(json.as_bytes(), &mut entropy());
    }

    #[test]
    fn a_good_file_with_a_hole_in_it_is_refused_or_read(at in 0..EXPORTED.len(), length in 1..40_usize) {
        let end = (at + length).min(EXPORTED.len());
        let holed = [&EXPORTED.as_bytes()[..at], &EXPORTED.as_bytes()[end..]].concat();
        if let Ok(reading) = read(&holed, &mut entropy()) {
            let _ = broker().import_definitions(&reading.definitions);
        }
    }
}
