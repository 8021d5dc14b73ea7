//! Definitions between RabbitMQ and the real binary, there and back: what one exported the other
//! imports, what clients see is the same there, and what comes back is what had gone.
//!
//! Most of it needs a RabbitMQ, and `tests/debian/definitions` runs it: a node of its own in
//! `AMQP_URL`, and in `RABBITMQCTL` the command that governs it. What RabbitMQ 3.10.8 exported
//! then is kept in `tests/data`, so that one half of the way is tested everywhere.

#[path = "support/rabbit.rs"]
mod rabbit;
#[path = "support/shop.rs"]
mod shop;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use rabbit::Rabbit;
use ropewalk::amqp::client::{Client, Options};
use serde_json::{Value, json};
use shop::{FULL, GUEST, HALF, NARROW, NOBODY, SHOP, SHOPPER, furnish, prove};
use support::{Server, root};

/// What RabbitMQ 3.10.8 exports of the shop. `KEEP=yes tests/debian/definitions` writes it again.
const KEPT: &str = "tests/data/rabbitmq-3.10.8-shop.json";

/// What is told of that file at each import, in this order: what we have no place for, and the
/// binding of an internal exchange, which RabbitMQ exports without its exchange.
const TOLD: [&str; 4] = [
    "the operator_policy 'no more than' is left out, this broker has none",
    "policies: left out, this broker has no policies: short-lived",
    "global_parameters: left out, this broker has no use for them: motto",
    "left out, there is no exchange 'unrouted' in vhost 'Läden & mehr'",
];

/// The shop, its users, and what we have no place for.
fn open_the_shop(rabbit: &Rabbit) {
    rabbit.ctl(&["add_vhost", SHOP, "--description", "what is sold", "--tags", "a,b"]);
    rabbit.ctl(&["add_vhost", FULL]);
    rabbit.ctl(&["set_vhost_limits", "-p", FULL, r#"{"max-queues": 0, "max-connections": 9}"#]);
    for (name, password) in [SHOPPER, HALF, NARROW, (NOBODY, "for now")] {
        rabbit.ctl(&["add_user", name, password]);
        rabbit.ctl(&["set_permissions", "-p", "/", name, "", "", ""]);
    }
    rabbit.ctl(&["clear_password", NOBODY]);
    rabbit.ctl(&["set_user_tags", SHOPPER.0, "monitoring", "own"]);
    rabbit.ctl(&["set_user_limits", NARROW.0, r#"{"max-channels": 1}"#]);
    for vhost in [SHOP, FULL] {
        rabbit.ctl(&["set_permissions", "-p", vhost, SHOPPER.0, ".*", ".*", ".*"]);
    }
    rabbit.ctl(&["set_permissions", "-p", SHOP, HALF.0, "^half-.*", ".*", "^(größe.*|half-.*)$"]);
    rabbit.ctl(&["set_topic_permissions", "-p", SHOP, HALF.0, "orders", r"^order\.", ".*"]);
    rabbit.ctl(&["set_policy", "-p", SHOP, "short-lived", "^short", r#"{"message-ttl": 9}"#]);
    let more = r#"{"max-length": 9}"#;
    rabbit.ctl(&["set_operator_policy", "-p", SHOP, "no more than", "^short", more]);
    rabbit.ctl(&["set_global_parameter", "motto", r#""more""#]);
    let options = rabbit.options().credentials(SHOPPER.0, SHOPPER.1).vhost(SHOP);
    Client::run(options, async |connection| furnish(&connection).await).expect("all is new");
}

fn export(rabbit: &Rabbit, path: &Path) -> Value {
    rabbit.ctl(&["export_definitions", text(path)]);
    parsed(path)
}

/// Ours, with its data in a directory.
struct Ours {
    server: Server,
}

impl Ours {
    fn start(data: &Path, definitions: &Path) -> Self {
        let (data, definitions) = (text(data), text(definitions));
        let options = ["--listen", "127.0.0.1:0", "--data", data, "--definitions", definitions];
        Self { server: Server::start(&[&["amqp"], &options[..]].concat(), 1) }
    }

    fn options(&self) -> Options {
        let url = format!("amqp://{}/%2f", self.server.address());
        Options::from_uri(&url).expect("a URL")
    }

    /// Ends it, and holds what it warned of at its start against what it has to.
    fn stop(mut self, told: &[&str]) {
        self.server.signal("TERM");
        assert_eq!(self.server.wait().code(), Some(0));
        let said = self.server.said();
        let of_the_start = |line: &&str| line.contains(" WARN  ropewalk::");
        let warnings: Vec<_> = said.lines().filter(of_the_start).collect();
        assert_eq!(warnings.len(), told.len(), "{said}");
        for (warning, told) in warnings.iter().zip(told) {
            assert!(warning.ends_with(*told), "{warning}, not {told}");
        }
    }
}

/// What `ropewalk amqp definitions` prints of a directory.
fn ours_exported(data: &Path, path: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    let output = command.args(["amqp", "definitions", text(data)]).output().expect("it was built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(path, output.stdout).expect("target/ is writable");
    parsed(path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' directory is UTF-8")
}

fn parsed(path: &Path) -> Value {
    let json = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&json).expect("JSON")
}

/// What two exports have to agree in, in an order of its own: neither of them has any. Left out is
/// what only one of the two knows: what RabbitMQ cannot say of exchanges, with the bindings of
/// those that it does not tell, and parameters that we have no use for.
fn comparable(exported: &Value) -> Vec<Value> {
    let items = |section: &str| exported[section].as_array().expect("a list").clone();
    let mut all = Vec::new();
    for mut vhost in items("vhosts") {
        let fields = vhost.as_object_mut().expect("an object");
        fields.remove("limits"); // the same as among the parameters
        let tags = &mut fields["metadata"]["tags"];
        if let Some(words) = tags.as_str() {
            // As `rabbitmqctl add_vhost` took them; imported ones are a list.
            *tags = words.split(',').filter(|word| !word.is_empty()).collect();
        }
        all.push(json!({ "vhost": vhost }));
    }
    let mut told = BTreeSet::new();
    for mut exchange in items("exchanges") {
        let fields = exchange.as_object_mut().expect("an object");
        if fields.remove("internal") != Some(json!(true)) {
            told.insert(exchange["name"].to_string());
            all.push(json!({ "exchange": exchange }));
        }
    }
    for binding in items("bindings") {
        let source = binding["source"].to_string();
        if told.contains(&source) || source.starts_with("\"amq.") {
            all.push(json!({ "binding": binding }));
        }
    }
    for parameter in items("parameters") {
        if parameter["component"] == "vhost-limits" {
            all.push(json!({ "parameter": parameter }));
        }
    }
    for section in ["users", "permissions", "topic_permissions", "queues"] {
        all.extend(items(section).into_iter().map(|item| json!({ section: item })));
    }
    all.sort_by_key(Value::to_string);
    all
}

/// The same without the hashes of passwords: each has a salt of its own.
fn comparable_but_for_salts(exported: &Value) -> Vec<Value> {
    let mut exported = exported.clone();
    for user in exported["users"].as_array_mut().expect("a list") {
        user["password_hash"] = json!(user["password_hash"] != "");
    }
    comparable(&exported)
}

fn assert_same(left: &[Value], right: &[Value]) {
    let only = |of: &[Value], and: &[Value]| -> Vec<String> {
        of.iter().filter(|item| !and.contains(item)).map(Value::to_string).collect()
    };
    let (left, right) = (only(left, right), only(right, left));
    assert!(left.is_empty() && right.is_empty(), "only here: {left:#?}\nonly there: {right:#?}");
}

#[test]
fn what_rabbitmq_exported_once_is_the_same_here_and_after_a_restart() {
    let (kept, home) = (root().join(KEPT), support::scratch("definitions"));
    let (data, path) = (home.join("data"), home.join("ours.json"));
    for _ in 0..2 {
        let server = Ours::start(&data, &kept);
        prove(&server.options(), false);
        server.stop(&TOLD);
        assert_same(&comparable(&ours_exported(&data, &path)), &comparable(&parsed(&kept)));
    }
    // And what we export of it, we import, with nothing to complain of.
    let again = home.join("again");
    let server = Ours::start(&again, &path);
    prove(&server.options(), false);
    server.stop(&[]);
    let there = ours_exported(&again, &home.join("again.json"));
    assert_eq!(there, parsed(&path));
    fs::remove_dir_all(home).expect("it is ours");
}

#[test]
#[ignore = "needs a RabbitMQ: tests/debian/definitions"]
fn what_rabbitmq_exports_is_the_same_here_and_back_there() {
    let (rabbit, home) = (Rabbit::of_the_environment(), support::scratch("definitions"));
    let [exported, ours, again] =
        ["rabbitmq.json", "ours.json", "again.json"].map(|it| home.join(it));
    rabbit.reset();
    open_the_shop(&rabbit);
    let exported_json = export(&rabbit, &exported);
    if std::env::var_os("KEEP").is_some() {
        fs::write(root().join(KEPT), format!("{exported_json:#}\n")).expect("a file of this test");
    }
    // The file that is kept is what it says.
    let kept = parsed(&root().join(KEPT));
    assert_same(&comparable_but_for_salts(&kept), &comparable_but_for_salts(&exported_json));

    let server = Ours::start(&home.join("data"), &exported);
    prove(&server.options(), false);
    server.stop(&TOLD);
    let ours_json = ours_exported(&home.join("data"), &ours);
    assert_same(&comparable(&ours_json), &comparable(&exported_json));

    rabbit.reset();
    rabbit.ctl(&["import_definitions", text(&ours)]);
    prove(&rabbit.options(), false);
    assert_same(&comparable(&export(&rabbit, &again)), &comparable(&exported_json));
    fs::remove_dir_all(home).expect("it is ours");
}

#[test]
#[ignore = "needs a RabbitMQ: tests/debian/definitions"]
fn what_is_exported_here_is_the_same_at_rabbitmq_and_back_here() {
    let (rabbit, home) = (Rabbit::of_the_environment(), support::scratch("definitions"));
    let [first, ours, there] = ["first.json", "ours.json", "rabbitmq.json"].map(|it| home.join(it));
    let may = |user: &str, vhost: &str, configure: &str, write: &str, read: &str| json!({ "user": user, "vhost": vhost, "configure": configure, "write": write, "read": read });
    let definitions = json!({
        "vhosts": [
            { "name": "/" },
            { "name": SHOP, "metadata": { "description": "what is sold", "tags": ["a", "b"] } },
            { "name": FULL, "limits": { "max-queues": 0 } },
        ],
        "users": [
            { "name": GUEST.0, "password": GUEST.1, "tags": ["administrator"] },
            { "name": SHOPPER.0, "password": SHOPPER.1, "tags": ["monitoring", "own"] },
            { "name": HALF.0, "password": HALF.1 },
            { "name": NARROW.0, "password": NARROW.1, "limits": { "max-channels": 1 } },
            { "name": NOBODY },
        ],
        "permissions": [
            may(GUEST.0, "/", ".*", ".*", ".*"),
            may(SHOPPER.0, "/", "", "", ""),
            may(HALF.0, "/", "", "", ""),
            may(NARROW.0, "/", "", "", ""),
            may(SHOPPER.0, SHOP, ".*", ".*", ".*"),
            may(SHOPPER.0, FULL, ".*", ".*", ".*"),
            may(HALF.0, SHOP, "^half-.*", ".*", "^(größe.*|half-.*)$"),
        ],
        "topic_permissions": [{
            "user": HALF.0, "vhost": SHOP, "exchange": "orders", "write": r"^order\.", "read": ".*"
        }],
    });
    fs::write(&first, definitions.to_string()).expect("target/ is writable");
    let server = Ours::start(&home.join("data"), &first);
    let shop = server.options().credentials(SHOPPER.0, SHOPPER.1).vhost(SHOP);
    Client::run(shop, async |connection| furnish(&connection).await).expect("all is new");
    server.stop(&[]);
    let ours_json = ours_exported(&home.join("data"), &ours);

    rabbit.reset();
    rabbit.ctl(&["import_definitions", text(&ours)]);
    prove(&rabbit.options(), true);
    export(&rabbit, &there);

    let server = Ours::start(&home.join("other"), &there);
    prove(&server.options(), false);
    server.stop(&TOLD[3..]);
    let back_json = ours_exported(&home.join("other"), &home.join("back.json"));
    assert_same(&comparable(&back_json), &comparable(&ours_json));
    fs::remove_dir_all(home).expect("it is ours");
}
