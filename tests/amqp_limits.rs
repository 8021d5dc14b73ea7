//! What is refused where a limit is reached: the same here and, in the same words, at RabbitMQ.
//!
//! The half that needs a RabbitMQ is run by `tests/debian/definitions`. Limits of connections on the
//! whole broker are left out: RabbitMQ 3.10 has none (later ones say what we say), and so are those
//! of channels on one connection, which our client keeps to by itself.

#[path = "support/rabbit.rs"]
mod rabbit;
mod support;

use std::fs;

use ropewalk::amqp::client::{
    Channel, Client, Connection, Error, Options, Properties, QueueDeclare, Result,
};
use serde_json::json;

use rabbit::Rabbit;
use support::Server;

/// In bytes, of a message.
const MAX_MESSAGE_SIZE: &str = "1000";

const REFUSALS: [&str; 18] = [
    // Connections to a virtual host.
    "530 NOT_ALLOWED - vhost missing not found (10/40)",
    "530 NOT_ALLOWED - access to vhost 'closed' refused for user 'guest': connection limit (0) is \
     reached (10/40)",
    "530 NOT_ALLOWED - access to vhost 'closed' refused for user 'stranger': connection limit (0) \
     is reached (10/40)",
    "530 NOT_ALLOWED - access to vhost 'closed' refused for user 'nowhere': connection limit (0) \
     is reached (10/40)",
    "530 NOT_ALLOWED - access to vhost 'for one' refused for user 'guest': connection limit (1) is \
     reached (10/40)",
    // Of a user.
    "530 NOT_ALLOWED - connection refused for user 'nowhere': user connection limit (0) is reached \
     (10/40)",
    "530 NOT_ALLOWED - connection refused for user 'once': user connection limit (1) is reached \
     (10/40)",
    "530 NOT_ALLOWED - access to vhost '/' refused for user 'stranger' (10/40)",
    "530 NOT_ALLOWED - number of channels opened for user 'narrow' has reached the maximum allowed \
     user limit of (1)",
    // Queues.
    "404 NOT_FOUND - no queue 'third' in vhost 'for two' (50/10)",
    "406 PRECONDITION_FAILED - cannot declare queue 'third': queue limit in vhost 'for two' (2) is \
     reached (50/10)",
    "406 PRECONDITION_FAILED - cannot declare queue 'amq.gen-': queue limit in vhost 'for two' (2) \
     is reached (50/10)",
    "406 PRECONDITION_FAILED - cannot declare queue 'wrong': queue limit in vhost 'for two' (2) is \
     reached (50/10)",
    "403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*' (50/10)",
    "406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'first' in vhost 'for two': \
     received 'true' but current is 'false' (50/10)",
    "403 ACCESS_REFUSED - access to queue 'third' in vhost 'for two' refused for user 'powerless' \
     (50/10)",
    // The size of a message.
    "406 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000 (60/40)",
    "406 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000 (60/40)",
];

/// Definitions with limits. Negative ones are none.
fn definitions() -> serde_json::Value {
    let user = |name: &str, limits| json!({ "name": name, "password": name, "tags": "", "limits": limits });
    let may = |user: &str, vhost: &str, what: &str| json!({ "user": user, "vhost": vhost, "configure": what, "write": what, "read": what });
    let limited = |vhost: &str, limits| json!({ "component": "vhost-limits", "name": "limits", "vhost": vhost, "value": limits });
    let vhosts = ["/", "closed", "for one", "for two", "open"];
    let mut permissions: Vec<_> = vhosts.iter().map(|vhost| may("guest", vhost, ".*")).collect();
    permissions.extend(["once", "narrow"].map(|user| may(user, "/", ".*")));
    permissions.push(may("powerless", "for two", "^$"));
    json!({
        "vhosts": vhosts.map(|name| json!({ "name": name })),
        "users": [
            { "name": "guest", "password": "guest", "tags": "administrator" },
            user("stranger", json!({})),
            user("powerless", json!({ "max-connections": -1, "max-channels": -1 })),
            user("nowhere", json!({ "max-connections": 0 })),
            user("once", json!({ "max-connections": 1 })),
            user("narrow", json!({ "max-channels": 1 })),
        ],
        "permissions": permissions,
        "parameters": [
            limited("closed", json!({ "max-connections": 0 })),
            limited("for one", json!({ "max-connections": 1 })),
            limited("for two", json!({ "max-queues": 2 })),
            limited("open", json!({ "max-connections": -1, "max-queues": -1 })),
        ],
    })
}

/// Reaches all of the limits.
fn refusals(options: &Options) -> Vec<String> {
    let login = |user: &str, vhost: &str| {
        options.clone().reconnect(None).credentials(user, user).vhost(vhost)
    };
    let open = |user, vhost| refusal(Client::run(login(user, vhost), async |_| Ok(())));
    // While there is one connection already.
    let open_second = |user, vhost| {
        let second = login(user, vhost);
        let first = Client::run(login(user, vhost), async move |_| {
            Ok(refusal(Client::run(second, async |_| Ok(()))))
        });
        first.expect("the first one is let in")
    };
    let mut said = vec![open("guest", "missing")];
    said.extend(["guest", "stranger", "nowhere"].map(|user| open(user, "closed")));
    said.push(open_second("guest", "for one"));
    said.push(open("nowhere", "/"));
    said.push(open_second("once", "/"));
    said.push(open("stranger", "/"));
    said.push(refusal(Client::run(login("narrow", "/"), async |connection| {
        let _first = connection.open_channel().await?;
        connection.open_channel().await.map(drop).map_err(Error::from)
    })));
    let queues = Client::run(login("guest", "for two"), declare_too_many);
    said.extend(queues.expect("it is let in"));
    said.push(refusal(Client::run(login("powerless", "for two"), async |connection| {
        declare(&connection, QueueDeclare::named("third")).await
    })));
    let sizes = Client::run(login("guest", "open"), publish_too_much);
    said.extend(sizes.expect("it is let in"));
    said
}

/// On a channel of its own, which may not outlive it.
async fn declare(connection: &Connection, queue: QueueDeclare) -> Result {
    connection.open_channel().await?.queue_declare(queue).await?;
    Ok(())
}

async fn declare_too_many(connection: Connection) -> Result<Vec<String>> {
    let mut said = Vec::new();
    declare(&connection, QueueDeclare::named("first")).await?;
    declare(&connection, QueueDeclare::named("second").exclusive()).await?;
    declare(&connection, QueueDeclare::named("first")).await?; // it is there
    for queue in [
        QueueDeclare::named("third").passive(),
        QueueDeclare::named("third"),
        QueueDeclare::server_named(),
        QueueDeclare::named("wrong").argument("x-max-length", -1_i32),
        QueueDeclare::named("amq.mine"),
        QueueDeclare::named("first").durable(),
    ] {
        said.push(without_chance(&refusal(declare(&connection, queue).await)));
    }
    // What goes makes room.
    let channel = connection.open_channel().await?;
    channel.queue_delete("first").await?;
    declare(&connection, QueueDeclare::named("third")).await?;
    channel.queue_delete("third").await?;
    Ok(said)
}

async fn publish_too_much(connection: Connection) -> Result<Vec<String>> {
    let channel = connection.open_channel().await?;
    channel.queue_declare(QueueDeclare::named("q").exclusive()).await?;
    publish(&channel, "", 1000).await?;
    assert!(channel.get("q", true).await?.is_some());
    let mut said = Vec::new();
    for exchange in ["", "missing"] {
        let channel = connection.open_channel().await?;
        said.push(refusal(publish(&channel, exchange, 1001).await));
    }
    Ok(said)
}

async fn publish(channel: &Channel, exchange: &str, size: usize) -> Result {
    let body = vec![b'x'; size];
    channel.publish_confirmed(exchange, "q", Properties::new(), body).await?;
    Ok(())
}

/// What the server said.
fn refusal(result: Result) -> String {
    match result {
        Ok(()) => "not refused".to_owned(),
        Err(error) => error.close().map_or_else(|| error.to_string(), ToString::to_string),
    }
}

/// A name that the server has made up, without what is random in it.
fn without_chance(said: &str) -> String {
    match said.split_once("amq.gen-") {
        Some((before, after)) => {
            let (_, after) = after.split_once('\'').unwrap_or_default();
            format!("{before}amq.gen-'{after}")
        }
        None => said.to_owned(),
    }
}

#[test]
fn each_limit_has_its_own_text() {
    let home = support::scratch("limits");
    let file = home.join("definitions.json");
    fs::write(&file, definitions().to_string()).expect("target/ is writable");
    let file = file.to_str().expect("UTF-8");
    let options = ["--listen", "127.0.0.1:0", "--memory", "--definitions", file];
    let limit = ["--max-message-size", MAX_MESSAGE_SIZE];
    let server = Server::start(&[&["amqp"], &options[..], &limit].concat(), 1);
    let url = format!("amqp://{}/%2f", server.address());
    assert_eq!(refusals(&Options::from_uri(&url).expect("a URL")), REFUSALS);
    fs::remove_dir_all(home).expect("it is ours");
}

#[test]
#[ignore = "needs a RabbitMQ: tests/debian/definitions"]
fn rabbitmq_says_the_same() {
    let (rabbit, home) = (Rabbit::of_the_environment(), support::scratch("limits"));
    rabbit.reset();
    let file = home.join("definitions.json");
    fs::write(&file, definitions().to_string()).expect("target/ is writable");
    rabbit.ctl(&["import_definitions", file.to_str().expect("UTF-8")]);
    let set = |size: &str| {
        rabbit.ctl(&["eval", &format!("application:set_env(rabbit, max_message_size, {size}).")]);
    };
    set(MAX_MESSAGE_SIZE);
    let said = refusals(&rabbit.options());
    set("134217728");
    assert_eq!(said, REFUSALS);
    fs::remove_dir_all(home).expect("it is ours");
}
