//! The client against a small broker on a simulated network: stories in the wire's own words.

#![allow(clippy::unwrap_used, reason = "a test may fail at any of them")]

mod channels;
mod flow;
mod greeting;
mod peer;
mod recovery;
mod seeds;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_amqp::client::{Client, Connection, Error, Notice, Options, Result};
use ropewalk_reactor::Simulation;

/// A client and a broker on one simulated reactor, and what the client was told.
struct Story {
    simulation: Simulation,
    broker: peer::Shared,
    notices: Rc<RefCell<Vec<String>>>,
}

impl Story {
    fn new() -> Story {
        Story::on(Simulation::calm())
    }

    fn on(mut simulation: Simulation) -> Story {
        let broker = peer::start(&mut simulation, 0);
        broker.borrow_mut().tune.2 = 0; // heartbeats have their own test
        Story { simulation, broker, notices: Rc::default() }
    }

    fn options() -> Options {
        Options::from_uri(peer::URI).unwrap()
    }

    fn connect(&mut self) -> Connection {
        self.connect_with(Story::options()).unwrap()
    }

    fn connect_with(&mut self, options: Options) -> Result<Connection> {
        let connecting = Client::connect(self.simulation.reactor(), options);
        let connection = self.run(async { Ok(connecting.await?) })?;
        let notices = self.notices.clone();
        connection
            .on_notice(move |_, notice: Notice| notices.borrow_mut().push(notice.to_string()));
        Ok(connection)
    }

    /// Runs a future to its end.
    fn run<T: 'static>(&mut self, future: impl Future<Output = Result<T>> + 'static) -> Result<T> {
        let told = Rc::new(RefCell::new(None));
        let tell = told.clone();
        let spawned = self.simulation.reactor().spawn(future);
        spawned.then(move |_, result| *tell.borrow_mut() = Some(result));
        let seed = self.simulation.seed();
        let ended = self.simulation.run_until(|_| told.borrow().is_some());
        assert!(ended, "seed {seed}: it never ends; the broker heard {:?}", self.heard());
        let result = told.borrow_mut().take().unwrap();
        result.map_err(Error::from).flatten()
    }

    /// Lets everything happen that happens within a second.
    fn settle(&mut self) {
        self.simulation.run_for(Duration::from_secs(1));
    }

    fn heard(&self) -> Vec<String> {
        self.broker.borrow_mut().take_heard()
    }

    fn notices(&self) -> Vec<String> {
        self.notices.take()
    }

    fn say(&mut self, frames: &[u8]) {
        peer::say(&mut self.simulation, 0, &self.broker, frames);
        self.settle();
    }

    /// Cuts the newest connection.
    fn cut(&mut self) {
        let id = *self.broker.borrow().links.last().unwrap();
        self.simulation.reactor().connection(id).unwrap().abort_connection();
    }

    /// Puts messages into a queue as if somebody else had published them.
    fn fill(&mut self, queue: &str, bodies: impl IntoIterator<Item = Bytes>) {
        let mut broker = self.broker.borrow_mut();
        for body in bodies {
            let routed = broker.route(peer::Message {
                exchange: String::new(),
                routing_key: queue.into(),
                properties: vec![0, 0],
                body,
                redelivered: false,
            });
            assert!(routed, "there is no queue {queue}");
        }
    }
}
