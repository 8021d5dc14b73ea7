//! Subscribers that do not read: they are closed by their limits, and nobody else loses anything.

mod common;

use std::time::Duration;

use common::World;
use ropewalk_reactor::simulation::Peer;
use ropewalk_redis::server::Config;

const MESSAGE: usize = 1000;

/// A world with a subscriber that has stopped reading, one that reads, and a publisher.
fn world(config: Config) -> (World, [Peer; 3]) {
    let mut world = World::calm(config);
    let mut slow = world.client();
    assert_ne!(world.say(&mut slow, "SUBSCRIBE news"), "");
    let mut quick = world.client();
    assert_ne!(world.say(&mut quick, "SUBSCRIBE news"), "");
    let mut publisher = world.client();
    assert_eq!(world.say(&mut publisher, "PING"), "+PONG\r\n");
    slow.stop_reading();
    // What the network holds does not count as waiting.
    world.simulation.capacity(2 * MESSAGE);
    (world, [slow, quick, publisher])
}

/// Publishes one message: what the publisher is told, and what the quick one has got.
fn publish(world: &mut World, [_, quick, publisher]: &mut [Peer; 3]) -> (String, usize) {
    let told = world.say(publisher, &format!("PUBLISH news {}", "x".repeat(MESSAGE)));
    let mut length = 0;
    for _ in 0..20 {
        length += world.hear(quick).len();
    }
    (told, length)
}

/// As it stands on the wire.
const WIRE: usize = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1000\r\n\r\n".len() + MESSAGE;

#[test]
fn one_that_has_too_much_waiting_is_closed_at_once_and_the_others_lose_nothing() {
    let (mut world, mut peers) = world(Config::default().hard_limit(100_000));
    let mut got = 0;
    let mut published = 0;
    while world.server.subscribers("news") == 2 {
        let (told, length) = publish(&mut world, &mut peers);
        // It counts in the delivery that is one too many.
        assert_eq!(told, ":2\r\n", "{published}");
        (got, published) = (got + length, published + 1);
        assert!(published < 200, "it is never closed");
    }
    let held = published * WIRE;
    assert!((100_000..100_000 + 4 * MESSAGE).contains(&held), "{held} bytes");
    let (told, length) = publish(&mut world, &mut peers);
    assert_eq!(told, ":1\r\n");
    assert_eq!(got + length, (published + 1) * WIRE, "the other has them all");
    peers[0].resume_reading();
    world.hear(&mut peers[0]);
    assert!(peers[0].was_reset());
    let told = world.say(&mut peers[2], "INFO stats");
    assert!(told.contains("client_output_buffer_limit_disconnections:1\r\n"), "{told}");
}

#[test]
fn one_that_has_much_waiting_for_long_is_closed() {
    let config = Config::default().soft_limit(20_000, Duration::from_secs(60));
    let (mut world, mut peers) = world(config);
    for _ in 0..30 {
        publish(&mut world, &mut peers);
    }
    world.simulation.run_for(Duration::from_secs(59));
    assert_eq!(publish(&mut world, &mut peers).0, ":2\r\n");
    world.simulation.run_for(Duration::from_secs(1));
    assert_eq!(publish(&mut world, &mut peers).0, ":1\r\n");
    peers[0].resume_reading();
    world.hear(&mut peers[0]);
    assert!(peers[0].was_reset());
}

#[test]
fn one_that_has_caught_up_meanwhile_is_not() {
    let config = Config::default().soft_limit(20_000, Duration::from_secs(60));
    let (mut world, mut peers) = world(config);
    for _ in 0..30 {
        publish(&mut world, &mut peers);
    }
    world.simulation.run_for(Duration::from_secs(30));
    peers[0].resume_reading();
    world.simulation.run_for(Duration::from_secs(1));
    assert_eq!(world.hear(&mut peers[0]).len(), 30 * WIRE);
    // Seen below the limit at this one, its time begins anew above it.
    publish(&mut world, &mut peers);
    peers[0].stop_reading();
    for _ in 0..30 {
        publish(&mut world, &mut peers);
    }
    world.simulation.run_for(Duration::from_secs(45));
    assert_eq!(publish(&mut world, &mut peers).0, ":2\r\n");
    world.simulation.run_for(Duration::from_secs(15));
    assert_eq!(publish(&mut world, &mut peers).0, ":1\r\n");
}

#[test]
fn limits_below_the_reactors_marks_are_kept() {
    let (mut world, mut peers) = world(Config::default().hard_limit(5000));
    let mut published = 0;
    while world.server.subscribers("news") == 2 {
        publish(&mut world, &mut peers);
        published += 1;
        assert!(published < 20, "it is never closed");
    }
}

#[test]
fn a_slow_subscriber_to_several_patterns_is_closed_once() {
    let mut world = World::calm(Config::default().hard_limit(10_000));
    let mut slow = world.client();
    world.say(&mut slow, "SUBSCRIBE news\r\nPSUBSCRIBE n* ne* new*");
    let mut publisher = world.client();
    slow.stop_reading();
    world.simulation.capacity(MESSAGE);
    for _ in 0..10 {
        world.say(&mut publisher, &format!("PUBLISH news {}", "x".repeat(MESSAGE)));
    }
    let told = world.say(&mut publisher, "PUBSUB NUMPAT\r\nPUBLISH news x");
    assert_eq!(told, ":0\r\n:0\r\n");
    assert_eq!(world.server.clients(), 1);
}

#[test]
fn without_limits_nobody_is_closed() {
    let config = Config::default().hard_limit(0).soft_limit(0, Duration::from_secs(1));
    let (mut world, mut peers) = world(config);
    for _ in 0..50 {
        publish(&mut world, &mut peers);
    }
    world.simulation.run_for(Duration::from_secs(100));
    assert_eq!(publish(&mut world, &mut peers).0, ":2\r\n");
    let told = world.say(&mut peers[2], "CONFIG GET client-output-buffer-limit");
    assert!(told.contains("pubsub 0 0 1\r\n"), "{told}");
}

#[test]
fn limits_that_change_hold_for_those_who_are_connected() {
    let (mut world, mut peers) = world(Config::default());
    for _ in 0..20 {
        assert_eq!(publish(&mut world, &mut peers).0, ":2\r\n");
    }
    // Below the mark at which those who are slow were looked at.
    let config = Config::default().hard_limit(10_000).max_argument(2 * MESSAGE);
    world.server.set_config(world.simulation.reactor(), config);
    publish(&mut world, &mut peers);
    assert_eq!(publish(&mut world, &mut peers).0, ":1\r\n");
    let told = world.send(&mut peers[2], b"*2\r\n$7\r\nPUBLISH\r\n$2001\r\n");
    assert_eq!(told, "-ERR Protocol error: invalid bulk length\r\n");
}
