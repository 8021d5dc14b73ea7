//! A disk in memory that loses, at a power cut, whatever a real one may lose: unsynced writes
//! wholly, in part, and in any order; names that were not synced. It fails when it is told to.
//!
//! It is seeded: the same calls on a disk of the same seed end in the same way.

mod contents;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, File, Lock};
use crate::error::{Error, Result};
use contents::{Change, Contents, Effect, Inode, overwrite, power_is_off};

/// A disk that does what its seed says. A clone is the same disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    shared: Arc<Mutex<Contents>>,
}

impl SimulatedDisk {
    /// An empty disk without a limit.
    pub fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk { shared: Arc::new(Mutex::new(Contents::new(seed))) }
    }

    /// The power fails and comes back: of what was not synced, each piece is kept, lost or torn
    /// as the seed says. Whoever had the disk open has lost it: their files and their lock are of
    /// no use. What was ordered to fail is forgotten, the capacity is not.
    pub fn crash(&self) {
        self.contents().crash();
    }

    /// The program is killed, and the disk goes on: nothing is lost, but files and lock are of no
    /// use any more.
    pub fn kill(&self) {
        self.contents().end_life();
    }

    /// The power fails in the middle of the operation after the next `operations`, of those that
    /// change or sync something: that one is done in part, and all that follow fail, until
    /// [`crash`](SimulatedDisk::crash).
    pub fn cut_power_after(&self, operations: u64) {
        let mut contents = self.contents();
        contents.cut_at = Some(contents.operations + operations);
    }

    /// How many operations changed or synced something so far.
    pub fn operations(&self) -> u64 {
        self.contents().operations
    }

    /// The next syncs fail, so many. What they should have made safe is lost at the next crash,
    /// even if a later sync succeeds: so do systems behave.
    pub fn fail_syncs(&self, count: u64) {
        self.contents().fail_syncs = count;
    }

    /// The next writes fail, so many, after a part of each is done.
    pub fn fail_writes(&self, count: u64) {
        self.contents().fail_writes = count;
    }

    /// The octets that all files together may have; `u64::MAX`, as at first, for no limit.
    pub fn set_capacity(&self, octets: u64) {
        self.contents().capacity = octets;
    }

    /// The octets of all files together.
    pub fn used(&self) -> u64 {
        self.contents().used()
    }

    /// What is in a file, if it is there.
    pub fn contents_of(&self, name: &str) -> Option<Vec<u8>> {
        let contents = self.contents();
        contents.names.get(name).map(|&inode| contents.files[inode].octets.clone())
    }

    /// Puts a file there, durably, in place of one with the name: for tests of damage.
    pub fn put(&self, name: &str, octets: &[u8]) {
        let mut contents = self.contents();
        let inode = contents.files.len();
        contents.files.push(Inode {
            octets: octets.to_vec(),
            durable: octets.to_vec(),
            pending: Vec::new(),
        });
        contents.names.insert(name.to_owned(), inode);
        contents.durable_names.insert(name.to_owned(), inode);
    }

    /// A copy of the disk as it is, for another story from here on.
    pub fn copy(&self, seed: u64) -> SimulatedDisk {
        let copy = SimulatedDisk::new(seed);
        let contents = self.contents();
        for (name, &inode) in &contents.names {
            copy.put(name, &contents.files[inode].octets);
        }
        drop(contents);
        copy
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A panic elsewhere leaves nothing half done in here.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: usize, life: u64) -> Box<dyn File> {
        Box::new(SimulatedFile { disk: self.clone(), inode, life })
    }
}

impl Disk for SimulatedDisk {
    fn lock(&self) -> Result<Lock> {
        let mut contents = self.contents();
        if contents.locked {
            return Err(Error::InUse {
                directory: PathBuf::from("a simulated disk"),
                owner: String::new(),
            });
        }
        contents.locked = true;
        Ok(Box::new(SimulatedLock { disk: self.clone(), life: contents.life }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let contents = self.contents();
        contents.has_power()?;
        Ok(contents.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let contents = self.contents();
        contents.has_power()?;
        let inode = contents.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(*inode, contents.life))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut contents = self.contents();
        let cut = contents.operation()?;
        // One that is there is emptied by giving its name to another.
        let inode = contents.files.len();
        contents.files.push(Inode::default());
        contents.names.insert(name.to_owned(), inode);
        contents.pending.push(Change::Named(name.to_owned(), inode));
        if cut { Err(power_is_off()) } else { Ok(self.file(inode, contents.life)) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(Change::Removed(name.to_owned()), name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Change::Renamed(from.to_owned(), to.to_owned()), from)
    }

    fn sync(&self) -> io::Result<()> {
        let mut contents = self.contents();
        let cut = contents.operation()?;
        if contents.fail_syncs > 0 {
            contents.fail_syncs -= 1;
            return Err(io::Error::other("a sync that was ordered to fail"));
        }
        if cut {
            return Err(power_is_off());
        }
        contents.pending.clear();
        contents.durable_names = contents.names.clone();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let contents = self.contents();
        Ok(contents.capacity.saturating_sub(contents.used()))
    }
}

impl SimulatedDisk {
    fn change(&self, change: Change, name: &str) -> io::Result<()> {
        let mut contents = self.contents();
        let cut = contents.operation()?;
        if !contents.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        change.clone().apply(&mut contents.names);
        contents.pending.push(change);
        if cut { Err(power_is_off()) } else { Ok(()) }
    }
}

struct SimulatedLock {
    disk: SimulatedDisk,
    life: u64,
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut contents = self.disk.contents();
        if contents.life == self.life {
            contents.locked = false;
        }
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
    life: u64,
}

impl SimulatedFile {
    fn contents(&self) -> io::Result<MutexGuard<'_, Contents>> {
        let contents = self.disk.contents();
        contents.has_power()?;
        if contents.life != self.life {
            return Err(io::Error::other("this file was opened before a crash"));
        }
        Ok(contents)
    }
}

impl File for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.contents()?.files[self.inode].octets.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let contents = self.contents()?;
        let octets = &contents.files[self.inode].octets;
        let from = (offset as usize).min(octets.len());
        let count = into.len().min(octets.len() - from);
        into[..count].copy_from_slice(&octets[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut contents = self.contents()?;
        let cut = contents.operation()?;
        let octets = parts.concat();
        let fails = contents.fail_writes > 0;
        contents.fail_writes = contents.fail_writes.saturating_sub(1);
        let end = offset as usize + octets.len();
        let length = contents.files[self.inode].octets.len();
        let room = contents.room_for(end.saturating_sub(length) as u64);
        let mut count = octets.len();
        if cut || fails || room.is_err() {
            count = contents.draw(count as u64) as usize;
            // What does not fit is not there, even in part.
            count = if room.is_err() {
                count.min(length.saturating_sub(offset as usize))
            } else {
                count
            };
        }
        let written = octets[..count].to_vec();
        let file = &mut contents.files[self.inode];
        if !written.is_empty() {
            overwrite(&mut file.octets, offset as usize, &written);
            let offset = offset as usize;
            file.pending.push(Effect::Write { offset, octets: written, lost: false });
        }
        if cut {
            return Err(power_is_off());
        }
        if fails {
            return Err(io::Error::other("a write that was ordered to fail"));
        }
        room
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        let mut contents = self.contents()?;
        let cut = contents.operation()?;
        let now = contents.files[self.inode].octets.len() as u64;
        contents.room_for(length.saturating_sub(now))?;
        if length > now {
            let file = &mut contents.files[self.inode];
            file.octets.resize(length as usize, 0);
            file.pending.push(Effect::Length(length as usize));
        }
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut contents = self.contents()?;
        let cut = contents.operation()?;
        let file = &mut contents.files[self.inode];
        file.octets.truncate(length as usize);
        file.pending.push(Effect::Length(length as usize));
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut contents = self.contents()?;
        let cut = contents.operation()?;
        let fails = contents.fail_syncs > 0;
        contents.fail_syncs = contents.fail_syncs.saturating_sub(1);
        let file = &mut contents.files[self.inode];
        if fails {
            for effect in &mut file.pending {
                if let Effect::Write { lost, .. } = effect {
                    *lost = true;
                }
            }
            return Err(io::Error::other("a sync that was ordered to fail"));
        }
        if cut {
            return Err(power_is_off());
        }
        // What a failed sync lost stays lost; the rest is made safe around it.
        for effect in std::mem::take(&mut file.pending) {
            match effect {
                Effect::Write { lost: true, .. } => file.pending.push(effect),
                Effect::Write { offset, octets, .. } => {
                    overwrite(&mut file.durable, offset, &octets);
                }
                Effect::Length(length) => file.durable.resize(length, 0),
            }
        }
        Ok(())
    }
}
