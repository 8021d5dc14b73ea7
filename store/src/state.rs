//! Everything that the log knows, in memory: what the records say, one after another. The same
//! code follows the records while they are written and when they are read again.

use std::collections::BTreeMap;

use crate::batch::QueueId;
use crate::index::{Entry, Index};
use crate::queue::{Moved, Queue};
use crate::record::{Message, Record};
use crate::space::{Segment, charge};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) queues: BTreeMap<QueueId, Queue>,
    /// By number; with the one that is being written.
    pub(crate) segments: BTreeMap<u64, Segment>,
    /// Above all queues that were ever named.
    pub(crate) next_queue: QueueId,
}

/// Where the record that is applied stands.
pub(crate) struct Place<'a> {
    pub(crate) segment: u64,
    /// The offset in the segment of the records' first octet.
    pub(crate) base: u64,
    /// Takes the entries of messages.
    pub(crate) index: &'a mut Index,
    /// Whether the history before is lost: see [`Queue::moved`].
    pub(crate) revive: bool,
}

impl State {
    /// Does what a record says. False if it is a message with a position that cannot be: that
    /// place is left out.
    pub(crate) fn apply(&mut self, record: &Record<'_>, place: &mut Place<'_>) -> bool {
        match *record {
            Record::Put { key, value } => {
                self.definitions.insert(key.to_vec(), value.to_vec());
            }
            Record::Remove { key } => {
                self.definitions.remove(key);
            }
            Record::Message(ref message) => return self.message(message, place),
            Record::Acknowledged { queue, first, last } => {
                self.acknowledged(queue, first, last);
            }
            Record::Leased { queue, end } => self.queue(queue).leased(end),
            Record::Returned { queue, position, returns } => {
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.returned(position, returns);
                }
            }
            Record::QueueRemoved { queue } => self.queue_removed(queue),
            Record::Opened => self.queues.values_mut().for_each(Queue::opened),
            Record::Damaged { segment } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment.damaged = true;
                }
            }
            Record::Snapshot { .. } | Record::Closed => {}
        }
        true
    }

    /// Messages of a queue are not needed any more; gives how many there were.
    pub(crate) fn acknowledged(&mut self, queue: QueueId, first: u64, last: u64) -> u64 {
        let State { queues, segments, .. } = self;
        let Some(queue) = queues.get_mut(&queue) else { return 0 };
        queue.acknowledged(first, last, |segment, count| {
            if let Some(segment) = segments.get_mut(&segment) {
                segment.freed(count);
            }
        })
    }

    /// Counts what is live in a segment, exactly. At a restart, when only persistent messages are
    /// left, the runs are told so.
    pub(crate) fn recount(&mut self, number: u64, index: &Index, restart: bool) {
        let State { queues, segments, .. } = self;
        let Some(segment) = segments.get_mut(&number) else { return };
        // Where the payloads are that are live: one that several queues hold counts once.
        let mut live: Vec<(u32, u32)> = Vec::new();
        for (id, entries) in index.queues() {
            let Some(queue) = queues.get_mut(&id) else { continue };
            let gone = &queue.gone;
            let mut entries = entries.iter().peekable();
            while let Some(first) = entries.next() {
                // By bisection: a queue can have a run in each of many segments.
                let Some(run) = queue.runs.of_mut(first.position) else { continue };
                if run.segment != number {
                    continue;
                }
                let (mut octets, mut count) = (0, 0);
                let mut next = Some(first);
                while let Some(entry) = next {
                    if !gone.contains(entry.position) {
                        octets += u64::from(entry.body);
                        count += 1;
                        live.push((entry.offset, entry.length));
                    }
                    next = entries.next_if(|entry| entry.position <= run.last);
                }
                run.octets = octets;
                run.exact = count == run.live;
                run.transient &= !restart;
            }
        }
        live.sort_unstable();
        (segment.octets, segment.largest, segment.drift) = (0, 0, 0);
        for same in live.chunk_by(|one, next| one == next) {
            let charge = charge(same[0].1.into(), same.len() as u64);
            segment.octets += charge;
            segment.largest = segment.largest.max(charge);
        }
    }

    /// A segment could not be read as a whole: the messages that its index does not know any
    /// more are lost. Gives the queues that lose some, with their numbers.
    pub(crate) fn reconcile(&mut self, number: u64, index: &Index) -> Vec<(QueueId, u64)> {
        let mut lost = Vec::new();
        for (&id, queue) in &self.queues {
            let entries = index.of(id);
            for run in queue.runs.iter().filter(|run| run.segment == number) {
                let mut from = run.first;
                let known = entries.iter().map(|entry| entry.position);
                for position in known.filter(|p| (run.first..=run.last).contains(p)) {
                    if position > from {
                        lost.push((id, from, position - 1));
                    }
                    from = position + 1;
                }
                if from <= run.last {
                    lost.push((id, from, run.last));
                }
            }
        }
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.damaged = true;
        }
        let mut counts: Vec<(QueueId, u64)> = Vec::new();
        for (id, first, last) in lost {
            let count = self.acknowledged(id, first, last);
            match counts.last_mut() {
                Some((of, sum)) if *of == id => *sum += count,
                _ => counts.push((id, count)),
            }
        }
        counts.retain(|&(_, count)| count > 0);
        counts
    }

    /// Octets of messages in some queue, and of definitions.
    pub(crate) fn live_octets(&self) -> u64 {
        let octets = self.segments.values().map(|segment| segment.octets);
        octets.fold(self.definition_octets(), u64::saturating_add)
    }

    /// O(definitions).
    pub(crate) fn definition_octets(&self) -> u64 {
        self.definitions.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    fn queue(&mut self, queue: QueueId) -> &mut Queue {
        self.next_queue = self.next_queue.max(queue.saturating_add(1));
        self.queues.entry(queue).or_default()
    }

    fn queue_removed(&mut self, queue: QueueId) {
        self.next_queue = self.next_queue.max(queue.saturating_add(1));
        let Some(queue) = self.queues.remove(&queue) else { return };
        for run in queue.runs.iter() {
            if let Some(segment) = self.segments.get_mut(&run.segment) {
                segment.freed(run.live);
            }
        }
    }

    fn message(&mut self, message: &Message<'_>, place: &mut Place<'_>) -> bool {
        let (octets, body) = (message.payload.len() as u64, message.body.into());
        let (mut places, mut possible) = (0, true);
        for reference in message.references() {
            let (segment, persistent) = (place.segment, message.persistent);
            let position = reference.position;
            let taken = if message.moved {
                let queue = match place.revive {
                    true => Some(self.queue(reference.queue)),
                    false => self.queues.get_mut(&reference.queue),
                };
                let moved = queue.map_or(Moved::Not, |queue| {
                    queue.moved(position, segment, body, persistent, place.revive)
                });
                if let Moved::From(from) = moved
                    && let Some(from) = self.segments.get_mut(&from)
                {
                    from.freed(1);
                }
                moved != Moved::Not
            } else {
                let stored =
                    self.queue(reference.queue).stored(position, segment, body, persistent);
                possible &= stored;
                stored
            };
            if taken {
                places += 1;
                let offset = place.base + message.offset as u64;
                place.index.add(reference.queue, Entry::of(message, &reference, offset));
            }
        }
        if places > 0 {
            self.segments.entry(place.segment).or_default().stored(octets, places);
        }
        possible
    }
}
