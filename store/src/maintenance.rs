//! Housekeeping, a step at a time: the next segment is prepared, those that nobody needs are
//! deleted, and what is left of sparse ones is copied to the segment that is written.

use crate::compaction::Compaction;
use crate::error::{Error, Result};
use crate::frame::{self, Seed};
use crate::log::Log;
use crate::segment;
use crate::writer::SNAPSHOT_PART;

/// Zeros that a step writes to the segment that is prepared, and syncs: at the end would be a sync
/// of all of them, for which others would have to wait.
const ZEROED: u64 = 1 << 20;
/// Files that a step deletes.
const DELETED: usize = 16;

impl Log {
    /// One step of housekeeping: prepares the next segment, deletes those that nobody needs,
    /// rewrites what is left of sparse ones, about a MiB at a time. To be called again at once
    /// if true, and else after more was appended. A full disk is no error; others are as with
    /// [`append`](Log::append).
    pub fn maintain(&mut self) -> Result<bool> {
        self.works()?;
        match self.step() {
            Err(error) if error.is_full() => {
                log::debug!("housekeeping waits: {error}");
                Ok(false)
            }
            done => done,
        }
    }

    fn step(&mut self) -> Result<bool> {
        if self.delete()? {
            return Ok(true);
        }
        if self.active.is_none() {
            self.begin(frame::octets(1))?;
            return Ok(true);
        }
        // Not while the disk is full: compaction, which may make room, has to go on.
        let prepared = match self.zero() {
            Err(error) if error.is_full() => false,
            done => done.map_err(|error| self.ended(error))?,
        };
        if prepared {
            return Ok(true);
        }
        self.compact()
    }

    /// Prepares the segment that follows. Blocks that were never written are marked so by file
    /// systems, and the mark is metadata that each sync of them would have to change: zeros that
    /// are written before make those syncs cheaper.
    fn zero(&mut self) -> Result<bool> {
        if self.spare.is_none() {
            self.prepare().map_err(|error| self.ended(error))?;
            return Ok(true);
        }
        let Some(spare) = &mut self.spare else { return Ok(false) };
        if spare.zeroed >= spare.size {
            return Ok(false);
        }
        let end = spare.size.min(spare.zeroed + ZEROED);
        let zeros = [0; 64 << 10];
        while spare.zeroed < end {
            let count = zeros.len().min((end - spare.zeroed) as usize);
            let written = spare.file.write_at(spare.zeroed, &[&zeros[..count]]);
            let name = || segment::name(spare.number);
            written.map_err(|error| Error::io("write", &name(), error))?;
            spare.zeroed += count as u64;
        }
        let synced = spare.file.sync();
        synced.map_err(|error| Error::io("sync", &segment::name(spare.number), error))?;
        Ok(true)
    }

    /// Segments before this one have been told of by two snapshots.
    pub(crate) fn oldest_needed(&self) -> u64 {
        match self.snapshots.len() {
            2 => self.snapshots[0],
            _ => 0,
        }
    }

    /// Deletes segments without a live message, and sets damaged ones aside.
    fn delete(&mut self) -> Result<bool> {
        let needed = self.oldest_needed();
        let old = self.state.segments.range(..needed);
        let dead = old.filter(|(_, segment)| segment.live == 0).take(DELETED);
        let dead: Vec<(u64, bool)> =
            dead.map(|(&number, segment)| (number, segment.damaged)).collect();
        if dead.is_empty() {
            return Ok(false);
        }
        // What made them empty must not be lost while they are, nor the newer snapshot.
        self.sync()?;
        for (number, damaged) in dead {
            self.shelf.forget(number);
            self.state.segments.remove(&number);
            // Also if none is known of: it may have been written after the snapshot that tells.
            self.remove(&segment::index_name(number))?;
            let name = segment::name(number);
            if damaged {
                let now = self.set_aside(&name)?;
                log::error!("{name}: damaged, and not needed any more: kept as {now}");
            } else {
                self.remove(&name)?;
            }
        }
        Ok(true)
    }

    /// Copies a part of a sparse segment, or looks for one.
    fn compact(&mut self) -> Result<bool> {
        if let Some(mut compaction) = self.compaction.take() {
            let more = self.copy(&mut compaction);
            // Also after an error, such as a full disk: it goes on from where it was.
            if !matches!(more, Ok(false)) {
                self.compaction = Some(compaction);
            }
            return more.map(|_| true);
        }
        let needed = self.oldest_needed();
        let old = || self.state.segments.range(..needed).filter(|(_, segment)| segment.live > 0);
        if let Some((&number, _)) = old().find(|(_, segment)| segment.wants_counting()) {
            self.recount(number)?;
            return Ok(true);
        }
        // What is copied goes to segments that begin with a snapshot, too, or is followed by a large
        // one: no room is to be had there, and to look for it would never end.
        let large = self.snapshot_octets > self.options.segment_octets / SNAPSHOT_PART;
        let snapshots = |octets| if large { octets / SNAPSHOT_PART } else { self.snapshot_octets };
        let (mut disk, mut live, mut count) = (0, 0, 0);
        for (_, segment) in old() {
            disk += segment.disk_octets();
            let start = segment::HEADER_OCTETS + snapshots(segment.octets);
            live += (segment.octets + start).min(segment.disk_octets());
            count += 1;
        }
        // One and a half times what is live is the bound for these: with the newest segments, and
        // what messages take beside their bodies, it is less than twice the bodies as soon as
        // there are some hundred MiB. And a log that is opened often shall not end in a thousand
        // small files.
        let sparse = 2 * disk > 3 * live;
        let many = count > 8 + 2 * disk / self.options.segment_octets;
        if !sparse && !many {
            return Ok(false);
        }
        let dead = |disk: u64, live: u64| {
            (u128::from(disk - live.min(disk)) << 32) / u128::from(disk.max(1))
        };
        let chosen = match sparse {
            true => old().max_by_key(|(_, segment)| dead(segment.disk_octets(), segment.octets)),
            false => old().min_by_key(|(_, segment)| segment.disk_octets()),
        };
        let Some((&number, _)) = chosen else { return Ok(false) };
        self.recount(number)?;
        self.compaction = self.plan(number)?;
        Ok(true)
    }

    /// Counts what is live in a sealed segment.
    fn recount(&mut self, number: u64) -> Result<()> {
        let length = self.state.segments.get(&number).map_or(0, |segment| segment.length);
        let seed = Seed { salt: self.salt, segment: number };
        let sealed = self.shelf.get(&*self.disk, seed, length)?;
        if std::mem::take(&mut sealed.damaged) {
            self.damaged_index(number, 0);
        }
        if let Some(index) = self.shelf.index(number) {
            self.state.recount(number, index, false);
        }
        Ok(())
    }

    fn plan(&mut self, number: u64) -> Result<Option<Compaction>> {
        let length = self.state.segments.get(&number).map_or(0, |segment| segment.length);
        let seed = Seed { salt: self.salt, segment: number };
        let sealed = self.shelf.get(&*self.disk, seed, length)?;
        Ok(Some(Compaction::of(number, &sealed.index, &self.state)))
    }
}
