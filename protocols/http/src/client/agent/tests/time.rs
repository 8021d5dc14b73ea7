//! Each phase has its limit, and an error that names it.

use super::*;

fn phase(result: Result<Response, ClientError>) -> (TimedOut, Duration) {
    match result {
        Err(ClientError::TimedOut { phase, limit, .. }) => (phase, limit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn connecting_has_a_limit() {
    let mut world = World::new(Client::builder().connect_timeout(seconds(7)));
    world.simulation.silence(IpAddr::from([10, 0, 0, 1]));
    let before = world.simulation.elapsed();
    let (what, limit) = phase(world.get("http://a.test/"));
    assert_eq!((what, limit), (TimedOut::Connect, seconds(7)));
    let took = world.simulation.elapsed() - before;
    assert!(took >= seconds(7) && took < seconds(8), "{took:?}");
    assert_eq!(world.simulation.open_sockets(), 0);
}

#[test]
fn the_head_and_the_body_have_limits() {
    let connection = ConnectionConfig::new().head_timeout(seconds(3)).body_timeout(seconds(4));
    let mut world = World::new(Client::builder().connection(connection));
    world.play("10.0.0.1:80", [Act::say("HTTP/1.1 200 OK\r\n")]);
    world.play("10.0.0.2:80", [Act::say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")]);
    assert_eq!(phase(world.get("http://a.test/")), (TimedOut::Head, seconds(3)));
    assert_eq!(phase(world.get("http://b.test/")), (TimedOut::Body, seconds(4)));
    world.simulation.run_for(seconds(1));
    assert_eq!(world.client.open_connections(), 0);
}

#[test]
fn all_of_it_has_a_limit_if_one_is_set() {
    let mut world = World::new(Client::builder().timeout(seconds(10)));
    let stage = world.play("10.0.0.1:80", [Act::say("")]);
    assert_eq!(phase(world.get("http://a.test/")), (TimedOut::Whole, seconds(10)));
    world.simulation.run_for(seconds(1));
    assert_eq!(stage.lost.get(), 1, "its connection went with it");
    let mut world = World::new(Client::builder().timeout(seconds(100)));
    world.play("10.0.0.1:80", [Act::say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")]);
    let pending = world.ask(Request::get("http://a.test/").timeout(seconds(5)));
    assert_eq!(phase(world.result(&pending)), (TimedOut::Whole, seconds(5)), "the body, too");
    assert_eq!(world.simulation.reactor().timer_count(), 0);
}

#[test]
fn a_request_that_waits_for_a_connection_is_within_its_limit() {
    let mut world = World::new(Client::builder().max_connections_per_origin(1));
    let stage = world.play("10.0.0.1:80", [Act::say(""), ok("third")]);
    let first = world.ask(Request::get("http://a.test/").timeout(seconds(20)));
    let second = world.ask(Request::get("http://a.test/").timeout(seconds(10)));
    let third = world.ask(Request::get("http://a.test/"));
    assert_eq!(phase(world.result(&second)), (TimedOut::Whole, seconds(10)));
    assert!(first.borrow().is_none());
    assert_eq!(phase(world.result(&first)), (TimedOut::Whole, seconds(20)));
    assert_eq!(world.result(&third).expect("an answer").text(), "third");
    assert_eq!(stage.connections.get(), 2);
}
