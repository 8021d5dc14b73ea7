//! Random calls with every feature at once: whatever happens, nothing panics, and when all queues
//! and channels have gone, so has every message.

mod common;

use common::House;
use common::calls::{Kind, Random, step};
use ropewalk_broker::*;

#[test]
fn when_all_has_gone_so_has_every_message() {
    for seed in 0..200 {
        let mut config = Config::default();
        config.pass_deliveries = 1 + (seed % 7) as usize;
        let mut house = House::with(config);
        let mut random = Random(seed);
        let mut channels: Vec<_> = (0..4)
            .map(|key| {
                let connection = house.connection(key);
                (connection, house.broker.open_channel(connection, 1).expect("fresh"))
            })
            .collect();
        for _ in 0..1000 {
            step(&mut house, &mut random, &mut channels, Kind::Transient);
        }
        for (connection, _) in channels {
            house.broker.close_connection(connection);
        }
        let channel = house.channel(99);
        for queue in ["q0", "q1", "q2", "q3"] {
            house.broker.delete_queue(channel, queue.as_bytes(), false, false).expect("deleted");
        }
        house.drain();
        let totals = house.broker.totals();
        assert_eq!(
            (totals.messages, totals.queues, totals.consumers, totals.bindings, totals.memory),
            (0, 0, 0, 0, 0),
            "seed {seed}"
        );
    }
}
