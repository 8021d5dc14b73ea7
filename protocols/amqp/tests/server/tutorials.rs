//! RabbitMQ's first two tutorials, frame by frame.

use ropewalk_amqp::codec::method::{basic, channel, connection, queue};
use ropewalk_amqp::codec::{BasicProperties, ShortStr, TableBuf};

use crate::wire::*;

#[test]
fn hello_world() {
    let mut world = World::new();
    let mut sender = world.open();
    sender.declare(&mut world, "hello");
    sender.publish(&mut world, "hello", "Hello World!");
    let close = connection::Close { reply_code: 200, ..Default::default() };
    sender.call(&mut world, 0, &close, connection::CloseOk {});

    let mut receiver = world.open();
    let queue = ShortStr::literal("hello");
    let declare_ok = queue::DeclareOk { queue, message_count: 1, consumer_count: 0 };
    receiver.call(&mut world, 1, &queue::Declare { queue, ..Default::default() }, declare_ok);
    receiver.consume(&mut world, "hello", "ctag1", true);
    let delivered = receiver.delivery(&mut world).expect("the message");
    assert_eq!(
        delivered,
        Delivered {
            channel: 1,
            consumer_tag: "ctag1".into(),
            delivery_tag: 1,
            redelivered: false,
            routing_key: "hello".into(),
            properties: vec![0, 0],
            body: b"Hello World!".to_vec(),
        }
    );
    receiver.expect_nothing(&mut world);
    assert_eq!(world.messages(), 0);
}

/// Declares the tutorial's queue as the tutorials of today do.
fn declare_tasks(world: &mut World, client: &mut Client) {
    let arguments = TableBuf::new().with("x-queue-type", "quorum");
    let queue = ShortStr::literal("task_queue");
    let declare = queue::Declare {
        queue,
        durable: true,
        arguments: arguments.as_table(),
        ..Default::default()
    };
    client.send(world, 1, &declare);
    let Some(Seen::Method(1, "queue.declare-ok", _)) = client.next(world) else {
        panic!("no declare-ok")
    };
}

/// Publishes a task as the tutorial does: persistent.
fn new_task(world: &mut World, client: &mut Client, body: &str) {
    let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() };
    client.raw(world, &publish_with(1, &to("task_queue"), &properties, body.as_bytes()));
}

fn worker(world: &mut World) -> Client {
    let mut worker = world.open();
    declare_tasks(world, &mut worker);
    worker.qos(world, 1);
    worker.consume(world, "task_queue", "worker", false);
    worker
}

#[test]
fn two_workers_share_the_tasks_in_turn() {
    let mut world = World::new();
    let mut sender = world.open();
    declare_tasks(&mut world, &mut sender);
    let mut workers = [worker(&mut world), worker(&mut world)];
    for number in 0..6 {
        new_task(&mut world, &mut sender, &format!("task {number}"));
    }
    let mut done = [vec![], vec![]];
    for _ in 0..3 {
        for (worker, done) in workers.iter_mut().zip(&mut done) {
            let task = worker.delivery(&mut world).expect("a task");
            assert!(!task.redelivered);
            // One at a time: the next comes after the acknowledgement.
            worker.expect_nothing(&mut world);
            worker.ack(&mut world, task.delivery_tag);
            done.push(String::from_utf8(task.body).expect("text"));
        }
    }
    assert_eq!(done, [["task 0", "task 2", "task 4"], ["task 1", "task 3", "task 5"]]);
    assert_eq!(world.messages(), 0);
}

#[test]
fn a_busy_worker_gets_no_second_task_while_another_is_idle() {
    let mut world = World::new();
    let mut sender = world.open();
    declare_tasks(&mut world, &mut sender);
    let (mut slow, mut quick) = (worker(&mut world), worker(&mut world));
    for number in 0..5 {
        new_task(&mut world, &mut sender, &format!("task {number}"));
    }
    assert_eq!(slow.bodies(&mut world), ["task 0"]);
    for tag in 1..=4 {
        assert_eq!(quick.bodies(&mut world), [format!("task {tag}")]);
        quick.ack(&mut world, tag);
    }
}

#[test]
fn a_killed_workers_task_goes_to_the_other_and_says_so() {
    for how in ["reset", "close", "half close", "channel.close", "connection.close"] {
        let mut world = World::new();
        let mut sender = world.open();
        declare_tasks(&mut world, &mut sender);
        let mut doomed = worker(&mut world);
        new_task(&mut world, &mut sender, "dig");
        assert_eq!(doomed.bodies(&mut world), ["dig"]);
        let mut other = worker(&mut world);
        other.expect_nothing(&mut world);
        match how {
            "reset" => doomed.peer.reset(),
            "close" => doomed.peer.close(),
            "half close" => doomed.peer.shutdown(),
            "channel.close" => {
                doomed.call(&mut world, 1, &channel::Close::default(), channel::CloseOk {});
            }
            _ => {
                let close = connection::Close::default();
                doomed.call(&mut world, 0, &close, connection::CloseOk {});
            }
        }
        let again = other.delivery(&mut world).expect(how);
        assert_eq!((again.body.as_slice(), again.redelivered), (&b"dig"[..], true), "{how}");
        other.ack(&mut world, again.delivery_tag);
        assert_eq!(world.messages(), 0);
    }
}

#[test]
fn what_a_worker_did_not_acknowledge_comes_back_in_its_old_order() {
    let mut world = World::new();
    let mut sender = world.open();
    sender.declare(&mut world, "q");
    for number in 0..6 {
        sender.publish(&mut world, "q", format!("{number}"));
    }
    let mut doomed = world.open();
    doomed.qos(&mut world, 3);
    doomed.consume(&mut world, "q", "c", false);
    assert_eq!(doomed.bodies(&mut world), ["0", "1", "2"]);
    doomed.peer.reset();
    world.run();
    let mut next = world.open();
    next.consume(&mut world, "q", "c", true);
    assert_eq!(next.bodies(&mut world), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn consume_ok_comes_before_the_first_delivery_and_cancel_ok_after_the_last() {
    let mut world = World::new();
    let mut client = world.open();
    client.declare(&mut world, "q");
    for number in 0..3 {
        client.publish(&mut world, "q", format!("{number}"));
    }
    let consumer_tag = ShortStr::literal("c");
    let consume =
        basic::Consume { queue: ShortStr::literal("q"), consumer_tag, ..Default::default() };
    let mut octets = method(1, &consume);
    octets.extend(publish(1, "q", b"3"));
    octets.extend(method(1, &basic::Cancel { consumer_tag, nowait: false }));
    octets.extend(publish(1, "q", b"4"));
    client.raw(&mut world, &octets);
    client.expect(&mut world, 1, basic::ConsumeOk { consumer_tag });
    for number in 0..4 {
        let delivered = client.delivery(&mut world).expect("a delivery");
        assert_eq!(delivered.body, format!("{number}").as_bytes());
    }
    client.expect(&mut world, 1, basic::CancelOk { consumer_tag });
    client.expect_nothing(&mut world);
}
