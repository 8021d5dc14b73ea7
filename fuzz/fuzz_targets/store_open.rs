//! A directory of the message log as somebody else might have left it: segments and indexes whose
//! checksums are right as often as not, and whose contents are whatever came.
//!
//! Beyond not crashing: it opens, loads, tidies up and opens again; no message is larger than
//! all that was there; what is stored into it afterwards is there.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use ropewalk_store::simulation::SimulatedDisk;
use ropewalk_store::{Batch, Error, Log, NEVER, Options, Reference, check};

const SALT: u64 = 0;
/// The kind of a record that holds a snapshot.
const SNAPSHOT: u8 = 9;
const AFTERWARDS: &[u8] = b"stored afterwards";

fuzz_target!(|input: &[u8]| {
    let disk = SimulatedDisk::new(1);
    let mut rest = input;
    while let Some(file) = take_file(&mut rest) {
        disk.put(&file.0, &file.1);
    }
    let checked = check(&disk);
    let options = Options::new().segment_octets(4096).salt(SALT);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let opened = Log::open(Arc::new(disk.clone()), options.clone());
        let (mut log, recovered) = match opened {
            Ok(opened) => opened,
            Err(Error::NewerVersion { .. }) => {
                assert!(checked.is_err());
                return;
            }
            Err(error) => panic!("{error}"),
        };
        for queue in &recovered.queues {
            let mut from = 0;
            loop {
                let load = log.load(queue.id, from, 10, 10_000).expect("a disk that works");
                let Some(last) = load.messages.last() else { break };
                let most = input.len().max(AFTERWARDS.len());
                assert!(load.messages.iter().all(|loaded| loaded.payload.len() <= most));
                assert!(load.messages.is_sorted_by(|one, next| one.position < next.position));
                assert!(load.messages[0].position >= from);
                let Some(next) = last.position.checked_add(1) else { break };
                from = next;
            }
        }
        let id = recovered.next_queue;
        let mut batch = Batch::new();
        let places: Vec<Reference> = recovered
            .queues
            .iter()
            .map(|queue| (queue.id, queue.next_position))
            .chain([(id, 0)])
            .map(|(queue, position)| Reference { queue, position, expires: NEVER })
            .collect();
        batch.message(&places, true, 1, &[AFTERWARDS]);
        log.append(&batch).expect("a disk with room");
        let mut steps = 0;
        while log.maintain().expect("a disk that works") {
            steps += 1;
            assert!(steps < 100_000, "housekeeping comes to an end");
        }
        ids.push(id);
        for &id in ids.iter().filter(|&&id| id < u64::MAX) {
            let load = log.load(id, 0, 1, 100).expect("a disk that works");
            assert_eq!(load.messages[0].payload, AFTERWARDS);
        }
        log.close().expect("a disk that works");
    }
});

/// A file that the input describes: a kind, a number, a length, and what is in it.
fn take_file(rest: &mut &[u8]) -> Option<(String, Vec<u8>)> {
    let (&[kind, number, low, high], octets) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_le_bytes([low, high]));
    let (contents, left) = octets.split_at(length.min(octets.len()));
    *rest = left;
    let number = u64::from(number % 8);
    Some(match kind % 6 {
        0 => (format!("{number:016x}.log"), contents.to_vec()),
        1 => (format!("{number:016x}.idx"), contents.to_vec()),
        2 => (format!("{number:016x}.idx"), index(number, contents)),
        _ => (format!("{number:016x}.log"), segment(number, contents)),
    })
}

fn checksum(octets: &[u8], hole: std::ops::Range<usize>) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&octets[..hole.start]), &octets[hole.end..])
}

/// An index with its head and checksum in front.
fn index(number: u64, contents: &[u8]) -> Vec<u8> {
    let mut out = b"ROPEWIDX\x01\0\0\0\0\0\0\0".to_vec();
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(contents);
    let checksum = checksum(&out, 12..16);
    out[12..16].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// A segment with a header, and its contents cut into frames: a length and a flag in front of
/// each.
fn segment(number: u64, contents: &[u8]) -> Vec<u8> {
    let mut out = b"ROPEWALK\x01\0\0\0\0\0\0\0".to_vec();
    let (head, mut contents) = contents.split_at(contents.len().min(4));
    let previous = u64::from(head.first().copied().unwrap_or(0) % 8);
    let length = u64::from(head.get(1).copied().unwrap_or(0)) * 8;
    for field in [number, SALT, previous, length, 0, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    let sum = checksum(&out, 12..16);
    out[12..16].copy_from_slice(&sum.to_le_bytes());
    let mut sequence = 0u64;
    while let Some((&[flag, low, high], rest)) = contents.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (records, rest) = rest.split_at(length);
        contents = rest;
        sequence += 1;
        frame(&mut out, number, sequence, flag, records);
    }
    out
}

fn frame(out: &mut Vec<u8>, number: u64, sequence: u64, flag: u8, records: &[u8]) {
    let offset = out.len() as u64;
    let mut seed = SALT.to_le_bytes().to_vec();
    seed.extend_from_slice(&number.to_le_bytes());
    seed.extend_from_slice(&offset.to_le_bytes());
    let seed = crc32c::crc32c(&seed);
    // A snapshot's records are its kind and a length, which would seldom be right by chance.
    let records = match flag & 3 {
        0 => [&[SNAPSHOT][..], &(records.len() as u32).to_le_bytes(), records].concat(),
        _ => records.to_vec(),
    };
    let synced = if flag & 4 == 0 { 0 } else { offset as u32 };
    let mut head = (records.len() as u32).to_le_bytes().to_vec();
    head.extend_from_slice(&synced.to_le_bytes());
    head.extend_from_slice(&sequence.to_le_bytes());
    let sum = crc32c::crc32c_append(seed, &records) ^ u32::from(flag & 0xf8 == 0xf8);
    head.extend_from_slice(&sum.to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    out.extend_from_slice(b"RWfr");
    out.extend_from_slice(&crc32c::crc32c_append(seed, &head).to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(&records);
    out.resize(out.len().next_multiple_of(8), 0);
}
