//! What a restart does to what was recovered: messages that are not persistent are forgotten,
//! those whose segments are gone are given up, leases become deliveries, and queues are counted.

use std::collections::BTreeSet;

use crate::batch::{Position, QueueId};
use crate::disk::Disk;
use crate::error::Result;
use crate::frame::Seed;
use crate::queue::Queue;
use crate::recovery::Recovery;
use crate::report::Finding;
use crate::sealed::Shelf;

/// Positions of a queue that are not live any more.
type Gone = (QueueId, Position, Position);

impl Recovery {
    /// Makes the state that of a log that begins again. Reads indexes, of those segments only
    /// that hold persistent and other messages of one queue, or of which some were acknowledged.
    pub(crate) fn restart(&mut self, disk: &dyn Disk, shelf: &mut Shelf) -> Result<()> {
        self.give_up_missing();
        self.forget_transient();
        for number in self.uncounted() {
            self.count(number, disk, shelf)?;
        }
        self.state.queues.values_mut().for_each(Queue::opened);
        Ok(())
    }

    /// Messages in segments that are not there.
    fn give_up_missing(&mut self) {
        let state = &self.state;
        let mut missing: Vec<Gone> = Vec::new();
        for (&id, queue) in &state.queues {
            let runs = queue.runs.iter();
            let lost = runs.filter(|run| !state.segments.contains_key(&run.segment));
            missing.extend(lost.map(|run| (id, run.first, run.last)));
        }
        for (queue, first, last) in missing {
            let messages = self.state.acknowledged(queue, first, last);
            self.lost(queue, messages);
        }
    }

    /// Messages of a queue are lost.
    pub(crate) fn lost(&mut self, queue: QueueId, messages: u64) {
        for finding in &mut self.report.findings {
            if let Finding::Lost { queue: of, messages: sum } = finding
                && *of == queue
            {
                *sum += messages;
                return;
            }
        }
        self.report.findings.push(Finding::Lost { queue, messages });
    }

    /// Runs that hold nothing persistent; for those that hold both, see [`Recovery::count`].
    fn forget_transient(&mut self) {
        let mut gone: Vec<Gone> = Vec::new();
        for (&id, queue) in &self.state.queues {
            let runs = queue.runs.iter().filter(|run| !run.persistent);
            gone.extend(runs.map(|run| (id, run.first, run.last)));
        }
        for (queue, first, last) in gone {
            self.state.acknowledged(queue, first, last);
        }
    }

    /// Segments whose indexes have to be read.
    fn uncounted(&self) -> BTreeSet<u64> {
        let runs = self.state.queues.values().flat_map(|queue| queue.runs.iter());
        runs.filter(|run| run.transient || !run.exact).map(|run| run.segment).collect()
    }

    /// Forgets the messages of a segment that are not persistent, and counts the others.
    fn count(&mut self, number: u64, disk: &dyn Disk, shelf: &mut Shelf) -> Result<()> {
        let Some(segment) = self.state.segments.get(&number) else { return Ok(()) };
        let seed = Seed { salt: self.salt.unwrap_or(0), segment: number };
        let read;
        let (index, damaged) = match &self.last {
            Some(last) if last.number == number => (&last.index, false),
            _ => {
                read = shelf.get(disk, seed, segment.length)?;
                (&read.index, read.damaged)
            }
        };
        let mut gone: Vec<Gone> = Vec::new();
        for (id, entries) in index.queues() {
            let Some(queue) = self.state.queues.get(&id) else { continue };
            let transient = entries.iter().filter(|entry| !entry.persistent);
            for position in transient.map(|entry| entry.position) {
                if queue.runs.of(position).is_some_and(|run| run.segment == number) {
                    gone.push((id, position, position));
                }
            }
        }
        for (queue, first, last) in gone {
            self.state.acknowledged(queue, first, last);
        }
        let lost = if damaged { self.state.reconcile(number, index) } else { Vec::new() };
        self.state.recount(number, index, true);
        for (queue, messages) in lost {
            self.lost(queue, messages);
        }
        Ok(())
    }
}
