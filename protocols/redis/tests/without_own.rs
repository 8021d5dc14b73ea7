//! A client that does not hear itself: exactly that, whatever others say at the same moment, and
//! whatever becomes of the connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use ropewalk_reactor::{Protocol, Result, Simulation, Transport};
use ropewalk_redis::client::{Client, ClientOptions};
use ropewalk_redis::server::{Config, Server};

const ADDRESS: &str = "10.0.0.1:6379";

type Heard = Rc<RefCell<Vec<String>>>;

/// What a client hears on `n*`.
fn listen(client: &Client) -> Heard {
    let heard = Heard::default();
    let place = heard.clone();
    let subscription = client.psubscribe("n*", move |_, message| {
        place.borrow_mut().push(String::from_utf8_lossy(&message.payload).into_owned());
    });
    subscription.forget();
    heard
}

/// One that asks for nothing but what it is told to.
fn quiet() -> ClientOptions {
    ClientOptions::default().ping_interval(Duration::ZERO)
}

/// Clients of one server, each on a reactor of its own.
fn clients(simulation: &mut Simulation, options: Vec<ClientOptions>) -> Vec<Client> {
    simulation.reactor().listen(ADDRESS, Server::new(Config::default())).expect("it is free");
    let clients = options.into_iter().map(|options| {
        let at = simulation.add_reactor();
        Client::with_options(simulation.reactor_at(at), ADDRESS, options).expect("a good address")
    });
    clients.collect()
}

#[test]
fn it_hears_all_that_others_say_in_their_order_and_nothing_of_its_own() {
    for seed in 0..200 {
        let mut simulation = Simulation::new(seed);
        simulation.resets(0);
        let options = vec![quiet().without_own(), quiet()];
        let clients = clients(&mut simulation, options);
        let [own, other] = &clients[..] else { panic!("there are two") };
        let (heard, all) = (listen(own), listen(other));
        simulation.run_for(Duration::from_secs(3600));
        let mut said = Vec::new();
        for number in 0..60 {
            // The same few texts from both, at about the same time.
            let text = (number * number % 7 % 3).to_string();
            own.publish("news", &text).then(|_, _| ());
            if number % 4 < 2 {
                other.publish("news", &text).then(|_, _| ());
                said.push(text);
            }
            own.publish("other", "it matches nothing").then(|_, _| ());
            if number % 5 == 0 {
                simulation.run_for(Duration::from_millis(3));
            }
        }
        simulation.run_for(Duration::from_secs(3600));
        assert_eq!(*heard.borrow(), said, "seed {seed}");
        assert_eq!(all.borrow().len(), 60 + said.len(), "seed {seed}: everybody else hears it");
    }
}

#[test]
fn connections_that_are_lost_bring_nothing_of_its_own() {
    let mut lost = 0;
    for seed in 0..200 {
        let mut simulation = Simulation::new(seed);
        let quick = quiet().delays(Duration::ZERO, Duration::from_millis(5));
        let options = vec![quick.without_own(), quiet()];
        let clients = clients(&mut simulation, options);
        let [own, other] = &clients[..] else { panic!("there are two") };
        let heard = listen(own);
        simulation.run_for(Duration::from_secs(3600));
        simulation.resets(40);
        let failed = Rc::new(RefCell::new(0));
        for number in 0..100 {
            let failed = failed.clone();
            own.publish("news", format!("own {number}")).then(move |_, result| {
                *failed.borrow_mut() += usize::from(result.is_err());
            });
            other.publish("news", format!("other {number}")).then(|_, _| ());
            simulation.run_for(Duration::from_millis(number % 7));
        }
        simulation.resets(0);
        simulation.run_for(Duration::from_secs(3600));
        lost += *failed.borrow();
        let mut heard = heard.take();
        assert!(heard.iter().all(|text| text.starts_with("other ")), "seed {seed}: {heard:?}");
        let count = heard.len();
        heard.sort();
        heard.dedup();
        assert_eq!(heard.len(), count, "seed {seed}: none is heard twice");
    }
    assert!(lost > 100, "only {lost} publications were under way when a connection was lost");
}

/// A server that says what it is told to, and notes what it hears.
#[derive(Default)]
struct Script {
    answers: VecDeque<&'static str>,
    heard: Vec<String>,
}

struct Scripted(Rc<RefCell<Script>>);

impl Protocol for Scripted {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        // Commands come whole on a calm network.
        let text = format!("\r\n{}", String::from_utf8_lossy(data));
        data.clear();
        let mut script = self.0.borrow_mut();
        for command in text.split("\r\n*").skip(1) {
            let words = command.split("\r\n").skip(1);
            let words: Vec<_> = words.filter(|word| !word.starts_with('$')).collect();
            script.heard.push(words.join(" ").trim().to_owned());
            match script.answers.pop_front() {
                Some("lose") => transport.lose_connection(),
                Some(answer) => {
                    // The name that it was given.
                    let hello = script.heard.iter().find_map(|line| line.split("SETNAME ").nth(1));
                    let list = format!("id=7 addr=1 name={} age=1", hello.unwrap_or_default());
                    let list = format!("={}\r\ntxt:{list}\r\n", list.len() + 4);
                    transport.write(answer.replace("LIST", &list).as_bytes());
                }
                None => {}
            }
        }
        Ok(())
    }
}

const HELLO: &str = "%1\r\n$2\r\nid\r\n:7\r\n";
const SUBSCRIBED: &str = ">3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:1\r\n";

/// What the server hears, the random names left out.
fn told(answers: &[&'static str]) -> Vec<String> {
    let mut simulation = Simulation::calm();
    let script = Rc::new(RefCell::new(Script::default()));
    script.borrow_mut().answers.extend(answers);
    let given = script.clone();
    let listening = simulation.reactor().listen(ADDRESS, move |_| Scripted(given.clone()));
    listening.expect("it is free");
    let client = simulation.add_reactor();
    let options = quiet().name("me").without_own();
    let client = Client::with_options(simulation.reactor_at(client), ADDRESS, options);
    let client = client.expect("a good address");
    let heard = listen(&client);
    client.publish("news", "x").then(|_, _| ());
    simulation.run_for(Duration::from_secs(3600));
    assert!(heard.borrow().is_empty());
    let lines = script.take().heard.into_iter().map(|line| match line.split_once(" me-") {
        Some((before, name)) if name.len() == 16 => format!("{before} me-…"),
        _ => line,
    });
    lines.collect()
}

#[test]
fn a_connection_that_may_still_publish_is_closed_before_the_next_one_subscribes() {
    let hello = "HELLO 3 SETNAME me-…";
    let answers =
        [HELLO, SUBSCRIBED, "lose", "%1\r\n$2\r\nid\r\n:9\r\n", "LIST", ":1\r\n", SUBSCRIBED];
    let first = [hello, "PSUBSCRIBE n*", "PUBLISH news x"];
    let then = [hello, "CLIENT LIST ID 7", "CLIENT KILL ID 7", "PSUBSCRIBE n*"];
    assert_eq!(told(&answers), [&first[..], &then].concat());
    // One that the server gave the number to since is left alone.
    let answers =
        [HELLO, SUBSCRIBED, "lose", HELLO, "$22\r\nid=7 addr=1 name=other\r\n", SUBSCRIBED];
    let then = [hello, "CLIENT LIST ID 7", "PSUBSCRIBE n*"];
    assert_eq!(told(&answers), [&first[..], &then].concat());
    // A server that does not let it go on is no reason to stay away.
    let answers = [HELLO, SUBSCRIBED, "lose", HELLO, "-NOPERM no\r\n", SUBSCRIBED];
    assert_eq!(told(&answers), [&first[..], &then].concat());
    // Without a publication under way there is nothing to do.
    let answers = [HELLO, SUBSCRIBED, "_\r\n", "lose"];
    assert_eq!(told(&answers), first);
}

#[test]
fn a_server_without_resp3_is_tried_again() {
    let told = told(&["-NOPROTO unsupported protocol version\r\n", HELLO, SUBSCRIBED, ":0\r\n"]);
    let hello = "HELLO 3 SETNAME me-…";
    assert_eq!(told, [hello, hello, "PSUBSCRIBE n*", "PUBLISH news x"]);
}
