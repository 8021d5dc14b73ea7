//! A bridge between simulated servers: each message crosses once, whatever the network and the servers
//! do, and none comes back.

#![allow(clippy::unwrap_used, reason = "a test may fail at any of them")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_amqp::client::{
    Channel, Client as AmqpClient, Connection, ConsumeOptions, ExchangeDeclare, Options as Amqp,
    Properties, QueueDeclare, Reconnect,
};
use ropewalk_amqp::server::{Config as BrokerConfig, Server as Broker};
use ropewalk_bridge::{Bridge, Counts, Direction, HEADER, Options};
use ropewalk_reactor::{Reactor, Result, Simulation};
use ropewalk_redis::client::{Client as RedisClient, ClientOptions};
use ropewalk_redis::server::{Config as RedisConfig, Server as RedisServer};

/// What somebody has heard: how often each text.
type Heard = Rc<RefCell<BTreeMap<String, usize>>>;

/// A Redis server, a broker, bridges between them, and people who listen and talk at both.
struct World {
    simulation: Simulation,
    bridges: Vec<Rc<RefCell<Option<Bridge>>>>,
    redis: RedisClient,
    amqp: Connection,
    channel: Channel,
    heard_at_redis: Heard,
    heard_at_amqp: Heard,
}

fn serve_redis(reactor: &mut Reactor) -> Result {
    reactor.listen("0.0.0.0:6379", RedisServer::new(RedisConfig::default()))?;
    Ok(())
}

fn serve_amqp(reactor: &mut Reactor) -> Result {
    let nobody: [&str; 0] = [];
    let broker = Broker::new(BrokerConfig::default().loopback_users(nobody));
    broker.start(reactor)?;
    reactor.listen("0.0.0.0:5672", broker)?;
    Ok(())
}

fn amqp() -> Amqp {
    let reconnect = Reconnect::default().initially(true).max_delay(Duration::from_millis(500));
    Amqp::from_uri("amqp://guest:guest@rabbit").unwrap().heartbeat(10).reconnect(reconnect)
}

fn options(amqp: Amqp) -> Options {
    let options = Options::new("redis:6379", amqp, "news.*", "news").unwrap();
    options.delays(Duration::from_millis(10), Duration::from_millis(500))
}

fn note(heard: &Heard, text: &[u8]) {
    *heard.borrow_mut().entry(String::from_utf8_lossy(text).into_owned()).or_default() += 1;
}

impl World {
    fn new(mut simulation: Simulation, bridges: Vec<Options>) -> Self {
        simulation.host("redis", serve_redis);
        simulation.host("rabbit", serve_amqp);
        let count = bridges.len();
        let bridges: Vec<_> = bridges
            .into_iter()
            .enumerate()
            .map(|(number, options)| {
                let bridge = Rc::new(RefCell::new(None));
                let place = bridge.clone();
                simulation.host(&format!("bridge{number}"), move |reactor| {
                    *place.borrow_mut() = Some(Bridge::start(reactor, options.clone())?);
                    Ok(())
                });
                bridge
            })
            .collect();
        let people = simulation.reactor_at(0);
        let delays = (Duration::from_millis(10), Duration::from_millis(500));
        let redis = ClientOptions::default().delays(delays.0, delays.1);
        let redis = RedisClient::with_options(people, "redis:6379", redis).unwrap();
        let (heard_at_redis, heard_at_amqp) = (Heard::default(), Heard::default());
        let heard = heard_at_redis.clone();
        redis.psubscribe("*", move |_, message| note(&heard, &message.payload)).forget();
        let connecting = AmqpClient::connect(people, amqp());
        let heard = heard_at_amqp.clone();
        let setting_up = people.spawn(async move {
            let connection = connecting.await.unwrap();
            let channel = connection.open_channel().await.unwrap();
            channel.exchange_declare(ExchangeDeclare::topic("news").durable()).await.unwrap();
            let queue = QueueDeclare::server_named().exclusive().auto_delete();
            let queue = channel.queue_declare(queue).await.unwrap().name;
            channel.queue_bind(&queue, "news", "#").await.unwrap();
            let heard = move |_: &mut Reactor, delivery: ropewalk_amqp::client::Delivery| {
                note(&heard, delivery.body());
            };
            channel.consume(&queue, ConsumeOptions::new().no_ack(), heard).await.unwrap();
            (connection, channel)
        });
        let made = Rc::new(RefCell::new(None));
        let place = made.clone();
        setting_up.then(move |_, result| *place.borrow_mut() = result.ok());
        let seed = simulation.seed();
        let ready = simulation.run_until(|_| {
            let are_joined = |bridge: &Rc<RefCell<Option<Bridge>>>| {
                bridge.borrow().as_ref().is_some_and(Bridge::is_joined)
            };
            made.borrow().is_some() && bridges.iter().all(are_joined)
        });
        assert!(ready && count > 0, "seed {seed}: the bridge does not come up");
        let (amqp, channel) = made.take().unwrap();
        let mut world =
            Self { simulation, bridges, redis, amqp, channel, heard_at_redis, heard_at_amqp };
        world.settle();
        world
    }

    fn calm(options: Options) -> Self {
        Self::new(Simulation::calm(), vec![options])
    }

    fn settle(&mut self) {
        self.simulation.run_for(Duration::from_secs(1000));
    }

    /// Somebody publishes at the Redis server.
    fn say_at_redis(&self, text: &str) {
        self.redis.publish("news.eu", text).then(|_, _| ());
    }

    /// Somebody publishes at the broker; whether it went out.
    fn say_at_amqp(&self, text: &str) -> bool {
        self.channel.publish("news", "news.eu", Properties::new(), text.to_owned()).is_ok()
    }

    fn counts(&self) -> Counts {
        self.bridges[0].borrow().as_ref().unwrap().counts()
    }

    fn heard(&self) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
        (self.heard_at_redis.take(), self.heard_at_amqp.take())
    }
}

fn all<const N: usize>(texts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    texts.into_iter().map(|(text, count)| (text.to_owned(), count)).collect()
}

#[test]
fn a_message_of_either_side_reaches_the_other_once_and_does_not_come_back() {
    let mut world = World::calm(options(amqp()));
    world.say_at_redis("from redis");
    assert!(world.say_at_amqp("from amqp"));
    world.settle();
    let expected = all([("from redis", 1), ("from amqp", 1)]);
    assert_eq!(world.heard(), (expected.clone(), expected));
    let Counts { to_redis, to_amqp, dropped, unknown, .. } = world.counts();
    assert_eq!((to_redis, to_amqp, dropped, unknown), (1, 1, 0, 0));
}

#[test]
fn the_same_text_from_both_sides_at_the_same_moment_is_counted_right_on_any_network() {
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed);
        // Heartbeats need some room.
        simulation.capacity(2000);
        let mut world = World::new(simulation, vec![options(amqp())]);
        let mut said = BTreeMap::<String, usize>::new();
        for number in 0..60_u64 {
            // A few texts that come again and again, so that own ones meet those of others.
            let text = (number * number % 7 % 3).to_string();
            if number % 3 != 1 {
                world.say_at_redis(&text);
                *said.entry(text.clone()).or_default() += 1;
            }
            if number % 4 != 2 && world.say_at_amqp(&text) {
                *said.entry(text).or_default() += 1;
            }
            world.simulation.run_for(Duration::from_millis(number % 5));
        }
        world.simulation.run_for(Duration::from_secs(20_000));
        let (redis, amqp) = world.heard();
        assert_eq!(redis, said, "seed {seed}: at the Redis server");
        assert_eq!(amqp, said, "seed {seed}: at the broker");
    }
}

#[test]
fn whoever_is_killed_and_comes_back_nothing_is_heard_twice_and_the_bridge_works_again() {
    let (mut crossed, mut kills) = (0, 0);
    for seed in 0..60 {
        let mut simulation = Simulation::new(seed);
        simulation.capacity(2000);
        let mut world = World::new(simulation, vec![options(amqp())]);
        world.simulation.resets(200);
        for number in 0..150_u64 {
            world.say_at_redis(&format!("redis {number}"));
            world.say_at_amqp(&format!("amqp {number}"));
            world.simulation.run_for(Duration::from_millis(number * 7 % 40));
            let victim = match (number + seed) % 30 {
                3 => "redis",
                13 => "rabbit",
                23 => "bridge0",
                _ => continue,
            };
            kills += 1;
            if number % 2 == 0 {
                world.simulation.kill(victim);
            } else {
                world.simulation.crash(victim);
            }
            world.simulation.run_for(Duration::from_millis(seed * 13 % 700));
            world.simulation.restart(victim);
        }
        world.simulation.resets(0);
        world.settle();
        let (redis, amqp) = world.heard();
        for (side, heard) in [("redis", &redis), ("amqp", &amqp)] {
            let twice: Vec<_> = heard.iter().filter(|(_, count)| **count > 1).collect();
            assert!(twice.is_empty(), "seed {seed}: heard more than once at {side}: {twice:?}");
        }
        crossed += redis.keys().filter(|text| text.starts_with("amqp")).count();
        crossed += amqp.keys().filter(|text| text.starts_with("redis")).count();
        let is_joined = world.bridges[0].borrow().as_ref().unwrap().is_joined();
        assert!(is_joined && world.amqp.is_open(), "seed {seed}: all is there again");
        world.say_at_redis("last redis");
        assert!(world.say_at_amqp("last amqp"));
        world.settle();
        let expected = all([("last redis", 1), ("last amqp", 1)]);
        assert_eq!(world.heard(), (expected.clone(), expected), "seed {seed}");
    }
    assert!(crossed > 2000 && kills > 500, "{crossed} messages crossed, {kills} were killed");
}

#[test]
fn two_bridges_between_the_same_servers_carry_twice_and_make_no_loop() {
    let mut world = World::new(Simulation::calm(), vec![options(amqp()), options(amqp())]);
    world.say_at_redis("from redis");
    world.settle();
    assert_eq!(world.heard(), (all([("from redis", 1)]), all([("from redis", 2)])));
    assert!(world.say_at_amqp("from amqp"));
    world.settle();
    // Each hears what the other one publishes at the Redis server, and takes that back, once.
    assert_eq!(world.heard(), (all([("from amqp", 2)]), all([("from amqp", 3)])));
}

#[test]
fn one_way_is_one_way() {
    for (direction, expected) in [
        (Direction::ToAmqp, (all([("r", 1)]), all([("r", 1), ("a", 1)]))),
        (Direction::ToRedis, (all([("r", 1), ("a", 1)]), all([("a", 1)]))),
    ] {
        let mut world = World::calm(options(amqp()).direction(direction));
        world.say_at_redis("r");
        assert!(world.say_at_amqp("a"));
        world.settle();
        assert_eq!(world.heard(), expected, "{direction:?}");
    }
}

#[test]
fn what_has_no_name_on_the_other_side_or_is_none_of_the_bridges_stays_where_it_is() {
    let mut world = World::calm(options(amqp()).max_message(1000).binding_key("news.#"));
    let long = format!("news.{}", "x".repeat(251));
    world.redis.publish(&long, "too long a name").then(|_, _| ());
    world.redis.publish(b"news.\xff", "no text").then(|_, _| ());
    world.redis.publish("other", "not ours").then(|_, _| ());
    world.redis.publish("news.eu", "x".repeat(1001)).then(|_, _| ());
    world.redis.publish(&long[..255], "good").then(|_, _| ());
    world.settle();
    assert_eq!(world.heard().1, all([("good", 1)]));
    assert_eq!(world.counts().dropped, 3);
    let publish = |key: &str, properties, text: &str| {
        world.channel.publish("news", key, properties, text.to_owned()).unwrap();
    };
    publish("other", Properties::new(), "not bound");
    publish("news", Properties::new(), "bound, and not matched");
    publish("news.eu", Properties::new().header(HEADER, "somebody"), "by another bridge");
    publish("news.eu", Properties::new(), &"x".repeat(1001));
    publish("news.eu.berlin", Properties::new(), "good");
    world.settle();
    assert_eq!(world.heard().0, all([("good", 1)]));
    let Counts { to_redis, to_amqp, dropped, .. } = world.counts();
    assert_eq!((to_redis, to_amqp, dropped), (1, 1, 4));
}

#[test]
fn while_one_side_is_away_the_latest_messages_wait_up_to_a_limit() {
    let mut world = World::calm(options(amqp()).buffer(20 * (1000 + 7 + 128)));
    let texts: Vec<_> = (0..50).map(|number| format!("{number:0>1000}")).collect();
    let latest: BTreeMap<_, _> = texts[30..].iter().map(|text| (text.clone(), 1)).collect();
    world.simulation.kill("redis");
    world.settle();
    for text in &texts {
        assert!(world.say_at_amqp(text));
        world.simulation.run_for(Duration::from_millis(1));
    }
    // So that whoever listens is there before the bridge is.
    world.simulation.partition("bridge0", "redis");
    world.simulation.restart("redis");
    world.settle();
    world.simulation.heal_all();
    world.settle();
    assert_eq!(world.heard().0, latest);
    assert_eq!(world.counts().dropped, 30);
    world.simulation.kill("rabbit");
    world.settle();
    for text in &texts {
        world.say_at_redis(text);
        world.simulation.run_for(Duration::from_millis(1));
    }
    world.simulation.partition("bridge0", "rabbit");
    world.simulation.restart("rabbit");
    world.settle();
    world.simulation.heal_all();
    world.settle();
    assert_eq!(world.heard().1, latest);
    assert_eq!(world.counts().dropped, 60);
}

#[test]
fn a_redis_server_that_is_slow_is_waited_for() {
    let mut world = World::calm(options(amqp()).buffer(100_000));
    world.simulation.capacity(4000);
    world.simulation.stall("redis", Duration::from_secs(15));
    // More than the window and the buffer hold, and fewer than the prefetch.
    let texts: Vec<_> = (0..300).map(|number| format!("{number:0>10000}")).collect();
    for text in &texts {
        assert!(world.say_at_amqp(text));
    }
    world.simulation.run_for(Duration::from_secs(10));
    let (waiting, _) = world.bridges[0].borrow().as_ref().unwrap().waiting();
    assert!((90_000..120_000).contains(&waiting), "{waiting} bytes wait");
    world.settle();
    let heard = world.heard_at_redis.take();
    assert_eq!(heard.len(), texts.len());
    assert!(heard.values().all(|count| *count == 1));
    assert_eq!(world.counts().dropped, 0);
}

#[test]
fn an_exchange_of_another_kind_is_waited_for() {
    let mut simulation = Simulation::calm();
    simulation.host("rabbit", serve_amqp);
    simulation.host("redis", serve_redis);
    let connecting = AmqpClient::connect(simulation.reactor_at(0), amqp());
    let local = simulation.reactor_at(0).local();
    let ready = simulation.reactor_at(0).spawn(async move {
        let channel = connecting.await.unwrap().open_channel().await.unwrap();
        channel.exchange_declare(ExchangeDeclare::fanout("news")).await.unwrap();
        local.sleep(Duration::from_secs(60)).await.unwrap();
        channel.exchange_delete("news", false).await.unwrap();
    });
    ready.forget();
    simulation.run_for(Duration::from_secs(10));
    let bridge = Rc::new(RefCell::new(None));
    let place = bridge.clone();
    simulation.host("bridge", move |reactor| {
        *place.borrow_mut() = Some(Bridge::start(reactor, options(amqp()))?);
        Ok(())
    });
    simulation.run_for(Duration::from_secs(20));
    let bridge = bridge.take().unwrap();
    assert!(!bridge.is_joined());
    simulation.run_for(Duration::from_secs(60));
    assert!(bridge.is_joined());
}

#[test]
fn a_stop_lets_what_is_under_way_arrive_and_leaves_nothing() {
    let mut world = World::calm(options(amqp()));
    world.say_at_redis("first");
    world.settle();
    let before = world.simulation.open_sockets();
    for number in 0..100 {
        world.say_at_redis(&format!("r{number}"));
        assert!(world.say_at_amqp(&format!("a{number}")));
    }
    let bridge = world.bridges[0].borrow().clone().unwrap();
    let looked_at = bridge.clone();
    world.simulation.run_until(|_| looked_at.counts().to_amqp > 1);
    bridge.stop().forget();
    world.settle();
    let counts = world.counts();
    let (redis, amqp) = world.heard();
    let crossed = redis.keys().filter(|text| text.starts_with('a')).count() as u64;
    assert_eq!(crossed, counts.to_redis, "what it has taken has arrived");
    let crossed = amqp.keys().filter(|text| !text.starts_with('a')).count() as u64;
    assert_eq!(crossed, counts.to_amqp);
    assert_eq!((counts.unknown, counts.dropped), (0, 0));
    assert_eq!(world.simulation.open_sockets(), before - 4, "both ends of two connections");
    world.say_at_redis("later");
    world.settle();
    assert_eq!(world.heard(), (all([("later", 1)]), BTreeMap::new()));
}
