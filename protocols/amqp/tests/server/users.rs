//! Users of the broker, as their clients meet it: logins, permissions, limits.

use ropewalk_amqp::codec::method::{basic, channel, connection, exchange, queue};
use ropewalk_amqp::codec::{EncodeMethod, Secret, ShortStr};
use ropewalk_amqp::definitions;
use ropewalk_amqp::server::Config;
use ropewalk_reactor::Simulation;

use crate::wire::*;

const Q: ShortStr<'static> = ShortStr::literal("q");

/// A world with user `u` (password `secret`), who may do in `/` what the three patterns say, and
/// a virtual host `v` in which it may do nothing; in both stands what else the file says.
fn world(permission: [&str; 3], more: &str) -> World {
    world_with(Config::default(), permission, more)
}

fn world_with(config: Config, [configure, write, read]: [&str; 3], more: &str) -> World {
    let mut world = World::with(config);
    world.server.start(world.simulation.reactor()).expect("randomness");
    let json = format!(
        r#"{{"vhosts": [{{"name": "/"}}, {{"name": "v"}}],
            "users": [{{"name": "u", "password": "secret"}}],
            "permissions": [{{"user": "u", "vhost": "/",
                "configure": "{configure}", "write": "{write}", "read": "{read}"}}]{more}}}"#
    );
    let salt = &mut |octets: &mut [u8]| octets.fill(1);
    let read = definitions::read(json.as_bytes(), salt).expect("good JSON");
    let imported = world.server.with_broker(|broker| broker.import_definitions(&read.definitions));
    assert_eq!(imported, Some(Ok(vec![])));
    world
}

const U: Opening<'static> = Opening {
    capabilities: &["authentication_failure_close"],
    mechanism: "PLAIN",
    response: b"\0u\0secret",
    tune_ok: connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 },
    vhost: "/",
};

/// A client that has written its whole handshake and got the greeting and, if its login is good,
/// the tuning.
fn dial(world: &mut World, with: &Opening<'_>) -> Client {
    let mut client = world.dial();
    client.raw(world, &opening(with));
    client.next(world);
    client.next(world);
    client
}

fn connect(world: &mut World) -> Client {
    let mut client = dial(world, &U);
    client.expect(world, 0, connection::OpenOk::default());
    client.open_channel(world, 1);
    client
}

#[track_caller]
fn is_refused(world: &mut World, client: &mut Client, asked: &impl EncodeMethod, what: &str) {
    let text = format!("403 ACCESS_REFUSED - access to {what} in vhost '/' refused for user 'u'");
    client.send(world, 1, asked);
    client.expect_channel_close(world, 1, &text, (asked.id().class_id, asked.id().method_id));
    client.send(world, 1, &channel::CloseOk {});
    client.open_channel(world, 1);
}

#[test]
fn every_method_without_its_permission_is_403_with_its_own_ids() {
    let mut world = world(["^mine", "^mine", "^mine"], "");
    let mut client = connect(&mut world);
    let amq = ShortStr::literal("amq.direct");
    let mine = ShortStr::literal("mine");
    client.declare(&mut world, "mine");
    let mut refused = |asked: &dyn Fn(&mut World, &mut Client)| asked(&mut world, &mut client);
    let queue = "queue 'q'";
    let direct = "exchange 'amq.direct'";
    refused(&|w, c| {
        is_refused(w, c, &queue::Declare { queue: Q, ..Default::default() }, queue);
    });
    refused(&|w, c| is_refused(w, c, &queue::Delete { queue: Q, ..Default::default() }, queue));
    refused(&|w, c| is_refused(w, c, &queue::Purge { queue: Q, ..Default::default() }, queue));
    refused(&|w, c| {
        let bind = queue::Bind { queue: Q, exchange: amq, ..Default::default() };
        is_refused(w, c, &bind, queue);
    });
    refused(&|w, c| {
        let bind = queue::Bind { queue: mine, exchange: amq, ..Default::default() };
        is_refused(w, c, &bind, direct);
    });
    refused(&|w, c| {
        let unbind = queue::Unbind { queue: mine, exchange: amq, ..Default::default() };
        is_refused(w, c, &unbind, direct);
    });
    refused(&|w, c| {
        let declare = exchange::Declare { exchange: Q, ..Default::default() };
        is_refused(w, c, &declare, "exchange 'q'");
    });
    refused(&|w, c| {
        let delete = exchange::Delete { exchange: Q, ..Default::default() };
        is_refused(w, c, &delete, "exchange 'q'");
    });
    refused(&|w, c| {
        let bind = exchange::Bind { destination: amq, source: amq, ..Default::default() };
        is_refused(w, c, &bind, direct);
    });
    refused(&|w, c| is_refused(w, c, &basic::Consume { queue: Q, ..Default::default() }, queue));
    refused(&|w, c| is_refused(w, c, &basic::Get { queue: Q, ..Default::default() }, queue));
    let passive = queue::Declare { queue: mine, passive: true, ..Default::default() };
    let declared = queue::DeclareOk { queue: mine, ..Default::default() };
    client.call(&mut world, 1, &passive, declared);
    client.raw(&mut world, &publish(1, "mine", b"hello"));
    let text = "403 ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for \
                user 'u'";
    client.expect_channel_close(&mut world, 1, text, (60, 40));
}

#[test]
fn a_login_is_good_with_the_password_alone() {
    let text = "403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For \
                details see the broker logfile.";
    for response in [&b"\0u\0"[..], b"\0u\0Secret", b"\0nobody\0secret", b"\0\0"] {
        let mut world = world([".*", ".*", ".*"], "");
        let mut client = world.dial();
        client.raw(&mut world, &opening(&Opening { response, ..U }));
        client.next(&mut world);
        client.expect_close(&mut world, text, (0, 0));
    }
}

#[test]
fn guest_is_there_unless_it_is_told_otherwise() {
    let mut world = World::new();
    world.connect();
    let mut world = World::with(Config::default().without_default_user());
    let mut client = world.dial();
    client.raw(&mut world, &opening(&Opening::default()));
    client.next(&mut world);
    let text = "403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For \
                details see the broker logfile.";
    client.expect_close(&mut world, text, (0, 0));
    let mut world = World::with(Config::default().default_user("u", "secret").vhost("own"));
    let mut client = dial(&mut world, &Opening { vhost: "own", ..U });
    client.expect(&mut world, 0, connection::OpenOk::default());
}

#[test]
fn a_virtual_host_must_be_there_and_granted() {
    for (vhost, text) in [
        ("v", "530 NOT_ALLOWED - access to vhost 'v' refused for user 'u'"),
        ("nope", "530 NOT_ALLOWED - vhost nope not found"),
    ] {
        let mut world = world([".*", ".*", ".*"], "");
        let mut client = dial(&mut world, &Opening { vhost, ..U });
        client.expect_close(&mut world, text, (10, 40));
        assert_eq!(world.connections(), 0);
    }
}

#[test]
fn topics_can_be_refused() {
    let more = r#", "topic_permissions": [{"user": "u", "vhost": "/", "exchange": "amq.topic",
        "write": "^{username}\\.", "read": "^{username}\\."}]"#;
    let mut world = world([".*", ".*", ".*"], more);
    let mut client = connect(&mut world);
    client.declare(&mut world, "q");
    let exchange = ShortStr::literal("amq.topic");
    let mut bind = queue::Bind {
        queue: Q,
        exchange,
        routing_key: ShortStr::literal("u.#"),
        ..Default::default()
    };
    client.call(&mut world, 1, &bind, queue::BindOk {});
    bind.routing_key = ShortStr::literal("#");
    is_refused(&mut world, &mut client, &bind, "topic '#' in exchange 'amq.topic'");
    let publish = |key: &'static str| {
        let routing_key = ShortStr::literal(key);
        let publish = basic::Publish { exchange, routing_key, ..Default::default() };
        publish_with(1, &publish, &Default::default(), b"x")
    };
    client.raw(&mut world, &publish("u.1"));
    assert_eq!(world.messages(), 1);
    client.raw(&mut world, &publish("v.1"));
    let text = "403 ACCESS_REFUSED - access to topic 'v.1' in exchange 'amq.topic' in vhost '/' \
                refused for user 'u'";
    client.expect_channel_close(&mut world, 1, text, (60, 40));
}

#[test]
fn limits_refuse_with_their_own_texts() {
    let limited = r#", "parameters": [{"component": "vhost-limits", "name": "limits", "vhost": "/",
        "value": {"max-connections": 1, "max-queues": 1}}]"#;
    let mut world = world([".*", ".*", ".*"], limited);
    let mut client = connect(&mut world);
    let mut second = dial(&mut world, &U);
    let text = "530 NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (1) \
                is reached";
    second.expect_close(&mut world, text, (10, 40));
    client.declare(&mut world, "q");
    client.declare(&mut world, "q");
    let declare = queue::Declare { queue: ShortStr::literal("q2"), ..Default::default() };
    client.send(&mut world, 1, &declare);
    let text = "406 PRECONDITION_FAILED - cannot declare queue 'q2': queue limit in vhost '/' (1) \
                is reached";
    client.expect_channel_close(&mut world, 1, text, (50, 10));
}

#[test]
fn a_users_own_limits_hold() {
    let mut world = world([".*", ".*", ".*"], "");
    let limits = ropewalk_broker::UserLimits { max_connections: Some(1), max_channels: Some(1) };
    world.server.with_broker(|broker| {
        let mut user = broker.user(b"u").expect("imported").clone();
        user.limits = limits;
        broker.put_user(b"u", user);
    });
    let mut client = connect(&mut world);
    let mut second = dial(&mut world, &U);
    let text = "530 NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is \
                reached";
    second.expect_close(&mut world, text, (10, 40));
    client.send(&mut world, 2, &channel::Open::default());
    let text = "530 NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum \
                allowed user limit of (1)";
    client.expect_close(&mut world, text, (0, 0));
}

#[test]
fn the_servers_own_limits_hold() {
    let config = Config::default().max_connections(1).max_queues(0);
    let mut world = world_with(config, [".*", ".*", ".*"], "");
    let mut client = connect(&mut world);
    let mut second = dial(&mut world, &U);
    let text = "530 NOT_ALLOWED - connection refused: node connection limit (1) is reached";
    second.expect_close(&mut world, text, (10, 40));
    client.send(&mut world, 1, &queue::Declare { queue: Q, ..Default::default() });
    let text = "406 PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost '/' (0) \
                is reached";
    client.expect_channel_close(&mut world, 1, text, (50, 10));
    // Who has left makes room.
    client.send(&mut world, 0, &connection::Close::default());
    connect(&mut world);
}

#[test]
fn a_new_secret_must_be_the_password() {
    let mut world = World::on(Simulation::calm(), Config::default());
    let mut client = world.connect();
    let update =
        |secret| connection::UpdateSecret { new_secret: Secret(secret), ..Default::default() };
    client.call(&mut world, 0, &update(b"guest"), connection::UpdateSecretOk {});
    client.send(&mut world, 0, &update(b"wrong"));
    let text = "530 NOT_ALLOWED - New secret was refused by one of the backends";
    client.expect_close(&mut world, text, (10, 70));
}
