//! The files of one form on their way to disk: what is to be done, in order, and one job at a time
//! that does it.
//!
//! It counts the bytes that wait, the job's own included: whoever feeds it must stop above a mark.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_reactor::Local;

use super::storage::Storage;
use super::upload::{TemporaryFile, drop_on_a_thread};

/// A job is worth its way to a thread and back from here on, or when a file ends.
const WORTHWHILE: usize = 64 * 1024;

/// One thing to do with files.
enum Step {
    Create(PathBuf),
    Write(Vec<u8>),
    Close,
}

/// A file that is being written.
struct Open {
    writer: Box<dyn Write + Send>,
    file: TemporaryFile,
}

pub(super) struct Spool {
    storage: Arc<dyn Storage>,
    local: Local,
    steps: Vec<Step>,
    /// Bytes in `steps`, and in the job that is at work.
    queued: usize,
    at_work: Option<usize>,
    /// A file ends in `steps`.
    ends: bool,
    /// The file that the last job has left open; a job at work has it.
    open: Option<Open>,
}

/// What a job has come to.
pub(super) struct Outcome {
    open: Option<Open>,
    /// Files that are whole, in order.
    finished: Vec<TemporaryFile>,
    result: io::Result<()>,
}

impl Spool {
    pub(super) fn new(storage: Arc<dyn Storage>, local: Local) -> Self {
        Self {
            storage,
            local,
            steps: Vec::new(),
            queued: 0,
            at_work: None,
            ends: false,
            open: None,
        }
    }

    pub(super) fn create(&mut self, path: PathBuf) {
        self.steps.push(Step::Create(path));
    }

    pub(super) fn write(&mut self, data: &[u8]) {
        self.queued += data.len();
        match self.steps.last_mut() {
            Some(Step::Write(before)) => before.extend_from_slice(data),
            _ => self.steps.push(Step::Write(data.to_vec())),
        }
    }

    pub(super) fn close(&mut self) {
        self.ends = true;
        self.steps.push(Step::Close);
    }

    /// Bytes that are not on disk.
    pub(super) fn waiting(&self) -> usize {
        self.queued + self.at_work.unwrap_or(0)
    }

    /// Whether all is done.
    pub(super) fn is_idle(&self) -> bool {
        self.at_work.is_none() && self.steps.is_empty()
    }

    /// What a thread should do now; its outcome comes back by [`job_done`](Self::job_done).
    pub(super) fn next_job(&mut self) -> Option<impl FnOnce() -> Outcome + Send + use<>> {
        if self.at_work.is_some() || (self.queued < WORTHWHILE && !self.ends) {
            return None;
        }
        self.at_work = Some(std::mem::take(&mut self.queued));
        self.ends = false;
        let steps = std::mem::take(&mut self.steps);
        let storage = self.storage.clone();
        let mut outcome = Outcome { open: self.open.take(), finished: Vec::new(), result: Ok(()) };
        Some(move || {
            outcome.result = steps.into_iter().try_for_each(|step| outcome.take(step, &storage));
            outcome
        })
    }

    /// The files that a job has finished.
    ///
    /// # Errors
    /// It could not do all of it.
    pub(super) fn job_done(&mut self, outcome: Outcome) -> io::Result<Vec<TemporaryFile>> {
        self.at_work = None;
        self.open = outcome.open;
        match outcome.result {
            Ok(()) => Ok(outcome.finished),
            Err(error) => {
                drop_on_a_thread(&self.local, outcome.finished);
                Err(error)
            }
        }
    }
}

impl Outcome {
    fn take(&mut self, step: Step, storage: &Arc<dyn Storage>) -> io::Result<()> {
        match (step, &mut self.open) {
            (Step::Create(path), _) => {
                let writer = storage.create(&path).map_err(|error| about(&path, error))?;
                let file = TemporaryFile::new(storage.clone(), path);
                self.open = Some(Open { writer, file });
            }
            (Step::Write(data), Some(open)) => open.writer.write_all(&data)?,
            (Step::Close, open) => {
                if let Some(Open { mut writer, file }) = open.take() {
                    writer.flush()?;
                    self.finished.push(file);
                }
            }
            (Step::Write(_), None) => {}
        }
        Ok(())
    }
}

fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            drop_on_a_thread(&self.local, open.file);
        }
    }
}
