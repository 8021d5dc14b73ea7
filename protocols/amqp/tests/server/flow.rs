//! Slow consumers: the backlog waits in the queue, and everybody else goes on.

use ropewalk_amqp::codec::ShortStr;
use ropewalk_amqp::codec::method::{basic, connection, queue};
use ropewalk_amqp::server::Config;

use crate::wire::*;

const MARK: usize = 64 * 1024;

/// The most that may wait for a connection: the mark, a run of frames, the broker's pass, and what
/// the network holds.
const BOUND: usize = 700 * 1024;

fn buffered(world: &mut World) -> usize {
    let reactor = world.simulation.reactor();
    let connections = reactor.connections();
    let most = connections.into_iter().filter_map(|id| Some(reactor.connection(id)?.buffered()));
    most.max().unwrap_or(0)
}

/// A world with a small mark and a network that holds little, a publisher, and a consumer of `q`
/// that reads nothing.
fn slow(no_ack: bool) -> (World, Client, Client) {
    let mut world = World::with(Config::default().high_water_mark(MARK));
    world.simulation.capacity(16 * 1024);
    let mut publisher = world.open();
    publisher.declare(&mut world, "q");
    let mut consumer = world.open();
    consumer.consume(&mut world, "q", "c", no_ack);
    consumer.peer.stop_reading();
    (world, publisher, consumer)
}

fn body(number: usize) -> Vec<u8> {
    let mut body = format!("{number:05}").into_bytes();
    body.resize(1000, b'.');
    body
}

#[test]
fn a_consumer_that_does_not_read_costs_bounded_memory_and_loses_nothing() {
    for no_ack in [true, false] {
        let (mut world, mut publisher, mut consumer) = slow(no_ack);
        const COUNT: usize = 5000;
        for number in 0..COUNT {
            publisher.peer.write(&publish(1, "q", &body(number)));
            if number % 100 == 0 {
                world.run();
                assert!(buffered(&mut world) < BOUND, "{} buffered", buffered(&mut world));
            }
        }
        world.run();
        let passive =
            queue::Declare { queue: ShortStr::literal("q"), passive: true, ..Default::default() };
        publisher.send(&mut world, 1, &passive);
        let Some(Seen::Method(1, "queue.declare-ok", _)) = publisher.next(&mut world) else {
            panic!("the publisher is undisturbed")
        };
        assert!(world.messages() > COUNT / 2, "the backlog waits in the queue");
        consumer.peer.resume_reading();
        let mut next = 0;
        for _ in 0..2000 {
            world.run();
            while let Some(delivered) = consumer.delivery_now() {
                assert_eq!(delivered.body, body(next));
                next += 1;
            }
        }
        assert_eq!(next, COUNT);
        if !no_ack {
            let all = basic::Ack { delivery_tag: 0, multiple: true };
            consumer.send(&mut world, 1, &all);
        }
        assert_eq!(world.messages(), 0);
    }
}

#[test]
fn acknowledgements_are_read_while_output_waits() {
    let (mut world, mut publisher, mut consumer) = slow(false);
    for number in 0..2000 {
        publisher.peer.write(&publish(1, "q", &body(number)));
    }
    for _ in 0..500 {
        world.run();
    }
    let before = world.messages();
    consumer.send(&mut world, 1, &basic::Ack { delivery_tag: 1, multiple: false });
    consumer.send(&mut world, 1, &basic::Ack { delivery_tag: 10, multiple: true });
    assert_eq!(world.messages(), before - 10);
}

#[test]
fn heartbeats_are_counted_while_output_waits() {
    let mut world = World::with(Config::default().high_water_mark(MARK));
    world.simulation.capacity(16 * 1024);
    let mut publisher = world.open();
    publisher.declare(&mut world, "q");
    let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 10 };
    let mut consumer = world.open_as(&Opening { tune_ok, ..Default::default() });
    consumer.consume(&mut world, "q", "c", false);
    consumer.peer.stop_reading();
    for number in 0..1000 {
        publisher.peer.write(&publish(1, "q", &body(number)));
    }
    for _ in 0..300 {
        world.run();
    }
    assert!(buffered(&mut world) > MARK / 2, "it is full");
    // Ten minutes of nothing but signs of life.
    for _ in 0..60 {
        world.simulation.run_for(std::time::Duration::from_secs(10));
        consumer.raw(&mut world, &frame(8, 0, b""));
    }
    assert_eq!(world.connections(), 2);
    // Without them it is dead, and what it held is there for others.
    world.simulation.run_for(std::time::Duration::from_secs(40));
    assert_eq!(world.connections(), 1);
    publisher.consume(&mut world, "q", "other", true);
    let mut got = 0;
    for _ in 0..500 {
        world.run();
        while publisher.delivery_now().is_some() {
            got += 1;
        }
    }
    assert_eq!(got, 1000);
}

#[test]
fn a_slow_consumer_does_not_keep_messages_from_a_quick_one() {
    let (mut world, mut publisher, _slow) = slow(false);
    for number in 0..1000 {
        publisher.peer.write(&publish(1, "q", &body(number)));
    }
    for _ in 0..300 {
        world.run();
    }
    let waiting = world.messages();
    let mut quick = world.open();
    quick.consume(&mut world, "q", "quick", true);
    let mut got = 0;
    for _ in 0..2000 {
        world.run();
        while quick.delivery_now().is_some() {
            got += 1;
        }
    }
    assert!(got > 500 && got < waiting, "{got} of {waiting}: all but what the slow one holds");
    assert_eq!(world.messages(), waiting - got);
}

#[test]
fn one_large_message_after_another_is_not_piled_up() {
    let (mut world, mut publisher, mut consumer) = slow(true);
    let large = vec![7; 300_000];
    for _ in 0..50 {
        publisher.peer.write(&publish(1, "q", &large));
    }
    for _ in 0..3000 {
        world.run();
    }
    assert!(buffered(&mut world) < 3 * large.len(), "{}", buffered(&mut world));
    consumer.peer.resume_reading();
    let mut got = 0;
    for _ in 0..3000 {
        world.run();
        while let Some(delivered) = consumer.delivery_now() {
            assert!(delivered.body == large);
            got += 1;
        }
    }
    assert_eq!(got, 50);
}

#[test]
fn a_connection_that_is_full_can_still_be_closed() {
    let (mut world, mut publisher, mut consumer) = slow(true);
    for number in 0..1000 {
        publisher.peer.write(&publish(1, "q", &body(number)));
    }
    for _ in 0..300 {
        world.run();
    }
    consumer.send(&mut world, 0, &connection::Close::default());
    consumer.peer.resume_reading();
    let mut last = None;
    for _ in 0..500 {
        world.run();
        while let Some(seen) = consumer.next_now() {
            last = Some(seen);
        }
    }
    assert!(matches!(last, Some(Seen::Method(0, "connection.close-ok", _))), "{last:?}");
    assert_eq!(world.connections(), 1, "the publisher's");
}

#[test]
fn a_backlog_is_not_poured_out_over_a_new_consumer() {
    let (mut world, mut publisher, mut consumer) = slow(true);
    consumer.peer.reset();
    for number in 0..10_000 {
        publisher.peer.write(&publish(1, "q", &body(number)));
    }
    for _ in 0..3000 {
        world.run();
    }
    assert!(world.messages() > 9000, "{}", world.messages());
    let mut consumer = world.open();
    consumer.peer.stop_reading();
    let consume =
        basic::Consume { queue: ShortStr::literal("q"), no_ack: true, ..Default::default() };
    consumer.send(&mut world, 1, &consume);
    assert!(buffered(&mut world) < BOUND, "{}", buffered(&mut world));
}

#[test]
fn what_a_half_closed_client_holds_goes_to_others_though_its_output_is_stuck() {
    let (mut world, mut publisher, mut stuck) = slow(false);
    for number in 0..200 {
        publisher.peer.write(&publish(1, "q", &body(number)));
    }
    for _ in 0..300 {
        world.run();
    }
    let mut other = world.open();
    other.consume(&mut world, "q", "other", true);
    stuck.peer.shutdown();
    for _ in 0..100 {
        world.run();
    }
    assert_eq!(world.messages(), 0);
    let all: Vec<_> = std::iter::from_fn(|| other.delivery(&mut world)).collect();
    assert_eq!(all.len(), 200);
    assert!(all.iter().any(|delivered| delivered.redelivered));
}

#[test]
fn what_one_read_publishes_is_delivered_in_order_and_before_the_answer_to_what_follows() {
    let mut world = World::new();
    let mut client = world.open();
    client.declare(&mut world, "q");
    client.consume(&mut world, "q", "c", true);
    // More than the broker's outbox takes, in less than one read of 64 KiB.
    const COUNT: usize = 1000;
    let mut octets = Vec::new();
    for number in 0..COUNT {
        octets.extend(publish(1, "q", format!("{number:04}").as_bytes()));
    }
    octets.extend(method(1, &basic::Qos::default()));
    octets.extend(publish(1, "q", b"last"));
    assert!(octets.len() < 64 * 1024);
    client.raw(&mut world, &octets);
    for number in 0..COUNT {
        let delivered = client.delivery(&mut world).expect("all are delivered");
        assert_eq!(delivered.body, format!("{number:04}").as_bytes());
    }
    client.expect(&mut world, 1, basic::QosOk {});
    let last = client.delivery(&mut world).expect("the last, behind the answer");
    assert_eq!(last.body, b"last");
}
