//! The client on the simulated network, against servers of ours and against some that misbehave.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use bytes::BytesMut;
use ropewalk_reactor::{Error, Protocol, Reason, Result, Simulation, Transport};

use super::*;
use crate::{Config, HttpServer, Status};

mod bodies;
mod connections;
mod elsewhere;
mod seeds;
mod time;

/// A network with a client, and servers at `a.test`, `b.test` and so on.
struct World {
    simulation: Simulation,
    client: Client,
}

/// What was asked of a server, in order: `METHOD target host`, and perhaps more.
type Asked = Rc<RefCell<Vec<String>>>;

impl World {
    fn new(builder: ClientBuilder) -> Self {
        Self::on(Simulation::calm(), builder)
    }

    fn on(mut simulation: Simulation, builder: ClientBuilder) -> Self {
        for (name, last) in [("a.test", 1), ("b.test", 2), ("proxy.test", 3)] {
            simulation.name(name, [IpAddr::from([10, 0, 0, last])]);
        }
        let client = builder.build(simulation.reactor().local());
        Self { simulation, client }
    }

    /// A server of ours, at an address.
    fn serve(
        &mut self,
        address: &str,
        answer: impl FnMut(&crate::Request) -> crate::Response + Clone + 'static,
    ) -> Asked {
        let asked = Asked::default();
        let note = Rc::clone(&asked);
        let factory = move |_| {
            let (note, mut answer) = (Rc::clone(&note), answer.clone());
            let config = Arc::new(Config::new().date(false));
            HttpServer::with_config(config, move |request: &crate::Request| {
                let host = request.host().unwrap_or_default();
                note.borrow_mut().push(format!("{} {} {host}", request.method(), request.target()));
                answer(request)
            })
        };
        self.simulation.reactor().listen(address, factory).expect("a free address");
        asked
    }

    /// A server that follows a script: an act for each request, whatever that is.
    fn play(&mut self, address: &str, acts: impl IntoIterator<Item = Act>) -> Stage {
        let stage = Stage::default();
        stage.acts.borrow_mut().extend(acts);
        let copy = stage.clone();
        let factory = move |_| {
            copy.connections.set(copy.connections.get() + 1);
            Actor { stage: copy.clone() }
        };
        self.simulation.reactor().listen(address, factory).expect("a free address");
        stage
    }

    fn ask(&mut self, request: Request) -> Pending<Response> {
        pending(self.client.request(request))
    }

    /// What becomes of a request, when nothing more happens.
    fn get(&mut self, url: &str) -> Result<Response, ClientError> {
        let pending = self.ask(Request::get(url));
        self.result(&pending)
    }

    fn result<T: 'static>(&mut self, pending: &Pending<T>) -> Result<T, ClientError> {
        self.simulation.run_until(|_| pending.borrow().is_some());
        taken(pending)
    }
}

type Pending<T> = Rc<RefCell<Option<Result<T, Error>>>>;

fn pending<T: 'static>(deferred: Deferred<T>) -> Pending<T> {
    let pending = Pending::default();
    let told = Rc::clone(&pending);
    deferred.then(move |_, result| *told.borrow_mut() = Some(result));
    pending
}

fn taken<T>(pending: &Pending<T>) -> Result<T, ClientError> {
    let result = pending.borrow_mut().take().expect("the deferred has fired");
    result.map_err(|error| match ClientError::of(&error) {
        Some(own) => own.clone(),
        None => panic!("not an error of the client's: {error}"),
    })
}

/// What a server does about one request.
#[derive(Clone)]
struct Act {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    Stay,
    Close,
    Reset,
}

impl Act {
    fn say(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Stay }
    }

    fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

fn ok(body: &str) -> Act {
    Act::say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

#[derive(Clone, Default)]
struct Stage {
    acts: Rc<RefCell<VecDeque<Act>>>,
    connections: Rc<Cell<usize>>,
    lost: Rc<Cell<usize>>,
    /// All that was received, on all connections.
    heard: Rc<RefCell<Vec<u8>>>,
}

impl Stage {
    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.borrow()).into_owned()
    }
}

struct Actor {
    stage: Stage,
}

impl Protocol for Actor {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        while let Some(end) = data.windows(4).position(|four| four == b"\r\n\r\n") {
            self.stage.heard.borrow_mut().extend_from_slice(&data.split_to(end + 4));
            let Some(act) = self.stage.acts.borrow_mut().pop_front() else { return Ok(()) };
            transport.write(&act.bytes);
            match act.then {
                Then::Stay => {}
                Then::Close => transport.lose_connection(),
                Then::Reset => transport.abort_connection(),
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, _: &Reason) {
        self.stage.lost.set(self.stage.lost.get() + 1);
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn echo(request: &crate::Request) -> crate::Response {
    crate::Response::text(format!("{} {}", request.method(), request.target()))
}

#[test]
fn a_request_is_answered_and_its_fields_are_what_servers_expect() {
    let mut world = World::new(Client::builder());
    let stage = world.play("10.0.0.1:80", [ok("hello")]);
    let answer = world.get("http://a.test/a?b#c").expect("an answer");
    assert_eq!((answer.status(), answer.text().as_ref()), (Status::OK, "hello"));
    assert_eq!(answer.url(), "http://a.test/a?b#c");
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "GET /a?b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: Ropewalk/{version}\r\n\
         Accept-Encoding: gzip, deflate\r\nAccept: */*\r\n\r\n"
    );
    assert_eq!(stage.heard(), expected);
}

#[test]
fn a_requests_own_fields_go_before_the_clients() {
    let mut world = World::new(Client::builder().header("X-Client", "c").header("User-Agent", ""));
    let stage = world.play("10.0.0.1:8080", [ok("")]);
    let request = Request::post("http://us%20er:p%40ss@a.test:8080")
        .header("X-Client", "mine")
        .header("Accept", "a/b")
        .header("Host", "evil")
        .header("Content-Length", "99")
        .header("Upgrade", "x")
        .body("abc");
    let pending = world.ask(request);
    world.result(&pending).expect("an answer");
    assert_eq!(
        stage.heard(),
        "POST / HTTP/1.1\r\nHost: a.test:8080\r\nX-Client: mine\r\nAccept: a/b\r\n\
         Accept-Encoding: gzip, deflate\r\nAuthorization: Basic dXMgZXI6cEBzcw==\r\n\
         Content-Length: 3\r\n\r\n"
    );
}

#[test]
fn what_is_no_url_is_told_later_and_in_words() {
    let mut world = World::new(Client::builder());
    for (url, problem) in [
        ("", "relative URL without a base"),
        ("a.test", "relative URL without a base"),
        ("ftp://a.test/", "its scheme is neither http nor https"),
        ("http://", "empty host"),
        ("http://a.test:99999/", "invalid port number"),
    ] {
        let error = world.get(url).expect_err(url);
        assert!(matches!(error, ClientError::BadUrl { .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn no_error_shows_a_password() {
    let mut world = World::new(Client::builder());
    let bad = "Location: http://me:secret@b.test:99999/\r\nContent-Length: 0\r\n\r\n";
    world.play("10.0.0.1:80", [Act::say(format!("HTTP/1.1 302 x\r\n{bad}"))]);
    for url in [
        "http://me:secret@a.test:99999/",
        "http://me:se@cret@/",
        "http://me:se#@cret@a.test/",
        "http://me:secret@a.test/",
    ] {
        let error = world.get(url).expect_err("it leads nowhere").to_string();
        assert!(!error.contains("secret") && !error.contains("se@"), "{error}");
    }
}

#[test]
fn an_answer_of_500_is_an_answer() {
    let mut world = World::new(Client::builder());
    world.serve("10.0.0.1:80", |_| Status::INTERNAL_SERVER_ERROR.into());
    let answer = world.get("http://a.test/").expect("an answer");
    assert_eq!(answer.status(), Status::INTERNAL_SERVER_ERROR);
}

#[test]
fn where_nobody_listens_or_no_name_leads_is_told() {
    let mut world = World::new(Client::builder());
    let error = world.get("http://a.test:81/x").expect_err("nobody is there");
    let text = error.to_string();
    assert!(matches!(error, ClientError::Connect { .. }), "{text}");
    assert!(text.starts_with("http://a.test:81/x: cannot connect to tcp://a.test:81"), "{text}");
    let error = world.get("http://nowhere.test/").expect_err("no such name");
    assert!(error.to_string().contains("cannot resolve nowhere.test"), "{error}");
    assert_eq!(world.client.open_connections(), 0);
}

#[test]
fn an_async_function_asks_several_servers_at_once() {
    let mut world = World::new(Client::builder());
    world.serve("10.0.0.1:80", echo);
    world.serve("10.0.0.2:80", echo);
    let client = world.client.clone();
    let both = world.simulation.reactor().spawn(async move {
        let answers = ["http://a.test/1", "http://b.test/2"].map(|url| client.get(url));
        let answers = ropewalk_reactor::gather(answers).await?;
        Ok::<_, Error>(answers.iter().map(|answer| answer.text().into_owned()).collect::<Vec<_>>())
    });
    let pending = pending(both);
    world.simulation.run_until(|_| pending.borrow().is_some());
    let both = pending.take().expect("fired").expect("run").expect("answers");
    assert_eq!(both, ["GET /1", "GET /2"]);
}

#[test]
fn a_malformed_answer_is_told_and_its_connection_is_not_kept() {
    let mut world = World::new(Client::builder());
    let conflict = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    world.play("10.0.0.1:80", [Act::say(conflict)]);
    let error = world.get("http://a.test/").expect_err("two lengths");
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
    world.simulation.run_for(seconds(1));
    assert_eq!(world.client.open_connections(), 0);
}

#[test]
fn a_deferred_that_is_dropped_gives_its_request_up() {
    let mut world = World::new(Client::builder());
    let stage = world.play("10.0.0.1:80", [Act::say(""), ok("second")]);
    let asked = world.client.get("http://a.test/");
    world.simulation.run_for(seconds(1));
    assert_eq!((stage.connections.get(), stage.lost.get()), (1, 0));
    drop(asked);
    world.simulation.run_for(seconds(1));
    assert_eq!(stage.lost.get(), 1);
    assert_eq!(world.client.open_connections(), 0);
    assert_eq!(world.get("http://a.test/").expect("an answer").text(), "second");
    // Before anything of it was sent.
    let heard = stage.heard().len();
    drop(world.client.get("http://a.test/"));
    world.simulation.run_for(seconds(1));
    assert_eq!(stage.heard().len(), heard);
    assert_eq!(world.client.idle_connections(), 1);
}
