//! Many stories at once: a hostile network that cuts, delays and resets, while one client
//! publishes with confirms and consumes, and another one stands by.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_amqp::client::{
    Client, ConsumeOptions, Error, ExchangeDeclare, Options, Properties, QueueDeclare, Reconnect,
    Result,
};
use ropewalk_reactor::Simulation;

use super::peer;

/// Confirmed messages, and what the consumers acknowledged.
#[derive(Default)]
struct Ledger {
    confirmed: BTreeSet<u32>,
    seen: BTreeSet<u32>,
    unknown: u32,
    lost: u32,
    is_done: bool,
}

const MESSAGES: u32 = 60;

async fn publish(
    options: Options,
    local: ropewalk_reactor::Local,
    ledger: Rc<RefCell<Ledger>>,
) -> Result {
    let connection = Client::connect_from(&local, options).await?;
    let inner = ledger.clone();
    connection.on_notice(move |_, notice| {
        if let ropewalk_amqp::client::Notice::Lost(_) = notice {
            inner.borrow_mut().lost += 1;
        }
    });
    let channel = loop {
        connection.ready().await?;
        match connection.open_channel().await.map_err(Error::from) {
            Ok(channel) => break channel,
            Err(Error::ConnectionLost(_) | Error::Reconnecting | Error::HeartbeatMissed(_)) => {}
            Err(error) => return Err(error),
        }
    };
    let mut number = 0;
    while number < MESSAGES {
        connection.ready().await?;
        let body = format!("{number:0>20}");
        match channel
            .publish_confirmed("logs", "", Properties::new(), body)
            .await
            .map_err(Error::from)
        {
            Ok(confirmation) => {
                assert!(confirmation.is_acked());
                ledger.borrow_mut().confirmed.insert(number);
                number += 1;
            }
            Err(Error::Unconfirmed(_)) => ledger.borrow_mut().unknown += 1, // and again
            Err(Error::Reconnecting) => {}
            Err(error) => return Err(error),
        }
    }
    ledger.borrow_mut().is_done = true;
    Ok(connection.close().await?)
}

async fn consume(
    options: Options,
    local: ropewalk_reactor::Local,
    ledger: Rc<RefCell<Ledger>>,
) -> Result {
    let connection = Client::connect_from(&local, options).await?;
    let channel = loop {
        connection.ready().await?;
        let work = async {
            let channel = connection.open_channel().await?;
            channel.exchange_declare(ExchangeDeclare::fanout("logs")).await?;
            channel.queue_declare(QueueDeclare::named("q").durable()).await?;
            channel.queue_bind("q", "logs", "").await?;
            channel.qos(3).await?;
            Ok::<_, Error>(channel)
        };
        match work.await {
            Ok(channel) => break channel,
            Err(error) if error.reply_code().is_none() => {} // lost in between
            Err(error) => return Err(error),
        }
    };
    let mut consumer = loop {
        connection.ready().await?;
        match channel.subscribe("q", ConsumeOptions::new()).await.map_err(Error::from) {
            Ok(consumer) => break consumer,
            Err(error) if error.reply_code().is_none() => {}
            Err(error) => return Err(error),
        }
    };
    while let Some(delivery) = consumer.next().await? {
        ledger.borrow_mut().seen.insert(delivery.text().parse().expect("a number"));
        local.sleep(Duration::from_millis(3)).await?;
        delivery.ack()?;
    }
    Ok(())
}

#[test]
fn every_confirmed_message_is_consumed_whatever_the_network_does() {
    let (mut unknown, mut lost) = (0, 0);
    for seed in 0..300 {
        let mut simulation = Simulation::new(seed);
        let server = simulation.add_reactor();
        let broker = peer::start(&mut simulation, server);
        broker.borrow_mut().tune.2 = 0;
        {
            // The queue is there before anybody publishes.
            let mut broker = broker.borrow_mut();
            broker.exchanges.insert("logs".into(), "fanout".into());
            broker.queues.entry("q".into()).or_default();
            broker.bindings.insert(("logs".into(), String::new(), "q".into()));
        }
        let resets = if seed % 4 == 0 { 0 } else { 40 + seed % 7 * 60 };
        simulation.resets(resets);
        simulation.capacity(200 << (seed % 9)); // an octet at a time takes all day
        let reconnect = Reconnect::default().first_delay(Duration::from_millis(20)).initially(true);
        let options = Options::from_uri(peer::URI)
            .unwrap()
            .connection_timeout(Duration::from_secs(300))
            .reconnect(reconnect);
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        let failed = Rc::new(RefCell::new(Vec::new()));
        let local = simulation.reactor().local();
        for task in [0, 1] {
            let (options, local) = (options.clone(), local.clone());
            let (ledger, told) = (ledger.clone(), failed.clone());
            let spawned = match task {
                0 => simulation.reactor().spawn(publish(options, local, ledger)),
                _ => simulation.reactor().spawn(consume(options, local, ledger)),
            };
            spawned.then(move |_, result| {
                if let Err(error) = result.map_err(Error::from).flatten() {
                    told.borrow_mut().push(error.to_string());
                }
            });
        }
        let all = |ledger: &Ledger| ledger.is_done && ledger.seen.is_superset(&ledger.confirmed);
        let done = simulation.run_until(|_| all(&ledger.borrow()) || !failed.borrow().is_empty());
        let book = ledger.borrow();
        assert!(failed.borrow().is_empty(), "seed {seed}: {:?}", failed.borrow());
        assert!(
            done && book.confirmed.len() == MESSAGES as usize,
            "seed {seed}: {} confirmed, {} seen, {} unknown",
            book.confirmed.len(),
            book.seen.len(),
            book.unknown
        );
        if resets == 0 {
            assert_eq!((book.lost, book.unknown), (0, 0), "seed {seed}");
        }
        unknown += book.unknown;
        lost += book.lost;
    }
    // The seeds do what they are for.
    assert!(lost > 300 && unknown > 50, "only {lost} losses, {unknown} unknown");
}

/// Numbers that replay from their seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound) as usize
    }
}

/// Does this and that, without waiting for much of it.
async fn meddle(options: Options, local: ropewalk_reactor::Local, seed: u64) -> Result {
    let mut chance = Chance(seed);
    let connection = Client::connect_from(&local, options).await?;
    let (mut channels, mut consumers, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..120 {
        let channel: Option<&ropewalk_amqp::client::Channel> = match channels.len() {
            0 => None,
            some => channels.get(chance.below(some as u64)),
        };
        let queue = ["a", "b", "c"][chance.below(3)];
        match (chance.below(14), channel) {
            (0, _) | (_, None) => match connection.open_channel().await {
                Ok(channel) => channels.push(channel),
                Err(_) => connection.ready().await?,
            },
            (1, Some(channel)) => channel.close().forget(),
            (2, Some(channel)) => drop(channel.close().await),
            (3, Some(channel)) => {
                channel.queue_declare(QueueDeclare::named(queue)).then(|_, _| {});
                channel.queue_bind(queue, "amq.fanout", "").then(|_, _| {});
            }
            (4, Some(channel)) => {
                channel.queue_declare(QueueDeclare::server_named()).then(|_, _| {})
            }
            (5, Some(channel)) => match channel.subscribe(queue, ConsumeOptions::new()).await {
                Ok(consumer) => consumers.push(consumer),
                Err(_) => connection.ready().await?,
            },
            (6, _) if !consumers.is_empty() => {
                drop(consumers.swap_remove(chance.below(consumers.len() as u64)));
            }
            (7, Some(channel)) => {
                let callback = |_: &mut _, delivery: ropewalk_amqp::client::Delivery| {
                    let _ = delivery.ack();
                };
                channel.consume(queue, ConsumeOptions::new(), callback).then(|_, _| {});
            }
            (8, Some(channel)) => channel.qos(chance.below(5) as u16).then(|_, _| {}),
            (9, _) if !consumers.is_empty() => {
                let at = chance.below(consumers.len() as u64);
                // Refused while there is no connection: then there is no end to wait for.
                if consumers[at].cancel().await.is_ok() {
                    while let Ok(Some(delivery)) = consumers[at].next().await {
                        kept.push(delivery);
                    }
                }
            }
            (10, _) => kept.drain(..).for_each(|delivery| drop(delivery.nack(false, true))),
            (11, _) => local.sleep(Duration::from_millis(chance.below(200) as u64)).await?,
            (_, Some(channel)) => {
                let _ = channel.publish("amq.fanout", queue, Properties::new(), "x");
                channel.publish_confirmed("", queue, Properties::new(), "y").then(|_, _| {});
            }
        }
        channels.retain(|channel| channel.closed().is_none());
    }
    // After all that, it still works.
    loop {
        connection.ready().await?;
        let work = async {
            let channel = connection.open_channel().await?;
            channel.queue_declare(QueueDeclare::named("last")).await?;
            channel.close().await?;
            Ok::<_, Error>(())
        };
        match work.await {
            Ok(()) => break,
            Err(error) if error.reply_code().is_none() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(connection.close().await?)
}

#[test]
fn whatever_is_asked_for_and_lost_in_between_the_wire_stays_in_order() {
    // The peer panics at whatever RabbitMQ would close a connection for.
    let mut reconnections = 0;
    for seed in 0..400 {
        let mut simulation = Simulation::new(seed);
        simulation.capacity(200 << (seed % 9));
        let server = simulation.add_reactor();
        let broker = peer::start(&mut simulation, server);
        broker.borrow_mut().tune.2 = 0;
        simulation.resets(if seed % 3 == 0 { 0 } else { 50 + seed % 7 * 40 });
        let reconnect = Reconnect::default().first_delay(Duration::from_millis(20)).initially(true);
        let options = Options::from_uri(peer::URI)
            .unwrap()
            .connection_timeout(Duration::from_secs(300))
            .reconnect(reconnect);
        let told = Rc::new(RefCell::new(None));
        let tell = told.clone();
        let local = simulation.reactor().local();
        let spawned = simulation.reactor().spawn(meddle(options, local, seed));
        spawned.then(move |_, result| {
            *tell.borrow_mut() = Some(result.map_err(Error::from).flatten());
        });
        let ended = simulation.run_until(|_| told.borrow().is_some());
        let heard = broker.borrow().heard.clone();
        let last = &heard[heard.len().saturating_sub(20)..];
        assert!(ended, "seed {seed}: it never ends; heard last: {last:?}");
        let result = told.borrow_mut().take().unwrap();
        assert!(result.is_ok(), "seed {seed}: {result:?}; heard last: {last:?}");
        reconnections += broker.borrow().links.len() - 1;
        assert!(broker.borrow().panicked.is_none(), "seed {seed}: {:?}", broker.borrow().panicked);
        let complaint = heard.iter().find(|line| line.starts_with("0 connection.close 5"));
        assert!(complaint.is_none(), "seed {seed}: the client did not understand the peer");
    }
    assert!(reconnections > 300, "only {reconnections} reconnections");
}
