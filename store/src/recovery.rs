//! Finding out what a directory holds, without changing it: the newest snapshot that is whole, and
//! then what the frames behind it say, up to the first that is not.
//!
//! What is broken at the end of the newest segment was being written when the power failed, and
//! never synced. What is broken anywhere else had been whole, since a segment is synced before the
//! next is begun, and a frame tells what was synced before it: that is damage. It is stepped over.
//! Of a segment that was just being begun nothing may be whole; it goes without a word. But one
//! whose head is lost may look like it: what lies behind tells.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::{Disk, File};
use crate::error::{Error, Result};
use crate::frame::{self, Seed};
use crate::index::Index;
use crate::record::{self, Record, Records};
use crate::report::{Finding, Report};
use crate::segment::{self, Found, Frames, Header};
use crate::snapshot;
use crate::space::Segment;
use crate::state::{Place, State};

/// What was found.
#[derive(Default)]
pub(crate) struct Recovery {
    pub(crate) state: State,
    pub(crate) report: Report,
    /// `None` if no header is left that tells it.
    pub(crate) salt: Option<u64>,
    /// Above those of all frames.
    pub(crate) sequence: u64,
    /// Above those of all files, whatever they hold.
    pub(crate) next_number: u64,
    /// The segment that was written last.
    pub(crate) last: Option<Last>,
    /// Segments that begin with a snapshot: the newest whole one, and the one before.
    pub(crate) snapshots: Vec<u64>,
    /// A segment that was prepared and not begun.
    pub(crate) spare: Option<u64>,
    /// Files that nobody needs.
    pub(crate) leftovers: Vec<String>,
    /// Files of which nothing can be made.
    pub(crate) unusable: Vec<String>,
}

/// The segment that was written last.
pub(crate) struct Last {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) index: Index,
}

/// A segment file that may have to be read.
struct Candidate {
    number: u64,
    name: String,
    file: Box<dyn File>,
    found: Found,
}

impl Recovery {
    /// Reads what has to be read. Fails if the disk does, or if a file is of a newer version.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Recovery> {
        let mut recovery = Recovery::default();
        let names = disk.list().map_err(|error| Error::io("list", "the directory", error))?;
        let numbers = recovery.numbers(&names);
        let (candidates, base) = recovery.candidates(disk, &numbers)?;
        let begins = match base {
            Some(base) => base,
            None => {
                // Nothing, or nothing that is whole: then everything that can be read counts.
                for &number in &numbers {
                    recovery.state.segments.insert(number, Segment::default());
                }
                0
            }
        };
        recovery.state.segments.retain(|number, _| numbers.contains(number));
        recovery.replay(&candidates, base)?;
        recovery.leftovers(&names, &numbers, begins);
        Ok(recovery)
    }

    /// The numbers of all segment files, ascending.
    fn numbers(&mut self, names: &[String]) -> BTreeSet<u64> {
        // Whatever the file is: also one that was set aside.
        let highest = names.iter().filter_map(|name| {
            let digits = name.get(..16)?;
            segment::number_of(digits, "")
        });
        self.next_number = highest.max().map_or(1, |highest| highest.saturating_add(1));
        names.iter().filter_map(|name| segment::number_of(name, ".log")).collect()
    }

    /// The segments from the newest snapshot on, ascending; all if there is none. Takes over the
    /// snapshot's state, and gives its segment.
    fn candidates(
        &mut self,
        disk: &dyn Disk,
        numbers: &BTreeSet<u64>,
    ) -> Result<(Vec<Candidate>, Option<u64>)> {
        let (mut candidates, mut base) = (Vec::new(), None);
        for &number in numbers.iter().rev() {
            let name = segment::name(number);
            let file = disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
            let mut found = Header::read(&*file, &name)?;
            if let Found::Header(header) = found {
                // The salt is the log's; a file that has another, or another's number, is not
                // one that we wrote there.
                if header.number == number && self.salt.is_none_or(|salt| salt == header.salt) {
                    self.salt = Some(header.salt);
                } else {
                    found = Found::Broken;
                }
            }
            if let Found::Header(header) = found
                && let Some((state, previous)) = self.snapshot(&*file, &name, &header)?
            {
                self.state = state;
                self.snapshots =
                    [previous, number].into_iter().filter(|n| numbers.contains(n)).collect();
                base = Some(number);
            }
            candidates.push(Candidate { number, name, file, found });
            if base.is_some() {
                break;
            }
        }
        candidates.reverse();
        Ok((candidates, base))
    }

    /// The snapshot that a segment begins with, if it does and it is whole.
    fn snapshot(
        &mut self,
        file: &dyn File,
        name: &str,
        header: &Header,
    ) -> Result<Option<(State, u64)>> {
        let seed = Seed { salt: header.salt, segment: header.number };
        let mut frames = Frames::new(file, name, seed, None)?;
        let snapshot = match frames.at(segment::HEADER_OCTETS)? {
            Some(frame) => match Records::new(frame.records).next() {
                Some(Ok(Record::Snapshot { state })) => snapshot::decode(state),
                _ => None,
            },
            None => None,
        };
        self.report.octets_read += frames.octets_read;
        Ok(snapshot)
    }

    /// Follows the frames of all candidates, in order.
    fn replay(&mut self, candidates: &[Candidate], base: Option<u64>) -> Result<()> {
        // Where segments end, as their successors tell.
        let mut ends = BTreeMap::new();
        for candidate in candidates {
            if let Found::Header(header) = candidate.found {
                ends.insert(header.previous, header.previous_length);
            }
        }
        let first = candidates.first().map_or(0, |candidate| candidate.number);
        for (&number, &octets) in ends.range(first.max(1)..) {
            if candidates.iter().all(|candidate| candidate.number != number) {
                let file = segment::name(number);
                self.report.findings.push(Finding::Damaged { file, offset: 0, octets });
            }
        }
        self.report.closed = candidates.is_empty();
        for candidate in candidates {
            let number = candidate.number;
            let end = ends.get(&number).copied();
            let Some(salt) = self.salt else {
                self.unknown(candidate)?;
                continue;
            };
            let seed = Seed { salt, segment: number };
            if candidate.found == Found::Blank && end.is_none() {
                // Without a header there may be frames: that costs a short look each time.
                let until = Some(segment::WINDOW);
                let mut begin = Frames::new(&*candidate.file, &candidate.name, seed, until)?;
                if begin.find(segment::HEADER_OCTETS)?.is_none() {
                    self.blank(candidate);
                    continue;
                }
            }
            let mut frames = Frames::new(&*candidate.file, &candidate.name, seed, end)?;
            let mut scan = Scan {
                state: &mut self.state,
                report: &mut self.report,
                sequence: &mut self.sequence,
                name: &candidate.name,
                number,
                end,
                revive: base.is_none(),
                index: Index::default(),
                damaged: false,
                torn: false,
                whole: 0,
                synced: end.unwrap_or(0),
            };
            let length = scan.frames(&mut frames)?;
            // A header that was never synced may be torn, and frames behind it whole.
            if !matches!(candidate.found, Found::Header(_)) && scan.synced > 0 {
                scan.found_damage(0, segment::HEADER_OCTETS);
            }
            let Scan { mut index, damaged, torn, whole, .. } = scan;
            let has_frames = whole > 0 || frames.find(segment::HEADER_OCTETS)?.is_some();
            self.report.octets_read += frames.octets_read;
            if torn && has_frames {
                let file = candidate.name.clone();
                self.report.findings.push(Finding::Torn { file, offset: length });
            }
            if whole == 0 && end.is_none() {
                self.unfinished(candidate, salt)?;
                continue;
            }
            let segment = self.state.segments.entry(number).or_default();
            segment.length = length;
            segment.damaged |= damaged;
            index.sort();
            self.last = Some(Last { number, length, index });
        }
        Ok(())
    }

    /// A segment of a log that has no header left, or had none yet.
    fn unknown(&mut self, candidate: &Candidate) -> Result<()> {
        let Candidate { number, name, file, found } = candidate;
        let seed = Seed { salt: 0, segment: *number };
        let mut frames = Frames::new(&**file, name, seed, None)?;
        let is_empty = frames.are_zeros(first_message())?;
        match found {
            Found::Blank if is_empty => self.blank(candidate),
            _ => {
                self.state.segments.remove(number);
                match is_empty {
                    true => self.leftovers.push(name.clone()),
                    false => self.unusable.push(name.clone()),
                }
            }
        }
        Ok(())
    }

    /// The newest segment, of which no frame counts: it was just being begun, unless its begin is
    /// none of ours.
    fn unfinished(&mut self, candidate: &Candidate, salt: u64) -> Result<()> {
        let Candidate { number, name, file, found } = candidate;
        let (previous, previous_length) =
            self.last.as_ref().map_or((0, 0), |last| (last.number, last.length));
        let header = Header { number: *number, salt, previous, previous_length };
        let is_ours = *found != Found::Broken || header.was_being_written(&**file, name)?;
        self.state.segments.remove(number);
        match is_ours {
            true => self.leftovers.push(name.clone()),
            false => self.unusable.push(name.clone()),
        }
        Ok(())
    }

    fn blank(&mut self, candidate: &Candidate) {
        self.state.segments.remove(&candidate.number);
        if let Some(other) = self.spare.replace(candidate.number) {
            self.leftovers.push(segment::name(other));
        }
    }

    /// What the snapshot does not know of, and is older than it, was deleted once.
    fn leftovers(&mut self, names: &[String], numbers: &BTreeSet<u64>, begins: u64) {
        let known = |number: &u64| self.state.segments.contains_key(number);
        for number in numbers.iter().filter(|number| **number < begins && !known(number)) {
            self.leftovers.push(segment::name(*number));
        }
        for name in names {
            if segment::number_of(name, ".idx").is_some_and(|number| !known(&number)) {
                self.leftovers.push(name.clone());
            }
        }
    }
}

/// The least offset of a message in the first segment of a log: it begins with a header, a snapshot
/// of nothing, and the note that it was opened, all of which is synced before anything else is
/// stored.
fn first_message() -> u64 {
    let mut snapshot = Vec::new();
    record::snapshot(&mut snapshot, |out| snapshot::encode(out, &State::default(), 0));
    segment::HEADER_OCTETS + frame::octets(snapshot.len() as u64) + frame::octets(1)
}

/// Reads one segment.
struct Scan<'a> {
    state: &'a mut State,
    report: &'a mut Report,
    sequence: &'a mut u64,
    name: &'a str,
    number: u64,
    /// Where the segment ends; `None` if it is the newest, whose end may be torn.
    end: Option<u64>,
    revive: bool,
    index: Index,
    damaged: bool,
    /// There is something behind its end.
    torn: bool,
    /// How many frames were whole.
    whole: u64,
    /// How much of it is known to have been synced.
    synced: u64,
}

impl Scan<'_> {
    /// Follows all frames; gives where they end.
    fn frames(&mut self, frames: &mut Frames<'_>) -> Result<u64> {
        let mut offset = segment::HEADER_OCTETS;
        loop {
            if let Some(frame) = frames.at(offset)? {
                let octets = frame::octets(frame.records.len() as u64);
                *self.sequence = (*self.sequence).max(frame.head.sequence.saturating_add(1));
                self.synced = self.synced.max(frame.head.synced.into());
                self.whole += 1;
                if !self.apply(frame.records, offset) {
                    self.found_damage(offset, octets);
                }
                offset += octets;
                continue;
            }
            if self.end.is_some_and(|end| offset >= end) {
                return Ok(offset);
            }
            match self.step_over(frames, offset)? {
                Some(next) => {
                    self.found_damage(offset, next - offset);
                    offset = next;
                }
                None => match self.end {
                    Some(end) => {
                        self.found_damage(offset, end - offset);
                        return Ok(end);
                    }
                    None => {
                        self.torn = !frames.are_zeros(offset)?;
                        return Ok(offset);
                    }
                },
            }
        }
    }

    /// Where the frames go on behind something that is none, if that was synced once.
    fn step_over(&self, frames: &mut Frames<'_>, offset: u64) -> Result<Option<u64>> {
        let Some((next, mut head)) = frames.find(offset + frame::ALIGNMENT)? else {
            return Ok(None);
        };
        let mut at = next;
        while self.end.is_none() && u64::from(head.synced) <= offset {
            let behind = at + frame::octets(head.length.into());
            match frames.find(behind)? {
                Some(found) => (at, head) = found,
                None => return Ok(None),
            }
        }
        Ok(Some(next))
    }

    fn found_damage(&mut self, offset: u64, octets: u64) {
        self.damaged = true;
        let file = self.name.to_owned();
        self.report.findings.push(Finding::Damaged { file, offset, octets });
    }

    /// Does what the records of a frame say, all of them or, if one is malformed, none.
    fn apply(&mut self, records: &[u8], offset: u64) -> bool {
        let records = Records::new(records);
        if !records.are_whole() {
            return false;
        }
        for record in records.flatten() {
            self.report.closed = matches!(record, Record::Closed);
            let mut place = Place {
                segment: self.number,
                base: offset + frame::HEAD_OCTETS,
                index: &mut self.index,
                revive: self.revive,
            };
            self.state.apply(&record, &mut place);
        }
        true
    }
}
