//! Ends of the log that look torn. A kill leaves all that was written, since the system still has
//! it; a power cut does not. So what nobody can have relied on is cut off, wiped out in part, or
//! has something put behind it that looks like a write that was under way.
//!
//! It reads the log by itself: frames as `store/src/frame.rs` has them, records as `record.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::chance::Chance;

const HEADER: usize = 64;
const HEAD: usize = 32;
const MAGIC: &[u8] = b"RWfr";

/// The segments of a directory that were begun, oldest first.
pub(crate) fn begun(directory: &Path) -> BTreeSet<PathBuf> {
    let mut files = super::segments(directory);
    files.retain(|file| {
        let mut head = [0; 8];
        let read = fs::File::open(file).and_then(|mut it| std::io::Read::read(&mut it, &mut head));
        read.is_ok() && head == *b"ROPEWALK"
    });
    files.into_iter().collect()
}

/// The end of a log whose broker was killed.
pub(crate) struct End {
    file: PathBuf,
    octets: Vec<u8>,
    /// Whole frames, in order.
    frames: Vec<Range<usize>>,
    /// What stands before this was promised to somebody, or may have been.
    safe: usize,
}

impl End {
    /// Reads the newest segment. `before` are those that were begun when the broker started;
    /// `is_stored` says of the octets of a message whether it had been confirmed.
    pub(crate) fn read(
        directory: &Path,
        before: &BTreeSet<PathBuf>,
        is_stored: &dyn Fn(&[u8]) -> bool,
    ) -> Option<End> {
        let file = begun(directory).pop_last()?;
        let octets = fs::read(&file).ok().filter(|octets| octets.len() >= HEADER)?;
        let mut end = End { file, octets, frames: Vec::new(), safe: HEADER };
        let mut offset = HEADER;
        while let Some(next) = end.frame(offset) {
            end.frames.push(offset..next);
            offset = next;
        }
        // Only the last write can have been cut short by the kill.
        let is_whole = |frame: &Range<usize>| {
            crc32c(end.seed(frame.start).iter().chain(end.records(frame))) == end.checksum(frame)
        };
        if end.frames.last().is_some_and(|last| !is_whole(last)) {
            end.frames.pop();
        }
        let relied_on = |frame: &&Range<usize>| is_relied_on(end.records(frame), is_stored);
        end.safe = end.frames.iter().rfind(relied_on).map_or(HEADER, |frame| frame.end);
        if let Some(last) = end.frames.last() {
            end.safe = end.safe.max(end.number(last.start + 12) as usize);
            // A segment goes once the acknowledgements of all that was in it are safe.
            if before.iter().any(|file| !file.exists()) {
                let is_later = changed(&end.file) > changed(directory);
                end.safe = end.safe.max(if is_later { last.start } else { last.end });
            }
        }
        Some(end)
    }

    /// Where the frame ends that begins at an offset, if the head of one stands there.
    fn frame(&self, offset: usize) -> Option<usize> {
        let head = self.octets.get(offset..offset + HEAD)?;
        let checksum = crc32c(self.seed(offset).iter().chain(&head[8..]));
        if head[..4] != *MAGIC || head[4..8] != checksum.to_le_bytes() {
            return None;
        }
        let end = offset + HEAD + (self.number(offset + 8) as usize).next_multiple_of(8);
        (end <= self.octets.len()).then_some(end)
    }

    /// What a frame's checksums begin with: the log's salt, the segment's number, the offset.
    fn seed(&self, offset: usize) -> [u8; 24] {
        let mut seed = [0; 24];
        seed[..8].copy_from_slice(&self.octets[24..32]);
        seed[8..16].copy_from_slice(&self.octets[16..24]);
        seed[16..].copy_from_slice(&(offset as u64).to_le_bytes());
        seed
    }

    fn number(&self, at: usize) -> u32 {
        number(&self.octets[at..])
    }

    fn records(&self, frame: &Range<usize>) -> &[u8] {
        let length = self.number(frame.start + 8) as usize;
        &self.octets[frame.start + HEAD..][..length]
    }

    fn checksum(&self, frame: &Range<usize>) -> u32 {
        self.number(frame.start + 24)
    }

    fn tail(&self) -> usize {
        self.frames.last().map_or(HEADER, |last| last.end)
    }

    /// Tears it. Says how, and how many octets of whole frames were lost by it.
    pub(crate) fn tear(mut self, chance: &mut Chance) -> (String, u64) {
        let (safe, tail) = (self.safe.min(self.tail()), self.tail());
        let at = safe + chance.index(tail - safe + 1);
        let some = 1 + chance.index(3000);
        let mut lost = tail - at;
        // What can be lost is, mostly.
        let how = match chance.below(if tail > safe { 5 } else { 7 }) {
            0 => {
                self.octets.truncate(at);
                format!("cut off at {at}")
            }
            1 => {
                self.octets[at..].fill(0);
                format!("zeros from {at} on")
            }
            // With whole frames behind it, if there are any: disks do not write in order.
            2 => {
                let end = (at + some).min(self.octets.len());
                self.octets[at..end].fill(0);
                format!("zeros from {at} to {end}")
            }
            3 => {
                let garbage: Vec<u8> = (0..some).map(|_| chance.next() as u8).collect();
                self.put(at, &garbage);
                format!("{some} octets of garbage at {at}")
            }
            4 => {
                lost = 0;
                self.octets.resize(self.octets.len() + 1000 * some, 0);
                format!("{} zeros more at the end", 1000 * some)
            }
            // The first octets of a frame: of its head alone, or of its records, too.
            5 => {
                lost = 0;
                let frame = self.frame_for(tail, chance);
                let part = match chance.one_in(2) {
                    true => 1 + chance.index(HEAD - 1),
                    false => HEAD + chance.index(frame.len() - HEAD),
                };
                self.put(tail, &frame[..part]);
                format!("{part} octets of a frame at {tail}")
            }
            // What these blocks may have held once.
            _ => {
                lost = 0;
                let old = self.frames.first().map(|it| self.octets[it.clone()].to_vec());
                self.put(tail, &old.unwrap_or_default());
                format!("an older frame at {tail}")
            }
        };
        fs::write(&self.file, &self.octets).expect("it can be written");
        (format!("{}: {how}; safe is what is before {safe}", self.file.display()), lost as u64)
    }

    fn put(&mut self, at: usize, octets: &[u8]) {
        let end = at + octets.len();
        self.octets.resize(self.octets.len().max(end), 0);
        self.octets[at..end].copy_from_slice(octets);
    }

    /// A frame as it would be written at an offset: one of those that are there, with a head for
    /// that place. Its last octet, which is never written, is not zero.
    fn frame_for(&self, offset: usize, chance: &mut Chance) -> Vec<u8> {
        let Some(frame) = self.frames.get(chance.index(self.frames.len())) else {
            return vec![1; HEAD + 1];
        };
        let mut records = self.records(frame).to_vec();
        records.push(0xff);
        let mut head = self.octets[frame.start..][..HEAD].to_vec();
        head[8..12].copy_from_slice(&(records.len() as u32).to_le_bytes());
        head[24..28]
            .copy_from_slice(&crc32c(self.seed(offset).iter().chain(&records)).to_le_bytes());
        let checksum = crc32c(self.seed(offset).iter().chain(&head[8..]));
        head[4..8].copy_from_slice(&checksum.to_le_bytes());
        [head, records].concat()
    }
}

/// When something was written to a file, or a directory got or lost a name.
fn changed(path: &Path) -> SystemTime {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.modified().expect("file systems keep that")
}

fn number(octets: &[u8]) -> u32 {
    octets.iter().take(4).rev().fold(0, |sum, &octet| sum << 8 | u32::from(octet))
}

/// Whether among a frame's records is a message that was confirmed, or another that a broker goes on
/// from once it is synced: it has opened the log, or lets a queue hand out what it has.
fn is_relied_on(mut records: &[u8], is_stored: &dyn Fn(&[u8]) -> bool) -> bool {
    while let Some((&kind, rest)) = records.split_first() {
        let blob = |at: usize| 4 + number(&rest[at..]) as usize;
        let octets = match kind {
            1 => blob(0) + blob(blob(0)),
            2 => blob(0),
            // A message, and a copy of one that is still there as well.
            3 | 4 => {
                let references = 9 + 24 * number(&rest[5..]) as usize;
                let end = references + blob(references);
                let body = number(&rest[1..]) as usize;
                if kind == 3 && is_stored(&rest[end - body..end]) {
                    return true;
                }
                end
            }
            5 => 24,
            7 => 20,
            8 => 8,
            // A lease; a snapshot, and what begins and ends a log.
            _ => return true,
        };
        records = &rest[octets..];
    }
    false
}

/// CRC-32C, bit by bit.
pub(crate) fn crc32c<'a>(octets: impl Iterator<Item = &'a u8>) -> u32 {
    !octets.fold(!0, |sum, &octet| {
        (0..8).fold(sum ^ u32::from(octet), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}
