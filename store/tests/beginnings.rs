//! Segments that were just being begun when the power failed, and those that only look so since
//! their first octets are lost.

mod common;

use std::ops::Range;
use std::sync::Arc;

use common::load_all;
use ropewalk_store::simulation::SimulatedDisk;
use ropewalk_store::{Batch, Disk, Finding, Log, NEVER, Options, Recovered, Reference, check};

const HEADER: usize = 64;

fn open(disk: &SimulatedDisk) -> (Log, Recovered) {
    let options = Options::new().segment_octets(8192).salt(0x5a5a_a5a5_1234_5678);
    Log::open(Arc::new(disk.clone()), options).expect("whatever is damaged, it opens")
}

/// A message in a queue, synced.
fn store(log: &mut Log, position: u64, payload: &[u8]) {
    let mut batch = Batch::new();
    batch.message(&[Reference { queue: 1, position, expires: NEVER }], true, 5, &[payload]);
    log.append(&batch).expect("a disk with room");
    log.sync().expect("a sound disk");
}

/// A log of this many segments with three messages in each, killed without a close.
fn a_log(segments: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(segments);
    for segment in 0..segments {
        let (mut log, _) = open(&disk);
        (0..3).for_each(|number| store(&mut log, 3 * segment + number, &[7; 300]));
        while log.maintain().expect("a sound disk") {}
        drop(log);
        disk.kill();
    }
    disk
}

/// The newest segment that was begun.
fn newest(disk: &SimulatedDisk) -> String {
    let names = disk.list().expect("a disk that works").into_iter();
    let begun = |name: &String| disk.contents_of(name).is_some_and(|it| it.starts_with(b"ROPE"));
    names.filter(|name| name.ends_with(".log") && begun(name)).max().expect("a segment")
}

fn damaged_files(disk: &SimulatedDisk) -> Vec<String> {
    let names = disk.list().expect("a disk that works").into_iter();
    names.filter(|name| name.contains("damaged")).collect()
}

fn positions(log: &mut Log) -> Vec<u64> {
    load_all(log, 1, 100, 100_000).into_keys().collect()
}

/// Opens the log, which has lost nothing that anybody was told of; says what was found.
fn open_unharmed(disk: &SimulatedDisk, messages: u64, what: &str) -> Vec<Finding> {
    let checked = check(disk).expect("a disk that works");
    let (mut log, recovered) = open(disk);
    assert_eq!(checked.report.findings, recovered.report.findings, "{what}");
    assert!(positions(&mut log).into_iter().eq(0..messages), "{what}");
    assert_eq!(damaged_files(disk), [""; 0], "{what}");
    // It goes on.
    store(&mut log, messages, b"another");
    drop(log);
    disk.crash();
    let (mut log, _) = open(disk);
    assert!(positions(&mut log).into_iter().eq(0..=messages), "{what}");
    recovered.report.findings
}

/// What the segment that is begun next begins with, without the note that it was opened; and the
/// file's name.
fn a_beginning(disk: &SimulatedDisk) -> (String, Vec<u8>) {
    let disk = disk.copy(0);
    drop(open(&disk));
    let name = newest(&disk);
    let octets = disk.contents_of(&name).expect("just listed");
    let length = u32::from_le_bytes(octets[HEADER + 8..][..4].try_into().expect("four octets"));
    let end = HEADER + 32 + (length as usize).next_multiple_of(8);
    (name, octets[..end].to_vec())
}

#[test]
fn a_segment_of_which_only_a_part_was_written_leaves_nothing_to_tell() {
    for segments in 0..=2 {
        let disk = a_log(segments);
        let (name, begin) = a_beginning(&disk);
        let mut torn: Vec<Range<usize>> = (0..begin.len()).map(|end| 0..end).collect();
        // The sectors of a disk are not written in order, either.
        torn.extend((1..HEADER).map(|from| from..begin.len()));
        for kept in torn {
            let disk = disk.copy(1);
            let mut octets = vec![0; 8192];
            octets[kept.clone()].copy_from_slice(&begin[kept.clone()]);
            disk.put(&name, &octets);
            let what = format!("{kept:?} of {segments}");
            assert_eq!(open_unharmed(&disk, 3 * segments, &what), [], "{what}");
        }
        let empty = disk.copy(1);
        empty.put(&name, b"");
        let what = "a file that is only a name";
        assert_eq!(open_unharmed(&empty, 3 * segments, what), [], "{what}");
    }
}

#[test]
fn a_log_whose_making_is_cut_short_twice_is_made_the_next_time_and_no_file_is_set_aside() {
    // What the log itself has written last may be torn.
    let is_harmless = |finding: &Finding| matches!(finding, Finding::Torn { .. });
    for seed in 0..3000 {
        let disk = SimulatedDisk::new(seed);
        for cut in [seed % 7, seed / 7 % 9] {
            disk.cut_power_after(cut);
            let options = Options::new().segment_octets(8192).salt(seed);
            if let Ok((_, recovered)) = Log::open(Arc::new(disk.clone()), options) {
                let findings = recovered.report.findings;
                assert!(findings.iter().all(is_harmless), "seed {seed}: {findings:?}");
            }
            disk.crash();
        }
        let findings = open_unharmed(&disk, 0, &format!("seed {seed}"));
        assert!(findings.iter().all(is_harmless), "seed {seed}: {findings:?}");
    }
}

#[test]
fn the_only_segment_without_its_head_is_set_aside_by_its_name() {
    let disk = a_log(1);
    let name = newest(&disk);
    let octets = disk.contents_of(&name).expect("just listed");
    for lost in [vec![0; HEADER], vec![0; 512], vec![0xaa; HEADER], octets[1..=HEADER].to_vec()] {
        let disk = disk.copy(2);
        let mut harmed = octets.clone();
        harmed[..lost.len()].copy_from_slice(&lost);
        disk.put(&name, &harmed);
        let now = format!("{name}.damaged");
        let expected = Finding::SetAside { file: name.clone(), now: now.clone() };
        let checked = check(&disk).expect("a disk that works");
        assert_eq!(checked.report.findings, std::slice::from_ref(&expected), "checked");
        let (_, recovered) = open(&disk);
        assert_eq!(recovered.report.findings, [expected]);
        assert_eq!(disk.contents_of(&now), Some(harmed), "it is kept as it is");
    }
}

#[test]
fn the_newest_of_several_segments_without_its_head_gives_what_lies_behind() {
    let disk = a_log(2);
    let name = newest(&disk);
    let octets = disk.contents_of(&name).expect("just listed");
    let lost = a_beginning(&a_log(1)).1.len();
    for lost in [vec![0; lost], vec![0xaa; lost]] {
        let disk = disk.copy(3);
        let mut harmed = octets.clone();
        harmed[..lost.len()].copy_from_slice(&lost);
        disk.put(&name, &harmed);
        let (mut log, recovered) = open(&disk);
        let findings = &recovered.report.findings;
        let is_named = |finding: &Finding| matches!(finding, Finding::Damaged { file, offset: 0, .. } if *file == name);
        assert!(findings.iter().any(is_named), "{findings:?}");
        assert!(positions(&mut log).into_iter().eq(0..6));
    }
}

#[test]
fn the_newest_of_several_segments_that_is_no_more_than_garbage_is_set_aside() {
    let disk = a_log(2);
    let name = newest(&disk);
    let garbage = vec![0x5a; 8192];
    disk.put(&name, &garbage);
    let (mut log, recovered) = open(&disk);
    let now = format!("{name}.damaged");
    assert_eq!(recovered.report.findings, [Finding::SetAside { file: name, now: now.clone() }]);
    assert_eq!(disk.contents_of(&now), Some(garbage));
    assert!(positions(&mut log).into_iter().eq(0..3));
}
