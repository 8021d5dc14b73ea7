//! The work: what is declared, who publishes, who consumes, and what is counted.

use std::io;

use super::client::Client;

const EXCHANGE: &str = "bench";

/// Where messages go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Through the default exchange to so many queues in turn, a consumer each, on so many
    /// connections.
    Queues { queues: usize, connections: usize },
    /// Through a fanout exchange to so many queues, each with a consumer on its own connection.
    Fanout(usize),
    /// Through the default exchange to a queue without a consumer.
    Kept,
    /// The same to two queues, each of so many messages but the last one to the first queue.
    Sparse(usize),
    /// Through a topic exchange with so many bindings, one of which matches, to one queue.
    Topic(usize),
}

#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) body: usize,
    pub(super) route: Route,
    /// The type of the queues, if they are durable: all messages are persistent then.
    pub(super) durable: Option<&'static str>,
    /// Messages published and not yet confirmed, at most; without it there are no confirms.
    pub(super) in_flight: Option<usize>,
    /// Consumers acknowledge each message, and get so many without.
    pub(super) prefetch: Option<u16>,
    /// Messages published and not yet delivered, at most: so that queues stay short.
    pub(super) backlog: usize,
}

const ONE: Route = Route::Queues { queues: 1, connections: 1 };
pub(super) const PLAIN: Shape = Shape {
    name: "1 to 1, auto-ack, 16 B",
    body: 16,
    route: ONE,
    durable: None,
    in_flight: None,
    prefetch: None,
    backlog: 8192,
};

pub(super) const SHAPES: [Shape; 9] = [
    PLAIN,
    Shape { name: "1 to 1, auto-ack, 1 KiB", body: 1024, backlog: 2048, ..PLAIN },
    Shape { name: "fan-out 1 to 10, a delivery", route: Route::Fanout(10), backlog: 1024, ..PLAIN },
    Shape { name: "confirms, 100 in flight", in_flight: Some(100), ..PLAIN },
    Shape { name: "manual ack, prefetch 100", prefetch: Some(100), ..PLAIN },
    Shape { name: "confirms, one at a time", in_flight: Some(1), ..PLAIN },
    Shape { name: "topic, 100 bindings", route: Route::Topic(100), ..PLAIN },
    Shape { name: "topic, 100000 bindings", route: Route::Topic(100_000), ..PLAIN },
    Shape {
        name: "10000 queues, 10000 consumers",
        route: Route::Queues { queues: 10_000, connections: 100 },
        ..PLAIN
    },
];

impl Shape {
    /// As it is, or so small that it is done at once.
    pub(super) fn scaled(mut self, quick: bool) -> Shape {
        match &mut self.route {
            Route::Queues { queues, connections } if quick => {
                (*queues, *connections) = ((*queues).min(100), (*connections).min(10));
            }
            Route::Topic(bindings) if quick => *bindings = (*bindings).min(1000),
            _ => {}
        }
        self
    }

    /// Deliveries of one message.
    pub(super) fn copies(&self) -> usize {
        match self.route {
            Route::Fanout(queues) => queues,
            Route::Kept | Route::Sparse(_) => 0,
            _ => 1,
        }
    }

    /// How many messages have reached every queue, after so many deliveries.
    pub(super) fn arrived(&self, delivered: u64) -> u64 {
        delivered.checked_div(self.copies() as u64).unwrap_or(0)
    }

    /// Whether every message goes to every consumer.
    pub(super) fn has_one_route(&self) -> bool {
        !matches!(self.route, Route::Queues { queues: 2.., .. })
    }

    fn queues(&self) -> usize {
        match self.route {
            Route::Queues { queues, .. } => queues,
            Route::Fanout(queues) => queues,
            Route::Topic(_) | Route::Kept => 1,
            Route::Sparse(_) => 2,
        }
    }

    pub(super) fn connections(&self) -> usize {
        match self.route {
            Route::Queues { connections, .. } => connections,
            Route::Fanout(queues) => queues,
            Route::Topic(_) => 1,
            Route::Kept | Route::Sparse(_) => 0,
        }
    }

    pub(super) fn exchange(&self) -> &'static str {
        match self.route {
            Route::Queues { .. } | Route::Kept | Route::Sparse(_) => "",
            _ => EXCHANGE,
        }
    }

    /// Names and keys have one length, so that all deliveries of a shape have one too.
    pub(super) fn queue(i: usize) -> String {
        format!("q{i:05}")
    }

    /// What messages are published with, in turn.
    pub(super) fn keys(&self) -> Vec<String> {
        match self.route {
            Route::Queues { queues, .. } => (0..queues).map(Shape::queue).collect(),
            Route::Fanout(_) | Route::Kept => vec![Shape::queue(0)],
            Route::Sparse(count) => {
                (0..count).map(|i| Shape::queue(usize::from(i + 1 == count))).collect()
            }
            // Not in the order in which they were bound; 7919 is prime.
            Route::Topic(bindings) => {
                (0..bindings).map(|i| key(i * 7919 % bindings, "made")).collect()
            }
        }
    }

    /// Declares what the runs share.
    pub(super) fn declare(&self, client: &mut Client) -> io::Result<()> {
        match self.route {
            Route::Queues { .. } | Route::Kept | Route::Sparse(_) => {}
            Route::Fanout(_) => client.declare_exchange(EXCHANGE, "fanout")?,
            Route::Topic(_) => client.declare_exchange(EXCHANGE, "topic")?,
        }
        for i in 0..self.queues() {
            match self.durable {
                Some(kind) => client.declare_durable(&Shape::queue(i), kind)?,
                None => client.declare_queue(&Shape::queue(i))?,
            }
        }
        match self.route {
            Route::Queues { .. } | Route::Kept | Route::Sparse(_) => {}
            Route::Fanout(queues) => {
                for i in 0..queues {
                    client.bind(&Shape::queue(i), EXCHANGE, &[String::new()])?;
                }
            }
            Route::Topic(bindings) => {
                let keys: Vec<String> = (0..bindings).map(|i| key(i, "*")).collect();
                // RabbitMQ takes a minute or more over all of them.
                for keys in keys.chunks(1000) {
                    client.bind(&Shape::queue(0), EXCHANGE, keys)?;
                }
            }
        }
        Ok(())
    }

    /// Takes it back.
    pub(super) fn undo(&self, client: &mut Client) -> io::Result<()> {
        for i in 0..self.queues() {
            client.delete_queue(&Shape::queue(i))?;
        }
        match self.exchange() {
            "" => Ok(()),
            name => client.delete_exchange(name),
        }
    }

    /// The consumers, by connection, before anything is published.
    pub(super) fn consumers(&self, port: u16) -> io::Result<Vec<Client>> {
        let (queues, connections) = (self.queues(), self.connections());
        let mut clients = Vec::with_capacity(connections);
        for connection in 0..connections {
            let mut client = Client::open(port)?;
            if let Some(count) = self.prefetch {
                client.prefetch(count)?;
            }
            for i in (connection..queues).step_by(connections) {
                client.consume(&Shape::queue(i), self.prefetch.is_none())?;
            }
            clients.push(client);
        }
        Ok(clients)
    }
}

/// As it is with stock: an exchange, a kind, a name, and what happened.
fn key(i: usize, event: &str) -> String {
    format!("shop.k{:02}.{i:06}.{event}", i % 50)
}
