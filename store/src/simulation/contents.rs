//! What a simulated disk holds, what of that a power cut leaves for certain, and leaving it.

use std::collections::BTreeMap;
use std::io;

#[derive(Debug)]
pub(super) struct Contents {
    pub(super) random: u64,
    /// What programs see, and what a power cut leaves for certain.
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    /// Changes to names that were not synced, in order.
    pub(super) pending: Vec<Change>,
    /// All files that ever were; one that has no name is empty.
    pub(super) files: Vec<Inode>,
    pub(super) capacity: u64,
    /// Grows at a crash: what was opened before is of no use.
    pub(super) life: u64,
    pub(super) locked: bool,
    pub(super) operations: u64,
    /// The number of the operation in which the power fails.
    pub(super) cut_at: Option<u64>,
    pub(super) fail_syncs: u64,
    pub(super) fail_writes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) octets: Vec<u8>,
    /// What a power cut leaves for certain.
    pub(super) durable: Vec<u8>,
    /// What was done since the last sync, in order.
    pub(super) pending: Vec<Effect>,
}

#[derive(Debug, Clone)]
pub(super) enum Effect {
    Write {
        offset: usize,
        octets: Vec<u8>,
        /// A sync of it has failed: no later one writes it.
        lost: bool,
    },
    Length(usize),
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Named(String, usize),
    Removed(String),
    Renamed(String, String),
}

/// What is kept or lost together: a disk's sector.
const SECTOR: usize = 512;

pub(super) fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl Contents {
    pub(super) fn new(seed: u64) -> Contents {
        Contents {
            random: seed,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            files: Vec::new(),
            capacity: u64::MAX,
            life: 0,
            locked: false,
            operations: 0,
            cut_at: None,
            fail_syncs: 0,
            fail_writes: 0,
        }
    }

    /// xorshift64*, after the seed was spread by a step of splitmix64.
    pub(super) fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    pub(super) fn used(&self) -> u64 {
        self.names.values().map(|&inode| self.files[inode].octets.len() as u64).sum()
    }

    pub(super) fn has_power(&self) -> io::Result<()> {
        match self.cut_at {
            Some(cut) if self.operations > cut => Err(power_is_off()),
            _ => Ok(()),
        }
    }

    /// Counts an operation. `Ok(true)` if the power fails in the middle of it.
    pub(super) fn operation(&mut self) -> io::Result<bool> {
        self.has_power()?;
        let cut = self.cut_at == Some(self.operations);
        self.operations += 1;
        Ok(cut)
    }

    pub(super) fn room_for(&self, more: u64) -> io::Result<()> {
        if self.used().saturating_add(more) > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(super) fn end_life(&mut self) {
        self.life += 1;
        self.locked = false;
        self.cut_at = None;
        self.fail_syncs = 0;
        self.fail_writes = 0;
    }

    pub(super) fn crash(&mut self) {
        self.end_life();
        for change in std::mem::take(&mut self.pending) {
            if self.draw(2) == 0 {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        // One temper for the whole crash, so that all and nothing are as likely as a mixture.
        let temper = self.draw(4);
        for inode in 0..self.files.len() {
            let mut octets = std::mem::take(&mut self.files[inode].durable);
            for effect in std::mem::take(&mut self.files[inode].pending) {
                self.leave(effect, temper, &mut octets);
            }
            self.files[inode].octets = octets.clone();
            self.files[inode].durable = octets;
        }
        let named: Vec<usize> = self.names.values().copied().collect();
        for (inode, file) in self.files.iter_mut().enumerate() {
            if !named.contains(&inode) {
                *file = Inode::default();
            }
        }
    }

    /// What a crash leaves of something that was not synced.
    fn leave(&mut self, effect: Effect, temper: u64, octets: &mut Vec<u8>) {
        match effect {
            Effect::Length(length) => {
                if self.draw(2) == 0 {
                    octets.resize(length, 0);
                }
            }
            Effect::Write { lost: true, .. } => {}
            Effect::Write { offset, octets: written, .. } => {
                let mut from = 0;
                while from < written.len() {
                    // To the end of the sector, and sometimes torn within it.
                    let sector = SECTOR - (offset + from) % SECTOR;
                    let mut to = (from + sector).min(written.len());
                    if self.draw(16) == 0 {
                        to = from + 1 + self.draw((to - from) as u64) as usize;
                    }
                    let keep = match temper {
                        0 => true,
                        1 => self.draw(2) == 0,
                        2 => self.draw(20) != 0,
                        _ => false,
                    };
                    if keep {
                        overwrite(octets, offset + from, &written[from..to.min(written.len())]);
                    }
                    from = to;
                }
            }
        }
    }
}

pub(super) fn overwrite(octets: &mut Vec<u8>, offset: usize, with: &[u8]) {
    let end = offset + with.len();
    if octets.len() < end {
        octets.resize(end, 0);
    }
    octets[offset..end].copy_from_slice(with);
}

impl Change {
    pub(super) fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Named(name, inode) => {
                names.insert(name, inode);
            }
            Change::Removed(name) => {
                names.remove(&name);
            }
            Change::Renamed(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
        }
    }
}
