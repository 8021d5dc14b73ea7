//! Both sides on a network that cuts, merges and delays as the seed says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::{ConnectionId, Simulation, simulation};

use super::*;
use crate::Config as HttpConfig;

const HOUR: Duration = Duration::from_secs(3600);

/// Sends what it gets back.
fn echo(socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
    socket.send(message);
    Ok(())
}

fn listen(simulation: &mut Simulation, upgrade: WebSocketUpgrade) {
    let listening = simulation.reactor().listen("10.0.0.1:80", move |_| {
        let upgrade = upgrade.clone();
        // Some of the networks take a second for ten octets.
        let config = HttpConfig::new().head_timeout(HOUR);
        let answer = move |request: &Request| upgrade.accept(request, echo);
        HttpServer::with_config(Arc::new(config), answer)
    });
    listening.expect("a free address");
}

/// Sends numbered messages of growing length, some in fragments, and counts what comes back.
struct Counting {
    log: Log,
    next: usize,
}

const MESSAGES: usize = 30;

fn text(number: usize) -> String {
    format!("{number}: {}", "k\u{3ba}\u{1f600}".repeat(number * number))
}

impl WebSocketHandler for Counting {
    fn opened(&mut self, socket: &mut WebSocket<'_>) -> Result {
        for number in 0..MESSAGES {
            let text = text(number);
            if number % 3 == 0 {
                let (one, two) = text.split_at(text.find(' ').unwrap_or(0));
                socket.send_fragment(one, false);
                socket.ping(b"between");
                socket.send_fragment(two, true);
            } else {
                socket.send_text(&text);
            }
        }
        Ok(())
    }

    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        assert_eq!(message.text(), Some(&*text(self.next)));
        self.next += 1;
        if self.next == MESSAGES {
            socket.close(CloseCode::NORMAL, "");
        }
        Ok(())
    }

    fn pong_received(&mut self, _: &mut WebSocket<'_>, data: &[u8]) -> Result {
        assert_eq!(data, b"between");
        Ok(())
    }

    fn closed(&mut self, _: &mut Transport<'_>, close: &Close, _: &Reason) {
        self.log.add(format!("{} {} {}", self.next, close.code.number(), close.is_clean));
    }
}

#[test]
fn all_comes_back_in_order_on_every_network() {
    simulation::seeds(0..60, |simulation| {
        let deflate = match simulation.seed() % 3 {
            0 => None,
            1 => Some(Deflate::new()),
            _ => Some(
                Deflate::new()
                    .server_context_takeover(true)
                    .client_context_takeover(true)
                    .client_max_window_bits(9),
            ),
        };
        let mut upgrade = WebSocketUpgrade::new();
        let mut client = WebSocketClient::new("ws://10.0.0.1/").expect("a good URL");
        client = client.handshake_timeout(HOUR);
        if let Some(deflate) = deflate {
            upgrade = upgrade.deflate(deflate.clone());
            client = client.deflate(deflate);
        }
        listen(simulation, upgrade);
        let log = Log::default();
        let opened = client.connect(simulation.reactor(), Counting { log: log.clone(), next: 0 });
        opened.forget();
        simulation.settle();
        assert_eq!(log.take(), [format!("{MESSAGES} 1000 true")]);
        assert_eq!(simulation.open_sockets(), 0);
    });
}

#[test]
fn a_story_replays_from_its_seed() {
    for seed in 0..3 {
        simulation::assert_replays(seed, |simulation| {
            listen(simulation, WebSocketUpgrade::new().deflate(Deflate::new()));
            let client = WebSocketClient::new("ws://10.0.0.1/").expect("a good URL");
            let counting = Counting { log: Log::default(), next: 0 };
            client.deflate(Deflate::new()).connect(simulation.reactor(), counting).forget();
            simulation.settle();
        });
    }
}

#[test]
fn each_side_is_told_of_the_end_once_when_connections_are_cut() {
    simulation::seeds(0..60, |simulation| {
        simulation.resets(20);
        let log = Log::default();
        let told_log = log.clone();
        let listening = simulation.reactor().listen("10.0.0.1:80", move |_| {
            let log = told_log.clone();
            HttpServer::new(move |request: &Request| {
                WebSocketUpgrade::new().accept(request, told(&log))
            })
        });
        listening.expect("a free address");
        let client = WebSocketClient::new("ws://10.0.0.1/").expect("a good URL");
        let own = Log::default();
        // (It fails where the connection is cut before it is open.)
        let opened = client.connect(simulation.reactor(), told(&own));
        opened.then(|reactor, opened| {
            if let Ok(id) = opened {
                with_websocket(reactor, id, |socket| {
                    for _ in 0..100 {
                        socket.send_text("hello");
                    }
                    socket.close(CloseCode::NORMAL, "");
                });
            }
        });
        simulation.settle();
        for told in [log.take(), own.take()] {
            let count = |what: &str| told.iter().filter(|line| line.starts_with(what)).count();
            assert_eq!(count("opened"), count("closed "), "{told:?}");
            let ends = told.is_empty() || told.last().is_some_and(|l| l.starts_with("closed "));
            assert!(ends && count("closed ") <= 1, "{told:?}");
        }
        assert_eq!(simulation.open_sockets(), 0);
    });
}

/// Everybody in the room.
type Room = Rc<RefCell<BTreeSet<ConnectionId>>>;

const YOU: &str = "it is you, and only you, whom this is told";

struct Guest(Room);

impl WebSocketHandler for Guest {
    fn opened(&mut self, socket: &mut WebSocket<'_>) -> Result {
        self.0.borrow_mut().insert(socket.id());
        Ok(())
    }

    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        let all: Vec<_> = self.0.borrow().iter().copied().collect();
        if message.text() == Some("one by one") {
            for id in all {
                socket.with_websocket(id, |other| {
                    other.send_text(YOU);
                });
            }
        } else {
            Prepared::new(message).broadcast(socket.transport(), &all);
        }
        Ok(())
    }

    fn closed(&mut self, transport: &mut Transport<'_>, _: &Close, _: &Reason) {
        self.0.borrow_mut().remove(&transport.id());
        let rest: Vec<_> = self.0.borrow().iter().copied().collect();
        Prepared::text("somebody left").broadcast(transport, &rest);
    }
}

#[test]
fn a_room_hears_what_each_says_compressed_or_not() {
    let mut simulation = Simulation::calm();
    let room = Room::default();
    let deflate = Deflate::new().server_context_takeover(true).client_context_takeover(true);
    let upgrade = WebSocketUpgrade::new().deflate(deflate.clone().min_size(20));
    let guests = room.clone();
    let listening = simulation.reactor().listen("10.0.0.1:80", move |_| {
        let (upgrade, guests) = (upgrade.clone(), guests.clone());
        HttpServer::new(move |request: &Request| upgrade.accept(request, Guest(guests.clone())))
    });
    listening.expect("a free address");
    let mut logs = Vec::new();
    let mut ids = Vec::new();
    for deflate in [None, Some(deflate.clone()), Some(deflate.server_max_window_bits(10))] {
        let mut client = WebSocketClient::new("ws://10.0.0.1/").expect("a good URL");
        if let Some(deflate) = deflate {
            client = client.deflate(deflate);
        }
        let log = Log::default();
        let heard = log.clone();
        let write_down = move |_: &mut WebSocket<'_>, message: Message<'_>| {
            heard.add(message.text().unwrap_or_default());
            Ok(())
        };
        let mut opened = Box::pin(client.connect(simulation.reactor(), write_down));
        let id = Rc::new(RefCell::new(None));
        let found = id.clone();
        simulation
            .reactor()
            .spawn(async move { *found.borrow_mut() = opened.as_mut().await.ok() })
            .forget();
        simulation.run_for(Duration::from_secs(1));
        ids.push(id.take().expect("it is open"));
        logs.push(log);
    }
    let long = "a long story, and a long story, and a long story";
    for text in ["one by one", long, "one by one", "short", long] {
        with_websocket(simulation.reactor(), ids[1], |socket| socket.send_text(text));
        simulation.run_for(Duration::from_secs(1));
    }
    for log in &logs {
        // (What is said to one refers to what was said before, but not past what was said to all.)
        assert_eq!(log.take(), [YOU, long, YOU, "short", long]);
    }
    with_websocket(simulation.reactor(), ids[0], |socket| socket.close(CloseCode::NORMAL, ""));
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(logs[1].take(), ["somebody left"]);
    assert_eq!(room.borrow().len(), 2);
}

#[test]
fn calls_that_are_set_for_later_find_the_handler() {
    let mut simulation = Simulation::calm();
    let log = Log::default();
    listen(&mut simulation, WebSocketUpgrade::new());
    let client = WebSocketClient::new("ws://10.0.0.1/").expect("a good URL");
    client.connect(simulation.reactor(), told(&log)).then(|reactor, opened| {
        let id = opened.expect("it opens");
        let known = reactor.with_protocol::<Told, _>(id, |told, _| told.log.add("reached"));
        assert!(known.is_some(), "a handler is a layer");
        with_websocket(reactor, id, |socket| {
            socket.call_later(Duration::from_secs(1), |told: &mut Told, socket| {
                told.log.add("called");
                socket.close(CloseCode::NORMAL, "");
            });
            socket.call_later(Duration::from_secs(3600), |told: &mut Told, _| {
                told.log.add("never");
            });
        });
    });
    simulation.settle();
    let told = log.take();
    assert_eq!(told[..3], ["opened none", "reached", "called"]);
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn a_reactor_that_stops_says_so_to_all() {
    let mut simulation = Simulation::calm();
    let server = simulation.add_reactor();
    let log = Log::default();
    let told_log = log.clone();
    let listening = simulation.reactor_at(server).listen("10.0.0.1:80", move |_| {
        let log = told_log.clone();
        HttpServer::new(move |request: &Request| {
            WebSocketUpgrade::new().accept(request, told(&log))
        })
    });
    listening.expect("a free address");
    simulation.reactor_at(server).during_shutdown(|reactor| {
        close_all(reactor, CloseCode::GOING_AWAY, "back soon");
    });
    let client = WebSocketClient::new("ws://10.0.0.1/").expect("a good URL");
    let own = Log::default();
    client.connect(simulation.reactor(), told(&own)).forget();
    simulation.run_for(Duration::from_secs(1));
    simulation.reactor_at(server).stop();
    simulation.run_for(Duration::from_secs(1));
    let own = own.take();
    assert_eq!(own[..2], ["opened none", "close received 1001 back soon"]);
    assert!(own[2].starts_with("closed 1001 clean"), "{own:?}");
    assert!(log.take().last().is_some_and(|line| line.ends_with("reactor stopped")));
}
