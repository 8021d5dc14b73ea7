//! The segment that is written, the one that is prepared to follow it, and going from one to
//! the other.

use crate::disk::File;
use crate::error::{Error, Result};
use crate::frame::{self, Head, Seed};
use crate::index::Index;
use crate::log::Log;
use crate::record;
use crate::segment::{self, Header};
use crate::snapshot;
use crate::space::Segment;

/// The segment that is written.
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) file: Box<dyn File>,
    /// What is set aside for it.
    pub(crate) size: u64,
    /// Where the next frame goes.
    pub(crate) tail: u64,
    /// Up to where it is synced; 0 if not even its header is.
    pub(crate) synced: u64,
    pub(crate) index: Index,
}

/// A segment with room set aside and nothing in it.
pub(crate) struct Spare {
    pub(crate) number: u64,
    pub(crate) file: Box<dyn File>,
    pub(crate) size: u64,
    /// Up to where zeros were written.
    pub(crate) zeroed: u64,
}

/// A snapshot goes into every segment as long as it is no larger than this part of one; a larger
/// one when four times as much was logged since. So snapshots take a quarter of the log at most; one
/// whose definitions are many keeps at most eleven times their octets (two snapshots, what follows
/// each, and the next), and has little to read again at a start.
pub(crate) const SNAPSHOT_PART: u64 = 4;

impl Log {
    /// Writes records as one frame; gives the offset of the first. If the disk is full nothing is
    /// changed but, perhaps, the segment that is written; every other error ends the log.
    pub(crate) fn write(&mut self, records: &[u8]) -> Result<u64> {
        let octets = frame::octets(records.len() as u64);
        if self.active.as_ref().is_none_or(|active| active.tail + octets > active.size) {
            self.begin(octets)?;
        }
        let seed = Seed { salt: self.salt, segment: self.active_number() };
        let Some(active) = &mut self.active else { return Err(Error::TooLarge) };
        let offset = active.tail;
        let head = Head::new(records, active.synced, self.sequence, seed, offset);
        let head = head.encode(seed, offset);
        let parts: [&[u8]; 3] = [&head, records, frame::padding(records.len())];
        let written = active.file.write_at(offset, &parts);
        if let Err(error) = written {
            let error = Error::io("write", &active.name, error);
            return Err(self.ended(error));
        }
        active.tail += octets;
        self.sequence += 1;
        self.logged += octets;
        if let Some(segment) = self.state.segments.get_mut(&active.number) {
            segment.length = active.tail;
        }
        Ok(offset + frame::HEAD_OCTETS)
    }

    /// The number of the segment that is written; 0 if there is none.
    pub(crate) fn active_number(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.number)
    }

    /// Sets a segment of the usual size aside to follow, if there is none. Quick: it is for
    /// [`maintain`](Log::maintain) to write zeros to it.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        self.set_aside_room(self.options.segment_octets)
    }

    fn set_aside_room(&mut self, size: u64) -> Result<()> {
        if let Some(spare) = &mut self.spare {
            if spare.size < size {
                let name = segment::name(spare.number);
                let reserved = spare.file.reserve(size);
                reserved.map_err(|error| Error::io("make room for", &name, error))?;
                spare.size = size;
            }
            return Ok(());
        }
        let number = self.next_number;
        let name = segment::name(number);
        self.next_number += 1;
        self.directory_dirty = true;
        let file = self.disk.create(&name).map_err(|error| Error::io("make", &name, error))?;
        if let Err(error) = file.reserve(size) {
            // As it was before, as far as that is possible.
            let _ = self.disk.remove(&name);
            return Err(Error::io("make room for", &name, error));
        }
        self.spare = Some(Spare { number, file, size, zeroed: 0 });
        Ok(())
    }

    /// Sets aside what is needed at least, and more as long as there is room: on a full disk what
    /// little there is has to do for acknowledgements.
    fn set_aside_at_least(&mut self, needed: u64) -> Result<()> {
        let usual = self.options.segment_octets;
        for size in [usual, usual / 8] {
            match self.set_aside_room(size.max(needed)) {
                Err(error) if error.is_full() => {}
                done => return done,
            }
        }
        self.set_aside_room(needed)
    }

    /// Goes on to the next segment, with room for so many octets behind its header and snapshot.
    pub(crate) fn begin(&mut self, octets: u64) -> Result<()> {
        let snapshot = self.snapshot_is_due().then(|| {
            let mut records = Vec::new();
            let previous = self.snapshots.back().copied().unwrap_or(0);
            for queue in self.state.queues.values_mut() {
                let first = queue.first().unwrap_or(queue.next);
                queue.delivered.forget_below(first);
            }
            record::snapshot(&mut records, |out| snapshot::encode(out, &self.state, previous));
            records
        });
        let snapshot_octets =
            snapshot.as_ref().map_or(0, |records| frame::octets(records.len() as u64));
        let start = segment::HEADER_OCTETS + snapshot_octets;
        if start + octets > segment::MAX_OCTETS {
            return Err(Error::TooLarge);
        }
        self.set_aside_at_least(start + octets).map_err(|error| self.ended(error))?;
        self.end_active()?;
        let Some(spare) = self.spare.take() else { return Err(Error::TooLarge) };
        let number = spare.number;
        let (previous, previous_length) = self.previous;
        let (previous, previous_length) = match &self.active {
            Some(active) => (active.number, active.tail),
            None => (previous, previous_length),
        };
        let header = Header { number, salt: self.salt, previous, previous_length };
        let mut start_octets = header.encode();
        if let Some(records) = &snapshot {
            let seed = Seed { salt: self.salt, segment: number };
            let offset = segment::HEADER_OCTETS;
            let head = Head::new(records, 0, self.sequence, seed, offset);
            start_octets.extend_from_slice(&head.encode(seed, offset));
            start_octets.extend_from_slice(records);
            start_octets.extend_from_slice(frame::padding(records.len()));
        }
        if let Err(error) = spare.file.write_at(0, &[&start_octets]) {
            let error = Error::io("write", &segment::name(number), error);
            self.spare = Some(spare);
            return Err(self.ended(error));
        }
        self.seal();
        self.state.segments.insert(number, Segment { length: start, ..Segment::default() });
        if snapshot.is_some() {
            self.sequence += 1;
            self.logged = 0;
            self.snapshot_octets = snapshot_octets;
            self.snapshots.push_back(number);
            while self.snapshots.len() > 2 {
                self.snapshots.pop_front();
            }
        }
        self.active = Some(Active {
            number,
            name: segment::name(number),
            file: spare.file,
            size: spare.size,
            tail: start,
            synced: 0,
            index: Index::default(),
        });
        Ok(())
    }

    /// Syncs the segment that is written, wholly: what is broken in it later is damage. Gives back
    /// what room it has left, in a way that a power cut does not undo.
    fn end_active(&mut self) -> Result<()> {
        if let Some(active) = &mut self.active
            && active.size > active.tail
        {
            if let Err(error) = active.file.truncate(active.tail) {
                let error = Error::io("cut off", &active.name, error);
                return Err(self.ended(error));
            }
            active.size = active.tail;
            active.synced = active.synced.min(active.tail - 1);
        }
        self.sync()
    }

    /// Goes away from the segment that was written, and writes its index.
    fn seal(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        self.previous = (active.number, active.tail);
        active.index.sort();
        self.write_index(active.number, active.tail, &active.index);
        self.shelf.sealed(active.number, active.file, active.index);
    }

    /// Writes the index of a sealed segment. Without one, the segment is read when it is needed.
    pub(crate) fn write_index(&mut self, number: u64, length: u64, index: &Index) {
        if index.len() == 0 {
            return;
        }
        let name = segment::index_name(number);
        let octets = index.encode(number, length);
        self.directory_dirty = true;
        let written = self.disk.create(&name).and_then(|file| file.write_at(0, &[&octets]));
        match written {
            Ok(()) => {
                if let Some(segment) = self.state.segments.get_mut(&number) {
                    segment.index_octets = octets.len() as u64;
                }
            }
            Err(error) => {
                log::warn!("cannot write {name}: {error}");
                let _ = self.disk.remove(&name);
            }
        }
    }

    fn snapshot_is_due(&self) -> bool {
        self.snapshot_octets <= self.options.segment_octets / SNAPSHOT_PART
            || self.logged / SNAPSHOT_PART >= self.snapshot_octets
    }
}
