//! A server with a store: what waits for the disk, what a restart brings back, and what happens
//! when the disk gives out.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_amqp::codec::method::{basic, confirm, exchange, queue, tx};
use ropewalk_amqp::codec::{BasicProperties, Method, ShortStr};
use ropewalk_amqp::server::{Config, Opened, Resource, Server};
use ropewalk_amqp::store::Disk;
use ropewalk_amqp::store::simulation::SimulatedDisk;
use ropewalk_reactor::Simulation;

use crate::wire::*;

/// A machine with a disk, on which servers live one after the other.
pub(crate) fn start(disk: &SimulatedDisk) -> (World, Opened) {
    start_with(Arc::new(disk.clone()), Config::default())
}

pub(crate) fn start_with(disk: Arc<dyn Disk>, config: Config) -> (World, Opened) {
    let mut simulation = Simulation::calm();
    let server = Server::new(config);
    let opened = server.start_with_store(simulation.reactor(), disk);
    let opened = opened.expect("the disk works");
    simulation.reactor().listen(HERE, server.clone()).expect("a free address");
    (World { simulation, server }, opened)
}

/// Ends a server in order.
pub(crate) fn stop(mut world: World) {
    world.simulation.reactor().stop();
    world.simulation.run_for(Duration::from_secs(30));
}

/// Ends a server without a word, and what it had not synced with it.
pub(crate) fn crash(world: World, disk: &SimulatedDisk) {
    drop(world);
    disk.crash();
}

/// Declares a durable queue; it may take a while.
pub(crate) fn declare(world: &mut World, client: &mut Client, name: &str, messages: u32) {
    let queue = ShortStr::cut(name);
    let declare = queue::Declare { queue, durable: true, ..Default::default() };
    client.send(world, 1, &declare);
    world.simulation.run_for(Duration::from_millis(100));
    let declare_ok = queue::DeclareOk { queue, message_count: messages, ..Default::default() };
    client.expect(world, 1, declare_ok);
}

pub(crate) fn persistent(queue: &str, body: &str) -> Vec<u8> {
    let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() };
    publish_with(1, &to(queue), &properties, body.as_bytes())
}

pub(crate) fn confirming(world: &mut World) -> Client {
    let mut client = world.open();
    client.call(world, 1, &confirm::Select::default(), confirm::SelectOk {});
    client
}

pub(crate) fn settle(world: &mut World) {
    world.simulation.run_for(Duration::from_millis(500));
}

#[test]
fn what_was_confirmed_is_there_after_a_crash_in_order_and_not_redelivered() {
    let disk = SimulatedDisk::new(1);
    let (mut world, opened) = start(&disk);
    assert!(opened.is_new);
    let mut client = confirming(&mut world);
    declare(&mut world, &mut client, "q", 0);
    for body in ["one", "two", "three"] {
        client.raw(&mut world, &persistent("q", body));
    }
    client.raw(&mut world, &publish(1, "q", b"transient"));
    settle(&mut world);
    let mut confirmed = 0;
    while let Some(Seen::Method(1, "basic.ack", payload)) = client.next(&mut world) {
        let Ok(Method::BasicAck(ack)) = Method::decode(&payload) else { unreachable!() };
        confirmed = ack.delivery_tag;
    }
    assert_eq!(confirmed, 4);
    crash(world, &disk);

    let (mut world, opened) = start(&disk);
    assert_eq!((opened.is_new, opened.queues, opened.messages), (false, 1, 3));
    let mut client = world.open();
    declare(&mut world, &mut client, "q", 3);
    client.consume(&mut world, "q", "c", false);
    settle(&mut world);
    for body in ["one", "two", "three"] {
        let delivered = client.delivery(&mut world).expect("it was confirmed");
        assert_eq!(delivered.body, body.as_bytes());
        assert!(!delivered.redelivered, "it was never handed out");
    }
    assert_eq!(client.delivery(&mut world), None);
    crash(world, &disk);

    // Nothing was acknowledged: all comes back, and marked.
    let (mut world, _) = start(&disk);
    let mut client = world.open();
    client.consume(&mut world, "q", "c", false);
    settle(&mut world);
    for tag in 1..=3 {
        assert!(client.delivery(&mut world).expect("it came back").redelivered);
        client.ack(&mut world, tag);
    }
    stop(world);
    let (mut world, opened) = start(&disk);
    assert_eq!(opened.messages, 0, "an orderly end keeps the acknowledgements");
    let mut client = world.open();
    declare(&mut world, &mut client, "q", 0);
}

#[test]
fn an_orderly_end_marks_only_what_was_handed_out() {
    let disk = SimulatedDisk::new(2);
    let (mut world, _) = start(&disk);
    let mut client = confirming(&mut world);
    declare(&mut world, &mut client, "q", 0);
    for body in ["held", "waiting"] {
        client.raw(&mut world, &persistent("q", body));
    }
    settle(&mut world);
    let mut consumer = world.open();
    consumer.qos(&mut world, 1);
    consumer.consume(&mut world, "q", "c", false);
    settle(&mut world);
    assert_eq!(consumer.delivery(&mut world).expect("the first").body, b"held");
    stop(world);
    let (mut world, _) = start(&disk);
    let mut client = world.open();
    client.consume(&mut world, "q", "c", true);
    settle(&mut world);
    let marks = [(); 2].map(|()| client.delivery(&mut world).map(|it| (it.body, it.redelivered)));
    let expected = [(b"held".to_vec(), true), (b"waiting".to_vec(), false)];
    assert_eq!(marks, expected.map(Some));
}

#[test]
fn a_confirm_and_the_answer_to_a_declaration_wait_for_the_sync() {
    let disk = SimulatedDisk::new(3);
    let (mut world, _) = start(&disk);
    let mut client = confirming(&mut world);
    settle(&mut world);
    let before = disk.operations();
    let declare =
        queue::Declare { queue: ShortStr::literal("q"), durable: true, ..Default::default() };
    client.peer.write(&method(1, &declare));
    client.peer.write(&persistent("q", "one"));
    let mut answers = Vec::new();
    for _ in 0..10_000 {
        world.simulation.step();
        while let Some(Seen::Method(_, name, _)) = client.next_now() {
            assert!(disk.operations() > before, "{name} came before anything was written");
            answers.push(name);
        }
    }
    assert_eq!(answers, ["queue.declare-ok", "basic.ack"]);
}

#[test]
fn what_a_full_disk_has_refused_is_confirmed_once_a_consumer_has_acknowledged_it() {
    let disk = SimulatedDisk::new(9);
    let (mut world, _) = start_with(Arc::new(disk.clone()), Config::default().disk_limit(0));
    let mut publisher = confirming(&mut world);
    declare(&mut world, &mut publisher, "q", 0);
    let mut consumer = world.open();
    consumer.consume(&mut world, "q", "c", false);
    settle(&mut world);
    disk.set_capacity(disk.used());
    let body = "x".repeat(1 << 20);
    let refused = (1..100).find(|_| {
        publisher.raw(&mut world, &persistent("q", &body));
        settle(&mut world);
        assert!(consumer.delivery(&mut world).is_some(), "it is handed out, stored or not");
        publisher.next_now().is_none()
    });
    let refused = refused.expect("a full disk takes no more");
    consumer.ack(&mut world, refused);
    settle(&mut world);
    let ack = basic::Ack { delivery_tag: refused, multiple: false };
    publisher.expect(&mut world, 1, ack);
    assert!(world.server.has_alarm(Resource::Disk), "there was still no room for it");
    // It is confirmed but once.
    disk.set_capacity(u64::MAX);
    world.simulation.run_for(Duration::from_secs(10));
    assert!(!world.server.has_alarm(Resource::Disk));
    while let Some(seen) = publisher.next_now() {
        assert!(!matches!(seen, Seen::Method(1, ..)), "{seen:?}");
    }
}

#[test]
fn everything_durable_comes_back_and_nothing_else() {
    let disk = SimulatedDisk::new(4);
    let (mut world, _) = start(&disk);
    let mut client = world.open();
    declare(&mut world, &mut client, "kept", 0);
    for (name, durable) in [("x", true), ("gone", false)] {
        let exchange = ShortStr::cut(name);
        let exchange_type = ShortStr::literal("topic");
        let declare = exchange::Declare { exchange, exchange_type, durable, ..Default::default() };
        client.send(&mut world, 1, &declare);
        settle(&mut world);
        client.expect(&mut world, 1, exchange::DeclareOk {});
        let bind = queue::Bind {
            queue: ShortStr::literal("kept"),
            exchange,
            routing_key: ShortStr::literal("a.#"),
            ..Default::default()
        };
        client.send(&mut world, 1, &bind);
        settle(&mut world);
        client.expect(&mut world, 1, queue::BindOk {});
    }
    client.declare(&mut world, "transient");
    stop(world);
    let (mut world, opened) = start(&disk);
    assert_eq!(opened.left_out, [""; 0]);
    let mut client = world.open();
    let publish = basic::Publish {
        exchange: ShortStr::literal("x"),
        routing_key: ShortStr::literal("a.b"),
        mandatory: true,
        ..Default::default()
    };
    let octets = publish_with(1, &publish, &BasicProperties::default(), b"through x");
    client.raw(&mut world, &octets);
    client.expect_nothing(&mut world); // it is not returned
    declare(&mut world, &mut client, "kept", 1);
    for (name, what) in [("transient", "queue"), ("gone", "exchange")] {
        let mut stranger = world.open();
        let (octets, class) = match what {
            "queue" => {
                let queue = ShortStr::cut(name);
                let declare = queue::Declare { queue, passive: true, ..Default::default() };
                (method(1, &declare), (50, 10))
            }
            _ => {
                let exchange = ShortStr::cut(name);
                let declare = exchange::Declare { exchange, passive: true, ..Default::default() };
                (method(1, &declare), (40, 10))
            }
        };
        stranger.raw(&mut world, &octets);
        let text = format!("404 NOT_FOUND - no {what} '{name}' in vhost '/'");
        stranger.expect_channel_close(&mut world, 1, &text, class);
    }
}

#[test]
fn a_commit_is_answered_when_it_is_safe() {
    let disk = SimulatedDisk::new(5);
    let (mut world, _) = start(&disk);
    let mut client = world.open();
    declare(&mut world, &mut client, "q", 0);
    client.call(&mut world, 1, &tx::Select {}, tx::SelectOk {});
    client.raw(&mut world, &persistent("q", "one"));
    client.raw(&mut world, &persistent("q", "two"));
    client.send(&mut world, 1, &tx::Commit {});
    while client.next_now().is_none() {
        assert!(world.simulation.step(), "commit-ok comes");
    }
    crash(world, &disk);
    let (_, opened) = start(&disk);
    assert_eq!(opened.messages, 2);
}

#[test]
fn a_fetch_from_a_queue_that_is_on_the_disk_waits_until_its_head_is_loaded() {
    let disk = SimulatedDisk::new(6);
    let (mut world, _) = start(&disk);
    let mut client = confirming(&mut world);
    declare(&mut world, &mut client, "q", 0);
    client.raw(&mut world, &persistent("q", "one"));
    settle(&mut world);
    stop(world);
    let (mut world, _) = start(&disk);
    let mut client = world.open();
    let get = basic::Get { queue: ShortStr::literal("q"), no_ack: true, ..Default::default() };
    // What follows on the same connection waits behind it.
    client.peer.write(&method(1, &get));
    client.peer.write(&method(1, &get));
    settle(&mut world);
    assert!(matches!(client.next(&mut world), Some(Seen::Method(1, "basic.get-ok", _))));
    assert_eq!(client.expect_content(1).1, b"one");
    assert!(matches!(client.next(&mut world), Some(Seen::Method(1, "basic.get-empty", _))));
}

#[test]
fn a_sync_that_fails_stops_the_server_and_confirms_nothing() {
    let disk = SimulatedDisk::new(7);
    let (mut world, _) = start(&disk);
    let mut client = confirming(&mut world);
    declare(&mut world, &mut client, "q", 0);
    settle(&mut world);
    disk.fail_syncs(1);
    client.raw(&mut world, &persistent("q", "one"));
    settle(&mut world);
    while let Some(seen) = client.next_now() {
        assert!(!matches!(seen, Seen::Method(1, "basic.ack", _)), "it was not synced");
    }
    let failure = world.server.failure().expect("it failed");
    assert!(failure.contains("sync"), "{failure}");
    assert!(client.peer.is_ended() || client.is_ended(&mut world));
}
