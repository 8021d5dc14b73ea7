//! What methods answer when all is well.

use std::time::Duration;

use ropewalk_amqp::codec::method::{access, basic, channel, confirm, exchange, queue, tx};
use ropewalk_amqp::codec::{BasicProperties, Method, ShortStr, TableBuf};

use crate::wire::*;

const Q: ShortStr<'static> = ShortStr::literal("q");
const X: ShortStr<'static> = ShortStr::literal("x");
const C: ShortStr<'static> = ShortStr::literal("c");

fn with_q() -> (World, Client) {
    let mut world = World::new();
    let mut client = world.open();
    client.declare(&mut world, "q");
    (world, client)
}

#[test]
fn get_fetches_and_says_how_many_are_left() {
    let (mut world, mut client) = with_q();
    let get = basic::Get { queue: Q, ..Default::default() };
    client.call(&mut world, 1, &get, basic::GetEmpty::default());
    client.publish(&mut world, "q", "one");
    client.publish(&mut world, "q", "two");
    let get_ok = basic::GetOk {
        delivery_tag: 1,
        redelivered: false,
        exchange: ShortStr::EMPTY,
        routing_key: Q,
        message_count: 1,
    };
    client.call(&mut world, 1, &get, get_ok);
    assert_eq!(client.expect_content(1).1, b"one");
    let nack = basic::Nack { delivery_tag: 1, multiple: false, requeue: true };
    client.send(&mut world, 1, &nack);
    let get_ok = basic::GetOk { delivery_tag: 2, redelivered: true, ..get_ok };
    client.call(&mut world, 1, &get, get_ok);
    assert_eq!(client.expect_content(1).1, b"one");
    let no_ack = basic::Get { no_ack: true, ..get };
    let get_ok = basic::GetOk { delivery_tag: 3, redelivered: false, message_count: 0, ..get_ok };
    client.call(&mut world, 1, &no_ack, get_ok);
    assert_eq!(client.expect_content(1).1, b"two");
    client.ack(&mut world, 2);
    client.expect_nothing(&mut world);
    assert_eq!(world.messages(), 0);
}

#[test]
fn the_server_makes_up_names_that_nobody_guesses() {
    let mut world = World::new();
    let mut client = world.open();
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..200 {
        client.send(&mut world, 1, &queue::Declare::default());
        let Some(Seen::Method(1, "queue.declare-ok", payload)) = client.next(&mut world) else {
            panic!("no declare-ok")
        };
        let Ok(Method::QueueDeclareOk(declare_ok)) = Method::decode(&payload) else { panic!() };
        let name = declare_ok.queue.to_string();
        assert!(name.starts_with("amq.gen-") && name.len() == 30, "{name}");
        assert!(names.insert(name));
        // An empty name means the last one declared, an empty tag one of the server's.
        client.send(&mut world, 1, &basic::Consume::default());
        let Some(Seen::Method(1, "basic.consume-ok", payload)) = client.next(&mut world) else {
            panic!("no consume-ok")
        };
        let Ok(Method::BasicConsumeOk(consume_ok)) = Method::decode(&payload) else { panic!() };
        let tag = consume_ok.consumer_tag.to_string();
        assert!(tag.starts_with("amq.ctag-") && tag.len() == 31, "{tag}");
        assert!(names.insert(tag));
    }
}

#[test]
fn nowait_gets_no_answer() {
    let mut world = World::new();
    let mut client = world.open();
    let nowait = true;
    let bind = queue::Bind { queue: Q, exchange: X, nowait, ..Default::default() };
    client.send(&mut world, 1, &queue::Declare { queue: Q, nowait, ..Default::default() });
    client.send(&mut world, 1, &exchange::Declare { exchange: X, nowait, ..Default::default() });
    client.send(&mut world, 1, &bind);
    client.send(&mut world, 1, &confirm::Select { nowait });
    client.send(
        &mut world,
        1,
        &basic::Consume { queue: Q, consumer_tag: C, nowait, ..Default::default() },
    );
    client.send(&mut world, 1, &basic::Cancel { consumer_tag: C, nowait });
    client.send(&mut world, 1, &queue::Purge { queue: Q, nowait, ..Default::default() });
    client.send(&mut world, 1, &queue::Delete { queue: Q, nowait, ..Default::default() });
    client.send(&mut world, 1, &exchange::Delete { exchange: X, nowait, ..Default::default() });
    client.expect_nothing(&mut world);
}

#[test]
fn purge_and_delete_say_how_many_were_ready() {
    let (mut world, mut client) = with_q();
    for _ in 0..3 {
        client.publish(&mut world, "q", "x");
    }
    let purge = queue::Purge { queue: Q, ..Default::default() };
    client.call(&mut world, 1, &purge, queue::PurgeOk { message_count: 3 });
    client.publish(&mut world, "q", "x");
    let delete = queue::Delete { queue: Q, ..Default::default() };
    client.call(&mut world, 1, &delete, queue::DeleteOk { message_count: 1 });
    client.call(&mut world, 1, &delete, queue::DeleteOk { message_count: 0 });
}

#[test]
fn an_exchange_leads_where_it_is_bound() {
    let (mut world, mut client) = with_q();
    let exchange_type = ShortStr::literal("topic");
    let declare = exchange::Declare { exchange: X, exchange_type, ..Default::default() };
    client.call(&mut world, 1, &declare, exchange::DeclareOk {});
    let routing_key = ShortStr::literal("a.#");
    let bind = queue::Bind { queue: Q, exchange: X, routing_key, ..Default::default() };
    client.call(&mut world, 1, &bind, queue::BindOk {});
    let fanout = ShortStr::literal("amq.fanout");
    let on = exchange::Bind { source: fanout, destination: X, ..Default::default() };
    client.call(&mut world, 1, &on, exchange::BindOk {});
    client.consume(&mut world, "q", "c", true);
    let publish = |exchange, key: &'static str| {
        let routing_key = ShortStr::literal(key);
        let publish = basic::Publish { exchange, routing_key, ..Default::default() };
        publish_with(1, &publish, &BasicProperties::default(), key.as_bytes())
    };
    for (exchange, key) in [(X, "a"), (X, "b"), (X, "a.b.c"), (fanout, "a.x"), (fanout, "x.a")] {
        client.raw(&mut world, &publish(exchange, key));
    }
    assert_eq!(client.bodies(&mut world), ["a", "a.b.c", "a.x"]);
    let off = exchange::Unbind { source: fanout, destination: X, ..Default::default() };
    client.call(&mut world, 1, &off, exchange::UnbindOk {});
    let unbind = queue::Unbind { queue: Q, exchange: X, routing_key, ..Default::default() };
    client.raw(&mut world, &publish(fanout, "a.x"));
    client.call(&mut world, 1, &unbind, queue::UnbindOk {});
    client.raw(&mut world, &publish(X, "a"));
    client.expect_nothing(&mut world);
}

#[test]
fn confirms_count_from_one_and_come_together_after_the_returns() {
    let (mut world, mut client) = with_q();
    client.call(&mut world, 1, &confirm::Select::default(), confirm::SelectOk {});
    let mut octets = publish(1, "q", b"1");
    octets.extend(publish(1, "q", b"2"));
    let nowhere = basic::Publish { mandatory: true, ..to("nowhere") };
    octets.extend(publish_with(1, &nowhere, &BasicProperties::default(), b"3"));
    client.raw(&mut world, &octets);
    let returned = basic::Return {
        reply_code: 312,
        reply_text: ShortStr::literal("NO_ROUTE"),
        exchange: ShortStr::EMPTY,
        routing_key: ShortStr::literal("nowhere"),
    };
    client.expect(&mut world, 1, returned);
    assert_eq!(client.expect_content(1).1, b"3");
    client.expect(&mut world, 1, basic::Ack { delivery_tag: 3, multiple: true });
    client.publish(&mut world, "q", "4");
    client.expect(&mut world, 1, basic::Ack { delivery_tag: 4, multiple: false });
}

#[test]
fn recover_answers_first_and_then_delivers_again() {
    let (mut world, mut client) = with_q();
    client.consume(&mut world, "q", "c", false);
    client.publish(&mut world, "q", "1");
    client.publish(&mut world, "q", "2");
    assert_eq!(client.bodies(&mut world), ["1", "2"]);
    client.call(&mut world, 1, &basic::Recover { requeue: true }, basic::RecoverOk {});
    for (tag, body) in [(3, b"1"), (4, b"2")] {
        let again = client.delivery(&mut world).expect("again");
        assert_eq!((again.delivery_tag, again.redelivered), (tag, true));
        assert_eq!(again.body, body);
    }
    client.send(&mut world, 1, &basic::RecoverAsync { requeue: true });
    assert_eq!(client.bodies(&mut world), ["1", "2"]);
}

#[test]
fn small_courtesies_are_answered() {
    let (mut world, mut client) = with_q();
    let flow_ok = channel::FlowOk { active: true };
    client.call(&mut world, 1, &channel::Flow { active: true }, flow_ok);
    client.call(&mut world, 1, &access::Request::default(), access::RequestOk { ticket: 1 });
    let unknown = basic::Cancel { consumer_tag: C, nowait: false };
    client.call(&mut world, 1, &unknown, basic::CancelOk { consumer_tag: C });
    client.send(&mut world, 1, &basic::CancelOk { consumer_tag: C });
    client.expect_nothing(&mut world);
}

#[test]
fn a_consumer_whose_queue_goes_is_told_if_it_can_hear_it() {
    for (capabilities, told) in [(&["consumer_cancel_notify"][..], true), (&[], false)] {
        let (mut world, mut owner) = with_q();
        let mut client = world.dial();
        client.raw(&mut world, &opening(&Opening { capabilities, ..Default::default() }));
        for _ in 0..3 {
            client.next(&mut world);
        }
        client.open_channel(&mut world, 1);
        client.consume(&mut world, "q", "c", true);
        let delete = queue::Delete { queue: Q, ..Default::default() };
        owner.call(&mut world, 1, &delete, queue::DeleteOk { message_count: 0 });
        if told {
            client.expect(&mut world, 1, basic::Cancel { consumer_tag: C, nowait: true });
        }
        client.expect_nothing(&mut world);
    }
}

#[test]
fn bodies_of_every_size_arrive_whole_in_frames_that_the_client_takes() {
    let sizes = [0, 1, 4095, 4096, 16_384, 131_063, 131_064, 131_065, 300_000, 1 << 20];
    for (frame_max, split) in [(131_072, 131_064), (4096, 4088)] {
        let mut world = World::new();
        let mut client = world.dial();
        let tune_ok = ropewalk_amqp::codec::method::connection::TuneOk {
            channel_max: 2047,
            frame_max,
            heartbeat: 0,
        };
        client.raw(&mut world, &opening(&Opening { tune_ok, ..Default::default() }));
        for _ in 0..3 {
            client.next(&mut world);
        }
        client.open_channel(&mut world, 1);
        client.declare(&mut world, "q");
        client.consume(&mut world, "q", "c", true);
        for size in sizes {
            let body: Vec<u8> = (0..size).map(|at| (at / 3) as u8).collect();
            let mut octets = method(1, &to("q"));
            octets.extend(frame(2, 1, &header(size as u64, b"\x80\0\x01t")));
            for piece in body.chunks(split) {
                octets.extend(frame(3, 1, piece));
            }
            client.raw(&mut world, &octets);
            let Some(Seen::Method(1, "basic.deliver", _)) = client.next(&mut world) else {
                panic!("no delivery of {size} octets")
            };
            let header = client.next_now();
            assert_eq!(header, Some(Seen::Header(1, size as u64, b"\x80\0\x01t".to_vec())));
            let mut found = Vec::new();
            while let Some(Seen::Body(1, piece)) = client.next_now() {
                assert!(piece.len() <= split);
                found.extend(piece);
            }
            assert!(found == body, "{size} octets");
        }
        assert_eq!(world.messages(), 0);
    }
}

#[test]
fn what_expires_goes_by_itself_and_to_its_dead_letter_exchange() {
    let (mut world, mut client) = with_q();
    let arguments = TableBuf::new()
        .with("x-message-ttl", 1000)
        .with("x-dead-letter-exchange", "")
        .with("x-dead-letter-routing-key", "q");
    let queue = ShortStr::literal("short");
    let declare = queue::Declare { queue, arguments: arguments.as_table(), ..Default::default() };
    client.call(&mut world, 1, &declare, queue::DeclareOk { queue, ..Default::default() });
    client.consume(&mut world, "q", "c", true);
    client.publish(&mut world, "short", "late");
    world.simulation.run_for(Duration::from_millis(900));
    client.expect_nothing(&mut world);
    world.simulation.run_for(Duration::from_millis(200));
    let letter = client.delivery(&mut world).expect("the dead letter");
    assert_eq!(letter.body, b"late");
    let properties = BasicProperties::decode(&letter.properties).expect("properties");
    let headers = properties.headers.expect("headers");
    assert_eq!(headers.get_str("x-first-death-reason"), Some("expired"));
    assert_eq!(headers.get_str("x-first-death-queue"), Some("short"));
    // A message's own time, and a later one that is sooner due than the alarm that is set.
    let own = |ttl| BasicProperties { expiration: Some(ttl), ..Default::default() };
    for (ttl, body) in [(ShortStr::literal("800"), b"800"), (ShortStr::literal("100"), b"100")] {
        let name = std::str::from_utf8(body).unwrap();
        let queue = ShortStr::cut(name);
        let declare =
            queue::Declare { queue, arguments: arguments.as_table(), ..Default::default() };
        client.call(&mut world, 1, &declare, queue::DeclareOk { queue, ..Default::default() });
        client.raw(&mut world, &publish_with(1, &to(name), &own(ttl), body));
    }
    world.simulation.run_for(Duration::from_millis(200));
    assert_eq!(client.bodies(&mut world), ["100"]);
    world.simulation.run_for(Duration::from_millis(800));
    assert_eq!(client.bodies(&mut world), ["800"]);
}

#[test]
fn global_prefetch_is_shared_and_the_other_is_not() {
    for (global, expected) in [(false, 4), (true, 2)] {
        let (mut world, mut client) = with_q();
        let qos = basic::Qos { prefetch_size: 0, prefetch_count: 2, global };
        client.call(&mut world, 1, &qos, basic::QosOk {});
        client.consume(&mut world, "q", "one", false);
        client.consume(&mut world, "q", "two", false);
        for number in 0..6 {
            client.publish(&mut world, "q", format!("{number}"));
        }
        assert_eq!(client.bodies(&mut world).len(), expected);
    }
}

#[test]
fn a_transaction_takes_effect_at_its_commit_or_not_at_all() {
    let (mut world, mut client) = with_q();
    let mut watcher = world.open();
    watcher.consume(&mut world, "q", "watcher", true);
    client.call(&mut world, 1, &tx::Select {}, tx::SelectOk {});
    client.publish(&mut world, "q", "1");
    client.publish(&mut world, "q", "2");
    watcher.expect_nothing(&mut world);
    client.call(&mut world, 1, &tx::Commit {}, tx::CommitOk {});
    assert_eq!(watcher.bodies(&mut world), ["1", "2"]);
    client.publish(&mut world, "q", "3");
    client.call(&mut world, 1, &tx::Rollback {}, tx::RollbackOk {});
    client.publish(&mut world, "q", "4");
    client.call(&mut world, 1, &tx::Commit {}, tx::CommitOk {});
    assert_eq!(watcher.bodies(&mut world), ["4"]);
}

#[test]
fn a_quorum_queue_counts_how_often_a_message_came_back() {
    let mut world = World::new();
    let mut client = world.open();
    let arguments = TableBuf::new().with("x-queue-type", "quorum");
    let declare = queue::Declare {
        queue: Q,
        durable: true,
        arguments: arguments.as_table(),
        ..Default::default()
    };
    client.call(&mut world, 1, &declare, queue::DeclareOk { queue: Q, ..Default::default() });
    client.consume(&mut world, "q", "c", false);
    let headers = TableBuf::new().with("mine", "kept");
    let properties = BasicProperties { headers: Some(headers.as_table()), ..Default::default() };
    client.raw(&mut world, &publish_with(1, &to("q"), &properties, b"x"));
    // The first time it has not come back yet, and says nothing, as in RabbitMQ.
    for count in [None, Some(1), Some(2)] {
        let delivered = client.delivery(&mut world).expect("a delivery");
        let properties = BasicProperties::decode(&delivered.properties).expect("properties");
        let headers = properties.headers.expect("headers");
        assert_eq!(headers.get_integer("x-delivery-count"), count);
        assert_eq!(headers.get_str("mine"), Some("kept"));
        let delivery_tag = delivered.delivery_tag;
        client.send(&mut world, 1, &basic::Reject { delivery_tag, requeue: true });
    }
}

#[test]
fn a_reply_finds_its_way_without_a_queue() {
    let (mut world, mut server) = with_q();
    server.consume(&mut world, "q", "server", true);
    let mut client = world.open();
    client.consume(&mut world, "amq.rabbitmq.reply-to", "replies", true);
    let reply_to = Some(ShortStr::literal("amq.rabbitmq.reply-to"));
    let properties = BasicProperties { reply_to, ..Default::default() };
    client.raw(&mut world, &publish_with(1, &to("q"), &properties, b"2 + 2"));
    let request = server.delivery(&mut world).expect("the request");
    let properties = BasicProperties::decode(&request.properties).expect("properties");
    let address = properties.reply_to.expect("an address").to_string();
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    server.publish(&mut world, &address, "4");
    let reply = client.delivery(&mut world).expect("the reply");
    assert_eq!((reply.body.as_slice(), reply.consumer_tag.as_str()), (&b"4"[..], "replies"));
    assert_eq!(reply.routing_key, address);
}
