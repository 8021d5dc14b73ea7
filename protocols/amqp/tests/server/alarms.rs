//! Alarms: who publishes while memory or disk run low has to wait, nobody else, and nothing is
//! lost.

use std::time::Duration;

use ropewalk_amqp::codec::ShortStr;
use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, queue, tx};
use ropewalk_amqp::server::{Config, Resource};
use ropewalk_reactor::Simulation;

use crate::wire::*;

const Q: ShortStr<'static> = ShortStr::literal("q");

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A client that wants to be told when it is blocked.
fn informed(world: &mut World) -> Client {
    let capabilities = &["connection.blocked", "consumer_cancel_notify"];
    world.open_as(&Opening { capabilities, ..Default::default() })
}

/// A world with the queue `q`, a publisher that wants to be told, and a consumer of `q`.
fn furnished() -> (World, Client, Client) {
    let mut world = World::new();
    let mut publisher = informed(&mut world);
    publisher.declare(&mut world, "q");
    let mut consumer = informed(&mut world);
    consumer.consume(&mut world, "q", "c", true);
    (world, publisher, consumer)
}

fn set_alarm(world: &mut World, resource: Resource, low: bool) {
    let server = world.server.clone();
    server.set_alarm(world.simulation.reactor(), resource, low).expect("randomness");
    world.run();
}

fn memory(world: &World) -> usize {
    world.server.with_broker(|broker| broker.memory()).unwrap_or(0) as usize
}

fn blocked(reason: &'static str) -> connection::Blocked<'static> {
    connection::Blocked { reason: ShortStr::literal(reason) }
}

fn passive() -> Vec<u8> {
    method(1, &queue::Declare { queue: Q, passive: true, ..Default::default() })
}

/// What answers [`passive`].
fn declare_ok(message_count: u32, consumer_count: u32) -> queue::DeclareOk<'static> {
    queue::DeclareOk { queue: Q, message_count, consumer_count }
}

fn body(number: usize, len: usize) -> Vec<u8> {
    let mut body = format!("{number:06}").into_bytes();
    body.resize(len, b'.');
    body
}

// As RabbitMQ 3.10 does.

#[test]
fn a_publisher_waits_from_its_first_message_on_and_nothing_of_it_is_lost() {
    let (mut world, mut publisher, mut consumer) = furnished();
    set_alarm(&mut world, Resource::Disk, true);
    publisher.expect_nothing(&mut world);
    publisher.raw(&mut world, &passive());
    publisher.expect(&mut world, 1, declare_ok(0, 1)); // who does not publish notices nothing
    publisher.publish(&mut world, "q", "first");
    publisher.expect(&mut world, 0, blocked("low on disk"));
    publisher.publish(&mut world, "q", "second");
    publisher.raw(&mut world, &passive());
    publisher.expect_nothing(&mut world);
    consumer.expect_nothing(&mut world);
    consumer.raw(&mut world, &passive());
    consumer.expect(&mut world, 1, declare_ok(0, 1));
    set_alarm(&mut world, Resource::Disk, false);
    publisher.expect(&mut world, 0, connection::Unblocked {});
    publisher.expect(&mut world, 1, declare_ok(0, 1));
    publisher.expect_nothing(&mut world);
    assert_eq!(consumer.bodies(&mut world), ["first", "second"]);
}

#[test]
fn a_frame_that_makes_a_message_whole_is_served_before_its_connection_is_blocked() {
    let (mut world, mut publisher, mut consumer) = furnished();
    let mut half = method(1, &to("q"));
    half.extend(frame(2, 1, &header(9, b"\0\0")));
    half.extend(frame(3, 1, b"one"));
    publisher.raw(&mut world, &half);
    set_alarm(&mut world, Resource::Memory, true);
    // One frame is taken, then no more.
    publisher.raw(&mut world, &[frame(3, 1, b"two"), frame(3, 1, b"end")].concat());
    publisher.expect(&mut world, 0, blocked("low on memory"));
    consumer.expect_nothing(&mut world);
    // Of a message without a body the header is all.
    let mut other = informed(&mut world);
    other.publish(&mut world, "q", "");
    other.expect(&mut world, 0, blocked("low on memory"));
    assert_eq!(consumer.bodies(&mut world), [""]);
    set_alarm(&mut world, Resource::Memory, false);
    assert_eq!(consumer.bodies(&mut world), ["onetwoend"]);
}

#[test]
fn both_reasons_are_told_once_and_the_last_one_to_end_unblocks() {
    let (mut world, mut publisher, _consumer) = furnished();
    set_alarm(&mut world, Resource::Memory, true);
    publisher.publish(&mut world, "q", "1");
    publisher.expect(&mut world, 0, blocked("low on memory"));
    set_alarm(&mut world, Resource::Disk, true);
    set_alarm(&mut world, Resource::Disk, true); // again is no other alarm
    publisher.expect_nothing(&mut world);
    let mut second = informed(&mut world);
    second.publish(&mut world, "q", "2");
    second.expect(&mut world, 0, blocked("low on disk & memory"));
    set_alarm(&mut world, Resource::Memory, false);
    assert!(world.server.has_alarm(Resource::Disk) && !world.server.has_alarm(Resource::Memory));
    publisher.expect_nothing(&mut world);
    let mut third = informed(&mut world);
    third.publish(&mut world, "q", "3");
    third.expect(&mut world, 0, blocked("low on disk"));
    set_alarm(&mut world, Resource::Disk, false);
    for mut client in [publisher, second, third] {
        client.expect(&mut world, 0, connection::Unblocked {});
        client.expect_nothing(&mut world);
    }
}

#[test]
fn a_client_that_does_not_know_the_method_waits_without_being_told() {
    let (mut world, _publisher, mut consumer) = furnished();
    let mut old = world.open();
    set_alarm(&mut world, Resource::Memory, true);
    old.publish(&mut world, "q", "patience");
    old.raw(&mut world, &passive());
    old.expect_nothing(&mut world);
    consumer.expect_nothing(&mut world);
    set_alarm(&mut world, Resource::Memory, false);
    old.expect(&mut world, 1, declare_ok(0, 1));
    assert_eq!(consumer.bodies(&mut world), ["patience"]);
}

#[test]
fn a_connection_can_be_opened_and_closed_while_an_alarm_is_on() {
    let (mut world, mut publisher, _consumer) = furnished();
    set_alarm(&mut world, Resource::Disk, true);
    let mut late = informed(&mut world); // `open-ok`, and no other word
    late.expect_nothing(&mut world);
    late.call(&mut world, 0, &connection::Close::default(), connection::CloseOk {});
    // One that is blocked is heard when the alarm is over.
    publisher.publish(&mut world, "q", "x");
    publisher.expect(&mut world, 0, blocked("low on disk"));
    publisher.send(&mut world, 0, &connection::Close::default());
    publisher.expect_nothing(&mut world);
    set_alarm(&mut world, Resource::Disk, false);
    publisher.expect(&mut world, 0, connection::Unblocked {});
    publisher.expect(&mut world, 0, connection::CloseOk {});
}

#[test]
fn a_blocked_connection_still_gets_its_deliveries_and_confirms() {
    let (mut world, mut publisher, _consumer) = furnished();
    publisher.call(&mut world, 1, &confirm::Select::default(), confirm::SelectOk {});
    publisher.declare(&mut world, "own");
    publisher.consume(&mut world, "own", "mine", true);
    set_alarm(&mut world, Resource::Disk, true);
    publisher.publish(&mut world, "q", ""); // whole, and so confirmed
    publisher.expect(&mut world, 1, basic::Ack { delivery_tag: 1, multiple: false });
    publisher.expect(&mut world, 0, blocked("low on disk"));
    let mut other = informed(&mut world);
    other.publish(&mut world, "own", "");
    assert_eq!(publisher.bodies(&mut world), [""]);
}

#[test]
fn heartbeats_go_out_to_a_blocked_client_and_its_own_are_not_missed() {
    let mut world = World::new();
    let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 10 };
    let mut client = world.open_as(&Opening {
        capabilities: &["connection.blocked"],
        tune_ok,
        ..Default::default()
    });
    set_alarm(&mut world, Resource::Memory, true);
    client.publish(&mut world, "nowhere", "x");
    client.expect(&mut world, 0, blocked("low on memory"));
    // It says nothing for ten minutes, as far as the server can know.
    for _ in 0..120 {
        world.simulation.run_for(Duration::from_secs(5));
        assert_eq!(client.next(&mut world), Some(Seen::Heartbeat));
        client.expect_nothing(&mut world);
    }
    set_alarm(&mut world, Resource::Memory, false);
    client.expect(&mut world, 0, connection::Unblocked {});
    // From now on it has its two intervals, like everybody else.
    world.simulation.run_for(Duration::from_secs(19));
    assert!(!client.is_ended(&mut world));
    world.simulation.run_for(Duration::from_secs(15));
    assert!(client.is_ended(&mut world));
}

#[test]
fn what_a_client_sent_before_it_went_is_served_after_the_alarm() {
    let (mut world, mut publisher, mut consumer) = furnished();
    set_alarm(&mut world, Resource::Disk, true);
    publisher.publish(&mut world, "q", "one");
    publisher.publish(&mut world, "q", "two");
    publisher.peer.close();
    world.run();
    assert_eq!(world.connections(), 2);
    set_alarm(&mut world, Resource::Disk, false);
    assert_eq!(consumer.bodies(&mut world), ["one", "two"]);
    assert_eq!(world.connections(), 1);
}

#[test]
fn a_session_that_is_blocked_may_end_after_any_octet() {
    let mut session = opening(&Opening::default());
    session.extend(method(1, &channel::Open::default()));
    session.extend(method(1, &queue::Declare { queue: Q, ..Default::default() }));
    session.extend(publish(1, "q", b"one"));
    session.extend(publish(1, "q", b""));
    session.extend(method(1, &queue::Delete { queue: Q, ..Default::default() }));
    for end in 0..=session.len() {
        let mut world = World::with(Config::default().consumer_timeout(None));
        set_alarm(&mut world, Resource::Memory, true);
        let mut client = world.dial();
        client.raw(&mut world, &session[..end]);
        match end % 3 {
            0 => client.peer.close(),
            1 => client.peer.reset(),
            _ => client.peer.shutdown(),
        }
        world.run();
        set_alarm(&mut world, Resource::Memory, false);
        assert_eq!(world.connections(), 0, "{end}");
        assert_eq!(world.simulation.reactor().connection_count(), 0, "{end}");
        assert_eq!(world.simulation.reactor().timer_count(), 0, "{end}");
    }
}

// The limit on what messages hold.

#[test]
fn a_publisher_without_limit_is_held_to_the_memory_limit_and_loses_nothing() {
    const COUNT: usize = 20_000;
    const LIMIT: usize = MIB;
    for seed in 0..6 {
        let simulation = if seed == 0 { Simulation::calm() } else { Simulation::new(seed) };
        let mut world = World::on(simulation, Config::default().memory_limit(LIMIT as u64));
        let mut publisher = world.dial();
        let capabilities = &["connection.blocked"];
        let mut octets = opening(&Opening { capabilities, ..Default::default() });
        octets.extend(method(1, &channel::Open::default()));
        octets.extend(method(1, &queue::Declare { queue: Q, ..Default::default() }));
        publisher.raw(&mut world, &octets);
        for number in 0..COUNT {
            publisher.peer.write(&publish(1, "q", &body(number, 400)));
        }
        // Nobody consumes: it goes up to the limit, and a message beyond.
        settle(&mut world);
        let (held, stored) = (memory(&world), world.messages());
        assert!(held > LIMIT && held < LIMIT + 600, "seed {seed}: {held}");
        assert!(world.server.has_alarm(Resource::Memory));
        settle(&mut world);
        assert_eq!((memory(&world), world.messages()), (held, stored), "seed {seed}");

        let mut consumer = world.dial();
        let mut octets = opening(&Opening::default());
        octets.extend(method(1, &channel::Open::default()));
        let consume = basic::Consume { queue: Q, no_ack: true, ..Default::default() };
        octets.extend(method(1, &consume));
        consumer.raw(&mut world, &octets);
        let (mut next, mut most, mut idle) = (0, 0, 0);
        while next < COUNT && idle < 10_000 {
            world.run();
            most = most.max(memory(&world));
            idle += 1;
            while let Some(seen) = consumer.next_now() {
                if let Seen::Body(1, found) = seen {
                    assert!(found == body(next, 400), "seed {seed}: message {next}");
                    (next, idle) = (next + 1, 0);
                }
            }
        }
        assert_eq!(next, COUNT, "seed {seed}");
        assert!(most < LIMIT + 600, "seed {seed}: {most}");
        settle(&mut world);
        assert_eq!(memory(&world), 0);
        assert!(!world.server.has_alarm(Resource::Memory));

        // Every block was followed by its end, and by progress.
        let mut told = 0;
        while let Some(seen) = publisher.next(&mut world) {
            match seen {
                Seen::Method(0, "connection.blocked", _) => told += 1,
                Seen::Method(0, "connection.unblocked", _) => told -= 1,
                _ => {}
            }
            assert!(told == 0 || told == 1, "seed {seed}: {told}");
        }
        assert_eq!(told, 0, "seed {seed}");
    }
}

/// Lets a stormy network calm down.
fn settle(world: &mut World) {
    for _ in 0..200 {
        world.run();
    }
}

/// A world whose messages may hold 1 MiB, with a publisher that has filled `q` and is blocked.
fn full(arguments: &ropewalk_amqp::codec::TableBuf) -> (World, Client) {
    let mut world = World::with(Config::default().memory_limit(MIB as u64));
    let mut publisher = informed(&mut world);
    let arguments = arguments.as_table();
    let declare = queue::Declare { queue: Q, arguments, ..Default::default() };
    let declare_ok = queue::DeclareOk { queue: Q, ..Default::default() };
    publisher.call(&mut world, 1, &declare, declare_ok);
    for number in 0..11 {
        publisher.publish(&mut world, "q", body(number, 100 * KIB));
    }
    publisher.expect(&mut world, 0, blocked("low on memory"));
    assert_eq!(world.messages(), 11, "the one that is too much is not lost");
    publisher.publish(&mut world, "q", "later");
    publisher.expect_nothing(&mut world);
    (world, publisher)
}

fn plain() -> ropewalk_amqp::codec::TableBuf {
    ropewalk_amqp::codec::TableBuf::new()
}

#[test]
fn the_alarm_ends_once_an_eighth_is_free_and_not_before() {
    let (mut world, mut publisher) = full(&plain());
    let mut consumer = world.open();
    let get = basic::Get { queue: Q, no_ack: true, ..Default::default() };
    consumer.send(&mut world, 1, &get);
    assert!(memory(&world) < MIB);
    publisher.expect_nothing(&mut world);
    consumer.send(&mut world, 1, &get);
    consumer.send(&mut world, 1, &get);
    assert!(memory(&world) < MIB - MIB / 8);
    publisher.expect(&mut world, 0, connection::Unblocked {});
    assert_eq!(world.messages(), 9, "what was kept waiting is there");
}

#[test]
fn memory_is_free_again_however_messages_go() {
    type Way = fn(&mut World, &mut Client);
    let ways: [Way; 3] = [
        |world, other| other.send(world, 1, &queue::Purge { queue: Q, ..Default::default() }),
        |world, other| other.send(world, 1, &queue::Delete { queue: Q, ..Default::default() }),
        |world, other| {
            // In a consumer's hands they are still there.
            other.consume(world, "q", "c", false);
            settle(world);
            assert!(memory(world) > MIB);
            other.send(world, 1, &basic::Ack { delivery_tag: 0, multiple: true });
        },
    ];
    for way in ways {
        let (mut world, mut publisher) = full(&plain());
        let mut other = world.open();
        way(&mut world, &mut other);
        publisher.expect(&mut world, 0, connection::Unblocked {});
        assert!(memory(&world) < KIB, "{}", memory(&world));
    }
    // By time alone, with nobody there to do anything.
    let (mut world, mut publisher) = full(&argument("x-message-ttl", 60_000));
    world.simulation.run_for(Duration::from_secs(59));
    publisher.expect_nothing(&mut world);
    world.simulation.run_for(Duration::from_secs(2));
    publisher.expect(&mut world, 0, connection::Unblocked {});
}

#[test]
fn what_waits_for_its_commit_counts_and_goes_with_its_connection() {
    let mut world = World::with(Config::default().memory_limit(MIB as u64));
    let mut hoarder = world.open();
    hoarder.declare(&mut world, "q");
    hoarder.call(&mut world, 1, &tx::Select {}, tx::SelectOk {});
    for number in 0..11 {
        hoarder.publish(&mut world, "q", body(number, 100 * KIB));
    }
    assert!(world.server.has_alarm(Resource::Memory));
    let mut publisher = informed(&mut world);
    publisher.publish(&mut world, "q", "x");
    publisher.expect(&mut world, 0, blocked("low on memory"));
    hoarder.peer.reset();
    publisher.expect(&mut world, 0, connection::Unblocked {});
    assert_eq!(world.messages(), 1);
}

#[test]
fn a_message_that_is_handed_on_at_once_raises_no_alarm() {
    let mut world = World::with(Config::default().memory_limit(64 * KIB as u64));
    let mut publisher = informed(&mut world);
    publisher.declare(&mut world, "q");
    let mut consumer = world.open();
    consumer.consume(&mut world, "q", "c", true);
    publisher.publish(&mut world, "q", vec![b'x'; 100 * KIB]);
    settle(&mut world);
    publisher.expect_nothing(&mut world);
    assert_eq!(consumer.bodies(&mut world)[0].len(), 100 * KIB);
}

#[test]
fn messages_that_never_become_whole_are_bounded_too() {
    let config = Config::default().memory_limit(MIB as u64).max_message_size(MIB as u64);
    let mut world = World::with(config);
    let mut bystander = world.open();
    bystander.declare(&mut world, "q");
    let mut finished = world.open();
    finished.open_channel(&mut world, 2);
    // Together 2 MiB, as often as anybody likes: what was given back counts no more.
    for round in 0..4 {
        let mut hoarder = world.open();
        hoarder.open_channel(&mut world, 2);
        for client in [&mut finished, &mut hoarder] {
            for channel in [1, 2] {
                let mut octets = method(channel, &to("q"));
                octets.extend(frame(2, channel, &header(MIB as u64, b"\0\0")));
                for _ in 0..8 {
                    octets.extend(frame(3, channel, &[0; 64 * KIB]));
                }
                client.raw(&mut world, &octets);
            }
            client.expect_nothing(&mut world);
        }
        // The octet that is too much.
        let mut last = world.open();
        let mut octets = method(1, &to("q"));
        octets.extend(frame(2, 1, &header(9, b"\0\0")));
        octets.extend(frame(3, 1, b"!"));
        last.raw(&mut world, &octets);
        let text = "506 RESOURCE_ERROR - unfinished messages hold 2097153 octets, the limit is \
                    2097152";
        last.expect_close(&mut world, text, (0, 0));
        match round {
            0 => hoarder.peer.reset(),
            1 => hoarder.peer.shutdown(),
            2 => hoarder.send(&mut world, 0, &connection::Close::default()),
            _ => hoarder.raw(&mut world, b"nonsense"),
        }
        world.run();
        // The others become whole.
        for channel in [1, 2] {
            for _ in 0..8 {
                finished.raw(&mut world, &frame(3, channel, &[0; 64 * KIB]));
            }
            let purge = queue::Purge { queue: Q, ..Default::default() };
            bystander.call(&mut world, 1, &purge, queue::PurgeOk { message_count: 1 });
        }
    }
}
