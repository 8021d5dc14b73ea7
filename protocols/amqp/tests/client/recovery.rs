//! A lost connection is made again, and what was on it is brought back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_amqp::client::{
    Channel, Connection, ConsumeOptions, Error, ExchangeDeclare, Properties, QueueDeclare,
    Reconnect,
};
use ropewalk_amqp::codec::{Encoder, ShortStr, Table};

use ropewalk_amqp::codec::method::{basic, channel, connection};

use super::{Story, peer};

fn start() -> (Story, Connection, Channel) {
    let mut story = Story::new();
    let connection = story.connect();
    let opening = connection.open_channel();
    let channel = story.run(async { Ok(opening.await?) }).unwrap();
    (story, connection, channel)
}

/// Cuts the connection, and waits until all is there again.
fn cut_and_recover(story: &mut Story, connection: &Connection) {
    story.cut();
    story.simulation.run_until(|_| !connection.is_open());
    assert!(story.simulation.run_until(|_| connection.is_open()), "it never comes back");
    story.settle();
}

#[test]
fn channels_topology_and_consumers_come_back_in_an_order_that_works() {
    let (mut story, connection, channel) = start();
    let other = {
        let (channel, connection) = (channel.clone(), connection.clone());
        story
            .run(async move {
                channel.exchange_declare(ExchangeDeclare::fanout("b")).await?;
                channel.exchange_declare(ExchangeDeclare::direct("a")).await?;
                channel.exchange_bind("b", "a", "", Table::EMPTY).await?;
                channel.queue_declare(QueueDeclare::named("q").durable()).await?;
                channel.queue_declare(QueueDeclare::named("gone")).await?;
                channel.queue_bind("q", "b", "").await?;
                channel.queue_bind("gone", "b", "").await?;
                channel.queue_delete("gone").await?;
                channel.qos(5).await?;
                channel.consume("q", ConsumeOptions::new().tag("t"), |_, _| {}).await?;
                let other = connection.open_channel().await?;
                other.confirm_select().await?;
                Ok(other)
            })
            .unwrap()
    };
    story.heard();
    cut_and_recover(&mut story, &connection);
    assert_eq!(
        story.heard(),
        [
            "1 channel.open",
            "1 basic.qos 5 false",
            "2 channel.open",
            "2 confirm.select",
            "3 channel.open",
            "3 exchange.declare a direct",
            "3 exchange.declare b fanout",
            "3 queue.declare \"q\"",
            "3 exchange.bind b a",
            "3 queue.bind \"q\" b \"\"",
            "3 channel.close 200",
            "1 basic.consume \"q\" t",
        ]
    );
    let notices = story.notices();
    assert!(notices[0].starts_with("lost: "), "{notices:?}");
    assert_eq!(notices[1..], ["recovered"]);
    story
        .run(async move {
            let confirmed = other.publish_confirmed("", "q", Properties::new(), "x").await?;
            assert!(confirmed.is_acked(), "numbers begin at 1 again");
            Ok(channel.close().await?)
        })
        .unwrap();
}

#[test]
fn a_queue_that_the_server_names_is_bound_and_consumed_under_its_new_name() {
    let (mut story, connection, channel) = start();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let told = heard.clone();
    let setup = channel.clone();
    let old = story
        .run(async move {
            setup.exchange_declare(ExchangeDeclare::fanout("logs")).await?;
            let queue = setup.queue_declare(QueueDeclare::server_named().exclusive()).await?;
            setup.queue_bind("", "logs", "").await?;
            let print = move |_: &mut _, delivery: ropewalk_amqp::client::Delivery| {
                told.borrow_mut().push(delivery.text().into_owned());
            };
            setup.consume("", ConsumeOptions::new().no_ack(), print).await?;
            Ok(queue.name)
        })
        .unwrap();
    for _ in 0..2 {
        cut_and_recover(&mut story, &connection);
    }
    let new = connection.current_name(&old);
    assert_ne!(new, old);
    assert!(story.notices().contains(&format!("queue 'amq.gen-2' is now '{new}'")));
    let bound: Vec<_> = story.broker.borrow().bindings.iter().cloned().collect();
    assert_eq!(bound, [("logs".to_owned(), String::new(), new.clone())]);
    channel.publish("logs", "", Properties::new(), "by exchange").unwrap();
    channel.publish("", &old, Properties::new(), "by its old name").unwrap();
    story.simulation.run_for(Duration::from_secs(1));
    assert_eq!(*heard.borrow(), ["by exchange", "by its old name"]);
    let purged = channel.queue_purge(&old);
    let last = channel.queue_bind("", "logs", "again");
    story
        .run(async move {
            purged.await?;
            Ok(last.await?)
        })
        .unwrap();
    assert!(story.heard().contains(&format!("1 queue.bind {new:?} logs \"again\"")));
}

#[test]
fn what_was_under_way_fails_and_is_not_sent_again() {
    let (mut story, connection, channel) = start();
    {
        let mut broker = story.broker.borrow_mut();
        broker.confirms = false;
        broker.held.insert("basic.qos");
    }
    let declared = channel.queue_declare(QueueDeclare::named("q"));
    let unconfirmed = channel.publish_confirmed("", "q", Properties::new(), "x");
    let all = channel.wait_for_confirms();
    let request = channel.qos(1);
    story.run(async { Ok(declared.await?) }).unwrap();
    story.settle();
    story.broker.borrow_mut().held.clear();
    story.cut();
    story.simulation.run_until(|_| !connection.is_open());
    // Between two connections, everything fails at once.
    let late = channel.qos(1);
    assert!(matches!(channel.publish("", "q", Properties::new(), "y"), Err(Error::Reconnecting)));
    let errors = story
        .run(async move {
            Ok((
                Error::from(unconfirmed.await.unwrap_err()),
                Error::from(all.await.unwrap_err()),
                Error::from(request.await.unwrap_err()),
                Error::from(late.await.unwrap_err()),
            ))
        })
        .unwrap();
    assert!(matches!(errors.0, Error::Unconfirmed(_)), "{}", errors.0);
    assert!(matches!(errors.1, Error::Unconfirmed(_)), "{}", errors.1);
    assert!(matches!(errors.2, Error::ConnectionLost(_)), "{}", errors.2);
    assert!(matches!(errors.3, Error::Reconnecting), "{}", errors.3);
    let ready = connection.ready();
    story.run(async { Ok(ready.await?) }).unwrap();
    assert!(connection.is_open());
    assert_eq!(story.broker.borrow().queues["q"].ready.len(), 1);
}

#[test]
fn deliveries_of_a_lost_connection_cannot_be_acknowledged_on_the_new_one() {
    let (mut story, connection, channel) = start();
    let declared = channel.queue_declare(QueueDeclare::named("q"));
    story.run(async { Ok(declared.await?) }).unwrap();
    story.fill("q", ["1", "2"].map(Into::into));
    let subscribing = channel.subscribe("q", ConsumeOptions::new());
    let (mut consumer, old) = story
        .run(async {
            let mut consumer = subscribing.await?;
            let old = consumer.next().await?.unwrap();
            Ok((consumer, old))
        })
        .unwrap();
    cut_and_recover(&mut story, &connection);
    assert!(old.is_stale());
    old.ack().unwrap();
    story
        .run(async move {
            // The one that waited in the stream was dropped: both come again, once.
            for body in ["1", "2"] {
                let delivery = consumer.next().await?.unwrap();
                assert_eq!((delivery.text(), delivery.redelivered()), (body.into(), true));
                delivery.ack()?;
            }
            Ok(())
        })
        .unwrap();
    story.settle();
    assert_eq!(story.broker.borrow().acked.len(), 2);
    assert!(channel.closed().is_none());
}

#[test]
fn deliveries_that_need_no_acknowledgement_are_kept() {
    let (mut story, connection, channel) = start();
    let declared = channel.queue_declare(QueueDeclare::named("q"));
    story.run(async { Ok(declared.await?) }).unwrap();
    story.fill("q", ["1", "2"].map(Into::into));
    let subscribing = channel.subscribe("q", ConsumeOptions::new().no_ack());
    let mut consumer = story.run(async { Ok(subscribing.await?) }).unwrap();
    story.settle();
    cut_and_recover(&mut story, &connection);
    story
        .run(async move {
            for body in ["1", "2"] {
                assert_eq!(consumer.next().await?.unwrap().text(), body);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_the_server_refuses_is_told_and_the_rest_comes_back() {
    let (mut story, connection, channel) = start();
    let setup = channel.clone();
    story
        .run(async move {
            for queue in ["a", "b", "c"] {
                setup.queue_declare(QueueDeclare::named(queue)).await?;
                setup.queue_bind(queue, "amq.fanout", "").await?;
            }
            setup.consume("c", ConsumeOptions::new(), |_, _| {}).await?;
            Ok(())
        })
        .unwrap();
    story.broker.borrow_mut().queues.clear();
    let text = "PRECONDITION_FAILED - inequivalent arg";
    story.broker.borrow_mut().refused.insert("queue.declare", (406, text, 1));
    cut_and_recover(&mut story, &connection);
    let notices = story.notices();
    let missing: Vec<_> = notices.iter().filter(|notice| notice.contains("missing")).collect();
    assert_eq!(missing.len(), 2, "{notices:?}");
    assert!(missing[0].contains("queue 'a' is missing") && missing[0].contains("inequivalent"));
    assert!(missing[1].contains("binding of 'a' to 'amq.fanout' is missing"));
    let broker = story.broker.borrow();
    assert_eq!(broker.queues.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(broker.bindings.iter().filter(|(_, _, to)| to != "a").count(), 2);
    drop(broker);
    assert!(channel.closed().is_none(), "the consumer's queue is there");
}

#[test]
fn a_consumer_whose_queue_is_gone_ends_with_its_channel() {
    let (mut story, connection, channel) = start();
    let setup = channel.clone();
    let mut consumer = story
        .run(async move {
            setup.queue_declare(QueueDeclare::named("q").passive()).await?;
            Ok(setup.subscribe("q", ConsumeOptions::new()).await?)
        })
        .unwrap();
    story.broker.borrow_mut().queues.clear();
    cut_and_recover(&mut story, &connection);
    let error = story.run(async move { consumer.next().await.map(drop) }).unwrap_err();
    assert!(matches!(error, Error::ChannelClosed(_)), "{error}");
    assert!(channel.closed().is_some() && connection.is_open());
}

#[test]
fn a_server_that_closes_the_connection_is_come_back_to() {
    let (mut story, connection, channel) = start();
    let close = connection::Close {
        reply_code: 320,
        reply_text: ShortStr::literal("CONNECTION_FORCED - shutdown"),
        ..Default::default()
    };
    story.say(&peer::method(0, &close));
    assert!(story.simulation.run_until(|_| connection.is_open()));
    story.settle();
    assert_eq!(
        story.notices(),
        ["lost: the server closed the connection: 320 CONNECTION_FORCED - shutdown", "recovered"]
    );
    assert!(story.broker.borrow().heard.contains(&"0 connection.close-ok".to_owned()));
    assert!(channel.closed().is_none());
}

#[test]
fn attempts_wait_longer_each_time_up_to_the_maximum_and_begin_anew_after_success() {
    let mut story = Story::new();
    let reconnect =
        Reconnect::default().first_delay(Duration::from_secs(1)).max_delay(Duration::from_secs(8));
    let connection = story.connect_with(Story::options().reconnect(reconnect)).unwrap();
    // The broker accepts, and drops at once.
    story.broker.borrow_mut().held.insert("connection.start");
    story.cut();
    let mut gaps = Vec::new();
    for _ in 0..7 {
        let links = story.broker.borrow().links.len();
        let began = story.simulation.elapsed();
        let broker = story.broker.clone();
        assert!(story.simulation.run_until(|_| broker.borrow().links.len() > links));
        gaps.push((story.simulation.elapsed() - began).as_secs_f64());
        story.cut();
    }
    for (gap, most) in gaps.iter().zip([1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]) {
        assert!((most / 2.0..=most * 1.01).contains(gap), "{gaps:?}");
    }
    assert!(gaps[3..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter: {gaps:?}");
    story.broker.borrow_mut().held.clear();
    assert!(story.simulation.run_until(|_| connection.is_open()));
    story.simulation.run_for(Duration::from_secs(60));
    let began = story.simulation.elapsed();
    cut_and_recover(&mut story, &connection);
    let took = (story.simulation.elapsed() - began).as_secs_f64();
    assert!(took < 2.1, "the count did not begin anew: {took}");
}

#[test]
fn close_stops_the_attempts_and_a_limit_ends_them() {
    let (mut story, connection, channel) = start();
    story.cut();
    story.simulation.run_until(|_| !connection.is_open());
    let closed = connection.until_closed();
    let closing = connection.close();
    story
        .run(async move {
            closing.await?;
            Ok(closed.await?)
        })
        .unwrap();
    assert!(matches!(connection.closed(), Some(Error::Closed)));
    assert!(matches!(channel.closed(), Some(Error::Closed)));
    let links = story.broker.borrow().links.len();
    story.simulation.run_for(Duration::from_secs(600));
    assert_eq!(story.broker.borrow().links.len(), links);

    let limited = Story::options().reconnect(Reconnect::default().max_attempts(2));
    let connection = story.connect_with(limited).unwrap();
    story.broker.borrow_mut().held.insert("connection.start-ok");
    story.cut();
    for _ in 0..2 {
        let links = story.broker.borrow().links.len();
        let broker = story.broker.clone();
        assert!(story.simulation.run_until(|_| broker.borrow().links.len() > links));
        story.settle();
        story.cut();
    }
    story.simulation.run_for(Duration::from_secs(600));
    assert!(matches!(connection.closed(), Some(Error::Refused)), "{:?}", connection.closed());
    assert!(story.notices().last().unwrap().starts_with("closed: "));
}

#[test]
fn a_channel_closed_by_the_server_stays_closed_and_is_not_brought_back() {
    let (mut story, connection, channel) = start();
    let close = channel::Close {
        reply_code: 406,
        reply_text: ShortStr::literal("PRECONDITION_FAILED"),
        ..Default::default()
    };
    story.say(&peer::method(1, &close));
    assert!(channel.closed().is_some());
    story.broker.borrow_mut().heard.clear();
    cut_and_recover(&mut story, &connection);
    assert!(story.heard().is_empty());
}

#[test]
fn a_channel_closed_and_a_consumer_dropped_in_mid_recovery_do_not_come_back() {
    let (mut story, connection, channel) = start();
    let setup = connection.clone();
    let (other, consumer) = story
        .run(async move {
            channel.queue_declare(QueueDeclare::named("q")).await?;
            let consumer = channel.subscribe("q", ConsumeOptions::new()).await?;
            let other = setup.open_channel().await?;
            other.consume("q", ConsumeOptions::new(), |_, _| {}).await?;
            Ok((other, consumer))
        })
        .unwrap();
    story.broker.borrow_mut().held.extend(["queue.declare", "basic.cancel"]);
    story.heard();
    story.cut();
    story.settle();
    assert!(!connection.is_open(), "its queue is not there yet");
    let closing = other.close();
    let again = other.close();
    drop(consumer);
    story
        .run(async move {
            closing.await?;
            Ok(again.await?)
        })
        .unwrap();
    let declared = ropewalk_amqp::codec::method::queue::DeclareOk {
        queue: ShortStr::literal("q"),
        ..Default::default()
    };
    story.say(&peer::method(3, &declared));
    assert!(!connection.is_open(), "the consumer's end is not answered yet");
    let consumer_tag = ShortStr::literal("ropewalk-1-1");
    story.say(&peer::method(1, &basic::CancelOk { consumer_tag }));
    assert!(connection.is_open());
    assert_eq!(
        story.heard(),
        [
            "1 channel.open",
            "2 channel.open",
            "3 channel.open",
            "3 queue.declare \"q\"",
            "2 channel.close 200",
            "1 basic.cancel ropewalk-1-1",
            "3 channel.close 200",
        ]
    );
    let opening = connection.open_channel();
    story.run(async { Ok(opening.await?) }).unwrap();
    assert_eq!(story.heard(), ["2 channel.open"]);
}

#[test]
fn a_delivery_in_mid_recovery_waits_for_its_end_and_is_kept_if_it_comes_only_once() {
    let (mut story, connection, channel) = start();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let told = heard.clone();
    story
        .run(async move {
            channel.queue_declare(QueueDeclare::named("q")).await?;
            for (tag, options) in
                [("once", ConsumeOptions::new().no_ack()), ("again", ConsumeOptions::new())]
            {
                let told = told.clone();
                let hear = move |_: &mut _, delivery: ropewalk_amqp::client::Delivery| {
                    told.borrow_mut().push(delivery.text().into_owned());
                };
                channel.consume("q", options.tag(tag), hear).await?;
            }
            Ok(())
        })
        .unwrap();
    story.broker.borrow_mut().held.insert("basic.consume");
    story.cut();
    story.settle();
    for tag in ["once", "again"] {
        let consumer_tag = ShortStr::literal(tag);
        let deliver = basic::Deliver { consumer_tag, delivery_tag: 1, ..Default::default() };
        let mut octets = Vec::new();
        let mut encoder = Encoder::new();
        encoder.frames_to(&mut octets, 0).content(1, &deliver, b"\0\0", &tag.into());
        story.say(&octets);
    }
    assert!(!connection.is_open() && heard.borrow().is_empty());
    story.broker.borrow_mut().held.clear();
    cut_and_recover(&mut story, &connection);
    assert_eq!(*heard.borrow(), ["once"]);
}
