//! Channels: requests, deliveries, confirms, and what happens when the server refuses.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_amqp::client::{
    Channel, Confirmation, Connection, ConsumeOptions, Error, ExchangeDeclare, Properties, Publish,
    QueueDeclare,
};
use ropewalk_amqp::codec::method::basic;
use ropewalk_amqp::codec::{ReplyCode, ShortStr, Table};

use super::Story;

fn open(story: &mut Story, connection: &Connection) -> Channel {
    let opening = connection.open_channel();
    let channel = story.run(async { Ok(opening.await?) }).unwrap();
    story.heard();
    channel
}

fn start() -> (Story, Connection, Channel) {
    let mut story = Story::new();
    let connection = story.connect();
    let channel = open(&mut story, &connection);
    (story, connection, channel)
}

#[test]
fn requests_go_out_without_waiting_and_are_answered_in_order() {
    let (mut story, _, channel) = start();
    let exchange = channel.exchange_declare(ExchangeDeclare::direct("x"));
    let queue = channel.queue_declare(QueueDeclare::named("q").durable());
    let bound = channel.queue_bind("", "x", "k");
    let published = channel.publish("x", "k", Properties::new(), "hello");
    let answers = async move {
        exchange.await?;
        let queue = queue.await?;
        bound.await?;
        published?;
        let got = channel.get("q", false).await?.unwrap();
        assert_eq!((queue.name.as_str(), got.message_count), ("q", 0));
        assert_eq!(got.delivery.text(), "hello");
        assert!(got.delivery.exchange() == "x" && got.delivery.routing_key() == "k");
        got.delivery.ack()?;
        assert!(matches!(got.delivery.ack(), Err(Error::AlreadySettled)));
        assert!(channel.get("q", true).await?.is_none());
        channel.queue_unbind("q", "x", "k", Table::EMPTY).await?;
        assert_eq!(channel.queue_purge("q").await?, 0);
        assert_eq!(channel.queue_delete("q").await?, 0);
        channel.exchange_delete("x", false).await?;
        Ok(channel.close().await?)
    };
    story.run(answers).unwrap();
    assert_eq!(
        story.heard(),
        [
            "1 exchange.declare x direct",
            "1 queue.declare \"q\"",
            "1 queue.bind \"\" x \"k\"",
            "1 basic.publish \"x\" \"k\"",
            "1 basic.get",
            "1 basic.ack 1 false",
            "1 basic.get",
            "1 queue.unbind",
            "1 queue.purge",
            "1 queue.delete q",
            "1 exchange.delete",
            "1 channel.close 200",
        ]
    );
}

#[test]
fn a_callback_gets_deliveries_and_may_use_every_handle() {
    let (mut story, connection, channel) = start();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let told = heard.clone();
    let inner = channel.clone();
    let declared = channel.queue_declare(QueueDeclare::named("q"));
    let consuming = channel.consume("q", ConsumeOptions::new(), move |reactor, delivery| {
        told.borrow_mut().push(delivery.text().into_owned());
        delivery.ack().unwrap();
        if delivery.body() == "1" {
            inner.publish("", "q", Properties::new(), "2").unwrap();
            let late = inner.clone();
            reactor.call_later(std::time::Duration::from_millis(1), move |_| {
                late.publish("", "q", Properties::new(), "3").unwrap();
            });
            connection.open_channel().forget();
        }
    });
    let publisher = channel.clone();
    story
        .run(async move {
            declared.await?;
            consuming.await?;
            publisher.publish("", "q", Properties::new(), "1")
        })
        .unwrap();
    story.settle();
    assert_eq!(*heard.borrow(), ["1", "2", "3"]);
    assert_eq!(story.broker.borrow().acked.len(), 3);
    drop(channel);
}

#[test]
fn what_the_server_refuses_closes_that_channel_alone_and_fails_what_came_after() {
    let (mut story, connection, channel) = start();
    let other = open(&mut story, &connection);
    let closed = Rc::new(RefCell::new(None));
    let told = closed.clone();
    channel.on_close(move |_, error| *told.borrow_mut() = Some(error.to_string()));
    let refused = (404, "NOT_FOUND - no queue 'q' in vhost '/'", 1);
    story.broker.borrow_mut().refused.insert("queue.declare", refused);
    let first = channel.queue_declare(QueueDeclare::named("q").passive());
    let second = channel.qos(1);
    let confirmed = channel.publish_confirmed("", "q", Properties::new(), "x");
    let errors = story
        .run(async move {
            let mut errors = Vec::new();
            errors.push(Error::from(first.await.unwrap_err()));
            errors.push(Error::from(second.await.unwrap_err()));
            errors.push(Error::from(confirmed.await.unwrap_err()));
            Ok(errors)
        })
        .unwrap();
    for error in &errors {
        assert_eq!(error.reply_code(), Some(ReplyCode::NotFound), "{error}");
        assert_eq!(error.close().unwrap().method.class_id, 50);
    }
    assert!(matches!(errors[2], Error::Unconfirmed(_)));
    assert!(closed.borrow().as_ref().unwrap().contains("no queue 'q'"));
    let error = channel.publish("", "q", Properties::new(), "x").unwrap_err();
    assert!(matches!(error, Error::ChannelClosed(_)), "{error}");
    // The other one lives, and the number is free again.
    let reopened = open(&mut story, &connection);
    assert_eq!((reopened.number(), other.number()), (1, 2));
    story.run(async move { Ok(other.qos(1).await?) }).unwrap();
    assert!(channel.closed().is_some() && reopened.closed().is_none());
    assert!(
        channel.publish("", "q", Properties::new(), "x").is_err(),
        "an old handle stays closed"
    );
}

#[test]
fn confirms_tell_what_became_of_each_message() {
    let (mut story, _, channel) = start();
    story
        .run(async move {
            channel.queue_declare(QueueDeclare::named("q")).await?;
            let acked = channel.publish_confirmed("", "q", Properties::new(), "1");
            let lost = channel.publish_confirmed("", "nobody", Properties::new(), "2");
            let back = Publish::to_queue("nobody").mandatory();
            let returned = channel.publish_confirmed_with(back, "3");
            assert_eq!(acked.await?, Confirmation::Acked);
            assert_eq!(lost.await?, Confirmation::Acked, "unroutable, and nobody asked");
            match returned.await? {
                Confirmation::Returned(returned) => {
                    assert_eq!((returned.code, &*returned.text), (312, "NO_ROUTE"));
                    assert_eq!(returned.message.body(), "3");
                }
                other => panic!("{other:?}"),
            }
            channel.publish("", "q", Properties::new(), "4")?;
            assert!(channel.wait_for_confirms().await?);
            assert!(matches!(
                Error::from(channel.tx_select().await.unwrap_err()),
                Error::WrongMode(_)
            ));
            Ok(())
        })
        .unwrap();
    let heard = story.heard();
    assert_eq!(heard.iter().filter(|line| line.contains("confirm.select")).count(), 1);
}

#[test]
fn a_message_that_comes_back_unconfirmed_goes_to_the_channels_callback() {
    let (mut story, _, channel) = start();
    let back = Rc::new(RefCell::new(Vec::new()));
    let told = back.clone();
    channel.on_return(move |_, returned| told.borrow_mut().push(returned.text));
    channel.publish_with(Publish::to("", "nobody").mandatory(), "1").unwrap();
    channel.publish_with(Publish::to("", "nobody").mandatory(), "2").unwrap();
    story.settle();
    assert_eq!(*back.borrow(), ["NO_ROUTE", "NO_ROUTE"]);
}

#[test]
fn a_stream_ends_when_it_is_cancelled_from_either_side() {
    let (mut story, _, channel) = start();
    let declared = channel.queue_declare(QueueDeclare::named("q"));
    let other = channel.clone();
    let (mut first, mut second) = story
        .run(async move {
            declared.await?;
            let first = other.subscribe("q", ConsumeOptions::new().tag("a")).await?;
            let second = other.subscribe("q", ConsumeOptions::new().tag("b")).await?;
            let taken = other.subscribe("q", ConsumeOptions::new().tag("b")).await;
            assert!(matches!(taken.map_err(Error::from), Err(Error::TagInUse(_))));
            Ok((first, second))
        })
        .unwrap();
    let cancelled = Rc::new(RefCell::new(Vec::new()));
    let told = cancelled.clone();
    channel.on_cancel(move |_, tag| told.borrow_mut().push(tag.to_owned()));
    let cancel = basic::Cancel { consumer_tag: ShortStr::literal("b"), nowait: true };
    story.say(&super::peer::method(1, &cancel));
    assert_eq!(*cancelled.borrow(), ["b"]);
    story
        .run(async move {
            assert!(matches!(second.next().await, Err(Error::ConsumerCancelled)));
            assert!(second.next().await?.is_none());
            channel.publish("", "q", Properties::new(), "1")?;
            first.cancel().await?;
            assert_eq!(first.next().await?.unwrap().body(), "1", "it was sent before");
            assert!(first.next().await?.is_none());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_stream_that_is_dropped_gives_back_what_nobody_has_taken() {
    let (mut story, _, channel) = start();
    let declared = channel.queue_declare(QueueDeclare::named("q"));
    story.run(async move { Ok(declared.await?) }).unwrap();
    story.fill("q", ["1", "2", "3"].map(Bytes::from));
    let consumer = {
        let channel = channel.clone();
        story.run(async move { Ok(channel.subscribe("q", ConsumeOptions::new()).await?) }).unwrap()
    };
    story.settle();
    assert_eq!(story.broker.borrow().queues["q"].ready.len(), 0);
    drop(consumer);
    story.settle();
    assert_eq!(story.broker.borrow().queues["q"].ready.len(), 3);
    assert!(story.heard().iter().any(|line| line.starts_with("1 basic.cancel")));
    // And the channel goes on.
    story.run(async move { Ok(channel.qos(1).await?) }).unwrap();
}

#[test]
fn a_callback_that_panics_loses_only_its_own_consumer() {
    let (mut story, _, channel) = start();
    let heard = Rc::new(RefCell::new(0));
    let told = heard.clone();
    let setup = channel.clone();
    story
        .run(async move {
            setup.queue_declare(QueueDeclare::named("bad")).await?;
            setup.queue_declare(QueueDeclare::named("good")).await?;
            setup.consume("bad", ConsumeOptions::new(), |_, _| panic!("as told")).await?;
            setup
                .consume("good", ConsumeOptions::new(), move |_, _| *told.borrow_mut() += 1)
                .await?;
            for queue in ["bad", "good", "bad", "good"] {
                setup.publish("", queue, Properties::new(), "x")?;
            }
            Ok(())
        })
        .unwrap();
    story.settle();
    assert_eq!(*heard.borrow(), 2);
    assert!(channel.closed().is_none());
}

#[test]
fn names_that_do_not_fit_and_tables_that_are_too_large_are_refused_here() {
    let (mut story, _, channel) = start();
    let long = "x".repeat(256);
    assert!(matches!(
        channel.publish("", &long, Properties::new(), "x"),
        Err(Error::TooLong("routing key"))
    ));
    let large = Properties::new().header("h", "x".repeat(200_000).as_str());
    assert!(matches!(channel.publish("", "q", large, "x"), Err(Error::TooLarge { .. })));
    let declared = channel.queue_declare(QueueDeclare::named(long));
    let error = story.run(async { Ok(declared.await?) }).unwrap_err();
    assert!(matches!(error, Error::TooLong("queue's name")), "{error}");
    assert!(story.heard().is_empty(), "nothing was sent");
}

#[test]
fn channels_beyond_the_limit_are_refused_here() {
    let mut story = Story::new();
    story.broker.borrow_mut().tune.0 = 2;
    let connection = story.connect();
    let opened = [0, 1, 2].map(|_| connection.open_channel());
    story
        .run(async move {
            let [first, second, third] = opened;
            let first = first.await?;
            second.await?;
            assert!(matches!(Error::from(third.await.unwrap_err()), Error::NoChannelLeft(2)));
            first.close().await?;
            assert_eq!(connection.open_channel().await?.number(), 1);
            Ok(())
        })
        .unwrap();
}
