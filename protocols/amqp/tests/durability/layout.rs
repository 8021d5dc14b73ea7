//! The queues and exchanges of every story, one queue for each way in which a message can go.

use ropewalk_amqp::codec::TableBuf;

/// A queue, and what the record must know of it.
pub(crate) struct Queue {
    pub(crate) name: &'static str,
    pub(crate) durable: bool,
    /// What it rejects goes to [`DEAD`].
    pub(crate) dead_letters: bool,
    /// Messages may also go to [`DEAD`] without being asked to.
    pub(crate) moves: bool,
    /// Messages of one publisher stay in order.
    pub(crate) ordered: bool,
    /// It is consumed without acknowledgements, so that nobody knows what arrived.
    pub(crate) no_ack: bool,
    /// It gets what is published to [`ALL`].
    pub(crate) gets_all: bool,
}

const PLAIN: Queue = Queue {
    name: "plain",
    durable: true,
    dead_letters: false,
    moves: false,
    ordered: true,
    no_ack: false,
    gets_all: true,
};

pub(crate) const QUEUES: [Queue; 9] = [
    PLAIN,
    Queue { name: "mortal", dead_letters: true, ..PLAIN },
    // A message that has come back too often goes to DEAD.
    Queue { name: "quorum", dead_letters: true, moves: true, gets_all: false, ..PLAIN },
    // The oldest go to DEAD when there are too many.
    Queue { name: "bounded", dead_letters: true, moves: true, ..PLAIN },
    // They all go to DEAD after a while.
    Queue { name: "brief", dead_letters: true, moves: true, gets_all: false, ..PLAIN },
    Queue { name: "ranked", ordered: false, gets_all: false, ..PLAIN },
    Queue { name: "careless", no_ack: true, gets_all: false, ..PLAIN },
    Queue { name: "passing", durable: false, ..PLAIN },
    Queue { name: "dead", ordered: false, gets_all: false, ..PLAIN },
];

/// Where messages go that their queues give up.
pub(crate) const DEAD: usize = 8;

/// The fanout exchange of several queues.
pub(crate) const ALL: &str = "all";
/// The fanout exchange of [`DEAD`].
pub(crate) const DEATH: &str = "death";

impl Queue {
    /// The arguments that it is declared with.
    pub(crate) fn arguments(&self) -> TableBuf {
        let mut table = TableBuf::new();
        if self.dead_letters {
            table = table.with("x-dead-letter-exchange", DEATH);
        }
        match self.name {
            "quorum" => table.with("x-queue-type", "quorum").with("x-delivery-limit", 2_i64),
            "bounded" => table.with("x-max-length", 6_i64),
            "brief" => table.with("x-message-ttl", 400_i64),
            "ranked" => table.with("x-max-priority", 3_i64),
            _ => table,
        }
    }
}

/// The queue with this name.
pub(crate) fn queue_named(name: &str) -> usize {
    let found = QUEUES.iter().position(|queue| queue.name == name);
    found.unwrap_or_else(|| panic!("there is no queue {name}"))
}
