//! The log: appending, syncing, opening. Loading and housekeeping have files of their own.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Batch, Position, QueueId};
use crate::compaction::Compaction;
use crate::disk::{Disk, Lock};
use crate::error::{Error, Result};
use crate::frame;
use crate::options::Options;
use crate::record::{self, Records};
use crate::recovery::Recovery;
use crate::report::{Finding, Report};
use crate::sealed::Shelf;
use crate::segment;
use crate::state::{Place, State};
use crate::writer::{Active, Spare};

/// The log of a directory. Its calls may block on the disk; see each for what an error leaves.
pub struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) salt: u64,
    pub(crate) state: State,
    /// `None` until there is room for one, if the log was opened on a full disk.
    pub(crate) active: Option<Active>,
    pub(crate) spare: Option<Spare>,
    pub(crate) shelf: Shelf,
    pub(crate) compaction: Option<Compaction>,
    /// The number of the next frame.
    pub(crate) sequence: u64,
    /// The number of the next segment to be prepared.
    pub(crate) next_number: u64,
    /// The segment that was sealed last, and its length.
    pub(crate) previous: (u64, u64),
    /// The segments of the last two snapshots. What is in the first and behind it is kept: if the
    /// second is damaged, it tells all that the second did.
    pub(crate) snapshots: VecDeque<u64>,
    /// The octets of the last snapshot, and those of the frames behind it.
    pub(crate) snapshot_octets: u64,
    pub(crate) logged: u64,
    /// Segments that were found damaged, which the log does not tell of yet.
    pub(crate) found_damaged: Vec<u64>,
    /// Names were changed since the directory was synced.
    pub(crate) directory_dirty: bool,
    /// Why the log takes no more.
    failed: Option<String>,
    _lock: Lock,
}

/// What a log held when it was opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recovered {
    /// All definitions, ordered by key.
    pub definitions: Vec<(Vec<u8>, Vec<u8>)>,
    /// All queues that records were stored about and that were not removed, ordered by id, also
    /// those that are empty. Of one that the definitions do not know (it was transient, say) the
    /// caller says [`Batch::queue_removed`].
    pub queues: Vec<RecoveredQueue>,
    /// Above all ids that were ever used.
    pub next_queue: QueueId,
    /// For the operator.
    pub report: Report,
}

/// A queue that was recovered. Its messages stay on the disk until they are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveredQueue {
    /// Its number.
    pub id: QueueId,
    /// The lowest position that can still be used.
    pub next_position: Position,
    /// All messages below this are loaded as redelivered; a delivery from here on wants a lease.
    pub leased: Position,
    /// How many messages there are.
    pub messages: u64,
    /// What they count for, as [`Batch::message`] said; of damaged ones perhaps too little.
    pub octets: u64,
    /// The position of the first, if there is one.
    pub first: Option<Position>,
}

/// Messages that were loaded.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Load {
    /// In the order of their positions. Empty: there are none from that position on.
    pub messages: Vec<Loaded>,
    /// How many messages were found in between that cannot be read any more. They are gone from
    /// the queue, as if acknowledged; the log's target says at level `error` which.
    pub lost: u64,
}

/// A message that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Its place in the queue.
    pub position: Position,
    /// When it expires, in milliseconds since the epoch; [`NEVER`](crate::NEVER) if it does not.
    pub expires: u64,
    /// As often as [`Batch::returned`] said last.
    pub returns: u32,
    /// Whether it was, or may have been, delivered before the log was opened. (What was delivered
    /// since is known to the caller, who holds those messages.)
    pub redelivered: bool,
    /// Whether it was stored as persistent.
    pub persistent: bool,
    /// The parts that it was stored with, as one.
    pub payload: Bytes,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Octets of messages that are in some queue, counted once, as near as is known without
    /// reading; and of definitions.
    pub live_octets: u64,
    /// Octets of all files of the log.
    pub disk_octets: u64,
    /// Segment files, without the one that is prepared ahead.
    pub segments: u64,
    /// What is free on the disk; `u64::MAX` if the system does not tell.
    pub free_octets: u64,
}

impl Log {
    /// Opens the log on a disk, or makes one on an empty disk; takes the disk's lock. Reads what
    /// the newest snapshot does not tell, at most a few segments; damage is reported and worked
    /// around. Fails if the disk does, or if a file is of a newer version. Does not fail because
    /// the disk is full: then appending does.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Log, Recovered)> {
        let lock = disk.lock()?;
        let mut recovery = Recovery::read(&*disk)?;
        let mut shelf = Shelf::default();
        recovery.restart(&*disk, &mut shelf)?;
        let Recovery { state, report, salt, sequence, next_number, snapshots, .. } = recovery;
        let last = recovery.last;
        let mut log = Log {
            salt: salt.unwrap_or(options.salt),
            state,
            active: None,
            spare: None,
            shelf,
            compaction: None,
            sequence,
            next_number,
            previous: last.as_ref().map_or((0, 0), |last| (last.number, last.length)),
            snapshots: snapshots.into(),
            snapshot_octets: 0,
            logged: 0,
            found_damaged: Vec::new(),
            directory_dirty: true,
            failed: None,
            disk,
            options,
            _lock: lock,
        };
        let mut recovered = log.recovered(report);
        if let Some(last) = last {
            let name = segment::name(last.number);
            let file = log.disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
            let cut = file.length().and_then(|length| match length > last.length {
                true => file.truncate(last.length),
                false => Ok(()),
            });
            cut.map_err(|error| Error::io("cut off", &name, error))?;
            // A killed program may have left it unsynced, and from here on others rely on it.
            file.sync().map_err(|error| Error::io("sync", &name, error))?;
            log.write_index(last.number, last.length, &last.index);
            log.shelf.sealed(last.number, file, last.index);
        }
        for name in recovery.unusable {
            let now = log.set_aside(&name)?;
            recovered.report.findings.push(Finding::SetAside { file: name, now });
        }
        for name in recovery.leftovers {
            log.remove(&name)?;
        }
        if let Some(number) = recovery.spare {
            log.take_spare(number)?;
        }
        match log.begin(frame::octets(1)).and_then(|()| log.note(record::opened)) {
            Ok(()) => log.sync()?,
            Err(error) if error.is_full() => log::warn!("opened, but {error}"),
            Err(error) => return Err(error),
        }
        for finding in &recovered.report.findings {
            match finding {
                Finding::Torn { .. } => log::warn!("{finding}"),
                _ => log::error!("{finding}"),
            }
        }
        Ok((log, recovered))
    }

    /// Writes a batch; it survives a power cut after the next [`sync`](Log::sync). Batches stay in
    /// order. [`Error::Full`] and [`Error::TooLarge`] leave the log as it was; a batch without
    /// messages still finds room when one with messages does not. After any other error the log
    /// takes no more.
    pub fn append(&mut self, batch: &Batch) -> Result<()> {
        self.works()?;
        if batch.too_large {
            return Err(Error::TooLarge);
        }
        if batch.is_empty() {
            return Ok(());
        }
        if batch.messages {
            // What is left on a full disk is for acknowledgements, which make room in the end.
            self.prepare().map_err(|error| self.ended(error))?;
        }
        let base = self.write(&batch.octets)?;
        self.apply(&batch.octets, base);
        if !self.found_damaged.is_empty() {
            self.note_damaged()?;
        }
        Ok(())
    }

    /// So that what is damaged is set aside in the end, not deleted, also after a restart.
    fn note_damaged(&mut self) -> Result<()> {
        let mut records = Vec::new();
        for &segment in &self.found_damaged {
            record::damaged(&mut records, segment);
        }
        match self.write(&records) {
            Ok(_) => self.found_damaged.clear(),
            Err(error) if error.is_full() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Follows records that stand in the segment that is written.
    pub(crate) fn apply(&mut self, records: &[u8], base: u64) {
        let Some(active) = &mut self.active else { return };
        let segment = active.number;
        for record in Records::new(records).flatten() {
            let mut place = Place { segment, base, index: &mut active.index, revive: false };
            if !self.state.apply(&record, &mut place) {
                log::error!("a message's position is not above all others of its queue: left out");
            }
        }
    }

    /// Returns when everything that was appended is safe. After an error the log takes no more,
    /// and nothing that was appended since the last success may be taken for safe.
    pub fn sync(&mut self) -> Result<()> {
        self.works()?;
        if let Some(active) = &mut self.active
            && active.synced < active.tail
        {
            if let Err(error) = active.file.sync() {
                let error = Error::io("sync", &active.name, error);
                return Err(self.ended(error));
            }
            active.synced = active.tail;
        }
        if self.directory_dirty {
            if let Err(error) = self.disk.sync() {
                return Err(self.ended(Error::io("sync", "the directory", error)));
            }
            self.directory_dirty = false;
        }
        Ok(())
    }

    /// An orderly end: syncs, and marks the log as closed. Before it the caller says what exactly
    /// was delivered: [`Batch::leased`] tells how. Dropping a log is a crash without a power cut.
    pub fn close(mut self) -> Result<()> {
        match self.note(record::closed) {
            Err(error) if !error.is_full() => Err(error),
            _ => self.sync(),
        }
    }

    /// How much there is; asks the system what is free. O(segments + definitions).
    pub fn usage(&self) -> Usage {
        let sealed: u64 = self.state.segments.values().map(|segment| segment.disk_octets()).sum();
        let room = self.active.as_ref().map_or(0, |active| active.size - active.tail);
        let spare = self.spare.as_ref().map_or(0, |spare| spare.size);
        Usage {
            live_octets: self.state.live_octets(),
            disk_octets: sealed + room + spare,
            segments: self.state.segments.len() as u64,
            free_octets: self.free_octets().unwrap_or(u64::MAX),
        }
    }

    /// What is free on the disk.
    pub fn free_octets(&self) -> io::Result<u64> {
        self.disk.free()
    }

    /// Writes a record of the log's own.
    fn note(&mut self, record: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.works()?;
        let mut records = Vec::new();
        record(&mut records);
        self.write(&records).map(|_| ())
    }

    pub(crate) fn works(&self) -> Result<()> {
        match &self.failed {
            Some(cause) => Err(Error::Failed { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Takes note of an error of writing or syncing: any but a full disk ends the log.
    pub(crate) fn ended(&mut self, error: Error) -> Error {
        if !error.is_full() && self.failed.is_none() {
            self.failed = Some(error.to_string());
        }
        error
    }

    /// Takes a file away; somebody else may have done so.
    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        self.directory_dirty = true;
        match self.disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.ended(Error::io("remove", name, error)))
            }
            _ => Ok(()),
        }
    }

    /// Gives a file of no use a name that says so, and that no other has.
    pub(crate) fn set_aside(&mut self, name: &str) -> Result<String> {
        let names = self.disk.list();
        let names = names.map_err(|error| Error::io("list", "the directory", error))?;
        let mut now = format!("{name}.damaged");
        let mut count = 1;
        while names.contains(&now) {
            count += 1;
            now = format!("{name}.damaged-{count}");
        }
        self.directory_dirty = true;
        match self.disk.rename(name, &now) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.ended(Error::io("rename", name, error)))
            }
            _ => Ok(now),
        }
    }

    /// Uses the room that a program before this one had set aside. Its number is not used: what
    /// that program may have written there would pass for frames.
    fn take_spare(&mut self, old: u64) -> Result<()> {
        let (old, number) = (segment::name(old), self.next_number);
        let name = segment::name(number);
        self.next_number += 1;
        self.directory_dirty = true;
        let file = self.disk.rename(&old, &name).and_then(|()| self.disk.open(&name));
        let file = file.map_err(|error| Error::io("rename", &old, error))?;
        let size = file.length().map_err(|error| Error::io("read", &name, error))?;
        self.spare = Some(Spare { number, file, size, zeroed: 0 });
        Ok(())
    }

    fn recovered(&self, report: Report) -> Recovered {
        Recovered::of(&self.state, report)
    }
}

impl Recovered {
    fn of(state: &State, report: Report) -> Recovered {
        let definitions = state.definitions.iter();
        let queues = state.queues.iter().map(|(&id, queue)| RecoveredQueue {
            id,
            next_position: queue.next,
            leased: queue.marked(),
            messages: queue.messages,
            octets: queue.octets(),
            first: queue.first(),
        });
        Recovered {
            definitions: definitions.map(|(key, value)| (key.clone(), value.clone())).collect(),
            queues: queues.collect(),
            next_queue: state.next_queue,
            report,
        }
    }
}

/// What [`Log::open`] would find. Nothing is changed, and no lock is taken: a log that is in use
/// can be looked at, and is seen as it was a moment ago.
pub fn inspect(disk: &dyn Disk) -> Result<Recovered> {
    let mut recovery = Recovery::read(disk)?;
    recovery.restart(disk, &mut Shelf::default())?;
    Ok(Recovered::of(&recovery.state, recovery.report))
}
