//! How much of the disk a log takes, and how much of it a restart reads.

mod common;

use std::sync::Arc;

use common::{Random, load_all};
use ropewalk_store::simulation::SimulatedDisk;
use ropewalk_store::{Batch, Disk, Log, NEVER, Options, Recovered, Reference};

const SEGMENT: u64 = 64 << 10;

fn open(disk: &SimulatedDisk) -> (Log, Recovered) {
    let options = Options::new().segment_octets(SEGMENT).salt(1);
    Log::open(Arc::new(disk.clone()), options).expect("a sound disk")
}

fn message(batch: &mut Batch, queue: u64, position: u64, octets: usize) {
    let payload = vec![position as u8; octets];
    let reference = Reference { queue, position, expires: NEVER };
    batch.message(&[reference], true, octets as u64, &[&payload]);
}

fn append(log: &mut Log, batch: &mut Batch) {
    log.append(batch).expect("a disk with room");
    batch.clear();
    while log.maintain().expect("a sound disk") {}
}

/// Twice what is live, if snapshots are large, and the segment that is written, the next, and two
/// for the snapshots.
fn assert_bound(log: &Log, disk: &SimulatedDisk, live: u64) {
    let usage = log.usage();
    let bound = 2 * live + 5 * SEGMENT;
    assert!(usage.disk_octets <= bound, "{usage:?} with {live} live");
    assert!(disk.used() <= bound, "{} used with {live} live", disk.used());
}

#[test]
fn a_long_queue_that_is_consumed_in_order_leaves_nothing() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    let mut batch = Batch::new();
    for position in 0..4000 {
        message(&mut batch, 1, position, 1000);
        if position % 50 == 49 {
            append(&mut log, &mut batch);
            assert_bound(&log, &disk, position * 1060);
        }
    }
    for position in 0..4000 {
        batch.acknowledged(1, position, position);
        if position % 50 == 49 {
            append(&mut log, &mut batch);
            assert_bound(&log, &disk, (4000 - position) * 1060);
        }
    }
    assert_eq!(log.usage().live_octets, 0);
}

#[test]
fn an_index_goes_with_its_segment_though_the_log_was_opened_in_between() {
    let disk = SimulatedDisk::new(7);
    let (mut log, _) = open(&disk);
    let mut batch = Batch::new();
    for life in 0..5 {
        for position in life * 1000..(life + 1) * 1000 {
            message(&mut batch, 1, position, 200);
            if position >= 500 {
                batch.acknowledged(1, position - 500, position - 500);
            }
            if position % 50 == 49 {
                append(&mut log, &mut batch);
            }
        }
        let names = disk.list().expect("a sound disk");
        for index in names.iter().filter_map(|name| name.strip_suffix(".idx")) {
            assert!(
                names.contains(&format!("{index}.log")),
                "{index} has gone, and left its index"
            );
        }
        drop(log);
        disk.kill();
        log = open(&disk).0;
    }
}

#[test]
fn a_queue_that_never_ends_takes_no_more_in_the_end_than_in_the_beginning() {
    let disk = SimulatedDisk::new(2);
    let (mut log, _) = open(&disk);
    let mut batch = Batch::new();
    for position in 0..20_000 {
        message(&mut batch, 1, position, 200);
        if position >= 10 {
            batch.acknowledged(1, position - 10, position - 10);
        }
        if position % 100 == 99 {
            append(&mut log, &mut batch);
            assert_bound(&log, &disk, 10 * 260);
        }
    }
    assert_eq!(load_all(&mut log, 1, 100, 100_000).len(), 10);
}

#[test]
fn one_message_in_twenty_that_stays_does_not_keep_the_others() {
    let disk = SimulatedDisk::new(3);
    let (mut log, _) = open(&disk);
    let mut batch = Batch::new();
    for position in 0..10_000 {
        message(&mut batch, 1, position, 300);
        if position % 20 != 0 {
            batch.acknowledged(1, position, position);
        }
        if position % 100 == 99 {
            append(&mut log, &mut batch);
            assert_bound(&log, &disk, (position / 20 + 1) * 360);
        }
    }
    drop(log);
    disk.kill();
    let (mut log, _) = open(&disk);
    let messages = load_all(&mut log, 1, 100, 100_000);
    assert!(messages.keys().copied().eq((0..10_000).step_by(20)));
    assert!(messages.iter().all(|(&position, m)| m.payload == vec![position as u8; 300]));
}

#[test]
fn large_messages_that_are_gone_are_not_kept_by_small_ones_beside_them() {
    let disk = SimulatedDisk::new(4);
    let (mut log, _) = open(&disk);
    let mut batch = Batch::new();
    for position in 0..600 {
        message(&mut batch, 1, position, if position % 3 == 0 { 20_000 } else { 10 });
        append(&mut log, &mut batch);
    }
    for position in (0..600).step_by(3) {
        batch.acknowledged(1, position, position);
        append(&mut log, &mut batch);
    }
    assert_bound(&log, &disk, 400 * 70);
    assert_eq!(load_all(&mut log, 1, 100, 100_000).len(), 400);
}

#[test]
fn a_message_in_ten_queues_is_stored_once_also_after_it_was_moved() {
    let disk = SimulatedDisk::new(5);
    let (mut log, _) = open(&disk);
    let mut batch = Batch::new();
    for position in 0..300 {
        let references: Vec<Reference> =
            (1..=10).map(|queue| Reference { queue, position, expires: NEVER }).collect();
        batch.message(&references, true, 5000, &[&[position as u8; 5000]]);
        append(&mut log, &mut batch);
        assert_bound(&log, &disk, (position + 1) * (5000 + 600));
    }
    // Two of three go from all queues, and the rest from all but two.
    for position in 0..300 {
        for queue in 1..=10 {
            if position % 3 != 0 || queue > 2 {
                batch.acknowledged(queue, position, position);
            }
        }
        append(&mut log, &mut batch);
    }
    assert_bound(&log, &disk, 100 * (5000 + 200));
    for queue in 1..=2 {
        let messages = load_all(&mut log, queue, 7, 100_000);
        assert!(messages.keys().copied().eq((0..300).step_by(3)), "queue {queue}");
    }
}

#[test]
fn acknowledging_in_random_order_keeps_the_bound_and_the_messages() {
    let disk = SimulatedDisk::new(6);
    let (mut log, _) = open(&disk);
    let (mut batch, mut random) = (Batch::new(), Random::new(6));
    let mut left: Vec<(u64, u64)> = Vec::new();
    for position in 0..3000 {
        let queue = 1 + position % 3;
        message(&mut batch, queue, position, 100 + random.below(2000) as usize);
        left.push((queue, position));
        append(&mut log, &mut batch);
    }
    while left.len() > 100 {
        let (queue, position) = left.swap_remove(random.below(left.len() as u64) as usize);
        batch.acknowledged(queue, position, position);
        if random.one_in(20) {
            append(&mut log, &mut batch);
            let live = log.usage().live_octets;
            assert_bound(&log, &disk, live);
        }
    }
    append(&mut log, &mut batch);
    let mut found = Vec::new();
    for queue in 1..=3 {
        found.extend(load_all(&mut log, queue, 50, 50_000).into_keys().map(|p| (queue, p)));
    }
    left.sort_unstable();
    assert_eq!(found, left);
}

#[test]
fn opening_a_thousand_times_leaves_few_files() {
    let disk = SimulatedDisk::new(7);
    let mut batch = Batch::new();
    for position in 0..1000 {
        let (mut log, recovered) = open(&disk);
        assert_eq!(recovered.queues.first().map_or(0, |queue| queue.messages), position);
        message(&mut batch, 1, position, 100);
        append(&mut log, &mut batch);
        log.sync().expect("a sound disk");
        assert!(log.usage().segments < 20, "{:?}", log.usage());
        drop(log);
        disk.kill();
    }
}

#[test]
fn a_restart_does_not_read_what_was_stored_long_ago() {
    let disk = SimulatedDisk::new(8);
    let (mut log, _) = open(&disk);
    let mut batch = Batch::new();
    for position in 0..20_000 {
        message(&mut batch, 1, position, 500);
        if position % 100 == 99 {
            append(&mut log, &mut batch);
        }
    }
    batch.acknowledged(1, 0, 9_000);
    append(&mut log, &mut batch);
    drop(log);
    disk.kill();
    let (mut log, recovered) = open(&disk);
    let queue = &recovered.queues[0];
    assert_eq!((queue.messages, queue.octets), (10_999, 10_999 * 500));
    let read = recovered.report.octets_read;
    assert!(read < 4 * SEGMENT, "{read} octets");
    assert_eq!(log.load(1, 0, 1, 1).expect("a sound disk").messages[0].position, 9_001);
}

#[test]
fn housekeeping_ends_whatever_part_of_the_log_definitions_take() {
    for definitions in [0, SEGMENT / 8, SEGMENT / 5, SEGMENT / 3, SEGMENT, 3 * SEGMENT] {
        for octets in [10, 1000, 20_000] {
            let disk = SimulatedDisk::new(definitions);
            let (mut log, _) = open(&disk);
            let mut batch = Batch::new();
            for key in 0..definitions / 1024 {
                batch.put(&key.to_le_bytes(), &[1; 1000]);
            }
            for position in 0..40 * SEGMENT / (octets + 60) {
                message(&mut batch, 1, position, octets as usize);
                if position % 3 == 0 {
                    batch.acknowledged(1, position / 2, position / 2);
                }
                log.append(&batch).expect("a disk with room");
                batch.clear();
            }
            let mut steps = 0;
            while log.maintain().expect("a sound disk") {
                steps += 1;
                assert!(steps < 2000, "{definitions} of definitions, messages of {octets}");
            }
        }
    }
}

#[test]
fn large_definitions_are_not_written_again_with_every_segment() {
    // Eleven times their octets at most: two snapshots, four times as much behind each, a new one.
    let disk = SimulatedDisk::new(9);
    let (mut log, _) = open(&disk);
    let mut batch = Batch::new();
    for key in 0..2000u32 {
        batch.put(&key.to_le_bytes(), &[1; 300]);
    }
    append(&mut log, &mut batch);
    let definitions = 2000 * 310;
    for position in 0..10_000 {
        message(&mut batch, 1, position, 1000);
        batch.acknowledged(1, position, position);
        if position % 20 == 19 {
            append(&mut log, &mut batch);
            assert_bound(&log, &disk, 11 * definitions / 2);
        }
    }
    drop(log);
    disk.kill();
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.definitions.len(), 2000);
}
