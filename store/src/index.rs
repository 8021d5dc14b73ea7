//! Where the messages of a segment are in it: by queue, then by position. In memory for the
//! segment that is written; in a file beside it for each other. The file only saves the reading
//! of the segment: it is made again from that when it is missing or damaged.

use std::collections::BTreeMap;

use crate::batch::{Position, QueueId, Reference};
use crate::codec::{Reader, put_u32, put_u64s};
use crate::record::Message;

/// A message's place in a queue, and in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) expires: u64,
    /// Of its payload.
    pub(crate) offset: u32,
    pub(crate) length: u32,
    /// What the message counts for in the queue.
    pub(crate) body: u32,
    /// The payload's CRC-32C.
    pub(crate) checksum: u32,
    pub(crate) persistent: bool,
}

impl Entry {
    /// Of a message whose payload begins at `offset`.
    pub(crate) fn of(message: &Message<'_>, reference: &Reference, offset: u64) -> Entry {
        Entry {
            position: reference.position,
            expires: reference.expires,
            offset: offset as u32,
            length: message.payload.len() as u32,
            body: message.body,
            checksum: crc32c::crc32c(message.payload),
            persistent: message.persistent,
        }
    }
}

/// The entries of a segment. Those of a queue are in the order of their positions, once
/// [`Index::sort`] was called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    queues: BTreeMap<QueueId, Vec<Entry>>,
    entries: usize,
    /// Queues whose last entry was not behind the one before it.
    unsorted: Vec<QueueId>,
}

const MAGIC: &[u8; 8] = b"ROPEWIDX";
const VERSION: u32 = 1;
/// Magic, version, checksum of all else; segment, its length, queues, entries.
const HEADER_OCTETS: usize = 40;
const QUEUE_OCTETS: usize = 12;
const ENTRY_OCTETS: usize = 32;
/// In an entry's length, beside 31 bits of octets: not persistent.
const TRANSIENT: u32 = 1 << 31;

impl Index {
    pub(crate) fn add(&mut self, queue: QueueId, entry: Entry) {
        let entries = self.queues.entry(queue).or_default();
        if entries.last().is_some_and(|last| last.position >= entry.position)
            && self.unsorted.last() != Some(&queue)
        {
            self.unsorted.push(queue);
        }
        entries.push(entry);
        self.entries += 1;
    }

    /// Copies of older messages come behind newer ones: only they need this. Of two entries for one
    /// position, which only a caller's mistake can bring about, the first counts.
    pub(crate) fn sort(&mut self) {
        for queue in std::mem::take(&mut self.unsorted) {
            if let Some(entries) = self.queues.get_mut(&queue) {
                let count = entries.len();
                entries.sort_by_key(|entry| entry.position);
                entries.dedup_by_key(|entry| entry.position);
                self.entries -= count - entries.len();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    pub(crate) fn queues(&self) -> impl Iterator<Item = (QueueId, &[Entry])> {
        self.queues.iter().map(|(&queue, entries)| (queue, &entries[..]))
    }

    /// The entries of a queue; sorted, if this is.
    pub(crate) fn of(&self, queue: QueueId) -> &[Entry] {
        self.queues.get(&queue).map_or(&[], |entries| entries)
    }

    /// As a file. Sorted before.
    pub(crate) fn encode(&self, segment: u64, length: u64) -> Vec<u8> {
        let octets = HEADER_OCTETS + self.queues.len() * QUEUE_OCTETS + self.entries * ENTRY_OCTETS;
        let mut out = Vec::with_capacity(octets);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, VERSION);
        put_u32(&mut out, 0);
        put_u64s(&mut out, [segment, length]);
        put_u32(&mut out, self.queues.len() as u32);
        put_u32(&mut out, self.entries as u32);
        for (&queue, entries) in &self.queues {
            put_u64s(&mut out, [queue]);
            put_u32(&mut out, entries.len() as u32);
        }
        for entry in self.queues.values().flatten() {
            put_u64s(&mut out, [entry.position, entry.expires]);
            put_u32(&mut out, entry.offset);
            put_u32(&mut out, entry.length | if entry.persistent { 0 } else { TRANSIENT });
            put_u32(&mut out, entry.body);
            put_u32(&mut out, entry.checksum);
        }
        let checksum = checksum(&out);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// From a file; `None` if it is not whole, or not that segment's at this length.
    pub(crate) fn decode(octets: &[u8], segment: u64, length: u64) -> Option<Index> {
        let mut reader = Reader::new(octets);
        if reader.octets(8)? != MAGIC
            || reader.u32()? != VERSION
            || reader.u32()? != checksum(octets)
            || reader.u64()? != segment
            || reader.u64()? != length
        {
            return None;
        }
        let (queues, entries) = (reader.u32()? as usize, reader.u32()? as usize);
        let mut directory = Reader::new(reader.octets(queues.checked_mul(QUEUE_OCTETS)?)?);
        if reader.rest.len() != entries.checked_mul(ENTRY_OCTETS)? {
            return None;
        }
        let mut index = Index { entries, ..Index::default() };
        let mut list = Vec::with_capacity(queues);
        for _ in 0..queues {
            let (queue, count) = (directory.u64()?, directory.u32()? as usize);
            let octets = reader.octets(count.checked_mul(ENTRY_OCTETS)?)?;
            let entries: Option<Vec<Entry>> =
                octets.chunks_exact(ENTRY_OCTETS).map(|octets| entry(octets, length)).collect();
            let entries = entries?;
            if !entries.is_sorted_by(|one, next| one.position < next.position) {
                return None;
            }
            list.push((queue, entries));
        }
        if !reader.rest.is_empty() || !list.is_sorted_by(|one, next| one.0 < next.0) {
            return None;
        }
        index.queues = list.into_iter().collect();
        Some(index)
    }
}

fn entry(octets: &[u8], length: u64) -> Option<Entry> {
    let mut reader = Reader::new(octets);
    let (position, expires) = (reader.u64()?, reader.u64()?);
    let (offset, flagged) = (reader.u32()?, reader.u32()?);
    let (body, checksum) = (reader.u32()?, reader.u32()?);
    let octets = flagged & !TRANSIENT;
    (u64::from(offset) + u64::from(octets) <= length).then_some(Entry {
        position,
        expires,
        offset,
        length: octets,
        body,
        checksum,
        persistent: flagged & TRANSIENT == 0,
    })
}

fn checksum(octets: &[u8]) -> u32 {
    let (head, rest) = octets.split_at(octets.len().min(16));
    crc32c::crc32c_append(crc32c::crc32c(&head[..head.len().min(12)]), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index() -> impl Strategy<Value = Index> {
        let one =
            (0..5u64, 0..100u64, any::<u64>(), 0..500u32, 0..500u32, any::<(u32, u32, bool)>());
        prop::collection::vec(one, 0..40).prop_map(|list| {
            let mut index = Index::default();
            for (queue, position, expires, offset, length, rest) in list {
                let (body, checksum, persistent) = rest;
                index.add(
                    queue,
                    Entry { position, expires, offset, length, body, checksum, persistent },
                );
            }
            index.sort();
            index
        })
    }

    proptest! {
        #[test]
        fn an_index_is_read_as_it_was_written(index in index()) {
            let octets = index.encode(7, 1000);
            prop_assert_eq!(Index::decode(&octets, 7, 1000), Some(index));
            prop_assert_eq!(Index::decode(&octets, 8, 1000), None);
            prop_assert_eq!(Index::decode(&octets, 7, 1001), None);
        }

        #[test]
        fn an_index_with_a_flipped_bit_or_cut_off_is_none(
            index in index(), at: prop::sample::Index, bit in 0..8u8,
        ) {
            let mut octets = index.encode(7, 1000);
            let at = at.index(octets.len());
            prop_assert_eq!(Index::decode(&octets[..at], 7, 1000), None);
            octets[at] ^= 1 << bit;
            prop_assert_eq!(Index::decode(&octets, 7, 1000), None);
        }
    }
}
