//! A job for the store: what is done on a thread of the pool between two moments of the loop.
//!
//! The log travels with the job and comes back with its outcome, so that nobody else touches it
//! meanwhile and no lock is needed.

use std::collections::VecDeque;

use ropewalk_broker::{Load, LoadedMessage};
use ropewalk_store::{Batch, Error, Log};

use super::journal::Gathered;

/// What is to be done, in this order.
pub(super) struct Work {
    pub(super) log: Log,
    /// Records that may pass all others, oldest first.
    pub(super) relief: VecDeque<Batch>,
    /// Records to append, oldest first.
    pub(super) batches: VecDeque<Gathered>,
    /// Whether somebody waits until all that was ever appended is safe.
    pub(super) sync: bool,
    /// What queues want back.
    pub(super) loads: Vec<Load>,
    /// Steps of housekeeping, fewer if there is less to do.
    pub(super) steps: usize,
}

/// What has become of it.
pub(super) struct Outcome {
    pub(super) log: Log,
    /// Those that a full disk has not taken.
    pub(super) relief: VecDeque<Batch>,
    /// Those that were appended, emptied.
    pub(super) spare: Vec<Gathered>,
    /// Those that were not, as they were.
    pub(super) refused: VecDeque<Gathered>,
    /// Whether everything that was appended is safe.
    pub(super) synced: bool,
    pub(super) answers: Vec<Answer>,
    /// Housekeeping has more to do; `None` if it was not asked.
    pub(super) unfinished: Option<bool>,
    /// What is free on the disk, if there was housekeeping and the system tells.
    pub(super) free_octets: Option<u64>,
    pub(super) result: Result<(), Error>,
}

/// The answer to a load.
pub(super) struct Answer {
    pub(super) load: Load,
    pub(super) messages: Result<Vec<LoadedMessage>, Error>,
    /// Messages in between that the disk has lost.
    pub(super) lost: u64,
}

impl Work {
    /// Housekeeping, and nothing else.
    pub(super) fn housekeeping(log: Log, steps: usize) -> Work {
        let (relief, batches) = (VecDeque::new(), VecDeque::new());
        Work { log, relief, batches, sync: false, loads: Vec::new(), steps }
    }

    pub(super) fn run(self) -> Outcome {
        let mut outcome = Outcome {
            log: self.log,
            relief: self.relief,
            spare: Vec::new(),
            refused: self.batches,
            synced: false,
            answers: Vec::new(),
            unfinished: None,
            free_octets: None,
            result: Ok(()),
        };
        outcome.result = outcome.append(self.sync);
        if outcome.is_usable() {
            outcome.answers = self.loads.into_iter().map(|load| outcome.load(load)).collect();
            for _ in 0..self.steps {
                if !outcome.maintain() {
                    break;
                }
            }
            if self.steps > 0 {
                outcome.free_octets = outcome.log.free_octets().ok();
            }
        }
        outcome
    }
}

impl Outcome {
    /// Whether the log takes more: a full disk can be emptied.
    fn is_usable(&self) -> bool {
        self.result.as_ref().err().is_none_or(Error::is_full)
    }

    /// On a full disk the rest waits, but what was appended is synced.
    fn append(&mut self, sync: bool) -> Result<(), Error> {
        let appended = self.append_all();
        if appended.as_ref().err().is_some_and(|error| !error.is_full()) {
            return appended;
        }
        if sync {
            self.log.sync()?;
            self.synced = true;
        }
        appended
    }

    fn append_all(&mut self) -> Result<(), Error> {
        while let Some(batch) = self.relief.front() {
            self.log.append(batch)?;
            self.relief.pop_front();
        }
        while let Some(gathered) = self.refused.front() {
            self.log.append(&gathered.batch)?;
            self.spare.extend(self.refused.pop_front().map(|mut gathered| {
                gathered.clear();
                gathered
            }));
        }
        Ok(())
    }

    fn load(&mut self, load: Load) -> Answer {
        let found = self.log.load(load.queue, load.from, load.max_messages, load.max_octets);
        let lost = found.as_ref().map_or(0, |found| found.lost);
        let message = |it: ropewalk_store::Loaded| LoadedMessage {
            position: it.position,
            expires: it.expires,
            returns: it.returns,
            redelivered: it.redelivered,
            payload: it.payload,
        };
        let messages = found.map(|found| found.messages.into_iter().map(message).collect());
        Answer { load, messages, lost }
    }

    /// Whether there is more to do.
    fn maintain(&mut self) -> bool {
        let done = self.log.maintain();
        let more = matches!(done, Ok(true));
        match done {
            Ok(more) => self.unfinished = Some(more),
            Err(error) => self.result = Err(error),
        }
        more
    }
}
