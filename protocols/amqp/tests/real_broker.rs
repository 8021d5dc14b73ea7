//! The client against a real broker over real sockets: ours, on a thread of its own, or the one
//! that `AMQP_URL` names, RabbitMQ say:
//!
//! ```text
//! AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f cargo test -p ropewalk-amqp --test real_broker
//! ```
//!
//! Each test makes its own queues, exclusive ones, and leaves nothing behind.

#![allow(clippy::disallowed_methods, reason = "the broker lives on a thread of its own")]
#![allow(clippy::unwrap_used, reason = "a test may fail at any of them")]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_amqp::client::{
    Channel, Client, Confirmation, Connection, ConsumeOptions, Error, ExchangeDeclare, Options,
    Properties, Publish, QueueDeclare, Result,
};
use ropewalk_amqp::codec::{ReplyCode, Table, TableBuf};
use ropewalk_amqp::server::{Config, Server};
use ropewalk_reactor::Reactor;

fn options() -> Options {
    static OURS: OnceLock<String> = OnceLock::new();
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| OURS.get_or_init(start_ours).clone());
    Options::from_uri(&url).unwrap()
}

/// Starts our broker for the life of this process, and answers its URI.
fn start_ours() -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut reactor = Reactor::new().unwrap();
        let listener = reactor.listen("127.0.0.1:0", Server::new(Config::default())).unwrap();
        sender.send(reactor.address(listener).unwrap().socket_addr().unwrap()).unwrap();
        reactor.run().unwrap();
    });
    format!("amqp://guest:guest@{}/%2f", receiver.recv().unwrap())
}

fn run<F: Future<Output = Result> + 'static>(work: impl FnOnce(Connection) -> F + 'static) {
    Client::run(options(), work).unwrap();
}

async fn exclusive(channel: &Channel) -> Result<String> {
    Ok(channel.queue_declare(QueueDeclare::server_named().exclusive()).await?.name)
}

fn code(error: ropewalk_reactor::Error) -> Option<ReplyCode> {
    Error::from(error).reply_code()
}

#[test]
fn messages_of_every_size_and_their_properties_come_back_as_they_went() {
    run(async |connection| {
        let channel = connection.open_channel().await?;
        let queue = exclusive(&channel).await?;
        let headers = TableBuf::new()
            .with("bool", true)
            .with("int", -7_i64)
            .with("text", "ü")
            .with("nested", TableBuf::new().with("a", 1_i32).as_table());
        let properties = Properties::new()
            .persistent()
            .content_type("text/plain")
            .priority(3)
            .correlation_id("c")
            .message_id("m")
            .app_id("a")
            .headers(headers);
        for size in [0, 1, 4087, 131_064, 131_065, 300_000, 5_000_000] {
            let body = Bytes::from((0..size).map(|at| (at / 7) as u8).collect::<Vec<u8>>());
            let sent = channel.publish_confirmed("", &queue, &properties, body.clone()).await?;
            assert!(sent.is_acked());
            let got = channel.get(&queue, false).await?.unwrap();
            assert_eq!(got.delivery.body(), &body);
            assert_eq!(Properties::from(got.delivery.properties()?), properties);
            assert!(!got.delivery.redelivered());
            got.delivery.ack()?;
        }
        assert!(channel.get(&queue, true).await?.is_none());
        Ok(())
    });
}

#[test]
fn errors_come_with_the_brokers_code_text_and_method() {
    run(async |connection| {
        let channel = connection.open_channel().await?;
        let passive = QueueDeclare::named("no such queue").passive();
        let error = Error::from(channel.queue_declare(passive).await.unwrap_err());
        let close = error.close().unwrap();
        assert_eq!(close.text, "NOT_FOUND - no queue 'no such queue' in vhost '/'");
        assert_eq!((close.method.class_id, close.method.method_id), (50, 10));

        let channel = connection.open_channel().await?;
        let confirmed = channel.publish_confirmed("no such exchange", "", Properties::new(), "x");
        let error = Error::from(confirmed.await.unwrap_err());
        assert!(matches!(error, Error::Unconfirmed(_)), "{error}");
        assert_eq!(error.reply_code(), Some(ReplyCode::NotFound));

        let channel = connection.open_channel().await?;
        let queue = exclusive(&channel).await?;
        let other = Client::connect_from(&connection.local(), options()).await?;
        let theirs = other.open_channel().await?;
        let locked = theirs.queue_purge(&queue).await.unwrap_err();
        assert_eq!(code(locked), Some(ReplyCode::ResourceLocked));
        Ok(other.close().await?)
    });
}

#[test]
fn what_is_mandatory_comes_back_and_confirms_say_so_also_in_a_crowd() {
    run(async |connection| {
        let channel = connection.open_channel().await?;
        let queue = exclusive(&channel).await?;
        let mut sent = Vec::new();
        for number in 0..1000 {
            let key = if number % 3 == 0 { "nobody" } else { queue.as_str() };
            let publish = Publish::to_queue(key).mandatory();
            sent.push((
                number % 3 == 0,
                channel.publish_confirmed_with(publish, number.to_string()),
            ));
        }
        for (number, (is_lost, confirmation)) in sent.into_iter().enumerate() {
            match confirmation.await? {
                Confirmation::Acked => assert!(!is_lost, "{number}"),
                Confirmation::Returned(returned) => {
                    assert!(is_lost && returned.text == "NO_ROUTE", "{number}");
                    assert_eq!(returned.message.text(), number.to_string());
                }
                other => panic!("{other:?}"),
            }
        }
        channel.publish("", &queue, Properties::new(), "x")?;
        assert!(channel.wait_for_confirms().await?);
        Ok(())
    });
}

#[test]
fn consumers_prefetch_nack_and_cancel() {
    run(async |connection| {
        let channel = connection.open_channel().await?;
        let queue = exclusive(&channel).await?;
        for number in 0..10 {
            channel.publish("", &queue, Properties::new(), number.to_string())?;
        }
        channel.qos(2).await?;
        let mut consumer = channel.subscribe(&queue, ConsumeOptions::new()).await?;
        let first = consumer.next().await?.unwrap();
        let second = consumer.next().await?.unwrap();
        assert_eq!((first.text(), second.text()), ("0".into(), "1".into()));
        connection.local().sleep(Duration::from_millis(200)).await?;
        let waiting = channel.queue_declare(QueueDeclare::named(&queue).passive()).await?;
        assert_eq!((waiting.message_count, waiting.consumer_count), (8, 1));
        second.ack_multiple()?;
        let third = consumer.next().await?.unwrap();
        third.reject(true)?;
        let again = loop {
            let delivery = consumer.next().await?.unwrap();
            if delivery.redelivered() {
                break delivery;
            }
            delivery.ack()?;
        };
        assert_eq!(again.text(), "2");
        again.ack()?;
        drop(consumer);
        let other = connection.open_channel().await?;
        let mut deleted = other.subscribe(&queue, ConsumeOptions::new()).await?;
        channel.queue_delete(&queue).await?;
        while let Some(delivery) = match deleted.next().await {
            Err(Error::ConsumerCancelled) => None,
            other => other?,
        } {
            delivery.ack()?;
        }
        Ok(())
    });
}

#[test]
fn exchanges_of_every_type_bindings_and_transactions() {
    run(async |connection| {
        let channel = connection.open_channel().await?;
        let queue = exclusive(&channel).await?;
        let name = |kind: &str| format!("ropewalk-test-{kind}-{queue}");
        let got = async |channel: &Channel| Ok::<_, Error>(channel.queue_purge(&queue).await?);
        let (direct, topic, headers) = (name("direct"), name("topic"), name("headers"));
        channel.exchange_declare(ExchangeDeclare::direct(&direct).auto_delete()).await?;
        channel.exchange_declare(ExchangeDeclare::topic(&topic).auto_delete()).await?;
        channel.exchange_declare(ExchangeDeclare::headers(&headers).auto_delete()).await?;

        channel.queue_bind("", &topic, "a.#").await?;
        channel.exchange_bind(&topic, &direct, "a.b", Table::EMPTY).await?;
        channel.publish(&direct, "a.b", Properties::new(), "1")?;
        channel.publish(&direct, "a.c", Properties::new(), "2")?;
        assert_eq!(got(&channel).await?, 1);

        let all = TableBuf::new().with("x-match", "all").with("k", 1_i32);
        channel.queue_bind_with(&queue, &headers, "", all.as_table()).await?;
        channel.publish(&headers, "", Properties::new().header("k", 1_i32), "3")?;
        channel.publish(&headers, "", Properties::new().header("k", 2_i32), "4")?;
        assert_eq!(got(&channel).await?, 1);

        let tx = connection.open_channel().await?;
        tx.tx_select().await?;
        tx.publish("", &queue, Properties::new(), "5")?;
        tx.tx_rollback().await?;
        tx.publish("", &queue, Properties::new(), "6")?;
        tx.tx_commit().await?;
        assert_eq!(got(&channel).await?, 1);

        channel.exchange_unbind(&topic, &direct, "a.b", Table::EMPTY).await?;
        channel.queue_unbind(&queue, &topic, "a.#", Table::EMPTY).await?;
        channel.queue_unbind(&queue, &headers, "", all.as_table()).await?;
        let gone = connection.open_channel().await?;
        let passive = ExchangeDeclare::topic(&topic).passive();
        assert_eq!(
            code(gone.exchange_declare(passive).await.unwrap_err()),
            Some(ReplyCode::NotFound)
        );
        Ok(())
    });
}

#[test]
fn wrong_passwords_and_virtual_hosts_are_told_apart() {
    let wrong = Client::run(options().credentials("guest", "wrong"), async |_| Ok(()));
    assert_eq!(wrong.unwrap_err().reply_code(), Some(ReplyCode::AccessRefused));
    let wrong = Client::run(options().vhost("nope"), async |_| Ok(()));
    let error = wrong.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NotAllowed), "{error}");
    Client::run(options().heartbeat(1).channel_max(3).frame_max(8192), async |connection| {
        assert_eq!((connection.channel_max(), connection.frame_max()), (3, 8192));
        connection.local().sleep(Duration::from_millis(3500)).await?;
        assert!(connection.is_open(), "heartbeats keep it");
        let channel = connection.open_channel().await?;
        let queue = exclusive(&channel).await?;
        channel.publish("", &queue, Properties::new(), vec![7; 100_000])?;
        assert_eq!(channel.get(&queue, true).await?.unwrap().delivery.body().len(), 100_000);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_connection_that_breaks_the_rules_comes_back_with_everything_on_it() {
    run(async |connection| {
        let notices = Rc::new(RefCell::new(Vec::new()));
        let told = notices.clone();
        connection.on_notice(move |_, notice| told.borrow_mut().push(notice.to_string()));
        let channel = connection.open_channel().await?;
        let old = exclusive(&channel).await?;
        let exchange = format!("ropewalk-test-{old}");
        channel.exchange_declare(ExchangeDeclare::fanout(&exchange).auto_delete()).await?;
        channel.queue_bind(&old, &exchange, "").await?;
        channel.qos(7).await?;
        let mut consumer = channel.subscribe(&old, ConsumeOptions::new()).await?;
        channel.publish(&exchange, "", Properties::new(), "before")?;
        let before = consumer.next().await?.unwrap();
        // A prefetch of all the channels together is served; a type of exchange that nobody knows
        // ends the connection, or at least the channel.
        let bad = connection.open_channel().await?;
        let unknown = ExchangeDeclare::of_type("x", "no such type");
        let refused = bad.exchange_declare(unknown).await.unwrap_err();
        assert!(code(refused).is_some());
        if connection.is_open() {
            return Ok(());
        }
        connection.ready().await?;
        assert!(before.is_stale());
        before.ack()?;
        let sent = channel.publish_confirmed(&exchange, "", Properties::new(), "after").await?;
        assert!(sent.is_acked());
        let after = consumer.next().await?.unwrap();
        assert_eq!((after.text(), after.redelivered()), ("after".into(), false));
        after.ack()?;
        assert_ne!(connection.current_name(&old), old);
        assert_eq!(channel.queue_delete(&old).await?, 0);
        let notices = notices.borrow();
        assert!(notices[0].starts_with("lost: the server closed the connection: 503"));
        assert_eq!(notices.last().unwrap(), "recovered");
        Ok(())
    });
}

#[test]
fn a_hundred_thousand_messages_go_through_with_confirms_and_acknowledgements() {
    const COUNT: usize = 100_000;
    run(async |connection| {
        let channel = connection.open_channel().await?;
        let queue = exclusive(&channel).await?;
        channel.confirm_select().await?;
        channel.qos(500).await?;
        let mut consumer = channel.subscribe(&queue, ConsumeOptions::new()).await?;
        let (publisher, sender) = (channel.clone(), connection.clone());
        let publishing = connection.local().spawn(async move {
            for number in 0..COUNT {
                if number % 100 == 0 {
                    sender.ready().await?;
                }
                publisher.publish("", &queue, Properties::new(), number.to_string())?;
            }
            assert!(publisher.wait_for_confirms().await?);
            Result::Ok(())
        });
        for number in 0..COUNT {
            let delivery = consumer.next().await?.unwrap();
            assert_eq!(delivery.body(), number.to_string().as_bytes());
            if number % 100 == 99 {
                delivery.ack_multiple()?;
            }
        }
        publishing.await?
    });
}
