//! Segments that are not written any more: their files and indexes, the last used ones kept open.

use std::io;

use crate::disk::{Disk, File};
use crate::error::{Error, Result};
use crate::frame::{self, Seed};
use crate::index::{Entry, Index};
use crate::record::{Record, Records};
use crate::segment::{self, Frames};

/// A segment to read from.
pub(crate) struct Sealed {
    number: u64,
    /// `None` if there is no such file.
    pub(crate) file: Option<Box<dyn File>>,
    pub(crate) index: Index,
    /// Parts of the segment could not be read when the index was made again from it.
    pub(crate) damaged: bool,
}

/// The segments that were used last.
#[derive(Default)]
pub(crate) struct Shelf {
    /// The last used one last.
    segments: Vec<Sealed>,
}

/// So many entries are kept, of 32 octets each: 8 MiB, or the last segment if that has more.
const MAX_ENTRIES: usize = 256 << 10;
/// Each has a file open.
const MAX_SEGMENTS: usize = 32;

impl Shelf {
    /// A segment that ends at `length`.
    pub(crate) fn get(&mut self, disk: &dyn Disk, seed: Seed, length: u64) -> Result<&mut Sealed> {
        let found = self.segments.iter().position(|sealed| sealed.number == seed.segment);
        let sealed = match found {
            Some(place) => self.segments.remove(place),
            None => Sealed::open(disk, seed, length)?,
        };
        self.put(sealed);
        // Just put there.
        let last = self.segments.len() - 1;
        Ok(&mut self.segments[last])
    }

    /// The index of a segment that was just asked for.
    pub(crate) fn index(&self, number: u64) -> Option<&Index> {
        self.segments.iter().find(|sealed| sealed.number == number).map(|sealed| &sealed.index)
    }

    /// A segment that was just sealed is about to be asked for.
    pub(crate) fn sealed(&mut self, number: u64, file: Box<dyn File>, index: Index) {
        self.put(Sealed { number, file: Some(file), index, damaged: false });
    }

    /// It is deleted.
    pub(crate) fn forget(&mut self, number: u64) {
        self.segments.retain(|sealed| sealed.number != number);
    }

    fn put(&mut self, sealed: Sealed) {
        self.segments.push(sealed);
        let mut entries: usize = self.segments.iter().map(|sealed| sealed.index.len()).sum();
        let mut over = 0;
        while over + 1 < self.segments.len()
            && (entries > MAX_ENTRIES || self.segments.len() - over > MAX_SEGMENTS)
        {
            entries -= self.segments[over].index.len();
            over += 1;
        }
        self.segments.drain(..over);
    }
}

impl Sealed {
    fn open(disk: &dyn Disk, seed: Seed, length: u64) -> Result<Sealed> {
        let number = seed.segment;
        let name = segment::name(number);
        let file = match disk.open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Sealed { number, file: None, index: Index::default(), damaged: true });
            }
            Err(error) => return Err(Error::io("open", &name, error)),
        };
        if let Some(index) = read_index(disk, number, length) {
            return Ok(Sealed { number, file: Some(file), index, damaged: false });
        }
        log::info!(
            "{name}: a kill came before its index was written, or that has rotted; all of it is read"
        );
        let (index, damage) = scan(&*file, &name, seed, length)?;
        Ok(Sealed { number, file: Some(file), index, damaged: !damage.is_empty() })
    }
}

/// The index from its file; `None` if that is of no use, for whatever reason: it can be made again.
pub(crate) fn read_index(disk: &dyn Disk, number: u64, length: u64) -> Option<Index> {
    let file = disk.open(&segment::index_name(number)).ok()?;
    let octets = usize::try_from(file.length().ok()?).ok()?;
    // No segment has more messages than octets to tell of them.
    if octets as u64 > segment::MAX_OCTETS * 2 {
        return None;
    }
    let mut read = vec![0; octets];
    let count = file.read_at(0, &mut read).ok()?;
    Index::decode(&read[..count], number, length)
}

/// Makes an index from all frames that are whole; gives the offsets and octets of what is not.
pub(crate) fn scan(
    file: &dyn File,
    name: &str,
    seed: Seed,
    length: u64,
) -> Result<(Index, Vec<(u64, u64)>)> {
    let mut frames = Frames::new(file, name, seed, Some(length))?;
    let (mut index, mut damage) = (Index::default(), Vec::new());
    let mut offset = segment::HEADER_OCTETS;
    while offset < length {
        if let Some(frame) = frames.at(offset)? {
            for record in Records::new(frame.records) {
                if let Ok(Record::Message(message)) = record {
                    let start = offset + frame::HEAD_OCTETS + message.offset as u64;
                    for reference in message.references() {
                        let entry = Entry::of(&message, &reference, start);
                        index.add(reference.queue, entry);
                    }
                }
            }
            offset += frame::octets(frame.records.len() as u64);
            continue;
        }
        let next = frames.find(offset + frame::ALIGNMENT)?.map_or(length, |(next, _)| next);
        damage.push((offset, next - offset));
        offset = next;
    }
    index.sort();
    Ok((index, damage))
}
