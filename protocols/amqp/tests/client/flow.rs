//! What is slow: consumers, the network, the server. Memory stays bounded, and nothing hangs.

use std::time::Duration;

use bytes::Bytes;
use ropewalk_amqp::client::{ConsumeOptions, Error, Properties, QueueDeclare};
use ropewalk_amqp::codec::ShortStr;
use ropewalk_amqp::codec::method::connection;
use ropewalk_reactor::Simulation;

use super::{Story, peer};

fn bodies(count: usize, size: usize) -> impl Iterator<Item = Bytes> {
    (0..count).map(move |at| Bytes::from(vec![at as u8; size]))
}

#[test]
fn a_slow_stream_stops_the_reading_and_gets_every_delivery_in_order() {
    for seed in 0..20 {
        let mut story = Story::on(Simulation::new(seed));
        story.simulation.capacity(100_000);
        let limit = 200_000;
        let connection = story.connect_with(Story::options().deliveries_limit(limit)).unwrap();
        let channel = story
            .run(async move {
                let channel = connection.open_channel().await?;
                channel.queue_declare(QueueDeclare::named("q")).await?;
                Ok(channel)
            })
            .unwrap();
        story.fill("q", bodies(200, 10_000));
        let subscribing = channel.subscribe("q", ConsumeOptions::new());
        let mut consumer = story.run(async { Ok(subscribing.await?) }).unwrap();
        story.simulation.run_for(Duration::from_secs(60));
        // Two million octets are on their way, and most of them are still with the broker.
        let id = *story.broker.borrow().links.last().unwrap();
        let waiting = story.simulation.reactor().connection(id).unwrap().buffered();
        assert!(waiting > 1_500_000, "seed {seed}: only {waiting} wait outside");
        story
            .run(async move {
                for at in 0..200 {
                    let delivery = consumer.next().await?.unwrap();
                    assert_eq!(delivery.body()[0], at as u8);
                    delivery.ack()?;
                }
                Ok(())
            })
            .unwrap();
        story.simulation.run_for(Duration::from_secs(60));
        assert_eq!(story.broker.borrow().acked.len(), 200, "seed {seed}");
    }
}

#[test]
fn an_answer_behind_many_deliveries_is_found_by_whoever_awaits_it_between_two_of_them() {
    let mut story = Story::new();
    let connection = story.connect_with(Story::options().deliveries_limit(100_000)).unwrap();
    let channel = story
        .run(async move {
            let channel = connection.open_channel().await?;
            channel.queue_declare(QueueDeclare::named("q")).await?;
            channel.queue_declare(QueueDeclare::named("out")).await?;
            Ok(channel)
        })
        .unwrap();
    story.fill("q", bodies(30, 10_000));
    story
        .run(async move {
            let mut consumer = channel.subscribe("q", ConsumeOptions::new()).await?;
            for _ in 0..30 {
                let delivery = consumer.next().await?.unwrap();
                let body = delivery.body().clone();
                let sent = channel.publish_confirmed("", "out", Properties::new(), body).await?;
                assert!(sent.is_acked());
                delivery.ack()?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(story.broker.borrow().queues["out"].ready.len(), 30);
}

#[test]
fn publishing_faster_than_the_network_is_refused_in_the_end_and_ready_tells_when_to_go_on() {
    let mut story = Story::new();
    let connection = story.connect_with(Story::options().output_limit(1_000_000)).unwrap();
    let opening = connection.open_channel();
    let channel = story.run(async { Ok(opening.await?) }).unwrap();
    story.simulation.capacity(1000);
    let id = *story.broker.borrow().links.last().unwrap();
    story.simulation.reactor().connection(id).unwrap().pause_reading();

    let body = Bytes::from(vec![7; 50_000]);
    let mut sent = 0;
    let error = loop {
        match channel.publish("", "q", Properties::new(), body.clone()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        story.settle();
        assert!(sent < 100, "it is never refused");
    };
    assert!(matches!(error, Error::OutputFull(1_000_000)), "{error}");
    assert!((20..23).contains(&sent), "{sent}");
    assert!(!connection.is_ready());
    let ready = connection.ready();
    story.settle();
    assert!(!ready.is_ready());

    story.simulation.capacity(1 << 20);
    story.simulation.reactor().connection(id).unwrap().resume_reading();
    story.run(async { Ok(ready.await?) }).unwrap();
    channel.publish("", "q", Properties::new(), body).unwrap();
    story.settle();
    let heard = story.heard();
    assert_eq!(heard.iter().filter(|line| line.contains("basic.publish")).count(), sent + 1);
}

#[test]
fn whoever_awaits_ready_between_messages_is_never_refused() {
    for seed in 0..30 {
        let mut story = Story::on(Simulation::new(seed));
        story.simulation.capacity(1000 << (seed % 8)); // an octet at a time takes all day
        let connection = story.connect_with(Story::options().output_limit(200_000)).unwrap();
        story
            .run(async move {
                let channel = connection.open_channel().await?;
                channel.queue_declare(QueueDeclare::named("q")).await?;
                for body in bodies(50, 30_000) {
                    connection.ready().await?;
                    channel.publish("", "q", Properties::new(), body)?;
                }
                assert_eq!(channel.queue_purge("q").await?, 50);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn a_server_that_blocks_publishers_is_told_of_and_waited_for() {
    let mut story = Story::new();
    let connection = story.connect();
    let blocked = connection::Blocked { reason: ShortStr::literal("low on memory") };
    story.say(&peer::method(0, &blocked));
    assert_eq!(story.notices(), ["the server blocks publishers: low on memory"]);
    let ready = connection.ready();
    story.settle();
    assert!(!ready.is_ready() && connection.is_open());
    story.say(&peer::method(0, &connection::Unblocked {}));
    assert!(ready.is_ready());
    drop(ready);
    assert_eq!(story.notices(), ["the server takes messages again"]);
}

#[test]
fn a_message_larger_than_allowed_costs_the_channel_and_no_memory() {
    let mut story = Story::new();
    let connection = story.connect_with(Story::options().max_message_size(10_000)).unwrap();
    let (channel, other) = story
        .run(async move {
            let channel = connection.open_channel().await?;
            channel.queue_declare(QueueDeclare::named("q")).await?;
            Ok((channel, connection.open_channel().await?))
        })
        .unwrap();
    story.fill("q", bodies(1, 10_001));
    let got = channel.get("q", false);
    let error = story.run(async { Ok(got.await?) }).unwrap_err();
    assert!(error.to_string().contains("larger than configured max size 10000"), "{error}");
    story.settle();
    assert!(story.heard().contains(&"1 channel.close 406".to_owned()));
    story.run(async move { Ok(other.qos(1).await?) }).unwrap();
    assert_eq!(story.broker.borrow().queues["q"].ready.len(), 1, "it went back");
}
