//! A disk without room: what is refused leaves no trace, and acknowledging makes room again.

mod common;

use std::sync::Arc;

use common::load_all;
use ropewalk_store::simulation::SimulatedDisk;
use ropewalk_store::{Batch, Error, Log, NEVER, Options, Recovered, Reference};

const SEGMENT: u64 = 16 << 10;

fn open(disk: &SimulatedDisk) -> (Log, Recovered) {
    let options = Options::new().segment_octets(SEGMENT).salt(1);
    Log::open(Arc::new(disk.clone()), options).expect("a sound disk")
}

fn message(position: u64) -> Batch {
    let mut batch = Batch::new();
    let reference = Reference { queue: 1, position, expires: NEVER };
    batch.message(&[reference], true, 1000, &[&[position as u8; 1000]]);
    batch
}

/// Appends messages until there is no room; says how many there are then.
fn fill(log: &mut Log, mut position: u64) -> u64 {
    loop {
        match log.append(&message(position)) {
            Ok(()) => position += 1,
            Err(error) => {
                assert!(error.is_full(), "{error}");
                assert!(error.to_string().contains("no room on the disk"), "{error}");
                return position;
            }
        }
        log.maintain().expect("a full disk is no error");
    }
}

fn acknowledge(log: &mut Log, first: u64, last: u64) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.acknowledged(1, first, last);
    log.append(&batch)?;
    log.sync()
}

#[test]
fn acknowledgements_find_room_when_messages_do_not_and_make_room_for_them() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    disk.set_capacity(10 * SEGMENT);
    let end = fill(&mut log, 0);
    assert!(end > 50);
    assert!(log.append(&message(end)).is_err_and(|error| error.is_full()), "still");
    log.sync().expect("what was taken is made safe all the same");
    assert_eq!(load_all(&mut log, 1, 10, 100_000).len() as u64, end);
    for position in 0..end {
        acknowledge(&mut log, position, position).expect("room that was kept for it");
    }
    while log.maintain().expect("a full disk is no error") {}
    assert!(fill(&mut log, end) > end + 50, "there is room again");
}

#[test]
fn a_log_opens_on_a_full_disk_and_is_emptied_there() {
    let disk = SimulatedDisk::new(2);
    let (mut log, _) = open(&disk);
    disk.set_capacity(10 * SEGMENT);
    let mut end = fill(&mut log, 0);
    log.sync().expect("a sound disk");
    disk.set_capacity(disk.used());
    for _ in 0..5 {
        disk.crash();
        let (opened, recovered) = open(&disk);
        log = opened;
        assert_eq!(recovered.queues[0].messages, end);
        // A restart gives back what was set aside and not used.
        end = fill(&mut log, end);
        log.sync().expect("a sound disk");
    }
    for position in 0..end {
        acknowledge(&mut log, position, position).expect("room that was kept for it");
        while log.maintain().expect("a full disk is no error") {}
    }
    fill(&mut log, end);
}

#[test]
fn sparse_segments_make_room_on_a_full_disk() {
    let disk = SimulatedDisk::new(3);
    let (mut log, _) = open(&disk);
    disk.set_capacity(20 * SEGMENT);
    let end = fill(&mut log, 0);
    let mut batch = Batch::new();
    for position in (0..end).filter(|position| position % 10 != 0) {
        batch.acknowledged(1, position, position);
    }
    log.append(&batch).expect("room that was kept for it");
    while log.maintain().expect("a full disk is no error") {}
    assert!(log.usage().free_octets > 5 * SEGMENT, "{:?}", log.usage());
    let messages = load_all(&mut log, 1, 10, 100_000);
    assert!(messages.keys().copied().eq((0..end).step_by(10)));
}

#[test]
fn a_batch_that_was_refused_can_be_appended_again() {
    let disk = SimulatedDisk::new(4);
    let (mut log, _) = open(&disk);
    disk.set_capacity(4 * SEGMENT);
    let end = fill(&mut log, 0);
    let mut batch = message(end);
    batch.put(b"key", b"value");
    for _ in 0..3 {
        assert!(log.append(&batch).is_err_and(|error| error.is_full()));
    }
    disk.set_capacity(u64::MAX);
    log.append(&batch).expect("room");
    log.sync().expect("a sound disk");
    disk.crash();
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered.definitions.len(), 1);
    assert_eq!(load_all(&mut log, 1, 10, 100_000).len() as u64, end + 1);
}
