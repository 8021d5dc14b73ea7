//! Giving up a segment of which little is live: its messages are copied, with all the queues that
//! still hold them, and keep their positions.

use crate::batch::{Position, QueueId, Reference};
use crate::error::Result;
use crate::index::{Entry, Index};
use crate::log::Log;
use crate::record;
use crate::state::State;

/// A step ends with the message that reaches so many.
const STEP_OCTETS: usize = 1 << 20;

/// A segment that is being given up.
pub(crate) struct Compaction {
    segment: u64,
    /// What was live when it began, the last message first: those that are copied are taken away.
    messages: Vec<Copied>,
}

struct Copied {
    entry: Entry,
    references: Vec<Reference>,
}

impl Compaction {
    pub(crate) fn of(segment: u64, index: &Index, state: &State) -> Compaction {
        let mut places: Vec<(QueueId, Entry)> = Vec::new();
        for (id, entries) in index.queues() {
            let live = entries.iter().filter(|entry| is_there(state, id, entry.position, segment));
            places.extend(live.map(|&entry| (id, entry)));
        }
        // As they stand in the file, so that a message comes once, and in the order of positions.
        places.sort_by_key(|(id, entry)| (entry.offset, entry.length, *id, entry.position));
        let same = |one: &(QueueId, Entry), next: &(QueueId, Entry)| {
            (one.1.offset, one.1.length) == (next.1.offset, next.1.length)
        };
        let messages = places.chunk_by(same).map(|places| Copied {
            entry: places[0].1,
            references: places
                .iter()
                .map(|&(queue, Entry { position, expires, .. })| Reference {
                    queue,
                    position,
                    expires,
                })
                .collect(),
        });
        let mut messages: Vec<Copied> = messages.collect();
        messages.reverse();
        Compaction { segment, messages }
    }
}

/// Whether a message is live, and in that segment.
fn is_there(state: &State, queue: QueueId, position: Position, segment: u64) -> bool {
    state.queues.get(&queue).is_some_and(|queue| {
        !queue.gone.contains(position)
            && queue.runs.of(position).is_some_and(|run| run.segment == segment)
    })
}

impl Log {
    /// Copies some messages; says whether there are more.
    pub(crate) fn copy(&mut self, compaction: &mut Compaction) -> Result<bool> {
        let number = compaction.segment;
        let (mut count, mut octets) = (0, 0);
        let mut taken: Vec<(Entry, Vec<Reference>)> = Vec::new();
        for message in compaction.messages.iter().rev() {
            // What was acknowledged in the meantime is not copied.
            let there = |r: &&Reference| is_there(&self.state, r.queue, r.position, number);
            let references: Vec<Reference> =
                message.references.iter().filter(there).copied().collect();
            count += 1;
            if !references.is_empty() {
                octets += message.entry.length as usize;
                octets += record::MAX_FIXED_OCTETS + references.len() * record::REFERENCE_OCTETS;
                taken.push((message.entry, references));
            }
            if octets >= STEP_OCTETS {
                break;
            }
        }
        if !taken.is_empty() {
            self.copy_messages(number, &taken, octets)?;
        }
        compaction.messages.truncate(compaction.messages.len() - count);
        if compaction.messages.is_empty()
            && self.state.segments.get(&number).is_some_and(|segment| segment.live > 0)
        {
            // Messages that no index knows: nothing can be read of them.
            self.damaged_index(number, 0);
        }
        Ok(!compaction.messages.is_empty())
    }

    fn copy_messages(
        &mut self,
        number: u64,
        taken: &[(Entry, Vec<Reference>)],
        octets: usize,
    ) -> Result<()> {
        let entries: Vec<Entry> = taken.iter().map(|(entry, _)| *entry).collect();
        let payloads = self.payloads(number, &entries)?;
        let mut records = Vec::with_capacity(octets);
        let mut damaged = Vec::new();
        for ((entry, references), payload) in taken.iter().zip(&payloads) {
            match payload {
                Some(payload) => {
                    let Entry { persistent, body, .. } = *entry;
                    let parts: &[&[u8]] = &[payload];
                    record::message(&mut records, true, references, persistent, body, parts);
                }
                None => damaged.extend(references.iter().map(|r| (r.queue, r.position))),
            }
        }
        if !records.is_empty() {
            let base = self.write(&records)?;
            self.apply(&records, base);
        }
        for (queue, position) in damaged {
            self.damaged_message(number, queue, position);
        }
        Ok(())
    }
}
