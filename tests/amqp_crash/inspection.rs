//! What a broker has in a queue, held against the record.

use crate::client::{Client, Told};
use crate::record::{Delivery, QUEUES, Record, name};

impl Record {
    /// Takes all messages of a queue, without acknowledging them. Gives the last delivery tag; 0 if
    /// there were none.
    pub(crate) fn inspect(&mut self, client: &mut Client, connection: u64, queue: usize) -> u64 {
        let place = QUEUES[queue];
        let count = client.declare(place, true).expect("the queue is there");
        client.consume(place, 0).expect("it is alive");
        let (mut found, mut last) = (Vec::new(), 0);
        for _ in 0..count {
            let told = client.read().expect("as many as it counted");
            let Told::Delivered { tag, redelivered, body } = told else {
                panic!("expected a delivery")
            };
            found.push(Delivery { connection, queue, name: name(&body), redelivered });
            last = tag;
        }
        if client.cancel(place).expect("it is alive") > 0 {
            self.problems.add(format_args!("{place}: there is more than it counted, {count}"));
        }
        self.inspected(queue, &found);
        last
    }
}
