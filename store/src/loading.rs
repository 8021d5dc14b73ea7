//! Loading messages of a queue: from their runs to segments, from indexes to offsets, and as few
//! reads as that allows.

use bytes::Bytes;

use crate::batch::{Position, QueueId};
use crate::disk::File;
use crate::error::{Error, Result};
use crate::frame::Seed;
use crate::index::{Entry, Index};
use crate::log::{Load, Loaded, Log};
use crate::segment;

/// So much is read at once, and what lies between two messages is read too if it is no more
/// than the second.
const READ_OCTETS: u64 = 1 << 20;
const GAP_OCTETS: u64 = 16 << 10;

/// What is to be loaded: segments, with entries in the order of their positions.
type Selection = Vec<(u64, Entry)>;

/// What came of choosing.
enum Chosen {
    Entries(Selection),
    /// The index of this segment had to be made again, and not all of it could be read.
    Damaged(u64),
}

impl Log {
    /// The messages of a queue from a position on, in order: at most `max_messages` with at most
    /// `max_octets` of payload, but at least one, if there is one. Those that were appended and
    /// not synced are found too. An error that comes of reading leaves the log usable.
    pub fn load(
        &mut self,
        queue: QueueId,
        from: Position,
        max_messages: usize,
        max_octets: usize,
    ) -> Result<Load> {
        let mut load = Load::default();
        loop {
            let selection = self.select(queue, from, max_messages, max_octets, &mut load.lost)?;
            if selection.is_empty() {
                return Ok(load);
            }
            for part in selection.chunk_by(|one, next| one.0 == next.0) {
                self.read(queue, part, &mut load)?;
            }
            // If nothing of it could be read, what follows may be.
            if !load.messages.is_empty() {
                return Ok(load);
            }
        }
    }

    /// Chooses what to load. Counts those that turn out to be lost.
    fn select(
        &mut self,
        queue: QueueId,
        from: Position,
        max_messages: usize,
        max_octets: usize,
        lost: &mut u64,
    ) -> Result<Selection> {
        loop {
            match self.choose(queue, from, max_messages, max_octets)? {
                Chosen::Entries(selection) => return Ok(selection),
                Chosen::Damaged(number) => *lost += self.damaged_index(number, queue),
            }
        }
    }

    fn choose(
        &mut self,
        id: QueueId,
        from: Position,
        max_messages: usize,
        max_octets: usize,
    ) -> Result<Chosen> {
        let mut selection = Selection::new();
        let mut octets = 0;
        let Some(queue) = self.state.queues.get(&id) else {
            return Ok(Chosen::Entries(selection));
        };
        for run in queue.runs.from(from) {
            let number = run.segment;
            let index = match &mut self.active {
                Some(active) if active.number == number => {
                    active.index.sort();
                    &active.index
                }
                _ => {
                    let length = self.state.segments.get(&number).map_or(0, |s| s.length);
                    let seed = Seed { salt: self.salt, segment: number };
                    let sealed = self.shelf.get(&*self.disk, seed, length)?;
                    if std::mem::take(&mut sealed.damaged) {
                        return Ok(Chosen::Damaged(number));
                    }
                    &sealed.index
                }
            };
            let entries = index.of(id);
            let start = from.max(run.first);
            let place = entries.partition_point(|entry| entry.position < start);
            for entry in entries[place..].iter().take_while(|e| e.position <= run.last) {
                if queue.gone.contains(entry.position) {
                    continue;
                }
                octets += entry.length as usize;
                let room = selection.len() < max_messages && octets <= max_octets;
                if !room && !selection.is_empty() {
                    return Ok(Chosen::Entries(selection));
                }
                selection.push((number, *entry));
            }
        }
        Ok(Chosen::Entries(selection))
    }

    /// An index was made from a segment that is damaged: what it does not know is lost. Gives how
    /// many messages the queue loses by it.
    pub(crate) fn damaged_index(&mut self, number: u64, queue: QueueId) -> u64 {
        self.found_damaged.push(number);
        let none = Index::default();
        let index = self.shelf.index(number).unwrap_or(&none);
        let lost = self.state.reconcile(number, index);
        let name = segment::name(number);
        for (queue, messages) in &lost {
            log::error!("{name} is damaged: {messages} messages of queue {queue} are lost");
        }
        lost.iter().filter(|(of, _)| *of == queue).map(|(_, messages)| messages).sum()
    }

    /// Reads what was chosen of one segment.
    fn read(&mut self, id: QueueId, part: &[(u64, Entry)], load: &mut Load) -> Result<()> {
        let number = part[0].0;
        let entries: Vec<Entry> = part.iter().map(|&(_, entry)| entry).collect();
        let payloads = self.payloads(number, &entries)?;
        let Some(queue) = self.state.queues.get(&id) else { return Ok(()) };
        let mut damaged = Vec::new();
        for (entry, payload) in entries.iter().zip(payloads) {
            let position = entry.position;
            let Some(payload) = payload else {
                damaged.push(position);
                continue;
            };
            load.messages.push(Loaded {
                position,
                expires: entry.expires,
                returns: queue.returns.get(&position).copied().unwrap_or(0),
                redelivered: queue.delivered.contains(position),
                persistent: entry.persistent,
                payload,
            });
        }
        for position in damaged {
            load.lost += self.damaged_message(number, id, position);
        }
        Ok(())
    }

    /// A message cannot be read: it is gone.
    pub(crate) fn damaged_message(&mut self, number: u64, queue: QueueId, at: Position) -> u64 {
        let name = segment::name(number);
        log::error!("{name} is damaged: message {at} of queue {queue} is lost");
        if let Some(segment) = self.state.segments.get_mut(&number)
            && !segment.damaged
        {
            segment.damaged = true;
            self.found_damaged.push(number);
        }
        self.state.acknowledged(queue, at, at)
    }

    /// The payloads of entries of a segment; `None` for each that is not as it was written.
    pub(crate) fn payloads(
        &mut self,
        number: u64,
        entries: &[Entry],
    ) -> Result<Vec<Option<Bytes>>> {
        let name = segment::name(number);
        match &self.active {
            Some(active) if active.number == number => read_payloads(&*active.file, &name, entries),
            _ => {
                let length = self.state.segments.get(&number).map_or(0, |segment| segment.length);
                let seed = Seed { salt: self.salt, segment: number };
                match &self.shelf.get(&*self.disk, seed, length)?.file {
                    Some(file) => read_payloads(&**file, &name, entries),
                    None => Ok(vec![None; entries.len()]),
                }
            }
        }
    }
}

fn read_payloads(file: &dyn File, name: &str, entries: &[Entry]) -> Result<Vec<Option<Bytes>>> {
    let mut payloads = Vec::with_capacity(entries.len());
    // No index is believed beyond the end of the file.
    let length = file.length().map_err(|error| Error::io("read", name, error))?;
    let mut rest = entries;
    let mut buffer = Vec::new();
    while let Some(first) = rest.first() {
        let start = u64::from(first.offset);
        let mut end = start + u64::from(first.length);
        let near = |end: &mut u64, entry: &Entry| {
            let (from, to) =
                (u64::from(entry.offset), u64::from(entry.offset) + u64::from(entry.length));
            let together = from >= *end && from - *end <= GAP_OCTETS && to - start <= READ_OCTETS;
            if together {
                *end = to;
            }
            together
        };
        let count = 1 + rest[1..].iter().take_while(|entry| near(&mut end, entry)).count();
        let (together, others) = rest.split_at(count);
        rest = others;
        buffer.resize(end.min(length).saturating_sub(start) as usize, 0);
        let read = file.read_at(start, &mut buffer);
        let read = read.map_err(|error| Error::io("read", name, error))?;
        let whole = |entry: &Entry| {
            let from = (u64::from(entry.offset) - start) as usize;
            let octets = buffer[..read].get(from..from + entry.length as usize)?;
            (crc32c::crc32c(octets) == entry.checksum).then_some(octets)
        };
        if let [only] = together {
            // The buffer itself, if it is not worth copying a large one.
            let whole = whole(only).is_some();
            payloads.push(whole.then(|| Bytes::from(std::mem::take(&mut buffer))));
            continue;
        }
        payloads.extend(together.iter().map(|entry| whole(entry).map(Bytes::copy_from_slice)));
    }
    Ok(payloads)
}
