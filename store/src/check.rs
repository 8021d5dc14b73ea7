//! Reading a whole directory and telling what is in it, without changing anything.

use std::fmt;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::frame::Seed;
use crate::recovery::Recovery;
use crate::report::{Finding, Report};
use crate::sealed::{self, Shelf};
use crate::segment::{self, Found, Header};

/// What is in a log: each file read from its first to its last octet.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Check {
    /// Segments that would be used.
    pub segments: u64,
    /// The octets of all files of the directory.
    pub octets: u64,
    /// Definitions that would be recovered.
    pub definitions: u64,
    /// Queues that would be recovered.
    pub queues: u64,
    /// Messages that would be recovered, counted once in each queue.
    pub messages: u64,
    /// What is not as it should be.
    pub report: Report,
}

/// Reads everything, even what an opening would not need, and holds every checksum. Changes
/// nothing and takes no lock: beside a running broker, what is just being written looks torn.
/// [`Error::NewerVersion`] as at an opening.
pub fn check(disk: &dyn Disk) -> Result<Check> {
    let mut recovery = Recovery::read(disk)?;
    recovery.restart(disk, &mut Shelf::default())?;
    let mut check = Check { segments: recovery.state.segments.len() as u64, ..Check::default() };
    let names = disk.list().map_err(|error| Error::io("list", "the directory", error))?;
    for name in &names {
        let length = disk.open(name).and_then(|file| file.length());
        check.octets += length.map_err(|error| Error::io("read", name, error))?;
    }
    recovery.check_segments(disk, &names)?;
    for name in &recovery.unusable {
        let finding = Finding::SetAside { file: name.clone(), now: format!("{name}.damaged") };
        recovery.report.findings.push(finding);
    }
    check.definitions = recovery.state.definitions.len() as u64;
    check.queues = recovery.state.queues.len() as u64;
    check.messages = recovery.state.queues.values().map(|queue| queue.messages).sum();
    check.report = recovery.report;
    Ok(check)
}

impl Recovery {
    /// Reads the segments that an opening would not read, and all indexes.
    fn check_segments(&mut self, disk: &dyn Disk, names: &[String]) -> Result<()> {
        let read = self.snapshots.last().copied().unwrap_or(0);
        let segments = self.state.segments.iter();
        let lengths: Vec<(u64, u64)> = segments.map(|(&n, segment)| (n, segment.length)).collect();
        for (number, length) in lengths {
            let index_name = segment::index_name(number);
            if names.contains(&index_name) && sealed::read_index(disk, number, length).is_none() {
                self.report.findings.push(Finding::Index { file: index_name });
            }
            if number >= read {
                continue;
            }
            let name = segment::name(number);
            let seed = Seed { salt: self.salt.unwrap_or(0), segment: number };
            let file = disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
            self.report.octets_read += length;
            let (index, mut damage) = sealed::scan(&*file, &name, seed, length)?;
            if !matches!(Header::read(&*file, &name)?, Found::Header(_)) {
                damage.insert(0, (0, segment::HEADER_OCTETS));
            }
            if damage.is_empty() {
                continue;
            }
            for (offset, octets) in damage {
                let file = name.clone();
                self.report.findings.push(Finding::Damaged { file, offset, octets });
            }
            for (queue, messages) in self.state.reconcile(number, &index) {
                self.lost(queue, messages);
            }
        }
        Ok(())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} segments, {} octets", self.segments, self.octets)?;
        writeln!(
            f,
            "{} definitions, {} messages in {} queues",
            self.definitions, self.messages, self.queues
        )?;
        let ended = if self.report.closed { "closed in order" } else { "not closed in order" };
        writeln!(f, "{ended}")?;
        for finding in &self.report.findings {
            writeln!(f, "{finding}")?;
        }
        Ok(())
    }
}
