//! A bounded pool for what would block the loop: names, disks, databases, long computations.
//! Its threads start when there is work and are joined at shutdown; in a simulation no thread
//! exists, and a job runs on the loop at a moment of the seed's choosing.

use std::any::Any;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use log::{error, warn};

use crate::core::Core;
use crate::handle::{Handle, Shared};
use crate::jobs::Jobs;
use crate::panics::isolate;
use crate::{Deferred, Error, LOG, Promise};

/// A job and where its result goes; it runs on a pool thread.
pub(crate) type Job = Box<dyn FnOnce(&Handle) + Send>;

pub(crate) struct Pool {
    jobs: Arc<Jobs>,
    threads: Vec<JoinHandle<()>>,
    most_threads: usize,
    shared: Arc<Shared>,
    /// Promises of jobs under way, kept here because they may not leave this thread.
    waiting: slab::Slab<Box<dyn Any>>,
}

impl Pool {
    pub(crate) fn new(most_threads: usize, most_queued: usize, shared: Arc<Shared>) -> Self {
        Self {
            jobs: Arc::new(Jobs::new(most_queued.max(1))),
            threads: Vec::new(),
            most_threads: most_threads.max(1),
            shared,
            waiting: slab::Slab::new(),
        }
    }

    /// Queues a job, and starts a thread for it while there may be more of them.
    fn submit(&mut self, job: Job) -> Result<(), Error> {
        if self.jobs.push(job).is_err() {
            return Err(Error::PoolFull);
        }
        // As many threads as jobs are queued or running, up to the limit: an idle pool of one
        // thread serves one caller at a time and never grows.
        if self.threads.len() < self.most_threads.min(self.waiting.len()) {
            let handle = Handle::new(&self.shared);
            match start(self.threads.len(), self.jobs.clone(), handle) {
                Ok(thread) => self.threads.push(thread),
                Err(source) if self.threads.is_empty() => return Err(Error::System(source)),
                Err(source) => error!(target: LOG, "no more threads for the pool: {source}"),
            }
        }
        Ok(())
    }

    /// Whether results are still to come.
    pub(crate) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Joins the threads, which have nothing to do; those that still have are left behind, since
    /// no one can stop a thread from outside.
    pub(crate) fn close(&mut self) {
        for job in self.jobs.close() {
            if let Err(message) = isolate(|| drop(job)) {
                error!(target: LOG, "a job panicked when it was dropped: {message}");
            }
        }
        if self.is_busy() {
            warn!(target: LOG, "{} jobs of the thread pool are left behind", self.waiting.len());
            return self.threads.clear();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!(target: LOG, "a thread of the pool had died of a panic");
            }
        }
    }

    /// Gives up the promises of jobs that will not come back.
    pub(crate) fn take_waiting(&mut self) -> Vec<Box<dyn Any>> {
        self.waiting.drain().collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the seam itself: threads start here")]
fn start(number: usize, jobs: Arc<Jobs>, handle: Handle) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(format!("ropewalk-pool-{number}")).spawn(move || {
        while let Some(job) = jobs.wait() {
            job(&handle);
        }
    })
}

impl Core {
    pub(crate) fn defer_to_thread<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Deferred<T> {
        let (promise, deferred) = self.local.deferred();
        if self.shutdown.is_over() {
            promise.fail(Error::Stopped);
            return deferred;
        }
        if let Some(net) = self.network.simulated() {
            let delay = net.borrow_mut().job_delay();
            // A stop waits for it as for a job on a thread.
            let key = self.pool.waiting.insert(Box::new(promise));
            self.call_later(
                Duration::from_nanos(delay),
                Box::new(move |reactor| {
                    if let Some(promise) = reactor.core_mut().take_promise::<T>(key) {
                        promise.fire(isolate(job).map_err(Error::Panicked));
                    }
                }),
            );
            return deferred;
        }
        // The promise stays here, under a key; only the key and the result cross threads.
        let key = self.pool.waiting.insert(Box::new(promise));
        let submitted = self.pool.submit(Box::new(move |handle| {
            let result = isolate(job).map_err(Error::Panicked);
            // A reactor that has gone wants no result.
            let _ = handle.call_from_thread(move |reactor| {
                if let Some(promise) = reactor.core_mut().take_promise::<T>(key) {
                    promise.fire(result);
                }
            });
        }));
        if let Err(error) = submitted
            && let Some(promise) = self.take_promise::<T>(key)
        {
            promise.fail(error);
        }
        deferred
    }

    fn take_promise<T: 'static>(&mut self, key: usize) -> Option<Promise<T>> {
        let promise = self.pool.waiting.try_remove(key)?;
        promise.downcast::<Promise<T>>().ok().map(|promise| *promise)
    }
}
