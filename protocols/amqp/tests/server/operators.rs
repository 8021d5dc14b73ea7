//! What an operator does to those who are connected, as they see it.

use std::time::Duration;

use ropewalk_amqp::codec::ShortStr;
use ropewalk_amqp::codec::method::{channel, connection, queue};
use ropewalk_amqp::server::Config;

use crate::wire::*;

const NONE: (u16, u16) = (0, 0);

#[test]
fn connections_are_closed_with_the_operators_reason_and_what_they_held_goes_to_others() {
    let mut world = World::new();
    let (mut one, mut other) = (world.open(), world.open());
    one.declare(&mut world, "q");
    one.consume(&mut world, "q", "t", false);
    one.publish(&mut world, "q", "m");
    assert!(one.delivery(&mut world).is_some());
    let mut peers = Vec::new();
    let reactor = world.simulation.reactor();
    let closed = world.server.close_connections(reactor, "because we can", |it| {
        assert_eq!((it.user, it.vhost, it.channels), (&b"guest"[..], &b"/"[..], 1));
        peers.push(it.peer.clone());
        peers.len() == 1
    });
    assert_eq!((closed, peers.len()), (1, 2));
    one.expect_close(&mut world, "320 CONNECTION_FORCED - because we can", NONE);
    one.send(&mut world, 0, &connection::CloseOk {});
    assert!(one.is_ended(&mut world));
    other.consume(&mut world, "q", "t", false);
    assert!(other.delivery(&mut world).is_some_and(|it| it.redelivered));
}

#[test]
fn who_is_in_a_virtual_host_that_is_deleted_is_told_and_nobody_gets_in_any_more() {
    let mut world = World::with(Config::default().vhost("v"));
    let in_v = Opening { vhost: "v", ..Opening::default() };
    let (mut inside, mut outside) = (world.open_as(&in_v), world.open());
    inside.declare(&mut world, "q");
    inside.publish(&mut world, "q", "m");
    world.run();
    assert_eq!(world.messages(), 1);
    assert!(world.server.delete_vhost(world.simulation.reactor(), b"v"));
    inside.expect_close(&mut world, "320 CONNECTION_FORCED - vhost 'v' is deleted", NONE);
    assert_eq!((world.messages(), world.connections()), (0, 1));
    outside.declare(&mut world, "q");
    assert!(!world.server.delete_vhost(world.simulation.reactor(), b"v"));

    let mut late = world.dial();
    late.raw(&mut world, &opening(&in_v));
    late.next(&mut world);
    late.next(&mut world);
    let open = (10, 40);
    late.expect_close(&mut world, "530 NOT_ALLOWED - vhost v not found", open);
}

#[test]
fn a_virtual_host_nobody_is_in_goes_at_once() {
    let mut world = World::with(Config::default().vhost("v"));
    world.server.start(world.simulation.reactor()).expect("randomness");
    assert!(world.server.delete_vhost(world.simulation.reactor(), b"v"));
    let gone = world.server.with_broker(|broker| broker.vhost(b"v").is_err());
    assert_eq!(gone, Some(true));
}

#[test]
fn the_connections_of_a_user_who_is_deleted_are_closed() {
    let mut world = World::new();
    let mut client = world.open();
    assert!(world.server.delete_user(world.simulation.reactor(), b"guest"));
    client.expect_close(&mut world, "320 CONNECTION_FORCED - user 'guest' is deleted", NONE);
    assert!(!world.server.delete_user(world.simulation.reactor(), b"guest"));
}

#[test]
fn a_connection_that_an_alarm_keeps_unread_is_closed_like_any_other() {
    let mut world = World::with(Config::default().memory_limit(1));
    let mut client = world.open();
    client.declare(&mut world, "q");
    client.publish(&mut world, "q", "m");
    client.publish(&mut world, "q", "m");
    let reactor = world.simulation.reactor();
    assert_eq!(world.server.close_connections(reactor, "bye", |_| true), 1);
    client.expect_close(&mut world, "320 CONNECTION_FORCED - bye", NONE);
    client.send(&mut world, 0, &connection::CloseOk {});
    assert!(client.is_ended(&mut world));
}

#[test]
fn a_consumer_that_never_acknowledges_loses_its_channel_and_another_gets_the_message() {
    let minute = Duration::from_secs(60);
    let mut world = World::with(Config::default().consumer_timeout(Some(minute)));
    let (mut hung, mut other) = (world.open(), world.open());
    hung.declare(&mut world, "q");
    hung.consume(&mut world, "q", "t", false);
    other.publish(&mut world, "q", "m");
    assert!(hung.delivery(&mut world).is_some());
    world.simulation.run_for(minute);
    hung.expect_nothing(&mut world);
    world.simulation.run_for(Duration::from_secs(4));
    let text = "406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout \
                value used: 60000 ms. This timeout value can be configured, see consumers doc \
                guide to learn more";
    hung.expect_channel_close(&mut world, 1, text, NONE);
    other.consume(&mut world, "q", "t", false);
    assert!(other.delivery(&mut world).is_some_and(|it| it.redelivered));
    // The connection stays, and the channel's number can be used again.
    hung.send(&mut world, 1, &channel::CloseOk {});
    hung.open_channel(&mut world, 1);
    let passive =
        queue::Declare { queue: ShortStr::literal("q"), passive: true, ..Default::default() };
    let found =
        queue::DeclareOk { queue: ShortStr::literal("q"), message_count: 0, consumer_count: 1 };
    hung.call(&mut world, 1, &passive, found);
    world.simulation.run_for(Duration::from_secs(10));
    hung.expect_nothing(&mut world);
}
