//! Users, virtual hosts, limits and definitions of the real binary, with RabbitMQ's own Python
//! client (pika).

mod support;

use std::path::PathBuf;
use std::process::Command;

use support::{Server, python, root};

/// What a client that logs in sees, a line for each action.
fn as_user(server: &Server, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(python())
        .arg(root().join("tests/python/as_user.py"))
        .args(arguments)
        .env("AMQP_PORT", server.address().port().to_string())
        .output()
        .expect("the interpreter was just made");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().map(str::to_owned).collect()
}

fn start(options: &[&str]) -> Server {
    Server::start(&[&["amqp", "--listen", "127.0.0.1:0"], options].concat(), 1)
}

/// A file that is there while the test runs.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("ropewalk-users-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a temporary path")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const REFUSED: &str = "ConnectionClosedByBroker: (403) 'ACCESS_REFUSED - Login was refused using \
                       authentication mechanism PLAIN. For details see the broker logfile.'";

#[test]
fn users_come_from_the_command_line_and_from_a_file_and_then_guest_is_none_of_them() {
    let file = Scratch::new("file", "# who may log in\n\nfiled:with:colons\n");
    let server = start(&["--user", "ann:secret", "--vhost", "own", "--user-file", file.path()]);
    for (user, password) in [("ann", "secret"), ("filed", "with:colons")] {
        for vhost in ["/", "own"] {
            let said = as_user(&server, &[user, password, vhost, "declare", "q"]);
            assert_eq!(said, [format!("open {vhost} 131072"), "ok".to_owned()], "{user}");
        }
    }
    assert_eq!(as_user(&server, &["ann", "wrong", "/"]), [REFUSED]);
    assert_eq!(as_user(&server, &["guest", "guest", "/"]), [REFUSED]);
    assert_eq!(
        as_user(&server, &["ann", "secret", "nope"]),
        ["ConnectionClosedByBroker: (530) 'NOT_ALLOWED - vhost nope not found'"]
    );
}

#[test]
fn the_definitions_of_a_rabbitmq_bring_its_users_and_queues_along() {
    let path = root().join("protocols/amqp/tests/data/rabbitmq-3.10-definitions.json");
    let server = start(&["--definitions", path.to_str().expect("UTF-8")]);
    let said = as_user(
        &server,
        &["guest", "guest", "/", "publish", "orders", "order.new", "get", "orders.new"],
    );
    assert_eq!(said, ["open / 131072", "ok", "hello"]);
    let said = as_user(&server, &["half", "h", "/", "declare", "nope", "get", "xq"]);
    assert_eq!(
        said,
        [
            "open / 131072",
            "channel 403 ACCESS_REFUSED - access to queue 'nope' in vhost '/' refused for user 'half'",
            "channel 403 ACCESS_REFUSED - access to queue 'xq' in vhost '/' refused for user 'half'",
        ]
    );
    assert_eq!(
        as_user(&server, &["quiet", "q", "/"]),
        ["ConnectionClosedByBroker: (530) \"NOT_ALLOWED - access to vhost '/' refused for user \
          'quiet'\""]
    );
    let said = as_user(&server, &["half", "h", "full", "declare", "q3"]);
    let limit = "channel 406 PRECONDITION_FAILED - cannot declare queue 'q3': queue limit in vhost \
                 'full' (2) is reached";
    assert_eq!(said, ["open full 131072", limit]);
    let warned = server.said();
    for warning in ["policies: left out", "bindings[0]: left out, there is no queue 'mine'"] {
        assert!(warned.contains(warning), "{warned}");
    }
}

#[test]
fn a_mistake_in_the_definitions_is_one_line_with_its_place_and_nothing_starts() {
    for (json, place) in [
        ("{\"queues\": [\n{]}", "not JSON: key must be a string at line 2 column 2"),
        (
            r#"{"vhosts":[{"name":"v"}],"queues":[{"vhost":"w","name":"q","durable":true}]}"#,
            "queues[0]: there is no virtual host 'w'",
        ),
        (r#"{"users":[{"name":"a","tags":1}]}"#, "users[0].tags: expected a list of strings"),
    ] {
        let file = Scratch::new("bad", json);
        let output = Command::new(env!("CARGO_BIN_EXE_ropewalk"))
            .args(["amqp", "--memory", "--listen", "127.0.0.1:0", "--definitions", file.path()])
            .output()
            .expect("the binary was built for this test");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(file.path()) && said.contains(place), "{said}");
    }
}

#[test]
fn limits_are_the_same_on_the_command_line_and_in_the_file() {
    let options = "max-connections = 1\nmax-channels = 2\nmax-queues = 1\nframe-max = 8192\n\
                   max-message-size = 4\nheartbeat = 5\nconsumer-timeout = 1\nvhost = ['v']\nuser = ['ann:secret']\n";
    let text = format!("[[service]]\nkind = 'amqp'\nlisten = ['127.0.0.1:0']\n{options}");
    let file = Scratch::new("limits.toml", &text);
    let mut words = Vec::new();
    for line in options.lines() {
        let (name, value) = line.split_once(" = ").expect("an assignment");
        words.push(format!("--{name}"));
        words.push(value.trim_matches(['[', ']', '\'']).to_owned());
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for server in [start(&words), Server::start(&["serve", "--config", file.path()], 1)] {
        let said = as_user(&server, &["ann", "secret", "v", "declare", "a", "declare", "b"]);
        let limit = "channel 406 PRECONDITION_FAILED - cannot declare queue 'b': queue limit in \
                     vhost 'v' (1) is reached";
        assert_eq!(said, ["open v 8192", "ok", limit]);
        let said = as_user(&server, &["ann", "secret", "v", "publish", "", "a"]);
        let limit = "channel 406 PRECONDITION_FAILED - message size 5 is larger than configured \
                     max size 4";
        assert_eq!(said, ["open v 8192", limit]);
        let said = as_user(&server, &["ann", "secret", "v", "channel", "channel", "channel"]);
        assert_eq!(said[1..3], ["ok", "ok"]);
        assert!(!said[3].starts_with("ok"), "{said:?}"); // pika keeps to what was agreed
    }
    let server = start(&["--max-connections", "0"]);
    assert_eq!(
        as_user(&server, &["guest", "guest", "/"]),
        ["ConnectionClosedByBroker: (530) 'NOT_ALLOWED - connection refused: node connection \
          limit (0) is reached'"]
    );
}

#[test]
fn a_consumer_that_never_acknowledges_loses_its_channel() {
    let server = start(&["--consumer-timeout", "1"]);
    let words = ["declare", "q", "publish", "", "q", "hold", "q", "get", "q"];
    let said = as_user(&server, &[&["guest", "guest", "/"], &words[..]].concat());
    let closed = "channel 406 PRECONDITION_FAILED - delivery acknowledgement on channel 3 timed \
                  out. Timeout value used: 1000 ms. This timeout value can be configured, see \
                  consumers doc guide to learn more";
    assert_eq!(said[1..], ["ok", "ok", closed, "hello"]);
}

#[test]
fn passwords_never_show_in_the_log() {
    let server = start(&["--user", "ann:tellnobody"]);
    as_user(&server, &["ann", "tellnobody", "/"]);
    as_user(&server, &["ann", "tellnobody2", "/"]);
    let said = server.said();
    assert!(said.contains("login refused") && !said.contains("tellnobody"), "{said}");
    assert!(said.contains("--user-file"), "{said}");
}
