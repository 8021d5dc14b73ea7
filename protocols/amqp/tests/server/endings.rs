//! The ends of connections: who says `close`, what still counts then, and what is never heard.

use std::cell::Cell;
use std::rc::Rc;

use ropewalk_amqp::codec::method::{basic, channel, connection, queue};
use ropewalk_amqp::codec::{PROTOCOL_HEADER, Secret, ShortStr, TableBuf};
use ropewalk_amqp::server::{Authenticator, Config, Login};
use ropewalk_broker::{Access, Permissions};

use crate::wire::*;

const Q: ShortStr<'static> = ShortStr::literal("q");

#[test]
fn what_was_published_before_the_clients_close_is_routed_and_its_own_queues_are_gone_by_close_ok() {
    let mut world = World::new();
    let mut other = world.open();
    other.declare(&mut world, "q");
    let mut client = world.open();
    let mine = ShortStr::literal("mine");
    let exclusive = queue::Declare { queue: mine, exclusive: true, ..Default::default() };
    client.call(&mut world, 1, &exclusive, queue::DeclareOk { queue: mine, ..Default::default() });
    let mut octets: Vec<u8> = (0..500).flat_map(|_| publish(1, "q", b"x")).collect();
    octets.extend(publish(1, "mine", b"x"));
    octets.extend(method(0, &connection::Close::default()));
    octets.extend(publish(1, "q", b"too late"));
    octets.extend(method(0, &connection::Close::default()));
    client.raw(&mut world, &octets);
    client.expect(&mut world, 0, connection::CloseOk {});
    assert_eq!((world.messages(), world.connections()), (500, 1));
    client.expect(&mut world, 0, connection::CloseOk {}); // it asked twice
    client.expect_nothing(&mut world);
    let declared = queue::DeclareOk { queue: mine, ..Default::default() };
    other.call(&mut world, 1, &exclusive, declared);
}

#[test]
fn a_connection_that_the_server_has_closed_hears_nothing_but_the_answer() {
    let deaf: [&[u8]; 6] = [
        &method(0, &connection::TuneOk { channel_max: 1, frame_max: 4096, heartbeat: 1 }),
        &method(1, &queue::Declare { queue: ShortStr::literal("late"), ..Default::default() }),
        &frame(8, 0, b""),
        &frame(9, 0, b""),
        &frame(1, 0, b"\0\x63\0\x63"),
        &frame(3, 1, b"x"),
    ];
    for octets in deaf {
        let mut world = World::new();
        let mut client = world.open();
        client.send(&mut world, 1, &channel::Open::default());
        let text = "504 CHANNEL_ERROR - second 'channel.open' seen";
        client.expect_close(&mut world, text, (20, 10));
        client.raw(&mut world, octets);
        client.expect_nothing(&mut world);
        assert!(!client.is_ended(&mut world));
        client.send(&mut world, 0, &connection::CloseOk {});
        assert!(client.is_ended(&mut world));
        assert_eq!(world.server.with_broker(|broker| broker.totals().queues), Some(0));
    }
}

#[test]
fn both_sides_may_close_a_connection_at_once_in_any_order_of_the_answers() {
    for answer_first in [true, false] {
        let mut world = World::new();
        let mut client = world.open();
        client.send(&mut world, 1, &channel::Open::default());
        let text = "504 CHANNEL_ERROR - second 'channel.open' seen";
        let (close, close_ok) =
            (method(0, &connection::Close::default()), method(0, &connection::CloseOk {}));
        let octets = match answer_first {
            true => [close_ok, close].concat(),
            false => [close, close_ok].concat(),
        };
        client.raw(&mut world, &octets);
        client.expect_close(&mut world, text, (20, 10));
        if !answer_first {
            client.expect(&mut world, 0, connection::CloseOk {});
        }
        client.expect_nothing(&mut world);
        assert!(client.is_ended(&mut world));
        assert_eq!(world.connections(), 0);
    }
}

#[test]
fn a_client_may_close_its_connection_before_it_is_open() {
    let octets = opening(&Opening::default());
    let without_open = octets.len() - method(0, &open("/")).len();
    let mut world = World::new();
    let mut client = world.dial();
    client.raw(&mut world, &octets[..without_open]);
    client.next(&mut world);
    client.next(&mut world);
    client.call(&mut world, 0, &connection::Close::default(), connection::CloseOk {});
    client.send(&mut world, 0, &open("/"));
    client.expect_nothing(&mut world);
    assert_eq!(world.connections(), 0);
}

#[test]
fn methods_that_there_are_not_close_their_connection_only() {
    for (octets, text, failing) in [
        (&b"\0\x3c\0\x63"[..], "540 NOT_IMPLEMENTED - unknown method {60,99}", (60, 99)),
        (b"\0\x63\0\x01", "540 NOT_IMPLEMENTED - unknown method {99,1}", (99, 1)),
        (b"\0\x0a", "501 FRAME_ERROR - type 1, all octets = <<0,10>>: unknown_frame", (0, 0)),
        (b"", "501 FRAME_ERROR - type 1, all octets = <<>>: unknown_frame", (0, 0)),
    ] {
        for number in [0, 1, 7] {
            let mut world = World::new();
            let (mut client, mut bystander) = (world.open(), world.open());
            client.raw(&mut world, &frame(1, number, octets));
            client.expect_close(&mut world, text, failing);
            bystander.declare(&mut world, "q");
        }
    }
}

#[test]
fn what_is_no_login_at_all_is_dropped_without_a_word() {
    let wrong = TableBuf::new().with("LOGIN", "guest");
    let wrong = wrong.as_table();
    for (mechanism, response) in [
        ("EXTERNAL", &b""[..]),
        ("SCRAM-SHA-256", b"n,,n=guest,r=x"),
        ("PLAIN", b"guest"),
        ("AMQPLAIN", wrong.as_bytes()),
        ("AMQPLAIN", b"\xff"),
    ] {
        let mut world = World::new();
        let mut client = world.dial();
        client.raw(&mut world, &PROTOCOL_HEADER);
        client.next(&mut world);
        client.raw(&mut world, &start_ok(&Opening { mechanism, response, ..Default::default() }));
        client.expect_nothing(&mut world);
        world.simulation.run_for(std::time::Duration::from_millis(2_900));
        assert!(!client.is_ended(&mut world), "{mechanism}");
        world.simulation.run_for(std::time::Duration::from_millis(200));
        assert!(client.is_ended(&mut world), "{mechanism}");
        client.expect_nothing(&mut world);
    }
}

#[test]
fn a_refusal_names_the_mechanism() {
    let table = TableBuf::new().with("LOGIN", "guest").with("PASSWORD", "wrong");
    let response = table.as_table().as_bytes();
    let mut world = World::new();
    let mut client = world.dial();
    client.raw(&mut world, &PROTOCOL_HEADER);
    client.next(&mut world);
    let opening = Opening { mechanism: "AMQPLAIN", response, ..Default::default() };
    client.raw(&mut world, &start_ok(&opening));
    let text = "403 ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. \
                For details see the broker logfile.";
    client.expect_close(&mut world, text, (0, 0));
}

/// Lets everybody in, while `welcome` says so, and lets them read while `readable` does.
#[derive(Clone, Default)]
struct Fickle {
    welcome: Rc<Cell<bool>>,
    readable: Rc<Cell<bool>>,
}

impl Authenticator for Fickle {
    fn authenticate(&self, _login: &Login<'_>) -> Result<(), String> {
        Ok(())
    }

    fn may_enter(&self, _user: &[u8], _vhost: &[u8]) -> bool {
        self.welcome.get()
    }

    fn permissions(&self, _user: &[u8], _vhost: &[u8]) -> Option<Box<dyn Permissions>> {
        let readable = self.readable.get();
        Some(Box::new(move |access: Access, _name: &[u8]| readable || access != Access::Read))
    }
}

#[test]
fn a_new_secret_has_all_permissions_asked_anew() {
    let judge = Fickle::default();
    judge.welcome.set(true);
    judge.readable.set(true);
    let mut world = World::with(Config::default().authenticator(judge.clone()));
    let mut client = world.open();
    client.declare(&mut world, "q");
    client.consume(&mut world, "q", "c", false);
    let update = connection::UpdateSecret { new_secret: Secret(b"new"), reason: ShortStr::EMPTY };
    client.call(&mut world, 0, &update, connection::UpdateSecretOk {});
    client.publish(&mut world, "q", "1");
    assert_eq!(client.bodies(&mut world), ["1"]);
    judge.readable.set(false);
    client.publish(&mut world, "q", "2");
    assert_eq!(client.bodies(&mut world), ["2"], "nobody has asked yet");
    client.call(&mut world, 0, &update, connection::UpdateSecretOk {});
    let consumer_tag = ShortStr::literal("c");
    client.expect(&mut world, 1, basic::Cancel { consumer_tag, nowait: true });
    client.publish(&mut world, "q", "3");
    client.ack(&mut world, 1);
    client.send(&mut world, 1, &basic::Get { queue: Q, ..Default::default() });
    let text = "403 ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'guest'";
    client.expect_channel_close(&mut world, 1, text, (60, 70));
    judge.welcome.set(false);
    client.send(&mut world, 0, &update);
    let text = "530 NOT_ALLOWED - access to vhost '/' refused for user 'guest'";
    client.expect_close(&mut world, text, (10, 70));
}
