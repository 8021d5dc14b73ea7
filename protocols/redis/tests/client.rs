//! The client on simulated networks: what it hears, what it is told, and how it comes back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use ropewalk_reactor::{Error, ListenOptions, Protocol, Result, Simulation, Transport};
use ropewalk_redis::client::{Client, ClientError, ClientOptions};
use ropewalk_redis::server::{Config, Server};

const ADDRESS: &str = "10.0.0.1:6379";

struct World {
    simulation: Simulation,
    server: Server,
}

fn world(simulation: Simulation, config: Config) -> World {
    let mut world = World { simulation, server: Server::new(config) };
    world.simulation.add_reactor();
    let server = world.server.clone();
    let listening = world.simulation.reactor().listen(ADDRESS, server);
    listening.expect("the address is free");
    world
}

impl World {
    /// A client on a reactor of its own.
    fn client(&mut self, options: ClientOptions) -> Client {
        let reactor = self.simulation.reactor_at(1);
        Client::with_options(reactor, ADDRESS, options).expect("a good address")
    }

    fn settle(&mut self) {
        self.simulation.run_for(Duration::from_secs(300));
    }
}

type Heard = Rc<RefCell<Vec<String>>>;

fn subscribe(
    client: &Client,
    channel: &str,
    heard: &Heard,
) -> ropewalk_redis::client::Subscription {
    let heard = heard.clone();
    client.subscribe(channel, move |_, message| {
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        heard.borrow_mut().push(text);
    })
}

/// What came of it, once it has: the error of the client's, where it is one.
fn outcome<T: 'static>(
    world: &mut World,
    deferred: ropewalk_reactor::Deferred<T>,
) -> Result<T, ClientError> {
    let result = Rc::new(RefCell::new(None));
    let place = result.clone();
    deferred.then(move |_, result| *place.borrow_mut() = Some(result));
    world.settle();
    let result = result.borrow_mut().take().expect("it has come by now");
    result.map_err(|error| match error {
        Error::Other(error) => *error.downcast().expect("the client's own"),
        error => panic!("{error}"),
    })
}

#[test]
fn what_is_published_is_heard_on_any_network() {
    for seed in 0..100 {
        let mut world = world(Simulation::new(seed), Config::default());
        let client = world.client(ClientOptions::default().name("ours"));
        let heard = Heard::default();
        let by_pattern = Heard::default();
        let subscription = subscribe(&client, "news", &heard);
        let place = by_pattern.clone();
        client
            .psubscribe("n*", move |_, message| {
                assert_eq!(message.pattern.as_deref(), Some(&b"n*"[..]));
                place.borrow_mut().push(format!("{:?}", message.channel));
            })
            .forget();
        let confirmed = subscription.confirmed();
        outcome(&mut world, confirmed).expect("it is confirmed");
        let first = client.publish("news", "one");
        let second = client.publish("nothing", "two");
        let third = client.publish("other", "three");
        assert_eq!(outcome(&mut world, first), Ok(2), "seed {seed}");
        assert_eq!(outcome(&mut world, second), Ok(1));
        assert_eq!(outcome(&mut world, third), Ok(0));
        assert_eq!(*heard.borrow(), ["one"], "seed {seed}");
        assert_eq!(by_pattern.borrow().len(), 2);
        drop(subscription);
        world.settle();
        assert_eq!(world.server.subscribers("news"), 0);
        let fourth = client.publish("news", "four");
        assert_eq!(outcome(&mut world, fourth), Ok(1));
        assert_eq!(*heard.borrow(), ["one"]);
    }
}

#[test]
fn it_comes_back_and_subscribes_again_whatever_the_network_does() {
    for seed in 0..100 {
        let mut world = world(Simulation::new(seed), Config::default());
        let client = world.client(ClientOptions::default());
        let heard = Heard::default();
        subscribe(&client, "news", &heard).forget();
        world.simulation.resets(4);
        for round in 0..10 {
            client.publish("news", format!("{round}")).then(|_, _| ());
            world.simulation.run_for(Duration::from_secs(1));
        }
        world.simulation.resets(0);
        world.settle();
        heard.borrow_mut().clear();
        let last = client.publish("news", "last");
        assert_eq!(outcome(&mut world, last), Ok(1), "seed {seed}");
        assert_eq!(*heard.borrow(), ["last"], "seed {seed}");
    }
}

#[test]
fn a_client_without_the_right_password_does_nothing_and_one_with_it_all() {
    let mut world = world(Simulation::calm(), Config::default().password("secret"));
    let right = world.client(ClientOptions::default().password("secret"));
    let published = right.publish("a", "b");
    assert_eq!(outcome(&mut world, published), Ok(0));
    let wrong = world.client(ClientOptions::default().password("wrong"));
    let published = Rc::new(Cell::new(false));
    let place = published.clone();
    wrong.publish("a", "b").then(move |_, _| place.set(true));
    world.settle();
    assert!(!published.get(), "it waits for a server that lets it in");
    wrong.close();
    world.settle();
    assert!(published.get());
}

#[test]
fn the_servers_errors_are_told() {
    let mut world = world(Simulation::calm(), Config::default());
    let client = world.client(ClientOptions::default());
    let reply = client.call(&[b"GET", b"x"]);
    let said = outcome(&mut world, reply).expect_err("there are no keys");
    assert!(matches!(&said, ClientError::Server(text) if text.contains("unknown command 'GET'")));
}

#[test]
fn what_waits_has_a_limit_and_ends_with_the_client() {
    let mut world = world(Simulation::calm(), Config::default());
    let client = world.client(ClientOptions::default().waiting_limit(100));
    let first = client.publish("a", "x".repeat(50));
    let second = client.publish("a", "x".repeat(50));
    assert_eq!(outcome(&mut world, second), Err(ClientError::TooMuchWaiting(100)));
    assert_eq!(outcome(&mut world, first), Ok(0));
    let heard = Heard::default();
    let subscription = subscribe(&client, "a", &heard);
    client.close();
    let third = client.publish("a", "x");
    assert_eq!(outcome(&mut world, third), Err(ClientError::Closed));
    let confirmed = subscription.confirmed();
    assert_eq!(outcome(&mut world, confirmed), Err(ClientError::Closed));
    assert_eq!(world.server.clients(), 0);
    assert_eq!(Rc::strong_count(&heard), 1, "the callback is dropped");
}

#[test]
fn all_ends_with_the_last_clone() {
    let mut world = world(Simulation::calm(), Config::default());
    let client = world.client(ClientOptions::default());
    let heard = Heard::default();
    subscribe(&client, "a", &heard).forget();
    let other = client.clone();
    drop(client);
    world.settle();
    assert_eq!(world.server.subscribers("a"), 1);
    drop(other);
    world.settle();
    assert_eq!(world.server.clients(), 0);
    assert_eq!(Rc::strong_count(&heard), 1);
}

#[test]
fn a_stream_that_is_not_read_holds_a_limited_part_and_loses_nothing() {
    let mut world = world(Simulation::calm(), Config::default());
    world.simulation.capacity(5000);
    let client = world.client(ClientOptions::default().stream_limit(10_000));
    let publisher = world.client(ClientOptions::default());
    let mut messages = client.messages("a");
    let confirmed = messages.confirmed();
    outcome(&mut world, confirmed).expect("it is confirmed");
    for number in 0..300 {
        let counted = publisher.publish("a", format!("{number:0>1000}"));
        counted.then(|_, _| ());
    }
    world.settle();
    // The rest waits at the server.
    let asked = publisher.call(&[b"CLIENT", b"LIST", b"TYPE", b"pubsub"]);
    let list = outcome(&mut world, asked).expect("it is told");
    let list = String::from_utf8_lossy(list.as_bytes().expect("a text")).into_owned();
    let waiting = list.split("omem=").nth(1).and_then(|rest| rest.split(' ').next());
    let waiting: usize = waiting.and_then(|it| it.parse().ok()).expect("a number");
    assert!(waiting > 300 * 1000 - 100_000, "only {waiting} bytes wait there");
    let read = world.simulation.reactor_at(1).spawn(async move {
        let mut numbers = Vec::new();
        while let Some(message) = messages.next().await {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            numbers.push(text.trim_start_matches('0').parse().unwrap_or(0));
            if numbers.len() == 300 {
                break;
            }
        }
        numbers
    });
    let numbers: Vec<u32> = outcome(&mut world, read).expect("they come");
    assert!(numbers.into_iter().eq(0..300));
}

#[test]
fn a_stream_ends_with_its_client() {
    let mut world = world(Simulation::calm(), Config::default());
    let client = world.client(ClientOptions::default());
    let mut messages = client.messages("a");
    let read = world.simulation.reactor_at(1).spawn(async move { messages.next().await });
    world.settle();
    client.close();
    assert_eq!(outcome(&mut world, read), Ok(None));
}

#[test]
fn a_callback_may_do_with_the_client_what_it_likes() {
    let mut world = world(Simulation::calm(), Config::default());
    let client = world.client(ClientOptions::default());
    let own: Rc<RefCell<Option<ropewalk_redis::client::Subscription>>> = Rc::default();
    let (held, again, count) = (own.clone(), client.clone(), Rc::new(Cell::new(0)));
    let counted = count.clone();
    let subscription = client.subscribe("a", move |_, _| {
        counted.set(counted.get() + 1);
        again.publish("b", "from inside").then(|_, _| ());
        held.borrow_mut().take(); // its own subscription
    });
    *own.borrow_mut() = Some(subscription);
    let heard = Heard::default();
    subscribe(&client, "b", &heard).forget();
    world.settle();
    for _ in 0..3 {
        client.publish("a", "x").then(|_, _| ());
    }
    world.settle();
    assert_eq!((count.get(), heard.borrow().len()), (1, 1));
    assert_eq!(world.server.subscribers("a"), 0);
}

/// A server of the time before RESP3.
struct Older {
    inner: ropewalk_redis::server::Session,
    said_no: bool,
}

impl Protocol for Older {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        self.inner.connection_made(transport)
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        if data.starts_with(b"*2\r\n$5\r\nHELLO\r\n") && !self.said_no {
            self.said_no = true;
            data.clear();
            transport.write(b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n");
        }
        self.inner.data_received(transport, data)
    }

    fn connection_lost(
        &mut self,
        transport: &mut Transport<'_>,
        reason: &ropewalk_reactor::Reason,
    ) {
        self.inner.connection_lost(transport, reason);
    }
}

#[test]
fn a_server_without_resp3_will_do() {
    let mut simulation = Simulation::calm();
    let server = Server::new(Config::default());
    let mut factory = server.clone();
    let listening =
        simulation.reactor().listen_with(ListenOptions::default(), ADDRESS, move |peer| {
            use ropewalk_reactor::Factory;
            factory.build_protocol(peer).map(|inner| Older { inner, said_no: false })
        });
    listening.expect("the address is free");
    simulation.add_reactor();
    let mut world = World { simulation, server };
    let client = world.client(ClientOptions::default());
    let heard = Heard::default();
    subscribe(&client, "a", &heard).forget();
    world.settle();
    let published = client.publish("a", "x");
    assert_eq!(outcome(&mut world, published), Ok(1));
    assert_eq!(*heard.borrow(), ["x"]);
}

#[test]
fn a_message_of_any_size_is_heard() {
    let mut world = world(Simulation::calm(), Config::default());
    let client = world.client(ClientOptions::default());
    let heard = Heard::default();
    subscribe(&client, "a", &heard).forget();
    world.settle();
    let large = "x".repeat(3 << 20);
    let published = client.publish("a", &large);
    assert_eq!(outcome(&mut world, published), Ok(1));
    assert_eq!(heard.borrow().first().map(String::len), Some(large.len()));
}

#[test]
fn a_subscription_that_is_refused_fails_alone() {
    let mut world = world(Simulation::calm(), Config::default().max_subscriptions(1000));
    for options in [ClientOptions::default(), ClientOptions::default().without_own()] {
        let client = world.client(options);
        let heard = Heard::default();
        let before = subscribe(&client, "before", &heard);
        let refused = subscribe(&client, &"x".repeat(1000), &heard);
        let behind = subscribe(&client, "behind", &heard);
        let confirmed = refused.confirmed();
        let said = outcome(&mut world, confirmed).expect_err("it is too long");
        assert!(matches!(&said, ClientError::Server(_)), "{said:?}");
        let again = refused.confirmed();
        assert_eq!(outcome(&mut world, again), Err(said), "it is known by now");
        for subscription in [&before, &behind] {
            let confirmed = subscription.confirmed();
            assert_eq!(outcome(&mut world, confirmed), Ok(()));
        }
        let publisher = world.client(ClientOptions::default());
        let published = publisher.publish("before", "x");
        assert_eq!(outcome(&mut world, published), Ok(1));
        let published = publisher.publish("behind", "y");
        assert_eq!(outcome(&mut world, published), Ok(1));
        assert_eq!(*heard.borrow(), ["x", "y"]);
        client.close();
        world.settle();
    }
}

/// A server that never says anything.
struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

#[test]
fn a_client_that_is_closed_while_it_is_greeted_leaves_nothing() {
    for is_dropped in [false, true] {
        let mut simulation = Simulation::calm();
        simulation.reactor().listen(ADDRESS, |_| Silent).expect("the address is free");
        simulation.add_reactor();
        let (before, server) = (simulation.open_sockets(), Server::new(Config::default()));
        let mut world = World { simulation, server };
        let client = world.client(ClientOptions::default());
        client.publish("a", "x").then(|_, _| ());
        world.settle();
        assert_eq!(world.simulation.open_sockets(), before + 2, "both ends of a connection");
        if !is_dropped {
            client.close();
        }
        drop(client);
        world.settle();
        assert_eq!(world.simulation.open_sockets(), before);
    }
}

#[test]
fn a_callback_that_panics_keeps_nobody_else_from_hearing() {
    let mut world = world(Simulation::calm(), Config::default());
    let client = world.client(ClientOptions::default());
    let (first, last) = (Heard::default(), Heard::default());
    subscribe(&client, "a", &first).forget();
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    client
        .subscribe("a", move |_, _| {
            counted.set(counted.get() + 1);
            panic!("as it is meant to");
        })
        .forget();
    subscribe(&client, "a", &last).forget();
    world.settle();
    let publisher = world.client(ClientOptions::default());
    let published = (0..3).map(|number| publisher.publish("a", number.to_string()));
    let published: Vec<_> = published.collect();
    for published in published {
        assert_eq!(outcome(&mut world, published), Ok(1));
    }
    assert_eq!(*first.borrow(), ["0", "1", "2"]);
    assert_eq!(*last.borrow(), ["0", "1", "2"]);
    assert_eq!(calls.get(), 1, "whoever has panicked hears no more");
}

/// A server that is another one each time that its machine starts.
fn serve(reactor: &mut ropewalk_reactor::Reactor) -> Result {
    reactor.listen("0.0.0.0:6379", Server::new(Config::default()))?;
    Ok(())
}

#[test]
fn what_happens_to_the_connections_is_told() {
    let mut simulation = Simulation::calm();
    simulation.host("server", serve);
    simulation.add_reactor();
    let options = ClientOptions::default().without_own();
    let client = Client::with_options(simulation.reactor_at(2), "server:6379", options);
    let client = client.expect("a good address");
    let told = Heard::default();
    let place = told.clone();
    client.on_notice(move |_, notice| place.borrow_mut().push(notice.to_string()));
    let mut world = World { simulation, server: Server::new(Config::default()) };
    client.publish("a", "x").then(|_, _| ());
    world.settle();
    assert!(client.is_connected());
    world.simulation.kill("server");
    world.settle();
    assert!(!client.is_connected());
    world.simulation.restart("server");
    world.settle();
    let told = told.take();
    assert_eq!((&*told[0], &*told[2]), ("connected", "connected"), "{told:?}");
    assert!(told[1].starts_with("lost: ") && told.len() == 3, "{told:?}");
}

#[test]
fn a_server_that_goes_without_a_word_is_missed() {
    for (seed, options) in
        [ClientOptions::default(), ClientOptions::default().without_own()].into_iter().enumerate()
    {
        let mut simulation = Simulation::new(seed as u64);
        simulation.host("server", serve);
        simulation.host("other", |_| Ok(()));
        let client = Client::with_options(simulation.reactor_at("other"), "server:6379", options);
        let heard = Heard::default();
        let subscription = subscribe(&client.expect("a good address"), "a", &heard);
        let mut world = World { simulation, server: Server::new(Config::default()) };
        let confirmed = subscription.confirmed();
        assert_eq!(outcome(&mut world, confirmed), Ok(()));
        world.settle(); // it is asked again and again
        world.simulation.crash("server");
        world.simulation.run_for(Duration::from_secs(5));
        world.simulation.restart("server");
        world.settle();
        let reactor = world.simulation.reactor_at("other");
        let publisher = Client::new(reactor, "server:6379").expect("a good address");
        let published = publisher.publish("a", "x");
        assert!(outcome(&mut world, published).is_ok_and(|heard| heard > 0));
        assert_eq!(*heard.borrow(), ["x"]);
    }
}
