//! A real directory: what the simulated disk cannot show.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ropewalk_store::{Batch, Directory, Disk, Error, Log, NEVER, Options, Reference, check};

/// A directory of this test's own, taken away in the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path =
            std::env::temp_dir().join(format!("ropewalk-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Place(path)
    }

    fn open(&self, options: Options) -> Result<(Log, ropewalk_store::Recovered), Error> {
        Log::open(Arc::new(Directory::new(&self.0)?), options)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
            .collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn message(batch: &mut Batch, position: u64, payload: &[u8]) {
    let reference = Reference { queue: 1, position, expires: NEVER };
    batch.message(&[reference], true, payload.len() as u64, &[payload]);
}

#[test]
fn what_is_stored_is_there_for_the_next_program() {
    let place = Place::new("stored");
    let (mut log, recovered) = place.open(Options::new().salt(1)).expect("a new directory");
    assert!(recovered.queues.is_empty() && recovered.report.findings.is_empty());
    let mut batch = Batch::new();
    batch.put(b"queue", b"hello");
    for position in 0..1000 {
        message(&mut batch, position, &position.to_le_bytes());
    }
    batch.acknowledged(1, 0, 9);
    log.append(&batch).expect("a disk with room");
    log.sync().expect("a sound disk");
    while log.maintain().expect("a sound disk") {}
    let usage = log.usage();
    assert!(usage.free_octets > 0 && usage.disk_octets >= 2 * Options::SEGMENT_OCTETS);
    log.close().expect("a sound disk");
    assert_eq!(place.names(), ["0000000000000001.log", "0000000000000002.log", "lock"]);

    let (mut log, recovered) = place.open(Options::new()).expect("a sound disk");
    assert!(recovered.report.closed && recovered.report.findings.is_empty());
    assert_eq!(recovered.definitions, [(b"queue".to_vec(), b"hello".to_vec())]);
    let queue = &recovered.queues[0];
    assert_eq!((queue.messages, queue.octets, queue.first), (990, 990 * 8, Some(10)));
    let load = log.load(1, 500, 10, 100).expect("a sound disk");
    assert_eq!(load.messages.len(), 10);
    assert_eq!(load.messages[0].payload[..], 500u64.to_le_bytes());
}

#[test]
fn a_second_opener_is_refused_and_told_who_is_in() {
    let place = Place::new("lock");
    let (log, _) = place.open(Options::new()).expect("a new directory");
    let refused = place.open(Options::new()).map(|_| ());
    let Err(Error::InUse { directory, owner }) = &refused else { panic!("{refused:?}") };
    assert_eq!((directory, owner), (&place.0, &format!("process {}", std::process::id())));
    drop(log);
    assert!(place.open(Options::new()).is_ok());
}

#[test]
fn checking_changes_nothing_even_beside_the_program_that_writes() {
    let place = Place::new("check");
    let (mut log, _) = place.open(Options::new()).expect("a new directory");
    let mut batch = Batch::new();
    message(&mut batch, 0, b"hello");
    log.append(&batch).expect("a disk with room");
    let names = place.names();
    let disk = Directory::read_only(&place.0).expect("it is there");
    let checked = check(&disk).expect("a sound disk");
    assert_eq!((checked.segments, checked.queues, checked.messages), (1, 1, 1));
    assert!(checked.to_string().contains("1 messages in 1 queues"), "{checked}");
    assert_eq!(place.names(), names);
    assert!(disk.create("file").is_err() && disk.remove("lock").is_err());
    let refused = Log::open(Arc::new(disk), Options::new()).map(|_| ());
    assert!(refused.is_err());
    assert!(Directory::read_only(place.0.join("nothing")).is_err());
}

#[test]
fn a_message_of_128_mib_is_stored_and_loaded() {
    let place = Place::new("large");
    let payload: Vec<u8> = (0..128 << 20).map(|place: u32| (place >> 7) as u8).collect();
    let (mut log, _) = place.open(Options::new()).expect("a new directory");
    let mut batch = Batch::new();
    message(&mut batch, 0, b"before");
    log.append(&batch).expect("a disk with room");
    batch.clear();
    batch.message(
        &[Reference { queue: 1, position: 1, expires: NEVER }],
        true,
        128 << 20,
        &[b"properties", &payload],
    );
    log.append(&batch).expect("a disk with room");
    batch.clear();
    message(&mut batch, 2, b"after");
    log.append(&batch).expect("a disk with room");
    drop(log);
    let (mut log, recovered) = place.open(Options::new()).expect("a sound disk");
    assert_eq!(recovered.queues[0].messages, 3);
    let load = log.load(1, 0, 10, 1000).expect("a sound disk");
    assert_eq!(load.messages.len(), 1, "the next alone is larger than was asked for");
    let load = log.load(1, 1, 10, 1000).expect("a sound disk");
    assert_eq!(load.messages.len(), 1, "and comes alone");
    assert!(load.messages[0].payload.strip_prefix(b"properties") == Some(&payload));
    assert_eq!(log.load(1, 2, 10, 1000).expect("a sound disk").messages[0].payload, "after");
}

#[test]
fn files_of_others_are_left_alone() {
    let place = Place::new("others");
    drop(place.open(Options::new()).expect("a new directory"));
    for name in ["notes.txt", "0000000000000001.log.damaged", "1.log"] {
        fs::write(place.0.join(name), name).expect("a disk with room");
    }
    fs::create_dir(place.0.join("00000000000000aa.log")).expect("a disk with room");
    let (mut log, _) = place.open(Options::new()).expect("a sound disk");
    while log.maintain().expect("a sound disk") {}
    for name in ["notes.txt", "0000000000000001.log.damaged", "1.log"] {
        assert_eq!(fs::read(place.0.join(name)).expect("it is there"), name.as_bytes());
    }
}
