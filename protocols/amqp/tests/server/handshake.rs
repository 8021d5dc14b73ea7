//! From the first octet to `connection.open-ok`, and the ways in which it fails.

use std::time::Duration;

use ropewalk_amqp::codec::method::{channel, connection, queue};
use ropewalk_amqp::codec::{Method, PROTOCOL_HEADER, Secret, ShortStr, TableBuf};
use ropewalk_amqp::server::{Authenticator, Config, Login};
use ropewalk_reactor::Simulation;
use ropewalk_reactor::testing::Harness;
use ropewalk_reactor::{Address, Factory};

use crate::wire::*;

const TUNE: connection::Tune =
    connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };

#[test]
fn the_greeting_is_rabbitmqs_but_for_the_product() {
    let mut world = World::new();
    let mut client = world.dial();
    client.raw(&mut world, &PROTOCOL_HEADER);
    let Some(Seen::Method(0, "connection.start", payload)) = client.next(&mut world) else {
        panic!("no connection.start")
    };
    let Ok(Method::ConnectionStart(start)) = Method::decode(&payload) else { panic!() };
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    assert_eq!(start.mechanisms, text("PLAIN AMQPLAIN"));
    assert_eq!(start.locales, text("en_US"));
    let properties = start.server_properties;
    assert_eq!(properties.get_str("product"), Some("Ropewalk"));
    assert_eq!(properties.get_str("version"), Some(env!("CARGO_PKG_VERSION")));
    let names: Vec<String> = properties.iter().map(|(name, _)| name.to_string()).collect();
    let expected = [
        "capabilities",
        "product",
        "version",
        "platform",
        "copyright",
        "information",
        "cluster_name",
    ];
    assert_eq!(names, expected);
    let capabilities = properties.get_table("capabilities").expect("capabilities");
    let capabilities: Vec<_> =
        capabilities.iter().map(|(name, value)| (name.to_string(), value.as_bool())).collect();
    let expected = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ];
    assert_eq!(capabilities, expected.map(|name| (name.to_owned(), Some(true))));
}

#[test]
fn the_handshake_goes_step_by_step() {
    let mut world = World::new();
    let mut client = world.dial();
    client.raw(&mut world, &PROTOCOL_HEADER);
    assert!(matches!(client.next(&mut world), Some(Seen::Method(0, "connection.start", _))));
    client.raw(&mut world, &start_ok(&Opening::default()));
    client.expect(&mut world, 0, TUNE);
    client.send(&mut world, 0, &Opening::default().tune_ok);
    client.expect_nothing(&mut world);
    client.call(&mut world, 0, &open("/"), connection::OpenOk::default());
    client.open_channel(&mut world, 1);
    client.call(&mut world, 1, &channel::Close::default(), channel::CloseOk {});
    let close = connection::Close { reply_code: 200, ..Default::default() };
    client.call(&mut world, 0, &close, connection::CloseOk {});
    assert_eq!(world.connections(), 0);
    client.call(&mut world, 0, &close, connection::CloseOk {}); // another of its threads asks
    assert!(!client.is_ended(&mut world), "the socket is the client's to close");
    world.simulation.run_for(Duration::from_secs(31));
    assert!(client.is_ended(&mut world), "but not for ever");
}

#[test]
fn a_session_one_byte_at_a_time_is_the_same() {
    let mut octets = opening(&Opening::default());
    octets.extend(method(1, &channel::Open::default()));
    let queue = ShortStr::literal("q");
    octets.extend(method(1, &queue::Declare { queue, ..Default::default() }));
    octets.extend(publish(1, "q", b"hello"));
    octets.extend(method(
        1,
        &ropewalk_amqp::codec::method::basic::Consume { queue, ..Default::default() },
    ));
    let answers = |bytewise: bool| {
        let mut server = ropewalk_amqp::server::Server::new(Config::default());
        let here = Address::Tcp(([127, 0, 0, 1], 1).into());
        let mut harness = Harness::new(server.build_protocol(here).expect("it refuses nobody"));
        match bytewise {
            true => harness.feed_bytewise(&octets),
            false => harness.feed(&octets),
        }
        harness.written()
    };
    let whole = answers(false);
    assert_eq!(answers(true), whole);
    assert!(whole.ends_with(b"hello\xce"));
}

#[test]
fn another_protocol_gets_our_header_and_the_end() {
    for header in [
        &b"AMQP\x00\x01\x00\x00"[..],
        b"AMQP\x01\x01\x00\x08",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"PING\r\n",
    ] {
        let mut world = World::new();
        let mut client = world.dial();
        client.raw(&mut world, header);
        assert_eq!(client.octets(&mut world), &PROTOCOL_HEADER[..], "{header:?}");
        assert!(client.is_ended(&mut world));
    }
}

#[test]
fn the_header_of_0_9_is_taken_too() {
    let mut world = World::new();
    let mut client = world.dial();
    client.raw(&mut world, b"AMQP\x01\x01\x00\x09");
    assert!(matches!(client.next(&mut world), Some(Seen::Method(0, "connection.start", _))));
}

#[test]
fn both_mechanisms_let_guest_in() {
    let amqplain = TableBuf::new().with("LOGIN", "guest").with("PASSWORD", "guest");
    for (mechanism, response) in
        [("PLAIN", &b"\0guest\0guest"[..]), ("AMQPLAIN", amqplain.as_table().as_bytes())]
    {
        let mut world = World::new();
        let mut client = world.dial();
        client.raw(&mut world, &PROTOCOL_HEADER);
        client.next(&mut world);
        let opening = Opening { mechanism, response, ..Default::default() };
        client.raw(&mut world, &start_ok(&opening));
        client.expect(&mut world, 0, TUNE);
    }
}

#[test]
fn a_refused_login_is_told_to_clients_that_can_hear_it() {
    let mut world = World::new();
    let mut client = world.dial();
    let opening = Opening { response: b"\0guest\0wrong", ..Default::default() };
    client.raw(&mut world, &PROTOCOL_HEADER);
    client.next(&mut world);
    client.raw(&mut world, &start_ok(&opening));
    client.expect_close(
        &mut world,
        "403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
         For details see the broker logfile.",
        (0, 0),
    );
    assert!(!client.is_ended(&mut world));
    client.send(&mut world, 0, &connection::CloseOk {});
    assert!(client.is_ended(&mut world));
}

#[test]
fn a_refused_login_is_dropped_after_a_while_without_a_word_for_others() {
    for (mechanism, response) in
        [("PLAIN", &b"\0guest\0wrong"[..]), ("PLAIN", b"nonsense"), ("EXTERNAL", b"")]
    {
        let mut world = World::new();
        let mut client = world.dial();
        client.raw(&mut world, &PROTOCOL_HEADER);
        client.next(&mut world);
        let opening = Opening { capabilities: &[], mechanism, response, ..Default::default() };
        client.raw(&mut world, &start_ok(&opening));
        // It tries on, and is not heard.
        client.raw(&mut world, &start_ok(&Opening::default()));
        client.expect_nothing(&mut world);
        world.simulation.run_for(Duration::from_millis(2_900));
        assert!(!client.is_ended(&mut world));
        world.simulation.run_for(Duration::from_millis(200));
        assert!(client.is_ended(&mut world));
        client.expect_nothing(&mut world);
    }
}

#[test]
fn the_clients_limits_must_lie_within_the_servers() {
    let refusals = [
        ((2048, 131_072), "channel_max = 2048 is higher than the maximum allowed value (2047)"),
        (
            (0, 131_072),
            "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        ),
        ((2047, 131_073), "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        ((2047, 0), "frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"),
        ((2047, 4095), "frame_max = 4095 is lower than the minimum allowed value (4096)"),
    ];
    for ((channel_max, frame_max), text) in refusals {
        let mut world = World::new();
        let mut client = world.dial();
        let tune_ok = connection::TuneOk { channel_max, frame_max, heartbeat: 0 };
        client.raw(&mut world, &opening(&Opening { tune_ok, ..Default::default() }));
        client.next(&mut world);
        client.next(&mut world);
        let text = format!("530 NOT_ALLOWED - negotiated {text}");
        client.expect_close(&mut world, &text, (10, 30));
        client.expect_nothing(&mut world); // its connection.open was discarded
        client.send(&mut world, 0, &connection::CloseOk {});
        assert!(client.is_ended(&mut world));
    }
}

#[test]
fn a_virtual_host_must_exist_and_let_the_user_in() {
    struct Bouncer;
    impl Authenticator for Bouncer {
        fn authenticate(&self, login: &Login<'_>) -> Result<(), String> {
            assert_eq!((login.user, login.password), (&b"guest"[..], &b"guest"[..]));
            Ok(())
        }
        fn may_enter(&self, _user: &[u8], vhost: &[u8]) -> bool {
            vhost != b"private"
        }
    }
    let cases = [
        ("nope", "530 NOT_ALLOWED - vhost nope not found"),
        ("private", "530 NOT_ALLOWED - access to vhost 'private' refused for user 'guest'"),
    ];
    for (vhost, text) in cases {
        let mut world = World::with(Config::default().vhost("private").authenticator(Bouncer));
        let mut client = world.dial();
        client.raw(&mut world, &opening(&Opening { vhost, ..Default::default() }));
        client.next(&mut world);
        client.next(&mut world);
        client.expect_close(&mut world, text, (10, 40));
        assert_eq!(world.connections(), 0);
    }
}

#[test]
fn who_does_not_open_within_ten_seconds_is_dropped() {
    let octets = opening(&Opening::default());
    let tune_ok = octets.len() - method(0, &open("/")).len();
    for sent in [0, 4, 8, 20, tune_ok - 1, tune_ok] {
        let mut world = World::new();
        let mut client = world.dial();
        client.raw(&mut world, &octets[..sent]);
        world.simulation.run_for(Duration::from_millis(9_900));
        assert!(!client.is_ended(&mut world), "{sent}");
        world.simulation.run_for(Duration::from_millis(200));
        assert!(client.is_ended(&mut world), "{sent}");
        world.simulation.settle();
        assert_eq!(world.simulation.reactor().connection_count(), 0);
    }
}

#[test]
fn a_frame_that_does_not_fit_the_handshake_ends_it() {
    let channel_open = method(1, &channel::Open::default());
    let queue_declare = method(0, &queue::Declare::default());
    let cases: [(&[u8], &str, (u16, u16)); 3] = [
        (&channel_open, "505 UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>", (0, 0)),
        (
            &queue_declare,
            "504 CHANNEL_ERROR - unexpected method in connection state starting",
            (50, 10),
        ),
        (
            &method(0, &open("/")),
            "504 CHANNEL_ERROR - unexpected method in connection state starting",
            (10, 40),
        ),
    ];
    for (octets, text, failing) in cases {
        let mut world = World::new();
        let mut client = world.dial();
        client.raw(&mut world, &PROTOCOL_HEADER);
        client.next(&mut world);
        client.raw(&mut world, octets);
        client.expect_close(&mut world, text, failing);
    }
}

#[test]
fn heartbeats_go_both_ways_at_the_clients_interval() {
    let mut world = World::new();
    let mut client = world.dial();
    let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 10 };
    client.raw(&mut world, &opening(&Opening { tune_ok, ..Default::default() }));
    for _ in 0..3 {
        client.next(&mut world);
    }
    let heartbeat = frame(8, 0, b"");
    for _ in 0..10 {
        world.simulation.run_for(Duration::from_secs(5));
        client.raw(&mut world, &heartbeat);
        assert_eq!(client.next(&mut world), Some(Seen::Heartbeat));
        client.expect_nothing(&mut world);
    }
    // Silence: two whole intervals, of which the first may have begun with a sign of life.
    world.simulation.run_for(Duration::from_millis(19_500));
    assert!(!client.is_ended(&mut world));
    world.simulation.run_for(Duration::from_millis(10_500));
    assert!(client.is_ended(&mut world));
    assert!(client.peer.was_reset());
    assert_eq!(world.connections(), 0);
}

#[test]
fn any_octet_is_a_sign_of_life() {
    let mut world = World::new();
    let mut client = world.dial();
    let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 1 };
    client.raw(&mut world, &opening(&Opening { tune_ok, ..Default::default() }));
    let slow = method(1, &channel::Open::default());
    for octet in slow.chunks(1) {
        world.simulation.run_for(Duration::from_secs(1));
        client.raw(&mut world, octet);
    }
    assert!(!client.is_ended(&mut world));
}

#[test]
fn no_heartbeats_are_sent_where_the_client_wants_none() {
    let mut world = World::new();
    let mut client = world.connect();
    world.simulation.run_for(Duration::from_secs(3600));
    client.expect_nothing(&mut world);
    assert!(!client.is_ended(&mut world));
}

#[test]
fn a_new_secret_must_be_good() {
    let mut world = World::new();
    let mut client = world.connect();
    let update = |secret: &'static [u8]| connection::UpdateSecret {
        new_secret: Secret(secret),
        reason: ShortStr::literal("it runs out"),
    };
    client.call(&mut world, 0, &update(b"guest"), connection::UpdateSecretOk {});
    client.send(&mut world, 0, &update(b"bad"));
    let text = "530 NOT_ALLOWED - New secret was refused by one of the backends";
    client.expect_close(&mut world, text, (10, 70));
}

#[test]
fn a_stopping_reactor_says_goodbye_to_every_connection() {
    let mut world = World::new();
    let mut idle = world.connect();
    let mut busy = world.open();
    busy.declare(&mut world, "q");
    busy.consume(&mut world, "q", "c", false);
    world.simulation.reactor().stop();
    for client in [&mut idle, &mut busy] {
        client.expect_close(
            &mut world,
            "320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
            (0, 0),
        );
        assert!(client.is_ended(&mut world));
    }
}

#[test]
fn the_second_listener_shares_the_queues_of_the_first() {
    let mut world = World::on(Simulation::calm(), Config::default());
    let server = world.server.clone();
    world.simulation.reactor().listen("127.0.0.1:5673", server).expect("a free address");
    let mut here = world.open();
    here.declare(&mut world, "q");
    let mut there = world.simulation.dial("127.0.0.1:5673").expect("a good address");
    there.write(&opening(&Opening::default()));
    there.write(&method(1, &channel::Open::default()));
    there.write(&publish(1, "q", b"from there"));
    world.run();
    here.consume(&mut world, "q", "c", true);
    assert_eq!(here.bodies(&mut world), ["from there"]);
}
