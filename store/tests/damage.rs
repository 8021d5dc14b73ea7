//! Files that were whole and are not: cut off, with a bit flipped, missing, of a newer version.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Model, Writer, load_all, seen};
use ropewalk_store::simulation::SimulatedDisk;
use ropewalk_store::{Batch, Disk, Error, Finding, Log, NEVER, Options, Reference, check};

const SEGMENT: u64 = 4096;

fn options() -> Options {
    Options::new().segment_octets(SEGMENT).salt(42)
}

fn open(disk: &SimulatedDisk) -> (Log, ropewalk_store::Recovered) {
    Log::open(Arc::new(disk.clone()), options()).expect("whatever is damaged, it opens")
}

/// The segments that were begun.
fn segments(disk: &SimulatedDisk) -> Vec<String> {
    let mut names = disk.list().expect("a disk that works");
    let begun = |name: &str| disk.contents_of(name).is_some_and(|octets| octets[0] != 0);
    names.retain(|name| name.ends_with(".log") && begun(name));
    names
}

/// Some segments with messages, acknowledgements and definitions, killed without a close; and
/// the model after each batch.
fn a_log(seed: u64, batches: usize) -> (SimulatedDisk, Vec<Model>) {
    let disk = SimulatedDisk::new(seed);
    let (mut log, _) = open(&disk);
    let (mut writer, mut model) = (Writer::new(seed), Model::default());
    writer.largest = 400;
    let mut models = vec![model.clone()];
    for _ in 0..batches {
        let mut batch = Batch::new();
        writer.fill(&mut batch, &mut model, true);
        log.append(&batch).expect("a disk with room");
        log.sync().expect("a sound disk");
        while log.maintain().expect("a sound disk") {}
        models.push(model.clone());
    }
    drop(log);
    disk.kill();
    (disk, models)
}

/// As a restart makes it, and as a log tells it.
fn told(model: &Model) -> Model {
    let mut model = model.restarted();
    model.queues.values_mut().for_each(|queue| queue.leased = 0);
    model
}

#[test]
fn a_log_cut_off_at_any_octet_is_as_it_was_after_some_batch() {
    let (disk, models) = a_log(1, 60);
    let possible: Vec<Model> = models.iter().map(told).collect();
    let newest = segments(&disk).pop().expect("a segment");
    let octets = disk.contents_of(&newest).expect("just listed");
    let end = octets.iter().rposition(|&octet| octet != 0).expect("a header") + 1;
    assert!(possible.len() > 20 && end > 500);
    let mut last = 0;
    for length in 0..=end {
        let disk = disk.copy(1);
        disk.put(&newest, &octets[..length]);
        let (mut log, recovered) = open(&disk);
        assert!(!recovered.report.is_damaged(), "cut off at {length}: {:?}", recovered.report);
        let model = seen(&mut log, &recovered);
        // Some batches change nothing, so the last that it can be.
        let place = possible.iter().rposition(|possible| *possible == model);
        let place = place.unwrap_or_else(|| panic!("cut off at {length} it never was so"));
        assert!(place >= last, "cut off at {length} it has less than cut off before");
        last = place;
    }
    assert_eq!(last, possible.len() - 1, "nothing was cut off in the end");
}

/// Everything that a log loads was stored as it is, in some model.
fn assert_nothing_is_invented(seen: &Model, models: &[Model], what: &str) {
    for (id, queue) in &seen.queues {
        for (position, message) in &queue.messages {
            let known = models.iter().rev().any(|model| {
                let known = model.queues.get(id).and_then(|queue| queue.messages.get(position));
                known.is_some_and(|known| {
                    known.payload == message.payload
                        && known.expires == message.expires
                        && known.persistent == message.persistent
                })
            });
            assert!(known, "{what}: message {position} of queue {id} was never stored");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found_or_does_no_harm() {
    let (disk, models) = a_log(2, 50);
    // Sealed segments with indexes, as a restart leaves them.
    drop(open(&disk).0);
    disk.kill();
    let last = told(models.last().expect("the first"));
    let all: BTreeSet<(u64, u64)> = places(&last);
    let mut harmless = 0;
    let names = disk.list().expect("a disk that works");
    assert!(names.len() > 4, "{names:?}");
    for name in names {
        let octets = disk.contents_of(&name).expect("just listed");
        for at in 0..octets.len() {
            if octets[at..].iter().all(|&octet| octet == 0) {
                break;
            }
            let what = format!("{name} at {at}");
            let disk = disk.copy(at as u64);
            let mut flipped = octets.clone();
            flipped[at] ^= 1 << (at % 8);
            disk.put(&name, &flipped);
            let checked = check(&disk).expect("a disk that works");
            let (mut log, recovered) = open(&disk);
            let (model, lost) = loaded(&mut log, &recovered);
            assert_nothing_is_invented(&model, &models, &what);
            while log.maintain().expect("a disk that works") {}
            let found = !checked.report.findings.is_empty();
            let missing = all.difference(&places(&model)).count();
            if missing > 0 {
                assert!(found, "{what}: {missing} messages are gone, and nobody says so");
                assert!(missing <= 12, "{what}: {missing} messages are lost by one bit");
            } else if !found {
                harmless += 1;
            }
            if lost > 0 {
                assert!(checked.report.is_damaged(), "{what}: {:?}", checked.report);
            }
        }
    }
    // Only in the octets that fill frames up.
    assert!(harmless < 300, "{harmless} flipped bits were not found");
}

fn places(model: &Model) -> BTreeSet<(u64, u64)> {
    let queues = model.queues.iter();
    queues.flat_map(|(&id, queue)| queue.messages.keys().map(move |&p| (id, p))).collect()
}

/// What a damaged log holds, and how many messages turned out to be lost by loading.
fn loaded(log: &mut Log, recovered: &ropewalk_store::Recovered) -> (Model, u64) {
    let (mut model, mut lost) = (Model::default(), 0);
    for queue in &recovered.queues {
        let mut from = 0;
        let to = model.queues.entry(queue.id).or_default();
        loop {
            let load = log.load(queue.id, from, 5, 5000).expect("a disk that works");
            lost += load.lost;
            let Some(last) = load.messages.last() else { break };
            from = last.position + 1;
            for loaded in load.messages {
                let message = common::Message {
                    payload: loaded.payload.to_vec(),
                    expires: loaded.expires,
                    persistent: loaded.persistent,
                    returns: loaded.returns,
                    redelivered: loaded.redelivered,
                };
                assert!(to.messages.insert(loaded.position, message).is_none());
            }
        }
        let count = to.messages.len() as u64;
        assert!(queue.messages <= count + lost, "queue {}: {} messages", queue.id, queue.messages);
    }
    (model, lost)
}

/// A segment for each of the payloads, and one after them.
fn one_segment_each(disk: &SimulatedDisk, payloads: &[&[u8]]) -> Log {
    let (mut log, _) = open(disk);
    for (position, payload) in payloads.iter().enumerate() {
        let mut batch = Batch::new();
        let position = position as u64;
        batch.message(&[Reference { queue: 1, position, expires: NEVER }], true, 5, &[payload]);
        // Two of these do not fit one segment.
        let filler = vec![0; 3000];
        batch.message(&[Reference { queue: 2, position, expires: NEVER }], true, 5, &[&filler]);
        log.append(&batch).expect("a disk with room");
        log.sync().expect("a sound disk");
    }
    // What is behind it shows that the last message was synced.
    let mut batch = Batch::new();
    batch.put(b"key", b"value");
    log.append(&batch).expect("a disk with room");
    log.sync().expect("a sound disk");
    log
}

fn flip(disk: &SimulatedDisk, name: &str, pattern: &[u8]) {
    let mut octets = disk.contents_of(name).expect("a file");
    let at = octets.windows(pattern.len()).position(|window| window == pattern);
    octets[at.expect("the pattern is in it")] ^= 1;
    disk.put(name, &octets);
}

#[test]
fn a_damaged_message_is_lost_alone_and_its_segment_is_kept() {
    let disk = SimulatedDisk::new(3);
    let mut log = one_segment_each(&disk, &[b"first", b"second", b"third", b"fourth"]);
    let name = segments(&disk).remove(1);
    flip(&disk, &name, b"second");
    let load = log.load(1, 0, 10, 1000).expect("a disk that works");
    let payloads: Vec<_> = load.messages.iter().map(|loaded| &loaded.payload[..]).collect();
    // The log has the file open that was replaced under it, so it has to be opened anew.
    assert_eq!(payloads, [&b"first"[..], b"second", b"third", b"fourth"]);
    drop(log);
    disk.kill();
    let report = check(&disk).expect("a disk that works").report;
    assert!(report.findings.contains(&Finding::Lost { queue: 1, messages: 1 }), "{report:?}");
    assert!(
        report
            .findings
            .iter()
            .any(|finding| matches!(finding, Finding::Damaged { file, .. } if *file == name)),
        "{report:?}"
    );
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered.queues[0].messages, 4, "nobody has read it yet");
    let load = log.load(1, 0, 10, 1000).expect("a disk that works");
    let payloads: Vec<_> = load.messages.iter().map(|loaded| &loaded.payload[..]).collect();
    assert_eq!((payloads, load.lost), (vec![&b"first"[..], b"third", b"fourth"], 1));
    // Its end.
    let mut batch = Batch::new();
    batch.queue_removed(1);
    batch.queue_removed(2);
    log.append(&batch).expect("a disk with room");
    for _ in 0..4 {
        drop(log);
        disk.kill();
        log = open(&disk).0;
        while log.maintain().expect("a disk that works") {}
    }
    let names = disk.list().expect("a disk that works");
    assert!(names.contains(&format!("{name}.damaged")), "{names:?}");
    assert!(!names.contains(&name), "{names:?}");
    assert!(names.len() <= 6, "the others are gone: {names:?}");
}

#[test]
fn a_message_whose_segment_is_missing_is_told_as_lost() {
    let disk = SimulatedDisk::new(4);
    drop(one_segment_each(&disk, &[b"first", b"second", b"third", b"fourth"]));
    disk.kill();
    let name = segments(&disk).remove(1);
    disk.remove(&name).expect("it is there");
    let (mut log, recovered) = open(&disk);
    let findings = &recovered.report.findings;
    assert!(findings.contains(&Finding::Lost { queue: 1, messages: 1 }), "{findings:?}");
    assert_eq!(recovered.queues[0].messages, 3);
    assert_eq!(load_all(&mut log, 1, 10, 1000).len(), 3);
}

#[test]
fn a_damaged_snapshot_is_made_up_for_by_the_one_before() {
    for damaged in 1..=2 {
        let (disk, models) = a_log(5, 60);
        let names = segments(&disk);
        let newest = &names[names.len() - 1];
        let mut octets = disk.contents_of(newest).expect("just listed");
        match damaged {
            // In the snapshot's records.
            1 => octets[64 + 40] ^= 1,
            // All of the header and of the snapshot's head.
            _ => octets[..96].fill(0xaa),
        }
        disk.put(newest, &octets);
        let (mut log, recovered) = open(&disk);
        assert!(recovered.report.is_damaged());
        let seen = seen(&mut log, &recovered);
        assert_eq!(seen, told(models.last().expect("the first")), "nothing is lost by it");
    }
}

#[test]
fn a_log_without_any_snapshot_left_gives_what_is_left() {
    let disk = SimulatedDisk::new(6);
    drop(one_segment_each(&disk, &[b"first", b"second", b"third", b"fourth"]));
    disk.kill();
    for name in segments(&disk) {
        let mut octets = disk.contents_of(&name).expect("just listed");
        octets[64 + 40] ^= 1;
        disk.put(&name, &octets);
    }
    let (mut log, recovered) = open(&disk);
    assert!(recovered.report.is_damaged());
    let messages = load_all(&mut log, 1, 10, 1000);
    let payloads: Vec<&[u8]> = messages.values().map(|message| &message.payload[..]).collect();
    assert_eq!(payloads, [&b"first"[..], b"second", b"third", b"fourth"]);
}

#[test]
fn a_file_of_which_nothing_can_be_made_is_set_aside() {
    let disk = SimulatedDisk::new(7);
    drop(one_segment_each(&disk, &[b"first"]));
    disk.kill();
    let begun = segments(&disk).remove(0);
    let octets = disk.contents_of(&begun).expect("just listed");
    let garbage: Vec<u8> = octets.iter().map(|octet| octet ^ 0x55).collect();
    disk.put(&begun, &garbage);
    let (_, recovered) = open(&disk);
    let now = format!("{begun}.damaged");
    let finding = Finding::SetAside { file: begun.clone(), now: now.clone() };
    assert!(recovered.report.findings.contains(&finding), "{:?}", recovered.report);
    assert_eq!(disk.contents_of(&now), Some(garbage));
    assert_eq!(disk.contents_of(&begun), None);
}

#[test]
fn a_newer_version_is_refused_by_name_and_nothing_is_changed() {
    let disk = SimulatedDisk::new(8);
    drop(one_segment_each(&disk, &[b"first", b"second"]));
    disk.kill();
    let name = segments(&disk).remove(1);
    let mut octets = disk.contents_of(&name).expect("just listed");
    octets[8] = 2;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&octets[..12]), &octets[16..64]);
    octets[12..16].copy_from_slice(&checksum.to_le_bytes());
    disk.put(&name, &octets);
    let operations = disk.operations();
    let refused = Log::open(Arc::new(disk.clone()), options()).map(|_| ());
    let Err(Error::NewerVersion { file, found: 2, known: 1 }) = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(*file, name);
    assert!(matches!(check(&disk), Err(Error::NewerVersion { .. })));
    assert_eq!(disk.operations(), operations);
}

#[test]
fn a_payload_that_looks_like_frames_is_never_taken_for_one() {
    // What the log wrote for one message, as another's payload; then the frame around it is broken.
    let disk = SimulatedDisk::new(9);
    drop(one_segment_each(&disk, &[b"invented"]));
    let name = segments(&disk).remove(0);
    let octets = disk.contents_of(&name).expect("just listed");
    let disk = SimulatedDisk::new(9);
    let options = Options::new().segment_octets(16 * SEGMENT).salt(43);
    let (mut log, _) = Log::open(Arc::new(disk.clone()), options).expect("an empty disk");
    let mut payload = b"sent".to_vec();
    for shift in 0..8 {
        payload.resize(payload.len() + shift, 0);
        payload.extend_from_slice(&octets[64..400]);
    }
    for position in 0..3 {
        let mut batch = Batch::new();
        let reference = Reference { queue: 7, position, expires: NEVER };
        batch.message(&[reference], true, 5, &[&position.to_le_bytes(), &payload]);
        log.append(&batch).expect("a disk with room");
        log.sync().expect("a sound disk");
    }
    drop(log);
    disk.kill();
    let name = segments(&disk).remove(0);
    flip(&disk, &name, b"sent");
    let (mut log, recovered) = open(&disk);
    let queues: Vec<u64> = recovered.queues.iter().map(|queue| queue.id).collect();
    assert_eq!(queues, [7]);
    assert_eq!(load_all(&mut log, 7, 10, 100_000).keys().copied().collect::<Vec<_>>(), [1, 2]);
}
