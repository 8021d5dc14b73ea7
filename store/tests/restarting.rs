//! What a restart brings back, record by record.

mod common;

use std::sync::Arc;

use common::load_all;
use ropewalk_store::simulation::SimulatedDisk;
use ropewalk_store::{Batch, Error, Log, NEVER, Options, Recovered, Reference, inspect};

fn open(disk: &SimulatedDisk) -> (Log, Recovered) {
    let options = Options::new().segment_octets(4096).salt(1);
    Log::open(Arc::new(disk.clone()), options).expect("a sound disk")
}

/// The power fails, and the log is opened again.
fn crash(log: Log, disk: &SimulatedDisk) -> (Log, Recovered) {
    drop(log);
    disk.crash();
    open(disk)
}

fn store(log: &mut Log, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    log.append(&batch).expect("a disk with room");
    log.sync().expect("a sound disk");
}

fn at(queue: u64, position: u64) -> Reference {
    Reference { queue, position, expires: NEVER }
}

fn redelivered(log: &mut Log) -> Vec<u64> {
    let messages = load_all(log, 1, 100, 100_000);
    messages.into_iter().filter(|(_, m)| m.redelivered).map(|(position, _)| position).collect()
}

#[test]
fn a_lease_marks_what_may_have_been_delivered_and_nothing_that_comes_later() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    store(&mut log, |batch| {
        for position in 0..10 {
            batch.message(&[at(1, position)], true, 100, &[b"payload"]);
        }
        batch.leased(1, 2);
        batch.leased(1, 4);
    });
    assert_eq!(redelivered(&mut log), [0; 0], "in this life the caller knows");
    let (mut log, recovered) = crash(log, &disk);
    assert_eq!(recovered.queues[0].leased, 4);
    assert_eq!(redelivered(&mut log), [0, 1, 2, 3]);
    // A lease may reach beyond the last message.
    store(&mut log, |batch| {
        batch.acknowledged(1, 0, 0);
        batch.leased(1, 256);
    });
    let (mut log, recovered) = crash(log, &disk);
    assert_eq!(recovered.queues[0].leased, 10);
    store(&mut log, |batch| batch.message(&[at(1, 10)], true, 100, &[b"new"]));
    assert_eq!(redelivered(&mut log), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let (mut log, recovered) = crash(log, &disk);
    assert_eq!(recovered.queues[0].leased, 10);
    assert_eq!(redelivered(&mut log), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_lease_that_is_given_back_marks_nothing() {
    let disk = SimulatedDisk::new(2);
    let (mut log, _) = open(&disk);
    store(&mut log, |batch| {
        for position in 0..10 {
            batch.message(&[at(1, position)], true, 100, &[b"payload"]);
        }
        batch.leased(1, 2);
    });
    let (mut log, _) = crash(log, &disk);
    store(&mut log, |batch| {
        batch.leased(1, 256);
        // The end: what was delivered in this life is marked one by one.
        batch.leased(1, 0);
        batch.returned(1, 4, 1 << 31);
    });
    log.close().expect("a sound disk");
    let (mut log, recovered) = open(&disk);
    assert!(recovered.report.closed);
    assert_eq!(recovered.queues[0].leased, 2);
    assert_eq!(redelivered(&mut log), [0, 1]);
    let load = log.load(1, 4, 2, 1000).expect("a sound disk");
    assert_eq!(load.messages.iter().map(|loaded| loaded.returns).collect::<Vec<_>>(), [1 << 31, 0]);
    // The next life begins without a lease.
    let (mut log, recovered) = crash(log, &disk);
    assert!(!recovered.report.closed);
    assert_eq!(redelivered(&mut log), [0, 1]);
}

#[test]
fn messages_that_are_not_persistent_are_paged_and_then_forgotten() {
    let disk = SimulatedDisk::new(3);
    let (mut log, _) = open(&disk);
    for position in 0..300 {
        store(&mut log, |batch| {
            batch.message(&[at(1, position)], position % 3 == 0, 100, &[&[1; 100]]);
            batch.message(&[at(2, position)], false, 100, &[&[2; 100]]);
        });
    }
    assert_eq!(load_all(&mut log, 1, 10, 100_000).len(), 300);
    assert_eq!(load_all(&mut log, 2, 10, 100_000).len(), 300);
    let (mut log, recovered) = crash(log, &disk);
    let queue = &recovered.queues[0];
    assert_eq!((queue.messages, queue.octets, queue.next_position), (100, 10_000, 300));
    assert!(load_all(&mut log, 1, 10, 100_000).keys().copied().eq((0..300).step_by(3)));
    let queue = &recovered.queues[1];
    assert_eq!((queue.messages, queue.next_position, queue.first), (0, 300, None));
    assert_eq!(recovered.next_queue, 3);
    // Nothing of them is kept.
    while log.maintain().expect("a sound disk") {}
    assert!(log.usage().disk_octets < 2 * 100 * 170 + 6 * 4096, "{:?}", log.usage());
}

#[test]
fn a_queue_that_was_removed_is_gone_and_its_number_is_not_used_again() {
    let disk = SimulatedDisk::new(4);
    let (mut log, _) = open(&disk);
    store(&mut log, |batch| {
        batch.message(&[at(1, 0), at(9, 5)], true, 100, &[b"in two"]);
        batch.returned(1, 0, 3);
        batch.queue_removed(9);
    });
    let (mut log, recovered) = crash(log, &disk);
    assert_eq!(recovered.queues.iter().map(|queue| queue.id).collect::<Vec<_>>(), [1]);
    assert_eq!(recovered.next_queue, 10);
    assert_eq!(log.load(9, 0, 1, 1).expect("a sound disk").messages, []);
    let load = log.load(1, 0, 1, 1).expect("a sound disk");
    assert_eq!((load.messages[0].returns, &load.messages[0].payload[..]), (3, &b"in two"[..]));
}

#[test]
fn a_batch_is_there_as_a_whole_or_not_at_all() {
    let mut whole = 0;
    for seed in 0..200 {
        let disk = SimulatedDisk::new(seed);
        let (mut log, _) = open(&disk);
        let mut batch = Batch::new();
        batch.put(b"first", b"");
        batch.message(&[at(1, 0)], true, 100, &[&[1; 2000]]);
        batch.put(b"last", b"");
        log.append(&batch).expect("a disk with room");
        let (_, recovered) = crash(log, &disk);
        assert_eq!(recovered.definitions.len(), 2 * recovered.queues.len());
        whole += recovered.queues.len();
    }
    assert!((20..180).contains(&whole), "{whole} of 200");
}

#[test]
fn what_does_not_ascend_and_what_is_too_large_is_left_out() {
    let disk = SimulatedDisk::new(6);
    let (mut log, _) = open(&disk);
    store(&mut log, |batch| {
        batch.message(&[at(1, 5)], true, 4, &[b"five"]);
        batch.message(&[at(1, 5), at(2, 0)], true, 100, &[b"again"]);
        batch.message(&[at(1, 3)], true, 100, &[b"three"]);
        batch.message(&[at(1, u64::MAX)], true, 100, &[b"beyond"]);
        batch.message(&[], true, 100, &[b"nowhere"]);
        batch.acknowledged(3, 0, 5);
        batch.acknowledged(1, 7, 6);
    });
    let (mut log, recovered) = crash(log, &disk);
    assert_eq!(recovered.queues.len(), 2);
    let messages = load_all(&mut log, 1, 10, 100_000);
    assert!(messages.keys().copied().eq([5]));
    assert_eq!(messages[&5].payload, b"five");
    assert_eq!(load_all(&mut log, 2, 10, 100_000)[&0].payload, b"again");

    let mut batch = Batch::new();
    let quarter = vec![0; Batch::MAX_OCTETS / 4];
    let parts = [&quarter[..]; 5];
    batch.message(&[at(1, 6)], true, 100, &parts);
    batch.put(b"key", b"value");
    assert!(matches!(log.append(&batch), Err(Error::TooLarge)));
    batch.clear();
    batch.put(b"key", b"value");
    log.append(&batch).expect("it was emptied");
}

#[test]
fn acknowledgements_in_order_are_one_record() {
    let mut batch = Batch::new();
    batch.acknowledged(1, 3, 3);
    let one = batch.len();
    batch.acknowledged(1, 4, 4);
    batch.acknowledged(1, 5, 9);
    batch.acknowledged(1, 8, 8);
    assert_eq!((batch.len(), batch.records()), (one, 1));
    for (queue, first) in [(1, 11), (2, 12), (1, 13), (1, 12)] {
        batch.acknowledged(queue, first, first);
    }
    batch.leased(1, 7);
    batch.acknowledged(1, 13, 13);
    assert_eq!(batch.records(), 7);
    batch.clear();
    batch.acknowledged(1, 14, 14);
    assert_eq!((batch.len(), batch.records()), (one, 1));

    let disk = SimulatedDisk::new(8);
    let (mut log, _) = open(&disk);
    store(&mut log, |batch| {
        for position in 0..10 {
            batch.message(&[at(1, position)], true, 1, &[b"payload"]);
        }
        for position in [2, 3, 4, 7] {
            batch.acknowledged(1, position, position);
        }
    });
    assert!(load_all(&mut log, 1, 10, 1000).into_keys().eq([0, 1, 5, 6, 8, 9]));
}

#[test]
fn what_an_opening_would_find_can_be_seen_without_opening() {
    let disk = SimulatedDisk::new(9);
    let (mut log, _) = open(&disk);
    store(&mut log, |batch| {
        batch.put(b"key", b"value");
        batch.message(&[at(1, 0)], true, 3, &[b"kept"]);
        batch.message(&[at(1, 1)], false, 3, &[b"not kept"]);
        batch.leased(1, 1);
    });
    let operations = disk.operations();
    let inspected = inspect(&disk).expect("a sound disk");
    assert_eq!(disk.operations(), operations);
    let (_, recovered) = crash(log, &disk);
    assert_eq!(inspected.definitions, recovered.definitions);
    assert_eq!(inspected.queues, recovered.queues);
    assert_eq!((recovered.queues[0].messages, recovered.queues[0].octets), (1, 3));
    assert_eq!(inspected.next_queue, recovered.next_queue);
}

#[test]
fn a_log_can_go_to_another_thread() {
    fn assert_send<T: Send>(_: &T) {}
    assert_send(&open(&SimulatedDisk::new(7)).0);
    assert_send(&Batch::new());
}
