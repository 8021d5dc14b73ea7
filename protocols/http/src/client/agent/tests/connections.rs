//! Connections that are kept, shared, limited and given up.

use super::*;

#[test]
fn one_connection_serves_one_request_after_the_other() {
    let mut world = World::new(Client::builder());
    let stage = world.play("10.0.0.1:80", [ok("1"), ok("2"), ok("3")]);
    for expected in ["1", "2", "3"] {
        assert_eq!(world.get("http://a.test/").expect("an answer").text(), expected);
        assert_eq!((world.client.open_connections(), world.client.idle_connections()), (1, 1));
    }
    assert_eq!(stage.connections.get(), 1);
    world.simulation.run_for(seconds(29));
    assert_eq!(world.client.idle_connections(), 1);
    world.simulation.run_for(seconds(5));
    assert_eq!((world.client.open_connections(), stage.lost.get()), (0, 1), "after 30 s");
}

#[test]
fn further_requests_wait_for_a_connection_in_their_order() {
    let mut world = World::new(Client::builder().max_connections_per_origin(2));
    let asked = world.serve("10.0.0.1:80", echo);
    let other = world.serve("10.0.0.2:80", echo);
    let all: Vec<_> =
        (0..10).map(|at| world.ask(Request::get(format!("http://a.test/{at}")))).collect();
    let elsewhere = world.ask(Request::get("http://b.test/"));
    let mut most = 0;
    world.simulation.run_until(|simulation| {
        most = most.max(simulation.open_sockets());
        all.iter().all(|one| one.borrow().is_some())
    });
    assert!(most <= 6, "{most} ends of 3 connections");
    for (at, one) in all.iter().enumerate() {
        assert_eq!(taken(one).expect("an answer").text(), format!("GET /{at}"));
    }
    assert_eq!(asked.borrow().len(), 10);
    assert!(taken(&elsewhere).is_ok() && other.borrow().len() == 1);
    assert_eq!(world.client.idle_connections(), 3);
}

#[test]
fn no_more_wait_than_may() {
    let builder = Client::builder().max_connections_per_origin(1).max_waiting(2);
    let mut world = World::new(builder);
    world.play("10.0.0.1:80", [Act::say("")]);
    let mut waiting: Vec<_> = (0..3).map(|_| world.client.get("http://a.test/")).collect();
    world.simulation.run_for(seconds(1));
    let error = world.get("http://a.test/").expect_err("a fourth");
    assert!(matches!(error, ClientError::TooManyWaiting { limit: 2, .. }), "{error}");
    // One that is given up makes room.
    drop(waiting.pop());
    world.simulation.run_for(seconds(1));
    let fourth = world.ask(Request::get("http://a.test/"));
    world.simulation.run_for(seconds(1));
    assert!(fourth.borrow().is_none(), "it waits");
}

#[test]
fn a_request_that_waits_gets_the_place_of_one_that_failed() {
    let mut world = World::new(Client::builder().max_connections_per_origin(1));
    let stage = world.play("10.0.0.1:80", [Act::say("").then(Then::Reset), ok("second")]);
    let first = world.ask(Request::get("http://a.test/1"));
    let second = world.ask(Request::get("http://a.test/2"));
    assert!(world.result(&first).is_err());
    assert_eq!(world.result(&second).expect("an answer").text(), "second");
    assert_eq!(stage.connections.get(), 2);
}

#[test]
fn a_request_that_met_a_closed_connection_is_sent_once_more() {
    for method in [crate::Method::Get, crate::Method::Put, crate::Method::Delete] {
        let mut world = World::new(Client::builder());
        let stage = world.play("10.0.0.1:80", [ok("1"), Act::say("").then(Then::Close), ok("2")]);
        world.get("http://a.test/").expect("an answer");
        let again = world.ask(Request::new(method, "http://a.test/x"));
        assert_eq!(world.result(&again).expect("an answer").text(), "2", "{method}");
        assert_eq!(stage.connections.get(), 2);
    }
}

#[test]
fn a_request_that_may_not_be_done_twice_is_sent_once() {
    let mut world = World::new(Client::builder());
    let stage = world.play("10.0.0.1:80", [ok("1"), Act::say("").then(Then::Reset), ok("2")]);
    world.get("http://a.test/").expect("an answer");
    let post = world.ask(Request::post("http://a.test/").body("x"));
    let error = world.result(&post).expect_err("nobody knows");
    assert!(matches!(error, ClientError::Lost { unanswered: true, .. }), "{error}");
    assert!(error.to_string().contains("may have done what was asked, or may not"), "{error}");
    assert_eq!(stage.acts.borrow().len(), 1);
    // A body that can be produced only once is no better.
    let mut world = World::new(Client::builder());
    world.play("10.0.0.1:80", [ok("1"), Act::say("").then(Then::Reset), ok("2")]);
    world.get("http://a.test/").expect("an answer");
    let put = world.ask(Request::put("http://a.test/").pulled(None, ["x".into()]));
    assert!(world.result(&put).is_err());
}

#[test]
fn a_request_on_a_new_connection_is_not_sent_again() {
    let mut world = World::new(Client::builder());
    let stage = world.play("10.0.0.1:80", [Act::say("").then(Then::Close), ok("2")]);
    assert!(matches!(world.get("http://a.test/"), Err(ClientError::Lost { .. })));
    assert_eq!(stage.connections.get(), 1);
    // Nor more than once on one that was kept.
    let mut world = World::new(Client::builder());
    let reset = || Act::say("").then(Then::Reset);
    let stage = world.play("10.0.0.1:80", [ok("1"), reset(), reset(), ok("2")]);
    world.get("http://a.test/").expect("an answer");
    assert!(matches!(world.get("http://a.test/"), Err(ClientError::Lost { .. })));
    assert_eq!(stage.connections.get(), 2);
    // Nor when its answer had begun.
    let mut world = World::new(Client::builder());
    let stage = world.play("10.0.0.1:80", [ok("1"), Act::say("H").then(Then::Close), ok("2")]);
    world.get("http://a.test/").expect("an answer");
    assert!(matches!(world.get("http://a.test/"), Err(ClientError::Lost { .. })));
    assert_eq!(stage.connections.get(), 1);
}

#[test]
fn a_connection_that_brought_too_much_is_not_used_again() {
    let mut world = World::new(Client::builder());
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let stage = world.play("10.0.0.1:80", [Act::say(poison), ok("good")]);
    assert_eq!(world.get("http://a.test/").expect("an answer").text(), "1");
    assert_eq!(world.get("http://a.test/").expect("an answer").text(), "good");
    assert_eq!(stage.connections.get(), 2);
}

#[test]
fn connections_that_are_kept_are_few_and_end_with_the_client() {
    let mut world = World::new(Client::builder().max_idle_connections(1));
    world.serve("10.0.0.1:80", echo);
    let two: Vec<_> = (0..2).map(|_| world.ask(Request::get("http://a.test/"))).collect();
    two.iter().for_each(|one| drop(world.result(one).expect("an answer")));
    world.simulation.run_for(seconds(5));
    assert_eq!((world.client.open_connections(), world.client.idle_connections()), (1, 1));
    assert_eq!(world.simulation.open_sockets(), 2);
    let World { mut simulation, client } = world;
    let clone = client.clone();
    drop(client);
    simulation.run_for(seconds(5));
    assert_eq!(simulation.open_sockets(), 2, "a clone is there");
    drop(clone);
    simulation.run_for(seconds(5));
    assert_eq!(simulation.open_sockets(), 0);
}

#[test]
fn where_none_is_kept_none_is_used_again_by_those_who_wait_either() {
    let mut world =
        World::new(Client::builder().max_idle_connections(0).max_connections_per_origin(1));
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
    let stage = world.play("10.0.0.1:80", [Act::say(poison), ok("2"), ok("3")]);
    let all: Vec<_> = (0..3).map(|_| world.ask(Request::get("http://a.test/"))).collect();
    let answers: Vec<_> =
        all.iter().map(|one| world.result(one).expect("an answer").text().into_owned()).collect();
    assert_eq!(answers, ["1", "2", "3"]);
    assert_eq!(stage.connections.get(), 3);
}

#[test]
fn what_is_beyond_a_length_is_not_asked_for() {
    let mut world = World::new(Client::builder());
    let stage = world.play("10.0.0.1:80", [ok("")]);
    let endless = std::iter::repeat_n(bytes::Bytes::from("ab"), 1_000_000);
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    let endless = endless.inspect(move |_| count.set(count.get() + 1));
    let pending = world.ask(Request::put("http://a.test/").pulled(Some(4), endless));
    world.result(&pending).expect("an answer");
    assert!(stage.heard().contains("Content-Length: 4\r\n"));
    assert_eq!(asked.get(), 2);
}

#[test]
fn a_server_that_closes_each_time_is_asked_each_time_anew() {
    let mut world = World::new(Client::builder().max_connections_per_origin(1));
    let closing = |_: &crate::Request| crate::Response::text("bye").close();
    let asked = world.serve("10.0.0.1:80", closing);
    let all: Vec<_> = (0..5).map(|_| world.ask(Request::get("http://a.test/"))).collect();
    for one in &all {
        assert_eq!(world.result(one).expect("an answer").text(), "bye");
    }
    assert_eq!(asked.borrow().len(), 5);
    assert_eq!(world.client.open_connections(), 0);
}
